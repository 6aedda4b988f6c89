//! What is asked, and where: the next request by weight, and with [`crate::load::LoadPlan::at_random`] the connection that takes it.
//!
//! It must never choose a connection that can't take another operation.

use arrayvec::ArrayVec;
use stack::app::{ConnId, Cx};
use stack::nic::{BURST_FRAMES, Nic};

use super::LoadClient;
use crate::load::LoadConn;
use crate::load::under_way::Stage;

impl LoadClient {
    /// Where a request goes.
    pub(super) fn target_of(&self, request: u16) -> u16 {
        let request = self.plan.requests.get(usize::from(request));
        request.map_or(0, |request| request.target)
    }

    /// The next request, by weight.
    pub(super) fn choose(&mut self) -> u16 {
        if self.plan.requests.len() < 2 {
            return 0;
        }
        if self.are_weights_equal {
            return self.random.below(self.plan.requests.len() as u64) as u16;
        }
        let mut at = self.random.below(self.total_weight);
        for (index, request) in (0..).zip(&self.plan.requests) {
            match at.checked_sub(request.weight.into()) {
                Some(left) => at = left,
                None => return index,
            }
        }
        0
    }

    /// The next request by weight, of those that go to the connection's target.
    pub(super) fn choose_for(&mut self, index: u32) -> u16 {
        let target = self.connections.get(index).map_or(0, |conn| conn.target);
        if self.plan.targets.len() == 1 {
            return self.choose();
        }
        for _ in 0..64 {
            let request = self.choose();
            let of_request = self.plan.requests.get(usize::from(request));
            if of_request.is_some_and(|of_request| of_request.target == target) {
                return request;
            }
        }
        let of_target = self.plan.requests.iter().position(|r| r.target == target);
        of_target.unwrap_or(0) as u16
    }

    /// Asks on connections chosen at random, a burst at most; where one has all that it can take, on one fewer.
    pub(super) fn ask_at_random<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, is_timed: bool) {
        let room = self.operations.room().min(usize::from(self.plan.burst));
        let left = usize::try_from(self.count_left()).unwrap_or(usize::MAX);
        let mut chosen = ArrayVec::<u32, BURST_FRAMES>::new();
        let mut conns = ArrayVec::<ConnId, BURST_FRAMES>::new();
        for _ in 0..room.min(left).min(BURST_FRAMES) {
            // Below a u32.
            let index = self.random.below(self.connections.places().into()) as u32;
            if let Some(conn) = self.connections.get(index) {
                chosen.push(index);
                conns.push(conn.id);
            }
        }
        // Each would wait for its own misses otherwise.
        cx.prefetch(&conns);
        let now_ns = cx.now().as_ns();
        for index in chosen {
            let conn = self.connections.get(index);
            let free = conn
                .filter(|conn| conn.stage == Stage::Open && conn.depth < self.plan.pipeline)
                .map(|conn| (conn.id, conn.depth));
            if let Some((id, before)) = free {
                let request = self.choose_for(index);
                let timing = (now_ns, is_timed);
                if let Some(place) = self.push_operation(cx.now(), index, request, timing) {
                    self.ask_on(cx, (index, id), (place, request), before == 0);
                }
            }
        }
    }

    /// Asks what is to be asked on a connection. Mostly it has one operation, at `place`, which is not looked up again; of several, the
    /// first may wait for room.
    #[inline(always)]
    pub(super) fn ask_on<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        (index, id): (u32, ConnId),
        (place, request): (u32, u16),
        is_only: bool,
    ) {
        if !is_only {
            self.ask_all(cx, index);
        } else if let Err(fault) = self.ask(cx, id, place, request) {
            self.fail(cx, index, fault);
        }
    }
}
