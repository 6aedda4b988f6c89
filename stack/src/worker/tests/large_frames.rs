//! Large segments, as a NIC with LRO delivers them: taken apart where their buffers end.

use super::host::{Flow, Host, OPEN};
use super::vlans::tagged;
use crate::counters::Counter;
use crate::nic::memory::MemoryFrame;
use crate::nic::{BURST_FRAMES, ChecksumVerdict, Nic as _, RxChecksum};
use crate::queue::pattern;
use crate::sim::puppet::{AppEvent, Puppet};
use crate::tcp::lang::{Spec, data, rst};
use crate::tcp::segment::Flags;
use crate::wire::Defect;
use crate::worker::RingEnd;

const BUFFER: usize = 2048;
const GOOD: RxChecksum = RxChecksum {
    ip: ChecksumVerdict::Good,
    l4: ChecksumVerdict::Good,
};

/// An open connection of an app that reads, on a NIC that puts segments together.
fn reader(flow: Flow) -> Host<Puppet> {
    let mut host = Host::build(
        Puppet::default(),
        |spec| spec.tcp.profile.rcv_buf = 1 << 20,
        |nic| {
            let caps = nic.caps_mut();
            (caps.lro, caps.rx_tcp_checksum, caps.rx_ipv4_checksum) = (true, true, true);
        },
        RingEnd::single(),
    );
    host.on(flow).shake_hands();
    host
}

/// The bytes of the chargen pattern from `from` on, as one segment.
fn bytes(host: &Host<Puppet>, from: u32, len: u32, end: fn(Spec) -> Spec) -> Vec<u8> {
    let payload: Vec<u8> = (u64::from(from)..)
        .map(pattern::byte_at)
        .take(len as usize)
        .collect();
    let spec = end(data(len).seq(1 + from).ack(1));
    host.flow.frame_with_payload(spec, &[], &payload)
}

fn large(host: &mut Host<Puppet>, from: u32, len: u32) -> MemoryFrame {
    let bytes = bytes(host, from, len, |spec| spec);
    host.nic()
        .frame(&bytes)
        .in_buffers_of(BUFFER)
        .with_rx_checksum(GOOD)
}

/// Bytes that the app read, and how many of them are wrong. What was answered is forgotten.
fn read(host: &mut Host<Puppet>) -> (u64, u64) {
    while host.try_reply().is_some() {}
    (host.app().received, host.app().wrong)
}

#[test]
fn a_large_segment_becomes_the_segments_that_it_was_made_of() {
    for flow in [Flow::v4(1, OPEN), Flow::v6(1, OPEN)] {
        let mut host = reader(flow);
        let frame = large(&mut host, 0, 60_000);
        host.inject_frames(vec![frame]);
        assert_eq!(read(&mut host), (60_000, 0), "{flow:?}");
        assert_eq!(host.count(Counter::RxLarge), 1);
        assert_eq!(host.count(Counter::RxLargeSegments), 30);
        assert_eq!(host.count(Counter::RxLinearized), 0, "nothing is copied");
    }
}

#[test]
fn each_part_of_a_large_segment_finds_its_connection() {
    let mut host = reader(Flow::v4(1, OPEN));
    // Up to a burst whose stages are stamped. Until then there is a frame in each: no place but the first has a connection.
    let mut sent = 0;
    while !host.worker().cycles().samples_now() {
        let small = bytes(&host, sent, 10, |spec| spec);
        host.inject_bytes(&small);
        sent += 10;
    }
    let frame = large(&mut host, sent, 60_000);
    host.inject_frames(vec![frame]);
    assert_eq!(read(&mut host), (u64::from(sent) + 60_000, 0));
    assert_eq!(host.count(Counter::ListenAckReset), 0);
}

#[test]
fn what_comes_behind_large_segments_stays_behind_them() {
    let mut host = reader(Flow::v4(1, OPEN));
    let mut frames = Vec::new();
    for n in 0..10 {
        frames.push(large(&mut host, n * 41_000, 40_000));
        let small = bytes(&host, n * 41_000 + 40_000, 1000, |spec| spec);
        frames.push(host.nic().frame(&small).with_rx_checksum(GOOD));
    }
    let whole = frames.len() as u64;
    host.inject_frames(frames);
    let mut turns = 1;
    while host.turn() > 0 {
        turns += 1;
    }
    assert_eq!(read(&mut host), (410_000, 0));
    assert!(turns >= 210 / BURST_FRAMES, "{turns} turns");
    assert_eq!(host.count(Counter::RxLargeSegments), 200);
    // The three segments of the handshake are two frames in.
    assert_eq!(host.count(Counter::RxFrames), 2 + whole);
}

