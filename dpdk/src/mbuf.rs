//! [`Mbuf`]: one owned frame in DPDK's memory, as the stack sees it.
//!
//! Everything here runs per packet: fields are read in place, only freeing calls DPDK. It must never hand out bytes for
//! writing what another reader may read.

use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering;

use dpdk_sys as sys;
use nic::{ChecksumVerdict, Frame, FrameError, IpVersion, RxChecksum, TxRequest};
use sys::MbufView;

use crate::offloads::OffloadFault;

mod tag;

#[doc(hidden)]
pub use tag::{leave_tag_for_test, strip_for_test};

/// Flags that say where the bytes lie. All others are offloads, and are cleared when a frame changes hands.
pub(crate) const PLACE_FLAGS: u64 = sys::SL_MBUF_INDIRECT | sys::SL_MBUF_EXTERNAL;
/// From the mbuf to the first byte of a frame in our pools (no private area, default headroom): for prefetching without
/// reading the mbuf first.
const USUAL_DATA_OFFSET: usize = (sys::SL_MBUF_BYTES + sys::SL_PKTMBUF_HEADROOM) as usize;

/// An owned frame (the head of its chain, if it is chained). Dropping it returns it to its pool.
///
/// The header (lengths, flags) always belongs to this value alone. The bytes belong to it alone when the reference count
/// of a direct mbuf is 1; [`crate::DpdkNic`]'s `share` makes a second header for the same bytes (an indirect mbuf).
#[derive(Debug)]
#[repr(transparent)]
pub struct Mbuf(NonNull<MbufView>);

// SAFETY: an mbuf has no tie to a thread; its reference count is atomic, and pools take frames back from any thread.
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// Takes over an mbuf.
    ///
    /// # Safety
    /// `mbuf` is a valid head mbuf with no other owner, from a pool made by [`crate::Mempool`] (or a clone of one).
    #[inline]
    pub(crate) unsafe fn from_raw(mbuf: NonNull<MbufView>) -> Self {
        Self(mbuf)
    }

    /// The mbuf, still owned by `self`.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut MbufView {
        self.0.as_ptr()
    }

    #[inline]
    fn view(&self) -> &MbufView {
        // SAFETY: the header is valid and ours (invariant of the type); the one field that others write, the reference
        // count, is an atomic.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    fn set_flags(&mut self, flags: u64) {
        // SAFETY: the header is valid and ours, and `&mut self` leaves no reference to it. Through the pointer, not
        // through a `&mut MbufView`: that would claim the reference count as well.
        unsafe { (*self.0.as_ptr()).ol_flags = flags };
    }

    /// Owners of the bytes. 1 when they are ours alone; for a frame that came out of `share`, always 1 (the count is kept
    /// by the frame that was shared).
    #[must_use]
    #[inline]
    pub fn refcount(&self) -> u16 {
        // Acquire: what the last other owner read is over.
        self.view().refcnt.load(Ordering::Acquire)
    }

    /// Whether the bytes lie in this very mbuf and no other reader has them, in one segment.
    #[inline]
    fn is_exclusive(&self) -> bool {
        self.view().nb_segs == 1 && self.owns_first_segment()
    }

    /// Whether the bytes of the first segment lie in this very mbuf and no other reader has them.
    #[inline]
    fn owns_first_segment(&self) -> bool {
        self.view().ol_flags & PLACE_FLAGS == 0 && self.refcount() == 1
    }

    /// `len` as the length of an exclusive frame, if its buffer is that long.
    #[inline]
    fn checked_len(&self, len: usize) -> Result<u16, FrameError> {
        if !self.is_exclusive() {
            return Err(FrameError::NotExclusive);
        }
        let view = self.view();
        let capacity = view.buf_len.saturating_sub(view.data_off);
        match u16::try_from(len) {
            Ok(len) if len <= capacity => Ok(len),
            _ => Err(FrameError::NoTailroom {
                capacity: usize::from(capacity),
            }),
        }
    }

    /// Sets the length of a frame of one segment.
    ///
    /// # Safety
    /// The frame is exclusive and its buffer holds `len` bytes behind `data_off`.
    #[inline]
    unsafe fn set_len_unchecked(&mut self, len: u16) {
        // SAFETY: as in `set_flags`.
        unsafe {
            (*self.0.as_ptr()).data_len = len;
            (*self.0.as_ptr()).pkt_len = u32::from(len);
        }
    }

    /// Where the first byte lies, as a number: two frames with the same address share their bytes.
    #[must_use]
    #[inline]
    pub fn address(&self) -> usize {
        self.data().addr()
    }

    #[inline]
    fn data(&self) -> *mut u8 {
        let view = self.view();
        view.buf_addr.wrapping_add(usize::from(view.data_off))
    }

    /// Keeps of the flags only those in `keep`, and always those that say where the bytes lie.
    #[inline]
    pub(crate) fn keep_flags(&mut self, keep: u64) {
        self.set_flags(self.view().ol_flags & (keep | PLACE_FLAGS));
    }

    /// Whether the device is to cut it into segments.
    #[inline]
    pub(crate) fn is_cut(&self) -> bool {
        self.view().ol_flags & sys::SL_MBUF_TX_TCP_SEG != 0
    }

    /// Offload requests and verdicts as on `other`, whose bytes were copied into this frame.
    pub(crate) fn take_offloads_of(&mut self, other: &Self) {
        let flags = other.view().ol_flags & !PLACE_FLAGS;
        self.set_flags(self.view().ol_flags & PLACE_FLAGS | flags);
        // SAFETY: as in `set_flags`.
        unsafe { (*self.0.as_ptr()).tx_offload = other.view().tx_offload };
    }

    /// The segments, head first.
    fn segments(&self) -> impl Iterator<Item = &[u8]> {
        let mut next: *const MbufView = self.0.as_ptr();
        core::iter::from_fn(move || {
            // SAFETY: `next` is null or a segment of this chain; all of them are valid while the head is ours.
            let segment = unsafe { next.as_ref() }?;
            next = segment.next;
            let data = segment.buf_addr.wrapping_add(usize::from(segment.data_off));
            // SAFETY: drivers and this crate keep data_off + data_len <= buf_len, and the bytes are initialised or were
            // written by a NIC (pool memory is zeroed by EAL at first).
            Some(unsafe { core::slice::from_raw_parts(data, usize::from(segment.data_len)) })
        })
    }
}

