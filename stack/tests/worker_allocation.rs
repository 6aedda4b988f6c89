//! The worker allocates at start and never again: resets, embryos, cookies, established connections, ARP, echo, and copies
//! for shared frames.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stack::config::{ConfigSpec, Interface};
use stack::conn::listener::{ListenerConfig, SynPolicy};
use stack::counters::Counter;
use stack::memory::PageOptions;
use stack::nic::{Burst, Caps, Frame, FrameError, Nic, PoolClass, RxChecksum, TxRequest};
use stack::tcp::seq::SeqNum;
use stack::time::Instant;
use stack::wire::tcp::Flags;
use stack::wire::{IpSpec, Link, MacAddr, SegmentSpec, arp, emit};
use stack::worker::{RingEnd, Secrets, Worker};

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
        LINK.dst.0
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

fn worker() -> Worker<MadeUp> {
    let address = IpAddr::from(US);
    let mut spec = ConfigSpec::new(vec![Interface {
        address,
        prefix_len: 24,
    }]);
    let listener = |port, policy| ListenerConfig {
        address: None,
        port,
        policy,
        backlog: 1000,
        abort_on_overflow: false,
    };
    spec.listeners = vec![
        listener(EMBRYOS, SynPolicy::Embryo),
        listener(COOKIES, SynPolicy::CookieAlways),
    ];
    let nic = MadeUp {
        caps: Caps {
            link: "memory, no NIC".into(),
            mtu: 1500,
            rx_ipv4_checksum: false,
            rx_tcp_checksum: false,
            tx_ipv4_checksum: false,
            tx_tcp_checksum: false,
            tx_multi_seg: false,
        },
        rx: VecDeque::with_capacity(10_000),
        pool: (0..5_000).map(|_| Buffer::new(&[], false)).collect(),
        sent: Vec::with_capacity(20_000),
        cycles: AtomicUsize::new(0),
    };
    let secrets = Secrets {
        flow: [1, 2],
        isn: [3; 16],
        cookie: [4; 16],
        ports: [5; 16],
    };
    let config = Arc::new(spec.validate().expect("valid"));
    Worker::new(
        nic,
        config,
        &secrets,
        RingEnd::single(),
        PageOptions::default(),
    )
    .expect("memory")
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
