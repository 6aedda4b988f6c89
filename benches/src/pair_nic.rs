//! [`PairNic`]: one end of a link that is two queues in memory, for two workers that take turns on one core.
//!
//! It must never drop a frame, and never be cheaper to a worker than a driver: each frame is a buffer of its own, as in
//! [`crate::loop_nic`].

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use stack::nic::rss::Steering;
use stack::nic::{Burst, Caps, Frame as _, Nic, PoolClass};

use crate::loop_nic::{LoopFrame, cycles};

/// Frames in each end's pool at start: some bursts, and what one turn of a worker may keep.
const POOL_FRAMES: usize = 2048;
/// Room of each queue, so that it doesn't grow while it is measured.
const QUEUE_FRAMES: usize = 8192;

/// One end.
#[derive(Debug)]
pub struct PairNic {
    mac: [u8; 6],
    burst: usize,
    waiting: VecDeque<LoopFrame>,
    sent: VecDeque<LoopFrame>,
    pool: Vec<LoopFrame>,
    caps: Caps,
    /// The worker of this end is being measured: its calls go to functions that the instruction gate leaves out by name. The other
    /// end's calls must not: what turns collecting off inside of the measured turn turns it on outside.
    is_left_out: bool,
}

impl PairNic {
    /// An end with this link-layer address, and `burst` frames per receive call.
    #[must_use]
    pub fn new(mac: [u8; 6], burst: usize) -> Self {
        Self {
            mac,
            burst,
            waiting: VecDeque::with_capacity(QUEUE_FRAMES),
            sent: VecDeque::with_capacity(QUEUE_FRAMES),
            pool: (0..POOL_FRAMES).map(|_| LoopFrame::new()).collect(),
            caps: Caps::without_offloads("two ends in memory on one core, no NIC".into(), 1500),
            is_left_out: false,
        }
    }

    /// The same behind a link that steers so, as its worker will hear.
    #[must_use]
    pub fn with_steering(mut self, steering: Option<Arc<Steering>>) -> Self {
        self.caps.steering = steering;
        self
    }

    /// Whether the worker of this end is being measured from now on.
    pub fn set_left_out(&mut self, is_left_out: bool) {
        self.is_left_out = is_left_out;
    }

    /// Moves everything that this end has sent to the other one, and evens their pools out: frames that one side takes and
    /// the other gives back would pile up there.
    pub fn deliver(&mut self, to: &mut Self) {
        if to.waiting.is_empty() {
            core::mem::swap(&mut self.sent, &mut to.waiting);
        } else {
            to.waiting.append(&mut self.sent);
        }
        if let Some(half) = to
            .pool
            .len()
            .checked_sub(self.pool.len())
            .map(|more| more / 2)
        {
            let from = to.pool.len() - half;
            self.pool.extend(to.pool.drain(from..));
        }
    }

    /// Moves everything that this end has sent to the queues of the other one, each flow to the queue that its hash names, and what
    /// is no flow to the first; all to the first without a steering. Evens pools out as [`PairNic::deliver`] does.
    pub fn deliver_steered(&mut self, to: &mut [&mut Self], steering: Option<&Steering>) {
        if let Some(steering) = steering {
            for frame in core::mem::take(&mut self.sent) {
                let queue = flow(frame.bytes()).and_then(|(from, to)| steering.queue(from, to));
                if let Some(end) = to.get_mut(usize::from(queue.unwrap_or(0))) {
                    end.waiting.push_back(frame);
                }
            }
        }
        for end in to {
            self.deliver(end);
        }
    }

    /// Looks at what waits to be received, oldest first; for tests.
    pub fn waiting(&self) -> impl Iterator<Item = &LoopFrame> {
        self.waiting.iter()
    }
}

/// Source and destination of a TCP segment, by a reader of its own.
fn flow(frame: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let half = |at: usize| Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?));
    let l3 = if half(12)? == 0x8100 { 18 } else { 14 };
    let (from, to, l4): (IpAddr, IpAddr, usize) = match half(l3 - 2)? {
        0x0800 => {
            let address = |at: usize| Some(*frame.get(at..)?.first_chunk::<4>()?);
            (address(l3 + 12)?.into(), address(l3 + 16)?.into(), l3 + 20)
        }
        0x86dd => {
            let address = |at: usize| Some(*frame.get(at..)?.first_chunk::<16>()?);
            (address(l3 + 8)?.into(), address(l3 + 24)?.into(), l3 + 40)
        }
        _ => return None,
    };
    Some(((from, half(l4)?).into(), (to, half(l4 + 2)?).into()))
}

impl Nic for PairNic {
    type Frame = LoopFrame;

    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    #[inline]
    fn rx(&mut self, into: &mut Burst<LoopFrame>) -> usize {
        if self.is_left_out {
            self.rx_left_out(into)
        } else {
            self.receive(into)
        }
    }

    #[inline]
    fn tx(&mut self, from: &mut Burst<LoopFrame>) -> usize {
        if self.is_left_out {
            self.tx_left_out(from)
        } else {
            self.transmit(from)
        }
    }

    #[inline]
    fn alloc(&mut self, _: PoolClass, into: &mut Burst<LoopFrame>, n: usize) -> usize {
        if self.is_left_out {
            self.alloc_left_out(into, n)
        } else {
            self.take(into, n)
        }
    }

    fn share(&mut self, _: &mut LoopFrame) -> Option<LoopFrame> {
        None
    }

    #[inline]
    fn free(&mut self, from: &mut Burst<LoopFrame>) {
        if self.is_left_out {
            self.free_left_out(from);
        } else {
            self.give_back(from);
        }
    }

    fn cycles(&self) -> u64 {
        cycles()
    }
}

/// The effects of the calls.
impl PairNic {
    #[inline(never)]
    fn receive(&mut self, into: &mut Burst<LoopFrame>) -> usize {
        let mut received = 0;
        while received < self.burst
            && into.room() > 0
            && let Some(frame) = self.waiting.pop_front()
        {
            drop(into.push(frame));
            received += 1;
        }
        received
    }

    #[inline(never)]
    fn transmit(&mut self, from: &mut Burst<LoopFrame>) -> usize {
        let sent = from.len();
        self.sent.extend(from.take_front(sent));
        sent
    }

    #[inline(never)]
    fn take(&mut self, into: &mut Burst<LoopFrame>, n: usize) -> usize {
        let mut taken = 0;
        while taken < n && into.room() > 0 {
            let mut frame = self.pool.pop().unwrap_or_default();
            frame.clear();
            drop(into.push(frame));
            taken += 1;
        }
        taken
    }

    #[inline(never)]
    fn give_back(&mut self, from: &mut Burst<LoopFrame>) {
        let n = from.len();
        self.pool.extend(from.take_front(n));
    }
}

/// The same under the names that `scripts/bench-instructions` leaves out.
impl PairNic {
    #[inline(never)]
    fn rx_left_out(&mut self, into: &mut Burst<LoopFrame>) -> usize {
        self.receive(into)
    }

    #[inline(never)]
    fn tx_left_out(&mut self, from: &mut Burst<LoopFrame>) -> usize {
        self.transmit(from)
    }

    #[inline(never)]
    fn alloc_left_out(&mut self, into: &mut Burst<LoopFrame>, n: usize) -> usize {
        self.take(into, n)
    }

    #[inline(never)]
    fn free_left_out(&mut self, from: &mut Burst<LoopFrame>) {
        self.give_back(from);
    }
}
