//! The services on a worker whose wire lies in memory, with an app of the stack as their peer.

mod http;
mod proxy;

use std::net::SocketAddr;
use std::time::Duration;

use stack::app::Connect;
use stack::config::ConfigSpec;
use stack::conn::{ConnId, Kind};
use stack::local::listener::{ListenerConfig, SynPolicy};
use stack::nic::memory::MemoryNic;
use stack::queue::pattern;
use stack::sim::pair::{carry, host};
use stack::sim::puppet::{AppEvent, Puppet};
use stack::tcp::verdict::CloseReason;
use stack::time::Instant;
use stack::worker::Worker;

use super::{Services, SiteStats};
use crate::serve::listen::listens;
use crate::serve::wall::WallClock;

fn few(spec: &mut ConfigSpec) {
    spec.limits.records.open.v4 = 16;
    spec.limits.records.parked.v4 = 16;
}

/// A service and one connection to it.
struct Session {
    server: Worker<MemoryNic, Services>,
    client: Worker<MemoryNic, Puppet>,
    /// The bytes that the client has read.
    received: Vec<u8>,
    /// It reads no more from here on; the rest stays in the window.
    reads: usize,
    conn: ConnId,
    now: Instant,
}

/// Opens a connection to the service.
fn connect(client: &mut Worker<MemoryNic, Puppet>, now: Instant) -> ConnId {
    let remote = SocketAddr::from(([198, 18, 0, 1], 1));
    client
        .with_cx(now, |_, cx| cx.connect(remote, &Connect::default(), false))
        .expect("connects")
}

impl Session {
    /// A connection to a service as `--listen` names it, whatever its port.
    fn open(listen: &str) -> Self {
        let listens = listens(listen).expect("a place").0;
        let now = Instant::from_ms(1_000_000);
        // Ports are numbered from 1.
        let listener = |port| ListenerConfig::new(port, SynPolicy::Embryo);
        let listeners = (1..).take(listens.len()).map(listener);
        let services = Services::new(&listens, WallClock::default());
        let puppet = Puppet {
            reads: false,
            closes: false,
            ..Puppet::default()
        };
        let mut client = host(2, puppet, few);
        let conn = connect(&mut client, now);
        let mut session = Self {
            server: host(1, services, |spec| {
                few(spec);
                spec.listeners = listeners.collect();
            }),
            client,
            received: Vec::new(),
            reads: usize::MAX,
            conn,
            now,
        };
        session.settle();
        session
    }

    /// Carries frames until there are none; half a second passes.
    fn settle(&mut self) {
        for _ in 0..5_000 {
            self.client.turn(self.now);
            self.read();
            carry(&mut self.client, &mut self.server);
            self.server.turn(self.now);
            carry(&mut self.server, &mut self.client);
            self.now = self.now + Duration::from_micros(100);
        }
    }

    /// Sends bytes as one or more segments of their own, and lets them have their effect.
    fn send(&mut self, bytes: &[u8]) {
        let (conn, now) = (self.conn, self.now);
        let sent = self.client.with_cx(now, |_, cx| cx.send_bytes(conn, bytes));
        assert_eq!(sent, Ok(bytes.len()));
        self.settle();
    }

    fn shutdown(&mut self) {
        let conn = self.conn;
        self.client.with_cx(self.now, |_, cx| cx.shutdown(conn));
        self.settle();
    }

    /// The client reads on until it has read so many bytes in all.
    fn read_up_to(&mut self, len: usize) {
        self.reads = len;
        self.read();
    }

    fn read(&mut self) {
        let (conn, received, reads) = (self.conn, &mut self.received, self.reads);
        self.client.with_cx(self.now, |_, cx| {
            while received.len() < reads && !cx.peek(conn).is_empty() {
                let bytes = cx.peek(conn);
                received.extend_from_slice(bytes);
                let len = bytes.len() as u32;
                cx.consume(conn, len);
            }
        });
    }

    fn peer_closed(&self) -> bool {
        self.client.app().count(AppEvent::PeerClosed) > 0
    }

    /// The server is to end.
    fn finish(&mut self) {
        while self.server.finish(self.now) {}
        self.settle();
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }

    fn stats(&self) -> SiteStats {
        self.server.app().stats().next().expect("a place")
    }

    /// The last answer says that it is the last, brings `body`, and the connection has ended in order.
    fn ends_with(self, body: &str) {
        let text = self.text();
        assert!(
            text.contains("\r\nConnection: close\r\n") && text.ends_with(body),
            "{text}"
        );
        self.ends_in_order();
    }

