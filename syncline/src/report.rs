//! [`Progress`] and [`Report`]: what workers have done, while they run and at the end.
//!
//! It must never lose the last answer of a worker, nor call a run good that lost a frame or a buffer.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use dpdk::{DpdkNic, PortStats};
use stack::app::App;
use stack::config::Records;
use stack::counters::Counters;
use stack::worker::{Cycles, Kind, Worker};

use crate::ending::DrainState;
use crate::mailbox::Order;

/// The progress of one worker.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Progress {
    /// The counters of frames.
    pub counters: Counters,
    /// The counters of TCP by name; counters at 0 are left out.
    pub tcp: BTreeMap<&'static str, u64>,
    /// Where the time went.
    pub cycles: Cycles,
    /// Connections that have not ended, TIME-WAIT excepted.
    pub open: u64,
    order: Order,
    moved: bool,
}

impl Progress {
    pub(crate) fn of<A: App>(worker: &Worker<DpdkNic, A>, order: Order, moved: bool) -> Self {
        let count = |Records { v4, v6 }: Records| u64::from(v4) + u64::from(v6);
        let tcp = worker.tcp_counters().named();
        Self {
            counters: worker.counters().clone(),
            tcp: tcp.filter(|(_, n)| *n > 0).collect(),
            cycles: *worker.cycles(),
            open: count(worker.records(Kind::Open)) + count(worker.records(Kind::Parked)),
            order,
            moved,
        }
    }
}

impl DrainState for Progress {
    fn order(&self) -> Order {
        self.order
    }

    fn moved(&self) -> bool {
        self.moved
    }

    fn open(&self) -> u64 {
        self.open
    }
}

/// The result of a run.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report<A> {
    /// The apps, one of each worker that ended well, in the workers' order.
    pub apps: Vec<A>,
    /// The progress of each worker; its last answer when it did not end well.
    pub workers: Vec<Progress>,
    /// How long the workers ran, the end included.
    pub duration: Duration,
    /// Connections that were open when the run was to end.
    pub open_at_end: u64,
    /// Of those, the ones that were reset because they took too long, or because of a second signal.
    pub reset_at_end: u64,
    /// The port's own counters.
    pub nic: PortStats,
    /// Buffers that did not come back: 0, or a leak.
    pub mbufs_in_use: u32,
    /// Faults of the run, in words.
    pub faults: Vec<String>,
}

impl<A> Report<A> {
    /// The counters of all workers, added.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut total = Counters::new();
        for worker in &self.workers {
            total.merge(&worker.counters);
        }
        total
    }

    /// Everything that is wrong with the run: a worker that failed, frames without a counter, buffers that did not come back.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.faults.clone();
        let unaccounted = self.counters().unaccounted();
        if unaccounted != 0 {
            problems.push(format!("frames unaccounted for: {unaccounted}"));
        }
        if self.mbufs_in_use > 0 {
            problems.push(format!(
                "buffers that did not come back: {}",
                self.mbufs_in_use
            ));
        }
        problems
    }
}

impl<A> fmt::Display for Report<A> {
    /// A line for each thing that happened, with its count; then what is wrong.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tcp: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, n) in self.workers.iter().flat_map(|worker| &worker.tcp) {
            *tcp.entry(name).or_default() += n;
        }
        write!(
            f,
            "{:.1} s; open at the end: {}, of these reset: {}",
            self.duration.as_secs_f64(),
            self.open_at_end,
            self.reset_at_end
        )?;
        for (name, n) in self.counters().non_zero().chain(tcp) {
            write!(f, "\n  {name:<32} {n}")?;
        }
        for problem in self.problems() {
            write!(f, "\nproblem: {problem}")?;
        }
        Ok(())
    }
}
