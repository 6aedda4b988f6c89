//! [`Host`]: a worker under test and the peer that the test plays.
//!
//! It must never compute what it checks, and never let a frame, a reply or a buffer go unnoticed. The peer is the test and no second
//! worker, as in `sim::pair`, because most of what it sends no TCP would.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use super::super::{RingEnd, Secrets, Worker};
use super::answer::Answer;
use super::resting;
use crate::config::{ConfigSpec, Interface};
use crate::conn::record::ShortUs;
use crate::conn::{Capacity, ConnId, Embryo, FlowKey, Found, Kind, Parked, Records};
use crate::counters::{Class, Counter, Counters};
use crate::local::listener::{ListenerConfig, SynPolicy};
use crate::memory::PageOptions;
use crate::nic::BURST_FRAMES;
use crate::nic::memory::{MemoryFrame, MemoryNic};
use crate::seq::SeqNum;
use crate::tcp::lang::{Base, Spec, ack, syn, syn_ack};
use crate::time::Instant;
use crate::wire::{Defect, Link, MacAddr, OptionBytes, SegmentSpec, Timestamps};
use crate::worker::app::{App, NoApp};

pub(super) const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(super) const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
pub(super) const OUR_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
pub(super) const PEER_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub(super) const OUR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 2);
pub(super) const PEER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1);
/// A port with a listener.
pub(super) const OPEN: u16 = 80;
/// A port without a listener.
pub(super) const CLOSED: u16 = 81;

/// Embryos that the listener of [`Host::new`] keeps.
pub(super) const BACKLOG: u32 = 8;
/// The window that injected segments advertise unless they say another.
const PEER_WINDOW: u16 = 10_000;

/// The link addresses of what the peer sends.
pub(super) const LINK: Link = Link {
    dst: OUR_MAC,
    src: PEER_MAC,
    vlan: None,
};

/// Whom the peer's segments come from and go to, and what their numbers are relative to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    pub(super) link: Link,
    pub(super) remote: SocketAddr,
    pub(super) local: SocketAddr,
    /// The peer's ISS; ours once a SYN-ACK has shown it.
    pub(super) peer_iss: SeqNum,
    pub(super) our_iss: Option<SeqNum>,
}

impl Flow {
    pub(super) fn v4(remote_port: u16, local_port: u16) -> Self {
        Self::between((PEER_V4, remote_port).into(), (OUR_V4, local_port).into())
    }

    pub(super) fn v6(remote_port: u16, local_port: u16) -> Self {
        Self::between((PEER_V6, remote_port).into(), (OUR_V6, local_port).into())
    }

    /// [`Flow::v6`] or [`Flow::v4`].
    pub(super) fn of(v6: bool, remote_port: u16, local_port: u16) -> Self {
        if v6 {
            Self::v6(remote_port, local_port)
        } else {
            Self::v4(remote_port, local_port)
        }
    }

    pub(super) fn between(remote: SocketAddr, local: SocketAddr) -> Self {
        Self {
            link: LINK,
            remote,
            local,
            // Just below the wrap: every handshake crosses it.
            peer_iss: SeqNum(u32::MAX),
            our_iss: None,
        }
    }

    /// With absolute numbers: an ISS of 0 on both sides.
    pub(super) fn absolute(mut self) -> Self {
        (self.peer_iss, self.our_iss) = (SeqNum(0), Some(SeqNum(0)));
        self
    }

    fn base(&self) -> Base {
        Base {
            sender_iss: self.peer_iss,
            receiver_iss: self.our_iss.unwrap_or(SeqNum(0)),
        }
    }

    /// The frame that carries `spec` from the peer to us.
    pub(super) fn frame(&self, spec: Spec) -> Vec<u8> {
        let offer = spec.to_segment(self.base()).options;
        let options = OptionBytes::syn(
            offer.mss,
            offer.window_scale,
            offer.sack_permitted,
            spec.timestamps
                .map(|(tsval, tsecr)| Timestamps { tsval, tsecr }),
        );
        self.frame_with_options(spec, options.as_padded())
    }

    /// The same with these option bytes instead of those that `spec` names.
    pub(super) fn frame_with_options(&self, spec: Spec, options: &[u8]) -> Vec<u8> {
        self.frame_with_payload(spec, options, &vec![0xa5; spec.payload_len as usize])
    }

