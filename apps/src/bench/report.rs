//! [`Report`]: what a run came to, as text for people and as JSON for scripts, and whether it is good.
//!
//! It must never round a wrong reply away: one is enough to fail the run.

use diagnose::counted;
use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::args::{BenchArgs, Peer};
use super::conduct::StatelessRun;
use super::endpoint::{EndpointTotals, Ready, Spent};
use super::limit::{self, Limit};
use crate::console;
use crate::failure::Failure;
use crate::provenance::{self, Versions};
use crate::report::{OutputArgs, reasons};
use crate::traffic::Expect;

/// The reports of both sides about themselves.
#[derive(Debug, Clone)]
pub(super) struct Sides {
    /// The link, in words.
    pub(super) link: String,
    /// `None` when the endpoint is not ours.
    pub(super) ready: Option<Ready>,
    /// `None` when the endpoint is not ours.
    pub(super) stopped: Option<EndpointTotals>,
    /// Frames of the generator's pools that did not come back.
    pub(super) generator_mbufs_in_use: u32,
    /// The generator's DPDK memory, in one line.
    pub(super) generator_memory: String,
    /// DPDK's version.
    pub(super) dpdk: String,
    /// CPUs of generator and endpoint.
    pub(super) cpus: Vec<usize>,
    /// The first wrong replies, in hex.
    pub(super) dumps: Vec<String>,
}

impl Sides {
    /// Memory of a connection, when the endpoint is ours and measured it.
    fn bytes_per_connection(&self) -> Option<f64> {
        self.ready
            .as_ref()
            .and_then(|ready| ready.bytes_per_connection)
            .map(rounded)
    }

    /// The memory of both sides, a line each.
    pub(super) fn memory(&self) -> Vec<String> {
        let near = format!("generator {}", self.generator_memory);
        let far = self
            .ready
            .iter()
            .map(|ready| format!("endpoint {}", ready.memory_line));
        core::iter::once(near).chain(far).collect()
    }
}

/// Cycles (TSC ticks) per frame in the endpoint's stages, from sampled bursts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Stages {
    classify: f64,
    look_up: f64,
    process: f64,
    timers: f64,
}

impl Stages {
    pub(super) fn of(spent: &Spent) -> Self {
        let per_frame = |cycles| rounded(per(cycles, spent.stage_frames));
        Self {
            classify: per_frame(spent.classify),
            look_up: per_frame(spent.look_up),
            process: per_frame(spent.process),
            timers: per_frame(spent.timers),
        }
    }
}

impl fmt::Display for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "classify {:.1}, look up {:.1}, process {:.1}, timers and output {:.1} (sampled bursts)",
            self.classify, self.look_up, self.process, self.timers
        )
    }
}

/// The result of a run. Its field names are the keys of the JSON, and stable.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    /// `rst` or `syn`.
    mode: &'static str,
    /// The link, in words.
    link: String,
    /// Replies received and verified, per second (with `--expect sink`: frames sent).
    rate_pps: f64,
    /// SYNs per second that were asked for; null for as many as are taken.
    offered_pps: Option<u64>,
    /// SYNs per second that the link took.
    sent_pps: f64,
    /// How long was measured.
    seconds: f64,
    /// Over the whole run, warm-up and drain included, as all counts below.
    sent: u64,
    replies_verified: u64,
    replies_wrong: u64,
    wrong_by_reason: BTreeMap<&'static str, u64>,
    /// SYNs without a reply after the drain.
    lost: u64,
    /// Resets with which the generator took embryos back.
    resets_sent: u64,
    /// The endpoint's own cycles (TSC ticks) per received frame, without the PMD; null when it is not ours.
    cycles_per_packet: Option<f64>,
    cycles_per_packet_with_pmd: Option<f64>,
    stages: Option<Stages>,
    /// Mean frames of the endpoint's bursts.
    mean_burst: Option<f64>,
    /// Established connections in the endpoint's table.
    connections: u32,
    /// Memory of each of them, from the growth of the process.
    bytes_per_connection: Option<f64>,
    limit: Limit,
    /// The endpoint's counters that aren't zero, over the whole run.
    counters: BTreeMap<String, u64>,
    /// Frames that the endpoint lost track of, and buffers that did not come back; all 0, or the run is not good.
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
    dumps: Vec<String>,
    #[serde(skip)]
    expects_replies: bool,
    /// The endpoint is ours and answers every SYN.
    #[serde(skip)]
    is_ours: bool,
}

pub(super) fn per(count: u64, of: u64) -> f64 {
    count as f64 / of.max(1) as f64
}

/// To two digits behind the point: more would pretend to be exact.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