impl Mbuf {
    /// Makes a request for a TCP checksum wrong in the way of `fault`, once: the frame leaves afterwards, or is dropped.
    pub(crate) fn break_request(&mut self, fault: OffloadFault) {
        if self.view().ol_flags & sys::SL_MBUF_TX_TCP_CKSUM != sys::SL_MBUF_TX_TCP_CKSUM {
            return;
        }
        let lengths = self.view().tx_offload;
        let l2_len = (lengths & 0x7f) as usize;
        let l3_len = (lengths >> sys::SL_MBUF_L3_LEN_SHIFT & 0x1ff) as usize;
        match fault {
            OffloadFault::PseudoHeader => {
                let checksum = l2_len + l3_len + 17;
                if let Some(byte) = self.first_mut().and_then(|bytes| bytes.get_mut(checksum)) {
                    *byte = byte.wrapping_add(1);
                }
            }
            OffloadFault::HeaderLength => {
                let lengths = lengths + (4 << sys::SL_MBUF_L3_LEN_SHIFT);
                // SAFETY: as in `set_flags`.
                unsafe { (*self.0.as_ptr()).tx_offload = lengths };
            }
            OffloadFault::VlanTag | OffloadFault::IndirectionTable => {}
        }
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: we own it, and `self` is not used after this. The pool outlives it (see `mempool`).
        unsafe { sys::sl_mbuf_free(self.0.as_ptr()) };
    }
}