    /// The same with this payload.
    pub(super) fn frame_with_payload(&self, spec: Spec, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let segment = spec.to_segment(self.base());
        let spec = SegmentSpec {
            seq: segment.seq,
            ack: segment.ack,
            flags: segment.flags,
            window: spec.window.unwrap_or(PEER_WINDOW),
            urgent: segment.urgent,
            options,
            payload,
            ..SegmentSpec::new(self.link, self.remote, self.local)
        };
        let mut bytes = vec![0; 2048.max(payload.len() + 256)];
        let len = spec.emit(&mut bytes).expect("a frame that fits");
        bytes.truncate(len);
        bytes
    }
}

/// The configuration of [`Host::new`]: both families, a listener with embryos on [`OPEN`].
pub(super) fn plain() -> ConfigSpec {
    let interface = |address: IpAddr, prefix_len| Interface {
        address,
        prefix_len,
    };
    let mut spec = ConfigSpec::new(vec![
        interface(OUR_V4.into(), 24),
        interface(OUR_V6.into(), 64),
    ]);
    spec.listeners = vec![ListenerConfig {
        backlog: BACKLOG,
        ..ListenerConfig::new(OPEN, SynPolicy::Embryo)
    }];
    spec.limits.records = Capacity::of_each(Records { v4: 64, v6: 64 });
    // No connection gives way here, even if others wait.
    spec.limits.stall_limit = Duration::from_secs(100_000);
    // The least buffer that needs a scale of 7.
    spec.tcp.profile.rcv_buf = 65_536 << 6;
    // Parked with the first turn in which nothing happens.
    spec.park_after = Duration::ZERO;
    spec
}

/// The secrets of every test: a failure repeats.
pub(super) const SECRETS: Secrets = Secrets {
    flow: [1, 2],
    isn: [3; 16],
    cookie: [4; 16],
    ports: [5; 16],
};

/// A worker on a NIC in memory. Each `inject…` is one turn of it, or as many as its frames need.
pub(super) struct Host<A: App = NoApp> {
    /// `None` once it has been ended.
    worker: Option<Worker<MemoryNic, A>>,
    pub(super) now: Instant,
    /// The connection of [`Host::inject`] and [`Host::expect`].
    pub(super) flow: Flow,
    replies: VecDeque<Vec<u8>>,
    last: Option<Answer>,
    before: Counters,
    injected: u64,
}

impl Host {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut ConfigSpec)) -> Self {
        Self::on_nic(change, |_| {}, RingEnd::single())
    }

    /// A host whose listener follows `policy`.
    pub(super) fn listening(policy: SynPolicy) -> Self {
        Self::with(|spec| spec.listeners[0].policy = policy)
    }

    pub(super) fn on_nic(
        change: impl FnOnce(&mut ConfigSpec),
        change_nic: impl FnOnce(&mut MemoryNic),
        ring: RingEnd<MemoryFrame>,
    ) -> Self {
        Self::build(NoApp, change, change_nic, ring)
    }
}

impl<A: App> Host<A> {
    pub(super) fn build(
        app: A,
        change: impl FnOnce(&mut ConfigSpec),
        change_nic: impl FnOnce(&mut MemoryNic),
        ring: RingEnd<MemoryFrame>,
    ) -> Self {
        let mut spec = plain();
        if resting::is_everywhere() {
            spec.rest = resting::AT_ONCE;
        }
        change(&mut spec);
        let config = Arc::new(spec.validate().expect("a valid configuration"));
        let mut nic = MemoryNic::new(OUR_MAC.0);
        change_nic(&mut nic);
        let worker = Worker::with_app(nic, app, config, &SECRETS, ring, PageOptions::default());
        Self {
            worker: Some(worker.expect("memory")),
            now: Instant::from_ms(1_000_000),
            flow: Flow::v4(40_000, OPEN),
            replies: VecDeque::new(),
            last: None,
            before: Counters::new(),
            injected: 0,
        }
    }

    pub(super) fn worker(&mut self) -> &mut Worker<MemoryNic, A> {
        self.worker.as_mut().expect("not ended")
    }

    pub(super) fn nic(&mut self) -> &mut MemoryNic {
        self.worker().nic_mut()
    }

    pub(super) fn counters(&self) -> &Counters {
        self.worker.as_ref().expect("not ended").counters()
    }

