//! The in-memory link: two ports of one process whose queues are joined by rings. Mbufs pass by pointer.
//!
//! Called by: `apps` (`--nic ring`) and tests. It must never be mistaken for a NIC: reports name it [`LINK`].

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dpdk_sys as sys;

use crate::eal::EalInner;
use crate::error::last_errno;
use crate::log::Capture;
use crate::port::{PoolSizes, Port, PortConfig, UninitPort};
use crate::{Eal, Error, Mempool, QueuePair};

/// How reports name this link.
pub const LINK: &str = "memory link, no NIC";
/// Queue pairs at most (`RTE_PMD_RING_MAX_RX_RINGS`).
pub const QUEUES_MAX: u16 = 16;

static NEXT_PAIR: AtomicU32 = AtomicU32::new(0);

/// How the link is set up. `pools.rx_frames` is not used: frames come out of the other side's pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingConfig {
    /// Queue pairs on each side, at most [`QUEUES_MAX`].
    pub queues: u16,
    /// Frames that each queue holds: 2^n, at least 64. Short rings stay in the L2 cache, long ones ride out stalls.
    pub ring_frames: u32,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// The pools of each side.
    pub pools: PoolSizes,
}

impl Default for RingConfig {
    /// One queue pair of 512 frames, MTU 1500.
    fn default() -> Self {
        Self {
            queues: 1,
            ring_frames: 512,
            mtu: 1500,
            pools: PoolSizes::default(),
        }
    }
}

/// One end of a link.
pub type End = (Port, Vec<QueuePair>);

/// Both ends of a new link: what one side sends on queue i, the other receives on queue i. Each side has its own pools.
/// Each queue takes one sender and one receiver.
///
/// # Errors
/// [`Error::Config`], [`Error::PoolMemory`], [`Error::PortSetup`].
pub fn ring_pair(eal: &Eal, config: &RingConfig) -> Result<(End, End), Error> {
    if config.queues == 0 || config.queues > QUEUES_MAX {
        return Err(Error::Config {
            what: "the number of queues of an in-memory link",
            value: config.queues.into(),
            allowed: "1 to 16",
        });
    }
    if !config.ring_frames.is_power_of_two() || config.ring_frames < 64 {
        return Err(Error::Config {
            what: "the length of an in-memory link (frames)",
            value: config.ring_frames.into(),
            allowed: "a power of two, at least 64",
        });
    }
    let number = NEXT_PAIR.fetch_add(1, Ordering::Relaxed);
    let rings = Arc::new(Rings::new(eal.inner(), number, config)?);
    let first = port(
        eal,
        &format!("{number}a"),
        &rings,
        &rings.there,
        &rings.back,
    )?;
    let second = port(
        eal,
        &format!("{number}b"),
        &rings,
        &rings.back,
        &rings.there,
    )?;
    let port_config = PortConfig {
        queues: config.queues,
        rx_descriptors: 64,
        tx_descriptors: 64,
        mtu: config.mtu,
        pools: config.pools,
        promiscuous: false,
    };
    let (first, second) = (first.init(&port_config)?, second.init(&port_config)?);
    rings.keep(&first.1[0]);
    rings.keep(&second.1[0]);
    Ok((first, second))
}

/// The rings of both directions. Drained and freed after both ports are closed.
#[derive(Debug)]
pub(crate) struct Rings {
    there: Vec<*mut sys::rte_ring>,
    back: Vec<*mut sys::rte_ring>,
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
    fn new(eal: &Arc<EalInner>, number: u32, config: &RingConfig) -> Result<Self, Error> {
        let mut rings = Self {
            there: Vec::new(),
            back: Vec::new(),
            pools: std::sync::Mutex::default(),
            _eal: Arc::clone(eal),
        };
        const HEADER_BYTES: u64 = 4096;
        let ring_bytes = u64::from(config.ring_frames) * 8 + HEADER_BYTES;
        let socket = eal.memory_for(ring_bytes * 2 * u64::from(config.queues));
        for queue in 0..config.queues {
            rings.there.push(ring(
                socket,
                &format!("sl_{number}_there_{queue}"),
                config.ring_frames,
            )?);
            rings.back.push(ring(
                socket,
                &format!("sl_{number}_back_{queue}"),
                config.ring_frames,
            )?);
        }
        Ok(rings)
    }

    fn keep(&self, side: &QueuePair) {
        let mut pools = self
            .pools
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        pools.extend([side.control.clone(), side.data.clone()]);
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        for &ring in self.there.iter().chain(&self.back) {
            // SAFETY: both ports are closed (they held this), so nobody else uses the ring; the mbufs in it are ours.
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

fn port(
    eal: &Eal,
    name: &str,
    rings: &Arc<Rings>,
    rx: &[*mut sys::rte_ring],
    tx: &[*mut sys::rte_ring],
) -> Result<UninitPort, Error> {
    let c_name = CString::new(name).map_err(|_| Error::NulByte(name.to_owned()))?;
    let queues = u32::try_from(rx.len()).expect("at most 16 queues");
    let capture = Capture::start();
    // SAFETY: EAL is initialised, both arrays hold `queues` rings, which live until the port is closed (the port holds
    // `rings`).
    let id = unsafe {
        sys::rte_eth_from_rings(c_name.as_ptr(), rx.as_ptr(), queues, tx.as_ptr(), queues, 0)
    };
    let Ok(id) = u16::try_from(id) else {
        return Err(Error::PortSetup {
            port: LINK.to_owned(),
            step: "rte_eth_from_rings",
            reason: capture.failure(last_errno()),
        });
    };
    drop(capture);
    UninitPort::from_rings(
        eal.inner(),
        id,
        &format!("net_ring_{name}"),
        Arc::clone(rings),
    )
}
