//! Frames lost, doubled, corrupted and overtaken: by the rates, by the seed, and never more than is held.

use super::lane::LANE_FRAMES;
use super::*;
use crate::memory::{MemoryFrame, MemoryNic};
use crate::{BURST_FRAMES, Burst, ChecksumVerdict, Frame, IpVersion, Nic, RxChecksum, TxRequest};

const HZ: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

fn lane_of(spec: &FaultSpec) -> FaultLane<MemoryFrame> {
    lane_with(spec, false)
}

fn lane_with(spec: &FaultSpec, checksums_come_later: bool) -> FaultLane<MemoryFrame> {
    let config = LaneConfig {
        lane: 0,
        ticks_hz: HZ,
        checksums_come_later,
    };
    FaultLane::new(spec, &config)
}

/// A frame of 60 bytes with a number in it, behind what may be corrupted in headers.
fn numbered(nic: &MemoryNic, number: u32) -> MemoryFrame {
    let mut bytes = [0; 60];
    bytes[40..44].copy_from_slice(&number.to_be_bytes());
    nic.frame(&bytes)
}

fn number_of(frame: &MemoryFrame) -> u32 {
    u32::from_be_bytes(frame.bytes()[40..44].try_into().expect("four bytes"))
}

fn copy_in(nic: &MemoryNic) -> impl FnMut(&MemoryFrame) -> Option<MemoryFrame> {
    |frame| {
        let mut bytes = vec![0; frame.total_len()];
        frame.copy_out(0, &mut bytes);
        Some(nic.frame(&bytes))
    }
}

/// Sends `count` frames through the lane, a burst a millisecond, and returns what came out.
fn through(lane: &mut FaultLane<MemoryFrame>, nic: &MemoryNic, count: u32) -> Vec<MemoryFrame> {
    let mut out = Vec::new();
    let (mut numbers, mut now) = (0..count, 0);
    loop {
        let mut burst = Burst::new();
        for number in numbers.by_ref().take(BURST_FRAMES) {
            burst.push(numbered(nic, number)).expect("room");
        }
        let sent = burst.len();
        assert_eq!(lane.admit(&mut burst, now, copy_in(nic)), sent);
        let mut due = Burst::new();
        while lane.release(now, &mut due) > 0 {
            out.extend(due.take_front(BURST_FRAMES));
        }
        if sent == 0 && lane.held() == 0 {
            return out;
        }
        now += MS;
    }
}

fn numbers_through(spec: &FaultSpec, count: u32) -> (Vec<u32>, FaultCounts) {
    let nic = MemoryNic::new([2; 6]);
    let mut lane = lane_of(spec);
    let out = through(&mut lane, &nic, count);
    let numbers = out.iter().map(number_of).collect();
    drop(out);
    assert_eq!(nic.in_use(), 0);
    (numbers, *lane.counts())
}

/// Whether `n` of `of` is what a rate of `ppm` gives, within five standard deviations.
fn is_usual(n: u64, of: u64, ppm: u32) -> bool {
    let p = f64::from(ppm) / 1e6;
    let (mean, deviation) = (of as f64 * p, (of as f64 * p * (1.0 - p)).sqrt());
    (n as f64 - mean).abs() <= 5.0 * deviation
}

#[test]
fn without_faults_everything_arrives_in_order() {
    let (numbers, counts) = numbers_through(&FaultSpec::default(), 1000);
    assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
    let frames_only = FaultCounts {
        frames: 1000,
        ..FaultCounts::default()
    };
    assert_eq!(counts, frames_only);
}

