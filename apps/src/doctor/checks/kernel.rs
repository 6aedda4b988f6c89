//! The kernel beside us: the addresses that it owns, and whether the router and the targets answer.
//!
//! It must never send anything itself: what the kernel has heard counts, and what it hears when it may be asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use procfs_core::net::ARPFlags;

use super::super::finding::Finding;
use super::super::machine::Machine;
use super::super::request::Request;
use super::ask;

const ADDRESSES: &str = "addresses";
const GATEWAY: &str = "gateway";
const TARGETS: &str = "targets";
/// Targets that are looked up among the kernel's neighbours: a flood may have 65,536.
const TARGETS_MAX: usize = 16;

/// Looks at the addresses, the gateway and the targets of the command.
pub(super) fn check(machine: &Machine, request: Option<&Request>, into: &mut Vec<Finding>) {
    let Some(request) = request else { return };
    // In a network namespace of its own the kernel has no addresses.
    if !request.link.wants_own_namespace() {
        check_addresses(machine, request, into);
    }
    for gateway in &request.link.gateway {
        check_neighbor(machine, GATEWAY, *gateway, into);
    }
    check_targets(machine, request, into);
}

/// Each target is on a link of ours, or there is a router of its family.
fn check_targets(machine: &Machine, request: &Request, into: &mut Vec<Finding>) {
    // Without addresses of ours the run chooses both ends itself.
    if request.link.ip.is_empty() {
        return;
    }
    let is_on_link = |target: &IpAddr| request.link.ip.iter().any(|ip| ip.on_link(*target));
    let has_router = |target: &IpAddr| {
        let mut routers = request.link.gateway.iter();
        routers.any(|router| router.is_ipv4() == target.is_ipv4())
    };
    let mut targets = request.needs.targets.clone();
    targets.sort();
    targets.dedup();
    let lost = targets.iter().find(|ip| !is_on_link(ip) && !has_router(ip));
    if let Some(target) = lost {
        into.push(
            Finding::fault(
                TARGETS,
                format!(
                    "{target} is on no link of --ip, and no --gateway of its family leads there"
                ),
                "give --gateway, the router on our link",
            )
            .or("give an --ip with a prefix length that contains the target"),
        );
    }
    for target in targets.iter().filter(|ip| is_on_link(ip)).take(TARGETS_MAX) {
        check_neighbor(machine, TARGETS, *target, into);
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
            "the kernel owns no address of this command",
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

/// Whether a neighbour to which the command will send answers the kernel, or has answered it before.
fn check_neighbor(
    machine: &Machine,
    check: &'static str,
    neighbor: IpAddr,
    into: &mut Vec<Finding>,
) {
    let entry = match neighbor {
        IpAddr::V4(neighbor) => {
            ask::ask(machine, neighbor).or_else(|| ask::entry(machine, neighbor))
        }
        IpAddr::V6(_) => None,
    };
    into.push(match entry {
        Some(entry) if entry.flags.contains(ARPFlags::COM) => {
            Finding::ok(check, format!("{neighbor} has answered the kernel's ARP on {}", entry.device))
        }
        Some(entry) => Finding::warning(
            check,
            format!("{neighbor} does not answer ARP on {}", entry.device),
            format!("arping -c 3 -I {} {neighbor}: is it up, and in the same VLAN?", entry.device),
        ),
        None => Finding::note(
            check,
            format!("the kernel was not asked about {neighbor}: only the interface with the default route leads there, and \
             doctor sends nothing over it; the run itself will ask"),
        ),
    });
}
