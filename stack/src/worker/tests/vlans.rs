//! 802.1Q: a VLAN is part of what names a flow, in every kind of record, and of every frame that a flow sends.

use core::ops::ControlFlow;

use super::answer::Answer;
use super::host::{CLOSED, Flow, Host, OPEN, OUR_V4, PEER_V4};
use super::neighbors::{
    advertisement_of_peer, arp_reply, arp_request, echo_request_v4, port_unreachable_about,
    solicitation,
};
use super::retransmission::expect_arp_request_in;
use crate::conn::Kind;
use crate::counters::Counter;
use crate::sim::puppet::AppEvent::{Data, Open};
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, data, fin, rst, syn, syn_ack};
use crate::tcp::verdict::IcmpErrorKind;
use crate::wire::vlan::{self, VlanId};
use crate::worker::connect::{Connect, ConnectError};

/// The same flow with frames in another VLAN.
fn in_vlan(flow: Flow, id: u16) -> Flow {
    let mut flow = flow;
    flow.link.vlan = VlanId(id).tag();
    flow
}

/// A frame of ours with a tag put in.
pub(super) fn tagged(frame: &[u8], id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    [&frame[..12], &[0x81, 0, high, low], &frame[12..]].concat()
}

/// Data with the right numbers from `id`: another flow, reset in that VLAN. The record of the flow stays as it is.
#[track_caller]
fn another_flow(host: &mut Host<Puppet>, id: u16) {
    let flow = host.flow;
    let kind = host.kind();
    host.on(in_vlan(flow, id))
        .inject(data(3).seq(1).ack(1))
        .counted(Counter::ListenAckReset)
        .expect(rst().seq(1))
        .silent()
        .hears(&[]);
    assert_eq!(host.kind(), None, "VLAN {id}");
    host.on(flow);
    assert_eq!(host.kind(), kind);
}

#[track_caller]
fn other_flows(host: &mut Host<Puppet>, ids: [u16; 2]) {
    for id in ids {
        another_flow(host, id);
    }
}

#[test]
fn data_from_another_vlan_is_another_flow_whatever_record_there_is() {
    for flow in [Flow::v4(1, OPEN), Flow::v6(1, OPEN)] {
        for (ours, others) in [(5, [6, 0]), (0, [5, 6])] {
            let mut host = Host::probing(|_| {});
            host.on(in_vlan(flow, ours)).inject(syn().seq(0));
            host.expect(syn_ack().seq(0).ack(1));
            assert_eq!(host.kind(), Some(Kind::Embryo));
            other_flows(&mut host, others);
            host.inject(ack().seq(1).ack(1));
            assert_eq!(host.kind(), Some(Kind::Open));
            host.app().heard.clear();
            other_flows(&mut host, others);
            host.wait_ms(1_004);
            assert_eq!(host.kind(), Some(Kind::Parked));
            other_flows(&mut host, others);
            let conn = host.conn();
            // The way back is fresh again with the peer's own data.
            host.inject(data(1).seq(1).ack(1)).hears(&[Data(1)]);
            host.act(|_, cx| cx.close(conn));
            host.expect(fin().seq(1).ack(2));
            host.inject(fin().seq(2).ack(2)).expect(ack().seq(2).ack(3));
            assert_eq!(host.kind(), Some(Kind::TimeWait));
            host.app().heard.clear();
            other_flows(&mut host, others);
        }
    }
}

/// One 4-tuple in three VLANs: three connections.
#[test]
fn the_same_addresses_and_ports_in_other_vlans_are_connections_of_their_own() {
    let mut host = Host::probing(|_| {});
    let flows = [0, 5, 6].map(|id| in_vlan(Flow::v4(1, OPEN), id));
    let opened = flows.map(|flow| {
        host.on(flow)
            .shake_hands()
            .hears(&[crate::sim::puppet::AppEvent::Ready, Open]);
        (host.flow, host.conn())
    });
    for (flow, conn) in opened {
        host.on(flow)
            .inject(data(3).seq(1).ack(1))
            .hears(&[Data(3)]);
        let info = host.act(|_, cx| cx.info(conn)).expect("open");
        assert_eq!(info.vlan, flow.link.vlan_id());
        let _ = host.act(|_, cx| cx.send_bytes(conn, b"hello"));
        host.expect(data(5).seq(1).ack(4));
    }
}

/// IEEE 802.1Q §9.6: VID 0 says a priority and no VLAN.
#[test]
fn a_priority_tag_counts_as_no_tag() {
    let mut host = Host::probing(|_| {});
    host.shake_hands().app().heard.clear();
    let untagged = host.flow;
    host.flow.link.vlan = Some(vlan::Tag(0xa000.into()));
    host.inject(data(3).seq(1).ack(1))
        .counted(Counter::ConnSegment)
        .hears(&[Data(3)]);
    let conn = host.conn();
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"hello"));
    host.on(untagged).expect(data(5).seq(1).ack(4));
}

