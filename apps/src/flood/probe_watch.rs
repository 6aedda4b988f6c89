//! [`ProbeWatch`]: the control thread's view of the probe: a line a second, and how long it has failed.
//!
//! It must never count a connection before its end is known.

use std::time::{Duration, Instant};

use super::phase::Phase;
use super::probe::{ProbeProgress, ProbeTally};
use crate::console;
use crate::mailbox::Mailbox;
use crate::units;

/// The control thread's line to the probe.
#[derive(Debug)]
pub(super) struct ProbeLine {
    /// Where it answers.
    pub(super) mailbox: Mailbox<ProbeProgress>,
}

impl ProbeLine {
    pub(super) const fn new() -> Self {
        Self {
            mailbox: Mailbox::new(),
        }
    }
}

/// The probe under watch.
pub(super) struct ProbeWatch<'a> {
    line: &'a ProbeLine,
    last: Option<ProbeProgress>,
    /// A probe succeeded last at this time, or the watch began.
    succeeded_at: Instant,
}

impl<'a> ProbeWatch<'a> {
    /// From now on.
    pub(super) fn new(line: &'a ProbeLine) -> Self {
        Self {
            line,
            last: None,
            succeeded_at: Instant::now(),
        }
    }

    /// Asks, prints what happened since the last time in `phase`, and returns what the probe knows; `None` when it does not
    /// answer.
    pub(super) fn look(&mut self, phase: Phase) -> Option<ProbeProgress> {
        let now = self.line.mailbox.ask()?;
        let before = self.last.replace(now.clone());
        let part = part(phase);
        let tally = &now.phases[part];
        let (verified, ended) = before.map_or((0, 0), |before| {
            (before.phases[part].verified, before.phases[part].ended())
        });
        let (verified, ended) = (tally.verified - verified, tally.ended() - ended);
        if verified > 0 {
            self.succeeded_at = Instant::now();
        }
        console::log(format_args!(
            "          probe {}: {verified} of {ended} verified{}",
            name(part),
            percentile(tally)
        ));
        Some(now)
    }

    /// From now on failures count.
    pub(super) fn begin(&mut self) {
        self.succeeded_at = Instant::now();
    }

    /// Whether connections that were due have not ended.
    pub(super) fn has_open(&self) -> bool {
        self.line.mailbox.ask().is_some_and(|now| now.open > 0)
    }

    /// How long no probe has succeeded.
    pub(super) fn failing_for(&self) -> Duration {
        self.succeeded_at.elapsed()
    }
}

/// Which of the parts that are counted apart a phase is.
fn part(phase: Phase) -> usize {
    match phase {
        Phase::Baseline => 0,
        Phase::Sink => 1,
        Phase::Flood | Phase::Settle | Phase::Quiet => 2,
    }
}

fn name(part: usize) -> &'static str {
    ["without the flood", "flood into a sink", "during the flood"][part]
}

fn percentile(tally: &ProbeTally) -> String {
    [99.9, 99.0, 90.0, 50.0]
        .into_iter()
        .find_map(|percent| {
            let value = units::short_duration(tally.latency.percentile(percent)?);
            Some(format!(", p{percent} {value}"))
        })
        .unwrap_or_default()
}
