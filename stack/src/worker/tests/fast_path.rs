//! A worker with the fast path, and one without, that meet the same: they send the same frames, tell their apps the same and count
//! the same. Buffers are never scarce here: the fast path fetches them for its next segments a little earlier.

use core::fmt::Write;

use super::super::RingEnd;
use super::host::{Flow, Host, OPEN};
use super::neighbors::arp_request;
use super::paths::too_big;
use crate::config::{ConfigSpec, FastPath, Rest};
use crate::conn::{Capacity, ConnId, Records};
use crate::counters::Counter;
use crate::nic::Nic;
use crate::nic::memory::MemoryNic;
use crate::queue::item::{StaticId, TxItem};
use crate::rng::Random;
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{Spec, ack, data, fin, syn, syn_ack};
use crate::tcp::state::State;
use crate::wire::{MacAddr, vlan};
use crate::worker::app::{App, Cx};
use crate::worker::frame_writer::COPY_BREAK;

/// The most bytes of the static text: more than a segment.
const TEXT_LEN: u32 = 2_000;
/// The port of the peer over IPv4.
const V4_PORT: u16 = 40_000;
/// Steps of a play.
const STEPS: u32 = 60;
/// Times that a step waits, in ms: nothing, a delayed ACK, an RTO, until it parks, until its way is old.
const WAITS_MS: [u64; 6] = [0, 1, 50, 300, 1_100, 40_000];

/// One side of a connection, played by the test.
struct Peer {
    flow: Flow,
    /// `None` until it is accepted.
    conn: Option<ConnId>,
    has_timestamps: bool,
    /// Its SND.NXT and RCV.NXT.
    snd_nxt: u32,
    rcv_nxt: u32,
    has_closed: bool,
    /// The bytes sent to it last.
    last: Vec<u8>,
}

/// A host, its peers, and what was seen of it.
struct Play {
    host: Host<Puppet>,
    random: Random,
    peers: Vec<Peer>,
    text: StaticId,
    /// Whether the host takes timestamps.
    timestamps: bool,
    /// The windows that peers say.
    windows: &'static [u16],
    seen: String,
    /// Whether frames of different flows that leave in the same turn may do so in any order.
    is_by_flow: bool,
    /// Connections that rested when they were looked at, added up.
    rested: usize,
}

impl Play {
    fn new(seed: u64, fast_path: FastPath) -> Self {
        Self::with(seed, |spec| spec.fast_path = fast_path)
    }

    fn with(seed: u64, choose: impl FnOnce(&mut ConfigSpec)) -> Self {
        let mut random = Random::new(seed);
        let (queue_items, nagle) = (random.one_of(&[2, 4, 64]), random.hits(500_000));
        let timestamps = random.hits(700_000);
        let rcv_buf = random.one_of(&[4_000, 100_000]);
        let windows: &[u16] = random.one_of(&[
            &[0, 100, 10_000, 10_000, 10_000, 10_000][..],
            &[10_000],
            &[100, 150, 300],
        ]);
        let (multi_seg, offloads) = (random.hits(500_000), random.hits(200_000));
        let change = |spec: &mut ConfigSpec| {
            spec.limits.queue_items = queue_items;
            spec.park_after = core::time::Duration::from_secs(1);
            spec.tcp.timestamps = timestamps;
            spec.tcp.profile.nagle = nagle;
            spec.tcp.profile.rcv_buf = rcv_buf;
            choose(spec);
        };
        let change_nic = |nic: &mut MemoryNic| {
            let caps = nic.caps_mut();
            caps.tx_multi_seg = multi_seg;
            caps.tx_ipv4_checksum = offloads;
            caps.tx_tcp_checksum = offloads;
        };
        let mut host = Host::build(Puppet::default(), change, change_nic, RingEnd::single());
        let text: Vec<u8> = (0..TEXT_LEN).map(|at| at as u8).collect();
        let text = host.act(|puppet, cx| {
            puppet.closes = false;
            cx.register_static(&text).expect("room")
        });
        let mut play = Self {
            host,
            random,
            peers: Vec::new(),
            text,
            timestamps,
            windows,
            seen: String::new(),
            is_by_flow: false,
            rested: 0,
        };
        for flow in [
            Flow::v4(V4_PORT, OPEN),
            Flow::v6(40_001, OPEN),
            tagged(),
            Flow::v4(40_003, OPEN),
        ] {
            play.opens(flow.absolute());
        }
        play
    }

