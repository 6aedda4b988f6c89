//! [`RowReport`]: the outcomes of one target, as text and as JSON.
//!
//! It must never print a percentile with fewer than ten samples beyond it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::traffic::{LatencyHistogram, Outcome, OutcomeRow, percentile};
use crate::units;

/// The percentiles that are reported, where there are samples enough, and their names.
const PERCENTILES: [(f64, &str); 5] = [
    (50.0, "p50"),
    (90.0, "p90"),
    (99.0, "p99"),
    (99.9, "p99_9"),
    (99.99, "p99_99"),
];

/// One outcome of one target.
#[derive(Debug, Serialize)]
struct CellReport {
    /// Tuples that met it.
    first: u64,
    /// Further replies of the same kind to the same tuples.
    repeats: u64,
    /// From the first frame of the tuple to the first such reply; µs by percentile, those with ten samples beyond.
    first_latency_us: BTreeMap<&'static str, u64>,
    /// The same for the repeats.
    repeat_latency_us: BTreeMap<&'static str, u64>,
}

/// The outcomes of one target. Field names are stable (docs/reference/flood-json.md).
#[derive(Debug, Serialize)]
pub(super) struct RowReport {
    target: String,
    /// Tuples that were sent.
    sent: u64,
    answered: u64,
    answered_on_retry: u64,
    silent: u64,
    not_observable: u64,
    undecided: u64,
    outcomes: BTreeMap<&'static str, CellReport>,
    #[serde(skip)]
    lines: Vec<String>,
}

impl RowReport {
    /// The report of a row.
    pub(super) fn new(target: String, row: &OutcomeRow) -> Self {
        let cells = Outcome::ALL
            .into_iter()
            .filter(|&outcome| row.cell(outcome).first > 0)
            .map(|outcome| {
                let cell = row.cell(outcome);
                let report = CellReport {
                    first: cell.first,
                    repeats: cell.repeats,
                    first_latency_us: latencies(cell.latency(false)),
                    repeat_latency_us: latencies(cell.latency(true)),
                };
                (outcome.name(), report)
            });
        Self {
            target,
            sent: row.sent(),
            answered: row.answered,
            answered_on_retry: row.answered_on_retry,
            silent: row.silent,
            not_observable: row.not_observable,
            undecided: row.undecided,
            outcomes: cells.collect(),
            lines: lines(row),
        }
    }

    /// The whole row, a line for each outcome.
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  outcome                                       tuples  share    repeats  latency of first replies"
        )?;
        for line in &self.lines {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }

    /// The row in one line.
    pub(super) fn line(&self) -> String {
        let outcomes: Vec<String> = self
            .outcomes
            .iter()
            .map(|(name, cell)| format!("{name} {}", cell.first))
            .collect();
        format!(
            "{}: {} sent, {} answered ({}), {} silent",
            self.target,
            self.sent,
            self.answered,
            outcomes.join(", "),
            self.silent
        )
    }
}

fn latencies(histogram: Option<&LatencyHistogram>) -> BTreeMap<&'static str, u64> {
    let Some(histogram) = histogram else {
        return BTreeMap::new();
    };
    let known = PERCENTILES.iter().filter_map(|&(percent, name)| {
        let value = percentile(histogram, percent)?;
        Some((name, u64::try_from(value.as_micros()).unwrap_or(u64::MAX)))
    });
    let ends = [("min", histogram.min()), ("max", histogram.max())];
    known.chain(ends).collect()
}

fn lines(row: &OutcomeRow) -> Vec<String> {
    let sent = row.sent().max(1) as f64;
    let line = |name: &str, tuples: u64, repeats: Option<u64>, latency: &str| {
        let repeats = repeats.map_or_else(String::new, |n| n.to_string());
        format!(
            "{name:<42} {tuples:>9} {:>5.1} % {repeats:>10}  {latency}",
            tuples as f64 / sent * 100.0
        )
    };
    let mut lines: Vec<String> = Outcome::ALL
        .into_iter()
        .filter(|&outcome| row.cell(outcome).first > 0)
        .map(|outcome| {
            let cell = row.cell(outcome);
            line(
                outcome.words(),
                cell.first,
                Some(cell.repeats),
                &words(cell.latency(false)),
            )
        })
        .collect();
    for (name, tuples) in [
        ("silence", row.silent),
        ("not observable", row.not_observable),
        ("undecided (the run ended first)", row.undecided),
        ("answered only on retry", row.answered_on_retry),
    ] {
        if tuples > 0 || (name == "silence" && row.not_observable == 0) {
            lines.push(line(name, tuples, None, ""));
        }
    }
    lines
}

fn words(histogram: Option<&LatencyHistogram>) -> String {
    let Some(histogram) = histogram else {
        return String::new();
    };
    let known: Vec<String> = PERCENTILES
        .iter()
        .filter_map(|&(percent, _)| {
            let value = units::short_duration(percentile(histogram, percent)?);
            Some(format!("p{percent} {value}"))
        })
        .collect();
    format!(
        "{}{}max {}",
        known.join(", "),
        if known.is_empty() { "" } else { ", " },
        units::short_time(histogram.max() as f64)
    )
}

/// ICMP errors of one type and code.
#[derive(Debug, Serialize)]
pub(super) struct IcmpCount {
    #[serde(rename = "type")]
    kind: u8,
    code: u8,
    name: &'static str,
    count: u64,
}

impl IcmpCount {
    /// With the name that RFC 792, RFC 1812 and RFC 4443 give it.
    pub(super) fn new(v6: bool, kind: u8, code: u8, count: u64) -> Self {
        let name = match (v6, kind, code) {
            (false, 3, 0) => "network unreachable",
            (false, 3, 1) => "host unreachable",
            (false, 3, 2) => "protocol unreachable",
            (false, 3, 3) | (true, 1, 4) => "port unreachable",
            (false, 3, 4) => "fragmentation needed",
            (false, 3, 9) => "network prohibited",
            (false, 3, 10) => "host prohibited",
            (false, 3, 13) | (true, 1, 1) => "administratively prohibited",
            (false, 4, _) => "source quench",
            (false, 5, _) => "redirect",
            (false, 11, 0) | (true, 3, 0) => "TTL exceeded in transit",
            (false, 11, _) | (true, 3, _) => "reassembly time exceeded",
            (false, 12, _) | (true, 4, _) => "parameter problem",
            (true, 1, 0) => "no route",
            (true, 1, 3) => "address unreachable",
            (true, 1, 5) => "source address failed policy",
            (true, 1, 6) => "reject route",
            (true, 2, _) => "packet too big",
            _ => "other",
        };
        Self {
            kind,
            code,
            name,
            count,
        }
    }
}

impl fmt::Display for IcmpCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} (type {}, code {})",
            self.count, self.name, self.kind, self.code
        )
    }
}
