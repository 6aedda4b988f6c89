//! A replayed seed's frames: those that arrived as a capture file that tcpdump and Wireshark read, and all of them, lost ones too,
//! as a text with a line each.
//!
//! It must never be written in an ordinary run.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, TsResolution};

use stack::sim::inspect::{self, Tcp};
use stack::sim::trace::Crossing;
use stack::time::Instant;

/// Writes what arrived, in the order of arrival, to `target/sim-seed-N.pcap`, and all frames, in the order of sending, to
/// `target/sim-seed-N.txt`.
pub(crate) fn write(seed: u64, trace: &[Crossing]) {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let text: String = trace.iter().map(line).collect();
    std::fs::write(target.join(format!("sim-seed-{seed}.txt")), text).expect("room for the text");
    let path = target.join(format!("sim-seed-{seed}.pcap"));
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

/// Time of sending, what became of it, and the segment: sequence and acknowledgment numbers are those on the wire.
fn line(crossing: &Crossing) -> String {
    let mut line = format!(
        "{:>14} host {} ",
        nanoseconds(crossing.sent_at),
        crossing.from.0
    );
    let _ = match crossing.arrives_at {
        Some(at) => write!(line, "{:?} at {}", crossing.fate, nanoseconds(at)),
        None => write!(line, "{:?}", crossing.fate),
    };
    let vlan = inspect::vlan(&crossing.bytes);
    let _ = match Tcp::of(&crossing.bytes) {
        Some(tcp) => {
            let [from, to] = tcp.ports();
            let letters = "FSRPAUEC".char_indices();
            let set = letters.filter(|(bit, _)| tcp.flags() >> bit & 1 == 1);
            let flags: String = set.map(|(_, letter)| letter).collect();
            let (seq, ack, len) = (tcp.seq(), tcp.ack(), tcp.payload().len());
            let (window, clocks) = (tcp.window(), tcp.timestamps());
            writeln!(
                line,
                ", VLAN {vlan} {from} > {to} [{flags}] seq {seq} ack {ack} win {window} len {len} ts {clocks:?}"
            )
        }
        None => writeln!(line, ", VLAN {vlan}, {} bytes", crossing.bytes.len()),
    };
    line
}

fn nanoseconds(at: Instant) -> u128 {
    (at - Instant::ZERO).as_nanos()
}
