//! Bounds on the cost of a full table: the worker with N records, beside the bare probe of the same table and an empty worker.
//!
//! It must never look a flow up twice while it can still be in a cache: the bare probe has to be as cold as the worker's
//! lookups.

use std::hint::black_box;

use stack::conn::FlowHash;
use stack::memory::MemoryError;

use crate::loop_nic::{LOOP_FRAMES, LoopCounts, cycles};
use crate::spread::Spread;
use crate::table::bare_probe;
use crate::worker_loop::{LoopSpec, Scenario, WorkerLoop, build, syn_hash};

/// One run: cycles per packet of all three, measured one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// The worker with its table full.
    pub full: f64,
    /// The worker with an empty table.
    pub empty: f64,
    /// Cycles per lookup of the bare prefetch-and-probe loop over the full table.
    pub bare: f64,
}

impl Run {
    /// The full worker, as a multiple of what it cannot do without: the empty worker and the bare lookup.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.full / (self.empty + self.bare)
    }
}

/// Both workers, and the next flow that the bare probe looks up.
pub struct Bound {
    scenario: Scenario,
    full: WorkerLoop,
    empty: WorkerLoop,
    next: u64,
    hashes: Vec<FlowHash>,
}

impl Bound {
    /// Builds the full loop of `spec`, and an empty one beside it.
    ///
    /// # Errors
    /// [`MemoryError`] when there is not enough memory for the tables.
    pub fn new(spec: &LoopSpec) -> Result<Self, MemoryError> {
        let empty = LoopSpec {
            connections: 0,
            ..*spec
        };
        Ok(Self {
            scenario: spec.scenario,
            full: build(spec)?,
            empty: build(&empty)?,
            // Half of all flows away from those that the workers see, which start at 0.
            next: 1 << 31,
            hashes: Vec::with_capacity(LOOP_FRAMES),
        })
    }

    /// One run of `packets` each.
    pub fn run(&mut self, packets: u64) -> Run {
        Run {
            empty: self.empty.run(packets).own_per_frame(),
            bare: self.probe(packets),
            full: self.full.run(packets).own_per_frame(),
        }
    }

    /// Cycles per lookup of the bare loop. As on the loop's NIC, as many flows as it has frames are prepared ahead, outside
    /// of the measured time.
    fn probe(&mut self, lookups: u64) -> f64 {
        let table = self.full.worker().table();
        let mut spent = 0;
        let mut done = 0u64;
        while done < lookups {
            self.hashes.clear();
            let flows = self.next..self.next + LOOP_FRAMES as u64;
            self.next = flows.end;
            self.hashes
                .extend(flows.map(|n| syn_hash(self.scenario, n)));
            let started = cycles();
            black_box(bare_probe(table, black_box(&self.hashes)));
            spent += cycles().wrapping_sub(started);
            done += LOOP_FRAMES as u64;
        }
        spent as f64 / done.max(1) as f64
    }

    /// Ends both loops and says what their NICs received back: the full one's, then the empty one's.
    #[must_use]
    pub fn into_counts(self) -> [LoopCounts; 2] {
        [self.full, self.empty].map(|ended| ended.into_nic().counts())
    }
}

/// Several runs as one result.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Cycles per packet of the worker with its table full.
    pub full: Spread,
    /// Cycles per packet of the worker with an empty table.
    pub empty: Spread,
    /// Cycles per lookup of the bare loop.
    pub bare: Spread,
    /// Each run's own ratio.
    pub ratio: Spread,
}

impl Summary {
    /// `None` when there are no runs.
    #[must_use]
    pub fn new(runs: &[Run]) -> Option<Self> {
        let all = |of: fn(&Run) -> f64| Spread::new(runs.iter().map(of).collect());
        Some(Self {
            full: all(|run| run.full)?,
            empty: all(|run| run.empty)?,
            bare: all(|run| run.bare)?,
            ratio: all(Run::ratio)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Run, Summary};

    #[test]
    fn the_ratio_is_that_of_each_run() {
        let run = |full, empty, bare| Run { full, empty, bare };
        // A slow stretch of the machine stretches all three figures of a run, and its ratio stays.
        let runs = [
            run(100.0, 60.0, 20.0),
            run(200.0, 120.0, 40.0),
            run(90.0, 80.0, 20.0),
        ];
        let summary = Summary::new(&runs).expect("three runs");
        assert!((summary.ratio.median() - 1.25).abs() < 1e-9);
        assert!((summary.ratio.min() - 0.9).abs() < 1e-9);
    }
}
