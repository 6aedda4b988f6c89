//! The in-memory link: two ports of one process whose queues are joined by rings. Mbufs pass by pointer.
//!
//! It must never be mistaken for a NIC: reports name it [`LINK`].

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dpdk_sys as sys;
use nic::rss::SYMMETRIC_KEY;

use crate::error::last_errno;
use crate::log::Capture;
use crate::port::{PoolSizes, Port, PortConfig, UninitPort};
use crate::rings::Rings;
use crate::{Eal, Error, QueuePair};

use crate::rings::LINK;

/// Queue pairs at most (`RTE_PMD_RING_MAX_RX_RINGS`).
const QUEUES_MAX: u16 = 16;

static NEXT_PAIR: AtomicU32 = AtomicU32::new(0);

/// How the link is set up. `pools.rx_frames` is not used: frames come out of the other side's pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingConfig {
    /// Queue pairs on each side, at most 16.
    pub queues: u16,
    /// Frames that each queue holds: 2^n, at least 64. Short rings stay in the L2 cache, long ones ride out stalls.
    pub ring_frames: u32,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// The pools of each side.
    pub pools: PoolSizes,
    /// Both sides choose the queue of a flow by a hash that is the same both ways ([`SYMMETRIC_KEY`]).
    pub steered: bool,
}

impl Default for RingConfig {
    /// One queue pair of 512 frames, MTU 1500.
    fn default() -> Self {
        Self {
            queues: 1,
            ring_frames: 512,
            mtu: 1500,
            pools: PoolSizes::default(),
            steered: false,
        }
    }
}

/// One end of a link.
type End = (Port, Vec<QueuePair>);

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
    let rings = Arc::new(Rings::new(
        eal.inner(),
        number,
        config.queues,
        config.ring_frames,
    )?);
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
        rss_key: SYMMETRIC_KEY,
        peer_steers: config.steered,
        ..PortConfig::default()
    };
    let (first, second) = (first.init(&port_config)?, second.init(&port_config)?);
    rings.keep(&first.1[0].control, &first.1[0].data);
    rings.keep(&second.1[0].control, &second.1[0].data);
    Ok((first, second))
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
