//! [`MemoryNic`]: a NIC whose wire is two queues in memory, for tests of everything above it.
//!
//! Called by: tests and tools that put frames in and look at what comes out. It must never be kinder than a real NIC: it
//! refuses partially, runs out of buffers, hands out shared and chained frames, and claims good checksums when told to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{
    Burst, Caps, ChecksumVerdict, Frame, FrameError, Nic, PoolClass, RxChecksum, TxRequest,
};

/// Bytes that one buffer holds.
pub const BUFFER_LEN: usize = 2048;

#[derive(Debug, Clone)]
enum Storage {
    Owned(Vec<u8>),
    Shared(Arc<Vec<u8>>),
}

/// A frame in memory. It counts itself in and out of its NIC's pool, so that leaks show.
#[derive(Debug)]
pub struct MemoryFrame {
    storage: Storage,
    /// Bytes in the first segment, when the frame is chained.
    first_segment_len: Option<usize>,
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
            rx_checksum: RxChecksum::default(),
            request: None,
            in_use: Arc::clone(in_use),
        }
    }

    fn all(&self) -> &[u8] {
        match &self.storage {
            Storage::Owned(bytes) => bytes,
            Storage::Shared(bytes) => bytes,
        }
    }

    /// The offloads that were asked for.
    #[must_use]
    pub fn requested(&self) -> Option<TxRequest> {
        self.request
    }

    /// Makes it look chained: only the first `len` bytes lie in the first segment.
    #[must_use]
    pub fn chained_at(mut self, len: usize) -> Self {
        self.first_segment_len = Some(len.min(self.all().len()));
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
        self.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Frame for MemoryFrame {
    fn bytes(&self) -> &[u8] {
        let all = self.all();
        &all[..self.first_segment_len.unwrap_or(all.len())]
    }

    fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        match &mut self.storage {
            Storage::Owned(bytes) if self.first_segment_len.is_none() => Some(bytes),
            Storage::Shared(bytes) if self.first_segment_len.is_none() => {
                Arc::get_mut(bytes).map(Vec::as_mut_slice)
            }
            _ => None,
        }
    }

    fn total_len(&self) -> usize {
        self.all().len()
    }

    fn copy_out(&self, offset: usize, into: &mut [u8]) -> usize {
        let from = self.all().get(offset..).unwrap_or(&[]);
        let len = from.len().min(into.len());
        into[..len].copy_from_slice(&from[..len]);
        len
    }

    fn set_len(&mut self, len: usize) -> Result<(), FrameError> {
        if self.bytes_mut().is_none() {
            return Err(FrameError::NotExclusive);
        }
        if len > BUFFER_LEN {
            return Err(FrameError::NoTailroom {
                capacity: BUFFER_LEN,
            });
        }
        match &mut self.storage {
            Storage::Owned(bytes) => bytes.resize(len, 0),
            Storage::Shared(bytes) => {
                Arc::get_mut(bytes)
                    .ok_or(FrameError::NotExclusive)?
                    .resize(len, 0);
            }
        }
        Ok(())
    }

    fn prefetch(&self) {}

    fn rx_checksum(&self) -> RxChecksum {
        self.rx_checksum
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
    /// Buffers that may be in use at once, received frames included.
    pub pool_frames: usize,
    in_use: Arc<AtomicUsize>,
    cycles: std::cell::Cell<u64>,
}

impl MemoryNic {
    /// A NIC with this address, no offloads, an MTU of 1500, and no limits.
    #[must_use]
    pub fn new(mac: [u8; 6]) -> Self {
        let caps = Caps {
            link: "memory, no NIC".into(),
            mtu: 1500,
            rx_ipv4_checksum: false,
            rx_tcp_checksum: false,
            tx_ipv4_checksum: false,
            tx_tcp_checksum: false,
            tx_multi_seg: false,
        };
        Self {
            caps,
            mac,
            rx: VecDeque::new(),
            sent: Vec::new(),
            tx_room: usize::MAX,
            pool_frames: usize::MAX,
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

    /// What was sent since the last call.
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
            // Only an adapter that negotiated the offload may speak of checksums (see `Frame::rx_checksum`).
            if !self.caps.rx_ipv4_checksum {
                frame.rx_checksum.ip = ChecksumVerdict::Unknown;
            }
            if !self.caps.rx_tcp_checksum {
                frame.rx_checksum.l4 = ChecksumVerdict::Unknown;
            }
            drop(into.push(frame));
        }
        into.len() - before
    }

    fn tx(&mut self, from: &mut Burst<MemoryFrame>) -> usize {
        let accepted = from.len().min(self.tx_room);
        self.tx_room -= accepted;
        self.sent.extend(from.take_front(accepted));
        accepted
    }

    fn alloc(&mut self, _class: PoolClass, into: &mut Burst<MemoryFrame>, n: usize) -> usize {
        let n = n
            .min(into.room())
            .min(self.pool_frames.saturating_sub(self.in_use()));
        for _ in 0..n {
            drop(into.push(MemoryFrame::new(
                Vec::with_capacity(BUFFER_LEN),
                &self.in_use,
            )));
        }
        n
    }

    fn share(&mut self, frame: &mut MemoryFrame) -> Option<MemoryFrame> {
        if let Storage::Owned(bytes) = &mut frame.storage {
            frame.storage = Storage::Shared(Arc::new(core::mem::take(bytes)));
        }
        let mut clone = MemoryFrame::new(Vec::new(), &self.in_use);
        clone.storage = frame.storage.clone();
        clone.first_segment_len = frame.first_segment_len;
        clone.rx_checksum = frame.rx_checksum;
        Some(clone)
    }

    fn cycles(&self) -> u64 {
        self.cycles.set(self.cycles.get() + 1);
        self.cycles.get()
    }
}
