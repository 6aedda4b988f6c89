//! [`RunOutcome`]: what the workers came to, as the control thread heard it; [`WorkerLine`], over which it asks.
//!
//! It must never wait for a worker that does not answer: what the worker said last counts.

use std::time::Duration;

use serde::Serialize;

use super::worker::Progress;
use crate::failure::Failure;
use crate::mailbox::Mailbox;
use crate::rig;

/// The control thread's line to one worker.
pub(super) type WorkerLine = Mailbox<Progress>;

/// Why the run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EndedBy {
    /// Ctrl-C, SIGTERM or SIGHUP.
    Signal,
    /// `--duration` is over.
    Duration,
    /// A worker did not answer any more.
    Fault,
}

/// The results of the workers.
#[derive(Debug)]
pub(super) struct RunOutcome {
    /// How long they served, drain included.
    pub(super) duration: Duration,
    /// Why they ended.
    pub(super) ended_by: EndedBy,
    /// The progress of each; its last answer when it did not end well.
    pub(super) workers: Vec<Progress>,
    /// How connections ended that were open at the end.
    pub(super) ending: Ending,
    /// Faults, in words.
    pub(super) faults: Vec<String>,
}

impl RunOutcome {
    /// How a worker's thread ended.
    pub(super) fn take(&mut self, worker: usize, outcome: Result<Progress, Failure>) {
        match (outcome, self.workers.get_mut(worker)) {
            (Ok(progress), Some(place)) => *place = progress,
            (Ok(_), None) => {}
            (Err(failure), _) => self.faults.push(format!("worker {worker}: {failure}")),
        }
    }

    /// Frames that the driver took from all workers; `None` when a worker did not end well.
    pub(super) fn frames_taken(&self) -> Option<u64> {
        self.workers.iter().map(|worker| worker.frames_taken).sum()
    }

    /// Asks all workers. Names the first that does not answer.
    pub(super) fn ask(&mut self, lines: &[WorkerLine]) -> Result<(), usize> {
        syncline::ending::ask(&mut self.workers, lines)
    }

    /// A worker does not answer any more.
    pub(super) fn silent(&mut self, worker: usize) {
        self.ended_by = EndedBy::Fault;
        let who = format!("worker {worker}");
        self.faults.push(rig::silent(who));
    }
}

/// How connections ended that were open when the run was to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Ending {
    /// Connections that were open then.
    pub(super) open: u64,
    /// Of those, the ones that were reset because they took too long, or because the user asked again.
    pub(super) reset: u64,
    /// How long all of that took, in seconds.
    pub(super) duration_s: f64,
}