    /// The peer of `flow` opens a connection.
    fn opens(&mut self, flow: Flow) {
        let offers = syn().seq(0).mss(1_000).win(self.windows[0].max(1));
        let offers_timestamps = self.random.hits(700_000);
        let offers = if offers_timestamps {
            offers.ts(1, 0)
        } else {
            offers
        };
        self.host.on(flow).inject(offers);
        let answer = self.host.next_reply();
        let (iss, _) = numbers(packet_of(&answer));
        let mut peer = Peer {
            flow,
            conn: None,
            has_timestamps: offers_timestamps && self.timestamps,
            snd_nxt: 1,
            rcv_nxt: iss.wrapping_add(1),
            has_closed: false,
            last: Vec::new(),
        };
        self.says(&peer, ack());
        peer.conn = Some(self.host.conn());
        self.peers.push(peer);
        self.look();
    }

    /// The peer sends this, in order, acknowledging all that it has heard, unless `spec` says otherwise.
    fn says(&mut self, peer: &Peer, spec: Spec) {
        let frame = self.frame(peer, spec);
        self.host.inject_bytes(&frame);
    }

    fn frame(&mut self, peer: &Peer, mut spec: Spec) -> Vec<u8> {
        if spec.seq.is_none() {
            spec = spec.seq(peer.snd_nxt);
        }
        if spec.ack.is_none() {
            spec = spec.ack(peer.rcv_nxt);
        }
        if peer.has_timestamps {
            let now = self.host.now.as_ms() as u32;
            spec = spec.ts(now, now);
        }
        let window = self.random.one_of(self.windows);
        peer.flow.frame(spec.win(window))
    }

    /// Notes what was sent and said since the last look. The peers hear it.
    fn look(&mut self) {
        let mut frames: Vec<_> = core::iter::from_fn(|| self.host.try_reply()).collect();
        if self.is_by_flow {
            frames.sort_by_cached_key(|frame| {
                let port = port_of(frame);
                (port, port.is_none().then(|| frame.clone()))
            });
        }
        for frame in frames {
            writeln!(self.seen, "{frame:02x?}").expect("room");
            // ARP and NDP are none of the peers'.
            let Some(port) = port_of(&frame) else {
                continue;
            };
            let packet = packet_of(&frame);
            let (seq, len) = numbers(packet);
            for peer in &mut self.peers {
                // Losses are a matter of chance, too.
                let is_heard = self.random.hits(800_000);
                if peer.flow.remote.port() != port {
                    continue;
                }
                if seq == peer.rcv_nxt && is_heard {
                    peer.rcv_nxt = seq.wrapping_add(len);
                }
                peer.last.clone_from(&frame);
            }
        }
        let heard = self.host.heard();
        let counters = self.host.counters();
        let counted = Counter::ALL
            .iter()
            .map(|&counter| (counter.name(), counters.get(counter)));
        let counted: Vec<_> = counted.filter(|(_, n)| *n > 0).collect();
        let tcp = self.host.worker().tcp_counters();
        let tcp: Vec<_> = tcp.named().filter(|(_, n)| *n > 0).collect();
        writeln!(self.seen, "{heard:?} {counted:?} {tcp:?}").expect("room");
        self.rested += self.host.worker().core.conns.resting_len();
    }

    /// One thing happens to one connection.
    fn step(&mut self) {
        let at = self.random.below(self.peers.len() as u64) as usize;
        let mut peer = self.peers.swap_remove(at);
        let len = self.random.one_of(&[1, 10, 250, 300, 900, 1_000]);
        match self.random.below(18) {
            what @ 0..9 => self.peer_acts(&mut peer, what, len),
            what @ 9..15 => self.app_acts(&peer, what, len),
            what => self.time_passes(&mut peer, what),
        }
        self.peers.push(peer);
        self.look();
    }

