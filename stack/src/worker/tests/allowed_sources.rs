//! Sources that no host can have (RFC 9293 MUST-63, RFC 1122 §3.2.1.3): their frames are never answered.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::host::{CLOSED, Flow, Host, OPEN, OUR_V4, OUR_V6};
use crate::counters::Counter;
use crate::tcp::lang::{ack, rst, syn};
use crate::wire::Defect;

#[test]
fn ipv4_sources_that_are_no_host() {
    let mut host = Host::new();
    for src in [
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [127, 255, 255, 255],
        [224, 0, 0, 1],
        [239, 255, 255, 250],
        [240, 0, 0, 1],
        [255, 255, 255, 255],
        [198, 18, 0, 255], // the broadcast address of our own link
    ] {
        for port in [OPEN, CLOSED] {
            for spec in [syn(), ack(), rst()] {
                let flow = Flow::between((Ipv4Addr::from(src), 1).into(), (OUR_V4, port).into());
                host.on(flow).inject(spec).refused(Defect::Ipv4Source);
            }
        }
    }
}

#[test]
fn ipv6_sources_that_are_no_host() {
    let mut host = Host::new();
    for src in [
        Ipv6Addr::UNSPECIFIED,
        Ipv6Addr::LOCALHOST,
        crate::wire::ndp::ALL_NODES,
        Ipv4Addr::new(198, 18, 0, 1).to_ipv6_mapped(),
    ] {
        for port in [OPEN, CLOSED] {
            for spec in [syn(), ack(), rst()] {
                let flow = Flow::between((src, 1).into(), (OUR_V6, port).into());
                host.on(flow).inject(spec).refused(Defect::Ipv6Source);
            }
        }
    }
}

/// An address that is a broadcast elsewhere is a host's here: only our own links' count.
#[test]
fn hosts_at_the_edge_of_what_is_legal_are_answered() {
    let mut host = Host::new();
    for src in [
        [1, 0, 0, 0],
        [126, 255, 255, 255],
        [128, 0, 0, 0],
        [223, 255, 255, 255],
        [198, 18, 1, 255],
    ] {
        let flow = Flow::between((Ipv4Addr::from(src), 1).into(), (OUR_V4, CLOSED).into());
        host.on(flow.absolute())
            .inject(syn().seq(0))
            .counted(Counter::RstSent);
        host.expect(rst().seq(0).ack(1));
    }
    let mut host = Host::with(|spec| {
        spec.interfaces[0].prefix_len = 31;
    });
    // RFC 3021: a /31 has no broadcast address.
    let flow = Flow::between(
        (Ipv4Addr::new(198, 18, 0, 3), 1).into(),
        (OUR_V4, CLOSED).into(),
    );
    host.on(flow.absolute())
        .inject(syn().seq(0))
        .counted(Counter::RstSent);
    host.expect(rst().seq(0).ack(1));
}
