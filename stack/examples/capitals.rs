//! An app of its own: a server that answers in capitals, and a client that asks it, in the simulated world.
#![forbid(unsafe_code)]
use std::net::SocketAddr;
use std::time::Duration;

use stack::app::{App, ConnId, Connect, Cx};
use stack::config::{ListenerConfig, SynPolicy};
use stack::nic::Nic;
use stack::sim::host::{HostError, HostSpec};
use stack::sim::world::World;
use stack::time::Instant;

/// The app of a worker; one type for both hosts, because a world has one type of app.
enum Capitals {
    Server,
    /// The words still to be sent, and those received.
    Client(Vec<u8>, Vec<u8>),
}

impl App for Capitals {
    type Conn = ();

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, state: &mut ()) {
        self.on_writable(cx, conn, state);
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, _state: &mut ()) {
        while cx.unread_len(conn) > 0 {
            let bytes = cx.peek(conn).to_ascii_uppercase();
            let done = match self {
                // Words without room to be sent stay unread, and the client's window closes.
                Self::Server => cx.send_bytes(conn, &bytes).unwrap_or(0),
                Self::Client(_, heard) => {
                    heard.extend_from_slice(&bytes);
                    bytes.len()
                }
            };
            if done == 0 {
                return;
            }
            cx.consume(conn, done as u32);
        }
        if cx.peer_closed(conn) {
            cx.close(conn);
        }
    }

    fn on_writable<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, state: &mut ()) {
        if let Self::Client(words, _) = self {
            let sent = cx.send_bytes(conn, words).unwrap_or(0);
            words.drain(..sent);
            if words.is_empty() {
                cx.shutdown(conn);
            }
        }
        self.on_data(cx, conn, state);
    }

    fn on_peer_closed<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, state: &mut ()) {
        self.on_data(cx, conn, state);
    }
}

/// The server's answer to these words.
pub(crate) fn ask(words: &[u8]) -> Result<Vec<u8>, HostError> {
    let mut world = World::new(1, Instant::from_ms(1_000));
    let mut spec = HostSpec::new(1);
    spec.config.listeners = vec![ListenerConfig::new(80, SynPolicy::CookieWhenFull)];
    world.add_host(spec, |_| Capitals::Server)?;
    let says = |_| Capitals::Client(words.to_vec(), Vec::new());
    let client = world.add_host(HostSpec::new(2), says)?;
    let server = SocketAddr::new(HostSpec::v4(1), 80);
    let opened = world.act(client, 0, |_, cx| {
        cx.connect(server, &Connect::default(), ())
    });
    assert!(matches!(opened, Some(Ok(_))));
    world.run_for(Duration::from_secs(60));
    let heard = world.act(client, 0, |app, _| match app {
        Capitals::Client(_, heard) => std::mem::take(heard),
        Capitals::Server => Vec::new(),
    });
    Ok(heard.unwrap_or_default())
}

pub(crate) fn main() -> Result<(), HostError> {
    println!("{}", String::from_utf8_lossy(&ask(b"hello, world")?));
    Ok(())
}
