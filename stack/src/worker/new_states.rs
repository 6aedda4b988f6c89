//! [`NewStates`]: states of connections that an app has just opened.
//!
//! It must never grow beyond the open connections: their room is reserved at start.

use crate::conn::StateNumber;

/// States that an app gave to connections which it opened: they wait apart from the others, one of which the callback that
/// gave them may be using.
#[derive(Debug)]
pub(super) struct NewStates<S>(Vec<(StateNumber, S)>);

impl<S> NewStates<S> {
    /// Room for the states of `open` connections.
    pub(super) fn new(open: usize) -> Self {
        Self(Vec::with_capacity(open))
    }

    /// Whether none waits.
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that wait.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (StateNumber, S)> {
        self.0.drain(..)
    }

    /// Keeps the state of a new connection. There is room for as many as there can be open connections.
    pub(super) fn push(&mut self, number: StateNumber, state: S) {
        self.0.push((number, state));
    }
}
