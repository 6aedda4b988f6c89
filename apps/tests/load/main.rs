//! `syncline load` as users start it: on our own server over the in-memory link, and as root on real servers behind a tap.
//!
//! It must never judge a time: machines are shared. What is judged is what was counted, against what the server counted.
#![forbid(unsafe_code)]

// Real servers in a network namespace of the run's own.
mod root_only;
// Two workers at each end.
mod queues;
// Failures, and what replies say.
mod failures;
// Results as others read them: the schema, and the log of HdrHistogram.
mod results;
// A load balancer, one of whose backends dies.
#[path = "haproxy.rs"]
mod root_only_haproxy;
// A flood of resets in return.
#[path = "resets.rs"]
mod root_only_resets;
// A device between our clients and our servers.
#[path = "arms.rs"]
mod root_only_arms;
// Limits that are planted, and what a run calls them.
#[path = "planted.rs"]
mod root_only_planted;

use std::process::{Command, Output};

use serde_json::Value;

/// Runs `syncline load` with these words and `-J`. The result, and the exit status with what was said on stderr.
fn load(words: &[&str]) -> (Value, i32, String) {
    let output = syncline()
        .args(words)
        .arg("-J")
        .output()
        .expect("it starts");
    result(&output)
}

fn syncline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.arg("load");
    command
}

fn result(output: &Output) -> (Value, i32, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (value, output.status.code().unwrap_or(-1), said)
}

/// A number of the result; what is not there fails the test.
fn number(result: &Value, pointer: &str) -> u64 {
    let value = result.pointer(pointer).and_then(Value::as_u64);
    value.unwrap_or_else(|| panic!("no {pointer} in {result:#}"))
}

/// Everything adds up: each of these is 0.
fn assert_account(result: &Value) {
    for sum in [
        "operations",
        "schedule",
        "connections",
        "open",
        "frames",
        "mbufs_in_use",
    ] {
        let pointer = format!("/account/{sum}");
        assert_eq!(
            result.pointer(&pointer).and_then(Value::as_i64),
            Some(0),
            "{sum}: {result:#}"
        );
    }
}

#[test]
fn our_own_server_is_loaded_without_a_target() {
    for more in [&[][..], &["--workload", "connect"], &["--pipeline", "8"]] {
        let words = [&["-n", "2000", "-c", "5"], more].concat();
        let (result, status, said) = load(&words);
        assert_eq!(status, 0, "{said}");
        assert_eq!(number(&result, "/operations/completed"), 2000);
        assert_eq!(number(&result, "/operations/failed"), 0);
        assert_eq!(number(&result, "/statuses/2xx"), 2000);
        assert_eq!(result["schema"], "syncline/1");
        assert_eq!(result["kind"], "load");
        assert_account(&result);
    }
}

#[test]
fn connections_are_held_exactly_and_each_is_asked_in_its_turn() {
    let (result, _, said) = load(&[
        "--workload",
        "hold",
        "-c",
        "300",
        "-d",
        "2s",
        "--verify-every",
        "1s",
    ]);
    // On a busy machine the generator may be late, which is said; what it counts is right all the same.
    assert_eq!(number(&result, "/hold/least"), 300, "{said}");
    assert_eq!(number(&result, "/hold/at_end"), 300);
    assert_eq!(number(&result, "/hold/broken"), 0);
    assert_eq!(number(&result, "/operations/due"), 600);
    assert_eq!(number(&result, "/operations/failed"), 0);
    assert_eq!(number(&result, "/connections/established"), 300);
    assert_eq!(number(&result, "/connections/closed"), 300);
    assert!(
        number(&result, "/counters/connections_parked") > 0,
        "{result:#}"
    );
    assert_account(&result);
}

