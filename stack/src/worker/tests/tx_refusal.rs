//! A NIC that doesn't take what it is offered.

use super::answer::Answer;
use super::host::{CLOSED, Flow, Host, OPEN};
use super::neighbors::echo_request_v4;
use crate::conn::{Capacity, Records};
use crate::counters::Counter;
use crate::nic::BURST_FRAMES;
use crate::tcp::lang::syn;

fn syns(ports: std::ops::Range<u16>) -> Vec<Vec<u8>> {
    ports
        .map(|port| Flow::v4(port, CLOSED).frame(syn()))
        .collect()
}

fn reply_port(host: &mut Host) -> u16 {
    Answer::read(&host.next_reply()).dst.port()
}

#[test]
fn what_is_refused_is_sent_later_in_order() {
    let mut host = Host::new();
    host.nic().tx_room = 10;
    host.inject_burst(syns(1000..1050))
        .counted(Counter::RstSent);
    assert_eq!(
        (
            host.count(Counter::TxFrames),
            host.count(Counter::TxRefused)
        ),
        (10, 1)
    );
    host.nic().tx_room = 15;
    host.turn();
    host.nic().tx_room = usize::MAX;
    host.turn();
    let ports: Vec<u16> = (0..50).map(|_| reply_port(&mut host)).collect();
    assert_eq!(ports, (1000..1050).collect::<Vec<_>>());
    assert_eq!(host.count(Counter::TxFrames), 50);
    assert_eq!(host.count(Counter::TxRepliesDropped), 0);
}

#[test]
fn replies_beyond_a_burst_are_dropped_and_counted_and_nothing_leaks() {
    let mut host = Host::new();
    host.nic().tx_room = 0;
    host.inject_burst(syns(1000..1000 + 3 * BURST_FRAMES as u16))
        .counted(Counter::RstSent);
    assert_eq!(
        host.count(Counter::TxRepliesDropped),
        2 * BURST_FRAMES as u64
    );
    assert_eq!(
        host.nic().in_use(),
        BURST_FRAMES,
        "one burst waits, the rest went back"
    );
    host.nic().tx_room = usize::MAX;
    host.turn();
    let ports: Vec<u16> = (0..BURST_FRAMES).map(|_| reply_port(&mut host)).collect();
    assert_eq!(ports[0], 1000, "the oldest are kept");
    host.silent();
    // And the link works again.
    host.inject_burst(syns(5000..5001))
        .counted(Counter::RstSent);
    assert_eq!(reply_port(&mut host), 5000);
}

/// Whatever waits when a worker ends goes back to its pool: [`Host`] looks at its end.
#[test]
fn a_worker_that_ends_with_a_full_outbox_leaks_nothing() {
    let mut host = Host::new();
    host.nic().tx_room = 0;
    host.inject_burst(syns(1000..1064))
        .counted(Counter::RstSent);
}

/// The behaviour of net_tap for a frame that is longer than its MTU and 22 bytes: nothing, for ever, nor with any behind it.
#[test]
fn a_frame_that_the_nic_never_takes_does_not_keep_others_from_leaving() {
    let mut host = Host::new();
    host.nic().tx_longest = 1000;
    host.inject_bytes(&echo_request_v4(&[7; 1200]))
        .counted(Counter::EchoAnswered)
        .silent();
    host.inject_burst(syns(1000..1003))
        .counted(Counter::RstSent)
        .silent();
    for turn in 0..300 {
        host.turn();
        if host.count(Counter::TxUnsendable) > 0 {
            assert!(turn > 200, "a NIC that is full for a moment drops nothing");
            break;
        }
    }
    let ports: Vec<u16> = (0..3).map(|_| reply_port(&mut host)).collect();
    assert_eq!(ports, [1000, 1001, 1002]);
    assert_eq!(host.count(Counter::TxUnsendable), 1);
    // The same in front of the next ones, and in front of each other.
    let long = || echo_request_v4(&[7; 1200]);
    host.inject_burst([long(), long(), syns(2000..2001).remove(0)])
        .silent();
    for _ in 0..600 {
        host.turn();
    }
    assert_eq!(reply_port(&mut host), 2000);
    assert_eq!(host.count(Counter::TxUnsendable), 3);
}

/// However long a NIC is full: nothing is dropped that it would take.
#[test]
fn a_nic_that_is_full_loses_nothing() {
    let mut host = Host::new();
    host.nic().tx_room = 0;
    host.inject_burst(syns(1000..1064))
        .counted(Counter::RstSent);
    for _ in 0..10_000 {
        host.turn();
    }
    host.nic().tx_room = usize::MAX;
    host.turn();
    let ports: Vec<u16> = (0..64).map(|_| reply_port(&mut host)).collect();
    assert_eq!(ports, (1000..1064).collect::<Vec<_>>());
    assert_eq!(host.count(Counter::TxUnsendable), 0);
}

/// It keeps nothing from leaving, but its buffer: much later it is given up as well, and the run can end.
#[test]
fn a_frame_that_the_nic_never_takes_is_given_up_alone() {
    let mut host = Host::new();
    host.nic().tx_longest = 1000;
    host.inject_bytes(&echo_request_v4(&[7; 1200]))
        .counted(Counter::EchoAnswered);
    let (now, worker) = (host.now, host.worker());
    let turns = (0..2_000_000)
        .take_while(|_| worker.drain_turn(now))
        .count();
    assert!((1_000_000..1_100_000).contains(&turns), "{turns}");
    assert_eq!(host.count(Counter::TxUnsendable), 1);
    assert_eq!(host.nic().in_use(), 0);
}

/// Two workers, each of which waits for the other to receive, would wait for ever.
#[test]
fn a_worker_that_cant_send_receives_little() {
    let mut host = Host::probing(|spec| {
        spec.limits.records = Capacity::of_each(Records { v4: 100, v6: 8 });
    });
    for port in 0..BURST_FRAMES as u16 {
        host.on(Flow::v4(40_000 + port, OPEN)).shake_hands();
    }
    host.nic().tx_room = 0;
    host.act(|puppet, cx| {
        for &conn in &puppet.conns {
            assert_eq!(cx.send_bytes(conn, b"text"), Ok(4));
        }
    });
    let received = host.count(Counter::RxFrames);
    host.nic().inject_bytes(&echo_request_v4(b"to whom"));
    for _ in 0..20 {
        host.turn();
    }
    assert_eq!(host.count(Counter::RxFrames), received);
    for _ in 0..20 {
        host.turn();
    }
    assert_eq!(host.count(Counter::RxFrames), received + 1);
}
