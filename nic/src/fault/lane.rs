//! [`FaultLane`]: one direction of a bad link. Frames go in, and what is left of them comes out, later or in another order.
//!
//! It must never allocate after the start or hold more than [`LANE_FRAMES`] frames: a caller that can't get rid of a frame
//! keeps it.

use std::collections::VecDeque;

use arrayvec::ArrayVec;

use super::{FaultCounts, FaultDice, FaultSpec};
use crate::{BURST_FRAMES, Burst, Frame};

/// Frames that one lane holds at most, those set aside included.
pub(super) const LANE_FRAMES: usize = 1024;
/// Frames that are set aside at a time; more are let through.
const ASIDE_FRAMES: usize = 32;
/// A frame that is not overtaken is set aside no longer than this: the last one of a burst must arrive too.
const ASIDE_NS_MAX: u64 = 5_000_000;
/// Of a frame whose checksums the NIC fills in, only these bytes are corrupted (Ethernet and the fixed IPv4 header): in its
/// payload the NIC would make the corruption valid.
const HEADER_BYTES: usize = 34;

/// The settings of a lane beside the faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneConfig {
    /// Which direction of which queue: separates the lanes of one seed.
    pub lane: u64,
    /// Ticks a second of the times that the lane is given.
    pub ticks_hz: u64,
    /// The NIC fills in checksums behind this lane.
    pub checksums_come_later: bool,
}

/// A frame that waits for others to pass.
#[derive(Debug)]
struct HeldFrame<F> {
    frame: F,
    overtakers_left: u8,
    until_ticks: u64,
}

/// One direction of a bad link.
#[derive(Debug)]
pub struct FaultLane<F> {
    dice: FaultDice,
    counts: FaultCounts,
    /// Frames in the order in which they leave, each with its time.
    line: VecDeque<(u64, F)>,
    aside: ArrayVec<HeldFrame<F>, ASIDE_FRAMES>,
    delay_ticks: u64,
    aside_ticks_max: u64,
    checksums_come_later: bool,
}

impl<F: Frame> FaultLane<F> {
    /// An empty lane. All its memory is taken here.
    #[must_use]
    pub fn new(spec: &FaultSpec, config: &LaneConfig) -> Self {
        let ticks = |ns: u64| {
            let ticks = u128::from(ns) * u128::from(config.ticks_hz) / 1_000_000_000;
            u64::try_from(ticks).unwrap_or(u64::MAX)
        };
        Self {
            dice: FaultDice::new(spec, config.lane),
            counts: FaultCounts::default(),
            line: VecDeque::with_capacity(LANE_FRAMES),
            aside: ArrayVec::new(),
            delay_ticks: ticks(spec.delay_ns),
            aside_ticks_max: ticks(ASIDE_NS_MAX),
            checksums_come_later: config.checksums_come_later,
        }
    }

    /// Whether a whole burst, doubled, still fits.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.held() + 2 * BURST_FRAMES <= LANE_FRAMES
    }

    /// Frames that are held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.line.len() + self.aside.len()
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> &FaultCounts {
        &self.counts
    }

    /// Takes all frames of `from`, oldest first, if the lane [has room](FaultLane::has_room); else none. `copy` makes an
    /// exclusive copy of a frame with its offload requests, or `None` when there is no buffer. Says how many were taken.
    pub fn admit(
        &mut self,
        from: &mut Burst<F>,
        now_ticks: u64,
        mut copy: impl FnMut(&F) -> Option<F>,
    ) -> usize {
        if !self.has_room() {
            return 0;
        }
        let frames = from.len();
        for frame in from.take_front(frames) {
            self.judge(frame, now_ticks, &mut copy);
        }
        frames
    }

    fn judge(&mut self, frame: F, now_ticks: u64, copy: &mut impl FnMut(&F) -> Option<F>) {
        self.counts.frames += 1;
        let fate = self.dice.next_fate();
        if fate.is_lost {
            self.counts.lost += 1;
            return;
        }
        let twin = fate.is_duplicated.then(|| copy(&frame));
        let frame = match fate.corrupt {
            None => frame,
            Some(bit) => self.corrupt(frame, bit, copy),
        };
        self.set_off(frame, fate.overtakers, now_ticks);
        match twin {
            None => {}
            Some(None) => self.counts.not_done += 1,
            Some(Some(twin)) => {
                self.counts.duplicated += 1;
                self.set_off(twin, 0, now_ticks);
            }
        }
    }

    /// The frame with one bit flipped, and no verdict or request about its checksums that would hide it.
    fn corrupt(&mut self, mut frame: F, bit: u64, copy: &mut impl FnMut(&F) -> Option<F>) -> F {
        if frame.bytes_mut().is_none() {
            // Another reader has these bytes, or they are chained: they must not change.
            match copy(&frame) {
                Some(ours) => frame = ours,
                None => {
                    self.counts.not_done += 1;
                    return frame;
                }
            }
        }
        frame.request(None);
        let checksums_come_later = self.checksums_come_later;
        if let Some(bytes) = frame.bytes_mut() {
            let len = if checksums_come_later {
                bytes.len().min(HEADER_BYTES)
            } else {
                bytes.len()
            };
            if len > 0 {
                let bit = (bit % (len as u64 * 8)) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
                self.counts.corrupted += 1;
            }
        }
        frame
    }

    /// Into the line, or aside for others to pass first.
    fn set_off(&mut self, frame: F, overtakers: u8, now_ticks: u64) {
        if overtakers > 0 {
            let aside = HeldFrame {
                frame,
                overtakers_left: overtakers,
                until_ticks: now_ticks.saturating_add(self.aside_ticks_max),
            };
            match self.aside.try_push(aside) {
                Ok(()) => self.counts.reordered += 1,
                Err(full) => {
                    self.counts.not_done += 1;
                    self.enqueue(full.element().frame, now_ticks);
                }
            }
            return;
        }
        self.enqueue(frame, now_ticks);
        let mut place = 0;
        while place < self.aside.len() {
            self.aside[place].overtakers_left -= 1;
            if self.aside[place].overtakers_left == 0 {
                let aside = self.aside.remove(place);
                self.enqueue(aside.frame, now_ticks);
            } else {
                place += 1;
            }
        }
    }

    fn enqueue(&mut self, frame: F, now_ticks: u64) {
        let due_ticks = now_ticks.saturating_add(self.delay_ticks);
        self.line.push_back((due_ticks, frame));
    }

    /// Moves what is due into `into` as far as it has room, and says how many frames that were.
    pub fn release(&mut self, now_ticks: u64, into: &mut Burst<F>) -> usize {
        while let Some(place) = self
            .aside
            .iter()
            .position(|aside| aside.until_ticks <= now_ticks)
        {
            let aside = self.aside.remove(place);
            self.enqueue(aside.frame, now_ticks);
        }
        let before = into.len();
        while into.room() > 0
            && self
                .line
                .front()
                .is_some_and(|&(due_ticks, _)| due_ticks <= now_ticks)
            && let Some((_, frame)) = self.line.pop_front()
        {
            // Not refused: there is room.
            drop(into.push(frame));
        }
        into.len() - before
    }

    /// Drops everything that is held, and says how many frames that were.
    pub fn clear(&mut self) -> usize {
        let held = self.held();
        self.line.clear();
        self.aside.clear();
        held
    }
}
