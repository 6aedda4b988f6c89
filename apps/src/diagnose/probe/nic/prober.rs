//! [`Prober`]: the application of an attempt: it notes what its one connection meets.
//!
//! It must never act: its owner opens and closes the connection.

use stack::app::{App, ConnId, Cx};
use stack::nic::Nic;
use stack::tcp::verdict::{CloseReason, IcmpErrorKind};
use stack::time::Instant;

use super::super::attempt::GREETING_LEN;

/// Notes what is heard of one attempt at a time.
#[derive(Debug, Default)]
pub(super) struct Prober {
    number: u32,
    heard: AttemptNotes,
}

/// The callbacks of an attempt.
#[derive(Debug, Default)]
pub(super) struct AttemptNotes {
    /// When the handshake was complete.
    pub(super) opened_at: Option<Instant>,
    /// The first bytes that the peer sent.
    pub(super) greeting: Vec<u8>,
    /// When its FIN came.
    pub(super) peer_closed_at: Option<Instant>,
    /// A soft ICMP error before the connection was open: SYNs would go on, and what is found out is known.
    pub(super) soft: Option<IcmpErrorKind>,
    /// When and how the connection ended.
    pub(super) ended: Option<(Instant, CloseReason)>,
}

impl Prober {
    /// The next attempt begins; connections of those before are no longer noted.
    pub(super) fn begin(&mut self) {
        self.number += 1;
        self.heard = AttemptNotes::default();
    }

    /// The number of the attempt, which its connection carries.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// The callbacks so far.
    pub(super) fn heard(&self) -> &AttemptNotes {
        &self.heard
    }
}

impl App for Prober {
    type Conn = u32;

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, u32>, _: ConnId, number: &mut u32) {
        if *number == self.number {
            self.heard.opened_at = Some(cx.now());
        }
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, u32>, conn: ConnId, number: &mut u32) {
        loop {
            let bytes = cx.peek(conn);
            let len = bytes.len();
            if len == 0 {
                return;
            }
            let room = GREETING_LEN.saturating_sub(self.heard.greeting.len());
            if *number == self.number {
                self.heard.greeting.extend(&bytes[..len.min(room)]);
            }
            // A frame is shorter than that.
            cx.consume(conn, u32::try_from(len).unwrap_or(u32::MAX));
        }
    }

    fn on_peer_closed<N: Nic>(&mut self, cx: &mut Cx<'_, N, u32>, _: ConnId, number: &mut u32) {
        if *number == self.number {
            self.heard.peer_closed_at = Some(cx.now());
        }
    }

    fn on_soft_error<N: Nic>(
        &mut self,
        _: &mut Cx<'_, N, u32>,
        _: ConnId,
        number: &mut u32,
        error: IcmpErrorKind,
    ) {
        if *number == self.number && self.heard.opened_at.is_none() {
            self.heard.soft = Some(error);
        }
    }

    fn on_close<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, u32>,
        _: ConnId,
        number: &mut u32,
        reason: CloseReason,
    ) {
        if *number == self.number {
            self.heard.ended = Some((cx.now(), reason));
        }
    }
}
