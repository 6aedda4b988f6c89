//! [`SimNic`]: one queue pair of a simulated port, as unhelpful as NICs are allowed to be.
//!
//! It must never be kinder than real hardware: sent frames stay its own for some bursts, TX takes what it likes, rings
//! and pools end, received frames come shared and in pieces, offloads do what was asked and nothing else.

use core::hash::Hasher as _;
use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;

use super::frame::{Pool, SimFrame};
use super::{inspect, lro, tso};
use crate::nic::rss::Steering;
use crate::nic::{Burst, Caps, ChecksumVerdict, Frame, Nic, PoolClass, RxChecksum, TxRequest};
use crate::rng::Random;

/// Frames that one pool of a host holds, all queues together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSizes {
    /// Frames received.
    pub rx: usize,
    /// [`PoolClass::Control`], and references of [`Nic::chain`].
    pub control: usize,
    /// [`PoolClass::Data`].
    pub data: usize,
}

/// How a port behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicSpec {
    /// Largest IP packet, in bytes; at most 2,034, so that a frame fits a buffer.
    pub mtu: u16,
    /// Verifies received checksums.
    pub rx_checksum: bool,
    /// Of the frames that come without that being asked for, those whose buffer still says that both checksums of an older
    /// frame were good, in parts per million.
    pub stale_good_ppm: u32,
    /// Fills in checksums when asked.
    pub tx_checksum: bool,
    /// Sends chained frames.
    pub multi_seg: bool,
    /// Buffers at most of a frame that it cuts into segments; 0 where it cuts none.
    pub tso_buffers: u16,
    /// Segments at most that it puts together into a large one (LRO); 0 where it puts none together.
    pub lro_segments: u16,
    /// How it says that it steers received segments to its queues; [`super::host::Spread`] is what it does.
    pub steering: Option<Arc<Steering>>,
    /// Pools.
    pub pools: PoolSizes,
    /// Received frames that wait per queue, at most.
    pub rx_ring: u16,
    /// Sent frames that a queue holds, at most.
    pub tx_ring: u16,
    /// Sent frames stay held for up to this many bursts.
    pub held_bursts: u8,
    /// TX calls that accept only a random part of the burst (or nothing), in parts per million.
    pub refuse_ppm: u32,
    /// Received frames that have another reader for some bursts, in parts per million.
    pub share_ppm: u32,
    /// Received frames that come in several buffers, in parts per million.
    pub chain_ppm: u32,
}

impl Default for NicSpec {
    /// A plain Ethernet port that behaves.
    fn default() -> Self {
        Self {
            mtu: 1500,
            rx_checksum: false,
            stale_good_ppm: 0,
            tx_checksum: false,
            multi_seg: true,
            tso_buffers: 0,
            lro_segments: 0,
            steering: None,
            pools: PoolSizes {
                rx: 2048,
                control: 1024,
                data: 2048,
            },
            rx_ring: 512,
            tx_ring: 512,
            held_bursts: 0,
            refuse_ppm: 0,
            share_ppm: 0,
            chain_ppm: 0,
        }
    }
}

/// The pools of one host, which all its queues share.
#[derive(Debug, Clone)]
pub struct Pools {
    /// Received frames.
    pub rx: Arc<Pool>,
    /// Control frames.
    pub control: Arc<Pool>,
    /// Data frames.
    pub data: Arc<Pool>,
}

impl Pools {
    pub(super) fn new(sizes: PoolSizes) -> Self {
        Self {
            rx: Pool::new(sizes.rx),
            control: Pool::new(sizes.control),
            data: Pool::new(sizes.data),
        }
    }

    /// Buffers in use, all pools together.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.rx.in_use() + self.control.in_use() + self.data.in_use()
    }
}

/// The counts of frames at one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueCounters {
    /// Frames that the worker has received.
    pub received: u64,
    /// Frames that came while the ring was full.
    pub rx_ring_full: u64,
    /// Frames that came while the pool was empty.
    pub rx_pool_empty: u64,
    /// Frames that came shared.
    pub rx_shared: u64,
    /// Frames that came in several buffers.
    pub rx_chained: u64,
    /// Frames accepted for sending.
    pub sent: u64,
    /// Frames accepted that were chains.
    pub sent_chained: u64,
    /// Frames accepted that were cut into segments.
    pub sent_cut: u64,
    /// TX calls that left something behind.
    pub tx_refused: u64,
    /// Buffers asked for and not given.
    pub alloc_failed: u64,
}

/// A frame that the hardware still reads.
#[derive(Debug)]
struct Held {
    frame: SimFrame,
    /// Of its bytes when it was accepted; `None` for a received frame that is merely shared.
    digest: Option<u64>,
    until_burst: u64,
}

/// One queue pair.
#[derive(Debug)]
pub struct SimNic {
    caps: Caps,
    spec: NicSpec,
    mac: [u8; 6],
    pools: Pools,
    random: Random,
    ring: VecDeque<SimFrame>,
    wire: Vec<Vec<u8>>,
    held: VecDeque<Held>,
    burst: u64,
    left_behind: bool,
    cycles: core::cell::Cell<u64>,
    counters: QueueCounters,
    violations: Vec<String>,
}

