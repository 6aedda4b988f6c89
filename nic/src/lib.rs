//! The seam between a packet loop and the device that carries its frames: [`Nic`], [`Frame`], [`Burst`], [`Caps`].
//!
//! `stack` is generic over [`Nic`]; `dpdk` implements it for a queue pair of a port; [`memory::MemoryNic`] implements it for tests. A
//! crate of its own, so that a program can use DPDK's frames without a TCP stack, or the stack without DPDK.
//!
//! It must never know about a protocol above Ethernet, never block, and never allocate per frame.
//!
//! ```
//! use nic::memory::MemoryNic;
//! use nic::{Burst, Frame, Nic};
//!
//! // Return each frame with its MAC addresses swapped.
//! fn swap<N: Nic>(nic: &mut N) -> usize {
//!     let mut burst = Burst::new();
//!     nic.rx(&mut burst);
//!     for frame in burst.as_mut_slice() {
//!         if let Some(bytes) = frame.bytes_mut() {
//!             let (destination, rest) = bytes.split_at_mut(6);
//!             destination.swap_with_slice(&mut rest[..6]);
//!         }
//!     }
//!     nic.tx(&mut burst)
//! }
//!
//! let mut nic = MemoryNic::new([2, 0, 0, 0, 0, 1]);
//! let frame = nic.frame(&[0u8; 60]);
//! nic.inject(frame);
//! assert_eq!(swap(&mut nic), 1);
//! assert_eq!(nic.take_sent().len(), 1);
//! ```
//!
//! # A NIC of your own
//!
//! Anything that carries frames can implement [`Nic`]: seven methods. (`cargo run -p syncline-nic --example cable`)
//!
//! ```
#![doc = include_str!("../examples/cable.rs")]
//! ```
#![forbid(unsafe_code)]

// A degraded link: frames lost, duplicated, reordered, corrupted or delayed, from a seed.
pub mod fault;
// A NIC in memory, for tests.
pub mod memory;
// Random numbers from a seed, for faults and simulations; never for secrets.
pub mod rng;
// Receive-side scaling: which queue the NIC's hash chooses for a flow.
pub mod rss;

use std::sync::Arc;

use arrayvec::ArrayVec;

use rss::Steering;

/// Frames handled per turn at most: the size of an RX burst, of the scratch arrays and of a hand-off batch.
///
/// 64 hides two DRAM misses behind the rest of the burst and still fits the scratch arrays into L1.
pub const BURST_FRAMES: usize = 64;

/// The verdict of the hardware (or the link) on one received checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChecksumVerdict {
    /// Nothing is known: software must verify.
    #[default]
    Unknown,
    /// Verified by the NIC. Only an adapter that negotiated the offload on that port may say so.
    Good,
    /// Verified by the NIC and found wrong.
    Bad,
}

/// The NIC's verdicts on the two checksums of a received frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RxChecksum {
    /// The IPv4 header checksum.
    pub ip: ChecksumVerdict,
    /// The TCP (or UDP) checksum, pseudo-header included.
    pub l4: ChecksumVerdict,
}

impl RxChecksum {
    /// The verdicts that count on a port with these capabilities: where an offload wasn't negotiated, the flags of a buffer may be left over from
    /// an older frame. Every [`Nic`] passes on only this.
    #[must_use]
    #[inline]
    pub const fn negotiated(self, caps: &Caps) -> Self {
        let Self { ip, l4 } = self;
        let unknown = ChecksumVerdict::Unknown;
        Self {
            ip: if caps.rx_ipv4_checksum { ip } else { unknown },
            l4: if caps.rx_tcp_checksum { l4 } else { unknown },
        }
    }
}

/// The network protocol of a frame whose checksums the NIC is asked to fill in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpVersion {
    /// IPv4, RFC 791.
    V4,
    /// IPv6, RFC 8200.
    V6,
}

