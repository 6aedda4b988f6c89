//! Quirks of DPDK's drivers, where they do otherwise than they say: one table, each entry with its source.
//!
//! It must never touch DPDK, and no other file may compare the name that a port gives of its driver: what is new about a
//! driver is a field here. `docs/reference/drivers.md` says the same to users; a test holds the two together. Sources
//! are files of DPDK 22.11 below `drivers/net`, unless they say otherwise.

use crate::PortStats;

/// Queues that drivers of software sum up in their statistics (`RTE_ETHDEV_QUEUE_STAT_CNTRS`); the rest counts nowhere.
const COUNTED_QUEUES: u16 = 16;

/// Buffers that are enough for a packet of 64 kB, at 1,024 bytes each.
const TSO_BUFFERS_MAX: u16 = 66;

/// The known quirks of one driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Driver {
    /// DPDK's name of it.
    pub(crate) name: &'static str,
    /// Queue pairs that carry frames, of those that it claims.
    pub(crate) queues: Queues,
    /// How it comes to have more queue pairs, as the end of a sentence.
    pub(crate) more_queues: &'static str,
    /// How it counts what it sent.
    pub(crate) tx_count: TxCount,
    /// Queues that its statistics sum up.
    pub(crate) counted_queues: u16,
    /// Its received mbufs are freshly reset (`rte_pktmbuf_alloc`): no flag of an earlier owner can be in them.
    pub(crate) resets_rx_flags: bool,
    /// It sums the segments of a chain without regard to where each begins: an odd one in the middle makes a wrong TCP
    /// checksum. We sum ourselves for it.
    pub(crate) sums_odd_chains_wrong: bool,
    /// Polling must stop while its peer goes away.
    pub(crate) needs_gate: bool,
    /// It raises a signal for each received frame, which nothing here needs ([`crate::tap`]).
    pub(crate) raises_signals: bool,
    /// It fills its ring when the queue is set up, and never gives those frames back, not even when it is closed.
    pub(crate) keeps_rx_frames: bool,
    /// Buffers at most of a frame that it cuts into segments.
    pub(crate) tso_buffers_max: u16,
    /// It offers to receive a frame into several buffers, and no such frame arrives.
    pub(crate) loses_scattered_frames: bool,
    /// Opened with `tso=1` it brings the large segments of its peer as they are, though it offers no LRO.
    pub(crate) brings_large_segments: bool,
    /// A frame sent on a queue at one end of its link arrives on the same queue of the other.
    pub(crate) keeps_queues: bool,
    /// It drops the frames of every VLAN that it is not configured to pass.
    pub(crate) drops_vlans: bool,
    /// The advice when the link is down.
    pub(crate) link_hint: &'static str,
}

/// Which numbers of queue pairs work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queues {
    /// Those that it claims.
    AsClaimed,
    /// So many at most, whatever it claims.
    AtMost(u16),
}

/// How a driver counts the frames that its send function took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TxCount {
    /// Each frame taken is a frame sent. Errors are frames that it did not take.
    Taken,
    /// Each frame taken is a frame sent or an error.
    TakenOrFailed,
    /// As `Taken`, but it forgets its counters when the link goes down.
    TakenWhileUp,
    /// The device counts what left it: later than it was taken, and frames of its own (flow control, LLDP) besides.
    OnTheWire,
}

/// The quirks of unknown drivers: most are hardware.
const UNKNOWN: Driver = Driver {
    name: "",
    queues: Queues::AsClaimed,
    more_queues: "the device has no more",
    tx_count: TxCount::OnTheWire,
    counted_queues: u16::MAX,
    resets_rx_flags: false,
    sums_odd_chains_wrong: false,
    needs_gate: false,
    raises_signals: false,
    keeps_rx_frames: false,
    tso_buffers_max: TSO_BUFFERS_MAX,
    loses_scattered_frames: false,
    brings_large_segments: false,
    keeps_queues: false,
    drops_vlans: false,
    link_hint: "cable, switch port, or the other side",
};

/// The quirks of most software drivers.
const SOFTWARE: Driver = Driver {
    tx_count: TxCount::Taken,
    counted_queues: COUNTED_QUEUES,
    ..UNKNOWN
};