    /// The connection has ended, in order, and nothing is left of it.
    fn ends_in_order(mut self) {
        assert!(self.peer_closed(), "the server has closed");
        let conn = self.conn;
        self.client.with_cx(self.now, |_, cx| cx.close(conn));
        self.settle();
        assert_eq!(self.client.app().reason(), Some(CloseReason::Graceful));
        let stats = self.stats();
        assert_eq!((stats.accepted, stats.open), (1, 0));
        assert_eq!(stats.closed_by_reason().0.get("graceful"), Some(&1));
        assert_eq!(self.server.queued_items(), 0);
    }
}

#[test]
fn echo_sends_back_the_frames_that_came_and_closes_after_the_last() {
    let mut session = Session::open("1=echo");
    session.send(b"hello");
    assert_eq!(session.received, b"hello");
    let long: Vec<u8> = (0..20_000).map(|i| (i % 251) as u8).collect();
    session.send(&long);
    assert_eq!(session.received[5..], long);
    assert!(!session.peer_closed());
    session.shutdown();
    assert_eq!(session.stats().bytes_in, 20_005);
    assert_eq!(session.stats().bytes_out, 20_005);
    session.ends_in_order();
}

#[test]
fn discard_reads_and_says_nothing() {
    let mut session = Session::open("1=discard");
    session.send(&[7; 20_000]);
    session.shutdown();
    assert!(session.received.is_empty());
    assert_eq!(session.stats().bytes_in, 20_000);
    session.ends_in_order();
}

#[test]
fn chargen_goes_on_whatever_it_is_told() {
    let mut session = Session::open("1=chargen");
    session.send(b"stop");
    session.settle();
    assert!(
        session.received.len() > 1_000_000,
        "{}",
        session.received.len()
    );
    assert!(pattern::matches(0, &session.received));
    session.shutdown();
    session.settle();
    assert!(pattern::matches(0, &session.received));
    assert_eq!(session.stats().bytes_in, 4);
    assert_eq!(session.stats().bytes_out, session.received.len() as u64);
    session.ends_in_order();
}

#[test]
fn daytime_closes_first_and_forgets_what_it_is_told() {
    let mut session = Session::open("1=daytime");
    assert_eq!(session.text(), "Thursday, January 1, 1970 00:16:40-UTC\r\n");
    assert!(session.peer_closed());
    session.send(b"thanks");
    assert_eq!(session.client.app().reason(), None, "no reset for it");
    session.ends_in_order();
}

#[test]
fn one_that_closes_first_waits_for_its_peer_but_not_for_ever() {
    let mut session = Session::open("1=daytime");
    for _ in 0..10 {
        session.settle();
    }
    // Its time is up: it has closed for good, and what comes now is answered with a reset.
    session.send(b"too late");
    assert_eq!(session.client.app().reason(), Some(CloseReason::Reset));
}

#[test]
fn noread_reads_nothing_and_stays() {
    let mut session = Session::open("1=noread");
    session.send(&[1; 5_000]);
    session.shutdown();
    assert_eq!(session.stats().bytes_in, 0);
    assert_eq!(session.client.app().reason(), None);
    assert!(!session.peer_closed());
}

#[test]
fn noaccept_takes_nobody() {
    let mut session = Session::open("1=noaccept");
    session.send(b"hello");
    assert_eq!(session.stats(), SiteStats::new());
    assert_eq!(session.client.app().reason(), None);
}

#[test]
fn a_port_without_a_service_is_reset_by_data() {
    let mut session = Session::open("1");
    assert_eq!(session.client.app().reason(), None);
    session.send(b"x");
    assert_eq!(session.client.app().reason(), Some(CloseReason::Reset));
    assert_eq!(
        session.stats().closed_by_reason().0.get("aborted"),
        Some(&1)
    );
}

#[test]
fn at_the_end_parked_connections_close_too() {
    for listen in ["1=http", "1=echo", "1=discard", "1=noread"] {
        let mut session = Session::open(listen);
        for _ in 0..6 {
            session.settle();
        }
        assert_eq!(
            session.server.table().len(Kind::Parked).total(),
            1,
            "{listen}"
        );
        session.finish();
        session.ends_in_order();
    }
}

#[test]
fn at_the_end_echo_gives_back_what_waits() {
    let mut session = Session::open("1=echo");
    session.reads = 1;
    // The client's window and our send queue take most of it.
    for _ in 0..6 {
        session.send(&[b'e'; 90_000]);
    }
    let echoed = session.stats().bytes_in;
    assert!(echoed < 540_000, "the rest waits: {echoed}");
    session.finish();
    assert!(!session.peer_closed());
    session.read_up_to(usize::MAX);
    session.settle();
    assert_eq!(session.received.len(), 540_000);
    session.ends_in_order();
}
