//! [`Intruder`]: a host on the switch that knows which connections there are and speaks in the name of their ends, but
//! doesn't see their numbers as they are now (RFC 5961's attacker, who guesses well).
//!
//! It must never send what TCP has to believe: a reset, or data with an acceptable ACK, at exactly RCV.NXT.

use std::net::SocketAddr;

use stack::rng::Random;
use stack::seq::SeqNum;
use stack::sim::host::HostId;
use stack::sim::inspect::Tcp;
use stack::sim::link::Fate;
use stack::sim::trace::Crossing;
use stack::sim::world::World;
use stack::wire::tcp::Flags;
use stack::wire::vlan::VlanId;
use stack::wire::{Link, MacAddr, SegmentSpec};

use crate::actor::Actor;
use crate::plan::{FIRST_PORT, Plan};

/// How far a guess is from the numbers that the connection uses, at most: in its window or near it.
const NEAR: u64 = 60_000;
/// How far an ACK is from what was sent, at least: further than any window.
const FAR: u32 = 1 << 30;

/// The facts about one side of a connection.
#[derive(Debug, Clone, Default)]
struct Known {
    iss: Option<u32>,
    /// Its SYN, as a frame.
    syn: Option<Vec<u8>>,
    /// The last segment without SYN or RST that it sent, as a frame.
    latest: Option<Vec<u8>>,
}

/// An attacker.
pub(crate) struct Intruder {
    station: HostId,
    random: Random,
    /// Segments with the right numbers that were sent from another VLAN.
    pub(crate) sent_elsewhere: u64,
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
            sent_elsewhere: 0,
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
            known.syn = Some(crossing.bytes.to_vec());
        } else if !flags.contains(Flags::RST) {
            known.latest = Some(crossing.bytes.to_vec());
        }
    }

    /// A segment in the name of one side, at what is known of the connection.
    fn forge(&mut self, n: usize, side: usize, plan: &Plan) -> Option<Vec<u8>> {
        if self.random.hits(100_000) {
            return self.forge_elsewhere(n, side, plan);
        }
        let is_unanswered = self.known[n][1].iss.is_none();
        if is_unanswered && side == 1 {
            self.forge_at_syn_sent(n, plan)
        } else {
            self.forge_at_synchronised(n, side, plan)
        }
    }

    /// A segment exactly at RCV.NXT that acknowledges what its side did last, from another VLAN: another flow, whatever it is.
    /// Never a SYN, which would open that.
    fn forge_elsewhere(&mut self, n: usize, side: usize, plan: &Plan) -> Option<Vec<u8>> {
        let latest = self.known[n][side].latest.as_ref()?;
        let tcp = Tcp::of(latest)?;
        let random = &mut self.random;
        let others = [0, 1, 2_001, 4_094].map(VlanId);
        let vlan = random.one_of(&others);
        let link = forged_link(random, latest, [0, 6], vlan)?;
        let flags = random.one_of(&[
            Flags::RST,
            Flags::RST.with(Flags::ACK),
            Flags::ACK,
            Flags::ACK.with(Flags::FIN),
        ]);
        let client = SocketAddr::new(plan.client_address, tcp.ports()[side]);
        let ends = [client, plan.server];
        let len = tcp.payload().len() as u32 + u32::from(tcp.flags() & Flags::FIN.0);
        let payload = vec![0xee; random.one_of(&[0, 1, 100])];
        let spec = SegmentSpec {
            seq: SeqNum(tcp.seq().wrapping_add(len)),
            ack: SeqNum(tcp.ack()),
            flags,
            options: tcp.options(),
            payload: &payload,
            ..SegmentSpec::new(link, ends[side], ends[1 - side])
        };
        let frame = emit(&spec)?;
        if vlan == plan.vlan {
            return None;
        }
        self.sent_elsewhere += 1;
        Some(frame)
    }

    /// A segment in the name of the server, to a client that is (or was) in SYN-SENT. It must never be a SYN without ACK,
    /// which is a simultaneous open, nor acknowledge the SYN (RFC 9293 §3.10.7.3), nor anything that the client will send: the
    /// reset which that draws may find the server there.
    fn forge_at_syn_sent(&mut self, n: usize, plan: &Plan) -> Option<Vec<u8>> {
        let syn = self.known[n][0].syn.as_ref()?;
        let tcp = Tcp::of(syn)?;
        let random = &mut self.random;
        let flags = random.one_of(&[
            Flags::RST,
            Flags::RST.with(Flags::ACK),
            Flags::SYN.with(Flags::ACK),
            Flags::ACK,
            Flags::ACK.with(Flags::FIN),
        ]);
        let end = plan.sends(0) as u32 + 2;
        let acked = random.one_of(&[0, end + 1, end + 1000, FAR, FAR.wrapping_neg()]);
        let link = forged_link(random, syn, [6, 0], plan.vlan)?;
        let client = SocketAddr::new(plan.client_address, tcp.ports()[0]);
        let spec = SegmentSpec {
            seq: SeqNum(random.next_u64() as u32),
            ack: SeqNum(tcp.seq().wrapping_add(acked)),
            flags,
            ..SegmentSpec::new(link, plan.server, client)
        };
        emit(&spec)
    }

    /// A segment in the name of a side of an established connection; `None` when it isn't known to be one.
    fn forge_at_synchronised(&mut self, n: usize, side: usize, plan: &Plan) -> Option<Vec<u8>> {
        let known = &self.known[n];
        let (iss, latest) = (known[side].iss?, known[side].latest.as_ref()?);
        // At the server a SYN-ACK says that there is a record, at the client only a segment behind its SYN does: before, a
        // SYN would be a simultaneous open.
        match side {
            0 => known[1].iss.map(drop)?,
            _ => known[0].latest.as_ref().map(drop)?,
        }
        let tcp = Tcp::of(latest)?;
        let client_port = tcp.ports()[side];
        let ends = [
            SocketAddr::new(plan.client_address, client_port),
            plan.server,
        ];
        let random = &mut self.random;
        let link = forged_link(random, latest, [0, 6], plan.vlan)?;
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
        emit(&spec)
    }
}

/// The link header of a forged frame: to the address at the first of these places in a known frame; from that at the
/// second, or from the intruder's own.
fn forged_link(
    random: &mut Random,
    known: &[u8],
    [to, from]: [usize; 2],
    vlan: VlanId,
) -> Option<Link> {
    let mac = |at: usize| known[at..at + 6].try_into().ok().map(MacAddr);
    let own = MacAddr([2, 0, 0, 0, 0, 9]);
    Some(Link {
        dst: mac(to)?,
        src: if random.hits(500_000) {
            mac(from)?
        } else {
            own
        },
        vlan: vlan.tag(),
    })
}

fn emit(spec: &SegmentSpec<'_>) -> Option<Vec<u8>> {
    let mut frame = vec![0; 300];
    let len = spec.emit(&mut frame).ok()?;
    frame.truncate(len);
    Some(frame)
}