/// The table.
pub(crate) const DRIVERS: &[Driver] = &[
    Driver {
        name: "net_ring",
        keeps_queues: true,
        ..SOFTWARE
    },
    Driver {
        name: "net_null",
        ..SOFTWARE
    },
    Driver {
        name: "net_tap",
        more_queues: "net_tap has 16",
        // tap/rte_eth_tap.c, pmd_rx_burst: rte_pktmbuf_alloc for each.
        resets_rx_flags: true,
        // tap/rte_eth_tap.c, tap_tx_l4_add_rcksum.
        sums_odd_chains_wrong: true,
        // tap/rte_eth_tap.c, tun_alloc: O_ASYNC and F_SETSIG.
        raises_signals: true,
        link_hint: "`ip link set dev NAME up`",
        ..SOFTWARE
    },
    Driver {
        name: "net_memif",
        // memif/memif_socket.c, memif_disconnect: clears `run`, which says how many queues the statistics sum up.
        tx_count: TxCount::TakenWhileUp,
        // memif/rte_eth_memif.c, eth_memif_rx: rte_pktmbuf_alloc_bulk.
        resets_rx_flags: true,
        // memif/rte_eth_memif.c, memif_free_regions: unmaps under a thread that polls (docs/decisions/0008-memif-gate.md).
        needs_gate: true,
        // memif/rte_eth_memif.c: ring i of each direction is queue i at both ends.
        keeps_queues: true,
        link_hint: "is the peer started, with the same socket and id?",
        ..SOFTWARE
    },
    Driver {
        name: "net_af_packet",
        more_queues: "give the device more of them: net_af_packet0,iface=NAME,qpairs=N",
        // af_packet/rte_eth_af_packet.c, eth_af_packet_tx: what it can't send it frees and counts.
        tx_count: TxCount::TakenOrFailed,
        // af_packet/rte_eth_af_packet.c, eth_af_packet_rx: rte_pktmbuf_alloc for each.
        resets_rx_flags: true,
        ..SOFTWARE
    },
    Driver {
        name: "net_af_xdp",
        more_queues: "the interface needs as many (`ethtool -L`), and the device: af_xdp:NAME,queue_count=N",
        // af_xdp/rte_eth_af_xdp.c, xsk_configure fills a ring of 2048, eth_dev_close does not empty it.
        keeps_rx_frames: true,
        ..SOFTWARE
    },
    Driver {
        name: "net_pcap",
        more_queues: "give the device more of them: repeat rx_iface= and tx_iface=",
        // pcap/pcap_ethdev.c, eth_pcap_tx and eth_pcap_tx_dumper: what can't be written is freed and counted.
        tx_count: TxCount::TakenOrFailed,
        ..SOFTWARE
    },
    Driver {
        name: "net_virtio",
        // virtio/virtio_ethdev.c, virtio_dev_info_get: as many pairs as the device offers.
        more_queues: "the device offers no more (QEMU: queues=N on the netdev, mq=on on the device)",
        // virtio/virtio_ethdev.c, virtio_update_stats: what was queued, over all queues.
        tx_count: TxCount::Taken,
        // virtio/virtio_ethdev.h, VIRTIO_PMD_DEFAULT_GUEST_FEATURES: takes VIRTIO_NET_F_CTRL_VLAN, with which a device
        // filters (virtio 1.2, 5.1.6.5.3).
        drops_vlans: true,
        ..UNKNOWN
    },
    Driver {
        name: "net_virtio_user",
        more_queues: "give the device more of them: queues=N, on both sides",
        tx_count: TxCount::Taken,
        keeps_queues: true,
        ..UNKNOWN
    },
    Driver {
        name: "net_vhost",
        more_queues: "give the device more of them: queues=N, on both sides",
        // vhost/rte_eth_vhost.c, eth_vhost_tx: what the guest's ring had no room for is not taken.
        tx_count: TxCount::Taken,
        // vhost/rte_eth_vhost.c with tso=1: the guest may leave its segments uncut (VIRTIO_NET_F_HOST_TSO4), and
        // lib/vhost/virtio_net.c puts each into a chain.
        brings_large_segments: true,
        // vhost/rte_eth_vhost.c: vring 2i and 2i + 1 are the two directions of queue i.
        keeps_queues: true,
        link_hint: "is the guest started, with the same socket?",
        ..UNKNOWN
    },
    Driver {
        name: "net_e1000_em",
        // e1000/em_ethdev.c, eth_em_infos_get: claims two and says why one works; frames on the second TX queue of an
        // 82540EM never leave, and no counter says so (tried on QEMU's e1000).
        queues: Queues::AtMost(1),
        more_queues: "its driver claims two, but frames on the second never leave",
        ..UNKNOWN
    },
    Driver {
        name: "net_e1000_igb",
        ..UNKNOWN
    },
    Driver {
        name: "net_vmxnet3",
        // vmxnet3/vmxnet3_ethdev.h, VMXNET3_MAX_TSO_TXD_PER_PKT, which it doesn't say; vmxnet3_prep_pkts refuses more.
        tso_buffers_max: 24,
        // Tried on QEMU's vmxnet3 (7.2), which delivers none of them and counts nothing; no other one was had.
        loses_scattered_frames: true,
        more_queues: "the device has no more interrupts or CPUs for them",
        ..UNKNOWN
    },
];

