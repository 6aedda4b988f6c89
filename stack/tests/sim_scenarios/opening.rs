//! Connections that open, or fail to: handshakes, refusals, accept queues.
//!
//! It must never share a world with another test.

use stack::app::{Connect, TxItem};
use stack::conn::Kind;
use stack::local::listener::{ListenerId, SynPolicy};
use stack::seq::SeqNum;
use stack::sim::host::HostSpec;
use stack::sim::puppet::AppEvent;
use stack::tcp::state::{Event, State};
use stack::tcp::verdict::CloseReason;
use stack::wire::tcp::Flags;
use stack::wire::{Link, MacAddr, SegmentSpec};

use super::{
    RST, SECOND, SYN, ms, records, secs,
    show::{self, PORT, Show},
    tcp, with_flags,
};

/// RFC 9293 §3.5, figure 7: both SYNs cross, one connection comes of it.
#[test]
fn simultaneous_open() {
    let mut show = Show::new(|_, _| {});
    let sides = [(show.client, 1, 2), (show.server, 2, 1)];
    for (host, own, peer) in sides {
        let how = Connect {
            local: Some(HostSpec::v4(own)),
            local_port: Some(4000 + u16::from(own)),
            ..Connect::default()
        };
        let remote = (HostSpec::v4(peer), 4000 + u16::from(peer)).into();
        show.world
            .act(host, 0, |_, cx| cx.connect(remote, &how, false))
            .expect("a worker")
            .expect("a connection");
    }
    show.run(secs(2));
    for host in [show.client, show.server] {
        let arrows = &tcp(&show, host).transitions;
        assert_eq!(arrows.taken(State::SynSent, Event::Syn), 1);
        assert_eq!(arrows.taken(State::SynReceivedActive, Event::AckOfSyn), 1);
        assert_eq!(show::app(&show.world, host).heard.len(), 1);
    }
    let id = show.client().conns[0];
    show.send(id, 0, 100_000);
    show.world.act(show.client, 0, |_, cx| cx.shutdown(id));
    show.run(secs(2));
    assert_eq!(show.server().received, 100_000);
    assert_eq!(show.client().reason(), Some(CloseReason::Graceful));
    assert_eq!(show.server().reason(), Some(CloseReason::Graceful));
    show.end();
}

/// Two spoofed SYNs between two open ports make an embryo on each side, and each takes the other's SYN-ACK for a segment that
/// must be acknowledged: without a limit per embryo that is an ACK storm as fast as the link, until both expire.
#[test]
fn two_spoofed_syns_start_no_ack_storm() {
    let mut show = Show::new(|client, server| {
        client.config.listeners = server.config.listeners.clone();
    });
    let spy = show.world.add_station(HostSpec::new(9)).expect("a station");
    show.world.record(true);
    // The neighbours know each other: the SYN-ACKs by timer leave too.
    for (from, to, seq) in [(1, 2, 1_000), (2, 1, 900_000)] {
        let link = Link {
            dst: MacAddr(HostSpec::new(to).mac),
            src: MacAddr(HostSpec::new(from).mac),
            vlan: None,
        };
        let syn = SegmentSpec {
            seq: SeqNum(seq),
            flags: Flags::SYN,
            ..SegmentSpec::new(
                link,
                (HostSpec::v4(from), PORT).into(),
                (HostSpec::v4(to), PORT).into(),
            )
        };
        let mut bytes = vec![0; 64];
        let len = syn.emit(&mut bytes).expect("fits");
        bytes.truncate(len);
        show.world.send(spy, bytes);
    }
    show.run(ms(100));
    for host in [show.client, show.server] {
        assert_eq!(
            records(&show, host, Kind::Embryo),
            1,
            "the spoofed SYN made one"
        );
    }
    show.run(secs(60));
    for host in [show.client, show.server] {
        assert_eq!(records(&show, host, Kind::Embryo), 0);
    }
    // Two SYNs, and from each side four SYN-ACKs and an answer to each of the other's.
    let segments = with_flags(&show, 0).len();
    assert!((10..=30).contains(&segments), "{segments} segments");
    show.end();
}

/// RFC 6298 §3: a server takes its first sample from SYN-ACK to ACK, without timestamps too: what it sends first isn't sent
/// again over a path of a second.
#[test]
fn a_handshake_tells_the_server_how_long_the_path_is() {
    let mut show = Show::new(|client, server| {
        client.config.tcp.timestamps = false;
        for host in [client, server] {
            (host.up.delay, host.down.delay) = (ms(245), ms(245));
        }
    });
    // The neighbours know each other from this one.
    show.established(Connect::default());
    show.run(secs(5));
    let opened = show.server().conns.len();
    show.connect(Connect::default());
    while show.server().conns.len() == opened {
        show.run(ms(1));
    }
    let peer = show.server().conns[opened];
    let sent = show.world.act(show.server, 0, |_, cx| {
        let (start, len) = (0, 100);
        cx.send(peer, TxItem::Pattern { start, len }).is_ok()
    });
    assert_eq!(sent, Some(true));
    // A round trip, and the client's delayed ACK.
    show.run(ms(1_500));
    assert_eq!(show.client().received, 100);
    let server = tcp(&show, show.server);
    assert_eq!(server.retransmission_timeouts, 0);
    show.end();
}

