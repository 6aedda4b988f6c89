//! [`UninitPort`] → [`Port`] and its queues: one device, opened, configured, started.
//!
//! It must never hand a queue out twice, and never stop a port that has a queue alive.

pub(crate) mod config;
pub(crate) mod rss;

pub use config::{PoolSizes, PortConfig, PortStats};

use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dpdk_sys as sys;
use nic::Caps;

use crate::device::{LOOK, PortInner, SETTLE, keep_rx_flags};
use crate::drivers::{self, TxCheck};
use crate::eal::EalInner;
use crate::log::Capture;
use crate::offloads::OffloadFault;
use crate::queue::{self, QueuePair};
use crate::rings::Rings;
use crate::{Eal, Error, Mempool, NicSpec, preflight, tap};

static NEXT_DEVICE: AtomicU32 = AtomicU32::new(0);

/// An open device that is not configured yet. Dropping it closes the device.
#[derive(Debug)]
pub struct UninitPort {
    port: PortInner,
}

/// A started port. A handle for its owner: the port stops when this and all its queues are dropped.
#[derive(Debug)]
pub struct Port {
    inner: Arc<PortInner>,
    caps: Caps,
    rx_pool: Option<Mempool>,
}

impl Eal {
    /// Opens a device. For [`NicSpec::Ring`] there is none: see [`crate::ring_pair`].
    ///
    /// # Errors
    /// Everything that [`NicSpec::check`] finds, and [`Error::NoDriver`] or [`Error::Probe`] when DPDK can't open it.
    pub fn open(&self, spec: &NicSpec) -> Result<UninitPort, Error> {
        spec.check()?;
        preflight::remove_stale_socket(spec)?;
        let number = NEXT_DEVICE.fetch_add(1, Ordering::Relaxed);
        let devargs = spec.devargs(number).ok_or(Error::RingHasNoDevice)?;
        let c_devargs =
            CString::new(devargs.as_str()).map_err(|_| Error::NulByte(devargs.clone()))?;
        let name = devargs.split(',').next().unwrap_or_default();
        if spec.pci_devargs().is_none() {
            let capture = Capture::start();
            // SAFETY: EAL is initialised and the string is NUL-terminated; DPDK copies it.
            let done = unsafe { sys::rte_dev_probe(c_devargs.as_ptr()) };
            if done < 0 {
                let reason = capture.failure(done);
                return Err(if reason.contains("failed to parse device") {
                    Error::NoDriver { device: devargs }
                } else {
                    Error::Probe {
                        device: devargs,
                        reason,
                    }
                });
            }
        }
        let c_name = CString::new(name).map_err(|_| Error::NulByte(name.to_owned()))?;
        let mut id = 0;
        // SAFETY: EAL is initialised, the name is NUL-terminated, `id` is writable.
        if unsafe { sys::rte_eth_dev_get_port_by_name(c_name.as_ptr(), &raw mut id) } != 0 {
            let reason = preflight::why_no_port(spec);
            return Err(Error::Probe {
                device: devargs,
                reason,
            });
        }
        Ok(UninitPort {
            port: PortInner::new(self.inner(), id, name, spec.to_string(), None)?,
        })
    }
}

impl UninitPort {
    pub(crate) fn from_rings(
        eal: &Arc<EalInner>,
        id: u16,
        name: &str,
        rings: Arc<Rings>,
    ) -> Result<Self, Error> {
        let link = crate::rings::LINK.to_owned();
        Ok(Self {
            port: PortInner::new(eal, id, name, link, Some(rings))?,
        })
    }

