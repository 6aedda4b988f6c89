//! [`MemoryNic`]: a NIC whose wire is two queues in memory, for tests of everything above it.
//!
//! It must never be kinder than a real NIC: it refuses partially, runs out of buffers, hands out shared and chained
//! frames, and claims good checksums when asked to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Burst, Caps, Frame, FrameError, Nic, PoolClass, RxChecksum, TxRequest};

/// Bytes that one buffer holds.
pub const BUFFER_LEN: usize = 2048;

/// Bytes in front of a frame in its buffer.
const HEADROOM_LEN: usize = 128;

/// The byte that fills a frame that grows, as if it were left over from an older frame: a caller that doesn't overwrite it sends it.
const LEFT_OVER: u8 = 0xa5;

#[derive(Debug, Clone)]
enum Storage {
    Owned(Vec<u8>),
    Shared(Arc<Vec<u8>>),
}

/// A segment behind the first: a part of another frame's bytes.
#[derive(Debug, Clone)]
struct Part {
    bytes: Arc<Vec<u8>>,
    start: usize,
    len: usize,
}

impl Part {
    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
}

/// A frame in memory. It counts itself in and out of its NIC's pool, so that leaks show.
#[derive(Debug)]
pub struct MemoryFrame {
    storage: Storage,
    /// Bytes in the first segment, when the frame is chained inside its own storage.
    first_segment_len: Option<usize>,
    /// The buffers chained behind.
    parts: Vec<Part>,
    rx_checksum: RxChecksum,
    request: Option<TxRequest>,
    in_use: Arc<AtomicUsize>,
}

impl MemoryFrame {
    fn new(bytes: Vec<u8>, in_use: &Arc<AtomicUsize>) -> Self {
        in_use.fetch_add(1, Ordering::Relaxed);
        Self {
            storage: Storage::Owned(bytes),
            first_segment_len: None,
            parts: Vec::new(),
            rx_checksum: RxChecksum::default(),
            request: None,
            in_use: Arc::clone(in_use),
        }
    }

    /// The bytes of its own storage.
    fn stored(&self) -> &[u8] {
        match &self.storage {
            Storage::Owned(bytes) => bytes,
            Storage::Shared(bytes) => bytes,
        }
    }

    /// Its own storage and what is chained behind, in order.
    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        core::iter::once(self.stored()).chain(self.parts.iter().map(Part::bytes))
    }

    /// The storage for rewriting, unless it has another reader.
    fn storage_mut(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.storage {
            Storage::Owned(bytes) => Some(bytes),
            Storage::Shared(bytes) => Arc::get_mut(bytes),
        }
    }

    /// The storage of a frame that may take the length `len`.
    fn storage_for(&mut self, len: usize) -> Result<&mut Vec<u8>, FrameError> {
        if !self.is_one_segment() {
            return Err(FrameError::NotExclusive);
        }
        let storage = self.storage_mut().ok_or(FrameError::NotExclusive)?;
        if len > BUFFER_LEN {
            return Err(FrameError::NoTailroom {
                capacity: BUFFER_LEN,
            });
        }
        Ok(storage)
    }

    fn is_one_segment(&self) -> bool {
        self.first_segment_len.is_none() && self.parts.is_empty()
    }

    /// The storage as others may own it too.
    fn shared(&mut self) -> Arc<Vec<u8>> {
        let shared = match &mut self.storage {
            Storage::Owned(bytes) => Arc::new(core::mem::take(bytes)),
            Storage::Shared(bytes) => Arc::clone(bytes),
        };
        self.storage = Storage::Shared(Arc::clone(&shared));
        shared
    }

    /// All bytes over all segments, in one piece.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces().collect::<Vec<_>>().concat()
    }

    /// Where the bytes of each segment behind the first lie: equal addresses are shared bytes.
    #[must_use]
    pub fn chained_addresses(&self) -> Vec<usize> {
        self.parts
            .iter()
            .map(|part| part.bytes().as_ptr().addr())
            .collect()
    }

    /// The offloads that were asked for.
    #[must_use]
    pub fn requested(&self) -> Option<TxRequest> {
        self.request
    }

    /// Makes it look chained: only the first `len` bytes lie in the first segment.
    #[must_use]
    pub fn chained_at(mut self, len: usize) -> Self {
        self.first_segment_len = Some(len.min(self.stored().len()));
        self
    }

    /// Makes it lie in buffers of `len` bytes, as a large segment is received.
    #[must_use]
    pub fn in_buffers_of(mut self, len: usize) -> Self {
        let bytes = core::mem::take(self.storage_mut().expect("no other reader"));
        let mut pieces = bytes.chunks(len).map(<[u8]>::to_vec);
        self.storage = Storage::Owned(pieces.next().unwrap_or_default());
        self.parts = pieces
            .map(|bytes| Part {
                start: 0,
                len: bytes.len(),
                bytes: Arc::new(bytes),
            })
            .collect();
        self.in_use.fetch_add(self.parts.len(), Ordering::Relaxed);
        self
    }

    /// Lets it claim these verdicts of a NIC.
    #[must_use]
    pub fn with_rx_checksum(mut self, verdict: RxChecksum) -> Self {
        self.rx_checksum = verdict;
        self
    }
}