#[test]
fn each_fault_comes_at_its_rate_and_none_at_zero() {
    const RATE_PPM: u32 = 50_000;
    const FRAMES: u32 = 20_000;
    type Rate = fn(&mut FaultSpec) -> &mut u32;
    type Count = fn(&FaultCounts) -> u64;
    let rates: [(Rate, Count); 4] = [
        (|spec| &mut spec.loss_ppm, |counts| counts.lost),
        (|spec| &mut spec.duplicate_ppm, |counts| counts.duplicated),
        (|spec| &mut spec.corrupt_ppm, |counts| counts.corrupted),
        (|spec| &mut spec.reorder_ppm, |counts| counts.reordered),
    ];
    for (which, (rate, _)) in rates.iter().enumerate() {
        let mut spec = FaultSpec {
            seed: 1,
            ..FaultSpec::default()
        };
        *rate(&mut spec) = RATE_PPM;
        let (numbers, counts) = numbers_through(&spec, FRAMES);
        for (other, (_, count)) in rates.iter().enumerate() {
            let n = count(&counts);
            if other == which {
                assert!(is_usual(n, FRAMES.into(), RATE_PPM), "{which}: {n}");
            } else {
                assert_eq!(n, 0, "{which} made {other}");
            }
        }
        let expected = u64::from(FRAMES) + counts.duplicated - counts.lost;
        assert_eq!(numbers.len() as u64, expected, "{which}");
        let is_sorted = numbers.is_sorted();
        // Where a corrupted number stood is unknown.
        assert_eq!(
            is_sorted,
            counts.reordered + counts.corrupted == 0,
            "{which}"
        );
        assert_eq!(counts.not_done, 0);
    }
}

#[test]
fn the_same_seed_gives_the_same_fates_and_lanes_differ() {
    let spec = FaultSpec {
        loss_ppm: 100_000,
        duplicate_ppm: 100_000,
        corrupt_ppm: 100_000,
        reorder_ppm: 100_000,
        seed: 7,
        ..FaultSpec::default()
    };
    let fates = |spec: &FaultSpec, lane| {
        let mut dice = FaultDice::new(spec, lane);
        (0..500).map(|_| dice.next_fate()).collect::<Vec<_>>()
    };
    assert_eq!(fates(&spec, 0), fates(&spec, 0));
    assert_ne!(fates(&spec, 0), fates(&spec, 1));
    assert_ne!(fates(&spec, 0), fates(&FaultSpec { seed: 8, ..spec }, 0));
    // Another rate of one fault leaves the others where they are.
    let without_loss = fates(
        &FaultSpec {
            loss_ppm: 0,
            ..spec
        },
        0,
    );
    for (fate, other) in fates(&spec, 0).iter().zip(&without_loss) {
        assert_eq!(
            (fate.corrupt, fate.overtakers),
            (other.corrupt, other.overtakers)
        );
    }
}

#[test]
fn a_frame_is_overtaken_by_a_few_and_the_last_one_arrives_too() {
    let spec = FaultSpec {
        reorder_ppm: 20_000,
        seed: 3,
        ..FaultSpec::default()
    };
    let (numbers, counts) = numbers_through(&spec, 5000);
    assert!(counts.reordered > 50);
    let farthest = numbers
        .iter()
        .enumerate()
        .map(|(place, &number)| place.abs_diff(number as usize))
        .max();
    // Those that are set aside together don't overtake each other, so a little more is possible.
    assert!((1..=2 * usize::from(OVERTAKERS_MAX)).contains(&farthest.expect("frames")));
    let mut sorted = numbers;
    sorted.sort_unstable();
    assert_eq!(sorted, (0..5000).collect::<Vec<_>>());
    // Nothing overtakes a single frame.
    let always = FaultSpec {
        reorder_ppm: WHOLE_PPM,
        ..spec
    };
    assert_eq!(numbers_through(&always, 1).0, [0]);
}

#[test]
fn a_frame_is_late_by_the_delay_and_not_more() {
    let nic = MemoryNic::new([2; 6]);
    let mut lane = lane_of(&FaultSpec {
        delay_ns: 10 * MS,
        ..FaultSpec::default()
    });
    let mut burst = Burst::new();
    burst.push(numbered(&nic, 0)).expect("room");
    lane.admit(&mut burst, 5 * MS, copy_in(&nic));
    let mut due = Burst::new();
    assert_eq!(lane.release(15 * MS - 1, &mut due), 0);
    assert_eq!(lane.release(15 * MS, &mut due), 1);
}

