//! [`Wire`]: what lies between the two ends in real time: two links of the simulated world, on this machine's clock.
//!
//! It must never know what an end is: it takes frames, and says what becomes of them and when.

use std::collections::BTreeMap;
use std::time::Duration;

use stack::seq::SeqNum;
use stack::sim::inspect::Tcp;
use stack::sim::link::{Fate as LinkFate, LinkSpec, SimLink};
use stack::sim::router;
use stack::time::Instant;
use stack::wire::tcp::Flags;

use crate::lab::recording::{Fate, RecordedEvent, Recording};
use crate::lab::scenario::{CLIENT_PORT, Client, End, Server};

/// The outcome of a frame follows from this seed, its flow and its number, as in simulation.
const SEED: u64 = 793;

/// A frame between the ends.
#[derive(Debug, Clone)]
pub(super) struct InFlight {
    /// When it was sent, in ns from the start of the scene.
    pub(super) sent_ns: u64,
    /// By whom it counts as sent: a router's word counts as the far end's.
    pub(super) from: End,
    /// Where to.
    pub(super) to: End,
    /// All of it.
    pub(super) bytes: Vec<u8>,
    /// The network made it.
    pub(super) is_forged: bool,
    /// Its checksum shows damage to the receiver.
    is_corrupted: bool,
}

impl InFlight {
    /// As a recording has it.
    pub(super) fn recorded(&self, fate: Fate) -> RecordedEvent {
        RecordedEvent::Frame {
            from: self.from,
            bytes: self.bytes.clone(),
            fate: if self.is_corrupted {
                Fate::Lost("corrupted")
            } else {
                fate
            },
            is_forged: self.is_forged,
        }
    }
}

/// The way both ways.
pub(super) struct Wire {
    /// By sender.
    links: [SimLink; 2],
    /// Link addresses of the ends.
    macs: [[u8; 6]; 2],
    /// The link address of a third host, which hears nothing.
    deaf: [u8; 6],
    is_plugged: [bool; 2],
    /// By time of arrival and number.
    on_the_way: BTreeMap<(u64, u64), InFlight>,
    number: u64,
    /// The last segments that each end itself sent on each connection: the number of its last SYN, and its last segment.
    sent: BTreeMap<(u8, u16), (SeqNum, Vec<u8>)>,
}

impl Wire {
    /// One without faults.
    pub(super) fn new(macs: [[u8; 6]; 2], deaf: [u8; 6]) -> Self {
        let link = |n| SimLink::new(Self::perfect(), SEED + n);
        Self {
            links: [link(0), link(1)],
            macs,
            deaf,
            is_plugged: [true; 2],
            on_the_way: BTreeMap::new(),
            number: 0,
            sent: BTreeMap::new(),
        }
    }

    /// A link that does nothing to frames.
    pub(super) const fn perfect() -> LinkSpec {
        LinkSpec::perfect(Duration::ZERO)
    }

    /// The link that carries what `from` sends.
    pub(super) fn link_mut(&mut self, from: End) -> &mut SimLink {
        &mut self.links[from as usize]
    }

    /// Plugs the cable of an end in, or pulls it.
    pub(super) fn set_cable(&mut self, side: End, plugged: bool) {
        self.is_plugged[side as usize] = plugged;
    }

    /// The link address of an end.
    pub(super) fn mac(&self, side: End) -> [u8; 6] {
        self.macs[side as usize]
    }

    /// The end has this link address from now on.
    pub(super) fn set_mac(&mut self, side: End, mac: [u8; 6]) {
        self.macs[side as usize] = mac;
    }

    /// Takes a frame that an end sends at `now_ns`. One that doesn't arrive is recorded at once.
    pub(super) fn send(
        &mut self,
        from: End,
        mut bytes: Vec<u8>,
        now_ns: u64,
        recording: &mut Recording,
    ) {
        self.note(from, &bytes);
        let mut frame = InFlight {
            sent_ns: now_ns,
            from,
            to: from.other(),
            bytes: Vec::new(),
            is_forged: false,
            is_corrupted: false,
        };
        let is_to_group = bytes.first().is_some_and(|first| first & 1 == 1);
        if bytes.get(..6) == Some(&self.deaf) {
            return;
        }
        let has_receiver = is_to_group || bytes.get(..6) == Some(&self.mac(from.other()));
        let is_whole = self.is_plugged == [true; 2];
        let link = &mut self.links[from as usize];
        let mtu = link.spec.mtu;
        let (first, second) = link.pass(&mut bytes, LinkFate::Delivered, Instant::from_ns(now_ns));
        if first.fate == LinkFate::TooBig
            && link.spec.answers_too_big
            && let Some(answer) = router::too_big(&bytes, mtu)
        {
            self.put(from.other(), answer, now_ns, false);
        }
        frame.bytes = bytes;
        for passage in [Some(first), second].into_iter().flatten() {
            frame.is_corrupted = passage.fate == LinkFate::Corrupted;
            match passage.arrives_at {
                Some(at) if has_receiver && is_whole => self.on_its_way(at.as_ns(), frame.clone()),
                Some(_) if is_whole => {
                    recording.push(now_ns, frame.recorded(Fate::Lost("no host there")));
                }
                None if passage.fate == LinkFate::TooBig => {
                    recording.push(now_ns, frame.recorded(Fate::Lost("too big")));
                }
                _ => recording.push(now_ns, frame.recorded(Fate::Lost("lost"))),
            }
        }
    }

