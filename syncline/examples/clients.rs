//! A client that holds 10,000 connections to an echo server at once: each says a word, hears it back, and closes when all have.
//!
//! Its server is on the kernel's side of the tap: `198.18.0.1:7000`.
#![forbid(unsafe_code)]
use std::net::SocketAddr;

use syncline::{App, CloseReason, ConnId, Connect, Cx, Endpoint, Nic, Seat};

const CONNECTIONS: u32 = 10_000;
const WORD: &[u8] = b"hello";

struct Clients {
    seat: Seat,
    server: SocketAddr,
    opened: u32,
    /// Connections that have heard their word.
    heard: Vec<ConnId>,
    closed: u32,
    failed: u32,
}

impl App for Clients {
    type Conn = ();

    /// Opens some more in each turn: a listener has a backlog.
    fn on_tick<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>) {
        let in_flight = self.opened - self.heard.len() as u32 - self.failed;
        for _ in in_flight..CONNECTIONS.saturating_sub(self.opened).min(100) {
            match cx.connect(self.server, &Connect::default(), ()) {
                Ok(_) => self.opened += 1,
                Err(_) => return,
            }
        }
    }

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, _: &mut ()) {
        let sent = cx.send_bytes(conn, WORD);
        assert_eq!(sent, Ok(WORD.len()), "a new connection has room");
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, _: &mut ()) {
        let mut word = [0; WORD.len()];
        if cx.read_exact(conn, &mut word) {
            assert_eq!(word, WORD);
            self.heard.push(conn);
            if self.heard.len() as u32 == CONNECTIONS {
                self.heard.iter().for_each(|&conn| cx.close(conn));
            }
        }
    }

    fn on_close<N: Nic>(
        &mut self,
        _: &mut Cx<'_, N, ()>,
        _: ConnId,
        _: &mut (),
        reason: CloseReason,
    ) {
        self.closed += 1;
        self.failed += u32::from(reason != CloseReason::Graceful);
        if self.closed == CONNECTIONS {
            self.seat.end();
        }
    }
}

fn main() -> Result<(), syncline::Error> {
    let endpoint = Endpoint::new().address("198.18.0.2/24").connections(20_000);
    let endpoint = endpoint.kernel_address("198.18.0.1/24");
    let report = endpoint.run("tap:clients0", |seat| Clients {
        seat,
        server: ([198, 18, 0, 1], 7000).into(),
        opened: 0,
        heard: Vec::new(),
        closed: 0,
        failed: 0,
    })?;
    println!("{report}");
    for clients in &report.apps {
        let (heard, failed) = (clients.heard.len(), clients.failed);
        println!("opened {}, heard {heard}, failed {failed}", clients.opened);
    }
    Ok(())
}
