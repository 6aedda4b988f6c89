//! The worker allocates at start and never again: resets, embryos, cookies, ARP, echo, copies for shared frames; and the
//! whole life of connections, from both ends. Its NIC and its app are its own, because the NIC in memory and a puppet allocate as they go.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stack::app::{App, Chunk, Connect, Cx, NoApp, TxItem};
use stack::config::{ConfigSpec, Interface};
use stack::conn::{Capacity, ConnId, Records};
use stack::counters::Counter;
use stack::local::listener::{ListenerConfig, SynPolicy};
use stack::nic::{
    BURST_FRAMES, Burst, Caps, Frame, FrameError, Nic, PoolClass, RxChecksum, TxRequest,
};
use stack::seq::SeqNum;
use stack::sim::pair::worker_on;
use stack::tcp::verdict::CloseReason;
use stack::time::Instant;
use stack::wire::tcp::Flags;
use stack::wire::{IpSpec, Link, MacAddr, SegmentSpec, arp, emit};
use stack::worker::Worker;

const US: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const PEER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const LINK: Link = Link {
    dst: MacAddr([2, 0, 0, 0, 0, 1]),
    src: MacAddr([2, 0, 0, 0, 0, 2]),
    vlan: None,
};
const EMBRYOS: u16 = 80;
const COOKIES: u16 = 82;
const CLOSED: u16 = 81;

/// A buffer that was made before anything was counted. `shared`: somebody else reads it, so it can't be rewritten.
struct Buffer {
    bytes: Box<[u8; 2048]>,
    len: usize,
    shared: bool,
}

impl Buffer {
    fn new(bytes: &[u8], shared: bool) -> Self {
        let mut buffer = Box::new([0; 2048]);
        buffer[..bytes.len()].copy_from_slice(bytes);
        Self {
            bytes: buffer,
            len: bytes.len(),
            shared,
        }
    }
}

impl Frame for Buffer {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
    fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        (!self.shared).then_some(&mut self.bytes[..self.len])
    }
    fn total_len(&self) -> usize {
        self.len
    }
    fn copy_out(&self, offset: usize, into: &mut [u8]) -> usize {
        let from = self.bytes().get(offset..).unwrap_or(&[]);
        let len = from.len().min(into.len());
        into[..len].copy_from_slice(&from[..len]);
        len
    }
    fn set_len(&mut self, len: usize) -> Result<(), FrameError> {
        if self.shared {
            return Err(FrameError::NotExclusive);
        }
        if len > self.bytes.len() {
            return Err(FrameError::NoTailroom { capacity: 2048 });
        }
        if len > self.len {
            self.bytes[self.len..len].fill(0);
        }
        self.len = len;
        Ok(())
    }
    fn prefetch(&self) {}
    fn rx_checksum(&self) -> RxChecksum {
        RxChecksum::default()
    }
    fn request(&mut self, _request: Option<TxRequest>) {}
}

/// A link whose buffers all exist from the start. What is sent goes to `sent`, which has room.
struct MadeUp {
    caps: Caps,
    mac: MacAddr,
    rx: VecDeque<Buffer>,
    pool: Vec<Buffer>,
    sent: Vec<Buffer>,
    cycles: AtomicUsize,
}

impl Nic for MadeUp {
    type Frame = Buffer;

    fn caps(&self) -> &Caps {
        &self.caps
    }
    fn mac(&self) -> [u8; 6] {
        self.mac.0
    }
    fn rx(&mut self, into: &mut Burst<Buffer>) -> usize {
        let before = into.len();
        while into.room() > 0
            && let Some(frame) = self.rx.pop_front()
        {
            drop(into.push(frame));
        }
        into.len() - before
    }
    fn tx(&mut self, from: &mut Burst<Buffer>) -> usize {
        let sent = from.len();
        self.sent.extend(from.take_front(sent));
        sent
    }
    fn free(&mut self, from: &mut Burst<Buffer>) {
        for mut buffer in from.take_front(BURST_FRAMES) {
            if self.pool.len() < self.pool.capacity() {
                buffer.len = 0;
                self.pool.push(buffer);
            }
        }
    }
    fn alloc(&mut self, _class: PoolClass, into: &mut Burst<Buffer>, n: usize) -> usize {
        let n = n.min(self.pool.len()).min(into.room());
        for buffer in self.pool.drain(..n) {
            drop(into.push(buffer));
        }
        n
    }
    fn share(&mut self, _frame: &mut Buffer) -> Option<Buffer> {
        None
    }
    fn cycles(&self) -> u64 {
        self.cycles.fetch_add(1, Ordering::Relaxed) as u64
    }
}

