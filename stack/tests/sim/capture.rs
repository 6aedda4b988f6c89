//! A replayed seed's frames as a capture file that tcpdump and Wireshark read.
//!
//! It must never be written in an ordinary run.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, TsResolution};

use stack::sim::trace::Crossing;

/// Writes what arrived, in the order of arrival, to `target/sim-seed-N.pcap`.
pub(crate) fn write(seed: u64, trace: &[Crossing]) {
    let name = format!("../target/sim-seed-{seed}.pcap");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let header = PcapHeader {
        datalink: DataLink::ETHERNET,
        ts_resolution: TsResolution::NanoSecond,
        ..PcapHeader::default()
    };
    let file = File::create(&path).expect("a place for the capture");
    let mut writer = PcapWriter::with_header(file, header).expect("a header");
    let mut arrived: Vec<_> = trace
        .iter()
        .filter_map(|crossing| Some((crossing.arrives_at?, crossing)))
        .collect();
    arrived.sort_by_key(|(at, _)| *at);
    let Some((first, _)) = arrived.first().copied() else {
        return;
    };
    for (at, crossing) in arrived {
        let len = crossing.bytes.len() as u32;
        let after = at - first + Duration::from_secs(1);
        let packet = PcapPacket::new(after, len, &crossing.bytes);
        writer.write_packet(&packet).expect("room for the capture");
    }
}
