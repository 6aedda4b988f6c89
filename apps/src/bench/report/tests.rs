//! Faults that make a result bad, one at a time, and the keys that scripts rely on.
//!
//! It must never start DPDK.

use super::*;
use crate::bench::args::tests::args;
use crate::bench::endpoint::Progress;
use crate::traffic::{ReplyFault, Tally};

/// A run of one second with a million right replies.
fn course() -> StatelessRun {
    let tally = Tally {
        sent: 1_000_000,
        verified: 1_000_000,
        ..Tally::default()
    };
    StatelessRun {
        measured: tally,
        seconds: 1.0,
        spent: Some(Spent {
            frames: 100,
            bursts: 2,
            own: 5_000,
            rx: 2_000,
            tx: 3_000,
            ..Spent::default()
        }),
        whole: tally,
        interrupted: false,
    }
}

/// Two sides without a fault, and what the endpoint said of connections in its table.
pub(in crate::bench) fn sides(bytes_per_connection: Option<f64>) -> Sides {
    Sides {
        link: "a link".to_owned(),
        ready: Some(Ready {
            mac: [0; 6],
            memory_line: "memory".to_owned(),
            connections: bytes_per_connection.map_or(0, |_| 10),
            bytes_per_connection,
            resident_before_bytes: None,
            room: "room".to_owned(),
        }),
        stopped: Some(EndpointTotals::default()),
        generator_mbufs_in_use: 0,
        generator_memory: "memory".to_owned(),
        dpdk: "DPDK".to_owned(),
        cpus: vec![0, 1],
        dumps: Vec::new(),
    }
}

fn report(change: impl FnOnce(&mut StatelessRun, &mut Sides)) -> Report {
    let (mut course, mut sides) = (course(), sides(Some(77.123)));
    change(&mut course, &mut sides);
    Report::new(&args("rst"), &course, sides)
}

#[test]
fn a_run_without_a_fault_is_good() {
    assert_eq!(report(|_, _| {}).gate(), Ok(()));
}

#[test]
fn each_fault_fails_the_run_by_name() {
    let gate = |report: Report| match report.gate() {
        Err(Failure::Gate(text)) => text,
        other => panic!("{other:?}"),
    };
    let wrong = report(|course, _| course.whole.wrong[ReplyFault::Flags as usize] = 1);
    assert_eq!(gate(wrong), "1 wrong reply (1 × flags)");
    let lost = report(|course, _| course.whole.sent += 256);
    assert!(gate(lost).starts_with("256 of "), "lost replies");
    let stopped = |unaccounted, mbufs_in_use| EndpointTotals {
        progress: Progress {
            unaccounted,
            ..Progress::default()
        },
        mbufs_in_use,
    };
    let lost_track = report(|_, sides| sides.stopped = Some(stopped(-3, 0)));
    assert!(gate(lost_track).contains("lost track of -3 frames"));
    let leak = report(|_, sides| sides.stopped = Some(stopped(0, 2)));
    assert!(gate(leak).contains("2 buffers of the endpoint"));
    let leak = report(|_, sides| sides.generator_mbufs_in_use = 4);
    assert!(gate(leak).contains("4 buffers of the generator"));
    let silence = report(|course, _| course.whole.verified = 0);
    assert!(gate(silence).contains("no reply came"));
}

#[test]
fn the_keys_that_scripts_rely_on_are_there() {
    let json = serde_json::to_value(report(|_, _| {})).expect("JSON");
    for (key, value) in [
        ("mode", "rst".into()),
        ("link", "a link".into()),
        ("rate_pps", 1_000_000.0.into()),
        ("replies_wrong", 0.into()),
        ("cycles_per_packet", 50.0.into()),
        ("cycles_per_packet_with_pmd", 100.0.into()),
        ("mean_burst", 50.0.into()),
        ("connections", 10.into()),
        ("bytes_per_connection", 77.12.into()),
        ("offered_pps", serde_json::Value::Null),
        ("lost", 0.into()),
    ] {
        assert_eq!(json[key], value, "{key}");
    }
    let external = report(|course, sides| {
        course.spent = None;
        (sides.ready, sides.stopped) = (None, None);
    });
    let json = serde_json::to_value(external).expect("JSON");
    assert!(json["cycles_per_packet"].is_null() && json["bytes_per_connection"].is_null());
}
