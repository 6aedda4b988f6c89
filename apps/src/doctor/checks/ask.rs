//! [`ask`]: lets the kernel ask a neighbour for its link address, by an empty datagram to its discard port, and waits for what it hears.
//!
//! It must never use the interface with the default route, never send off the links of this machine, and never ask for another
//! machine than this one.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use procfs_core::net::{ARPEntry, ARPFlags, ArpEntries, RouteEntries};

use super::super::machine::Machine;

/// The discard protocol (RFC 863).
const DISCARD: u16 = 9;
/// How often the kernel's table is read: the kernel asks three times within three seconds (arp(7)).
const LOOKS: u32 = 20;
/// How long one look waits for an error on the socket.
const LOOK: Duration = Duration::from_millis(200);

/// The kernel's entry of a neighbour.
pub(super) fn entry(machine: &Machine, neighbor: Ipv4Addr) -> Option<ARPEntry> {
    let table: ArpEntries = machine.parsed("/proc/net/arp")?;
    let mut entries = table.0.into_iter();
    entries.find(|entry| entry.ip_address == neighbor)
}

/// Lets the kernel ask, and says what its table holds then; `None` where it may not be asked: the neighbour is on no link of this
/// machine, or on the one with the default route.
pub(super) fn ask(machine: &Machine, neighbor: Ipv4Addr) -> Option<ARPEntry> {
    if !machine.is_this_one() || !may_ask(&machine.parsed("/proc/net/route")?, neighbor) {
        return None;
    }
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((neighbor, DISCARD)).ok()?;
    socket.set_read_timeout(Some(LOOK)).ok()?;
    socket.send(&[]).ok()?;
    for _ in 0..LOOKS {
        let heard = socket.recv(&mut [0]);
        let found = entry(machine, neighbor);
        let has_answered = found
            .as_ref()
            .is_some_and(|found| found.flags.contains(ARPFlags::COM));
        let has_failed = heard.is_err_and(|error| error.kind() == ErrorKind::HostUnreachable);
        if has_answered || has_failed {
            return found;
        }
    }
    entry(machine, neighbor)
}

/// Whether the kernel's way to a neighbour is a link of its own that no default route uses.
fn may_ask(routes: &RouteEntries, neighbor: Ipv4Addr) -> bool {
    let leads = |mask: Ipv4Addr, to: Ipv4Addr| neighbor.to_bits() & mask.to_bits() == to.to_bits();
    let route = routes
        .0
        .iter()
        .filter(|route| leads(route.mask, route.destination))
        .max_by_key(|route| route.mask.to_bits());
    route.is_some_and(|route| {
        let has_default = routes
            .0
            .iter()
            .any(|other| other.mask.is_unspecified() && other.iface == route.iface);
        route.gateway.is_unspecified() && !route.mask.is_unspecified() && !has_default
    })
}

#[cfg(test)]
mod tests {
    use procfs_core::FromRead as _;

    use super::*;

    #[test]
    fn only_links_of_this_machine_without_the_default_route_are_asked() {
        // Default by eth0 with 192.0.2.0/24, 198.18.0.0/24 on eth1, 198.18.5.0/24 behind a router there.
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                     eth1\t000012C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                     eth1\t000512C6\t010012C6\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let routes = RouteEntries::from_read(table.as_bytes()).expect("routes");
        let may = |last: [u8; 4]| may_ask(&routes, last.into());
        assert!(may([198, 18, 0, 1]));
        assert!(!may([192, 0, 2, 1]), "the link of the default route");
        assert!(!may([198, 18, 5, 1]), "behind a router");
        assert!(!may([203, 0, 113, 1]), "by the default route");
    }
}
