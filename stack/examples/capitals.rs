//! An app of its own: a server that answers in capitals, and a client that asks it, in the simulated world.
#![forbid(unsafe_code)]
use std::net::SocketAddr;
use std::time::Duration;

use stack::app::{App, Connect, Cx};
use stack::conn::ConnId;
use stack::conn::listener::{ListenerConfig, SynPolicy};
use stack::nic::Nic;
use stack::sim::host::{HostError, HostSpec};
use stack::sim::world::World;
use stack::time::Instant;

/// What runs on a worker; one type for both hosts, because a world has one type of app.
enum Capitals {
    Server,
    Client(Vec<u8>),
}

impl App for Capitals {
    type Conn = ();

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, _state: &mut ()) {
        if matches!(self, Self::Client(_)) {
            assert_eq!(cx.send_bytes(conn, b"hello, world"), Ok(12));
            cx.shutdown(conn);
        }
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, _state: &mut ()) {
        let bytes = cx.peek(conn).to_ascii_uppercase();
        cx.consume(conn, bytes.len() as u32);
        match self {
            Self::Server => drop(cx.send_bytes(conn, &bytes)),
            Self::Client(heard) => heard.extend(bytes),
        }
    }
}

pub(crate) fn main() -> Result<(), HostError> {
    let mut world = World::new(1, Instant::from_ms(1_000));
    let mut spec = HostSpec::new(1);
    spec.config.listeners = vec![ListenerConfig::new(80, SynPolicy::CookieWhenFull)];
    world.add_host(spec, |_| Capitals::Server)?;
    let client = world.add_host(HostSpec::new(2), |_| Capitals::Client(Vec::new()))?;
    let (server, now) = (SocketAddr::new(HostSpec::v4(1), 80), world.now());
    for worker in world.workers_mut(client) {
        worker.with_cx(now, |_, cx| {
            cx.connect(server, &Connect::default(), ()).is_ok()
        });
    }
    world.wake(client);
    world.run_for(Duration::from_secs(1));
    for worker in world.workers(client) {
        if let Capitals::Client(heard) = worker.app() {
            println!("{}", String::from_utf8_lossy(heard));
            assert_eq!(heard, b"HELLO, WORLD");
        }
    }
    Ok(())
}
