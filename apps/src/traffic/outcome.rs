//! [`Outcome`]: what a frame of a flood met, and [`Matrix`]: how often, by target, first replies and repeats apart.
//!
//! It must never lose a tuple: answered, silent, not observable and undecided ones together are all that were sent.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// The outcome of a tuple. The names stand in reports and JSON: an outcome may be added, never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Outcome {
    /// A SYN-ACK that acknowledges the SYN.
    SynAck,
    /// A SYN-ACK that acknowledges something else: a mitigator that waits for our reset ("safe reset").
    SynAckWrongAck,
    /// A reset that answers the frame by RFC 9293 §3.10.7.1.
    Rst,
    /// A reset after a SYN-ACK to the same tuple.
    RstAfterSynAck,
    /// An ACK without SYN or RST to a tuple that has no connection (RFC 5961 §4).
    ChallengeAck,
    /// An ICMP error that quotes the frame.
    Icmp,
    /// Any other segment from the target to this tuple: wrong numbers, or flags that answer nothing.
    Other,
}

impl Outcome {
    /// All of them, in the order of the matrix.
    pub(crate) const ALL: [Self; 7] = [
        Self::SynAck,
        Self::SynAckWrongAck,
        Self::Rst,
        Self::RstAfterSynAck,
        Self::ChallengeAck,
        Self::Icmp,
        Self::Other,
    ];

    /// The stable name, in snake case.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SynAck => "syn_ack",
            Self::SynAckWrongAck => "syn_ack_wrong_ack",
            Self::Rst => "rst",
            Self::RstAfterSynAck => "rst_after_syn_ack",
            Self::ChallengeAck => "challenge_ack",
            Self::Icmp => "icmp",
            Self::Other => "other",
        }
    }

    /// As people read it.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::SynAck => "SYN-ACK",
            Self::SynAckWrongAck => "SYN-ACK with a wrong ack (safe reset)",
            Self::Rst => "RST",
            Self::RstAfterSynAck => "RST after SYN-ACK",
            Self::ChallengeAck => "challenge ACK",
            Self::Icmp => "ICMP error",
            Self::Other => "other segment",
        }
    }

    /// Its bit in a [`super::book::Book`].
    pub(super) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Targets with latency histograms of their own; beyond, all targets share one set.
const TARGETS_WITH_HISTOGRAMS: usize = 16;
/// Latencies above are counted as this: no reply is waited for that long. In µs.
const LATENCY_MAX_US: u64 = 3_600_000_000;
/// Significant digits of a latency.
const DIGITS: u8 = 3;
/// Samples that must lie beyond a percentile for it to be printed.
const SAMPLES_BEYOND: u64 = 10;

/// Latencies in µs.
pub(crate) type LatencyHistogram = Histogram<u64>;

/// How one outcome happened: how often as the first of its kind for a tuple, how often again, and after how long.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    /// Tuples that met it.
    pub(crate) first: u64,
    /// Further replies of the same kind to the same tuples.
    pub(crate) repeats: u64,
    first_us: Option<Box<Histogram<u64>>>,
    repeat_us: Option<Box<Histogram<u64>>>,
}

impl Cell {
    /// The latencies of first replies, or of repeats, in µs.
    pub(crate) fn latency(&self, repeats: bool) -> Option<&Histogram<u64>> {
        if repeats {
            self.repeat_us.as_deref()
        } else {
            self.first_us.as_deref()
        }
    }

    fn record(&mut self, is_repeat: bool, latency_us: u64) {
        let histogram = if is_repeat {
            &mut self.repeat_us
        } else {
            &mut self.first_us
        };
        if histogram.is_none() {
            // Once for each cell, not for each frame. These bounds are valid, so there is one.
            *histogram = Histogram::new_with_bounds(1, LATENCY_MAX_US, DIGITS)
                .ok()
                .map(Box::new);
        }
        if let Some(histogram) = histogram {
            histogram.saturating_record(latency_us.max(1));
        }
    }

