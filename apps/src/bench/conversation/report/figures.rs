//! The parts of a result: times, costs, counts, and the connections that were established first.
//!
//! It must never add what was not measured: a null says so.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use workload::Fault;
use workload::load::Measure;

use super::super::super::endpoint::Spent;
use super::super::super::report::{per, rounded};
use super::super::course::SetUp;
use super::super::progress::ClientProgress;

/// Times in microseconds; null where fewer than ten samples lie beyond a percentile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Times {
    pub(super) samples: u64,
    pub(super) p50_us: Option<f64>,
    pub(super) p90_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
    pub(super) p999_us: Option<f64>,
    pub(super) max_us: Option<f64>,
}

impl Times {
    pub(super) fn of(times: &Measure) -> Self {
        let latency = times.times();
        let us = |time: Option<Duration>| time.map(|time| rounded(time.as_secs_f64() * 1e6));
        Self {
            samples: latency.samples(),
            p50_us: us(latency.percentile(50.0)),
            p90_us: us(latency.percentile(90.0)),
            p99_us: us(latency.percentile(99.0)),
            p999_us: us(latency.percentile(99.9)),
            max_us: us(latency.max()),
        }
    }
}

/// The cycles (TSC ticks) of one side, without the PMD unless the name says so. Null when it handled nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Cost {
    pub(super) cycles_per_packet: Option<f64>,
    pub(super) cycles_per_packet_with_pmd: Option<f64>,
    /// Per complete connection (`connect`) or per request (`request`).
    pub(super) cycles_per_exchange: Option<f64>,
    pub(super) mean_burst: Option<f64>,
    pub(super) busy_share: f64,
}

impl Cost {
    pub(super) fn of(spent: &Spent, exchanges: u64) -> Self {
        let has_frames = spent.frames > 0;
        let some = |value: f64| has_frames.then(|| rounded(value));
        Self {
            cycles_per_packet: some(per(spent.own, spent.frames)),
            cycles_per_packet_with_pmd: some(per(spent.own + spent.rx + spent.tx, spent.frames)),
            cycles_per_exchange: (exchanges > 0).then(|| rounded(per(spent.own, exchanges))),
            mean_burst: some(spent.mean_burst()),
            busy_share: rounded(spent.busy_share()),
        }
    }
}

/// How the connections of `request` came to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct SetUpReport {
    pub(super) connections: u64,
    pub(super) seconds: f64,
    pub(super) rate_cps: f64,
}

impl From<&SetUp> for SetUpReport {
    fn from(set_up: &SetUp) -> Self {
        Self {
            connections: set_up.connections,
            seconds: rounded(set_up.seconds),
            rate_cps: (set_up.connections as f64 / set_up.seconds.max(1e-9)).round(),
        }
    }
}

/// The connections of `request`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Established {
    /// Established connections; 0 for `connect`.
    pub(super) connections: u64,
    pub(super) set_up: Option<SetUpReport>,
    /// Memory of the endpoint and the client for each connection, from the growth of their processes.
    pub(super) bytes_per_connection: Option<f64>,
    pub(super) client_bytes_per_connection: Option<f64>,
}

impl Established {
    pub(super) fn of(set_up: Option<&SetUp>) -> Self {
        Self {
            connections: set_up.map_or(0, |set_up| set_up.connections),
            set_up: set_up.map(SetUpReport::from),
            bytes_per_connection: set_up.and_then(|set_up| set_up.server_bytes).map(rounded),
            client_bytes_per_connection: set_up.and_then(|set_up| set_up.client_bytes).map(rounded),
        }
    }
}

/// The counts of the whole run, set-up, warm-up and drain included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    /// Connections (`connect`) or requests (`request`) begun.
    pub(super) sent: u64,
    pub(super) completed: u64,
    pub(super) replies_verified: u64,
    pub(super) replies_wrong: u64,
    pub(super) wrong_by_reason: BTreeMap<&'static str, u64>,
    /// Everything that went wrong, on either side; with `--fault` without what that can cause.
    pub(super) failures: u64,
    pub(super) failures_by_reason: BTreeMap<String, u64>,
    /// Begun and not ended after the drain; with `--fault` also what that has ended, as the client saw it.
    pub(super) lost: u64,
}

impl Counts {
    /// `of_server` are the server's faults by name. `is_bad_link`: frames were lost on purpose.
    pub(super) fn of(
        is_connect: bool,
        is_bad_link: bool,
        whole: &ClientProgress,
        of_server: &BTreeMap<String, u64>,
    ) -> Self {
        let tally = &whole.tally;
        let mut lost = u64::from(whole.under_way);
        let mut failures_by_reason: BTreeMap<String, u64> = tally
            .by_fault()
            .map(|(fault, n)| (fault.name().to_owned(), n))
            .collect();
        for (name, n) in of_server {
            *failures_by_reason.entry(name.clone()).or_default() += n;
        }
        if is_bad_link {
            lost += tally.total_of(Fault::is_of_link);
            let of_link = Fault::ALL.into_iter().filter(|fault| fault.is_of_link());
            for fault in of_link {
                failures_by_reason.remove(fault.name());
            }
        }
        Self {
            sent: if is_connect {
                tally.started
            } else {
                tally.requests
            },
            completed: tally.completed,
            replies_verified: tally.replies,
            replies_wrong: tally.total_of(Fault::is_wrong_reply),
            wrong_by_reason: tally
                .by_fault()
                .filter(|(fault, _)| fault.is_wrong_reply())
                .map(|(fault, n)| (fault.name(), n))
                .collect(),
            failures: failures_by_reason.values().sum(),
            failures_by_reason,
            lost,
        }
    }
}
