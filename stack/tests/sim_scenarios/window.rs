//! Windows that close, probes, and acknowledgments that wait.
//!
//! It must never share a world with another test.

use stack::app::{Connect, TxItem};
use stack::sim::trace::Crossing;
use stack::sim::world::Direction;

use super::{flags, ms, secs, show::Show, tcp};

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