/// TX offloads asked for one frame. The worker asks only for what [`Caps`] promises.
///
/// With `tcp_checksum` the TCP checksum field must hold the folded, not complemented sum of the pseudo-header
/// (DPDK Programmer's Guide, "Meta Information" of the mbuf library); with `ipv4_checksum` the header checksum field must be 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxRequest {
    /// Which IP header follows the link header.
    pub ip: IpVersion,
    /// Bytes before the IP header: 14, or 18 with one 802.1Q tag.
    pub l2_len: u8,
    /// Bytes of the IP header with its options or extension headers.
    pub l3_len: u16,
    /// Fill in the IPv4 header checksum.
    pub ipv4_checksum: bool,
    /// Fill in the TCP checksum.
    pub tcp_checksum: bool,
    /// Make several segments of this one. Only with [`TxRequest::tcp_checksum`], and then the pseudo-header whose sum stands in the
    /// checksum field has no length.
    pub cut: Option<Cut>,
}

/// How the NIC cuts one large TCP segment into several (TCP segmentation offload): each has its headers, with numbers, lengths and
/// checksums of its own; FIN and PSH go to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Bytes of the TCP header with its options.
    pub l4_len: u8,
    /// Bytes of payload in each segment; the last may have fewer.
    pub segment_bytes: u16,
}

/// A frame could not take the length asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame is shared, indirect, external or chained: its bytes are not ours to change.
    NotExclusive,
    /// The buffer ends before that length.
    NoTailroom {
        /// The longest length that this buffer can hold, in bytes.
        capacity: usize,
    },
}

/// One Ethernet frame, without FCS, owned. Dropping it returns its memory.
pub trait Frame: Send {
    /// The bytes of the first segment: all of the frame unless [`Frame::is_contiguous`] is false.
    fn bytes(&self) -> &[u8];

    /// The same bytes for rewriting, or `None` when another reader may still have them (reference count other than 1,
    /// indirect or external buffer) or when the frame is chained.
    fn bytes_mut(&mut self) -> Option<&mut [u8]>;

    /// The bytes of the first segment for rewriting, of a chained frame too; `None` when another reader may still have
    /// them. For headers in front of a payload that was chained behind them.
    #[inline]
    fn first_mut(&mut self) -> Option<&mut [u8]> {
        self.bytes_mut()
    }

    /// Length over all segments, in bytes.
    fn total_len(&self) -> usize;

    /// Whether all bytes lie in the first segment.
    fn is_contiguous(&self) -> bool {
        self.total_len() == self.bytes().len()
    }

    /// Copies bytes from `offset` on, across segments, and says how many there were (at most `into.len()`).
    /// The slow way for chained frames; the fast lane reads [`Frame::bytes`].
    fn copy_out(&self, offset: usize, into: &mut [u8]) -> usize;

    /// Sets the length of an exclusive frame. Bytes that it grows by are zero (padding must not leak old frames).
    ///
    /// # Errors
    /// [`FrameError`] when the frame isn't exclusive or the buffer is too small; the frame is unchanged then.
    fn set_len(&mut self, len: usize) -> Result<(), FrameError>;

    /// Makes an exclusive frame longer by `additional` bytes and lends them. What stands in them is left over from older
    /// frames: the caller overwrites all of them before the frame leaves. (Zeros that are not read cost as much as the
    /// payload that replaces them.)
    ///
    /// # Errors
    /// As [`Frame::set_len`]; the frame is unchanged then.
    #[inline]
    fn grow(&mut self, additional: usize) -> Result<&mut [u8], FrameError> {
        let old = self.bytes().len();
        self.set_len(old.saturating_add(additional))?;
        self.bytes_mut()
            .and_then(|bytes| bytes.get_mut(old..))
            .ok_or(FrameError::NotExclusive)
    }

