//! [`LocalAddrs`]: the addresses that are ours, each under a 16-bit [`LocalId`], so that a record need not repeat them.
//!
//! Called by: classify (address to id, once per frame), output and reports (id to address). It must never change while
//! running: records hold ids.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::ndp;

/// Addresses that [`LocalId`] can tell apart.
pub const MAX_LOCAL_ADDRS: u32 = 1 << 16;

/// One of our addresses, interned. Ids of one [`LocalAddrs`] mean nothing to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LocalId(pub u16);

/// One address, or all addresses of a prefix, as ours.
///
/// A prefix is ours as a whole, its first and last address included; which of them is a broadcast address on some link
/// is for the caller to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalPrefix {
    first: IpAddr,
    len: u8,
}

/// A set of local addresses can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// More than [`MAX_LOCAL_ADDRS`] addresses in all.
    TooMany,
}

impl fmt::Display for LocalAddrsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrefixLen { address, len } => {
                write!(
                    f,
                    "{address}/{len}: no such prefix length; use at most 32 or 128"
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
        }
    }
}

impl core::error::Error for LocalAddrsError {}

impl LocalPrefix {
    /// One address.
    ///
    /// # Errors
    /// [`LocalAddrsError::NotUnicast`].
    pub fn host(address: IpAddr) -> Result<Self, LocalAddrsError> {
        Self::new(address, if address.is_ipv4() { 32 } else { 128 })
    }

    /// All addresses that share the first `len` bits of `address`, the others of which must be zero.
    ///
    /// # Errors
    /// [`LocalAddrsError`], all but `Overlap`.
    pub fn new(address: IpAddr, len: u8) -> Result<Self, LocalAddrsError> {
        let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
        let Some(free_bits) = bits.checked_sub(len) else {
            return Err(LocalAddrsError::PrefixLen { address, len });
        };
        if !is_unicast(address) {
            return Err(LocalAddrsError::NotUnicast(address));
        }
        if number(address).trailing_zeros() < u32::from(free_bits) {
            return Err(LocalAddrsError::HostBits { address, len });
        }
        if free_bits > 16 {
            return Err(LocalAddrsError::TooMany);
        }
        Ok(Self {
            first: address,
            len,
        })
    }

    /// The first address.
    #[must_use]
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// Leading bits that all its addresses share: 32 or 128 for a single one.
    #[must_use]
    pub const fn prefix_len(&self) -> u8 {
        self.len
    }

    /// Whether it covers an address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4()
            && number(address).wrapping_sub(number(self.first)) < u128::from(self.addresses())
    }

    /// How many addresses it covers: 1 to 65,536.
    #[must_use]
    pub fn addresses(&self) -> u32 {
        let bits: u8 = if self.first.is_ipv4() { 32 } else { 128 };
        1 << (bits - self.len)
    }
}

/// As users write it: a single address without its length.
impl fmt::Display for LocalPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.addresses() == 1 {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}/{}", self.first, self.len)
        }
    }
}

/// A run of addresses with consecutive ids.
#[derive(Debug, Clone, Copy)]
struct Range<A> {
    first: A,
    /// Number of addresses; at least 1.
    count: u32,
    /// Id of `first`.
    id: u32,
}

/// All addresses that are ours. Immutable once built.
#[derive(Debug, Clone)]
pub struct LocalAddrs {
    /// Ascending by `first`, without overlap.
    v4: Vec<Range<u32>>,
    v6: Vec<Range<u128>>,
    len: u32,
}

/// Of sorted ranges the last that starts at or before `address`. Out of line: one address is the common case.
#[inline(never)]
fn last_before<A: PartialOrd + Copy>(ranges: &[Range<A>], address: A) -> Option<&Range<A>> {
    ranges[..ranges.partition_point(|range| range.first <= address)].last()
}

