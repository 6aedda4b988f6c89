//! Connections that are kept: how they are opened, asked in turn, replaced and closed.

use super::*;

const SECOND: u64 = 1_000_000_000;

fn held(connections: u32, opening: Opening, asks_rps: f64) -> LoadPlan {
    let seconds = if asks_rps > 0.0 { 6 } else { 0 };
    LoadPlan {
        keeps_all: true,
        opening: Some(opening),
        ..plan(
            Work::Hold,
            open_loop(asks_rps, seconds, WhenBusy::Queue),
            connections,
        )
    }
}

fn at(rate_rps: f64) -> Opening {
    Opening {
        rate_rps: Some(rate_rps),
        under_way_max: 1000,
        closing_max: 1000,
    }
}

#[test]
fn a_ramp_has_its_rate_and_every_connection_is_asked_once_in_an_interval() {
    // 200 connections, each asked every 2 s.
    let mut stage = Stage::new(&held(200, at(100.0), 100.0), &Server::default(), 0);
    stage.act(|client, _| client.fill());
    stage.world.run_for(Duration::from_secs(1));
    let open = stage.client().counts().open();
    assert!((98..=102).contains(&open), "{open} after a second");
    stage.world.run_for(Duration::from_millis(1100));
    assert!(stage.client().is_full());
    stage.start();
    for _ in 0..60 {
        stage.world.run_for(Duration::from_millis(100));
        assert_eq!(stage.client().counts().open(), 200);
    }
    let counts = stage.finish(Duration::from_secs(1));
    assert_eq!((counts.completed, counts.established), (600, 200));
    assert_eq!((counts.ends.graceful, counts.broken_total()), (200, 0));
    let longest = counts.longest_unasked_ns;
    assert!(
        (2 * SECOND - 10_000_000..=2 * SECOND + 10_000_000).contains(&longest),
        "{longest}"
    );
}

#[test]
fn only_so_many_handshakes_and_closings_are_under_way() {
    let opening = Opening {
        rate_rps: None,
        under_way_max: 5,
        closing_max: 5,
    };
    let mut stage = Stage::new(&held(300, opening, 0.0), &Server::default(), 0);
    stage.act(|client, _| client.fill());
    while !stage.client().is_full() {
        stage.world.run_for(Duration::from_micros(50));
        assert!(stage.client().counts().opening() <= 5);
    }
    stage.start();
    stage.world.run_for(Duration::from_secs(1));
    stage.act(LoadClient::finish);
    let mut most = 0;
    while !stage.client().is_idle() {
        let before = stage.client().connections();
        stage.world.run_for(Duration::from_micros(50));
        most = most.max(before - stage.client().connections());
    }
    assert!(most <= 10, "{most} closed within a quarter of a round trip");
    assert_eq!(stage.finish(Duration::ZERO).ends.graceful, 300);
}

#[test]
fn a_connection_that_ends_is_counted_by_its_reason_and_replaced() {
    let server = Server {
        closes: true,
        ..Server::default()
    };
    let mut stage = Stage::new(&held(10, at(1000.0), 5.0), &server, 0);
    stage.act(|client, _| client.fill());
    stage.world.run_for(Duration::from_secs(1));
    stage.start();
    stage.world.run_for(Duration::from_millis(6010));
    assert_eq!(stage.client().counts().open(), 10);
    let counts = stage.finish(Duration::from_secs(1));
    assert_eq!((counts.completed, counts.established), (30, 40));
    let broken: Vec<_> = counts.broken_by().collect();
    assert_eq!(broken, [(Fault::EndedEarly, 30)]);
}

#[test]
fn a_peer_that_refuses_is_asked_again_at_leisure() {
    let opening = Opening {
        rate_rps: None,
        under_way_max: 1000,
        closing_max: 1000,
    };
    let mut plan = held(10, opening, 0.0);
    plan.targets = vec![SocketAddr::new(HostSpec::v4(2), PORT + 1)];
    let mut stage = Stage::new(&plan, &Server::default(), 0);
    stage.act(|client, _| client.fill());
    stage.world.run_for(Duration::from_secs(1));
    let refused = stage.client().counts().not_established;
    assert!((10..=1010).contains(&refused), "{refused} in a second");
    stage.finish(Duration::from_secs(1));
}

