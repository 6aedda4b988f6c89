//! Frames on our own account: SYN-ACKs by timer, the neighbours that they need, and a link that doesn't take them.

use core::net::{Ipv4Addr, SocketAddr};

use etherparse::NetSlice;

use super::answer::slices;
use super::host::{CLOSED, Flow, Host, OPEN, OUR_MAC, OUR_V4, OUR_V6, PEER_V4, PEER_V6};
use super::neighbors::{advertisement_of_peer, arp_frame, arp_reply, arp_request};
use crate::counters::Counter;
use crate::neighbor::NeighborState;
use crate::nic::BURST_FRAMES;
use crate::tcp::lang::{ack, rst, syn, syn_ack};
use crate::wire::vlan::VlanId;
use crate::wire::{Link, MacAddr, arp, ndp};
use crate::worker::app::App;
use crate::worker::connect::{Connect, ConnectError};

/// The next reply asks everybody on the link for this address, without a tag.
#[track_caller]
pub(super) fn expect_arp_request<A: App>(host: &mut Host<A>, target: Ipv4Addr) {
    expect_arp_request_in(VlanId::UNTAGGED, host, target);
}

/// The same in a VLAN.
#[track_caller]
pub(super) fn expect_arp_request_in<A: App>(vlan: VlanId, host: &mut Host<A>, target: Ipv4Addr) {
    let frame = host.next_reply();
    let packet = slices(&frame);
    let id = packet.vlan_ids().first().map(|id| VlanId(id.value()));
    assert_eq!(id, vlan.tag().is_some().then_some(vlan));
    let Some(NetSlice::Arp(arp)) = packet.net else {
        panic!("no ARP: {packet:?}");
    };
    let arp = arp.to_packet();
    assert_eq!(arp.operation, etherparse::ArpOperation::REQUEST);
    assert_eq!(arp.sender_hw_addr(), OUR_MAC.0);
    assert_eq!(arp.sender_protocol_addr(), OUR_V4.octets());
    assert_eq!(arp.target_protocol_addr(), target.octets());
    assert_eq!(
        (&frame[..6], &frame[6..12]),
        (&[0xff; 6][..], &OUR_MAC.0[..])
    );
}

/// A host that knows the peer's MAC address and has an embryo.
fn embryo() -> Host {
    let mut host = Host::new();
    host.inject_bytes(&arp_request())
        .counted(Counter::ArpAnswered);
    host.next_reply();
    host.inject(syn().seq(0).mss(1400).ts(77, 0))
        .counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1));
    host
}

#[test]
fn the_syn_ack_is_sent_again_after_1_3_and_7_s_and_ends_after_15() {
    let mut host = embryo();
    for (wait_ms, retransmitted) in [
        (999, 0),
        (1, 1),
        (1999, 1),
        (1, 2),
        (3999, 2),
        (1, 3),
        (7999, 3),
    ] {
        let before = host.count(Counter::SynAckRetransmitted);
        host.wait_ms(wait_ms);
        assert_eq!(host.count(Counter::SynAckRetransmitted), retransmitted);
        if retransmitted > before {
            host.expect(syn_ack().seq(0).ack(1).win(65_535).mss(1460));
            let timestamps = host.last().segment.options.timestamps;
            assert_eq!(timestamps.expect("timestamps").tsecr, 77);
        }
        drop_probes(&mut host);
    }
    host.wait_ms(1);
    assert_eq!(host.count(Counter::EmbryoExpired), 1);
    assert_eq!(host.worker().table().total(), 0);
    drop_probes(&mut host);
    // Its ACK comes too late.
    host.inject(ack().seq(1).ack(1))
        .counted(Counter::ListenAckReset)
        .expect(rst().seq(1));
}

/// An unconfirmed neighbour is probed on the way (RFC 4861 §7.3): not what these tests look at.
fn drop_probes(host: &mut Host) {
    while let Some(reply) = host.try_reply() {
        assert_eq!(reply[12..14], [8, 6], "ARP: {reply:02x?}");
    }
}

#[test]
fn an_embryo_that_was_established_in_time_is_not_retransmitted() {
    let mut host = embryo();
    host.wait_ms(999)
        .inject(ack().seq(1).ack(1).ts(78, 0))
        .counted(Counter::ConnSegment);
    host.wait_ms(10_000).silent();
    assert_eq!(host.count(Counter::SynAckRetransmitted), 0);
}