    fn add(&mut self, other: &Self) {
        self.first += other.first;
        self.repeats += other.repeats;
        for (mine, theirs) in [
            (&mut self.first_us, &other.first_us),
            (&mut self.repeat_us, &other.repeat_us),
        ] {
            match (mine.as_mut(), theirs) {
                // Of the same bounds, so it can be added.
                (Some(mine), Some(theirs)) => drop(mine.add(theirs.as_ref())),
                (None, Some(_)) => mine.clone_from(theirs),
                (_, None) => {}
            }
        }
    }
}

/// The outcomes of one target.
#[derive(Debug, Clone, Default)]
pub(crate) struct OutcomeRow {
    cells: [Cell; Outcome::ALL.len()],
    /// Tuples that got a reply of any kind.
    pub(crate) answered: u64,
    /// Those of them whose first reply came after the frame had been sent again.
    pub(crate) answered_on_retry: u64,
    /// Tuples without a reply, whose replies could have come back.
    pub(crate) silent: u64,
    /// Tuples without a reply whose replies can't come back: nothing is known of them.
    pub(crate) not_observable: u64,
    /// Tuples whose time was not over when the run ended.
    pub(crate) undecided: u64,
}

impl OutcomeRow {
    /// One outcome.
    pub(crate) fn cell(&self, outcome: Outcome) -> &Cell {
        &self.cells[outcome as usize]
    }

    /// Tuples that were sent to this target.
    pub(crate) fn sent(&self) -> u64 {
        self.answered + self.silent + self.not_observable + self.undecided
    }

    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.cells.iter_mut().zip(&other.cells) {
            mine.add(theirs);
        }
        self.answered += other.answered;
        self.answered_on_retry += other.answered_on_retry;
        self.silent += other.silent;
        self.not_observable += other.not_observable;
        self.undecided += other.undecided;
    }
}

/// The final outcome of a tuple's frame, where no reply decided it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its replies could have come back, and none did.
    Silent,
    /// Its replies can't come back.
    NotObservable,
    /// The run ended before its time was over.
    Undecided,
}

/// The outcomes of all targets.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    rows: Vec<OutcomeRow>,
    /// All targets together, with the histograms of those that have none of their own.
    shared: Option<Box<OutcomeRow>>,
    /// ICMP errors by type and code.
    icmp: BTreeMap<(u8, u8), u64>,
    /// Replies to tuples whose verdict was silence already.
    pub(crate) late: u64,
}

impl Matrix {
    /// An empty matrix of so many targets.
    pub(crate) fn new(targets: usize) -> Self {
        Self {
            rows: vec![OutcomeRow::default(); targets],
            shared: (targets > TARGETS_WITH_HISTOGRAMS).then(Box::default),
            icmp: BTreeMap::new(),
            late: 0,
        }
    }

    /// The rows, in the order of the targets.
    pub(crate) fn rows(&self) -> &[OutcomeRow] {
        &self.rows
    }

    /// All rows together.
    pub(crate) fn total(&self) -> OutcomeRow {
        let mut total = OutcomeRow::default();
        for row in self.rows.iter().chain(self.shared.as_deref()) {
            total.add(row);
        }
        total
    }

    /// ICMP errors by type and code.
    pub(crate) fn icmp(&self) -> &BTreeMap<(u8, u8), u64> {
        &self.icmp
    }

    /// A reply to a tuple whose earlier replies left the bits `before`.
    pub(super) fn reply(&mut self, target: usize, outcome: Outcome, before: u8, latency_us: u64) {
        let Some(row) = self.rows.get_mut(target) else {
            return;
        };
        if before & !super::book::REPEATED == 0 {
            row.answered += 1;
            row.answered_on_retry += u64::from(before & super::book::REPEATED != 0);
        }
        let is_repeat = before & outcome.bit() != 0;
        let cell = &mut row.cells[outcome as usize];
        if is_repeat {
            cell.repeats += 1;
        } else {
            cell.first += 1;
        }
        let histograms = match &mut self.shared {
            Some(shared) => &mut shared.cells[outcome as usize],
            None => cell,
        };
        histograms.record(is_repeat, latency_us);
    }

    /// One more ICMP error of this type and code.
    pub(super) fn icmp_error(&mut self, kind: u8, code: u8) {
        *self.icmp.entry((kind, code)).or_default() += 1;
    }

