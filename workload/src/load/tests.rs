//! The load generator in the simulated world: against servers whose behaviour is known, so that every figure is arithmetic.

use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;

use stack::app::CloseReason;
use stack::app::ConnId;
use stack::app::{App, Cx};
use stack::config::{ListenerConfig, SynPolicy};
use stack::nic::Nic;
use stack::sim::host::{HostId, HostSpec};
use stack::sim::world::World;
use stack::time::Instant;

use super::*;
use crate::tally::Fault;

// Replies that are read in one step.
mod expected;
// Connections that are kept.
mod keeping;
// Bulk transfer.
mod streaming;

const PORT: u16 = 80;
const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// A server that answers each request, but not within `stalls`.
#[derive(Debug, Clone)]
struct Server {
    reply: &'static [u8],
    stalls: Range<Instant>,
    /// Bytes of a segment at most: 0 for all at once.
    piece: usize,
    closes: bool,
    /// Its behaviour in place of answering requests.
    bulk: Bulk,
    /// Requests, or bytes of bulk.
    requests: u64,
}

/// The behaviour of a server in bulk transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bulk {
    /// It answers requests.
    None,
    /// It takes it.
    Discard,
    /// It returns it.
    Echo,
    /// It returns something else.
    Wrong,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            reply: REPLY,
            stalls: Instant::ZERO..Instant::ZERO,
            piece: 0,
            closes: false,
            bulk: Bulk::None,
            requests: 0,
        }
    }
}

impl Server {
    /// Takes bulk, and returns it if it is to.
    fn take<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, conn: ConnId) {
        let mut bytes = [0; 4096];
        loop {
            let len = cx.peek_into(conn, &mut bytes);
            if len == 0 {
                return;
            }
            if self.bulk == Bulk::Wrong {
                bytes[..len].fill(b'?');
            }
            let taken = match self.bulk {
                Bulk::Discard => len,
                // A refused send is tried again in `on_writable`.
                _ => cx.send_bytes(conn, &bytes[..len]).unwrap_or(0),
            };
            cx.consume(conn, taken as u32);
            self.requests += taken as u64;
            if taken < len {
                return;
            }
        }
    }

    fn answer<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, conn: ConnId) {
        if self.bulk != Bulk::None {
            return self.take(cx, conn);
        }
        if self.stalls.contains(&cx.now()) {
            return cx.set_timer(conn, self.stalls.end);
        }
        loop {
            let mut bytes = [0; 4096];
            let len = cx.peek_into(conn, &mut bytes);
            let end = bytes[..len].windows(4).position(|four| four == b"\r\n\r\n");
            let Some(end) = end else { return };
            cx.consume(conn, end as u32 + 4);
            self.requests += 1;
            let piece = if self.piece == 0 {
                self.reply.len()
            } else {
                self.piece
            };
            for part in self.reply.chunks(piece) {
                assert_eq!(cx.send_bytes(conn, part), Ok(part.len()));
            }
            if self.closes {
                cx.close(conn);
            }
        }
    }
}

/// Either end.
#[derive(Debug)]
enum End {
    Load(Box<LoadClient>),
    Server(Server),
}

