//! `LocalAddrs`: the addresses that are ours in each VLAN that is ours, each under a 16-bit [`LocalId`], so that a record
//! need not repeat them, and so that the VLAN is part of every flow key.
//!
//! It must never change while running: records hold ids.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::{LocalAddrsError, MAX_LOCAL_ADDRS};
use super::vlans::Vlans;
use crate::wire::ndp;
use crate::wire::vlan::VlanId;

/// One of our addresses in one of our VLANs, interned. Ids of one `LocalAddrs` mean nothing to another.
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
#[derive(Debug, Clone, Copy, Default)]
struct Range<A> {
    first: A,
    /// Number of addresses; at least 1 in a list.
    count: u32,
    /// Id of `first`.
    id: u32,
}

/// All addresses that are ours, in all VLANs that are ours: the same addresses in each. Immutable once built.
///
/// The ids of a VLAN follow each other in the order of the addresses; those of untagged frames come first.
#[derive(Debug, Clone)]
pub struct LocalAddrs {
    /// Where the fast lane looks: all addresses, or none when untagged frames are not ours.
    untagged: Ranges,
    all: Ranges,
    /// Addresses in each VLAN.
    len: u32,
    vlans: Vlans,
}

/// Runs of addresses of both families, each ascending by `first` and without overlap.
#[derive(Debug, Clone, Default)]
struct Ranges {
    /// The widest of `v4`, in which most addresses lie, or an empty one.
    widest_v4: Range<u32>,
    /// The same of `v6`.
    widest_v6: Range<u128>,
    v4: Vec<Range<u32>>,
    v6: Vec<Range<u128>>,
}

/// Of sorted ranges the last that starts at or before `address`. Out of line: one address is the common case.
#[inline(never)]
fn last_before<A: PartialOrd + Copy>(ranges: &[Range<A>], address: A) -> Option<&Range<A>> {
    ranges[..ranges.partition_point(|range| range.first <= address)].last()
}

impl Ranges {
    #[inline(always)]
    fn find_v4(&self, address: Ipv4Addr) -> Option<u32> {
        let address = address.to_bits();
        let offset = address.wrapping_sub(self.widest_v4.first);
        if offset < self.widest_v4.count {
            return Some(self.widest_v4.id + offset);
        }
        self.search_v4(address)
    }

    #[inline(never)]
    fn search_v4(&self, address: u32) -> Option<u32> {
        let range = last_before(&self.v4, address)?;
        let offset = address.wrapping_sub(range.first);
        (offset < range.count).then(|| range.id + offset)
    }

    #[inline(always)]
    fn find_v6(&self, address: Ipv6Addr) -> Option<u32> {
        let address = address.to_bits();
        let offset = address.wrapping_sub(self.widest_v6.first);
        if offset < u128::from(self.widest_v6.count) {
            return Some(self.widest_v6.id + offset as u32);
        }
        self.search_v6(address)
    }

    #[inline(never)]
    fn search_v6(&self, address: u128) -> Option<u32> {
        let range = last_before(&self.v6, address)?;
        let offset = address.wrapping_sub(range.first);
        (offset < u128::from(range.count)).then(|| range.id + offset as u32)
    }

    /// The address in this place of the order in which they were given. Walks the runs: there are few.
    #[inline]
    fn address(&self, place: u32) -> Option<IpAddr> {
        let v4 = self
            .v4
            .iter()
            .find(|range| place.wrapping_sub(range.id) < range.count);
        if let Some(range) = v4 {
            return Some(Ipv4Addr::from_bits(range.first + (place - range.id)).into());
        }
        let range = self
            .v6
            .iter()
            .find(|range| place.wrapping_sub(range.id) < range.count)?;
        Some(Ipv6Addr::from_bits(range.first + u128::from(place - range.id)).into())
    }
}

impl LocalAddrs {
    /// Interns all addresses of `prefixes`, with ids in the order given, for untagged frames and, while they are few enough
    /// ([`Vlans::any`]), for every VLAN.
    ///
    /// # Errors
    /// [`LocalAddrsError::Overlap`] or [`LocalAddrsError::TooMany`].
    pub fn new(prefixes: &[LocalPrefix]) -> Result<Self, LocalAddrsError> {
        let (all, len) = ranges(prefixes)?;
        Ok(Self::build(all, len, Vlans::any(len)))
    }

