//! One bit wrong, anywhere in a SYN: silence, whatever a NIC without checksum offload claims.

use std::collections::BTreeSet;
use std::ops::Range;

use super::super::RingEnd;
use super::host::{Flow, Host, OPEN};
use crate::counters::Counter;
use crate::nic::{ChecksumVerdict, RxChecksum};
use crate::tcp::lang::{Spec, syn, syn_ack};
use crate::wire::{Defect, vlan};

const SYN: Spec = syn().mss(1460).wscale(7).ts(1, 0).seq(0).len(3);

const GOOD: RxChecksum = RxChecksum {
    ip: ChecksumVerdict::Good,
    l4: ChecksumVerdict::Good,
};

/// The bits of some bytes; in each byte the least significant one comes first.
const fn bytes(range: Range<usize>) -> Range<usize> {
    range.start * 8..range.end * 8
}

/// Flips each bit of a SYN. `unprotected` are the bits that no checksum covers and that a reply may ignore: a flip
/// there is answered as if nothing had happened.
fn flip_every_bit(flow: Flow, unprotected: &[Range<usize>], claims_good: bool) {
    let whole = flow.frame(SYN);
    let mut names = BTreeSet::new();
    // A flip that came through would leave an embryo, and the next would meet it: each bit has a host of its own only
    // when it is answered.
    let mut host = Host::new();
    let mut reported = 0;
    for bit in 0..whole.len() * 8 {
        let mut frame = whole.clone();
        frame[bit / 8] ^= 1 << (bit % 8);
        // The group bit of a source address is no address at all.
        let group_source = bit == 6 * 8;
        let covered = !unprotected.iter().any(|range| range.contains(&bit));
        if covered || group_source {
            let mut frame = host.nic().frame(&frame);
            if claims_good {
                frame = frame.with_rx_checksum(GOOD);
            }
            host.inject_frames(vec![frame]);
            if let Some(reply) = host.try_reply() {
                // The next header of IPv6, which no checksum covers: what it makes of the segment is a parameter problem.
                assert_eq!((reply[20], reply[54]), (58, 4), "bit {bit}");
                reported += 1;
            }
            let ends = host.ends();
            assert_eq!(ends.len(), 1, "bit {bit}: {ends:?}");
            names.insert(ends[0].0);
        } else {
            let mut host = Host::new();
            host.inject_bytes(&frame).counted(Counter::SynEmbryo);
            host.next_reply();
        }
    }
    assert_eq!(host.count(Counter::TxFrames), reported);
    assert_eq!(host.count(Counter::IcmpErrorsSent), reported);
    assert_eq!(host.worker().table().total(), 0);
    // The last one is IPv6's, whose header has no checksum: another protocol is another protocol.
    let not_ours = [
        Counter::NotOurMac.name(),
        Counter::TcpToGroup.name(),
        Counter::IpProtocolUnsupported.name(),
    ];
    let is_defect = |name: &str| Defect::ALL.iter().any(|defect| defect.name() == name);
    for name in names {
        assert!(is_defect(name) || not_ours.contains(&name), "{name}");
    }
}

#[test]
fn every_bit_over_ipv4() {
    // The sender's MAC address; everything from the IP header on is summed.
    for claims_good in [false, true] {
        flip_every_bit(Flow::v4(1, OPEN), &[bytes(6..12)], claims_good);
    }
}

#[test]
fn every_bit_over_ipv6() {
    // The sender's MAC address, traffic class and flow label (not the version beside them), hop limit.
    for claims_good in [false, true] {
        let class = bytes(14..15).start..bytes(14..15).start + 4;
        let unprotected = [bytes(6..12), class, bytes(15..18), bytes(21..22)];
        flip_every_bit(Flow::v6(1, OPEN), &unprotected, claims_good);
    }
}

#[test]
fn every_bit_behind_a_vlan_tag() {
    let mut flow = Flow::v4(1, OPEN);
    flow.link.vlan = Some(vlan::Tag::new(7));
    for claims_good in [false, true] {
        flip_every_bit(flow, &[bytes(6..12), bytes(14..16)], claims_good);
    }
}

/// A NIC that negotiated the offload is believed: that is what it is for.
#[test]
fn a_verdict_counts_only_where_the_offload_was_negotiated() {
    let flow = Flow::v4(1, OPEN);
    let mut wrong = flow.frame(SYN);
    wrong[34 + 16] ^= 0x55;
    let mut host = Host::on_nic(
        |_| {},
        |nic| nic.caps_mut().rx_tcp_checksum = true,
        RingEnd::single(),
    );
    let claim = |host: &mut Host, l4| {
        let ip = ChecksumVerdict::Unknown;
        host.nic()
            .frame(&wrong)
            .with_rx_checksum(RxChecksum { ip, l4 })
    };
    for verdict in [ChecksumVerdict::Unknown, ChecksumVerdict::Bad] {
        let frame = claim(&mut host, verdict);
        host.inject_frames(vec![frame]).refused(Defect::TcpChecksum);
    }
    let frame = claim(&mut host, ChecksumVerdict::Good);
    host.on(flow)
        .inject_frames(vec![frame])
        .counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1));
    // The IP offload wasn't negotiated: its verdict is noise.
    let mut wrong = Flow::v4(2, OPEN).frame(SYN);
    wrong[14 + 10] ^= 0x55;
    let frame = host.nic().frame(&wrong).with_rx_checksum(GOOD);
    host.inject_frames(vec![frame])
        .refused(Defect::Ipv4Checksum);
}

/// An option that no option parser can read is no reason for silence: what can be read counts (RFC 9293 MUST-7).
#[test]
fn illegal_options_end_the_list_not_the_segment() {
    for (options, mss) in [
        (&[2, 4, 5, 180, 2, 0, 0, 0][..], 1460u16), // length zero
        (&[2, 4, 5, 180, 8, 1, 0, 0], 1460),        // length one
        (&[2, 4, 5, 180, 8, 10, 0, 0], 1460),       // past the end
        (&[2, 4, 5, 180, 3, 4, 7, 0], 1460),        // a wrong length for its kind
        (&[2, 4, 5, 180, 254, 4, 0, 0], 1460),      // unknown
        (&[0, 0, 0, 0, 8, 10, 0, 0], 536),          // garbage behind the end
    ] {
        let mut host = Host::new();
        let frame = host.flow.frame_with_options(syn().seq(0), options);
        host.inject_bytes(&frame).counted(Counter::SynEmbryo);
        host.expect(syn_ack().seq(0).ack(1).mss(1460));
        let embryo = host.embryo().expect("an embryo");
        assert_eq!(embryo.peer_mss, mss, "{options:?}");
        assert!(!embryo.flags.has(crate::conn::ConnFlags::WINDOW_SCALE));
        assert!(!embryo.flags.has(crate::conn::ConnFlags::TIMESTAMPS));
    }
}