/// It answers a frame, as the first one did, and so needs no neighbour. A spoofed SYN makes us ask for no neighbour.
#[test]
fn the_syn_ack_goes_where_the_syn_came_from() {
    let far = Ipv4Addr::new(198, 19, 0, 9);
    for flow in [
        Flow::v4(1, OPEN),
        Flow::v6(1, OPEN),
        Flow::between((far, 1).into(), (OUR_V4, OPEN).into()),
    ] {
        let mut host = Host::new();
        host.on(flow)
            .inject(syn().seq(0))
            .counted(Counter::SynEmbryo)
            .expect(syn_ack().seq(0).ack(1));
        for wait_ms in [1000, 2000, 4000] {
            host.wait_ms(wait_ms)
                .expect(syn_ack().seq(0).ack(1))
                .silent();
        }
        assert_eq!(host.count(Counter::TxNoRoute), 0);
        assert_eq!(host.count(Counter::SolicitationsSent), 0);
        assert_eq!(host.worker().neighbor_state(flow.remote.ip()), None);
    }
}

/// RFC 6583 §6: SYNs from thousands of silent addresses on the link take no neighbour's place, the gateway's least of all.
#[test]
fn syns_from_addresses_without_a_host_displace_no_neighbor() {
    let mut host = Host::with(|spec| {
        spec.interfaces[0].prefix_len = 16;
        spec.gateway_v4 = Some(PEER_V4);
        spec.listeners[0].backlog = 5_000;
        spec.limits.records.embryos.v4 = 5_000;
    });
    let far = SocketAddr::new(Ipv4Addr::new(203, 0, 113, 9).into(), 9_000);
    host.act(|_, cx| cx.connect(far, &Connect::default(), ()))
        .expect("connects");
    expect_arp_request(&mut host, PEER_V4);
    host.inject_bytes(&arp_reply()).next_reply();
    let silent =
        |n: u16| Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 16, 0).to_bits() + u32::from(n));
    for n in 0..3_000 {
        let flow = Flow::between((silent(n), 1).into(), (OUR_V4, OPEN).into());
        host.on(flow).inject(syn().seq(0)).next_reply();
    }
    let sent = host.count(Counter::SolicitationsSent);
    host.wait_ms(1000);
    for _ in 0..200 {
        host.turn();
        while host.try_reply().is_some() {}
    }
    assert_eq!(host.count(Counter::SynAckRetransmitted), 3_000);
    assert_eq!(host.count(Counter::SolicitationsSent), sent);
    assert_eq!(
        host.worker().neighbor_state(PEER_V4.into()),
        Some(NeighborState::Reachable)
    );
    assert_eq!(host.count(Counter::NeighborEvicted), 0);
}

#[test]
fn an_unknown_neighbor_is_asked_for_over_ipv6() {
    let mut host = Host::new();
    let remote = (PEER_V6, 9_000).into();
    let local_port = Some(50_000);
    host.on(Flow::between(remote, (OUR_V6, 50_000).into()));
    host.act(|_, cx| {
        cx.connect(
            remote,
            &Connect {
                local_port,
                ..Connect::default()
            },
            (),
        )
    })
    .expect("connects");
    let frame = host.next_reply();
    slices(&frame);
    let group = ndp::solicited_node(PEER_V6);
    assert_eq!(frame[..6], ndp::multicast_mac(group).0);
    assert_eq!(frame[38..54], group.octets());
    assert_eq!(
        (frame[21], frame[54]),
        (255, 135),
        "a neighbour solicitation from the link"
    );
    assert_eq!(frame[62..78], PEER_V6.octets(), "for the peer");
    host.silent()
        .inject_bytes(&advertisement_of_peer())
        .counted(Counter::NdpLearned);
    host.expect(syn().seq(0)).silent();
}

#[test]
fn a_neighbor_that_never_answers_is_asked_three_times_and_no_syn_is_made() {
    let mut host = Host::new();
    host.act(|_, cx| cx.connect((PEER_V4, 9_000).into(), &Connect::default(), ()))
        .expect("connects");
    for _ in 0..3 {
        expect_arp_request(&mut host, PEER_V4);
        host.silent().wait_ms(1000);
    }
    assert_eq!(host.count(Counter::TxNeighborDropped), 0);
    assert_eq!(host.count(Counter::ConnectionsClosed), 1);
    // ARP says that it is gone; a SYN from there is answered in place all the same.
    while host.try_reply().is_some() {}
    host.inject(syn().seq(0))
        .counted(Counter::SynEmbryo)
        .expect(syn_ack().seq(0).ack(1));
}

/// A worker that asks for more neighbours than half of the table gives up the first ones; a connection whose SYN waited asks
/// again.
#[test]
fn neighbors_that_are_asked_for_displace_each_other_and_are_counted() {
    let mut host = Host::with(|spec| spec.limits.neighbors = 8);
    for n in 10..30u8 {
        let remote = (Ipv4Addr::new(198, 18, 0, n), 9_000).into();
        host.act(|_, cx| cx.connect(remote, &Connect::default(), ()))
            .expect("connects");
        expect_arp_request(&mut host, Ipv4Addr::new(198, 18, 0, n));
    }
    assert_eq!(host.count(Counter::NeighborEvicted), 16);
    assert_eq!(host.count(Counter::TxNeighborDropped), 0);
    host.wait_ms(1_001);
    // The four that are asked for are asked again, and the connections to the others ask for theirs.
    let solicited = host.count(Counter::SolicitationsSent);
    assert!(solicited >= 20 + 16, "{solicited}");
    while host.try_reply().is_some() {}
}