/// Reasons of DPDK that users can't act on: part of DPDK's words, and cause and fix in ours.
const REASONS: &[(&str, &str)] = &[
    // vmxnet3/vmxnet3_ethdev.c, vmxnet3_dev_configure: devices before version 6.
    (
        "Number of rx queues not power of 2",
        "this vmxnet3 takes 1, 2, 4, 8 or 16 queues: use --queues 2",
    ),
    // virtio/virtio_ethdev.c, virtio_dev_configure.
    (
        "rx checksum not available on this host",
        "the device offers checksums and then refuses them; give it none (QEMU: guest_csum=off)",
    ),
    // virtio/virtio_ethdev.c, virtio_rx_check_scatter.
    (
        "Rx scatter is disabled and RxQ mbuf pool object size is too small",
        "its frames are longer than the buffers: use a smaller --mtu",
    ),
    // af_xdp/rte_eth_af_xdp.c, xsk_configure: the kernel has one AF_XDP socket for each queue of an interface.
    (
        "Failed to create xsk socket",
        "the kernel gives no AF_XDP socket: the queue has one already, or the interface has no such queue",
    ),
];

/// The known quirks of the driver `name`.
pub(crate) fn of(name: &str) -> &'static Driver {
    let known = DRIVERS.iter().find(|driver| driver.name == name);
    known.unwrap_or(&UNKNOWN)
}

/// Cause and fix for what DPDK said, where we know better words.
pub(crate) fn plain_reason(said: &str) -> Option<&'static str> {
    let known = REASONS.iter().find(|(part, _)| said.contains(part));
    known.map(|(_, plain)| *plain)
}

impl Driver {
    /// Buffers at most of a frame that it cuts into segments, where it says `claimed` (0: nothing).
    pub(crate) fn tso_buffers(&self, claimed: u16) -> u16 {
        if claimed == 0 {
            self.tso_buffers_max
        } else {
            claimed.min(self.tso_buffers_max)
        }
    }

    /// Queue pairs that carry frames, of `claimed`.
    pub(crate) fn usable_queues(&self, claimed: u16) -> u16 {
        match self.queues {
            Queues::AsClaimed => claimed,
            Queues::AtMost(max) => claimed.min(max),
        }
    }
}

/// The driver's own count of sent frames, compared with the frames that it took.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TxCheck {
    /// All left, or failed under a counter.
    Equal,
    /// The driver's count can't be compared; why.
    NotCounted(String),
    /// More were taken than left or failed: so many went nowhere.
    Lost(u64),
    /// The driver counts so many that it was not given.
    Surplus(u64),
}

