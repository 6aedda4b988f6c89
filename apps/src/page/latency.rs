//! Latency: percentiles and histograms, wherever a result has some.
//!
//! It must never make a percentile up: those that the result leaves out, it leaves out for want of samples.

use serde_json::Value;

use super::json::{first, number};

/// The percentiles of one thing that was timed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Percentiles {
    /// The timed step.
    pub(super) name: String,
    /// How often.
    pub(super) samples: Option<f64>,
    /// Quantiles, 0 to 1, and their times in µs, ascending. 1 is the largest.
    pub(super) points: Vec<(f64, f64)>,
    /// Quantiles that may be longer than said: operations that never ended lie there.
    pub(super) at_least: Vec<f64>,
}

/// How often which times were taken.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Histogram {
    /// The timed step.
    pub(super) name: String,
    /// From and to in µs, and how often; ascending.
    pub(super) buckets: Vec<(f64, f64, f64)>,
}

/// Where times stand in results: under one of these, alone or by name.
const PLACES: &[&str] = &["/latency", STEPS, "/total/outcomes"];
/// The place of those of `load`, by step.
const STEPS: &str = "/times";

/// The name that `load` gives the times of a step, by the step's name in JSON.
pub(crate) fn step_title(name: &str) -> Option<&'static str> {
    Some(match name {
        "connect" => "SYN to SYN-ACK",
        "first_byte" => "request to first byte",
        "response" => "request to whole response",
        "close" => "close to end",
        "operation" => "operation, uncorrected",
        "scheduled" => "operation from schedule",
        "lag" => "schedule lag (ours)",
        "gap" => "between two beginnings",
        "syn_to_first_byte" => "SYN to first byte",
        "syn_to_last_byte" => "SYN to whole response",
        _ => return None,
    })
}

/// All sets of percentiles.
pub(super) fn percentiles(value: &Value) -> Vec<Percentiles> {
    let mut all = Vec::new();
    walk(value, &mut |name, value| {
        if let Some(percentiles) = of(name, value) {
            all.push(percentiles);
        }
    });
    all
}

/// All histograms.
pub(super) fn histograms(value: &Value) -> Vec<Histogram> {
    let mut all = Vec::new();
    walk(value, &mut |name, value| {
        let buckets = first(value, &["/histogram", "/buckets"]).and_then(Value::as_array);
        let buckets: Vec<_> = buckets.into_iter().flatten().filter_map(bucket).collect();
        if !buckets.is_empty() {
            all.push(Histogram {
                name: name.to_owned(),
                buckets,
            });
        }
    });
    all
}

/// Visits every object below the places of times, with its path as its name.
fn walk(value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    for place in PLACES {
        if let Some(found) = value.pointer(place) {
            descend("", found, *place == STEPS, visit);
        }
    }
}

fn descend(name: &str, value: &Value, are_steps: bool, visit: &mut impl FnMut(&str, &Value)) {
    let Value::Object(object) = value else {
        return;
    };
    visit(if name.is_empty() { "latency" } else { name }, value);
    for (key, below) in object {
        if matches!(key.as_str(), "histogram" | "buckets" | "percentiles_us") {
            continue;
        }
        let title = step_title(key).filter(|_| are_steps);
        let key = key.strip_suffix("_us").unwrap_or(key).replace('_', " ");
        let key = title.map_or(key, str::to_owned);
        let path = if name.is_empty() {
            key
        } else {
            format!("{name}, {key}")
        };
        descend(&path, below, false, visit);
    }
}

