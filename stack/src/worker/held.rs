//! [`Held`]: connections whose first SYN waits for its neighbour. The segment isn't made before the neighbour is known: the
//! neighbour table keeps few frames, and the retransmission timer runs from when the SYN leaves.
//!
//! It must never hold a connection without a deadline: news can get lost, so each asks again in time.

use std::collections::VecDeque;

use arrayvec::ArrayVec;

use super::Core;
use super::handoff::Message;
use crate::config::Config;
use crate::conn::connections::{Conn, LinkPeer, Slot};
use crate::conn::{Records, TickMs};
use crate::counters::Counter;
use crate::neighbor::{Neighbor, Resolution};
use crate::nic::Nic;
use crate::time::Instant;
use crate::wire::MacAddr;

/// Questions of other workers that worker 0 remembers. A worker that finds no place asks again.
const QUESTIONS: usize = 64;

/// The workers that wait, in the order in which they asked.
#[derive(Debug)]
pub(super) struct Held {
    slots: VecDeque<Slot>,
    /// Whether a slot stands in `slots`: each does once, even if another connection owns it by now.
    is_held: Box<[bool]>,
    /// On worker 0: which other worker waits for which neighbour.
    questions: ArrayVec<(Neighbor, u16), QUESTIONS>,
}

impl Held {
    /// Room for so many open connections.
    pub(super) fn new(open: Records) -> Self {
        let open = open.total() as usize;
        Self {
            slots: VecDeque::with_capacity(open),
            is_held: vec![false; open].into_boxed_slice(),
            questions: ArrayVec::new(),
        }
    }

    fn push(&mut self, slot: Slot) {
        if let Some(is_held) = self.is_held.get_mut(slot.0 as usize)
            && !*is_held
        {
            *is_held = true;
            self.slots.push_back(slot);
        }
    }

    fn pop(&mut self) -> Option<Slot> {
        let slot = self.slots.pop_front()?;
        if let Some(is_held) = self.is_held.get_mut(slot.0 as usize) {
            *is_held = false;
        }
        Some(slot)
    }
}

impl<N: Nic> Core<N> {
    /// Whether a connection's first SYN has to wait for its neighbour, which is asked for then.
    #[cold]
    pub(super) fn holds(&mut self, slot: Slot, now: Instant) -> bool {
        let conn = self.conns.get(slot);
        let Some(next_hop) = conn.and_then(|conn| next_hop(conn, &self.endpoint.config)) else {
            return false;
        };
        let waits = match self.resolve(next_hop, now) {
            Some(Resolution::Resolved(mac)) => {
                let heard_at = TickMs::at(now);
                if let Some(conn) = self.conns.get_mut(slot) {
                    conn.link = Some(LinkPeer::new(mac, heard_at));
                }
                false
            }
            Some(Resolution::NoRoom) => false,
            Some(Resolution::Waiting) => true,
            Some(Resolution::Solicit(solicit)) => {
                self.solicit(solicit);
                true
            }
            None => {
                let worker = self.ring.index();
                let neighbor = next_hop;
                let ask = Message::Ask { neighbor, worker };
                self.ring.tell(0, ask)
            }
        };
        if waits {
            self.held.push(slot);
            let again_at = now + self.endpoint.config.tcp.rto_initial;
            //~ A connection that waits for a neighbour asks again in time: -> `let _ = again_at;`;
            //~   neighbors_that_are_asked_for_displace_each_other_and_are_counted
            self.conns.fire_by(slot, again_at);
        }
        waits
    }

    /// Another worker waits for a neighbour.
    pub(super) fn ask_for(&mut self, neighbor: Neighbor, worker: u16, now: Instant) {
        match self.resolve(neighbor, now) {
            Some(Resolution::Resolved(mac)) => {
                let mac = Some(mac);
                self.ring.tell(worker, Message::Neighbor { neighbor, mac });
                return;
            }
            Some(Resolution::Solicit(solicit)) => self.solicit(solicit),
            Some(Resolution::Waiting) => {}
            // It asks again.
            Some(Resolution::NoRoom) | None => return,
        }
        let questions = &mut self.held.questions;
        if !questions.contains(&(neighbor, worker))
            && questions.try_push((neighbor, worker)).is_err()
        {
            let counter = Counter::NeighborQuestionsForgotten;
            self.endpoint.counters.bump(counter);
        }
    }

    /// A neighbour is known now, or does not answer: who waits for it, here and elsewhere, goes on.
    pub(super) fn tell_held(&mut self, neighbor: Neighbor, mac: Option<MacAddr>, now: Instant) {
        let ring = &self.ring;
        self.held.questions.retain(|&mut (asked, worker)| {
            //~ Other workers hear of neighbours that they asked for: -> `{ let _ = (ring, asked, worker); true }`;
            //~   every_syn_of_every_worker_leaves_when_the_neighbor_has_answered
            asked != neighbor || !ring.tell(worker, Message::Neighbor { neighbor, mac })
        });
        self.wake_held(neighbor, mac, now);
    }

    /// Those of this worker that wait for a neighbour send their SYN, or have no route.
    pub(super) fn wake_held(&mut self, neighbor: Neighbor, mac: Option<MacAddr>, now: Instant) {
        for _ in 0..self.held.slots.len() {
            let Some(slot) = self.held.pop() else {
                return;
            };
            let Some(conn) = self.conns.get_mut(slot).filter(|conn| is_held(conn)) else {
                continue;
            };
            if next_hop(conn, &self.endpoint.config) != Some(neighbor) {
                self.held.push(slot);
                continue;
            }
            if let Some(mac) = mac {
                let heard_at = TickMs::at(now);
                conn.link = Some(LinkPeer::new(mac, heard_at));
            }
            if mac.is_some() {
                self.conns.mark_dirty(slot);
            } else {
                self.command(slot, now, |tcb, env| {
                    tcb.on_no_route(env);
                });
            }
        }
    }
}

/// The neighbour that the frames of a connection are handed to.
fn next_hop(conn: &Conn, config: &Config) -> Option<Neighbor> {
    let vlan = config.locals.vlan(conn.key.local())?;
    let addr = config.next_hop(conn.key.remote())?;
    Some(Neighbor { vlan, addr })
}

/// Whether a connection's first SYN may have to wait.
#[inline(always)]
pub(super) fn is_held(conn: &Conn) -> bool {
    conn.link.is_none() && conn.tcb.is_syn_unsent()
}