    /// Takes off what lies behind the first buffer, as a frame of its own; `None`, and nothing has changed, where nothing does, and
    /// for frames that are never received in several buffers.
    fn split_rest(&mut self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Writes `bytes` in front of the first byte. False, and nothing has changed, where the buffer has no room there or another
    /// reader.
    fn prepend(&mut self, bytes: &[u8]) -> bool {
        let _ = bytes;
        false
    }

    /// Starts loading the first bytes of the frame into the cache. A hint; it may do nothing.
    fn prefetch(&self);

    /// The NIC's verdict on the received checksums, as far as [it was asked to](RxChecksum::negotiated).
    fn rx_checksum(&self) -> RxChecksum;

    /// Says of this frame what a NIC said of the one whose bytes were all copied into it. Where this does nothing, software
    /// verifies them.
    fn set_rx_checksum(&mut self, verdict: RxChecksum) {
        let _ = verdict;
    }

    /// Asks the NIC for TX offloads on this frame; `None` clears whatever was asked or received before.
    fn request(&mut self, request: Option<TxRequest>);
}

/// From which pool a frame is taken. Separate pools, so that data waiting for an ACK can't starve the replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolClass {
    /// Whatever is sent next and forgotten: replies, headers, copies of payload. Back as soon as the NIC has sent it.
    Control,
    /// Payload that is kept until it is acknowledged.
    Data,
}

/// The capabilities of a NIC, negotiated once when its port starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caps {
    /// The link in words for reports ("memory link, no NIC" where there is none).
    pub link: String,
    /// Largest IP packet, in bytes (1500 on plain Ethernet).
    pub mtu: u16,
    /// Received frames come with a verdict on the IPv4 header checksum.
    pub rx_ipv4_checksum: bool,
    /// Received frames come with a verdict on the TCP checksum.
    pub rx_tcp_checksum: bool,
    /// [`TxRequest::ipv4_checksum`] is honoured.
    pub tx_ipv4_checksum: bool,
    /// [`TxRequest::tcp_checksum`] is honoured.
    pub tx_tcp_checksum: bool,
    /// Chained frames can be sent.
    pub tx_multi_seg: bool,
    /// Buffers at most of a frame that the NIC cuts into segments ([`TxRequest::cut`]); 0 where it cuts none. Only with
    /// [`Caps::tx_tcp_checksum`] and [`Caps::tx_multi_seg`].
    pub tso_buffers: u16,
    /// A frame that is longer than a receive buffer comes chained.
    pub rx_scatter: bool,
    /// A received TCP segment may be several that the NIC has put together (large receive offload), or one that the other end of
    /// the link has left uncut: longer than [`Caps::mtu`], in as many buffers as it takes. Only with [`Caps::rx_tcp_checksum`].
    pub lro: bool,
    /// The device takes VLAN tags out of received frames. The adapter puts them back: a reader of a frame finds its tag in it.
    pub vlan_strip: bool,
    /// The device puts VLAN tags into sent frames. The adapter takes them out of the frame for it.
    pub vlan_insert: bool,
    /// How the NIC steers received TCP segments to the queues, of which each worker has one; `None` where it has one queue or
    /// says nothing about it.
    pub steering: Option<Arc<Steering>>,
}

impl Caps {
    /// A link with this MTU (bytes) and without any offload.
    #[must_use]
    pub const fn without_offloads(link: String, mtu: u16) -> Self {
        Self {
            link,
            mtu,
            rx_ipv4_checksum: false,
            rx_tcp_checksum: false,
            tx_ipv4_checksum: false,
            tx_tcp_checksum: false,
            tx_multi_seg: false,
            tso_buffers: 0,
            rx_scatter: false,
            lro: false,
            vlan_strip: false,
            vlan_insert: false,
            steering: None,
        }
    }
}

/// Up to [`BURST_FRAMES`] owned frames in arrival order, inline. The adapter fills it and takes from its front.
#[derive(Debug)]
pub struct Burst<F> {
    frames: ArrayVec<F, BURST_FRAMES>,
}

