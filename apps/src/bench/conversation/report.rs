//! [`Report`]: what a conversation came to, as text for people and as JSON for scripts, and whether it is good.
//!
//! It must never round a fault away: one is enough to fail the run.

// Times, costs, counts.
mod figures;

use diagnose::counted;
use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use stack::counters::Counter;
use workload::Tally;

use super::super::args::{BenchArgs, Mode};
use super::super::endpoint::Progress;
use super::super::limit::{self, Limit, RecordLack};
use super::super::report::{Sides, Stages, per, rounded};
use super::course::{ConversationRun, Window};
use super::plan;
use crate::failure::Failure;
use crate::fault::FaultReport;
use crate::provenance::{self, Versions};
use crate::report::reasons;

use figures::{Cost, Counts, Established, Times};

/// The result of a run. Its field names are the keys of the JSON, and stable; those that `bench rst` has mean the same here.
#[derive(Debug, Clone, Serialize)]
pub(in super::super) struct Report {
    /// `connect` or `request`.
    mode: &'static str,
    /// The link, in words.
    link: String,
    /// `connect`: complete connections per second; null otherwise.
    rate_cps: Option<f64>,
    /// `request`: verified replies per second; null otherwise.
    rate_rps: Option<f64>,
    /// Frames per second that the endpoint received.
    rate_pps: f64,
    /// Frames per second that the client sent.
    sent_pps: f64,
    /// How long was measured.
    seconds: f64,
    /// `piggyback` or `plain`.
    shape: &'static str,
    /// `connect`: the side that closes first and keeps TIME-WAIT; null otherwise.
    first_close: Option<&'static str>,
    /// `connect`: 2 MSL; null otherwise.
    two_msl_seconds: Option<f64>,
    /// Bytes of the response's body, or of the reply.
    size: u32,
    /// Connections or requests under way at a time.
    concurrency: u32,
    /// Frames of both directions per complete connection or per request.
    packets_per_exchange: Option<f64>,
    /// From `connect` to the end of a connection, or from request to reply, as the client sees it.
    latency: Times,
    #[serde(flatten)]
    counts: Counts,
    /// The endpoint's own cycles (TSC ticks) per received frame, without the PMD.
    cycles_per_packet: Option<f64>,
    cycles_per_packet_with_pmd: Option<f64>,
    stages: Option<Stages>,
    mean_burst: Option<f64>,
    /// The endpoint per connection or request.
    endpoint: Cost,
    client: Cost,
    #[serde(flatten)]
    established: Established,
    limit: Limit,
    /// Counters that aren't zero, over the whole run.
    counters: BTreeMap<String, u64>,
    client_counters: BTreeMap<String, u64>,
    /// The counts of `--fault`, on the client's side; null without it.
    fault_injection: Option<FaultReport>,
    /// Frames that either side lost track of; 0, or the run is not good.
    unaccounted: i64,
    endpoint_mbufs_in_use: u32,
    generator_mbufs_in_use: u32,
    interrupted: bool,
    cpus: Vec<usize>,
    room: Option<String>,
    memory: Vec<String>,
    versions: Versions,
    command: String,
    #[serde(skip)]
    is_connect: bool,
    #[serde(skip)]
    is_one_process: bool,
}

/// What the client waited for, and what the endpoint dropped.
fn lack_of_records(tally: &Tally, endpoint: &Progress) -> RecordLack {
    RecordLack {
        waited_share: per(tally.waited, tally.requests),
        dropped: endpoint.count(Counter::UnparkNoRecord),
    }
}

