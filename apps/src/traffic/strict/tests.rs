//! The loop and the strict exchange against a NIC in memory: what it sends, counts, holds back and takes back.
//!
//! It must never need DPDK's environment: frames are vectors here.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::traffic::generator::{Generator, Sending};
use crate::traffic::pace::Rate;
use crate::traffic::testing::Wire;

fn generator(expect: Expect, retire: bool, window: Option<u32>) -> Generator<Wire, StrictExchange> {
    let plan = StrictPlan {
        target: Target {
            mac: [2; 6],
            address: IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2)),
            port: 80,
        },
        source_mac: [4; 6],
        options: SynOptions::Bare,
        expect,
        retire,
        window,
        hz: 1000,
        seed: [1, 2, 3],
    };
    let exchange = StrictExchange::new(&plan).expect("a pool");
    Generator::new(Wire::new(), exchange, Rate::new(None, 1000, 1))
}

#[test]
fn sources_are_a_fifteenth_prefix_without_both_ends() {
    let pool = sources(false).expect("a pool");
    assert_eq!(pool.addresses(), (1 << 17) - 512);
    assert_eq!(pool.ip(0).to_string(), "198.18.1.0");
    assert_eq!(pool.ip(pool.addresses() - 1).to_string(), "198.19.254.255");
    assert_eq!(
        sources(true).expect("a pool").ip(0).to_string(),
        "2001:2:0:1::"
    );
}

/// All frames that were sent come back as echoes.
fn reflect(generator: &mut Generator<Wire, StrictExchange>) {
    let wire = generator.nic_mut();
    wire.waiting = wire.sent.iter().map(|frame| echo(frame)).collect();
}

/// The echo of a frame: MAC addresses swapped.
fn echo(frame: &[u8]) -> Vec<u8> {
    [&frame[6..12], &frame[..6], &frame[12..]].concat()
}

#[test]
fn syns_go_out_in_bursts_and_echoes_are_counted() {
    let mut generator = generator(Expect::Echo, false, None);
    generator.turn(Sending::All, 0);
    assert_eq!(generator.nic_mut().sent.len(), BURST_FRAMES);
    reflect(&mut generator);
    generator.turn(Sending::Answers, 0);
    let tally = generator.tally();
    assert_eq!(
        (tally.sent, tally.verified, tally.unanswered()),
        (64, 64, 0)
    );
    assert_eq!(
        generator.nic_mut().sent.len(),
        BURST_FRAMES,
        "nothing is sent while draining"
    );
}

#[test]
fn what_the_link_refuses_is_kept_counted_and_sent_first() {
    let mut generator = generator(Expect::Sink, false, None);
    generator.nic_mut().takes = 10;
    generator.turn(Sending::All, 0);
    let second = generator.unsent()[0].0.clone();
    generator.turn(Sending::All, 0);
    assert_eq!(generator.nic_mut().sent[10], second);
    let tally = generator.tally();
    assert_eq!((tally.sent, tally.tx_refused), (20, 2));
    generator.discard_unsent();
    assert!(generator.unsent().is_empty());
}

#[test]
fn a_window_holds_back() {
    let mut generator = generator(Expect::Echo, false, Some(100));
    for _ in 0..5 {
        generator.turn(Sending::All, 0);
    }
    // 36 more would fit, but not a whole burst.
    assert_eq!(generator.nic_mut().sent.len(), 64);
    assert_eq!(generator.tally().tx_held, 4);
    reflect(&mut generator);
    generator.turn(Sending::All, 0);
    assert_eq!(generator.nic_mut().sent.len(), 128);
}

#[test]
fn wrong_replies_are_counted_by_reason_and_the_first_are_dumped() {
    let mut generator = generator(Expect::Echo, false, None);
    generator.turn(Sending::All, 0);
    reflect(&mut generator);
    for frame in generator.nic_mut().waiting.iter_mut().take(7) {
        frame[40] ^= 1;
    }
    generator.turn(Sending::Answers, 0);
    let tally = generator.tally();
    assert_eq!((tally.verified, tally.wrong_total()), (57, 7));
    assert_eq!(tally.wrong_by_reason().collect::<Vec<_>>(), [("echo", 7)]);
    assert_eq!(generator.exchange().dumps().len(), DUMPS);
    assert!(generator.exchange().dumps()[0].starts_with("wrong reply (echo, 60 bytes): 0404"));
}

#[test]
fn a_reply_more_than_was_asked_for_is_wrong() {
    let mut generator = generator(Expect::Echo, false, None);
    generator.turn(Sending::All, 0);
    reflect(&mut generator);
    let again = generator.nic_mut().waiting[0].clone();
    generator.nic_mut().waiting.push_back(again);
    generator.turn(Sending::Answers, 0);
    let tally = generator.tally();
    assert_eq!(
        tally.wrong_by_reason().collect::<Vec<_>>(),
        [("unasked", 1)]
    );
}

#[test]
fn each_verified_syn_ack_is_taken_back_by_an_exact_reset_before_more_syns() {
    let mut generator = generator(Expect::Syn, true, None);
    generator.turn(Sending::All, 0);
    let syns = core::mem::take(&mut generator.nic_mut().sent);
    generator.nic_mut().waiting = syns.iter().map(|syn| syn_ack(syn)).collect();
    generator.nic_mut().takes = 40;
    generator.turn(Sending::All, 0);
    assert_eq!(
        generator.nic_mut().sent.len(),
        40,
        "no SYN before all resets are out"
    );
    generator.nic_mut().takes = 64;
    generator.turn(Sending::All, 0);
    assert_eq!(generator.nic_mut().sent.len(), 128);
    for (syn, reset) in syns.iter().zip(&generator.nic_mut().sent) {
        assert_eq!(reset[26..38], syn[26..38], "the same tuple");
        let isn = u32::from_be_bytes([syn[38], syn[39], syn[40], syn[41]]);
        assert_eq!(reset[38..42], isn.wrapping_add(1).to_be_bytes());
        assert_eq!(reset[46..48], [0x50, 0x04], "a bare RST");
        assert_eq!(dpdk::checksum::ipv4_l4(&reset[14..]), Ok(true));
    }
    assert_eq!(generator.tally().answers_sent, 64);
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