    /// The value of a counter since the host was made.
    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.counters().get(counter)
    }

    /// From here on the peer speaks on this flow.
    pub(super) fn on(&mut self, flow: Flow) -> &mut Self {
        self.flow = flow;
        self
    }

    /// A segment of the flow.
    pub(super) fn inject(&mut self, spec: Spec) -> &mut Self {
        let frame = self.flow.frame(spec);
        self.inject_bytes(&frame)
    }

    pub(super) fn inject_bytes(&mut self, frame: &[u8]) -> &mut Self {
        self.inject_burst([frame])
    }

    /// Segments of the flow that arrive in one burst.
    pub(super) fn inject_together(&mut self, specs: &[Spec]) -> &mut Self {
        let flow = self.flow;
        self.inject_burst(specs.iter().map(|&spec| flow.frame(spec)))
    }

    /// Frames that arrive together, up to 64 in each turn.
    pub(super) fn inject_burst<B: AsRef<[u8]>>(
        &mut self,
        frames: impl IntoIterator<Item = B>,
    ) -> &mut Self {
        let frames: Vec<MemoryFrame> = {
            let nic = self.nic();
            let frame = |bytes: B| nic.frame(bytes.as_ref());
            frames.into_iter().map(frame).collect()
        };
        self.inject_frames(frames)
    }

    pub(super) fn inject_frames(&mut self, frames: Vec<MemoryFrame>) -> &mut Self {
        self.before = self.counters().clone();
        self.injected = frames.len() as u64;
        let turns = frames.len().div_ceil(BURST_FRAMES);
        for frame in frames {
            self.nic().inject(frame);
        }
        for _ in 0..turns {
            self.turn();
        }
        self
    }

    /// One turn, with whatever waits.
    pub(super) fn turn(&mut self) -> usize {
        let now = self.now;
        let received = self.worker().turn(now);
        self.collect();
        received
    }

    /// Fetches what was sent.
    fn collect(&mut self) {
        let sent = self.nic().take_sent();
        self.replies.extend(sent.iter().map(MemoryFrame::to_vec));
        assert_eq!(self.counters().unaccounted(), 0, "a frame without one end");
    }

    /// Lets time pass, and the worker take a turn at its end without a frame.
    pub(super) fn wait_ms(&mut self, ms: u64) -> &mut Self {
        self.now = self.now + Duration::from_millis(ms);
        self.before = self.counters().clone();
        self.injected = 0;
        self.turn();
        self
    }

    /// Every frame of the last step ended in this counter, and in no other.
    #[track_caller]
    pub(super) fn counted(&mut self, counter: Counter) -> &mut Self {
        assert_eq!(self.ends(), [(counter.name(), self.injected)]);
        self
    }

    /// Every frame of the last step ended with this defect, and in no counter.
    #[track_caller]
    pub(super) fn refused(&mut self, defect: Defect) -> &mut Self {
        assert_eq!(self.ends(), [(defect.name(), self.injected)]);
        self.silent()
    }

    /// In what the frames of the last step ended.
    pub(super) fn ends(&self) -> Vec<(&'static str, u64)> {
        let now = self.counters();
        let counters = Counter::ALL
            .iter()
            .filter(|counter| counter.class() == Class::End)
            .map(|&counter| (counter.name(), now.get(counter) - self.before.get(counter)));
        let defects = Defect::ALL.iter().map(|&defect| {
            let before = self.before.get_defect(defect);
            (defect.name(), now.get_defect(defect) - before)
        });
        counters.chain(defects).filter(|(_, n)| *n > 0).collect()
    }

    /// The next reply is this segment, to the flow's peer.
    #[track_caller]
    pub(super) fn expect(&mut self, spec: Spec) -> &mut Self {
        let frame = self.next_reply();
        let answer = Answer::read(&frame);
        self.last = Some(answer);
        let flow = &mut self.flow;
        assert_eq!((answer.src, answer.dst), (flow.local, flow.remote));
        assert_eq!(MacAddr(answer.link_src), flow.link.dst);
        assert_eq!(MacAddr(answer.link_dst), flow.link.src);
        assert_eq!(answer.vlan, flow.link.vlan.map(|tag| tag.id()));
        assert_eq!(answer.ttl, 64);
        if answer.segment.flags.syn() && flow.our_iss.is_none() {
            flow.our_iss = Some(answer.segment.seq);
        }
        let base = flow.base().reverse();
        assert!(
            spec.matches(&answer.segment, base),
            "expected {spec}, got {}",
            Spec::of(&answer.segment, base)
        );
        self
    }

    /// The next reply, whatever it is.
    #[track_caller]
    pub(super) fn next_reply(&mut self) -> Vec<u8> {
        self.replies
            .pop_front()
            .expect("a reply, but there was none")
    }

    /// The next reply, if there is one.
    pub(super) fn try_reply(&mut self) -> Option<Vec<u8>> {
        self.replies.pop_front()
    }

    /// Forgets the ARP frames that were sent: whom a connection asks for its neighbour is another test's.
    pub(super) fn drop_arp(&mut self) -> &mut Self {
        self.replies.retain(|frame| frame[12..14] != [8, 6]);
        self
    }

    /// The reply that was expected last, in full.
    #[track_caller]
    pub(super) fn last(&self) -> Answer {
        self.last.expect("a reply was expected before")
    }

    /// Forgets our ISS: the next SYN-ACK shows a new one.
    pub(super) fn forget_iss(&mut self) -> &mut Self {
        self.flow.our_iss = None;
        self
    }

    /// Nothing (more) was sent.
    #[track_caller]
    pub(super) fn silent(&mut self) -> &mut Self {
        if let Some(reply) = self.replies.front() {
            panic!("a reply where silence is due: {reply:02x?}");
        }
        self
    }

    /// Ends the worker and checks that nothing was left behind.
    #[track_caller]
    fn end(&mut self) {
        let Some(worker) = self.worker.take() else {
            return;
        };
        assert!(
            self.replies.is_empty(),
            "{} replies unread",
            self.replies.len()
        );
        assert_eq!(worker.counters().unaccounted(), 0);
        let mut nic = worker.into_nic();
        drop(nic.take_sent());
        assert_eq!(nic.in_use(), 0, "buffers leaked");
    }
}

