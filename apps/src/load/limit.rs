//! The limit of a run, with the evidence and what to change, or `undetermined`.
//!
//! It must never guess: a verdict needs evidence against one side and for the others.

use diagnose::counted;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use stack::counters::{Counter, Counters};
use stack::worker::Cycles;
use workload::Fault;
use workload::load::{LoadCounts, Measures, Step};

use crate::units;

/// Of the offered operations, the share that must have been begun.
pub(super) const ACHIEVED_SHARE: f64 = 0.99;
/// A schedule lag at p99 beyond this share of the median time of an operation spoils the times.
pub(super) const LAG_SHARE: f64 = 0.1;
/// Less lag than this spoils nothing, in us: it is what a turn of the loop takes.
pub(super) const LAG_FREE_US: f64 = 20.0;
/// From this share of busy cycles on a side had no time left.
const FULL_SHARE: f64 = 0.95;
/// Up to this share a side had time.
const FREE_SHARE: f64 = 0.8;
/// With more failed operations than this share a higher rate shows nothing.
const FAILED_SHARE: f64 = 0.01;
/// From this share of refused frames on the link was full.
const REFUSED_SHARE: f64 = 0.05;
/// From this share of received segments with data on that came ahead of a gap, the path loses frames.
const GAP_SHARE: f64 = 0.001;
/// A path queues when its median SYN-ACK takes so much longer than the quickest one, at least [`QUEUE_US`], and this share of
/// the time to the first byte: a kernel answers a SYN without asking the application.
const QUEUE_FACTOR: f64 = 20.0;
const QUEUE_US: f64 = 1000.0;
const QUEUE_SHARE: f64 = 0.5;
/// A SYN-ACK later than this answers a repeated SYN: ours are repeated after a second.
const REPEATED_SYN: Duration = Duration::from_millis(900);
/// A median of fewer SYN-ACKs shows nothing.
const FIRST_MIN: u64 = 10;
/// From this time without a CPU on it is worth saying; in a closed loop from this share of the run on.
const CPU_WAIT: Duration = Duration::from_millis(1);
const CPU_WAIT_SHARE: f64 = 0.05;
const OTHERS_RUN: &str = "other programs take the CPU from the generator";
/// From this share of SYNs on that had to be repeated it is worth saying.
const REPEATED_SHARE: f64 = 0.01;

/// The limit of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LoadVerdict {
    /// The rate that was asked for was reached.
    Rate,
    /// The connections that were asked for were there.
    Held,
    /// The generator was late.
    Generator,
    /// The link took no more, or the path lost or held up frames.
    Link,
    /// No local port was free for a new connection.
    Ports,
    /// The target let the generator wait.
    Target,
    /// None of these can be shown.
    Undetermined,
}

/// A verdict, what it rests on, and what to change for a higher rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct LoadLimit {
    pub(super) verdict: LoadVerdict,
    pub(super) evidence: String,
    pub(super) change: String,
}

/// The evidence of a verdict.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LimitEvidence {
    /// Operations that were due within the window, and those of them that were begun; `None` in a closed loop.
    pub(super) offered: Option<(u64, u64)>,
    /// Schedule lag at p99 and median time of an operation, in us.
    pub(super) lag_us: Option<f64>,
    pub(super) median_us: Option<f64>,
    /// Turns in which something was due and every connection was busy.
    pub(super) blocked_turns: u64,
    /// Shares of cycles in which the generator, and our own server, had frames.
    pub(super) busy_share: f64,
    pub(super) server_busy_share: Option<f64>,
    /// Of the frames that were to be sent, the share that the NIC refused at first.
    pub(super) refused_share: f64,
    pub(super) connections: u32,
    /// Connections for which no local port was free.
    pub(super) no_port: u64,
    /// Received segments with data, and those of them that came ahead of a gap.
    pub(super) data_segments: u64,
    pub(super) gaps: u64,
    /// The quickest SYN-ACK, the median one of those that answered a SYN before it was repeated, and the median first byte of a
    /// reply, in us.
    pub(super) syn_ack_us: Option<(f64, f64)>,
    pub(super) first_byte_us: Option<f64>,
    /// SYNs, and those of them that were answered only when they were repeated, or not at all.
    pub(super) syns: u64,
    pub(super) repeated_syns: u64,
    /// Operations that failed, of those that were begun.
    pub(super) failed: (u64, u64),
    /// Operations that were begun in time and had not ended when the run did.
    pub(super) unfinished: u64,
    /// Whether operations were completed until the run ended by itself.
    pub(super) is_answering: bool,
    /// Connections that were to be held, and the fewest that were.
    pub(super) held: Option<(u32, u64)>,
    /// The longest that a worker was ready to run and had no CPU, and how long operations were begun.
    pub(super) cpu_wait: Option<Duration>,
    pub(super) lasted: Duration,
}

