//! The generator's loop against a NIC in memory: what it sends, counts, holds back and takes back.
//!
//! It must never need DPDK's environment: frames are vectors here.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

use stack::nic::{Caps, FrameError, RxChecksum, TxRequest};

use super::*;

/// A frame in a vector.
struct Heap(Vec<u8>);

impl Frame for Heap {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
    fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        Some(&mut self.0)
    }
    fn total_len(&self) -> usize {
        self.0.len()
    }
    fn copy_out(&self, offset: usize, into: &mut [u8]) -> usize {
        let from = self.0.get(offset..).unwrap_or_default();
        let n = from.len().min(into.len());
        into[..n].copy_from_slice(&from[..n]);
        n
    }
    fn set_len(&mut self, len: usize) -> Result<(), FrameError> {
        self.0.resize(len, 0);
        Ok(())
    }
    fn prefetch(&self) {}
    fn rx_checksum(&self) -> RxChecksum {
        RxChecksum::default()
    }
    fn request(&mut self, _request: Option<TxRequest>) {}
}

/// A NIC whose other end is the test: takes at most `takes` frames per burst.
struct Wire {
    caps: Caps,
    takes: usize,
    sent: Vec<Vec<u8>>,
    waiting: VecDeque<Vec<u8>>,
}

impl Wire {
    fn new() -> Self {
        let caps = Caps {
            link: "test".into(),
            mtu: 1500,
            rx_ipv4_checksum: false,
            rx_tcp_checksum: false,
            tx_ipv4_checksum: false,
            tx_tcp_checksum: false,
            tx_multi_seg: false,
            steering: None,
        };
        Self {
            caps,
            takes: usize::MAX,
            sent: Vec::new(),
            waiting: VecDeque::new(),
        }
    }
}

impl Nic for Wire {
    type Frame = Heap;

    fn caps(&self) -> &Caps {
        &self.caps
    }
    fn mac(&self) -> [u8; 6] {
        [4; 6]
    }
    fn rx(&mut self, into: &mut Burst<Heap>) -> usize {
        let n = into.room().min(self.waiting.len());
        for bytes in self.waiting.drain(..n) {
            assert!(into.push(Heap(bytes)).is_ok());
        }
        n
    }
    fn tx(&mut self, from: &mut Burst<Heap>) -> usize {
        let n = from.len().min(self.takes);
        self.sent.extend(from.take_front(n).map(|frame| frame.0));
        n
    }
    fn alloc(&mut self, _class: PoolClass, into: &mut Burst<Heap>, n: usize) -> usize {
        let n = n.min(into.room());
        for _ in 0..n {
            assert!(into.push(Heap(Vec::new())).is_ok());
        }
        n
    }
    fn share(&mut self, _frame: &mut Heap) -> Option<Heap> {
        None
    }
    fn cycles(&self) -> u64 {
        0
    }
}

fn generator(expect: Expect, retire: bool, window: Option<u32>) -> Generator<Wire> {
    let address = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2));
    Generator::new(
        Wire::new(),
        &TrafficPlan {
            target: Target {
                mac: [2; 6],
                source_mac: [4; 6],
                address,
                port: 80,
            },
            options: SynOptions::None,
            expect,
            retire,
            pace: PaceConfig {
                rate_pps: None,
                window,
                hz: 1000,
            },
            seed: [1, 2, 3],
        },
    )
}

/// The echo of a frame: MAC addresses swapped.
fn echo(frame: &[u8]) -> Vec<u8> {
    [&frame[6..12], &frame[..6], &frame[12..]].concat()
}

#[test]
fn syns_go_out_in_bursts_and_echoes_are_counted() {
    let mut generator = generator(Expect::Echo, false, None);
    generator.turn(true, 0);
    assert_eq!(generator.nic.sent.len(), BURST_FRAMES);
    generator.nic.waiting = generator.nic.sent.iter().map(|frame| echo(frame)).collect();
    generator.turn(false, 0);
    let tally = generator.tally();
    assert_eq!(
        (tally.sent, tally.verified, tally.unanswered()),
        (64, 64, 0)
    );
    assert_eq!(
        generator.nic.sent.len(),
        BURST_FRAMES,
        "nothing is sent while draining"
    );
}

#[test]
fn what_the_link_refuses_is_kept_counted_and_sent_first() {
    let mut generator = generator(Expect::Sink, false, None);
    generator.nic.takes = 10;
    generator.turn(true, 0);
    let second = generator.syns.as_slice()[0].0.clone();
    generator.turn(true, 0);
    assert_eq!(generator.nic.sent[10], second);
    let tally = generator.tally();
    assert_eq!((tally.sent, tally.tx_refused), (20, 2));
    generator.discard_unsent();
    assert!(generator.syns.is_empty());
}

