//! The output stage: connections that have news are asked what they want to send. And what follows once they have said it:
//! TIME-WAIT, the end.
//!
//! It must never ask for a segment that there is no room for: numbers advance with the answer.

use crate::config::Config;
use crate::conn::TickMs;
use crate::conn::connections::{Conn, Parts, Slot};
use crate::counters::Counter;
use crate::neighbor::Neighbor;
use crate::nic::Nic;
use crate::path::CONFIRMED_MS;
use crate::queue::pattern;
use crate::queue::tx_queue::Piece;
use crate::tcp::segment::SendPlan;
use crate::tcp::state::State;
use crate::tcp::verdict::CloseReason;
use crate::time::Instant;
use crate::wire::ethernet::MacAddr;
use crate::wire::vlan::VlanId;
use crate::worker::Core;
use crate::worker::app::App;
use crate::worker::callbacks::Hosted;
use crate::worker::frame_writer::{Draft, Path, Route};
use crate::worker::held::is_held;
use crate::worker::large_segment::LargeSegment;
use crate::worker::paths::ask_again;

mod large;

/// The second repetition of a SYN makes its next hop doubtful, once: the first one is common where a host drops SYNs, and a host that
/// answers none (a filtered port) would be asked with each.
const SYN_TIMEOUTS_TO_DOUBT: u8 = 2;

/// Segments that one connection may send in a row before the next one has its turn.
const SEGMENTS_PER_CONNECTION: u32 = 32;

/// The result of asking a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutputStatus {
    /// It has said all.
    Done,
    /// It has more, and others are waiting.
    More,
    /// Nothing can be sent now.
    Blocked,
}

impl<N: Nic> Core<N> {
    /// The output stage. Each connection in the list is asked once; what the NIC doesn't take now stays for the next turn.
    #[inline]
    pub(super) fn output<A: App>(&mut self, hosted: &mut Hosted<A>, now: Instant) {
        for _ in 0..self.conns.dirty_len() {
            let Some(slot) = self.conns.pop_dirty() else {
                return;
            };
            if self.output_expected(hosted, slot, now) {
                continue;
            }
            match self.ask(slot, now) {
                OutputStatus::Done => self.settle(hosted, slot, now),
                OutputStatus::More => self.conns.mark_dirty(slot),
                OutputStatus::Blocked => return self.conns.unpop_dirty(slot),
            }
        }
    }

    /// Asks one connection at once, in the middle of a burst.
    pub(super) fn transmit(&mut self, slot: Slot, now: Instant) {
        // A segment that can't be sent now is sent at the end of the turn: the connection is in the list.
        let _ = self.ask(slot, now);
    }

    fn ask(&mut self, slot: Slot, now: Instant) -> OutputStatus {
        for _ in 0..SEGMENTS_PER_CONNECTION {
            let asked = match self.ask_once(slot, true, now) {
                Some(asked) => asked,
                None => self.ask_opening(slot, now),
            };
            if asked != OutputStatus::More {
                return asked;
            }
        }
        OutputStatus::More
    }