#[test]
fn frames_of_vlans_that_are_not_ours_are_dropped_whatever_they_are() {
    let frames = [
        Flow::v4(1, OPEN).frame(syn()),
        Flow::v6(1, OPEN).frame(syn()),
        Flow::v4(1, CLOSED).frame(syn()),
        arp_request(),
        solicitation(),
        echo_request_v4(b"hello"),
    ];
    let vlans = |ids: &[u16]| Some(ids.iter().copied().map(VlanId).collect::<Vec<_>>());
    for (ours, others) in [(&[5, 6][..], [7, 0, 4095]), (&[0, 5], [7, 6, 4095])] {
        let mut host = Host::with(|spec| spec.vlans = vlans(ours));
        for frame in &frames {
            for id in others {
                let frame = if id == 0 {
                    frame.clone()
                } else {
                    tagged(frame, id)
                };
                host.inject_bytes(&frame)
                    .counted(Counter::NotOurVlan)
                    .silent();
            }
            for &id in ours {
                let frame = if id == 0 {
                    frame.clone()
                } else {
                    tagged(frame, id)
                };
                host.inject_bytes(&frame);
                let reply = host.next_reply();
                assert_eq!(vlan_of(&reply), id);
                host.silent();
            }
        }
        // A priority tag is no way around it.
        let priority = tagged(&arp_request(), 0x2000);
        let counter = match ours {
            [0, ..] => Counter::ArpAnswered,
            _ => Counter::NotOurVlan,
        };
        host.inject_bytes(&priority).counted(counter);
        while host.try_reply().is_some() {}
    }
}

fn vlan_of(frame: &[u8]) -> u16 {
    match frame[12..14] {
        [0x81, 0x00] => u16::from_be_bytes([frame[14] & 0x0f, frame[15]]),
        _ => 0,
    }
}

#[test]
fn the_syn_ack_again_stays_in_the_vlan() {
    for (flow, asks) in [
        (Flow::v4(1, OPEN), arp_request()),
        (Flow::v6(1, OPEN), solicitation()),
    ] {
        let mut host = Host::new();
        // The neighbour is known before.
        host.inject_bytes(&tagged(&asks, 5)).next_reply();
        host.on(in_vlan(flow, 5)).inject(syn().seq(0));
        host.expect(syn_ack().seq(0).ack(1));
        host.wait_ms(1_000).expect(syn_ack().seq(0).ack(1));
        assert_eq!(host.last().vlan, Some(5));
    }
}

/// An ICMP error says something about a flow of its own VLAN.
#[test]
fn an_icmp_error_from_another_vlan_quotes_another_flow() {
    let mut host = Host::probing(|_| {});
    host.on(in_vlan(Flow::v4(40_000, OPEN), 5)).shake_hands();
    let iss = host.flow.our_iss.expect("told").0;
    let conn = host.conn();
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"x"));
    host.expect(data(1).seq(1).ack(1));
    let error = port_unreachable_about(OPEN, 40_000, iss.wrapping_add(1));
    for (frame, counter) in [
        (tagged(&error, 6), Counter::IcmpErrorUnmatched),
        (error.clone(), Counter::IcmpErrorUnmatched),
        (tagged(&error, 5), Counter::IcmpErrorForConnection),
    ] {
        host.inject_bytes(&frame).counted(counter).silent();
    }
}

/// The source of the last frame, and its time, don't matter to the VLAN.
#[test]
fn after_a_minute_parked_the_fin_goes_out_in_the_vlan() {
    for (flow, asks) in [
        (Flow::v4(1, OPEN), arp_request()),
        (Flow::v6(1, OPEN), solicitation()),
    ] {
        let mut host = Host::probing(|_| {});
        host.on(in_vlan(flow, 5)).shake_hands();
        let conn = host.conn();
        host.wait_ms(60_000);
        assert_eq!(host.kind(), Some(Kind::Parked));
        host.inject_bytes(&tagged(&asks, 5)).next_reply();
        host.act(|_, cx| cx.close(conn));
        let frame = host.next_reply();
        let answer = Answer::read(&frame);
        assert_eq!(answer.vlan, Some(5));
        assert!(answer.segment.flags.fin());
    }
}

/// After a minute of silence the neighbour is asked for in the connection's VLAN, and only an answer from there counts.
#[test]
fn the_neighbor_is_asked_for_in_the_vlan_and_answers_from_there() {
    for (flow, answer) in [
        (Flow::v4(1, OPEN), arp_reply()),
        (Flow::v6(1, OPEN), advertisement_of_peer()),
    ] {
        let mut host = Host::probing(|_| {});
        host.on(in_vlan(flow, 5)).shake_hands();
        let conn = host.conn();
        host.wait_ms(60_000);
        host.act(|_, cx| cx.close(conn));
        let asks = host.next_reply();
        assert_eq!(vlan_of(&asks), 5);
        assert!(matches!(asks[16..18], [0x08, 0x06] | [0x86, 0xdd]));
        host.silent();
        for elsewhere in [answer.clone(), tagged(&answer, 6)] {
            host.inject_bytes(&elsewhere).silent();
        }
        host.inject_bytes(&tagged(&answer, 5));
        host.expect(fin().seq(1).ack(1)).silent();
    }
}

