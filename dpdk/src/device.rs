//! [`PortInner`]: one Ethernet device of DPDK, from its opening to its removal.
//!
//! Its owners are a port and the port's queues. It must never be stopped while one of them is left.

use core::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dpdk_sys as sys;
use nic::Caps;

use crate::drivers::{self, Driver};
use crate::eal::EalInner;
use crate::log::Capture;
use crate::port::config::{self, PortConfig};
use crate::port::rss;
use crate::rings::Rings;
use crate::{Error, Mempool};

/// How long frames may take from the driver's ring to the wire, and back to their pools.
pub(crate) const SETTLE: Duration = Duration::from_millis(500);
/// How often is looked meanwhile.
pub(crate) const LOOK: Duration = Duration::from_millis(2);

/// The device itself. Stops, closes and removes it on drop.
#[derive(Debug)]
pub(crate) struct PortInner {
    pub(crate) id: u16,
    pub(crate) device: *mut sys::rte_device,
    pub(crate) name: String,
    pub(crate) link: String,
    /// DPDK's name of the driver.
    pub(crate) driver_name: String,
    /// The known quirks.
    pub(crate) driver: &'static Driver,
    /// Queue pairs in use.
    pub(crate) queues: u16,
    /// Flags that received frames keep: those that were negotiated, or everything where none can be stale.
    pub(crate) keep_rx_flags: u64,
    /// Received frames come without their VLAN tag, which stands beside.
    pub(crate) vlan_strip: bool,
    /// VLAN tags of sent frames are left to the driver, with these bits flipped on purpose.
    pub(crate) vlan_insert: Option<u16>,
    /// The device cuts large segments.
    pub(crate) cuts_segments: bool,
    pub(crate) started: AtomicBool,
    // Below: freed after the port is closed, in this order.
    pub(crate) rx_pool: Option<Mempool>,
    pub(crate) rings: Option<Arc<Rings>>,
    pub(crate) eal: Arc<EalInner>,
}

// SAFETY: `device` is only used in `drop`, where nothing else has the port. The other calls on a port from several threads
// (link, statistics) are thread-safe for different queues and read-only for the port.
unsafe impl Send for PortInner {}
// SAFETY: as above.
unsafe impl Sync for PortInner {}

impl PortInner {
    pub(crate) fn new(
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
            driver_name: String::new(),
            driver: drivers::of(""),
            queues: 0,
            keep_rx_flags: 0,
            vlan_strip: false,
            vlan_insert: None,
            cuts_segments: false,
            started: AtomicBool::new(false),
            rx_pool: None,
            rings,
            eal: Arc::clone(eal),
        };
        let info = port.info()?;
        port.device = info.device;
        if !info.driver_name.is_null() {
            // SAFETY: DPDK's driver names are static NUL-terminated strings.
            port.driver_name = unsafe { CStr::from_ptr(info.driver_name) }
                .to_string_lossy()
                .into();
            port.driver = drivers::of(&port.driver_name);
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
        self.driver.needs_gate
    }

    /// Whether segments come as large as the other end leaves them, as the device was opened.
    pub(crate) fn brings_large_segments(&self) -> bool {
        let may_stay_large = self.link.split(',').any(|option| option == "tso=1");
        self.driver.brings_large_segments && may_stay_large
    }

    /// Whether the other end gets the very mbufs that are sent here.
    pub(crate) fn passes_mbufs(&self) -> bool {
        self.rings.is_some()
    }

    pub(crate) fn keep_rx_flags(&self) -> u64 {
        self.keep_rx_flags
    }

    pub(crate) fn link_is_up(&self) -> bool {
        self.link_mbps().is_some()
    }

    pub(crate) fn link_mbps(&self) -> Option<u32> {
        let mut link = sys::sl_link {
            speed_mbps: 0,
            up: 0,
        };
        // SAFETY: the port is open as long as `self`, and `link` is writable.
        let known = unsafe { sys::sl_link_get(self.id, &raw mut link) } == 0;
        // RTE_ETH_SPEED_NUM_UNKNOWN is the largest number.
        let speed_mbps = if link.speed_mbps == u32::MAX {
            0
        } else {
            link.speed_mbps
        };
        (known && link.up != 0).then_some(speed_mbps)
    }

