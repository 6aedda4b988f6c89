# Sourced after cleanup.sh, never run: a network namespace of our own, gone when the script ends.
# shellcheck shell=bash

# can_make_netns: root, iproute2 and a kernel that allows namespaces.
can_make_netns() {
    local probe="syncline-probe-$$"
    ((EUID == 0)) && command -v ip >/dev/null && ip netns add "$probe" 2>/dev/null && ip netns del "$probe"
}

# make_netns PREFIX: creates a namespace with a name that nobody else has and brings its loopback up. Sets netns to the
# name and in_netns to what a command needs in front of it to run inside; it replaces itself by the command, so that $!
# is the command's own pid. IPv6 is off inside: the kernel's router solicitations would blur the counters.
make_netns() {
    netns="$1-$$-$RANDOM"
    ip netns add "$netns" || return 1
    at_exit ip netns del "$netns"
    in_netns=(ip netns exec "$netns")
    ip -n "$netns" link set lo up
    "${in_netns[@]}" sysctl -qw net.ipv6.conf.default.disable_ipv6=1 2>/dev/null || true # a kernel without IPv6
}
