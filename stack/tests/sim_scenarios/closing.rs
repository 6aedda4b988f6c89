//! Connections that end as they should: FINs that cross, TIME-WAIT, what is read afterwards.
//!
//! It must never share a world with another test.

use std::time::Duration;

use stack::app::Connect;
use stack::conn::Kind;
use stack::sim::world::Direction;
use stack::tcp::state::{Event, State};
use stack::tcp::verdict::CloseReason;

use super::{FIN, SECOND, ms, records, secs, show::Show, tcp, with_flags};

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
