//! Any sequence of frames into a worker with listeners of every policy: no panic, each frame in one counter, every answer
//! well-formed, every buffer back.
//!
//! The input is a list of steps; a step is one byte of what to do, one of how much, and then that many bytes. Seeds need no
//! checksums: unless the input says otherwise the step makes them right, or the fuzzer would never get past them.
//!
//! Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run worker`.
#![no_main]
#![forbid(unsafe_code)]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use libfuzzer_sys::fuzz_target;
use stack::app::NoApp;
use stack::config::{ClosedPolicy, ConfigSpec, Interface};
use stack::conn::{Capacity, Records};
use stack::local::listener::{ListenerConfig, SynPolicy};
use stack::nic::Frame;
use stack::nic::memory::MemoryNic;
use stack::seq::SeqNum;
use stack::sim::pair::worker_on;
use stack::time::Instant;
use stack::wire::tcp::Flags;
use stack::wire::{self, Link, MacAddr, SegmentSpec};
use stack::worker::Worker;

const US: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const PEER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const US6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 2);
const PEER6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1);
const LINK: Link = Link {
    dst: MacAddr([2, 0, 0, 0, 0, 1]),
    src: MacAddr([2, 0, 0, 0, 0, 2]),
    vlan: None,
};

fuzz_target!(|input: &[u8]| {
    let (closed, steps) = match input.split_first() {
        Some((first, rest)) => (first % 3, rest),
        None => return,
    };
    let mut worker = worker(match closed {
        0 => ClosedPolicy::Rst,
        1 => ClosedPolicy::Drop,
        _ => ClosedPolicy::Icmp,
    });
    let mut world = World {
        now: Instant::from_ms(1_000_000),
        our_numbers: [0; 4],
    };
    let mut rest = steps;
    while let [what, len, tail @ ..] = rest {
        let (bytes, tail) = tail.split_at(tail.len().min(usize::from(*len)));
        world.step(&mut worker, *what, bytes);
        rest = tail;
    }
    worker.turn(world.now);
    assert_eq!(worker.counters().unaccounted(), 0);
    let mut nic = worker.into_nic();
    drop(nic.take_sent());
    assert_eq!(nic.in_use(), 0, "buffers leaked");
});

/// The state of the peer.
struct World {
    now: Instant,
    /// The last SYN,ACK's sequence number, by the peer's port modulo 4: so that ACKs can hit.
    our_numbers: [u32; 4],
}

impl World {
    fn step(&mut self, worker: &mut Worker<MemoryNic>, what: u8, bytes: &[u8]) {
        let frame = match what & 7 {
            // Whatever it is.
            0 => bytes.to_vec(),
            1 => with_right_checksums(bytes.to_vec()),
            2 => {
                self.now = self.now + Duration::from_millis(u64::from(what >> 3) * 500);
                Vec::new()
            }
            _ => match self.segment(what, bytes) {
                Some(frame) => frame,
                None => return,
            },
        };
        if !frame.is_empty() {
            let mut frame = worker.nic_mut().frame(&frame);
            if what & 0xc0 == 0xc0 {
                frame = frame.chained_at(usize::from(what & 0x3f));
            }
            worker.nic_mut().inject(frame);
        }
        // Some frames wait, to arrive in one burst with the next.
        if what & 0x20 == 0 {
            worker.turn(self.now);
            for answer in worker.nic_mut().take_sent() {
                self.hear(answer.bytes());
            }
        }
    }

    /// A segment from a few bytes: flags, ports, distances to the numbers that matter, options, text.
    fn segment(&self, what: u8, bytes: &[u8]) -> Option<Vec<u8>> {
        let [flags, ports, seq, ack, rest @ ..] = bytes else {
            return None;
        };
        let peer_port = u16::from(ports & 3);
        let port = 80 + u16::from(ports >> 2 & 7);
        let (src, dst): (IpAddr, IpAddr) = if ports & 0x80 == 0 {
            (PEER.into(), US.into())
        } else {
            (PEER6.into(), US6.into())
        };
        let options_len = usize::from(what >> 3 & 3) * 4;
        let (options, payload) = rest.split_at(rest.len().min(options_len) & !3);
        let iss = self.our_numbers[usize::from(peer_port)];
        let spec = SegmentSpec {
            flags: Flags(*flags),
            seq: SeqNum(seq.cast_signed() as u32),
            ack: SeqNum(iss.wrapping_add_signed(i32::from(ack.cast_signed()))),
            options,
            payload,
            ..SegmentSpec::new(LINK, (src, 1000 + peer_port).into(), (dst, port).into())
        };
        let mut frame = vec![0; 2048];
        let len = spec.emit(&mut frame).ok()?;
        frame.truncate(len);
        Some(frame)
    }

    fn hear(&mut self, answer: &[u8]) {
        let parsed = wire::parse(answer).expect("an answer that is well-formed");
        assert_eq!(parsed.verify_checksums(true, true), Ok(()));
        assert_eq!(parsed.end_offset(), answer.len());
        assert_eq!(parsed.link.src, LINK.dst);
        if let Some(segment) = parsed.tcp() {
            assert!(segment.payload.is_empty());
            if segment.header.flags.syn() {
                let peer = usize::from(segment.header.dst_port.get() & 3);
                self.our_numbers[peer] = segment.header.seq.get();
            }
        }
    }
}

/// Makes the checksums of a frame right, as far as it can be read.
fn with_right_checksums(mut frame: Vec<u8>) -> Vec<u8> {
    use stack::wire::checksum;
    if frame.len() < 34 || frame[12..14] != [8, 0] || frame[14] != 0x45 {
        return frame;
    }
    frame[24..26].fill(0);
    let sum = checksum::sum(&frame[14..34]).finish();
    frame[24..26].copy_from_slice(&sum.to_bytes());
    let end = 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let (field, pseudo) = match frame[23] {
        1 => (36, checksum::Sum::ZERO),
        6 => {
            let address = |at: usize| [frame[at], frame[at + 1], frame[at + 2], frame[at + 3]];
            let len = (end as u16).wrapping_sub(34);
            (50, checksum::pseudo_v4(address(26), address(30), 6, len))
        }
        _ => return frame,
    };
    if end <= field + 2 || end > frame.len() {
        return frame;
    }
    frame[field..field + 2].fill(0);
    let sum = (pseudo + checksum::sum(&frame[34..end])).finish();
    frame[field..field + 2].copy_from_slice(&sum.to_bytes());
    frame
}

fn worker(closed: ClosedPolicy) -> Worker<MemoryNic> {
    let interface = |address, prefix_len| Interface {
        address,
        prefix_len,
    };
    let mut spec = ConfigSpec::new(vec![interface(US.into(), 24), interface(US6.into(), 64)]);
    let policies = [
        SynPolicy::Embryo,
        SynPolicy::CookieWhenFull,
        SynPolicy::CookieAlways,
        SynPolicy::Drop,
        SynPolicy::Rst,
    ];
    spec.listeners = policies
        .into_iter()
        .zip(80..)
        .map(|(policy, port)| ListenerConfig {
            backlog: 2,
            ..ListenerConfig::new(port, policy)
        })
        .collect();
    let few = Records { v4: 4, v6: 4 };
    spec.limits.records = Capacity {
        embryos: few,
        parked: few,
        ..spec.limits.records
    };
    spec.closed = closed;
    worker_on(MemoryNic::new(LINK.dst.0), spec, NoApp)
}