#[test]
fn a_window_holds_back() {
    let mut generator = generator(Expect::Echo, false, Some(100));
    for _ in 0..5 {
        generator.turn(true, 0);
    }
    // 36 more would fit, but not a whole burst.
    assert_eq!(generator.nic.sent.len(), 64);
    assert_eq!(generator.tally().tx_held, 4);
    generator.nic.waiting = generator.nic.sent.iter().map(|frame| echo(frame)).collect();
    generator.turn(true, 0);
    assert_eq!(generator.nic.sent.len(), 128);
}

#[test]
fn wrong_replies_are_counted_by_reason_and_the_first_are_dumped() {
    let mut generator = generator(Expect::Echo, false, None);
    generator.turn(true, 0);
    generator.nic.waiting = generator.nic.sent.iter().map(|frame| echo(frame)).collect();
    for frame in generator.nic.waiting.iter_mut().take(7) {
        frame[40] ^= 1;
    }
    generator.turn(false, 0);
    let tally = generator.tally();
    assert_eq!((tally.verified, tally.wrong_total()), (57, 7));
    assert_eq!(tally.wrong_by_reason().collect::<Vec<_>>(), [("echo", 7)]);
    assert_eq!(generator.dumps().len(), DUMPS);
    assert!(generator.dumps()[0].starts_with("wrong reply (echo, 60 bytes): 0404"));
}

#[test]
fn a_reply_more_than_was_asked_for_is_wrong() {
    let mut generator = generator(Expect::Echo, false, None);
    generator.turn(true, 0);
    generator.nic.waiting = generator.nic.sent.iter().map(|frame| echo(frame)).collect();
    let again = generator.nic.waiting[0].clone();
    generator.nic.waiting.push_back(again);
    generator.turn(false, 0);
    let tally = generator.tally();
    assert_eq!(
        tally.wrong_by_reason().collect::<Vec<_>>(),
        [("unasked", 1)]
    );
}

#[test]
fn each_verified_syn_ack_is_taken_back_by_an_exact_reset_before_more_syns() {
    let mut generator = generator(Expect::Syn, true, None);
    generator.turn(true, 0);
    let syns = core::mem::take(&mut generator.nic.sent);
    generator.nic.waiting = syns.iter().map(|syn| syn_ack(syn)).collect();
    generator.nic.takes = 40;
    generator.turn(true, 0);
    assert_eq!(
        generator.nic.sent.len(),
        40,
        "no SYN before all resets are out"
    );
    generator.nic.takes = 64;
    generator.turn(true, 0);
    assert_eq!(generator.nic.sent.len(), 128);
    for (syn, reset) in syns.iter().zip(&generator.nic.sent) {
        assert_eq!(reset[26..38], syn[26..38], "the same tuple");
        let isn = u32::from_be_bytes([syn[38], syn[39], syn[40], syn[41]]);
        assert_eq!(reset[38..42], isn.wrapping_add(1).to_be_bytes());
        assert_eq!(reset[46..48], [0x50, 0x04], "a bare RST");
        assert_eq!(dpdk::checksum::ipv4_l4(&reset[14..]), Ok(true));
    }
    assert_eq!(generator.tally().resets_sent, 64);
}

/// A SYN-ACK to a SYN without options: MSS 1460, checksums by the rule of RFC 1071.
fn syn_ack(syn: &[u8]) -> Vec<u8> {
    let mut reply = echo(syn);
    reply[17] = 44;
    reply.copy_within(26..30, 54);
    reply.copy_within(30..34, 26);
    reply.copy_within(54..58, 30);
    let ports = [syn[36], syn[37], syn[34], syn[35]];
    let isn = u32::from_be_bytes([syn[38], syn[39], syn[40], syn[41]]);
    reply[34..38].copy_from_slice(&ports);
    reply[38..42].copy_from_slice(&[9, 9, 9, 9]);
    reply[42..46].copy_from_slice(&isn.wrapping_add(1).to_be_bytes());
    reply[46..48].copy_from_slice(&[0x60, 0x12]);
    reply[54..60].copy_from_slice(&[2, 4, 5, 180, 0, 0]);
    reply[24..26].fill(0);
    reply[50..52].fill(0);
    let header = folded(&reply[14..34], 0);
    let segment = folded(&reply[26..58], 6 + 24);
    reply[24..26].copy_from_slice(&header);
    reply[50..52].copy_from_slice(&segment);
    reply
}

fn folded(bytes: &[u8], start: u32) -> [u8; 2] {
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let mut sum = start + words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (!(sum as u16)).to_be_bytes()
}
