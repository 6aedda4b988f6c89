//! [`Lingering`]: connections that we have finished with and whose peer has not: what still comes is read and forgotten,
//! for a while, so that no reset takes away what was sent last (RFC 9112 §9.6).
//!
//! It must never grow: without a free place the connection is closed at once.

use std::collections::VecDeque;
use std::time::Duration;

use stack::app::Cx;
use stack::conn::ConnId;
use stack::nic::Nic;
use stack::time::Instant;

/// How long the peer has.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections that linger at once, on one worker.
const PLACES: usize = 65_536;
/// Connections whose time is up that are closed in one turn.
const PER_TURN: usize = 64;

/// All of one worker, in the order in which their time ends.
#[derive(Debug)]
pub(super) struct Lingering {
    waiting: VecDeque<(Instant, ConnId)>,
}

impl Lingering {
    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::with_capacity(PLACES),
        }
    }

    /// Sends a FIN behind what is queued, and gives the peer time for its own. True when the connection is to read on.
    pub(super) fn finish<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, conn: ConnId) -> bool {
        if self.waiting.len() == PLACES {
            cx.close(conn);
            return false;
        }
        cx.shutdown(conn);
        self.waiting.push_back((cx.now() + PATIENCE, conn));
        true
    }

    /// Closes those whose time is up. Those that have ended meanwhile don't notice.
    #[inline]
    pub(super) fn tick<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>) {
        for _ in 0..PER_TURN {
            match self.waiting.front() {
                Some(&(deadline, conn)) if deadline <= cx.now() => {
                    self.waiting.pop_front();
                    cx.close(conn);
                }
                _ => break,
            }
        }
    }
}
