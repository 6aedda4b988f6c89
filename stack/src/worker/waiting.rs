//! [`Waiting`]: parked connections whose app wants something of them for which no open record was free, and those that it
//! has aborted.
//!
//! It must never forget a command, and never hold a connection twice for long: each line is as long as there are records
//! of parked connections.

use std::collections::VecDeque;

use super::Core;
use super::callbacks::Hosted;
use super::neighborhood::FRAMES_PER_RESOLUTION;
use super::reply::{ReplyOptions, TcpReply};
use crate::conn::{ConnFlags, ConnId, ConnTable, EndDue, Found, Kind, Parked, Records};
use crate::counters::Counter;
use crate::nic::Nic;
use crate::tcp::profile::ProfileId;
use crate::tcp::verdict::CloseReason;
use crate::time::Instant;
use crate::wire::tcp::Flags;
use crate::worker::app::App;
use crate::worker::opening::NoRecord;

/// Connections of each line that are served per turn at most.
const PER_TURN: usize = 32;

/// The lines, oldest first. A name in them may be out of date: the record says what is still to be done.
#[derive(Debug)]
pub(super) struct Waiting {
    /// For an open record, IPv4 and IPv6.
    for_record: [Line; 2],
    /// For their reset to be sent.
    aborted: Line,
}

#[derive(Debug)]
struct Line {
    names: VecDeque<ConnId>,
    places: usize,
}

impl Line {
    fn new(places: u64) -> Self {
        let places = places as usize;
        Self {
            names: VecDeque::with_capacity(places),
            places,
        }
    }

    /// Appends a name. When all places are taken, those whose work is done by now leave first: there are no more records
    /// than places.
    fn push(&mut self, id: ConnId, table: &ConnTable) {
        if self.names.len() >= self.places {
            self.names.retain(|&id| work_of(table, id).is_some());
        }
        self.names.push_back(id);
    }
}

impl Waiting {
    /// Empty lines for so many parked connections.
    pub(super) fn new(parked: Records) -> Self {
        let (v4, v6) = (parked.v4.into(), parked.v6.into());
        Self {
            for_record: [Line::new(v4), Line::new(v6)],
            aborted: Line::new(parked.total()),
        }
    }

    /// Names in all lines.
    pub(super) fn len(&self) -> usize {
        let lines = self.for_record.iter().chain([&self.aborted]);
        lines.map(|line| line.names.len()).sum()
    }
}

/// The record of a parked connection of which its app wants something, and what.
fn work_of(table: &ConnTable, id: ConnId) -> Option<(Found, ConnFlags)> {
    let found = table.resolve(id)?;
    let flags = table.parked(found)?.flags;
    flags.is_work_due().then_some((found, flags))
}

impl<N: Nic> Core<N> {
    /// Lets `ask` note in the record of a parked connection what is to be done; it is done when that can be.
    pub(super) fn remember(&mut self, id: ConnId, ask: impl FnOnce(ConnFlags) -> ConnFlags) {
        self.note(id, |parked| parked.flags = ask(parked.flags));
    }

    /// Another profile for a parked connection.
    pub(super) fn set_parked_profile(&mut self, id: ConnId, profile: ProfileId) {
        let keepalive = self.endpoint.profiles.get(profile).profile.keepalive;
        //~ A parked connection takes a profile: `parked.set_profile(profile, keepalive)`
        //~   -> `{ let _ = (parked, keepalive); }`; a_profile_is_taken_while_parked
        self.note(id, |parked| parked.set_profile(profile, keepalive));
    }

    fn note(&mut self, id: ConnId, note: impl FnOnce(&mut Parked)) {
        let table = &mut self.endpoint.table;
        let Some(found) = table.resolve(id) else {
            return;
        };
        let Some(parked) = table.parked_mut(found) else {
            return;
        };
        let before = parked.flags;
        note(parked);
        let after = parked.flags;
        let aborts = |flags: ConnFlags| flags.end_due() == Some(EndDue::Abort);
        if aborts(after) {
            if !aborts(before) {
                self.waiting.aborted.push(id, table);
            }
        } else if after.is_work_due() && !before.is_work_due() {
            let family = usize::from(found.entry().is_v6());
            self.waiting.for_record[family].push(id, table);
        }
    }

