//! Situations that random worlds meet too rarely or can't judge exactly: each mechanism seen working, by its effect.
//!
//! It must never accept an end without looking at how it came: the arrows taken, the frames on the wire, the time that
//! it took.
#![forbid(unsafe_code)]

#[path = "sim/bottleneck.rs"]
mod bottleneck;
#[path = "sim/show.rs"]
mod show;
#[path = "sim/without.rs"]
mod without;

use std::time::Duration;

use stack::app::{Connect, Cx, TxItem};
use stack::conn::{FlowKey, Kind};
use stack::counters::Counter;
use stack::local::addresses::LocalId;
use stack::local::listener::{ListenerId, SynPolicy};
use stack::seq::SeqNum;
use stack::sim::host::{HostId, HostSpec, Spread};
use stack::sim::inspect::Tcp;
use stack::sim::link::{Fate, LinkSpec};
use stack::sim::nic::SimNic;
use stack::sim::puppet::{AppEvent, Puppet};
use stack::sim::router::ROUTER;
use stack::sim::trace::Crossing;
use stack::sim::world::Direction;
use stack::sim::wrap;
use stack::tcp::env::TcpCounters;
use stack::tcp::isn::{Remote, Tuple};
use stack::tcp::state::{Event, State};
use stack::tcp::verdict::CloseReason;
use stack::time::Instant;
use stack::wire::tcp::Flags;
use stack::wire::{Defect, Link, MacAddr, SegmentSpec};
use stack::worker::Secrets;

use show::{PORT, Show};

const SECOND: Duration = Duration::from_secs(1);
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// TCP's counters of a host's first worker.
fn tcp(show: &Show, host: HostId) -> &TcpCounters {
    show.world
        .workers(host)
        .next()
        .expect("a worker")
        .tcp_counters()
}

/// The flags of a TCP segment.
fn flags(crossing: &Crossing) -> Option<u8> {
    Some(Tcp::of(&crossing.bytes)?.flags())
}

/// Segments of a recorded run with all these flags.
fn with_flags(show: &Show, wanted: u8) -> Vec<&Crossing> {
    let has = |c: &&Crossing| flags(c).is_some_and(|f| f & wanted == wanted);
    show.world.trace().iter().filter(has).collect()
}

fn records(show: &Show, host: HostId, kind: Kind) -> u32 {
    let worker = show.world.workers(host).next().expect("a worker");
    let records = worker.table().len(kind);
    records.v4 + records.v6
}

#[test]
fn all_of_this_without_the_fast_path() {
    without::run_all_but("all_of_this_without_the_fast_path");
}

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

/// RFC 9293 §3.6, figure 14: both FINs cross.
#[test]
fn simultaneous_close() {
    let mut show = Show::new(|_, _| {});
    let id = show.established(Connect::default());
    let peer = show.server().conns[0];
    show.world.act(show.client, 0, |_, cx| cx.close(id));
    show.world.act(show.server, 0, |_, cx| cx.close(peer));
    show.run(SECOND);
    for host in [show.client, show.server] {
        let arrows = &tcp(&show, host).transitions;
        assert_eq!(arrows.taken(State::FinWait1, Event::Fin), 1);
        assert_eq!(arrows.taken(State::Closing, Event::AckOfFin), 1);
        assert_eq!(records(&show, host, Kind::TimeWait), 1);
    }
    show.run(secs(61));
    assert_eq!(records(&show, show.client, Kind::TimeWait), 0);
    show.end();
}

/// TIME-WAIT lasts 2MSL, and answers a FIN that comes again.
#[test]
fn time_wait() {
    let mut show = Show::new(|_, _| {});
    let id = show.established(Connect::default());
    // The ACK of the server's FIN gets lost, so it comes again a second later.
    show.world.record(true);
    show.world.act(show.client, 0, |_, cx| cx.close(id));
    show.run(Duration::from_micros(150));
    show.world.link_mut(show.client, Direction::Up).up = false;
    show.run(ms(500));
    assert_eq!(records(&show, show.client, Kind::TimeWait), 1);
    assert_eq!(show.server().reason(), None, "in LAST-ACK");
    show.world.link_mut(show.client, Direction::Up).up = true;
    show.run(secs(2));
    assert_eq!(show.server().reason(), Some(CloseReason::Graceful));
    let fins = with_flags(&show, FIN);
    assert_eq!(
        fins.len(),
        3,
        "the client's, the server's, the server's again"
    );
    // From the FIN that came again: 60 s.
    show.run(secs(58));
    assert_eq!(records(&show, show.client, Kind::TimeWait), 1);
    show.run(secs(3));
    assert_eq!(records(&show, show.client, Kind::TimeWait), 0);
    show.end();
}

