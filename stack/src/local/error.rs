//! [`LocalAddrsError`]: why addresses or VLANs can't be ours.
//!
//! Each text names the cause and the fix, for the author of the configuration.

use core::fmt;
use core::net::IpAddr;

use crate::wire::vlan::VlanId;

/// Addresses that [`LocalId`](super::addresses::LocalId) can tell apart, those of each VLAN counted apart.
pub const MAX_LOCAL_ADDRS: u32 = 1 << 16;

/// A set of local addresses can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalAddrsError {
    /// The prefix length exceeds 32 (IPv4) or 128 (IPv6).
    PrefixLen {
        /// The address as given.
        address: IpAddr,
        /// The length as given.
        len: u8,
    },
    /// The address has bits behind the prefix: the notation for an interface (`198.18.0.2/24`), not for a prefix.
    HostBits {
        /// The address as given.
        address: IpAddr,
        /// The length as given.
        len: u8,
    },
    /// Unspecified, multicast, broadcast or IPv4-mapped: no host may own it (RFC 1122 §3.2.1.3, RFC 4291 §2.5).
    NotUnicast(IpAddr),
    /// Two entries share an address.
    Overlap(IpAddr),
    /// More than `MAX_LOCAL_ADDRS` addresses in all.
    TooMany,
    /// No such VLAN: more than 4094.
    NoSuchVlan(VlanId),
    /// The same VLAN twice.
    VlanTwice(VlanId),
    /// A list of VLANs without any.
    NoVlan,
    /// The addresses of all VLANs together are more than `MAX_LOCAL_ADDRS`.
    TooManyInVlans {
        /// Addresses in each VLAN.
        addresses: u32,
        /// VLANs, untagged frames included.
        vlans: u32,
    },
}

impl fmt::Display for LocalAddrsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrefixLen { address, len } => {
                write!(
                    f,
                    "{address}/{len}: the prefix is too long; use at most 32 (IPv4) or 128 (IPv6)"
                )
            }
            Self::HostBits { address, len } => write!(
                f,
                "{address}/{len} has bits behind the prefix; give the prefix itself or one address"
            ),
            Self::NotUnicast(address) => write!(f, "{address} can't be the address of a host"),
            Self::Overlap(address) => write!(f, "{address} is given twice; remove one"),
            Self::TooMany => write!(
                f,
                "more than {MAX_LOCAL_ADDRS} local addresses; use longer prefixes"
            ),
            Self::NoSuchVlan(VlanId(id)) => write!(
                f,
                "invalid VLAN {id}: give 1 to 4094, or 0 for untagged frames"
            ),
            Self::VlanTwice(VlanId(id)) => write!(f, "VLAN {id} is given twice; remove one"),
            Self::NoVlan => write!(
                f,
                "the list of VLANs is empty: give at least one, or 0 for untagged frames"
            ),
            Self::TooManyInVlans { addresses, vlans } => write!(
                f,
                "{addresses} local addresses in each of {vlans} VLANs are more than {MAX_LOCAL_ADDRS}; use longer prefixes or fewer VLANs"
            ),
        }
    }
}

impl core::error::Error for LocalAddrsError {}
