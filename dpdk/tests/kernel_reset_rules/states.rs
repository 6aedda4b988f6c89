//! Every synchronised state, SYN-RECEIVED, TIME-WAIT and SYN cookies: the same connections are brought into the same state at the
//! kernel and at our worker, each gets one segment, and the answers are compared, as is whether there is a connection still.
//!
//! It must never use a port twice: what is left of one case would answer for another.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use stack::conn::{Capacity, Records};
use stack::local::listener::{ListenerConfig, SynPolicy};
use stack::nic::Frame as _;
use stack::nic::memory::MemoryNic;
use stack::seq::SeqNum;
use stack::sim::pair::worker_on;
use stack::sim::puppet::Puppet;
use stack::time::Instant;
use stack::wire::tcp::Flags;
use stack::wire::tcp_options::{OptionBytes, SegmentOptions, Timestamps};
use stack::wire::{Link, MacAddr, SegmentSpec, parse};
use stack::worker::Worker;

use super::{Kernel, PATIENCE, PEER_MAC, PEERS, TARGETS, ip_setting, our_config};

/// The listeners' port: nothing of the other table's lies here.
pub(super) const PORT: u16 = 82;
/// The first port of the peer.
const FIRST_PORT: u16 = 8192;
const BATCH: usize = 64;
/// The peer's ISS.
const ISS: u32 = u32::MAX - 50;
/// TSval of the peer's handshake; its later segments have one that is newer.
const TSVAL: u32 = 100_000;
const NEWER: u32 = TSVAL + 10;
/// Older by more than the kernel lets pass as reordered.
const OLDER: u32 = TSVAL - 50_000;

/// The state of a connection when the segment comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// A SYN-ACK with a cookie was sent, nothing is kept.
    Cookie,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
}

const STATES: [State; 9] = [
    State::Cookie,
    State::SynReceived,
    State::Established,
    State::FinWait1,
    State::FinWait2,
    State::CloseWait,
    State::Closing,
    State::LastAck,
    State::TimeWait,
];

impl State {
    /// Whether the connection has sent its FIN.
    fn has_closed(self) -> bool {
        matches!(
            self,
            Self::FinWait1 | Self::FinWait2 | Self::Closing | Self::LastAck | Self::TimeWait
        )
    }
}

/// Which acknowledgment number the segment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ack {
    /// Of all that was sent, SYN and FIN included.
    All,
    /// One less: in FIN-WAIT-1 and the like SND.UNA.
    AllButOne,
    Unsent,
    Ancient,
}

const ACKS: [Ack; 4] = [Ack::All, Ack::AllButOne, Ack::Unsent, Ack::Ancient];

/// The segment's timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamp {
    None,
    Newer,
    Older,
}

/// One segment to a connection in one state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) state: State,
    /// Whether the handshake agreed on timestamps.
    pub(super) timestamps: bool,
    pub(super) flags: Flags,
    /// SEG.SEQ − RCV.NXT.
    pub(super) offset: i32,
    pub(super) ack: Ack,
    pub(super) text_len: usize,
    pub(super) stamp: Stamp,
}

impl Case {
    pub(super) fn has(&self, flag: Flags) -> bool {
        self.flags.contains(flag)
    }

    /// SEG.LEN.
    pub(super) fn seg_len(&self) -> i32 {
        self.text_len as i32 + i32::from(self.has(Flags::SYN)) + i32::from(self.has(Flags::FIN))
    }

    /// Whether it ends exactly at RCV.NXT, so that nothing of it is new.
    pub(super) fn ends_at_rcv_nxt(&self) -> bool {
        self.offset < 0 && self.offset + self.seg_len() == 0
    }
}

/// The numbers of one connection as the peer knows them.
#[derive(Debug, Clone, Copy, Default)]
struct Numbers {
    /// The number that the other side expects next.
    rcv_nxt: u32,
    /// The number that it sends next.
    snd_nxt: u32,
    /// Its last TSval.
    tsval: Option<u32>,
}

