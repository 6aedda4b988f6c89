//! A NIC that doesn't take what it is offered.

use super::answer::Answer;
use super::host::{CLOSED, Flow, Host};
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
