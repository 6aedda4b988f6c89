//! Wires of the kernel and of software: taps, user namespaces, memif sockets, interfaces for AF_XDP.
//!
//! It must never make one of them.

use std::path::Path;

use dpdk::NicSpec;

use super::super::finding::Finding;
use super::super::machine::Machine;
use super::super::request::Request;

const TAPS: &str = "taps";
const MEMIF: &str = "memif";
const INTERFACE: &str = "interface";

/// Looks at what makes taps, and at the wire of the command.
pub(super) fn check(machine: &Machine, request: Option<&Request>, into: &mut Vec<Finding>) {
    match request.map(|request| (&request.needs.spec, request.link.wants_own_namespace())) {
        None => check_taps(machine, false, false, into),
        Some((NicSpec::Tap { .. }, unshare)) => check_taps(machine, true, unshare, into),
        Some((NicSpec::Memif { socket, server, .. }, _)) => {
            check_memif(machine, socket, *server, into);
        }
        Some((NicSpec::AfXdp { interface, .. }, _)) => {
            if !machine.has(&format!("/sys/class/net/{interface}")) {
                into.push(Finding::fault(
                    INTERFACE,
                    format!("there is no interface {interface}"),
                    "ip link lists the interfaces",
                ));
            }
        }
        Some(_) => {}
    }
    // Devices that DPDK would refuse, in the words of the command itself.
    if let Some(request) = request
        && machine.is_this_one()
        && into.iter().all(|finding| finding.fix.is_empty())
        && let Err(error) = request.needs.spec.check()
    {
        into.push(Finding::fault(
            "nic",
            error.to_string(),
            "do what the text before says",
        ));
    }
}

fn check_taps(machine: &Machine, wanted: bool, unshare: bool, into: &mut Vec<Finding>) {
    let mut unusable = |text: &str, fix: &str| {
        into.push(if wanted {
            Finding::fault(TAPS, text, fix)
        } else {
            Finding::note(TAPS, format!("{text} (fix: {fix})"))
        });
    };
    if !machine.has("/dev/net/tun") {
        unusable(
            "there is no /dev/net/tun, so no tap can be made",
            "modprobe tun; a container needs --device /dev/net/tun",
        );
        return;
    }
    if !machine.may_write("/dev/net/tun") {
        unusable(
            "no permission to write to /dev/net/tun",
            "chmod 0666 /dev/net/tun",
        );
        return;
    }
    let namespaces = why_no_namespaces(machine);
    match (machine.may_make_interfaces(), unshare, namespaces) {
        (true, ..) => into.push(Finding::ok(TAPS, "can be made")),
        (false, false, None) if wanted => into.push(
            Finding::fault(
                TAPS,
                "a tap needs CAP_NET_ADMIN",
                "--unshare: a tap in a user and network namespace of its own",
            )
            .or("run as root"),
        ),
        (false, _, None) => into.push(Finding::ok(
            TAPS,
            "can be made in a user namespace of their own (--unshare)",
        )),
        (false, _, Some((text, fix))) => {
            unusable(&format!("a tap needs CAP_NET_ADMIN, and {text}"), &fix);
        }
    }
}

/// Why this user can make no user namespace, and the command that changes it.
fn why_no_namespaces(machine: &Machine) -> Option<(String, String)> {
    let switches = [
        (
            "user/max_user_namespaces",
            "user.max_user_namespaces",
            0,
            15_000,
        ),
        (
            "kernel/unprivileged_userns_clone",
            "kernel.unprivileged_userns_clone",
            0,
            1,
        ),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "kernel.apparmor_restrict_unprivileged_userns",
            1,
            0,
        ),
    ];
    switches.into_iter().find_map(|(file, name, bad, good)| {
        let value = machine.number(&format!("/proc/sys/{file}"))?;
        (value == bad).then(|| {
            (
                format!("{name} is {value}, so there are no user namespaces"),
                format!("sysctl -w {name}={good}"),
            )
        })
    })
}

fn check_memif(machine: &Machine, socket: &str, server: bool, into: &mut Vec<Finding>) {
    let directory = Path::new(socket).parent().unwrap_or_else(|| Path::new("/"));
    let directory = directory.to_string_lossy();
    if !machine.has(&directory) {
        into.push(Finding::fault(
            MEMIF,
            format!("there is no directory {directory} for the socket {socket}"),
            format!("mkdir -p {directory}"),
        ));
    } else if !machine.may_write(&directory) {
        into.push(Finding::fault(
            MEMIF,
            format!("no permission to write to {directory}, where the socket is made"),
            "name a socket in a directory of yours, such as /tmp",
        ));
    } else if server && is_served(machine, socket) {
        into.push(Finding::fault(
            MEMIF,
            format!("another server listens at {socket}"),
            format!("end it (ss -xlp src {socket} names it), or name another socket"),
        ));
    } else if !server && !machine.has_socket(socket) {
        into.push(Finding::fault(
            MEMIF,
            format!("no server listens at {socket}"),
            format!("start the other side first, with --nic memif:{socket},server"),
        ));
    } else {
        into.push(Finding::ok(MEMIF, format!("{socket} can be used")));
    }
}

/// Whether the socket is in the kernel's list of those that listen (`__SO_ACCEPTCON`, 0x10000).
fn is_served(machine: &Machine, socket: &str) -> bool {
    let list = machine.text("/proc/net/unix").unwrap_or_default();
    list.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(7) == Some(&socket) && fields.get(3) == Some(&"00010000")
    })
}
