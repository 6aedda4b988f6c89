//! [`OutputList`]: the connections that are to be asked for output, in the order in which they are.
//!
//! It must never allocate while it holds no more slots than it was made for: those that were asked make room for others.

use super::record::Slot;

/// Slots, first in, first out. Mostly it is emptied once a turn, so that it starts over at its beginning.
#[derive(Debug)]
pub(super) struct OutputList {
    slots: Vec<Slot>,
    /// Those before it were asked.
    first: usize,
}

impl OutputList {
    /// Room for so many slots at once.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            slots: Vec::with_capacity(capacity),
            first: 0,
        }
    }

    #[inline(always)]
    pub(super) const fn len(&self) -> usize {
        self.slots.len() - self.first
    }

    /// Adds one at the end.
    #[inline(always)]
    pub(super) fn push(&mut self, slot: Slot) {
        if self.slots.len() == self.slots.capacity() {
            self.make_room();
        }
        self.slots.push(slot);
    }

    #[cold]
    #[inline(never)]
    fn make_room(&mut self) {
        //~ Slots that were asked make room in the list of output; what_was_asked_makes_room
        drop(self.slots.drain(..self.first));
        self.first = 0;
    }

    /// Takes the first one.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<Slot> {
        let slot = *self.slots.get(self.first)?;
        self.first += 1;
        if self.first == self.slots.len() {
            self.slots.clear();
            self.first = 0;
        }
        Some(slot)
    }

    /// Puts one at the front.
    pub(super) fn unpop(&mut self, slot: Slot) {
        match self.first.checked_sub(1) {
            Some(first) => {
                self.slots[first] = slot;
                self.first = first;
            }
            None => self.slots.insert(0, slot),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn it_is_a_queue() {
        let (mut list, mut model) = (OutputList::new(8), VecDeque::new());
        let mut random = crate::rng::Random::new(7);
        for step in 0..10_000 {
            let slot = Slot(step);
            match random.next_u64() % 8 {
                0..4 if model.len() < 8 => {
                    list.push(slot);
                    model.push_back(slot);
                }
                4 if model.len() < 8 => {
                    list.unpop(slot);
                    model.push_front(slot);
                }
                _ => assert_eq!(list.pop(), model.pop_front()),
            }
            assert_eq!(list.len(), model.len());
        }
    }

    #[test]
    fn what_was_asked_makes_room() {
        let mut list = OutputList::new(8);
        let capacity = list.slots.capacity();
        list.push(Slot(0));
        for next in 1..10_000 {
            list.push(Slot(next));
            assert_eq!(list.pop(), Some(Slot(next - 1)));
        }
        assert_eq!(list.slots.capacity(), capacity, "it has grown");
    }
}