#[test]
fn the_last_part_has_the_fin() {
    let mut host = reader(Flow::v4(1, OPEN));
    let bytes = bytes(&host, 0, 5000, |spec| spec.with(Flags::FIN));
    let frame = host
        .nic()
        .frame(&bytes)
        .in_buffers_of(BUFFER)
        .with_rx_checksum(GOOD);
    host.inject_frames(vec![frame]);
    assert_eq!(read(&mut host), (5000, 0));
    assert_eq!(host.app().count(AppEvent::PeerClosed), 1);
}

#[test]
fn a_large_segment_with_a_tag_is_taken_apart_too() {
    let mut host = reader(Flow::v4(1, OPEN));
    let bytes = tagged(&bytes(&host, 0, 9000, |spec| spec), 0);
    let frame = host
        .nic()
        .frame(&bytes)
        .in_buffers_of(BUFFER)
        .with_rx_checksum(GOOD);
    host.inject_frames(vec![frame]);
    assert_eq!(read(&mut host), (9000, 0));
}

#[test]
fn a_large_segment_with_a_wrong_checksum_is_dropped_whole() {
    for flow in [Flow::v4(1, OPEN), Flow::v6(1, OPEN)] {
        let mut host = reader(flow);
        let right = bytes(&host, 0, 9000, |spec| spec);
        for (at, defect) in [(24, Defect::Ipv4Checksum), (8999, Defect::TcpChecksum)] {
            if flow.remote.is_ipv6() && at == 24 {
                continue;
            }
            let mut wrong = right.clone();
            wrong[at] ^= 1;
            for verdict in [
                RxChecksum::default(),
                RxChecksum {
                    l4: ChecksumVerdict::Bad,
                    ..RxChecksum::default()
                },
            ] {
                let frame = host
                    .nic()
                    .frame(&wrong)
                    .in_buffers_of(BUFFER)
                    .with_rx_checksum(verdict);
                host.inject_frames(vec![frame]).refused(defect).silent();
            }
        }
        assert_eq!(read(&mut host), (0, 0));
        // The NIC said nothing of this one, and it is right.
        let frame = host.nic().frame(&right).in_buffers_of(BUFFER);
        host.inject_frames(vec![frame]);
        assert_eq!(read(&mut host), (9000, 0));
    }
}

#[test]
fn a_frame_in_several_buffers_that_is_no_longer_than_a_packet_stays_one() {
    let mut host = reader(Flow::v4(1, OPEN));
    let small = bytes(&host, 0, 1400, |spec| spec);
    let frame = host
        .nic()
        .frame(&small)
        .in_buffers_of(600)
        .with_rx_checksum(GOOD);
    host.inject_frames(vec![frame])
        .counted(Counter::ConnSegment);
    assert_eq!(host.count(Counter::RxLinearized), 1);
    assert_eq!(host.count(Counter::RxLarge), 0);
    assert_eq!(read(&mut host), (1400, 0));
}

#[test]
fn what_is_large_and_no_segment_is_dropped_by_name() {
    let mut host = reader(Flow::v4(1, OPEN));
    let mut reset = host.flow.frame(rst().seq(1));
    reset.resize(5000, 0);
    for (at, value) in [(0, reset[0]), (23, 17), (12, 0x88), (46, 0x10)] {
        let mut other = bytes(&host, 0, 5000, |spec| spec);
        other[at] = value;
        if at == 0 {
            other = reset.clone();
        }
        let frame = host
            .nic()
            .frame(&other)
            .in_buffers_of(BUFFER)
            .with_rx_checksum(GOOD);
        host.inject_frames(vec![frame])
            .counted(Counter::ChainedTooLong)
            .silent();
    }
}

#[test]
fn a_part_that_can_not_be_rewritten_is_dropped_and_no_more() {
    let mut host = reader(Flow::v4(1, OPEN));
    let mut frame = large(&mut host, 0, 5000);
    // Another reader has the first buffer.
    let kept = host.nic().share(&mut frame).expect("shared");
    host.inject_frames(vec![frame]);
    assert_eq!(host.count(Counter::ChainedTooLong), 1);
    assert_eq!(host.count(Counter::RxLargeSegments), 3);
    drop(kept);
    assert_eq!(read(&mut host), (0, 0));
    let frame = large(&mut host, 0, 1994);
    host.inject_frames(vec![frame]);
    assert_eq!(read(&mut host), (5000, 0), "the others waited for it");
}