impl LocalAddrs {
    /// Interns all addresses of `prefixes`, with ids in the order given.
    ///
    /// # Errors
    /// [`LocalAddrsError::Overlap`] or [`LocalAddrsError::TooMany`].
    pub fn new(prefixes: &[LocalPrefix]) -> Result<Self, LocalAddrsError> {
        let mut addrs = Self {
            v4: Vec::new(),
            v6: Vec::new(),
            len: 0,
        };
        for prefix in prefixes {
            let (count, id) = (prefix.addresses(), addrs.len);
            addrs.len = id.saturating_add(count);
            if addrs.len > MAX_LOCAL_ADDRS {
                return Err(LocalAddrsError::TooMany);
            }
            match prefix.first {
                IpAddr::V4(first) => addrs.v4.push(Range {
                    first: first.to_bits(),
                    count,
                    id,
                }),
                IpAddr::V6(first) => addrs.v6.push(Range {
                    first: first.to_bits(),
                    count,
                    id,
                }),
            }
        }
        addrs.v4.sort_by_key(|range| range.first);
        addrs.v6.sort_by_key(|range| range.first);
        // Prefixes nest or are apart, so a neighbour that starts inside is the only way to overlap.
        for pair in addrs.v4.windows(2) {
            if pair[1].first - pair[0].first < pair[0].count {
                return Err(LocalAddrsError::Overlap(
                    Ipv4Addr::from_bits(pair[1].first).into(),
                ));
            }
        }
        for pair in addrs.v6.windows(2) {
            if pair[1].first - pair[0].first < u128::from(pair[0].count) {
                return Err(LocalAddrsError::Overlap(
                    Ipv6Addr::from_bits(pair[1].first).into(),
                ));
            }
        }
        Ok(addrs)
    }

    /// How many addresses are ours.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether none is ours.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The id of an IPv4 address, or `None` when it isn't ours.
    #[must_use]
    #[inline(always)]
    pub fn find_v4(&self, address: Ipv4Addr) -> Option<LocalId> {
        let address = address.to_bits();
        let range = match self.v4.as_slice() {
            [only] => only,
            ranges => last_before(ranges, address)?,
        };
        let offset = address.wrapping_sub(range.first);
        (offset < range.count).then(|| LocalId((range.id + offset) as u16))
    }

    /// The id of an IPv6 address, or `None` when it isn't ours.
    #[must_use]
    #[inline]
    pub fn find_v6(&self, address: Ipv6Addr) -> Option<LocalId> {
        let address = address.to_bits();
        let range = match self.v6.as_slice() {
            [only] => only,
            ranges => last_before(ranges, address)?,
        };
        let offset = address.wrapping_sub(range.first);
        (offset < u128::from(range.count)).then(|| LocalId((range.id + offset as u32) as u16))
    }

    /// The id of an address of either family, or `None` when it isn't ours.
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<LocalId> {
        match address {
            IpAddr::V4(address) => self.find_v4(address),
            IpAddr::V6(address) => self.find_v6(address),
        }
    }

    /// Whether we are in an IPv6 group without having joined it: all nodes of the link, and the solicited-node groups of our
    /// addresses (RFC 4291 §2.8). We join no other.
    #[must_use]
    pub fn is_member(&self, group: Ipv6Addr) -> bool {
        /// What of an address stands in its solicited-node group.
        const LOW: u128 = 0x00ff_ffff;
        let holds = |range: &Range<u128>| {
            let offset = group.to_bits().wrapping_sub(range.first) & LOW;
            offset < u128::from(range.count)
        };
        group == ndp::ALL_NODES || ndp::is_solicited_node(group) && self.v6.iter().any(holds)
    }

    /// The ids of all our addresses within `prefix`, as runs of consecutive ones: the first id and the last. For set-up.
    #[must_use]
    pub fn ids_within(&self, prefix: &LocalPrefix) -> Vec<(LocalId, LocalId)> {
        let (first, count) = (number(prefix.first), u128::from(prefix.addresses()));
        match prefix.first {
            IpAddr::V4(_) => runs_within(self.v4.iter(), first, count, u128::from),
            IpAddr::V6(_) => runs_within(self.v6.iter(), first, count, |address| address),
        }
    }

