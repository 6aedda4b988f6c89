//! [`NextTurn`]: connections on which something is to be done one turn later, so that it leaves in a segment of its own.
//!
//! It must never grow beyond what it was made for.

use stack::app::ConnId;
use stack::app::Cx;
use stack::nic::Nic;

/// Two lists that change places once per turn.
#[derive(Debug)]
pub(crate) struct NextTurn {
    due: Vec<ConnId>,
    coming: Vec<ConnId>,
}

impl NextTurn {
    /// Room for `connections` at a time.
    pub(crate) fn new(connections: u32) -> Self {
        let list = || Vec::with_capacity(connections as usize);
        Self {
            due: list(),
            coming: list(),
        }
    }

    /// In the next turn, this one. The caller keeps within the room.
    pub(crate) fn push(&mut self, conn: ConnId) {
        self.coming.push(conn);
    }

    /// The turn has come: what was pushed before the last call stands in [`NextTurn::get`] from now on.
    pub(crate) fn turn(&mut self) {
        self.due.clear();
        core::mem::swap(&mut self.due, &mut self.coming);
    }

    /// The `i`-th connection that is due.
    pub(crate) fn get(&self, i: usize) -> Option<ConnId> {
        self.due.get(i).copied()
    }

    /// The turn has come to close what was pushed before the last call.
    pub(crate) fn close_all<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>) {
        for &conn in &self.due {
            cx.close(conn);
        }
        self.turn();
    }
}