/// The window closes in front of an application that doesn't read, is probed, and opens when it does.
#[test]
fn zero_window_and_recovery() {
    let mut show = Show::new(|_, server| server.config.tcp.profile.rcv_buf = 10_000);
    show.tell_server(|server| server.reads = false);
    let id = show.established(Connect::default());
    show.send(id, 0, 50_000);
    show.run(secs(100));
    assert_eq!(show.server().received, 0);
    let probes = tcp(&show, show.client).window_probes;
    assert!(
        (4..=8).contains(&probes),
        "{probes} probes, each twice as late as the one before"
    );
    let peer = show.server().conns[0];
    let info = |show: &mut Show| {
        show.world
            .act(show.server, 0, |_, cx| cx.info(peer))
            .flatten()
    };
    let closed = info(&mut show).expect("alive");
    assert_eq!((closed.rcv_wnd, closed.unread_len), (0, 10_000));
    show.world.act(show.server, 0, |server, cx| {
        server.reads = true;
        server.read(cx, peer);
    });
    show.run(secs(2));
    assert_eq!(show.server().received, 50_000);
    show.end();
}

/// The update that opens the window gets lost: only a probe can find out.
#[test]
fn a_lost_window_update_is_found_by_a_probe() {
    let mut show = Show::new(|_, server| server.config.tcp.profile.rcv_buf = 10_000);
    show.tell_server(|server| server.reads = false);
    let id = show.established(Connect::default());
    show.send(id, 0, 50_000);
    show.run(secs(10));
    let probes = tcp(&show, show.client).window_probes;
    let peer = show.server().conns[0];
    show.world.link_mut(show.server, Direction::Up).up = false;
    show.world.act(show.server, 0, |server, cx| {
        server.reads = true;
        server.read(cx, peer);
    });
    show.run(ms(1));
    show.world.link_mut(show.server, Direction::Up).up = true;
    show.run(ms(100));
    assert!(show.server().received < 15_000);
    show.run(secs(120));
    assert_eq!(show.server().received, 50_000);
    assert!(tcp(&show, show.client).window_probes > probes);
    show.end();
}

/// The server's data arrives just before the client's probe goes out. The probe is dropped by the server, so the ACK must
/// not count as sent with it.
#[test]
fn a_probe_pays_no_ack() {
    let mut show = Show::new(|client, server| {
        client.config.tcp.profile.ack_delay = ms(400);
        server.config.tcp.profile.rcv_buf = 10_000;
    });
    show.tell_server(|server| server.reads = false);
    let id = show.established(Connect::default());
    show.send(id, 0, 50_000);
    while tcp(&show, show.client).window_probes < 2 {
        show.run(ms(10));
    }
    // The third is due in 4 s.
    show.run(ms(3_700));
    let peer = show.server().conns[0];
    let sent = show.world.act(show.server, 0, |_, cx| {
        let (start, len) = (0, 100);
        cx.send(peer, TxItem::Pattern { start, len }).is_ok()
    });
    assert_eq!(sent, Some(true));
    show.run(ms(500));
    assert_eq!(tcp(&show, show.client).window_probes, 3);
    show.run(secs(2));
    assert_eq!(show.client().received, 100);
    let server = tcp(&show, show.server);
    assert_eq!(server.retransmission_timeouts, 0, "it was acknowledged");
    show.end();
}

/// After some minutes of a closed window there is more than R2 between two probes: two of them get lost.
#[test]
fn two_lost_probes_end_no_connection() {
    let mut show = Show::new(|_, server| server.config.tcp.profile.rcv_buf = 10_000);
    show.tell_server(|server| server.reads = false);
    let id = show.established(Connect::default());
    show.send(id, 0, 50_000);
    show.run(secs(400));
    let probes = tcp(&show, show.client).window_probes;
    show.world.link_mut(show.server, Direction::Up).up = false;
    show.run(secs(240));
    assert_eq!(tcp(&show, show.client).window_probes - probes, 2);
    show.world.link_mut(show.server, Direction::Up).up = true;
    show.run(secs(300));
    assert_eq!(show.client().reason(), None);
    let peer = show.server().conns[0];
    show.world.act(show.server, 0, |server, cx| {
        server.reads = true;
        server.read(cx, peer);
    });
    show.run(secs(200));
    assert_eq!(show.server().received, 50_000);
    show.end();
}

