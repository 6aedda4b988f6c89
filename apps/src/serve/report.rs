//! The result of a run, as text and as JSON, and whether it is good.
//!
//! It must never leave out a frame: what is not accounted for is said, and fails the run.

mod listener;
mod tcp;

use diagnose::counted;
use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use stack::counters::{Class, Counter};
use stack::wire::MacAddr;

use self::listener::ListenerReport;
use super::capture::CaptureTotals;
use super::listen::Listen;
use super::notes;
use super::run_outcome::Ending;
use super::run_outcome::{EndedBy, RunOutcome};
use super::watch::{rss, total};
use super::worker::Progress;
use crate::failure::Failure;
use crate::fault::FaultReport;
use crate::provenance::{self, Versions};
use crate::rig::{NicReport, RssReport};

/// Everything that a report is made of.
pub(super) struct ReportParts<'a> {
    pub(super) listens: &'a [Listen],
    pub(super) link: String,
    pub(super) mac: MacAddr,
    pub(super) memory: String,
    pub(super) dpdk: String,
    pub(super) watched: RunOutcome,
    /// The CPU of each worker, if it was pinned.
    pub(super) cpus: Vec<Option<usize>>,
    pub(super) nic: NicReport,
    pub(super) mbufs_in_use: u32,
    pub(super) pcap: Option<CaptureTotals>,
    pub(super) fault: Option<FaultReport>,
}

/// The result. Field names are stable: scripts rely on them (docs/guide/serve.md).
#[derive(Debug, Serialize)]
pub(super) struct Report {
    command: String,
    versions: Versions,
    link: String,
    mac: String,
    duration_s: f64,
    ended_by: EndedBy,
    rx_frames: u64,
    tx_frames: u64,
    /// Frames received minus frames that ended in a counter, hand-off rings included; 0, or a bug.
    unaccounted: i64,
    /// Buffers that did not come back after everything was stopped; 0, or a leak.
    mbufs_in_use: u32,
    workers: Vec<WorkerReport>,
    /// How the NIC steers flows to several workers.
    rss: Option<RssReport>,
    /// The counts of each place of `--listen`, on all workers.
    listeners: Vec<ListenerReport>,
    /// How connections ended that were open at the end.
    ending: Ending,
    /// The counters of TCP over all workers, those at 0 left out.
    tcp: BTreeMap<&'static str, u64>,
    /// All counters that aren't zero, over all workers.
    counters: BTreeMap<&'static str, u64>,
    nic: NicReport,
    pcap: Option<CaptureTotals>,
    /// The counts of `--fault`.
    fault_injection: Option<FaultReport>,
    memory: String,
    /// Conclusions from the counters about the link or its other end, in words; no fault of ours.
    notes: Vec<String>,
    /// Faults, in words.
    faults: Vec<String>,
}

/// The result of one worker.
#[derive(Debug, Serialize)]
struct WorkerReport {
    queue: usize,
    cpu: Option<usize>,
    rx_frames: u64,
    tx_frames: u64,
    /// Frames of flows that another worker owns, given to it.
    handed_off: u64,
    /// Frames that other workers gave.
    handoff_in: u64,
    /// Frames dropped because the owner's ring was full.
    handoff_full: u64,
    mean_burst: f64,
    /// TSC ticks a frame in our own stages, and with the driver.
    cycles_per_packet: Option<f64>,
    cycles_per_packet_with_pmd: Option<f64>,
}

impl WorkerReport {
    fn new(queue: usize, cpu: Option<usize>, progress: &Progress) -> Self {
        let (counters, cycles) = (&progress.counters, &progress.cycles);
        let rounded = |value: f64| (value * 10.0).round() / 10.0;
        let per_frame = |value: f64| (cycles.frames > 0).then_some(rounded(value));
        Self {
            queue,
            cpu,
            rx_frames: counters.get(Counter::RxFrames),
            tx_frames: counters.get(Counter::TxFrames),
            handed_off: counters.get(Counter::HandedOff),
            handoff_in: counters.get(Counter::HandoffIn),
            handoff_full: counters.get(Counter::HandoffFull),
            mean_burst: rounded(cycles.mean_burst()),
            cycles_per_packet: per_frame(cycles.own_per_frame()),
            cycles_per_packet_with_pmd: per_frame(cycles.total_per_frame()),
        }
    }
}

impl Report {
    /// The report of a run.
    pub(super) fn new(whole: ReportParts<'_>) -> Self {
        let workers = &whole.watched.workers;
        let total = total(workers);
        // A frame that was handed off and never arrived has an end, but not a true one.
        let in_rings = total
            .get(Counter::HandedOff)
            .wrapping_sub(total.get(Counter::HandoffIn))
            .cast_signed();
        Self {
            command: provenance::command(),
            versions: Versions::with_dpdk(whole.dpdk),
            link: whole.link,
            mac: whole.mac.to_string(),
            duration_s: (whole.watched.duration.as_secs_f64() * 1000.0).round() / 1000.0,
            ended_by: whole.watched.ended_by,
            rx_frames: total.get(Counter::RxFrames),
            tx_frames: total.get(Counter::TxFrames),
            unaccounted: total.unaccounted() + in_rings,
            mbufs_in_use: whole.mbufs_in_use,
            workers: workers
                .iter()
                .zip(&whole.cpus)
                .enumerate()
                .map(|(queue, (progress, &cpu))| WorkerReport::new(queue, cpu, progress))
                .collect(),
            rss: rss(workers),
            listeners: listener::reports(whole.listens, workers),
            ending: whole.watched.ending,
            tcp: tcp::non_zero(workers),
            counters: total.non_zero().collect(),
            nic: whole.nic,
            pcap: whole.pcap,
            fault_injection: whole.fault,
            memory: whole.memory,
            notes: notes::of(&total),
            faults: whole.watched.faults,
        }
    }

