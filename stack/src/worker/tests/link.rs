//! Features of Ethernet: foreign addresses and protocols, tags, padding.

use super::host::{CLOSED, Flow, Host, OPEN};
use crate::counters::Counter;
use crate::tcp::lang::{data, rst, segment, syn, syn_ack};
use crate::tcp::segment::Flags;
use crate::wire::{Defect, MacAddr, vlan};

#[test]
fn frames_for_others_and_for_groups_are_not_answered() {
    let mut host = Host::new();
    host.flow.link.dst = MacAddr([2, 0, 0, 0, 0, 9]);
    host.inject(syn()).counted(Counter::NotOurMac).silent();
    for group in [MacAddr::BROADCAST, MacAddr([1, 0, 0x5e, 0, 0, 1])] {
        host.flow.link.dst = group;
        host.inject(syn()).counted(Counter::TcpToGroup).silent();
    }
    host.on(Flow::v6(1, CLOSED));
    host.flow.link.dst = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
    host.inject(syn()).counted(Counter::TcpToGroup).silent();
}

#[test]
fn a_group_can_not_send() {
    let mut host = Host::new();
    host.flow.link.src = MacAddr::BROADCAST;
    host.inject(syn()).refused(Defect::EthernetSource);
    host.on(Flow::v6(1, OPEN));
    host.flow.link.src = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
    host.inject(syn()).refused(Defect::EthernetSource);
}

#[test]
fn every_protocol_that_we_do_not_speak_is_named() {
    let mut host = Host::new();
    let whole = host.flow.frame(syn());
    for ethertype in 0..=u16::MAX {
        let defect = match ethertype {
            0x0800 | 0x0806 | 0x86dd | 0x8100 => continue,
            0x88a8 => Defect::VlanNested,
            0..0x0600 => Defect::EthernetLength,
            _ => Defect::EtherType,
        };
        let mut frame = whole.clone();
        frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
        host.inject_bytes(&frame).refused(defect);
    }
}

#[test]
fn the_reply_keeps_the_vlan_tag_with_its_priority() {
    let mut host = Host::new();
    for flow in [Flow::v4(1, CLOSED), Flow::v6(1, CLOSED)] {
        host.on(flow.absolute());
        host.flow.link.vlan = Some(vlan::Tag::new(7));
        host.inject(syn().seq(5)).counted(Counter::RstSent);
        host.expect(rst().seq(0).ack(6));
        // Priority 5 and "drop eligible" travel back as well: what came in a class goes out in it.
        let mut frame = host.flow.frame(syn().seq(5));
        frame[14] |= 0xb0;
        host.inject_bytes(&frame).counted(Counter::RstSent);
        let reply = host.next_reply();
        assert_eq!(reply[12..16], frame[12..16]);
    }
    host.on(Flow::v4(1, OPEN));
    host.flow.link.vlan = Some(vlan::Tag::new(4094));
    host.inject(syn().seq(0)).counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1));
}

#[test]
fn a_second_tag_is_refused() {
    let mut host = Host::new();
    host.flow.link.vlan = Some(vlan::Tag::new(7));
    let mut frame = host.flow.frame(syn());
    for outer in [0x8100u16, 0x88a8] {
        frame[16..18].copy_from_slice(&outer.to_be_bytes());
        host.inject_bytes(&frame).refused(Defect::VlanNested);
    }
}

/// SEG.LEN ends where the IP packet ends. Ethernet's padding is not data, and never comes back.
#[test]
fn padding_is_no_payload_and_does_not_return() {
    let mut host = Host::new();
    for flow in [Flow::v4(1, CLOSED), Flow::v6(1, CLOSED)] {
        for payload_len in [0, 3] {
            for padding in [1, 6, 100] {
                host.on(flow.absolute());
                let mut frame = host
                    .flow
                    .frame(segment(Flags::NONE).seq(100).len(payload_len));
                frame.resize(frame.len() + padding, 0xee);
                host.inject_bytes(&frame).counted(Counter::RstSent);
                // `Answer` refuses replies with bytes behind the packet.
                host.expect(rst().seq(0).ack(100 + payload_len));
            }
        }
    }
}

/// An established connection that mistook padding for data would abort.
#[test]
fn padding_does_not_unpark_a_connection() {
    let mut host = Host::new();
    host.establish();
    let mut frame = host.flow.frame(crate::tcp::lang::ack().seq(1).ack(1));
    frame.resize(60, 0xee);
    host.inject_bytes(&frame)
        .counted(Counter::ParkedAck)
        .silent();
    host.inject(data(1).seq(1).ack(1))
        .counted(Counter::ConnSegment);
    host.expect(rst().seq(1).ack(2));
}
