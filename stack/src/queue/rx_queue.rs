//! [`RxQueue`]: received bytes in order that wait for the app, in the frames that brought them.
//!
//! It must never drop a byte: all of them were acknowledged.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::nic::Frame;

use super::chunks::{Chunks, Held, Item, Link};
use super::compact::{append_chunk, bytes_of, move_to_fresh};
use super::item::TxItem;

/// Bytes that arrived, taken over by the app together with the frame that brought them.
#[derive(Debug)]
pub struct Chunk<F> {
    /// The frame.
    pub frame: F,
    /// First byte, counted from the start of the frame's first segment.
    pub start: u32,
    /// Bytes, at least 1.
    pub len: u32,
}

impl<F> From<Chunk<F>> for TxItem<F> {
    /// Received bytes are sent back in the frame that brought them.
    fn from(chunk: Chunk<F>) -> Self {
        let Chunk { frame, start, len } = chunk;
        Self::Owned { frame, start, len }
    }
}

impl<F> Chunk<F> {
    /// Whether it names at least one byte and its end can be named too.
    #[inline]
    pub(super) const fn is_legal(&self) -> bool {
        self.len > 0 && self.start.checked_add(self.len).is_some()
    }
}

impl<F> From<Held<F>> for Chunk<F> {
    #[inline]
    fn from(held: Held<F>) -> Self {
        Self {
            frame: held.frame,
            start: held.start,
            len: held.len,
        }
    }
}

/// The receive queue of one connection: plain numbers, empty when all bytes are zero. The nodes lie in a [`Chunks`],
/// always the same one. A copy stands for the same nodes: only one of the two may be used afterwards.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RxQueue {
    head: Link,
    tail: Link,
    /// The last node that [`RxQueue::compact`] has looked at; none when it has seen nothing of what is queued.
    settled: Link,
    len: u32,
}

const _: () = assert!(size_of::<RxQueue>() == 16);

impl RxQueue {
    /// Bytes that wait.
    #[must_use]
    #[inline]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether no bytes wait.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends bytes that arrived in order.
    ///
    /// # Errors
    /// The chunk, when all nodes are in use, when it names no byte, or when the queue holds more than any window.
    /// Ask [`Chunks::free_len`] before the segment is acknowledged, not after.
    #[inline]
    pub fn push<F>(&mut self, chunks: &mut Chunks<F>, chunk: Chunk<F>) -> Result<(), Chunk<F>> {
        if chunks.free_len() == 0 || !chunk.is_legal() || self.len.checked_add(chunk.len).is_none()
        {
            return Err(chunk);
        }
        let len = chunk.len;
        let held = Held::new(chunk.frame, chunk.start, len);
        if let Ok(link) = chunks.insert(Item::Held(held)) {
            self.link_back(chunks, link, len);
        }
        Ok(())
    }

    /// Appends a node that holds `len` bytes and has left its former queue.
    #[inline]
    pub(super) fn link_back<F>(&mut self, chunks: &mut Chunks<F>, link: Link, len: u32) {
        chunks.set_next(link, Link::NONE);
        if self.tail.is_some() {
            chunks.set_next(self.tail, link);
        } else {
            self.head = link;
        }
        self.tail = link;
        // The receive window keeps the sum below 2^30 (RFC 7323 §2.3).
        self.len = self.len.saturating_add(len);
    }

    /// The oldest bytes, as far as they lie in one frame; empty when none wait.
    #[must_use]
    #[inline]
    pub fn front<'a, F: Frame>(&self, chunks: &'a Chunks<F>) -> &'a [u8] {
        chunks.held(self.head).map_or(&[], bytes_of)
    }

    /// Shows the bytes that wait, oldest first, frame by frame, until `see` says that it has enough.
    pub fn visit<F: Frame>(&self, chunks: &Chunks<F>, mut see: impl FnMut(&[u8]) -> bool) {
        let mut link = self.head;
        while let Some(held) = chunks.held(link) {
            if !see(bytes_of(held)) {
                return;
            }
            link = chunks.next(link);
        }
    }

    /// Drops the oldest `n` bytes (at most all): they were read. Says how many those were; frames of which nothing is
    /// left go to `freed`.
    #[inline]
    pub fn consume<F>(&mut self, chunks: &mut Chunks<F>, n: u32, mut freed: impl FnMut(F)) -> u32 {
        let mut left = n;
        while left > 0
            && let Some(held) = chunks.held_mut(self.head)
        {
            if left < held.len {
                held.trim_front(left);
                self.len -= left;
                return n;
            }
            left -= held.len;
            if let Some(chunk) = self.take(chunks) {
                freed(chunk.frame);
            }
        }
        n - left
    }

    /// Takes the oldest bytes, as far as they lie in one frame, with that frame.
    #[inline]
    pub fn take<F>(&mut self, chunks: &mut Chunks<F>) -> Option<Chunk<F>> {
        if self.head.is_none() {
            return None;
        }
        let head = self.head;
        self.head = chunks.next(head);
        if self.head.is_none() {
            self.tail = Link::NONE;
        }
        if self.settled == head {
            self.settled = Link::NONE;
        }
        match chunks.remove(head) {
            Item::Held(held) => {
                self.len -= held.len;
                Some(held.into())
            }
            _ => None,
        }
    }

    /// Copies chunks of less than a quarter of a buffer together, so that a million segments of one byte don't keep a
    /// million frames: looks at what was queued since the last call, so call it once the app has had its chance to read.
    ///
    /// Bytes go behind those of the chunk before when that one was copied already and has room, else into a frame from
    /// `fresh` (empty, exclusive, of the data pool). A chunk for which neither is to be had stays as it is.
    pub fn compact<F: Frame>(
        &mut self,
        chunks: &mut Chunks<F>,
        mut fresh: impl FnMut() -> Option<F>,
        mut freed: impl FnMut(F),
    ) {
        let mut before = self.settled;
        loop {
            let link = if before.is_some() {
                chunks.next(before)
            } else {
                self.head
            };
            let Some(held) = chunks.held(link) else { break };
            if chunks.is_small(held.len) {
                if append_chunk(chunks, before, link) {
                    self.unlink_behind(chunks, before, link, &mut freed);
                    continue;
                }
                if let Some(held) = chunks.held_mut(link) {
                    move_to_fresh(held, &mut fresh, &mut freed);
                }
            }
            before = link;
        }
        self.settled = before;
    }

    fn unlink_behind<F>(
        &mut self,
        chunks: &mut Chunks<F>,
        before: Link,
        link: Link,
        freed: &mut impl FnMut(F),
    ) {
        let next = chunks.next(link);
        chunks.set_next(before, next);
        if self.tail == link {
            self.tail = before;
        }
        if let Some(frame) = chunks.remove(link).into_frame() {
            freed(frame);
        }
    }

    /// Drops everything: it will not be read.
    pub fn clear<F>(&mut self, chunks: &mut Chunks<F>, mut freed: impl FnMut(F)) {
        chunks.remove_list(self.head, &mut freed);
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;