impl Numbers {
    /// The timestamps of a segment of the peer.
    fn stamp(&self, tsval: u32) -> Option<(u32, u32)> {
        self.tsval.map(|tsecr| (tsval, tsecr))
    }
}

/// A segment that came out. The numbers are relative: of a SYN-ACK or of what follows a new handshake nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Out {
    pub(super) flags: Flags,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) stamped: bool,
    tsval: Option<u32>,
}

/// The answer to a segment, and whether there is a connection afterwards, by the flags of the answer to a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) answers: Vec<(Flags, u32, u32, bool)>,
    pub(super) probe: Option<Flags>,
}

impl Out {
    /// Flags, sequence and acknowledgment number as far from what the peer knows, and whether it has timestamps.
    fn relative(&self, n: &Numbers) -> (Flags, u32, u32, bool) {
        let is_new = self.flags.contains(Flags::SYN);
        let seq = if is_new || self.flags == Flags::RST_ACK && self.seq == 0 {
            0
        } else {
            self.seq.wrapping_sub(n.snd_nxt)
        };
        let ack = if self.flags.contains(Flags::ACK) {
            self.ack.wrapping_sub(n.rcv_nxt)
        } else {
            0
        };
        (self.flags, seq, ack, self.stamped)
    }
}

impl Verdict {
    pub(super) fn is_silent(&self) -> bool {
        self.answers.is_empty()
    }

    /// One ACK with nothing else.
    pub(super) fn acks(&self) -> bool {
        matches!(self.answers[..], [(Flags::ACK, ..)])
    }

    /// One reset.
    pub(super) fn resets(&self) -> bool {
        matches!(self.answers[..], [(flags, ..)] if flags.contains(Flags::RST))
    }

    /// Whether there is no connection afterwards.
    pub(super) fn is_gone(&self) -> bool {
        self.probe.is_some_and(|flags| flags.contains(Flags::RST))
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let flags = (0..16u8).map(|bits| Flags((bits & 7) | (bits & 8) << 1));
    let flags: Vec<Flags> = flags.collect();
    for state in STATES {
        for (timestamps, stamp) in [
            (false, Stamp::None),
            (true, Stamp::None),
            (true, Stamp::Newer),
            (true, Stamp::Older),
        ] {
            for &flags in &flags {
                let acks: &[Ack] = if flags.contains(Flags::ACK) {
                    &ACKS
                } else {
                    &[Ack::All]
                };
                for &ack in acks {
                    for text_len in [0, 3] {
                        for offset in [-100, -1, 0, 10, 0x3000_0000] {
                            cases.push(Case {
                                state,
                                timestamps,
                                flags,
                                offset,
                                ack,
                                text_len,
                                stamp,
                            });
                        }
                    }
                }
            }
        }
    }
    cases
}

/// One side under test: the kernel, or our worker.
trait Side {
    /// Gives it frames and returns what it sends, by the peer's port.
    fn exchange(&mut self, frames: &[Vec<u8>]) -> BTreeMap<u16, Vec<Out>>;
    /// Its application takes over so many connections.
    fn accept(&mut self, count: usize);
    /// Its application ends its direction of all.
    fn shutdown(&mut self);
    /// Its application forgets all.
    fn forget(&mut self);
}

struct KernelSide<'a> {
    kernel: &'a mut Kernel,
    listener: &'a TcpListener,
    family: usize,
    streams: Vec<TcpStream>,
}

impl Side for KernelSide<'_> {
    fn exchange(&mut self, frames: &[Vec<u8>]) -> BTreeMap<u16, Vec<Out>> {
        let mut out: BTreeMap<u16, Vec<Out>> = BTreeMap::new();
        let family = self.family;
        self.kernel.exchange(family, frames, |frame| {
            // Segments left over from the other family are sent again for a while.
            let (is_v6, wanted_v6) = (frame[12..14] == [0x86, 0xdd], family == 1);
            if is_v6 == wanted_v6
                && let Some((port, segment)) = read(frame)
            {
                out.entry(port).or_default().push(segment);
            }
        });
        out
    }

    fn accept(&mut self, count: usize) {
        let start = std::time::Instant::now();
        while self.streams.len() < count {
            assert!(start.elapsed() < PATIENCE, "the kernel's handshakes");
            match self.listener.accept() {
                Ok((stream, _)) => self.streams.push(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => panic!("accept: {error}"),
            }
        }
    }

    fn shutdown(&mut self) {
        for stream in &self.streams {
            stream
                .shutdown(std::net::Shutdown::Write)
                .expect("an open stream");
        }
    }

    fn forget(&mut self) {
        for stream in self.streams.drain(..) {
            // Resets instead of FINs that are sent again and again.
            let _ = close_by_reset(&stream);
        }
        while self.listener.accept().is_ok() {}
    }
}

