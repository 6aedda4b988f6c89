//! A worker driven by hand: what a program does that has frames of its own, from a NIC, a file or a test.
#![forbid(unsafe_code)]
use std::sync::Arc;
use std::time::Duration;

use stack::app::{App, ConnId, Connect, Cx};
use stack::config::{ConfigSpec, Interface, ListenerConfig, PageOptions, SynPolicy};
use stack::nic::memory::MemoryNic;
use stack::nic::{Frame, Nic};
use stack::time::Instant;
use stack::worker::{RingEnd, Secrets, Worker};

/// A server counts what it gets; a client says what is left to say.
#[derive(Default)]
struct Counter {
    to_say: usize,
    heard: u64,
}

impl App for Counter {
    type Conn = ();

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, state: &mut ()) {
        if self.to_say > 0 {
            self.on_writable(cx, conn, state);
        }
    }

    fn on_writable<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, _state: &mut ()) {
        while self.to_say > 0 {
            let piece = [b'.'; 1_000];
            let len = piece.len().min(self.to_say);
            match cx.send_bytes(conn, &piece[..len]) {
                Ok(sent) => self.to_say -= sent,
                Err(_) => return,
            }
        }
        cx.shutdown(conn);
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, _state: &mut ()) {
        self.heard += u64::from(cx.unread_len(conn));
        cx.consume(conn, u32::MAX);
    }
}

/// An endpoint on a NIC in memory: the last byte of its addresses is `n`.
fn worker(n: u8, app: Counter) -> Worker<MemoryNic, Counter> {
    let mut spec = ConfigSpec::new(vec![Interface {
        address: [198, 18, 0, n].into(),
        prefix_len: 24,
    }]);
    spec.listeners = vec![ListenerConfig::new(80, SynPolicy::CookieWhenFull)];
    let config = Arc::new(spec.validate().expect("a valid configuration"));
    // Random where others can reach it: sequence numbers and cookies must not be guessed.
    let secrets = Secrets {
        flow: [1, 2],
        isn: [3; 16],
        cookie: [4; 16],
        ports: [5; 16],
    };
    let nic = MemoryNic::new([2, 0, 0, 0, 0, n]);
    let pages = PageOptions::default();
    Worker::with_app(nic, app, config, &secrets, RingEnd::single(), pages).expect("memory")
}

/// Carries what one has sent to the other. False when there was nothing.
fn carry(from: &mut Worker<MemoryNic, Counter>, to: &mut Worker<MemoryNic, Counter>) -> bool {
    let sent = from.nic_mut().take_sent();
    for frame in &sent {
        let copy = to.nic_mut().frame(frame.bytes());
        to.nic_mut().inject(copy);
    }
    !sent.is_empty()
}

/// Sends so many bytes from one worker to another, and says how many came.
pub(crate) fn send(bytes: usize) -> u64 {
    let mut server = worker(1, Counter::default());
    let says = Counter {
        to_say: bytes,
        heard: 0,
    };
    let mut client = worker(2, says);
    // Time is an argument and never goes back: a clock of the machine, or one of your own.
    let mut now = Instant::from_ms(1_000);
    let remote = ([198, 18, 0, 1], 80).into();
    let opened = client.with_cx(now, |_, cx| cx.connect(remote, &Connect::default(), ()));
    opened.expect("a record, a port, a route");
    loop {
        // A turn takes what has come, lets timers fire, calls the app, and sends what follows.
        client.turn(now);
        server.turn(now);
        let went = carry(&mut client, &mut server);
        let came = carry(&mut server, &mut client);
        now = now + Duration::from_micros(10);
        if went || came {
            continue;
        }
        // Nothing is on the way: both sleep until the next timer.
        let next = client.next_due(now).into_iter().chain(server.next_due(now));
        match next.min() {
            Some(at) if at < Instant::from_ms(60_000) => now = at.max(now),
            _ => break,
        }
    }
    server.app().heard
}

pub(crate) fn main() {
    println!("{} bytes came", send(10_000_000));
}