    /// The address under an id, or `None` when no address has it. Walks the prefixes: for reports and set-up, or once
    /// per frame where there are few.
    #[must_use]
    pub fn address(&self, id: LocalId) -> Option<IpAddr> {
        let id = u32::from(id.0);
        let v4 = self
            .v4
            .iter()
            .find(|range| id.wrapping_sub(range.id) < range.count);
        if let Some(range) = v4 {
            return Some(Ipv4Addr::from_bits(range.first + (id - range.id)).into());
        }
        let range = self
            .v6
            .iter()
            .find(|range| id.wrapping_sub(range.id) < range.count)?;
        Some(Ipv6Addr::from_bits(range.first + u128::from(id - range.id)).into())
    }
}

/// The ids of those addresses of `ranges` that lie in `count` addresses from `first` on.
fn runs_within<'a, A: Copy + 'a>(
    ranges: impl Iterator<Item = &'a Range<A>>,
    first: u128,
    count: u128,
    number: impl Fn(A) -> u128,
) -> Vec<(LocalId, LocalId)> {
    let last = first + (count - 1);
    ranges
        .filter_map(|range| {
            let start = number(range.first);
            let from = start.max(first);
            let to = (start + u128::from(range.count - 1)).min(last);
            // Both differences are below 2^16: a set has no more addresses.
            let id = |address: u128| LocalId((u128::from(range.id) + (address - start)) as u16);
            (from <= to).then(|| (id(from), id(to)))
        })
        .collect()
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => !(a.is_unspecified() || a.is_multicast() || a.is_broadcast()),
        IpAddr::V6(a) => !(a.is_unspecified() || a.is_multicast() || a.to_ipv4_mapped().is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn prefix(text: &str) -> Result<LocalPrefix, LocalAddrsError> {
        let (address, len) = text.split_once('/').unwrap();
        LocalPrefix::new(addr(address), len.parse().unwrap())
    }

    #[test]
    fn every_address_has_its_own_id_and_finds_its_way_back() {
        let prefixes = [
            "198.18.5.0/24",
            "2001:db8::7/128",
            "198.18.0.2/32",
            "2001:db8:1::/120",
        ]
        .map(|text| prefix(text).unwrap());
        let addrs = LocalAddrs::new(&prefixes).unwrap();
        assert_eq!(addrs.len(), 256 + 1 + 1 + 256);
        for id in 0..addrs.len() as u16 {
            let address = addrs.address(LocalId(id)).unwrap();
            assert_eq!(addrs.find(address), Some(LocalId(id)));
        }
        assert_eq!(addrs.address(LocalId(addrs.len() as u16)), None);
        let strangers = [
            "198.18.4.255",
            "198.18.6.0",
            "198.18.0.1",
            "198.18.0.3",
            "2001:db8::6",
            "::",
        ];
        assert!(
            strangers
                .iter()
                .all(|text| addrs.find(addr(text)).is_none())
        );
    }

    #[test]
    fn it_is_in_the_solicited_node_groups_of_all_its_addresses() {
        let prefixes = ["2001:db8:1::fe00/120", "2001:db8::7/128", "198.18.0.2/32"];
        let addrs = LocalAddrs::new(&prefixes.map(|text| prefix(text).unwrap())).unwrap();
        let is_member = |text: &str| addrs.is_member(text.parse().unwrap());
        for group in [
            "ff02::1",
            "ff02::1:ff00:7",
            "ff02::1:ff00:fe00",
            "ff02::1:ff00:feff",
        ] {
            assert!(is_member(group), "{group}");
        }
        for other in [
            "ff02::1:ff00:8",
            "ff02::1:ff00:6",
            "ff02::1:ff00:fdff",
            "ff02::1:ff00:ff00",
            "ff02::1:ff01:fe00",
            "ff02::2",
            "2001:db8::7",
        ] {
            assert!(!is_member(other), "{other}");
        }
    }

    #[test]
    fn the_part_of_a_prefix_that_is_ours_is_known_by_its_ids() {
        let prefixes =
            ["198.18.5.0/24", "2001:db8::7/128", "198.18.4.9/32"].map(|text| prefix(text).unwrap());
        let addrs = LocalAddrs::new(&prefixes).unwrap();
        let ids = |text: &str| addrs.ids_within(&prefix(text).unwrap());
        let run = |first, last| (LocalId(first), LocalId(last));
        assert_eq!(ids("198.18.5.0/24"), [run(0, 255)]);
        assert_eq!(ids("198.18.5.64/26"), [run(64, 127)]);
        assert_eq!(ids("198.18.4.0/23"), [run(257, 257), run(0, 255)]);
        assert_eq!(ids("2001:db8::/120"), [run(256, 256)]);
        let covers = |text: &str, address| prefix(text).unwrap().contains(addr(address));
        assert!(covers("198.18.5.0/24", "198.18.5.255") && !covers("198.18.5.0/24", "198.18.6.0"));
        assert!(!covers("198.18.5.0/24", "198.18.4.255") && !covers("198.18.5.0/24", "::"));
        assert!(ids("198.18.6.0/24").is_empty() && ids("2001:db8:1::/120").is_empty());
    }

    #[test]
    fn one_address_and_none() {
        let one = LocalAddrs::new(&[LocalPrefix::host(addr("198.18.0.2")).unwrap()]).unwrap();
        assert_eq!(one.find(addr("198.18.0.2")), Some(LocalId(0)));
        assert_eq!(one.find(addr("198.18.0.1")), None);
        assert_eq!(one.find(addr("198.18.0.3")), None);
        let none = LocalAddrs::new(&[]).unwrap();
        assert!(none.is_empty() && none.find(addr("198.18.0.2")).is_none());
        assert_eq!(none.find(addr("2001:db8::1")), None);
    }

    #[test]
    fn sixty_five_thousand_addresses_and_not_one_more() {
        let whole = prefix("198.18.0.0/16").unwrap();
        let addrs = LocalAddrs::new(&[whole]).unwrap();
        assert_eq!(addrs.find(addr("198.18.255.255")), Some(LocalId(65_535)));
        let one_more = LocalPrefix::host(addr("198.19.0.0")).unwrap();
        assert_eq!(
            LocalAddrs::new(&[whole, one_more]).unwrap_err(),
            LocalAddrsError::TooMany
        );
        assert_eq!(prefix("198.18.0.0/15"), Err(LocalAddrsError::TooMany));
    }

    #[test]
    fn what_no_host_may_own_is_refused() {
        for text in [
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "ff02::1",
            "::ffff:198.18.0.1",
        ] {
            let address = addr(text);
            assert_eq!(
                LocalPrefix::host(address),
                Err(LocalAddrsError::NotUnicast(address))
            );
        }
        assert!(matches!(
            prefix("198.18.0.2/24"),
            Err(LocalAddrsError::HostBits { .. })
        ));
        assert!(matches!(
            prefix("198.18.0.2/33"),
            Err(LocalAddrsError::PrefixLen { .. })
        ));
        let twice = ["198.18.5.0/24", "198.18.5.9/32"].map(|text| prefix(text).unwrap());
        let overlap = LocalAddrsError::Overlap(addr("198.18.5.9"));
        assert_eq!(LocalAddrs::new(&twice).unwrap_err(), overlap);
        let twice = ["2001:db8::/120", "2001:db8::/120"].map(|text| prefix(text).unwrap());
        assert!(matches!(
            LocalAddrs::new(&twice),
            Err(LocalAddrsError::Overlap(_))
        ));
    }
}
