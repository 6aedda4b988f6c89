//! Ranges of addresses: dperf counts from a first one, we write prefixes.
//!
//! It must never cover an address that the range doesn't.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AddressRange {
    /// The first one.
    pub(super) first: IpAddr,
    /// How many, at least 1.
    pub(super) count: u32,
}

/// An address as a number.
pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of a number, of the family of `like`. Numbers of IPv4 wrap.
pub(super) fn address(number: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from_bits(number as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(number).into(),
    }
}

/// Bits of an address of the family of `like`.
const fn bits(like: IpAddr) -> u32 {
    if like.is_ipv4() { 32 } else { 128 }
}

impl AddressRange {
    /// All addresses, in order.
    pub(super) fn addresses(self) -> impl Iterator<Item = IpAddr> {
        let first = number(self.first);
        (0..self.count).map(move |n| address(first + u128::from(n), self.first))
    }

    /// The fewest prefixes that cover exactly these addresses, as `ADDR/LEN`.
    pub(super) fn prefixes(self) -> Vec<String> {
        let mut at = number(self.first);
        let mut left = u128::from(self.count);
        let mut prefixes = Vec::new();
        while left > 0 {
            let aligned = at.trailing_zeros().min(bits(self.first));
            let free = aligned.min(left.ilog2());
            let len = bits(self.first) - free;
            prefixes.push(format!("{}/{len}", address(at, self.first)));
            at += 1 << free;
            left -= 1 << free;
        }
        prefixes
    }
}

/// The longest prefix that holds both addresses, neither of which is its first or last one where those are no hosts' (IPv4, up to /30).
pub(super) fn common_prefix_len(one: IpAddr, other: IpAddr) -> u32 {
    let differing = number(one) ^ number(other);
    let mut len = bits(one) - (128 - differing.leading_zeros());
    let is_host = |address: IpAddr, len: u32| {
        let last = (1 << (bits(address) - len)) - 1;
        !address.is_ipv4() || len > 30 || ![0, last].contains(&(number(address) & last))
    };
    while len > 0 && !(is_host(one, len) && is_host(other, len)) {
        len -= 1;
    }
    len
}
