//! Ending operations and connections: each is counted under one end, with its time or the least that it can be.
//!
//! It must never leave an operation on a connection that is gone.

use stack::app::ConnId;
use stack::app::Cx;
use stack::nic::Nic;

use super::{FailureMark, LoadClient, Phase};
use crate::load::LoadConn;
use crate::load::measure::{Measure, Step};
use crate::load::plan::{CloseMode, Pace, Work};
use crate::load::under_way::{NONE, Operation, Reading, Stage, Timing};
use crate::tally::Fault;

impl LoadClient {
    /// Takes the oldest operation off its connection.
    pub(in crate::load) fn pop_operation(&mut self, index: u32) -> Option<Operation> {
        let first = self.connections.get(index)?.first;
        let operation = *self.operations.get(first)?;
        self.drop_operation(index);
        Some(operation)
    }

    /// The same where nothing more is asked of it.
    #[inline]
    fn drop_operation(&mut self, index: u32) {
        let Some(conn) = self.connections.get_mut(index) else {
            return;
        };
        let place = conn.first;
        let Some(operation) = self.operations.get(place) else {
            return;
        };
        conn.first = operation.next;
        conn.depth -= 1;
        if conn.first == NONE {
            conn.last = NONE;
        }
        let neighbors = (operation.older, operation.newer);
        self.line.close(&mut self.operations, neighbors);
        self.operations.free(place);
    }

    pub(super) fn set_stage(&mut self, index: u32, stage: Stage, now_ns: u64) {
        if let Some(conn) = self.connections.get_mut(index)
            && conn.stage != stage
        {
            conn.stage = stage;
            if stage == Stage::Closing {
                conn.closed_ns = now_ns;
                self.closing += 1;
            }
        }
    }