impl Report {
    /// The report of a run.
    pub(super) fn new(args: &BenchArgs, course: &StatelessRun, sides: Sides) -> Self {
        let (measured, whole) = (&course.measured, &course.whole);
        let expects_replies = args.expected() != Expect::Sink;
        let counted = if expects_replies {
            measured.verified
        } else {
            measured.sent
        };
        let seconds = course.seconds.max(1e-9);
        let spent = course.spent.as_ref().filter(|spent| spent.frames > 0);
        let (memory, bytes_per_connection) = (sides.memory(), sides.bytes_per_connection());
        let stopped = sides.stopped.unwrap_or_default();
        Self {
            mode: args.mode.name(),
            link: sides.link,
            rate_pps: (counted as f64 / seconds).round(),
            offered_pps: args.rate,
            sent_pps: (measured.sent as f64 / seconds).round(),
            seconds: (seconds * 1000.0).round() / 1000.0,
            sent: whole.sent,
            replies_verified: whole.verified,
            replies_wrong: whole.wrong_total(),
            wrong_by_reason: whole.wrong_by_reason().collect(),
            lost: if expects_replies {
                whole.unanswered()
            } else {
                0
            },
            resets_sent: whole.answers_sent,
            cycles_per_packet: spent.map(|spent| rounded(per(spent.own, spent.frames))),
            cycles_per_packet_with_pmd: spent
                .map(|spent| rounded(per(spent.own + spent.rx + spent.tx, spent.frames))),
            stages: spent.map(Stages::of),
            mean_burst: spent.map(|spent| rounded(spent.mean_burst())),
            connections: sides.ready.as_ref().map_or(0, |ready| ready.connections),
            bytes_per_connection,
            limit: limit::judge(measured, spent, seconds, args.rate),
            unaccounted: stopped.progress.unaccounted,
            endpoint_mbufs_in_use: stopped.mbufs_in_use,
            counters: stopped.progress.counters,
            generator_mbufs_in_use: sides.generator_mbufs_in_use,
            interrupted: course.interrupted,
            cpus: if args.peer == Peer::External {
                sides.cpus[..1].to_vec()
            } else {
                sides.cpus
            },
            room: sides.ready.map(|ready| ready.room),
            memory,
            versions: Versions::with_dpdk(sides.dpdk),
            command: provenance::command(),
            dumps: sides.dumps,
            expects_replies,
            is_ours: args.peer == Peer::Endpoint,
        }
    }

    /// Prints the result, and wrong replies in hex to stderr.
    ///
    /// # Errors
    /// [`Failure::Run`] when stdout takes no more.
    pub(super) fn print(&self, output: &OutputArgs) -> Result<(), Failure> {
        for dump in &self.dumps {
            console::log(dump);
        }
        output.print(self)
    }

    /// Whether the result is good: every reply right, every frame accounted for, every buffer back.
    ///
    /// # Errors
    /// [`Failure::Gate`] with everything that is not.
    pub(super) fn gate(&self) -> Result<(), Failure> {
        let mut faults = Vec::new();
        if self.replies_wrong > 0 {
            faults.push(format!(
                "{} ({})",
                counted(self.replies_wrong, "wrong reply"),
                reasons(&self.wrong_by_reason)
            ));
        }
        if self.unaccounted != 0 {
            faults.push(format!(
                "the endpoint lost track of {}",
                counted(self.unaccounted, "frame")
            ));
        }
        for (side, in_use) in [
            ("endpoint", self.endpoint_mbufs_in_use),
            ("generator", self.generator_mbufs_in_use),
        ] {
            if in_use > 0 {
                faults.push(format!(
                    "{} of the {side} did not come back",
                    counted(in_use, "buffer")
                ));
            }
        }
        if self.is_ours && self.lost > 0 {
            faults.push(format!(
                "{} of {} got no reply: the link was full when it came (try a smaller --window), or the endpoint sent none",
                self.lost, counted(self.sent, "SYN")
            ));
        }
        if self.expects_replies && self.replies_verified == 0 && !self.interrupted {
            faults
                .push("no reply came: check that the peer answers this kind of request".to_owned());
        }
        Failure::unless_good(&faults)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let early = if self.interrupted {
            ", ended early"
        } else {
            ""
        };
        let what = if self.expects_replies {
            "verified"
        } else {
            "sent into a sink"
        };
        writeln!(
            f,
            "bench {} over {}, {:.1} s{early}",
            self.mode, self.link, self.seconds
        )?;
        writeln!(f, "  rate      {:.3} Mpps {what}", self.rate_pps / 1e6)?;
        match self.offered_pps {
            Some(rate) => write!(f, "  offered   {:.3} Mpps", rate as f64 / 1e6)?,
            None => write!(f, "  offered   as many as are taken")?,
        }
        writeln!(f, ", sent {:.3} Mpps", self.sent_pps / 1e6)?;
        writeln!(
            f,
            "  replies   {} sent, {} verified, {} wrong, {} lost (whole run)",
            self.sent, self.replies_verified, self.replies_wrong, self.lost
        )?;
        if self.resets_sent > 0 {
            writeln!(
                f,
                "  embryos   each taken back by an exact RST of the generator: {} sent",
                counted(self.resets_sent, "reset")
            )?;
        }
        self.write_endpoint(f)?;
        writeln!(
            f,
            "  limit     {}: {}",
            self.limit.verdict.name(),
            self.limit.evidence
        )?;
        if !self.counters.is_empty() {
            let counters: Vec<String> = self
                .counters
                .iter()
                .map(|(name, n)| format!("{name} {n}"))
                .collect();
            writeln!(f, "  counters  {}", counters.join(", "))?;
        }
        writeln!(f, "  memory    {}", self.memory.join("; "))?;
        writeln!(f, "  versions  {}", self.versions)?;
        write!(f, "  command   {}", self.command)
    }
}

impl Report {
    fn write_endpoint(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(own), Some(with_pmd), Some(stages), Some(burst)) = (
            self.cycles_per_packet,
            self.cycles_per_packet_with_pmd,
            self.stages,
            self.mean_burst,
        ) else {
            return Ok(());
        };
        writeln!(
            f,
            "  endpoint  {own:.1} cycles a packet, {with_pmd:.1} with the PMD (TSC ticks); mean burst {burst:.1}"
        )?;
        writeln!(f, "  stages    {stages}")?;
        if let Some(room) = &self.room {
            write!(f, "  table     {}", counted(self.connections, "connection"))?;
            if let Some(bytes) = self.bytes_per_connection {
                write!(f, " of {bytes:.1} bytes (growth of the process)")?;
            }
            writeln!(f, "; {room}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
