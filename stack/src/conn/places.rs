//! [`Places`]: how many records of each kind there are and may be, and which numbers the states of the app have.
//!
//! It must never let one kind take a place from another.

use super::numbers::Numbers;
use super::record::{Kind, StateNumber};
use super::{Capacity, Records, TableFull};

/// Counts and limits of each kind; each pair is IPv4, IPv6.
#[derive(Debug)]
pub(super) struct Places {
    counts: [[u32; 2]; Kind::ALL.len()],
    limits: [[u32; 2]; Kind::ALL.len()],
    /// Connections at most, see [`Capacity::connections`].
    connections: [u32; 2],
    states: Numbers,
}

impl Places {
    /// For as many records as the capacity says, of each family fewer than 2^29.
    pub(super) fn new(capacity: &Capacity) -> Self {
        let limits = [
            capacity.embryos,
            capacity.open,
            capacity.parked,
            capacity.time_wait,
        ];
        let pair = |records: Records| [records.v4, records.v6];
        let connections = pair(capacity.connections());
        Self {
            counts: [[0; 2]; Kind::ALL.len()],
            limits: limits.map(pair),
            connections,
            // One more: an app that hears of a connection's end may open another one meanwhile.
            states: Numbers::new(connections[0] + connections[1] + 1),
        }
    }

    /// Whether there may be one more record of this kind and family.
    #[inline]
    pub(super) fn has_room(&self, kind: Kind, v6: bool) -> Result<(), TableFull> {
        let family = usize::from(v6);
        //~ Each kind of record has its limit: `self.limits[kind as usize][family]` -> `u32::MAX`;
        //~   no_kind_takes_a_place_from_another
        if self.counts[kind as usize][family] < self.limits[kind as usize][family] {
            Ok(())
        } else {
            Err(TableFull { kind, v6 })
        }
    }

    /// Takes the state of a new connection, if there may be one more of this kind and family.
    #[inline]
    pub(super) fn admit(&mut self, kind: Kind, v6: bool) -> Result<StateNumber, TableFull> {
        self.has_room(kind, v6)?;
        let family = usize::from(v6);
        let count = |kind: Kind| self.counts[kind as usize][family];
        //~ No more connections than the limit says:
        //~   `count(Kind::Open) + count(Kind::Parked) < self.connections[family]`
        //~   -> `count(Kind::Open) + count(Kind::Parked) < u32::MAX`;
        //~   there_are_never_more_connections_than_the_limit_says
        let state = if count(Kind::Open) + count(Kind::Parked) < self.connections[family] {
            self.states.take()
        } else {
            None
        };
        state.map(StateNumber).ok_or(TableFull { kind, v6 })
    }

    /// Nothing is remembered any more under this number.
    #[inline]
    pub(super) fn free_state(&mut self, state: StateNumber) {
        self.states.give_back(state.0);
    }

    /// Counts a new record.
    #[inline]
    pub(super) const fn add(&mut self, kind: Kind, v6: bool) {
        self.counts[kind as usize][v6 as usize] += 1;
    }

    /// Counts the end of a record.
    #[inline]
    pub(super) const fn remove(&mut self, kind: Kind, v6: bool) {
        self.counts[kind as usize][v6 as usize] -= 1;
    }

    /// Records of a kind.
    pub(super) const fn len(&self, kind: Kind) -> Records {
        let [v4, v6] = self.counts[kind as usize];
        Records { v4, v6 }
    }

    /// Records of a kind at most.
    pub(super) const fn capacity(&self, kind: Kind) -> Records {
        let [v4, v6] = self.limits[kind as usize];
        Records { v4, v6 }
    }

    /// States that are taken.
    #[cfg(test)]
    pub(super) fn states_taken(&self) -> usize {
        self.states.taken()
    }
}
