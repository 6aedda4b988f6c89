//! Faults that make a result bad, one at a time, and the keys that scripts rely on.
//!
//! It must never start DPDK.

use workload::load::Measure;
use workload::{Fault, Tally};

use super::*;
use crate::bench::args::tests::args;
use crate::bench::conversation::progress::ClientProgress;
use crate::bench::endpoint::{EndpointTotals, Progress, Spent};
use crate::bench::report::tests::sides;

/// A run of two seconds with a million connections and six packets for each.
fn course() -> ConversationRun {
    let mut tally = Tally::default();
    tally.started = 1_000_000;
    tally.opened = 1_000_000;
    tally.completed = 1_000_000;
    tally.requests = 1_000_000;
    tally.replies = 1_000_000;
    let spent = Spent {
        frames: 3_000_000,
        bursts: 100_000,
        own: 600_000_000,
        ..Spent::default()
    };
    ConversationRun {
        set_up: None,
        measured: Window {
            seconds: 2.0,
            tally,
            client: spent,
            client_tx_frames: 3_000_000,
            server: spent,
            server_tx_frames: 3_000_000,
        },
        whole: ClientProgress {
            tally,
            ..ClientProgress::default()
        },
        latency: Measure::default(),
        client: Progress::default(),
        fault: None,
        interrupted: false,
    }
}

fn report(line: &str, change: impl FnOnce(&mut ConversationRun, &mut Sides)) -> Report {
    let (mut course, mut sides) = (course(), sides(None));
    change(&mut course, &mut sides);
    Report::new(&args(line), course, sides)
}

#[test]
fn a_run_without_a_fault_is_good_and_says_what_it_was() {
    let report = report("connect", |_, _| {});
    assert_eq!(report.gate(), Ok(()));
    assert_eq!(report.rate_cps, Some(500_000.0));
    assert_eq!(report.packets_per_exchange, Some(6.0));
    assert_eq!(report.endpoint.cycles_per_exchange, Some(600.0));
    let text = report.to_string();
    for part in [
        "0.500 M connections/s",
        "server closes first",
        "2 MSL 1 s",
        "6 per connection (piggyback)",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
}

#[test]
fn each_fault_fails_the_run_by_name() {
    let gate = |change: fn(&mut ConversationRun, &mut Sides)| match report("connect", change).gate()
    {
        Err(Failure::Gate(text)) => text,
        other => panic!("{other:?}"),
    };
    assert!(gate(|course, _| course.whole.tally.fault(Fault::Reset)).contains("1 × reset"));
    assert!(gate(|course, _| course.whole.under_way = 3).contains("3 connections did not end"));
    assert!(gate(|course, _| course.client.unaccounted = -1).contains("1 frame unaccounted for"));
    assert!(gate(|_, sides| sides.generator_mbufs_in_use = 2).contains("2 buffers of the client"));
    assert!(gate(|course, _| course.whole.tally.replies = 0).contains("no reply"));
    let of_server = gate(|_, sides| {
        let mut stopped = EndpointTotals {
            mbufs_in_use: 1,
            ..Default::default()
        };
        stopped.progress.app.faults.insert("aborted".to_owned(), 7);
        sides.stopped = Some(stopped);
    });
    assert!(of_server.contains("7 × aborted") && of_server.contains("1 buffer of the endpoint"));
}

#[test]
fn what_a_bad_link_ends_is_lost_and_nothing_else_is() {
    let line = "connect --fault loss=1%,seed=7";
    let lossy = |course: &mut ConversationRun, sides: &mut Sides| {
        let flag = crate::fault::fault("loss=1%,seed=7").expect("a right one");
        let spec = flag.spec().expect("with a seed");
        course.fault = Some(FaultReport::new(&spec, core::iter::empty()));
        course.whole.tally.fault(Fault::TimedOut);
        course.whole.tally.fault(Fault::Reset);
        course.whole.under_way = 3;
        let stopped = sides.stopped.as_mut().expect("it has");
        stopped.progress.app.faults.insert("reset".to_owned(), 7);
    };
    let good = report(line, lossy);
    assert_eq!(
        (good.gate(), good.counts.lost, good.counts.failures),
        (Ok(()), 5, 0)
    );
    let text = good.to_string();
    assert!(
        text.contains("5 lost") && text.contains("--fault loss=1%,seed=7: in 0 frames"),
        "{text}"
    );
    let wrong = report(line, |course, sides| {
        lossy(course, sides);
        course.whole.tally.fault(Fault::WrongContent);
    });
    assert_eq!(
        wrong.gate(),
        Err(Failure::Gate("1 failure (1 × wrong_content)".to_owned()))
    );
}

#[test]
fn the_keys_that_scripts_rely_on_are_there() {
    for (line, rate, none) in [
        ("connect --shape plain", "rate_cps", "rate_rps"),
        ("request", "rate_rps", "rate_cps"),
    ] {
        let json = serde_json::to_value(report(line, |_, _| {})).expect("JSON");
        assert!(json[rate].is_number() && json[none].is_null());
        for key in [
            "mode",
            "link",
            "rate_pps",
            "sent_pps",
            "seconds",
            "sent",
            "replies_verified",
            "replies_wrong",
            "wrong_by_reason",
            "lost",
            "cycles_per_packet",
            "cycles_per_packet_with_pmd",
            "stages",
            "mean_burst",
            "connections",
            "bytes_per_connection",
            "limit",
            "counters",
            "unaccounted",
            "endpoint_mbufs_in_use",
            "generator_mbufs_in_use",
            "interrupted",
            "cpus",
            "room",
            "memory",
            "versions",
            "command",
            "failures",
            "failures_by_reason",
            "packets_per_exchange",
            "latency",
            "endpoint",
            "client",
            "fault_injection",
        ] {
            assert!(json.get(key).is_some(), "{key} is missing for {line}");
        }
    }
}
