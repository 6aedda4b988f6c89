//! Thousands of worlds, each drawn from a seed: byte streams equal, nothing stuck, nothing leaked, every frame right.
//!
//! `SYNCLINE_SEEDS=n` runs n seeds (2,000 otherwise, from `SYNCLINE_FIRST_SEED` or 0 on), `SYNCLINE_SEED=n` runs the one
//! and leaves its frames in `target/sim-seed-n.pcap` (docs/guide/replay.md). `SYNCLINE_FRAME_HASHES=FILE` writes a hash
//! of every seed's frames into FILE (`scripts/same-frames`). It must never depend on the machine: a seed that fails here
//! fails everywhere at this commit.
#![forbid(unsafe_code)]

#[path = "sim/actor.rs"]
mod actor;
#[path = "sim/alike.rs"]
mod alike;
#[path = "sim/both_ways.rs"]
mod both_ways;
#[path = "sim/capture.rs"]
mod capture;
#[path = "sim/draw.rs"]
mod draw;
#[path = "sim/hashes.rs"]
mod hashes;
#[path = "sim/intruder.rs"]
mod intruder;
#[path = "sim/narrow.rs"]
mod narrow;
#[path = "sim/plan.rs"]
mod plan;
#[path = "sim/scarce.rs"]
mod scarce;
#[path = "sim/stage.rs"]
mod stage;
#[path = "sim/trouble.rs"]
mod trouble;
#[path = "sim/wraps.rs"]
mod wraps;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stack::config::FastPath;
use stack::local::listener::{ListenerConfig, SynPolicy};
use stack::sim::host::HostSpec;
use stack::time::Instant;
use stack::wire::vlan::VlanId;

use plan::{Content, End, FIRST_PORT, Plan, Side};
use stage::{Manners, Stage};

/// Virtual time after which a connection counts as stuck.
const LIMIT: Duration = Duration::from_secs(1800);

/// Seeds in whose frames all numbers wrapped.
static WRAPPED: AtomicU64 = AtomicU64::new(0);

/// Forged segments that met a parked connection.
static FORGED_AT_REST: AtomicU64 = AtomicU64::new(0);
/// Forged segments that met a client in SYN-SENT.
static FORGED_IN_SYN_SENT: AtomicU64 = AtomicU64::new(0);

/// Forged segments with the right numbers from another VLAN.
static FORGED_ELSEWHERE: AtomicU64 = AtomicU64::new(0);

/// Paths that were found to carry less than the link.
static PATHS_LOWERED: AtomicU64 = AtomicU64::new(0);
/// Paths that swallowed large segments in silence, and were found out.
static BLACK_HOLES: AtomicU64 = AtomicU64::new(0);

/// Segments that large ones were taken apart into.
static TAKEN_APART: AtomicU64 = AtomicU64::new(0);

/// Connections that gave way to others.
static EVICTED: AtomicU64 = AtomicU64::new(0);
/// Neighbours that did.
static NEIGHBORS_EVICTED: AtomicU64 = AtomicU64::new(0);

/// Failures shown; the others are counted.
const SHOWN: usize = 5;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
    )
}

/// The faults of a seed, panics included.
fn run(seed: u64, record: bool) -> Vec<String> {
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let mut stage = draw::draw(seed, FastPath::On);
        let looks = wraps::is_due(seed) || stage.intruder.is_some();
        stage.world.record(record || looks || hashes::are_wanted());
        let mut wrong = stage.judge(LIMIT);
        hashes::keep(seed, stage.world.trace());
        if let Some(intruder) = &stage.intruder {
            FORGED_ELSEWHERE.fetch_add(intruder.sent_elsewhere, Ordering::Relaxed);
            FORGED_AT_REST.fetch_add(stage.refused_while_parked, Ordering::Relaxed);
            FORGED_IN_SYN_SENT.fetch_add(stage.refused_in_syn_sent, Ordering::Relaxed);
        }
        EVICTED.fetch_add(stage.evicted, Ordering::Relaxed);
        NEIGHBORS_EVICTED.fetch_add(stage.neighbors_evicted, Ordering::Relaxed);
        PATHS_LOWERED.fetch_add(stage.paths_lowered, Ordering::Relaxed);
        TAKEN_APART.fetch_add(stage.taken_apart, Ordering::Relaxed);
        BLACK_HOLES.fetch_add(stage.black_holes, Ordering::Relaxed);
        if wraps::is_due(seed)
            && let Some(missing) = stage.missing_wraps()
        {
            WRAPPED.fetch_add(u64::from(missing.is_empty()), Ordering::Relaxed);
            wrong.extend(missing);
        }
        if !wrong.is_empty() {
            let intruded = if stage.intruder.is_some() {
                ", an intruder"
            } else {
                ""
            };
            wrong.push(format!("with {:?}{intruded}", stage.troubles));
        }
        if record {
            capture::write(seed, stage.world.trace());
        }
        wrong
    }));
    judged.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        vec![format!("panic: {}", text.unwrap_or_default())]
    })
}