    /// Whether the result is good: every frame accounted for, every buffer back, the capture complete.
    ///
    /// # Errors
    /// [`Failure::Gate`] with everything that is not.
    pub(super) fn gate(&self) -> Result<(), Failure> {
        let mut faults = self.faults.clone();
        if self.unaccounted != 0 {
            faults.push(format!(
                "{} unaccounted for: that is a bug, please report it",
                counted(self.unaccounted, "frame")
            ));
        }
        if self.mbufs_in_use > 0 {
            faults.push(format!(
                "{} did not come back: that is a bug, please report it",
                counted(self.mbufs_in_use, "buffer")
            ));
        }
        if let Some(pcap) = &self.pcap
            && let Some(error) = &pcap.error
        {
            faults.push(format!("{} is not whole: {error}", pcap.file));
        }
        Failure::unless_good(&faults)
    }

    fn write_workers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for worker in &self.workers {
            let cpu = worker
                .cpu
                .map_or("any CPU".to_owned(), |cpu| format!("CPU {cpu}"));
            write!(
                f,
                "  worker {}  {cpu}: rx {}, tx {}, mean burst {:.1}",
                worker.queue, worker.rx_frames, worker.tx_frames, worker.mean_burst
            )?;
            if let (Some(own), Some(all)) =
                (worker.cycles_per_packet, worker.cycles_per_packet_with_pmd)
            {
                write!(
                    f,
                    ", {own:.0} cycles a packet, {all:.0} with the PMD (TSC ticks)"
                )?;
            }
            if self.workers.len() > 1 {
                write!(
                    f,
                    "; handed off {}, taken over {}, ring full {}",
                    worker.handed_off, worker.handoff_in, worker.handoff_full
                )?;
            }
            writeln!(f)?;
        }
        if let Some(rss) = &self.rss {
            writeln!(f, "  rss       {rss}")?;
        }
        Ok(())
    }

    fn write_tcp(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.tcp.iter().enumerate() {
            if i == 0 {
                writeln!(f, "  tcp")?;
            }
            writeln!(f, "    {name:<32} {value:>12}")?;
        }
        Ok(())
    }

    /// Ends of frames first, then what else happened, one a line.
    fn write_counters(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = |name: &str| {
            let known = Counter::ALL.iter().find(|counter| counter.name() == name);
            known.map_or(Class::End, |counter| counter.class())
        };
        for (title, wanted) in [("frames that ended as", Class::End), ("and", Class::Event)] {
            let counters = self
                .counters
                .iter()
                .filter(|(name, _)| class(name) == wanted);
            for (i, (name, value)) in counters.enumerate() {
                if i == 0 {
                    writeln!(f, "  {title}")?;
                }
                writeln!(f, "    {name:<32} {value:>12}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.ended_by {
            EndedBy::Signal => "ended by signal",
            EndedBy::Duration => "ended by --duration",
            EndedBy::Fault => "ended by a fault",
        };
        writeln!(
            f,
            "serve on {} ({}), {:.1} s, {why}",
            self.link, self.mac, self.duration_s
        )?;
        writeln!(
            f,
            "  frames    {} received, {} sent, {} unaccounted for; {} in use after stop",
            self.rx_frames,
            self.tx_frames,
            self.unaccounted,
            counted(self.mbufs_in_use, "buffer")
        )?;
        self.write_workers(f)?;
        for listener in &self.listeners {
            writeln!(f, "  {listener}")?;
        }
        if self.ending.open > 0 {
            writeln!(
                f,
                "  ending    {} open, {} of them reset, {:.1} s",
                counted(self.ending.open, "connection"),
                self.ending.reset,
                self.ending.duration_s
            )?;
        }
        self.write_counters(f)?;
        self.write_tcp(f)?;
        writeln!(f, "  nic       {}", self.nic)?;
        if let Some(pcap) = &self.pcap {
            writeln!(
                f,
                "  pcap      {}: {}, {} dropped",
                pcap.file,
                counted(pcap.frames, "frame"),
                pcap.dropped
            )?;
        }
        if let Some(fault) = &self.fault_injection {
            writeln!(f, "  {fault}")?;
        }
        for note in &self.notes {
            writeln!(f, "  note      {note}")?;
        }
        writeln!(f, "  {}", self.memory)?;
        writeln!(f, "  versions  {}", self.versions)?;
        write!(f, "  command   {}", self.command)
    }
}