    fn peer_acts(&mut self, peer: &mut Peer, what: u64, len: u32) {
        match what {
            0..4 if !peer.has_closed => {
                self.says(peer, data(len));
                peer.snd_nxt += len;
            }
            4 if !peer.has_closed => {
                // A burst of three.
                let frames = [0, len, 2 * len]
                    .map(|ahead| self.frame(peer, data(len).seq(peer.snd_nxt + ahead)));
                self.host.inject_burst(frames);
                peer.snd_nxt += 3 * len;
            }
            5 if !peer.has_closed => {
                self.says(peer, data(len).seq(peer.snd_nxt + len));
            }
            6 | 7 => self.says(peer, ack()),
            8 if self.random.hits(200_000) && !peer.has_closed => {
                self.says(peer, fin());
                peer.snd_nxt += 1;
                peer.has_closed = true;
            }
            _ => {}
        }
    }

    fn app_acts(&mut self, peer: &Peer, what: u64, len: u32) {
        let conn = peer.conn.expect("it was accepted");
        match what {
            9..12 => {
                let (id, start) = (self.text, self.random.below(500) as u32);
                let item = TxItem::Static { id, start, len };
                self.host.act(|_, cx| cx.send(conn, item).is_ok());
            }
            12 => {
                self.host
                    .act(|_, cx| cx.send_bytes(conn, &[7; 1_000][..len as usize]).is_ok());
            }
            13 => {
                let corks = self.random.hits(500_000);
                self.host.act(|_, cx| match corks {
                    true => drop(cx.cork(conn)),
                    false => cx.uncork(conn),
                });
            }
            14 if self.random.hits(200_000) => {
                let shuts = self.random.hits(500_000);
                self.host.act(|_, cx| match shuts {
                    true => cx.shutdown(conn),
                    false => cx.close(conn),
                });
            }
            14 => {
                let reads = self.random.hits(700_000);
                let others = self.peers.iter().filter_map(|peer| peer.conn);
                let fills = match self.random.hits(300_000) {
                    true => others.collect(),
                    false => Vec::new(),
                };
                self.host.act(|puppet, cx| {
                    (puppet.reads, puppet.fills) = (reads, fills);
                    if reads {
                        puppet.read(cx, conn);
                    }
                });
            }
            _ => {}
        }
    }

    fn time_passes(&mut self, peer: &mut Peer, what: u64) {
        match what {
            15 => {
                let tx_room = self.random.one_of(&[0, usize::MAX, usize::MAX]);
                self.host.nic().tx_room = tx_room;
            }
            17 if self.random.hits(300_000) => {
                self.host.inject_bytes(&arp_request());
            }
            17 if self.random.hits(300_000) => {
                // From a link address that is none.
                let src = core::mem::replace(&mut peer.flow.link.src, MacAddr::ZERO);
                self.says(peer, ack());
                peer.flow.link.src = src;
            }
            17 if peer.flow.remote.port() == V4_PORT && !peer.last.is_empty() => {
                self.host.inject_bytes(&too_big(&peer.last, 700));
            }
            _ => {
                let ms = self.random.one_of(&WAITS_MS);
                self.host.wait_ms(ms);
            }
        }
    }

    /// All that there was to see, and how many segments were predicted.
    fn end(&mut self) -> (String, u64) {
        self.host.nic().tx_room = usize::MAX;
        // Until all that waited has left.
        for _ in 0..20 {
            self.host.turn();
        }
        self.look();
        let tcp = self.host.worker().tcp_counters();
        let predicted = State::ALL.iter().map(|&state| tcp.predicted_in(state));
        (core::mem::take(&mut self.seen), predicted.sum())
    }
}

/// A flow in a VLAN.
fn tagged() -> Flow {
    let mut flow = Flow::v4(40_002, OPEN);
    flow.link.vlan = Some(vlan::Tag::new(7));
    flow
}

/// The port of the peer that a frame goes to; `None` where it is not TCP.
fn port_of(frame: &[u8]) -> Option<u16> {
    let packet = packet_of(frame);
    is_tcp(packet).then(|| {
        let ports = &packet[if packet[0] >> 4 == 4 { 20 } else { 40 }..];
        u16::from_be_bytes([ports[2], ports[3]])
    })
}

