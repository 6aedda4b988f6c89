//! [`LocalTuples`]: the local addresses and ports that connections come from, taken from a pool in a fixed order.
//!
//! It must never take a tuple again towards a target before all others were taken.

use core::net::IpAddr;

use crate::pools::{Shard, SourcePool, TupleOrder, TupleSequence};

/// A tuple of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTuple {
    /// Our address.
    pub(crate) address: IpAddr,
    /// Our port.
    pub(crate) port: u16,
    /// Whether an earlier connection to the same target came from here.
    pub(crate) is_reused: bool,
}

/// The tuples of a pool, in turn, for each target on its own.
#[derive(Debug, Clone)]
pub struct LocalTuples {
    pool: SourcePool,
    sequence: TupleSequence,
    /// How far they were taken, by target.
    taken: Vec<Taken>,
}

/// How far the tuples towards one target were taken.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    /// The place of the next one.
    place: u64,
    /// All were taken once.
    all: bool,
}

impl LocalTuples {
    /// The part `shard` of `pool`, in `order`; `None` when there are more shards than tuples.
    #[must_use]
    pub fn new(pool: SourcePool, order: TupleOrder, shard: Shard) -> Option<Self> {
        Some(Self {
            sequence: TupleSequence::new(pool.len(), order, shard)?,
            pool,
            taken: Vec::new(),
        })
    }

    /// How many tuples there are towards each target.
    #[must_use]
    pub const fn tuples(&self) -> u64 {
        self.sequence.len()
    }

    /// How many addresses the pool has.
    #[must_use]
    pub const fn addresses(&self) -> u64 {
        self.pool.addresses()
    }

    /// The next tuple for a connection to the target of this number.
    pub(super) fn take(&mut self, target: usize) -> LocalTuple {
        if self.taken.len() <= target {
            self.taken.resize(target + 1, Taken::default());
        }
        let taken = &mut self.taken[target];
        let is_reused = taken.all;
        let source = self.pool.get(self.sequence.at(taken.place));
        taken.place += 1;
        if taken.place == self.sequence.len() {
            *taken = Taken {
                place: 0,
                all: true,
            };
        }
        LocalTuple {
            address: self.pool.ip_of(source.address),
            port: source.port,
            is_reused,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::pools::PortRange;

    fn pool() -> SourcePool {
        let ports = PortRange {
            first: 1024,
            last: 1123,
        };
        SourcePool::new(&[([198, 18, 64, 0].into(), 30)], &[ports]).expect("a pool")
    }

    #[test]
    fn no_tuple_comes_back_before_all_have_come_and_targets_count_apart() {
        for order in [TupleOrder::Sequential, TupleOrder::Permuted { key: 7 }] {
            let mut tuples = LocalTuples::new(pool(), order, Shard::WHOLE).expect("tuples");
            assert_eq!((tuples.tuples(), tuples.addresses()), (400, 4));
            for round in 0..2 {
                let tuples: HashSet<_> = (0..400)
                    .map(|_| {
                        let tuple = tuples.take(0);
                        assert_eq!(tuple.is_reused, round > 0);
                        (tuple.address, tuple.port)
                    })
                    .collect();
                assert_eq!(tuples.len(), 400);
            }
            assert!(!tuples.take(1).is_reused);
        }
    }

    #[test]
    fn shards_share_no_tuple() {
        let shard = |k| Shard::new(k, 3).expect("a shard");
        let mut seen = HashSet::new();
        for k in 0..3 {
            let order = TupleOrder::Permuted { key: 1 };
            let mut tuples = LocalTuples::new(pool(), order, shard(k)).expect("tuples");
            for _ in 0..tuples.tuples() {
                let tuple = tuples.take(0);
                assert!(seen.insert((tuple.address, tuple.port)));
            }
        }
        assert_eq!(seen.len(), 400);
    }
}