impl<A: App> Drop for Host<A> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}

/// Looks into the table, which a peer can't.
impl<A: App> Host<A> {
    fn flow_key(&mut self) -> FlowKey {
        let flow = self.flow;
        let config = Arc::clone(&self.worker().core.endpoint.config);
        let vlan = flow.link.vlan_id();
        let local = config.locals.find(vlan, flow.local.ip()).expect("ours");
        FlowKey::new(
            local,
            flow.local.port(),
            flow.remote.ip(),
            flow.remote.port(),
        )
    }

    fn found(&mut self) -> Option<Found> {
        let key = self.flow_key();
        let endpoint = &self.worker().core.endpoint;
        endpoint.table.lookup(&key, endpoint.hasher.hash(&key))
    }

    /// Whether the flow has no record but the bucket and the tag of another flow's.
    pub(super) fn collides(&mut self) -> bool {
        let key = self.flow_key();
        let endpoint = &self.worker().core.endpoint;
        let hash = endpoint.hasher.hash(&key);
        endpoint.table.probe(hash).candidate().is_some()
            && endpoint.table.lookup(&key, hash).is_none()
    }

    /// Which of so many workers owns the flow.
    pub(super) fn owner(&mut self, workers: u16) -> u16 {
        let key = self.flow_key();
        self.worker().core.endpoint.hasher.hash(&key).owner(workers)
    }

    /// The kind of the flow's record.
    pub(super) fn kind(&mut self) -> Option<Kind> {
        self.found().map(Found::kind)
    }

    /// The embryo of the flow.
    pub(super) fn embryo(&mut self) -> Option<Embryo> {
        let found = self.found()?;
        self.worker().core.endpoint.table.embryo(found).copied()
    }

    /// The flow's connection, parked.
    pub(super) fn parked(&mut self) -> Option<Parked> {
        let found = self.found()?;
        self.worker().core.endpoint.table.parked(found).copied()
    }
}

impl<A: App> Host<A> {
    /// Lets connections without news park: a tick of their timers must pass for that. Parked connections keep
    /// the time of their last challenge in steps of 4 ms, so all times here stay multiples of that.
    /// A parked connection of the flow, of whose way to the peer nothing is known.
    pub(super) fn with_parked(&mut self) -> ConnId {
        let key = self.flow_key();
        let parked = Parked {
            snd_nxt: SeqNum(1_000),
            rcv_nxt: SeqNum(2_000),
            rcv_wnd: 10_000,
            peer_window: 10_000,
            mss: 1_000,
            rto: ShortUs::from_us(1_000_000),
            ..Parked::default()
        };
        assert!(self.worker().preload(&key, &parked), "the flow is free");
        let now = self.now;
        let found = self.worker().with_cx(now, |_, cx| cx.next_conn(0).0);
        found.expect("it is there")
    }

    pub(super) fn park(&mut self) -> &mut Self {
        self.wait_ms(4)
    }

    /// The flow's three-way handshake, without options; the connection parks.
    pub(super) fn establish(&mut self) -> &mut Self {
        self.shake_hands().park()
    }

    /// The flow's three-way handshake, without options.
    pub(super) fn shake_hands(&mut self) -> &mut Self {
        self.inject(syn().seq(0)).counted(Counter::SynEmbryo);
        self.expect(syn_ack().seq(0).ack(1));
        self.inject(ack().seq(1).ack(1));
        self.counted(Counter::ConnSegment).silent()
    }
}
