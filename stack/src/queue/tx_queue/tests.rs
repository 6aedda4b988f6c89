//! The send queue against a naive one of bytes, and what a visit costs.

use std::collections::VecDeque;

use crate::nic::Nic;
use crate::nic::memory::{MemoryFrame, MemoryNic};
use crate::queue::pattern;
use crate::queue::tx_queue::*;
use proptest::prelude::*;

const BUFFER_LEN: u32 = 2048;

/// Registered bytes of these tests: a pure function of the place.
fn static_byte(id: u16, at: u32) -> u8 {
    (at as u8).wrapping_mul(7) ^ id as u8
}

#[derive(Debug, Clone)]
enum Step {
    Owned {
        skip: u8,
        len: u16,
    },
    Static {
        id: u16,
        start: u16,
        len: u16,
    },
    Pattern {
        start: u64,
        len: u16,
    },
    Bytes {
        len: u16,
        frames: u8,
    },
    Ack(u16),
    Visit {
        offset: u16,
        len: u16,
    },
    /// Sends on from where the last one ended, a segment at a time.
    Send(u16),
    Share,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (any::<u8>(), 0u16..600).prop_map(|(skip, len)| Step::Owned { skip, len }),
        (any::<u16>(), any::<u16>(), 0u16..600).prop_map(|(id, start, len)| Step::Static {
            id,
            start,
            len
        }),
        (any::<u64>(), 0u16..3000).prop_map(|(start, len)| Step::Pattern { start, len }),
        (0u16..5000, 0u8..4).prop_map(|(len, frames)| Step::Bytes { len, frames }),
        (0u16..1500).prop_map(Step::Ack),
        (0u16..4000, 0u16..1500).prop_map(|(offset, len)| Step::Visit { offset, len }),
        (0u16..1500).prop_map(Step::Send),
        Just(Step::Share),
    ];
    prop::collection::vec(step, 1..80)
}

/// The queue, its model, and the NIC whose frames are counted.
struct World {
    nic: MemoryNic,
    chunks: Chunks<MemoryFrame>,
    queue: TxQueue,
    model: VecDeque<u8>,
    /// Offset behind what was sent last.
    sent: u32,
    /// Clones that the NIC holds: what they share can't be written to.
    in_flight: Vec<MemoryFrame>,
}

impl World {
    fn new(capacity: u32) -> Self {
        Self {
            nic: MemoryNic::new([2; 6]),
            chunks: Chunks::new(capacity, BUFFER_LEN).unwrap(),
            queue: TxQueue::default(),
            model: VecDeque::new(),
            sent: 0,
            in_flight: Vec::new(),
        }
    }

    fn push(&mut self, item: TxItem<MemoryFrame>, bytes: Vec<u8>) {
        let room = self.chunks.free_len() > 0;
        let pushed = self.queue.push(&mut self.chunks, item).is_ok();
        assert_eq!(pushed, room && !bytes.is_empty());
        if pushed {
            self.model.extend(bytes);
        }
    }

    /// The bytes of a part, by visiting.
    fn read(&mut self, offset: u32, len: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let visited = self.queue.visit(&mut self.chunks, offset, len, |piece| {
            let before = bytes.len();
            let named = match piece {
                Piece::Frame { frame, start, len } => {
                    bytes.extend_from_slice(&frame.bytes()[start as usize..][..len as usize]);
                    len
                }
                Piece::Static { id, start, len } => {
                    bytes.extend((start..start + len).map(|at| static_byte(id.0, at)));
                    len
                }
                Piece::Pattern { start, len } => {
                    bytes.extend(
                        (0..len).map(|i| pattern::byte_at(start.wrapping_add(u64::from(i)))),
                    );
                    len
                }
            };
            assert!(named > 0, "an empty piece");
            assert_eq!(bytes.len() - before, named as usize);
        });
        assert_eq!(visited as usize, bytes.len());
        bytes
    }