/// Fields such as `p50_us`, `p999_us` and `max_us`, or those of `percentiles_us`: a number, or an object that says that it may be
/// more.
fn of(name: &str, value: &Value) -> Option<Percentiles> {
    let object = value.as_object()?;
    let inner = value.get("percentiles_us").and_then(Value::as_object);
    let mut points = Vec::new();
    let mut at_least = Vec::new();
    for (key, value) in object.iter().chain(inner.into_iter().flatten()) {
        let key = key.strip_suffix("_us").unwrap_or(key);
        let quantile = match key {
            "max" => Some(1.0),
            _ => key.strip_prefix('p').and_then(quantile),
        };
        let us = value.as_f64().or_else(|| number(value, &["/us"]));
        if let Some((quantile, us)) = quantile.zip(us) {
            points.push((quantile, us));
            if value.get("at_least") == Some(&Value::Bool(true)) {
                at_least.push(quantile);
            }
        }
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    // A largest alone is something else.
    let has_percentile = points.iter().any(|point| point.0 < 1.0);
    has_percentile.then(|| Percentiles {
        name: name.to_owned(),
        samples: number(value, &["/samples", "/count"]),
        points,
        at_least,
    })
}

/// `50`, `99`, `999` (99.9), `9999`, `99_9`.
fn quantile(digits: &str) -> Option<f64> {
    let digits = digits.replace(['_', '.'], "");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let places = i32::try_from(digits.len()).ok()?;
    let n: f64 = digits.parse().ok()?;
    Some(n / 10_f64.powi(places.max(2)))
}

/// `{"from_us": 1, "to_us": 2, "count": 3}` or `[1, 2, 3]`.
fn bucket(value: &Value) -> Option<(f64, f64, f64)> {
    let from = number(value, &["/from_us", "/0"])?;
    let to = number(value, &["/to_us", "/1"])?;
    let count = number(value, &["/count", "/2"])?;
    (to >= from && count > 0.0).then_some((from, to, count))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn percentiles_are_found_by_name_in_any_depth() {
        let value = json!({"latency": {
            "samples": 9, "p50_us": 10.0, "p999_us": 30.0, "p99_us": 20, "max_us": 31.5, "mean_us": 12,
            "connect": {"corrected": {"p50_us": 1, "p90_us": null}}, "odd": [1, 2],
        }});
        let all = percentiles(&value);
        assert_eq!(all[0].name, "latency");
        assert_eq!(all[0].samples, Some(9.0));
        assert_eq!(
            all[0].points,
            [(0.5, 10.0), (0.99, 20.0), (0.999, 30.0), (1.0, 31.5)]
        );
        assert_eq!(all[1].name, "connect, corrected");
        assert_eq!(all[1].points, [(0.5, 1.0)]);
        assert_eq!(percentiles(&json!({"latency": 5})), []);
    }

    #[test]
    fn percentiles_of_load_and_flood_are_found_and_those_that_may_be_longer_are_known() {
        let time = |us: f64, at_least: bool| json!({"us": us, "at_least": at_least});
        let value = json!({
            "times": {"scheduled": {"samples": 5, "mean_us": time(1.0, false), "max_us": time(9.0, true),
                "percentiles_us": {"p50": time(2.0, false), "p99.9": time(8.0, true)}}},
            "total": {"outcomes": {"syn_ack": {"first": 3, "first_latency_us": {"p50": 4, "p99_9": 6, "min": 1, "max": 7}}}},
        });
        let all = percentiles(&value);
        assert_eq!(all[0].name, "operation from schedule");
        assert_eq!(all[0].points, [(0.5, 2.0), (0.999, 8.0), (1.0, 9.0)]);
        assert_eq!(all[0].at_least, [1.0, 0.999]);
        assert_eq!(all[1].name, "syn ack, first latency");
        assert_eq!(all[1].points, [(0.5, 4.0), (0.999, 6.0), (1.0, 7.0)]);
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn buckets_are_objects_or_lists() {
        let value = json!({"latency": {"histogram": [[1, 2, 3], {"from_us": 2, "to_us": 4, "count": 1}, [4, 3, 1], [5, 6, 0]]}});
        assert_eq!(
            histograms(&value)[0].buckets,
            [(1.0, 2.0, 3.0), (2.0, 4.0, 1.0)]
        );
    }
}
