//! [`FloodReport`]: what a run came to, as text for people and as JSON for scripts, and whether its gates held.
//!
//! It must never call silence what could not have been seen, and never drop a tuple: all that were sent are in the matrix.

use diagnose::counted;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::announce;
use super::args::{ExpectedOutcome, FloodArgs};
use super::limit::FloodLimit;
use super::plan::Setup;
use super::watch::{EndedBy, FloodRun, Interval};
use crate::failure::Failure;
use crate::report::Envelope;
use crate::rig::{NicReport, Reach};
use crate::traffic::{FloodPlan, Matrix, Outcome, OutcomeRow, Tally};
use crate::units;

// The result of the probe.
mod probe;
// The outcomes of one target's frames, as reported.
mod row;

use probe::ProbeReport;
use row::{IcmpCount, RowReport};

/// Rows that the text shows; JSON has them all.
const ROWS_SHOWN: usize = 16;

/// The parts of a report.
pub(super) struct ReportParts<'a> {
    /// The sent frames.
    pub(super) plan: &'a FloodPlan,
    /// The result.
    pub(super) run: FloodRun,
    /// The port at the end.
    pub(super) nic: NicReport,
    /// Buffers that did not come back.
    pub(super) mbufs_in_use: u32,
    /// Where the result comes from.
    pub(super) envelope: Envelope,
    /// The CPU of each worker, `null` where the kernel chooses.
    pub(super) cpus: Vec<Option<usize>>,
}

/// The result of a run. Its field names are stable (docs/reference/flood-json.md).
#[derive(Debug, Serialize)]
pub(crate) struct FloodReport {
    #[serde(flatten)]
    envelope: Envelope,
    target: String,
    flags: &'static str,
    syn_options: &'static str,
    /// The answer to SYN-ACKs.
    answer: &'static str,
    sources: String,
    tuples: u64,
    shard: String,
    offered_pps: Option<u64>,
    sent_pps: f64,
    /// How long frames were sent.
    seconds: f64,
    /// Frames that the NIC took, repeats among them.
    sent: u64,
    /// Frames that repeated an earlier one.
    resent: u64,
    /// Tuples whose first frame the NIC took.
    tuples_sent: u64,
    /// Answers to SYN-ACKs.
    answers_sent: u64,
    /// Answers to neighbours that asked for an address of ours or of the pool.
    neighbor_answers: u64,
    /// Frames to our sources with a wrong checksum or lengths that contradict each other.
    damaged: u64,
    /// Replies to tuples that were not in flight: after the verdict, or never sent.
    late: u64,
    /// Frames that were no replies: neighbour discovery and others' traffic.
    other_frames: u64,
    /// All targets together.
    total: RowReport,
    /// Each target, when there are several.
    targets: Vec<RowReport>,
    icmp: Vec<IcmpCount>,
    /// Frames of the same flood into a sink (`--probe`).
    sunk: u64,
    probe: Option<ProbeReport>,
    intervals: Vec<Interval>,
    /// Share of its time in which the generator sent or received something.
    busy_share: f64,
    /// Share of sends that the link did not take whole.
    refused_share: f64,
    limit: FloodLimit,
    ended_by: EndedBy,
    interrupted: bool,
    nic: NicReport,
    mbufs_in_use: u32,
    cpus: Vec<Option<usize>>,
    /// The faults of the run.
    faults: Vec<String>,
    /// Faults that `--expect` names.
    unexpected: Vec<String>,
}