impl SimNic {
    pub(super) fn new(spec: &NicSpec, mac: [u8; 6], pools: &Pools, random: Random) -> Self {
        let caps = Caps {
            rx_ipv4_checksum: spec.rx_checksum,
            rx_tcp_checksum: spec.rx_checksum,
            tx_ipv4_checksum: spec.tx_checksum,
            tx_tcp_checksum: spec.tx_checksum,
            tx_multi_seg: spec.multi_seg,
            tso_buffers: spec.tso_buffers,
            rx_scatter: spec.chain_ppm > 0 || spec.lro_segments > 0,
            lro: spec.lro_segments > 0,
            steering: spec.steering.clone(),
            ..Caps::without_offloads("simulated link, no NIC".into(), spec.mtu)
        };
        Self {
            caps,
            spec: spec.clone(),
            mac,
            pools: pools.clone(),
            random,
            ring: VecDeque::new(),
            wire: Vec::new(),
            held: VecDeque::new(),
            burst: 0,
            left_behind: false,
            cycles: core::cell::Cell::new(0),
            counters: QueueCounters::default(),
            violations: Vec::new(),
        }
    }

    /// The counts so far.
    #[must_use]
    pub fn counters(&self) -> &QueueCounters {
        &self.counters
    }

    /// The hardware takes bytes from the wire. False when there was no place for them.
    pub(super) fn deliver(&mut self, bytes: &[u8]) -> bool {
        if self.ring.len() >= usize::from(self.spec.rx_ring) {
            self.counters.rx_ring_full += 1;
            return false;
        }
        let chained = bytes.len() > 1 && self.random.hits(self.spec.chain_ppm);
        let frame = if chained {
            let cut = self.random.within(1..=bytes.len() as u64 - 1) as usize;
            SimFrame::chained(&self.pools.rx, bytes, cut)
        } else {
            SimFrame::new(&self.pools.rx, bytes)
        };
        let Some(mut frame) = frame else {
            self.counters.rx_pool_empty += 1;
            return false;
        };
        self.counters.rx_chained += u64::from(chained);
        if self.spec.rx_checksum {
            frame.set_rx_checksum(verdict(bytes));
        } else if self.random.hits(self.spec.stale_good_ppm) {
            let good = ChecksumVerdict::Good;
            frame.set_rx_checksum(RxChecksum { ip: good, l4: good });
        }
        if self.random.hits(self.spec.share_ppm) {
            self.counters.rx_shared += 1;
            let frame = frame.second_owner();
            let until_burst = self.burst + self.random.within(1..=8);
            self.held.push_back(Held {
                frame,
                digest: None,
                until_burst,
            });
        }
        self.ring.push_back(frame);
        true
    }

    /// The next frame of the ring, with the segments that it puts behind it.
    fn next_received(&mut self) -> Option<SimFrame> {
        let mut frame = self.ring.pop_front()?;
        for _ in 1..self.spec.lro_segments {
            let Some(next) = self.ring.pop_front() else {
                break;
            };
            if let Err(next) = lro::join(&mut frame, next) {
                self.ring.push_front(next);
                break;
            }
        }
        Some(frame)
    }

    /// The frames that went out on the wire since the last call.
    pub(super) fn take_wire(&mut self) -> Vec<Vec<u8>> {
        core::mem::take(&mut self.wire)
    }

    pub(super) fn take_violations(&mut self) -> Vec<String> {
        core::mem::take(&mut self.violations)
    }

    /// Frames wait to be received.
    pub(super) fn has_received(&self) -> bool {
        !self.ring.is_empty()
    }

    /// Whether the worker had frames since the last call that it could not send.
    pub(super) fn take_left_behind(&mut self) -> bool {
        core::mem::take(&mut self.left_behind)
    }

    /// Ends all transmissions, as time does.
    pub(super) fn complete_all(&mut self) {
        self.burst = u64::MAX;
        self.complete();
        self.burst = 0;
    }

    /// Everything is off: what waits to be received is gone too.
    pub(super) fn power_off(&mut self) {
        self.ring.clear();
        self.complete_all();
    }

    /// Frees what the hardware has read, oldest first as a ring does, and checks that it was not written to.
    fn complete(&mut self) {
        while let Some(held) = self.held.front()
            && held.until_burst <= self.burst
        {
            if held.digest.is_some_and(|was| was != digest(&held.frame)) {
                self.violations
                    .push("a frame was rewritten while the NIC was sending it".into());
            }
            self.held.pop_front();
        }
    }

    fn begin_burst(&mut self) {
        self.burst += 1;
        self.complete();
    }

