//! [`RetiredPool`]: a pool of mbufs whose handles are gone, until EAL gives its memory back.
//!
//! It must never free a pool while one of its frames is out.

use dpdk_sys as sys;

/// A pool without a handle. Mbufs of it may still be out.
#[derive(Debug)]
pub(crate) struct RetiredPool {
    pool: *mut sys::rte_mempool,
    given_to_driver: u32,
}

// SAFETY: DPDK's pools may be used from any thread; the counts are read with atomic loads.
unsafe impl Send for RetiredPool {}

impl RetiredPool {
    /// The pool whose last handle is gone; `given_to_driver` of its frames stay with a driver for good.
    ///
    /// # Safety
    /// `pool` was made by DPDK, is not freed, and has no other handle.
    pub(crate) const unsafe fn new(pool: *mut sys::rte_mempool, given_to_driver: u32) -> Self {
        Self {
            pool,
            given_to_driver,
        }
    }

    /// Frames that are still out and will come back.
    pub(crate) fn in_use(&self) -> u32 {
        // SAFETY: only `free` frees the pool, and it takes `self`.
        let out = unsafe { sys::rte_mempool_in_use_count(self.pool) };
        out.saturating_sub(self.given_to_driver)
    }

    /// Gives its memory back.
    ///
    /// # Safety
    /// No frame is out but those of a driver whose port is closed (a port holds its RX pool until then), and no thread is
    /// still inside a free into this pool.
    pub(crate) unsafe fn free(self) {
        // SAFETY: the caller's promise; there is no handle left that could allocate.
        unsafe { sys::rte_mempool_free(self.pool) };
    }
}
