//! The kernel beside us: which addresses it owns, and its side of a tap.
//!
//! It must never touch an interface that this run has not made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;

use stack::config::Interface;
use stack::config::LocalPrefix;
use stack::config::VlanId;

use crate::Error;
use crate::addresses::written;

/// An address that the kernel answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelAddress {
    /// The interface that has it.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
}

/// All addresses of the kernel in this network namespace.
///
/// # Errors
/// [`Error::KernelSide`] when it does not tell.
pub fn owned_addresses() -> Result<Vec<KernelAddress>, Error> {
    let list = nix::ifaddrs::getifaddrs().map_err(|error| {
        Error::KernelSide(format!(
            "cannot read the kernel's addresses (getifaddrs): {error}"
        ))
    })?;
    let owned = list.filter_map(|entry| {
        let address = entry.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        let v6 = address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()));
        Some(KernelAddress {
            interface: entry.interface_name,
            address: v4.or(v6)?,
        })
    });
    Ok(owned.collect())
}

/// Refuses addresses that two would answer for: the kernel knows nothing of our connections and would reset them.
/// `named` says what the user gave for each prefix: the error begins with it.
///
/// # Errors
/// [`Error::KernelAddress`] names the first.
pub fn refuse_owned(
    named: impl IntoIterator<Item = (String, LocalPrefix)>,
    owned: &[KernelAddress],
) -> Result<(), Error> {
    for (what, prefix) in named {
        if let Some(owner) = owned.iter().find(|owner| prefix.contains(owner.address)) {
            return Err(Error::KernelAddress {
                what,
                address: owner.address,
                interface: owner.interface.clone(),
            });
        }
    }
    Ok(())
}

/// The kernel's side of a tap that this run has made.
#[derive(Debug, Clone, Copy)]
pub struct KernelSide<'a> {
    /// Its name.
    pub tap: &'a str,
    /// The VLAN in which the kernel shall reach us: an interface of its own on the tap, unless it is untagged.
    pub vlan: VlanId,
    /// Our addresses.
    pub ours: &'a [Interface],
    /// Our prefixes.
    pub prefixes: &'a [LocalPrefix],
}

impl KernelSide<'_> {
    /// Sets it up, with these addresses, and routes our prefixes to us.
    ///
    /// # Errors
    /// [`Error::KernelSide`] with the command that failed and its words.
    pub fn bring_up(&self, addresses: &[Interface]) -> Result<(), Error> {
        let device = self.device();
        let of_vlan = self.vlan_commands();
        for command in of_vlan.iter().take(1) {
            run(command)?;
        }
        for address in addresses {
            run(&add_address(&device, address))?;
        }
        run(&link_up(self.tap))?;
        for command in of_vlan.iter().skip(1) {
            run(command)?;
        }
        for route in routes(&device, self.ours, self.prefixes) {
            run(&route)?;
        }
        Ok(())
    }

    /// The commands that a user would give for the same: for each of our addresses one of the same prefix for the kernel.
    pub fn commands(&self, gateways: &[IpAddr]) -> Vec<String> {
        let device = self.device();
        let mut commands = vec![link_up(self.tap)];
        commands.extend(self.vlan_commands());
        for ip in self.ours {
            let command = match free_neighbor(ip, self.ours, gateways) {
                Some(address) => add_address(
                    &device,
                    &Interface {
                        address,
                        prefix_len: ip.prefix_len,
                    },
                ),
                None => format!("ip route add {} dev {device}", ip.address),
            };
            // Two of our addresses on one link need one of the kernel's.
            if !commands.contains(&command) {
                commands.push(command);
            }
        }
        commands.extend(routes(&device, self.ours, self.prefixes));
        commands
    }

    /// The interface that has the kernel's addresses.
    fn device(&self) -> String {
        match self.vlan {
            VlanId::UNTAGGED => self.tap.to_owned(),
            VlanId(id) => format!("{}.{id}", self.tap),
        }
    }

    /// Makes the interface of the VLAN, and then sets it up; nothing for untagged frames.
    fn vlan_commands(&self) -> Vec<String> {
        let (tap, device) = (self.tap, self.device());
        match self.vlan {
            VlanId::UNTAGGED => Vec::new(),
            VlanId(id) => vec![
                format!("{ADD_LINK} {tap} name {device} type vlan id {id}"),
                link_up(&device),
            ],
        }
    }
}

