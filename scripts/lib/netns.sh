# Sourced after cleanup.sh, never run: a network namespace of our own, gone when the script ends.
# shellcheck shell=bash

# can_make_netns: root, iproute2 and a kernel that allows namespaces.
can_make_netns() {
    local probe="syncline-probe-$$"
    ((EUID == 0)) && command -v ip >/dev/null && ip netns add "$probe" 2>/dev/null && ip netns del "$probe"
}

# make_netns PREFIX: creates a namespace with a name that nobody else has, brings its loopback up, sets $netns.
# IPv6 is off inside: nothing here needs it, and the kernel's router solicitations would blur the counters.
make_netns() {
    netns="$1-$$-$RANDOM"
    ip netns add "$netns"
    at_exit ip netns del "$netns"
    ip -n "$netns" link set lo up
    in_netns sysctl -qw net.ipv6.conf.default.disable_ipv6=1 2>/dev/null || true
}

# in_netns COMMAND [ARG...]: runs it inside; the process that starts is COMMAND itself, so $! is its pid.
in_netns() { ip netns exec "$netns" "$@"; }