impl App for End {
    type Conn = LoadConn;

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, id: ConnId, state: &mut LoadConn) {
        if let Self::Load(client) = self {
            client.on_open(cx, id, state);
        }
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, id: ConnId, state: &mut LoadConn) {
        match self {
            Self::Load(client) => client.on_data(cx, id, state),
            Self::Server(server) => server.answer(cx, id),
        }
    }

    fn on_peer_closed<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        id: ConnId,
        state: &mut LoadConn,
    ) {
        match self {
            Self::Load(client) => client.on_peer_closed(cx, id, state),
            Self::Server(server) => {
                if server.bulk != Bulk::None {
                    server.take(cx, id);
                }
                if cx.unread_len(id) == 0 {
                    cx.close(id);
                }
            }
        }
    }

    fn on_writable<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        id: ConnId,
        state: &mut LoadConn,
    ) {
        match self {
            Self::Load(client) => client.on_writable(cx, id, state),
            Self::Server(server) => {
                server.take(cx, id);
                if cx.peer_closed(id) && cx.unread_len(id) == 0 {
                    cx.close(id);
                }
            }
        }
    }

    fn on_timer<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, id: ConnId, state: &mut LoadConn) {
        match self {
            Self::Load(client) => client.on_timer(cx, id, state),
            Self::Server(server) => server.answer(cx, id),
        }
    }

    fn on_close<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        id: ConnId,
        state: &mut LoadConn,
        reason: CloseReason,
    ) {
        if let Self::Load(client) = self {
            client.on_close(cx, id, state, reason);
        }
    }

    fn on_tick<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>) {
        if let Self::Load(client) = self {
            client.on_tick(cx);
        }
    }
}

fn plan(work: Work, pace: Pace, connections: u32) -> LoadPlan {
    let request = RequestPlan {
        target: 0,
        weight: 1,
        bytes: Template::new(b"GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n").expect("a template"),
        reply: ReplyPlan::Http { to_head: false },
        checksum: None,
    };
    LoadPlan {
        requests: vec![request],
        pace,
        operations: 1024,
        marks_per_fault: 3,
        ..LoadPlan::closed_loop(SocketAddr::new(HostSpec::v4(2), PORT), work, connections)
    }
}

fn open_loop(rps: f64, seconds: u64, when_busy: WhenBusy) -> Pace {
    let piece = RatePiece {
        for_ns: seconds * 1_000_000_000,
        from_rps: rps,
        to_rps: rps,
    };
    Pace::Open(
        Schedule::new(&[piece], Arrivals::Constant, (0, 1), 0),
        when_busy,
    )
}

/// A client and a server, 200 us there and back. Everything is at least 100 us exact.
struct Stage {
    world: World<End>,
    client: HostId,
    server: HostId,
}

impl Stage {
    fn new(plan: &LoadPlan, server: &Server, loss_ppm: u32) -> Self {
        let mut own = HostSpec::new(1);
        own.up.loss_ppm = loss_ppm;
        own.down.loss_ppm = loss_ppm;
        Self::on(own, plan, server)
    }

    /// With the client on this host.
    fn on(own: HostSpec, plan: &LoadPlan, server: &Server) -> Self {
        let mut world = World::new(5, Instant::from_ns(1_000_000_000));
        world.set_max_idle(Duration::from_micros(100));
        let client = world.add_host(own, |_| End::Load(Box::new(LoadClient::new(plan.clone()))));
        let mut other = HostSpec::new(2);
        other.config.listeners = vec![ListenerConfig::new(PORT, SynPolicy::Embryo)];
        let server = world.add_host(other, |_| End::Server(server.clone()));
        let client = client.expect("a host");
        let mut stage = Self {
            world,
            client,
            server: server.expect("a host"),
        };
        let reached = stage
            .world
            .run_while(Instant::from_ns(6_000_000_000), |world| {
                of(world, client).unreached().is_some()
            });
        assert!(reached, "the server answers ARP");
        stage
    }

    fn now(&self) -> Instant {
        self.world.clock(self.client)
    }

    /// The clock of the run starts now.
    fn start(&mut self) -> Instant {
        let now = self.now();
        self.act(|client, _| client.start(now));
        now
    }

    fn act(&mut self, act: impl FnOnce(&mut LoadClient, Instant)) {
        let now = self.now();
        self.world.act(self.client, 0, |end, _| match end {
            End::Load(client) => act(client, now),
            End::Server(_) => unreachable!("the client's host"),
        });
    }

    fn client(&self) -> &LoadClient {
        of(&self.world, self.client)
    }

