//! Conditions, summary, checks and the limit of a result.
//!
//! It must never call a result good because a field is missing: what isn't there isn't checked, and isn't listed.

use serde_json::Value;

use super::format::{count, percent, si, time_us};
use super::json::{first, number, plain, text, texts};

/// A name and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fact {
    /// The name.
    pub(super) label: &'static str,
    /// The value, with its unit.
    pub(super) value: String,
}

/// Something that must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    /// The condition.
    pub(super) label: String,
    /// The finding.
    pub(super) value: String,
    /// Whether it holds.
    pub(super) holds: bool,
}

/// The limit of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limit {
    /// In a word.
    pub(super) verdict: String,
    /// Its evidence.
    pub(super) evidence: Vec<String>,
    /// The advice.
    pub(super) advice: Vec<String>,
}

/// The command: `serve`, `bench connect`, `load request`. `None` for what no command of ours printed.
pub(super) fn kind(value: &Value) -> Option<String> {
    let line = texts(value, &["/command"]).join(" ");
    let mut words = line.split_whitespace();
    let program = words.next().unwrap_or_default();
    let is_ours = program.rsplit('/').next() == Some("syncline")
        || first(value, &["/versions/syncline"]).is_some();
    let command = text(value, &["/kind"]).or_else(|| words.next().filter(|_| is_ours))?;
    let mode = text(value, &["/mode", "/workload", "/plan/workload"]).unwrap_or_default();
    Some(format!("{command} {mode}").trim().to_owned())
}

/// Where conditions stand, and what they are called.
const CONDITIONS: &[(&str, &[&str])] = &[
    ("Command", &["/command"]),
    ("Started", &["/started_at"]),
    ("Ended by", &["/ended_by"]),
    ("Link", &["/link/name", "/link"]),
    ("Driver", &["/nic/driver"]),
    ("Link-layer address", &["/mac"]),
    ("Target", &["/target", "/plan/targets"]),
    ("Workload", &["/plan/workload", "/workload"]),
    ("Mode", &["/mode"]),
    ("Operations per second, asked for", &["/plan/rate"]),
    ("Connections asked for", &["/plan/connections"]),
    ("Workers", &["/plan/workers"]),
    ("Operation timeout, seconds", &["/plan/timeout_s"]),
    ("Control bits", &["/flags"]),
    ("TCP options of SYNs", &["/syn_options"]),
    ("SYN-ACKs are answered with", &["/answer"]),
    ("Sources", &["/sources"]),
    ("Tuples", &["/tuples"]),
    ("Shard", &["/shard"]),
    ("Shape", &["/shape"]),
    ("Closes first", &["/first_close"]),
    ("Body or reply, bytes", &["/size"]),
    ("Concurrency", &["/concurrency"]),
    ("Connections", &["/connections"]),
    ("2 MSL, seconds", &["/two_msl_seconds", "/plan/time_wait_s"]),
    ("CPUs", &["/cpus"]),
    ("CPU model", &["/host/cpu_model"]),
    ("Kernel", &["/host/kernel"]),
    ("Host", &["/host/name"]),
    ("Memory", &["/memory"]),
    ("Room", &["/room"]),
    ("Syncline", &["/versions/syncline"]),
    ("Commit", &["/versions/commit"]),
    ("DPDK", &["/versions/dpdk"]),
];

/// The program and the machine.
pub(super) fn conditions(value: &Value) -> Vec<Fact> {
    let fact = |(label, pointers): &(&'static str, &[&str])| {
        let found = first(value, pointers).filter(|found| !found.is_object())?;
        Some(Fact {
            label,
            value: plain(found),
        })
    };
    let mut facts: Vec<Fact> = CONDITIONS.iter().filter_map(fact).collect();
    if let Some(faults) = first(value, &["/fault_injection"]).and_then(Value::as_object) {
        let named = faults
            .iter()
            .map(|(name, n)| format!("{name} {}", plain(n)));
        facts.push(Fact {
            label: "Injected faults",
            value: named.collect::<Vec<_>>().join(", "),
        });
    }
    facts
}

/// How a figure is written.
type Written = fn(f64) -> String;

/// Where the figures that matter most stand.
const SUMMARY: &[(&str, &[&str], Written)] = &[
    (
        "Operations per second",
        &["/operations/completed_per_s"],
        si,
    ),
    ("Connections per second", &["/rate_cps"], si),
    ("Requests per second", &["/rate_rps"], si),
    ("Packets per second", &["/rate_pps"], si),
    ("Offered per second", &["/offered_pps", "/plan/rate"], si),
    ("Begun when due", &["/operations/achieved_share"], percent),
    ("Sent per second", &["/sent_pps"], si),
    ("Duration", &["/duration_s", "/seconds"], seconds),
    ("Frames received", &["/rx_frames"], count),
    ("Frames sent", &["/tx_frames"], count),
    ("Operations completed", &["/operations/completed"], count),
    ("Connections completed", &["/completed"], count),
    ("Replies verified", &["/replies_verified"], count),
    ("Failures", &["/failures", "/operations/failed"], count),
    ("Tuples sent", &["/tuples_sent"], count),
    ("Tuples answered", &["/total/answered"], count),
    ("Tuples without a reply", &["/total/silent"], count),
    ("Median latency", &["/latency/p50_us"], time_us),
    ("99th percentile", &["/latency/p99_us"], time_us),
    (
        "Median, from schedule",
        &["/times/scheduled/percentiles_us/p50/us"],
        time_us,
    ),
    (
        "99th percentile, from schedule",
        &["/times/scheduled/percentiles_us/p99/us"],
        time_us,
    ),
    (
        "Median, uncorrected",
        &["/times/operation/percentiles_us/p50/us"],
        time_us,
    ),
    (
        "99th percentile, uncorrected",
        &["/times/operation/percentiles_us/p99/us"],
        time_us,
    ),
    ("Cycles per packet", &["/cycles_per_packet"], si),
    (
        "Cycles per packet with PMD",
        &["/cycles_per_packet_with_pmd"],
        si,
    ),
    ("Mean burst", &["/mean_burst"], si),
    ("Generator busy", &["/busy_share"], percent),
    ("Sends refused by the link", &["/refused_share"], percent),
    ("Endpoint busy", &["/endpoint/busy_share"], percent),
    ("Client busy", &["/client/busy_share"], percent),
    ("Bytes per connection", &["/bytes_per_connection"], si),
];

