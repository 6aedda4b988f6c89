//! [`TupleSequence`]: in which order one process, or one worker of it, uses the tuples of an index space.
//!
//! It must never use a tuple that belongs to another shard: two processes share nothing but the number of shards.

use core::fmt;
use core::str::FromStr;

use super::divisor::Divisor;
use super::permutation::Permutation;

/// In which order tuples are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TupleOrder {
    /// As they are numbered.
    Sequential,
    /// By a permutation that follows from the key.
    Permuted {
        /// The key; all shards of a run have the same.
        key: u64,
    },
}

/// One of several parts of an index space, disjoint, and together all of it: every `count`-th tuple of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which part, from 0 on.
    index: u32,
    /// How many parts there are, at least 1.
    count: u32,
}

impl Shard {
    /// The only part: all of it.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Part `index` (from 0 on) of `count`; `None` when there is no such part.
    #[must_use]
    pub const fn new(index: u32, count: u32) -> Option<Self> {
        if index < count {
            Some(Self { index, count })
        } else {
            None
        }
    }

    /// Which part it is, from 0 on.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// How many parts there are.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.count
    }

    /// Part `index` of `count` of this part; `None` when there is no such part.
    #[must_use]
    pub fn split(self, index: u32, count: u32) -> Option<Self> {
        let index = self.count.checked_mul(index)?.checked_add(self.index)?;
        Self::new(index, self.count.checked_mul(count)?)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    /// `1/4` to `4/4`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        parts
            .and_then(|(k, n)| Some((k.parse::<u32>().ok()?, n.parse().ok()?)))
            .and_then(|(k, n)| Self::new(k.checked_sub(1)?, n))
            .ok_or_else(|| {
                format!("unknown shard `{text}`: expected K/N such as 1/4, K from 1 to N")
            })
    }
}

/// The places of one shard in the order of an index space: place 0, 1, … each stand for a tuple's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TupleSequence {
    permutation: Option<Permutation>,
    first: u64,
    step: Divisor,
    tuples: u64,
    len: u64,
}

impl TupleSequence {
    /// The part `shard` of `tuples` tuples in this order; `None` when the part is empty: more shards than tuples.
    #[must_use]
    pub fn new(tuples: u64, order: TupleOrder, shard: Shard) -> Option<Self> {
        let (first, step) = (u64::from(shard.index), u64::from(shard.count));
        let permutation = match order {
            TupleOrder::Sequential => None,
            TupleOrder::Permuted { key } => Some(Permutation::new(tuples, key)),
        };
        (first < tuples).then(|| Self {
            permutation,
            first,
            step: Divisor::new(step),
            tuples,
            len: (tuples - first).div_ceil(step),
        })
    }

    /// How many tuples there are in this part, at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a sequence is never empty")]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// The index of the tuple at `place`, which is below the length.
    #[must_use]
    #[inline]
    pub fn at(&self, place: u64) -> u64 {
        let number = self.first + place * self.step.get();
        match &self.permutation {
            Some(permutation) => permutation.at(number),
            None => number,
        }
    }

    /// The place of the tuple with this index; `None` when it is of another shard, or beyond all tuples.
    #[must_use]
    #[inline]
    #[cfg(test)]
    pub(crate) fn place_of(&self, index: u64) -> Option<u64> {
        let (place, shard) = self.place_and_shard(index)?;
        (shard == self.first).then_some(place)
    }

    /// The place of the tuple with this index in its own shard, and the number of that shard; `None` beyond all tuples.
    #[must_use]
    #[inline]
    pub fn place_and_shard(&self, index: u64) -> Option<(u64, u64)> {
        if index >= self.tuples {
            return None;
        }
        let number = self
            .permutation
            .as_ref()
            .map_or(index, |permutation| permutation.place_of(index));
        Some(self.step.div_rem(number))
    }
}