#[test]
fn one_bit_is_flipped_and_what_was_known_of_checksums_is_forgotten() {
    let spec = FaultSpec {
        corrupt_ppm: WHOLE_PPM,
        seed: 5,
        ..FaultSpec::default()
    };
    let request = TxRequest {
        ip: IpVersion::V4,
        l2_len: 14,
        l3_len: 20,
        ipv4_checksum: true,
        tcp_checksum: true,
        cut: None,
    };
    for come_later in [false, true] {
        let nic = MemoryNic::new([2; 6]);
        let mut lane = lane_with(&spec, come_later);
        for number in 0..200 {
            let good = RxChecksum {
                ip: ChecksumVerdict::Good,
                l4: ChecksumVerdict::Good,
            };
            let mut frame = numbered(&nic, number);
            frame.request(Some(request));
            let mut burst = Burst::new();
            burst.push(frame.with_rx_checksum(good)).expect("room");
            lane.admit(&mut burst, 0, copy_in(&nic));
            let mut due = Burst::new();
            assert_eq!(lane.release(0, &mut due), 1);
            let frame = &due.as_slice()[0];
            let before = numbered(&nic, number);
            let flipped: Vec<(usize, u32)> = (0..60)
                .map(|at| (at, (frame.bytes()[at] ^ before.bytes()[at]).count_ones()))
                .filter(|&(_, bits)| bits > 0)
                .collect();
            let &[(at, 1)] = &flipped[..] else {
                panic!("{flipped:?}")
            };
            assert!(!come_later || at < 34, "the NIC would make {at} valid");
            assert_eq!(frame.rx_checksum(), RxChecksum::default());
            assert_eq!(frame.requested(), None);
        }
    }
}

#[test]
fn bytes_that_others_read_are_not_corrupted() {
    let spec = FaultSpec {
        corrupt_ppm: WHOLE_PPM,
        ..FaultSpec::default()
    };
    let mut nic = MemoryNic::new([2; 6]);
    let mut lane = lane_of(&spec);
    let mut kept = numbered(&nic, 9);
    let mut burst = Burst::new();
    burst
        .push(nic.share(&mut kept).expect("shared"))
        .expect("room");
    burst.push(numbered(&nic, 9).chained_at(20)).expect("room");
    lane.admit(&mut burst, 0, copy_in(&nic));
    assert_eq!(lane.counts().corrupted, 2);
    assert_eq!(kept.bytes(), numbered(&nic, 9).bytes());
    // Without a buffer for the copy they pass as they are.
    burst
        .push(nic.share(&mut kept).expect("shared"))
        .expect("room");
    lane.admit(&mut burst, 0, |_| None);
    assert_eq!((lane.counts().corrupted, lane.counts().not_done), (2, 1));
    assert_eq!(lane.clear(), 3);
    drop(kept);
    assert_eq!(nic.in_use(), 0);
}

#[test]
fn a_lane_is_bounded_and_gives_back_what_it_held() {
    let spec = FaultSpec {
        duplicate_ppm: WHOLE_PPM,
        delay_ns: 1000 * MS,
        ..FaultSpec::default()
    };
    let nic = MemoryNic::new([2; 6]);
    let mut lane = lane_of(&spec);
    loop {
        let mut burst = Burst::new();
        while burst.room() > 0 {
            burst.push(numbered(&nic, 0)).expect("room");
        }
        if lane.admit(&mut burst, 0, copy_in(&nic)) == 0 {
            assert_eq!(burst.len(), BURST_FRAMES, "a full lane takes nothing");
            break;
        }
    }
    assert!(!lane.has_room());
    assert!(lane.held() <= LANE_FRAMES && lane.held() > LANE_FRAMES - 2 * BURST_FRAMES);
    let mut due = Burst::new();
    due.push(numbered(&nic, 1)).expect("room");
    assert_eq!(lane.release(1000 * MS, &mut due), BURST_FRAMES - 1);
    drop(due);
    let held = lane.held();
    assert_eq!(nic.in_use(), held);
    assert_eq!(lane.clear(), held);
    assert_eq!(nic.in_use(), 0);
}
