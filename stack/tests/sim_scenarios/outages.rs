//! Hosts and cables that fail, for a while or for good, and how the other end notices.
//!
//! It must never share a world with another test.

use stack::app::Connect;
use stack::sim::host::HostSpec;
use stack::sim::link::LinkSpec;
use stack::sim::puppet::Puppet;
use stack::tcp::verdict::CloseReason;

use super::{flags, ms, secs, show::Show, tcp};

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