impl Report {
    /// The report of a run.
    pub(super) fn new(args: &BenchArgs, course: ConversationRun, sides: Sides) -> Self {
        let is_connect = args.mode == Mode::Connect;
        let Window {
            seconds,
            tally,
            client,
            client_tx_frames,
            server,
            server_tx_frames,
        } = &course.measured;
        let exchanges = if is_connect {
            tally.completed
        } else {
            tally.replies
        };
        let rate = (exchanges as f64 / seconds.max(1e-9)).round();
        let per_second = |count: u64| (count as f64 / seconds.max(1e-9)).round();
        let (memory, room) = (sides.memory(), sides.ready.map(|ready| ready.room));
        let stopped = sides.stopped.unwrap_or_default();
        let endpoint = Cost::of(server, exchanges);
        let lack = lack_of_records(tally, &stopped.progress);
        let of_connect = |value| is_connect.then_some(value);
        Self {
            mode: args.mode.name(),
            link: sides.link,
            rate_cps: is_connect.then_some(rate),
            rate_rps: (!is_connect).then_some(rate),
            rate_pps: per_second(server.frames),
            sent_pps: per_second(*client_tx_frames),
            seconds: (seconds * 1000.0).round() / 1000.0,
            shape: args.shape.name(),
            first_close: plan::first_close(args),
            two_msl_seconds: of_connect(args.time_wait.as_secs_f64()),
            size: if is_connect { args.size } else { 1 },
            concurrency: args.under_way(),
            packets_per_exchange: (exchanges > 0)
                .then(|| rounded(per(client_tx_frames + server_tx_frames, exchanges))),
            latency: Times::of(&course.latency),
            counts: Counts::of(
                is_connect,
                args.fault.is_some(),
                &course.whole,
                &stopped.progress.app.faults,
            ),
            cycles_per_packet: endpoint.cycles_per_packet,
            cycles_per_packet_with_pmd: endpoint.cycles_per_packet_with_pmd,
            stages: (server.stage_frames > 0).then(|| Stages::of(server)),
            mean_burst: endpoint.mean_burst,
            endpoint,
            client: Cost::of(client, exchanges),
            established: Established::of(course.set_up.as_ref()),
            limit: limit::judge_workers(client, server, lack),
            unaccounted: stopped.progress.unaccounted.abs() + course.client.unaccounted.abs(),
            counters: stopped.progress.counters,
            client_counters: course.client.counters,
            fault_injection: course.fault,
            endpoint_mbufs_in_use: stopped.mbufs_in_use,
            generator_mbufs_in_use: sides.generator_mbufs_in_use,
            interrupted: course.interrupted,
            cpus: sides.cpus,
            room,
            memory,
            versions: Versions::with_dpdk(sides.dpdk),
            command: provenance::command(),
            is_connect,
            is_one_process: args.is_ring(),
        }
    }

    /// Whether the result is good: nothing failed, everything verified, every frame accounted for, every buffer back.
    ///
    /// # Errors
    /// [`Failure::Gate`] with everything that is not.
    pub(in super::super) fn gate(&self) -> Result<(), Failure> {
        let mut faults = Vec::new();
        if self.counts.failures > 0 {
            faults.push(format!(
                "{} ({})",
                counted(self.counts.failures, "failure"),
                reasons(&self.counts.failures_by_reason)
            ));
        }
        // Only the link is to blame for what it loses.
        if self.counts.lost > 0 && self.fault_injection.is_none() {
            let exchange = if self.is_connect {
                "connection"
            } else {
                "request"
            };
            faults.push(format!(
                "{} did not end",
                counted(self.counts.lost, exchange)
            ));
        }
        if self.unaccounted != 0 {
            faults.push(format!(
                "{} unaccounted for",
                counted(self.unaccounted, "frame")
            ));
        }
        for (side, in_use) in [
            ("endpoint", self.endpoint_mbufs_in_use),
            ("client", self.generator_mbufs_in_use),
        ] {
            if in_use > 0 {
                faults.push(format!(
                    "{} of the {side} did not come back",
                    counted(in_use, "buffer")
                ));
            }
        }
        if self.counts.replies_verified == 0 && !self.interrupted {
            faults.push("no reply came".to_owned());
        }
        Failure::unless_good(&faults)
    }
}

