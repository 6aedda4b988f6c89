//! The end of a run: ports close, the app hears of each connection once, what it leaves is reset.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::time::Duration;

use stack::app::Connect;
use stack::config::ConfigSpec;
use stack::conn::Records;
use stack::counters::Counter;
use stack::local::listener::{ListenerConfig, SynPolicy};
use stack::nic::memory::MemoryNic;
use stack::sim::host::HostSpec;
use stack::sim::pair::{carry, host};
use stack::sim::puppet::{AppEvent, Puppet};
use stack::tcp::verdict::CloseReason;
use stack::time::Instant;
use stack::worker::Worker;

const PORT: u16 = 1;

/// Few numbers for connections: a walk over unused ones is made in steps too.
fn few(spec: &mut ConfigSpec) {
    let records = &mut spec.limits.records;
    (records.open, records.parked) = (Records { v4: 512, v6: 0 }, Records { v4: 512, v6: 0 });
}

struct World {
    server: Worker<MemoryNic, Puppet>,
    client: Worker<MemoryNic, Puppet>,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self {
            server: host(1, Puppet::default(), |spec| {
                few(spec);
                spec.listeners = vec![ListenerConfig {
                    backlog: 512,
                    ..ListenerConfig::new(PORT, SynPolicy::Embryo)
                }];
            }),
            client: host(2, Puppet::default(), few),
            now: Instant::from_ms(1_000_000),
        }
    }

    fn open(&mut self) {
        let remote = SocketAddr::new(HostSpec::v4(1), PORT);
        let connect = Connect::default();
        self.client
            .with_cx(self.now, |_, cx| cx.connect(remote, &connect, false))
            .expect("connects");
    }

    fn connect(&mut self, count: usize) {
        (0..count).for_each(|_| self.open());
        self.settle();
    }

    /// How the client's connections ended.
    fn client_ends(&self) -> Vec<CloseReason> {
        self.client.app().ends().map(|(_, reason)| reason).collect()
    }

    /// Turns until nothing is on the wire; then time passes, but less than any timer needs that resets something.
    fn settle(&mut self) {
        for _ in 0..2_000 {
            self.client.turn(self.now);
            carry(&mut self.client, &mut self.server);
            self.server.turn(self.now);
            if carry(&mut self.server, &mut self.client) == 0 {
                self.now = self.now + Duration::from_micros(10);
            }
        }
    }
}

#[test]
fn each_connection_is_asked_once_and_what_is_left_is_reset() {
    let mut world = World::new();
    // The first one finds the neighbour.
    world.connect(1);
    world.connect(299);
    world.server.app_mut().accepts = false;
    world.connect(3);
    assert_eq!(world.client_ends(), []);

    // The app closes what it is asked about in every second step, and nothing else.
    let (mut steps, mut closed) = (0, 0);
    loop {
        let server = world.server.app_mut();
        server.closes = !server.closes;
        let (closes, asked_before) = (server.closes, server.count(AppEvent::Drain));
        if !world.server.finish(world.now) {
            break;
        }
        if closes {
            closed += world.server.app().count(AppEvent::Drain) - asked_before;
        }
        steps += 1;
        world.settle();
    }
    world.settle();
    assert!(
        (4..=7).contains(&steps),
        "a bounded part in each step: {steps}"
    );
    let server = world.server.app();
    let asked = server
        .heard
        .iter()
        .filter(|heard| heard.2 == AppEvent::Drain);
    let mut asked: Vec<_> = asked.map(|(_, conn, _)| *conn).collect();
    asked.sort_by_key(|conn| conn.map(|conn| conn.handle()));
    asked.dedup();
    assert_eq!((asked.len(), server.count(AppEvent::Drain)), (300, 300));
    assert!((1..300).contains(&closed), "{closed}");
    assert_eq!(
        server.count(AppEvent::Closed(CloseReason::Graceful)),
        closed
    );
    assert_eq!(server.ends().count(), closed);
    // Those that the app had not accepted are reset.
    let resets = |world: &World| {
        world
            .client
            .app()
            .count(AppEvent::Closed(CloseReason::Reset))
    };
    assert_eq!(resets(&world), 3);

    // New ones are refused.
    world.connect(1);
    assert_eq!(world.client_ends().last(), Some(&CloseReason::Refused));

    while world.server.abort(world.now) {
        world.settle();
    }
    world.settle();
    assert_eq!(resets(&world), 3 + 300 - closed);
    let aborted = world
        .server
        .app()
        .count(AppEvent::Closed(CloseReason::Aborted));
    assert_eq!(aborted, 300 - closed);
    assert_eq!(world.server.app().ends().count(), 300);
    assert_eq!(world.server.queued_items(), 0);
    assert_eq!(world.server.counters().unaccounted(), 0);
}

#[test]
fn a_handshake_that_completes_too_late_is_reset() {
    let mut world = World::new();
    world.open();
    // The server has answered the SYN and ends before the ACK comes.
    for _ in 0..4 {
        world.client.turn(world.now);
        carry(&mut world.client, &mut world.server);
        world.server.turn(world.now);
        if world.server.counters().get(Counter::SynEmbryo) > 0 {
            break;
        }
        carry(&mut world.server, &mut world.client);
    }
    world.server.finish(world.now);
    world.settle();
    assert_eq!(world.client_ends(), [CloseReason::Reset]);
    assert_eq!(world.server.app().heard, []);
}