    /// Puts a frame of the network's own on the wire, in the name of `from`: it arrives at once.
    pub(super) fn put(&mut self, from: End, bytes: Vec<u8>, now_ns: u64, is_forged: bool) {
        let frame = InFlight {
            sent_ns: now_ns,
            from,
            to: from.other(),
            bytes,
            is_forged,
            is_corrupted: false,
        };
        self.on_its_way(now_ns, frame);
    }

    fn on_its_way(&mut self, at_ns: u64, frame: InFlight) {
        self.number += 1;
        self.on_the_way.insert((at_ns, self.number), frame);
    }

    /// The next frame that has arrived by `now_ns`.
    pub(super) fn arrived(&mut self, now_ns: u64) -> Option<InFlight> {
        let first = self.on_the_way.first_entry()?;
        (first.key().0 <= now_ns).then(|| first.remove())
    }

    /// When the next frame arrives.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.on_the_way.keys().next().map(|(at_ns, _)| *at_ns)
    }

    /// The frames still on their way at the end of a scene, with their times of arrival.
    pub(super) fn left_over(&mut self) -> Vec<(u64, InFlight)> {
        let all = std::mem::take(&mut self.on_the_way);
        all.into_iter()
            .map(|((at_ns, _), frame)| (at_ns, frame))
            .collect()
    }

    /// Remembers what the network needs to forge and to reject.
    fn note(&mut self, from: End, bytes: &[u8]) {
        let Some(tcp) = Tcp::of(bytes) else { return };
        let [src, dst] = tcp.ports();
        let client_port = match from {
            Client => src,
            Server => dst,
        };
        let Some(conn) = client_port.checked_sub(CLIENT_PORT) else {
            return;
        };
        let (iss, last) = self.sent.entry((from as u8, conn)).or_default();
        if Flags(tcp.flags()).syn() {
            *iss = SeqNum(tcp.seq());
        }
        bytes.clone_into(last);
    }

    /// The initial number of an end, 0 before its SYN.
    pub(super) fn iss(&self, side: End, conn: u16) -> SeqNum {
        let sent = self.sent.get(&(side as u8, conn));
        sent.map_or(SeqNum(0), |(iss, _)| *iss)
    }

    /// The last segment that an end itself sent on a connection.
    pub(super) fn last_segment(&self, side: End, conn: u16) -> Option<&[u8]> {
        let sent = self.sent.get(&(side as u8, conn));
        sent.map(|(_, bytes)| bytes.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::lab::scenario::Cast;

    const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
    const DEAF: [u8; 6] = [2, 0, 0, 0, 0, 3];

    fn recording() -> Recording {
        let host = |n| IpAddr::V4(Ipv4Addr::new(198, 18, 0, n));
        Recording::new(Cast::SIM, (host(1), host(2)), false)
    }

    fn frame(dst: [u8; 6]) -> Vec<u8> {
        let mut bytes = dst.to_vec();
        bytes.extend(MACS[0]);
        bytes.extend([0x08, 0x06]);
        bytes.resize(60, 0);
        bytes
    }

    fn lost(recording: &Recording) -> Vec<&'static str> {
        let why = |event: &crate::lab::recording::Event| match event.what {
            RecordedEvent::Frame {
                fate: Fate::Lost(why),
                ..
            } => Some(why),
            _ => None,
        };
        recording.events.iter().filter_map(why).collect()
    }

    #[test]
    fn a_frame_arrives_when_its_link_says_so() {
        let (mut wire, mut recording) = (Wire::new(MACS, DEAF), recording());
        wire.link_mut(Client).spec.delay = Duration::from_millis(3);
        wire.send(Client, frame(MACS[1]), 1_000, &mut recording);
        assert_eq!(wire.next_ns(), Some(3_001_000));
        assert!(wire.arrived(3_000_999).is_none());
        let arrived = wire.arrived(3_001_000).expect("it is there");
        assert_eq!((arrived.sent_ns, arrived.to), (1_000, Server));
        assert!(recording.events.is_empty());
    }

    #[test]
    fn what_can_not_arrive_is_recorded_with_its_reason() {
        let (mut wire, mut recording) = (Wire::new(MACS, DEAF), recording());
        wire.send(Client, frame([2, 9, 9, 9, 9, 9]), 1, &mut recording);
        wire.send(Client, frame(DEAF), 2, &mut recording);
        wire.set_cable(Server, false);
        wire.send(Client, frame([0xff; 6]), 3, &mut recording);
        wire.set_cable(Server, true);
        wire.link_mut(Client).up = false;
        wire.send(Client, frame([0xff; 6]), 4, &mut recording);
        assert_eq!(lost(&recording), ["no host there", "lost", "lost"]);
        assert_eq!(wire.next_ns(), None);
    }
}
