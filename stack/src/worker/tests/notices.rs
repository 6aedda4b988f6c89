//! Callbacks of an app besides bytes and ends: ICMP errors that its connections survive, urgent data.

use super::host::{Flow, Host, OPEN, OUR_V4, PEER_V4};
use super::neighbors::{arp_request, port_unreachable_about};
use crate::app::Connect;
use crate::conn::ConnId;
use crate::sim::puppet::AppEvent::{Closed, Data, Open, SoftError, Urgent};
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, data, fin, syn, syn_ack};
use crate::tcp::verdict::{CloseReason, IcmpErrorKind};
use crate::worker::connect::SendError;

/// An error of this code about our segment with this sequence number.
fn unreachable(code: u8, from: u16, to: u16, seq: u32) -> Vec<u8> {
    let mut frame = port_unreachable_about(from, to, seq);
    frame[35] = code;
    super::packets::fix_icmp(&mut frame);
    frame
}

const HOST: u8 = 1;
const PORT: u8 = 3;

#[test]
fn an_icmp_error_about_what_is_in_flight_reaches_the_app_and_ends_nothing() {
    let (mut host, conn) = Host::open();
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"hello"));
    host.expect(data(5).seq(1).ack(1));
    let first = host.last().segment.seq.0;
    for (code, error) in [
        (HOST, IcmpErrorKind::Unreachable),
        // Hard, but the connection is synchronised (RFC 5927 §5.2).
        (PORT, IcmpErrorKind::PortUnreachable),
    ] {
        host.inject_bytes(&unreachable(code, OPEN, 40_000, first));
        host.hears(&[SoftError(error)]);
    }
    let info = host.act(|_, cx| cx.info(conn)).expect("open");
    assert_eq!(info.tcp.soft_error, Some(IcmpErrorKind::PortUnreachable));
    // An error that quotes nothing in flight may be a forger's.
    host.inject_bytes(&unreachable(HOST, OPEN, 40_000, first + 5));
    host.hears(&[]);
    host.inject(ack().seq(1).ack(6)).hears(&[]);
}

#[test]
fn several_at_once_are_told_once_with_the_last_one() {
    let (mut host, conn) = Host::open();
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"hello"));
    host.expect(data(5).seq(1).ack(1));
    let first = host.last().segment.seq.0;
    let frames = [HOST, PORT].map(|code| unreachable(code, OPEN, 40_000, first));
    host.inject_burst(frames);
    host.hears(&[SoftError(IcmpErrorKind::PortUnreachable)]);
    host.inject(ack().seq(1).ack(6)).hears(&[]);
}

/// The list has places for all slots, and grows no further.
#[test]
fn a_connection_is_listed_once_for_its_errors() {
    let (mut host, conn) = Host::open();
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"hello"));
    host.expect(data(5).seq(1).ack(1));
    let first = host.last().segment.seq.0;
    host.inject_bytes(&unreachable(HOST, OPEN, 40_000, first));
    host.hears(&[SoftError(IcmpErrorKind::Unreachable)]);
    let core = &mut host.worker().core;
    let slot = core.slot_named(conn).expect("it is open");
    core.conns.on_soft_error(slot);
    core.conns.on_soft_error(slot);
    assert!(core.conns.pop_soft_error().is_some());
    assert!(!core.conns.has_soft_errors());
    host.inject(ack().seq(1).ack(6)).hears(&[]);
}

/// A connection of ours whose SYN is on its way.
fn opening() -> (Host<Puppet>, ConnId) {
    let mut host = Host::probing(|_| {});
    host.inject_bytes(&arp_request()).next_reply();
    let how = Connect {
        local_port: Some(50_000),
        ..Connect::default()
    };
    let remote = (PEER_V4, 9_000).into();
    host.on(Flow::between(remote, (OUR_V4, 50_000).into()));
    let conn = host.act(|_, cx| cx.connect(remote, &how, false));
    (host, conn.expect("a record"))
}

#[test]
fn before_it_opens_a_soft_error_is_told_and_a_hard_one_is_the_end() {
    let (mut host, _) = opening();
    host.expect(syn().seq(0));
    let iss = host.last().segment.seq.0;
    host.inject_bytes(&unreachable(HOST, 50_000, 9_000, iss));
    host.hears(&[SoftError(IcmpErrorKind::Unreachable)]);
    host.inject_bytes(&unreachable(PORT, 50_000, 9_000, iss));
    let end = CloseReason::Unreachable(IcmpErrorKind::PortUnreachable);
    host.hears(&[Closed(end)]);
}

/// MUST-32: when it is announced, and when its end moves; MUST-33: how much is left.
#[test]
fn urgent_data_is_told_before_its_bytes() {
    let (mut host, conn) = Host::open();
    host.inject(data(10).seq(1).ack(1).urgent(25));
    host.hears(&[Urgent(Some(25)), Data(10)]);
    let left = host.act(|_, cx| cx.urgent_left(conn));
    assert_eq!(left, Some(15), "ten are read");
    host.inject(data(10).seq(11).ack(1).urgent(15));
    host.hears(&[Data(10)]);
    host.inject(data(10).seq(21).ack(1).urgent(9));
    host.hears(&[Urgent(Some(9)), Data(10)]);
    assert_eq!(host.act(|_, cx| cx.urgent_left(conn)), None);
    while host.try_reply().is_some() {}
}

/// RFC 9293 MUST-62: the pointer names what follows the last urgent byte, counted from each segment's own number.
#[test]
fn what_is_queued_when_the_app_marks_it_is_sent_as_urgent() {
    let (mut host, conn) = Host::open();
    let (marked, nothing) = host.act(|_, cx| {
        let nothing = cx.mark_urgent(conn);
        let _ = cx.send_bytes(conn, &[b'u'; 600]);
        let marked = cx.mark_urgent(conn);
        let _ = cx.send_bytes(conn, &[b'x'; 400]);
        (marked, nothing)
    });
    assert_eq!((marked, nothing), (Ok(()), Ok(())));
    host.expect(data(536).seq(1).ack(1).urgent(600));
    host.inject(ack().seq(1).ack(537));
    host.expect(data(464).seq(537).ack(1).urgent(64));
    host.inject(ack().seq(1).ack(1_001));
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"later"));
    host.expect(data(5).seq(1_001).ack(1));
    host.act(|_, cx| cx.close(conn));
    host.expect(fin().seq(1_006).ack(1));
    let late = host.act(|_, cx| cx.mark_urgent(conn));
    assert_eq!(late, Err(SendError::Ended(())));
}

/// The SYN's number is no text: the pointer of what was queued before the handshake doesn't count it.
#[test]
fn what_is_marked_before_the_handshake_is_urgent_after_it() {
    let (mut host, conn) = opening();
    host.expect(syn().seq(0));
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"hello"));
    assert_eq!(host.act(|_, cx| cx.mark_urgent(conn)), Ok(()));
    host.inject(syn_ack().seq(0).ack(1)).hears(&[Open]);
    host.expect(data(5).seq(1).ack(1).urgent(5));
}
