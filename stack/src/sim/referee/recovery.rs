//! [`Recovery`]: the duplicate ACKs of a stream.
//!
//! It must never count fewer than its endpoint does.

use super::timer::NOTICED;
use crate::time::Instant;

/// Duplicate ACKs, which let an endpoint send beyond its window: limited transmit and fast recovery.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recovery {
    /// Since the acknowledgment moved.
    duplicates: u32,
    /// Since the first, until all that was on its way at the last loss is acknowledged.
    pub(super) inflation: u32,
    until: u32,
    /// The last ACK that moved came alone: text with the same one may have been noticed before it, and then it was a duplicate.
    pub(super) is_overtaken: bool,
    /// Repeated ACKs that were delivered while nothing was on its way, and when the last was: an endpoint that has sent something
    /// before it noticed them takes them for duplicates.
    early: u32,
    early_at: Instant,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            duplicates: 0,
            inflation: 0,
            until: 0,
            is_overtaken: false,
            early: 0,
            early_at: Instant::ZERO,
        }
    }
}

impl Recovery {
    /// The acknowledgment moved to here. Where it came alone, text with the same one may have overtaken it between two workers: then
    /// it was a duplicate.
    pub(super) fn on_progress(&mut self, ack: u32, is_alone: bool) {
        self.duplicates = is_alone.into();
        self.is_overtaken = is_alone;
        self.early = 0;
        if ack >= self.until {
            self.inflation = 0;
        }
    }

    /// An ACK was repeated while nothing was on its way.
    pub(super) fn on_early(&mut self, now: Instant) {
        self.early += 1;
        self.early_at = now;
    }

    /// Something is sent, and nothing was on its way before.
    pub(super) fn on_start(&mut self, next: u32, now: Instant) {
        if now - self.early_at < NOTICED {
            for _ in 0..core::mem::take(&mut self.early) {
                self.on_duplicate(next);
            }
        }
    }

    /// A duplicate ACK was delivered while all below `next` was sent. Gives how many there are.
    pub(super) fn on_duplicate(&mut self, next: u32) -> u32 {
        self.inflation += 1;
        self.duplicates += 1;
        if self.duplicates <= 3 {
            self.until = next;
        }
        self.duplicates
    }
}