    fn check(&mut self, offset: u32, len: u32) {
        let read = self.read(offset, len);
        let expected: Vec<u8> = self
            .model
            .iter()
            .skip(offset as usize)
            .take(len as usize)
            .copied()
            .collect();
        assert_eq!(read, expected);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Owned { skip, len } => {
                let all: Vec<u8> = (0..u16::from(skip) + len).map(|i| (i * 3) as u8).collect();
                let frame = self.nic.frame(&all);
                let (start, len) = (u32::from(skip), u32::from(len));
                self.push(
                    TxItem::Owned { frame, start, len },
                    all[usize::from(skip)..].to_vec(),
                );
            }
            Step::Static { id, start, len } => {
                let (start, len) = (u32::from(start), u32::from(len));
                let bytes = (start..start + len).map(|at| static_byte(id, at)).collect();
                let id = StaticId(id);
                self.push(TxItem::Static { id, start, len }, bytes);
            }
            Step::Pattern { start, len } => {
                let bytes = (0..u64::from(len))
                    .map(|i| pattern::byte_at(start.wrapping_add(i)))
                    .collect();
                let len = u64::from(len);
                self.push(TxItem::Pattern { start, len }, bytes);
            }
            Step::Bytes { len, frames } => self.push_bytes(len, frames),
            Step::Ack(len) => {
                let acked = usize::from(len).min(self.model.len());
                self.model.drain(..acked);
                self.queue.ack(&mut self.chunks, len.into(), drop);
                self.sent = self.sent.saturating_sub(acked as u32);
            }
            Step::Visit { offset, len } => self.check(offset.into(), len.into()),
            Step::Send(len) => {
                self.check(self.sent, len.into());
                let left = self.queue.len() as u32 - self.sent;
                self.sent += left.min(len.into());
            }
            Step::Share => self.share_last(),
        }
        assert_eq!(self.queue.len(), self.model.len() as u64);
        assert_eq!(self.queue.is_empty(), self.model.is_empty());
        assert_eq!(
            self.nic.in_use(),
            self.chunks.frames() as usize + self.in_flight.len(),
            "each frame stands in one node"
        );
    }

    fn push_bytes(&mut self, len: u16, frames: u8) {
        let bytes: Vec<u8> = (0..len).map(|i| (i ^ 0x55) as u8).collect();
        let Self { nic, chunks, .. } = self;
        let mut left = frames;
        let taken = self.queue.push_bytes(chunks, &bytes, || {
            left = left.checked_sub(1)?;
            Some(nic.frame(&[]))
        });
        let fits = usize::from(frames).min(self.chunks.capacity() as usize) * BUFFER_LEN as usize;
        assert!(taken <= bytes.len() && taken <= fits + BUFFER_LEN as usize);
        if left > 0 && self.queue.may_grow(&self.chunks) {
            assert_eq!(taken, bytes.len(), "there was room");
        }
        self.model.extend(&bytes[..taken]);
    }

    /// The NIC takes a reference to the last frame, as for a segment in flight.
    fn share_last(&mut self) {
        let Self {
            nic,
            chunks,
            queue,
            in_flight,
            ..
        } = self;
        let Some(last) = queue.len().checked_sub(1) else {
            return;
        };
        queue.visit(chunks, last as u32, 1, |piece| {
            if let Piece::Frame { frame, .. } = piece {
                in_flight.extend(nic.share(frame));
            }
        });
    }
}

proptest! {
    #[test]
    fn agrees_with_a_queue_of_bytes(steps in steps(), capacity in 1u32..24, all_acked: bool) {
        let mut world = World::new(capacity);
        for step in &steps {
            world.step(step);
        }
        world.check(0, u32::MAX);
        let World { nic, mut chunks, mut queue, in_flight, model, .. } = world;
        drop(in_flight);
        if all_acked {
            queue.ack(&mut chunks, model.len() as u32, drop);
        } else {
            queue.clear(&mut chunks, drop);
        }
        prop_assert!(chunks.is_empty() && queue.is_empty());
        prop_assert_eq!((nic.in_use(), chunks.frames()), (0, 0));
    }
}

/// Puts `n` items of `len` bytes into a queue.
fn queue_of(n: u32, len: u32) -> (Chunks<MemoryFrame>, TxQueue) {
    let mut chunks = Chunks::new(n, BUFFER_LEN).unwrap();
    let mut queue = TxQueue::default();
    for i in 0..n {
        let (id, start) = (StaticId(0), i * len);
        queue
            .push(&mut chunks, TxItem::Static { id, start, len })
            .unwrap();
    }
    (chunks, queue)
}

