//! The same frames in each format, behind each link header, over both families, whole and cut.

use std::borrow::Cow;
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use stack::tcp::lang::{ack, data, rst, syn};

use super::tape::{START_NS, Tape, read};
use crate::analysis::{Analysis, Limits};
use crate::situation::Situation;

fn refused() -> Tape {
    Tape::new()
        .client(0, syn().seq(0).mss(1460))
        .server(1, rst().seq(0).ack(1))
}

#[track_caller]
fn is_refused(analysis: &Analysis) {
    let judged = analysis.judged();
    assert_eq!(judged.len(), 1);
    assert_eq!(judged[0].verdict.situation, Situation::PortClosed);
    assert_eq!(judged[0].connection.ends[1].to_string(), "198.18.0.2:81");
}

/// The frames behind another header than Ethernet's, as pcap.
fn behind(number: u32, header: &[u8]) -> Vec<u8> {
    let mut tape = refused();
    for (_, bytes) in &mut tape.frames {
        bytes.splice(..14, header.iter().copied());
    }
    let mut file = tape.pcap(usize::MAX);
    file[20..24].copy_from_slice(&number.to_le_bytes());
    file
}

#[test]
fn every_link_header_is_read() {
    let sll = [0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0];
    let sll2 = [8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
    let tagged = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0, 0, 7, 8, 0];
    let twice = [
        2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xa8, 0, 9, 0x81, 0, 0, 7, 8, 0,
    ];
    let cases: [(u32, &[u8]); 8] = [
        (113, &sll),
        (276, &sll2),
        (1, &tagged),
        (1, &twice),
        (101, &[]),
        (228, &[]),
        (0, &[2, 0, 0, 0]),
        (108, &[0, 0, 0, 2]),
    ];
    for (number, header) in cases {
        is_refused(&read(&behind(number, header), Limits::default()));
    }
    let unknown = read(&behind(147, &[]), Limits::default());
    assert_eq!((unknown.frames().all, unknown.frames().other), (2, 2));
}

#[test]
fn pcapng_keeps_the_time_of_each_interface() {
    let mut writer = PcapNgWriter::new(Vec::new()).expect("a vector takes all");
    for resolution in [9, 6] {
        let interface = InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: 0,
            options: vec![InterfaceDescriptionOption::IfTsResol(resolution)],
        };
        writer
            .write_pcapng_block(interface)
            .expect("a vector takes all");
    }
    let tape = refused();
    for (interface_id, units_per_ns) in [(0, 1), (1, 1_000)] {
        let (at_ns, bytes) = &tape.frames[interface_id as usize];
        let packet = EnhancedPacketBlock {
            interface_id,
            // This writer takes ns for whatever the interface's units are.
            timestamp: Duration::from_nanos(at_ns / units_per_ns),
            original_len: bytes.len() as u32,
            data: Cow::Borrowed(bytes),
            options: Vec::new(),
        };
        writer
            .write_pcapng_block(packet)
            .expect("a vector takes all");
    }
    let file = writer.into_inner();
    let analysis = read(&file, Limits::default());
    is_refused(&analysis);
    assert_eq!(analysis.first_ns(), START_NS);
    assert_eq!(analysis.last_ns(), START_NS + 1_000_000);
}

#[test]
fn a_pipe_that_gives_one_byte_at_a_time_is_read_as_well() {
    struct Slow<'a>(&'a [u8]);
    impl std::io::Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let len = into.len().min(1);
            self.0.read(&mut into[..len])
        }
    }
    let file = refused().pcap(usize::MAX);
    let mut analysis = Analysis::new(Limits::default());
    crate::capture::read(Slow(&file), |frame| {
        analysis.take(&frame);
        std::ops::ControlFlow::Continue(())
    })
    .expect("a capture");
    is_refused(&analysis);
}

#[test]
fn cut_frames_keep_their_lengths() {
    let tape = Tape::new()
        .handshake()
        .client(10, data(1_400).seq(1).ack(1))
        .server(11, ack().seq(1).ack(1_401));
    let analysis = read(&tape.pcap(96), Limits::default());
    let judged = analysis.judged();
    assert_eq!(
        judged[0]
            .connection
            .side(crate::side::End::Client)
            .new_bytes,
        1_400
    );
    assert_eq!(judged[0].verdict.situation, Situation::Normal);
}

#[test]
fn ipv6_is_read_behind_extension_headers_too() {
    let tape = Tape::between("[2001:db8::1]:40001", "[2001:db8::2]:81")
        .client(0, syn().seq(0))
        .server(1, rst().seq(0).ack(1));
    let verdict = |tape: &Tape| tape.verdict().0;
    assert_eq!(verdict(&tape), Situation::PortClosed);
    let mut extended = tape;
    for (_, bytes) in &mut extended.frames {
        // A hop-by-hop header of 8 bytes: padding alone.
        bytes.splice(54..54, [bytes[20], 0, 1, 4, 0, 0, 0, 0]);
        bytes[20] = 0;
        let len = u16::from_be_bytes([bytes[18], bytes[19]]) + 8;
        bytes[18..20].copy_from_slice(&len.to_be_bytes());
    }
    assert_eq!(verdict(&extended), Situation::PortClosed);
}

#[test]
fn offloaded_checksums_and_frames_beyond_the_mss_are_no_damage() {
    let mut tape = Tape::new()
        .handshake()
        .client(10, data(9_000).seq(1).ack(1))
        .server(11, ack().seq(1).ack(9_001));
    for (_, bytes) in &mut tape.frames {
        let [src, dst] =
            [26, 30].map(|at| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let len = (bytes.len() - 34) as u16;
        let sum = !stack::wire::checksum::pseudo_v4(src, dst, 6, len)
            .finish()
            .get();
        bytes[50..52].copy_from_slice(&sum.to_be_bytes());
    }
    let analysis = tape.analysis(Limits::default());
    let judged = analysis.judged()[0];
    assert_eq!(judged.verdict.situation, Situation::Normal);
    assert_eq!(
        judged.connection.side(crate::side::End::Client).oversized,
        1
    );
}

#[test]
fn a_wrong_checksum_among_right_ones_is_damage() {
    let mut tape = Tape::new().handshake();
    for n in 0..6 {
        tape = tape
            .client(10 + n, data(10).seq(1 + 10 * n as u32).ack(1))
            .server(10 + n, ack().seq(1).ack(11 + 10 * n as u32));
    }
    let at = tape.frames.len() - 2;
    let (_, damaged) = &mut tape.frames[at];
    let last = damaged.len() - 1;
    damaged[last] ^= 0x55;
    assert_eq!(tape.verdict().0, Situation::Corruption);
}