/// Switches the loopback interface of a new network namespace on: over it a kernel informs its own programs that a neighbour
/// doesn't answer.
///
/// # Errors
/// [`Error::KernelSide`] with the command that failed and its words.
pub fn bring_loopback_up() -> Result<(), Error> {
    run(&link_up("lo"))
}

/// How the interface of a VLAN is made.
const ADD_LINK: &str = "ip link add link";

/// Our prefixes are reached through one of our addresses of their family, if there is one: prefixes answer no ARP.
fn routes(tap: &str, ours: &[Interface], prefixes: &[LocalPrefix]) -> Vec<String> {
    let via = |prefix: &LocalPrefix| {
        let of_family = |ip: &&Interface| ip.address.is_ipv4() == prefix.first().is_ipv4();
        ours.iter().find(of_family).map(|ip| ip.address)
    };
    let route = |prefix: &LocalPrefix| {
        let via = via(prefix)?;
        Some(format!("ip route add {prefix} via {via} dev {tap}"))
    };
    prefixes.iter().filter_map(route).collect()
}

fn link_up(tap: &str) -> String {
    format!("ip link set dev {tap} up")
}

/// Without duplicate address detection for IPv6: no other host is on this link, and it takes a second.
fn add_address(tap: &str, address: &Interface) -> String {
    let nodad = if address.address.is_ipv6() {
        " nodad"
    } else {
        ""
    };
    format!("ip addr add {} dev {tap}{nodad}", written(address))
}

