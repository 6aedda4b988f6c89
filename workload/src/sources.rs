//! [`Sources`]: the local addresses that a client's connections come from, in turn, so that ports suffice.
//!
//! It must never repeat an address before all others had their turn.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stack::app::Connect;

/// A range of addresses, handed out round and round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sources {
    first: IpAddr,
    count: u32,
    next: u32,
}

impl Sources {
    /// `count` addresses (at least 1) from `first` on. The range must not pass the end of the address space.
    #[must_use]
    pub const fn new(first: IpAddr, count: u32) -> Self {
        Self {
            first,
            count: if count == 0 { 1 } else { count },
            next: 0,
        }
    }

    /// How many addresses there are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// How to open a connection from the next one.
    #[must_use]
    pub fn next_connect(&mut self) -> Connect {
        Connect {
            local: Some(self.take()),
            ..Connect::default()
        }
    }

    /// The next one.
    #[must_use]
    pub(crate) fn take(&mut self) -> IpAddr {
        let offset = self.next;
        self.next = (offset + 1) % self.count;
        match self.first {
            IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits() + offset).into(),
            IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits() + u128::from(offset)).into(),
        }
    }
}