    /// Begins nothing more, and lets what is under way end; what has not after `grace` is given up.
    fn finish(&mut self, grace: Duration) -> LoadCounts {
        self.act(LoadClient::finish);
        self.world.run_for(grace);
        if !self.client().is_idle() {
            self.world.act(self.client, 0, |end, cx| {
                if let End::Load(client) = end {
                    client.give_up(cx);
                }
            });
            self.world.run_for(Duration::from_secs(1));
        }
        assert!(self.client().is_idle());
        assert_eq!(self.world.violations(), &[] as &[String]);
        let counts = *self.client().counts();
        assert_eq!(counts.under_way(), 0);
        assert_eq!(counts.open(), 0);
        let connects = counts.established + counts.not_established + counts.not_begun;
        assert_eq!(counts.connects, connects);
        counts
    }

    fn us(&self, step: Step, percent: f64) -> u128 {
        let time = self.client().measures().get(step).percentile(percent);
        time.expect("enough samples").time.as_micros()
    }

    fn requests_served(&self) -> u64 {
        let mut workers = self.world.workers(self.server);
        match workers.next().expect("a worker").app() {
            End::Server(server) => server.requests,
            End::Load(_) => unreachable!("the server's host"),
        }
    }
}

fn of(world: &World<End>, client: HostId) -> &LoadClient {
    match world.workers(client).next().expect("a worker").app() {
        End::Load(client) => client,
        End::Server(_) => unreachable!("the client's host"),
    }
}

/// 100 operations a second over one connection; the server answers nothing from 5 s to 6 s. The operation that is due at 5 s waits
/// 1 s, the next one 0.99 s and so on: 100 of 1,000 waited, evenly from 0 to 1 s, so 1 % waited more than 0.9 s, 5 % more than
/// 0.5 s. From its own beginning only one operation was slow.
#[test]
fn a_server_that_stalls_for_a_second_shows_as_arithmetic_says() {
    let plan = plan(Work::Request, open_loop(100.0, 10, WhenBusy::Queue), 1);
    // The clock of the run starts within the first ms of the second second.
    let stalls = Instant::from_ns(6_001_000_000)..Instant::from_ns(7_001_000_000);
    let server = Server {
        stalls,
        ..Server::default()
    };
    let mut stage = Stage::new(&plan, &server, 0);
    stage.world.run_until(Instant::from_ns(1_001_000_000));
    stage.start();
    stage.world.run_for(Duration::from_secs(11));
    let counts = stage.finish(Duration::from_secs(1));
    assert_eq!((counts.due, counts.completed), (1000, 1000));
    let near = |us: u128, wanted: u128| us.abs_diff(wanted) <= 25_000;
    assert!(
        near(stage.us(Step::Scheduled, 99.0), 905_000),
        "{}",
        stage.us(Step::Scheduled, 99.0)
    );
    assert!(
        near(stage.us(Step::Scheduled, 95.0), 505_000),
        "{}",
        stage.us(Step::Scheduled, 95.0)
    );
    assert!(stage.us(Step::Scheduled, 50.0) < 500);
    assert!(
        stage.us(Step::Operation, 99.0) < 500,
        "one operation was slow"
    );
    let max = stage.client().measures().get(Step::Operation).max();
    assert!(max.is_some_and(|max| max.time >= Duration::from_millis(999)));
    // The generator was never late: it waited for the target.
    assert!(
        stage.us(Step::Lag, 99.0) <= 400,
        "{}",
        stage.us(Step::Lag, 99.0)
    );
}

#[test]
fn what_is_never_answered_stays_in_the_distribution() {
    let plan = plan(Work::Request, open_loop(100.0, 2, WhenBusy::Queue), 5);
    let server = Server {
        stalls: Instant::ZERO..Instant::from_ns(u64::MAX / 2),
        ..Server::default()
    };
    let mut stage = Stage::new(&plan, &server, 0);
    stage.start();
    stage.world.run_for(Duration::from_secs(2));
    let counts = stage.finish(Duration::from_secs(1));
    assert_eq!(
        (counts.begun, counts.completed, counts.unfinished),
        (5, 0, 5)
    );
    assert_eq!(counts.never_begun, 195);
    let measures = stage.client().measures();
    let scheduled = measures.get(Step::Scheduled);
    assert_eq!(scheduled.counts(), (200, 200));
    let p50 = scheduled.percentile(50.0).expect("enough");
    assert!(
        p50.is_lower_bound && p50.time >= Duration::from_millis(990),
        "{p50:?}"
    );
}

