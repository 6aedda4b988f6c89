//! [`Faults`]: what stands between a queue pair and its worker when the link is to be a bad one.
//!
//! It must never keep a frame that is not counted: what it holds is in its lanes or in its bursts, all bounded, and is
//! freed with it.

use nic::fault::{FaultCounts, FaultLane, FaultSpec, LaneConfig};
use nic::{Burst, Frame as _};

use crate::Mempool;
use crate::mbuf::Mbuf;
use crate::queue::{RxQueue, TxQueue, alloc};

/// Counts of the faults that were injected into the frames of a queue pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FaultTotals {
    /// Frames from the link.
    pub rx: FaultCounts,
    /// Frames to the link.
    pub tx: FaultCounts,
    /// Frames that were still held when the totals were asked for.
    pub held: usize,
}

/// The faults of one queue pair.
#[derive(Debug)]
pub(crate) struct Faults {
    rx: FaultLane<Mbuf>,
    tx: FaultLane<Mbuf>,
    /// Received just now, on the way into the lane.
    arriving: Burst<Mbuf>,
    /// Out of the lane, and refused by the driver.
    leaving: Burst<Mbuf>,
}

impl Faults {
    /// Lanes for both directions of queue `queue`.
    pub(crate) fn new(spec: &FaultSpec, queue: u16, ticks_hz: u64, tx_offloads: bool) -> Self {
        let lane = |direction, checksums_come_later| {
            let config = LaneConfig {
                lane: u64::from(queue) * 2 + direction,
                ticks_hz,
                checksums_come_later,
            };
            FaultLane::new(spec, &config)
        };
        Self {
            rx: lane(0, false),
            tx: lane(1, tx_offloads),
            arriving: Burst::new(),
            leaving: Burst::new(),
        }
    }

    /// As [`RxQueue::burst`]. Whatever is due on the other direction leaves too: a worker that has nothing to send still
    /// comes here.
    #[cold]
    #[inline(never)]
    pub(crate) fn rx(
        &mut self,
        (rx, tx): (&mut RxQueue, &mut TxQueue),
        pool: &Mempool,
        into: &mut Burst<Mbuf>,
    ) -> usize {
        let now_ticks = crate::cycles();
        if self.rx.has_room() {
            rx.burst(&mut self.arriving);
            self.rx
                .admit(&mut self.arriving, now_ticks, |frame| copy(pool, frame));
        }
        self.send_due(tx, now_ticks);
        self.rx.release(now_ticks, into)
    }

    /// As [`TxQueue::burst`]: what the lane takes counts as accepted.
    #[cold]
    #[inline(never)]
    pub(crate) fn tx(&mut self, tx: &mut TxQueue, pool: &Mempool, from: &mut Burst<Mbuf>) -> usize {
        let now_ticks = crate::cycles();
        let taken = self.tx.admit(from, now_ticks, |frame| copy(pool, frame));
        self.send_due(tx, now_ticks);
        taken
    }

    fn send_due(&mut self, tx: &mut TxQueue, now_ticks: u64) {
        loop {
            self.tx.release(now_ticks, &mut self.leaving);
            if self.leaving.is_empty() || tx.burst(&mut self.leaving) == 0 {
                break;
            }
        }
    }

    /// The counts so far.
    pub(crate) fn totals(&self) -> FaultTotals {
        FaultTotals {
            rx: *self.rx.counts(),
            tx: *self.tx.counts(),
            held: self.rx.held() + self.tx.held() + self.leaving.len(),
        }
    }
}

/// The same bytes in one buffer that is ours alone, with the same offload requests and verdicts.
fn copy(pool: &Mempool, frame: &Mbuf) -> Option<Mbuf> {
    let mut burst = Burst::new();
    alloc(pool, &mut burst, 1);
    let mut copy = burst.take_front(1).next()?;
    copy.set_len(frame.total_len()).ok()?;
    frame.copy_out(0, copy.bytes_mut()?);
    copy.take_offloads_of(frame);
    Some(copy)
}
