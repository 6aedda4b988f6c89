//! The rings between workers: frames that the NIC gave to the wrong core go to the one that owns their flow.
//!
//! It must never block or grow: a full ring is a counted drop. The rings are crossbeam's bounded lock-free queues
//! (docs/decisions/0003): safe, tested, and part of `stack`, which knows no DPDK.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use crate::neighbor::{Move, Neighbor};
use crate::wire::MacAddr;

/// A frame that one worker hands to another.
#[derive(Debug)]
pub(super) enum Message<F> {
    /// A received frame whose flow (or protocol, for ARP and NDP) the receiver owns.
    Received(F),
    /// A finished IP packet without link addresses: worker 0 resolves the neighbour and sends it.
    Resolve(F),
    /// A frame of the receiver's that worker 0 could not send: its neighbour doesn't answer.
    NoRoute(F),
    /// Worker 0 has found a neighbour at another link-layer address.
    Moved(Move),
    /// This worker has connections whose SYN waits for a neighbour: worker 0 asks for it, and answers with
    /// [`Message::Neighbor`].
    Ask {
        /// Which.
        neighbor: Neighbor,
        /// The worker that asks.
        worker: u16,
    },
    /// What this worker sent to a neighbour was not answered: worker 0 asks whether it is still there.
    Doubt(Neighbor),
    /// A neighbour that the receiver has asked for is known now, or does not answer.
    Neighbor {
        /// Which.
        neighbor: Neighbor,
        /// Its link-layer address.
        mac: Option<MacAddr>,
    },
}

impl<F> Message<F> {
    /// The frame, whatever it was for.
    fn into_frame(self) -> Option<F> {
        match self {
            Self::Received(frame) | Self::Resolve(frame) | Self::NoRoute(frame) => Some(frame),
            Self::Ask { .. } | Self::Doubt(_) | Self::Neighbor { .. } | Self::Moved(_) => None,
        }
    }
}

/// The rings of all workers of one endpoint; made once and split with [`Rings::into_ends`].
#[derive(Debug)]
pub struct Rings<F> {
    ends: Vec<RingEnd<F>>,
}

/// One worker's end: its own ring to pop from and everybody's to push to.
#[derive(Debug)]
pub struct RingEnd<F> {
    rings: Arc<[ArrayQueue<Message<F>>]>,
    index: u16,
}

impl<F> Rings<F> {
    /// Rings for `workers` workers (0 counts as 1), each holding up to `capacity` frames (0 counts as 1).
    #[must_use]
    pub fn new(workers: u16, capacity: u16) -> Self {
        let workers = workers.max(1);
        let ring = |_| ArrayQueue::new(usize::from(capacity.max(1)));
        let rings: Arc<[_]> = (0..workers).map(ring).collect();
        let end = |index| RingEnd {
            rings: Arc::clone(&rings),
            index,
        };
        Self {
            ends: (0..workers).map(end).collect(),
        }
    }

    /// The ends in worker order, each to be moved to its worker.
    #[must_use]
    pub fn into_ends(self) -> Vec<RingEnd<F>> {
        self.ends
    }
}

impl<F> RingEnd<F> {
    /// The end of a worker that is alone.
    #[must_use]
    pub fn single() -> Self {
        Self {
            rings: Arc::new([ArrayQueue::new(1)]),
            index: 0,
        }
    }

    /// This worker's index.
    #[must_use]
    #[inline]
    pub fn index(&self) -> u16 {
        self.index
    }

    /// How many workers there are.
    #[must_use]
    #[inline]
    pub fn workers(&self) -> u16 {
        // Built from a u16 in `Rings::new`.
        self.rings.len() as u16
    }

    /// Whether this worker owns ARP, NDP and the neighbour table.
    #[must_use]
    #[inline]
    pub fn is_first(&self) -> bool {
        self.index == 0
    }

    /// Hands over a message with a frame; that comes back when the ring is full or there is no such worker.
    #[inline]
    pub(super) fn push(&self, worker: u16, message: Message<F>) -> Result<(), F> {
        match self.try_push(worker, message).map(Message::into_frame) {
            Some(Some(frame)) => Err(frame),
            _ => Ok(()),
        }
    }

    /// Hands over a message without a frame. False when the ring is full or there is no such worker.
    pub(super) fn tell(&self, worker: u16, message: Message<F>) -> bool {
        self.try_push(worker, message).is_none()
    }

    /// The message itself, when it can't be handed over.
    #[inline]
    fn try_push(&self, worker: u16, message: Message<F>) -> Option<Message<F>> {
        match self.rings.get(usize::from(worker)) {
            Some(ring) => ring.push(message).err(),
            None => Some(message),
        }
    }

    /// Announces a neighbour that moved to all other workers. Returns how many rings were full.
    pub(super) fn tell_all(&self, moved: Move) -> u64 {
        let others = self.rings.iter().enumerate();
        let others = others.filter(|(worker, _)| *worker != usize::from(self.index));
        //~ A move reaches all workers: `ring.push(Message::Moved(moved)).is_err()`
        //~   -> `{ let _ = (ring, moved); false }`; a_neighbour_that_moved_moves_for_the_connections_of_every_worker
        others
            .filter(|(_, ring)| ring.push(Message::Moved(moved)).is_err())
            .count() as u64
    }

    /// Whether other workers have handed nothing over that this one hasn't taken.
    pub(super) fn is_empty(&self) -> bool {
        let own = self.rings.get(usize::from(self.index));
        own.is_none_or(ArrayQueue::is_empty)
    }

    /// Frees what other workers have handed over.
    pub(super) fn clear(&self) {
        while self.pop().is_some() {}
    }

    #[inline]
    pub(super) fn pop(&self) -> Option<Message<F>> {
        self.rings.get(usize::from(self.index))?.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reaches_only_the_worker_it_was_pushed_to_and_a_full_ring_gives_it_back() {
        let ends = Rings::<u32>::new(3, 2).into_ends();
        assert_eq!(
            ends.iter().map(RingEnd::index).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        assert!(ends[0].push(2, Message::Received(7)).is_ok());
        assert!(ends[1].push(2, Message::Received(8)).is_ok());
        let empty: Vec<_> = ends.iter().map(RingEnd::is_empty).collect();
        assert_eq!(empty, [true, true, false]);
        assert_eq!(ends[0].push(2, Message::Received(9)), Err(9));
        assert!(ends[0].pop().is_none() && ends[1].pop().is_none());
        assert!(matches!(ends[2].pop(), Some(Message::Received(7))));
        assert!(matches!(ends[2].pop(), Some(Message::Received(8))));
        assert!(ends[2].pop().is_none());
        assert!(
            ends[0].push(3, Message::Received(1)).is_err(),
            "no such worker"
        );
    }
}
