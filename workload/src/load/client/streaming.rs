//! Bulk transfer: connections that send without an end, receive without an end, or both.
//!
//! It must never count a byte as sent that the peer has not acknowledged, nor keep one that came.

use stack::app::ConnId;
use stack::app::pattern;
use stack::app::{Cx, TxItem};
use stack::nic::Nic;

use super::LoadClient;
use super::beginning::SendOutcome;
use crate::load::LoadConn;
use crate::load::plan::{Direction, Work};
use crate::load::under_way::Stage;
use crate::tally::Fault;

/// Bytes of one item: a short queue of them fills a window of a megabyte, and is soon sent at the end.
const ITEM_LEN: u64 = 16 * 1024;
/// How often it is counted what is acknowledged.
const COUNT_EVERY_NS: u64 = 10_000_000;

impl LoadClient {
    /// The direction of the bulk; `None` where there is none.
    pub(super) const fn direction(&self) -> Option<Direction> {
        match self.plan.work {
            Work::Stream(direction) => Some(direction),
            _ => None,
        }
    }

    /// A connection is established: its transfer begins, with the request that asks for it if there is one.
    pub(super) fn begin_stream<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, index: u32) {
        self.disarm(cx, index);
        let Some(&conn) = self.connections.get(index) else {
            return;
        };
        let request = self.choose_for(index);
        if self.plan.requests.get(usize::from(request)).is_some() {
            let asked = self.send_request(cx, conn.id, request);
            if asked != Ok(SendOutcome::Sent) {
                // Nothing is queued yet: it is not its own queue that is full.
                return self.fail(cx, index, asked.err().unwrap_or(Fault::SendRefused));
            }
        }
        self.pump(cx, index);
    }

    /// Fills the send queue.
    pub(super) fn pump<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, index: u32) {
        if !self.direction().is_some_and(Direction::is_up) {
            return;
        }
        let Some(conn) = self.connections.get_mut(index) else {
            return;
        };
        while conn.stage == Stage::Open {
            let item = TxItem::Pattern {
                start: conn.sent_at.into(),
                len: ITEM_LEN,
            };
            if cx.send(conn.id, item).is_err() {
                return;
            }
            self.counts.bytes_out += ITEM_LEN;
            conn.sent_at = place(u64::from(conn.sent_at) + ITEM_LEN);
        }
    }

    /// Reads and forgets what has come, compared with the pattern if that is to come.
    pub(super) fn sink<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, id: ConnId, index: u32) {
        let Some(&conn) = self.connections.get(index) else {
            return;
        };
        let mut at = conn.received_at;
        let before = self.counts.bytes_in;
        loop {
            let bytes = cx.peek(id);
            if bytes.is_empty() {
                break;
            }
            let len = bytes.len();
            if self.plan.expects_pattern && !pattern::matches(at.into(), bytes) {
                return self.fail(cx, index, Fault::WrongContent);
            }
            cx.consume(id, u32::try_from(len).unwrap_or(u32::MAX));
            self.counts.bytes_in += len as u64;
            at = place(u64::from(at) + len as u64);
        }
        if let Some(conn) = self.connections.get_mut(index) {
            conn.received_at = at;
            conn.has_received |= self.counts.bytes_in > before;
        }
    }

    /// The peer has closed: the end of a transfer that it sends, and otherwise too early.
    pub(super) fn on_stream_end<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        id: ConnId,
        index: u32,
    ) {
        self.sink(cx, id, index);
        let Some(&conn) = self.connections.get(index) else {
            return;
        };
        if conn.stage != Stage::Closing {
            let is_whole = self.direction() == Some(Direction::Down) && conn.has_received;
            if is_whole {
                self.counts.bulk.transfers += 1;
            } else {
                self.note_broken(index, Fault::EndedEarly);
            }
        }
        self.close(cx, index);
    }

    /// Ends transfers, a burst at most: a FIN behind what is queued, and what still comes is read until the peer's.
    pub(super) fn end_streams<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>) {
        let now_ns = cx.now().as_ns();
        let mut left = self.plan.burst;
        for index in 0..self.connections.places() {
            let open = self.connections.get(index);
            let Some(id) = open
                .filter(|conn| conn.stage == Stage::Open)
                .map(|conn| conn.id)
            else {
                continue;
            };
            self.set_stage(index, Stage::Closing, now_ns);
            cx.shutdown(id);
            left -= 1;
            if left == 0 {
                return;
            }
        }
    }

    /// Counts what is acknowledged, now and then.
    pub(super) fn count_acked<N: Nic>(&mut self, cx: &Cx<'_, N, LoadConn>) {
        let now_ns = cx.now().as_ns();
        if now_ns < self.next_count_ns {
            return;
        }
        self.next_count_ns = now_ns + COUNT_EVERY_NS;
        let unacked: u64 = (0..self.connections.places())
            .filter_map(|index| self.connections.get(index))
            .map(|conn| cx.unacked_len(conn.id))
            .sum();
        let settled = self.counts.bytes_out.saturating_sub(unacked);
        self.counts.bulk.acked = settled.saturating_sub(self.counts.bulk.lost);
    }
}

/// The place in the pattern, which repeats.
fn place(offset: u64) -> u16 {
    // The period is below 2^16.
    (offset % pattern::PERIOD_LEN as u64) as u16
}
