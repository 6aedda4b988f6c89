//! [`Numbers`]: which places of an array are free, the one released last first.
//!
//! It must never give out a number twice, nor grow beyond what was reserved; numbers that were never used cost nothing.

/// The numbers from 0 up to a limit, each free or taken.
#[derive(Debug)]
pub(super) struct Numbers {
    /// Those that were given back.
    free: Vec<u32>,
    /// From here on none was ever taken.
    fresh: u32,
    limit: u32,
}

impl Numbers {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            free: Vec::with_capacity(limit as usize),
            fresh: 0,
            limit,
        }
    }

    /// Takes a free one; `None` when all are taken.
    #[inline]
    pub(super) fn take(&mut self) -> Option<u32> {
        if let Some(number) = self.free.pop() {
            return Some(number);
        }
        let number = self.fresh;
        (number < self.limit).then(|| {
            self.fresh += 1;
            number
        })
    }

    /// Gives back one that was taken.
    #[inline]
    pub(super) fn give_back(&mut self, number: u32) {
        debug_assert!(number < self.fresh && self.free.len() < self.fresh as usize);
        self.free.push(number);
    }

    /// How many are taken.
    #[inline]
    pub(super) fn taken(&self) -> usize {
        self.fresh as usize - self.free.len()
    }
}
