//! [`SourcePool`]: addresses × ports as one index space, and [`TupleSequence`]: the order in which the indices are used.
//!
//! It must never keep a table of tuples: both directions, index to tuple and back, are arithmetic.

// Division by a number that is known at start.
mod divisor;
// A keyed order of an index space.
mod permutation;
// The order in which one process or worker uses an index space.
mod sequence;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use divisor::Divisor;
use divisor::ShortDivisor;
pub use permutation::Permutation;
pub use sequence::{Shard, TupleOrder, TupleSequence};

/// Tuples of a pool at most: indices, and sums of them, stay far from the end of 64 bits.
pub const TUPLES_MAX: u64 = 1 << 62;

/// Consecutive ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest, at least `first`.
    pub last: u16,
}

impl PortRange {
    /// The ports that sources have where none are named: 1024 to 65,535.
    pub const UNPRIVILEGED: Self = Self {
        first: 1024,
        last: u16::MAX,
    };

    /// How many ports there are, 1 to 65,536.
    #[must_use]
    pub(crate) const fn count(self) -> u32 {
        (self.last - self.first) as u32 + 1
    }
}

/// One end of a connection: an address and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source {
    /// The address as a number: IPv4 in the low 32 bits.
    pub address: u128,
    /// The port.
    pub port: u16,
}

/// Why there is no such pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolError {
    /// No prefix or no port was named, or all addresses were taken out.
    Empty,
    /// Prefixes of both families.
    MixedFamilies,
    /// More tuples than [`TUPLES_MAX`].
    TooLarge,
    /// The lowest port of a range is above its highest.
    PortsReversed(PortRange),
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(
                f,
                "the pool has no address: name a prefix with addresses of its own"
            ),
            Self::MixedFamilies => write!(
                f,
                "the pool has IPv4 and IPv6 prefixes: use those of one family, and another run for the other"
            ),
            Self::TooLarge => write!(
                f,
                "the pool has more than 2^62 tuples (addresses × ports): name a longer prefix, such as a /96"
            ),
            Self::PortsReversed(PortRange { first, last }) => {
                write!(f, "ports {first}-{last}: the first is above the last")
            }
        }
    }
}

impl core::error::Error for PoolError {}

/// Consecutive addresses, and the number of those in the ranges before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AddressRange {
    first: u128,
    last: u128,
    before: u64,
}

impl AddressRange {
    /// One too few for the whole of IPv6, which no pool can be.
    const fn count(&self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }
}

/// Consecutive ports, and the number of those in the ranges before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PlacedPorts {
    range: PortRange,
    before: u32,
}

/// Prefixes × port ranges as one index space: index = number of the address × ports + number of the port. Addresses and
/// ports that were named twice are there once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePool {
    is_ipv6: bool,
    addresses: Vec<AddressRange>,
    address_count: u64,
    ports: Vec<PlacedPorts>,
    port_count: Divisor,
    /// `port_count` for indices of 32 bits.
    short_port_count: ShortDivisor,
}

impl SourcePool {
    /// All addresses of the `prefixes` (an address and the length of its prefix, of one family) with all `ports`.
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn new(prefixes: &[(IpAddr, u8)], ports: &[PortRange]) -> Result<Self, PoolError> {
        let is_ipv6 = prefixes.first().ok_or(PoolError::Empty)?.0.is_ipv6();
        if prefixes
            .iter()
            .any(|(address, _)| address.is_ipv6() != is_ipv6)
        {
            return Err(PoolError::MixedFamilies);
        }
        let ranges = prefixes
            .iter()
            .map(|&(address, len)| range_of(address, len));
        let (ports, port_count) = merged_ports(ports)?;
        let mut pool = Self {
            is_ipv6,
            addresses: merged(ranges.collect()),
            address_count: 0,
            ports,
            port_count: Divisor::new(port_count.into()),
            short_port_count: ShortDivisor::new(port_count),
        };
        pool.count_addresses()?;
        Ok(pool)
    }