    /// Whether something in the lines could be done now.
    pub(super) fn has_work_of_waiting(&self) -> bool {
        let (open, capacity) = (
            self.endpoint.table.len(Kind::Open),
            self.endpoint.table.capacity(Kind::Open),
        );
        let [v4, v6] = &self.waiting.for_record;
        !self.waiting.aborted.names.is_empty()
            || !v4.names.is_empty() && open.v4 < capacity.v4
            || !v6.names.is_empty() && open.v6 < capacity.v6
    }

    /// Part of the timer stage: some of those that wait.
    #[inline]
    pub(super) fn serve_waiting<A: App>(&mut self, hosted: &mut Hosted<A>, now: Instant) {
        if self.waiting.len() > 0 {
            self.reset_aborted(hosted, now);
            for family in [0, 1] {
                self.unpark_waiting(hosted, family, now);
            }
        }
    }

    #[cold]
    fn reset_aborted<A: App>(&mut self, hosted: &mut Hosted<A>, now: Instant) {
        for _ in 0..PER_TURN {
            if self.outbox.connection_room() <= FRAMES_PER_RESOLUTION {
                return;
            }
            let Some(id) = self.waiting.aborted.names.pop_front() else {
                return;
            };
            if let Some((found, flags)) = work_of(&self.endpoint.table, id)
                && flags.end_due() == Some(EndDue::Abort)
            {
                //~ Aborting a parked connection takes no record: -> `let _ = (found, id);`;
                //~   without_a_record_abort_resets_all_the_same
                self.abort_parked(hosted, id, found, now);
            }
        }
    }

    /// A parked connection ends by a reset. It needn't be unparked for that, so no lack of records can keep it alive.
    fn abort_parked<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        id: ConnId,
        found: Found,
        now: Instant,
    ) {
        let table = &self.endpoint.table;
        let (Some(parked), Some(key)) = (table.parked(found), table.key(found)) else {
            return;
        };
        let stamps = self
            .endpoint
            .stamps(&key, parked.flags, parked.ts_recent, now);
        let reset = TcpReply {
            seq: parked.snd_nxt,
            ack: parked.rcv_nxt,
            flags: Flags::RST_ACK,
            window: 0,
            options: ReplyOptions::NONE.with_timestamps(stamps),
        };
        let hash = self.endpoint.hasher.hash(&key);
        self.keep_info(id, CloseReason::Aborted, now);
        let state = self.endpoint.table.end(found, hash);
        self.conns.counters.parked_aborted();
        self.endpoint.counters.bump(Counter::ConnectionsClosed);
        self.originate_resolved(&key, &reset, now);
        if let Some(state) = state {
            self.closed(hosted, (id, state), CloseReason::Aborted, now);
        }
        self.last_parked = None;
    }

    #[cold]
    fn unpark_waiting<A: App>(&mut self, hosted: &mut Hosted<A>, family: usize, now: Instant) {
        for _ in 0..PER_TURN {
            let Some(&id) = self.waiting.for_record[family].names.front() else {
                return;
            };
            if let Some((found, _)) = work_of(&self.endpoint.table, id)
                && let Some(key) = self.endpoint.table.key(found)
            {
                let hash = self.endpoint.hasher.hash(&key);
                match self.opening(now).unpark(found, hash) {
                    Err(NoRecord) => return,
                    Ok(slot) => {
                        self.conns.mark_dirty(slot);
                        self.deliver(hosted, slot, id, now);
                    }
                }
            }
            self.waiting.for_record[family].names.pop_front();
        }
    }
}
