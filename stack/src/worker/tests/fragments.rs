//! Segments that were cut on their way, at one worker and at several.

use super::super::Rings;
use super::host::{CLOSED, Flow, Host, OPEN};
use super::packets::fix_ipv4;
use crate::counters::Counter;
use crate::local::listener::SynPolicy;
use crate::tcp::lang::{ack, data, rst, syn, syn_ack};
use crate::wire::{Defect, icmp, icmpv6};

/// Cuts the packet of an untagged frame at these bytes of its payload, each a multiple of 8.
fn cut(frame: &[u8], id: u16, cuts: &[usize]) -> Vec<Vec<u8>> {
    let is_v6 = frame[12] == 0x86;
    let headers = if is_v6 { 54 } else { 34 };
    let (head, payload) = frame.split_at(headers);
    let ends = cuts.iter().copied().chain([payload.len()]);
    let mut start = 0;
    ends.map(|end| {
        let mut part = head.to_vec();
        let more = u16::from(end < payload.len());
        if is_v6 {
            part.extend([head[20], 0]);
            part.extend((start as u16 | more).to_be_bytes());
            part.extend(u32::from(id).to_be_bytes());
            part[20] = 44;
            part[18..20].copy_from_slice(&(8 + end as u16 - start as u16).to_be_bytes());
        } else {
            part[16..18].copy_from_slice(&(20 + end as u16 - start as u16).to_be_bytes());
            part[18..20].copy_from_slice(&id.to_be_bytes());
            part[20..22].copy_from_slice(&((more << 13) | (start as u16 / 8)).to_be_bytes());
        }
        part.extend(&payload[start..end]);
        if !is_v6 {
            fix_ipv4(&mut part);
        }
        start = end;
        part
    })
    .collect()
}

fn flows(local_port: u16) -> [Flow; 2] {
    [Flow::v4(40_000, local_port), Flow::v6(40_000, local_port)]
}

#[test]
fn a_segment_in_fragments_is_taken_in_any_order() {
    for flow in flows(OPEN) {
        for backwards in [false, true] {
            let mut host = Host::listening(SynPolicy::Embryo);
            host.on(flow)
                .inject(syn())
                .expect(syn_ack().ack(1))
                .inject(ack().seq(1).ack(1));
            let mut parts = cut(
                &host.flow.frame(data(1000).seq(1).ack(1)),
                7,
                &[24, 400, 808],
            );
            if backwards {
                parts.reverse();
            }
            host.inject_burst(&parts)
                .counted(Counter::FragmentHeld)
                .silent();
            host.turn();
            assert_eq!(host.count(Counter::DatagramsReassembled), 1);
            assert_eq!(host.count(Counter::RxFrames), 6);
            // Without an app, data end the connection: all of it has come.
            host.expect(rst().seq(1).ack(1001)).silent();
        }
    }
}

#[test]
fn fragments_that_overlap_refuse_their_datagram_and_what_follows_of_it() {
    for flow in flows(CLOSED) {
        let mut host = Host::new();
        let frame = flow.frame(syn().len(1000));
        let [first, second] = cut(&frame, 7, &[400]).try_into().expect("two");
        let [_, early] = cut(&frame, 7, &[392]).try_into().expect("two");
        host.inject_bytes(&first).counted(Counter::FragmentHeld);
        host.inject_bytes(&first)
            .counted(Counter::FragmentDuplicate);
        host.inject_bytes(&early).counted(Counter::FragmentOverlap);
        host.inject_bytes(&second).counted(Counter::FragmentOverlap);
        host.wait_ms(60_000).silent();
        // Its time is over: the same identification begins anew.
        host.inject_burst([&second, &first])
            .counted(Counter::FragmentHeld);
        host.turn();
        host.on(flow).expect(rst().ack(1001)).silent();
    }
}

#[test]
fn a_first_fragment_without_its_ports_is_refused() {
    for flow in flows(CLOSED) {
        let mut host = Host::new();
        let [tiny, inside, rest] = cut(&flow.frame(syn().len(100)), 7, &[8, 24])
            .try_into()
            .expect("three");
        host.inject_bytes(&tiny)
            .counted(Counter::FragmentTiny)
            .silent();
        if flow.local.is_ipv4() {
            host.inject_bytes(&inside)
                .counted(Counter::FragmentTiny)
                .silent();
        }
        host.inject_bytes(&rest)
            .counted(Counter::FragmentHeld)
            .silent();
    }
}

#[test]
fn a_part_that_no_datagram_has_is_refused() {
    let mut host = Host::new();
    for (at, value, defect) in [
        // Not the last and 7 bytes too long; beyond 65,535 bytes.
        (20, 0x2000u16, Defect::Ipv4Fragment),
        (20, 0x1fff, Defect::Ipv4Fragment),
    ] {
        let mut frame = Flow::v4(1, CLOSED).frame(syn().len(7));
        frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
        fix_ipv4(&mut frame);
        host.inject_bytes(&frame).refused(defect);
    }
    let [first, _] = cut(&Flow::v4(1, CLOSED).frame(syn().len(100)), 7, &[40])
        .try_into()
        .expect("two");
    let mut wrong = first.clone();
    wrong[24] ^= 1;
    host.inject_bytes(&wrong).refused(Defect::Ipv4Checksum);
    for (at, counter) in [(5, Counter::NotOurMac), (33, Counter::NotOurIp)] {
        let mut other = first.clone();
        other[at] = 99;
        fix_ipv4(&mut other);
        host.inject_bytes(&other).counted(counter).silent();
    }
    let mut off = Host::with(|spec| spec.limits.fragmented_datagrams = 0);
    off.inject_bytes(&first).refused(Defect::Ipv4Fragment);
}

