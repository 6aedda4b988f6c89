//! [`LoopNic`]: one core, no link. Frames lie ready in memory; what is sent becomes the next frame to receive.
//!
//! It must never be cheaper to the worker than a driver: each frame is a buffer of its own, 2 KiB from the next, last
//! touched thousands of frames ago.

use crate::syn_stream::SynWriter;
use stack::nic::{Burst, Caps, Frame, FrameError, Nic, PoolClass, RxChecksum, TxRequest};

/// Frames on the loop: 4096 buffers of 2 KiB are 8 MiB, of which two lines each are touched: L2, as after DMA with DDIO.
pub const LOOP_FRAMES: usize = 4096;

const BUFFER_LEN: usize = 2048;

/// A buffer whose bytes start at a cache line, as an mbuf's do.
#[derive(Debug)]
#[repr(align(64))]
struct Buffer([u8; BUFFER_LEN]);

/// A buffer with its length.
#[derive(Debug)]
pub struct LoopFrame {
    buffer: Box<Buffer>,
    len: usize,
}

impl LoopFrame {
    /// An empty frame.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: Box::new(Buffer([0; BUFFER_LEN])),
            len: 0,
        }
    }

    /// Makes it empty again.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl Default for LoopFrame {
    fn default() -> Self {
        Self::new()
    }
}

impl Frame for LoopFrame {
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        &self.buffer.0[..self.len]
    }

    #[inline(always)]
    fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        Some(&mut self.buffer.0[..self.len])
    }

    #[inline(always)]
    fn total_len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    fn is_contiguous(&self) -> bool {
        true
    }

    fn copy_out(&self, offset: usize, into: &mut [u8]) -> usize {
        let from = self.bytes().get(offset..).unwrap_or(&[]);
        let len = from.len().min(into.len());
        into[..len].copy_from_slice(&from[..len]);
        len
    }

    #[inline(always)]
    fn set_len(&mut self, len: usize) -> Result<(), FrameError> {
        if len > BUFFER_LEN {
            return Err(FrameError::NoTailroom {
                capacity: BUFFER_LEN,
            });
        }
        if len > self.len {
            self.buffer.0[self.len..len].fill(0);
        }
        self.len = len;
        Ok(())
    }

    #[inline(always)]
    fn grow(&mut self, additional: usize) -> Result<&mut [u8], FrameError> {
        let old = self.len;
        let len = old.saturating_add(additional);
        let capacity = BUFFER_LEN;
        let grown = self.buffer.0.get_mut(old..len);
        let grown = grown.ok_or(FrameError::NoTailroom { capacity })?;
        self.len = len;
        Ok(grown)
    }

    #[inline(always)]
    fn prefetch(&self) {
        stack::memory::prefetch_read(&self.buffer.0);
    }

    #[inline(always)]
    fn rx_checksum(&self) -> RxChecksum {
        RxChecksum::default()
    }

    #[inline(always)]
    fn request(&mut self, _request: Option<TxRequest>) {}
}

/// Frames that the loop received back from the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoopCounts {
    /// Frames given to the worker.
    pub received: u64,
    /// Frames that the worker sent.
    pub sent: u64,
    /// Frames that it dropped instead.
    pub dropped: u64,
    /// Sent frames whose flags (and length, if TCP over IPv4) weren't the expected ones.
    pub wrong: u64,
}

/// The NIC of the loop.
pub struct LoopNic {
    ready: Vec<LoopFrame>,
    spent: Vec<LoopFrame>,
    writer: SynWriter,
    expected_flags: u8,
    burst: usize,
    made: u64,
    counts: LoopCounts,
    caps: Caps,
}

impl LoopNic {
    /// A loop with `burst` frames per receive call, whose replies must carry `expected_flags`.
    pub fn new(burst: usize, expected_flags: u8, writer: SynWriter) -> Self {
        let mut nic = Self {
            ready: Vec::with_capacity(LOOP_FRAMES),
            spent: (0..LOOP_FRAMES).map(|_| LoopFrame::new()).collect(),
            writer,
            expected_flags,
            burst,
            made: 0,
            counts: LoopCounts::default(),
            caps: Caps::without_offloads("one-core loop in memory, no NIC".into(), 1500),
        };
        nic.refill_all();
        nic
    }

    /// Frames in and out so far.
    pub fn counts(&self) -> LoopCounts {
        self.counts
    }

    fn refill_all(&mut self) {
        while let Some(mut frame) = self.spent.pop() {
            frame.len = self.writer.write(self.made, &mut frame.buffer.0);
            self.made += 1;
            self.ready.push(frame);
        }
        self.ready.reverse();
    }
}

impl Nic for LoopNic {
    type Frame = LoopFrame;

    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn mac(&self) -> [u8; 6] {
        crate::LOCAL_MAC
    }

    // A function of its own, like `tx`: the instruction gate leaves both out by name.
    #[inline(never)]
    fn rx(&mut self, into: &mut Burst<LoopFrame>) -> usize {
        if self.ready.len() < self.burst {
            self.refill_all();
        }
        let mut received = 0;
        while received < self.burst
            && into.room() > 0
            && let Some(frame) = self.ready.pop()
        {
            drop(into.push(frame));
            received += 1;
        }
        self.counts.received += received as u64;
        received
    }

    #[inline(never)]
    fn tx(&mut self, from: &mut Burst<LoopFrame>) -> usize {
        let sent = from.len();
        for frame in from.take_front(sent) {
            self.counts.wrong += u64::from(frame.bytes().get(47) != Some(&self.expected_flags));
            self.spent.push(frame);
        }
        self.counts.sent += sent as u64;
        sent
    }

    fn alloc(&mut self, _: PoolClass, _: &mut Burst<LoopFrame>, _: usize) -> usize {
        0
    }

    fn share(&mut self, _: &mut LoopFrame) -> Option<LoopFrame> {
        None
    }

    fn free(&mut self, from: &mut Burst<LoopFrame>) {
        self.counts.dropped += from.len() as u64;
        let n = from.len();
        self.spent.extend(from.take_front(n));
    }

    fn cycles(&self) -> u64 {
        cycles()
    }
}

/// The time-stamp counter; about 12 ns to read.
#[must_use]
pub fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    return safe_arch::read_timestamp_counter();
    #[cfg(not(target_arch = "x86_64"))]
    return u64::try_from(std::time::UNIX_EPOCH.elapsed().map_or(0, |t| t.as_nanos())).unwrap_or(0);
}
