//! [`TxQueue`]: what a connection has to send, from the first unacknowledged byte on.
//!
//! It must never walk over what is in flight to find where sending goes on, and never copy a byte but in
//! [`TxQueue::push_bytes`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::nic::{Frame, FrameError};

use super::claim::Claim;
use super::compact::append_bytes;
use super::item::{StaticId, TxItem};
use crate::queue::chunks::{Chunks, Held, Item, Link};

/// Where some of the bytes to send lie.
#[derive(Debug)]
pub enum Piece<'a, F> {
    /// In a frame that the queue keeps.
    Frame {
        /// The frame: share it, or copy from it.
        frame: &'a mut F,
        /// First byte, counted from the start of the frame's first segment.
        start: u32,
        /// Bytes, at least 1.
        len: u32,
    },
    /// In registered bytes ([`crate::queue::statics::Statics::visit`]).
    Static {
        /// Which.
        id: StaticId,
        /// First byte.
        start: u32,
        /// Bytes, at least 1.
        len: u32,
    },
    /// In the chargen pattern ([`crate::queue::pattern::fill`]).
    Pattern {
        /// Offset in the pattern of the first byte.
        start: u64,
        /// Bytes, at least 1.
        len: u32,
    },
}

/// A node, and how many bytes behind the first unacknowledged one its own first byte is. No node stands for the head.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Cursor {
    node: Link,
    offset: u32,
}

impl Cursor {
    /// The first `acked` bytes of the queue went: what began before their end is gone, or is the head now.
    #[inline]
    fn retreat(&mut self, acked: u64) {
        *self = match u64::from(self.offset).checked_sub(acked) {
            Some(offset) if self.node.is_some() => Self {
                node: self.node,
                offset: offset as u32,
            },
            _ => Self::default(),
        };
    }
}

/// The send queue of one connection: plain numbers, empty when all bytes are zero. The nodes lie in a [`Chunks`], always
/// the same one. A copy stands for the same nodes: only one of the two may be used afterwards.
///
/// The cursors come first: a connection that has one item at a time touches no line of the cache that has only them
/// ([`crate::conn::connections::Conn`]).
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed(4))]
pub struct TxQueue {
    /// Where new bytes were sent last.
    ahead: Cursor,
    /// Where bytes were sent again last: apart from `ahead`, so that retransmissions between new segments make neither
    /// of them walk over the flight.
    behind: Cursor,
    len: u64,
    head: Link,
    tail: Link,
    items: u32,
    /// The first byte of the only item, where `inline_id` says that it is registered bytes.
    inline_start: u32,
    /// The id plus one of the registered bytes that are the only item, from `inline_start` to the queue's length: it needs no node.
    /// 0 when there is no item, another one or more.
    inline_id: u16,
    /// Not 0 while one of the cursors may stand for a node.
    has_cursors: u16,
}

const _: () = assert!(size_of::<TxQueue>() == 44);

/// Bytes of a queue before all that a connection with one item at a time touches.
pub(crate) const CURSORS_LEN: usize = core::mem::offset_of!(TxQueue, len);

impl TxQueue {
    /// Bytes queued, from the first unacknowledged one on.
    #[must_use]
    #[inline]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Items queued: nodes in use.
    #[must_use]
    #[inline]
    pub const fn items(&self) -> u32 {
        self.items
    }

    /// Whether nothing is queued: all was acknowledged.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether `chunks` has a place for another item of this queue.
    #[must_use]
    #[inline]
    pub fn may_grow<F>(&self, chunks: &Chunks<F>) -> bool {
        chunks.has_send_room(Claim::of(self.is_empty()))
    }

    /// The registered bytes that are all there is to send: which, from which byte on, and how many. `None` when there is
    /// anything else, or nothing.
    #[inline]
    pub fn sole_static(&self) -> Option<(StaticId, u32, u32)> {
        // It is at most as long as an item: 32 bits.
        let id = self.inline_id.checked_sub(1)?;
        Some((StaticId(id), self.inline_start, self.len as u32))
    }