    /// Configures the port, makes its pools, starts it, and hands out its queues, once. Offloads are switched on as far as
    /// the driver has them; [`QueuePair::caps`] says which.
    ///
    /// # Errors
    /// [`Error::TooManyQueues`], [`Error::Mtu`], [`Error::Config`], [`Error::PoolMemory`], [`Error::PortSetup`]. The device
    /// is closed then.
    pub fn init(self, config: &PortConfig) -> Result<(Port, Vec<QueuePair>), Error> {
        let mut port = self.port;
        let info = port.info()?;
        port.check_limits(&info, config)?;
        port.queues = config.queues;
        let eal = Arc::clone(&port.eal);
        let pools = &config.pools;
        let pool = |frames, room| Mempool::new(&eal, frames, room, pools.cache_frames);
        let whole = config::frame_bytes(config.mtu);
        let control = pool(pools.control_frames, whole)?;
        let data = pool(pools.data_frames, whole)?;
        if port.rings.is_none() {
            config.check_rx_pool()?;
            port.rx_pool = Some(pool(pools.rx_frames, config.rx_buffer_bytes())?);
        }
        let (rx_offloads, tx_offloads) = port.configure(&info, config)?;
        port.set_up_queues(config, &control)?;
        if port.driver.raises_signals {
            tap::silence(info.if_index);
        }
        port.start(config)?;
        if port.driver.keeps_rx_frames
            && let Some(pool) = &port.rx_pool
        {
            // No thread polls yet: what is out is in the driver's ring.
            pool.give_to_driver();
        }
        let mut caps = negotiated(&port, config, rx_offloads, tx_offloads);
        port.cuts_segments = tx_offloads & sys::SL_TX_OFFLOAD_TCP_TSO != 0;
        if port.cuts_segments {
            let offered = info.tx_desc_lim.nb_seg_max;
            caps.tso_buffers = port.driver.tso_buffers(offered);
        }
        if config.fault == Some(OffloadFault::IndirectionTable) {
            port.reverse_indirection_table()?;
        }
        port.vlan_strip = caps.vlan_strip;
        let flipped = u16::from(config.fault == Some(OffloadFault::VlanTag));
        port.vlan_insert = caps.vlan_insert.then_some(flipped);
        port.keep_rx_flags = keep_rx_flags(&caps, port.rings.is_some(), port.driver);
        let mac = port.mac()?;
        let rx_pool = port.rx_pool.clone();
        let inner = Arc::new(port);
        let pairs = (0..config.queues)
            .map(|index| {
                let (rx, tx) = queue::pair(&inner, index);
                let (control, data, caps) = (control.clone(), data.clone(), caps.clone());
                QueuePair {
                    rx,
                    tx,
                    control,
                    data,
                    caps,
                    mac,
                    fault: config.fault,
                }
            })
            .collect();
        Ok((
            Port {
                inner,
                caps,
                rx_pool,
            },
            pairs,
        ))
    }
}

/// The capabilities of a started port with these offloads of DPDK.
fn negotiated(port: &PortInner, config: &PortConfig, rx_offloads: u64, tx_offloads: u64) -> Caps {
    let rx = |wanted| rx_offloads & wanted != 0;
    let tx = |wanted| tx_offloads & wanted != 0;
    Caps {
        rx_ipv4_checksum: rx(sys::SL_RX_OFFLOAD_IPV4_CKSUM),
        rx_tcp_checksum: rx(sys::SL_RX_OFFLOAD_TCP_CKSUM),
        tx_ipv4_checksum: tx(sys::SL_TX_OFFLOAD_IPV4_CKSUM),
        tx_tcp_checksum: tx(sys::SL_TX_OFFLOAD_TCP_CKSUM),
        tx_multi_seg: tx(sys::SL_TX_OFFLOAD_MULTI_SEGS),
        rx_scatter: rx(sys::SL_RX_OFFLOAD_SCATTER),
        // A link that brings large segments does so whatever was asked for.
        lro: rx(sys::SL_RX_OFFLOAD_TCP_LRO) || port.brings_large_segments(),
        vlan_strip: rx(sys::SL_RX_OFFLOAD_VLAN_STRIP),
        vlan_insert: tx(sys::SL_TX_OFFLOAD_VLAN_INSERT),
        steering: rss::steering(port.id, port.driver, config).map(Arc::new),
        ..Caps::without_offloads(port.link.clone(), config.mtu)
    }
}

impl Port {
    /// DPDK's name of the device.
    #[must_use]
    pub fn name(&self) -> &str {
        self.inner.name()
    }

    /// DPDK's name of the driver.
    #[must_use]
    pub fn driver(&self) -> &str {
        &self.inner.driver_name
    }

