//! Bulk transfer in each direction, against an echo and a server that only takes.

use super::*;

fn streams(direction: Direction, connections: u32) -> LoadPlan {
    LoadPlan {
        requests: Vec::new(),
        keeps_all: true,
        opening: Some(Opening {
            rate_rps: None,
            under_way_max: 10,
            closing_max: 10,
        }),
        expects_pattern: direction == Direction::Both,
        ..plan(
            Work::Stream(direction),
            open_loop(0.0, 0, WhenBusy::Queue),
            connections,
        )
    }
}

/// Its connections are opened from now on.
fn filling(plan: &LoadPlan, bulk: Bulk) -> Stage {
    let server = Server {
        bulk,
        ..Server::default()
    };
    let mut stage = Stage::new(plan, &server, 0);
    stage.act(|client, _| client.fill());
    stage
}

fn run(stage: &mut Stage) -> LoadCounts {
    stage.world.run_for(Duration::from_millis(50));
    stage.start();
    stage.world.run_for(Duration::from_millis(100));
    stage.finish(Duration::from_secs(20))
}

#[test]
fn what_goes_up_is_what_the_server_took() {
    let mut stage = filling(&streams(Direction::Up, 3), Bulk::Discard);
    let counts = run(&mut stage);
    assert!(counts.bytes_acked() > 100_000, "{counts:?}");
    assert_eq!(counts.bytes_in, 0);
    assert_eq!((counts.ends.graceful, counts.broken_total()), (3, 0));
    assert_eq!(counts.bytes_acked(), stage.requests_served());
}

#[test]
fn what_is_only_queued_is_never_counted_as_acknowledged() {
    let mut stage = filling(&streams(Direction::Up, 3), Bulk::Discard);
    let mut before = 0;
    for _ in 0..500 {
        stage.world.run_for(Duration::from_micros(100));
        let acked = stage.client().counts().bytes_acked();
        assert!((before..=stage.requests_served()).contains(&acked));
        before = acked;
    }
    assert!(before > 0);
}

#[test]
fn an_echo_brings_everything_back_and_it_is_the_pattern() {
    let counts = run(&mut filling(&streams(Direction::Both, 2), Bulk::Echo));
    assert!(counts.bytes_in > 100_000, "{counts:?}");
    assert_eq!(counts.bytes_acked(), counts.bytes_in);
    assert_eq!((counts.ends.graceful, counts.broken_total()), (2, 0));
}

#[test]
fn what_is_not_the_pattern_breaks_the_connection_where_the_pattern_is_expected() {
    let counts = run(&mut filling(&streams(Direction::Both, 1), Bulk::Wrong));
    assert!(
        counts.broken[Fault::WrongContent as usize] > 0,
        "{counts:?}"
    );
}
