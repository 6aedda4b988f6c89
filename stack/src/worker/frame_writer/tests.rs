//! Every segment is compared with what the slow builder of `wire` makes of the same fields, read back by the parser, and
//! its checksums are verified by a sum that shares no code with ours.

use core::net::SocketAddr;

use crate::local::addresses::LocalId;
use crate::nic::TxRequest;
use crate::nic::memory::{MemoryFrame, MemoryNic};
use crate::seq::SeqNum;
use crate::tcp::segment::Flags;
use crate::wire::{IpSpec, Link, Network, SegmentSpec, Transport, U16, parse};
use crate::worker::frame_writer::*;

const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const TTL: u8 = 61;

fn path(v6: bool, tagged: bool) -> Path {
    let (local, remote): (IpAddr, IpAddr) = if v6 {
        (
            "2001:2::2".parse().expect("an address"),
            "2001:2::ff1".parse().expect("an address"),
        )
    } else {
        ([198, 18, 0, 2].into(), [198, 18, 250, 1].into())
    };
    Path {
        key: FlowKey::new(LocalId(0), 80, remote, 54_321),
        local,
        route: Route {
            dst: PEER_MAC,
            // Priority 5, VLAN 7.
            vlan: tagged.then(|| vlan::Tag(U16::new(0xa007))),
        },
        is_doubtful: false,
    }
}

fn plan(options: SegmentOptions, payload_len: usize) -> SendPlan {
    SendPlan {
        seq: SeqNum(0xfffe_fdfc),
        ack: SeqNum(0x8182_8384),
        flags: Flags::ACK.with(Flags::PSH).with(Flags::URG),
        window: 0xf1f2,
        urgent: 0x3132,
        payload_len: payload_len as u32,
        options,
        ..SendPlan::default()
    }
}

fn all_options() -> [SegmentOptions; 4] {
    let timestamps = Some(Timestamps {
        tsval: 0xfefd_fcfb,
        tsecr: 0x0102_0304,
    });
    let only = SegmentOptions {
        timestamps,
        ..SegmentOptions::default()
    };
    let syn = SegmentOptions {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps,
    };
    let mss = SegmentOptions {
        mss: Some(536),
        ..SegmentOptions::default()
    };
    [SegmentOptions::default(), only, syn, mss]
}