fn commit() -> String {
    let output = std::process::Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|_| "unknown".into())
}

/// Clients on both sides fill their halves with what the other side's echo can't send, for its half is filled by its own
/// clients: with a place for each connection that has none, no connection waits for another (docs/decisions/0017).
#[test]
fn echoes_both_ways_through_few_places() {
    let side = |content| Side {
        content,
        len: 30_000,
        chunk_len: 100,
        read_len: u32::MAX,
        takes: false,
        pause: None,
        end: End::Shutdown,
        nagle: true,
    };
    let host = |number| {
        let mut host = HostSpec::new(number);
        host.config.limits.queue_items = 32;
        host.config.listeners = (FIRST_PORT..FIRST_PORT + 4)
            .map(|port| ListenerConfig {
                backlog: 4,
                ..ListenerConfig::new(port, SynPolicy::Embryo)
            })
            .collect();
        host
    };
    let plan = |n: u16| Plan {
        client_at: (n % 2, 0),
        client_address: HostSpec::v4(n as u8 % 2 + 1),
        client_port: None,
        server_host: 1 - n % 2,
        server: (HostSpec::v4(2 - n as u8 % 2), FIRST_PORT + n).into(),
        vlan: VlanId::UNTAGGED,
        starts_after: Duration::ZERO,
        accepts_after: Duration::ZERO,
        sides: [side(Content::Static), side(Content::Echo)],
        may_be_refused: false,
        may_be_evicted: false,
        is_lossy: false,
        is_reordered: false,
    };
    let (hosts, plans) = ([host(1), host(2)], (0..4).map(plan).collect());
    let mut stage = Stage::new(1, Instant::from_ms(1000), &hosts, plans, Manners::default());
    assert_eq!(stage.judge(LIMIT), Vec::<String>::new());
}

#[test]
fn every_seed_ends_with_equal_streams_and_nothing_left() {
    if let Some(seed) = number("SYNCLINE_SEED") {
        let wrong = run(seed, true);
        assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
        return;
    }
    let seeds = number("SYNCLINE_SEEDS").unwrap_or(2_000);
    let first = number("SYNCLINE_FIRST_SEED").unwrap_or(0);
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let work = || {
        let mut failed = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return failed;
            }
            let wrong = run(seed, false);
            if !wrong.is_empty() {
                failed.push((seed, wrong));
            }
        }
    };
    let mut failed: Vec<(u64, Vec<String>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined
            .flat_map(|failed| failed.expect("no panic outside of a seed"))
            .collect()
    });
    failed.sort();
    hashes::write();
    let shown: Vec<String> = failed
        .iter()
        .take(SHOWN)
        .map(|(seed, wrong)| {
            let first: Vec<String> = wrong
                .iter()
                .take(4)
                .map(|w| w.chars().take(600).collect())
                .collect();
            format!(
                "SYNCLINE_SEED={seed} cargo test -p syncline-stack --test sim_seeds\n  {}",
                first.join("\n  ")
            )
        })
        .collect();
    let numbers: Vec<u64> = failed.iter().map(|(seed, _)| *seed).collect();
    assert!(
        failed.is_empty(),
        "{} of {seeds} seeds failed at commit {}: {numbers:?}\n{}",
        failed.len(),
        commit(),
        shown.join("\n")
    );
    judge_totals(seeds);
}

/// Whether the seeds together met what they are to meet.
fn judge_totals(seeds: u64) {
    let (due, wrapped) = (seeds / 3, WRAPPED.load(Ordering::Relaxed));
    println!("{wrapped} of {seeds} seeds wrapped all numbers");
    assert!(wrapped * 100 >= due * 99, "a third of them should");
    let at_rest = FORGED_AT_REST.load(Ordering::Relaxed);
    let in_syn_sent = FORGED_IN_SYN_SENT.load(Ordering::Relaxed);
    let elsewhere = FORGED_ELSEWHERE.load(Ordering::Relaxed);
    println!(
        "{at_rest} forged segments met parked connections, {in_syn_sent} clients in SYN-SENT; {elsewhere} came from other VLANs"
    );
    let lowered = PATHS_LOWERED.load(Ordering::Relaxed);
    let holes = BLACK_HOLES.load(Ordering::Relaxed);
    println!("{lowered} paths were found to be smaller, {holes} of them in silence");
    let taken_apart = TAKEN_APART.load(Ordering::Relaxed);
    println!("{taken_apart} segments came out of large ones");
    let evicted = EVICTED.load(Ordering::Relaxed);
    let neighbors = NEIGHBORS_EVICTED.load(Ordering::Relaxed);
    println!("{evicted} connections and {neighbors} neighbours gave way to others");
    if seeds >= 1_000 {
        assert!(at_rest > 100 && in_syn_sent > 100, "intruders met too few");
        assert!(elsewhere > 100, "{elsewhere}");
        assert!(lowered > 100 && holes > 50, "too few small paths");
        assert!(taken_apart > 1_000, "too few large segments");
        assert!(evicted > 50 && neighbors > 500, "too little want");
    }
}
