//! Closed ports under `--closed drop` and `--closed icmp`.

use etherparse::{Icmpv4Type, Icmpv6Type, TransportSlice, icmpv4, icmpv6};

use super::answer::slices;
use super::host::{CLOSED, Flow, Host};
use crate::config::ClosedPolicy;
use crate::counters::Counter;
use crate::tcp::lang::{ack, data, fin, rst, syn};

fn closed(policy: ClosedPolicy, icmp_errors_pps: u32) -> Host {
    let mut host = Host::with(|spec| {
        spec.closed = policy;
        spec.limits.icmp_errors_pps = icmp_errors_pps;
    });
    host.on(Flow::v4(40_000, CLOSED));
    host
}

#[test]
fn drop_says_nothing_to_anything() {
    let mut host = closed(ClosedPolicy::Drop, 1000);
    for spec in [syn(), ack(), fin(), data(3)] {
        host.inject(spec).counted(Counter::ClosedDropped).silent();
    }
    host.inject(rst()).counted(Counter::RstUnmatched).silent();
}

#[test]
fn icmp_quotes_the_whole_segment_back_to_its_sender_over_ipv4() {
    let mut host = closed(ClosedPolicy::Icmp, 1000);
    let sent = host.flow.frame(syn().mss(1460).len(5));
    host.inject_bytes(&sent).counted(Counter::ClosedIcmpSent);
    let reply = host.next_reply();
    let packet = slices(&reply);
    let Some(TransportSlice::Icmpv4(icmp)) = packet.transport else {
        panic!("no ICMP: {packet:?}");
    };
    let port = icmpv4::DestUnreachableHeader::Port;
    assert_eq!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(port));
    assert_eq!(icmp.payload(), &sent[14..], "the quote");
    assert_eq!((&reply[..6], &reply[6..12]), (&sent[6..12], &sent[..6]));
    assert_eq!(
        (&reply[26..30], &reply[30..34]),
        (&sent[30..34], &sent[26..30])
    );
}

#[test]
fn icmpv6_quotes_the_whole_segment_back_to_its_sender() {
    let mut host = closed(ClosedPolicy::Icmp, 1000);
    host.on(Flow::v6(40_000, CLOSED));
    let sent = host.flow.frame(data(100));
    host.inject_bytes(&sent).counted(Counter::ClosedIcmpSent);
    let reply = host.next_reply();
    let packet = slices(&reply);
    let Some(TransportSlice::Icmpv6(icmp)) = packet.transport else {
        panic!("no ICMPv6: {packet:?}");
    };
    let port = icmpv6::DestUnreachableCode::Port;
    assert_eq!(icmp.icmp_type(), Icmpv6Type::DestinationUnreachable(port));
    assert_eq!(icmp.payload(), &sent[14..], "the quote");
}

#[test]
fn icmp_is_limited_and_resets_get_none() {
    let mut host = closed(ClosedPolicy::Icmp, 10);
    host.inject(rst()).counted(Counter::RstUnmatched).silent();
    // At this rate the bucket holds one.
    host.inject(syn()).counted(Counter::ClosedIcmpSent);
    host.next_reply();
    host.inject(syn())
        .counted(Counter::ClosedIcmpLimited)
        .silent();
    host.wait_ms(99)
        .inject(syn())
        .counted(Counter::ClosedIcmpLimited)
        .silent();
    host.wait_ms(1)
        .inject(syn())
        .counted(Counter::ClosedIcmpSent);
    host.next_reply();
}
