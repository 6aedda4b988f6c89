//! [`VlanNic`]: a queue pair in one VLAN. What is above it sees untagged frames.
//!
//! It must never let a frame through without the tag of its VLAN, in either direction.

use stack::nic::{Burst, Caps, Frame, Nic, PoolClass};
use stack::wire::vlan::VlanId;

/// Where the tag stands: behind both link-layer addresses (IEEE 802.1Q §9.3).
const TAG: usize = 12;
/// Bytes of a tag.
const TAG_LEN: usize = 4;
/// The tag protocol identifier of IEEE 802.1Q.
const TPID: [u8; 2] = [0x81, 0x00];
/// The bits of a tag that name the VLAN.
const VLAN_MASK: u16 = 0x0fff;

/// A queue pair whose frames get the tag of a VLAN when they are sent and lose it when they are received. Without a VLAN it is the
/// queue pair alone.
#[derive(Debug)]
pub(crate) struct VlanNic<N> {
    nic: N,
    vlan: Option<VlanId>,
    caps: Caps,
}

impl<N: Nic> VlanNic<N> {
    /// The queue pair in this VLAN. TX offloads are not asked for in a VLAN: their offsets would be those of untagged frames.
    pub(crate) fn new(nic: N, vlan: Option<VlanId>) -> Self {
        let mut caps = nic.caps().clone();
        if vlan.is_some() {
            caps.tx_ipv4_checksum = false;
            caps.tx_tcp_checksum = false;
            caps.tx_multi_seg = false;
        }
        Self { nic, vlan, caps }
    }

    /// The queue pair alone.
    pub(crate) fn into_inner(self) -> N {
        self.nic
    }
}

/// Inserts the tag; false when the frame has no room for it or is not ours alone.
#[inline]
fn insert<F: Frame>(frame: &mut F, VlanId(id): VlanId) -> bool {
    let len = frame.total_len();
    if len < TAG || frame.set_len(len + TAG_LEN).is_err() {
        return false;
    }
    let Some(bytes) = frame.bytes_mut() else {
        return false;
    };
    bytes.copy_within(TAG..len, TAG + TAG_LEN);
    bytes[TAG..TAG + 2].copy_from_slice(&TPID);
    bytes[TAG + 2..TAG + TAG_LEN].copy_from_slice(&id.to_be_bytes());
    true
}

/// Removes the tag; false when the frame has none of this VLAN.
#[inline]
fn remove<F: Frame>(frame: &mut F, VlanId(id): VlanId) -> bool {
    let Some(&[first, second, high, low]) = frame.bytes().get(TAG..TAG + TAG_LEN) else {
        return false;
    };
    if [first, second] != TPID || u16::from_be_bytes([high, low]) & VLAN_MASK != id {
        return false;
    }
    let Some(bytes) = frame.bytes_mut() else {
        return false;
    };
    bytes.copy_within(TAG + TAG_LEN.., TAG);
    let len = bytes.len() - TAG_LEN;
    frame.set_len(len).is_ok()
}

impl<N: Nic> Nic for VlanNic<N> {
    type Frame = N::Frame;

    #[inline]
    fn caps(&self) -> &Caps {
        &self.caps
    }
    #[inline]
    fn mac(&self) -> [u8; 6] {
        self.nic.mac()
    }
    #[inline]
    fn rx(&mut self, into: &mut Burst<N::Frame>) -> usize {
        let before = into.len();
        let received = self.nic.rx(into);
        let Some(vlan) = self.vlan else {
            return received;
        };
        let mut index = 0;
        into.storage_mut().retain(|frame| {
            index += 1;
            index <= before || remove(frame, vlan)
        });
        into.len() - before
    }
    #[inline]
    fn tx(&mut self, from: &mut Burst<N::Frame>) -> usize {
        let Some(vlan) = self.vlan else {
            return self.nic.tx(from);
        };
        let before = from.len();
        from.storage_mut().retain(|frame| insert(frame, vlan));
        self.nic.tx(from);
        // A refused frame is offered again, and gets its tag then.
        from.storage_mut().retain(|frame| remove(frame, vlan));
        before - from.len()
    }
    #[inline]
    fn alloc(&mut self, class: PoolClass, into: &mut Burst<N::Frame>, n: usize) -> usize {
        self.nic.alloc(class, into, n)
    }
    fn share(&mut self, frame: &mut N::Frame) -> Option<N::Frame> {
        self.nic.share(frame)
    }
    fn chain(
        &mut self,
        head: &mut N::Frame,
        body: &mut N::Frame,
        start: usize,
        len: usize,
    ) -> bool {
        self.vlan.is_none() && self.nic.chain(head, body, start, len)
    }
    #[inline]
    fn free(&mut self, from: &mut Burst<N::Frame>) {
        self.nic.free(from);
    }
    #[inline]
    fn cycles(&self) -> u64 {
        self.nic.cycles()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::testing::{Heap, Wire};

    /// A frame with these bytes behind its addresses.
    fn frame(behind: &[u8]) -> Vec<u8> {
        let mut frame = vec![2; TAG];
        frame.extend_from_slice(behind);
        frame.resize(60, 0);
        frame
    }

    #[test]
    fn frames_leave_with_the_tag_and_stay_untagged_when_they_are_refused() {
        let mut wire = Wire::new();
        wire.takes = 1;
        let mut nic = VlanNic::new(wire, Some(VlanId(5)));
        let mut burst = Burst::new();
        for last in [1, 2] {
            assert!(burst.push(Heap(frame(&[8, 0, last]))).is_ok());
        }
        assert_eq!(nic.tx(&mut burst), 1);
        assert_eq!(burst.as_slice()[0].0, frame(&[8, 0, 2]));
        let sent = nic.into_inner().sent;
        assert_eq!(sent[0].len(), 64);
        assert_eq!(sent[0][TAG..TAG + 7], [0x81, 0, 0, 5, 8, 0, 1]);
    }

    #[test]
    fn only_frames_of_the_vlan_are_received() {
        let mut wire = Wire::new();
        wire.waiting.extend([
            frame(&[8, 0, 1]),
            frame(&[0x81, 0, 0, 6, 8, 0, 2]),
            // Priority 7 of the same VLAN.
            frame(&[0x81, 0, 0xe0, 5, 8, 0, 3]),
        ]);
        let mut nic = VlanNic::new(wire, Some(VlanId(5)));
        let mut burst = Burst::new();
        assert!(
            burst.push(Heap(frame(&[8, 0, 9]))).is_ok(),
            "came another way"
        );
        assert_eq!(nic.rx(&mut burst), 1);
        let last: Vec<u8> = burst.as_slice().iter().map(|frame| frame.0[14]).collect();
        assert_eq!(last, [9, 3]);
        assert_eq!(burst.as_slice()[1].0.len(), 56);
    }

    #[test]
    fn without_a_vlan_frames_pass_as_they_are() {
        let mut wire = Wire::new();
        wire.waiting.push_back(frame(&[8, 0, 1]));
        let mut nic = VlanNic::new(wire, None);
        let mut burst = Burst::new();
        assert_eq!(nic.rx(&mut burst), 1);
        assert_eq!(nic.tx(&mut burst), 1);
        assert_eq!(nic.into_inner().sent, [frame(&[8, 0, 1])]);
    }
}