/// A close sends a reset.
fn close_by_reset(stream: &TcpStream) -> std::io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the descriptor is open, and the option's value is a linger of that size, which outlives the call.
    let status = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    if status == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

struct OurSide {
    worker: Worker<MemoryNic, Puppet>,
    now: Instant,
}

impl OurSide {
    fn new(mac: [u8; 6], policy: SynPolicy) -> Self {
        let mut spec = our_config();
        spec.listeners = vec![ListenerConfig {
            backlog: 256,
            ..ListenerConfig::new(PORT, policy)
        }];
        // As the kernel is set: no limit on answers, ACKs at once, segments without their timestamps taken.
        spec.tcp.challenge_interval = Duration::ZERO;
        spec.tcp.profile.ack_delay = Duration::ZERO;
        spec.tcp.require_timestamps = false;
        spec.limits.records = Capacity::of_each(Records { v4: 256, v6: 256 });
        let holder = Puppet {
            reads: false,
            closes: false,
            ..Puppet::default()
        };
        Self {
            worker: worker_on(MemoryNic::new(mac), spec, holder),
            now: Instant::from_ms(100_000),
        }
    }
}

impl Side for OurSide {
    fn exchange(&mut self, frames: &[Vec<u8>]) -> BTreeMap<u16, Vec<Out>> {
        for frame in frames {
            self.worker.nic_mut().inject_bytes(frame);
        }
        self.now = self.now + Duration::from_millis(1);
        while self.worker.turn(self.now) > 0 {}
        let mut out: BTreeMap<u16, Vec<Out>> = BTreeMap::new();
        for frame in self.worker.nic_mut().take_sent() {
            if let Some((port, segment)) = read(frame.bytes()) {
                out.entry(port).or_default().push(segment);
            }
        }
        out
    }

    fn accept(&mut self, count: usize) {
        assert_eq!(self.worker.app().conns.len(), count, "our handshakes");
    }

    fn shutdown(&mut self) {
        let now = self.now;
        self.worker.with_cx(now, |app, cx| {
            for &id in &app.conns {
                cx.shutdown(id);
            }
        });
    }

    fn forget(&mut self) {
        assert_eq!(self.worker.counters().unaccounted(), 0);
    }
}

/// Port of the peer and segment.
fn read(frame: &[u8]) -> Option<(u16, Out)> {
    let parsed = parse(frame).ok()?;
    let segment = parsed.tcp()?;
    let header = segment.header;
    if header.src_port.get() != PORT {
        return None;
    }
    let timestamps = SegmentOptions::parse(segment.options).timestamps;
    Some((
        header.dst_port.get(),
        Out {
            flags: header.flags,
            seq: header.seq.get(),
            ack: header.ack.get(),
            stamped: timestamps.is_some(),
            tsval: timestamps.map(|ts| ts.tsval),
        },
    ))
}

/// The peer's frames to one side.
struct Peer {
    family: usize,
    mac: MacAddr,
}