#[test]
fn tuples_are_taken_from_the_pool_and_one_in_use_is_passed_over() {
    use crate::pools::{PortRange, Shard, SourcePool, TupleOrder};
    let ports = PortRange {
        first: 2000,
        last: 2019,
    };
    let pool = SourcePool::new(&[(HostSpec::v4(1), 32)], &[ports]).expect("a pool");
    let mut plan = plan(Work::Connect(CloseMode::Peer), Pace::Closed, 2);
    plan.tuples = LocalTuples::new(pool, TupleOrder::Sequential, Shard::WHOLE);
    plan.count = Some(50);
    let server = Server {
        closes: true,
        ..Server::default()
    };
    let mut stage = Stage::new(&plan, &server, 0);
    stage.start();
    stage.world.run_for(Duration::from_secs(5));
    let counts = stage.finish(Duration::from_secs(1));
    assert_eq!(counts.completed, 50, "{counts:?}");
    // The server keeps 20 tuples in TIME-WAIT; RFC 6191 lets a later timestamp reopen them.
    assert_eq!(counts.reused.begun, 30);
    assert_eq!(counts.reused.at_once + counts.reused.retried, 30);

    // Where TIME-WAIT is ours, no tuple is free after twenty.
    plan.work = Work::Connect(CloseMode::Fin);
    plan.count = Some(21);
    let mut stage = Stage::new(&plan, &Server::default(), 0);
    stage.start();
    stage.world.run_for(Duration::from_secs(5));
    let counts = stage.finish(Duration::from_secs(1));
    assert_eq!(counts.completed, 20);
    assert_eq!(counts.failed[Fault::NoPort as usize], 1);
    assert!(counts.tuples_in_use >= 20);
}

/// 40 connections, of which four may be open at a time, and 16 requests under way.
fn parked(server: &Server, park_after: Duration, timeout: Duration) -> Stage {
    let mut own = HostSpec::new(1);
    own.config.limits.records.open.v4 = 4;
    own.config.limits.records.parked.v4 = 100;
    own.config.park_after = park_after;
    let asks = LoadPlan {
        keeps_all: true,
        at_random: true,
        operations: 16,
        timeout,
        ..plan(Work::Request, Pace::Closed, 40)
    };
    let mut stage = Stage::on(own, &asks, server);
    stage.act(|client, _| client.fill());
    stage.world.run_for(Duration::from_secs(10));
    assert!(stage.client().is_full());
    stage.start();
    stage
}

/// Each request waits until another connection has parked.
#[test]
fn a_request_on_a_parked_connection_waits_for_a_record() {
    let mut stage = parked(
        &Server::default(),
        Duration::from_millis(10),
        Duration::from_secs(10),
    );
    stage.world.run_for(Duration::from_secs(2));
    let counts = stage.finish(Duration::from_secs(1));
    // Four records, each free again some 45 ms after its request: the delayed ACK of the reply goes first.
    assert!((100..=300).contains(&counts.completed), "{counts:?}");
    assert!(counts.waited > 0);
    assert_eq!((counts.failed_total(), counts.ends.reset_by_us), (0, 0));
}

/// The server answers nothing, and connections park later than requests are given up: four have no reply, and the others never had a
/// record.
#[test]
fn a_request_that_never_finds_a_record_is_no_request_without_a_reply() {
    let silent = Server {
        stalls: Instant::ZERO..Instant::from_ns(100 * SECOND),
        ..Server::default()
    };
    let mut stage = parked(
        &silent,
        Duration::from_millis(300),
        Duration::from_millis(100),
    );
    stage.world.run_for(Duration::from_millis(110));
    let failed = stage.client().counts().failed;
    assert_eq!(failed[Fault::NoReply as usize], 4);
    assert_eq!(failed[Fault::SendRefused as usize], 12);
    stage.finish(Duration::from_secs(1));
}