    /// The bytes that leave for an accepted frame: with the checksums that were asked for.
    fn transmit(&mut self, frame: SimFrame) {
        let mut bytes = frame.to_vec();
        self.counters.sent += 1;
        if !frame.is_contiguous() {
            self.counters.sent_chained += 1;
            if !self.spec.multi_seg {
                self.violations
                    .push("a chained frame was sent where chains can't be".into());
            }
        }
        if let Some(request) = frame.requested() {
            if !self.spec.tx_checksum && (request.ipv4_checksum || request.tcp_checksum) {
                self.violations
                    .push("a checksum offload was asked for that isn't there".into());
            } else if let Some(cut) = request.cut {
                self.counters.sent_cut += 1;
                if frame.buffers() > usize::from(self.spec.tso_buffers) || !request.tcp_checksum {
                    self.violations
                        .push("a frame was to be cut that this NIC does not cut".into());
                }
                self.wire.extend(tso::segments(&bytes, request, cut));
                bytes.clear();
            } else {
                fill_in(&mut bytes, request);
            }
        }
        if !bytes.is_empty() {
            self.wire.push(bytes);
        }
        let digest = Some(digest(&frame));
        let until_burst = self.burst + self.random.within(0..=self.spec.held_bursts.into());
        self.held.push_back(Held {
            frame,
            digest,
            until_burst,
        });
    }

    fn pool(&self, class: PoolClass) -> &Arc<Pool> {
        match class {
            PoolClass::Control => &self.pools.control,
            PoolClass::Data => &self.pools.data,
        }
    }
}

fn digest(frame: &SimFrame) -> u64 {
    let mut hasher = FoldHasher::with_seed(0, SharedSeed::global_fixed());
    hasher.write(&frame.to_vec());
    hasher.finish()
}

/// The verdict of verifying hardware on a frame.
fn verdict(bytes: &[u8]) -> RxChecksum {
    let judge = |right| {
        if right {
            ChecksumVerdict::Good
        } else {
            ChecksumVerdict::Bad
        }
    };
    match inspect::places(bytes) {
        Ok(Some(at)) => RxChecksum {
            ip: match at.is_v6 {
                true => ChecksumVerdict::Unknown,
                false => judge(inspect::ipv4_checksum_is_right(bytes, &at)),
            },
            l4: match at.protocol {
                6 => judge(inspect::transport_checksum_is_right(bytes, &at)),
                _ => ChecksumVerdict::Unknown,
            },
        },
        _ => RxChecksum::default(),
    }
}

/// Does what checksumming hardware does to a sent frame: adds the segment's sum to the sum in the checksum field.
fn fill_in(bytes: &mut [u8], request: TxRequest) {
    let ip = usize::from(request.l2_len);
    let transport = ip + usize::from(request.l3_len);
    if request.ipv4_checksum {
        let sum = !inspect::ones_complement_sum(&bytes[ip..transport], 0);
        bytes[ip + 10..ip + 12].copy_from_slice(&sum.to_be_bytes());
    }
    if request.tcp_checksum
        && let Ok(Some(at)) = inspect::places(bytes)
    {
        let sum = !inspect::ones_complement_sum(&bytes[transport..at.end], 0);
        bytes[transport + 16..transport + 18].copy_from_slice(&sum.to_be_bytes());
    }
}

impl Nic for SimNic {
    type Frame = SimFrame;

    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn rx(&mut self, into: &mut Burst<SimFrame>) -> usize {
        self.begin_burst();
        let mut n = 0;
        while into.room() > 0
            && let Some(mut frame) = self.next_received()
        {
            frame.set_rx_checksum(frame.rx_checksum().negotiated(&self.caps));
            drop(into.push(frame));
            n += 1;
        }
        self.counters.received += n as u64;
        n
    }

    fn tx(&mut self, from: &mut Burst<SimFrame>) -> usize {
        self.begin_burst();
        let room = usize::from(self.spec.tx_ring).saturating_sub(self.held.len());
        let mut n = from.len().min(room);
        if self.random.hits(self.spec.refuse_ppm) {
            n = self.random.below(n as u64 + 1) as usize;
        }
        let taken: Vec<SimFrame> = from.take_front(n).collect();
        for frame in taken {
            self.transmit(frame);
        }
        self.left_behind |= !from.is_empty();
        self.counters.tx_refused += u64::from(!from.is_empty());
        n
    }

    fn alloc(&mut self, class: PoolClass, into: &mut Burst<SimFrame>, n: usize) -> usize {
        let n = n.min(into.room());
        for given in 0..n {
            match SimFrame::new(self.pool(class), &[]) {
                Some(frame) => drop(into.push(frame)),
                None => {
                    self.counters.alloc_failed += (n - given) as u64;
                    return given;
                }
            }
        }
        n
    }

    fn share(&mut self, frame: &mut SimFrame) -> Option<SimFrame> {
        Some(frame.second_owner())
    }

    fn chain(
        &mut self,
        head: &mut SimFrame,
        body: &mut SimFrame,
        start: usize,
        len: usize,
    ) -> bool {
        self.spec.multi_seg && head.append_part(body, start, len, &self.pools.control)
    }

    fn cycles(&self) -> u64 {
        self.cycles.set(self.cycles.get() + 1);
        self.cycles.get()
    }
}

#[cfg(test)]
mod tests;
