//! `syncline bench connect` and `bench request` as a user runs them: the binary itself, on the in-memory link and over memif.
//!
//! Needs no root, no hugepages, no NIC. It must never judge a speed, only that there is one.
#![cfg(feature = "dpdk")]

use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// Two polling threads each: one run at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn run(arguments: &str) -> Output {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    Command::new(env!("CARGO_BIN_EXE_syncline"))
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts")
}

/// The JSON of a short run in which nothing failed and nothing was left behind.
fn measured(arguments: &str) -> Value {
    let output = run(&format!("bench {arguments} -d 500ms --warmup-ms 50 --json"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {stderr}");
    let json: Value =
        serde_json::from_slice(&output.stdout).expect("JSON and nothing else on stdout");
    for key in [
        "failures",
        "replies_wrong",
        "lost",
        "unaccounted",
        "endpoint_mbufs_in_use",
        "generator_mbufs_in_use",
    ] {
        assert_eq!(json[key], 0, "{key} of {arguments}");
    }
    assert_eq!(json["sent"], json["replies_verified"], "{arguments}");
    json
}

fn number(json: &Value, key: &str) -> f64 {
    json[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} is no number: {}", json[key]))
}

/// Over the whole run: a short window says little on a machine that does something else as well. Neighbours and what had to
/// be sent twice are in it.
fn packets_per_connection(json: &Value) -> f64 {
    let counters = &json["counters"];
    let frames = number(counters, "rx_frames") + number(counters, "tx_frames");
    frames / number(json, "completed")
}

#[test]
fn complete_connections_in_both_shapes() {
    let json = measured("connect -c 16");
    assert!(number(&json, "rate_cps") > 0.0 && json["rate_rps"].is_null());
    assert_eq!(json["first_close"], "server");
    assert_eq!(json["completed"], json["sent"]);
    assert!((6.0..7.0).contains(&packets_per_connection(&json)));
    let plain = measured("connect -c 16 --shape plain --time-wait 100ms");
    assert_eq!(plain["first_close"], "client");
    assert!((11.0..12.0).contains(&packets_per_connection(&plain)));
}

#[test]
fn a_response_of_many_segments_over_ipv6_and_memif() {
    let json = measured("connect -c 4 --size 60k --ipv6 --nic memif");
    assert!(number(&json, "packets_per_exchange") > 40.0);
}

#[test]
fn requests_over_many_connections() {
    for link in ["ring", "memif"] {
        let json = measured(&format!("request -c 5k --concurrency 16 --nic {link}"));
        assert!(number(&json, "rate_rps") > 0.0 && json["rate_cps"].is_null());
        assert_eq!(json["connections"], 5000);
        assert!(number(&json, "bytes_per_connection") > 0.0);
        assert_eq!(json["counters"]["embryo_established"], 5000);
    }
}

#[test]
fn connections_that_park_between_two_requests_answer_as_well() {
    let json = measured("request -c 500 --concurrency 1 --park-after 1ms");
    assert!(json["counters"]["connections_parked"].as_u64() > Some(500));
}

#[test]
fn over_a_bad_link_every_reply_is_right_and_what_it_did_is_told() {
    for arguments in [
        "connect -c 16 --fault loss=1%,reorder=1%,dup=1%,corrupt=0.5%,seed=7",
        "request -c 200 --concurrency 8 --fault loss=1%,dup=1%,seed=7",
        "connect -c 4 --size 60k --nic memif --fault loss=1%,reorder=1%,delay=100us,seed=7",
    ] {
        let output = run(&format!("bench {arguments} -d 2s --warmup-ms 50 --json"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {stderr}");
        let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        for key in [
            "failures",
            "replies_wrong",
            "unaccounted",
            "endpoint_mbufs_in_use",
            "generator_mbufs_in_use",
        ] {
            assert_eq!(json[key], 0, "{key} of {arguments}");
        }
        assert!(number(&json, "replies_verified") > 0.0, "{arguments}");
        let faults = &json["fault_injection"];
        assert!(
            number(&faults["tx"], "lost") > 0.0 && number(&faults["rx"], "lost") > 0.0,
            "{faults}"
        );
    }
}

#[test]
fn flags_that_say_nothing_here_are_refused() {
    for arguments in [
        "bench connect --rate 5",
        "bench request --size 64",
        "bench request --concurrency 2000",
        "bench rst -c 2000",
    ] {
        let output = run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {stderr}");
        assert!(
            stderr.starts_with("error: --") && stderr.lines().count() == 1,
            "{arguments}: {stderr}"
        );
    }
}
