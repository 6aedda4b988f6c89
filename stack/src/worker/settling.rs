//! A connection that has said all: its timer, and whether it must be asked for output at all.
//!
//! It must never send or end a connection: one that is over stays in the list of those to be asked.

use core::time::Duration;

use crate::conn::connections::{Conn, Parts};
use crate::tcp::state::State;
use crate::tcp::verdict::Events;
use crate::time::Instant;

/// Lets the timer of a connection that has said all fire by its next deadline. False when it is over.
#[inline(always)]
pub(super) fn arm<F>(parts: &mut Parts<'_, F>, park_after: Duration, now: Instant) -> bool {
    let state = parts.conn.tcb.state();
    if matches!(state, State::Closed | State::Listen | State::TimeWait) {
        return false;
    }
    if let Some(deadline) = parts.conn.tcb.deadline() {
        parts.fire_by(deadline);
    } else if state == State::Established && parts.conn.has(Conn::ANNOUNCED) {
        parts.fire_by(now + park_after);
    }
    true
}

/// Whether the app need not hear of a segment without text that led to these events.
#[inline(always)]
pub(super) const fn is_unheard(conn: &Conn, events: Events) -> bool {
    let news = Conn::WANTS_ROOM | Conn::PEER_CLOSED | Conn::NEWS;
    events.0 == Events::NONE.0 && !conn.has(news)
}

/// Handles a segment that the app does not hear of. Mostly its connection has nothing to send either: then it is not asked for
/// output.
#[inline(always)]
pub(super) fn settle_unheard<F>(parts: &mut Parts<'_, F>, park_after: Duration, now: Instant) {
    let is_silent = parts.conn.tcb.is_silent(parts.conn.unsent());
    if !is_silent || !arm(parts, park_after, now) {
        parts.mark_dirty();
    }
}
