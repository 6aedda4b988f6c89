//! The kernel beside us: the addresses that it owns, and whether the router answers.
//!
//! It must never send anything: what the kernel has heard so far counts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use procfs_core::net::{ARPFlags, ArpEntries};

use super::super::finding::Finding;
use super::super::machine::Machine;
use super::super::request::Request;

const ADDRESSES: &str = "addresses";
const GATEWAY: &str = "gateway";

/// Looks at the addresses and the gateway of the command.
pub(super) fn check(machine: &Machine, request: Option<&Request>, into: &mut Vec<Finding>) {
    let Some(request) = request else { return };
    // In a network namespace of its own the kernel has no addresses.
    if !request.link.wants_own_namespace() {
        check_addresses(machine, request, into);
    }
    for gateway in &request.link.gateway {
        check_gateway(machine, *gateway, into);
    }
}

fn check_addresses(machine: &Machine, request: &Request, into: &mut Vec<Finding>) {
    let owned = owned(machine);
    let of_hosts = request.link.ip.iter().map(|ip| ip.address);
    let taken = of_hosts.clone().find(|ip| owned.contains(ip));
    let covered = owned.iter().find(|ip| {
        request
            .link
            .prefix
            .iter()
            .any(|prefix| prefix.contains(**ip))
    });
    match taken.or(covered.copied()) {
        Some(address) => into.push(
            Finding::fault(
                ADDRESSES,
                format!("the kernel owns {address}: its resets would end our connections"),
                "give another address of the same prefix in --ip",
            )
            .or(format!(
                "ip addr del {address} dev INTERFACE (`ip addr show to {address}` names it)"
            )),
        ),
        None => into.push(Finding::ok(
            ADDRESSES,
            "the kernel owns none of those of this command",
        )),
    }
}

/// All addresses of the kernel.
fn owned(machine: &Machine) -> Vec<IpAddr> {
    let mut owned = Vec::new();
    let tree = machine.text("/proc/net/fib_trie").unwrap_or_default();
    let mut address: Option<Ipv4Addr> = None;
    for line in tree.lines().map(str::trim) {
        if let Some(leaf) = line.strip_prefix("|-- ") {
            address = leaf.parse().ok();
        } else if line == "/32 host LOCAL" {
            owned.extend(address.map(IpAddr::from));
        }
    }
    let list = machine.text("/proc/net/if_inet6").unwrap_or_default();
    let v6 = list.lines().filter_map(|line| {
        let digits = line.split_whitespace().next()?;
        u128::from_str_radix(digits, 16).ok()
    });
    owned.extend(v6.map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits))));
    owned
}

fn check_gateway(machine: &Machine, gateway: IpAddr, into: &mut Vec<Finding>) {
    let table: Option<ArpEntries> = machine.parsed("/proc/net/arp");
    let entry = table.and_then(|table| {
        let mut entries = table.0.into_iter();
        entries.find(|entry| IpAddr::from(entry.ip_address) == gateway)
    });
    into.push(match entry {
        Some(entry) if entry.flags.contains(ARPFlags::COM) => {
            Finding::ok(GATEWAY, format!("{gateway} has answered the kernel's ARP on {}", entry.device))
        }
        Some(entry) => Finding::warning(
            GATEWAY,
            format!("{gateway} does not answer ARP on {}", entry.device),
            format!("arping -c 3 -I {} {gateway}: is it up, and in the same VLAN?", entry.device),
        ),
        None => Finding::note(
            GATEWAY,
            format!("the kernel has never asked for {gateway}; `serve` asks when it sends the first packet off the link"),
        ),
    });
}
