//! A NIC of your own: one end of a cable of two channels. `cargo run -p syncline-nic --example cable` moves a frame from end to end.
#![forbid(unsafe_code)]
use std::sync::mpsc::{Receiver, Sender, channel};

use nic::memory::{MemoryFrame, MemoryNic};
use nic::{Burst, Caps, Frame, Nic, PoolClass};

struct CableEnd {
    /// Buffers, capabilities, and the cycle counter. A NIC with buffers of its own has a [`Frame`] of its own.
    pool: MemoryNic,
    sent: Sender<Vec<u8>>,
    received: Receiver<Vec<u8>>,
}

impl Nic for CableEnd {
    type Frame = MemoryFrame;

    fn caps(&self) -> &Caps {
        self.pool.caps()
    }
    fn mac(&self) -> [u8; 6] {
        self.pool.mac()
    }
    fn rx(&mut self, into: &mut Burst<MemoryFrame>) -> usize {
        let before = into.len();
        while into.room() > 0
            && let Ok(bytes) = self.received.try_recv()
        {
            // There is room, so the burst takes it.
            let _ = into.push(self.pool.frame(&bytes));
        }
        into.len() - before
    }
    fn tx(&mut self, from: &mut Burst<MemoryFrame>) -> usize {
        let accepted = from.len();
        for frame in from.take_front(accepted) {
            // A cable whose other end is gone loses frames, as a real one does.
            let _ = self.sent.send(frame.to_vec());
        }
        accepted
    }
    fn alloc(&mut self, class: PoolClass, into: &mut Burst<MemoryFrame>, n: usize) -> usize {
        self.pool.alloc(class, into, n)
    }
    fn share(&mut self, frame: &mut MemoryFrame) -> Option<MemoryFrame> {
        self.pool.share(frame)
    }
    fn cycles(&self) -> u64 {
        self.pool.cycles()
    }
}

fn cable() -> [CableEnd; 2] {
    let ((to_b, from_a), (to_a, from_b)) = (channel(), channel());
    let end = |n, sent, received| CableEnd {
        pool: MemoryNic::new([2, 0, 0, 0, 0, n]),
        sent,
        received,
    };
    [end(1, to_b, from_b), end(2, to_a, from_a)]
}

fn main() {
    let [mut a, mut b] = cable();
    let mut frame = a.alloc_one(PoolClass::Control).expect("an empty pool");
    frame.set_len(60).expect("a buffer has 2048 bytes");
    frame.bytes_mut().expect("a frame of our own")[..6].copy_from_slice(&b.mac());
    let mut burst = Burst::new();
    burst.push(frame).expect("an empty burst");
    assert_eq!(a.tx(&mut burst), 1);
    assert_eq!(b.rx(&mut burst), 1);
    assert_eq!(burst.as_slice()[0].bytes()[..6], b.mac());
    println!("a frame of 60 bytes came through");
}