/// An outage backs the timer off to a minute; it is still so long at the next loss (Karn), which R2 must not end before it
/// was sent again.
#[test]
fn a_loss_after_a_long_outage_is_survived() {
    let mut show = Show::new(|client, _| client.config.tcp.timestamps = false);
    let id = show.established(Connect::default());
    show.world.set_cable(show.server, false);
    show.send(id, 0, 100);
    show.run(secs(62));
    show.world.set_cable(show.server, true);
    show.run(secs(4));
    assert_eq!(show.server().received, 100);
    show.world.set_cable(show.server, false);
    show.send(id, 100, 100);
    show.run(secs(105));
    assert_eq!(show.client().reason(), None, "one retransmission was tried");
    show.world.set_cable(show.server, true);
    show.run(secs(100));
    assert_eq!(show.server().received, 200);
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

/// A cable that is pulled for half a minute: retransmission, with the timer backed off, then all goes on.
#[test]
fn host_down_and_up_again() {
    let mut show = Show::new(|client, server| {
        // So slow that the transfer is under way.
        client.up = LinkSpec {
            rate_bps: 2_000_000,
            queue_len: 50_000,
            ..client.up
        };
        server.up.delay = ms(5);
    });
    let id = show.established(Connect::default());
    show.send(id, 0, 1_000_000);
    show.run(secs(1));
    show.world.set_cable(show.server, false);
    show.run(secs(30));
    let received = show.server().received;
    assert!((50_000..900_000).contains(&received), "{received}");
    let timeouts = tcp(&show, show.client).retransmission_timeouts;
    assert!((3..=6).contains(&timeouts), "{timeouts}");
    show.world.set_cable(show.server, true);
    show.run(secs(60));
    assert_eq!(show.server().received, 1_000_000);
    assert_eq!(show.client().reason(), None);
    show.end();
}

/// The peer is gone: the oldest octet is sent again until R2, then the application hears of it.
#[test]
fn power_loss_is_noticed_after_r2() {
    let mut show = Show::new(|_, _| {});
    let id = show.established(Connect::default());
    show.world.record(true);
    let lost_at = show.world.now();
    show.world.power_off(show.server);
    show.send(id, 0, 100);
    show.run(secs(99));
    assert_eq!(show.client().reason(), None);
    show.run(secs(130));
    let (at, reason) = show.client().ends().next().expect("an end");
    assert!(matches!(reason, CloseReason::TimedOut { .. }), "{reason:?}");
    let took = at - lost_at;
    assert!((secs(100)..secs(230)).contains(&took), "{took:?}");
    // 1, 2, 4, 8 … s apart, until the neighbour doesn't answer either (then nothing is on the wire).
    let segments = show.world.trace().iter().filter(|c| flags(c).is_some());
    assert!(segments.count() >= 4);
    assert!(tcp(&show, show.client).retransmission_timeouts >= 6);
    show.end();
}

/// The peer was off for a moment and knows nothing: what it gets, it resets.
#[test]
fn a_rebooted_peer_resets() {
    let mut show = Show::new(|_, _| {});
    let id = show.established(Connect::default());
    let server = show.server;
    show.world.power_off(server);
    show.world
        .power_on(server, |_| Puppet::default())
        .expect("memory");
    show.send(id, 0, 100);
    show.run(secs(3));
    assert_eq!(show.client().reason(), Some(CloseReason::Reset));
    show.end();
}

/// RFC 9293 §3.8.4: probes at the configured times, and the end after the configured number.
#[test]
fn keepalive_probes_and_gives_up() {
    let keepalive = |client: &mut HostSpec| {
        client.config.tcp.profile.keepalive = true;
        client.config.tcp.profile.keepalive_idle = secs(10);
        client.config.tcp.profile.keepalive_interval = secs(2);
        client.config.tcp.profile.keepalive_probes = 3;
    };
    let how = Connect::default();
    let mut show = Show::new(|client, _| keepalive(client));
    show.established(how);
    show.run(secs(25));
    let answered = tcp(&show, show.client).keepalive_probes;
    assert_eq!(answered, 2, "one after each 10 s of silence");
    let started_at = show.world.now();
    show.world.set_cable(show.server, false);
    show.run(secs(60));
    let (at, reason) = show.client().ends().next().expect("an end");
    assert_eq!(reason, CloseReason::KeepaliveTimedOut);
    assert_eq!(tcp(&show, show.client).keepalive_probes, answered + 3);
    // The last answer came at 20 s: 10 s of silence, three probes 2 s apart, 2 s after the last.
    let took = at - started_at;
    assert!((secs(10)..secs(13)).contains(&took), "{took:?}");
    show.end();
}

#[test]
fn without_keepalive_silence_lasts_for_ever() {
    let mut show = Show::new(|client, _| {
        client.config.tcp.profile.keepalive_idle = secs(10);
    });
    show.established(Connect::default());
    show.world.set_cable(show.server, false);
    show.run(secs(3600));
    assert_eq!(show.client().reason(), None);
    assert_eq!(tcp(&show, show.client).keepalive_probes, 0);
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

/// Received bytes stay readable when both directions have ended: the application took its time.
#[test]
fn what_arrived_is_readable_after_the_end() {
    for server_closes_first in [true, false] {
        let mut show = Show::new(|_, _| {});
        show.tell_server(|server| (server.reads, server.closes) = (false, false));
        let id = show.established(Connect::default());
        let peer = show.server().conns[0];
        show.send(id, 0, 5_000);
        if server_closes_first {
            show.world.act(show.server, 0, |_, cx| cx.shutdown(peer));
            show.run(ms(10));
        }
        show.world.act(show.client, 0, |_, cx| cx.shutdown(id));
        show.run(ms(10));
        show.world.act(show.server, 0, |_, cx| cx.shutdown(peer));
        show.run(secs(100));
        assert_eq!(show.client().reason(), Some(CloseReason::Graceful));
        assert_eq!(show.server().reason(), None, "it has not read yet");
        show.world
            .act(show.server, 0, |server, cx| server.read(cx, peer));
        show.run(ms(10));
        assert_eq!(show.server().received, 5_000);
        assert_eq!(show.server().reason(), Some(CloseReason::Graceful));
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

/// Small pools and applications that don't read: everything waits, nothing breaks, and it goes on when they read.
#[test]
fn memory_runs_out_and_comes_back() {
    let mut show = Show::new(|client, server| {
        client.config.limits.send_queue_items = 64;
        server.nic.pools.rx = 200;
        server.nic.pools.control = 100;
        server.config.limits.queue_items = 64;
        // Longer than the silence below: no connection has to give way.
        server.config.limits.stall_limit = secs(60);
    });
    show.tell_server(|server| server.reads = false);
    let ids: Vec<_> = (0..8).map(|_| show.connect(Connect::default())).collect();
    show.run(secs(1));
    for &id in &ids {
        show.send(id, 0, 100_000);
    }
    show.run(secs(30));
    let worker = show.world.workers(show.server).next().expect("a worker");
    assert!(
        worker.counters().get(Counter::PayloadNoPlace) > 0,
        "it did run out"
    );
    // One puppet checks one stream: count only.
    let peers = show.server().conns.clone();
    assert_eq!(peers.len(), 8);
    for _ in 0..3_000 {
        for &peer in &peers {
            show.world.act(show.server, 0, |server, cx| {
                while !cx.peek(peer).is_empty() {
                    let len = cx.peek(peer).len() as u32;
                    server.received += u64::from(len);
                    cx.consume(peer, len);
                }
            });
        }
        show.run(ms(100));
        if show.server().received == 800_000 {
            break;
        }
    }
    assert_eq!(show.server().received, 800_000);
    show.end();
}

/// Buffers whose flags still say "good" of older frames, on ports that verify nothing: what is corrupt is dropped all the same.
#[test]
fn stale_verdicts_of_a_nic_that_was_not_asked_do_not_count() {
    let mut show = Show::new(|client, server| {
        for host in [client, server] {
            host.nic.stale_good_ppm = 1_000_000;
            host.up.corrupt_ppm = 100_000;
        }
    });
    let id = show.established(Connect::default());
    show.send(id, 0, 500_000);
    show.run(secs(600));
    assert_eq!(show.server().received, 500_000);
    let worker = show.world.workers(show.server).next().expect("a worker");
    let wrong = worker.counters().get_defect(Defect::TcpChecksum);
    assert!(wrong > 10, "{wrong} frames were corrupt");
    show.end();
}

/// Four workers on each side, and no frame ever comes to the right one.
#[test]
fn four_workers_that_get_only_frames_of_others() {
    let mut show = Show::new(|client, server| {
        for host in [client, server] {
            host.workers = 4;
            host.spread = Spread::Wrong;
        }
    });
    let remote = (HostSpec::v4(2), PORT).into();
    for _ in 0..8 {
        for worker in 0..4 {
            let opened = show.world.act(show.client, worker, |_, cx| {
                let id = cx
                    .connect(remote, &Connect::default(), false)
                    .expect("a connection");
                cx.send(
                    id,
                    TxItem::Pattern {
                        start: 0,
                        len: 3_000,
                    },
                )
                .is_ok()
            });
            assert_eq!(opened, Some(true));
        }
        show.run(ms(10));
    }
    show.run(secs(5));
    let workers = || show.world.workers(show.server);
    let received: u64 = workers().map(|worker| worker.app().received).sum();
    assert_eq!(received, 32 * 3_000);
    let handed_off: u64 = workers()
        .map(|worker| worker.counters().get(Counter::HandedOff))
        .sum();
    assert!(handed_off >= 32 * 4, "{handed_off}");
    // Each puppet reads the streams of several connections, so what it takes for wrong is not.
    for host in [show.client, show.server] {
        show.world.power_off(host);
    }
    assert_eq!(show.world.violations(), &[] as &[String]);
}

/// MUST-58 and SHLD-18: a lone segment is acknowledged after the delay, and at once without one.
#[test]
fn a_lone_segment_waits_for_company_as_long_as_configured() {
    for delay_ms in [0, 40, 200] {
        let mut show = Show::new(|_, server| server.config.tcp.profile.ack_delay = ms(delay_ms));
        let id = show.established(Connect::default());
        // The first read announces the window that a SYN-ACK had no room for.
        show.send(id, 0, 100);
        show.run(ms(300));
        let before = tcp(&show, show.server).delayed_acks;
        show.world.record(true);
        let sent_at = show.world.now();
        show.send(id, 100, 100);
        show.run(secs(1));
        let from_server = |c: &&Crossing| c.from == show.server && flags(c).is_some();
        let acked = show.world.trace().iter().find(from_server).expect("an ACK");
        let took = acked.sent_at - sent_at;
        let expected = ms(delay_ms)..ms(delay_ms + 3);
        assert!(expected.contains(&took), "{delay_ms} ms: {took:?}");
        assert_eq!(
            tcp(&show, show.server).delayed_acks - before,
            u64::from(delay_ms > 0)
        );
        show.end();
    }
}

/// Three duplicate ACKs: the hole is filled long before the timer would, and without it.
#[test]
fn a_hole_is_filled_by_fast_retransmit() {
    let mut show = Show::new(|client, server| {
        client.up.delay = ms(5);
        server.up.delay = ms(5);
    });
    let id = show.established(Connect::default());
    show.send(id, 0, 100_000);
    show.run(ms(300));
    assert_eq!(show.server().received, 100_000);
    show.world.link_mut(show.server, Direction::Down).lose_next = 1;
    show.send(id, 100_000, 100_000);
    show.run(ms(300));
    let counters = tcp(&show, show.client);
    assert_eq!(counters.fast_retransmits, 1);
    assert_eq!(counters.retransmitted_segments, 1);
    assert_eq!(counters.retransmission_timeouts, 0);
    assert_eq!(show.server().received, 200_000);
    show.end();
}

/// Everything that crossed the links while a client sent 300,000 bytes, without the fields in which a NIC numbers packets.
fn transfer(
    tso_buffers: u16,
    change: impl FnOnce(&mut HostSpec, &mut HostSpec),
) -> (Vec<Vec<u8>>, u64) {
    let mut show = Show::new(|client, server| {
        client.nic.tx_checksum = true;
        client.nic.tso_buffers = tso_buffers;
        change(client, server);
    });
    let id = show.established(Connect::default());
    show.world.record(true);
    show.send(id, 0, 300_000);
    show.world.act(show.client, 0, |_, cx| cx.shutdown(id));
    show.run(secs(20));
    assert_eq!(show.server().received, 300_000);
    let worker = show.world.workers(show.client).next().expect("a worker");
    let cut = worker.counters().get(Counter::TxCut);
    let frames = show.world.trace().iter().map(|crossing| {
        let mut bytes = crossing.bytes.to_vec();
        bytes[18..20].fill(0);
        bytes[24..26].fill(0);
        bytes
    });
    let frames = frames.collect();
    show.end();
    (frames, cut)
}

#[test]
fn a_nic_that_cuts_sends_the_segments_that_we_would_have_sent() {
    let (whole, none) = transfer(0, |_, _| {});
    assert_eq!(none, 0);
    for buffers in [8, 24, 64] {
        let (frames, cut) = transfer(buffers, |_, _| {});
        assert!(cut > 10, "{cut} frames were cut");
        assert!(
            frames == whole,
            "{} frames, not {}",
            frames.len(),
            whole.len()
        );
    }
    let (_, cut) = transfer(64, |_, server| server.down.loss_ppm = 20_000);
    assert!(cut > 10, "with losses, {cut}");
}

#[test]
fn where_buffers_are_few_a_large_segment_goes_in_pieces() {
    let (whole, _) = transfer(0, |client, _| client.nic.pools.control = 40);
    let (frames, _) = transfer(64, |client, _| client.nic.pools.control = 40);
    assert!(
        frames.len() < whole.len() * 2,
        "{} and {}",
        frames.len(),
        whole.len()
    );
}

/// The treatment of packets of more than 1,300 bytes by a router between two hosts.
fn show_with_a_small_path(answers: bool) -> Show {
    Show::new(|client, server| {
        for host in [client, server] {
            host.down.mtu = 1_300;
            host.down.answers_too_big = answers;
        }
    })
}

/// Both links carry 1,500 bytes, the path between them 1,300. A router that says so costs one round trip (RFC 1191, RFC 8201);
/// behind one that says nothing, full segments are given up for what every path carries.
#[test]
fn a_path_smaller_than_both_links_is_found() {
    let v4 = (HostSpec::v4(1), HostSpec::v4(2), 576);
    let v6 = (HostSpec::v6(1), HostSpec::v6(2), 1_280);
    for ((from, to, floor), answers) in [(v4, true), (v6, true), (v4, false), (v6, false)] {
        let mut show = show_with_a_small_path(answers);
        let how = Connect {
            local: Some(from),
            ..Connect::default()
        };
        let opened = show.world.act(show.client, 0, |_, cx| {
            cx.connect((to, PORT).into(), &how, false)
        });
        let id = opened.expect("a worker").expect("a connection");
        show.run(ms(10));
        show.world.record(true);
        show.send(id, 0, 100_000);
        show.run(if answers { ms(100) } else { secs(30) });
        assert_eq!(show.server().received, 100_000, "{from}, {answers}");
        let is_whole = |c: &&Crossing| c.fate == Fate::Delivered && c.from == show.client;
        let passed = show.world.trace().iter().filter(is_whole);
        let longest = passed.map(|c| c.bytes.len() - 14).max();
        let swallowed = show.world.trace().iter().filter(|c| c.fate == Fate::TooBig);
        let (said, swallowed) = (with_sender(&show, ROUTER), swallowed.count());
        let client = tcp(&show, show.client);
        if answers {
            assert_eq!((longest, said), (Some(1_300), swallowed), "{from}");
            assert_eq!(client.retransmission_timeouts, 0, "{from}");
        } else {
            assert_eq!((longest, said), (Some(floor), 0), "{from}");
            assert_eq!(client.black_holes, 1, "{from}");
        }
        assert!(swallowed > 0, "{from}");
        show.end();
    }
}

/// Frames of a recorded run that this host sent.
fn with_sender(show: &Show, from: HostId) -> usize {
    let is_its = |c: &&Crossing| c.from == from;
    show.world.trace().iter().filter(is_its).count()
}

/// Worker 0 remembers 64 questions of others about neighbours. Silent addresses take them all; a connection that finds no place asks again
/// when its SYN would be due again, and finds the answer.
#[test]
fn more_questions_about_neighbors_than_are_remembered_are_asked_again() {
    let mut show = Show::new(|client, _| client.workers = 2);
    show.run(ms(10));
    let began_at = show.world.now();
    let open = |cx: &mut Cx<'_, SimNic, bool>, to: u8| {
        let how = Connect::default();
        cx.connect((HostSpec::v4(to), PORT).into(), &how, false)
            .is_ok()
    };
    let all = (100..170).chain([2]);
    let opened = show.world.act(show.client, 1, |_, cx| {
        all.filter(|&to| open(cx, to)).count()
    });
    assert_eq!(opened, Some(71));
    show.run(ms(900));
    assert_eq!(show.server().heard, []);
    show.run(ms(300));
    let (at, _, what) = show.server().heard[1];
    assert_eq!(what, AppEvent::Open);
    assert!(at - began_at >= ms(990), "{:?}", at - began_at);
    show.run(secs(20));
    let gone = show
        .world
        .workers(show.client)
        .nth(1)
        .expect("a worker")
        .app();
    let unreachable = |end: &(Instant, CloseReason)| matches!(end.1, CloseReason::Unreachable(_));
    assert_eq!(gone.ends().filter(unreachable).count(), 70);
    show.end();
}

/// The last segment is lost, so no duplicate ACK reports it: the timer does, after a second at least.
#[test]
fn a_lost_last_segment_is_sent_again_by_the_timer() {
    let mut show = Show::new(|_, _| {});
    let id = show.established(Connect::default());
    show.world.link_mut(show.server, Direction::Down).lose_next = 1;
    show.send(id, 0, 100);
    show.run(ms(990));
    assert_eq!(show.server().received, 0);
    show.run(ms(100));
    assert_eq!(show.server().received, 100);
    assert_eq!(tcp(&show, show.client).retransmission_timeouts, 1);
    show.end();
}

/// The secrets of the client in [`numbers_wrap_during_a_transfer`].
fn secrets() -> Secrets {
    Secrets {
        flow: [1, 2],
        isn: [3; 16],
        cookie: [4; 16],
        ports: [5; 16],
    }
}

/// Sequence numbers, timestamps and the ticks of tables and timers pass 2^32 on the way, without an effect.
#[test]
fn numbers_wrap_during_a_transfer() {
    let how = Connect {
        local: Some(HostSpec::v4(1)),
        local_port: Some(4000),
        ..Connect::default()
    };
    let key = FlowKey::new(LocalId(0), 4000, HostSpec::v4(2), PORT);
    let tuple = Tuple {
        remote: Remote::V4(key.remote_v4()),
        ends: key.ends(),
    };
    let starts = [
        wrap::before_iss_wraps(&secrets(), tuple, Duration::ZERO, 50_000),
        wrap::before_timestamps_wrap(&secrets(), tuple, ms(500)),
        wrap::before_ticks_wrap(ms(500)),
    ];
    for (number, start) in starts.into_iter().enumerate() {
        let mut show = Show::starting_at(start, |client, _| {
            client.secrets = Some(secrets());
            // A second and more for all of it.
            client.up.rate_bps = 8_000_000;
            client.up.queue_len = 100_000;
        });
        show.world.record(true);
        let id = show.established(how);
        show.send(id, 0, 1_000_000);
        show.world.act(show.client, 0, |_, cx| cx.shutdown(id));
        show.run(secs(5));
        assert_eq!(show.server().received, 1_000_000);
        assert_eq!(tcp(&show, show.client).retransmission_timeouts, 0);
        // Where the numbers stand in a segment of the client: the sequence number, and TSval in the usual layout.
        let field = |at: usize| -> Vec<u32> {
            let from_client = show.world.trace().iter().filter(|c| c.from == show.client);
            let segments = from_client.filter(|c| flags(c).is_some_and(|f| f & SYN == 0));
            let value = |c: &Crossing| c.bytes[14 + 20 + at..][..4].try_into().ok();
            segments.filter_map(value).map(u32::from_be_bytes).collect()
        };
        let wraps = |values: &[u32]| {
            values
                .windows(2)
                .any(|pair| pair[0] > 1 << 31 && pair[1] < 1 << 30)
        };
        match number {
            0 => assert!(wraps(&field(4)), "SND.NXT"),
            1 => assert!(wraps(&field(24)), "TSval"),
            _ => assert_eq!(show.world.now().as_ms() >> 32, 1),
        }
        show.run(secs(70));
        assert_eq!(records(&show, show.client, Kind::TimeWait), 0);
        show.end();
    }
}