impl LimitEvidence {
    /// From what was counted. `offered` are the operations that were due within the window.
    pub(super) fn new(
        counts: &LoadCounts,
        (measures, offered): (&Measures, Option<u64>),
        (spent, server): (&[Cycles], Option<&Cycles>),
        (counters, tcp): (&Counters, &BTreeMap<&'static str, u64>),
        connections: u32,
    ) -> Self {
        let us = |step, percent| {
            let time = measures.get(step).percentile(percent)?.time;
            Some(time.as_nanos() as f64 / 1000.0)
        };
        let sent = counters.get(Counter::TxFrames) as f64;
        let refused = counters.get(Counter::TxRefused) as f64;
        let shares: Vec<f64> = spent.iter().map(busy_share).collect();
        let seen = |name| tcp.get(name).copied().unwrap_or(0);
        let failed = |fault: Fault| counts.failed[fault as usize];
        let syn_acks = measures.get(Step::Connect).times().histogram();
        let late_ns = u64::try_from(REPEATED_SYN.as_nanos()).unwrap_or(u64::MAX);
        Self {
            offered: offered.map(|offered| (offered, counts.window_begun)),
            lag_us: us(Step::Lag, 99.0),
            median_us: us(Step::Operation, 50.0),
            blocked_turns: counts.blocked_turns,
            busy_share: shares.iter().sum::<f64>() / shares.len().max(1) as f64,
            server_busy_share: server.map(busy_share),
            refused_share: refused / (sent + refused).max(1.0),
            connections,
            no_port: failed(Fault::NoPort) + failed(Fault::PortInUse),
            data_segments: seen("in_order") + seen("out_of_order"),
            gaps: seen("out_of_order"),
            syn_ack_us: first_median_ns(&syn_acks, late_ns)
                .map(|median_ns| (syn_acks.min() as f64 / 1000.0, median_ns as f64 / 1000.0)),
            first_byte_us: us(Step::FirstByte, 50.0),
            syns: syn_acks.len(),
            repeated_syns: syn_acks.count_between(late_ns, u64::MAX),
            failed: (counts.failed_total(), counts.begun),
            unfinished: counts.unfinished,
            is_answering: false,
            held: None,
            cpu_wait: None,
            lasted: Duration::ZERO,
        }
    }

    /// Whether frames were lost on their way to us, or waited on the path.
    fn path_is_full(&self) -> bool {
        let loses =
            self.gaps as f64 >= GAP_SHARE * self.data_segments.max(1) as f64 && self.gaps > 0;
        let queues = self.syn_ack_us.is_some_and(|(quickest, median)| {
            median >= QUEUE_US
                && median >= quickest * QUEUE_FACTOR
                && self
                    .first_byte_us
                    .is_none_or(|first| median >= first * QUEUE_SHARE)
        });
        loses || queues
    }

    /// Whether so many operations failed, or did not end, that a higher rate shows nothing.
    fn fails_often(&self) -> bool {
        let (failed, begun) = self.failed;
        (failed + self.unfinished) as f64 > FAILED_SHARE * begun as f64
    }

    /// Whether the target answered until the end, and so many operations were left that it answers fewer than are due.
    fn falls_behind(&self) -> bool {
        self.is_answering && self.unfinished as f64 > FAILED_SHARE * self.failed.1 as f64
    }

    /// Whether so many SYNs had to be repeated that it is worth saying.
    fn repeats_syns(&self) -> bool {
        self.repeated_syns as f64 > REPEATED_SHARE * self.syns as f64
    }

    /// The same where it is known whether operations were completed until the run ended by itself.
    pub(super) fn answering(self, is_answering: bool) -> Self {
        Self {
            is_answering,
            ..self
        }
    }

    /// The same where connections were held.
    pub(super) fn holding(self, held: Option<(u32, u64)>) -> Self {
        Self { held, ..self }
    }

    /// The same where it is known how long each worker had no CPU.
    pub(super) fn waiting(
        self,
        waits: impl Iterator<Item = Option<Duration>>,
        lasted: Duration,
    ) -> Self {
        Self {
            cpu_wait: waits.flatten().max(),
            lasted,
            ..self
        }
    }

    /// Whether the generator was late, and had no CPU for so long that the rest follows from it: frames that wait are refused.
    fn is_starved(&self) -> bool {
        let long = self.lasted.mul_f64(CPU_WAIT_SHARE).max(CPU_WAIT);
        self.is_late() && self.cpu_wait.is_some_and(|wait| wait >= long)
    }

    /// How long a worker had no CPU, where that may be why the generator was late or, in a closed loop, slow.
    fn long_cpu_wait(&self) -> Option<Duration> {
        let wait = self.cpu_wait?;
        let matters = match self.achieved() {
            Some(share) => wait >= CPU_WAIT && (self.is_late() || share < ACHIEVED_SHARE),
            None => wait >= self.lasted.mul_f64(CPU_WAIT_SHARE).max(CPU_WAIT),
        };
        matters.then_some(wait)
    }

    /// The share of the offered operations that were begun.
    pub(super) fn achieved(&self) -> Option<f64> {
        self.offered
            .map(|(offered, begun)| begun as f64 / offered.max(1) as f64)
    }

    /// Whether the generator was so late that its times are about itself.
    pub(super) fn is_late(&self) -> bool {
        match (self.lag_us, self.median_us) {
            (Some(lag), Some(median)) => lag > LAG_FREE_US && lag > median * LAG_SHARE,
            _ => false,
        }
    }
}

/// The median of the SYN-ACKs that came before `late_ns`; `None` for fewer than ten. Where a target drops SYNs, most SYN-ACKs may
/// come after the time of a repetition, which says nothing of the path.
fn first_median_ns(syn_acks: &Histogram<u64>, late_ns: u64) -> Option<u64> {
    let all = syn_acks.len();
    let first = all - syn_acks.count_between(late_ns, u64::MAX);
    (first >= FIRST_MIN).then(|| syn_acks.value_at_quantile(first as f64 / 2.0 / all as f64))
}

fn busy_share(spent: &Cycles) -> f64 {
    let busy = spent.rx + spent.own + spent.tx;
    busy as f64 / (busy + spent.idle).max(1) as f64
}

/// Judges a run.
pub(super) fn judge(seen: &LimitEvidence) -> LoadLimit {
    let reached = seen.achieved().is_some_and(|share| share >= ACHIEVED_SHARE);
    let is_full = seen.busy_share >= FULL_SHARE;
    let is_held = seen
        .held
        .is_some_and(|(wanted, least)| least >= wanted.into());
    let verdict = match seen.offered {
        _ if seen.no_port > 0 => LoadVerdict::Ports,
        None if is_held => LoadVerdict::Held,
        Some(_) if is_held && reached && !seen.is_late() => LoadVerdict::Held,
        Some(_) if seen.is_starved() => LoadVerdict::Generator,
        _ if seen.refused_share >= REFUSED_SHARE => LoadVerdict::Link,
        Some(_) if seen.is_late() => LoadVerdict::Generator,
        Some(_) if reached && seen.held.is_none() && seen.falls_behind() => LoadVerdict::Target,
        Some(_) if reached && seen.held.is_none() => LoadVerdict::Rate,
        Some(_) if seen.blocked_turns > 0 => LoadVerdict::Target,
        Some(_) => LoadVerdict::Generator,
        None => match seen.server_busy_share {
            Some(server) if server >= FULL_SHARE && seen.busy_share <= FREE_SHARE => {
                LoadVerdict::Target
            }
            Some(server) if is_full && server <= FREE_SHARE => LoadVerdict::Generator,
            Some(_) => LoadVerdict::Undetermined,
            None if seen.busy_share <= FREE_SHARE => LoadVerdict::Target,
            None if is_full => LoadVerdict::Generator,
            None => LoadVerdict::Undetermined,
        },
    };
    // A run that waits for the target waits for the path to it as well.
    let verdict = match verdict {
        LoadVerdict::Target if seen.path_is_full() => LoadVerdict::Link,
        other => other,
    };
    let mut change = change(verdict, seen);
    if seen.offered.is_none() && seen.long_cpu_wait().is_some() {
        // With a CPU of its own the generator might have been faster, and another side the limit.
        change = format!("end the other programs first: {OTHERS_RUN}; then {change}");
    }
    LoadLimit {
        verdict,
        evidence: evidence(seen),
        change,
    }
}

/// The schedule lag, beside the time of an operation.
fn lag(seen: &LimitEvidence) -> String {
    let (Some(lag), Some(median)) = (seen.lag_us, seen.median_us) else {
        return "too few operations for a schedule lag".to_owned();
    };
    let (lag, median) = (units::short_time(lag), units::short_time(median));
    format!("schedule lag p99 {lag} against an operation's median of {median}")
}

fn evidence(seen: &LimitEvidence) -> String {
    let mut parts = Vec::new();
    if let Some((wanted, least)) = seen.held {
        parts.push(format!(
            "at least {least} of {} held",
            counted(wanted, "connection")
        ));
    }
    if let (Some((offered, begun)), Some(share)) = (seen.offered, seen.achieved()) {
        parts.push(format!(
            "{begun} of {} begun ({:.1} %)",
            counted(offered, "due operation"),
            share * 100.0
        ));
        parts.push(lag(seen));
        parts.push(if seen.blocked_turns > 0 {
            let all = counted(seen.connections, "connection");
            format!("no connection of {all} was free while operations were due")
        } else {
            "a connection was always free".to_owned()
        });
    }
    if seen.unfinished > 0 {
        parts.push(format!(
            "{} of {} had not ended when the run did",
            seen.unfinished,
            counted(seen.failed.1, "operation")
        ));
    }
    if seen.no_port > 0 {
        parts.push(format!(
            "no local port was free for {}",
            counted(seen.no_port, "connection")
        ));
    }
    if seen.path_is_full() {
        add_path(seen, &mut parts);
    }
    if seen.repeats_syns() {
        parts.push(format!(
            "{} of {} got an answer only when repeated, or none",
            seen.repeated_syns,
            counted(seen.syns, "SYN")
        ));
    }
    parts.push(format!("generator busy {:.0} %", seen.busy_share * 100.0));
    if let Some(wait) = seen.long_cpu_wait() {
        parts.push(format!(
            "a worker waited {} ms for a CPU that other programs had",
            wait.as_millis()
        ));
    }
    if let Some(server) = seen.server_busy_share {
        parts.push(format!("our server busy {:.0} %", server * 100.0));
    }
    parts.push(format!(
        "{:.1} % of frames refused by the NIC at first",
        seen.refused_share * 100.0
    ));
    parts.join(", ")
}

/// What shows that the path loses or holds up frames.
fn add_path(seen: &LimitEvidence, parts: &mut Vec<String>) {
    if let Some((quickest, median)) = seen.syn_ack_us {
        parts.push(format!(
            "SYN-ACKs came after {} in the median, {} at best",
            units::short_time(median),
            units::short_time(quickest)
        ));
    }
    parts.push(format!(
        "{} of {} came ahead of a gap",
        seen.gaps,
        counted(seen.data_segments, "data segment")
    ));
}

fn change(verdict: LoadVerdict, seen: &LimitEvidence) -> String {
    match verdict {
        LoadVerdict::Rate if seen.fails_often() => format!(
            "{} of {} failed or did not end: see why before you raise --rate",
            seen.failed.0 + seen.unfinished,
            counted(seen.failed.1, "operation")
        ),
        LoadVerdict::Rate => "raise --rate to find the limit".to_owned(),
        LoadVerdict::Held => "raise --connections to find the limit".to_owned(),
        LoadVerdict::Generator if seen.long_cpu_wait().is_some() && seen.busy_share < FULL_SHARE => {
            format!("{OTHERS_RUN}: end them, or give it CPUs that they don't use (--cpus, isolated CPUs)")
        }
        LoadVerdict::Generator => {
            "give the generator CPUs of its own (--cpus), more --queues, or lower --rate".to_owned()
        }
        LoadVerdict::Link if seen.refused_share >= REFUSED_SHARE => {
            "use a faster link or NIC, larger rings, or lower --rate".to_owned()
        }
        LoadVerdict::Link => {
            "frames are lost or wait between here and the target: look at the drops of its link and of the switches, or lower --rate".to_owned()
        }
        LoadVerdict::Ports => {
            "each connection keeps its local port for 2 MSL when we close first: add addresses (--ip, --sources), lower the rate of connections, or let the peer close first (--close peer)".to_owned()
        }
        LoadVerdict::Target if seen.repeats_syns() => {
            "the target does not accept connections as fast as they come: raise its backlog (listen, net.core.somaxconn), let it accept faster, or lower --rate".to_owned()
        }
        LoadVerdict::Target => match seen.offered {
            Some(_) => "the target is slower than the rate: lower --rate, or raise --connections if it can use more".to_owned(),
            None => "raise --connections: more of them may keep the target busier".to_owned(),
        },
        LoadVerdict::Undetermined => "look at the target's own CPU; a run with --rate shows whether the generator keeps up".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> LimitEvidence {
        LimitEvidence {
            offered: Some((1000, 1000)),
            lag_us: Some(5.0),
            median_us: Some(200.0),
            busy_share: 0.1,
            connections: 10,
            ..LimitEvidence::default()
        }
    }

    #[test]
    fn an_open_loop_is_limited_by_what_kept_it_from_its_schedule() {
        assert_eq!(judge(&open()).verdict, LoadVerdict::Rate);
        let late = LimitEvidence {
            lag_us: Some(25.0),
            ..open()
        };
        assert_eq!(judge(&late).verdict, LoadVerdict::Generator);
        let slow = LimitEvidence {
            offered: Some((1000, 900)),
            blocked_turns: 7,
            ..open()
        };
        assert_eq!(judge(&slow).verdict, LoadVerdict::Target);
        let starved = LimitEvidence {
            offered: Some((1000, 900)),
            ..open()
        };
        assert_eq!(judge(&starved).verdict, LoadVerdict::Generator);
        let full = LimitEvidence {
            refused_share: 0.2,
            ..slow
        };
        assert_eq!(judge(&full).verdict, LoadVerdict::Link);
        assert!(judge(&late).change.contains("more --queues"));
        let lasted = Duration::from_secs(5);
        let waits = [None, Some(Duration::from_millis(812)), Some(Duration::ZERO)];
        // Where the generator had no CPU, frames wait in rings until they are full.
        let both = LimitEvidence {
            refused_share: 0.2,
            ..late
        };
        assert_eq!(judge(&both).verdict, LoadVerdict::Link);
        let starved = judge(&both.waiting(waits.into_iter(), lasted));
        assert_eq!(starved.verdict, LoadVerdict::Generator);
        let starved = judge(&late.waiting(waits.into_iter(), lasted));
        assert!(
            starved.evidence.contains("waited 812 ms for a CPU"),
            "{starved:?}"
        );
        assert!(starved.change.contains("other programs"), "{starved:?}");
        // Without lag it is no news.
        let in_time = judge(&open().waiting(waits.into_iter(), lasted));
        assert!(!in_time.evidence.contains("waited"), "{in_time:?}");
        // In a closed loop it is from a twentieth of the run on.
        let closed = LimitEvidence {
            offered: None,
            ..open()
        };
        for (lasted, is_said) in [(lasted, true), (lasted * 5, false)] {
            let limit = judge(&closed.waiting(waits.into_iter(), lasted));
            assert_eq!(limit.evidence.contains("waited"), is_said, "{limit:?}");
            assert_eq!(
                limit.change.contains("other programs"),
                is_said,
                "{limit:?}"
            );
        }
    }

    #[test]
    fn a_closed_loop_is_limited_by_the_side_without_time() {
        let closed = |busy_share, server_busy_share| {
            let seen = LimitEvidence {
                busy_share,
                server_busy_share,
                ..LimitEvidence::default()
            };
            judge(&seen).verdict
        };
        assert_eq!(closed(0.3, None), LoadVerdict::Target);
        assert_eq!(closed(0.99, None), LoadVerdict::Generator);
        assert_eq!(closed(0.9, None), LoadVerdict::Undetermined);
        assert_eq!(closed(0.3, Some(0.99)), LoadVerdict::Target);
        assert_eq!(closed(0.99, Some(0.3)), LoadVerdict::Generator);
        assert_eq!(closed(0.99, Some(0.99)), LoadVerdict::Undetermined);
    }

    #[test]
    fn the_path_is_told_from_the_target_by_what_the_application_has_no_part_in() {
        let waits = LimitEvidence {
            offered: Some((1000, 900)),
            blocked_turns: 7,
            syn_ack_us: Some((20.0, 60.0)),
            first_byte_us: Some(20_000.0),
            data_segments: 10_000,
            syns: 1000,
            ..open()
        };
        assert_eq!(judge(&waits).verdict, LoadVerdict::Target);
        let queues = LimitEvidence {
            syn_ack_us: Some((20.0, 15_000.0)),
            ..waits
        };
        assert_eq!(judge(&queues).verdict, LoadVerdict::Link);
        // A far target is no full path, and a slow application makes no SYN-ACK late.
        let far = LimitEvidence {
            syn_ack_us: Some((14_000.0, 15_000.0)),
            ..waits
        };
        assert_eq!(judge(&far).verdict, LoadVerdict::Target);
        let loses = LimitEvidence { gaps: 20, ..waits };
        assert_eq!(judge(&loses).verdict, LoadVerdict::Link);
        let full = LimitEvidence {
            repeated_syns: 300,
            ..waits
        };
        let limit = judge(&full);
        assert_eq!(limit.verdict, LoadVerdict::Target);
        assert!(limit.change.contains("backlog") && limit.evidence.contains("300 of 1000 SYNs"));
        let used_up = LimitEvidence {
            no_port: 1,
            ..waits
        };
        assert_eq!(judge(&used_up).verdict, LoadVerdict::Ports);
    }

    #[test]
    fn a_repeated_syn_is_no_queue_on_the_path() {
        let mut syn_acks = Histogram::<u64>::new(3).expect("3 digits");
        for _ in 0..12 {
            syn_acks.record(25_000).expect("room");
        }
        let late_ns = 900_000_000;
        let quick = first_median_ns(&syn_acks, late_ns).expect("enough");
        assert!((24_900..25_100).contains(&quick), "{quick}");
        // A full backlog: twice as many SYNs were answered only when they were repeated.
        for _ in 0..24 {
            syn_acks.record(1_000_342_000).expect("room");
        }
        assert_eq!(first_median_ns(&syn_acks, late_ns), Some(quick));
        syn_acks.reset();
        syn_acks.record(1_000_342_000).expect("room");
        assert_eq!(first_median_ns(&syn_acks, late_ns), None);
    }

    #[test]
    fn connections_that_were_all_held_are_no_limit() {
        let held = |least, busy_share| {
            let seen = LimitEvidence {
                busy_share,
                held: Some((100, least)),
                ..LimitEvidence::default()
            };
            judge(&seen).verdict
        };
        assert_eq!(held(100, 0.99), LoadVerdict::Held);
        assert_eq!(held(99, 0.1), LoadVerdict::Target);
        assert_eq!(held(99, 0.99), LoadVerdict::Generator);
    }

    #[test]
    fn a_target_that_fails_is_not_asked_for_more() {
        assert!(judge(&open()).change.contains("raise --rate to find"));
        let failing = LimitEvidence {
            failed: (500, 1000),
            ..open()
        };
        assert!(
            judge(&failing)
                .change
                .contains("500 of 1000 operations failed")
        );
        let left = LimitEvidence {
            failed: (0, 1000),
            unfinished: 500,
            ..open()
        };
        // A target that has gone is not one that is too slow.
        assert_eq!(judge(&left).verdict, LoadVerdict::Rate);
        assert!(!judge(&left).change.contains("raise --rate to find"));
        let slow = judge(&left.answering(true));
        assert_eq!(slow.verdict, LoadVerdict::Target);
        assert!(
            slow.evidence
                .contains("500 of 1000 operations had not ended"),
            "{slow:?}"
        );
        let few = LimitEvidence {
            unfinished: 5,
            ..left
        };
        assert_eq!(judge(&few.answering(true)).verdict, LoadVerdict::Rate);
    }

    #[test]
    fn a_lag_that_a_turn_takes_is_free() {
        let fast = LimitEvidence {
            lag_us: Some(15.0),
            median_us: Some(30.0),
            ..open()
        };
        assert_eq!(judge(&fast).verdict, LoadVerdict::Rate);
    }
}
