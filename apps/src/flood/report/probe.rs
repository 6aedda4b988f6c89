//! [`ProbeReport`]: what legitimate connections came to without the flood, during it, and during the same flood into a sink.
//!
//! It must never call the victim slow for what our own link did: the sink is the control for that.

use diagnose::counted;
use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::super::args::FloodArgs;
use super::super::probe::{ProbeFault, ProbeTally};
use super::super::worker::ProbeEnd;
use crate::report::reasons;
use crate::units;

/// The percentiles that are reported, where there are samples enough, and their names.
const PERCENTILES: [(f64, &str); 4] =
    [(50.0, "p50"), (90.0, "p90"), (99.0, "p99"), (99.9, "p99_9")];

/// The probe's results. Field names are stable (docs/reference/flood-json.md).
#[derive(Debug, Serialize)]
pub(super) struct ProbeReport {
    /// Connections a second.
    rate: u32,
    /// Without the flood.
    baseline: PhaseReport,
    /// During the flood.
    flood: PhaseReport,
    /// During the same flood to a link-layer address that no host has; `null` where that can't be had.
    sink: Option<PhaseReport>,
    /// Why there is no sink.
    sink_note: Option<&'static str>,
    /// The counters of the probe's own stack that aren't zero.
    counters: BTreeMap<&'static str, u64>,
    /// Frames that the probe's stack lost track of; not 0: exit status 1.
    unaccounted: i64,
    /// Frames for the probe or the flood that found the ring between them full.
    handover_dropped: u64,
}

/// One part of a run.
#[derive(Debug, Serialize)]
struct PhaseReport {
    started: u64,
    verified: u64,
    verified_after_reconnect: u64,
    failed: BTreeMap<&'static str, u64>,
    /// Share of the ended ones with a verified reply, 0 to 1.
    success: Option<f64>,
    /// From when a connection was due to its verified reply, in µs.
    latency_us: BTreeMap<&'static str, u64>,
}

impl PhaseReport {
    fn new(tally: &ProbeTally) -> Self {
        let failed = ProbeFault::ALL
            .into_iter()
            .map(|fault| (fault.name(), tally.failed[fault as usize]));
        let latency = PERCENTILES.iter().filter_map(|&(percent, name)| {
            let value = tally.latency.percentile(percent)?;
            Some((name, u64::try_from(value.as_micros()).unwrap_or(u64::MAX)))
        });
        let max = tally.latency.max();
        let max = max.map(|max| ("max", u64::try_from(max.as_micros()).unwrap_or(u64::MAX)));
        Self {
            started: tally.started,
            verified: tally.verified,
            verified_after_reconnect: tally.verified_after_reconnect,
            failed: failed.filter(|(_, n)| *n > 0).collect(),
            success: tally
                .success()
                .map(|share| (share * 10_000.0).round() / 10_000.0),
            latency_us: latency.chain(max).collect(),
        }
    }
}

impl fmt::Display for PhaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} verified", self.verified, self.started)?;
        if self.verified_after_reconnect > 0 {
            write!(
                f,
                " ({} after a reset and a reconnection)",
                self.verified_after_reconnect
            )?;
        }
        for (name, count) in &self.failed {
            write!(f, ", {count} × {name}")?;
        }
        for (name, value) in &self.latency_us {
            write!(f, ", {name} {}", units::short_time(*value as f64))?;
        }
        Ok(())
    }
}

impl PhaseReport {
    /// Why probes failed, in brackets.
    fn why(&self) -> String {
        if self.failed.is_empty() {
            return String::new();
        }
        format!(" ({})", reasons(&self.failed))
    }
}

impl ProbeReport {
    /// The report of a probe.
    pub(super) fn new(
        rate: u32,
        end: &ProbeEnd,
        (sink_note, handover_dropped): (Option<&'static str>, u64),
    ) -> Self {
        let [baseline, sink, flood] = &end.progress.phases;
        Self {
            rate,
            baseline: PhaseReport::new(baseline),
            flood: PhaseReport::new(flood),
            sink: (sink.started > 0).then(|| PhaseReport::new(sink)),
            sink_note,
            counters: end.counters.clone(),
            unaccounted: end.unaccounted,
            handover_dropped,
        }
    }

    /// The faults of the run.
    pub(super) fn faults(&self, args: &FloodArgs) -> Vec<String> {
        let wanted = f64::from(args.probe_success) / 100.0;
        let mut faults = Vec::new();
        for (phase, when) in [
            (Some(&self.baseline), "without the flood"),
            (self.sink.as_ref(), "with the flood into a sink"),
        ] {
            if let Some(success) = phase.and_then(|phase| phase.success)
                && success < wanted
            {
                faults.push(format!(
                    "{when} only {:.1} % of the probes were verified{}: the target or the link fails by itself",
                    success * 100.0,
                    phase.map_or(String::new(), PhaseReport::why)
                ));
            }
        }
        if self.unaccounted != 0 {
            faults.push(format!(
                "the probe's stack lost track of {}",
                counted(self.unaccounted, "frame")
            ));
        }
        if args.expect_outage {
            return faults;
        }
        match self.flood.success {
            Some(success) if success < wanted => faults.push(format!(
                "during the flood {:.2} % of the probes were verified{}, {} % are wanted (--probe-success)",
                success * 100.0,
                self.flood.why(),
                args.probe_success
            )),
            None => faults.push("no probe ended during the flood".to_owned()),
            Some(_) => {}
        }
        faults
    }
}

impl fmt::Display for ProbeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  probe     without the flood: {}", self.baseline)?;
        writeln!(f, "            during the flood: {}", self.flood)?;
        match (&self.sink, self.sink_note) {
            (Some(sink), _) => writeln!(f, "            the same flood into a sink: {sink}"),
            (None, Some(note)) => writeln!(f, "            no control with a sink: {note}"),
            (None, None) => Ok(()),
        }
    }
}
