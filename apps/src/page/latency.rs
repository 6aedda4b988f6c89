//! Latency: percentiles and histograms, wherever a result has some.
//!
//! It must never make a percentile up: those that the result leaves out, it leaves out for want of samples.

use serde_json::Value;

use super::json::{first, number};

/// The percentiles of one thing that was timed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Percentiles {
    /// What was timed.
    pub(super) name: String,
    /// How often.
    pub(super) samples: Option<f64>,
    /// Quantiles, 0 to 1, and their times in µs, ascending. 1 is the largest.
    pub(super) points: Vec<(f64, f64)>,
}

/// How often which times were taken.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Histogram {
    /// What was timed.
    pub(super) name: String,
    /// From and to in µs, and how often; ascending.
    pub(super) buckets: Vec<(f64, f64, f64)>,
}

/// Where times stand in results: under one of these, alone or by name.
const PLACES: &[&str] = &["/latency", "/latency_us", "/latencies"];

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
            descend("", found, visit);
        }
    }
}

fn descend(name: &str, value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    let Value::Object(object) = value else {
        return;
    };
    visit(if name.is_empty() { "latency" } else { name }, value);
    for (key, below) in object {
        if matches!(key.as_str(), "histogram" | "buckets") {
            continue;
        }
        let key = key.replace('_', " ");
        let path = if name.is_empty() {
            key
        } else {
            format!("{name}, {key}")
        };
        descend(&path, below, visit);
    }
}

/// Fields such as `p50_us`, `p999_us` and `max_us`.
fn of(name: &str, value: &Value) -> Option<Percentiles> {
    let object = value.as_object()?;
    let point = |(key, value): (&String, &Value)| {
        let key = key.strip_suffix("_us")?;
        let quantile = match key {
            "max" => 1.0,
            _ => quantile(key.strip_prefix('p')?)?,
        };
        Some((quantile, value.as_f64()?))
    };
    let mut points: Vec<(f64, f64)> = object.iter().filter_map(point).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    (!points.is_empty()).then(|| Percentiles {
        name: name.to_owned(),
        samples: number(value, &["/samples", "/count"]),
        points,
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
    fn buckets_are_objects_or_lists() {
        let value = json!({"latency": {"histogram": [[1, 2, 3], {"from_us": 2, "to_us": 4, "count": 1}, [4, 3, 1], [5, 6, 0]]}});
        assert_eq!(
            histograms(&value)[0].buckets,
            [(1.0, 2.0, 3.0), (2.0, 4.0, 1.0)]
        );
    }
}
