//! Offloads that the NIC is asked for: only what it promised, with the fields as it wants them.

use etherparse::checksum::Sum16BitWords;

use super::super::RingEnd;
use super::answer::Answer;
use super::host::{CLOSED, Flow, Host, OPEN};
use crate::counters::Counter;
use crate::nic::memory::MemoryNic;
use crate::nic::{ChecksumVerdict, Frame, IpVersion, RxChecksum, TxRequest};
use crate::tcp::lang::{Spec, rst, segment, syn};
use crate::tcp::segment::Flags;
use crate::wire::vlan;

fn host(change_nic: impl FnOnce(&mut MemoryNic)) -> Host {
    Host::on_nic(|_| {}, change_nic, RingEnd::single())
}

/// Sends a segment in and gives the reply back with what was asked for it.
fn reply(host: &mut Host, flow: Flow, spec: Spec) -> (Vec<u8>, Option<TxRequest>) {
    let (frame, now) = (flow.frame(spec), host.now);
    host.nic().inject_bytes(&frame);
    host.worker().turn(now);
    let sent = host.nic().take_sent();
    let [reply] = &sent[..] else {
        panic!("{} replies", sent.len());
    };
    (reply.bytes().to_vec(), reply.requested())
}

/// Does what was asked for, as a NIC would (DPDK Programmer's Guide, mbuf library, "Meta Information").
fn fill_in(frame: &mut [u8], request: TxRequest) {
    let l3 = usize::from(request.l2_len);
    let l4 = l3 + usize::from(request.l3_len);
    if request.ipv4_checksum {
        assert_eq!(
            frame[l3 + 10..l3 + 12],
            [0, 0],
            "the NIC sums this field too"
        );
        let sum = Sum16BitWords::new()
            .add_slice(&frame[l3..l4])
            .ones_complement();
        frame[l3 + 10..l3 + 12].copy_from_slice(&sum.to_ne_bytes());
    }
    if request.tcp_checksum {
        let sum = Sum16BitWords::new()
            .add_slice(&frame[l4..])
            .ones_complement();
        frame[l4 + 16..l4 + 18].copy_from_slice(&sum.to_ne_bytes());
    }
}

/// A virtual link leaves checksums unfilled and says that they are good.
#[test]
fn the_verdict_on_a_chained_frame_stays() {
    let mut host = host(|nic| nic.caps_mut().rx_tcp_checksum = true);
    host.on(Flow::v4(1, CLOSED).absolute());
    let mut sent = host.flow.frame(syn().seq(0));
    sent[50..52].fill(0);
    let good = RxChecksum {
        ip: ChecksumVerdict::Unknown,
        l4: ChecksumVerdict::Good,
    };
    let frame = host.nic().frame(&sent).chained_at(40);
    let frame = frame.with_rx_checksum(good);
    host.inject_frames(vec![frame]).counted(Counter::RstSent);
    host.expect(rst().seq(0).ack(1));
}

#[test]
fn nothing_is_asked_of_a_nic_that_promised_nothing() {
    let mut host = host(|_| {});
    for flow in [Flow::v4(1, CLOSED), Flow::v6(1, OPEN)] {
        let (bytes, request) = reply(&mut host, flow, syn());
        assert_eq!(request, None);
        Answer::read(&bytes);
    }
}

#[test]
fn what_a_nic_promised_is_asked_of_it() {
    for (ip, l4) in [(true, false), (false, true), (true, true)] {
        let mut host = host(|nic| {
            nic.caps_mut().tx_ipv4_checksum = ip;
            nic.caps_mut().tx_tcp_checksum = l4;
        });
        for (port, tag) in [(CLOSED, None), (OPEN, Some(vlan::Tag::new(7)))] {
            for mut flow in [Flow::v4(1, port), Flow::v6(1, port)] {
                flow.link.vlan = tag;
                let v4 = flow.local.is_ipv4();
                let (mut bytes, request) = reply(&mut host, flow, syn().mss(1460).ts(1, 0));
                let wanted = TxRequest {
                    ip: if v4 { IpVersion::V4 } else { IpVersion::V6 },
                    l2_len: if tag.is_some() { 18 } else { 14 },
                    l3_len: if v4 { 20 } else { 40 },
                    ipv4_checksum: v4 && ip,
                    tcp_checksum: l4,
                    cut: None,
                };
                let asked = l4 || (v4 && ip);
                assert_eq!(request, asked.then_some(wanted));
                if let Some(request) = request {
                    fill_in(&mut bytes, request);
                }
                Answer::read(&bytes);
            }
        }
    }
}

/// No checksum covers the padding here, so only the length of the IP packet keeps it out.
#[test]
fn padding_is_no_payload_where_the_nic_has_verified_the_checksum() {
    let good = RxChecksum {
        ip: ChecksumVerdict::Good,
        l4: ChecksumVerdict::Good,
    };
    let mut host = host(|nic| {
        nic.caps_mut().rx_ipv4_checksum = true;
        nic.caps_mut().rx_tcp_checksum = true;
    });
    for flow in [Flow::v4(1, CLOSED), Flow::v6(1, CLOSED)] {
        host.on(flow.absolute());
        let mut frame = host.flow.frame(segment(Flags::NONE).seq(100).len(1));
        frame.resize(frame.len() + 6, 0xee);
        let frame = host.nic().frame(&frame).with_rx_checksum(good);
        host.inject_frames(vec![frame]).counted(Counter::RstSent);
        host.expect(rst().seq(0).ack(101));
    }
}
