//! A test program a second time, without the fast path: what it judges must come out the same.
//!
//! It must never be asked for by a test that it runs again.

use std::process::Command;

use stack::config::FastPath;

/// Set to anything, it takes the fast path from the hosts of these tests.
const WITHOUT: &str = "SYNCLINE_WITHOUT_FAST_PATH";

/// The fast path of the hosts of these tests.
pub(crate) fn fast_path() -> FastPath {
    match std::env::var_os(WITHOUT) {
        None => FastPath::On,
        Some(_) => FastPath::Off,
    }
}

/// Runs all tests of this program without the fast path, but the one that asks for it.
pub(crate) fn run_all_but(asking: &str) {
    let program = std::env::current_exe().expect("the path of this program");
    let again = Command::new(program)
        .args(["--skip", asking])
        .env(WITHOUT, "1")
        .output();
    let again = again.expect("it can be started");
    assert!(
        again.status.success(),
        "without the fast path ({WITHOUT}=1):\n{}{}",
        String::from_utf8_lossy(&again.stdout),
        String::from_utf8_lossy(&again.stderr)
    );
}
