//! [`UninitPort`] → [`Port`] and its queues: one device, opened, configured, started.
//!
//! Called by: `apps` at start. It must never hand a queue out twice, and never stop a port that has a queue alive.

mod config;

pub use config::{PoolSizes, PortConfig, PortStats};

use core::ffi::CStr;
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dpdk_sys as sys;
use stack::nic::Caps;

use crate::eal::EalInner;
use crate::log::Capture;
use crate::queue::{self, QueuePair};
use crate::ring::Rings;
use crate::{Eal, Error, Mempool, NicSpec, preflight, tap};

/// Drivers whose received mbufs are freshly reset (`rte_pktmbuf_alloc`): no flag of an earlier owner can be in them.
const FRESH_MBUF_DRIVERS: &[&str] = &["net_memif", "net_tap", "net_af_packet"];

/// Drivers that sum the segments of a chain without regard to where each begins: an odd one in the middle makes a wrong TCP
/// checksum (DPDK 22.11, drivers/net/tap/rte_eth_tap.c, `tap_tx_l4_add_rcksum`). We sum ourselves for them.
const ODD_CHAIN_DRIVERS: &[&str] = &["net_tap"];

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

/// The device itself. Stops, closes and removes it on drop.
#[derive(Debug)]
pub(crate) struct PortInner {
    id: u16,
    device: *mut sys::rte_device,
    name: String,
    link: String,
    driver: String,
    /// Flags that received frames keep: those that were negotiated, or everything where none can be stale.
    keep_rx_flags: u64,
    started: AtomicBool,
    // Below: freed after the port is closed, in this order.
    rx_pool: Option<Mempool>,
    rings: Option<Arc<Rings>>,
    _eal: Arc<EalInner>,
}

