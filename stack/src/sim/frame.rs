//! [`SimFrame`] and the pools it comes from: chains of parts of counted, shareable buffers, as mbufs are.
//!
//! It must never be kinder than an mbuf: bytes that a second owner may read (the NIC that still sends them, a queue that
//! keeps them for retransmission) can't be rewritten, and what grows is not zeroed.

use core::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::nic::{Frame, FrameError, RxChecksum, TxRequest};

/// Bytes that one buffer holds, as in DPDK's usual pools (RTE_MBUF_DEFAULT_BUF_SIZE without its headroom).
pub const BUFFER_LEN: usize = 2048;

/// The bytes that [`Frame::grow`] finds in a buffer: never zero, so that a byte that was not written shows.
const LEFT_OVER: u8 = 0xdb;

/// Buffers of one kind on one host, counted.
#[derive(Debug)]
pub struct Pool {
    capacity: usize,
    /// Buffers that are held back, see [`Pool::withhold`].
    withheld: AtomicUsize,
    in_use: AtomicUsize,
    most_in_use: AtomicUsize,
}

impl Pool {
    /// A pool of `capacity` buffers.
    #[must_use]
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            capacity,
            withheld: AtomicUsize::new(0),
            in_use: AtomicUsize::new(0),
            most_in_use: AtomicUsize::new(0),
        })
    }

    /// Buffers in use now.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }

    /// The most that were ever in use at once.
    #[must_use]
    pub fn most_in_use(&self) -> usize {
        self.most_in_use.load(Ordering::Relaxed)
    }

    /// From now on so many buffers aren't there, as if they were in use: a drought, until it is called with 0.
    pub fn withhold(&self, buffers: usize) {
        self.withheld.store(buffers, Ordering::Relaxed);
    }

    fn take(self: &Arc<Self>) -> Option<Ticket> {
        let withheld = self.withheld.load(Ordering::Relaxed);
        if self.in_use().saturating_add(withheld) >= self.capacity {
            return None;
        }
        let now = self.in_use.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_in_use.fetch_max(now, Ordering::Relaxed);
        Some(Ticket(Arc::clone(self)))
    }
}

/// One buffer of a pool; dropping it gives it back.
#[derive(Debug)]
struct Ticket(Arc<Pool>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    _ticket: Ticket,
}

/// A part of a buffer. A clone is a second owner of the same mbuf (its reference count), which takes none from a pool.
#[derive(Debug, Clone)]
struct Segment {
    buffer: Arc<Buffer>,
    start: usize,
    len: usize,
    /// The indirect mbuf that refers to another's buffer, when this is one.
    _indirect: Option<Arc<Ticket>>,
}

impl Segment {
    fn filled(pool: &Arc<Pool>, bytes: &[u8]) -> Option<Self> {
        let ticket = pool.take()?;
        let mut room = Vec::with_capacity(BUFFER_LEN);
        room.extend_from_slice(bytes);
        Some(Self {
            buffer: Arc::new(Buffer {
                bytes: room,
                _ticket: ticket,
            }),
            start: 0,
            len: bytes.len(),
            _indirect: None,
        })
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer.bytes[self.start..self.start + self.len]
    }

    fn exclusive(&mut self) -> Option<&mut Vec<u8>> {
        Arc::get_mut(&mut self.buffer).map(|buffer| &mut buffer.bytes)
    }
}

/// A frame: one segment, or a chain of them.
#[derive(Debug)]
pub struct SimFrame {
    head: Segment,
    tail: Vec<Segment>,
    rx_checksum: RxChecksum,
    request: Option<TxRequest>,
}

impl SimFrame {
    /// A frame in one buffer of `pool`, or `None` when the pool is empty or `bytes` don't fit.
    pub(super) fn new(pool: &Arc<Pool>, bytes: &[u8]) -> Option<Self> {
        if bytes.len() > BUFFER_LEN {
            return None;
        }
        Some(Self {
            head: Segment::filled(pool, bytes)?,
            tail: Vec::new(),
            rx_checksum: RxChecksum::default(),
            request: None,
        })
    }

    /// The same in several buffers, cut at the offset `cut`.
    pub(super) fn chained(pool: &Arc<Pool>, bytes: &[u8], cut: usize) -> Option<Self> {
        let (front, back) = bytes.split_at_checked(cut)?;
        let mut frame = Self::new(pool, front)?;
        for piece in back.chunks(BUFFER_LEN) {
            frame.tail.push(Segment::filled(pool, piece)?);
        }
        Some(frame)
    }

    pub(super) fn requested(&self) -> Option<TxRequest> {
        self.request
    }

    /// Another owner of the same segments.
    pub(super) fn second_owner(&self) -> Self {
        Self {
            head: self.head.clone(),
            tail: self.tail.clone(),
            rx_checksum: self.rx_checksum,
            request: None,
        }
    }

    /// Appends a reference to a part of `body`'s first segment, which takes an indirect mbuf from `pool`.
    pub(super) fn append_part(
        &mut self,
        body: &Self,
        start: usize,
        len: usize,
        pool: &Arc<Pool>,
    ) -> bool {
        let whole = body.head.len;
        let inside = len > 0 && start <= whole && len <= whole - start;
        let ticket = if inside { pool.take() } else { None };
        let Some(ticket) = ticket else {
            return false;
        };
        self.tail.push(Segment {
            buffer: Arc::clone(&body.head.buffer),
            start: body.head.start + start,
            len,
            _indirect: Some(Arc::new(ticket)),
        });
        true
    }

