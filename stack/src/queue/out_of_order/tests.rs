//! Bytes held behind gaps against a naive map of bytes, driven by the TCP core's own memory of ranges; and what held
//! bytes cost.

use std::collections::{BTreeMap, VecDeque};

use crate::nic::memory::{MemoryFrame, MemoryNic};
use crate::nic::{Frame, Nic};
use crate::queue::out_of_order::*;
use crate::tcp::reassembly::{InsertOutcome, RANGES_MAX, Range, Reassembly};
use proptest::prelude::*;

const BUFFER_LEN: u32 = 2048;

/// A connection's receiving side: the core's ranges and our bytes, as the worker puts them together.
struct World {
    nic: MemoryNic,
    chunks: Chunks<MemoryFrame>,
    held: OutOfOrder,
    queue: RxQueue,
    ranges: Reassembly,
    rcv_nxt: SeqNum,
    /// Held bytes by distance from `base`, and delivered ones.
    model: BTreeMap<u32, u8>,
    delivered: VecDeque<u8>,
    base: SeqNum,
    /// Frames that the data pool still has.
    data_frames: usize,
    elsewhere: Vec<MemoryFrame>,
}

impl World {
    fn new(base: u32, capacity: u32, data_frames: usize) -> Self {
        Self {
            nic: MemoryNic::new([2; 6]),
            chunks: Chunks::new(capacity, BUFFER_LEN).unwrap(),
            held: OutOfOrder::default(),
            queue: RxQueue::default(),
            ranges: Reassembly::default(),
            rcv_nxt: SeqNum(base),
            model: BTreeMap::new(),
            delivered: VecDeque::new(),
            base: SeqNum(base),
            data_frames,
            elsewhere: Vec::new(),
        }
    }

    /// A segment with these bytes arrives, `ahead` of RCV.NXT.
    fn arrive(&mut self, ahead: u32, bytes: &[u8], shared: bool) {
        if self.chunks.free_len() == 0 || bytes.is_empty() {
            return;
        }
        let mut all = vec![0xee; 54];
        all.extend_from_slice(bytes);
        let mut frame = self.nic.frame(&all);
        if shared {
            self.elsewhere.extend(self.nic.share(&mut frame));
        }
        let seq = self.rcv_nxt.add(ahead);
        if ahead == 0 {
            self.arrive_in_order(frame, bytes);
            return;
        }
        let end = seq.add(bytes.len() as u32);
        let InsertOutcome::New(taken) = self.ranges.insert(Range { start: seq, end }) else {
            return;
        };
        let skip = taken.start.since(seq);
        let len = taken.end.since(taken.start);
        let start = 54 + skip;
        let chunk = Chunk { frame, start, len };
        let Self { nic, chunks, .. } = self;
        let left = &mut self.data_frames;
        let fresh = || {
            *left = left.checked_sub(1)?;
            Some(nic.frame(&[]))
        };
        self.held
            .insert(chunks, taken.start, chunk, fresh, drop)
            .unwrap();
        for i in 0..len {
            let at = taken.start.add(i).since(self.base);
            self.model.insert(at, bytes[(skip + i) as usize]);
        }
    }

    fn arrive_in_order(&mut self, frame: MemoryFrame, bytes: &[u8]) {
        let len = bytes.len() as u32;
        let start = 54;
        self.queue
            .push(&mut self.chunks, Chunk { frame, start, len })
            .unwrap();
        let delivered = self.rcv_nxt.add(len);
        let released = self.ranges.advance(delivered);
        let up_to = delivered.add(released);
        self.held
            .release(&mut self.chunks, delivered, up_to, &mut self.queue, drop);
        self.delivered.extend(bytes);
        for at in delivered.since(self.base)..up_to.since(self.base) {
            self.delivered.push_back(self.model[&at]);
        }
        self.rcv_nxt = up_to;
        let behind = self.model.split_off(&up_to.since(self.base));
        self.model = behind;
    }

    fn check(&self) {
        assert_eq!(self.held.len() as usize, self.model.len());
        assert_eq!(self.held.is_empty(), self.model.is_empty());
        assert_eq!(self.queue.len() as usize, self.delivered.len());
        assert_eq!(
            self.nic.in_use(),
            self.chunks.frames() as usize + self.elsewhere.len()
        );
        // The runs are the core's ranges, and their nodes hold the model's bytes.
        let mut runs = Vec::new();
        let mut first = self.held.head;
        while let Some(run) = self.chunks.held(first) {
            let (mut node, mut at) = (first, run.seq);
            loop {
                let held = self.chunks.held(node).unwrap();
                assert_eq!(held.seq, at);
                for (i, byte) in bytes_of(held).iter().enumerate() {
                    assert_eq!(self.model[&at.add(i as u32).since(self.base)], *byte);
                }
                at = at.add(held.len);
                if node == run.run_last {
                    break;
                }
                node = self.chunks.next(node);
            }
            let (start, end) = (run.seq, at);
            runs.push(Range { start, end });
            first = self.chunks.next(run.run_last);
        }
        assert_eq!(runs, self.ranges.ranges());
    }

