//! [`Registered`]: a response in the NIC's memory with the date of this second. Sending it copies nothing and sums up nothing.
//!
//! It must never change bytes that a connection may send again: the next second takes another copy, and where peers keep all of
//! them unacknowledged there is none.

use stack::app::{Cx, StaticId};
use stack::nic::Nic;

/// Seconds whose responses may be under way at a time: more than most round-trip times.
const COPIES: usize = 4;

/// The copies of one response.
#[derive(Debug, Default)]
pub(super) struct Registered {
    copies: [Option<StaticId>; COPIES],
    /// The second of the date that was written last, and the copy that has it.
    current: (u64, Option<StaticId>),
}

impl Registered {
    /// Registers the response, with any date. Where the NIC has no memory there are fewer copies, or none.
    pub(super) fn new<N: Nic, S>(cx: &mut Cx<'_, N, S>, response: &[u8]) -> Self {
        Self {
            copies: core::array::from_fn(|_| cx.register_static(response)),
            current: (u64::MAX, None),
        }
    }

    /// The copy of `response`, whose date is that of `second`; `None` while connections keep all copies.
    #[inline]
    pub(super) fn at<N: Nic, S>(
        &mut self,
        cx: &mut Cx<'_, N, S>,
        second: u64,
        response: &[u8],
    ) -> Option<StaticId> {
        if self.current.0 != second {
            self.write(cx, second, response);
        }
        self.current.1
    }

    #[cold]
    #[inline(never)]
    fn write<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, second: u64, response: &[u8]) {
        let mut copies = self.copies.into_iter().flatten();
        let free = copies.find(|&copy| cx.rewrite_static(copy, response));
        self.current = (second, free);
    }
}
