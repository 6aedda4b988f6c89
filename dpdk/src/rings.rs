//! [`Rings`]: the memory of an in-memory link, which outlives both of its ports.
//!
//! It must never be drained while a port can still use it.

use std::ffi::CString;
use std::sync::Arc;

use dpdk_sys as sys;

use crate::eal::EalInner;
use crate::error::last_errno;
use crate::log::Capture;
use crate::{Error, Mempool};

/// How reports name this link.
pub(crate) const LINK: &str = "memory link, no NIC";

/// The rings of both directions. Drained and freed after both ports are closed.
#[derive(Debug)]
pub(crate) struct Rings {
    /// Frames of the first side, by queue.
    pub(crate) there: Vec<*mut sys::rte_ring>,
    /// Frames of the second side.
    pub(crate) back: Vec<*mut sys::rte_ring>,
    /// Of both sides: frames of theirs may lie in the rings until the rings are drained.
    pools: std::sync::Mutex<Vec<Mempool>>,
    _eal: Arc<EalInner>,
}

// SAFETY: the rings are used by the two ports' queues (one sender and one receiver each, as they were created for), and
// by `drop` when no port is left.
unsafe impl Send for Rings {}
// SAFETY: as above.
unsafe impl Sync for Rings {}

impl Rings {
    /// `queues` rings of `frames` frames each way; `number` makes their names unique.
    pub(crate) fn new(
        eal: &Arc<EalInner>,
        number: u32,
        queues: u16,
        frames: u32,
    ) -> Result<Self, Error> {
        let mut rings = Self {
            there: Vec::new(),
            back: Vec::new(),
            pools: std::sync::Mutex::default(),
            _eal: Arc::clone(eal),
        };
        const HEADER_BYTES: u64 = 4096;
        let ring_bytes = u64::from(frames) * 8 + HEADER_BYTES;
        let socket = eal.memory_for(ring_bytes * 2 * u64::from(queues));
        for queue in 0..queues {
            rings
                .there
                .push(ring(socket, &format!("sl_{number}_there_{queue}"), frames)?);
            rings
                .back
                .push(ring(socket, &format!("sl_{number}_back_{queue}"), frames)?);
        }
        Ok(rings)
    }

    /// Keeps the pools of one side until the rings are drained.
    pub(crate) fn keep(&self, control: &Mempool, data: &Mempool) {
        let mut pools = self
            .pools
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        pools.extend([control.clone(), data.clone()]);
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        for &ring in self.there.iter().chain(&self.back) {
            // SAFETY: both ports are closed (they held this), so nothing else uses the ring; the mbufs in it are ours.
            unsafe {
                sys::sl_ring_drain(ring);
                sys::rte_ring_free(ring);
            }
        }
    }
}

fn ring(socket: i32, name: &str, frames: u32) -> Result<*mut sys::rte_ring, Error> {
    let c_name = CString::new(name).map_err(|_| Error::NulByte(name.to_owned()))?;
    let flags = sys::SL_RING_SINGLE_PRODUCER | sys::SL_RING_SINGLE_CONSUMER;
    let capture = Capture::start();
    // SAFETY: EAL is initialised and the name is NUL-terminated; DPDK copies it.
    let ring = unsafe { sys::rte_ring_create(c_name.as_ptr(), frames, socket, flags) };
    if ring.is_null() {
        return Err(Error::PortSetup {
            port: LINK.to_owned(),
            step: "rte_ring_create",
            reason: capture.failure(last_errno()),
        });
    }
    Ok(ring)
}