#[test]
fn an_operation_that_takes_too_long_fails_and_its_connection_is_reset() {
    let mut plan = plan(Work::Request, open_loop(10.0, 2, WhenBusy::Queue), 50);
    plan.timeout = Duration::from_millis(500);
    let server = Server {
        stalls: Instant::ZERO..Instant::from_ns(u64::MAX / 2),
        ..Server::default()
    };
    let mut stage = Stage::new(&plan, &server, 0);
    stage.start();
    stage.world.run_for(Duration::from_secs(2));
    let counts = stage.finish(Duration::from_secs(1));
    assert_eq!((counts.begun, counts.failed_total()), (20, 20));
    assert_eq!(
        counts.by_fault().collect::<Vec<_>>(),
        [(Fault::NoReply, 20)]
    );
    assert_eq!(counts.ends.reset_by_us, 20);
}

#[test]
fn what_is_due_while_all_are_busy_is_dropped_on_request() {
    let plan = plan(Work::Request, open_loop(100.0, 2, WhenBusy::Drop), 3);
    let server = Server {
        stalls: Instant::ZERO..Instant::from_ns(u64::MAX / 2),
        ..Server::default()
    };
    let mut stage = Stage::new(&plan, &server, 0);
    stage.start();
    stage.world.run_for(Duration::from_secs(2));
    let counts = stage.finish(Duration::from_secs(1));
    assert_eq!((counts.due, counts.begun, counts.dropped), (200, 3, 197));
    assert_eq!(counts.never_begun, 0);
}

#[test]
fn a_closed_loop_keeps_exactly_its_connections_and_each_reply_is_whole() {
    for (piece, pipeline) in [(0, 1), (7, 1), (0, 8)] {
        let mut plan = plan(Work::Request, Pace::Closed, 12);
        plan.pipeline = pipeline;
        let server = Server {
            piece,
            ..Server::default()
        };
        let mut stage = Stage::new(&plan, &server, 0);
        stage.start();
        stage.world.run_for(Duration::from_millis(20));
        for _ in 0..50 {
            stage.world.run_for(Duration::from_millis(1));
            assert_eq!(stage.client().counts().open(), 12);
        }
        let counts = stage.finish(Duration::from_secs(1));
        assert_eq!(counts.completed, counts.begun);
        assert_eq!(counts.completed, stage.requests_served());
        assert!(counts.completed > 1000, "{}", counts.completed);
        assert_eq!(counts.bytes_in, counts.completed * REPLY.len() as u64);
        assert_eq!((counts.established, counts.ends.graceful), (12, 12));
    }
}

#[test]
fn connections_close_on_either_side_by_fin_or_reset() {
    for (close, closes) in [
        (CloseMode::Fin, false),
        (CloseMode::Rst, false),
        (CloseMode::Peer, true),
    ] {
        let mut plan = plan(Work::Connect(close), Pace::Closed, 4);
        plan.count = Some(200);
        let server = Server {
            closes,
            ..Server::default()
        };
        let mut stage = Stage::new(&plan, &server, 0);
        stage.start();
        stage.world.run_for(Duration::from_secs(2));
        let counts = stage.finish(Duration::from_secs(1));
        assert_eq!((counts.begun, counts.completed), (200, 200), "{close:?}");
        assert_eq!(counts.established, 200);
        let by_us = if close == CloseMode::Rst { 200 } else { 0 };
        assert_eq!(
            (counts.ends.graceful, counts.ends.reset_by_us),
            (200 - by_us, by_us)
        );
        assert_eq!(stage.requests_served(), 200);
    }
}

