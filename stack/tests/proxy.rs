//! A proxy in the simulated world: frames of one connection are kept while the other one opens, and leave on it without a copy.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use stack::app::{App, Connect, Cx, TxItem};
use stack::conn::ConnId;
use stack::local::listener::{ListenerConfig, SynPolicy};
use stack::nic::Nic;
use stack::queue::rx_queue::Chunk;
use stack::sim::host::HostSpec;
use stack::sim::world::World;
use stack::tcp::verdict::CloseReason;
use stack::time::Instant;

const PORT: u16 = 80;
const LEN: u64 = 10_000_000;

/// The three of them; each host has a worker of one, and a world has one type of app. A puppet knows no pairs of connections.
enum Role {
    /// Sends the pattern, and counts what comes back.
    Client { sent: bool, received: u64 },
    /// Between the two.
    Proxy(Proxy),
    /// Sends back what it gets.
    Echo,
}

struct Proxy {
    server: SocketAddr,
    /// The other connection of each.
    pairs: HashMap<ConnId, ConnId>,
    /// Bytes that were kept, at most at once.
    kept_most: u32,
    closed: Vec<CloseReason>,
}

fn owned<F>(chunk: Chunk<F>) -> TxItem<F> {
    TxItem::Owned {
        frame: chunk.frame,
        start: chunk.start,
        len: chunk.len,
    }
}

impl Proxy {
    /// From one connection to the other: first what was kept, then what waits, as far as there is room.
    fn forward<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, from: ConnId) {
        let Some(&to) = self.pairs.get(&from) else {
            return self.keep(cx, from);
        };
        while cx.has_room(to)
            && let Some(chunk) = cx.take_kept(from).or_else(|| cx.take(from))
        {
            assert!(cx.send(to, owned(chunk)).is_ok(), "there was room");
        }
        let is_drained = cx.unread_len(from) == 0 && cx.kept_len(from) == 0;
        if is_drained && cx.peer_closed(from) {
            cx.shutdown(to);
        }
    }

    /// There is nowhere to send it yet.
    fn keep<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, from: ConnId) {
        while cx.can_keep()
            && let Some(chunk) = cx.take(from)
        {
            assert!(cx.keep(from, chunk).is_ok(), "there was a place");
        }
        self.kept_most = self.kept_most.max(cx.kept_len(from));
    }
}

impl App for Role {
    type Conn = ();

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, state: &mut ()) {
        match self {
            Self::Client { .. } => self.on_writable(cx, conn, state),
            Self::Proxy(proxy) => match proxy.pairs.get(&conn) {
                // The client's: the server is called.
                None => {
                    let up = cx.connect(proxy.server, &Connect::default(), ());
                    proxy.pairs.insert(up.expect("a server"), conn);
                }
                // The server's: what was kept may go.
                Some(&down) => {
                    proxy.pairs.insert(down, conn);
                    proxy.forward(cx, down);
                }
            },
            Self::Echo => {}
        }
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, _: &mut ()) {
        match self {
            Self::Client { received, .. } => {
                while let Some(chunk) = cx.take(conn) {
                    *received += u64::from(chunk.len);
                }
            }
            Self::Proxy(proxy) => proxy.forward(cx, conn),
            Self::Echo => {
                while cx.has_room(conn)
                    && let Some(chunk) = cx.take(conn)
                {
                    assert!(cx.send(conn, owned(chunk)).is_ok(), "there was room");
                }
                if cx.peer_closed(conn) && cx.unread_len(conn) == 0 {
                    cx.close(conn);
                }
            }
        }
    }

    fn on_writable<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, state: &mut ()) {
        match self {
            Self::Client { sent: false, .. } => {
                let text = TxItem::Pattern { start: 0, len: LEN };
                assert!(cx.send(conn, text).is_ok(), "nothing is queued yet");
                cx.shutdown(conn);
                *self = Self::Client {
                    sent: true,
                    received: 0,
                };
            }
            Self::Client { .. } => {}
            Self::Proxy(proxy) => {
                if let Some(&from) = proxy.pairs.get(&conn) {
                    proxy.forward(cx, from);
                }
            }
            Self::Echo => self.on_data(cx, conn, state),
        }
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
        if let Self::Proxy(proxy) = self {
            proxy.closed.push(reason);
        }
    }
}

#[test]
fn ten_megabytes_go_through_a_proxy_and_back() {
    let mut world = World::new(7, Instant::from_ms(1_000));
    let listening = |number| {
        let mut spec = HostSpec::new(number);
        spec.config.listeners = vec![ListenerConfig::new(PORT, SynPolicy::Embryo)];
        spec
    };
    let mut server = listening(1);
    server.up.delay = Duration::from_millis(20);
    server.up.loss_ppm = 1_000;
    let server_address = (HostSpec::v4(1), PORT).into();
    let proxy_address = (HostSpec::v4(2), PORT).into();
    world.add_host(server, |_| Role::Echo).expect("a host");
    let make = |_| {
        Role::Proxy(Proxy {
            server: server_address,
            pairs: HashMap::new(),
            kept_most: 0,
            closed: Vec::new(),
        })
    };
    let mut middle = listening(2);
    // Fewer than the NIC has buffers, so that it can receive whatever the proxy keeps.
    middle.config.limits.queue_items = 1_024;
    let proxy = world.add_host(middle, make).expect("a host");
    let make = |_| Role::Client {
        sent: false,
        received: 0,
    };
    let client = world.add_host(HostSpec::new(3), make).expect("a host");
    let opened = world.act(client, 0, |_, cx| {
        cx.connect(proxy_address, &Connect::default(), ())
    });
    assert!(matches!(opened, Some(Ok(_))));
    world.run_for(Duration::from_secs(300));
    let received = world.act(client, 0, |app, _| match app {
        Role::Client { received, .. } => *received,
        _ => 0,
    });
    assert_eq!(received, Some(LEN));
    let (kept_most, closed) = world
        .act(proxy, 0, |app, _| match app {
            Role::Proxy(proxy) => (proxy.kept_most, proxy.closed.clone()),
            _ => (0, Vec::new()),
        })
        .expect("the proxy runs");
    assert!(
        kept_most > 1_000,
        "while the server was called: {kept_most}"
    );
    assert_eq!(closed, [CloseReason::Graceful; 2]);
    assert_eq!(world.violations(), &[] as &[String]);
}