    pub(crate) fn usable_queues(&self, info: &sys::rte_eth_dev_info) -> u16 {
        let claimed = info.max_rx_queues.min(info.max_tx_queues);
        self.driver.usable_queues(claimed)
    }

    /// Requests that the driver would refuse in its own words, or accept and not carry out.
    pub(crate) fn check_limits(
        &self,
        info: &sys::rte_eth_dev_info,
        config: &PortConfig,
    ) -> Result<(), Error> {
        let max = self.usable_queues(info);
        if config.queues == 0 || config.queues > max {
            return Err(Error::TooManyQueues {
                port: self.link.clone(),
                wanted: config.queues,
                max,
                more: self.driver.more_queues,
            });
        }
        let (min, max) = config::mtu_range(info);
        if !(min..=max).contains(&config.mtu) {
            return Err(Error::Mtu {
                port: self.link.clone(),
                driver: self.driver_name.clone(),
                wanted: config.mtu,
                min,
                max,
            });
        }
        self.check_rx_buffer(info, config)
    }

    /// Whether the driver receives into buffers of that size.
    fn check_rx_buffer(
        &self,
        info: &sys::rte_eth_dev_info,
        config: &PortConfig,
    ) -> Result<(), Error> {
        // The in-memory link receives the buffers of the other side.
        if self.rings.is_some() {
            return Ok(());
        }
        let buffer = config.rx_buffer_bytes();
        let refused = |why, min| {
            Err(Error::RxBuffer {
                port: self.link.clone(),
                driver: self.driver_name.clone(),
                why,
                buffer,
                min,
            })
        };
        if u32::from(buffer) < info.min_rx_bufsize {
            return refused("takes no shorter receive buffers", info.min_rx_bufsize);
        }
        let scatters = info.rx_offload_capa & sys::SL_RX_OFFLOAD_SCATTER != 0
            && !self.driver.loses_scattered_frames;
        if config.needs_scatter() && !(scatters && config.offloads.rx_scatter) {
            let why = if scatters {
                "may not receive a packet into several buffers (--no-offload rx-scatter)"
            } else {
                "can't receive a packet into several buffers"
            };
            return refused(why, config::longest_frame_bytes(config.mtu).into());
        }
        Ok(())
    }

    pub(crate) fn info(&self) -> Result<sys::rte_eth_dev_info, Error> {
        // SAFETY: an all-zero rte_eth_dev_info is valid (integers and nullable pointers), and DPDK fills it.
        unsafe {
            let mut info: sys::rte_eth_dev_info = core::mem::zeroed();
            self.step("rte_eth_dev_info_get", || {
                sys::rte_eth_dev_info_get(self.id, &raw mut info)
            })?;
            Ok(info)
        }
    }

    /// The offloads of LRO: the device verifies the checksums of the segments that it puts together, which are longer than a buffer.
    fn lro(&self, info: &sys::rte_eth_dev_info, config: &PortConfig) -> u64 {
        let needed = sys::SL_RX_OFFLOAD_TCP_LRO | sys::SL_RX_OFFLOAD_TCP_CKSUM;
        let may = config.offloads.lro
            && config.offloads.rx_checksum
            && !self.driver.loses_scattered_frames
            && info.rx_offload_capa & needed == needed;
        if may {
            sys::SL_RX_OFFLOAD_TCP_LRO | sys::SL_RX_OFFLOAD_SCATTER
        } else {
            0
        }
    }

