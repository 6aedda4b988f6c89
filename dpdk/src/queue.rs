//! [`RxQueue`], [`TxQueue`]: one direction of one queue of a started port.
//!
//! Made by `port` and `ring`, once per queue; called by `nic`, per burst. They must never be usable after their port has
//! stopped: each holds the port, and the port stops when the last of them and the [`crate::Port`] handle are gone.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::NonNull;
use std::sync::Arc;

use dpdk_sys as sys;
use nic::{Burst, Caps, Frame as _};

use crate::Mempool;
use crate::device::PortInner;
use crate::mbuf::Mbuf;
use crate::memif::QueueGate;
use crate::offloads::OffloadFault;

// A burst of `Mbuf` is handed to DPDK as an array of mbuf pointers.
const _: () = assert!(size_of::<Mbuf>() == size_of::<*mut sys::rte_mbuf>());
const _: () = assert!(nic::BURST_FRAMES <= u16::MAX as usize);

/// One RX and one TX queue with everything a worker needs beside them.
#[derive(Debug)]
pub struct QueuePair {
    /// Frames in.
    pub rx: RxQueue,
    /// Frames out.
    pub tx: TxQueue,
    /// Pool for replies.
    pub control: Mempool,
    /// Pool for payload that is kept until it is acknowledged, and for the clones made by `share`.
    pub data: Mempool,
    /// The capabilities that were negotiated.
    pub caps: Caps,
    /// The port's own link-layer address.
    pub mac: [u8; 6],
    /// Requests to the NIC that are wrong on purpose.
    pub fault: Option<OffloadFault>,
}

/// Receives from one queue. `Send`, not `Sync`, not `Clone`: it moves to one thread.
#[derive(Debug)]
pub struct RxQueue {
    port: Arc<PortInner>,
    port_id: u16,
    queue: u16,
    /// The device takes VLAN tags out.
    puts_tags_back: bool,
    /// Flags to keep on received frames; all ones when there is nothing to clear.
    keep_flags: u64,
    gate: Option<QueueGate>,
    not_sync: PhantomData<Cell<()>>,
}

/// Sends on one queue. `Send`, not `Sync`, not `Clone`: it moves to one thread.
#[derive(Debug)]
pub struct TxQueue {
    port: Arc<PortInner>,
    port_id: u16,
    queue: u16,
    /// The mbufs themselves arrive at the other end: offload flags are cleared before.
    clear_flags: bool,
    /// VLAN tags are left to the device, with these bits flipped.
    leaves_tags: Option<u16>,
    /// The device cuts large segments.
    cuts_segments: bool,
    /// Frames that the driver took.
    frames_taken: u64,
    gate: Option<QueueGate>,
    not_sync: PhantomData<Cell<()>>,
}

impl RxQueue {
    /// The queue's number on its port.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.queue
    }

    /// Appends received frames as far as there is room, and says how many came.
    #[inline]
    pub fn burst(&mut self, into: &mut Burst<Mbuf>) -> usize {
        let storage = into.storage_mut();
        let old = storage.len();
        let room = storage.remaining_capacity() as u16;
        // SAFETY: `old` is at most the capacity, so the pointer stays inside the array (or one past it, with no room).
        let end = unsafe { storage.as_mut_ptr().add(old) }.cast::<*mut sys::rte_mbuf>();
        let (port, queue) = (self.port_id, self.queue);
        // SAFETY: the port is started as long as `self.port` lives; `&mut self` of the only handle makes us the one
        // thread on this queue; DPDK writes at most `room` pointers, and an `Mbuf` is such a pointer.
        let receive = || unsafe { sys::sl_rx_burst(port, queue, end, room) };
        let n = match &mut self.gate {
            None => receive(),
            Some(gate) => gate.burst(receive),
        };
        let n = usize::from(n);
        // SAFETY: DPDK wrote n <= room valid mbufs behind the old ones, and we own them now.
        unsafe { storage.set_len(old + n) };
        if self.puts_tags_back {
            storage[old..].iter_mut().for_each(Mbuf::put_tag_back);
        }
        if self.keep_flags != u64::MAX {
            for frame in &mut storage[old..] {
                frame.keep_flags(self.keep_flags);
            }
        }
        n
    }

    /// The port that this queue belongs to.
    pub(crate) fn port(&self) -> &Arc<PortInner> {
        &self.port
    }
}

impl TxQueue {
    /// The queue's number on its port.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.queue
    }

    /// Sends from the front, removes what the NIC took, leaves the rest, and says how many it took.
    #[inline]
    pub fn burst(&mut self, from: &mut Burst<Mbuf>) -> usize {
        let storage = from.storage_mut();
        if self.clear_flags {
            for frame in storage.iter_mut() {
                frame.keep_flags(0);
            }
        }
        let len = storage.len();
        let has_left_tags = self.leaves_tags.is_some_and(|flipped| {
            let tagged = storage.iter_mut().map(|frame| frame.take_tag_out(flipped));
            tagged.fold(false, |any, tagged| any | tagged)
        });
        // Drivers finish what these requests need: some want other sums in the headers.
        let needs_driver =
            has_left_tags || (self.cuts_segments && storage.iter().any(Mbuf::is_cut));
        let start = storage.as_mut_ptr();
        let (port, queue) = (self.port_id, self.queue);
        let send = || {
            let mut ready = len as u16;
            if needs_driver {
                // SAFETY: as below; the driver changes only frames that are ours alone, or refuses them.
                ready = unsafe { sys::sl_tx_prepare(port, queue, start.cast(), ready) };
            }
            // SAFETY: as in `RxQueue::burst`; DPDK reads `ready` valid mbufs and owns the first n of them afterwards.
            unsafe { sys::sl_tx_burst(port, queue, start.cast(), ready) }
        };
        let n = match &mut self.gate {
            None => send(),
            Some(gate) => gate.burst(send),
        };
        let n = usize::from(n);
        self.frames_taken += n as u64;
        // SAFETY: n <= len; the first n frames are DPDK's now and are forgotten (no drop), the rest moves to the front.
        unsafe {
            storage.set_len(0);
            if n < len {
                core::ptr::copy(start.add(n), start, len - n);
                storage.set_len(len - n);
            }
        }
        if has_left_tags {
            storage.iter_mut().for_each(Mbuf::put_tag_in);
        }
        n
    }

    /// Frames that the driver took so far: what [`crate::Port::check_tx`] compares, summed over the queues.
    #[must_use]
    pub fn frames_taken(&self) -> u64 {
        self.frames_taken
    }

    /// The port that this queue belongs to.
    pub(crate) fn port(&self) -> &Arc<PortInner> {
        &self.port
    }
}