    /// The capabilities that were negotiated.
    #[must_use]
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// The offloads of the driver, by DPDK's names: for receiving, and for sending.
    #[must_use]
    pub fn offered(&self) -> (Vec<String>, Vec<String>) {
        let Ok(info) = self.inner.info() else {
            return Default::default();
        };
        let named = |offloads: u64, name: &dyn Fn(u64) -> *const core::ffi::c_char| {
            let bits = (0..u64::BITS).map(|bit| 1 << bit);
            let offered = bits.filter(|bit| offloads & bit != 0).map(|bit| {
                // SAFETY: DPDK's names are static NUL-terminated strings, for unknown bits too.
                let name = unsafe { CStr::from_ptr(name(bit)) };
                name.to_string_lossy().to_lowercase()
            });
            offered.collect()
        };
        // SAFETY: both functions only look into a table.
        let rx = |bit| unsafe { sys::rte_eth_dev_rx_offload_name(bit) };
        // SAFETY: as above.
        let tx = |bit| unsafe { sys::rte_eth_dev_tx_offload_name(bit) };
        (
            named(info.rx_offload_capa, &rx),
            named(info.tx_offload_capa, &tx),
        )
    }

    /// The pool that the NIC receives into; `None` on the in-memory link, where frames come from the other side's pools.
    #[must_use]
    pub fn rx_pool(&self) -> Option<&Mempool> {
        self.rx_pool.as_ref()
    }

    /// Whether the link is up (on memif: whether the peer is connected). Cheap enough for every few milliseconds.
    #[must_use]
    pub fn link_is_up(&self) -> bool {
        self.inner.link_is_up()
    }

    /// The link's speed in Mbit/s while it is up; `None` when it is down. 0 where the driver does not know.
    #[must_use]
    pub fn link_mbps(&self) -> Option<u32> {
        self.inner.link_mbps()
    }

    /// Waits until the link is up.
    ///
    /// # Errors
    /// [`Error::LinkDown`] after `timeout`.
    pub fn wait_link_up(&self, timeout: Duration) -> Result<(), Error> {
        let start = Instant::now();
        while !self.link_is_up() {
            let waited = start.elapsed();
            if waited >= timeout {
                let waited_ms = waited.as_millis().try_into().unwrap_or(u64::MAX);
                return Err(Error::LinkDown {
                    port: self.inner.link.clone(),
                    waited_ms,
                    hint: self.inner.driver.link_hint,
                });
            }
            // Not a relative sleep: a signal would make it begin again.
            std::thread::park_timeout(LOOK);
        }
        Ok(())
    }

    /// Compares the frames that the driver took on all queues ([`crate::TxQueue::frames_taken`]) with what it says that it
    /// sent. Waits up to half a second while frames are on their way from a ring to the wire, so no thread may send meanwhile.
    #[must_use]
    pub fn check_tx(&self, frames_taken: u64) -> TxCheck {
        let start = Instant::now();
        loop {
            let (driver, queues) = (self.inner.driver, self.inner.queues);
            let (stats, link_is_up) = (self.stats(), self.link_is_up());
            let check = drivers::check_tx(driver, queues, frames_taken, &stats, link_is_up);
            if !matches!(check, TxCheck::Lost(_)) || start.elapsed() >= SETTLE {
                return check;
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// The counters of the port since it started. Counters of some devices have 32 bits and stop at their end when no thread
    /// reads them (e1000: 48 minutes at 1 Gbit/s), so read them every minute.
    #[must_use]
    pub fn stats(&self) -> PortStats {
        // SAFETY: an all-zero rte_eth_stats is valid (integers only), and DPDK fills it for an open port.
        let stats = unsafe {
            let mut stats: sys::rte_eth_stats = core::mem::zeroed();
            sys::rte_eth_stats_get(self.inner.id, &raw mut stats);
            stats
        };
        PortStats {
            rx_frames: stats.ipackets,
            tx_frames: stats.opackets,
            rx_bytes: stats.ibytes,
            tx_bytes: stats.obytes,
            rx_missed: stats.imissed,
            rx_errors: stats.ierrors,
            tx_errors: stats.oerrors,
            rx_no_mbuf: stats.rx_nombuf,
        }
    }
}