/// The bytes behind the link header.
fn packet_of(frame: &[u8]) -> &[u8] {
    let is_tagged = frame[12..14] == [0x81, 0];
    &frame[if is_tagged { 18 } else { 14 }..]
}

fn is_tcp(packet: &[u8]) -> bool {
    match packet[0] >> 4 {
        4 => packet[9] == 6,
        6 => packet[6] == 6,
        _ => false,
    }
}

/// SEG.SEQ and the length of a TCP segment in this packet, FIN and SYN included.
fn numbers(packet: &[u8]) -> (u32, u32) {
    let (header_len, packet_len) = match packet[0] >> 4 {
        4 => (20, usize::from(u16::from_be_bytes([packet[2], packet[3]]))),
        _ => (
            40,
            40 + usize::from(u16::from_be_bytes([packet[4], packet[5]])),
        ),
    };
    let tcp = &packet[header_len..packet_len];
    let seq = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
    let text_len = tcp.len() - usize::from(tcp[12] >> 4) * 4;
    (seq, text_len as u32 + u32::from(tcp[13] & 1))
}

fn play(seed: u64, fast_path: FastPath) -> (String, u64) {
    let mut play = Play::new(seed, fast_path);
    for _ in 0..STEPS {
        play.step();
    }
    play.end()
}

#[test]
fn whatever_happens_the_fast_path_changes_nothing() {
    let mut predicted = 0;
    for seed in 0..200 {
        let (general, none) = play(seed, FastPath::Off);
        assert_eq!(none, 0, "off is off");
        for fast_path in [FastPath::On, FastPath::Random(seed)] {
            let (fast, hits) = play(seed, fast_path);
            predicted += hits;
            let differs = general.lines().zip(fast.lines()).find(|(a, b)| a != b);
            assert!(general == fast, "seed {seed}, {fast_path:?}: {differs:?}");
        }
    }
    assert!(predicted > 1_000, "{predicted}");
}

/// Without parking, which forgets something: when it comes is a matter of timers.
#[test]
fn whatever_happens_a_rest_changes_nothing() {
    const NEVER: core::time::Duration = core::time::Duration::from_secs(1_000_000);
    let mut rested = 0;
    for seed in 0..200 {
        let [(awake, none), (resting, some)] = [u32::MAX, 0].map(|above| {
            let mut play = Play::with(seed, |spec| {
                let after = core::time::Duration::ZERO;
                (spec.park_after, spec.rest) = (NEVER, Rest { above, after });
                spec.fast_path = FastPath::Random(seed);
            });
            // Timers that are due in the same turn fire in another order after a rest.
            play.is_by_flow = true;
            for _ in 0..STEPS {
                play.step();
            }
            (play.end().0, play.rested)
        });
        assert_eq!(none, 0, "none is none");
        rested += some;
        let differs = awake.lines().zip(resting.lines()).find(|(a, b)| a != b);
        assert!(awake == resting, "seed {seed}: {differs:?}");
    }
    assert!(rested > 1_000, "{rested}");
}

#[test]
fn the_fast_path_sends_no_more_than_there_is_room_for() {
    const CONNECTIONS: u16 = 150;
    let mut host = Host::probing(|spec| {
        spec.limits.records = Capacity::of_each(Records { v4: 200, v6: 8 });
    });
    for n in 0..CONNECTIONS {
        host.on(Flow::v4(40_000 + n, OPEN)).shake_hands();
    }
    host.nic().tx_room = 0;
    host.act(|puppet, cx| {
        let id = cx.register_static(b"text").expect("room");
        for &conn in &puppet.conns {
            let (start, len) = (0, 4);
            assert!(cx.send(conn, TxItem::Static { id, start, len }).is_ok());
        }
    });
    host.nic().tx_room = usize::MAX;
    for _ in 0..10 {
        host.turn();
    }
    assert_eq!(host.count(Counter::TxNoRoom), 0);
    let sent = core::iter::from_fn(|| host.try_reply()).count();
    assert_eq!(sent, usize::from(CONNECTIONS));
}