    pub(crate) fn configure(
        &self,
        info: &sys::rte_eth_dev_info,
        config: &PortConfig,
    ) -> Result<(u64, u64), Error> {
        let allowed = |is_allowed: bool, offloads| if is_allowed { offloads } else { 0 };
        let may = &config.offloads;
        let rx_offloads = info.rx_offload_capa
            & (allowed(
                may.rx_checksum,
                sys::SL_RX_OFFLOAD_IPV4_CKSUM | sys::SL_RX_OFFLOAD_TCP_CKSUM,
            ) | allowed(config.needs_scatter(), sys::SL_RX_OFFLOAD_SCATTER)
                | self.lro(info, config)
                | allowed(may.vlan_strip, sys::SL_RX_OFFLOAD_VLAN_STRIP));
        let vlan_filter = if self.names_vlans(config) {
            info.rx_offload_capa & sys::SL_RX_OFFLOAD_VLAN_FILTER
        } else {
            0
        };
        let may_sum_tcp = may.tx_checksum && !self.driver.sums_odd_chains_wrong;
        let may_cut = may.tso && may_sum_tcp && may.tx_multi_seg;
        let mut tx_offloads = info.tx_offload_capa
            & (allowed(may_cut, sys::SL_TX_OFFLOAD_TCP_TSO)
                | allowed(may.tx_checksum, sys::SL_TX_OFFLOAD_IPV4_CKSUM)
                | allowed(may_sum_tcp, sys::SL_TX_OFFLOAD_TCP_CKSUM)
                | allowed(may.tx_multi_seg, sys::SL_TX_OFFLOAD_MULTI_SEGS)
                | allowed(may.vlan_insert, sys::SL_TX_OFFLOAD_VLAN_INSERT));
        let with_cutting = sys::SL_TX_OFFLOAD_TCP_CKSUM | sys::SL_TX_OFFLOAD_MULTI_SEGS;
        if tx_offloads & with_cutting != with_cutting {
            tx_offloads &= !sys::SL_TX_OFFLOAD_TCP_TSO;
        }
        // SAFETY: an all-zero rte_eth_conf is valid and means "the default" for every field (DPDK's examples start so).
        let mut conf: sys::rte_eth_conf = unsafe { core::mem::zeroed() };
        conf.rxmode.mtu = u32::from(config.mtu);
        conf.rxmode.max_lro_pkt_size = info.max_lro_pkt_size;
        conf.rxmode.offloads = rx_offloads | vlan_filter;
        conf.txmode.offloads = tx_offloads;
        let rss = info.flow_type_rss_offloads & (sys::SL_RSS_IP | sys::SL_RSS_TCP);
        let mut key = rss::key_for(info.hash_key_size, &config.rss_key);
        if config.queues > 1 && rss != 0 && may.rss {
            conf.rxmode.mq_mode = sys::rte_eth_rx_mq_mode::RTE_ETH_MQ_RX_RSS;
            conf.rx_adv_conf.rss_conf.rss_hf = rss;
            if let Some((key, bytes)) = &mut key {
                conf.rx_adv_conf.rss_conf.rss_key = key.as_mut_ptr();
                conf.rx_adv_conf.rss_conf.rss_key_len = *bytes;
            }
        }
        self.step("rte_eth_dev_configure", || {
            // SAFETY: the port is open and stopped, and `conf` and `key` live through the call; DPDK copies both.
            unsafe {
                sys::rte_eth_dev_configure(self.id, config.queues, config.queues, &raw const conf)
            }
        })?;
        Ok((rx_offloads, tx_offloads))
    }