// SAFETY: `device` is only used in `drop`, where nobody else has the port. The other calls on a port from several threads
// (link, statistics) are thread-safe for different queues and read-only for the port.
unsafe impl Send for PortInner {}
// SAFETY: as above.
unsafe impl Sync for PortInner {}

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
        let link = crate::ring::LINK.to_owned();
        Ok(Self {
            port: PortInner::new(eal, id, name, link, Some(rings))?,
        })
    }

    /// Configures the port, makes its pools, starts it, and hands out its queues, once. Offloads are switched on as far as
    /// the driver has them; [`QueuePair::caps`] says which.
    ///
    /// # Errors
    /// [`Error::TooManyQueues`], [`Error::Config`], [`Error::PoolMemory`], [`Error::PortSetup`]. The device is closed then.
    pub fn init(self, config: &PortConfig) -> Result<(Port, Vec<QueuePair>), Error> {
        let mut port = self.port;
        let info = port.info()?;
        let max = info.max_rx_queues.min(info.max_tx_queues);
        if config.queues == 0 || config.queues > max {
            return Err(Error::TooManyQueues {
                port: port.link.clone(),
                wanted: config.queues,
                max,
            });
        }
        let eal = Arc::clone(&port._eal);
        let pools = &config.pools;
        let pool = |frames| {
            let room = config::frame_bytes(config.mtu);
            Mempool::new(&eal, frames, room, pools.cache_frames)
        };
        let (control, data) = (pool(pools.control_frames)?, pool(pools.data_frames)?);
        if port.rings.is_none() {
            config.check_rx_pool()?;
            port.rx_pool = Some(pool(pools.rx_frames)?);
        }
        let (rx_offloads, tx_offloads) = port.configure(&info, config)?;
        port.set_up_queues(config, &control)?;
        if port.driver == "net_tap" {
            tap::silence(info.if_index);
        }
        port.start(config)?;
        let has = |offloads: u64, wanted: u64| offloads & wanted != 0;
        let caps = Caps {
            link: port.link.clone(),
            mtu: config.mtu,
            rx_ipv4_checksum: has(rx_offloads, sys::SL_RX_OFFLOAD_IPV4_CKSUM),
            rx_tcp_checksum: has(rx_offloads, sys::SL_RX_OFFLOAD_TCP_CKSUM),
            tx_ipv4_checksum: has(tx_offloads, sys::SL_TX_OFFLOAD_IPV4_CKSUM),
            tx_tcp_checksum: has(tx_offloads, sys::SL_TX_OFFLOAD_TCP_CKSUM),
            tx_multi_seg: has(tx_offloads, sys::SL_TX_OFFLOAD_MULTI_SEGS),
        };
        port.keep_rx_flags = keep_rx_flags(&caps, port.rings.is_some(), &port.driver);
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

    /// Queue pairs that the device has.
    ///
    /// # Errors
    /// [`Error::PortSetup`] when the driver does not answer.
    pub fn max_queues(&self) -> Result<u16, Error> {
        let info = self.port.info()?;
        Ok(info.max_rx_queues.min(info.max_tx_queues))
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
        &self.inner.driver
    }

    /// What was negotiated.
    #[must_use]
    pub fn caps(&self) -> &Caps {
        &self.caps
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

    /// Waits until the link is up.
    ///
    /// # Errors
    /// [`Error::LinkDown`] after `timeout`.
    pub fn wait_link_up(&self, timeout: Duration) -> Result<(), Error> {
        const EVERY: Duration = Duration::from_millis(2);
        let start = Instant::now();
        while !self.link_is_up() {
            let waited = start.elapsed();
            if waited >= timeout {
                let hint = match self.driver() {
                    "net_memif" => "is the peer started, with the same socket and id?",
                    "net_tap" => "`ip link set dev NAME up`",
                    _ => "cable, switch port, or the other side",
                };
                let waited_ms = waited.as_millis().try_into().unwrap_or(u64::MAX);
                return Err(Error::LinkDown {
                    port: self.inner.link.clone(),
                    waited_ms,
                    hint,
                });
            }
            // Not a relative sleep: a signal would make it begin again.
            std::thread::park_timeout(EVERY);
        }
        Ok(())
    }

    /// What the port counted since it started.
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

impl PortInner {
    fn new(
        eal: &Arc<EalInner>,
        id: u16,
        name: &str,
        link: String,
        rings: Option<Arc<Rings>>,
    ) -> Result<Self, Error> {
        let mut port = Self {
            id,
            device: core::ptr::null_mut(),
            name: name.to_owned(),
            link,
            driver: String::new(),
            keep_rx_flags: 0,
            started: AtomicBool::new(false),
            rx_pool: None,
            rings,
            _eal: Arc::clone(eal),
        };
        let info = port.info()?;
        port.device = info.device;
        if !info.driver_name.is_null() {
            // SAFETY: DPDK's driver names are static NUL-terminated strings.
            port.driver = unsafe { CStr::from_ptr(info.driver_name) }
                .to_string_lossy()
                .into();
        }
        Ok(port)
    }

    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether polling must stop while the peer goes away.
    pub(crate) fn needs_gate(&self) -> bool {
        self.driver == "net_memif"
    }

    /// Whether the other end gets the very mbufs that are sent here.
    pub(crate) fn passes_mbufs(&self) -> bool {
        self.rings.is_some()
    }

    pub(crate) fn keep_rx_flags(&self) -> u64 {
        self.keep_rx_flags
    }

    pub(crate) fn link_is_up(&self) -> bool {
        let mut link = sys::sl_link {
            speed_mbps: 0,
            up: 0,
        };
        // SAFETY: the port is open as long as `self`, and `link` is writable.
        unsafe { sys::sl_link_get(self.id, &raw mut link) == 0 && link.up != 0 }
    }

    fn info(&self) -> Result<sys::rte_eth_dev_info, Error> {
        // SAFETY: an all-zero rte_eth_dev_info is valid (integers and nullable pointers), and DPDK fills it.
        unsafe {
            let mut info: sys::rte_eth_dev_info = core::mem::zeroed();
            self.step("rte_eth_dev_info_get", || {
                sys::rte_eth_dev_info_get(self.id, &raw mut info)
            })?;
            Ok(info)
        }
    }

    fn configure(
        &self,
        info: &sys::rte_eth_dev_info,
        config: &PortConfig,
    ) -> Result<(u64, u64), Error> {
        let rx_offloads =
            info.rx_offload_capa & (sys::SL_RX_OFFLOAD_IPV4_CKSUM | sys::SL_RX_OFFLOAD_TCP_CKSUM);
        let tcp_checksum = if ODD_CHAIN_DRIVERS.contains(&self.driver.as_str()) {
            0
        } else {
            sys::SL_TX_OFFLOAD_TCP_CKSUM
        };
        let tx_offloads = info.tx_offload_capa
            & (sys::SL_TX_OFFLOAD_IPV4_CKSUM | tcp_checksum | sys::SL_TX_OFFLOAD_MULTI_SEGS);
        // SAFETY: an all-zero rte_eth_conf is valid and means "the default" for every field (DPDK's examples start so).
        let mut conf: sys::rte_eth_conf = unsafe { core::mem::zeroed() };
        conf.rxmode.mtu = u32::from(config.mtu);
        conf.rxmode.offloads = rx_offloads;
        conf.txmode.offloads = tx_offloads;
        let rss = info.flow_type_rss_offloads & (sys::SL_RSS_IP | sys::SL_RSS_TCP);
        if config.queues > 1 && rss != 0 {
            conf.rxmode.mq_mode = sys::rte_eth_rx_mq_mode::RTE_ETH_MQ_RX_RSS;
            conf.rx_adv_conf.rss_conf.rss_hf = rss;
        }
        self.step("rte_eth_dev_configure", || {
            // SAFETY: the port is open and stopped, and `conf` lives through the call; DPDK copies it.
            unsafe {
                sys::rte_eth_dev_configure(self.id, config.queues, config.queues, &raw const conf)
            }
        })?;
        Ok((rx_offloads, tx_offloads))
    }

    fn set_up_queues(&self, config: &PortConfig, control: &Mempool) -> Result<(), Error> {
        let (mut rx_slots, mut tx_slots) = (config.rx_descriptors, config.tx_descriptors);
        self.step("rte_eth_dev_adjust_nb_rx_tx_desc", || {
            // SAFETY: the port is open, and both numbers are writable.
            unsafe {
                sys::rte_eth_dev_adjust_nb_rx_tx_desc(self.id, &raw mut rx_slots, &raw mut tx_slots)
            }
        })?;
        // The in-memory link receives into no pool, but DPDK asks for one.
        let rx_pool = self.rx_pool.as_ref().unwrap_or(control).as_ptr();
        for queue in 0..config.queues {
            self.step("rte_eth_rx_queue_setup", || {
                // SAFETY: the port is configured with that many queues; `rx_pool` lives until the port is closed (it is a
                // field of the port; the control pool's frames are not touched). Null: the driver's defaults, which
                // include the port's offloads.
                unsafe {
                    let default = core::ptr::null();
                    sys::rte_eth_rx_queue_setup(self.id, queue, rx_slots, 0, default, rx_pool)
                }
            })?;
            self.step("rte_eth_tx_queue_setup", || {
                // SAFETY: as above.
                unsafe {
                    let default = core::ptr::null();
                    sys::rte_eth_tx_queue_setup(self.id, queue, tx_slots, 0, default)
                }
            })?;
        }
        Ok(())
    }

    fn start(&self, config: &PortConfig) -> Result<(), Error> {
        // SAFETY: the port is configured and its queues are set up.
        self.step("rte_eth_dev_start", || unsafe {
            sys::rte_eth_dev_start(self.id)
        })?;
        self.started.store(true, Ordering::Release);
        // IPv6 neighbour discovery is multicast. Drivers that have no filter have no such call either.
        // SAFETY: the port is started.
        let _ = unsafe { sys::rte_eth_allmulticast_enable(self.id) };
        if config.promiscuous {
            // SAFETY: the port is started.
            self.step("rte_eth_promiscuous_enable", || unsafe {
                sys::rte_eth_promiscuous_enable(self.id)
            })?;
        }
        Ok(())
    }

    /// The port's link-layer address. The in-memory link has none, but neighbours ask for one: a locally administered
    /// address made of the port's number.
    fn mac(&self) -> Result<[u8; 6], Error> {
        if self.rings.is_some() {
            let [high, low] = self.id.to_be_bytes();
            return Ok([2, 0, 0, 1, high, low]);
        }
        let mut mac = sys::rte_ether_addr { addr_bytes: [0; 6] };
        self.step("rte_eth_macaddr_get", || {
            // SAFETY: the port is open, and `mac` is writable.
            unsafe { sys::rte_eth_macaddr_get(self.id, &raw mut mac) }
        })?;
        Ok(mac.addr_bytes)
    }

    /// Runs one call of DPDK that returns 0 or a negative errno.
    fn step(&self, step: &'static str, call: impl FnOnce() -> i32) -> Result<(), Error> {
        let capture = Capture::start();
        match call() {
            0 => Ok(()),
            errno => Err(Error::PortSetup {
                port: self.link.clone(),
                step,
                reason: capture.failure(errno),
            }),
        }
    }
}

impl Drop for PortInner {
    fn drop(&mut self) {
        let capture = Capture::start();
        // SAFETY: no queue is left (each holds the Arc that this is the end of), so nobody polls. `device` belongs to
        // this port alone; removing it closes what the driver has left.
        unsafe {
            if self.started.load(Ordering::Acquire) {
                sys::rte_eth_dev_stop(self.id);
            }
            sys::rte_eth_dev_close(self.id);
            if !self.device.is_null() {
                sys::rte_dev_remove(self.device);
            }
        }
        drop(capture);
    }
}

/// Which flags of received frames mean something on this port.
fn keep_rx_flags(caps: &Caps, in_memory: bool, driver: &str) -> u64 {
    // The in-memory link's sender clears them, while the mbuf is in its cache (`TxQueue`).
    let never_stale = in_memory || FRESH_MBUF_DRIVERS.contains(&driver);
    if never_stale || (caps.rx_ipv4_checksum && caps.rx_tcp_checksum) {
        return u64::MAX;
    }
    let mut keep = 0;
    if caps.rx_ipv4_checksum {
        keep |= sys::SL_MBUF_RX_IP_CKSUM_MASK;
    }
    if caps.rx_tcp_checksum {
        keep |= sys::SL_MBUF_RX_L4_CKSUM_MASK;
    }
    keep
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_negotiated_flags_survive_on_a_driver_that_could_leave_stale_ones() {
        let mut caps = Caps {
            link: String::new(),
            mtu: 1500,
            rx_ipv4_checksum: false,
            rx_tcp_checksum: false,
            tx_ipv4_checksum: true,
            tx_tcp_checksum: true,
            tx_multi_seg: true,
        };
        assert_eq!(keep_rx_flags(&caps, false, "net_null"), 0);
        assert_eq!(
            keep_rx_flags(&caps, false, "net_memif"),
            u64::MAX,
            "fresh mbufs"
        );
        assert_eq!(
            keep_rx_flags(&caps, true, "net_ring"),
            u64::MAX,
            "cleared by the sender"
        );
        caps.rx_tcp_checksum = true;
        let tcp = keep_rx_flags(&caps, false, "net_vmxnet3");
        assert_eq!(tcp, sys::SL_MBUF_RX_L4_CKSUM_MASK);
        caps.rx_ipv4_checksum = true;
        assert_eq!(keep_rx_flags(&caps, false, "net_e1000_em"), u64::MAX);
    }
}