fn run(command: &str) -> Result<(), Error> {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap_or_default())
        .args(words)
        .output()
        .map_err(|error| {
            Error::KernelSide(format!(
                "`{command}` can't be run ({error}); install iproute2, or configure the tap yourself"
            ))
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("it does not say why");
    if command.starts_with(ADD_LINK) && said.contains("Unknown device type") {
        return Err(Error::KernelSide(format!(
            "`{command}` failed: this kernel has no VLANs; load the module 8021q, or put something else that speaks 802.1Q at the other end"
        )));
    }
    Err(Error::KernelSide(format!("`{command}` failed: {said}")))
}

/// The gateway on the link, else its first host address, that isn't ours.
fn free_neighbor(ip: &Interface, ours: &[Interface], gateways: &[IpAddr]) -> Option<IpAddr> {
    let free = |address: &IpAddr| {
        ip.on_link(*address) && ours.iter().all(|other| other.address != *address)
    };
    let hosts = (0..=ours.len() as u32 + 1).filter_map(|n| host(ip, n));
    gateways.iter().copied().chain(hosts).find(free)
}

/// The `n`-th host address of the link, or `None` behind its end. Network and broadcast address are none, except on links
/// of two (RFC 3021); the subnet-router anycast address is none (RFC 4291 §2.6.1), except there (RFC 6164).
fn host(ip: &Interface, n: u32) -> Option<IpAddr> {
    match ip.address {
        IpAddr::V4(address) => {
            let size = 1_u64 << (32 - ip.prefix_len.min(32));
            let offset = u64::from(n) + u64::from(size > 2);
            let network = u64::from(address.to_bits()) & !(size - 1);
            let last = if size > 2 { size - 2 } else { size - 1 };
            (offset <= last).then(|| IpAddr::V4(Ipv4Addr::from_bits((network + offset) as u32)))
        }
        IpAddr::V6(address) => {
            let host_bits = u32::from(128 - ip.prefix_len.min(128));
            let mask = 1_u128
                .checked_shl(host_bits)
                .map_or(u128::MAX, |size| size - 1);
            let offset = u128::from(n) + u128::from(mask > 1);
            let network = address.to_bits() & !mask;
            (offset <= mask).then(|| IpAddr::V6(Ipv6Addr::from_bits(network + offset)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addresses::{host_prefix, routed_prefix};

    fn interfaces(texts: &[&str]) -> Vec<Interface> {
        texts
            .iter()
            .map(|text| host_prefix(text).expect(text))
            .collect()
    }

    #[test]
    fn the_printed_commands_give_the_kernel_what_is_free() {
        for (ours, gateways, last) in [
            (
                &["198.18.0.2/24"][..],
                &[][..],
                "ip addr add 198.18.0.1/24 dev t0",
            ),
            (&["198.18.0.1/24"], &[], "ip addr add 198.18.0.2/24 dev t0"),
            (
                &["198.18.0.2/24"],
                &["198.18.0.254"],
                "ip addr add 198.18.0.254/24 dev t0",
            ),
            (
                &["198.18.0.2/24"],
                &["2001:db8::1"],
                "ip addr add 198.18.0.1/24 dev t0",
            ),
            (&["198.18.0.2/31"], &[], "ip addr add 198.18.0.3/31 dev t0"),
            (&["198.18.0.2/32"], &[], "ip route add 198.18.0.2 dev t0"),
            (&["198.18.0.2/0"], &[], "ip addr add 0.0.0.1/0 dev t0"),
            (
                &["2001:db8::2/64"],
                &[],
                "ip addr add 2001:db8::1/64 dev t0 nodad",
            ),
            (
                &["2001:db8::1/127"],
                &[],
                "ip addr add 2001:db8::/127 dev t0 nodad",
            ),
            (&["2001:db8::1/128"], &[], "ip route add 2001:db8::1 dev t0"),
            (
                &["198.18.0.1/24", "198.18.0.2/24"],
                &[],
                "ip addr add 198.18.0.3/24 dev t0",
            ),
        ] {
            let gateways: Vec<IpAddr> = gateways
                .iter()
                .map(|text| text.parse().expect("an address"))
                .collect();
            let side = KernelSide {
                tap: "t0",
                vlan: VlanId::UNTAGGED,
                ours: &interfaces(ours),
                prefixes: &[],
            };
            let commands = side.commands(&gateways);
            assert_eq!(commands, ["ip link set dev t0 up", last], "{ours:?}");
        }
    }

    #[test]
    fn in_a_vlan_the_kernel_gets_an_interface_of_its_own() {
        let side = KernelSide {
            tap: "t0",
            vlan: VlanId(5),
            ours: &interfaces(&["198.18.0.2/24"]),
            prefixes: &[routed_prefix("198.18.64.0/24").expect("a prefix")],
        };
        assert_eq!(
            side.commands(&[]),
            [
                "ip link set dev t0 up",
                "ip link add link t0 name t0.5 type vlan id 5",
                "ip link set dev t0.5 up",
                "ip addr add 198.18.0.1/24 dev t0.5",
                "ip route add 198.18.64.0/24 via 198.18.0.2 dev t0.5",
            ]
        );
    }

    #[test]
    fn prefixes_are_routed_through_our_address_and_may_hold_none_of_the_kernels() {
        let ours = interfaces(&["2001:db8::2/64", "198.18.0.2/24"]);
        let prefix = routed_prefix("198.18.64.0/24").expect("a prefix");
        assert_eq!(
            routes("t0", &ours, &[prefix]),
            ["ip route add 198.18.64.0/24 via 198.18.0.2 dev t0"]
        );
        let inside = KernelAddress {
            interface: "veth0".into(),
            address: Ipv4Addr::new(198, 18, 64, 9).into(),
        };
        let named = [("--prefix 198.18.64.0/24".to_owned(), prefix)];
        let error = refuse_owned(named, &[inside]).expect_err("refused");
        assert!(
            error
                .to_string()
                .contains("--prefix 198.18.64.0/24: the kernel owns 198.18.64.9"),
            "{error}"
        );
    }

    #[test]
    fn an_address_of_the_kernel_is_refused() {
        let owned = owned_addresses().expect("every kernel has a loopback interface");
        let loopback = KernelAddress {
            interface: "lo".into(),
            address: Ipv4Addr::LOCALHOST.into(),
        };
        let named = |address: Ipv4Addr| {
            let prefix = LocalPrefix::host(address.into()).expect("a host");
            [(address.to_string(), prefix)]
        };
        // A namespace whose loopback is down has no address at all.
        if owned.contains(&loopback) {
            let error = refuse_owned(named(Ipv4Addr::LOCALHOST), &owned).expect_err("refused");
            assert!(
                error
                    .to_string()
                    .contains("the kernel owns 127.0.0.1 (on lo)"),
                "{error}"
            );
        }
        let other = named(Ipv4Addr::new(198, 18, 64, 9));
        assert!(refuse_owned(other, std::slice::from_ref(&loopback)).is_ok());
    }
}
