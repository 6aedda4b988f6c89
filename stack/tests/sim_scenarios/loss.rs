//! Segments that are lost or too big for the path, and what sends them again.
//!
//! It must never share a world with another test.

use stack::app::Connect;
use stack::sim::host::{HostId, HostSpec};
use stack::sim::link::Fate;
use stack::sim::router::ROUTER;
use stack::sim::trace::Crossing;
use stack::sim::world::Direction;

use super::{
    ms, secs,
    show::{PORT, Show},
    tcp,
};

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

/// The treatment of packets of more than 1,300 bytes by a router between two hosts.
fn show_with_a_small_path(answers: bool) -> Show {
    Show::new(|client, server| {
        for host in [client, server] {
            host.down.mtu = 1_300;
            host.down.answers_too_big = answers;
        }
    })
}

/// Frames of a recorded run that this host sent.
fn with_sender(show: &Show, from: HostId) -> usize {
    let is_its = |c: &&Crossing| c.from == from;
    show.world.trace().iter().filter(is_its).count()
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

/// Two hosts whose links, each way, lose and reorder so many of a million frames, and carry so many bits a second (0: any) through a
/// queue of 20 kB.
fn show_of_a_bad_path((loss_ppm, reorder_ppm): (u32, u32), delay_ms: u64, rate_bps: u64) -> Show {
    Show::new(|client, server| {
        for host in [client, server] {
            for link in [&mut host.up, &mut host.down] {
                link.loss_ppm = loss_ppm;
                link.reorder_ppm = reorder_ppm;
                link.reorder_delay = ms(1);
                link.delay = ms(delay_ms);
                link.rate_bps = rate_bps;
                link.queue_len = 20_000;
            }
        }
    })
}

/// Much text both ways over bad paths: every byte arrives, and the referee finds no fault.
#[test]
fn an_echo_of_much_text_arrives_over_bad_paths() {
    const LEN: u64 = 1_000_000;
    for faults in [(1_000, 0), (10_000, 0), (1_000, 10_000), (0, 100_000)] {
        for (delay_ms, rate_bps) in [(0, 0), (0, 100_000_000), (5, 0), (20, 10_000_000)] {
            let mut show = show_of_a_bad_path(faults, delay_ms, rate_bps);
            show.tell_server(|puppet| puppet.echoes = true);
            let id = show.established(Connect::default());
            show.send(id, 0, LEN);
            for _ in 0..600 {
                if show.client().received < LEN {
                    show.run(ms(500));
                }
            }
            let client = show.client();
            let seen = (client.received, client.wrong, client.reason());
            assert_eq!(seen, (LEN, 0, None), "{faults:?}, {delay_ms} ms");
            show.end();
        }
    }
}
