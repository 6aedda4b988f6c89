//! When operations have taken too long: all may take equally long, so the oldest one is the next to be late.
//!
//! It must never leave an operation in the line that has ended.

use stack::app::Cx;
use stack::nic::{BURST_FRAMES, Nic};
use stack::time::Instant;

use super::LoadClient;
use crate::load::LoadConn;
use crate::load::under_way::{NONE, Operation, Slab, Stage};
use crate::tally::Fault;

/// The operations under way in the order of their beginning, linked by number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    oldest: u32,
    newest: u32,
}

impl Line {
    pub(super) const EMPTY: Self = Self {
        oldest: NONE,
        newest: NONE,
    };

    /// The operation of this place has just begun. Says which one is before it.
    #[inline]
    pub(super) fn push(&mut self, operations: &mut Slab<Operation>, place: u32) -> u32 {
        let older = core::mem::replace(&mut self.newest, place);
        match operations.get_mut(older) {
            Some(before) => before.newer = place,
            None => self.oldest = place,
        }
        older
    }

    /// The operation between these two has ended.
    #[inline]
    pub(super) fn close(&mut self, operations: &mut Slab<Operation>, (older, newer): (u32, u32)) {
        match operations.get_mut(older) {
            Some(before) => before.newer = newer,
            None => self.oldest = newer,
        }
        match operations.get_mut(newer) {
            Some(behind) => behind.older = older,
            None => self.newest = older,
        }
    }
}

impl LoadClient {
    /// Fails the operations that have taken too long, a burst at most.
    pub(super) fn expire<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>) {
        for _ in 0..BURST_FRAMES {
            let Some(oldest) = self.operations.get(self.line.oldest) else {
                return;
            };
            if cx.now() < Instant::from_ns(oldest.begun_ns) + self.plan.timeout {
                return;
            }
            let (index, is_unsent) = (oldest.conn, oldest.sent_ns == 0);
            let stage = self.connections.get(index).map(|conn| conn.stage);
            let fault = match stage {
                Some(Stage::Opening) => Fault::TimedOut,
                // There never was room for it.
                Some(Stage::Open) if is_unsent => Fault::SendRefused,
                _ => Fault::NoReply,
            };
            self.fail(cx, index, fault);
        }
    }
}
