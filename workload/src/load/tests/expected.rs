//! Replies that are read in one step: they come to the same as those that are read in pieces.

use super::*;
use crate::load::checksum::RememberedBody;

const HELLO_CRC32C: &str = "crc32c:9a71bb4c";

/// A closed loop of 4 connections with this checksum.
fn summed_up(checksum: Option<&str>) -> LoadPlan {
    let mut plan = plan(Work::Request, Pace::Closed, 4);
    plan.requests[0].checksum = checksum.map(|text| text.parse().expect("a checksum"));
    plan
}

#[test]
fn a_whole_reply_is_read_in_one_step() {
    let mut stage = Stage::new(&summed_up(Some(HELLO_CRC32C)), &Server::default(), 0);
    stage.start();
    stage.world.run_for(Duration::from_millis(10));
    let hello = RememberedBody::of(b"hello");
    assert_eq!(stage.client().last_bodies[0], hello);
}

/// The counts after 100 ms of one reply and 100 ms of another one.
fn counts(plan: &LoadPlan, replies: [&'static [u8]; 2], piece: usize) -> LoadCounts {
    let server = Server {
        reply: replies[0],
        piece,
        ..Server::default()
    };
    let mut stage = Stage::new(plan, &server, 0);
    stage.start();
    stage.world.run_for(Duration::from_millis(100));
    stage.world.act(stage.server, 0, |end, _| match end {
        End::Server(server) => server.reply = replies[1],
        End::Load(_) => unreachable!("the server's host"),
    });
    stage.world.run_for(Duration::from_millis(100));
    stage.finish(Duration::from_secs(1))
}

#[test]
fn in_one_step_and_in_pieces_replies_are_judged_alike() {
    for (second, checksum) in [
        (REPLY, None),
        (REPLY, Some(HELLO_CRC32C)),
        (
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhullo"[..],
            None,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhullo",
            Some(HELLO_CRC32C),
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhell",
            Some(HELLO_CRC32C),
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            Some(HELLO_CRC32C),
        ),
        (
            b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nhello",
            Some(HELLO_CRC32C),
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
            None,
        ),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            None,
        ),
        (b"HTTP/1.1 101 Switch\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello?", None),
    ] {
        let plan = summed_up(checksum);
        let whole = counts(&plan, [REPLY, second], 0);
        let pieces = counts(&plan, [REPLY, second], 7);
        let text = String::from_utf8_lossy(second);
        assert!(whole.replies > 100, "{text}");
        let faults = |counts: &LoadCounts| {
            counts
                .by_fault()
                .map(|(fault, _)| fault)
                .collect::<Vec<_>>()
        };
        assert_eq!(faults(&whole), faults(&pieces), "{text}");
        let classes = |counts: &LoadCounts| counts.status_classes.map(|n| n > 0);
        assert_eq!(classes(&whole), classes(&pieces), "{text}");
        let mean = |counts: &LoadCounts| counts.bytes_in / counts.replies;
        if faults(&whole).is_empty() && second.len() == REPLY.len() {
            assert_eq!(
                (mean(&whole), mean(&pieces)),
                (REPLY.len() as u64, REPLY.len() as u64)
            );
        }
    }
}

#[test]
fn the_body_that_was_right_last_is_compared_and_any_other_summed_up() {
    let right = counts(&summed_up(Some(HELLO_CRC32C)), [REPLY, REPLY], 0);
    assert_eq!((right.failed_total(), right.completed), (0, right.begun));
    let wrong = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhullo";
    let half = counts(&summed_up(Some(HELLO_CRC32C)), [REPLY, wrong], 0);
    assert_eq!(
        half.failed[Fault::WrongContent as usize],
        half.failed_total()
    );
    assert!(
        half.failed_total() > 100 && half.completed > 100,
        "{half:?}"
    );
    assert_eq!(half.completed + half.failed_total(), half.begun);
}
