//! [`crate::load::LoadPlan::apart`]: requests and FINs that wait for the next turn, so that each leaves in a segment of its own.
//!
//! It must never act on a connection that has ended meanwhile, or on the one that has its place.

use stack::app::{ConnId, Cx};
use stack::nic::Nic;

use super::LoadClient;
use crate::load::LoadConn;
use crate::load::under_way::{NONE, Stage};
use crate::next_turn::NextTurn;

/// Connections that wait for the next turn, by place and name.
#[derive(Debug)]
pub(super) struct Apart {
    to_ask: NextTurn<(u32, ConnId)>,
    to_close: NextTurn<(u32, ConnId)>,
}

impl Apart {
    /// Room for so many connections.
    pub(super) fn new(connections: u32) -> Self {
        Self {
            to_ask: NextTurn::new(connections),
            to_close: NextTurn::new(connections),
        }
    }
}

impl LoadClient {
    /// Asks on a connection that has just been established: now, or in the next turn.
    /// `first` is the place of its oldest operation, its request, and the operation behind it.
    #[inline]
    pub(super) fn ask_first<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        (index, id): (u32, ConnId),
        (first, request, next): (u32, u16, u32),
    ) {
        if let Some(apart) = &mut self.apart {
            return apart.to_ask.push((index, id));
        }
        self.ask_on(cx, (index, id), (first, request), next == NONE);
    }

    /// Closes a connection that has done its work: now, or in the next turn.
    pub(super) fn close_first<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        (index, id): (u32, ConnId),
    ) {
        match &mut self.apart {
            Some(apart) => apart.to_close.push((index, id)),
            None => self.close(cx, index),
        }
    }

    /// The next turn has come.
    pub(super) fn take_turn<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>) {
        for i in 0.. {
            let due = self.apart.as_ref().and_then(|apart| apart.to_ask.get(i));
            let Some(due) = due else { break };
            if self.is_open(due) {
                self.ask_all(cx, due.0);
            }
        }
        for i in 0.. {
            let due = self.apart.as_ref().and_then(|apart| apart.to_close.get(i));
            let Some(due) = due else { break };
            if self.is_open(due) {
                self.close(cx, due.0);
            }
        }
        if let Some(apart) = &mut self.apart {
            apart.to_ask.turn();
            apart.to_close.turn();
        }
    }

    /// Whether a place has this connection still, and it is open.
    fn is_open(&self, (index, id): (u32, ConnId)) -> bool {
        let conn = self.connections.get(index);
        conn.is_some_and(|conn| conn.id == id && conn.stage == Stage::Open)
    }
}
