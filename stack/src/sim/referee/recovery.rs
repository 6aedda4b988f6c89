//! [`Recovery`]: the duplicate ACKs of a stream.
//!
//! It must never count fewer than its endpoint does.

/// Duplicate ACKs, which let an endpoint send beyond its window: limited transmit and fast recovery.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Recovery {
    /// Since the acknowledgment moved.
    duplicates: u32,
    /// Since the first of a loss, until all that was on its way then is acknowledged.
    pub(super) inflation: u32,
    until: u32,
}

impl Recovery {
    /// The acknowledgment moved to here. Where it came alone, text with the same one may have overtaken it between two workers: then
    /// it was a duplicate.
    pub(super) fn on_progress(&mut self, ack: u32, is_alone: bool) {
        self.duplicates = is_alone.into();
        if ack >= self.until {
            self.inflation = 0;
        }
    }

    /// A duplicate ACK was delivered while all below `next` was sent. Gives how many there are.
    pub(super) fn on_duplicate(&mut self, next: u32) -> u32 {
        if self.inflation == 0 {
            self.until = next;
        }
        self.inflation += 1;
        self.duplicates += 1;
        self.duplicates
    }
}