    /// Interns all addresses of `prefixes` in each VLAN of `vlans` and in no other.
    ///
    /// # Errors
    /// As [`LocalAddrs::new`], and those of [`Vlans::only`].
    pub fn in_vlans(prefixes: &[LocalPrefix], vlans: &[VlanId]) -> Result<Self, LocalAddrsError> {
        let (all, len) = ranges(prefixes)?;
        Ok(Self::build(all, len, Vlans::only(vlans, len)?))
    }

    fn build(all: Ranges, len: u32, vlans: Vlans) -> Self {
        let untagged = match vlans.first() {
            VlanId::UNTAGGED => all.clone(),
            //~ Untagged frames needn't be ours: -> `_ => all.clone(),`;
            //~   frames_of_vlans_that_are_not_ours_are_dropped_whatever_they_are
            _ => Ranges::default(),
        };
        Self {
            untagged,
            all,
            len,
            vlans,
        }
    }

    /// How many addresses are ours, each counted once and not once a VLAN.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether none is ours.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The VLANs that are ours.
    #[must_use]
    pub fn vlans(&self) -> &Vlans {
        &self.vlans
    }

    /// The id of the destination of an untagged IPv4 packet, or `None` when the packet isn't for us.
    #[must_use]
    #[inline(always)]
    pub fn find_untagged_v4(&self, address: Ipv4Addr) -> Option<LocalId> {
        self.untagged.find_v4(address).map(|id| LocalId(id as u16))
    }

    /// The id of the destination of an untagged IPv6 packet, or `None` when the packet isn't for us.
    #[must_use]
    #[inline]
    pub fn find_untagged_v6(&self, address: Ipv6Addr) -> Option<LocalId> {
        self.untagged.find_v6(address).map(|id| LocalId(id as u16))
    }

    /// The id of an address of either family in a VLAN, or `None` when one of the two isn't ours.
    #[must_use]
    #[inline]
    pub fn find(&self, vlan: VlanId, address: IpAddr) -> Option<LocalId> {
        match address {
            IpAddr::V4(address) => self.find_v4(vlan, address),
            IpAddr::V6(address) => self.find_v6(vlan, address),
        }
    }

    #[inline(never)]
    fn find_v6(&self, vlan: VlanId, address: Ipv6Addr) -> Option<LocalId> {
        self.id_in(vlan, self.all.find_v6(address)?)
    }

    /// The same for an IPv4 address.
    #[must_use]
    #[inline(always)]
    pub fn find_v4(&self, vlan: VlanId, address: Ipv4Addr) -> Option<LocalId> {
        self.id_in(vlan, self.all.find_v4(address)?)
    }

    #[inline(always)]
    fn id_in(&self, vlan: VlanId, place: u32) -> Option<LocalId> {
        let index = self.vlans.index(vlan)?;
        // Below 2^16: the constructors saw to it.
        //~ A VLAN is part of the flow: `index * self.len + place` -> `place + 0 * index`;
        //~   data_from_another_vlan_is_another_flow_whatever_record_there_is
        Some(LocalId((index * self.len + place) as u16))
    }

    /// Whether we are in an IPv6 group without having joined it: all nodes of the link, and the solicited-node groups of our
    /// addresses (RFC 4291 §2.8). We join no other.
    #[must_use]
    pub fn is_member(&self, group: Ipv6Addr) -> bool {
        /// The part of an address that stands in its solicited-node group.
        const LOW: u128 = 0x00ff_ffff;
        let holds = |range: &Range<u128>| {
            let offset = group.to_bits().wrapping_sub(range.first) & LOW;
            offset < u128::from(range.count)
        };
        //~ Each address has its solicited-node group: `ndp::is_solicited_node(group) && self.all.v6.iter().any(holds)`
        //~   -> `{ let _ = holds; false }`; it_is_in_the_solicited_node_groups_of_all_its_addresses
        group == ndp::ALL_NODES || ndp::is_solicited_node(group) && self.all.v6.iter().any(holds)
    }

