//! [`Stream`]: bulk transfer: how much went which way while the clock ran, and what it took.
//!
//! It must never count a byte that the other side has not acknowledged.

use diagnose::counted;
use std::fmt;

use serde::Serialize;
use workload::load::{Direction, LoadCounts, Work};

use super::broken::Broken;
use super::rounded;
use crate::load::watch::LoadWatched;

/// Bulk transfer.
#[derive(Debug, Serialize)]
pub(super) struct Stream {
    direction: &'static str,
    /// Payload bytes while the clock ran: acknowledged ones up, read ones down; and payload bits a second.
    up_bytes: u64,
    up_bits_per_s: f64,
    down_bytes: u64,
    down_bits_per_s: f64,
    /// Payload bytes of the whole run, up and down.
    #[serde(skip)]
    bytes_ever: [u64; 2],
    /// Segments sent again while the clock ran.
    retransmitted: u64,
    /// Transfers that the peer ended in good order, with --direction down.
    transfers: u64,
    /// Connections that ended before they were closed; each was replaced.
    #[serde(flatten)]
    broken: Broken,
}

impl Stream {
    /// From what was seen; `None` for other workloads.
    pub(super) fn new(work: Work, watched: &LoadWatched, counts: &LoadCounts) -> Option<Self> {
        let Work::Stream(direction) = work else {
            return None;
        };
        let up_bytes = watched.series.iter().map(|second| second.bytes_acked).sum();
        let down_bytes = watched.series.iter().map(|second| second.bytes_in).sum();
        let seconds = watched.duration.as_secs_f64().max(1e-9);
        let bits = |bytes: u64| rounded(bytes as f64 * 8.0 / seconds);
        Some(Self {
            direction: match direction {
                Direction::Up => "up",
                Direction::Down => "down",
                Direction::Both => "both",
            },
            up_bytes,
            up_bits_per_s: bits(up_bytes),
            down_bytes,
            down_bits_per_s: bits(down_bytes),
            bytes_ever: [counts.bytes_acked(), counts.bytes_in],
            retransmitted: watched.series.iter().map(|s| s.retransmitted).sum(),
            transfers: counts.bulk.transfers,
            broken: Broken::of(counts),
        })
    }

    /// Deviations from the request, in words.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::from_iter(self.broken.fault());
        // Bytes may go before the clock runs, while connections are opened, and none after that.
        let [up_bytes, down_bytes] = self.bytes_ever;
        for (way, wanted, bytes) in [
            ("up", self.direction != "down", up_bytes),
            ("down", self.direction != "up", down_bytes),
        ] {
            if wanted && bytes == 0 {
                faults.push(format!(
                    "no byte went {way}: look at the target's service and --direction"
                ));
            }
        }
        faults
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  bulk         up {:.2} MB ({:.1} Mbit/s), down {:.2} MB ({:.1} Mbit/s), {} sent again, {} ended by the peer, {} broke",
            self.up_bytes as f64 / 1e6,
            self.up_bits_per_s / 1e6,
            self.down_bytes as f64 / 1e6,
            self.down_bits_per_s / 1e6,
            counted(self.retransmitted, "segment"),
            counted(self.transfers, "transfer"),
            counted(self.broken.total, "connection")
        )?;
        write!(f, "{}", self.broken)?;
        Ok(())
    }
}