    /// The oldest operation of a connection failed: so do those behind it, which can't be answered any more.
    pub(in crate::load) fn fail<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        index: u32,
        fault: Fault,
    ) {
        let now_ns = cx.now().as_ns();
        if let Some(id) = self.connections.get(index).map(|conn| conn.id) {
            self.mark(cx, id, fault);
        }
        self.fail_operations(index, fault, now_ns);
        self.note_broken(index, fault);
        self.set_stage(index, Stage::Closing, now_ns);
        if let Some(conn) = self.connections.get(index) {
            cx.abort(conn.id);
        }
    }

    /// Remembers a connection with a failure, if it is one of the first of its fault.
    pub(super) fn mark<N: Nic>(&mut self, cx: &Cx<'_, N, LoadConn>, id: ConnId, fault: Fault) {
        let marked = &mut self.marked[fault as usize];
        if *marked < self.plan.marks_per_fault
            && let Some(info) = cx.info(id)
        {
            *marked += 1;
            self.marks.push(FailureMark {
                fault,
                local: info.local,
                remote: info.remote,
            });
        }
    }

    pub(super) fn fail_operations(&mut self, index: u32, fault: Fault, now_ns: u64) {
        let mut fault = fault;
        while let Some(operation) = self.pop_operation(index) {
            self.counts.fail(fault);
            // How long it would have taken is not known.
            self.record_unended(&operation, now_ns);
            fault = Fault::EndedEarly;
        }
    }

    pub(super) fn record_unended(&mut self, operation: &Operation, now_ns: u64) {
        if !operation.is_timed {
            return;
        }
        let since = |from_ns: u64| now_ns.saturating_sub(from_ns);
        let is_open = matches!(self.plan.pace, Pace::Open(..));
        let response = (operation.sent_ns > 0 && operation.reading != Reading::Over)
            .then(|| since(operation.sent_ns));
        for (step, time) in [
            (Step::Response, response),
            (Step::Operation, Some(since(operation.begun_ns))),
            (Step::Scheduled, is_open.then(|| since(operation.due_ns))),
        ] {
            if let Some(time_ns) = time {
                self.measure(step).record_censored(time_ns);
            }
        }
    }

    /// Where the times of this step are counted: those of whole operations by part of the run.
    #[inline]
    fn measure(&mut self, step: Step) -> &mut Measure {
        match self.interval.of(step) {
            Some(measure) => measure,
            None => self.measures.of(step),
        }
    }

    #[inline]
    pub(in crate::load) fn record(&mut self, step: Step, time_ns: u64) {
        let is_whole = matches!(step, Step::Operation | Step::Scheduled);
        if is_whole || self.plan.times_steps {
            self.measure(step).record(time_ns);
        }
    }

    /// The first bytes of the reply of an operation are there.
    #[inline]
    pub(in crate::load) fn record_first_byte(&mut self, now_ns: u64, operation: &Timing) {
        if operation.is_timed {
            self.record(Step::FirstByte, now_ns.saturating_sub(operation.sent_ns));
            if self.plan.times_from_syn && operation.opens {
                let time_ns = now_ns.saturating_sub(operation.begun_ns);
                self.record(Step::SynToFirstByte, time_ns);
            }
        }
    }

    /// The reply of the oldest operation is whole.
    pub(in crate::load) fn on_reply<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, index: u32) {
        let conn = self.connections.get(index);
        let Some((id, place)) = conn.map(|conn| (conn.id, conn.first)) else {
            return;
        };
        let Some(&operation) = self.operations.get(place) else {
            return;
        };
        let wrong = self.fault_of_reply(place, &operation);
        let closes = operation.closes;
        self.on_judged(cx, (id, index), (place, &operation.timing(), closes), wrong);
    }

    /// The reply of the oldest operation of a connection is whole, and right unless `wrong` says something else.
    pub(in crate::load) fn on_judged<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        (id, index): (ConnId, u32),
        (place, operation, closes): (u32, &Timing, bool),
        wrong: Option<Fault>,
    ) {
        self.counts.replies += 1;
        let now_ns = cx.now().as_ns();
        if operation.is_timed {
            self.record(Step::Response, now_ns.saturating_sub(operation.sent_ns));
            if self.plan.times_from_syn && operation.opens {
                let time_ns = now_ns.saturating_sub(operation.begun_ns);
                self.record(Step::SynToLastByte, time_ns);
            }
        }
        if let Work::Connect(_) = self.plan.work {
            if let Some(operation) = self.operations.get_mut(place) {
                operation.reading = Reading::Over;
                operation.has_begun_reply = true;
            }
            if let Some(fault) = wrong {
                return self.fail(cx, index, fault);
            }
        }
        match self.plan.work {
            Work::Connect(CloseMode::Fin) => self.close_first(cx, (index, id)),
            Work::Connect(CloseMode::Rst) => {
                self.set_stage(index, Stage::Closing, now_ns);
                cx.abort(id);
            }
            Work::Connect(CloseMode::Peer) => {
                if cx.peer_closed(id) {
                    self.close(cx, index);
                }
            }
            Work::Request | Work::Hold | Work::Stream(_) => {
                self.drop_operation(index);
                self.note_reply(cx, index, now_ns);
                if let Some(fault) = wrong {
                    self.mark(cx, id, fault);
                    self.counts.fail(fault);
                    self.record_whole(operation, now_ns);
                } else {
                    self.complete(operation, now_ns);
                }
                if closes {
                    self.note_broken(index, Fault::EndedEarly);
                    self.fail_operations(index, Fault::EndedEarly, now_ns);
                    self.close(cx, index);
                } else if self.plan.requests_per_connection.is_some()
                    && self.requests_left(index) == 0
                {
                    self.close_if_idle(cx, index);
                } else if !self.plan.at_random || self.phase == Phase::Finishing {
                    self.on_free(cx, index);
                }
            }
        }
    }

    /// The fault of a whole reply: its status, or the checksum of its body.
    fn fault_of_reply(&mut self, place: u32, operation: &Operation) -> Option<Fault> {
        let hash = self.hashes.get_mut(place as usize).and_then(Option::take);
        if operation.status != 0 && !self.plan.accepted.contains(&operation.status) {
            return Some(Fault::WrongStatus);
        }
        let request = self.plan.requests.get(usize::from(operation.request));
        let wanted = request.and_then(|request| request.checksum.as_ref())?;
        let is_right = hash.is_some_and(|hash| hash.is(wanted));
        (!is_right).then_some(Fault::WrongContent)
    }

    /// A connection that is kept has brought a whole reply.
    fn note_reply<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, index: u32, now_ns: u64) {
        if self.plan.work == Work::Hold
            && let Some(conn) = self.connections.get_mut(index)
        {
            let heard_ns = core::mem::replace(&mut conn.heard_ns, now_ns);
            self.note_unasked(heard_ns, now_ns);
            self.disarm(cx, index);
        }
    }

    pub(super) fn complete(&mut self, operation: &Timing, now_ns: u64) {
        self.counts.completed += 1;
        self.counts.window_completed += u64::from(operation.is_timed);
        self.record_whole(operation, now_ns);
    }

    pub(super) fn record_whole(&mut self, operation: &Timing, now_ns: u64) {
        if !operation.is_timed {
            return;
        }
        self.record(Step::Operation, now_ns.saturating_sub(operation.begun_ns));
        if let Pace::Open(..) = self.plan.pace {
            self.record(Step::Scheduled, now_ns.saturating_sub(operation.due_ns));
        }
    }

    /// The stage of a connection whose only operation has had its whole reply; `None` for any other.
    #[inline]
    pub(super) fn stage_with_all(&self, index: u32) -> Option<Stage> {
        let conn = self.connections.get(index)?;
        (conn.depth == 1 && self.is_over(conn.first)).then_some(conn.stage)
    }

    #[inline]
    fn is_over(&self, place: u32) -> bool {
        let operation = self.operations.get(place);
        operation.is_some_and(|operation| matches!(operation.reading, Reading::Over))
    }

    /// A connection of [`Work::Connect`] that has done its work ends by FIN of both sides, as it should; false for any other, of which
    /// nothing was counted then.
    #[inline]
    pub(super) fn end_in_order(&mut self, index: u32, now_ns: u64) -> bool {
        if !matches!(self.plan.work, Work::Connect(_)) {
            return false;
        }
        let Some(conn) = self.connections.get(index) else {
            return false;
        };
        let is_closed = conn.was_established && conn.stage == Stage::Closing && conn.closed_ns > 0;
        if !is_closed || conn.depth != 1 || !self.is_over(conn.first) {
            return false;
        }
        let (first, closed_ns) = (conn.first, conn.closed_ns);
        self.counts.ends.graceful += 1;
        self.closing -= 1;
        self.record(Step::Close, now_ns.saturating_sub(closed_ns));
        if let Some(operation) = self.operations.get(first) {
            let (timing, neighbors) = (operation.timing(), (operation.older, operation.newer));
            self.line.close(&mut self.operations, neighbors);
            self.operations.free(first);
            self.complete(&timing, now_ns);
        }
        self.connections.free(index);
        true
    }

    /// A connection that has had all its requests is closed behind the last reply.
    fn close_if_idle<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, index: u32) {
        if self
            .connections
            .get(index)
            .is_some_and(|conn| conn.depth == 0)
        {
            self.close(cx, index);
        }
    }

    pub(super) fn close<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, index: u32) {
        let Some(conn) = self.connections.get_mut(index) else {
            return;
        };
        // The operations of others have a line of their own; what is kept is closed at the end, which has a limit of its own.
        let (id, is_watched) = (conn.id, conn.depth > 0 || self.plan.work.keeps());
        if conn.stage != Stage::Closing {
            conn.stage = Stage::Closing;
            conn.closed_ns = cx.now().as_ns();
            self.closing += 1;
        }
        cx.close(id);
        if !is_watched {
            self.arm(cx, index);
        }
    }

    /// Closes connections without operations, a burst at most.
    pub(super) fn close_idle<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>) {
        if self.direction().is_some() {
            return self.end_streams(cx);
        }
        let most = self
            .plan
            .opening
            .map_or(u32::MAX, |opening| opening.closing_max);
        for target in 0..self.listed.len() {
            for _ in 0..self.plan.burst {
                if self.closing >= most {
                    return;
                }
                let Some(index) = self.listed[target].pop_front() else {
                    break;
                };
                let idle = self
                    .connections
                    .get_mut(index)
                    .filter(|conn| conn.is_listed)
                    .map(|conn| {
                        conn.is_listed = false;
                        conn.depth == 0 && conn.stage == Stage::Open
                    });
                if idle == Some(true) {
                    self.close(cx, index);
                }
            }
        }
    }

    pub(super) fn reset<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, index: u32) {
        self.set_stage(index, Stage::Closing, cx.now().as_ns());
        if let Some(conn) = self.connections.get(index) {
            cx.abort(conn.id);
        }
    }
}