fn segment(peer_port: u16, port: u16, flags: Flags, (seq, ack): (u32, u32)) -> Buffer {
    let spec = SegmentSpec {
        flags,
        seq: SeqNum(seq),
        ack: SeqNum(ack),
        ..SegmentSpec::new(LINK, (PEER, peer_port).into(), (US, port).into())
    };
    let mut bytes = [0; 128];
    let len = spec.emit(&mut bytes).expect("fits");
    Buffer::new(&bytes[..len], false)
}

fn nic(mac: MacAddr) -> MadeUp {
    MadeUp {
        caps: Caps::without_offloads("memory, no NIC".into(), 1500),
        mac,
        rx: VecDeque::with_capacity(10_000),
        pool: (0..5_000).map(|_| Buffer::new(&[], false)).collect(),
        sent: Vec::with_capacity(20_000),
        cycles: AtomicUsize::new(0),
    }
}

fn worker() -> Worker<MadeUp> {
    let address = IpAddr::from(US);
    let mut spec = ConfigSpec::new(vec![Interface {
        address,
        prefix_len: 24,
    }]);
    let listener = |port, policy| ListenerConfig {
        backlog: 1000,
        ..ListenerConfig::new(port, policy)
    };
    spec.listeners = vec![
        listener(EMBRYOS, SynPolicy::Embryo),
        listener(COOKIES, SynPolicy::CookieAlways),
    ];
    worker_on(nic(LINK.dst), spec, NoApp)
}

/// Frames of every kind that a worker meets, each `count` times.
fn put_on_the_wire(worker: &mut Worker<MadeUp>, count: u16) {
    let mut request = [0; 128];
    let packet = arp::Packet::request(LINK.src, PEER, US);
    let arp_len = emit::arp(LINK, &packet, &mut request).expect("fits");
    let arp = request;
    let ip = IpSpec::new(PEER.into(), US.into());
    let echo_len = emit::echo_request(LINK, &ip, 1, 2, b"data", &mut request).expect("fits");
    for n in 0..count {
        let (peer_port, rx) = (1024 + n, &mut worker.nic_mut().rx);
        rx.push_back(segment(peer_port, CLOSED, Flags::SYN, (0, 0)));
        rx.push_back(segment(peer_port, EMBRYOS, Flags::SYN, (0, 0)));
        rx.push_back(segment(peer_port, COOKIES, Flags::SYN, (0, 0)));
        rx.push_back(segment(peer_port, COOKIES, Flags::ACK, (1, 1)));
        let mut shared = segment(peer_port, CLOSED, Flags::SYN, (0, 0));
        shared.shared = true;
        rx.push_back(shared);
        rx.push_back(Buffer::new(&arp[..arp_len], false));
        rx.push_back(Buffer::new(&request[..echo_len], false));
        rx.push_back(Buffer::new(&request[..20], false));
    }
}

fn run(worker: &mut Worker<MadeUp>, from_ms: u64) {
    let mut now_ms = from_ms;
    while worker.turn(Instant::from_ms(now_ms)) > 0 {}
    // All timers: retransmissions, expiry, neighbours.
    for _ in 0..2_000 {
        now_ms += 10;
        worker.turn(Instant::from_ms(now_ms));
    }
}

#[test]
fn nothing_is_allocated_after_start() {
    // The counter works: without this, a counter that was not installed would prove anything.
    let control = allocation_counter::measure(|| drop(std::hint::black_box(vec![1u8; 100])));
    assert_eq!(control.count_total, 1);

    let mut worker = worker();
    for round in 0..2u64 {
        put_on_the_wire(&mut worker, 300);
        let counted = allocation_counter::measure(|| run(&mut worker, 1_000_000 + round * 60_000));
        assert_eq!(counted.count_total, 0, "round {round}: {counted:?}");
        worker.nic_mut().sent.clear();
    }
    // It did what it was to be watched at.
    for (counter, at_least) in [
        (Counter::RstSent, 1_200),
        (Counter::SynEmbryo, 600),
        (Counter::SynCookieSent, 600),
        (Counter::CookieRejected, 600),
        (Counter::RepliesCopied, 600),
        (Counter::ArpAnswered, 600),
        (Counter::EchoAnswered, 600),
        (Counter::SynAckRetransmitted, 600),
        (Counter::EmbryoExpired, 600),
    ] {
        let value = worker.counters().get(counter);
        assert!(value >= at_least, "{}: {value}", counter.name());
    }
    assert_eq!(worker.counters().unaccounted(), 0);
}

/// Both ends of many short conversations: one echoes, the other connects, sends, compares lengths and closes.
#[derive(Default)]
struct Talker {
    /// Whom to connect to, if anybody, and how many connections to have at once.
    remote: Option<(SocketAddr, u32)>,
    alive: u32,
    opened: u32,
    echoed: u64,
    closed: u32,
    /// A connection that is left alone for so many turns more.
    idle: Option<(ConnId, u32)>,
}

const WORDS: [u8; 3000] = [7; 3000];

