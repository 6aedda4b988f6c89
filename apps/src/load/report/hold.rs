//! [`Hold`]: connections that were held: how many, for how long, what each took, and which of them broke.
//!
//! It must never call a connection held that ended.

use diagnose::counted;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use workload::Fault;
use workload::load::{LoadCounts, Work};

use super::broken::Broken;
use super::rounded;
use crate::load::plan::RunPlan;
use crate::load::second::Second;
use crate::load::watch::LoadWatched;

/// A reply may come so much later than its interval before the run is a bad one, in intervals; and a second.
const LATE: f64 = 1.1;

/// Connections that were held.
#[derive(Debug, Serialize)]
pub(super) struct Hold {
    wanted: u32,
    /// How long it took until all were established, in seconds; `null` when not all were.
    ramp_s: Option<f64>,
    /// How long they were kept from then on, in seconds.
    held_s: f64,
    /// The fewest at the end of any second, and those at the end.
    least: u64,
    at_end: u64,
    /// Connections that ended before they were closed; each was replaced.
    #[serde(flatten)]
    broken: Broken,
    /// In this time each was to be asked, in seconds, and the longest time that one went without a verified reply.
    verify_every_s: Option<f64>,
    longest_unverified_s: Option<f64>,
    /// By how much this process grew for each connection until all were established, in bytes: tables, and what the load generator
    /// and, on an in-memory link, our own server keep.
    bytes_per_connection: Option<f64>,
}

impl Hold {
    /// From what was seen; `None` where nothing was to be held.
    pub(super) fn new(plan: &RunPlan, watched: &LoadWatched, counts: &LoadCounts) -> Option<Self> {
        if plan.work != Work::Hold {
            return None;
        }
        let mut open = watched.series.iter().map(|second: &Second| second.open);
        let seconds = |time: Duration| rounded(time.as_secs_f64());
        let ramp = watched.ramp;
        let growth = ramp.and_then(|ramp| {
            let (before, after) = ramp.resident_bytes?;
            Some(after.saturating_sub(before) as f64 / f64::from(watched.connections))
        });
        Some(Self {
            wanted: watched.connections,
            ramp_s: ramp.map(|ramp| seconds(ramp.took)),
            held_s: seconds(watched.duration),
            least: open.clone().min().unwrap_or(0),
            at_end: open.next_back().unwrap_or(0),
            broken: Broken::of(counts),
            verify_every_s: plan.verify_every.map(seconds),
            longest_unverified_s: plan
                .verify_every
                .map(|_| seconds(Duration::from_nanos(counts.longest_unasked_ns))),
            bytes_per_connection: growth.map(|bytes| bytes.round()),
        })
    }

    /// The connections that were wanted, and the fewest that there were.
    pub(super) fn wanted_and_least(&self) -> (u32, u64) {
        (self.wanted, self.least)
    }

    /// Deviations from the request, in words.
    pub(super) fn faults(&self, was_interrupted: bool) -> Vec<String> {
        let mut faults = Vec::from_iter(self.broken.fault());
        if self.broken.has(Fault::EndedEarly) {
            faults.push(self.why_ended());
        }
        if let (Some(interval), Some(longest)) = (self.verify_every_s, self.longest_unverified_s)
            && longest > interval * LATE + 1.0
            && !was_interrupted
        {
            faults.push(format!(
                "a connection went {longest:.1} s without a verified reply, and --verify-every is {interval:.1} s"
            ));
        }
        faults
    }

    /// Why a target that is well closes connections, and what to change.
    fn why_ended(&self) -> String {
        let asked = match self.verify_every_s {
            Some(interval) => format!("ask more often than every {interval:.0} s (--verify-every)"),
            None => "ask now and then (--verify-every)".to_owned(),
        };
        format!(
            "the target closed connections itself (ended_early), as servers do with idle ones: raise its idle timeout, or {asked}"
        )
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ramp = match self.ramp_s {
            Some(ramp) => format!("all established after {ramp:.1} s"),
            None => "not all established".to_owned(),
        };
        writeln!(
            f,
            "  held         {} of {} at least, {} at the end, for {:.1} s ({ramp}); {} broke",
            self.least,
            counted(self.wanted, "connection"),
            self.at_end,
            self.held_s,
            self.broken.total
        )?;
        write!(f, "{}", self.broken)?;
        if let (Some(interval), Some(longest)) = (self.verify_every_s, self.longest_unverified_s) {
            writeln!(
                f,
                "  verified     each every {interval:.1} s; the longest time without a verified reply was {longest:.1} s"
            )?;
        }
        match self.bytes_per_connection {
            Some(bytes) => writeln!(
                f,
                "  memory       this process grew by {bytes:.0} bytes for each connection"
            ),
            None => Ok(()),
        }
    }
}