    /// Ends at `end`, which lies in its last buffer, and goes on with a part of `next`, which lies in one.
    pub(super) fn absorb(&mut self, end: usize, next: Self, part: Range<usize>) {
        let excess = self.total_len() - end;
        let last = self.tail.last_mut().unwrap_or(&mut self.head);
        last.len -= excess;
        self.tail.push(Segment {
            start: next.head.start + part.start,
            len: part.len(),
            ..next.head
        });
    }

    /// All bytes over all segments in one piece: what stands on the wire.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.total_len());
        for segment in self.segments() {
            bytes.extend_from_slice(segment.bytes());
        }
        bytes
    }

    /// Buffers that it lies in.
    pub(super) fn buffers(&self) -> usize {
        1 + self.tail.len()
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        core::iter::once(&self.head).chain(&self.tail)
    }
}

impl Frame for SimFrame {
    fn bytes(&self) -> &[u8] {
        self.head.bytes()
    }

    fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        if self.tail.is_empty() {
            self.first_mut()
        } else {
            None
        }
    }

    fn first_mut(&mut self) -> Option<&mut [u8]> {
        let (start, len) = (self.head.start, self.head.len);
        let bytes = self.head.exclusive()?;
        Some(&mut bytes[start..start + len])
    }

    fn total_len(&self) -> usize {
        self.segments().map(|segment| segment.len).sum()
    }

    fn is_contiguous(&self) -> bool {
        self.tail.is_empty()
    }

    fn copy_out(&self, offset: usize, into: &mut [u8]) -> usize {
        let (mut skip, mut copied) = (offset, 0);
        for segment in self.segments() {
            let from = segment.bytes().get(skip..).unwrap_or(&[]);
            skip = skip.saturating_sub(segment.len);
            let len = from.len().min(into.len() - copied);
            into[copied..copied + len].copy_from_slice(&from[..len]);
            copied += len;
        }
        copied
    }

    fn set_len(&mut self, len: usize) -> Result<(), FrameError> {
        let old = self.head.len;
        if len > old {
            self.grow(len - old)?.fill(0);
            return Ok(());
        }
        if self.bytes_mut().is_none() {
            return Err(FrameError::NotExclusive);
        }
        self.head.len = len;
        Ok(())
    }

    fn grow(&mut self, additional: usize) -> Result<&mut [u8], FrameError> {
        if self.bytes_mut().is_none() {
            return Err(FrameError::NotExclusive);
        }
        let (start, old) = (self.head.start, self.head.len);
        let capacity = BUFFER_LEN - start;
        if additional > capacity - old {
            return Err(FrameError::NoTailroom { capacity });
        }
        self.head.len += additional;
        let end = start + self.head.len;
        let bytes = self.head.exclusive().ok_or(FrameError::NotExclusive)?;
        bytes.truncate(start + old);
        bytes.resize(end, LEFT_OVER);
        Ok(&mut bytes[start + old..])
    }

    fn split_rest(&mut self) -> Option<Self> {
        let mut tail = core::mem::take(&mut self.tail).into_iter();
        let head = tail.next()?;
        Some(Self {
            head,
            tail: tail.collect(),
            rx_checksum: self.rx_checksum,
            request: None,
        })
    }

    fn prepend(&mut self, bytes: &[u8]) -> bool {
        let end = self.head.start;
        let Some(start) = end.checked_sub(bytes.len()) else {
            return false;
        };
        let Some(buffer) = self.head.exclusive() else {
            return false;
        };
        buffer[start..end].copy_from_slice(bytes);
        self.head.start = start;
        self.head.len += bytes.len();
        true
    }

    fn prefetch(&self) {}

    fn rx_checksum(&self) -> RxChecksum {
        self.rx_checksum
    }

    fn set_rx_checksum(&mut self, verdict: RxChecksum) {
        self.rx_checksum = verdict;
    }

    fn request(&mut self, request: Option<TxRequest>) {
        self.request = request;
        self.rx_checksum = RxChecksum::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_forbids_rewriting_until_it_is_gone() {
        let pool = Pool::new(4);
        let mut frame = SimFrame::new(&pool, b"header").expect("room");
        let other = frame.second_owner();
        assert!(frame.bytes_mut().is_none());
        assert_eq!(frame.set_len(3), Err(FrameError::NotExclusive));
        assert_eq!(pool.in_use(), 1, "a reference count takes no buffer");
        drop(other);
        assert!(frame.set_len(3).is_ok());
        assert_eq!(frame.bytes(), b"hea");
        assert!(frame.set_len(5).is_ok());
        assert_eq!(frame.bytes(), b"hea\0\0");
        assert_eq!(frame.grow(1).map(|byte| byte[0]), Ok(LEFT_OVER));
    }

    #[test]
    fn a_chain_reads_across_its_segments_and_returns_all_of_them() {
        let (pool, control) = (Pool::new(4), Pool::new(1));
        let mut head = SimFrame::new(&pool, b"head").expect("room");
        let mut body = SimFrame::new(&pool, b"0123456789").expect("room");
        assert!(!head.append_part(&body, 5, 6, &control), "beyond the end");
        assert!(head.append_part(&body, 2, 5, &control));
        assert!(!head.append_part(&body, 0, 1, &control), "pool empty");
        assert_eq!(head.to_vec(), b"head23456");
        let mut three = [0; 3];
        assert_eq!(head.copy_out(3, &mut three), 3);
        assert_eq!(&three, b"d23");
        assert!(head.bytes_mut().is_none() && head.first_mut().is_some());
        assert!(body.bytes_mut().is_none(), "the chain may still be read");
        assert_eq!((pool.in_use(), control.in_use()), (2, 1));
        drop(head);
        assert!(body.bytes_mut().is_some());
        assert_eq!((pool.in_use(), control.in_use()), (1, 0));
        assert_eq!(pool.most_in_use(), 2);
    }
}
