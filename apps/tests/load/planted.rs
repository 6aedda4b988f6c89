//! Planted limits: what keeps the rate down is put there on purpose, and the run must name it.
//!
//! It must never judge by the figures of a run: the verdict is the one that was planted. `SYNCLINE_PLANTED_RUNS` says how often each
//! is planted (once; `scripts/planted-limits` does it 20 times).

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::root_only::Folder;
use crate::{result, syncline};

/// A run behind a tap in a namespace of its own.
const LINK: &str = "--nic tap --tap-up 198.18.0.1/24 --ip 198.18.0.2/24";
const PLANTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/load/planted.py");

/// A program that takes a CPU.
struct Hog(Child);

impl Hog {
    fn on(cpu: &str) -> Self {
        let child = Command::new("taskset")
            .args(["-c", cpu, "sh", "-c", "while :; do :; done"])
            .stdin(Stdio::null())
            .spawn();
        Self(child.expect("util-linux is there"))
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The limit that a run with these flags names, against the server that `with` starts.
fn limit_of(flags: &str, with: &str) -> Value {
    let output = syncline()
        .args(LINK.split(' '))
        .args(flags.split(' '))
        .args(["--with", with, "--json"])
        .output()
        .expect("it starts");
    let (run, _, _) = result(&output);
    run["limit"].clone()
}

/// Plants a limit as often as asked; the verdict must be `expected` in 19 of 20 runs, and `undetermined` in the rest.
fn assert_named(expected: &str, mut plant: impl FnMut() -> Value) {
    let runs = std::env::var("SYNCLINE_PLANTED_RUNS").map_or(1, |runs| {
        runs.parse().expect("SYNCLINE_PLANTED_RUNS is a number")
    });
    let (mut right, mut wrong) = (0, Vec::new());
    for run in 1..=runs {
        let limit = plant();
        let verdict = limit["verdict"].as_str().expect("a verdict");
        println!("{expected} run {run}: {verdict}: {}", limit["evidence"]);
        right += u64::from(verdict == expected);
        if verdict != expected && verdict != "undetermined" {
            wrong.push(limit);
        }
    }
    println!(
        "planted {expected}: named right in {right} of {runs} runs, wrong in {}",
        wrong.len()
    );
    assert!(wrong.is_empty(), "a wrong name: {wrong:?}");
    assert!(right * 20 >= runs * 19, "{right} of {runs}");
}

#[test]
#[ignore = "needs root"]
fn a_slow_application_is_the_target() {
    let with = format!("exec python3 {PLANTED} slow");
    assert_named("target", || {
        limit_of(
            "http://198.18.0.1:8080/ --workload connect -R 200 -c 16 -d 2s",
            &with,
        )
    });
    assert_named("target", || {
        limit_of(
            "http://198.18.0.1:8080/ --workload connect -c 4 -d 2s",
            &with,
        )
    });
}

#[test]
#[ignore = "needs root"]
fn a_full_backlog_is_the_target_and_is_named() {
    let with = format!("exec python3 {PLANTED} backlog");
    assert_named("target", || {
        let limit = limit_of(
            "http://198.18.0.1:8080/ --workload connect -R 50 -c 64 -d 4s",
            &with,
        );
        let change = limit["change"].as_str().expect("what to change");
        let is_target = limit["verdict"] == "target";
        assert!(!is_target || change.contains("backlog"), "{limit}");
        limit
    });
}

#[test]
#[ignore = "needs root"]
fn a_capped_link_is_the_link() {
    let folder = Folder::new("capped");
    let nginx = folder.nginx();
    // 100 responses of 100 kB a second need 80 Mbit/s.
    let with = format!(
        "tc qdisc add dev syncline0 root tbf rate 20mbit burst 16k latency 50ms && {nginx}"
    );
    for workload in ["connect", "request"] {
        assert_named("link", || {
            let flags =
                format!("http://198.18.0.1:8080/big --workload {workload} -R 100 -c 32 -d 3s");
            limit_of(&flags, &with)
        });
    }
}

/// One address of ours, one of the target: 64,512 connections in 2 MSL, and the link could carry more.
#[test]
#[ignore = "needs root"]
fn used_up_ports_are_named() {
    assert_named("ports", || {
        let output = syncline()
            .args("--workload connect -c 256 -n 100k -d 20s --json".split(' '))
            .output()
            .expect("it starts");
        let (run, status, _) = result(&output);
        assert_eq!(status, 1, "a run with failures fails");
        run["limit"].clone()
    });
}

#[test]
#[ignore = "needs root"]
fn a_starved_generator_is_the_generator() {
    let folder = Folder::new("starved");
    let nginx = format!("taskset -c 1 sh -c '{}'", folder.nginx());
    assert_named("generator", || {
        let _hogs = [Hog::on("0"), Hog::on("0")];
        limit_of(
            "http://198.18.0.1:8080/ --workload request -R 5k -c 32 -d 2s --cpus 0",
            &nginx,
        )
    });
}