#[test]
fn one_target_has_more_connections_than_one_address_has_ports() {
    let words = ["--workload", "hold", "-c", "80", "-d", "100ms"];
    let pool = ["--sources", "198.18.0.64/30", "--source-ports", "2000-2019"];
    let (result, status, said) = load(&[&words[..], &pool].concat());
    assert_eq!(status, 0, "{said}");
    assert_eq!(number(&result, "/hold/least"), 80);
    assert_eq!(number(&result, "/sources/tuples"), 80);
    assert_account(&result);
    let one_more = ["--workload", "hold", "-c", "81", "-d", "100ms"];
    let (_, status, said) = load(&[&one_more[..], &pool].concat());
    assert_eq!(status, 2);
    assert!(
        said.contains("needs 81 tuples") && said.contains("you have 80"),
        "{said}"
    );
}

#[test]
fn a_pool_may_hold_our_own_address() {
    // The address of --ip is 198.18.0.2 here.
    let words = ["--workload", "hold", "-c", "40", "-d", "100ms"];
    let pool = ["--sources", "198.18.0.2/31", "--source-ports", "2000-2019"];
    let (result, status, said) = load(&[&words[..], &pool].concat());
    assert_eq!(status, 0, "{said}");
    assert_eq!(number(&result, "/hold/least"), 40);
    assert_eq!(number(&result, "/sources/tuples"), 40);
    assert_account(&result);
}