    /// The places of all our addresses within `prefix` in the order of the addresses, as runs: the first place and the last.
    /// They are also the ids in the first VLAN. For set-up.
    #[must_use]
    pub fn ids_within(&self, prefix: &LocalPrefix) -> Vec<(LocalId, LocalId)> {
        let (first, count) = (number(prefix.first), u128::from(prefix.addresses()));
        match prefix.first {
            IpAddr::V4(_) => runs_within(self.all.v4.iter(), first, count, u128::from),
            IpAddr::V6(_) => runs_within(self.all.v6.iter(), first, count, |address| address),
        }
    }

    /// The VLAN of an id, or `None` when nothing has it.
    #[must_use]
    #[inline]
    pub fn vlan(&self, id: LocalId) -> Option<VlanId> {
        let place = u32::from(id.0);
        if place < self.len {
            return Some(self.vlans.first());
        }
        self.vlans.get(place.checked_div(self.len)?)
    }

    /// The VLAN and the address under an id, or `None` when nothing has it. Walks the prefixes: for reports and set-up, or
    /// once per frame where there are few.
    #[must_use]
    #[inline]
    pub fn locate(&self, id: LocalId) -> Option<(VlanId, IpAddr)> {
        let place = u32::from(id.0);
        if place < self.len {
            return Some((self.vlans.first(), self.all.address(place)?));
        }
        self.locate_in_other(place)
    }

    /// As [`LocalAddrs::locate`], for all VLANs but the first.
    #[inline(never)]
    fn locate_in_other(&self, id: u32) -> Option<(VlanId, IpAddr)> {
        let vlan = self.vlans.get(id.checked_div(self.len)?)?;
        Some((vlan, self.all.address(id % self.len)?))
    }
}