    /// Tuples that no reply decided.
    pub(super) fn verdict(&mut self, target: usize, verdict: Verdict, tuples: u64) {
        if let Some(row) = self.rows.get_mut(target) {
            match verdict {
                Verdict::Silent => row.silent += tuples,
                Verdict::NotObservable => row.not_observable += tuples,
                Verdict::Undecided => row.undecided += tuples,
            }
        }
    }

    /// Adds what another worker saw.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.rows.iter_mut().zip(&other.rows) {
            mine.add(theirs);
        }
        if let (Some(mine), Some(theirs)) = (&mut self.shared, &other.shared) {
            mine.add(theirs);
        }
        for (&kind, count) in &other.icmp {
            *self.icmp.entry(kind).or_default() += count;
        }
        self.late += other.late;
    }
}

/// A percentile of latencies in µs; `None` when fewer than ten samples lie beyond it.
pub(crate) fn percentile(histogram: &Histogram<u64>, percent: f64) -> Option<Duration> {
    let beyond = histogram.len() as f64 * (100.0 - percent) / 100.0;
    // Rounded: 100 samples have ten beyond their 90th percentile, whatever the last bit of the product says.
    (beyond.round() as u64 >= SAMPLES_BEYOND)
        .then(|| Duration::from_micros(histogram.value_at_percentile(percent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_replies_and_repeats_are_apart() {
        let mut matrix = Matrix::new(2);
        matrix.reply(1, Outcome::SynAck, 0, 100);
        matrix.reply(1, Outcome::SynAck, Outcome::SynAck.bit(), 1_000_100);
        matrix.reply(1, Outcome::RstAfterSynAck, Outcome::SynAck.bit(), 200);
        matrix.reply(1, Outcome::Rst, super::super::book::REPEATED, 5);
        matrix.verdict(1, Verdict::Silent, 1);
        matrix.verdict(0, Verdict::Undecided, 1);
        let row = &matrix.rows()[1];
        let syn_ack = row.cell(Outcome::SynAck);
        assert_eq!((syn_ack.first, syn_ack.repeats), (1, 1));
        assert_eq!(syn_ack.latency(false).map(Histogram::len), Some(1));
        assert!(syn_ack.latency(true).is_some_and(|h| h.max() >= 1_000_000));
        assert_eq!(row.cell(Outcome::RstAfterSynAck).first, 1);
        assert_eq!((row.answered, row.answered_on_retry, row.silent), (2, 1, 1));
        assert_eq!((row.sent(), matrix.total().sent()), (3, 4));
        let mut both = matrix.clone();
        both.add(&matrix);
        assert_eq!(both.total().sent(), 8);
        assert_eq!(both.rows()[1].cell(Outcome::SynAck).first, 2);
    }

    #[test]
    fn many_targets_share_their_histograms() {
        let mut matrix = Matrix::new(100);
        for target in 0..100 {
            matrix.reply(target, Outcome::Rst, 0, 10);
        }
        assert!(matrix.rows()[3].cell(Outcome::Rst).latency(false).is_none());
        let total = matrix.total();
        assert_eq!(total.cell(Outcome::Rst).first, 100);
        assert_eq!(
            total.cell(Outcome::Rst).latency(false).map(Histogram::len),
            Some(100)
        );
    }

    #[test]
    fn percentiles_have_ten_samples_beyond_them() {
        let mut histogram = Histogram::new_with_bounds(1, LATENCY_MAX_US, DIGITS).expect("bounds");
        for n in 1..=100 {
            histogram.saturating_record(n);
        }
        assert_eq!(
            percentile(&histogram, 90.0),
            Some(Duration::from_micros(90))
        );
        assert_eq!(percentile(&histogram, 91.0), None);
        assert_eq!(
            percentile(&histogram, 50.0),
            Some(Duration::from_micros(50))
        );
    }

    #[test]
    fn outcomes_have_names_and_bits_of_their_own() {
        let bits = Outcome::ALL.iter().fold(0u8, |all, outcome| {
            assert_eq!(all & outcome.bit(), 0);
            all | outcome.bit()
        });
        assert_eq!(bits & super::super::book::REPEATED, 0);
        let mut names: Vec<_> = Outcome::ALL.map(Outcome::name).into();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Outcome::ALL.len());
    }
}