    fn read_all(&mut self) {
        while let Some(Chunk { frame, start, len }) = self.queue.take(&mut self.chunks) {
            let bytes = &frame.bytes()[start as usize..][..len as usize];
            let expected: Vec<u8> = self.delivered.drain(..len as usize).collect();
            assert_eq!(bytes, expected);
        }
    }
}

proptest! {
    #[test]
    fn agrees_with_a_map_of_bytes(
        base in prop_oneof![any::<u32>(), (u32::MAX - 3000)..=u32::MAX],
        segments in prop::collection::vec(
            (
                prop_oneof![1 => Just(0u32), 4 => 0u32..40, 2 => 0u32..4000],
                prop_oneof![3 => 1usize..9, 1 => 1usize..1460],
                any::<u8>(),
                prop::bool::weighted(0.05),
            ),
            1..160,
        ),
        capacity in 1u32..60,
        data_frames in prop_oneof![Just(0usize), 0usize..20, Just(usize::MAX)],
        read_between: bool,
    ) {
        let mut world = World::new(base, capacity, data_frames);
        for (ahead, len, fill, shared) in segments {
            let bytes: Vec<u8> = (0..len).map(|i| fill.wrapping_add(i as u8)).collect();
            world.arrive(ahead, &bytes, shared);
            world.check();
            if read_between {
                world.read_all();
            }
        }
        world.read_all();
        prop_assert_eq!(world.chunks.len(), world.chunks.frames());
        world.held.clear(&mut world.chunks, drop);
        prop_assert!(world.chunks.is_empty() && world.held.is_empty());
        prop_assert_eq!(world.nic.in_use(), world.elsewhere.len());
    }
}

/// Single bytes arrive at these distances from RCV.NXT; says how many frames are kept for how many bytes.
fn frames_for(distances: impl Iterator<Item = u32>) -> (u32, u32) {
    let mut world = World::new(7, 100_000, usize::MAX);
    for ahead in distances {
        world.arrive(ahead, &[ahead as u8], false);
    }
    world.check();
    let kept = (world.chunks.frames(), world.held.len());
    world.held.clear(&mut world.chunks, drop);
    assert_eq!(world.nic.in_use(), 0);
    kept
}

#[test]
fn single_bytes_behind_a_gap_share_frames_in_whatever_order_they_come() {
    assert_eq!(frames_for(1..=4096), (2, 4096), "rising");
    assert_eq!(frames_for((1..=4096).rev()), (2, 4096), "falling");
    // As many gaps as the core allows open and close, over and over.
    let gaps = RANGES_MAX as u32;
    let comb = (0..64).flat_map(|tooth| {
        let from = 1 + tooth * 2 * gaps;
        let odd = (0..gaps).map(move |i| from + 2 * i);
        odd.chain((0..gaps).map(move |i| from + 2 * i + 1))
    });
    let (frames, len) = frames_for(comb);
    assert!(
        len == 2048 && frames <= 2 * len.div_ceil(BUFFER_LEN / 4),
        "{frames} frames for {len} bytes"
    );
}

#[test]
fn newer_bytes_in_order_win_over_held_ones() {
    let mut world = World::new(u32::MAX - 2, 9, usize::MAX);
    world.arrive(3, b"DEF", false);
    world.arrive(8, b"I", false);
    world.arrive(0, b"abcd", false);
    world.check();
    assert_eq!(world.delivered, *b"abcdEF");
    world.arrive(0, b"ghi", false);
    world.check();
    assert!(world.held.is_empty(), "wholly overtaken");
    world.read_all();
    assert_eq!(world.nic.in_use(), 0);
}

#[test]
fn a_full_slab_hands_the_chunk_back() {
    let mut world = World::new(0, 1, usize::MAX);
    world.arrive(5000, &[1; 1000], false);
    let frame = world.nic.frame(b"x");
    let (start, len) = (0, 1);
    let chunk = Chunk { frame, start, len };
    let refused = world
        .held
        .insert(&mut world.chunks, SeqNum(9), chunk, || None, drop);
    assert!(refused.is_err_and(|chunk| chunk.len == 1));
    world.check();
}

#[test]
fn a_run_that_is_released_in_part_still_knows_its_end() {
    let mut world = World::new(0, 9, usize::MAX);
    for ahead in [1000, 2000, 3000] {
        world.arrive(ahead, &[ahead as u8; 1000], false);
    }
    let World {
        chunks,
        held,
        queue,
        nic,
        ..
    } = &mut world;
    held.release(chunks, SeqNum(1000), SeqNum(2000), queue, drop);
    assert_eq!((queue.len(), held.len()), (1000, 2000));
    let frame = nic.frame(&[4; 1000]);
    let (start, len) = (0, 1000);
    let behind = Chunk { frame, start, len };
    held.insert(chunks, SeqNum(4000), behind, || None, drop)
        .unwrap();
    held.release(chunks, SeqNum(2000), SeqNum(5000), queue, drop);
    assert_eq!((queue.len(), held.len()), (4000, 0));
    queue.clear(chunks, drop);
    assert_eq!(nic.in_use(), 0);
}