impl Peer {
    fn frame(
        &self,
        port: u16,
        (flags, seq, ack): (Flags, u32, u32),
        timestamps: Option<(u32, u32)>,
        text_len: usize,
    ) -> Vec<u8> {
        let link = Link {
            dst: self.mac,
            src: PEER_MAC,
            vlan: None,
        };
        let options = timestamps.map_or(OptionBytes::new(), |(tsval, tsecr)| {
            OptionBytes::timestamps(Timestamps { tsval, tsecr })
        });
        let spec = SegmentSpec {
            seq: SeqNum(seq),
            ack: SeqNum(ack),
            flags,
            options: options.as_padded(),
            payload: &b"abc"[..text_len],
            ..SegmentSpec::new(
                link,
                (PEERS[self.family], port).into(),
                SocketAddr::from((TARGETS[self.family], PORT)),
            )
        };
        let mut bytes = vec![0; 160];
        let len = spec.emit(&mut bytes).expect("fits");
        bytes.truncate(len);
        bytes
    }
}

/// Connections of one side, one for each port, all in the same state.
struct Batch<'a> {
    side: &'a mut dyn Side,
    peer: &'a Peer,
    numbers: BTreeMap<u16, Numbers>,
}

impl<'a> Batch<'a> {
    /// Their SYNs are answered.
    fn open(side: &'a mut dyn Side, peer: &'a Peer, ports: &[u16], timestamps: bool) -> Self {
        let syn = |&port: &u16| {
            let ts = timestamps.then_some((TSVAL, 0));
            peer.frame(port, (Flags::SYN, ISS, 0), ts, 0)
        };
        let answers = side.exchange(&ports.iter().map(syn).collect::<Vec<_>>());
        let numbers = |&port: &u16| {
            let syn_ack = answers.get(&port).and_then(|out| out.first());
            let syn_ack = syn_ack.unwrap_or_else(|| panic!("no SYN-ACK for {port}"));
            assert!(syn_ack.flags.contains(Flags::SYN_ACK), "{syn_ack:?}");
            let numbers = Numbers {
                rcv_nxt: ISS.wrapping_add(1),
                snd_nxt: syn_ack.seq.wrapping_add(1),
                tsval: syn_ack.tsval,
            };
            (port, numbers)
        };
        let numbers = ports.iter().map(numbers).collect();
        Self {
            side,
            peer,
            numbers,
        }
    }

    /// The peer sends the same on all: at RCV.NXT, and acknowledges all but so many.
    fn send(&mut self, flags: Flags, unacknowledged: u32) {
        let frames = self.numbers.iter().map(|(&port, n)| {
            let numbers = (flags, n.rcv_nxt, n.snd_nxt.wrapping_sub(unacknowledged));
            self.peer.frame(port, numbers, n.stamp(TSVAL), 0)
        });
        let frames: Vec<_> = frames.collect();
        self.side.exchange(&frames);
    }

    fn send_fin(&mut self, unacknowledged: u32) {
        self.send(Flags::FIN | Flags::ACK, unacknowledged);
        for n in self.numbers.values_mut() {
            n.rcv_nxt = n.rcv_nxt.wrapping_add(1);
        }
    }

    /// Their application ends its direction.
    fn shutdown(&mut self) {
        self.side.shutdown();
        let sent = self.side.exchange(&[]);
        for (port, n) in &mut self.numbers {
            let mut of_port = sent.get(port).into_iter().flatten();
            assert!(
                of_port.any(|out| out.flags.contains(Flags::FIN)),
                "no FIN to {port}: {:?}",
                sent.get(port)
            );
            n.snd_nxt = n.snd_nxt.wrapping_add(1);
        }
    }

    fn bring_to(&mut self, state: State) {
        if !matches!(state, State::Cookie | State::SynReceived) {
            self.send(Flags::ACK, 0);
            self.side.accept(self.numbers.len());
        }
        if matches!(state, State::CloseWait | State::LastAck) {
            self.send_fin(0);
        }
        if state.has_closed() {
            self.shutdown();
        }
        match state {
            State::FinWait2 => self.send(Flags::ACK, 0),
            State::Closing => self.send_fin(1),
            State::TimeWait => self.send_fin(0),
            _ => {}
        }
    }