/// The runs of addresses of `prefixes`, numbered in the order given, and how many addresses there are.
fn ranges(prefixes: &[LocalPrefix]) -> Result<(Ranges, u32), LocalAddrsError> {
    let mut ranges = Ranges::default();
    let mut len = 0u32;
    for prefix in prefixes {
        let (count, id) = (prefix.addresses(), len);
        len = id.saturating_add(count);
        if len > MAX_LOCAL_ADDRS {
            return Err(LocalAddrsError::TooMany);
        }
        match prefix.first {
            IpAddr::V4(first) => ranges.v4.push(Range {
                first: first.to_bits(),
                count,
                id,
            }),
            IpAddr::V6(first) => ranges.v6.push(Range {
                first: first.to_bits(),
                count,
                id,
            }),
        }
    }
    ranges.v4.sort_by_key(|range| range.first);
    let widest = ranges.v4.iter().max_by_key(|range| range.count);
    ranges.widest_v4 = widest.copied().unwrap_or_default();
    ranges.v6.sort_by_key(|range| range.first);
    let widest = ranges.v6.iter().max_by_key(|range| range.count);
    ranges.widest_v6 = widest.copied().unwrap_or_default();
    // Prefixes nest or are apart, so a neighbour that starts inside is the only way to overlap.
    for pair in ranges.v4.windows(2) {
        if pair[1].first - pair[0].first < pair[0].count {
            return Err(LocalAddrsError::Overlap(
                Ipv4Addr::from_bits(pair[1].first).into(),
            ));
        }
    }
    for pair in ranges.v6.windows(2) {
        if pair[1].first - pair[0].first < u128::from(pair[0].count) {
            return Err(LocalAddrsError::Overlap(
                Ipv6Addr::from_bits(pair[1].first).into(),
            ));
        }
    }
    Ok((ranges, len))
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

    /// The id in untagged frames, by every way that leads to it.
    fn find(addrs: &LocalAddrs, address: IpAddr) -> Option<LocalId> {
        let found = addrs.find(VlanId::UNTAGGED, address);
        let fast = match address {
            IpAddr::V4(address) => addrs.find_untagged_v4(address),
            IpAddr::V6(address) => addrs.find_untagged_v6(address),
        };
        assert_eq!(found, fast);
        found
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
            let address = addrs.locate(LocalId(id)).unwrap();
            assert_eq!(address.0, VlanId::UNTAGGED);
            assert_eq!(find(&addrs, address.1), Some(LocalId(id)));
        }
        let last = addrs.len() as u16;
        assert_eq!(
            addrs.locate(LocalId(last)),
            None,
            "too many addresses for every VLAN"
        );
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
                .all(|text| find(&addrs, addr(text)).is_none())
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
        assert_eq!(find(&one, addr("198.18.0.2")), Some(LocalId(0)));
        assert_eq!(find(&one, addr("198.18.0.1")), None);
        assert_eq!(find(&one, addr("198.18.0.3")), None);
        let none = LocalAddrs::new(&[]).unwrap();
        assert!(none.is_empty() && find(&none, addr("198.18.0.2")).is_none());
        assert_eq!(find(&none, addr("2001:db8::1")), None);
    }

    #[test]
    fn sixty_five_thousand_addresses_and_not_one_more() {
        let whole = prefix("198.18.0.0/16").unwrap();
        let addrs = LocalAddrs::new(&[whole]).unwrap();
        assert_eq!(find(&addrs, addr("198.18.255.255")), Some(LocalId(65_535)));
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

    #[test]
    fn an_address_is_another_one_in_each_vlan() {
        let prefixes = ["198.18.0.2/32", "2001:db8::/120"].map(|text| prefix(text).unwrap());
        let vlans = [VlanId(6), VlanId::UNTAGGED, VlanId(5)];
        let addrs = LocalAddrs::in_vlans(&prefixes, &vlans).unwrap();
        assert_eq!(addrs.len(), 257);
        let mut seen = std::collections::HashSet::new();
        for vlan in vlans {
            for text in ["198.18.0.2", "2001:db8::", "2001:db8::ff"] {
                let id = addrs.find(vlan, addr(text)).unwrap();
                assert_eq!(addrs.locate(id), Some((vlan, addr(text))));
                assert!(seen.insert(id));
            }
            assert_eq!(addrs.find(vlan, addr("198.18.0.3")), None);
        }
        assert_eq!(addrs.find(VlanId(7), addr("198.18.0.2")), None);
        assert_eq!(find(&addrs, addr("198.18.0.2")), Some(LocalId(0)));
        assert_eq!(addrs.locate(LocalId(3 * 257)), None);
    }

    #[test]
    fn where_untagged_frames_are_not_ours_the_fast_lane_finds_nothing() {
        let host = LocalPrefix::host(addr("198.18.0.2")).unwrap();
        let addrs = LocalAddrs::in_vlans(&[host], &[VlanId(5)]).unwrap();
        assert_eq!(find(&addrs, addr("198.18.0.2")), None);
        assert_eq!(addrs.find(VlanId(5), addr("198.18.0.2")), Some(LocalId(0)));
    }

    #[test]
    fn without_a_list_up_to_sixteen_addresses_exist_in_every_vlan() {
        let sixteen = LocalAddrs::new(&[prefix("198.18.0.0/28").unwrap()]).unwrap();
        let last = addr("198.18.0.15");
        for id in 0..=4094 {
            let found = sixteen.find(VlanId(id), last).unwrap();
            assert_eq!(sixteen.locate(found), Some((VlanId(id), last)));
        }
        assert_eq!(sixteen.find(VlanId(4095), last), None, "reserved");
        let more = LocalAddrs::new(&[prefix("198.18.0.0/27").unwrap()]).unwrap();
        assert_eq!(more.find(VlanId(1), last), None);
        assert_eq!(find(&more, last), Some(LocalId(15)));
    }

    #[test]
    fn lists_of_vlans_that_can_not_be_are_refused() {
        let whole = [prefix("198.18.0.0/17").unwrap()];
        let error = |vlans: &[u16]| {
            let vlans: Vec<_> = vlans.iter().copied().map(VlanId).collect();
            LocalAddrs::in_vlans(&whole, &vlans).unwrap_err()
        };
        assert!(LocalAddrs::in_vlans(&whole, &[VlanId(5), VlanId(6)]).is_ok());
        assert_eq!(
            error(&[5, 6, 7]),
            LocalAddrsError::TooManyInVlans {
                addresses: 32_768,
                vlans: 3
            }
        );
        assert_eq!(error(&[5, 5]), LocalAddrsError::VlanTwice(VlanId(5)));
        assert_eq!(error(&[4095]), LocalAddrsError::NoSuchVlan(VlanId(4095)));
        assert_eq!(error(&[]), LocalAddrsError::NoVlan);
    }
}
