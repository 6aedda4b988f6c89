//! The two exchanges of a benchmark as plans of the load generator: complete HTTP connections, and one byte there and back.
//!
//! It must never leave a reply unverified.

use core::net::SocketAddr;

use crate::connect::Shape;
use crate::http;
use crate::load::{
    BodyChecksum, CloseMode, LoadPlan, LocalTuples, Opening, ReplyPlan, RequestPlan, Template, Work,
};

/// The bytes that requests of one byte have: one that was answered on another connection is most likely another one.
const BYTES: core::ops::RangeInclusive<u8> = b'a'..=b'p';

/// So many complete connections at a time to an HTTP server: each is opened, asked once, answered with `body`, and closed.
#[must_use]
pub fn complete_connections(
    (target, sources): (SocketAddr, LocalTuples),
    shape: Shape,
    connections: u32,
    body: &[u8],
) -> LoadPlan {
    let close = match shape {
        Shape::Piggyback => CloseMode::Peer,
        Shape::Plain => CloseMode::Fin,
    };
    LoadPlan {
        requests: vec![RequestPlan {
            target: 0,
            weight: 1,
            bytes: Template::fixed(&http::request()),
            reply: ReplyPlan::Http { to_head: false },
            checksum: Some(BodyChecksum::crc32c_of(body)),
        }],
        times_steps: false,
        apart: shape == Shape::Plain,
        accepted: 200..=200,
        tuples: Some(sources),
        ..LoadPlan::closed_loop(target, Work::Connect(close), connections)
    }
}

/// Places in the queues for each of the connections of [`single_bytes`]. A reply keeps one until it is acknowledged, and while more
/// than a sixteenth of all are taken the worker asks which connection could give way.
const PLACES_EACH: u32 = 16;

/// Connections whose replies wait for their ACKs, at most: ten million requests a second for 40 ms, and some.
const UNACKED_MAX: u32 = 1 << 19;

/// How many places in the queues ([`stack::config::Limits::queue_items`]) either end of [`single_bytes`] needs for so many
/// connections.
#[must_use]
pub fn queue_items(connections: u32) -> u32 {
    PLACES_EACH * connections.min(UNACKED_MAX)
}

/// So many connections to an echo server, which are all opened first; then `under_way` of them at a time are asked, each chosen at
/// random. `seed` decides which.
#[must_use]
pub fn single_bytes(
    (target, sources): (SocketAddr, LocalTuples),
    connections: u32,
    under_way: u32,
    seed: u64,
) -> LoadPlan {
    let request = |byte| RequestPlan {
        target: 0,
        weight: 1,
        bytes: Template::fixed(&[byte]),
        reply: ReplyPlan::Exact([byte].into()),
        checksum: None,
    };
    LoadPlan {
        requests: BYTES.map(request).collect(),
        keeps_all: true,
        opening: Some(Opening {
            rate_rps: None,
            under_way_max: under_way,
            closing_max: under_way,
        }),
        operations: under_way,
        at_random: true,
        times_steps: false,
        tuples: Some(sources),
        seed,
        ..LoadPlan::closed_loop(target, Work::Request, connections)
    }
}