/// Compares what the driver `name` took over `queues` queues with what it counted. The link is up, or it is not.
pub(crate) fn check_tx(
    driver: &Driver,
    queues: u16,
    taken: u64,
    stats: &PortStats,
    link_is_up: bool,
) -> TxCheck {
    if queues > driver.counted_queues {
        let counted = driver.counted_queues;
        return TxCheck::NotCounted(format!("the driver counts its first {counted} queues only"));
    }
    if driver.tx_count == TxCount::TakenWhileUp && !link_is_up {
        return TxCheck::NotCounted("the driver forgets its counters with its peer".to_owned());
    }
    let nothing_counted = stats.rx_frames == 0 && stats.tx_frames == 0 && stats.tx_errors == 0;
    if driver.name.is_empty() && nothing_counted && taken > 0 {
        return TxCheck::NotCounted("the driver counts nothing".to_owned());
    }
    let counted = match driver.tx_count {
        TxCount::Taken | TxCount::TakenWhileUp => stats.tx_frames,
        TxCount::TakenOrFailed | TxCount::OnTheWire => stats.tx_frames + stats.tx_errors,
    };
    match taken.cmp(&counted) {
        core::cmp::Ordering::Equal => TxCheck::Equal,
        core::cmp::Ordering::Greater => TxCheck::Lost(taken - counted),
        // Frames of the device itself.
        core::cmp::Ordering::Less if driver.tx_count == TxCount::OnTheWire => TxCheck::Equal,
        core::cmp::Ordering::Less => TxCheck::Surplus(counted - taken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(tx_frames: u64, tx_errors: u64) -> PortStats {
        PortStats {
            rx_frames: 1,
            tx_frames,
            tx_errors,
            ..PortStats::default()
        }
    }

    #[test]
    fn a_planted_difference_is_found_for_every_driver() {
        for driver in DRIVERS.iter().chain([&UNKNOWN]) {
            let check = |taken, tx_frames| check_tx(driver, 1, taken, &stats(tx_frames, 0), true);
            assert_eq!(check(10, 10), TxCheck::Equal, "{}", driver.name);
            assert_eq!(check(10, 7), TxCheck::Lost(3), "{}", driver.name);
            let of_its_own = driver.tx_count == TxCount::OnTheWire;
            let surplus = if of_its_own {
                TxCheck::Equal
            } else {
                TxCheck::Surplus(2)
            };
            assert_eq!(check(10, 12), surplus, "{}", driver.name);
        }
    }

    #[test]
    fn errors_are_of_frames_taken_or_of_frames_refused() {
        let check = |name, taken| check_tx(of(name), 1, taken, &stats(10, 3), true);
        // net_tap took 10, and refused three that came again or were given up.
        assert_eq!(check("net_tap", 10), TxCheck::Equal);
        assert_eq!(check("net_tap", 13), TxCheck::Lost(3));
        // net_af_packet took 13 and freed three.
        assert_eq!(check("net_af_packet", 13), TxCheck::Equal);
        assert_eq!(check("net_af_packet", 10), TxCheck::Surplus(3));
    }

    #[test]
    fn what_is_not_counted_is_not_compared() {
        let not_counted = |check| matches!(check, TxCheck::NotCounted(_));
        assert!(not_counted(check_tx(
            of("net_null"),
            17,
            10,
            &stats(7, 0),
            true
        )));
        assert!(not_counted(check_tx(
            of("net_memif"),
            1,
            10,
            &stats(0, 0),
            false
        )));
        let nothing = PortStats::default();
        assert!(not_counted(check_tx(of("net_new"), 1, 10, &nothing, true)));
        // But a driver that we know to count has lost them all.
        let e1000 = check_tx(of("net_e1000_em"), 1, 10, &nothing, true);
        assert_eq!(e1000, TxCheck::Lost(10));
    }

    #[test]
    fn e1000_has_one_queue_whatever_it_claims() {
        assert_eq!(of("net_e1000_em").usable_queues(2), 1);
        assert_eq!(of("net_e1000_igb").usable_queues(8), 8);
        assert_eq!(of("net_new").usable_queues(3), 3);
    }

    #[test]
    fn a_frame_to_be_cut_has_no_more_buffers_than_the_driver_takes() {
        assert_eq!(of("net_vmxnet3").tso_buffers(255), 24);
        assert_eq!(of("net_e1000_igb").tso_buffers(255), 66);
        assert_eq!(of("net_new").tso_buffers(40), 40);
        assert_eq!(of("net_new").tso_buffers(0), 66);
    }

    #[test]
    fn known_reasons_of_dpdk_become_cause_and_fix() {
        let said = "Invalid argument [ERROR: Number of rx queues not power of 2]";
        let plain = plain_reason(said).expect("it is known");
        assert!(plain.contains("--queues 2"), "{plain}");
        assert_eq!(plain_reason("something else"), None);
    }

    #[test]
    fn the_page_for_users_has_every_driver() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/drivers.md");
        let text = std::fs::read_to_string(page).expect("the page");
        for driver in DRIVERS {
            let cell = format!("| `{}` |", driver.name);
            assert!(text.contains(&cell), "{cell} is missing in {page}");
        }
    }
}
