//! [`Statics`]: bytes copied into the NIC's memory once, to be sent any number of times.
//!
//! It must never give a frame back before it is dropped itself, nor change bytes that a connection may send again: any may still send
//! from it.

use crate::nic::Frame;
use crate::wire::checksum::{self, Sum};

use super::item::StaticId;

/// Where the bytes of one id lie.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// The first of its frames; the others follow it.
    first: usize,
    /// Bytes.
    len: u32,
    /// Their sum, where they lie in one frame.
    sum: Option<Sum>,
}

/// The registered bytes of one worker.
#[derive(Debug)]
pub struct Statics<F> {
    frames: Vec<F>,
    entries: Vec<Entry>,
    piece_len: u32,
}

impl<F: Frame> Statics<F> {
    /// Nothing registered yet. Each frame will hold `piece_len` bytes, the last one of an id fewer: at most what an
    /// empty frame can hold, at least 1.
    #[must_use]
    pub const fn new(piece_len: u32) -> Self {
        Self {
            frames: Vec::new(),
            entries: Vec::new(),
            piece_len: if piece_len == 0 { 1 } else { piece_len },
        }
    }

    /// Copies `bytes` into frames from `alloc` (empty, exclusive). `None` when there are too few frames, when they are
    /// too short, or when there are 65,536 ids already; then nothing is kept. Meant for the start: it allocates.
    pub fn add(&mut self, bytes: &[u8], mut alloc: impl FnMut() -> Option<F>) -> Option<StaticId> {
        let id = StaticId(u16::try_from(self.entries.len()).ok()?);
        let len = u32::try_from(bytes.len()).ok()?;
        let first = self.frames.len();
        for piece in bytes.chunks(self.piece_len as usize) {
            match alloc().and_then(|frame| copy_into(frame, piece)) {
                Some(frame) => self.frames.push(frame),
                None => {
                    self.frames.truncate(first);
                    return None;
                }
            }
        }
        let sum = (len <= self.piece_len).then(|| checksum::sum(bytes));
        self.entries.push(Entry { first, len, sum });
        Some(id)
    }

    /// Puts other bytes in the place of an id's. False, and nothing has changed, while a sent frame still refers to the old ones, for an
    /// id that doesn't exist, and where either text takes more than one frame. The caller has seen that no connection has any of the
    /// old ones queued.
    pub fn rewrite(&mut self, id: StaticId, bytes: &[u8]) -> bool {
        let Some(entry) = self.entries.get_mut(usize::from(id.0)) else {
            return false;
        };
        let (Ok(len), Some(frame)) = (u32::try_from(bytes.len()), self.frames.get_mut(entry.first))
        else {
            return false;
        };
        let in_one_frame = 1..=self.piece_len;
        if !in_one_frame.contains(&len)
            || !in_one_frame.contains(&entry.len)
            || frame.set_len(bytes.len()).is_err()
        {
            return false;
        }
        let Some(into) = frame.bytes_mut() else {
            // Not reached: the frame's length could be set, so it is exclusive.
            return false;
        };
        into.copy_from_slice(bytes);
        entry.len = len;
        //~ Rewritten bytes have a sum of their own: `Some(checksum::sum(bytes))` -> `entry.sum`;
        //~   what_was_rewritten_is_sent_with_its_own_checksum
        entry.sum = Some(checksum::sum(bytes));
        true
    }

    /// The bytes from `start` to `start + len` of an id, and their sum; `None` when they don't lie in one frame.
    #[inline(always)]
    pub fn bytes(&self, id: StaticId, start: u32, len: u32) -> Option<(&[u8], Sum)> {
        let entry = self.entries.get(usize::from(id.0))?;
        let sum = entry.sum?;
        let bytes = self.frames.get(entry.first)?.bytes();
        if len == entry.len && start == 0 {
            return Some((bytes.get(..len as usize)?, sum));
        }
        part(bytes, start, len)
    }

    /// How many bytes an id stands for; 0 for one that doesn't exist.
    #[must_use]
    #[inline]
    pub fn len(&self, id: StaticId) -> u32 {
        self.entries
            .get(usize::from(id.0))
            .map_or(0, |entry| entry.len)
    }

    /// Whether nothing is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Visits, in order, the frames that hold the bytes from `start` to `start + len` of an id: each frame with the
    /// first byte in it and how many. Says how many bytes there were: fewer than `len` when the id has no more.
    #[inline]
    pub fn visit(
        &mut self,
        id: StaticId,
        start: u32,
        len: u32,
        mut visitor: impl FnMut(&mut F, u32, u32),
    ) -> u32 {
        let Some(entry) = self.entries.get(usize::from(id.0)) else {
            return 0;
        };
        let end = start.saturating_add(len).min(entry.len);
        let mut at = start;
        while at < end {
            let skip = at % self.piece_len;
            let piece_len = (end - at).min(self.piece_len - skip);
            let frame = &mut self.frames[entry.first + (at / self.piece_len) as usize];
            visitor(frame, skip, piece_len);
            at += piece_len;
        }
        end.saturating_sub(start)
    }
}

/// The frame with these bytes in it, if they fit.
fn copy_into<F: Frame>(mut frame: F, bytes: &[u8]) -> Option<F> {
    frame.set_len(bytes.len()).ok()?;
    frame.bytes_mut()?.copy_from_slice(bytes);
    Some(frame)
}

/// Some of the bytes, and their sum.
#[inline(never)]
fn part(bytes: &[u8], start: u32, len: u32) -> Option<(&[u8], Sum)> {
    let bytes = bytes.get(start as usize..)?.get(..len as usize)?;
    Some((bytes, checksum::sum(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nic::memory::MemoryNic;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_part_of_registered_bytes_is_found_again(
            all in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6),
            piece_len in 0u32..100,
            start in 0u32..320,
            len in prop_oneof![0u32..320, Just(u32::MAX)],
        ) {
            let nic = MemoryNic::new([2; 6]);
            let mut statics = Statics::new(piece_len);
            let ids: Vec<_> = all
                .iter()
                .map(|bytes| statics.add(bytes, || Some(nic.frame(&[]))).unwrap())
                .collect();
            for (bytes, &id) in all.iter().zip(&ids) {
                prop_assert_eq!(statics.len(id) as usize, bytes.len());
                let mut seen = Vec::new();
                let visited = statics.visit(id, start, len, |frame, start, len| {
                    assert!(len > 0 && frame.bytes().len() <= piece_len.max(1) as usize);
                    seen.extend_from_slice(&frame.bytes()[start as usize..][..len as usize]);
                });
                let from = (start as usize).min(bytes.len());
                let to = (start as usize).saturating_add(len as usize).min(bytes.len());
                prop_assert_eq!(&seen[..], &bytes[from..to]);
                prop_assert_eq!(visited as usize, seen.len());
            }
            prop_assert_eq!(statics.visit(StaticId(99), 0, 9, |_, _, _| {}), 0);
            drop(statics);
            prop_assert_eq!(nic.in_use(), 0);
        }
    }

    #[test]
    fn too_few_frames_keep_nothing() {
        let nic = MemoryNic::new([2; 6]);
        let mut statics = Statics::new(10);
        let mut left = 2;
        let id = statics.add(&[7; 30], || {
            left -= 1;
            (left >= 0).then(|| nic.frame(&[]))
        });
        assert_eq!((id, nic.in_use()), (None, 0));
        assert!(statics.is_empty());
        assert_eq!(
            statics.add(&[7; 30], || Some(nic.frame(&[]))),
            Some(StaticId(0))
        );
    }
}