impl Frame for Mbuf {
    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: drivers and this crate keep data_off + data_len <= buf_len; nothing writes while we read: an owner of
        // shared bytes gets no `bytes_mut`, and of unshared bytes we are the owner. Initialised as in `segments`.
        unsafe { core::slice::from_raw_parts(self.data(), usize::from(self.view().data_len)) }
    }

    #[inline]
    fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        if !self.is_exclusive() {
            return None;
        }
        // SAFETY: as in `bytes`, and exclusive by the check: nothing else has a reference to these bytes, and none can
        // come into being while `&mut self` is borrowed.
        Some(unsafe {
            core::slice::from_raw_parts_mut(self.data(), usize::from(self.view().data_len))
        })
    }

    #[inline]
    fn first_mut(&mut self) -> Option<&mut [u8]> {
        if !self.owns_first_segment() {
            return None;
        }
        // SAFETY: as in `bytes_mut`; the other segments of the chain are other bytes, or this very buffer seen by a
        // reference that counts: then the check has failed.
        Some(unsafe {
            core::slice::from_raw_parts_mut(self.data(), usize::from(self.view().data_len))
        })
    }

    #[inline]
    fn total_len(&self) -> usize {
        self.view().pkt_len as usize
    }

    #[inline]
    fn is_contiguous(&self) -> bool {
        self.view().nb_segs == 1
    }

    fn copy_out(&self, offset: usize, into: &mut [u8]) -> usize {
        let mut skip = offset;
        let mut copied = 0;
        for segment in self.segments() {
            let from = &segment[skip.min(segment.len())..];
            skip = skip.saturating_sub(segment.len());
            let n = from.len().min(into.len() - copied);
            into[copied..copied + n].copy_from_slice(&from[..n]);
            copied += n;
        }
        copied
    }

    #[inline]
    fn set_len(&mut self, len: usize) -> Result<(), FrameError> {
        let len = self.checked_len(len)?;
        let old = self.view().data_len;
        if len > old {
            // SAFETY: old <= len <= capacity, so the range lies in the buffer behind data_off; exclusive by the check.
            unsafe {
                ptr::write_bytes(self.data().add(usize::from(old)), 0, usize::from(len - old));
            }
        }
        // SAFETY: exclusive and long enough, both just checked.
        unsafe { self.set_len_unchecked(len) };
        Ok(())
    }

    #[inline]
    fn grow(&mut self, additional: usize) -> Result<&mut [u8], FrameError> {
        let old = usize::from(self.view().data_len);
        let len = self.checked_len(old.saturating_add(additional))?;
        // SAFETY: exclusive and long enough, both just checked.
        unsafe { self.set_len_unchecked(len) };
        // SAFETY: old + additional = len lies in the buffer behind data_off, which is initialised (as in `segments`), and
        // nothing else has a reference to it, as in `bytes_mut`.
        Ok(unsafe { core::slice::from_raw_parts_mut(self.data().add(old), additional) })
    }

    fn split_rest(&mut self) -> Option<Self> {
        let (next, behind) = {
            let view = self.view();
            let behind = view.pkt_len.saturating_sub(u32::from(view.data_len));
            (
                NonNull::new(view.next)?,
                (behind, view.nb_segs.saturating_sub(1)),
            )
        };
        // SAFETY: both are headers of this chain, which is ours: a segment that is taken off it is a valid head once it says how
        // long and of how many segments the rest is. No flag of an earlier owner stays.
        unsafe {
            (*next.as_ptr()).pkt_len = behind.0;
            (*next.as_ptr()).nb_segs = behind.1;
            (*next.as_ptr()).ol_flags &= PLACE_FLAGS;
            let view = self.0.as_ptr();
            (*view).next = ptr::null_mut();
            (*view).nb_segs = 1;
            (*view).pkt_len = u32::from((*view).data_len);
        }
        Some(Self(next))
    }

    fn prepend(&mut self, bytes: &[u8]) -> bool {
        let (view, len) = (self.view(), bytes.len());
        let fits = len <= usize::from(view.data_off)
            && usize::from(view.data_len) + len <= usize::from(u16::MAX)
            && self.owns_first_segment();
        if !fits {
            return false;
        }
        // SAFETY: the buffer has `len` bytes in front of `data_off` (just checked), all ours alone; `bytes` lies elsewhere, being
        // borrowed while we are borrowed mutably. The header as in `set_flags`; `len` is at most `data_off` and fits u16.
        unsafe {
            let view = self.0.as_ptr();
            (*view).data_off -= len as u16;
            (*view).data_len += len as u16;
            (*view).pkt_len += len as u32;
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.data(), len);
        }
        true
    }

    #[inline]
    fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch touches nothing and can't fault, whatever the address. Both lines at once: waiting for the
        // header to learn where the data lies would cost a second miss, and in our pools it lies at one place (for a
        // clone the second hint is useless, not wrong).
        unsafe {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let header = self.0.as_ptr().cast::<i8>();
            _mm_prefetch::<_MM_HINT_T0>(header);
            _mm_prefetch::<_MM_HINT_T0>(header.wrapping_add(USUAL_DATA_OFFSET));
        }
    }

    #[inline]
    fn rx_checksum(&self) -> RxChecksum {
        let flags = self.view().ol_flags;
        RxChecksum {
            ip: verdict(
                flags & sys::SL_MBUF_RX_IP_CKSUM_MASK,
                sys::SL_MBUF_RX_IP_CKSUM_GOOD,
                sys::SL_MBUF_RX_IP_CKSUM_BAD,
            ),
            l4: verdict(
                flags & sys::SL_MBUF_RX_L4_CKSUM_MASK,
                sys::SL_MBUF_RX_L4_CKSUM_GOOD,
                sys::SL_MBUF_RX_L4_CKSUM_BAD,
            ),
        }
    }

    fn set_rx_checksum(&mut self, verdict: RxChecksum) {
        let flag = |verdict, good, bad| match verdict {
            ChecksumVerdict::Unknown => 0,
            ChecksumVerdict::Good => good,
            ChecksumVerdict::Bad => bad,
        };
        let ip = (sys::SL_MBUF_RX_IP_CKSUM_GOOD, sys::SL_MBUF_RX_IP_CKSUM_BAD);
        let l4 = (sys::SL_MBUF_RX_L4_CKSUM_GOOD, sys::SL_MBUF_RX_L4_CKSUM_BAD);
        let flags = self.view().ol_flags & PLACE_FLAGS;
        self.set_flags(flags | flag(verdict.ip, ip.0, ip.1) | flag(verdict.l4, l4.0, l4.1));
    }

    #[inline]
    fn request(&mut self, request: Option<TxRequest>) {
        let mut flags = self.view().ol_flags & PLACE_FLAGS;
        let Some(request) = request else {
            self.set_flags(flags);
            return;
        };
        flags |= match request.ip {
            IpVersion::V4 => sys::SL_MBUF_TX_IPV4,
            IpVersion::V6 => sys::SL_MBUF_TX_IPV6,
        };
        if request.ipv4_checksum {
            flags |= sys::SL_MBUF_TX_IP_CKSUM;
        }
        if request.tcp_checksum {
            flags |= sys::SL_MBUF_TX_TCP_CKSUM;
        }
        let mut lengths =
            u64::from(request.l2_len) | u64::from(request.l3_len) << sys::SL_MBUF_L3_LEN_SHIFT;
        if let Some(cut) = request.cut {
            flags |= sys::SL_MBUF_TX_TCP_SEG;
            lengths |= u64::from(cut.l4_len) << sys::SL_MBUF_L4_LEN_SHIFT
                | u64::from(cut.segment_bytes) << sys::SL_MBUF_TSO_SEGSZ_SHIFT;
        }
        debug_assert!(
            request.l2_len < 1 << 7 && request.l3_len < 1 << 9,
            "the mbuf's bit-fields"
        );
        self.set_flags(flags);
        // SAFETY: as in `set_flags`.
        unsafe { (*self.0.as_ptr()).tx_offload = lengths };
    }
}

