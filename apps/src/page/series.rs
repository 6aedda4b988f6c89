//! Series over time: one for each number that a result gives by the second.
//!
//! It must never join two points that the result doesn't hold, or draw the count of a part of a second as that of a whole one.

use std::collections::BTreeMap;

use serde_json::Value;

use super::json::{first, number};

/// One number over time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    /// Its name, as in the result.
    pub(super) name: String,
    /// The unit of its counts.
    pub(super) unit: Unit,
    /// Seconds since the start, and the number.
    pub(super) points: Vec<(f64, f64)>,
}

/// The unit of a series: series of one unit share a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    /// Things per second.
    PerSecond,
    /// Times, in µs.
    Microseconds,
    /// Shares of a whole.
    Share,
    /// Things.
    Count,
}

/// Where the second of an entry stands.
const SECONDS: &[&str] = &[
    "/end_s",
    "/at_s",
    "/second",
    "/t_s",
    "/time_s",
    "/elapsed_s",
    "/t",
];

/// The length of an entry, in seconds, and its counts that grow with that length: they are drawn per second.
const LENGTH: &str = "lasted_s";
const COUNTS: &[&str] = &[
    "begun",
    "completed",
    "failed",
    "dropped",
    "broken",
    "bytes_in",
    "bytes_acked",
    "retransmitted",
];
/// A shorter entry, in seconds, has too few events for a rate: it isn't drawn beside others.
const LENGTH_LEAST: f64 = 0.1;

/// All series: of the list in the result, or of the lines before it.
pub(super) fn of(value: &Value, lines: &[Value]) -> Vec<Series> {
    let list = first(value, &["/series", "/timeline", "/intervals"]).and_then(Value::as_array);
    let entries = match list {
        Some(list) => list.as_slice(),
        None => lines,
    };
    let mut all: BTreeMap<(Unit, String), Vec<(f64, f64)>> = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let length_s = number(entry, &[&format!("/{LENGTH}")]);
        if entries.len() > 1 && length_s.is_some_and(|s| s < LENGTH_LEAST) {
            continue;
        }
        let at = number(entry, SECONDS).unwrap_or(index as f64 + 1.0);
        collect("", entry, (at, length_s), &mut all);
    }
    let series = all
        .into_iter()
        .map(|((unit, name), points)| Series { name, unit, points });
    // A series of zeros says nothing.
    series
        .filter(|series| series.points.iter().any(|point| point.1 != 0.0))
        .collect()
}

fn collect(
    path: &str,
    entry: &Value,
    (at, length_s): (f64, Option<f64>),
    all: &mut BTreeMap<(Unit, String), Vec<(f64, f64)>>,
) {
    let Value::Object(object) = entry else {
        return;
    };
    for (key, value) in object {
        let is_time =
            path.is_empty() && (key == LENGTH || SECONDS.iter().any(|second| second[1..] == *key));
        let (mut name, unit) = named(key);
        let scale = match length_s {
            Some(length_s) if COUNTS.contains(&key.as_str()) => {
                name += " per second";
                length_s.max(1e-3)
            }
            _ => 1.0,
        };
        let name = if path.is_empty() {
            name
        } else {
            format!("{path}, {name}")
        };
        match value.as_f64() {
            Some(n) if !is_time => all.entry((unit, name)).or_default().push((at, n / scale)),
            Some(_) => {}
            None => collect(&name, value, (at, length_s), all),
        }
    }
}

/// The name of a series and what it counts, by the ending of its key.
fn named(key: &str) -> (String, Unit) {
    let endings = [
        ("_per_second", Unit::PerSecond),
        ("_per_s", Unit::PerSecond),
        ("_cps", Unit::PerSecond),
        ("_rps", Unit::PerSecond),
        ("_pps", Unit::PerSecond),
        ("_us", Unit::Microseconds),
        ("_share", Unit::Share),
    ];
    let ending = endings
        .into_iter()
        .find(|(ending, _)| key.ends_with(ending));
    let (stem, unit) = match ending {
        // The name keeps what is counted.
        Some((ending @ ("_per_second" | "_per_s" | "_us" | "_share"), unit)) => {
            (&key[..key.len() - ending.len()], unit)
        }
        Some((_, unit)) => (key, unit),
        None => (key, Unit::Count),
    };
    (stem.replace('_', " "), unit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_become_series_by_unit_and_zeros_and_clocks_none() {
        let value = json!({"series": [
            {"second": 1, "sent_per_second": 10, "latency": {"p99_us": 5}, "open": 0, "note": "x"},
            {"second": 2, "sent_per_second": 20, "latency": {"p99_us": 7}, "open": 0},
        ]});
        let all = of(&value, &[]);
        let shown: Vec<_> = all
            .iter()
            .map(|s| (s.name.as_str(), s.unit, s.points.clone()))
            .collect();
        assert_eq!(
            shown,
            [
                ("sent", Unit::PerSecond, vec![(1.0, 10.0), (2.0, 20.0)]),
                (
                    "latency, p99",
                    Unit::Microseconds,
                    vec![(1.0, 5.0), (2.0, 7.0)]
                ),
            ]
        );
        let lines = [json!({"t_s": 0.5, "rx_pps": 3})];
        assert_eq!(of(&json!({}), &lines)[0].points, [(0.5, 3.0)]);
    }

    #[test]
    fn counts_of_a_part_of_a_second_are_scaled_to_a_second() {
        let entry = |at_s: f64, lasted_s: f64, begun: u64| json!({"at_s": at_s, "lasted_s": lasted_s, "begun": begun, "open": 4});
        let value =
            json!({"series": [entry(1.0, 1.0, 100), entry(1.5, 0.5, 50), entry(1.51, 0.01, 9)]});
        let all = of(&value, &[]);
        let shown: Vec<_> = all
            .iter()
            .map(|s| (s.name.as_str(), &s.points[..]))
            .collect();
        assert_eq!(
            shown,
            [
                ("begun per second", &[(1.0, 100.0), (1.5, 100.0)][..]),
                ("open", &[(1.0, 4.0), (1.5, 4.0)][..]),
            ]
        );
        let one = json!({"series": [entry(0.05, 0.05, 1)]});
        assert_eq!(of(&one, &[])[0].points, [(0.05, 20.0)]);
    }
}
