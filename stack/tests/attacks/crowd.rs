//! [`Crowd`]: thousands of peers made of frames alone, each as stubborn as the attack needs.
//!
//! It must never use the stack that it attacks, but to write frames.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use stack::seq::SeqNum;
use stack::sim::host::HostSpec;
use stack::sim::inspect::Tcp;
use stack::wire::tcp::Flags;
use stack::wire::{Link, MacAddr, SegmentSpec, arp, emit};

use crate::town::{SERVER_MAC, STATION_MAC, Town};

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// The first address of a crowd, and how many there are. Peer `n` has this one plus `n` modulo their number.
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);
const ADDRESSES: usize = 60_000;

/// Ports of one address change in such steps, so that a port says which peer of its address it belongs to.
const PORT_STEP: u16 = 16;
const FIRST_PORT: u16 = 1024;

/// The behaviour of the peers once they are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// They never get that far: their SYN-ACKs are ignored.
    Vanish,
    /// They acknowledge nothing new, and answer whatever comes with the window that they have.
    Stall,
    /// They say nothing any more.
    FallSilent,
    /// They send one byte ahead of each of 16 gaps, again and again.
    LeaveGaps,
    /// They send text as far as it is taken, and take nothing.
    Pour,
    /// They close when the server has, and come again from another port.
    ComeAgain,
}

#[derive(Debug, Clone, Copy, Default)]
struct Peer {
    port: u16,
    is_open: bool,
    is_asking: bool,
    seq: u32,
    rcv: u32,
}

/// Peers with one plan.
#[derive(Debug)]
pub(crate) struct Crowd {
    peers: Vec<Peer>,
    deed: Deed,
    /// Where they connect to.
    port: u16,
    /// The windows that they announce.
    window: u16,
    /// SYNs per tick.
    pace: usize,
    next: usize,
    ticks: u64,
    /// Whether those that were reset come again.
    returns: bool,
    pub(crate) resets: u64,
}

impl Crowd {
    pub(crate) fn new(peers: usize, deed: Deed, port: u16) -> Self {
        let peer = |n| Peer {
            port: FIRST_PORT + (n / ADDRESSES) as u16,
            ..Peer::default()
        };
        Self {
            peers: (0..peers).map(peer).collect(),
            deed,
            port,
            window: 0,
            pace: 20,
            next: 0,
            ticks: 0,
            returns: true,
            resets: 0,
        }
    }

    pub(crate) fn window(self, window: u16) -> Self {
        Self { window, ..self }
    }

    /// Those that are reset stay away.
    pub(crate) fn once(self) -> Self {
        Self {
            returns: false,
            ..self
        }
    }

    /// SYNs per hundredth of a second.
    pub(crate) fn pace(self, pace: usize) -> Self {
        Self { pace, ..self }
    }

    /// Peers that are connected.
    pub(crate) fn connected(&self) -> usize {
        self.peers.iter().filter(|peer| peer.is_open).count()
    }

    /// A hundredth of a second.
    pub(crate) fn tick(&mut self, town: &mut Town) {
        for (_, frame) in town.world.take_heard(town.station) {
            self.hear(town, &frame);
        }
        for _ in 0..self.pace.min(self.peers.len()) {
            let n = self.next;
            self.next = (self.next + 1) % self.peers.len();
            if !self.peers[n].is_open && (!self.peers[n].is_asking || self.deed == Deed::Vanish) {
                self.peers[n].is_asking = true;
                self.peers[n].seq = 1000 + n as u32;
                self.send(town, n, 0, Flags::SYN, &[]);
                self.peers[n].seq += 1;
            }
        }
        self.ticks += 1;
        if self.deed == Deed::LeaveGaps && self.ticks.is_multiple_of(200) {
            for n in 0..self.peers.len() {
                self.leave_gaps(town, n);
            }
        }
    }