    /// The pool without one address; the same when it was not in it.
    ///
    /// # Errors
    /// [`PoolError::Empty`] when it was the only one.
    pub fn without(mut self, address: IpAddr) -> Result<Self, PoolError> {
        if address.is_ipv6() != self.is_ipv6 {
            return Ok(self);
        }
        let taken = bits(address);
        let split = |range: AddressRange| {
            let below = (taken > range.first).then(|| (range.first, range.last.min(taken - 1)));
            let above = (taken < range.last).then(|| (range.first.max(taken + 1), range.last));
            [below, above]
        };
        let parts = self.addresses.iter().flat_map(|range| {
            if (range.first..=range.last).contains(&taken) {
                split(*range)
            } else {
                [Some((range.first, range.last)), None]
            }
        });
        self.addresses = parts
            .flatten()
            .map(|(first, last)| AddressRange {
                first,
                last,
                before: 0,
            })
            .collect();
        self.count_addresses()?;
        Ok(self)
    }

    /// Whether its addresses are of IPv6.
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        self.is_ipv6
    }

    /// How many addresses it has.
    #[must_use]
    pub const fn addresses(&self) -> u64 {
        self.address_count
    }

    /// How many ports each address has, 1 to 65,536.
    #[must_use]
    pub const fn ports(&self) -> u32 {
        self.port_count.get() as u32
    }

    /// How many tuples it has, 1 to [`TUPLES_MAX`].
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a pool is never empty")]
    pub const fn len(&self) -> u64 {
        self.address_count * self.port_count.get()
    }

    /// The tuple at `index`, which is below [`SourcePool::len`]; the last one for an index beyond.
    #[must_use]
    #[inline]
    pub fn get(&self, index: u64) -> Source {
        let (address, port) = self.port_count.div_rem(index);
        Source {
            address: self.address(address),
            port: self.port(port as u32),
        }
    }

    /// [`SourcePool::get`] of many IPv4 tuples at a time, addresses and ports apart. Where the pool is one range of addresses with
    /// one range of ports, the compiler does several in one vector.
    #[inline]
    pub fn get_ipv4_run<const N: usize>(
        &self,
        indices: &[u64; N],
        addresses: &mut [u32; N],
        ports: &mut [u16; N],
    ) {
        let port_count = self.short_port_count;
        if let ([range], [placed]) = (&self.addresses[..], &self.ports[..])
            && self.len() <= u64::from(u32::MAX)
        {
            let (first_address, first_port) = (range.first as u32, placed.range.first);
            for ((&index, address), port) in indices.iter().zip(addresses).zip(ports) {
                let (quotient, rest) = port_count.div_rem(index as u32);
                *address = first_address.wrapping_add(quotient);
                *port = first_port.wrapping_add(rest as u16);
            }
            return;
        }
        for ((&index, address), port) in indices.iter().zip(addresses).zip(ports) {
            let source = self.get(index);
            (*address, *port) = (source.address as u32, source.port);
        }
    }

    /// The index of a tuple; `None` when it is not in the pool.
    #[must_use]
    #[inline]
    pub fn index_of(&self, source: Source) -> Option<u64> {
        let address = self.address_index(source.address)?;
        let port = self.port_index(source.port)?;
        Some(address * self.port_count.get() + u64::from(port))
    }

    /// The number of an address among those of the pool; `None` when it is not in it.
    #[must_use]
    #[inline]
    pub fn address_index(&self, address: u128) -> Option<u64> {
        let holds = |range: &&AddressRange| (range.first..=range.last).contains(&address);
        let range = self.addresses.iter().find(holds)?;
        Some(range.before + (address - range.first) as u64)
    }

    /// Whether the address is in the pool.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv6() == self.is_ipv6 && self.address_index(bits(address)).is_some()
    }

    /// The address with this number among those of the pool, as a number.
    #[must_use]
    #[inline]
    pub(crate) fn address(&self, index: u64) -> u128 {
        let starts = |range: &&AddressRange| range.before <= index;
        if let [range] = &self.addresses[..] {
            return range.first + u128::from(index);
        }
        // Never empty, and the first begins at 0.
        self.addresses
            .iter()
            .rfind(starts)
            .map_or(0, |range| range.first + u128::from(index - range.before))
    }

    /// The address with this number among those of the pool.
    #[must_use]
    pub fn ip(&self, index: u64) -> IpAddr {
        self.ip_of(self.address(index))
    }

    /// An address of the pool that is given as a number.
    #[must_use]
    #[inline]
    pub(crate) fn ip_of(&self, bits: u128) -> IpAddr {
        if self.is_ipv6 {
            Ipv6Addr::from_bits(bits).into()
        } else {
            Ipv4Addr::from_bits(bits as u32).into()
        }
    }

    #[inline]
    fn port(&self, index: u32) -> u16 {
        let starts = |ports: &&PlacedPorts| ports.before <= index;
        if let [ports] = &self.ports[..] {
            return ports.range.first.wrapping_add(index as u16);
        }
        self.ports.iter().rfind(starts).map_or(0, |ports| {
            ports
                .range
                .first
                .wrapping_add((index - ports.before) as u16)
        })
    }

    #[inline]
    fn port_index(&self, port: u16) -> Option<u32> {
        let holds = |ports: &&PlacedPorts| (ports.range.first..=ports.range.last).contains(&port);
        let ports = self.ports.iter().find(holds)?;
        Some(ports.before + u32::from(port - ports.range.first))
    }

    /// Numbers the addresses, range by range.
    fn count_addresses(&mut self) -> Result<(), PoolError> {
        let mut count = 0u128;
        for range in &mut self.addresses {
            range.before = u64::try_from(count).map_err(|_| PoolError::TooLarge)?;
            count = count
                .checked_add(range.count())
                .ok_or(PoolError::TooLarge)?;
        }
        let tuples = count.checked_mul(self.port_count.get().into());
        match tuples {
            Some(0) => Err(PoolError::Empty),
            Some(tuples) if tuples <= u128::from(TUPLES_MAX) => {
                self.address_count = count as u64;
                Ok(())
            }
            _ => Err(PoolError::TooLarge),
        }
    }
}

