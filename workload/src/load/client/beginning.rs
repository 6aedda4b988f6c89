//! Beginning operations: when they are due, on which connection, with which request.
//!
//! It must never begin more than a burst in a turn, and never take an operation from the schedule that can't be begun.

use stack::app::{ConnId, Cx, SendError, TxItem};
use stack::nic::Nic;
use stack::time::Instant;

use super::{Begin, LoadClient, Phase};
use crate::load::LoadConn;
use crate::load::measure::Step;
use crate::load::plan::{Pace, ProxyHeader, WhenBusy, Work};
use crate::load::under_way::{NONE, Operation, Reading, Stage};
use crate::proxy::{Tlv, write_v1, write_v2};
use crate::tally::Fault;

/// Bytes of a header of the PROXY protocol at most: version 1 is the longer one.
const PROXY_MAX: usize = crate::proxy::V1_MAX;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendOutcome {
    /// It is on its way.
    Sent,
    /// Its connection is parked and no open record is free, or its queue is full: [`stack::app::App::on_writable`] follows.
    Waits,
}

impl LoadClient {
    /// In the first turn: copies the requests that never change into the NIC's memory.
    pub(super) fn register<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>) {
        if self.is_registered {
            return;
        }
        self.is_registered = true;
        for (fixed, request) in self.fixed.iter_mut().zip(&self.plan.requests) {
            if let Some(bytes) = request.bytes.constant().filter(|bytes| !bytes.is_empty()) {
                let id = cx.register_static(bytes);
                fixed.bytes = id.map(|id| (id, bytes.len() as u32));
            }
        }
    }

    pub(super) fn begin_due<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>) {
        let now_ns = cx.now().as_ns();
        let Some(since_start_ns) = now_ns.checked_sub(self.origin_ns) else {
            return;
        };
        for _ in 0..self.plan.burst {
            let Pace::Open(schedule, when_busy) = &self.plan.pace else {
                return self.keep_at_work(cx, since_start_ns);
            };
            let when_busy = *when_busy;
            let due = schedule.next_ns().filter(|&due| due <= since_start_ns);
            let Some(due_ns) = due else {
                return;
            };
            if self.count_left() == 0 {
                return;
            }
            let is_timed = self.plan.window.holds(due_ns);
            match self.begin(cx, self.origin_ns + due_ns, is_timed) {
                Begin::Begun => {}
                Begin::Busy => {
                    self.counts.blocked_turns += 1;
                    self.blocked_ns = now_ns;
                    if when_busy == WhenBusy::Queue {
                        return;
                    }
                    self.counts.dropped += 1;
                }
            }
            self.counts.due += 1;
            self.counts.window_due += u64::from(is_timed);
            if let Pace::Open(schedule, _) = &mut self.plan.pace {
                schedule.advance();
            }
        }
    }

    /// A closed loop: as many connections as there may be by now, each at work.
    pub(super) fn keep_at_work<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        since_start_ns: u64,
    ) {
        let all = u64::from(self.plan.connections);
        let ramp_ns = self.plan.ramp_ns;
        let allowed = if since_start_ns >= ramp_ns {
            all
        } else {
            (u128::from(all) * u128::from(since_start_ns) / u128::from(ramp_ns)) as u64 + 1
        };
        let is_timed = self.plan.window.holds(since_start_ns);
        if matches!(self.plan.work, Work::Connect(_)) {
            let missing = allowed.saturating_sub(self.connections.len().into());
            let count = missing.min(self.count_left());
            return self.open_burst(cx, count, is_timed);
        }
        if self.plan.at_random {
            return self.ask_at_random(cx, is_timed);
        }
        let most = match self.plan.work {
            // A peer that refuses is asked again a little later: no operation waits for the answer.
            Work::Request => self.may_open(cx.now().as_ns()),
            _ => self.plan.burst.into(),
        };
        for _ in 0..most {
            if u64::from(self.connections.len()) >= allowed || self.count_left() == 0 {
                return;
            }
            if self.plan.work == Work::Request {
                if !self.open_to_keep(cx) {
                    return;
                }
            } else if let Begin::Busy = self.begin(cx, cx.now().as_ns(), is_timed) {
                return;
            }
        }
    }

    /// Opens connections to the targets in turn, a burst at most, until there are all.
    pub(super) fn fill_up<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>) {
        if self.connections.len() >= self.plan.connections {
            return;
        }
        for _ in 0..self.may_open(cx.now().as_ns()) {
            if self.connections.len() >= self.plan.connections || !self.open_to_keep(cx) {
                return;
            }
        }
    }

    /// Opens a connection that stays, to the next target. False when none can be begun now.
    pub(super) fn open_to_keep<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>) -> bool {
        let target = self.next_target;
        self.next_target = (target + 1) % self.plan.targets.len().max(1);
        let opened = self.open(cx, target as u16);
        if let Ok(index) = opened
            && !self.plan.at_random
        {
            self.arm(cx, index);
        }
        opened.is_ok()
    }

    /// Begins an operation that was due at `due_ns`, on a connection that is free or on a new one.
    pub(super) fn begin<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        due_ns: u64,
        is_timed: bool,
    ) -> Begin {
        let mut request = self.choose();
        let target = self.target_of(request);
        let free = match self.plan.work {
            Work::Request | Work::Hold => self.take_listed(target),
            Work::Connect(_) | Work::Stream(_) => None,
        };
        if let Some(index) = free {
            if self.plan.work == Work::Hold {
                request = self.choose_for(index);
            }
            self.push_operation(cx.now(), index, request, (due_ns, is_timed));
            self.ask_all(cx, index);
            self.list_if_free(index);
            return Begin::Begun;
        }
        let is_kept = self.plan.work.keeps();
        if is_kept || !self.connections.has_room() || !self.operations.has_room() {
            return Begin::Busy;
        }
        let opened = self.open(cx, target);
        self.begin_on_new(cx, opened, request, (due_ns, is_timed));
        Begin::Begun
    }

    /// Begins an operation that was due at `due_ns` on a connection that was opened for it. One that can't be opened is an
    /// operation that failed.
    pub(super) fn begin_on_new<N: Nic>(
        &mut self,
        cx: &Cx<'_, N, LoadConn>,
        opened: Result<u32, Fault>,
        request: u16,
        (due_ns, is_timed): (u64, bool),
    ) {
        match opened {
            Ok(index) => {
                self.push_operation(cx.now(), index, request, (due_ns, is_timed));
            }
            Err(fault) => {
                self.note_beginning(cx.now().as_ns(), due_ns, is_timed);
                self.counts.fail(fault);
            }
        }
    }

    /// A connection of this target that can take another operation.
    pub(super) fn take_listed(&mut self, target: u16) -> Option<u32> {
        if !self.operations.has_room() {
            return None;
        }
        let takes_any = self.plan.work == Work::Hold;
        let list = if takes_any { 0 } else { usize::from(target) };
        let listed = self.listed.get_mut(list)?;
        while let Some(index) = listed.pop_front() {
            // One that has ended since, or whose place another has taken, is passed over.
            if let Some(conn) = self.connections.get_mut(index)
                && conn.is_listed
                && (takes_any || conn.target == target)
            {
                conn.is_listed = false;
                if conn.stage == Stage::Open && conn.depth < self.plan.pipeline {
                    return Some(index);
                }
            }
        }
        None
    }

    /// Puts a connection into the list of those that can take another operation, if it can.
    pub(super) fn list_if_free(&mut self, index: u32) {
        let pipeline = self.plan.pipeline;
        let asked_max = self.plan.requests_per_connection.unwrap_or(u32::MAX);
        let is_one_list = self.plan.work == Work::Hold;
        if let Some(conn) = self.connections.get_mut(index)
            && conn.stage == Stage::Open
            && conn.depth < pipeline
            && conn.asked < asked_max
            && !conn.is_listed
            && let Some(listed) = self.listed.get_mut(if is_one_list {
                0
            } else {
                usize::from(conn.target)
            })
        {
            conn.is_listed = true;
            listed.push_back(index);
        }
    }

    pub(super) fn note_beginning(&mut self, now_ns: u64, due_ns: u64, is_timed: bool) {
        self.counts.begun += 1;
        if is_timed {
            self.counts.window_begun += 1;
            let gap = self.last_begun_ns.map(|last| now_ns.saturating_sub(last));
            let lag = match self.plan.pace {
                // An operation that waited for a connection waited for the target, not for us.
                Pace::Open(..) => Some(now_ns.saturating_sub(due_ns.max(self.blocked_ns))),
                Pace::Closed => None,
            };
            for (step, time) in [(Step::Gap, gap), (Step::Lag, lag)] {
                if let Some(time_ns) = time {
                    self.record(step, time_ns);
                }
            }
        }
        self.last_begun_ns = Some(now_ns);
    }

    /// Begins an operation on a connection, and says where it stands.
    #[inline]
    pub(super) fn push_operation(
        &mut self,
        now: Instant,
        index: u32,
        request: u16,
        (due_ns, is_timed): (u64, bool),
    ) -> Option<u32> {
        let now_ns = now.as_ns();
        self.note_beginning(now_ns, due_ns, is_timed);
        // Callers have seen that there is room.
        let Some(place) = self.operations.reserve() else {
            self.counts.fail(Fault::TableFull);
            return None;
        };
        let Some(conn) = self.connections.get_mut(index) else {
            self.operations.release(place);
            return None;
        };
        let opens = conn.asked == 0 && conn.connect_ns == now_ns;
        let last = core::mem::replace(&mut conn.last, place);
        conn.depth += 1;
        conn.asked = conn.asked.saturating_add(1);
        if conn.first == NONE {
            conn.first = place;
        } else if let Some(before) = self.operations.get_mut(last) {
            before.next = place;
        }
        let fixed = self.fixed.get(usize::from(request));
        let reading = fixed.map_or(Reading::Head, |fixed| fixed.reading);
        let older = self.line.push(&mut self.operations, place);
        let operation = Operation {
            due_ns,
            begun_ns: now_ns,
            sent_ns: 0,
            next: NONE,
            conn: index,
            older,
            newer: NONE,
            request,
            status: 0,
            reading,
            has_begun_reply: false,
            closes: false,
            is_timed,
            opens,
        };
        self.operations.fill(place, operation);
        Some(place)
    }

    /// Sends the requests of all operations of a connection that were not sent, as far as there is room for them.
    pub(super) fn ask_all<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, index: u32) {
        let conn = self.connections.get(index);
        let Some((id, mut place)) = conn.map(|conn| (conn.id, conn.first)) else {
            return;
        };
        while let Some(operation) = self.operations.get(place) {
            let next = operation.next;
            if operation.sent_ns == 0 {
                match self.ask(cx, id, place, operation.request) {
                    Ok(SendOutcome::Sent) => {}
                    Ok(SendOutcome::Waits) => return,
                    Err(fault) => return self.fail(cx, index, fault),
                }
            }
            place = next;
        }
    }

    /// There is room again on a connection: what waited for it is sent.
    pub(super) fn ask_waiting<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, index: u32) {
        let conn = self.connections.get(index);
        if conn.is_some_and(|conn| conn.stage == Stage::Open) {
            self.ask_all(cx, index);
        }
    }

    pub(super) fn ask<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        conn: ConnId,
        place: u32,
        request: u16,
    ) -> Result<SendOutcome, Fault> {
        let asked = self.send_request(cx, conn, request)?;
        if asked == SendOutcome::Waits {
            self.counts.waited += 1;
        } else if let Some(operation) = self.operations.get_mut(place) {
            operation.sent_ns = cx.now().as_ns().max(1);
        }
        Ok(asked)
    }

    /// Sends the header of the PROXY protocol, if there is to be one.
    pub(super) fn send_proxy_header<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        conn: ConnId,
    ) -> Result<(), Fault> {
        let Some(version) = self.plan.proxy else {
            return Ok(());
        };
        let info = cx.info(conn).ok_or(Fault::Aborted)?;
        let (source, destination) = (info.local, info.remote);
        let mut bytes = [0; PROXY_MAX];
        let len = match version {
            ProxyHeader::V1 => {
                let line = write_v1(source, destination);
                bytes[..line.len()].copy_from_slice(&line);
                line.len()
            }
            ProxyHeader::V2 => {
                let ends = Some((source, destination));
                write_v2(ends, &[Tlv::Crc32c], &mut bytes).ok_or(Fault::NoMemory)?
            }
        };
        if cx.send_bytes(conn, &bytes[..len]) != Ok(len) {
            return Err(Fault::SendRefused);
        }
        self.counts.bytes_out += len as u64;
        Ok(())
    }

    /// Sends a request, if there is room for it.
    pub(super) fn send_request<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        conn: ConnId,
        request: u16,
    ) -> Result<SendOutcome, Fault> {
        let fixed = self.fixed.get(usize::from(request));
        let sent = match fixed.and_then(|fixed| fixed.bytes) {
            Some((id, len)) => match cx.send(conn, TxItem::Static { id, start: 0, len }) {
                Ok(()) => Some(len as usize),
                Err(SendError::Full(_)) => None,
                Err(_) => return Err(Fault::SendRefused),
            },
            None => self.send_written(cx, conn, request)?,
        };
        let Some(len) = sent else {
            return Ok(SendOutcome::Waits);
        };
        self.counts.requests += 1;
        self.counts.bytes_out += len as u64;
        Ok(SendOutcome::Sent)
    }

    /// Sends a request with placeholders, and says how long it was; `None` when there is no room.
    fn send_written<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        conn: ConnId,
        request: u16,
    ) -> Result<Option<usize>, Fault> {
        let plan = self.plan.requests.get(usize::from(request));
        let plan = plan.ok_or(Fault::NoMemory)?;
        if plan.bytes.constant().is_some() {
            // It found no place in the NIC's memory.
            return Err(Fault::NoMemory);
        }
        let (worker, workers) = self.plan.share;
        let number = self.next_number * u64::from(workers.max(1)) + u64::from(worker);
        self.written.clear();
        let ends = cx.info(conn).map(|info| (info.local, info.remote));
        let ends = ends.ok_or(Fault::Aborted)?;
        plan.bytes
            .write((number, ends), &mut self.random, &mut self.written);
        match cx.send_bytes(conn, &self.written) {
            Ok(len) if len == self.written.len() => {}
            Err(SendError::Full(())) => return Ok(None),
            // A part of a request can't be taken back.
            _ => return Err(Fault::SendRefused),
        }
        self.next_number += 1;
        Ok(Some(self.written.len()))
    }

    /// Starts the timer of a connection without operations, which is opened or closed, unless it runs.
    pub(super) fn arm<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, index: u32) {
        if let Some(conn) = self.connections.get_mut(index)
            && !conn.has_timer
        {
            conn.has_timer = true;
            let at = cx.now() + self.plan.timeout;
            cx.set_timer(conn.id, at);
        }
    }

    /// Stops the connection's timer: nothing is waited for. A kept connection would hear of it for nothing.
    pub(super) fn disarm<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, index: u32) {
        if self.plan.work.keeps()
            && let Some(conn) = self.connections.get_mut(index)
            && conn.has_timer
        {
            conn.has_timer = false;
            cx.clear_timer(conn.id);
        }
    }

    /// A connection can take another operation.
    pub(super) fn on_free<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, index: u32) {
        let depth = self.connections.get(index).map_or(0, |conn| conn.depth);
        match (self.phase, &self.plan.pace) {
            (Phase::Finishing, _) if depth == 0 => self.close(cx, index),
            (Phase::Running, Pace::Closed) if !self.plan.at_random => {
                let since_start_ns = cx.now().as_ns().saturating_sub(self.origin_ns);
                let is_timed = self.plan.window.holds(since_start_ns);
                let now_ns = cx.now().as_ns();
                for _ in depth..self.plan.pipeline {
                    if self.count_left() == 0
                        || !self.operations.has_room()
                        || self.requests_left(index) == 0
                    {
                        break;
                    }
                    let request = self.choose_for(index);
                    self.push_operation(cx.now(), index, request, (now_ns, is_timed));
                }
                self.ask_all(cx, index);
                // Without anything left to begin it waits for the end, to be closed then.
                self.list_if_free(index);
            }
            _ => self.list_if_free(index),
        }
    }

    /// Requests that a connection may still have.
    pub(super) fn requests_left(&self, index: u32) -> u32 {
        let most = self.plan.requests_per_connection.unwrap_or(u32::MAX);
        let asked = self.connections.get(index).map_or(0, |conn| conn.asked);
        most.saturating_sub(asked)
    }
}
