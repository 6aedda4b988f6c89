//! A NIC in memory, whose other end is the test.
//!
//! It must never need DPDK's environment: frames are vectors here.

use std::collections::VecDeque;

use stack::nic::{Burst, Caps, Frame, FrameError, Nic, PoolClass, RxChecksum, TxRequest};

/// A frame in a vector.
pub(crate) struct Heap(pub(crate) Vec<u8>);

impl Frame for Heap {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
    fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        Some(&mut self.0)
    }
    fn total_len(&self) -> usize {
        self.0.len()
    }
    fn copy_out(&self, offset: usize, into: &mut [u8]) -> usize {
        let from = self.0.get(offset..).unwrap_or_default();
        let n = from.len().min(into.len());
        into[..n].copy_from_slice(&from[..n]);
        n
    }
    fn set_len(&mut self, len: usize) -> Result<(), FrameError> {
        self.0.resize(len, 0);
        Ok(())
    }
    fn prefetch(&self) {}
    fn rx_checksum(&self) -> RxChecksum {
        RxChecksum::default()
    }
    fn request(&mut self, _request: Option<TxRequest>) {}
}

/// A NIC whose other end is the test: takes at most `takes` frames per burst.
pub(crate) struct Wire {
    caps: Caps,
    /// Frames that it takes from a burst.
    pub(crate) takes: usize,
    /// The frames that it took.
    pub(crate) sent: Vec<Vec<u8>>,
    /// The frames that are received next.
    pub(crate) waiting: VecDeque<Vec<u8>>,
    /// The time of its clock.
    pub(crate) ticks: u64,
}

impl Wire {
    pub(crate) fn new() -> Self {
        let caps = Caps::without_offloads("test".into(), 1500);
        Self {
            caps,
            takes: usize::MAX,
            sent: Vec::new(),
            waiting: VecDeque::new(),
            ticks: 0,
        }
    }
}

impl Nic for Wire {
    type Frame = Heap;

    fn caps(&self) -> &Caps {
        &self.caps
    }
    fn mac(&self) -> [u8; 6] {
        [4; 6]
    }
    fn rx(&mut self, into: &mut Burst<Heap>) -> usize {
        let n = into.room().min(self.waiting.len());
        for bytes in self.waiting.drain(..n) {
            assert!(into.push(Heap(bytes)).is_ok());
        }
        n
    }
    fn tx(&mut self, from: &mut Burst<Heap>) -> usize {
        let n = from.len().min(self.takes);
        self.sent.extend(from.take_front(n).map(|frame| frame.0));
        n
    }
    fn alloc(&mut self, _class: PoolClass, into: &mut Burst<Heap>, n: usize) -> usize {
        let n = n.min(into.room());
        for _ in 0..n {
            assert!(into.push(Heap(Vec::new())).is_ok());
        }
        n
    }
    fn share(&mut self, _frame: &mut Heap) -> Option<Heap> {
        None
    }
    fn cycles(&self) -> u64 {
        self.ticks
    }
}
