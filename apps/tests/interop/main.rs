//! Our endpoint and the programs that everybody has, over a tap, on links that are good, bad and very bad: curl, wrk, nc and a
//! Python client against `syncline serve`; `syncline load` against nginx and a Python server.
//!
//! All tests need root and /dev/net/tun, and run in network namespaces of their own. Byte streams are compared, every buffer
//! comes back. The bad links are ours: `--fault` with fixed seeds.
#![forbid(unsafe_code)]

// Our endpoint as a client.
#[path = "root_only/client.rs"]
mod root_only_client;
// Our endpoint as a server.
#[path = "root_only/server.rs"]
mod root_only_server;
// The heavy runs of scripts/soak, at a size for every day.
#[path = "root_only/soak.rs"]
mod root_only_soak;
// A running `syncline serve`.
#[expect(dead_code, reason = "the tests of serve use more of it")]
#[path = "../serve/server.rs"]
mod server;

use std::process::{Child, Command};

/// A good link, a bad one, a very bad one.
const LINKS: [&str; 3] = [
    "seed=1",
    "loss=1%,reorder=1%,dup=0.5%,corrupt=0.1%,seed=2",
    "loss=5%,reorder=5%,seed=3",
];

/// A file of these tests.
fn file(name: &str) -> String {
    format!("{}/tests/interop/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// How much to send over a link so that it takes seconds.
fn scaled(link: &str, bytes: usize) -> usize {
    match LINKS.iter().position(|other| *other == link) {
        Some(0) => bytes,
        Some(1) => bytes / 4,
        _ => bytes / 16,
    }
}

/// A program that runs beside the test, and is killed when the test is over.
struct Beside(Child);

impl Beside {
    fn start(command: &mut Command) -> Self {
        Self(
            command
                .spawn()
                .unwrap_or_else(|error| panic!("{command:?}: {error}")),
        )
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
