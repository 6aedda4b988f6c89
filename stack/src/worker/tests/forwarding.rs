//! Forwarding in the simulated world: an echo server in front of a client that sends a lot and reads late.

use std::net::SocketAddr;
use std::time::Duration;

use crate::conn::ConnId;
use crate::local::listener::{ListenerConfig, SynPolicy};
use crate::nic::Nic;
use crate::sim::host::{HostId, HostSpec};
use crate::sim::world::World;
use crate::tcp::verdict::CloseReason;
use crate::time::Instant;
use crate::worker::app::{App, Connect, Cx};

const PORT: u16 = 7;
const LEN: usize = 3_000_000;
/// The client reads nothing before.
const LATE: Duration = Duration::from_secs(5);

/// A world has one type of app.
#[derive(Default)]
struct Role {
    /// `None` on the server.
    server: Option<SocketAddr>,
    starts: u32,
    sent: usize,
    heard: Vec<u8>,
    reads: bool,
    closed: Option<CloseReason>,
}

fn byte(position: usize) -> u8 {
    (position % 251) as u8
}

impl App for Role {
    type Conn = ();

    fn on_start<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>) {
        self.starts += 1;
        if let Some(server) = self.server {
            let opened = cx.connect(server, &Connect::default(), ());
            cx.set_timer(opened.expect("a port and a route"), cx.now() + LATE);
        }
    }

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, state: &mut ()) {
        self.on_writable(cx, conn, state);
    }

    fn on_writable<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, state: &mut ()) {
        if self.server.is_none() {
            return self.on_data(cx, conn, state);
        }
        while self.sent < LEN {
            let next: Vec<u8> = (self.sent..LEN.min(self.sent + 10_000)).map(byte).collect();
            match cx.send_bytes(conn, &next) {
                Ok(sent) => self.sent += sent,
                Err(_) => return,
            }
        }
        cx.shutdown(conn);
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, _: &mut ()) {
        if self.server.is_none() {
            if cx.forward(conn, conn) {
                cx.close(conn);
            }
            return;
        }
        while self.reads && cx.unread_len(conn) > 0 {
            let bytes = cx.peek(conn);
            self.heard.extend_from_slice(bytes);
            let len = bytes.len() as u32;
            cx.consume(conn, len);
        }
    }

    fn on_timer<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, state: &mut ()) {
        self.reads = true;
        self.on_data(cx, conn, state);
    }

    fn on_peer_closed<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, state: &mut ()) {
        self.on_data(cx, conn, state);
    }

    fn on_close<N: Nic>(
        &mut self,
        _: &mut Cx<'_, N, ()>,
        _: ConnId,
        _: &mut (),
        reason: CloseReason,
    ) {
        self.closed = Some(reason);
    }
}

/// The world after a minute: the server's host, and the client's.
fn a_minute() -> (World<Role>, [HostId; 2]) {
    let mut world = World::new(1, Instant::from_ms(1_000));
    let mut spec = HostSpec::new(1);
    spec.config.listeners = vec![ListenerConfig::new(PORT, SynPolicy::CookieWhenFull)];
    let server = world.add_host(spec, |_| Role::default()).expect("a host");
    let client = world.add_host(HostSpec::new(2), |_| Role {
        server: Some(SocketAddr::new(HostSpec::v4(1), PORT)),
        ..Role::default()
    });
    let client = client.expect("a host");
    world.run_for(Duration::from_secs(60));
    (world, [server, client])
}

#[test]
fn a_forwarder_loses_no_byte_when_its_reader_is_slow() {
    let (mut world, [server, client]) = a_minute();
    let (sent, heard) = world
        .act(client, 0, |app, _| (app.sent, app.heard.clone()))
        .expect("a running host");
    assert_eq!((sent, heard.len()), (LEN, LEN));
    assert!((0..LEN).map(byte).eq(heard));
    let closed = world
        .act(server, 0, |app, _| app.closed)
        .expect("a running host");
    assert_eq!(closed, Some(CloseReason::Graceful));
}

#[test]
fn an_app_starts_once() {
    let (mut world, hosts) = a_minute();
    for host in hosts {
        let starts = world.act(host, 0, |app, _| app.starts);
        assert_eq!(starts, Some(1));
    }
}
