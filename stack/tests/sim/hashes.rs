//! One hash per seed over all of its frames: two commits that claim the same behaviour have equal ones.
//!
//! It must never leave out anything that a wire carries: bytes, times, sender, receiver and fate.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use stack::sim::trace::Crossing;
use stack::time::Instant;

/// Seeds and their hashes, in the order in which the seeds ended.
static HASHES: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

fn file() -> Option<PathBuf> {
    env::var_os("SYNCLINE_FRAME_HASHES").map(PathBuf::from)
}

/// Whether hashes are asked for.
pub(crate) fn are_wanted() -> bool {
    file().is_some()
}

/// Keeps the hash of a seed's frames, if hashes are asked for.
pub(crate) fn keep(seed: u64, trace: &[Crossing]) {
    if !are_wanted() {
        return;
    }
    let hash = of_frames(trace);
    let mut hashes = HASHES.lock().unwrap_or_else(PoisonError::into_inner);
    hashes.push((seed, hash));
}

/// The hash of all frames.
pub(crate) fn of_frames(trace: &[Crossing]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for crossing in trace {
        hasher.write_u64(crossing.sent_at.as_ns());
        hasher.write_u64(crossing.arrives_at.map_or(u64::MAX, Instant::as_ns));
        hasher.write_u16(crossing.from.0);
        hasher.write_u16(crossing.to.map_or(u16::MAX, |to| to.0));
        hasher.write(format!("{:?}", crossing.fate).as_bytes());
        hasher.write(&crossing.bytes);
    }
    hasher.finish()
}

/// Writes all hashes, a line `SEED HASH` each, by seed.
///
/// # Panics
/// When the file can't be written.
pub(crate) fn write() {
    let Some(file) = file() else { return };
    let mut hashes = HASHES.lock().unwrap_or_else(PoisonError::into_inner);
    hashes.sort_unstable();
    let lines: String = hashes
        .iter()
        .map(|(seed, hash)| format!("{seed} {hash:016x}\n"))
        .collect();
    fs::write(&file, lines).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
}