impl FloodReport {
    /// The report of a run.
    pub(super) fn new(args: &FloodArgs, setup: &Setup, parts: ReportParts<'_>) -> Self {
        let ReportParts {
            plan,
            run,
            nic,
            mbufs_in_use,
            envelope,
            cpus,
        } = parts;
        let (matrix, whole) = together(setup, &run);
        let total = matrix.total();
        let probe = probe_report(args, setup, &run);
        let seconds = run.seconds.max(1e-9);
        let mut faults = run.faults;
        faults.extend(accounting(&total, &whole, mbufs_in_use));
        faults.extend(probe.iter().flat_map(|probe| probe.faults(args)));
        let several = setup.targets.len() > 1;
        let rows = setup.targets.iter().zip(matrix.rows()).filter(|_| several);
        let share = |share: f64| (share * 1000.0).round() / 1000.0;
        Self {
            envelope,
            target: announce::targets(setup),
            flags: args.flags.name(),
            syn_options: announce::options_name(args.syn_options),
            answer: args.answer.name(),
            sources: announce::sources(args, setup),
            tuples: plan.space.len(),
            shard: args.pool.shard().to_string(),
            offered_pps: setup.rate_pps,
            sent_pps: (run.sending.sent as f64 / seconds).round(),
            seconds: (run.seconds * 1000.0).round() / 1000.0,
            sent: whole.sent - whole.sunk,
            resent: whole.resent,
            tuples_sent: whole.tuples_sent,
            answers_sent: whole.answers_sent.saturating_sub(whole.neighbor_answers),
            neighbor_answers: whole.neighbor_answers,
            damaged: whole.damaged,
            late: matrix.late,
            other_frames: whole.housekeeping,
            limit: FloodLimit::new(
                setup.rate_pps,
                run.sending.sent as f64 / seconds,
                &run.sending,
            ),
            unexpected: unexpected(&args.expect, &total),
            targets: rows
                .map(|(target, row)| RowReport::new(name(target), row))
                .collect(),
            icmp: icmp_counts(plan.space.is_ipv6(), &matrix),
            total: RowReport::new(announce::targets(setup), &total),
            sunk: whole.sunk,
            probe,
            intervals: run.intervals,
            busy_share: share(run.sending.busy_share()),
            refused_share: share(run.sending.refused_share()),
            interrupted: run.ended_by == EndedBy::Signal,
            ended_by: run.ended_by,
            nic,
            mbufs_in_use,
            cpus,
            faults,
        }
    }

    /// Whether the gates held: every tuple and buffer accounted for, and everything as `--expect` says.
    ///
    /// # Errors
    /// [`Failure::Gate`] with everything that is not; [`Failure::Interrupted`] when all is well but a signal ended the run.
    pub(crate) fn gate(&self) -> Result<(), Failure> {
        let faults: Vec<String> = self
            .faults
            .iter()
            .chain(&self.unexpected)
            .cloned()
            .collect();
        if self.interrupted {
            return Err(Failure::Interrupted(if faults.is_empty() {
                "interrupted; the result so far is above".to_owned()
            } else {
                format!("interrupted; {}", faults.join("; "))
            }));
        }
        Failure::unless_good(&faults)
    }
}

/// `ADDR:PORT`.
fn name(&(address, port): &(IpAddr, u16)) -> String {
    SocketAddr::new(address, port).to_string()
}

/// The probe's results, when there was one.
fn probe_report(args: &FloodArgs, setup: &Setup, run: &FloodRun) -> Option<ProbeReport> {
    let end = run.probe.as_ref()?;
    let note = (setup.reach == Reach::Elsewhere)
        .then_some("this link was not made by this run: a switch would flood frames to an unknown address to others");
    Some(ProbeReport::new(
        args.probe?,
        end,
        (note, run.handover_dropped),
    ))
}

/// ICMP errors by type and code.
fn icmp_counts(v6: bool, matrix: &Matrix) -> Vec<IcmpCount> {
    let counts = matrix.icmp().iter();
    counts
        .map(|(&(kind, code), &count)| IcmpCount::new(v6, kind, code, count))
        .collect()
}

/// The results of all workers.
fn together(setup: &Setup, run: &FloodRun) -> (Matrix, Tally) {
    let mut matrix = Matrix::new(setup.targets.len());
    for end in &run.ends {
        matrix.add(&end.matrix);
    }
    let tallies = run.ends.iter().map(|end| end.tally);
    let whole = tallies.reduce(|whole, tally| whole.and(&tally));
    (matrix, whole.unwrap_or_default())
}

/// The sums that do not add up.
fn accounting(total: &OutcomeRow, whole: &Tally, mbufs_in_use: u32) -> Vec<String> {
    let mut faults = Vec::new();
    if total.sent() != whole.tuples_sent {
        faults.push(format!(
            "{} sent, {} accounted for",
            counted(whole.tuples_sent, "tuple"),
            total.sent()
        ));
    }
    if whole.tuples_sent + whole.resent + whole.sunk != whole.sent {
        faults.push(format!(
            "{} sent, {} accounted for",
            counted(whole.sent, "frame"),
            whole.tuples_sent + whole.resent + whole.sunk
        ));
    }
    if whole.sent == whole.sunk {
        faults.push("no frame was sent".to_owned());
    }
    if whole.damaged > 0 {
        faults.push(format!(
            "{} came damaged (wrong checksum)",
            counted(whole.damaged, "reply")
        ));
    }
    if mbufs_in_use > 0 {
        faults.push(format!(
            "{} did not come back",
            counted(mbufs_in_use, "buffer")
        ));
    }
    faults
}