/// The two halves of queue `queue`. Called once per queue of a port that was just started.
pub(crate) fn pair(port: &Arc<PortInner>, queue: u16) -> (RxQueue, TxQueue) {
    let gate = || port.needs_gate().then(QueueGate::new);
    let rx = RxQueue {
        port: Arc::clone(port),
        port_id: port.id(),
        queue,
        puts_tags_back: port.vlan_strip,
        keep_flags: port.keep_rx_flags(),
        gate: gate(),
        not_sync: PhantomData,
    };
    let tx = TxQueue {
        port: Arc::clone(port),
        port_id: port.id(),
        queue,
        clear_flags: port.passes_mbufs(),
        leaves_tags: port.vlan_insert,
        cuts_segments: port.cuts_segments,
        frames_taken: 0,
        gate: gate(),
        not_sync: PhantomData,
    };
    (rx, tx)
}

/// Appends up to `n` fresh frames of `pool` (length 0), as far as there is room, and says how many there were.
#[inline]
pub(crate) fn alloc(pool: &Mempool, into: &mut Burst<Mbuf>, n: usize) -> usize {
    let storage = into.storage_mut();
    let old = storage.len();
    let n = n.min(storage.remaining_capacity());
    if n == 0 {
        return 0;
    }
    // SAFETY: n <= remaining capacity, so DPDK's n pointers fit behind the old ones; it writes all of them or returns
    // an error and writes none.
    unsafe {
        let end = storage.as_mut_ptr().add(old).cast::<*mut sys::rte_mbuf>();
        if sys::sl_mbuf_alloc_bulk(pool.as_ptr(), end, n as u32) == 0 {
            storage.set_len(old + n);
            return n;
        }
    }
    alloc_singly(pool, into, n)
}

/// The rest of a pool that has fewer than a bulk left.
#[cold]
fn alloc_singly(pool: &Mempool, into: &mut Burst<Mbuf>, n: usize) -> usize {
    for allocated in 0..n {
        // SAFETY: the pool lives as long as its handle.
        let Some(mbuf) = NonNull::new(unsafe { sys::sl_mbuf_alloc(pool.as_ptr()) }) else {
            return allocated;
        };
        // SAFETY: a fresh mbuf of our pool with no other owner. There is room for n.
        let pushed = into.push(unsafe { Mbuf::from_raw(mbuf) });
        debug_assert!(pushed.is_ok());
    }
    n
}

/// A second header for the bytes of `frame`, from `pool` (which also holds the headers of all its segments).
pub(crate) fn share(pool: &Mempool, frame: &mut Mbuf) -> Option<Mbuf> {
    // SAFETY: `frame` is a valid mbuf of ours, the pool lives; DPDK takes references atomically and returns null when the
    // pool is empty.
    let clone = unsafe { sys::rte_pktmbuf_clone(frame.as_ptr(), pool.as_ptr()) };
    // SAFETY: a fresh indirect mbuf with no other owner.
    let mut clone = unsafe { Mbuf::from_raw(NonNull::new(clone)?) };
    clone.keep_flags(0);
    Some(clone)
}

/// A second owner of a part of `body`'s first segment at the end of `head`'s chain, its header from `pool`. False and
/// nothing changed when that can't be.
#[inline]
pub(crate) fn chain(
    pool: &Mempool,
    head: &mut Mbuf,
    body: &mut Mbuf,
    start: usize,
    len: usize,
) -> bool {
    let whole = body.bytes().len();
    if len == 0 || start > whole || len > whole - start {
        return false;
    }
    // SAFETY: both are valid mbufs of ours (two different ones, being two `&mut`), the pool lives, and the range lies in
    // body's first segment (just checked), whose length fits u16. DPDK counts the reference atomically; the new segment
    // belongs to head's chain, whose header is ours.
    let status = unsafe {
        sys::sl_mbuf_chain(
            head.as_ptr(),
            body.as_ptr(),
            start as u16,
            len as u16,
            pool.as_ptr(),
        )
    };
    status == 0
}

/// Returns all frames to their pools at once.
#[inline]
pub(crate) fn free(from: &mut Burst<Mbuf>) {
    let storage = from.storage_mut();
    let n = storage.len() as u32;
    // SAFETY: the frames are ours and are forgotten before DPDK gets them, so they are freed once.
    unsafe {
        storage.set_len(0);
        sys::sl_mbuf_free_bulk(storage.as_mut_ptr().cast(), n);
    }
}
