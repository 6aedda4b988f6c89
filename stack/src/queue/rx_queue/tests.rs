//! The receive queue against a naive one of bytes, and what kept bytes cost.

use std::collections::VecDeque;

use crate::nic::memory::{MemoryFrame, MemoryNic};
use crate::nic::{Frame, Nic};
use crate::queue::rx_queue::*;
use proptest::prelude::*;

const BUFFER_LEN: u32 = 2048;

fn chunk(nic: &MemoryNic, skip: u32, bytes: &[u8]) -> Chunk<MemoryFrame> {
    let mut all = vec![0xee; skip as usize];
    all.extend_from_slice(bytes);
    all.extend_from_slice(&[0xdd; 6]); // padding that is not part of the packet
    Chunk {
        frame: nic.frame(&all),
        start: skip,
        len: bytes.len() as u32,
    }
}

#[derive(Debug, Clone)]
enum Step {
    Push { skip: u8, len: u16, shared: bool },
    Consume(u16),
    Take,
    Compact { frames: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (any::<u8>(), prop_oneof![0u16..8, 0u16..1500], prop::bool::weighted(0.1))
            .prop_map(|(skip, len, shared)| Step::Push { skip, len, shared }),
        1 => (0u16..1500).prop_map(Step::Consume),
        1 => Just(Step::Take),
        3 => (0u8..3).prop_map(|frames| Step::Compact { frames }),
    ];
    prop::collection::vec(step, 1..120)
}

struct World {
    nic: MemoryNic,
    chunks: Chunks<MemoryFrame>,
    queue: RxQueue,
    model: VecDeque<u8>,
    /// Clones that another reader keeps.
    elsewhere: Vec<MemoryFrame>,
    next_byte: u8,
}

impl World {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Push { skip, len, shared } => self.push(skip.into(), len.into(), shared),
            Step::Consume(n) => {
                let expected = usize::from(n).min(self.model.len());
                let consumed = self.queue.consume(&mut self.chunks, n.into(), drop);
                assert_eq!(consumed as usize, expected);
                self.model.drain(..expected);
            }
            Step::Take => {
                let taken = self.queue.take(&mut self.chunks);
                assert_eq!(taken.is_none(), self.model.is_empty());
                if let Some(Chunk { frame, start, len }) = taken {
                    let expected: Vec<u8> = self.model.drain(..len as usize).collect();
                    assert_eq!(frame.bytes()[start as usize..][..len as usize], expected);
                }
            }
            Step::Compact { frames } => {
                let Self { nic, chunks, .. } = self;
                let mut left = frames;
                let fresh = || {
                    left = left.checked_sub(1)?;
                    Some(nic.frame(&[]))
                };
                self.queue.compact(chunks, fresh, drop);
                assert_eq!(
                    self.queue.settled, self.queue.tail,
                    "all that waits was looked at"
                );
            }
        }
        self.check();
    }

    fn push(&mut self, skip: u32, len: u32, shared: bool) {
        let bytes: Vec<u8> = (0..len)
            .map(|_| {
                self.next_byte = self.next_byte.wrapping_add(1);
                self.next_byte
            })
            .collect();
        let mut chunk = chunk(&self.nic, skip, &bytes);
        if shared {
            self.elsewhere.extend(self.nic.share(&mut chunk.frame));
        }
        let room = self.chunks.free_len() > 0 && len > 0;
        match self.queue.push(&mut self.chunks, chunk) {
            Ok(()) => {
                assert!(room);
                self.model.extend(bytes);
            }
            Err(refused) => assert!(!room && refused.len == len),
        }
    }

    fn check(&self) {
        assert_eq!(self.queue.len() as usize, self.model.len());
        assert_eq!(self.queue.is_empty(), self.model.is_empty());
        let front = self.queue.front(&self.chunks);
        assert_eq!(front.is_empty(), self.model.is_empty());
        assert!(front.iter().eq(self.model.iter().take(front.len())));
        assert_eq!(
            self.nic.in_use(),
            self.chunks.frames() as usize + self.elsewhere.len()
        );
    }
}

