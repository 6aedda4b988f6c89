//! What the stack calls: a turn, and what happens to connections.
//!
//! It must never leave a connection that has ended in the slab.

use stack::app::CloseReason;
use stack::app::ConnId;
use stack::app::{App, Cx};
use stack::nic::Nic;
use stack::time::Instant;

use super::{LoadClient, Phase};
use crate::load::LoadConn;
use crate::load::measure::Step;
use crate::load::plan::{CloseMode, Pace, Work};
use crate::load::under_way::{Reading, Stage};
use crate::tally::Fault;

impl App for LoadClient {
    type Conn = LoadConn;

    fn on_tick<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>) {
        self.register(cx);
        if self.direction().is_some() {
            self.count_acked(cx);
        }
        if self.apart.is_some() {
            self.take_turn(cx);
        }
        self.expire(cx);
        match self.phase {
            Phase::Waiting => {
                for (way, target) in self.ways.iter_mut().zip(&self.plan.targets) {
                    *way = cx.reach(target.ip());
                }
            }
            Phase::Filling if self.plan.keeps_all => self.fill_up(cx),
            Phase::Filling => {}
            Phase::Running => {
                if self.plan.keeps_all && matches!(self.plan.pace, Pace::Open(..)) {
                    self.fill_up(cx);
                }
                self.begin_due(cx);
            }
            Phase::Finishing => self.close_idle(cx),
        }
    }

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, _: ConnId, state: &mut LoadConn) {
        let (index, now_ns) = (state.0, cx.now().as_ns());
        let Some(conn) = self.connections.get_mut(index) else {
            return;
        };
        conn.was_established = true;
        conn.heard_ns = now_ns;
        self.counts.established += 1;
        let (connect_ns, first, stage) = (conn.connect_ns, conn.first, conn.stage);
        let (id, is_reused) = (conn.id, conn.is_reused);
        if stage == Stage::Opening {
            conn.stage = Stage::Open;
        }
        if is_reused {
            self.note_reopened(cx, id);
        }
        self.record(Step::Connect, now_ns.saturating_sub(connect_ns));
        if stage == Stage::Closing {
            return;
        }
        if let Err(fault) = self.send_proxy_header(cx, id) {
            return self.fail(cx, index, fault);
        }
        if self.direction().is_some() {
            return self.begin_stream(cx, index);
        }
        let Some(operation) = self.operations.get_mut(first) else {
            self.disarm(cx, index);
            return self.on_free(cx, index);
        };
        if !self.plan.requests.is_empty() {
            let first = (first, operation.request, operation.next);
            self.ask_first(cx, (index, id), first);
            if !matches!(self.plan.work, Work::Connect(_)) {
                self.list_if_free(index);
            }
            return;
        }
        // A connection that asks nothing has done its work.
        operation.reading = Reading::Over;
        match self.plan.work {
            Work::Connect(CloseMode::Rst) => self.reset(cx, index),
            Work::Connect(CloseMode::Peer) => {}
            Work::Connect(CloseMode::Fin) | Work::Request | Work::Hold | Work::Stream(_) => {
                self.close(cx, index);
            }
        }
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, id: ConnId, state: &mut LoadConn) {
        if self.direction().is_some() {
            return self.sink(cx, id, state.0);
        }
        self.read(cx, id, state.0);
    }

    fn on_writable<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        _: ConnId,
        state: &mut LoadConn,
    ) {
        if self.direction().is_some() {
            self.pump(cx, state.0);
        } else {
            self.ask_waiting(cx, state.0);
        }
    }

    fn on_peer_closed<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        id: ConnId,
        state: &mut LoadConn,
    ) {
        if self.direction().is_some() {
            return self.on_stream_end(cx, id, state.0);
        }
        if matches!(self.plan.work, Work::Connect(_))
            && cx.unread_len(id) == 0
            && let Some(stage) = self.stage_with_all(state.0)
        {
            if stage != Stage::Closing {
                self.close(cx, state.0);
            }
            return;
        }
        self.read_to_end(cx, id, state.0);
        self.on_peer_end(cx, state.0);
    }

    /// Opening or closing takes too long. Operations have a line of their own.
    fn on_timer<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, _: ConnId, state: &mut LoadConn) {
        let index = state.0;
        let Some(conn) = self.connections.get_mut(index) else {
            return;
        };
        conn.has_timer = false;
        if conn.stage == Stage::Open || conn.depth > 0 {
            return;
        }
        let deadline = Instant::from_ns(conn.connect_ns.max(conn.closed_ns)) + self.plan.timeout;
        if cx.now() >= deadline {
            let fault = if conn.stage == Stage::Opening {
                Fault::TimedOut
            } else {
                Fault::NoReply
            };
            return self.fail(cx, index, fault);
        }
        conn.has_timer = true;
        cx.set_timer(conn.id, deadline);
    }

    fn on_close<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        id: ConnId,
        state: &mut LoadConn,
        reason: CloseReason,
    ) {
        let (index, now_ns) = (state.0, cx.now().as_ns());
        if reason == CloseReason::Graceful && self.end_in_order(index, now_ns) {
            return;
        }
        let Some(&conn) = self.connections.get(index) else {
            return;
        };
        if conn.was_established {
            self.counts.end(reason);
        } else {
            self.counts.not_established += 1;
            self.counts.refused += u64::from(reason == CloseReason::Refused);
            self.counts.reused.failed += u64::from(conn.is_reused);
            self.on_failed_opening(now_ns);
        }
        self.closing -= u32::from(conn.stage == Stage::Closing);
        if self.direction().is_some() {
            self.counts.bulk.lost += cx.unacked_len(id);
            self.next_count_ns = 0;
        }
        if conn.closed_ns > 0 && reason == CloseReason::Graceful {
            self.record(Step::Close, now_ns.saturating_sub(conn.closed_ns));
        }
        let is_ours = matches!(reason, CloseReason::Graceful | CloseReason::Aborted);
        if is_ours
            && matches!(self.plan.work, Work::Connect(_))
            && let Some(operation) = self.operations.get(conn.first)
            && operation.reading == Reading::Over
        {
            let timing = operation.timing();
            self.pop_operation(index);
            self.complete(&timing, now_ns);
        }
        let fault = Fault::of_close(reason, false).unwrap_or(Fault::EndedEarly);
        let is_kept = self.plan.work.keeps() && conn.stage == Stage::Open;
        if self.operations.get(conn.first).is_some() || is_kept {
            self.mark(cx, id, fault);
        }
        self.note_broken(index, fault);
        self.fail_operations(index, fault, now_ns);
        self.connections.free(index);
    }
}