impl Drop for MemoryFrame {
    fn drop(&mut self) {
        self.in_use
            .fetch_sub(1 + self.parts.len(), Ordering::Relaxed);
    }
}

impl Frame for MemoryFrame {
    fn bytes(&self) -> &[u8] {
        let stored = self.stored();
        &stored[..self.first_segment_len.unwrap_or(stored.len())]
    }

    fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        if !self.is_one_segment() {
            return None;
        }
        self.storage_mut().map(Vec::as_mut_slice)
    }

    fn first_mut(&mut self) -> Option<&mut [u8]> {
        let len = self.bytes().len();
        self.storage_mut().map(|bytes| &mut bytes[..len])
    }

    fn total_len(&self) -> usize {
        self.pieces().map(<[u8]>::len).sum()
    }

    fn is_contiguous(&self) -> bool {
        self.is_one_segment()
    }

    fn copy_out(&self, offset: usize, into: &mut [u8]) -> usize {
        let (mut skip, mut copied) = (offset, 0);
        for piece in self.pieces() {
            let from = &piece[skip.min(piece.len())..];
            skip = skip.saturating_sub(piece.len());
            let len = from.len().min(into.len() - copied);
            into[copied..copied + len].copy_from_slice(&from[..len]);
            copied += len;
        }
        copied
    }

    fn set_len(&mut self, len: usize) -> Result<(), FrameError> {
        self.storage_for(len)?.resize(len, 0);
        Ok(())
    }

    fn grow(&mut self, additional: usize) -> Result<&mut [u8], FrameError> {
        let old = self.bytes().len();
        let len = old.saturating_add(additional);
        let storage = self.storage_for(len)?;
        storage.resize(len, LEFT_OVER);
        Ok(&mut storage[old..])
    }

    fn split_rest(&mut self) -> Option<Self> {
        if let Some(first) = self.first_segment_len.take() {
            let mut rest = Self::new(self.stored()[first..].to_vec(), &self.in_use);
            self.storage_mut()?.truncate(first);
            rest.parts = core::mem::take(&mut self.parts);
            return Some(rest);
        }
        if self.parts.is_empty() {
            return None;
        }
        let first = self.parts.remove(0);
        // A buffer that was counted as a part is counted as a frame.
        self.in_use.fetch_sub(1, Ordering::Relaxed);
        let mut rest = Self::new(first.bytes().to_vec(), &self.in_use);
        rest.parts = core::mem::take(&mut self.parts);
        Some(rest)
    }

    fn prepend(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > HEADROOM_LEN {
            return false;
        }
        let Some(storage) = self.storage_mut() else {
            return false;
        };
        storage.splice(..0, bytes.iter().copied());
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

/// A queue pair in memory.
#[derive(Debug)]
pub struct MemoryNic {
    caps: Caps,
    mac: [u8; 6],
    rx: VecDeque<MemoryFrame>,
    sent: Vec<MemoryFrame>,
    /// Frames that TX still accepts before it refuses.
    pub tx_room: usize,
    /// The longest frame that TX accepts, in bytes: it refuses a longer one and what stands behind it, as net_tap does.
    pub tx_longest: usize,
    /// Buffers that may be in use at once, received frames included.
    pub pool_frames: usize,
    /// Buffers that [`PoolClass::Control`] still has.
    pub control_frames: usize,
    in_use: Arc<AtomicUsize>,
    cycles: std::cell::Cell<u64>,
}

impl MemoryNic {
    /// A NIC with this address, no offloads, an MTU of 1500, and no limits.
    #[must_use]
    pub fn new(mac: [u8; 6]) -> Self {
        let caps = Caps::without_offloads("memory, no NIC".into(), 1500);
        Self {
            caps,
            mac,
            rx: VecDeque::new(),
            sent: Vec::new(),
            tx_room: usize::MAX,
            tx_longest: usize::MAX,
            pool_frames: usize::MAX,
            control_frames: usize::MAX,
            in_use: Arc::default(),
            cycles: std::cell::Cell::new(0),
        }
    }

    /// The capabilities, for changing them before a worker asks.
    pub fn caps_mut(&mut self) -> &mut Caps {
        &mut self.caps
    }

    /// A frame with these bytes, not yet received: change it, then [`MemoryNic::inject`] it.
    #[must_use]
    pub fn frame(&self, bytes: &[u8]) -> MemoryFrame {
        MemoryFrame::new(bytes.to_vec(), &self.in_use)
    }

    /// Puts a frame on the wire towards us.
    pub fn inject(&mut self, frame: MemoryFrame) {
        self.rx.push_back(frame);
    }

    /// Puts these bytes on the wire towards us.
    pub fn inject_bytes(&mut self, bytes: &[u8]) {
        let frame = self.frame(bytes);
        self.inject(frame);
    }

    /// The frames that were sent since the last call.
    pub fn take_sent(&mut self) -> Vec<MemoryFrame> {
        core::mem::take(&mut self.sent)
    }

    /// Buffers in use: injected, held or sent, not yet dropped.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }
}

impl Nic for MemoryNic {
    type Frame = MemoryFrame;

    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn rx(&mut self, into: &mut Burst<MemoryFrame>) -> usize {
        let before = into.len();
        while into.room() > 0
            && let Some(mut frame) = self.rx.pop_front()
        {
            frame.rx_checksum = frame.rx_checksum.negotiated(&self.caps);
            drop(into.push(frame));
        }
        into.len() - before
    }

    fn tx(&mut self, from: &mut Burst<MemoryFrame>) -> usize {
        let fits = |frame: &&MemoryFrame| frame.total_len() <= self.tx_longest;
        let fitting = from.as_slice().iter().take_while(fits).count();
        let accepted = fitting.min(self.tx_room);
        self.tx_room -= accepted;
        self.sent.extend(from.take_front(accepted));
        accepted
    }

    fn alloc(&mut self, class: PoolClass, into: &mut Burst<MemoryFrame>, n: usize) -> usize {
        let mut n = n
            .min(into.room())
            .min(self.pool_frames.saturating_sub(self.in_use()));
        if class == PoolClass::Control {
            n = n.min(self.control_frames);
            self.control_frames -= n;
        }
        for _ in 0..n {
            drop(into.push(MemoryFrame::new(
                Vec::with_capacity(BUFFER_LEN),
                &self.in_use,
            )));
        }
        n
    }

    fn share(&mut self, frame: &mut MemoryFrame) -> Option<MemoryFrame> {
        let shared = frame.shared();
        let mut clone = MemoryFrame::new(Vec::new(), &self.in_use);
        clone.storage = Storage::Shared(shared);
        clone.first_segment_len = frame.first_segment_len;
        self.in_use.fetch_add(frame.parts.len(), Ordering::Relaxed);
        clone.parts.clone_from(&frame.parts);
        clone.rx_checksum = frame.rx_checksum;
        Some(clone)
    }

    fn chain(
        &mut self,
        head: &mut MemoryFrame,
        body: &mut MemoryFrame,
        start: usize,
        len: usize,
    ) -> bool {
        let whole = body.bytes().len();
        let inside = len > 0 && start <= whole && len <= whole - start;
        if !self.caps.tx_multi_seg || !inside || self.in_use() >= self.pool_frames {
            return false;
        }
        self.in_use.fetch_add(1, Ordering::Relaxed);
        let bytes = body.shared();
        head.parts.push(Part { bytes, start, len });
        true
    }

    fn cycles(&self) -> u64 {
        self.cycles.set(self.cycles.get() + 1);
        self.cycles.get()
    }
}
