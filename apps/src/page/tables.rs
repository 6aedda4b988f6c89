//! Failures, outcomes, workers and counters as tables.
//!
//! It must never add numbers of different things.

use serde_json::Value;

use super::format::count;
use super::json::{counts, first, plain};

/// Names and counts under a heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reasons {
    /// The heading.
    pub(super) title: String,
    /// Names and counts, largest first.
    pub(super) counts: Vec<(String, u64)>,
}

/// Objects of one list as rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rows {
    /// The heading.
    pub(super) title: &'static str,
    /// Names of the columns.
    pub(super) columns: Vec<String>,
    /// A row for each object.
    pub(super) rows: Vec<Vec<String>>,
}

/// The outcomes at each target of a flood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Matrix {
    /// Outcomes.
    pub(super) columns: Vec<String>,
    /// Targets, and how often each outcome.
    pub(super) rows: Vec<(String, Vec<MatrixCell>)>,
}

/// One field of a matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MatrixCell {
    /// How often.
    pub(super) count: String,
    /// The share of its row, in steps of a tenth; for the shade.
    pub(super) tenths: u32,
}

/// Where counts by reason stand.
const REASONS: &[(&str, &str)] = &[
    ("Failures", "/failures_by_reason"),
    ("Failures", "/operations/failed_by"),
    ("Wrong replies", "/wrong_by_reason"),
    ("Responses by status", "/statuses"),
    ("Connections", "/connections"),
    ("Connections by close reason", "/closed"),
    ("Connections by close reason", "/closed_by_reason"),
    ("Errors", "/errors"),
];

/// Columns that name a row.
const NAMES: &[&str] = &["listen", "target", "name", "queue"];

/// Why something failed or ended, counted.
pub(super) fn reasons(value: &Value) -> Vec<Reasons> {
    let of_run = REASONS.iter().filter_map(|&(title, pointer)| {
        let counts = counts(value, &[pointer]);
        (!counts.is_empty()).then(|| Reasons {
            title: title.to_owned(),
            counts,
        })
    });
    let listeners = first(value, &["/listeners"]).and_then(Value::as_array);
    let of_listeners = listeners.into_iter().flatten().flat_map(|listener| {
        let name = listener.get("listen").map(plain).unwrap_or_default();
        [
            ("closed", "/closed"),
            ("aborted for their PROXY header", "/proxy/aborted"),
        ]
        .into_iter()
        .filter_map(move |(what, pointer)| {
            let counts = counts(listener, &[pointer]);
            (!counts.is_empty()).then(|| Reasons {
                title: format!("{name}: connections {what}, by reason"),
                counts,
            })
        })
    });
    of_run.chain(of_listeners).collect()
}

/// Counters that aren't 0.
pub(super) fn counters(value: &Value) -> Vec<Reasons> {
    let places = [
        ("Counters", "/counters"),
        ("Counters of the client", "/client_counters"),
        ("TCP", "/tcp"),
    ];
    let table = |(title, pointer): (&str, &str)| {
        let counts = counts(value, &[pointer]);
        (!counts.is_empty()).then(|| Reasons {
            title: title.to_owned(),
            counts,
        })
    };
    places.into_iter().filter_map(table).collect()
}

/// Lists of objects with plain fields: workers, places that listen, connections per backend.
pub(super) fn rows(value: &Value) -> Vec<Rows> {
    let places = [
        ("Workers", "/workers"),
        ("Listeners", "/listeners"),
        ("Trials", "/trials"),
        ("Steps", "/steps"),
        ("Backends", "/backends"),
    ];
    let table = |(title, pointer)| {
        let list = value.pointer(pointer)?.as_array()?;
        // The name of a row stands first; the rest as in the file.
        let mut columns: Vec<String> = Vec::new();
        let is_there = |name: &&&str| list.iter().any(|object| object.get(**name).is_some());
        columns.extend(NAMES.iter().filter(is_there).map(|name| (*name).to_owned()));
        for object in list.iter().filter_map(Value::as_object) {
            for (key, field) in object {
                let is_plain = !field.is_object() && !field.is_array() && !field.is_null();
                if is_plain && !columns.contains(key) {
                    columns.push(key.clone());
                }
            }
        }
        let row = |object: &Value| columns.iter().map(|key| cell(object.get(key))).collect();
        let rows: Vec<Vec<String>> = list.iter().map(row).collect();
        (!columns.is_empty()).then(|| Rows {
            title,
            rows,
            columns: columns.iter().map(|name| name.replace('_', " ")).collect(),
        })
    };
    places.into_iter().filter_map(table).collect()
}

fn cell(value: Option<&Value>) -> String {
    match value {
        Some(Value::Number(n)) => n.as_f64().map_or_else(String::new, count),
        Some(value) if !value.is_object() && !value.is_null() => plain(value),
        _ => String::new(),
    }
}

/// Outcomes of a flood: a list of targets, each with an object of counts, or one such object for all.
pub(super) fn matrices(value: &Value) -> Vec<Matrix> {
    let rows = |place: &str| match value.pointer(place) {
        Some(Value::Array(all)) => all.iter().filter_map(outcomes).collect(),
        Some(one) => outcomes(one).into_iter().collect::<Vec<_>>(),
        None => Vec::new(),
    };
    matrix([rows("/targets"), rows("/total")].concat())
        .into_iter()
        .collect()
}

/// A target and how often its tuples met which outcome.
type TargetOutcomes = (String, Vec<(String, u64)>);

/// Fields of a target that count tuples without a reply.
const WITHOUT_REPLY: [&str; 3] = ["silent", "not_observable", "undecided"];

/// The outcomes of a target's tuples; `None` for something else than a target.
fn outcomes(target: &Value) -> Option<TargetOutcomes> {
    let name = plain(first(target, &["/target"])?);
    let replies = first(target, &["/outcomes"])?.as_object()?;
    let reply = |(name, met): (&String, &Value)| Some((name.clone(), met.get("first")?.as_u64()?));
    let without = |field: &&str| Some(((*field).to_owned(), target.get(*field)?.as_u64()?));
    let replies = replies.iter().filter_map(reply);
    let all = replies.chain(WITHOUT_REPLY.iter().filter_map(without));
    Some((name, all.filter(|(_, n)| *n > 0).collect()))
}

/// The rows under the outcomes that any of them has.
fn matrix(rows: Vec<TargetOutcomes>) -> Option<Matrix> {
    let mut columns: Vec<String> = Vec::new();
    for (outcome, _) in rows.iter().flat_map(|(_, counts)| counts) {
        if !columns.contains(outcome) {
            columns.push(outcome.clone());
        }
    }
    let shaded = |(target, counts): (String, Vec<(String, u64)>)| {
        let sum: u64 = counts.iter().map(|(_, n)| n).sum();
        let cell = |column: &String| {
            let found = counts.iter().find(|(name, _)| name == column);
            let n = found.map_or(0, |(_, n)| *n);
            MatrixCell {
                count: count(n as f64),
                // At most 10.
                tenths: (n * 10).div_ceil(sum.max(1)) as u32,
            }
        };
        (target, columns.iter().map(cell).collect())
    };
    let rows: Vec<_> = rows.into_iter().map(shaded).collect();
    (!columns.is_empty()).then(|| Matrix {
        rows,
        columns: columns.iter().map(|name| name.replace('_', " ")).collect(),
    })
}