    pub(crate) fn set_up_queues(
        &self,
        config: &PortConfig,
        control: &Mempool,
    ) -> Result<(), Error> {
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

    pub(crate) fn start(&self, config: &PortConfig) -> Result<(), Error> {
        // SAFETY: the port is configured and its queues are set up.
        self.step("rte_eth_dev_start", || unsafe {
            sys::rte_eth_dev_start(self.id)
        })?;
        self.started.store(true, Ordering::Release);
        // IPv6 neighbour discovery is multicast. Drivers that have no filter have no such call either.
        // SAFETY: the port is started.
        let _ = unsafe { sys::rte_eth_allmulticast_enable(self.id) };
        if self.names_vlans(config) && self.pass_vlans(config) {
            return Ok(());
        }
        // A device that drops the VLANs that are not configured passes all of them in promiscuous mode.
        if config.promiscuous || self.driver.drops_vlans {
            // SAFETY: the port is started.
            self.step("rte_eth_promiscuous_enable", || unsafe {
                sys::rte_eth_promiscuous_enable(self.id)
            })?;
        }
        Ok(())
    }

    /// Whether the device wants to hear which VLANs are to pass, and there are some to name.
    fn names_vlans(&self, config: &PortConfig) -> bool {
        self.driver.drops_vlans && !config.promiscuous && config.vlans.is_some()
    }

    /// Lets the named VLANs pass. False when the device refuses one.
    fn pass_vlans(&self, config: &PortConfig) -> bool {
        let tagged = config.vlans.iter().flatten().filter(|&&vlan| vlan != 0);
        // SAFETY: the port is started.
        tagged
            .copied()
            .all(|vlan| unsafe { sys::rte_eth_dev_vlan_filter(self.id, vlan, 1) } == 0)
    }

    /// Gives the NIC another indirection table than the one that it has said.
    pub(crate) fn reverse_indirection_table(&self) -> Result<(), Error> {
        // SAFETY: integers and arrays of integers, for which zero is valid.
        let mut rss: sys::sl_rss = unsafe { core::mem::zeroed() };
        self.step("rte_eth_dev_rss_reta_update", || {
            // SAFETY: the port is started, and `rss` is writable.
            unsafe {
                match sys::sl_rss_get(self.id, &raw mut rss) {
                    0 => sys::sl_rss_reverse_table(self.id, &raw const rss),
                    errno => errno,
                }
            }
        })
    }

    /// The port's link-layer address. The in-memory link has none, but neighbours ask for one: a locally administered
    /// address made of the port's number.
    pub(crate) fn mac(&self) -> Result<[u8; 6], Error> {
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
    pub(crate) fn step(&self, step: &'static str, call: impl FnOnce() -> i32) -> Result<(), Error> {
        let capture = Capture::start();
        match call() {
            0 => Ok(()),
            errno => {
                let said = capture.failure(errno);
                Err(Error::PortSetup {
                    port: self.link.clone(),
                    step,
                    reason: match drivers::plain_reason(&said) {
                        Some(plain) => format!("{plain} ({said})"),
                        None => said,
                    },
                })
            }
        }
    }

    /// Takes back the frames that were sent and that the driver still holds, where it holds received ones too: only then
    /// can learn what it keeps for good. No thread may poll.
    pub(crate) fn settle(&self) {
        let Some(pool) = &self.rx_pool else { return };
        let start = Instant::now();
        while self.driver.keeps_rx_frames && pool.in_use() > 0 && start.elapsed() < SETTLE {
            for queue in 0..self.queues {
                // SAFETY: the port is started and no thread polls (the caller's promise); no frame is handed over, so the
                // pointer is not read. The driver looks for frames that were sent (af_xdp/rte_eth_af_xdp.c, kick_tx).
                unsafe { sys::sl_tx_burst(self.id, queue, core::ptr::null_mut(), 0) };
            }
            std::thread::park_timeout(LOOK);
        }
    }
}

impl Drop for PortInner {
    fn drop(&mut self) {
        let capture = Capture::start();
        if self.started.load(Ordering::Acquire) {
            self.settle();
        }
        // SAFETY: no queue is left (each holds the Arc that this is the end of), so no thread polls. `device` belongs to
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
pub(crate) fn keep_rx_flags(caps: &Caps, in_memory: bool, driver: &Driver) -> u64 {
    // The in-memory link's sender clears them, while the mbuf is in its cache (`TxQueue`).
    let never_stale = in_memory || driver.resets_rx_flags;
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
        let mut caps = Caps::without_offloads(String::new(), 1500);
        assert_eq!(keep_rx_flags(&caps, false, drivers::of("net_null")), 0);
        assert_eq!(
            keep_rx_flags(&caps, false, drivers::of("net_memif")),
            u64::MAX,
            "fresh mbufs"
        );
        assert_eq!(
            keep_rx_flags(&caps, true, drivers::of("net_ring")),
            u64::MAX,
            "cleared by the sender"
        );
        caps.rx_tcp_checksum = true;
        let tcp = keep_rx_flags(&caps, false, drivers::of("net_vmxnet3"));
        assert_eq!(tcp, sys::SL_MBUF_RX_L4_CKSUM_MASK);
        caps.rx_ipv4_checksum = true;
        assert_eq!(
            keep_rx_flags(&caps, false, drivers::of("net_e1000_em")),
            u64::MAX
        );
    }
}
