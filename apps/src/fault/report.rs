//! [`FaultReport`]: what `--fault` did, for reports.
//!
//! It must never leave out the seed: with it the same comes again.

use diagnose::counted;
use std::fmt;

use dpdk::FaultTotals;
use serde::Serialize;
use stack::nic::fault::{FaultCounts, FaultSpec};

use super::written;

/// The counts of injected faults, for reports. Field names are stable: scripts rely on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FaultReport {
    /// The flag that gives the same faults again, seed included.
    pub(crate) spec: String,
    /// Frames from the link, over all queues.
    pub(crate) rx: FaultDone,
    /// Frames to the link.
    pub(crate) tx: FaultDone,
    /// Frames that were still held back at the end, and were given up.
    pub(crate) held_at_end: usize,
}

/// One direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct FaultDone {
    frames: u64,
    lost: u64,
    duplicated: u64,
    corrupted: u64,
    reordered: u64,
    /// Faults that were due, without a buffer or a place for them.
    not_done: u64,
}

impl FaultReport {
    /// The sum over all queues.
    pub(crate) fn new(spec: &FaultSpec, queues: impl Iterator<Item = FaultTotals>) -> Self {
        let mut report = Self {
            spec: written(spec),
            rx: FaultDone::default(),
            tx: FaultDone::default(),
            held_at_end: 0,
        };
        for totals in queues {
            report.rx.add(&totals.rx);
            report.tx.add(&totals.tx);
            report.held_at_end += totals.held;
        }
        report
    }
}

impl FaultDone {
    fn add(&mut self, counts: &FaultCounts) {
        self.frames += counts.frames;
        self.lost += counts.lost;
        self.duplicated += counts.duplicated;
        self.corrupted += counts.corrupted;
        self.reordered += counts.reordered;
        self.not_done += counts.not_done;
    }
}

impl fmt::Display for FaultReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "--fault {}: in {}; out {}; {} held at the end",
            self.spec, self.rx, self.tx, self.held_at_end
        )
    }
}

impl fmt::Display for FaultDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} lost, {} reordered, {} doubled, {} corrupted",
            counted(self.frames, "frame"),
            self.lost,
            self.reordered,
            self.duplicated,
            self.corrupted
        )
    }
}
