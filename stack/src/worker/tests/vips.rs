//! Virtual addresses: TCP and ping are answered, questions for their link address are not.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::host::{CLOSED, Flow, Host, OPEN, OUR_V4, PEER_MAC, PEER_V4, PEER_V6};
use super::neighbors::{
    arp_request, arp_request_for, echo_request, solicitation, solicitation_from,
};
use crate::counters::Counter;
use crate::local::addresses::LocalPrefix;
use crate::tcp::lang::{rst, syn, syn_ack};
use crate::wire::IpSpec;

const VIP_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 77);
const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 77);

fn with_vips() -> Host {
    Host::with(|spec| {
        let vip = |address| LocalPrefix::host(address).expect("unicast");
        spec.vips = vec![vip(VIP_V4.into()), vip(VIP_V6.into())];
    })
}

#[test]
fn a_vip_answers_tcp_and_ping_and_no_question_for_its_link_address() {
    let mut host = with_vips();
    for flow in [
        Flow::between((PEER_V4, 7).into(), (VIP_V4, OPEN).into()),
        Flow::between((PEER_V6, 7).into(), (VIP_V6, OPEN).into()),
    ] {
        host.on(flow)
            .inject(syn().seq(0).mss(1460))
            .counted(Counter::SynEmbryo);
        host.expect(syn_ack().seq(0).ack(1));
    }
    let flow = Flow::between((PEER_V4, 8).into(), (VIP_V4, CLOSED).into());
    host.on(flow.absolute())
        .inject(syn().seq(0))
        .counted(Counter::RstSent);
    host.expect(rst().seq(0).ack(1));
    let ping = echo_request(IpSpec::new(PEER_V4.into(), VIP_V4.into()), b"data");
    host.inject_bytes(&ping).counted(Counter::EchoAnswered);
    assert_eq!(host.next_reply()[..6], PEER_MAC.0);
    // A question, a probe for a duplicate (RFC 5227), and their like in IPv6.
    for asker in [PEER_V4, Ipv4Addr::UNSPECIFIED] {
        host.inject_bytes(&arp_request_for(asker, VIP_V4))
            .counted(Counter::ArpNotForUs)
            .silent();
    }
    for asker in [PEER_V6, Ipv6Addr::UNSPECIFIED] {
        host.inject_bytes(&solicitation_from(asker, VIP_V6))
            .counted(Counter::NdpIgnored)
            .silent();
    }
}

#[test]
fn other_addresses_beside_a_vip_are_announced() {
    let mut host = with_vips();
    assert_ne!(OUR_V4, VIP_V4);
    host.inject_bytes(&arp_request())
        .counted(Counter::ArpAnswered);
    host.next_reply();
    host.inject_bytes(&solicitation())
        .counted(Counter::NdpAnswered);
    host.next_reply();
}
