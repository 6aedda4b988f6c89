//! Limits and times of the neighbour table: `NeighborConfig`, checked once.
//!
//! It must never accept a value that the table can't live with.

use core::fmt;
use core::time::Duration;

/// The most frames that may wait for one neighbour.
pub const MAX_PENDING_FRAMES: usize = 8;

/// The most neighbours that a table may hold.
pub const MAX_NEIGHBORS: usize = 1 << 16;

/// Limits and times of a [`super::NeighborTable`]. The defaults are those of RFC 4861 §10 and of Linux, where they differ
/// from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighborConfig {
    /// Neighbours at most, 1 to `MAX_NEIGHBORS`. 1024, as Linux's gc_thresh3.
    pub capacity: usize,
    /// Frames that wait for one neighbour at most, 1 to `MAX_PENDING_FRAMES`. 3: a handful of SYNs; RFC 4861 §7.2.2
    /// asks for at least one, and RFC 1122 §2.3.2.2 for the latest.
    pub pending_frames: usize,
    /// Between two solicitations. 1 s (RETRANS_TIMER).
    pub retransmit: Duration,
    /// Solicitations to everybody before we give up. 3 (MAX_MULTICAST_SOLICIT).
    pub multicast_solicitations: u8,
    /// Solicitations to the known address before we give up. 3 (MAX_UNICAST_SOLICIT).
    pub unicast_solicitations: u8,
    /// How long the use of a stale address waits for a sign of life before we ask. 5 s (DELAY_FIRST_PROBE_TIME).
    pub delay_first_probe: Duration,
    /// How long a sign of life counts: between half of this and one and a half of it, at random (RFC 4861 §6.3.2). 30
    /// s, so 15 to 45 s (REACHABLE_TIME).
    pub base_reachable: Duration,
}

impl Default for NeighborConfig {
    fn default() -> Self {
        Self {
            capacity: 1024,
            pending_frames: 3,
            retransmit: Duration::from_secs(1),
            multicast_solicitations: 3,
            unicast_solicitations: 3,
            delay_first_probe: Duration::from_secs(5),
            base_reachable: Duration::from_secs(30),
        }
    }
}

/// A value of `NeighborConfig` is out of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NeighborConfigError {
    /// `capacity` is 0 or above `MAX_NEIGHBORS`.
    Capacity,
    /// `pending_frames` is 0 or above `MAX_PENDING_FRAMES`.
    PendingFrames,
    /// One of the times is zero: the table would ask without end.
    Time,
    /// One of the numbers of solicitations is 0.
    Solicitations,
}

impl fmt::Display for NeighborConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capacity => write!(f, "the neighbour table holds 1 to {MAX_NEIGHBORS} entries"),
            Self::PendingFrames => {
                write!(
                    f,
                    "1 to {MAX_PENDING_FRAMES} frames can wait for a neighbour"
                )
            }
            Self::Time => write!(f, "a neighbour timer is zero; give at least a millisecond"),
            Self::Solicitations => write!(f, "a number of solicitations is 0; give at least 1"),
        }
    }
}

impl core::error::Error for NeighborConfigError {}

impl NeighborConfig {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// [`NeighborConfigError`] names the first value that is out of range.
    pub fn validate(&self) -> Result<(), NeighborConfigError> {
        if !(1..=MAX_NEIGHBORS).contains(&self.capacity) {
            return Err(NeighborConfigError::Capacity);
        }
        if !(1..=MAX_PENDING_FRAMES).contains(&self.pending_frames) {
            return Err(NeighborConfigError::PendingFrames);
        }
        let times = [self.retransmit, self.delay_first_probe, self.base_reachable];
        if times.contains(&Duration::ZERO) {
            return Err(NeighborConfigError::Time);
        }
        if self.multicast_solicitations == 0 || self.unicast_solicitations == 0 {
            return Err(NeighborConfigError::Solicitations);
        }
        Ok(())
    }
}
