//! Opening connections, each from the next tuple of the pool: one by one, or a burst whose look-ups wait for memory together.
//!
//! It must never begin an operation on a connection that was not asked for, and never pass over a tuple that is free.

use core::ops::ControlFlow;

use arrayvec::ArrayVec;
use stack::app::{ConnId, Connect, ConnectError, Cx};
use stack::nic::{BURST_FRAMES, Nic};

use super::LoadClient;
use crate::load::under_way::Connection;
use crate::load::{LoadConn, LocalTuples};
use crate::tally::Fault;

/// Tuples that are tried for one connection at most; the next attempt goes on behind them.
const TUPLE_TRIES: u32 = 4096;

/// A connection that is to be opened.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    /// Its place among the connections.
    index: u32,
    target: u16,
    /// The request of the operation that it is opened for.
    request: u16,
    /// Its tuple was used before.
    is_reused: bool,
}

impl LoadClient {
    /// Opens a connection, if there is a place for it.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn open<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        target: u16,
    ) -> Result<u32, Fault> {
        let wanted = self.want(target, 0).ok_or(Fault::TableFull)?;
        let opened = self.try_tuples(cx, wanted);
        self.opened(cx, wanted, opened)
    }

    /// Begins `count` operations, each on a connection that is opened for it: a burst at most, and as many as there is room for.
    pub(super) fn open_burst<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        count: u64,
        is_timed: bool,
    ) {
        let room = self.operations.room().min(usize::from(self.plan.burst));
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(room);
        if count == 0 {
            return;
        }
        let mut burst = ArrayVec::<Wanted, BURST_FRAMES>::new();
        for _ in 0..count.min(BURST_FRAMES) {
            let request = self.choose();
            match self.want(self.target_of(request), request) {
                Some(wanted) => burst.push(wanted),
                None => break,
            }
        }
        let mut results = ArrayVec::<_, BURST_FRAMES>::new();
        let (targets, tuples) = (&self.plan.targets, &mut self.plan.tuples);
        let opens = burst.iter_mut().filter_map(|wanted| {
            let (how, is_reused) = next_tuple(tuples, wanted.target);
            wanted.is_reused = is_reused;
            // It was there when its place was taken.
            let remote = *targets.get(usize::from(wanted.target))?;
            Some((remote, how, LoadConn(wanted.index)))
        });
        cx.connect_many(opens, |result| {
            results.push(result);
            ControlFlow::Continue(())
        });
        let due_ns = cx.now().as_ns();
        for (&wanted, &result) in burst.iter().zip(&results) {
            let opened = match result {
                Ok(id) => Ok((id, wanted.is_reused)),
                Err(error) if self.passes_over(error) => self.try_tuples(cx, wanted),
                Err(error) => Err(error),
            };
            let opened = self.opened(cx, wanted, opened);
            self.begin_on_new(cx, opened, wanted.request, (due_ns, is_timed));
        }
    }

    /// The next connection to a target; `None` when there is no place for it, or no such target.
    #[inline]
    fn want(&mut self, target: u16, request: u16) -> Option<Wanted> {
        self.plan.targets.get(usize::from(target))?;
        let index = self.connections.reserve()?;
        Some(Wanted {
            index,
            target,
            request,
            is_reused: false,
        })
    }

    /// Opens a connection from the next tuple that is free and whose replies come to this worker. Says whether the tuple was used
    /// before.
    fn try_tuples<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        wanted: Wanted,
    ) -> Result<(ConnId, bool), ConnectError> {
        let remote = self.plan.targets.get(usize::from(wanted.target));
        let remote = *remote.ok_or(ConnectError::NoRoute)?;
        for _ in 0..TUPLE_TRIES {
            let (how, is_reused) = next_tuple(&mut self.plan.tuples, wanted.target);
            match cx.connect(remote, &how, LoadConn(wanted.index)) {
                Ok(id) => return Ok((id, is_reused)),
                Err(error) if self.passes_over(error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(ConnectError::NoPort)
    }

    /// Whether the next tuple may do where this one does not.
    fn passes_over(&mut self, error: ConnectError) -> bool {
        let is_in_use = error == ConnectError::PortInUse;
        self.counts.tuples_in_use += u64::from(is_in_use);
        // Another worker goes through the same tuples, and takes what is not ours.
        let may_go_on = is_in_use || error == ConnectError::OtherWorker;
        may_go_on && self.plan.tuples.is_some()
    }

    /// Takes what came of opening a connection.
    #[inline]
    fn opened<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        wanted: Wanted,
        opened: Result<(ConnId, bool), ConnectError>,
    ) -> Result<u32, Fault> {
        let now_ns = cx.now().as_ns();
        self.counts.connects += 1;
        let (id, is_reused) = opened.map_err(|error| {
            self.connections.release(wanted.index);
            self.counts.not_begun += 1;
            self.on_failed_opening(now_ns);
            Fault::from(error)
        })?;
        self.counts.reused.begun += u64::from(is_reused);
        let conn = Connection::opening(id, now_ns, wanted.target, is_reused);
        self.connections.fill(wanted.index, conn);
        Ok(wanted.index)
    }
}

/// How to open the next connection to a target: from the next tuple of the pool, or from where the stack likes; and whether the
/// tuple was used before.
#[inline]
fn next_tuple(tuples: &mut Option<LocalTuples>, target: u16) -> (Connect, bool) {
    let Some(tuples) = tuples else {
        return (Connect::default(), false);
    };
    let tuple = tuples.take(target.into());
    let how = Connect {
        local: Some(tuple.address),
        local_port: Some(tuple.port),
        ..Connect::default()
    };
    (how, tuple.is_reused)
}