/// Three questions a second apart, then "no route to host", and no SYN on the wire.
#[test]
fn a_syn_to_a_host_that_is_off() {
    let mut show = Show::new(|_, _| {});
    show.world.record(true);
    show.world.power_off(show.server);
    let opened_at = show.world.now();
    show.connect(Connect::default());
    show.run(secs(10));
    let (at, reason) = show.client().ends().next().expect("an end");
    assert!(matches!(reason, CloseReason::Unreachable(_)), "{reason:?}");
    let took = at - opened_at;
    assert!((secs(3)..ms(3_200)).contains(&took), "{took:?}");
    assert_eq!(with_flags(&show, SYN).len(), 0);
    assert_eq!(show.world.trace().len(), 3);
    show.end();
}

#[test]
fn a_syn_to_a_closed_port_is_refused() {
    let mut show = Show::new(|_, server| server.config.listeners.clear());
    show.world.record(true);
    show.connect(Connect::default());
    show.run(SECOND);
    assert_eq!(show.client().reason(), Some(CloseReason::Refused));
    assert_eq!(with_flags(&show, RST).len(), 1);
    show.end();
}

/// A SYN without an answer comes again, each time twice as late, until R2.
#[test]
fn syns_are_retransmitted_until_r2() {
    let mut show = Show::new(|_, server| {
        server.config.listeners[0].policy = SynPolicy::Drop;
    });
    show.world.record(true);
    let opened_at = show.world.now();
    show.connect(Connect::default());
    show.run(secs(400));
    let (at, reason) = show.client().ends().next().expect("an end");
    assert!(matches!(reason, CloseReason::TimedOut { .. }), "{reason:?}");
    assert!(at - opened_at >= secs(180), "MUST-23");
    let syns = with_flags(&show, SYN);
    let sent_after_s: Vec<u64> = syns
        .iter()
        .map(|c| (c.sent_at - opened_at).as_secs())
        .collect();
    assert_eq!(sent_after_s[..6], [0, 1, 3, 7, 15, 31]);
    show.end();
}

/// Data that came before the connection was accepted is there afterwards.
#[test]
fn data_before_accept_is_delivered_after_it() {
    let mut show = Show::new(|_, _| {});
    show.tell_server(|server| server.accepts = false);
    let id = show.established(Connect::default());
    show.send(id, 0, 5_000);
    show.world.act(show.client, 0, |_, cx| cx.shutdown(id));
    show.run(secs(5));
    assert_eq!(
        show.server().count(AppEvent::Ready),
        show.server().heard.len()
    );
    show.world.act(show.server, 0, |server, cx| {
        server.accepts = true;
        assert!(cx.accept(ListenerId(0)).is_some());
    });
    show.run(secs(5));
    assert_eq!(show.server().received, 5_000);
    assert_eq!(show.server().count(AppEvent::PeerClosed), 1);
    assert_eq!(show.client().reason(), Some(CloseReason::Graceful));
    show.end();
}

/// A handshake whose final ACK finds the accept queue full: its SYN-ACK comes again until there is a place, or it is reset.
#[test]
fn a_full_accept_queue_makes_a_handshake_wait_or_resets_it() {
    for abort in [false, true] {
        let mut show = Show::new(|_, server| {
            let listener = &mut server.config.listeners[0];
            (listener.backlog, listener.abort_on_overflow) = (2, abort);
        });
        show.tell_server(|server| server.accepts = false);
        // Three may wait and two do: one of two that come at once finds no place, though both believe that they are open.
        for _ in 0..2 {
            show.established(Connect::default());
        }
        for _ in 0..2 {
            show.connect(Connect::default());
        }
        show.run(ms(500));
        assert_eq!(show.client().count(AppEvent::Open), 4, "{abort}");
        let resets = show.client().count(AppEvent::Closed(CloseReason::Reset));
        assert_eq!(
            (resets, records(&show, show.server, Kind::Embryo)),
            if abort { (1, 0) } else { (0, 1) }
        );
        // Places become free. A client that waits for one gets it with the next SYN-ACK; one that was reset doesn't come back.
        show.tell_server(|server| server.accepts = true);
        show.world.act(
            show.server,
            0,
            |_, cx| while cx.accept(ListenerId(0)).is_some() {},
        );
        show.run(secs(4));
        assert_eq!(show.server().conns.len(), if abort { 3 } else { 4 });
        show.end();
    }
}

/// An option that the settings switch off is not agreed to in a SYN-ACK either.
#[test]
fn settings_hold_for_the_passive_side() {
    let mut show = Show::new(|_, server| {
        server.config.tcp.timestamps = false;
        server.config.tcp.window_scaling = false;
    });
    let id = show.established(Connect::default());
    show.send(id, 0, 200_000);
    show.run(secs(5));
    assert_eq!(show.server().received, 200_000);
    show.end();
}