    /// The bytes of the frame that is all there is to send, where they lie in its first segment. `None` when there is anything
    /// else, or nothing.
    #[inline]
    pub fn sole_frame_bytes<'a, F: Frame>(&self, chunks: &'a Chunks<F>) -> Option<&'a [u8]> {
        if self.items != 1 {
            return None;
        }
        let held = chunks.held(self.head)?;
        let from = held.frame.bytes().get(held.start as usize..)?;
        from.get(..held.len as usize)
    }

    /// Appends an item.
    ///
    /// # Errors
    /// The item, when all nodes are in use, when it names no byte, or when its last byte's position overflows.
    #[inline(always)]
    pub fn push<F>(&mut self, chunks: &mut Chunks<F>, item: TxItem<F>) -> Result<(), TxItem<F>> {
        if let TxItem::Static { id, start, len } = item
            && self.items == 0
            && chunks.free_len() != 0
            && item.is_legal()
            && let Some(inline_id) = id.0.checked_add(1)
        {
            chunks.keep_inline(id);
            (self.inline_id, self.inline_start) = (inline_id, start);
            self.items = 1;
            self.len = len.into();
            return Ok(());
        }
        self.push_node(chunks, item)
    }

    /// The same where it takes a node, or is refused.
    #[inline(never)]
    fn push_node<F>(&mut self, chunks: &mut Chunks<F>, item: TxItem<F>) -> Result<(), TxItem<F>> {
        let len = item.byte_len();
        if chunks.free_len() == 0 || !item.is_legal() || self.len.checked_add(len).is_none() {
            return Err(item);
        }
        self.spill(chunks);
        if let Ok(link) = chunks.insert_to_send(item.into()) {
            self.link_back(chunks, link, len);
        }
        Ok(())
    }

    /// The inline item becomes a node, as walks over nodes need it. It had a place already.
    #[inline]
    fn spill<F>(&mut self, chunks: &mut Chunks<F>) {
        if let Some((id, start, len)) = self.sole_static() {
            self.spill_static(chunks, (id, start, len));
        }
    }

    #[cold]
    #[inline(never)]
    fn spill_static<F>(&mut self, chunks: &mut Chunks<F>, (id, start, len): (StaticId, u32, u32)) {
        chunks.drop_inline(id);
        *self = Self::default();
        if let Ok(link) = chunks.insert_to_send(Item::Static { id, start, len }) {
            self.link_back(chunks, link, len.into());
        }
    }

    /// Copies bytes into frames and appends those: first behind the bytes that an earlier call copied, as far as that
    /// frame has room and no other reader, then into frames from `fresh` (empty, exclusive).
    ///
    /// Says how many bytes were taken: fewer than all when nodes or frames ran out.
    pub fn push_bytes<F: Frame>(
        &mut self,
        chunks: &mut Chunks<F>,
        bytes: &[u8],
        mut fresh: impl FnMut() -> Option<F>,
    ) -> usize {
        self.spill(chunks);
        let mut taken = self.extend_last(chunks, bytes);
        while taken < bytes.len() && self.may_grow(chunks) && self.len < u64::MAX >> 1 {
            let rest = &bytes[taken..];
            let room = rest.len().min(chunks.buffer_len() as usize);
            let Some(mut frame) = fresh() else { break };
            let len = match frame.set_len(room) {
                Ok(()) => room,
                Err(FrameError::NoTailroom { capacity }) if frame.set_len(capacity).is_ok() => {
                    capacity
                }
                Err(_) => break,
            };
            let Some(into) = frame.bytes_mut().and_then(|all| all.get_mut(..len)) else {
                break;
            };
            if len == 0 {
                break;
            }
            into.copy_from_slice(&rest[..len]);
            let mut held = Held::new(frame, 0, len as u32);
            held.growable = true;
            let Ok(link) = chunks.insert_to_send(Item::Held(held)) else {
                break;
            };
            self.link_back(chunks, link, len as u64);
            taken += len;
        }
        taken
    }

    /// Copies what fits behind the last item, when that is a frame of [`TxQueue::push_bytes`].
    fn extend_last<F: Frame>(&mut self, chunks: &mut Chunks<F>, bytes: &[u8]) -> usize {
        let buffer_len = chunks.buffer_len();
        let Some(last) = chunks.held_mut(self.tail) else {
            return 0;
        };
        let room = buffer_len.saturating_sub(last.start + last.len) as usize;
        let len = room.min(bytes.len());
        if len == 0 || !append_bytes(last, &bytes[..len]) {
            return 0;
        }
        self.len += len as u64;
        len
    }

    #[inline]
    fn link_back<F>(&mut self, chunks: &mut Chunks<F>, link: Link, len: u64) {
        if self.tail.is_some() {
            chunks.set_next(self.tail, link);
        } else {
            self.head = link;
        }
        self.tail = link;
        self.len += len;
        self.items += 1;
    }

    /// Drops `len` bytes (at most all) from the front: the peer has them. Frames of which nothing is left go to `freed`.
    #[inline(always)]
    pub fn ack<F>(&mut self, chunks: &mut Chunks<F>, len: u32, freed: impl FnMut(F)) {
        let Some((id, start, queued)) = self.sole_static() else {
            return self.ack_nodes(chunks, len, freed);
        };
        let acked = len.min(queued);
        self.len = u64::from(queued - acked);
        self.inline_start = start + acked;
        if acked == queued {
            chunks.drop_inline(id);
            // These alone: an item without a node sets no cursor, and the line of the cursors stays untouched.
            (self.items, self.inline_id, self.inline_start) = (0, 0, 0);
        }
    }

    #[inline(never)]
    fn ack_nodes<F>(&mut self, chunks: &mut Chunks<F>, len: u32, mut freed: impl FnMut(F)) {
        let acked = u64::from(len).min(self.len);
        self.len -= acked;
        //~ Cursors go back by what was acknowledged: `if self.has_cursors != 0` -> `if false`;
        //~   sending_on_starts_at_the_cursor_although_old_bytes_are_sent_again_meanwhile
        if self.has_cursors != 0 {
            self.ahead.retreat(acked);
            self.behind.retreat(acked);
        }
        let mut left = acked;
        while left > 0 {
            let item = chunks.item_mut(self.head);
            let item_len = item.len();
            if left < item_len {
                match item {
                    // Fits: `left` is below the length of the item.
                    Item::Held(held) => held.trim_front(left as u32),
                    Item::Static { start, len, .. } => {
                        *start += left as u32;
                        *len -= left as u32;
                    }
                    Item::Pattern { start, len } => {
                        *start = start.wrapping_add(left);
                        *len -= left;
                    }
                    Item::Free => {}
                }
                return;
            }
            left -= item_len;
            let head = self.head;
            self.head = chunks.next(head);
            self.items -= 1;
            chunks.sent(1);
            if let Some(frame) = chunks.remove(head).into_frame() {
                freed(frame);
            }
        }
        if self.head.is_none() {
            self.tail = Link::NONE;
            // Both went back to before the head.
            self.has_cursors = 0;
        }
    }

    /// Visits, in order, the pieces that make up the bytes from `offset` to `offset + len`, counted from the first
    /// unacknowledged byte. Says how many bytes there were: fewer than `len` when the queue ends before.
    ///
    /// Going on where the last visit ended costs a step or two, whatever lies before it; so does going on with sending
    /// again while new bytes are sent too.
    #[inline]
    pub fn visit<F>(
        &mut self,
        chunks: &mut Chunks<F>,
        offset: u32,
        len: u32,
        mut visitor: impl FnMut(Piece<'_, F>),
    ) -> u32 {
        let from = u64::from(offset);
        let end = (from + u64::from(len)).min(self.len);
        if from >= end {
            return 0;
        }
        if let Some((id, start, _)) = self.sole_static() {
            let start = start + offset;
            let len = (end - from) as u32;
            visitor(Piece::Static { id, start, len });
            return len;
        }
        let is_ahead = offset >= self.ahead.offset;
        let cursor = match (is_ahead, self.ahead, self.behind) {
            (true, ahead, _) if ahead.node.is_some() => ahead,
            (false, _, behind) if behind.node.is_some() && offset >= behind.offset => behind,
            _ => Cursor {
                node: self.head,
                offset: 0,
            },
        };
        let mut node = cursor.node;
        let mut node_start = u64::from(cursor.offset);
        let mut at = from;
        loop {
            let node_end = node_start + chunks.item(node).len();
            if at < node_end {
                let piece_len = end.min(node_end) - at;
                // Fits: at most `len` bytes are visited.
                visitor(piece(
                    chunks.item_mut(node),
                    at - node_start,
                    piece_len as u32,
                ));
                at += piece_len;
                if at == end {
                    break;
                }
            }
            node = chunks.next(node);
            node_start = node_end;
        }
        if let Ok(offset) = u32::try_from(node_start) {
            let reached = Cursor { node, offset };
            self.has_cursors = 1;
            if is_ahead {
                self.ahead = reached;
            } else {
                self.behind = reached;
            }
        }
        (end - from) as u32
    }

    /// Drops everything: the connection is over.
    pub fn clear<F>(&mut self, chunks: &mut Chunks<F>, mut freed: impl FnMut(F)) {
        self.spill(chunks);
        chunks.sent(self.items);
        chunks.remove_list(self.head, &mut freed);
        *self = Self::default();
    }
}

/// `len` bytes of an item from its byte `skip` on. The caller keeps to the item's length.
#[inline]
fn piece<F>(item: &mut Item<F>, skip: u64, len: u32) -> Piece<'_, F> {
    match item {
        Item::Held(held) => Piece::Frame {
            start: held.start + skip as u32,
            frame: &mut held.frame,
            len,
        },
        Item::Static { id, start, .. } => Piece::Static {
            id: *id,
            start: *start + skip as u32,
            len,
        },
        Item::Pattern { start, .. } => Piece::Pattern {
            start: start.wrapping_add(skip),
            len,
        },
        // A free node stands in no queue.
        Item::Free => Piece::Pattern { start: 0, len: 0 },
    }
}

#[cfg(test)]
mod tests;
