//! [`OutOfOrder`]: received bytes behind a gap, in the frames that brought them, until the gap is filled.
//!
//! It must never search through more than the runs of adjoining bytes, of which `tcp::reassembly` allows 16: a walk over
//! frames would let a peer make each segment dearer than the last (as CVE-2018-5390 did).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::nic::Frame;
use crate::seq::SeqNum;

use super::chunks::{Chunks, Held, Item, Link};
use super::compact::{append_bytes, append_chunk, bytes_of, move_to_fresh, prepend_bytes};
use super::rx_queue::{Chunk, RxQueue};

/// The data that one connection holds behind gaps: plain numbers, empty when all bytes are zero. The nodes lie in a [`Chunks`],
/// always the same one, sorted by sequence number; the first node of each run knows the last one. A copy stands for the
/// same nodes: only one of the two may be used afterwards.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct OutOfOrder {
    head: Link,
    len: u32,
}

/// Where new bytes belong.
struct Place {
    /// First node of the run before, if there is one.
    run_before: Link,
    /// Last node of that run.
    before: Link,
    /// First node of the run behind, if there is one.
    after: Link,
    /// The run before ends where the new bytes start.
    joins_before: bool,
    /// The run behind starts where the new bytes end.
    joins_after: bool,
}

impl OutOfOrder {
    /// Bytes held.
    #[must_use]
    #[inline]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether nothing is held.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Keeps bytes that start at `seq`, in the place of runs that they cover. They must not reach into a run that goes on
    /// before or behind them.
    ///
    /// Fewer than a quarter of a buffer are copied at once to where their neighbours are, or into a frame from `fresh`
    /// (empty, exclusive, of the data pool); frames that are empty then go to `freed`.
    ///
    /// # Errors
    /// The chunk, when all nodes are in use, or when it names no byte. Ask [`Chunks::free_len`] before the segment is
    /// judged, not after: the range that `tcp` remembers must not outlive the bytes.
    pub fn insert<F: Frame>(
        &mut self,
        chunks: &mut Chunks<F>,
        seq: SeqNum,
        chunk: Chunk<F>,
        mut fresh: impl FnMut() -> Option<F>,
        mut freed: impl FnMut(F),
    ) -> Result<(), Chunk<F>> {
        if !chunk.is_legal() || self.len.checked_add(chunk.len).is_none() {
            return Err(chunk);
        }
        let len = chunk.len;
        //~ Held text that a larger segment covers is let go;
        //~   reading::a_segment_around_what_is_held_keeps_all_that_is_new
        self.drop_covered(chunks, seq, len, &mut freed);
        let place = self.find(chunks, seq, len);
        let mut held = Held::new(chunk.frame, chunk.start, len);
        held.seq = seq;
        if chunks.is_small(len) {
            if Self::copy_to_neighbor(chunks, &place, &held, &mut freed) {
                self.len += len;
                freed(held.frame);
                return Ok(());
            }
            if chunks.free_len() > 0 {
                move_to_fresh(&mut held, &mut fresh, &mut freed);
            }
        }
        match chunks.insert(Item::Held(held)) {
            Ok(link) => {
                self.link(chunks, &place, link);
                self.len += len;
                Ok(())
            }
            Err(Item::Held(held)) => Err(held.into()),
            Err(_) => Ok(()),
        }
    }

    /// Lets go of the runs that lie wholly within `len` bytes from `seq`. What it takes is paid for by the segments that
    /// brought them.
    fn drop_covered<F>(
        &mut self,
        chunks: &mut Chunks<F>,
        seq: SeqNum,
        len: u32,
        freed: &mut impl FnMut(F),
    ) {
        let (mut before, mut run, up_to) = (Link::NONE, self.head, seq.add(len));
        while let Some(first) = chunks.held(run)
            && first.seq.before(up_to)
        {
            let last = first.run_last;
            if first.seq.before(seq) {
                before = last;
                run = chunks.next(last);
                continue;
            }
            while let Some(node) = chunks.held(run)
                && node.seq.before(up_to)
            {
                self.len -= node.len;
                let next = chunks.next(run);
                if let Some(frame) = chunks.remove(run).into_frame() {
                    freed(frame);
                }
                run = next;
            }
            if before.is_some() {
                chunks.set_next(before, run);
            } else {
                self.head = run;
            }
        }
    }

    /// Looks through the runs, two nodes each.
    fn find<F>(&self, chunks: &Chunks<F>, seq: SeqNum, len: u32) -> Place {
        let mut place = Place {
            run_before: Link::NONE,
            before: Link::NONE,
            after: self.head,
            joins_before: false,
            joins_after: false,
        };
        while let Some(first) = chunks.held(place.after)
            && let Some(last) = chunks.held(first.run_last)
        {
            let end = last.seq.add(last.len);
            if end.after(seq) {
                debug_assert!(!first.seq.before(seq.add(len)), "held already: {seq}");
                place.joins_after = seq.add(len) == first.seq;
                break;
            }
            place.joins_before = end == seq;
            place.run_before = place.after;
            place.before = first.run_last;
            place.after = chunks.next(first.run_last);
        }
        place
    }