    fn hear(&mut self, town: &mut Town, frame: &[u8]) {
        let Some(tcp) = Tcp::of(frame) else { return };
        let to = u32::from_be_bytes([frame[30], frame[31], frame[32], frame[33]]);
        let group = usize::from((tcp.ports()[1] - FIRST_PORT) % PORT_STEP);
        let n = group * ADDRESSES + to.wrapping_sub(FIRST.to_bits()) as usize;
        let Some(peer) = self.peers.get_mut(n) else {
            return;
        };
        if tcp.ports()[1] != peer.port || self.deed == Deed::Vanish {
            return;
        }
        let flags = tcp.flags();
        if flags & RST != 0 {
            self.resets += 1;
            peer.is_open = false;
            // Not to be asked again if it doesn't return.
            peer.is_asking = !self.returns;
            peer.port = next_port(peer.port);
            return;
        }
        if flags & (SYN | ACK) == SYN | ACK {
            if !peer.is_open {
                peer.is_open = true;
                peer.rcv = tcp.seq().wrapping_add(1);
                self.send(town, n, 0, Flags::ACK, &[]);
                self.begin(town, n);
            }
            return;
        }
        if !peer.is_open {
            return;
        }
        match self.deed {
            Deed::Stall | Deed::Pour => self.send(town, n, 0, Flags::ACK, &[]),
            Deed::ComeAgain if flags & FIN != 0 => {
                peer.rcv = tcp.seq().wrapping_add(tcp.payload().len() as u32 + 1);
                self.send(town, n, 0, Flags::FIN.with(Flags::ACK), &[]);
                let peer = &mut self.peers[n];
                (peer.is_open, peer.is_asking) = (false, false);
                peer.port = next_port(peer.port);
            }
            _ => {}
        }
    }

    /// The first thing that a connected peer does.
    fn begin(&mut self, town: &mut Town, n: usize) {
        match self.deed {
            Deed::LeaveGaps => self.leave_gaps(town, n),
            Deed::Pour => {
                for segment in 0..8 {
                    self.send(town, n, segment * 1000, Flags::ACK, &[0x55; 1000]);
                }
                self.peers[n].seq = self.peers[n].seq.wrapping_add(8000);
            }
            _ => {}
        }
    }

    fn leave_gaps(&mut self, town: &mut Town, n: usize) {
        if self.peers[n].is_open {
            for gap in 0..16 {
                self.send(town, n, 1 + 2 * gap, Flags::ACK, b"x");
            }
        }
    }

    fn send(&mut self, town: &mut Town, n: usize, ahead: u32, flags: Flags, payload: &[u8]) {
        let peer = &self.peers[n];
        let address = Ipv4Addr::from_bits(FIRST.to_bits() + (n % ADDRESSES) as u32);
        let source = SocketAddr::new(address.into(), peer.port);
        let spec = SegmentSpec {
            seq: SeqNum(peer.seq.wrapping_add(ahead)),
            ack: SeqNum(peer.rcv),
            flags,
            window: self.window,
            payload,
            ..to_server(source, self.port)
        };
        send(town, &spec);
    }
}

fn next_port(port: u16) -> u16 {
    match port.checked_add(PORT_STEP) {
        Some(next) => next,
        None => FIRST_PORT + (port - FIRST_PORT) % PORT_STEP,
    }
}

/// A segment of this source to the server.
fn to_server(source: SocketAddr, port: u16) -> SegmentSpec<'static> {
    let link = Link {
        dst: MacAddr(SERVER_MAC),
        src: MacAddr(STATION_MAC),
        vlan: None,
    };
    SegmentSpec::new(link, source, SocketAddr::new(HostSpec::v4(2), port))
}

fn send(town: &mut Town, spec: &SegmentSpec<'_>) {
    let mut bytes = vec![0; 1600];
    let len = spec.emit(&mut bytes).expect("fits");
    bytes.truncate(len);
    town.world.send(town.station, bytes);
}

/// Segments of the client's own connections, from an attacker who knows no more of them than the addresses and ports.
pub(crate) fn forge(town: &mut Town, tick: u32) {
    for (source, port) in town.flows() {
        for (n, flags) in [Flags::ACK, Flags::RST, Flags::SYN].into_iter().enumerate() {
            let guess = tick
                .wrapping_mul(2_654_435_761)
                .wrapping_add(n as u32 * 0x4000_0000);
            let mut options = [1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0];
            options[4..8].copy_from_slice(&guess.to_be_bytes());
            let spec = SegmentSpec {
                options: &options,
                seq: SeqNum(guess),
                ack: SeqNum(!guess),
                flags,
                window: 0,
                ..to_server(source, port)
            };
            send(town, &spec);
        }
    }
}

/// Addresses on the link that ask who the server is, so that it learns them.
pub(crate) fn ask(town: &mut Town, n: u32) {
    let (IpAddr::V4(server), asker) = (HostSpec::v4(2), Ipv4Addr::from_bits(FIRST.to_bits() + n))
    else {
        return;
    };
    let mut mac = STATION_MAC;
    mac[4] = (n >> 8) as u8;
    mac[3] = n as u8;
    let link = Link {
        dst: MacAddr(SERVER_MAC),
        src: MacAddr(mac),
        vlan: None,
    };
    let packet = arp::Packet::request(MacAddr(mac), asker, server);
    let mut bytes = vec![0; 64];
    let len = emit::arp(link, &packet, &mut bytes).expect("fits");
    bytes.truncate(len);
    town.world.send(town.station, bytes);
}
