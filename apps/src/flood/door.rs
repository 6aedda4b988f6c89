//! [`Door`] and [`SharedNic`]: one port for a flood and its probe, each with queues of its own: frames that the NIC gave to the
//! wrong one go through a bounded ring.
//!
//! It must never block or grow: a full ring is a counted drop.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;
use stack::nic::{Burst, Caps, Frame, Nic, PoolClass};

use crate::rig::neighbors::LinkHost;
use crate::traffic::Bystander;

/// Frames on their way from one side to the other at most.
const RING_FRAMES: usize = 2048;

/// The rings between both sides, and whose frames are the probe's.
#[derive(Debug)]
pub(super) struct Door<F> {
    addresses: Vec<IpAddr>,
    to_probe: ArrayQueue<F>,
    to_flood: ArrayQueue<F>,
    dropped: AtomicU64,
}

impl<F: Frame> Door<F> {
    /// A door to a probe with these addresses.
    pub(super) fn new(addresses: Vec<IpAddr>) -> Self {
        Self {
            addresses,
            to_probe: ArrayQueue::new(RING_FRAMES),
            to_flood: ArrayQueue::new(RING_FRAMES),
            dropped: AtomicU64::new(0),
        }
    }

    /// Frames that found a ring full.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Whether a frame is for the probe: to one of its addresses, or a question for one.
    fn is_for_probe(&self, frame: &[u8]) -> bool {
        let Some(address) = addressee(frame) else {
            return false;
        };
        self.addresses.contains(&address)
    }

    fn give(&self, ring: &ArrayQueue<F>, frame: F) {
        if ring.push(frame).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Frames in the rings go back to their pools.
    pub(super) fn empty(&self) {
        while self
            .to_probe
            .pop()
            .or_else(|| self.to_flood.pop())
            .is_some()
        {}
    }
}

/// Whom a frame concerns: its destination, or the address that ARP or neighbour discovery asks for.
fn addressee(frame: &[u8]) -> Option<IpAddr> {
    let v4 = |at: usize| Some(IpAddr::from(*frame.get(at..)?.first_chunk::<4>()?));
    let v6 = |at: usize| Some(IpAddr::from(*frame.get(at..)?.first_chunk::<16>()?));
    match frame.get(12..14)? {
        [8, 0] => v4(30),
        // Target protocol address (RFC 826).
        [8, 6] => v4(38),
        // A neighbour solicitation to a group names its target (RFC 4861 §4.3).
        [0x86, 0xdd] if frame.get(38) == Some(&0xff) && frame.get(54) == Some(&135) => v6(62),
        [0x86, 0xdd] => v6(38),
        _ => None,
    }
}

/// Which side of the door a NIC is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// A worker of the flood that takes nothing from the door: there is no probe, or another worker does.
    Alone,
    /// The worker of the flood that takes what the probe's queue received for it.
    Flood,
    /// The probe.
    Probe,
}

/// A queue pair of a port that a flood and a probe share.
#[derive(Debug)]
pub(super) struct SharedNic<N: Nic> {
    nic: N,
    side: Side,
    door: Option<Arc<Door<N::Frame>>>,
}

impl<N: Nic> SharedNic<N> {
    /// For a worker of the flood. The `first` one takes what came to the probe's queue.
    pub(super) fn of_flood(nic: N, door: Option<&Arc<Door<N::Frame>>>, first: bool) -> Self {
        Self {
            nic,
            side: if first && door.is_some() {
                Side::Flood
            } else {
                Side::Alone
            },
            door: door.cloned(),
        }
    }

    /// For the probe.
    pub(super) fn of_probe(nic: N, door: &Arc<Door<N::Frame>>) -> Self {
        Self {
            nic,
            side: Side::Probe,
            door: Some(Arc::clone(door)),
        }
    }

    /// The queue pair alone.
    pub(super) fn into_inner(self) -> N {
        self.nic
    }

    #[cold]
    fn rx_through_door(&mut self, into: &mut Burst<N::Frame>) -> usize {
        let Some(door) = &self.door else {
            return self.nic.rx(into);
        };
        let before = into.len();
        let own = match self.side {
            Side::Probe => &door.to_probe,
            Side::Flood | Side::Alone => &door.to_flood,
        };
        // Half a burst at most: the rest is for the NIC.
        while into.len() < before + into.room() / 2
            && let Some(frame) = own.pop()
        {
            drop(into.push(frame));
        }
        if self.side != Side::Probe {
            self.nic.rx(into);
            return into.len() - before;
        }
        let mut received = Burst::new();
        self.nic.rx(&mut received);
        while let Some(frame) = received.pop_front() {
            if !door.is_for_probe(frame.bytes()) {
                door.give(&door.to_flood, frame);
            } else if let Err(frame) = into.push(frame) {
                door.give(&door.to_probe, frame);
            }
        }
        into.len() - before
    }
}

