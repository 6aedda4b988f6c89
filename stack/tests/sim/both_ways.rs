//! Worlds with and without the fast path: the same frames at the same times in the same order, and the same counts.
//!
//! It must never pass without having seen the fast path work: for each state, role, family, tagged or not, it counts the segments
//! that were predicted.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use stack::config::FastPath;
use stack::tcp::state::{STATE_COUNT, State};

use crate::alike::{CLIENT, Kind};
use crate::{LIMIT, draw, hashes};

/// Seeds whose worlds are compared as they are drawn.
const DRAWN_SEEDS: u64 = 200;
/// Seeds whose worlds are compared once all of their connections are of one kind.
const ALIKE_SEEDS: u64 = 120;

/// Segments that were predicted, by state.
type Predicted = [u64; STATE_COUNT];

/// The results that are the same with every fast path: the hash of all frames, and all counters.
type Same = (u64, Vec<String>);

/// A seed with this fast path: what is the same with every one, and the segments that were predicted on each host.
fn counted(seed: u64, kind: Option<Kind>, fast_path: FastPath) -> (Same, Vec<Predicted>) {
    let mut stage = draw::draw_kind(seed, kind, fast_path);
    stage.world.record(true);
    let wrong = stage.judge(LIMIT);
    assert!(
        wrong.is_empty(),
        "seed {seed}, {kind:?}, {fast_path:?}: {wrong:?}"
    );
    let frames = hashes::of_frames(stage.world.trace());
    ((frames, stage.counted), stage.predicted)
}

/// Runs a seed without the fast path, with it, and with it for half of all segments; all must be the same. Says what was predicted
/// on each host.
fn compared(seed: u64, kind: Option<Kind>) -> Vec<Predicted> {
    let (general, none) = counted(seed, kind, FastPath::Off);
    assert_eq!(none.concat().iter().sum::<u64>(), 0, "off is off");
    let mut sums = none;
    for fast_path in [FastPath::On, FastPath::Random(seed)] {
        let (fast, predicted) = counted(seed, kind, fast_path);
        let differs = "other frames than without the fast path";
        assert_eq!(fast.0, general.0, "seed {seed}, {fast_path:?}: {differs}");
        assert_eq!(fast.1, general.1, "seed {seed}, {fast_path:?}");
        for (sum, predicted) in sums.iter_mut().zip(&predicted) {
            add(sum, predicted);
        }
    }
    sums
}

fn add(sum: &mut Predicted, more: &Predicted) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
}

/// Calls `work` for `0..seeds`, on all cores.
fn for_all(seeds: u64, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    work(seed);
                }
            });
        }
    });
}

#[test]
fn the_fast_path_changes_no_frame_and_no_counter() {
    let predicted = Mutex::new([0; STATE_COUNT]);
    for_all(DRAWN_SEEDS, |seed| {
        let sums = compared(seed, None);
        let mut predicted = predicted.lock().expect("no panic");
        for sum in &sums {
            add(&mut predicted, sum);
        }
    });
    let predicted = predicted.into_inner().expect("no panic");
    for (state, least) in [
        (State::SynSent, 1_000),
        (State::SynReceivedPassive, 1_000),
        (State::Established, 10_000),
        (State::FinWait1, 1_000),
        (State::FinWait2, 3_000),
        (State::CloseWait, 3_000),
        (State::LastAck, 1_000),
    ] {
        let hits = predicted[state as usize];
        println!("{state}: {hits} segments predicted");
        assert!(hits >= least, "{state}: {hits}, too few to say anything");
    }
}

#[test]
fn nor_does_it_in_any_state_role_or_family_tagged_or_not() {
    // By kind, then for clients and servers.
    let predicted = Mutex::new([[[0; STATE_COUNT]; 2]; Kind::ALL.len()]);
    for_all(ALIKE_SEEDS, |seed| {
        let at = (seed % Kind::ALL.len() as u64) as usize;
        let sums = compared(seed, Some(Kind::ALL[at]));
        let [clients, servers] = &mut predicted.lock().expect("no panic")[at];
        for (host, sum) in (0..).zip(&sums) {
            add(if host == CLIENT { clients } else { servers }, sum);
        }
    });
    let both = [
        State::Established,
        State::FinWait1,
        State::FinWait2,
        State::CloseWait,
        State::LastAck,
    ];
    let of_client = both.iter().chain(&[State::SynSent]);
    let of_server = both.iter().chain(&[State::SynReceivedPassive]);
    let predicted = predicted.into_inner().expect("no panic");
    for (kind, [clients, servers]) in Kind::ALL.iter().zip(predicted) {
        for (role, states, hits) in [
            ("clients", of_client.clone(), clients),
            ("servers", of_server.clone(), servers),
        ] {
            for &state in states {
                let hits = hits[state as usize];
                println!("{kind:?}, {role} in {state}: {hits} segments predicted");
                assert!(
                    hits >= 50,
                    "{kind:?}, {role} in {state}: {hits}, too few to say anything"
                );
            }
        }
    }
}