/// An address as a number: IPv4 in the low 32 bits.
#[must_use]
pub fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// All addresses that share the first `len` bits with this one.
fn range_of(address: IpAddr, len: u8) -> AddressRange {
    let width: u32 = if address.is_ipv6() { 128 } else { 32 };
    let host_bits = width.saturating_sub(len.into());
    // All ones where the host's bits are; the shift would be too far for a prefix of length 0.
    let host = 1u128
        .checked_shl(host_bits)
        .map_or(u128::MAX, |next| next - 1);
    let first = bits(address) & !host;
    AddressRange {
        first,
        last: first | host,
        before: 0,
    }
}

/// The same addresses in ascending order, those that overlap or touch in one range.
fn merged(mut ranges: Vec<AddressRange>) -> Vec<AddressRange> {
    ranges.sort_by_key(|range| range.first);
    let mut merged: Vec<AddressRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.first <= last.last.saturating_add(1) => {
                last.last = last.last.max(range.last);
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// The same ports in ascending order, each once, and their number.
fn merged_ports(ports: &[PortRange]) -> Result<(Vec<PlacedPorts>, u32), PoolError> {
    let mut ranges = ports.to_vec();
    ranges.sort();
    let (mut placed, mut count): (Vec<PlacedPorts>, u32) = (Vec::new(), 0);
    for range in ranges {
        if range.first > range.last {
            return Err(PoolError::PortsReversed(range));
        }
        match placed.last_mut() {
            Some(last) if u32::from(range.first) <= u32::from(last.range.last) + 1 => {
                count -= last.range.count();
                last.range.last = last.range.last.max(range.last);
                count += last.range.count();
            }
            _ => {
                placed.push(PlacedPorts {
                    range,
                    before: count,
                });
                count += range.count();
            }
        }
    }
    if placed.is_empty() {
        return Err(PoolError::Empty);
    }
    Ok((placed, count))
}

#[cfg(test)]
mod tests;
