//! A cork holds back what fills no segment, and nothing else.

use super::host::Host;
use crate::conn::{ConnId, Kind};
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, data, fin};
use crate::tcp::profile::Profile;
use crate::worker::connect::SendError;

/// The MSS of a peer that says none.
const MSS: usize = 536;

/// A connection without Nagle's algorithm, so that nothing else holds text back.
fn open() -> (Host<Puppet>, ConnId) {
    let (mut host, conn) = super::timers::open();
    let profile = Profile {
        nagle: false,
        ..Profile::default()
    };
    host.choose(conn, profile);
    (host, conn)
}

fn cork(host: &mut Host<Puppet>, conn: ConnId) -> Result<(), SendError> {
    host.act(|_, cx| cx.cork(conn))
}

fn send(host: &mut Host<Puppet>, conn: ConnId, len: usize) {
    let sent = host.act(|_, cx| cx.send_bytes(conn, &[b'x'; 2000][..len]));
    assert_eq!(sent, Ok(len));
}

#[test]
fn full_segments_go_and_the_rest_waits_until_the_cork_is_gone() {
    let (mut host, conn) = open();
    assert_eq!(cork(&mut host, conn), Ok(()));
    send(&mut host, conn, 100);
    host.silent();
    send(&mut host, conn, MSS);
    host.expect(data(MSS as u32).seq(1).ack(1)).silent();
    // No timer lets it go, neither here nor once it is parked.
    host.inject(ack().seq(1).ack(1 + MSS as u32));
    host.wait_ms(5_000).silent();
    assert_eq!(host.kind(), Some(Kind::Open));
    host.act(|_, cx| cx.uncork(conn));
    host.expect(data(100).push(true).seq(537).ack(1)).silent();
}

#[test]
fn an_empty_corked_connection_never_parks() {
    let (mut host, conn) = open();
    assert_eq!(cork(&mut host, conn), Ok(()));
    host.wait_ms(5_000);
    assert_eq!(host.kind(), Some(Kind::Open));
    host.act(|_, cx| cx.uncork(conn));
    host.wait_ms(5_000);
    assert_eq!(host.kind(), Some(Kind::Parked));
    // A cork unparks it.
    assert_eq!(cork(&mut host, conn), Ok(()));
    assert_eq!(host.kind(), Some(Kind::Open));
}

#[test]
fn an_end_takes_the_cork_away() {
    for closes in [false, true] {
        let (mut host, conn) = open();
        assert_eq!(cork(&mut host, conn), Ok(()));
        send(&mut host, conn, 100);
        host.silent();
        host.act(|_, cx| match closes {
            true => cx.close(conn),
            false => cx.shutdown(conn),
        });
        host.expect(fin().push(true).len(100).seq(1).ack(1));
        assert_eq!(cork(&mut host, conn), Err(SendError::Ended(())));
    }
}