proptest! {
    #[test]
    fn agrees_with_a_queue_of_bytes(steps in steps(), capacity in 1u32..40, read_out: bool) {
        let mut world = World {
            nic: MemoryNic::new([2; 6]),
            chunks: Chunks::new(capacity, BUFFER_LEN).unwrap(),
            queue: RxQueue::default(),
            model: VecDeque::new(),
            elsewhere: Vec::new(),
            next_byte: 0,
        };
        for step in &steps {
            world.step(step);
        }
        if read_out {
            while !world.queue.is_empty() {
                world.step(&Step::Consume(97));
            }
        } else {
            world.queue.clear(&mut world.chunks, drop);
        }
        prop_assert!(world.chunks.is_empty() && world.queue.is_empty());
        prop_assert_eq!(world.nic.in_use(), world.elsewhere.len());
    }
}

/// Queues `n` chunks of these lengths in turn, compacting after every `every`, and says how many frames are kept.
fn frames_kept(lens: &[u32], n: usize, every: usize, data_frames: usize) -> u32 {
    let nic = MemoryNic::new([2; 6]);
    let mut chunks = Chunks::new(10_000, BUFFER_LEN).unwrap();
    let mut queue = RxQueue::default();
    let mut left = data_frames;
    for (i, &len) in lens.iter().cycle().take(n).enumerate() {
        let bytes = vec![i as u8; len as usize];
        queue.push(&mut chunks, chunk(&nic, 54, &bytes)).unwrap();
        if i % every == every - 1 {
            let fresh = || {
                left = left.checked_sub(1)?;
                Some(nic.frame(&[]))
            };
            queue.compact(&mut chunks, fresh, drop);
        }
    }
    let kept = chunks.frames();
    assert_eq!(nic.in_use(), kept as usize);
    queue.clear(&mut chunks, drop);
    assert_eq!(nic.in_use(), 0);
    kept
}

#[test]
fn many_single_bytes_keep_few_frames_whenever_they_are_compacted() {
    assert_eq!(frames_kept(&[1], 5000, 1, usize::MAX), 3);
    assert_eq!(frames_kept(&[1], 5120, 64, usize::MAX), 3);
    assert_eq!(frames_kept(&[1], 5000, usize::MAX, usize::MAX), 5000);
}

#[test]
fn without_a_fresh_frame_single_bytes_share_the_first_that_came() {
    assert_eq!(frames_kept(&[1], 1000, 1, 0), 1);
}

#[test]
fn large_chunks_stay_where_they_are_and_bound_what_small_ones_between_them_cost() {
    assert_eq!(frames_kept(&[1460], 40, 1, usize::MAX), 40);
    // The worst mix: a byte, then a chunk just too large to be copied. An eighth of each buffer is in use at least.
    assert_eq!(frames_kept(&[1, BUFFER_LEN / 4], 40, 1, usize::MAX), 40);
}

#[test]
fn what_somebody_else_may_read_is_not_written_to() {
    let mut nic = MemoryNic::new([2; 6]);
    let mut chunks = Chunks::new(9, BUFFER_LEN).unwrap();
    let mut queue = RxQueue::default();
    queue.push(&mut chunks, chunk(&nic, 54, b"a")).unwrap();
    queue.compact(&mut chunks, || Some(nic.frame(&[])), drop);
    let mut taken = queue.take(&mut chunks).unwrap();
    let clone = nic.share(&mut taken.frame).unwrap();
    queue.push(&mut chunks, taken).unwrap();
    queue.compact(&mut chunks, || None, drop);
    queue.push(&mut chunks, chunk(&nic, 54, b"b")).unwrap();
    queue.compact(&mut chunks, || None, drop);
    assert_eq!((chunks.frames(), clone.bytes()), (2, &b"a"[..]));
    queue.clear(&mut chunks, drop);
}

#[test]
fn a_chunk_that_names_bytes_beyond_its_frame_reads_as_nothing() {
    let nic = MemoryNic::new([2; 6]);
    let mut chunks = Chunks::new(9, BUFFER_LEN).unwrap();
    let mut queue = RxQueue::default();
    let frame = nic.frame(b"abc");
    let beyond = Chunk {
        frame,
        start: 2,
        len: 9,
    };
    queue.push(&mut chunks, beyond).unwrap();
    queue.compact(&mut chunks, || Some(nic.frame(&[])), drop);
    assert!(queue.front(&chunks).is_empty());
    let frame = nic.frame(b"abc");
    let endless = Chunk {
        frame,
        start: 2,
        len: u32::MAX,
    };
    assert!(queue.push(&mut chunks, endless).is_err());
    assert_eq!(queue.consume(&mut chunks, 99, drop), 9);
    assert_eq!(nic.in_use(), 0);
}
