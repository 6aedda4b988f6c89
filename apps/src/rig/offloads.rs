//! [`OffloadArgs`]: what a run leaves to the NIC, as flags say it.
//!
//! It must never ask for an offload by force: what a driver lacks is done in software.

use clap::ValueEnum;
use dpdk::{OffloadFault, Offloads};

/// Work that may be left to the NIC.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct OffloadArgs {
    /// Do this in software although the NIC could: for finding out whether an offload is to blame; may be given several
    /// times [default: use every offload that the driver has]
    #[arg(
        long,
        value_enum,
        value_name = "OFFLOAD",
        value_delimiter = ',',
        hide_short_help = true
    )]
    no_offload: Vec<OffloadName>,

    /// Make requests to the NIC wrong, so that a test can show that it would notice
    #[arg(long, value_enum, hide = true)]
    offload_fault: Option<FaultName>,
}

/// An offload that can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OffloadName {
    /// Every one of them
    All,
    /// Verification of received checksums
    RxChecksum,
    /// Checksums of sent packets
    TxChecksum,
    /// Sending a packet from several buffers
    TxMultiSeg,
    /// Cutting large TCP segments (TSO); needs tx-checksum and tx-multi-seg
    Tso,
    /// Receiving a packet into several buffers
    RxScatter,
    /// Putting received TCP segments together (LRO); needs rx-checksum
    Lro,
    /// Taking the VLAN tag out of received frames
    VlanStrip,
    /// Putting the VLAN tag into sent frames
    VlanInsert,
    /// Spreading received packets over queues by the NIC's hash
    Rss,
}

/// A request that is wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FaultName {
    /// The sum of the pseudo-header is off by one
    PseudoHeader,
    /// The IP header is said to be one word longer than it is
    HeaderLength,
    /// The VLAN tags that the NIC is to put in name another VLAN
    VlanTag,
    /// The NIC's indirection table is reversed after it was read
    IndirectionTable,
}

impl OffloadArgs {
    /// Work that the port may leave to the NIC.
    pub(crate) fn offloads(&self) -> Offloads {
        let may = |name| {
            let off = &self.no_offload;
            !off.contains(&name) && !off.contains(&OffloadName::All)
        };
        Offloads {
            rx_checksum: may(OffloadName::RxChecksum),
            tx_checksum: may(OffloadName::TxChecksum),
            tx_multi_seg: may(OffloadName::TxMultiSeg),
            tso: may(OffloadName::Tso),
            rx_scatter: may(OffloadName::RxScatter),
            lro: may(OffloadName::Lro),
            vlan_strip: may(OffloadName::VlanStrip),
            vlan_insert: may(OffloadName::VlanInsert),
            rss: may(OffloadName::Rss),
        }
    }

    /// Requests that are wrong on purpose.
    pub(crate) fn fault(&self) -> Option<OffloadFault> {
        self.offload_fault.map(|fault| match fault {
            FaultName::PseudoHeader => OffloadFault::PseudoHeader,
            FaultName::HeaderLength => OffloadFault::HeaderLength,
            FaultName::VlanTag => OffloadFault::VlanTag,
            FaultName::IndirectionTable => OffloadFault::IndirectionTable,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_offloads_are_off() {
        let of = |names: &[OffloadName]| {
            let args = OffloadArgs {
                no_offload: names.to_vec(),
                offload_fault: None,
            };
            args.offloads()
        };
        assert_eq!(of(&[]), Offloads::ALL);
        let some = of(&[OffloadName::TxChecksum, OffloadName::Rss]);
        assert!(!some.tx_checksum && !some.rss && some.rx_checksum && some.tx_multi_seg);
        let none = of(&[OffloadName::All]);
        assert!(!none.tx_checksum && !none.rss && !none.rx_checksum && !none.tx_multi_seg);
        assert!(
            !none.tso && !none.lro && !none.rx_scatter && !none.vlan_strip && !none.vlan_insert
        );
    }
}