#[test]
fn a_peer_off_the_link_needs_a_gateway() {
    let far = (Ipv4Addr::new(198, 19, 0, 9), 1).into();
    let mut host = Host::new();
    let refused = host.act(|_, cx| cx.connect(far, &Connect::default(), ()));
    assert_eq!(refused.err(), Some(ConnectError::NoRoute));

    let mut host = Host::with(|spec| spec.gateway_v4 = Some(PEER_V4));
    let local_port = Some(50_000);
    host.on(Flow::between(far, (OUR_V4, 50_000).into()));
    host.act(|_, cx| {
        cx.connect(
            far,
            &Connect {
                local_port,
                ..Connect::default()
            },
            (),
        )
    })
    .expect("connects");
    expect_arp_request(&mut host, PEER_V4);
    host.inject_bytes(&arp_reply())
        .counted(Counter::ArpLearned)
        .expect(syn().seq(0));
}

#[test]
fn without_a_buffer_the_syn_ack_is_lost_like_on_the_way_and_tried_again() {
    let mut host = embryo();
    host.nic().pool_frames = 0;
    host.wait_ms(1000).silent();
    assert_eq!(host.count(Counter::TxNoBuffer), 1);
    host.nic().pool_frames = usize::MAX;
    host.wait_ms(2000).expect(syn_ack().seq(0).ack(1));
}

/// Frames of connections are never dropped for want of room: receiving stops until the link takes them.
#[test]
fn receiving_pauses_while_connection_output_is_stuck() {
    let mut host = Host::with(|spec| {
        spec.listeners[0].backlog = 200;
        spec.limits.records.embryos.v4 = 200;
    });
    host.inject_bytes(&arp_request()).next_reply();
    // Other neighbours, unknown: what goes to them waits (three frames each at most) and comes in one go.
    let other = |n: u8| Ipv4Addr::new(198, 18, 0, 10 + n);
    for n in 0..8u16 {
        let remote = (other((n / 3) as u8), 1 + n).into();
        host.act(|_, cx| cx.connect(remote, &Connect::default(), ()))
            .expect("connects");
    }
    while host.try_reply().is_some() {}
    for port in 1..=60 {
        host.on(Flow::v4(port, OPEN))
            .inject(syn().seq(0))
            .counted(Counter::SynEmbryo)
            .next_reply();
    }
    host.nic().tx_room = 0;
    host.wait_ms(1000);
    for _ in 0..8 {
        host.turn();
    }
    for n in 0..3 {
        let mac = MacAddr([2, 0, 0, 0, 1, n]);
        let learned = arp::Packet::reply(mac, other(n), OUR_MAC, OUR_V4);
        let link = Link {
            dst: OUR_MAC,
            src: mac,
            vlan: None,
        };
        host.inject_bytes(&arp_frame(link, &learned))
            .counted(Counter::ArpLearned);
    }
    let received = host.count(Counter::RxFrames);
    host.on(Flow::v4(1, CLOSED).absolute())
        .inject(syn().seq(0))
        .silent();
    assert_eq!(
        host.count(Counter::RxFrames),
        received,
        "left in the NIC's ring"
    );
    assert_eq!(host.count(Counter::TxNoRoom), 0);
    host.nic().tx_room = usize::MAX;
    host.turn();
    for _ in 0..BURST_FRAMES {
        host.next_reply();
    }
    host.turn();
    assert_eq!(host.count(Counter::RxFrames), received + 1);
    assert_eq!(host.count(Counter::RstSent), 1);
    while host.try_reply().is_some() {}
}

/// When there is room for one, it belongs to the connection.
#[test]
fn connection_output_leaves_before_replies() {
    let mut host = embryo();
    let flow = host.flow;
    host.nic().tx_room = 0;
    host.on(Flow::v4(7, CLOSED).absolute())
        .inject(syn().seq(0))
        .counted(Counter::RstSent);
    host.wait_ms(1000);
    host.nic().tx_room = 1;
    host.turn();
    host.on(flow).expect(syn_ack().seq(0).ack(1)).silent();
    host.nic().tx_room = usize::MAX;
    host.turn();
    host.on(Flow::v4(7, CLOSED).absolute())
        .expect(rst().seq(0).ack(1));
    drop_probes(&mut host);
}