#[test]
fn sending_on_starts_at_the_cursor_although_old_bytes_are_sent_again_meanwhile() {
    let (mut chunks, mut queue) = queue_of(1000, 10);
    for segment in 0..100 {
        queue.visit(&mut chunks, 5000 + segment * 10, 10, |_| {});
        assert_eq!(queue.ahead.offset, 5000 + segment * 10);
        queue.visit(&mut chunks, 1000 + segment * 10, 10, |_| {});
        assert_eq!(queue.behind.offset, 1000 + segment * 10);
    }
    // A walk from the head would end at once, and panic.
    let second = chunks.next(queue.head);
    chunks.set_next(queue.head, Link::NONE);
    assert_eq!(queue.visit(&mut chunks, 6000, 15, |_| {}), 15);
    assert_eq!(queue.visit(&mut chunks, 1990, 9, |_| {}), 9);
    chunks.set_next(queue.head, second);
    queue.ack(&mut chunks, 1995, drop);
    assert_eq!(
        queue.ahead.offset,
        6010 - 1995,
        "the cursor goes with the bytes"
    );
    assert!(queue.behind.node.is_none(), "its node is the head now");
    let mut first = None;
    queue.visit(&mut chunks, 0, 1, |piece| {
        if let Piece::Static { start, .. } = piece {
            first = Some(start);
        }
    });
    assert_eq!(first, Some(1995));
}

#[test]
fn one_item_may_be_longer_than_any_window() {
    let mut chunks: Chunks<MemoryFrame> = Chunks::new(2, BUFFER_LEN).unwrap();
    let mut queue = TxQueue::default();
    let (start, len) = (5, u64::MAX - 3);
    queue
        .push(&mut chunks, TxItem::Pattern { start, len })
        .unwrap();
    let more = TxItem::Pattern { start: 0, len: 4 };
    assert!(
        queue.push(&mut chunks, more).is_err(),
        "the length would overflow"
    );
    for _ in 0..3 {
        queue.ack(&mut chunks, u32::MAX, drop);
    }
    assert_eq!(queue.len(), len - 3 * u64::from(u32::MAX));
    let mut seen = Vec::new();
    queue.visit(&mut chunks, u32::MAX, u32::MAX, |piece| {
        if let Piece::Pattern { start, len } = piece {
            seen.push((start, len));
        }
    });
    assert_eq!(seen, [(5 + 4 * u64::from(u32::MAX), u32::MAX)]);
}

#[test]
fn what_names_no_byte_or_none_that_can_be_named_is_refused() {
    let mut chunks: Chunks<MemoryFrame> = Chunks::new(9, BUFFER_LEN).unwrap();
    let mut queue = TxQueue::default();
    let id = StaticId(0);
    let refused = [
        TxItem::Static {
            id,
            start: 0,
            len: 0,
        },
        TxItem::Static {
            id,
            start: 2,
            len: u32::MAX - 1,
        },
        TxItem::Pattern { start: 0, len: 0 },
    ];
    for item in refused {
        assert!(queue.push(&mut chunks, item).is_err());
    }
    assert_eq!((queue.len(), chunks.len()), (0, 0));
}

#[test]
fn small_sends_share_a_frame_unless_it_is_in_flight() {
    let nic = MemoryNic::new([2; 6]);
    let mut world = World::new(100);
    for _ in 0..100 {
        let sent = world
            .queue
            .push_bytes(&mut world.chunks, &[1; 20], || Some(nic.frame(&[])));
        assert_eq!(sent, 20);
    }
    assert_eq!(world.chunks.frames(), 1);
    world.share_last();
    let sent = world
        .queue
        .push_bytes(&mut world.chunks, &[2; 20], || Some(nic.frame(&[])));
    assert_eq!((sent, world.chunks.frames()), (20, 2));
}

#[test]
fn the_bytes_of_a_frame_are_found_where_it_is_all_there_is() {
    let nic = MemoryNic::new([2; 6]);
    let World {
        mut chunks,
        mut queue,
        ..
    } = World::new(100);
    assert_eq!(queue.sole_frame_bytes(&chunks), None);
    let push = |queue: &mut TxQueue, chunks: &mut Chunks<_>, byte| {
        queue.push_bytes(chunks, &[byte; 20], || Some(nic.frame(&[])))
    };
    assert_eq!(push(&mut queue, &mut chunks, 1), 20);
    assert_eq!(queue.sole_frame_bytes(&chunks), Some(&[1; 20][..]));
    queue.ack(&mut chunks, 15, drop);
    assert_eq!(queue.sole_frame_bytes(&chunks), Some(&[1; 5][..]));
    let (id, start, len) = (StaticId(0), 0, 9);
    let item = TxItem::Static { id, start, len };
    assert!(queue.push(&mut chunks, item).is_ok());
    assert_eq!(queue.sole_frame_bytes(&chunks), None, "two items");
    queue.ack(&mut chunks, 5, drop);
    assert_eq!(queue.sole_frame_bytes(&chunks), None, "registered bytes");
}
