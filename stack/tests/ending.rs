//! The end of a run: ports close, the app hears of each connection once, what it leaves is reset.
#![forbid(unsafe_code)]

#[path = "pair/host.rs"]
mod host;

use std::net::SocketAddr;
use std::time::Duration;

use stack::app::{App, Connect, Cx};
use stack::config::ConfigSpec;
use stack::conn::{ConnId, Records};
use stack::local::listener::{ListenerId, SynPolicy};
use stack::nic::Nic;
use stack::nic::memory::MemoryNic;
use stack::tcp::verdict::CloseReason;
use stack::time::Instant;
use stack::worker::Worker;

use host::{carry, host, open_port};

const ACCEPTED: u16 = 1;
const WAITING: u16 = 2;

/// Accepts on its first listener only. At the end it closes every second connection.
#[derive(Default)]
struct Server {
    drained: Vec<ConnId>,
    closed: Vec<CloseReason>,
}

impl App for Server {
    type Conn = ();

    fn on_accept_ready<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, listener: ListenerId) {
        if listener == ListenerId(0) {
            while cx.accept(listener).is_some() {}
        }
    }

    fn on_data<N: Nic>(&mut self, _cx: &mut Cx<'_, N, Self::Conn>, _conn: ConnId, _state: &mut ()) {
    }

    fn on_drain<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, _state: &mut ()) {
        if self.drained.len().is_multiple_of(2) {
            cx.close(conn);
        }
        self.drained.push(conn);
    }

    fn on_close<N: Nic>(
        &mut self,
        _cx: &mut Cx<'_, N, Self::Conn>,
        _conn: ConnId,
        _state: &mut (),
        reason: CloseReason,
    ) {
        self.closed.push(reason);
    }
}

/// Closes when its peer does.
#[derive(Default)]
struct Client {
    closed: Vec<CloseReason>,
}

impl App for Client {
    type Conn = ();

    fn on_data<N: Nic>(&mut self, _cx: &mut Cx<'_, N, Self::Conn>, _conn: ConnId, _state: &mut ()) {
    }

    fn on_close<N: Nic>(
        &mut self,
        _cx: &mut Cx<'_, N, Self::Conn>,
        _conn: ConnId,
        _state: &mut (),
        reason: CloseReason,
    ) {
        self.closed.push(reason);
    }
}

/// Few numbers for connections: a walk over unused ones is made in steps too.
fn few(spec: &mut ConfigSpec) {
    let records = &mut spec.limits.records;
    (records.open, records.parked) = (Records { v4: 512, v6: 0 }, Records { v4: 512, v6: 0 });
}

struct World {
    server: Worker<MemoryNic, Server>,
    client: Worker<MemoryNic, Client>,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self {
            server: host("198.18.0.1", 1, Server::default(), |spec| {
                few(spec);
                let open = |port| open_port(port, SynPolicy::Embryo, 512);
                spec.listeners = vec![open(ACCEPTED), open(WAITING)];
            }),
            client: host("198.18.0.2", 2, Client::default(), few),
            now: Instant::from_ms(1_000_000),
        }
    }

    fn connect(&mut self, port: u16, count: usize) {
        let remote = SocketAddr::from(([198, 18, 0, 1], port));
        for _ in 0..count {
            let connect = Connect::default();
            self.client
                .with_cx(self.now, |_, cx| cx.connect(remote, &connect, ()))
                .expect("connects");
        }
        self.settle();
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
    world.connect(ACCEPTED, 1);
    world.connect(ACCEPTED, 299);
    world.connect(WAITING, 3);
    assert!(world.client.app().closed.is_empty());

    let mut steps = 0;
    while world.server.finish(world.now) {
        steps += 1;
        world.settle();
    }
    world.settle();
    assert!(
        (4..=7).contains(&steps),
        "a bounded part in each step: {steps}"
    );
    let mut asked = world.server.app().drained.clone();
    asked.sort_by_key(|conn| conn.handle());
    asked.dedup();
    assert_eq!((asked.len(), world.server.app().drained.len()), (300, 300));
    assert_eq!(world.server.app().closed, [CloseReason::Graceful; 150]);
    // Those that nobody had accepted are reset.
    let resets = |world: &World| {
        let closed = world.client.app().closed.iter();
        closed
            .filter(|&&reason| reason == CloseReason::Reset)
            .count()
    };
    assert_eq!(resets(&world), 3);

    // New ones are refused.
    world.connect(ACCEPTED, 1);
    assert_eq!(
        world.client.app().closed.last(),
        Some(&CloseReason::Refused)
    );

    while world.server.abort(world.now) {
        world.settle();
    }
    world.settle();
    assert_eq!(resets(&world), 3 + 150);
    let server = world.server.app();
    assert_eq!(server.closed[150..], [CloseReason::Aborted; 150]);
    assert_eq!(world.server.queued_items(), 0);
    assert_eq!(world.server.counters().unaccounted(), 0);
}

#[test]
fn a_handshake_that_completes_too_late_is_reset() {
    let mut world = World::new();
    let remote = SocketAddr::from(([198, 18, 0, 1], ACCEPTED));
    let connect = Connect::default();
    world
        .client
        .with_cx(world.now, |_, cx| cx.connect(remote, &connect, ()))
        .expect("connects");
    // The server has answered the SYN and ends before the ACK comes.
    for _ in 0..4 {
        world.client.turn(world.now);
        carry(&mut world.client, &mut world.server);
        world.server.turn(world.now);
        if world
            .server
            .counters()
            .get(stack::counters::Counter::SynEmbryo)
            > 0
        {
            break;
        }
        carry(&mut world.server, &mut world.client);
    }
    world.server.finish(world.now);
    world.settle();
    assert_eq!(world.client.app().closed, [CloseReason::Reset]);
    assert!(world.server.app().drained.is_empty() && world.server.app().closed.is_empty());
}