    /// Each gets its case.
    fn give(&mut self, cases: &[Case]) -> BTreeMap<u16, Vec<Out>> {
        let segments = self.numbers.iter().zip(cases).map(|((&port, n), case)| {
            let ack = match case.ack {
                Ack::All => n.snd_nxt,
                Ack::AllButOne => n.snd_nxt.wrapping_sub(1),
                Ack::Unsent => n.snd_nxt.wrapping_add(1_000),
                Ack::Ancient => n.snd_nxt.wrapping_sub(0x3000_0000),
            };
            let seq = n.rcv_nxt.wrapping_add_signed(case.offset);
            let ts = match case.stamp {
                Stamp::None => None,
                Stamp::Newer => n.stamp(NEWER),
                Stamp::Older => n.stamp(OLDER),
            };
            self.peer
                .frame(port, (case.flags, seq, ack), ts, case.text_len)
        });
        let segments: Vec<_> = segments.collect();
        self.side.exchange(&segments)
    }

    /// An empty segment from below RCV.NXT: each connection that there is answers it.
    fn probe(&mut self) -> BTreeMap<u16, Vec<Out>> {
        let probes = self.numbers.iter().map(|(&port, n)| {
            let seq = n.rcv_nxt.wrapping_sub(50);
            self.peer
                .frame(port, (Flags::ACK, seq, n.snd_nxt), n.stamp(NEWER), 0)
        });
        let probes: Vec<_> = probes.collect();
        self.side.exchange(&probes)
    }

    /// Embryos and connections go, wherever their RCV.NXT is now.
    fn end(&mut self) {
        self.side.forget();
        let resets = self.numbers.iter().flat_map(|(&port, n)| {
            let at = |seq| self.peer.frame(port, (Flags::RST, seq, 0), None, 0);
            [0, 1, 3, 4].map(|more| at(n.rcv_nxt.wrapping_add(more)))
        });
        let resets: Vec<_> = resets.collect();
        self.side.exchange(&resets);
    }
}

/// Brings a connection for each case into the cases' state, all of which have the same, and gives each its case.
fn play(side: &mut dyn Side, peer: &Peer, cases: &[Case], first_port: u16) -> Vec<Verdict> {
    let ports: Vec<u16> = (first_port..).take(cases.len()).collect();
    let mut batch = Batch::open(side, peer, &ports, cases[0].timestamps);
    batch.bring_to(cases[0].state);
    let answers = batch.give(cases);
    let alive = batch.probe();
    batch.end();
    let verdict = |port: &u16| {
        let of_port = answers.get(port).map_or(&[][..], Vec::as_slice);
        let n = &batch.numbers[port];
        Verdict {
            answers: of_port.iter().map(|out| out.relative(n)).collect(),
            probe: alive
                .get(port)
                .and_then(|out| out.first())
                .map(|out| out.flags),
        }
    };
    ports.iter().map(verdict).collect()
}

/// All cases over one family: kernel and we.
pub(super) fn play_all(
    family: usize,
    kernel: &mut Kernel,
    listener: &TcpListener,
) -> Vec<(Case, Verdict, Verdict)> {
    listener.set_nonblocking(true).expect("a listener");
    let mac = kernel.mac();
    let peer = Peer {
        family,
        mac: MacAddr(mac),
    };
    let mut results = Vec::new();
    let mut first_port = FIRST_PORT;
    for state in STATES {
        let (cookies, policy) = if state == State::Cookie {
            ("2", SynPolicy::CookieAlways)
        } else {
            ("1", SynPolicy::CookieWhenFull)
        };
        ip_setting("tcp_syncookies", cookies);
        for timestamps in [false, true] {
            let cases: Vec<Case> = cases()
                .into_iter()
                .filter(|case| case.state == state && case.timestamps == timestamps)
                .collect();
            for batch in cases.chunks(BATCH) {
                let mut kernels = KernelSide {
                    kernel: &mut *kernel,
                    listener,
                    family,
                    streams: Vec::new(),
                };
                let theirs = play(&mut kernels, &peer, batch, first_port);
                let ours = play(&mut OurSide::new(mac, policy), &peer, batch, first_port);
                first_port += batch.len() as u16;
                let both = theirs.into_iter().zip(ours);
                results.extend(
                    batch
                        .iter()
                        .zip(both)
                        .map(|(&case, (theirs, ours))| (case, theirs, ours)),
                );
            }
        }
    }
    results
}
