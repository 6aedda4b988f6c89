//! [`NextTurn`]: what is to be done one turn later, so that it leaves in a segment of its own.
//!
//! It must never grow beyond what it was made for.

/// Two lists that change places once per turn.
#[derive(Debug)]
pub(crate) struct NextTurn<T> {
    due: Vec<T>,
    coming: Vec<T>,
}

impl<T: Copy> NextTurn<T> {
    /// Room for so many at a time.
    pub(crate) fn new(room: u32) -> Self {
        let list = || Vec::with_capacity(room as usize);
        Self {
            due: list(),
            coming: list(),
        }
    }

    /// In the next turn, this one. The caller keeps within the room.
    pub(crate) fn push(&mut self, item: T) {
        self.coming.push(item);
    }

    /// The turn has come: what was pushed before the last call stands in [`NextTurn::get`] from now on.
    pub(crate) fn turn(&mut self) {
        self.due.clear();
        core::mem::swap(&mut self.due, &mut self.coming);
    }

    /// The `i`-th one that is due.
    pub(crate) fn get(&self, i: usize) -> Option<T> {
        self.due.get(i).copied()
    }
}