impl<F> Burst<F> {
    /// An empty burst.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            frames: ArrayVec::new_const(),
        }
    }

    /// Frames in it.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether it holds nothing.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// How many more frames fit.
    #[must_use]
    #[inline]
    pub fn room(&self) -> usize {
        self.frames.remaining_capacity()
    }

    /// Appends a frame, or hands it back when the burst is full.
    ///
    /// # Errors
    /// The frame itself, when there is no room.
    #[inline]
    pub fn push(&mut self, frame: F) -> Result<(), F> {
        self.frames
            .try_push(frame)
            .map_err(arrayvec::CapacityError::element)
    }

    /// The frames, oldest first.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &[F] {
        &self.frames
    }

    /// The frames for rewriting in place, oldest first.
    #[must_use]
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [F] {
        &mut self.frames
    }

    /// Removes the oldest frame. Moves all others: for rare cases.
    pub fn pop_front(&mut self) -> Option<F> {
        self.frames.pop_at(0)
    }

    /// Removes the oldest `n` frames (all, when there are fewer) and yields them.
    #[inline]
    pub fn take_front(&mut self, n: usize) -> arrayvec::Drain<'_, F, BURST_FRAMES> {
        let n = n.min(self.frames.len());
        self.frames.drain(..n)
    }

    /// The storage itself, for adapters that fill it or take from it by pointer.
    #[must_use]
    #[inline]
    pub fn storage_mut(&mut self) -> &mut ArrayVec<F, BURST_FRAMES> {
        &mut self.frames
    }
}

impl<F> Default for Burst<F> {
    fn default() -> Self {
        Self::new()
    }
}

/// One RX queue and one TX queue of a port, with the pools that feed them: everything that one worker polls.
///
/// Implementations are `Send` (moved once to their worker) and used through `&mut`: two workers can't share a queue.
pub trait Nic: Send {
    /// The frames of this NIC.
    type Frame: Frame;

    /// The capabilities that were negotiated when the port started.
    fn caps(&self) -> &Caps;

    /// The port's own link-layer address.
    fn mac(&self) -> [u8; 6];

    /// Appends received frames to `into` as far as it has room, and says how many came.
    fn rx(&mut self, into: &mut Burst<Self::Frame>) -> usize;

    /// Sends from the front of `from`, removes what was accepted, leaves the rest, and says how many were accepted.
    fn tx(&mut self, from: &mut Burst<Self::Frame>) -> usize;

    /// Appends up to `n` empty exclusive frames (length 0) from a pool and says how many there were.
    fn alloc(&mut self, class: PoolClass, into: &mut Burst<Self::Frame>, n: usize) -> usize;

    /// One empty exclusive frame.
    fn alloc_one(&mut self, class: PoolClass) -> Option<Self::Frame> {
        let mut fresh = Burst::new();
        self.alloc(class, &mut fresh, 1);
        fresh.storage_mut().pop()
    }

    /// A second owner of the same bytes, the one explicit way to share; from then on neither can be rewritten.
    /// `None` when the reference can't be made.
    fn share(&mut self, frame: &mut Self::Frame) -> Option<Self::Frame>;

    /// Appends to `head`'s chain a second owner of the bytes `start..start + len` of `body`'s first segment: zero-copy
    /// sending. `body` stays the caller's; from then on and until the chain is gone its bytes can't be rewritten. Of `head`
    /// only [`Frame::first_mut`] can still be.
    ///
    /// False, and nothing has changed, when `len` is 0, when the range isn't all in the first segment, when there is no
    /// buffer for the reference, or when this NIC can't chain: the caller copies then. Only with [`Caps::tx_multi_seg`].
    fn chain(
        &mut self,
        head: &mut Self::Frame,
        body: &mut Self::Frame,
        start: usize,
        len: usize,
    ) -> bool {
        let _ = (head, body, start, len);
        false
    }

    /// Returns the memory of all frames in `from`, in bulk where that is cheaper than one by one.
    fn free(&mut self, from: &mut Burst<Self::Frame>) {
        from.storage_mut().clear();
    }

    /// The cycle counter (TSC ticks on x86-64): monotonic, comparable on one core.
    fn cycles(&self) -> u64;
}
