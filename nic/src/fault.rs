//! Faults on purpose: which frames of a link are lost, doubled, corrupted, overtaken or late, and the queue that does it.
//!
//! It must never look at a clock or at bytes to decide: the same seed and the same number of frames give the same fates.
//! It must never hold more than 1,024 frames.

mod lane;
#[cfg(test)]
mod tests;

use crate::rng::Random;

pub use lane::{FaultLane, LaneConfig};

/// All of something, in parts per million.
pub const WHOLE_PPM: u32 = 1_000_000;
/// A frame that is set aside is overtaken by this many frames at most.
pub(crate) const OVERTAKERS_MAX: u8 = 8;

/// The faults of a link, the same in each direction. All zero: none.
///
/// Rates are the share of frames, in parts per million, from 0 to [`WHOLE_PPM`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultSpec {
    /// Frames that vanish.
    pub loss_ppm: u32,
    /// Frames that arrive twice, one behind the other.
    pub duplicate_ppm: u32,
    /// Frames of which one bit is flipped.
    pub corrupt_ppm: u32,
    /// Frames that are set aside until 1 to 8 later ones have passed.
    pub reorder_ppm: u32,
    /// How late every frame is, in ns.
    pub delay_ns: u64,
    /// The seed of all random choices.
    pub seed: u64,
}

/// The faults of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FrameFate {
    /// It vanishes; nothing else matters then.
    pub(crate) is_lost: bool,
    /// A copy follows it.
    pub(crate) is_duplicated: bool,
    /// The bit to flip, to be taken modulo the bits that may be.
    pub(crate) corrupt: Option<u64>,
    /// How many later frames pass it, 0 for none.
    pub(crate) overtakers: u8,
}

/// Counts of the faults in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FaultCounts {
    /// Frames that came to be judged.
    pub frames: u64,
    /// Lost on purpose.
    pub lost: u64,
    /// Copies added.
    pub duplicated: u64,
    /// One bit flipped.
    pub corrupted: u64,
    /// Set aside for others to pass.
    pub reordered: u64,
    /// Changes that were due and could not be made: no buffer for a copy, no place to set a frame aside.
    pub not_done: u64,
}

/// Decides the fate of each frame of one direction. Every frame takes the same number of draws, so that one rate can be
/// changed without moving the faults of the others.
#[derive(Debug, Clone)]
pub(crate) struct FaultDice {
    spec: FaultSpec,
    random: Random,
}

impl FaultDice {
    /// Dice for one direction of one link; `lane` separates the directions of one seed.
    #[must_use]
    pub(crate) fn new(spec: &FaultSpec, lane: u64) -> Self {
        let seed = Random::new(spec.seed).next_u64() ^ lane.wrapping_mul(0xd134_2543_de82_ef95);
        Self {
            spec: *spec,
            random: Random::new(seed),
        }
    }

    /// The fate of the next frame.
    pub(crate) fn next_fate(&mut self) -> FrameFate {
        let spec = self.spec;
        let is_lost = self.happens(spec.loss_ppm);
        let is_duplicated = self.happens(spec.duplicate_ppm);
        let corrupts = self.happens(spec.corrupt_ppm);
        let reorders = self.happens(spec.reorder_ppm);
        let bit = self.random.next_u64();
        let overtakers = 1 + self.random.below(OVERTAKERS_MAX.into()) as u8;
        FrameFate {
            is_lost,
            is_duplicated,
            corrupt: corrupts.then_some(bit),
            overtakers: if reorders { overtakers } else { 0 },
        }
    }

    fn happens(&mut self, chance_ppm: u32) -> bool {
        self.random.below(WHOLE_PPM.into()) < u64::from(chance_ppm)
    }
}