#[test]
fn a_connection_is_opened_in_the_vlan_that_is_named_or_the_first_one() {
    let remote = (PEER_V4, 9_000).into();
    let in_vlan = |id: Option<u16>| Connect {
        vlan: id.map(VlanId),
        ..Connect::default()
    };
    for (ours, named, vlan) in [
        (Some(&[5, 6][..]), None, 5),
        (Some(&[5, 6]), Some(6), 6),
        (Some(&[5, 0]), None, 0),
        (None, None, 0),
        (None, Some(7), 7),
    ] {
        let mut host = Host::probing(|spec| {
            spec.vlans = ours.map(|ids| ids.iter().copied().map(VlanId).collect());
        });
        let conn = host.act(|_, cx| cx.connect(remote, &in_vlan(named), false));
        let conn = conn.expect("connects");
        expect_arp_request_in(VlanId(vlan), &mut host, PEER_V4);
        let answer = match vlan {
            0 => arp_reply(),
            _ => tagged(&arp_reply(), vlan),
        };
        host.inject_bytes(&answer);
        let frame = host.next_reply();
        let syn = Answer::read(&frame);
        assert!(syn.segment.flags.syn());
        assert_eq!(syn.vlan, (vlan != 0).then_some(vlan));
        let info = host.act(|_, cx| cx.info(conn)).expect("open");
        assert_eq!(info.vlan, VlanId(vlan));
    }
    let mut host = Host::probing(|spec| spec.vlans = Some(vec![VlanId(5)]));
    for other in [0, 6, 4095] {
        let refused = host.act(|_, cx| cx.connect(remote, &in_vlan(Some(other)), false));
        assert_eq!(refused, Err(ConnectError::NotLocal));
    }
}

/// A path known in one VLAN says nothing about another VLAN's.
#[test]
fn connections_opened_at_once_go_each_in_its_vlan() {
    let remote = (PEER_V4, 9_000).into();
    let from = |port, id| Connect {
        local_port: Some(port),
        vlan: Some(VlanId(id)),
        ..Connect::default()
    };
    let mut host = Host::probing(|spec| spec.vlans = Some(vec![VlanId(5), VlanId(6)]));
    host.on(in_vlan(Flow::between(remote, (OUR_V4, 50_000).into()), 5));
    host.act(|_, cx| cx.connect(remote, &from(50_000, 5), false))
        .expect("connects");
    expect_arp_request_in(VlanId(5), &mut host, PEER_V4);
    host.inject_bytes(&tagged(&arp_reply(), 5));
    host.expect(syn().seq(0));
    host.inject(syn_ack().seq(0).ack(1))
        .hears(&[Open])
        .expect(ack().seq(1).ack(1));
    host.act(|_, cx| {
        let opens = [5, 6].map(|id| (remote, from(50_001, id), false));
        cx.connect_many(opens, |result| {
            assert!(result.is_ok());
            ControlFlow::Continue(())
        });
    });
    let syn = Answer::read(&host.next_reply());
    assert!(syn.segment.flags.syn());
    assert_eq!(syn.vlan, Some(5));
    expect_arp_request_in(VlanId(6), &mut host, PEER_V4);
    host.silent();
}

/// The frame that waited in vain says whose it was, by its VLAN too.
#[test]
fn without_an_answer_in_its_vlan_a_connection_hears_of_it() {
    let mut host = Host::probing(|spec| spec.vlans = Some(vec![VlanId(5)]));
    let mut flow = Flow::between((PEER_V4, 9_000).into(), (OUR_V4, 80).into());
    flow.link.vlan = VlanId(5).tag();
    let conn = host.on(flow).with_parked();
    let sent = host.act(|_, cx| cx.send_bytes(conn, b"hello"));
    assert_eq!(sent, Ok(5));
    for _ in 0..3 {
        expect_arp_request_in(VlanId(5), &mut host, PEER_V4);
        host.wait_ms(1_000);
    }
    while host.try_reply().is_some() {}
    let info = host.act(|_, cx| cx.info(conn)).expect("it goes on");
    assert_eq!(info.tcp.soft_error, Some(IcmpErrorKind::Unreachable));
}

/// No neighbour answers in the VLAN of the SYN: its connection hears of it.
#[test]
fn without_an_answer_in_its_vlan_a_connection_can_not_open() {
    let mut host = Host::probing(|spec| spec.vlans = Some(vec![VlanId(5)]));
    host.act(|_, cx| cx.connect((PEER_V4, 9_000).into(), &Connect::default(), false))
        .expect("connects");
    for _ in 0..3 {
        expect_arp_request_in(VlanId(5), &mut host, PEER_V4);
        host.wait_ms(1_000);
    }
    assert_eq!(host.count(Counter::ConnectionsClosed), 1);
}