    /// Copies few bytes into the frame before or behind them. When that closes the gap between two frames that are
    /// copies both, they become one if they can: else gaps that open and close would leave frames of a few bytes each.
    fn copy_to_neighbor<F: Frame>(
        chunks: &mut Chunks<F>,
        place: &Place,
        held: &Held<F>,
        freed: &mut impl FnMut(F),
    ) -> bool {
        let bytes = bytes_of(held);
        if bytes.len() != held.len as usize {
            return false;
        }
        if place.joins_before
            && let Some(before) = chunks.held_mut(place.before)
            && append_bytes(before, bytes)
        {
            if place.joins_after {
                Self::join(chunks, place, freed);
            }
            return true;
        }
        if place.joins_after
            && let Some(after) = chunks.held_mut(place.after)
            && prepend_bytes(after, bytes)
        {
            after.seq = held.seq;
            if place.joins_before {
                Self::set_run_last(
                    chunks,
                    place.run_before,
                    Self::run_last(chunks, place.after),
                );
            }
            return true;
        }
        false
    }

    /// Makes one run of two that touch now, and one frame of the two where they touch.
    fn join<F: Frame>(chunks: &mut Chunks<F>, place: &Place, freed: &mut impl FnMut(F)) {
        let last = Self::run_last(chunks, place.after);
        let small = chunks
            .held(place.after)
            .is_some_and(|after| chunks.is_small(after.len));
        if !small || !append_chunk(chunks, place.before, place.after) {
            Self::set_run_last(chunks, place.run_before, last);
            return;
        }
        let next = chunks.next(place.after);
        chunks.set_next(place.before, next);
        if let Some(frame) = chunks.remove(place.after).into_frame() {
            freed(frame);
        }
        let last = if last == place.after {
            place.before
        } else {
            last
        };
        Self::set_run_last(chunks, place.run_before, last);
    }

    /// Puts a node to its place.
    fn link<F>(&mut self, chunks: &mut Chunks<F>, place: &Place, link: Link) {
        chunks.set_next(link, place.after);
        if place.before.is_some() {
            chunks.set_next(place.before, link);
        } else {
            self.head = link;
        }
        let last = if place.joins_after {
            Self::run_last(chunks, place.after)
        } else {
            link
        };
        let first = if place.joins_before {
            place.run_before
        } else {
            link
        };
        Self::set_run_last(chunks, first, last);
    }

    fn run_last<F>(chunks: &Chunks<F>, first: Link) -> Link {
        chunks.held(first).map_or(Link::NONE, |held| held.run_last)
    }

    fn set_run_last<F>(chunks: &mut Chunks<F>, first: Link, last: Link) {
        if let Some(held) = chunks.held_mut(first) {
            held.run_last = last;
        }
    }

    /// Moves held bytes below `up_to` behind those of `into`, which end before `delivered`: the sequence number of the
    /// next byte that `into` lacks. Held bytes below `delivered` were overtaken by others that came in order: they are
    /// cut off, and frames of which nothing is left go to `freed`. Needs no node.
    ///
    /// For `Payload::InOrder { len, released, .. }` of a segment whose first byte taken has the number `seq`:
    /// push its bytes, then `release(.., seq + len, seq + len + released, ..)`, also when `released` is 0.
    pub fn release<F>(
        &mut self,
        chunks: &mut Chunks<F>,
        delivered: SeqNum,
        up_to: SeqNum,
        into: &mut RxQueue,
        mut freed: impl FnMut(F),
    ) {
        let mut delivered = delivered;
        while let Some(held) = chunks.held_mut(self.head) {
            let end = held.seq.add(held.len);
            if held.seq.after(delivered) {
                break;
            }
            if !end.after(delivered) {
                self.len -= held.len;
                let overtaken = self.unlink_head(chunks);
                if let Some(frame) = chunks.remove(overtaken).into_frame() {
                    freed(frame);
                }
                continue;
            }
            if end.after(up_to) {
                break;
            }
            self.len -= held.len;
            held.trim_front(delivered.since(held.seq));
            let len = held.len;
            let link = self.unlink_head(chunks);
            into.link_back(chunks, link, len);
            delivered = end;
        }
    }

    /// Takes the first node out of the list, not out of the slab.
    fn unlink_head<F>(&mut self, chunks: &mut Chunks<F>) -> Link {
        let link = self.head;
        let last = Self::run_last(chunks, link);
        self.head = chunks.next(link);
        if last != link {
            Self::set_run_last(chunks, self.head, last);
        }
        link
    }

    /// Drops everything: the connection is over, or the peer's FIN came before these bytes. They were never
    /// acknowledged.
    pub fn clear<F>(&mut self, chunks: &mut Chunks<F>, mut freed: impl FnMut(F)) {
        chunks.remove_list(self.head, &mut freed);
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;