/// Name and number of each, with commas between them.
fn listed(counts: &BTreeMap<String, u64>) -> String {
    let counts: Vec<String> = counts
        .iter()
        .map(|(name, n)| format!("{name} {n}"))
        .collect();
    counts.join(", ")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let early = if self.interrupted {
            ", ended early"
        } else {
            ""
        };
        writeln!(
            f,
            "bench {} over {}, {:.1} s{early}",
            self.mode, self.link, self.seconds
        )?;
        self.write_rate(f)?;
        let Times {
            samples,
            p50_us,
            p90_us,
            p99_us,
            p999_us,
            max_us,
        } = self.latency;
        let us = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), |us| format!("{us:.1}"));
        writeln!(
            f,
            "  latency   p50 {} us, p90 {}, p99 {}, p99.9 {}, max {} ({samples} samples, {} at a time)",
            us(p50_us),
            us(p90_us),
            us(p99_us),
            us(p999_us),
            us(max_us),
            self.concurrency
        )?;
        writeln!(
            f,
            "  counts    {} sent, {} replies verified, {} wrong, {} failures, {} lost (whole run)",
            self.counts.sent,
            self.counts.replies_verified,
            self.counts.replies_wrong,
            self.counts.failures,
            self.counts.lost
        )?;
        if self.counts.failures > 0 {
            writeln!(
                f,
                "  failures  {}",
                reasons(&self.counts.failures_by_reason)
            )?;
        }
        self.write_cost(f)?;
        self.write_set_up(f)?;
        writeln!(
            f,
            "  limit     {}: {}",
            self.limit.verdict.name(),
            self.limit.evidence
        )?;
        if let Some(fault) = &self.fault_injection {
            writeln!(f, "  link      {fault}")?;
        }
        if let Some(room) = &self.room {
            writeln!(f, "  room      {room}")?;
        }
        writeln!(f, "  endpoint  counters: {}", listed(&self.counters))?;
        writeln!(f, "  client    counters: {}", listed(&self.client_counters))?;
        writeln!(f, "  memory    {}", self.memory.join("; "))?;
        writeln!(f, "  versions  {}", self.versions)?;
        write!(f, "  command   {}", self.command)
    }
}

impl Report {
    fn write_rate(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rate) = self.rate_cps {
            writeln!(
                f,
                "  rate      {:.3} M connections/s, complete and verified; {} closes first, 2 MSL {} s, body {}",
                rate / 1e6,
                self.first_close.unwrap_or("neither side"),
                self.two_msl_seconds.unwrap_or_default(),
                counted(self.size, "byte")
            )?;
        }
        if let Some(rate) = self.rate_rps {
            writeln!(
                f,
                "  rate      {:.3} M requests/s verified, over {} at random",
                rate / 1e6,
                counted(self.established.connections, "connection")
            )?;
        }
        let exchange = if self.is_connect {
            "connection"
        } else {
            "request"
        };
        if let Some(packets) = self.packets_per_exchange {
            writeln!(
                f,
                "  packets   {packets} per {exchange} ({}); {:.3} Mpps to the endpoint",
                self.shape,
                self.rate_pps / 1e6
            )?;
        }
        Ok(())
    }

    fn write_cost(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exchange = if self.is_connect {
            "connection"
        } else {
            "request"
        };
        for (side, cost) in [("endpoint", &self.endpoint), ("client  ", &self.client)] {
            if let (Some(exchange_cycles), Some(own), Some(with_pmd), Some(burst)) = (
                cost.cycles_per_exchange,
                cost.cycles_per_packet,
                cost.cycles_per_packet_with_pmd,
                cost.mean_burst,
            ) {
                writeln!(
                    f,
                    "  {side}  {exchange_cycles:.0} cycles a {exchange}, {own:.1} a packet received, {with_pmd:.1} with the \
                     PMD (TSC ticks); mean burst {burst:.1}"
                )?;
            }
        }
        if let Some(stages) = self.stages {
            writeln!(f, "  stages    {stages}")?;
        }
        Ok(())
    }

    fn write_set_up(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(set_up) = self.established.set_up else {
            return Ok(());
        };
        writeln!(
            f,
            "  set-up    {} by handshake in {:.1} s, {:.3} M/s",
            counted(set_up.connections, "connection"),
            set_up.seconds,
            set_up.rate_cps / 1e6
        )?;
        if let (Some(server), Some(client)) = (
            self.established.bytes_per_connection,
            self.established.client_bytes_per_connection,
        ) {
            let how = if self.is_one_process {
                "half of the growth of the one process"
            } else {
                "growth of each process"
            };
            writeln!(
                f,
                "  table     {server:.1} bytes a connection at the endpoint, {client:.1} at the client ({how}; the client's \
                 own list left out)"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
