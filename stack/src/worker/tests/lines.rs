//! Lines and exact lengths, whatever frames their bytes came in.

use super::host::Host;
use crate::app::Line;
use crate::conn::ConnId;
use crate::sim::puppet::Puppet;
use crate::tcp::lang::data;

/// A host whose app leaves what comes unread.
fn open() -> (Host<Puppet>, ConnId) {
    let (mut host, conn) = Host::open();
    host.app().reads = false;
    (host, conn)
}

/// The peer sends these bytes in a segment of their own.
fn send(host: &mut Host<Puppet>, at: u32, bytes: &[u8]) {
    let spec = data(bytes.len() as u32).seq(at).ack(1);
    let frame = host.flow.frame_with_payload(spec, &[], bytes);
    host.inject_bytes(&frame);
    let _ = host.try_reply();
    host.app().heard.clear();
}

#[test]
fn a_line_is_read_over_frames_once_its_end_has_come() {
    let (mut host, conn) = open();
    let mut into = [0; 16];
    send(&mut host, 1, b"GE");
    send(&mut host, 3, b"T /");
    let now = host.now;
    let read = |host: &mut Host<Puppet>, into: &mut [u8]| {
        host.worker().with_cx(now, |_, cx| cx.read_line(conn, into))
    };
    assert_eq!(read(&mut host, &mut into), Line::Partial);
    send(&mut host, 6, b"\r\n\nrest");
    assert_eq!(read(&mut host, &mut into[..6]), Line::TooLong);
    assert_eq!(read(&mut host, &mut into[..7]), Line::Whole(7));
    assert_eq!(&into[..7], b"GET /\r\n");
    assert_eq!(read(&mut host, &mut into), Line::Whole(1));
    assert_eq!(read(&mut host, &mut into[..4]), Line::TooLong);
    assert_eq!(read(&mut host, &mut into[..5]), Line::Partial);
    let unread = host.act(|_, cx| cx.unread_len(conn));
    assert_eq!(unread, 4);
    while host.try_reply().is_some() {}
    host.hears(&[]);
}

#[test]
fn an_exact_length_is_read_whole_or_not_at_all() {
    let (mut host, conn) = open();
    send(&mut host, 1, b"abc");
    send(&mut host, 4, b"defg");
    let mut into = [0; 8];
    let now = host.now;
    host.worker().with_cx(now, |_, cx| {
        assert!(!cx.read_exact(conn, &mut into));
        assert_eq!(cx.unread_len(conn), 7);
        assert_eq!(cx.peek_into(conn, &mut into), 7);
        assert_eq!(&into[..7], b"abcdefg");
        assert!(cx.read_exact(conn, &mut into[..5]));
        assert_eq!(&into[..5], b"abcde");
        assert_eq!(cx.unread_len(conn), 2);
        assert!(cx.read_exact(conn, &mut into[..2]) && &into[..2] == b"fg");
    });
    host.turn();
    while host.try_reply().is_some() {}
}