/// Both paths send the same bytes; only the buffers show that the text was not copied.
fn assert_longer_text_is_chained(send: fn(&mut Cx<'_, MemoryNic, bool>, ConnId, usize)) {
    let change_nic = |nic: &mut MemoryNic| nic.caps_mut().tx_multi_seg = true;
    let mut host = Host::probing_on(|_| {}, change_nic);
    for (port, len) in [(1, COPY_BREAK), (2, COPY_BREAK + 1)] {
        host.on(Flow::v4(port, OPEN)).shake_hands();
        let (conn, now, is_chained) = (host.conn(), host.now, len > COPY_BREAK);
        host.worker().with_cx(now, |_, cx| send(cx, conn, len));
        host.worker().turn(now);
        let sent = host.nic().take_sent();
        let [frame] = &sent[..] else {
            panic!("{} frames", sent.len());
        };
        assert_eq!(!frame.chained_addresses().is_empty(), is_chained, "{len}");
    }
}

fn send_registered(cx: &mut Cx<'_, MemoryNic, bool>, conn: ConnId, len: usize) {
    let id = cx.register_static(&[7; 2 * COPY_BREAK]).expect("room");
    let (start, len) = (0, len as u32);
    assert!(cx.send(conn, TxItem::Static { id, start, len }).is_ok());
}

fn send_copied(cx: &mut Cx<'_, MemoryNic, bool>, conn: ConnId, len: usize) {
    assert_eq!(cx.send_bytes(conn, &vec![7; len]), Ok(len));
}

#[test]
fn longer_text_is_chained_on_the_fast_path_too() {
    assert_longer_text_is_chained(send_registered);
}

#[test]
fn longer_copied_text_is_chained_on_the_fast_path_too() {
    assert_longer_text_is_chained(send_copied);
}

fn assert_the_rest_goes_from_where_the_window_cut_it(
    send: fn(&mut Cx<'_, MemoryNic, bool>, ConnId, usize),
) {
    let mut host = Host::probing(|spec| spec.tcp.profile.nagle = false);
    host.inject(syn().seq(0).win(100));
    host.expect(syn_ack().seq(0).ack(1));
    host.inject(ack().seq(1).ack(1).win(100)).silent();
    let conn = host.conn();
    host.act(|_, cx| send(cx, conn, 250));
    host.expect(data(100).seq(1).ack(1)).silent();
    // It opens, and what was sent is not acknowledged yet.
    host.inject(ack().seq(1).ack(1).win(5_000));
    host.expect(data(150).push(true).seq(101).ack(1)).silent();
}

#[test]
fn the_rest_of_a_text_goes_from_where_the_window_cut_it() {
    assert_the_rest_goes_from_where_the_window_cut_it(send_registered);
}

#[test]
fn the_rest_of_copied_text_goes_from_where_the_window_cut_it() {
    assert_the_rest_goes_from_where_the_window_cut_it(send_copied);
}

/// An app that reads a byte at a time, and looks into other connections meanwhile.
#[derive(Default)]
struct Nibbler {
    conns: Vec<ConnId>,
    heard: Vec<u8>,
}

impl App for Nibbler {
    type Conn = ();

    fn on_open<N: Nic>(&mut self, _: &mut Cx<'_, N, ()>, conn: ConnId, (): &mut ()) {
        self.conns.push(conn);
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, (): &mut ()) {
        for &other in self.conns.iter().filter(|&&other| other != conn) {
            assert_eq!(cx.peek(other), b"", "another's bytes");
            assert_eq!(cx.unread_len(other), 0);
            cx.consume(other, 3);
        }
        while let Some(&byte) = cx.peek(conn).first() {
            self.heard.push(byte);
            cx.consume(conn, 1);
        }
    }
}

#[test]
fn a_lent_frame_is_read_by_its_connection_only_piece_by_piece() {
    let mut host = Host::build(Nibbler::default(), |_| {}, |_| {}, RingEnd::single());
    for port in [40_000, 40_001] {
        host.on(Flow::v4(port, OPEN)).shake_hands();
    }
    let spec = data(10).seq(1).ack(1);
    let frame = host.flow.frame_with_payload(spec, &[], b"0123456789");
    host.inject_bytes(&frame);
    assert_eq!(host.worker().app_mut().heard, b"0123456789");
    while host.try_reply().is_some() {}
}
