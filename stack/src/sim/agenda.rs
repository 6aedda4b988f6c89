//! [`Agenda`]: what happens next, in the order of time.
//!
//! It must never let two events of one time change places: of those, the one that was planned first comes first.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

use super::host::HostId;
use super::link::Fate;
use crate::time::Instant;

/// Bytes on their way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct InFlight {
    /// How many were put on wires before it.
    pub(super) number: u64,
    pub(super) sent_at: Instant,
    pub(super) from: HostId,
    pub(super) bytes: Vec<u8>,
    /// Its events so far.
    pub(super) fate: Fate,
    /// No worker has sent it.
    pub(super) is_forged: bool,
}

/// Something that happens.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A worker of a host has a turn.
    Turn(HostId, u16),
    AtSwitch(InFlight),
    AtHost(HostId, InFlight),
}

/// Ordered by time, then by the number of the plan.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct AgendaEntry {
    at: Instant,
    number: u64,
    event: Event,
}

/// All that is planned.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    plans: BinaryHeap<Reverse<AgendaEntry>>,
    planned: u64,
}

impl Agenda {
    pub(super) fn plan(&mut self, at: Instant, event: Event) {
        self.planned += 1;
        self.plans.push(Reverse(AgendaEntry {
            at,
            number: self.planned,
            event,
        }));
    }

    /// When something happens next.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.plans.peek().map(|Reverse(planned)| planned.at)
    }

    /// Takes the next event with its time off the agenda.
    pub(super) fn pop(&mut self) -> Option<(Instant, Event)> {
        let Reverse(planned) = self.plans.pop()?;
        Some((planned.at, planned.event))
    }
}