#[test]
fn a_datagram_longer_than_the_mtu_is_refused_with_all_its_fragments() {
    let mut host = Host::new();
    let flow = Flow::v4(1, CLOSED);
    let [first, last] = cut(&flow.frame(syn().len(1480)), 7, &[800])
        .try_into()
        .expect("two");
    host.inject_bytes(&first).counted(Counter::FragmentHeld);
    host.inject_bytes(&last)
        .counted(Counter::LongerThanMtu)
        .silent();
    host.inject_bytes(&first)
        .counted(Counter::FragmentOverlap)
        .silent();
    host.inject_bytes(&last)
        .counted(Counter::LongerThanMtu)
        .silent();
}

#[test]
fn the_sender_of_a_first_fragment_hears_that_others_are_missing() {
    for (flow, seconds, kind) in [
        (Flow::v4(1, CLOSED), 30, icmp::TIME_EXCEEDED),
        (Flow::v6(1, CLOSED), 60, icmpv6::TIME_EXCEEDED),
    ] {
        let mut host = Host::new();
        let [first, _] = cut(&flow.frame(syn().len(100)), 7, &[40])
            .try_into()
            .expect("two");
        host.inject_bytes(&first).counted(Counter::FragmentHeld);
        host.wait_ms(seconds * 1000 - 1).silent();
        host.wait_ms(1);
        let error = host.next_reply();
        let l4 = first.len() - if flow.local.is_ipv4() { 40 } else { 48 };
        assert_eq!(error[l4..l4 + 2], [kind, 1]);
        assert_eq!(error[l4 + 8..], first[14..], "quotes the first fragment");
        host.silent();
        assert_eq!(host.count(Counter::ReassemblyTimedOut), 1);
    }
}

#[test]
fn a_datagram_whose_first_fragment_is_missing_ends_in_silence() {
    let mut host = Host::new();
    for flow in flows(CLOSED) {
        let parts = cut(&flow.frame(syn().len(100)), 7, &[40]);
        host.inject_bytes(&parts[1]).counted(Counter::FragmentHeld);
    }
    host.wait_ms(60_000).silent();
    assert_eq!(host.count(Counter::ReassemblyTimedOut), 2);
}

#[test]
fn neighbor_discovery_in_fragments_is_ignored() {
    let mut host = Host::new();
    let mut frame = Flow::v6(1, CLOSED).frame(syn().len(100));
    (frame[20], frame[54]) = (58, icmpv6::ROUTER_SOLICITATION + 2);
    let parts = cut(&frame, 7, &[40]);
    host.inject_bytes(&parts[0])
        .counted(Counter::NdpIgnored)
        .silent();
}

#[test]
fn more_datagrams_than_are_kept_displace_the_oldest() {
    let mut host = Host::with(|spec| spec.limits.fragmented_datagrams = 2);
    for id in 1..=5 {
        let parts = cut(&Flow::v4(1, CLOSED).frame(syn().len(100)), id, &[40]);
        host.inject_bytes(&parts[0]).counted(Counter::FragmentHeld);
    }
    assert_eq!(host.count(Counter::ReassemblyEvicted), 3);
}

#[test]
fn fragments_of_a_datagram_meet_at_one_worker_whichever_queues_they_come_in() {
    for flow in flows(CLOSED) {
        let ends = Rings::new(4, 256).into_ends();
        let mut hosts: Vec<Host> = ends
            .into_iter()
            .map(|end| Host::on_nic(|_| {}, |_| {}, end))
            .collect();
        for id in 0..40 {
            let parts = cut(&flow.absolute().frame(syn().len(900)), id, &[200, 400, 600]);
            for (part, worker) in parts.iter().zip([0, 1, 2, 3]) {
                hosts[worker].inject_bytes(part);
            }
        }
        while hosts.iter_mut().map(Host::turn).sum::<usize>() > 0 {}
        let sum = |counter| hosts.iter().map(|host| host.count(counter)).sum::<u64>();
        assert_eq!(sum(Counter::DatagramsReassembled), 40);
        assert_eq!(sum(Counter::RstSent), 40);
        assert_eq!(sum(Counter::FragmentHeld), 160);
        for host in &mut hosts {
            host.on(flow.absolute());
            while host.try_reply().is_some() {}
        }
        let owners = hosts
            .iter()
            .filter(|host| host.count(Counter::FragmentHeld) > 0);
        assert_eq!(owners.count(), 4, "datagrams are spread");
    }
}

#[test]
fn a_whole_datagram_without_a_buffer_is_counted() {
    let mut host = Host::new();
    let parts = cut(&Flow::v4(1, CLOSED).frame(syn().len(100)), 7, &[40]);
    host.inject_bytes(&parts[0]);
    host.nic().pool_frames = 0;
    host.inject_bytes(&parts[1]).counted(Counter::FragmentHeld);
    host.turn();
    host.silent();
    assert_eq!(host.count(Counter::ReassemblyNoBuffer), 1);
}
