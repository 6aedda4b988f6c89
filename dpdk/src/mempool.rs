//! [`Mempool`]: a fixed number of mbufs of one size, allocated once.
//!
//! It must never be freed under a living mbuf: a pool that has frames out stays allocated until they are back (or the
//! process ends).

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dpdk_sys as sys;

use crate::eal::EalInner;
use crate::error::last_errno;
use crate::log::Capture;
use crate::retired_pool::RetiredPool;
use crate::{Error, limits};

/// Bytes in front of a frame for headers to be put there (`RTE_PKTMBUF_HEADROOM`).
pub(crate) const HEADROOM_BYTES: u16 = sys::SL_PKTMBUF_HEADROOM as u16;
/// Largest per-lcore cache of a pool, in frames.
pub(crate) const CACHE_FRAMES_MAX: u32 = sys::RTE_MEMPOOL_CACHE_MAX_SIZE;

static NEXT_NAME: AtomicU32 = AtomicU32::new(0);

/// A pool of mbufs. A handle: clones are the same pool. Any thread may take from it and give back to it; threads that
/// are registered with EAL do so through a cache of their own.
#[derive(Debug, Clone)]
pub struct Mempool {
    inner: Arc<PoolInner>,
}

#[derive(Debug)]
struct PoolInner {
    pool: *mut sys::rte_mempool,
    frames: u32,
    /// Frames that a driver took and never gives back.
    given_to_driver: AtomicU32,
    eal: Arc<EalInner>,
}

// SAFETY: an rte_mempool is made for several threads (multi-producer, multi-consumer ring, per-lcore caches); the
// functions that we call on it from several threads are thread-safe (DPDK Programmer's Guide, "Mempool Library").
unsafe impl Send for PoolInner {}
// SAFETY: as above.
unsafe impl Sync for PoolInner {}

impl Mempool {
    /// A pool of `frames` mbufs with room for `frame_bytes` each (behind [`HEADROOM_BYTES`]).
    ///
    /// `cache_frames` (at most [`CACHE_FRAMES_MAX`], and at most 2/3 of the pool) is what each registered thread may
    /// hold back; 0 for none. A pool is best at 2^n − 1 frames.
    ///
    /// # Errors
    /// [`Error::PoolMemory`] when DPDK's memory is too small, [`Error::Config`] for impossible numbers.
    pub(crate) fn new(
        eal: &Arc<EalInner>,
        frames: u32,
        frame_bytes: u16,
        cache_frames: u32,
    ) -> Result<Self, Error> {
        // The limit of rte_mempool_create: n >= 1.5 * cache.
        if cache_frames > CACHE_FRAMES_MAX || u64::from(cache_frames) * 3 > u64::from(frames) * 2 {
            return Err(Error::Config {
                what: "the cache of a pool (frames)",
                value: cache_frames.into(),
                allowed: "at most 512 and at most two thirds of the pool",
            });
        }
        let Some(room) = frame_bytes.checked_add(HEADROOM_BYTES) else {
            return Err(Error::Config {
                what: "the frame size of a pool (bytes)",
                value: frame_bytes.into(),
                allowed: "at most 65407",
            });
        };
        let number = NEXT_NAME.fetch_add(1, Ordering::Relaxed);
        let name = CString::new(format!("syncline_pool_{number}")).expect("no NUL in it");
        let wanted_bytes = bytes(frames, room, cache_frames);
        let socket = eal.memory_for(wanted_bytes);
        let capture = Capture::start();
        // SAFETY: EAL is initialised (`eal` is proof) and the name is NUL-terminated; DPDK copies it.
        let pool = unsafe {
            let packed = eal.packs_frames();
            sys::sl_pktmbuf_pool_create(name.as_ptr(), frames, cache_frames, room, socket, packed)
        };
        if pool.is_null() {
            let reason = capture.failure(last_errno());
            return Err(limits::explain("a pool of frames", reason, |reason| {
                Error::PoolMemory {
                    frames,
                    wanted_mb: wanted_bytes.div_ceil(1 << 20),
                    reason,
                    memory: eal.memory_line().to_owned(),
                }
            }));
        }
        Ok(Self {
            inner: Arc::new(PoolInner {
                pool,
                frames,
                given_to_driver: AtomicU32::new(0),
                eal: Arc::clone(eal),
            }),
        })
    }

    /// Frames in it altogether.
    #[must_use]
    pub fn frames(&self) -> u32 {
        self.inner.frames
    }

    /// Frames that are out: owned, in a queue, or in a NIC's ring, but for those that a driver never gives
    /// back. Slow (it visits every cache), and exact only while no thread allocates or frees. 0 after everything has stopped,
    /// else something leaks.
    #[must_use]
    pub fn in_use(&self) -> u32 {
        // SAFETY: the pool lives as long as `self`.
        let out = unsafe { sys::rte_mempool_in_use_count(self.inner.pool) };
        out.saturating_sub(self.inner.given_to_driver.load(Ordering::Relaxed))
    }

    /// Frames that are out now stay with the driver for ever: they no longer count as in use.
    pub(crate) fn give_to_driver(&self) {
        let out = self.in_use();
        self.inner.given_to_driver.fetch_add(out, Ordering::Relaxed);
    }

    /// The pool itself, for calls that take one. Valid as long as this handle or one of its clones.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut sys::rte_mempool {
        self.inner.pool
    }
}

impl Drop for PoolInner {
    fn drop(&mut self) {
        let given_to_driver = self.given_to_driver.load(Ordering::Relaxed);
        // SAFETY: the pool is DPDK's and this was its only handle.
        self.eal
            .retire(unsafe { RetiredPool::new(self.pool, given_to_driver) });
    }
}

/// Memory that a pool takes, generously: header, mbuf and buffer per frame, the ring of the free ones, the caches of all
/// lcores that DPDK could have, and the ends of pages that no frame fits into.
pub(crate) fn bytes(frames: u32, room: u16, cache_frames: u32) -> u64 {
    const OBJECT_HEADER_BYTES: u64 = 64;
    const CACHE_BYTES: u64 = 16 << 10;
    const POINTER_BYTES: u64 = 8;
    let frames = u64::from(frames);
    let object = OBJECT_HEADER_BYTES + u64::from(sys::SL_MBUF_BYTES) + u64::from(room);
    let caches = if cache_frames == 0 {
        0
    } else {
        u64::from(sys::RTE_MAX_LCORE) * CACHE_BYTES
    };
    let ring = (frames + 1).next_power_of_two() * POINTER_BYTES;
    frames * object * 33 / 32 + ring + caches + (1 << 20)
}