#[test]
fn tuples_that_are_used_again_are_told_apart() {
    let (result, status, said) = load(&[
        "--workload",
        "connect",
        "-n",
        "100",
        "-c",
        "2",
        "--close",
        "peer",
        "--source-ports",
        "2000-2019",
        "--order",
        "sequential",
    ]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(number(&result, "/sources/reused"), 80);
    let opened = number(&result, "/sources/reopened") + number(&result, "/sources/retried");
    assert_eq!(opened, 80);
    assert_account(&result);
}

#[test]
fn steps_of_a_rate_follow_each_other() {
    let (result, _, said) = load(&["-R", "200:500ms,600:500ms"]);
    assert_eq!(number(&result, "/operations/due"), 400, "{said}");
    assert_account(&result);
}

#[test]
fn bulk_goes_up_down_and_both_ways_and_every_byte_is_the_pattern() {
    for (direction, up, down) in [
        ("up", true, false),
        ("down", false, true),
        ("both", true, true),
    ] {
        let words = [
            "--workload",
            "stream",
            "--direction",
            direction,
            "-c",
            "2",
            "-d",
            "500ms",
        ];
        let (result, status, said) = load(&words);
        assert_eq!(status, 0, "{said}");
        assert_eq!(number(&result, "/stream/up_bytes") > 0, up, "{result:#}");
        assert_eq!(
            number(&result, "/stream/down_bytes") > 0,
            down,
            "{result:#}"
        );
        assert_eq!(number(&result, "/stream/broken"), 0);
        assert_eq!(number(&result, "/connections/established"), 2);
        assert_account(&result);
    }
}

#[test]
fn a_search_finds_a_rate_and_shows_its_path() {
    let words = [
        "--find",
        "-R",
        "200",
        "-d",
        "300ms",
        "--confirm",
        "500ms",
        "-c",
        "2",
    ];
    // No server answers within a nanosecond: the first gate never holds, the second one always.
    for (gate, holds) in [("p50=1ns", false), ("failed=1g", true)] {
        let (result, status, said) = load(&[&words[..], &["--gate", gate]].concat());
        let trials = result.pointer("/find/trials").and_then(Value::as_array);
        let trials = trials.expect("trials");
        assert_eq!(trials[0]["rate"], 200, "{said}");
        if holds {
            // A busy machine's generator may be late, which ends the search as a lower bound.
            assert!(trials.len() > 1, "{said}");
        } else {
            assert_eq!(status, 1, "{said}");
            assert_eq!(result["find"]["rate"], Value::Null);
            let rates: Vec<_> = trials
                .iter()
                .filter_map(|trial| trial["rate"].as_u64())
                .collect();
            // At 50/s a trial has too few operations for a median.
            assert_eq!(rates, [200, 100], "{said}");
            assert!(said.contains("the gates hold at no rate"), "{said}");
        }
        assert_account(&result);
    }
}

#[test]
fn a_search_does_not_try_a_rate_for_which_there_are_too_few_tuples() {
    let words = "--workload connect --close fin -R 200 --find -d 250ms --confirm 300ms --source-ports 1024-1223 --gate failed=1g";
    let (result, _, said) = load(&words.split(' ').collect::<Vec<_>>());
    let trials = result.pointer("/find/trials").and_then(Value::as_array);
    let trials = trials.expect("trials");
    // 200 tuples are enough for 400/s in two trials of a quarter of a second, whatever the machine makes of that rate.
    let refused = trials.iter().filter(|trial| trial["duration_s"] == 0.0);
    for trial in refused.clone() {
        assert!(trial["rate"].as_u64() > Some(400), "{said}");
        assert_eq!(trial["limit"], "ports", "{said}");
        assert_eq!(trial["limited_by_us"], true, "{said}");
    }
    for trial in trials.iter().filter(|trial| trial["duration_s"] != 0.0) {
        assert!(trial["rate"].as_u64() <= Some(400), "{said}");
    }
    if trials
        .iter()
        .all(|trial| trial["passed"] == true || trial["duration_s"] == 0.0)
    {
        assert_ne!(refused.count(), 0, "{said}");
        assert!(said.contains("add addresses"), "{said}");
    }
    assert_account(&result);
}

#[test]
fn a_proxy_header_stands_in_front_of_each_connection() {
    for version in ["v1", "v2"] {
        let words = [
            "-n",
            "50",
            "-c",
            "2",
            "--workload",
            "connect",
            "--send-proxy",
            version,
        ];
        let (result, status, said) = load(&words);
        // Our server aborts a connection without a header, or with a wrong one.
        assert_eq!(status, 0, "{said}");
        assert_eq!(number(&result, "/statuses/2xx"), 50);
        assert_account(&result);
    }
}

#[test]
fn a_gate_fails_a_run() {
    let (_, status, said) = load(&["-n", "200", "-c", "2", "--gate", "p50=1ns"]);
    assert_eq!(status, 1);
    assert!(
        said.contains("more than the 1ns that --gate allows"),
        "{said}"
    );
}

#[test]
fn a_connection_has_as_many_requests_as_are_asked_for() {
    for more in [&[][..], &["--pipeline", "4"]] {
        let words = ["-n", "100", "-c", "2", "--requests-per-connection", "5"];
        let (result, status, said) = load(&[&words[..], more].concat());
        assert_eq!(status, 0, "{said}");
        assert_eq!(number(&result, "/operations/completed"), 100);
        assert_eq!(number(&result, "/connections/established"), 20);
        assert_eq!(number(&result, "/connections/closed"), 20);
        assert_account(&result);
    }
}

#[test]
fn a_profile_goes_through_its_trials_and_judges_each_by_its_criteria() {
    let words = ["--profile", "rfc9411-throughput", "-R", "100", "-d", "3s"];
    let (result, status, said) = load(&words);
    let steps = result.pointer("/profile/steps").and_then(Value::as_array);
    let steps = steps.expect("steps");
    let loads: Vec<_> = steps
        .iter()
        .map(|step| (&step["step"], &step["load"]))
        .collect();
    assert_eq!(
        loads[0],
        (&Value::from("initial"), &Value::from(10)),
        "{said}"
    );
    let gates: Vec<_> = steps[0]["gates"]
        .as_array()
        .expect("gates")
        .iter()
        .collect();
    let names: Vec<_> = gates
        .iter()
        .filter_map(|gate| gate["gate"].as_str())
        .collect();
    assert_eq!(names, ["failed=0.001%", "rate=5%", "open=10%"]);
    // On a busy machine a trial may fail; what the profile says of it must fit all the same.
    let has_passed = |step: &Value| step["passed"] == true;
    assert_eq!(
        steps.len(),
        1 + usize::from(has_passed(&steps[0])),
        "{said}"
    );
    let reached = result.pointer("/profile/reached").and_then(Value::as_u64);
    let passed = steps.iter().filter(|step| has_passed(step));
    assert_eq!(
        reached,
        passed.filter_map(|step| step["load"].as_u64()).max()
    );
    assert_eq!(status == 0, reached == Some(100), "{said}");
    // Ten transactions on each connection.
    let connections = number(&result, "/connections/established");
    let completed = number(&result, "/statuses/2xx");
    assert!(
        completed > connections && completed <= 10 * connections,
        "{said}"
    );
    assert_account(&result);
}

#[test]
fn contradictions_are_refused_with_their_cause() {
    for (words, part) in [
        (&["http://198.18.0.1/"][..], "needs a NIC"),
        (
            &["--nic", "tap:t0", "--ip", "198.18.0.2/24"],
            "target is missing",
        ),
        (
            &["http://198.18.0.1/", "--nic", "tap:t0"],
            "--ip is missing",
        ),
        (
            &["--find", "-R", "100", "-d", "1s", "--gate", "p99=5ms"],
            "100 operations, and the percentile of --gate needs 1000",
        ),
        (&["https://198.18.0.1/"], "TLS is not supported"),
        (&["-d", "2s", "--ramp-up", "3s"], "leaves no measured time"),
        (
            &["--workload", "connect", "-R", "100k", "-d", "60s"],
            "needs 6000000 tuples",
        ),
        (&["--workload", "hold"], "needs --connections"),
        (
            &["--workload", "hold", "-c", "5", "-n", "5"],
            "leave out --count",
        ),
        (
            &["--workload", "hold", "-c", "5", "-X", "HEAD"],
            "only with --verify-every",
        ),
        (&["-R", "10:1s,20:1s", "-d", "3s"], "do not add up"),
        (&["-R", "10,20"], "only the last step"),
        (&["--direction", "down"], "apply only to --workload stream"),
        (&["--verify-every", "1s"], "apply only to --workload hold"),
        (&["--workload", "stream", "-n", "5"], "leave out --count"),
        (&["--find", "-n", "5"], "leave out steps"),
        (&["--arrivals", "poisson"], "give --rate"),
        (&["--profile", "rfc9411-cps"], "needs --rate"),
        (
            &["--workload", "connect", "--requests-per-connection", "2"],
            "applies only to --workload request",
        ),
        (&["--gate", "q=1"], "unknown gate"),
        (
            &["--sources", "198.18.0.0/30"],
            "a prefix contains 198.18.0.1",
        ),
        (
            &["--sources", "2001:db8::/126"],
            "give sources of the same family",
        ),
        (
            &[
                "http://203.0.113.9/",
                "--nic",
                "net_af_packet0,iface=x",
                "--ip",
                "198.18.0.2/24",
            ],
            "--allow-target 203.0.113.9/32",
        ),
    ] {
        let (_, status, said) = load(words);
        assert_eq!(status, 2, "{words:?}: {said}");
        assert!(said.contains(part), "{words:?}: {said}");
    }
}

#[test]
fn a_second_arm_needs_a_first_one_with_other_addresses() {
    let words = ["--server-nic", "tap:s0", "--server-ip", "198.18.0.2/24"];
    let (_, status, said) = load(&words);
    assert_eq!(status, 2);
    assert!(
        said.contains("give --nic and --ip for the first one"),
        "{said}"
    );
    let first = [
        "http://198.18.1.2/",
        "--nic",
        "tap:t0",
        "--ip",
        "198.18.0.2/24",
    ];
    let (_, status, said) = load(&[&first[..], &words].concat());
    assert_eq!(status, 2);
    assert!(said.contains("in both --ip and --server-ip"), "{said}");
}