/// Outcomes that `--expect` does not name.
fn unexpected(expect: &[ExpectedOutcome], total: &OutcomeRow) -> Vec<String> {
    if expect.is_empty() {
        return Vec::new();
    }
    let is_expected = |outcome: Outcome| {
        expect.iter().any(|expected| match expected {
            ExpectedOutcome::SynAck => outcome == Outcome::SynAck,
            ExpectedOutcome::SynAckWrongAck => outcome == Outcome::SynAckWrongAck,
            ExpectedOutcome::Rst => outcome == Outcome::Rst,
            ExpectedOutcome::RstAfterSynAck => outcome == Outcome::RstAfterSynAck,
            ExpectedOutcome::ChallengeAck => outcome == Outcome::ChallengeAck,
            ExpectedOutcome::Icmp => outcome == Outcome::Icmp,
            ExpectedOutcome::Silence => false,
        })
    };
    let mut unexpected: Vec<String> = Outcome::ALL
        .into_iter()
        .filter(|&outcome| !is_expected(outcome) && total.cell(outcome).first > 0)
        .map(|outcome| {
            format!(
                "{} met an unexpected {}",
                counted(total.cell(outcome).first, "tuple"),
                outcome.words()
            )
        })
        .collect();
    if !expect.contains(&ExpectedOutcome::Silence) && total.silent > 0 {
        unexpected.push(format!("{} met silence", counted(total.silent, "tuple")));
    }
    let met: u64 = Outcome::ALL
        .into_iter()
        .filter(|&outcome| is_expected(outcome))
        .map(|outcome| total.cell(outcome).first)
        .sum();
    let silent = if expect.contains(&ExpectedOutcome::Silence) {
        total.silent
    } else {
        0
    };
    if met + silent == 0 {
        unexpected.push("no tuple met what was expected".to_owned());
    }
    unexpected
}

impl fmt::Display for FloodReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let early = if self.interrupted {
            ", interrupted"
        } else {
            ""
        };
        writeln!(
            f,
            "flood {} to {} over {}, {:.1} s{early}",
            self.flags,
            self.target,
            self.envelope.link(),
            self.seconds
        )?;
        let offered = self.offered_pps.map_or_else(
            || "as many as are taken".to_owned(),
            |rate| units::short_rate(rate as f64),
        );
        writeln!(
            f,
            "  rate      offered {offered}, sent {}",
            units::short_rate(self.sent_pps)
        )?;
        writeln!(
            f,
            "  sent      {}: {}, {}; SYN-ACKs answered with: {} ({})",
            counted(self.sent, "frame"),
            counted(self.tuples_sent, "tuple"),
            counted(self.resent, "repeat"),
            self.answer,
            counted(self.answers_sent, "answer")
        )?;
        writeln!(f, "  sources   {}", self.sources)?;
        self.total.write(f)?;
        for row in self.targets.iter().take(ROWS_SHOWN) {
            writeln!(f, "  {}", row.line())?;
        }
        if self.targets.len() > ROWS_SHOWN {
            writeln!(
                f,
                "  … {} in the JSON",
                counted(self.targets.len() - ROWS_SHOWN, "more target")
            )?;
        }
        if let Some(probe) = &self.probe {
            write!(f, "{probe}")?;
        }
        for icmp in &self.icmp {
            writeln!(f, "  icmp      {icmp}")?;
        }
        if self.late + self.damaged > 0 {
            writeln!(
                f,
                "  apart     {} late replies, {} damaged ones",
                self.late, self.damaged
            )?;
        }
        writeln!(
            f,
            "  limit     {}: {}",
            self.limit.verdict.words(),
            self.limit.evidence
        )?;
        writeln!(f, "            {}", self.limit.change)?;
        write!(f, "{}", self.envelope)
    }
}
