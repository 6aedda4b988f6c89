//! One neighbour and its state machine (RFC 4861 §7.3.2): what it knows, what it waits for, what a deadline means.
//!
//! It must never look at another neighbour.

use super::{Action, Neighbor, NeighborConfig, Pending, ResolvedNeighbor, Solicit};
use core::time::Duration;

use crate::time::Instant;
use crate::wire::MacAddr;

/// The state of a neighbour's entry (RFC 4861 §7.3.2; FAILED is Linux's, where the RFC deletes the entry).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeighborState {
    /// Asked, no answer yet.
    Incomplete,
    /// A sign of life within the reachable time.
    Reachable,
    /// An address without a recent sign of life; good until proven otherwise.
    Stale,
    /// A stale address in use: waiting for a sign of life before asking.
    Delay,
    /// Asking the known address.
    Probe,
    /// No answer. The next use asks everybody again.
    Failed,
}

#[derive(Debug)]
pub(super) struct Entry<F> {
    pub(super) neighbor: Neighbor,
    /// It never gives its place away.
    pub(super) is_kept: bool,
    /// Meaningless in `Incomplete` and `Failed`.
    pub(super) mac: MacAddr,
    pub(super) state: NeighborState,
    /// When the state ends by itself; `NEVER` in `Stale` and `Failed`.
    pub(super) deadline: Instant,
    /// When we last wanted to send to it, or heard from it first.
    pub(super) used: Instant,
    pub(super) solicitations: u8,
    /// In PROBE: another host claims the address, or its frames go unanswered. The known address is asked once, then
    /// everybody.
    pub(super) is_doubted: bool,
    /// When it last answered from `mac`, or was doubted.
    pub(super) judged_at: Instant,
    pub(super) pending: Pending<F>,
}

/// The deadline of a state that doesn't end by itself.
pub(super) const NEVER: Instant = Instant::from_ns(u64::MAX);

impl<F> Entry<F> {
    pub(super) fn enter(&mut self, state: NeighborState, deadline: Instant) {
        self.state = state;
        self.deadline = deadline;
        self.solicitations = 0;
        self.is_doubted = false;
    }

    /// It has answered.
    pub(super) fn prove(&mut self, reachable_until: Instant, now: Instant) {
        self.enter(NeighborState::Reachable, reachable_until);
        self.judged_at = now;
    }

    /// Whether its address may be doubted now: it isn't yet, and has not just been judged. So a flood of claims makes one
    /// question in that time.
    pub(super) fn may_be_doubted(&self, interval: Duration, now: Instant) -> bool {
        //~ A neighbour is doubted once a second at most: `&& now >= self.judged_at + interval`
        //~   -> `&& { let _ = (now, interval); true }`; a_claim_is_checked_and_who_answers_from_the_known_address_stays
        !self.is_doubted && now >= self.judged_at + interval
    }

    /// Its address is doubtful from now on: the next poll asks it.
    pub(super) fn doubt(&mut self, now: Instant) {
        self.enter(NeighborState::Probe, now);
        self.is_doubted = true;
        self.judged_at = now;
    }

    /// Whether the known address was asked and kept silent, so that everybody is asked now.
    pub(super) fn asks_everybody(&self) -> bool {
        //~ A claim is not believed before the known address has kept silent: `&& self.solicitations > 1` -> nothing;
        //~   a_claim_is_checked_and_who_answers_from_the_known_address_stays
        self.state == NeighborState::Probe && self.is_doubted && self.solicitations > 1
    }

    pub(super) fn ask_everybody(&mut self, deadline: Instant) -> Solicit {
        self.enter(NeighborState::Incomplete, deadline);
        self.solicitations = 1;
        Solicit {
            neighbor: self.neighbor,
            to: None,
        }
    }

    /// An address where there was none: stale until it proves to be alive.
    pub(super) fn learn(&mut self, mac: MacAddr) -> ResolvedNeighbor<F> {
        self.mac = mac;
        self.enter(NeighborState::Stale, NEVER);
        ResolvedNeighbor {
            neighbor: self.neighbor,
            mac,
            frames: core::mem::take(&mut self.pending),
        }
    }

    /// The deadline of the state has passed.
    pub(super) fn expire(&mut self, config: &NeighborConfig, now: Instant) -> Option<Action<F>> {
        let (limit, to) = match self.state {
            NeighborState::Reachable => {
                self.enter(NeighborState::Stale, NEVER);
                return None;
            }
            NeighborState::Delay => {
                self.enter(NeighborState::Probe, now);
                (config.unicast_solicitations, Some(self.mac))
            }
            //~ After the known address the question goes to all:
            //~   `State::Probe if self.is_doubted && self.solicitations > 0 => {` -> `State::Probe if false => {`;
            //~   a_neighbour_that_moved_is_found_when_its_old_address_keeps_silent
            NeighborState::Probe if self.is_doubted && self.solicitations > 0 => {
                (config.multicast_solicitations, None)
            }
            NeighborState::Probe => (config.unicast_solicitations, Some(self.mac)),
            NeighborState::Incomplete => (config.multicast_solicitations, None),
            NeighborState::Stale | NeighborState::Failed => {
                self.deadline = NEVER;
                return None;
            }
        };
        if self.solicitations < limit {
            self.solicitations += 1;
            // Frames wait for the answer, or are lost: on a link it comes at once.
            let is_first_doubt = self.is_doubted && self.solicitations == 1;
            //~ A silent known address has a quarter of a second: -> `let patience = 1; let _ = is_first_doubt;`;
            //~   a_neighbour_that_moved_is_found_when_its_old_address_keeps_silent
            let patience = if is_first_doubt { 4 } else { 1 };
            self.deadline = now + config.retransmit / patience;
            return Some(Action::Solicit(Solicit {
                neighbor: self.neighbor,
                to,
            }));
        }
        self.enter(NeighborState::Failed, NEVER);
        Some(Action::Unreachable {
            neighbor: self.neighbor,
            frames: core::mem::take(&mut self.pending),
        })
    }
}
