//! [`Intruder`]: somebody on the switch who knows which connections there are and speaks in the name of their ends, but
//! doesn't see their numbers as they are now (RFC 5961's attacker, who guesses well).
//!
//! Called by: the stage while it plays. It must never send what TCP has to believe: a reset, or data with an acceptable
//! ACK, at exactly RCV.NXT.

use std::net::SocketAddr;

use stack::rng::Random;
use stack::sim::host::HostId;
use stack::sim::inspect::Tcp;
use stack::sim::link::Fate;
use stack::sim::trace::Crossing;
use stack::sim::world::World;
use stack::tcp::seq::SeqNum;
use stack::wire::tcp::Flags;
use stack::wire::{Link, MacAddr, SegmentSpec};

use crate::actor::Actor;
use crate::plan::{FIRST_PORT, Plan};

/// How far a guess is from the numbers that the connection uses, at most: in its window or near it.
const NEAR: u64 = 60_000;
/// How far an ACK is from what was sent, at least: further than any window.
const FAR: u32 = 1 << 30;

/// What is known of one side of a connection.
#[derive(Debug, Clone, Default)]
struct Known {
    iss: Option<u32>,
    /// The last segment without SYN or RST that it sent, as a frame.
    latest: Option<Vec<u8>>,
}

/// An attacker.
pub(crate) struct Intruder {
    station: HostId,
    random: Random,
    /// Crossings of the trace that were looked at.
    seen: usize,
    known: Vec<[Known; 2]>,
}

impl Intruder {
    /// One at this station.
    pub(crate) fn new(station: HostId, random: Random, plans: usize) -> Self {
        Self {
            station,
            random,
            seen: 0,
            known: vec![<[Known; 2]>::default(); plans],
        }
    }

    /// Sends a few forged segments.
    pub(crate) fn act(&mut self, world: &mut World<Actor>, plans: &[Plan]) {
        let fresh = &world.trace()[self.seen..];
        for crossing in fresh {
            if crossing.from != self.station && crossing.fate != Fate::Corrupted {
                self.watch(crossing);
            }
        }
        self.seen = world.trace().len();
        for _ in 0..self.random.within(1..=8) {
            let n = self.random.below(plans.len() as u64) as usize;
            let side = self.random.below(2) as usize;
            if let Some(frame) = self.forge(n, side, &plans[n]) {
                world.send(self.station, frame);
            }
        }
        world.take_heard(self.station);
    }

    fn watch(&mut self, crossing: &Crossing) {
        let Some(tcp) = Tcp::of(&crossing.bytes) else {
            return;
        };
        let plans = self.known.len();
        let numbers = tcp.ports().map(|port| port.wrapping_sub(FIRST_PORT));
        let (n, side) = match numbers.map(usize::from) {
            [n, _] if n < plans => (n, 1),
            [_, n] if n < plans => (n, 0),
            _ => return,
        };
        let known = &mut self.known[n][side];
        let flags = Flags(tcp.flags());
        if flags.contains(Flags::SYN) {
            known.iss = Some(tcp.seq());
        } else if !flags.contains(Flags::RST) {
            known.latest = Some(crossing.bytes.to_vec());
        }
    }

    /// A segment in the name of a side of an established connection; `None` when it isn't known to be one.
    fn forge(&mut self, n: usize, side: usize, plan: &Plan) -> Option<Vec<u8>> {
        let known = &self.known[n];
        let (iss, latest) = (known[side].iss?, known[side].latest.as_ref()?);
        known[1 - side].latest.as_ref()?;
        let tcp = Tcp::of(latest)?;
        let client_port = tcp.ports()[side];
        let ends = [
            SocketAddr::new(plan.client_address, client_port),
            plan.server,
        ];
        let mac = |at: usize| latest[at..at + 6].try_into().ok().map(MacAddr);
        let own = MacAddr([2, 0, 0, 0, 0, 9]);
        let random = &mut self.random;
        let link = Link {
            dst: mac(0)?,
            src: if random.hits(500_000) { mac(6)? } else { own },
            vlan: None,
        };
        // Before the first byte and behind the FIN, so never where the connection is.
        let end = iss.wrapping_add(plan.sends(side) as u32 + 2);
        let away = 1 + random.below(NEAR) as u32;
        let seq = random.one_of(&[iss.wrapping_sub(away), end.wrapping_add(away)]);
        let flags = random.one_of(&[
            Flags::RST,
            Flags::RST.with(Flags::ACK),
            Flags::SYN,
            Flags::SYN.with(Flags::ACK),
            Flags::ACK,
            Flags::ACK.with(Flags::FIN),
        ]);
        let mut options = tcp.options().to_vec();
        if let [1, 1, 8, 10, tsval, ..] = options.as_mut_slice()
            && random.hits(500_000)
        {
            // A timestamp far ahead, which would shut out the true ones.
            *tsval = tsval.wrapping_add(0x40);
        }
        let payload = vec![0xee; random.one_of(&[0, 1, 100])];
        let spec = SegmentSpec {
            seq: SeqNum(seq),
            ack: SeqNum(tcp.ack().wrapping_add(FAR)),
            flags,
            options: &options,
            payload: &payload,
            ..SegmentSpec::new(link, ends[side], ends[1 - side])
        };
        let mut frame = vec![0; 300];
        let len = spec.emit(&mut frame).ok()?;
        frame.truncate(len);
        Some(frame)
    }
}
