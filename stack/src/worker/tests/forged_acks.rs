//! ACKs that say more than the network did: what a peer can make us send by them.

use super::host::{Flow, Host, OPEN};
use crate::counters::Counter;
use crate::queue::item::TxItem;
use crate::sim::puppet::AppEvent::{Open, Ready};
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, syn, syn_ack};

const MSS: u32 = 1460;

/// A host that has much to send to a peer with a wide window, and has sent its initial window of ten segments.
fn sending() -> Host<Puppet> {
    let mut host = Host::probing(|_| {});
    host.on(Flow::v4(1, OPEN))
        .inject(syn().seq(0).mss(MSS as u16))
        .counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1));
    host.inject(wide(1)).silent().hears(&[Ready, Open]);
    let conn = host.conn();
    let (start, len) = (0, 1_000_000);
    host.act(|_, cx| cx.send(conn, TxItem::Pattern { start, len }).is_ok());
    assert_eq!(segments(&mut host), 10);
    host
}

fn wide(acked: u32) -> crate::tcp::lang::Spec {
    ack().seq(1).ack(acked).win(65_535)
}

/// How many segments went out.
fn segments(host: &mut Host<Puppet>) -> u32 {
    let mut sent = 0;
    while host.try_reply().is_some() {
        sent += 1;
    }
    sent
}

/// RFC 5681 §3.2: each stands for a segment that left the network, of ten.
#[test]
fn two_hundred_duplicates_release_no_more_than_was_in_flight() {
    let mut host = sending();
    let mut sent = 0;
    for _ in 0..200 {
        host.inject(wide(1));
        sent += segments(&mut host);
    }
    // Limited transmit, the retransmission, and ssthresh + flight - flight.
    assert!((4..=8).contains(&sent), "{sent}");
    assert_eq!(host.worker().tcp_counters().fast_retransmits, 1);
}

/// RFC 5681 §3.1: in congestion avoidance a window's worth of bytes lets one segment more go, in however many ACKs.
#[test]
fn a_window_acknowledged_in_pieces_grows_by_one_segment() {
    for pieces in [1, 10, 40] {
        let mut host = sending();
        // A loss, repaired at once, sets ssthresh to half of the ten segments.
        let mut acked = 1;
        let mut flight = 10 - 1; // less the one that is sent again
        for _ in 0..3 {
            host.inject(wide(acked));
            flight += segments(&mut host);
        }
        acked += flight * MSS;
        host.inject(wide(acked));
        flight = segments(&mut host);
        let mut windows = Vec::new();
        for _ in 0..15 {
            let len = flight * MSS;
            flight = 0;
            for piece in 1..=pieces {
                host.inject(wide(acked + len * piece / pieces));
                flight += segments(&mut host);
            }
            acked += len;
            windows.push(flight);
        }
        assert!(windows[14] >= 6, "{windows:?}");
        for pair in windows.windows(2).filter(|pair| pair[0] > 6) {
            assert!(pair[1] <= pair[0] + 1, "{pieces} ACKs: {windows:?}");
        }
    }
}