/// RFC 1071 §4.1 word by word in network byte order.
fn naive(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let mut total = 0u32;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        total += u32::from(u16::from_be_bytes([pair[0], low]));
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// The pseudo-header of a packet, RFC 9293 §3.1, RFC 8200 §8.1.
fn pseudo(ip: &[u8], segment_len: usize) -> Vec<u8> {
    let addresses = if ip[0] >> 4 == 4 {
        &ip[12..20]
    } else {
        &ip[8..40]
    };
    [
        addresses,
        &(segment_len as u32).to_be_bytes(),
        &[0, 0, 0, 6],
    ]
    .concat()
}

/// A checksumming NIC: fills in the checksums, from what the frame says and nothing else.
fn complete(bytes: &mut [u8], request: TxRequest) {
    let (l3, l4) = (
        usize::from(request.l2_len),
        usize::from(request.l2_len) + usize::from(request.l3_len),
    );
    if request.ipv4_checksum {
        assert_eq!(bytes[l3 + 10..l3 + 12], [0, 0]);
        let sum = !naive(&[&bytes[l3..l4]]);
        bytes[l3 + 10..l3 + 12].copy_from_slice(&sum.to_be_bytes());
    }
    if request.tcp_checksum {
        let expected = naive(&[&pseudo(&bytes[l3..], bytes.len() - l4)]);
        assert_eq!(bytes[l4 + 16..l4 + 18], expected.to_be_bytes());
        let sum = !naive(&[&bytes[l4..]]);
        bytes[l4 + 16..l4 + 18].copy_from_slice(&sum.to_be_bytes());
    }
}

/// The same fields as the slow builder of `wire` writes them.
fn slowly(path: &Path, plan: &SendPlan, payload: &[u8]) -> Vec<u8> {
    let link = Link {
        dst: path.route.dst,
        src: OUR_MAC,
        vlan: path.route.vlan,
    };
    let source = SocketAddr::new(path.local, path.key.local_port());
    let destination = SocketAddr::new(path.key.remote(), path.key.remote_port());
    let options = plan.options.to_bytes();
    let blank = SegmentSpec::new(link, source, destination);
    let spec = SegmentSpec {
        ip: IpSpec {
            ttl: TTL,
            ..blank.ip
        },
        seq: plan.seq,
        ack: plan.ack,
        flags: plan.flags,
        window: plan.window,
        urgent: plan.urgent,
        options: options.as_padded(),
        payload,
        ..blank
    };
    let mut expected = vec![0; 2048];
    let len = spec.emit(&mut expected).expect("fits");
    expected.truncate(len);
    expected
}

/// The frame as it goes over the wire, checked against the plan.
fn check(frame: &MemoryFrame, path: &Path, plan: &SendPlan, payload: &[u8], caps: &Caps) {
    let mut bytes = frame.to_vec();
    let asked = frame.requested();
    assert_eq!(
        asked.is_some(),
        caps.tx_tcp_checksum || (caps.tx_ipv4_checksum && path.local.is_ipv4())
    );
    if let Some(request) = asked {
        assert_eq!(request.tcp_checksum, caps.tx_tcp_checksum);
        complete(&mut bytes, request);
    }
    let mut expected = slowly(path, plan, payload);
    let l3 = path.l3_offset();
    // IPv4's don't-fragment bit and its checksum are the two differences that the slow builder may have.
    if path.local.is_ipv4() {
        assert_eq!(bytes[l3 + 6..l3 + 8], [0x40, 0], "DF, RFC 6864");
        assert_eq!(naive(&[&bytes[l3..l3 + 20]]), 0xffff, "IPv4 checksum");
        let same = [
            bytes[l3 + 6..l3 + 8].to_vec(),
            bytes[l3 + 10..l3 + 12].to_vec(),
        ];
        expected[l3 + 6..l3 + 8].copy_from_slice(&same[0]);
        expected[l3 + 10..l3 + 12].copy_from_slice(&same[1]);
    }
    assert_eq!(bytes, expected);
    let l4 = l3 + if path.local.is_ipv4() { 20 } else { 40 };
    let segment = &bytes[l4..];
    assert_eq!(
        naive(&[&pseudo(&bytes[l3..], segment.len()), segment]),
        0xffff,
        "TCP checksum"
    );
    let parsed = parse(&bytes).expect("well-formed");
    let view = match parsed.network {
        Network::Ipv4 {
            transport: Transport::Tcp(view),
            ..
        }
        | Network::Ipv6 {
            transport: Transport::Tcp(view),
            ..
        } => view,
        other => panic!("not TCP: {other:?}"),
    };
    assert_eq!(view.payload, payload);
    assert_eq!(SegmentOptions::parse(view.options), plan.options);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Copy,
    With,
    Frame,
}

struct Bench {
    nic: MemoryNic,
    writer: SegmentWriter<MemoryFrame>,
    counters: Counters,
}

impl Bench {
    fn new(multi_seg: bool, ipv4: bool, tcp: bool) -> Self {
        let mut nic = MemoryNic::new(OUR_MAC.0);
        let caps = nic.caps_mut();
        caps.tx_multi_seg = multi_seg;
        caps.tx_ipv4_checksum = ipv4;
        caps.tx_tcp_checksum = tcp;
        Self {
            writer: SegmentWriter::new(OUR_MAC, TTL, nic.caps()),
            nic,
            counters: Counters::new(),
        }
    }

    fn body(&mut self, bytes: &[u8]) -> MemoryFrame {
        let mut burst = Burst::new();
        assert_eq!(self.nic.alloc(PoolClass::Data, &mut burst, 1), 1);
        let mut body = burst.take_front(1).next().expect("one");
        body.grow(bytes.len()).expect("room").copy_from_slice(bytes);
        body
    }

    /// Builds and checks one segment; `body` holds its payload behind 9 other bytes.
    fn build(
        &mut self,
        path: &Path,
        plan: &SendPlan,
        body: &mut MemoryFrame,
        pieces: &[(Piece, usize)],
    ) -> MemoryFrame {
        let (nic, counters) = (&mut self.nic, &mut self.counters);
        let mut draft = self
            .writer
            .begin(nic, counters, path, plan)
            .expect("a buffer");
        let mut at = 9;
        for &(piece, len) in pieces {
            let bytes = body.bytes()[at..at + len].to_vec();
            match piece {
                Piece::Copy => draft.append_copy(&bytes),
                Piece::With => draft.append_with(len, |into| into.copy_from_slice(&bytes)),
                Piece::Frame => draft.append_frame(body, at, len),
            }
            at += len;
        }
        let frame = draft.finish().expect("whole");
        let payload = body.bytes()[9..at].to_vec();
        check(&frame, path, plan, &payload, self.nic.caps());
        frame
    }

    /// Nothing is in use but `frames` after the stash was returned.
    fn ends_with(mut self, frames: usize) {
        self.writer.release(&mut self.nic);
        assert_eq!(self.nic.in_use(), frames, "a leak");
    }
}

fn text() -> Vec<u8> {
    (0..2000_u32).map(|i| ((i * 167) >> 3) as u8).collect()
}

/// All ways to put one to four pieces together.
fn mixtures() -> Vec<Vec<Piece>> {
    let mut all: Vec<Vec<Piece>> = vec![Vec::new()];
    let mut found = Vec::new();
    for _ in 0..4 {
        all = all
            .iter()
            .flat_map(|pieces| {
                [Piece::Copy, Piece::With, Piece::Frame]
                    .map(|piece| [pieces.as_slice(), &[piece]].concat())
            })
            .collect();
        found.extend(all.iter().cloned());
    }
    found
}

#[test]
fn every_mixture_of_pieces_is_the_segment_that_was_planned() {
    const LENGTHS: [[usize; 4]; 7] = [
        [1, 1, 1, 1],
        [1460, 0, 0, 0],
        [1459, 0, 1, 0],
        [257, 300, 1, 401],
        [365, 365, 365, 365],
        [256, 257, 258, 259],
        [3, 601, 5, 301],
    ];
    for setting in 0..8_u8 {
        let mut bench = Bench::new(setting & 1 != 0, setting & 2 != 0, setting & 4 != 0);
        let mut body = bench.body(&text());
        for shape in 0..16 {
            let path = path(shape & 1 != 0, shape & 2 != 0);
            let options = all_options()[shape >> 2];
            for mixture in mixtures() {
                for lengths in LENGTHS {
                    let pieces: Vec<_> = mixture.iter().copied().zip(lengths).collect();
                    let payload_len = pieces.iter().map(|(_, len)| len).sum();
                    let plan = plan(options, payload_len);
                    bench.build(&path, &plan, &mut body, &pieces);
                }
            }
        }
        drop(body);
        bench.ends_with(0);
    }
}

#[test]
fn a_bare_segment_has_only_headers() {
    for setting in 0..4_u8 {
        let mut bench = Bench::new(false, setting & 1 != 0, setting & 2 != 0);
        for shape in 0..16 {
            let path = path(shape & 1 != 0, shape & 2 != 0);
            let plan = plan(all_options()[shape >> 2], 0);
            let (nic, counters) = (&mut bench.nic, &mut bench.counters);
            let frame = bench.writer.bare(nic, counters, &path, &plan);
            check(
                &frame.expect("a buffer"),
                &path,
                &plan,
                &[],
                bench.nic.caps(),
            );
        }
        bench.ends_with(0);
    }
}

#[test]
fn long_pieces_are_sent_from_where_they_lie() {
    let mut bench = Bench::new(true, false, false);
    let mut body = bench.body(&text());
    let at = body.bytes().as_ptr().addr();
    let (path, plan) = (path(false, false), plan(SegmentOptions::default(), 1024));
    let pieces = [(Piece::Frame, COPY_BREAK), (Piece::Frame, 768)];
    let frame = bench.build(&path, &plan, &mut body, &pieces);
    assert_eq!(
        frame.bytes().len(),
        54 + COPY_BREAK,
        "the short one is a copy"
    );
    assert_eq!(frame.chained_addresses(), [at + 9 + COPY_BREAK]);
    assert_eq!(bench.counters.get(Counter::TxLinearized), 0);
    assert!(body.bytes_mut().is_none());
    drop(frame);
    assert!(body.bytes_mut().is_some());
    bench.ends_with(1);
}

#[test]
fn copies_behind_a_chained_piece_share_one_buffer() {
    let mut bench = Bench::new(true, false, false);
    let mut body = bench.body(&text());
    let plan = plan(SegmentOptions::default(), 900);
    let mut pieces = vec![(Piece::Frame, 300)];
    pieces.extend([(Piece::Copy, 1); 200]);
    pieces.push((Piece::Frame, 300));
    pieces.extend([(Piece::Copy, 1); 100]);
    let frame = bench.build(&path(true, false), &plan, &mut body, &pieces);
    assert_eq!(frame.chained_addresses().len(), 4);
    drop(frame);
    bench.ends_with(1);
}

#[test]
fn no_frame_has_more_buffers_than_a_nic_takes() {
    let mut bench = Bench::new(true, false, false);
    let mut body = bench.body(&text());
    for copies in [1, 0] {
        let pieces = [[(Piece::Frame, 257), (Piece::Copy, copies)]; 7].concat();
        let plan = plan(SegmentOptions::default(), 7 * (257 + copies));
        let frame = bench.build(&path(false, false), &plan, &mut body, &pieces);
        let segments = 1 + frame.chained_addresses().len();
        assert!(
            (SEGMENTS_MAX - 1..=SEGMENTS_MAX).contains(&segments),
            "{segments}"
        );
    }
    assert_eq!(
        bench.counters.get(Counter::TxLinearized),
        0,
        "not the NIC's fault"
    );
    bench.ends_with(1);
}

#[test]
fn a_nic_that_cannot_chain_gets_copies_and_they_are_counted() {
    let mut bench = Bench::new(false, false, false);
    let mut body = bench.body(&text());
    let plan = plan(SegmentOptions::default(), 900);
    let pieces = [(Piece::Frame, 256), (Piece::Frame, 300), (Piece::Copy, 344)];
    let frame = bench.build(&path(false, false), &plan, &mut body, &pieces);
    assert!(frame.is_contiguous());
    assert_eq!(bench.counters.get(Counter::TxLinearized), 1, "one was long");
    assert!(body.bytes_mut().is_some());
    drop(frame);
    bench.ends_with(1);
}

#[test]
fn no_buffer_for_a_reference_means_a_copy() {
    let mut bench = Bench::new(true, false, false);
    let mut body = bench.body(&text());
    bench.nic.pool_frames = 2;
    let plan = plan(SegmentOptions::default(), 900);
    let frame = bench.build(
        &path(false, false),
        &plan,
        &mut body,
        &[(Piece::Frame, 900)],
    );
    assert!(frame.is_contiguous());
    assert_eq!(bench.counters.get(Counter::TxLinearized), 1);
    drop(frame);
    bench.ends_with(1);
}

/// Every place where a buffer can be missing, one after the other: the segment is whole or there is none.
#[test]
fn a_segment_without_buffers_is_none_and_counted_and_leaks_nothing() {
    let mut bench = Bench::new(true, false, false);
    let (path, plan) = (path(false, false), plan(SegmentOptions::default(), 901));
    let text = text();
    let (mut whole, mut none) = (0, 0);
    for pool_frames in 1..8 {
        let mut body = bench.body(&text);
        bench.nic.pool_frames = pool_frames;
        let (nic, counters) = (&mut bench.nic, &mut bench.counters);
        if let Some(mut draft) = bench.writer.begin(nic, counters, &path, &plan) {
            // From now on only the pool is asked.
            draft.writer.release(draft.nic);
            draft.append_frame(&mut body, 0, 300);
            draft.append_copy(&text[300..301]);
            draft.append_frame(&mut body, 301, 300);
            draft.append_copy(&text[601..901]);
            if let Some(frame) = draft.finish() {
                check(&frame, &path, &plan, &text[..901], bench.nic.caps());
                whole += 1;
            } else {
                none += 1;
            }
        } else {
            none += 1;
        }
        assert_eq!(bench.counters.get(Counter::TxNoBuffer), none);
        bench.writer.release(&mut bench.nic);
        assert_eq!(bench.nic.in_use(), 1);
        bench.nic.pool_frames = usize::MAX;
    }
    assert!(
        whole > 1 && none > 1,
        "{whole} whole, {none} without buffers"
    );
    bench.ends_with(0);
}

#[test]
fn a_payload_of_another_length_than_planned_is_never_sent() {
    let mut bench = Bench::new(true, false, false);
    let path = path(false, false);
    let mut body = bench.body(&text());
    for planned in [0, 299, 301] {
        let plan = plan(SegmentOptions::default(), planned);
        let (nic, counters) = (&mut bench.nic, &mut bench.counters);
        let mut draft = bench
            .writer
            .begin(nic, counters, &path, &plan)
            .expect("a buffer");
        draft.append_frame(&mut body, 0, 300);
        draft.append_frame(&mut body, 1999, 2); // not there
        draft.append_frame(&mut body, usize::MAX, 2);
        assert!(draft.finish().is_none());
    }
    // Longer than a buffer.
    let plan = plan(SegmentOptions::default(), 3000);
    let (nic, counters) = (&mut bench.nic, &mut bench.counters);
    let mut draft = bench
        .writer
        .begin(nic, counters, &path, &plan)
        .expect("a buffer");
    draft.append_copy(&[0; 3000]);
    assert!(draft.finish().is_none());
    // Longer than an IP packet can be.
    let plan = self::plan(SegmentOptions::default(), 66_000);
    let (nic, counters) = (&mut bench.nic, &mut bench.counters);
    let mut draft = bench
        .writer
        .begin(nic, counters, &path, &plan)
        .expect("a buffer");
    for _ in 0..33 {
        draft.append_frame(&mut body, 0, 2000);
    }
    assert!(draft.finish().is_none());
    assert_eq!(bench.counters.get(Counter::TxNoBuffer), 5);
    bench.ends_with(1);
}

#[test]
fn frames_are_taken_in_bulk_and_released() {
    let mut bench = Bench::new(false, false, false);
    let (path, plan) = (path(false, false), plan(SegmentOptions::default(), 0));
    let (nic, counters) = (&mut bench.nic, &mut bench.counters);
    let frame = bench.writer.bare(nic, counters, &path, &plan);
    assert_eq!(bench.nic.in_use(), REFILL_FRAMES);
    drop(frame);
    bench.writer.release(&mut bench.nic);
    assert_eq!(bench.nic.in_use(), 0);
}