fn seconds(s: f64) -> String {
    time_us(s * 1e6)
}

/// The figures that matter most.
pub(super) fn summary(value: &Value) -> Vec<Fact> {
    let fact = |(label, pointers, written): &(&'static str, &[&str], Written)| {
        Some(Fact {
            label,
            value: written(number(value, pointers)?),
        })
    };
    let mut facts: Vec<Fact> = SUMMARY.iter().filter_map(fact).collect();
    facts.extend(of_listeners(value));
    facts
}

/// Sums over the places of `serve`.
fn of_listeners(value: &Value) -> Vec<Fact> {
    let Some(listeners) = first(value, &["/listeners"]).and_then(Value::as_array) else {
        return Vec::new();
    };
    let fields = [
        ("Connections accepted", "/accepted"),
        ("Requests answered", "/requests"),
        ("Bytes read", "/bytes_in"),
        ("Bytes sent", "/bytes_out"),
    ];
    let sum = |(label, field)| {
        let numbers = listeners
            .iter()
            .filter_map(|listener| number(listener, &[field]));
        let sum: f64 = numbers.sum();
        (sum > 0.0).then(|| Fact {
            label,
            value: count(sum),
        })
    };
    fields.into_iter().filter_map(sum).collect()
}

/// A count that must be 0, and its name.
const ZEROS: &[(&str, &[&str])] = &[
    (
        "Frames unaccounted for",
        &["/unaccounted", "/account/frames"],
    ),
    (
        "Buffers that did not come back",
        &["/mbufs_in_use", "/account/mbufs_in_use"],
    ),
    (
        "Buffers of the endpoint that did not come back",
        &["/endpoint_mbufs_in_use"],
    ),
    (
        "Buffers of the generator that did not come back",
        &["/generator_mbufs_in_use"],
    ),
    ("Operations unaccounted for", &["/account/operations"]),
    (
        "Operations of the schedule unaccounted for",
        &["/account/schedule"],
    ),
    ("Connections unaccounted for", &["/account/connections"]),
    ("Damaged frames", &["/damaged"]),
    ("Wrong replies", &["/replies_wrong"]),
    ("Failures", &["/failures", "/operations/failed"]),
];

/// The conditions of a good result: numbers that must be 0, gates, faults.
pub(super) fn checks(value: &Value) -> Vec<Check> {
    let zero = |(label, pointers): &(&str, &[&str])| {
        let n = number(value, pointers)?;
        Some(Check {
            label: (*label).to_owned(),
            value: count(n),
            holds: n == 0.0,
        })
    };
    let mut checks: Vec<Check> = ZEROS.iter().filter_map(zero).collect();
    if let Some(faults) = first(value, &["/faults"]).and_then(Value::as_array) {
        let texts: Vec<&str> = faults.iter().filter_map(Value::as_str).collect();
        checks.push(Check {
            label: "What fails the run".into(),
            value: match texts[..] {
                [] => "nothing".to_owned(),
                _ => texts.join("; "),
            },
            holds: faults.is_empty(),
        });
    }
    if let Some(check) = text(value, &["/nic/tx_check"]) {
        checks.push(Check {
            label: "Frames sent, against the driver's own count".into(),
            value: check.to_owned(),
            holds: number(value, &["/nic/tx_frames"]).is_none_or(|n| n == 0.0) || check == "equal",
        });
    }
    checks.extend(gates(value));
    checks
}

/// Gates: a list of objects with a name, what was wanted and found, and whether it holds.
fn gates(value: &Value) -> Vec<Check> {
    let list = first(value, &["/gates"]).and_then(Value::as_array);
    let gate = |gate: &Value| {
        let holds = first(gate, &["/holds", "/held", "/passed", "/ok"])?.as_bool()?;
        let found = first(gate, &["/found", "/value", "/actual"]).map(plain);
        let wanted = first(gate, &["/wanted", "/limit", "/expected"]).map(plain);
        let value = match (found, wanted) {
            (Some(found), Some(wanted)) => format!("{found} (wanted {wanted})"),
            (found, wanted) => found.or(wanted).unwrap_or_default(),
        };
        Some(Check {
            label: format!("Gate: {}", text(gate, &["/name", "/gate"])?),
            value,
            holds,
        })
    };
    list.into_iter().flatten().filter_map(gate).collect()
}

/// The limit of the run.
pub(super) fn limit(value: &Value) -> Option<Limit> {
    let verdict = text(value, &["/limit/verdict", "/limit"])?;
    Some(Limit {
        verdict: match verdict {
            // Of `load`: nothing was.
            "rate" => "nothing, the rate was reached".to_owned(),
            _ => verdict.replace('_', " "),
        },
        evidence: texts(value, &["/limit/evidence"]),
        advice: texts(value, &["/limit/change"]),
    })
}
