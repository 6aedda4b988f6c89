//! The server of one byte there and back over connections that stay.
//!
//! It must never answer with another byte than the one that came.

use stack::app::CloseReason;
use stack::app::ConnId;
use stack::app::{Cx, StaticId, TxItem};
use stack::nic::Nic;

use crate::tally::{Fault, Tally};

/// Accepts, and answers each byte with the same.
#[derive(Debug, Default)]
pub struct RequestServer {
    /// All bytes that there are, registered in the first turn: the byte to send is where its value says.
    bytes: Option<StaticId>,
    pub(crate) tally: Tally,
}

impl RequestServer {
    /// A server.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn on_tick<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>) {
        if self.bytes.is_none() {
            let all: [u8; 256] = core::array::from_fn(|value| value as u8);
            self.bytes = cx.register_static(&all);
        }
    }

    pub(crate) fn on_open(&mut self) {
        self.tally.opened += 1;
    }

    pub(crate) fn on_data<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, conn: ConnId) {
        loop {
            let bytes = cx.peek(conn);
            let (Some(&byte), len) = (bytes.first(), bytes.len()) else {
                return;
            };
            let unread = cx.consume(conn, len as u32);
            if len != 1 {
                self.tally.fault(Fault::WrongLength);
            }
            self.tally.requests += 1;
            match self.send(cx, conn, byte) {
                Ok(()) => self.tally.replies += 1,
                Err(fault) => self.tally.fault(fault),
            }
            if unread == 0 {
                return;
            }
        }
    }

    fn send<N: Nic, S>(&self, cx: &mut Cx<'_, N, S>, conn: ConnId, byte: u8) -> Result<(), Fault> {
        let item = TxItem::Static {
            id: self.bytes.ok_or(Fault::NoMemory)?,
            start: byte.into(),
            len: 1,
        };
        cx.send(conn, item).map_err(|_| Fault::SendRefused)
    }

    /// No connection of this benchmark ends before it does.
    pub(crate) fn on_close(&mut self, reason: CloseReason) {
        self.tally
            .fault(Fault::of_close(reason, false).unwrap_or(Fault::EndedEarly));
    }
}
