//! [`Sources`]: the local addresses that a client's connections come from, in turn, so that ports suffice.
//!
//! It must never repeat an address before all others had their turn.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::ControlFlow;

use stack::app::ConnId;
use stack::app::{Connect, Cx};
use stack::nic::Nic;

use crate::ConnState;
use crate::tally::Tally;

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

    /// Opens `count` connections to `server`, each from the next address, until one can't be opened; `opened` hears of each.
    pub(crate) fn open<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, ConnState>,
        server: SocketAddr,
        count: u32,
        tally: &mut Tally,
        mut opened: impl FnMut(ConnId),
    ) {
        let opens = (0..count).map(|_| {
            let how = Connect {
                local: Some(self.take()),
                ..Connect::default()
            };
            (server, how, ConnState::default())
        });
        cx.connect_many(opens, |result| match result {
            Ok(conn) => {
                tally.started += 1;
                opened(conn);
                ControlFlow::Continue(())
            }
            Err(error) => {
                tally.fault(error.into());
                ControlFlow::Break(())
            }
        });
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