    /// The next segment of a connection, if it has one. Apart from the loop: mostly there is one, and what a loop prepares for
    /// its second round costs as much as a header. `None` when `may_hold` and it is a first SYN that may have to wait. One copy
    /// of it: what has two callers is not inlined.
    #[inline(never)]
    fn ask_once(&mut self, slot: Slot, may_hold: bool, now: Instant) -> Option<OutputStatus> {
        let has_room = self.has_room_for_connections();
        let Core {
            conns,
            endpoint,
            writer,
            nic,
            paths,
            ..
        } = self;
        let Some(mut parts) = conns.parts(slot) else {
            return Some(OutputStatus::Done);
        };
        let unsent = parts.conn.unsent();
        if parts.conn.tcb.is_silent(unsent) {
            return Some(OutputStatus::Done);
        }
        if !has_room {
            return Some(OutputStatus::Blocked);
        }
        if may_hold && is_held(parts.conn) {
            return None;
        }
        //~ Connections ask again when something has changed: -> `if false {`;
        //~   after_ten_minutes_the_larger_mtu_is_tried_again
        if parts.conn.path_epoch != paths.epoch() {
            ask_again(paths, endpoint, &mut parts, now);
        }
        let plan = {
            let (tcb, mut env) = parts.protocol(&endpoint.profiles, now);
            tcb.poll_output(unsent, &mut env)
        };
        // Not moved out: a copy of what was just written in small parts stalls.
        let Some(plan) = &plan else {
            return Some(OutputStatus::Done);
        };
        let asked = if parts.conn.tcb.is_silent(parts.conn.unsent()) {
            OutputStatus::Done
        } else {
            OutputStatus::More
        };
        let Some(path) = path(parts.conn, &endpoint.config, now) else {
            endpoint.counters.bump(Counter::TxNoRoute);
            self.unsent(slot, now);
            return Some(asked);
        };
        let cut_bytes_max = writer.cut_bytes_max();
        if cut_bytes_max > plan.payload_len && asked == OutputStatus::More && path.is_resolved() {
            let limits = (cut_bytes_max, now);
            let large = LargeSegment::collect(*plan, &mut parts, &endpoint.profiles, limits);
            return Some(self.send_large(slot, &large, &path, now));
        }
        // Without a buffer the segment counts as lost, and the protocol repeats it.
        let draft = writer.begin(nic, &mut endpoint.counters, &path, plan);
        match draft.and_then(|draft| fill(draft, &path, plan, parts)) {
            //~ An ACK that could not be built is owed again: -> `None => {}`; an_ack_that_found_no_buffer_is_sent_later
            None => self.unsent(slot, now),
            Some(frame) if path.is_resolved() => {
                self.outbox.connection(frame, &mut endpoint.counters);
            }
            Some(frame) => {
                let destination = Neighbor {
                    vlan: VlanId::of(path.route.vlan),
                    addr: path.key.remote(),
                };
                if path.is_doubtful && path.route.dst == MacAddr::ZERO {
                    self.doubt_neighbor(destination, now);
                }
                self.dispatch(frame, destination, now);
            }
        }
        Some(asked)
    }

    /// A segment that the protocol counts as sent could not be built.
    #[cold]
    fn unsent(&mut self, slot: Slot, now: Instant) {
        if let Some(mut parts) = self.conns.parts(slot) {
            let (tcb, env) = parts.protocol(&self.endpoint.profiles, now);
            tcb.on_unsent(&env);
        }
    }

    /// The first SYN of a connection, unless its neighbour is to be found first.
    #[cold]
    fn ask_opening(&mut self, slot: Slot, now: Instant) -> OutputStatus {
        //~ A first SYN waits for its neighbour: -> `if false {`; every_syn_leaves_when_the_neighbor_has_answered
        if self.holds(slot, now) {
            return OutputStatus::Done;
        }
        self.ask_once(slot, false, now)
            .unwrap_or(OutputStatus::Done)
    }

    /// Room for a segment in the outbox, which is emptied into the NIC when it is full.
    #[inline]
    fn has_room_for_connections(&mut self) -> bool {
        if self.outbox.connection_room() == 0 {
            self.send();
        }
        self.outbox.connection_room() > 0
    }

    /// The next step of a connection that has sent everything: it ends, enters TIME-WAIT, or waits for its next deadline.
    #[inline]
    pub(super) fn settle<A: App>(&mut self, hosted: &mut Hosted<A>, slot: Slot, now: Instant) {
        let Some(mut parts) = self.conns.parts(slot) else {
            return;
        };
        let conn = &*parts.conn;
        let state = conn.tcb.state();
        if matches!(state, State::Closed | State::Listen | State::TimeWait) && !is_read_on(conn) {
            return self.settle_ended(hosted, slot, now);
        }
        if let Some(deadline) = conn.tcb.deadline() {
            parts.fire_by(deadline);
        } else if state == State::Established && conn.has(Conn::ANNOUNCED) {
            parts.fire_by(now + self.endpoint.config.park_after);
        }
    }

    fn settle_ended<A: App>(&mut self, hosted: &mut Hosted<A>, slot: Slot, now: Instant) {
        let Some(conn) = self.conns.get(slot) else {
            return;
        };
        if conn.tcb.state() == State::TimeWait {
            //~ A connection in TIME-WAIT becomes a record; time_wait::it_ends_after_2msl
            self.linger(hosted, slot, now);
        } else if conn.tcb.is_finished() {
            let reason = conn.tcb.close_reason().unwrap_or(CloseReason::Graceful);
            self.finish(hosted, slot, reason, now);
        }
    }

    /// The end of a connection.
    fn finish<A: App>(
        &mut self,
        hosted: &mut Hosted<A>,
        slot: Slot,
        reason: CloseReason,
        now: Instant,
    ) {
        let outbox = &mut self.outbox;
        let Some(conn) = self.conns.remove(slot, |frame| outbox.free(frame)) else {
            return;
        };
        let state = self.endpoint.table.end(conn.found, conn.hash);
        self.ended(hosted, &conn, state, reason, now);
    }
}

