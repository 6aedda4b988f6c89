//! [`Phases`]: in which part of a run all threads are: controls without the flood and with it elsewhere, the flood itself.
//!
//! It must never be waited for: each thread looks once a turn.

use core::sync::atomic::{AtomicU8, Ordering};

/// A part of a run, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// No flood: only the probe connects.
    Baseline,
    /// The same flood to a link-layer address that no host has.
    Sink,
    /// The flood.
    Flood,
    /// No new tuple: repeats, and the wait for verdicts.
    Settle,
    /// Nothing is sent but answers.
    Quiet,
}

/// The phase of all threads.
#[derive(Debug)]
pub(super) struct Phases(AtomicU8);

impl Phases {
    pub(super) const fn new(first: Phase) -> Self {
        Self(AtomicU8::new(first as u8))
    }

    /// From now on.
    pub(super) fn enter(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn current(&self) -> Phase {
        match self.0.load(Ordering::Relaxed) {
            0 => Phase::Baseline,
            1 => Phase::Sink,
            2 => Phase::Flood,
            3 => Phase::Settle,
            _ => Phase::Quiet,
        }
    }
}
