//! Pages of results as commands print them, of results with more and with less in them, and of what is none.

use serde_json::{Value, json};

use super::html;
use super::run::Run;

fn run(name: &str, value: Value) -> Run {
    Run::new(name, &[value]).expect("a result")
}

fn page(runs: &[Run]) -> String {
    html::page(None, runs).expect("a page")
}

/// A result with something in every section.
fn full(p50_us: f64) -> Value {
    json!({
        "command": "/usr/bin/syncline load http://198.18.0.1/ --nic tap -J",
        "versions": {"syncline": "0.1.0", "dpdk": "DPDK 22.11.11"},
        "link": "tap:dtap0", "workload": "request", "duration_s": 2.0, "operations": {"completed_per_s": 1000, "failed": 0},
        "latency": {
            "corrected": {"samples": 2000, "p50_us": p50_us, "p90_us": 200, "p99_us": 900, "max_us": 1000,
                "histogram": [[50, 100, 10], [100, 200, 1000], [400, 900, 3]]},
        },
        "series": [
            {"second": 1, "achieved_per_second": 990, "p99_us": 800, "open": 5, "busy_share": 0.25},
            {"second": 2, "achieved_per_second": 1010, "p99_us": 900, "open": 6, "busy_share": 0.5},
        ],
        "targets": [{"target": "198.18.0.1:80", "silent": 2, "outcomes": {"syn_ack": {"first": 3, "repeats": 1}, "rst": {"first": 1}}}],
        "failures": 4, "failures_by_reason": {"timed_out": 4, "reset": 0},
        "gates": [{"name": "failed=0", "value": 4, "wanted": 0, "holds": false}],
        "limit": {"verdict": "target", "evidence": ["busy 40 %"], "change": "lower -R"},
        "workers": [{"queue": 0, "rx_frames": 12345}],
        "counters": {"rx_frames": 12345, "never": 0},
        "unaccounted": 0, "faults": [], "notes": ["a note"],
        "something_new": {"deeply": [1, {"nested": null}]},
    })
}

#[test]
fn every_section_of_a_full_result_is_there() {
    let html = page(&[run("run", full(100.0))]);
    for part in [
        "<title>syncline load request over tap:dtap0</title>",
        "Limited by: target",
        "busy 40 %",
        "→ lower -R",
        "a note",
        "✗ not good: Failures: 4. Gate: failed=0: 4 (wanted 0).",
        "Operations per second</dt><dd>1 k<",
        "<title>Rates, per second</title>",
        "<title>Latency over time</title>",
        "<title>Shares of time</title>",
        "<title>Latency by percentile</title>",
        "<title>Latency histogram</title>",
        ">900 µs<",
        "Outcomes by target",
        "timed_out",
        "DPDK 22.11.11",
        "12\u{202f}345",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    assert!(!html.contains("never"), "counters of 0 stay out");
}

#[test]
fn a_page_needs_nothing_but_itself() {
    let html = page(&[run("run", full(100.0)), run("other", full(300.0))]);
    for part in [
        "<script", "<link", "<img", "@import", "url(", "src=", "href=",
    ] {
        assert!(!html.contains(part), "{part}");
    }
    assert!(html.contains("default-src 'none'"));
    // Every colour comes from the style sheet, so that both themes have theirs.
    let drawings = html.split("<svg role").skip(1);
    for drawing in drawings.map(|rest| rest.split("</svg>").next().unwrap_or_default()) {
        assert!(!drawing.contains("=\"#"), "{drawing}");
        assert!(drawing.contains("<text"), "its labels are text");
    }
}

#[test]
fn runs_stand_side_by_side_and_what_differs_is_marked() {
    let mut other = full(300.0);
    other["link"] = json!("memif");
    let html = page(&[run("first", full(100.0)), run("second", other)]);
    assert!(html.contains(
        "<title>syncline load request over memif; syncline load request over tap:dtap0</title>"
    ));
    assert!(html.contains("Corrected, first") && html.contains("Corrected, second"));
    assert!(html.contains(">100 µs<") && html.contains(">300 µs<"));
    assert_eq!(html.matches("<tr class=\"differs\">").count(), 1);
    assert!(
        html.contains("class=\"s1\""),
        "the second run has a line style of its own"
    );
}

#[test]
fn missing_and_unknown_fields_leave_sections_out() {
    let html = page(&[run("bare", json!({"command": "syncline serve --json"}))]);
    assert!(html.contains("<title>syncline serve</title>") && html.contains("Conditions"));
    for heading in ["Summary", "Over time", "Latency", "Outcomes", "Counters"] {
        assert!(!html.contains(&format!("{heading}</h2>")), "{heading}");
    }
    // Fields of other types than expected are as good as missing.
    let odd = json!({
        "command": "syncline load", "link": 5, "latency": "fast", "series": {"a": 1}, "limit": true, "gates": {}, "workers": "no",
        "listeners": [1, null], "counters": [], "targets": [[]], "total": 1, "times": {"a": 1}, "failures": "none", "faults": 7, "versions": null,
    });
    assert!(page(&[run("odd", odd)]).contains("syncline load"));
}

#[test]
fn what_a_result_says_is_text_and_no_markup() {
    let evil = "<script>alert(1)</script>";
    let value = json!({
        "command": format!("syncline load {evil}"), "link": evil, "notes": [evil], "latency": {evil: {"p50_us": 1, "p90_us": 2, "p99_us": 3}},
        "series": [{evil: 1}, {evil: 2}], "failures_by_reason": {evil: 1},
    });
    let html = page(&[run(evil, value)]);
    assert!(
        !html.contains("<script") && html.contains("&#60;script"),
        "{html}"
    );
}

#[test]
fn lines_before_the_summary_are_its_series() {
    let lines = [
        json!({"t_s": 1, "sent_pps": 5}),
        json!({"t_s": 2, "sent_pps": 6}),
        json!({"command": "syncline flood 198.18.0.1:80"}),
    ];
    let run = Run::new("lines", &lines).expect("a result");
    assert_eq!(run.series[0].points, [(1.0, 5.0), (2.0, 6.0)]);
}

#[test]
fn what_names_no_command_is_no_result() {
    for value in [
        json!({}),
        json!({"command": 5}),
        json!({"command": "curl x"}),
    ] {
        assert!(Run::new("none", &[value]).is_none());
    }
    assert!(Run::new("none", &[]).is_none());
}

#[test]
fn flat_and_single_and_huge_numbers_can_be_drawn() {
    for numbers in [
        [0.0, 5.0],
        [5.0, 5.0],
        [1e300, 1.0],
        [-4.0, 4.0],
        [1e-9, 2e-9],
    ] {
        let series: Vec<Value> = numbers
            .iter()
            .map(|n| json!({"sent_per_second": n, "p99_us": n, "busy_share": n}))
            .collect();
        let value = json!({"command": "syncline load", "series": series, "latency": {"histogram": [[numbers[0], numbers[0], 1]]}});
        let one = json!({"command": "syncline load", "series": [series[0]]});
        assert!(page(&[run("a", value), run("b", one)]).contains("</html>"));
    }
}
