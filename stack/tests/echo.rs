//! Two workers and a wire in memory: an app that connects, one that echoes, and what is left of both afterwards.
#![forbid(unsafe_code)]

#[path = "pair/host.rs"]
mod host;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use stack::app::{App, Connect, Cx, TxItem};
use stack::conn::{ConnId, Kind};
use stack::local::listener::SynPolicy;
use stack::nic::Nic;
use stack::tcp::verdict::CloseReason;
use stack::time::Instant;

use host::{carry, host, open_port};

const PORT: u16 = 7;

/// Sends back what it gets, in the frames that brought it.
#[derive(Default)]
struct Echo {
    closed: Vec<CloseReason>,
}

impl App for Echo {
    type Conn = ();

    fn on_writable<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut (),
    ) {
        self.on_data(cx, conn, state);
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, _state: &mut ()) {
        while cx.has_room(conn)
            && let Some(chunk) = cx.take(conn)
        {
            let item = TxItem::Owned {
                frame: chunk.frame,
                start: chunk.start,
                len: chunk.len,
            };
            assert!(cx.send(conn, item).is_ok(), "no room in the send queue");
        }
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

/// Connects once, sends `to_send` and compares what comes back.
#[derive(Default)]
struct Client {
    to_send: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
    closed: Vec<CloseReason>,
}

impl Client {
    fn push<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, conn: ConnId) {
        self.sent += cx.send_bytes(conn, &self.to_send[self.sent..]).unwrap_or(0);
    }
}

impl App for Client {
    type Conn = ();

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, _state: &mut ()) {
        self.push(cx, conn);
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, _state: &mut ()) {
        loop {
            let bytes = cx.peek(conn);
            if bytes.is_empty() {
                break;
            }
            self.received.extend_from_slice(bytes);
            let len = bytes.len() as u32;
            cx.consume(conn, len);
        }
        if self.received.len() == self.to_send.len() {
            cx.close(conn);
        }
    }

    fn on_writable<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        _state: &mut (),
    ) {
        self.push(cx, conn);
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

fn echoes(server_address: &str, client_address: &str, len: usize) {
    let mut server = host(server_address, 1, Echo::default(), |spec| {
        spec.listeners = vec![open_port(PORT, SynPolicy::CookieWhenFull, 16)];
    });
    let client = Client {
        to_send: (0..len).map(|i| (i * 31 % 251) as u8).collect(),
        ..Client::default()
    };
    let mut client = host(client_address, 2, client, |_| {});
    let mut now = Instant::from_ms(1_000_000);
    let remote = SocketAddr::new(server_address.parse::<IpAddr>().expect("an address"), PORT);
    client
        .with_cx(now, |_, cx| cx.connect(remote, &Connect::default(), ()))
        .expect("connects");
    for _ in 0..100_000 {
        client.turn(now);
        let there = carry(&mut client, &mut server);
        server.turn(now);
        let back = carry(&mut server, &mut client);
        if there + back == 0 {
            now = now + Duration::from_millis(1);
        }
        if !client.app().closed.is_empty() && !server.app().closed.is_empty() {
            break;
        }
    }
    assert_eq!(client.app().received.len(), len);
    assert_eq!(client.app().received, client.app().to_send);
    assert_eq!(client.app().closed, [CloseReason::Graceful]);
    assert_eq!(server.app().closed, [CloseReason::Graceful]);
    assert_eq!(server.queued_items() + client.queued_items(), 0);
    assert_eq!(client.table().len(Kind::TimeWait).total(), 1);
    assert_eq!(client.counters().unaccounted(), 0);
    assert_eq!(server.counters().unaccounted(), 0);
    assert_eq!(client.tcp_counters().retransmitted_segments, 0);
    now = now + Duration::from_secs(61);
    client.turn(now);
    assert_eq!(client.table().total() + server.table().total(), 0);
    assert_eq!(server.into_nic().in_use(), 0);
    assert_eq!(client.into_nic().in_use(), 0);
}

#[test]
fn a_byte_comes_back() {
    echoes("198.18.0.1", "198.18.0.2", 1);
    echoes("2001:db8::1", "2001:db8::2", 1);
}

#[test]
fn a_megabyte_comes_back_in_order() {
    echoes("198.18.0.1", "198.18.0.2", 1 << 20);
    echoes("2001:db8::1", "2001:db8::2", 1 << 20);
}