impl<N: Nic> Nic for SharedNic<N> {
    type Frame = N::Frame;

    #[inline]
    fn caps(&self) -> &Caps {
        self.nic.caps()
    }
    #[inline]
    fn mac(&self) -> [u8; 6] {
        self.nic.mac()
    }
    #[inline]
    fn rx(&mut self, into: &mut Burst<N::Frame>) -> usize {
        if self.side == Side::Alone {
            self.nic.rx(into)
        } else {
            self.rx_through_door(into)
        }
    }
    #[inline]
    fn tx(&mut self, from: &mut Burst<N::Frame>) -> usize {
        self.nic.tx(from)
    }
    #[inline]
    fn alloc(&mut self, class: PoolClass, into: &mut Burst<N::Frame>, n: usize) -> usize {
        self.nic.alloc(class, into, n)
    }
    fn share(&mut self, frame: &mut N::Frame) -> Option<N::Frame> {
        self.nic.share(frame)
    }
    fn chain(
        &mut self,
        head: &mut N::Frame,
        body: &mut N::Frame,
        start: usize,
        len: usize,
    ) -> bool {
        self.nic.chain(head, body, start, len)
    }
    #[inline]
    fn free(&mut self, from: &mut Burst<N::Frame>) {
        self.nic.free(from);
    }
    #[inline]
    fn cycles(&self) -> u64 {
        self.nic.cycles()
    }
}

/// The treatment of frames that are no replies by a worker of the flood: the probe's go through the door, neighbours are answered.
#[derive(Debug)]
pub(super) struct Attendant<F> {
    host: LinkHost,
    door: Option<Arc<Door<F>>>,
}

impl<F> Attendant<F> {
    /// For a worker of the flood.
    pub(super) fn new(host: LinkHost, door: Option<&Arc<Door<F>>>) -> Self {
        Self {
            host,
            door: door.cloned(),
        }
    }
}

impl<F: Frame> Bystander<F> for Attendant<F> {
    fn attend(&mut self, frame: F) -> Option<F> {
        match &self.door {
            Some(door) if door.is_for_probe(frame.bytes()) => {
                door.give(&door.to_probe, frame);
                None
            }
            _ => self.host.attend(frame),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::testing::{Heap, Wire};

    fn ipv4_to(last: u8) -> Vec<u8> {
        let mut frame = vec![0; 60];
        frame[12] = 8;
        frame[30..34].copy_from_slice(&[198, 18, 0, last]);
        frame
    }

    #[test]
    fn frames_find_their_side_whatever_queue_they_came_to() {
        let door = Arc::new(Door::<Heap>::new(vec![
            "198.18.0.2".parse().expect("an address"),
        ]));
        let mut wire = Wire::new();
        wire.waiting.extend([ipv4_to(2), ipv4_to(64), ipv4_to(2)]);
        let mut probe = SharedNic::of_probe(wire, &door);
        let mut received = Burst::new();
        assert_eq!(probe.rx(&mut received), 2);
        let mut wire = Wire::new();
        wire.waiting.extend([ipv4_to(65)]);
        let mut flood = SharedNic::of_flood(wire, Some(&door), true);
        let mut received = Burst::new();
        assert_eq!(flood.rx(&mut received), 2);
        let last: Vec<u8> = received
            .as_slice()
            .iter()
            .map(|frame| frame.bytes()[33])
            .collect();
        assert_eq!(last, [64, 65]);
        door.give(&door.to_probe, Heap(ipv4_to(2)));
        assert_eq!(probe.rx(&mut Burst::new()), 1);
        assert_eq!(door.dropped(), 0);
    }

    #[test]
    fn a_full_ring_is_a_counted_drop() {
        let door = Door::<Heap>::new(Vec::new());
        for _ in 0..=RING_FRAMES {
            door.give(&door.to_flood, Heap(Vec::new()));
        }
        assert_eq!(door.dropped(), 1);
        door.empty();
        assert!(door.to_flood.is_empty());
    }

    #[test]
    fn questions_concern_the_address_that_they_ask_for() {
        let mut arp = vec![0; 60];
        arp[12..14].copy_from_slice(&[8, 6]);
        arp[38..42].copy_from_slice(&[198, 18, 0, 2]);
        assert_eq!(
            addressee(&arp).map(|a| a.to_string()),
            Some("198.18.0.2".to_owned())
        );
        let mut solicitation = vec![0; 86];
        solicitation[12..14].copy_from_slice(&[0x86, 0xdd]);
        solicitation[38] = 0xff;
        solicitation[54] = 135;
        solicitation[77] = 9;
        assert_eq!(
            addressee(&solicitation).map(|a| a.to_string()),
            Some("::9".to_owned())
        );
        assert_eq!(addressee(&[0; 10]), None);
    }
}
