//! State that an app keeps for each connection: given when it opens one, and its own from the first callback to the last.

use core::net::{IpAddr, SocketAddr};

use super::super::RingEnd;
use super::host::{Flow, Host, OUR_V4, PEER_V4, plain};
use super::neighbors::arp_request;
use crate::config::ConfigSpec;
use crate::conn::{ConnId, Records};
use crate::nic::Nic;
use crate::queue::item::TxItem;
use crate::tcp::lang::{ack, rst, syn, syn_ack};
use crate::tcp::verdict::CloseReason;
use crate::worker::app::{App, Cx};
use crate::worker::connect::{Connect, ConnectError, SendError};

const REMOTE: SocketAddr = SocketAddr::new(IpAddr::V4(PEER_V4), 9_000);

/// An app whose connections have numbers: a puppet's remember only that they opened.
#[derive(Debug, Default)]
struct Numbered {
    /// Numbers of connections that it opens as soon as another one has ended.
    follow: Vec<u32>,
    opened: Vec<u32>,
    closed: Vec<(u32, CloseReason)>,
}

impl App for Numbered {
    type Conn = u32;

    fn on_open<N: Nic>(&mut self, _: &mut Cx<'_, N, u32>, _: ConnId, state: &mut u32) {
        self.opened.push(*state);
        *state += 100;
    }

    fn on_data<N: Nic>(&mut self, _: &mut Cx<'_, N, u32>, _: ConnId, _: &mut u32) {}

    fn on_close<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, u32>,
        _: ConnId,
        state: &mut u32,
        reason: CloseReason,
    ) {
        self.closed.push((*state, reason));
        for number in self.follow.drain(..) {
            let opened = cx.connect(REMOTE, &from_port(number), number);
            opened.expect("a record");
        }
    }
}

fn from_port(number: u32) -> Connect {
    Connect {
        local_port: Some(50_000 + number as u16),
        ..Connect::default()
    }
}

fn host() -> Host<Numbered> {
    let mut host = Host::build(Numbered::default(), |_| {}, |_| {}, RingEnd::single());
    host.inject_bytes(&arp_request()).next_reply();
    host
}

/// Opens a connection with this number; its SYN has left.
fn open(host: &mut Host<Numbered>, number: u32) -> Result<ConnId, ConnectError> {
    let opened = host.act(|_, cx| cx.connect(REMOTE, &from_port(number), number));
    if opened.is_ok() {
        expect_syn(host, number);
    }
    opened
}

fn expect_syn(host: &mut Host<Numbered>, number: u32) {
    let ours = (OUR_V4, from_port(number).local_port.expect("a port"));
    host.on(Flow::between(REMOTE, ours.into()));
    host.expect(syn().seq(0).mss(1460).wscale(7).win(65_535));
}

fn establish(host: &mut Host<Numbered>) {
    host.inject(syn_ack().seq(0).ack(1));
    host.expect(ack().seq(1).ack(1));
}

#[test]
fn a_connection_has_the_state_that_it_was_opened_with() {
    let mut host = host();
    for number in [3, 7] {
        open(&mut host, number).expect("a record");
        establish(&mut host);
        assert_eq!(host.worker().app().opened.last(), Some(&number));
    }
    host.inject(rst().seq(1)).silent();
    let closed = [(107, CloseReason::Reset)];
    assert_eq!(host.worker().app().closed, closed);
}

/// The handle of the one that has just ended is the first that is free.
#[test]
fn a_connection_opened_in_the_last_callback_of_another_keeps_its_state() {
    let mut host = host();
    let first = open(&mut host, 1).expect("a record");
    establish(&mut host);
    host.worker().app_mut().follow = vec![2];
    host.inject(rst().seq(1));
    expect_syn(&mut host, 2);
    establish(&mut host);
    let app = host.worker().app();
    assert_eq!(
        (&app.opened[..], &app.closed[..]),
        (&[1, 2][..], &[(101, CloseReason::Reset)][..])
    );
    let again = host.act(|_, cx| (0..).find_map(|after| cx.next_conn(after).0));
    assert_eq!(again.map(ConnId::handle), Some(first.handle()), "reused");
}

/// With one record there are two states: the one that ends has its own until its last callback has returned.
#[test]
fn the_state_of_an_ended_connection_is_free_again() {
    let one = Records { v4: 1, v6: 0 };
    let limit = |spec: &mut ConfigSpec| {
        spec.limits.records.open = one;
        spec.limits.records.parked = one;
    };
    let mut host = Host::build(Numbered::default(), limit, |_| {}, RingEnd::single());
    host.inject_bytes(&arp_request()).next_reply();
    open(&mut host, 1).expect("a record");
    for number in 1..6 {
        establish(&mut host);
        host.worker().app_mut().follow = vec![number + 1];
        host.inject(rst().seq(1));
        expect_syn(&mut host, number + 1);
    }
    assert_eq!(host.worker().app().opened, [1, 2, 3, 4, 5]);
    assert_eq!(host.worker().table().states_taken(), 1);
}

#[test]
fn one_that_never_opened_ends_with_the_state_that_it_was_opened_with() {
    let mut host = host();
    open(&mut host, 5).expect("a record");
    host.inject(rst().seq(0).ack(1)).silent();
    let closed = [(5, CloseReason::Refused)];
    assert_eq!(host.worker().app().closed, closed);
}

#[test]
fn a_refused_send_says_whether_it_is_worth_trying_again() {
    let mut host = host();
    let conn = open(&mut host, 1).expect("a record");
    let item = |len| TxItem::Pattern { start: 0, len };
    let limit = plain().limits.send_queue_items;
    let full = host.act(|_, cx| {
        for _ in 0..limit {
            assert!(cx.send(conn, item(1)).is_ok());
        }
        assert_eq!(cx.send_bytes(conn, b"x"), Err(SendError::Full(())));
        cx.send(conn, item(1))
    });
    assert!(matches!(
        full,
        Err(SendError::Full(TxItem::Pattern { len: 1, .. }))
    ));
    let ended = host.act(|_, cx| {
        cx.shutdown(conn);
        assert_eq!(cx.send_bytes(conn, b"x"), Err(SendError::Ended(())));
        cx.send(conn, item(2))
    });
    assert!(matches!(
        ended,
        Err(SendError::Ended(TxItem::Pattern { len: 2, .. }))
    ));
    let second = open(&mut host, 2).expect("a record");
    let empty = host.act(|_, cx| {
        assert_eq!(cx.send_bytes(second, b""), Ok(0));
        cx.send(second, item(0))
    });
    assert!(matches!(empty, Err(SendError::Empty(_))));
    host.inject(rst().seq(0).ack(1)).silent();
    let gone = host.act(|_, cx| cx.send(second, item(1)));
    assert!(matches!(gone, Err(SendError::Ended(_))));
}