#[test]
fn refused_connections_are_no_success() {
    let mut plan = plan(
        Work::Connect(CloseMode::Fin),
        open_loop(50.0, 1, WhenBusy::Queue),
        10,
    );
    plan.targets[0].set_port(81);
    plan.requests.clear();
    let mut stage = Stage::new(&plan, &Server::default(), 0);
    stage.start();
    stage.world.run_for(Duration::from_secs(2));
    let counts = stage.finish(Duration::from_secs(1));
    assert_eq!((counts.begun, counts.completed), (50, 0));
    assert_eq!(
        counts.by_fault().collect::<Vec<_>>(),
        [(Fault::Refused, 50)]
    );
    assert_eq!((counts.not_established, counts.established), (50, 0));
}

#[test]
fn everything_adds_up_on_a_link_that_loses_frames() {
    let mut plan = plan(
        Work::Connect(CloseMode::Fin),
        open_loop(300.0, 5, WhenBusy::Queue),
        2000,
    );
    plan.timeout = Duration::from_secs(3);
    let mut stage = Stage::new(&plan, &Server::default(), 50_000);
    stage.start();
    stage.world.run_for(Duration::from_secs(9));
    let counts = stage.finish(Duration::from_secs(5));
    assert_eq!(counts.due, 1500);
    assert_eq!(
        counts.begun,
        counts.completed + counts.failed_total() + counts.unfinished
    );
    assert!(counts.completed > 1300, "{counts:?}");
}

#[test]
fn replies_of_every_framing_are_read_to_their_end() {
    for (reply, closes) in [
        (
            &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"[..],
            false,
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", true),
        (b"HTTP/1.1 204 No Content\r\n\r\n", false),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            false,
        ),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", true),
    ] {
        for piece in [0, 1, 11] {
            let mut plan = plan(Work::Request, Pace::Closed, 2);
            plan.count = Some(40);
            let server = Server {
                reply,
                piece,
                closes,
                ..Server::default()
            };
            let mut stage = Stage::new(&plan, &server, 0);
            stage.start();
            stage.world.run_for(Duration::from_secs(2));
            let counts = stage.finish(Duration::from_secs(1));
            let text = String::from_utf8_lossy(reply);
            assert_eq!(
                (counts.begun, counts.completed),
                (40, 40),
                "{text} {piece}: {counts:?}"
            );
            assert_eq!(counts.bytes_in, 40 * reply.len() as u64);
            assert_eq!(counts.ends.reset_by_us, 0, "{text}");
        }
    }
}

#[test]
fn a_status_that_is_not_accepted_and_bytes_that_are_no_reply_are_failures() {
    for (reply, fault) in [
        (
            &b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"[..],
            Fault::WrongStatus,
        ),
        (b"SSH-2.0-x\r\n\r\n", Fault::Malformed),
    ] {
        let mut plan = plan(Work::Request, open_loop(20.0, 1, WhenBusy::Queue), 30);
        plan.count = Some(20);
        let server = Server {
            reply,
            ..Server::default()
        };
        let mut stage = Stage::new(&plan, &server, 0);
        stage.start();
        stage.world.run_for(Duration::from_secs(2));
        let counts = stage.finish(Duration::from_secs(1));
        assert!(
            counts
                .by_fault()
                .any(|(found, n)| found == fault && n == 20),
            "{counts:?}"
        );
    }
}

#[test]
fn bytes_that_were_not_asked_for_are_counted() {
    let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n";
    let mut plan = plan(Work::Request, open_loop(20.0, 1, WhenBusy::Queue), 30);
    plan.count = Some(20);
    let server = Server {
        reply,
        ..Server::default()
    };
    let mut stage = Stage::new(&plan, &server, 0);
    stage.start();
    stage.world.run_for(Duration::from_secs(2));
    let counts = stage.finish(Duration::from_secs(1));
    assert_eq!((counts.completed, counts.unasked), (20, 20));
}