/// Both bits set mean "the field is wrong but the data was verified" (a virtual link that never filled it in): good.
#[inline]
fn verdict(flags: u64, good: u64, bad: u64) -> ChecksumVerdict {
    if flags & good != 0 {
        ChecksumVerdict::Good
    } else if flags & bad != 0 {
        ChecksumVerdict::Bad
    } else {
        ChecksumVerdict::Unknown
    }
}

/// All of the flags of received checksums that say "good", as a NIC sets them.
#[doc(hidden)]
pub const RX_CHECKSUM_GOOD_FLAGS: u64 =
    sys::SL_MBUF_RX_IP_CKSUM_GOOD | sys::SL_MBUF_RX_L4_CKSUM_GOOD;

/// Overwrites the offload flags (not those that say where the bytes lie): for tests of frames that claim what no NIC
/// verified.
#[doc(hidden)]
pub fn set_offload_flags_for_test(frame: &mut Mbuf, flags: u64) {
    let place = frame.view().ol_flags & PLACE_FLAGS;
    frame.set_flags(flags & !PLACE_FLAGS | place);
}

/// The offload flags: for tests.
#[doc(hidden)]
#[must_use]
pub fn offload_flags_for_test(frame: &Mbuf) -> u64 {
    frame.view().ol_flags & !PLACE_FLAGS
}

/// Where the bytes of each segment lie, head first: for tests that nothing was copied.
#[doc(hidden)]
#[must_use]
pub fn segment_addresses_for_test(frame: &Mbuf) -> Vec<usize> {
    frame
        .segments()
        .map(|segment| segment.as_ptr().addr())
        .collect()
}

/// Lets it look as if it had that many owners. The test sets the true number again before anything is freed.
#[doc(hidden)]
pub fn set_refcount_for_test(frame: &mut Mbuf, owners: u16) {
    frame.view().refcnt.store(owners, Ordering::Release);
}

/// Puts `tail` behind `head`, as a driver does with a frame that is longer than a buffer: for tests.
#[doc(hidden)]
pub fn link_for_test(head: &mut Mbuf, tail: Mbuf) {
    let tail = core::mem::ManuallyDrop::new(tail);
    // SAFETY: both are ours and of one segment; the tail belongs to the chain from here on.
    unsafe {
        let view = head.0.as_ptr();
        (*view).next = tail.0.as_ptr();
        (*view).nb_segs += 1;
        (*view).pkt_len += (*tail.0.as_ptr()).pkt_len;
    }
}
