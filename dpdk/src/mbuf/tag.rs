//! VLAN tags between a frame and the fields beside it, for devices that strip and insert them.
//!
//! Above this crate a tag always stands in the frame. It must never change a frame that has another reader.

use core::ptr;

use dpdk_sys as sys;

use super::Mbuf;

/// Destination and source: what stands in front of a tag.
const ADDRESSES_BYTES: usize = 12;
/// The tag: its type (IEEE 802.1Q) and its number.
const TAG_BYTES: u16 = 4;
const TPID: [u8; 2] = [0x81, 0x00];
/// The flags that make `l2_len` valid.
const CHECKSUM_REQUESTS: u64 = sys::SL_MBUF_TX_IPV4 | sys::SL_MBUF_TX_IPV6;

impl Mbuf {
    /// A tag that the device has taken out of a received frame stands in the frame again.
    #[inline]
    pub(crate) fn put_tag_back(&mut self) {
        if self.view().ol_flags & sys::SL_MBUF_RX_VLAN_STRIPPED != 0 && !self.insert() {
            // No driver gives such a frame. Empty, it is dropped and counted; without its tag it would be another VLAN's.
            self.empty();
        }
    }

    /// Leaves the tag of a frame to the device, with these bits flipped: true where it has one and the frame is ours alone.
    #[inline]
    pub(crate) fn take_tag_out(&mut self, flipped: u16) -> bool {
        let Some(&[high, low]) = self.first_tag() else {
            return false;
        };
        let start = self.data();
        // SAFETY: the frame's first segment is ours alone and holds addresses and tag (`first_tag`); both ranges lie in it.
        unsafe { ptr::copy(start, start.add(TAG_BYTES.into()), ADDRESSES_BYTES) };
        let flags = self.view().ol_flags | sys::SL_MBUF_TX_VLAN;
        self.set_flags(flags);
        let is_request = flags & CHECKSUM_REQUESTS != 0;
        // SAFETY: the header is ours, and `&mut self` leaves no reference to it.
        unsafe {
            let view = self.as_ptr();
            (*view).vlan_tci = u16::from_be_bytes([high, low]) ^ flipped;
            (*view).data_off += TAG_BYTES;
            (*view).data_len -= TAG_BYTES;
            (*view).pkt_len -= u32::from(TAG_BYTES);
            if is_request {
                (*view).tx_offload -= u64::from(TAG_BYTES); // l2_len, its lowest bits: 18 with a tag
            }
        }
        true
    }

    /// A frame that the device has refused has its tag again.
    #[inline]
    pub(crate) fn put_tag_in(&mut self) {
        let flags = self.view().ol_flags;
        if flags & sys::SL_MBUF_TX_VLAN != 0 && self.insert() {
            self.set_flags(flags & !sys::SL_MBUF_TX_VLAN);
            if flags & CHECKSUM_REQUESTS != 0 {
                // SAFETY: as in `take_tag_out`.
                unsafe { (*self.as_ptr()).tx_offload += u64::from(TAG_BYTES) };
            }
        }
    }

    /// The number of the frame's tag, with its priority, where it has one and its first segment is ours alone.
    #[inline]
    fn first_tag(&self) -> Option<&[u8; 2]> {
        let head: &[u8; ADDRESSES_BYTES + 4] = nic::Frame::bytes(self).first_chunk()?;
        let [.., high, low, _, _] = head;
        (self.owns_first_segment() && [*high, *low] == TPID)
            .then(|| head.last_chunk())
            .flatten()
    }

    /// Writes the tag of `vlan_tci` behind the addresses. False, and nothing has changed, where there is no room.
    fn insert(&mut self) -> bool {
        let view = self.view();
        let tci = view.vlan_tci.to_be_bytes();
        let fits = view.data_off >= TAG_BYTES
            && usize::from(view.data_len) >= ADDRESSES_BYTES
            && view.data_len <= u16::MAX - TAG_BYTES
            && self.owns_first_segment();
        if !fits {
            return false;
        }
        // SAFETY: the buffer has at least four bytes in front of `data_off` and the segment holds the addresses (just
        // checked), all ours alone; the header as in `take_tag_out`.
        unsafe {
            let view = self.as_ptr();
            (*view).data_off -= TAG_BYTES;
            (*view).data_len += TAG_BYTES;
            (*view).pkt_len += u32::from(TAG_BYTES);
            let start = self.data();
            ptr::copy(start.add(TAG_BYTES.into()), start, ADDRESSES_BYTES);
            let tag = [TPID[0], TPID[1], tci[0], tci[1]];
            ptr::copy_nonoverlapping(tag.as_ptr(), start.add(ADDRESSES_BYTES), tag.len());
        }
        true
    }

    /// Leaves no byte in it.
    #[cold]
    fn empty(&mut self) {
        // SAFETY: as in `take_tag_out`. Other segments stay in the chain, to be freed with it.
        unsafe {
            (*self.as_ptr()).pkt_len -= u32::from((*self.as_ptr()).data_len);
            (*self.as_ptr()).data_len = 0;
        }
    }
}

/// Lets a frame look as if the device had taken this tag out: for tests.
#[doc(hidden)]
pub fn strip_for_test(frame: &mut Mbuf, tci: u16) {
    let flags = frame.view().ol_flags | sys::SL_MBUF_RX_VLAN_STRIPPED;
    frame.set_flags(flags);
    // SAFETY: as in `take_tag_out`.
    unsafe { (*frame.as_ptr()).vlan_tci = tci };
    frame.put_tag_back();
}

/// Takes the tag out of a frame, returns the bytes that a device would get, and puts it in again: for tests.
#[doc(hidden)]
#[must_use]
pub fn leave_tag_for_test(frame: &mut Mbuf) -> Option<(Vec<u8>, u16, u64)> {
    let taken = frame.take_tag_out(0).then(|| {
        let view = frame.view();
        (
            nic::Frame::bytes(frame).to_vec(),
            view.vlan_tci,
            view.tx_offload,
        )
    });
    frame.put_tag_in();
    taken
}