/// Whether the application still reads what arrived in order before both directions ended well.
#[inline]
fn is_read_on(conn: &Conn) -> bool {
    let reason = conn.tcb.close_reason().unwrap_or(CloseReason::Graceful);
    reason == CloseReason::Graceful
        && conn.has(Conn::OWNED)
        && !conn.rx.is_empty()
        && !conn.tcb.app_has_closed()
}

/// The finished segment of a draft: its payload from the connection's queue.
#[inline]
fn fill<N: Nic>(
    mut draft: Draft<'_, N>,
    path: &Path,
    plan: &SendPlan,
    parts: Parts<'_, N::Frame>,
) -> Option<N::Frame> {
    if plan.payload_len == 0 {
        return draft.finish();
    }
    if !path.is_resolved() {
        // Its link address is written later, which takes a frame that is ours alone.
        draft.keep_whole();
    }
    let Parts {
        conn,
        chunks,
        statics,
        ..
    } = parts;
    let (offset, len) = (plan.payload_offset, plan.payload_len);
    conn.tx.visit(chunks, offset, len, |piece| match piece {
        Piece::Frame { frame, start, len } => {
            draft.append_frame(frame, start as usize, len as usize);
        }
        Piece::Static { id, start, len } => {
            statics.visit(id, start, len, |frame, start, len| {
                draft.append_frame(frame, start as usize, len as usize);
            });
        }
        Piece::Pattern { start, len } => {
            append_pattern(&mut draft, start, len as usize);
        }
    });
    draft.finish()
}

/// `len` bytes of the pattern from `start` on, in as many copies as it takes.
#[inline]
fn append_pattern<N: Nic>(draft: &mut Draft<'_, N>, start: u64, len: usize) {
    let mut done = 0;
    while done < len {
        let piece = (len - done).min(draft.copy_bytes_max());
        draft.append_with(piece, |into| {
            pattern::fill(start.wrapping_add(done as u64), into);
        });
        done += piece;
    }
}

/// The way of a connection's frames: to where its peer was heard from lately, else to be resolved (destination zero).
#[inline]
fn path(conn: &Conn, config: &Config, now: Instant) -> Option<Path> {
    let (vlan, local) = config.locals.locate(conn.key.local())?;
    let dst = match conn.link {
        //~ A neighbour not heard for 30 s is looked for:
        //~   `if TickMs::at(now).since(link.heard_at) < CONFIRMED_MS => link.mac` -> `if true => link.mac`;
        //~   who_was_not_heard_for_30_s_is_looked_for
        Some(link) if TickMs::at(now).since(link.heard_at) < CONFIRMED_MS => link.mac,
        // No neighbour to ask: the way on which its frames came is the only one that is known.
        Some(link) if config.next_hop(conn.key.remote()).is_none() => link.mac,
        _ => MacAddr::ZERO,
    };
    //~ A connection sends in its VLAN, also after it was parked:
    //~   -> `let vlan = vlan.tag().filter(|_| conn.link.is_some());`;
    //~   after_a_minute_parked_the_fin_goes_out_in_the_vlan
    let vlan = vlan.tag();
    let mut path = Path {
        key: conn.key,
        local,
        route: Route { dst, vlan },
        is_doubtful: false,
    };
    if conn.tcb.is_unanswered() {
        doubt(&mut path, conn, config);
    }
    Some(path)
}

/// Nothing that was sent on this path was answered: its next hop may have moved. Before a connection is synchronised it has
/// heard nothing from there itself: it goes where the neighbour table says, and waits for the neighbour where that says nothing
/// (EHOSTUNREACH when the neighbour doesn't answer).
#[cold]
fn doubt(path: &mut Path, conn: &Conn, config: &Config) {
    if config.next_hop(conn.key.remote()).is_none() {
        return;
    }
    if conn.tcb.is_opening() {
        path.route.dst = MacAddr::ZERO;
        //~ A repeated SYN makes a neighbour doubtful: -> `path.is_doubtful = false;`;
        //~   a_repeated_syn_finds_a_neighbour_that_moved
        path.is_doubtful = conn.tcb.timeouts() == SYN_TIMEOUTS_TO_DOUBT;
    } else {
        //~ A timeout makes a neighbour doubtful; missing_progress_finds_a_neighbour_that_moved
        path.is_doubtful = path.is_resolved();
    }
}
