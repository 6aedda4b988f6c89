//! The http service, as its peers see it.

use std::time::Duration;

use stack::conn::Kind;
use stack::tcp::verdict::CloseReason;

use super::{Session, carry, connect};

impl Session {
    /// The status codes of what has come.
    fn statuses(&self) -> Vec<String> {
        let text = self.text();
        let lines = text.split("HTTP/1.1 ").skip(1);
        lines.map(|line| line[..3].to_owned()).collect()
    }

    /// The responses so far, without their dates.
    fn undated(&self) -> String {
        let text = self.text();
        let lines = text.split_inclusive("\r\n");
        lines.filter(|line| !line.starts_with("Date: ")).collect()
    }
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
/// A response with the first ten characters of the pattern ends so.
const BODY: &str = "\r\n\r\n !\"#$%&'()";

#[test]
fn answers_requests_that_come_together_and_in_pieces() {
    let mut session = Session::open("1=http,size=10");
    session.send(GET.as_bytes());
    assert_eq!(session.text().matches(BODY).count(), 1);
    session.send(GET.repeat(20).as_bytes());
    assert_eq!(session.text().matches(BODY).count(), 21);
    // Every cut of a request, behind a whole one and before another.
    for cut in 1..GET.len() {
        let (first, second) = GET.split_at(cut);
        let before = session.text().matches(BODY).count();
        session.send(format!("{GET}{first}").as_bytes());
        assert_eq!(session.text().matches(BODY).count(), before + 1, "{cut}");
        session.send(format!("{second}{GET}").as_bytes());
        assert_eq!(session.text().matches(BODY).count(), before + 3, "{cut}");
    }
    assert_eq!(session.stats().requests, 21 + 3 * (GET.len() as u64 - 1));
    session.shutdown();
    session.ends_in_order();
}

#[test]
fn reads_over_bodies_of_requests() {
    let mut session = Session::open("1=http,size=10");
    let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3000\r\n\r\n";
    session.send(post.as_bytes());
    session.send(&[b'x'; 2_990]);
    assert_eq!(session.text(), "", "the answer stands behind the request");
    session.send(format!("{}{GET}", "x".repeat(10)).as_bytes());
    assert_eq!(session.statuses(), ["405", "200"]);
    assert_eq!(session.stats().refused_requests, 1);
    // Bodies of what is allowed, in chunks: each ends where it ends.
    let put = "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    session.send(format!("{put}bb8;a=b\r\n{}", "GET ".repeat(750)).as_bytes());
    session.send(format!("\r\n0\r\nTrailer: x\r\n\r\n{GET}").as_bytes());
    assert_eq!(session.statuses(), ["405", "200", "405", "200"]);
    assert!(!session.peer_closed());
}

#[test]
fn asks_for_a_body_whose_sender_waits_for_that() {
    let mut session = Session::open("1=http,size=10");
    let expects = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    session.send(expects.as_bytes());
    assert_eq!(session.text(), "HTTP/1.1 100 Continue\r\n\r\n");
    session.send(format!("hello{GET}").as_bytes());
    assert_eq!(session.statuses(), ["100", "405", "200"]);
    assert_eq!(session.stats().requests, 2);
    let unknown = expects.replace("100-continue", "a-miracle");
    session.send(unknown.as_bytes());
    assert_eq!(session.statuses(), ["100", "405", "200", "417"]);
    session.ends_in_order();
}

#[test]
fn ends_a_connection_whose_body_it_cant_follow() {
    for (chunks, status) in [
        ("5\nhello\n0\n\n", "400"),
        ("5\r\nhello world", "400"),
        ("ffffffffff\r\n", "413"),
    ] {
        let mut session = Session::open("1=http");
        let post = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        session.send(format!("{post}{chunks}{GET}").as_bytes());
        assert_eq!(session.statuses(), [status], "{chunks:?}");
        session.ends_in_order();
    }
    // A peer that closes within a body gets no answer: it has not asked yet.
    let mut session = Session::open("1=http");
    session.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhell");
    session.shutdown();
    assert_eq!(session.text(), "");
    session.ends_in_order();
}

#[test]
fn answers_are_the_same_wherever_the_requests_are_cut() {
    let stream = format!(
        "{GET}HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n\
         POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: t\r\n\r\n\
         POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\r\n{GET}"
    );
    let mut session = Session::open("1=http,size=10");
    session.send(stream.as_bytes());
    let whole = session.undated();
    assert_eq!(
        session.statuses(),
        ["200", "200", "200", "405", "405", "200"]
    );
    assert_eq!(whole.matches(BODY).count(), 3, "none behind HEAD: {whole}");
    assert_eq!(
        whole.matches("Connection: keep-alive").count(),
        1,
        "HTTP/1.0 is told: {whole}"
    );
    for cut in 1..stream.len() {
        session.received.clear();
        let (first, second) = stream.split_at(cut);
        session.send(first.as_bytes());
        session.send(second.as_bytes());
        assert_eq!(session.undated(), whole, "{cut}");
    }
    session.received.clear();
    for byte in stream.bytes() {
        session.send(&[byte]);
    }
    assert_eq!(session.undated(), whole, "byte by byte");
    session.shutdown();
    session.ends_in_order();
}

#[test]
fn what_is_odd_but_allowed_is_answered() {
    for request in [
        "GET http://other/a?b HTTP/1.1\r\nHost: h\r\n\r\n",
        // RFC 9112 §2.2: a line feed alone may end a line of the head.
        "GET / HTTP/1.1\nHost: h\n\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nhOST:h\r\nEmpty:\r\nAgain: 1\r\nAgain: 2\r\n\r\n",
    ] {
        let mut session = Session::open("1=http,size=10");
        session.send(format!("{request}{GET}").as_bytes());
        assert_eq!(session.statuses(), ["200", "200"], "{request:?}");
    }
    let mut session = Session::open("1=http");
    session.send(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\nCONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(session.statuses(), ["405", "405"]);
}

#[test]
fn what_two_readers_could_read_in_two_ways_is_refused() {
    let many = "a: b\r\n".repeat(100);
    let long = format!("a: {}\r\n", "b".repeat(8200));
    for (fields, status) in [
        ("No colon\r\n", "400"),
        ("Space : before\r\n", "400"),
        (": no name\r\n", "400"),
        ("Folded: a\r\n b\r\n", "400"),
        ("Nul: \0\r\n", "400"),
        ("Lone: \rreturn\r\n", "400"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "400"),
        ("Host: again\r\n", "400"),
        (many.as_str(), "431"),
        (long.as_str(), "431"),
    ] {
        let mut session = Session::open("1=http");
        session.send(format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n{GET}").as_bytes());
        assert_eq!(session.statuses(), [status], "{fields:?}");
        session.ends_in_order();
    }
}

#[test]
fn an_old_peer_that_asks_for_no_more_gets_the_end() {
    let mut session = Session::open("1=http,size=10");
    session.send(b"GET / HTTP/1.0\r\n\r\n");
    session.ends_with(BODY);
}

#[test]
fn ends_a_connection_when_either_side_wants_it() {
    let last = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    for (listen, request) in [("1=http,size=10", last), ("1=http,size=10,close", GET)] {
        let mut session = Session::open(listen);
        session.send(request.as_bytes());
        session.ends_with(BODY);
    }
}

#[test]
fn refuses_nonsense_and_takes_nothing_behind_it() {
    let mut session = Session::open("1=http");
    session.send(format!("NONSENSE\r\n\r\n{GET}").as_bytes());
    assert!(
        session.text().starts_with("HTTP/1.1 400 "),
        "{}",
        session.text()
    );
    session.send(GET.as_bytes());
    assert_eq!(session.text().matches("HTTP/1.1").count(), 1);
    session.ends_in_order();
}

#[test]
fn refuses_a_head_without_end() {
    for (start, status) in [("GET / HTTP/1.1\r\n", "431"), ("GET /", "414")] {
        let mut session = Session::open("1=http");
        session.send(start.as_bytes());
        for _ in 0..10 {
            session.send(&[b'a'; 1_000]);
        }
        let text = session.text();
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        session.ends_in_order();
    }
}

#[test]
fn does_not_wait_for_ever_for_a_head() {
    let mut session = Session::open("1=http");
    session.send(b"GET /");
    // Half a second each: a minute, less a little, and more than a minute.
    for _ in 0..115 {
        session.settle();
    }
    assert!(!session.peer_closed());
    for _ in 0..10 {
        session.settle();
    }
    assert!(session.peer_closed());
}

#[test]
fn a_silent_peer_is_left_when_its_time_is_up() {
    let mut session = Session::open("1=http,size=10,idle=4s");
    // Half a second each: never silent for long, in all for twice as long as it may be.
    for _ in 0..8 {
        session.send(GET.as_bytes());
        session.settle();
        assert!(!session.peer_closed());
    }
    assert_eq!(session.server.table().len(Kind::Parked).total(), 0);
    for _ in 0..5 {
        session.settle();
    }
    // Parked, and with time left.
    assert_eq!(session.server.table().len(Kind::Parked).total(), 1);
    assert!(!session.peer_closed());
    for _ in 0..4 {
        session.settle();
    }
    assert_eq!(session.statuses(), ["200"; 8]);
    session.ends_in_order();
    for (listen, beginning) in [
        ("1=http,idle=4s", ""),
        ("1=http,idle=4s", "GET /"),
        (
            "1=http,idle=4s",
            "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n1",
        ),
    ] {
        let mut session = Session::open(listen);
        session.send(beginning.as_bytes());
        for _ in 0..10 {
            session.settle();
        }
        let conn = session.conn;
        session.client.with_cx(session.now, |_, cx| cx.close(conn));
        session.settle();
        let stats = session.stats();
        assert_eq!((stats.idle_closed, stats.open), (1, 0), "{beginning}");
    }
}

#[test]
fn a_peer_that_takes_nothing_is_reset_and_one_that_is_slow_is_not() {
    let mut session = Session::open("1=http,size=1g,idle=4s");
    session.reads = 1;
    session.send(GET.as_bytes());
    // It reads a little now and then, for much longer than it may be silent.
    for round in 2..30 {
        for _ in 0..2 {
            session.settle();
        }
        session.read_up_to(round * 200_000);
    }
    assert_eq!(session.client.app().reason(), None);
    for _ in 0..20 {
        session.settle();
    }
    assert_eq!(session.client.app().reason(), Some(CloseReason::Reset));
    let stats = session.stats();
    assert_eq!((stats.idle_closed, stats.open), (1, 0));
}

#[test]
fn a_place_may_wait_for_ever() {
    let mut session = Session::open("1=http,size=10,idle=never");
    for _ in 0..200 {
        session.settle();
    }
    session.send(GET.as_bytes());
    assert_eq!(session.statuses(), ["200"]);
    assert_eq!(session.stats().idle_closed, 0);
}

#[test]
fn at_the_end_it_answers_what_was_begun_and_says_that_it_was_the_last() {
    let mut session = Session::open("1=http,size=10");
    let (first, second) = GET.split_at(12);
    session.send(first.as_bytes());
    session.finish();
    assert!(!session.peer_closed());
    session.send(second.as_bytes());
    session.ends_with(BODY);
}

#[test]
fn sends_on_when_its_peer_reads_on() {
    for size in [60_000, 3_000_000] {
        let mut session = Session::open(&format!("1=http,size={size}"));
        session.reads = 1;
        // More than send queue and window take.
        session.send(GET.repeat(200).as_bytes());
        assert!(session.stats().requests < 200);
        session.read_up_to(usize::MAX);
        while session.received.len() < 10 * size {
            let before = session.received.len();
            session.settle();
            assert!(session.received.len() > before, "{before}");
        }
    }
}

/// The dates of the responses so far.
fn dates(session: &Session) -> Vec<String> {
    let text = session.text();
    let dates = text.split("Date: ").skip(1);
    dates.map(|date| date[..29].to_owned()).collect()
}

#[test]
fn each_response_has_the_date_of_its_second() {
    let mut session = Session::open("1=http,size=10,idle=never");
    for _ in 0..10 {
        session.send(GET.as_bytes());
        session.settle();
    }
    let dates = dates(&session);
    assert!(
        dates.len() == 10 && dates.is_sorted_by(|a, b| a < b),
        "{dates:?}"
    );
}

#[test]
fn responses_that_are_sent_again_keep_their_dates() {
    let mut session = Session::open("1=http,size=10,idle=never");
    let mut conns = vec![session.conn];
    for _ in 0..6 {
        conns.push(connect(&mut session.client, session.now));
        session.settle();
    }
    // More seconds than there are copies of a response, and every one of them is lost.
    for &conn in &conns {
        let Session {
            client,
            server,
            now,
            ..
        } = &mut session;
        let sent = client.with_cx(*now, |_, cx| cx.send_bytes(conn, GET.as_bytes()));
        assert_eq!(sent, Ok(GET.len()));
        client.turn(*now);
        carry(client, server);
        server.turn(*now);
        drop(server.nic_mut().take_sent());
        *now = *now + Duration::from_secs(1);
    }
    for _ in 0..40 {
        session.settle();
    }
    let mut seen = dates(&session);
    for &conn in &conns[1..] {
        session.conn = conn;
        session.received.clear();
        session.read();
        seen.extend(dates(&session));
    }
    let is_sorted = seen.is_sorted_by(|a, b| a < b);
    assert!(seen.len() == conns.len() && is_sorted, "{seen:?}");
}