impl App for Talker {
    /// Bytes that came.
    type Conn = u32;

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, _came: &mut u32) {
        self.opened += 1;
        if self.remote.is_some() {
            assert_eq!(cx.send_bytes(conn, &WORDS), Ok(WORDS.len()));
        }
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, came: &mut u32) {
        if self.remote.is_none() {
            while cx.has_room(conn)
                && let Some(Chunk { frame, start, len }) = cx.take(conn)
            {
                let item = TxItem::Owned { frame, start, len };
                assert!(cx.send(conn, item).is_ok());
            }
            return;
        }
        *came += cx.unread_len(conn);
        cx.consume(conn, u32::MAX);
        if *came == WORDS.len() as u32 {
            self.echoed += u64::from(*came);
            if self.idle.is_none() {
                self.idle = Some((conn, 20));
            } else if self.opened.is_multiple_of(8) {
                cx.abort(conn);
            } else {
                cx.close(conn);
            }
        }
    }

    fn on_writable<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        came: &mut u32,
    ) {
        self.on_data(cx, conn, came);
    }

    fn on_close<N: Nic>(
        &mut self,
        _cx: &mut Cx<'_, N, Self::Conn>,
        _conn: ConnId,
        _came: &mut u32,
        _reason: CloseReason,
    ) {
        self.closed += 1;
        self.alive = self.alive.saturating_sub(1);
    }

    fn on_tick<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>) {
        if let Some((conn, turns)) = self.idle {
            self.idle = turns.checked_sub(1).map(|turns| (conn, turns));
            if turns == 0 {
                cx.close(conn);
            }
        }
        if let Some((remote, wanted)) = self.remote
            && self.alive < wanted
            && cx.connect(remote, &Connect::default(), 0).is_ok()
        {
            self.alive += 1;
        }
    }
}

fn talker(address: Ipv4Addr, mac: MacAddr, app: Talker) -> Worker<MadeUp, Talker> {
    let mut spec = ConfigSpec::new(vec![Interface {
        address: address.into(),
        prefix_len: 24,
    }]);
    spec.listeners = vec![ListenerConfig {
        backlog: 4,
        ..ListenerConfig::new(EMBRYOS, SynPolicy::CookieWhenFull)
    }];
    spec.limits.records = Capacity::of_each(Records { v4: 32, v6: 32 });
    spec.limits.queue_items = 2048;
    // Parked at the first opportunity, and open again with the next segment.
    spec.park_after = Duration::ZERO;
    worker_on(nic(mac), spec, app)
}

/// Moves what one has sent to the other, and loses one frame in 50. Each buffer is exchanged for an empty one, so that both
/// keep as many as they had: a pool that runs dry has leaked.
fn carry(from: &mut MadeUp, to: &mut MadeUp, carried: &mut u32) {
    for mut frame in from.sent.drain(..) {
        *carried += 1;
        if carried.is_multiple_of(50) {
            frame.len = 0;
            from.pool.push(frame);
        } else {
            to.rx.push_back(frame);
            from.pool.extend(to.pool.pop());
        }
    }
}

#[test]
fn connections_allocate_nothing_once_every_place_was_used() {
    let mut server = talker(US, LINK.dst, Talker::default());
    let client = Talker {
        remote: Some(((US, EMBRYOS).into(), 24)),
        ..Talker::default()
    };
    let mut client = talker(PEER, LINK.src, client);
    let (mut now_ms, mut carried) = (1_000_000, 0);
    let mut talk = |turns: u32| {
        for _ in 0..turns {
            now_ms += 1;
            let now = Instant::from_ms(now_ms);
            client.turn(now);
            carry(client.nic_mut(), server.nic_mut(), &mut carried);
            server.turn(now);
            carry(server.nic_mut(), client.nic_mut(), &mut carried);
        }
        (client.app().closed, server.app().closed)
    };
    let warm = talk(20_000);
    assert!(warm.0 > 500 && warm.1 > 500, "{warm:?}");
    let mut done = warm;
    let counted = allocation_counter::measure(|| done = talk(20_000));
    assert_eq!(counted.count_total, 0, "{counted:?}");
    assert!(done.0 > warm.0 + 500 && done.1 > warm.1 + 500, "{done:?}");
    for (worker, counters) in [
        (
            &client,
            [
                Counter::ActiveOpens,
                Counter::TimeWaitRecycled,
                Counter::ConnectionsParked,
            ],
        ),
        (
            &server,
            [
                Counter::EmbryoEstablished,
                Counter::ConnectionsParked,
                Counter::ConnectionsClosed,
            ],
        ),
    ] {
        for counter in counters {
            assert!(worker.counters().get(counter) > 100, "{}", counter.name());
        }
        assert!(worker.tcp_counters().retransmitted_segments > 10);
        assert_eq!(worker.counters().unaccounted(), 0);
    }
}
