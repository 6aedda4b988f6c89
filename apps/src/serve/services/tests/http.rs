//! The http service, as its peers see it.

use super::Session;

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
    assert!(
        session.text().starts_with("HTTP/1.1 405 "),
        "{}",
        session.text()
    );
    session.send(&[b'x'; 2_990]);
    session.send(format!("{}{GET}", "x".repeat(10)).as_bytes());
    assert_eq!(session.text().matches(BODY).count(), 1);
    assert_eq!(session.stats().refused_requests, 1);
}

#[test]
fn ends_a_connection_when_either_side_wants_it() {
    let last = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    for (listen, request) in [("1=http,size=10", last), ("1=http,size=10,close", GET)] {
        let mut session = Session::open(listen);
        session.send(request.as_bytes());
        let text = session.text();
        assert!(
            text.ends_with(BODY) && text.contains("\r\nConnection: close\r\n"),
            "{text}"
        );
        session.ends_in_order();
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
    assert!(!session.client.app().peer_closed);
    for _ in 0..10 {
        session.settle();
    }
    assert!(session.client.app().peer_closed);
}

#[test]
fn at_the_end_it_answers_what_was_begun_and_says_that_it_was_the_last() {
    let mut session = Session::open("1=http,size=10");
    let (first, second) = GET.split_at(12);
    session.send(first.as_bytes());
    session.finish();
    assert!(!session.client.app().peer_closed);
    session.send(second.as_bytes());
    let text = session.text();
    assert!(
        text.ends_with(BODY) && text.contains("\r\nConnection: close\r\n"),
        "{text}"
    );
    session.ends_in_order();
}

#[test]
fn sends_on_when_its_peer_reads_on() {
    for size in [60_000, 3_000_000] {
        let mut session = Session::open(&format!("1=http,size={size}"));
        session.client.app_mut().reads = 1;
        // More than send queue and window take.
        session.send(GET.repeat(200).as_bytes());
        assert!(session.stats().requests < 200);
        session.read_on();
        while session.received().len() < 10 * size {
            let before = session.received().len();
            session.settle();
            assert!(session.received().len() > before, "{before}");
        }
    }
}
