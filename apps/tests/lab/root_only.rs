//! Every scenario over a tap, with the kernel at the other end.
//!
//! Called by: scripts/test, as root. Each run makes a network namespace of its own.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::printed;

/// Plays it and checks that each scene said that all was well.
fn all_is_well(args: &[&str], scenes: usize) -> String {
    let text = printed(args);
    assert_eq!(text.matches("expectations met").count(), scenes, "{text}");
    assert!(text.contains("(kernel)"), "{text}");
    text
}

#[test]
#[ignore = "needs root"]
fn closed_port_over_a_tap() {
    let text = all_is_well(&["run", "closed-port", "--over", "tap"], 2);
    assert!(text.contains("(the server is ours)") && text.contains("(the client is ours)"));
    let text = all_is_well(&["run", "closed-port", "--over", "tap", "-6"], 2);
    assert!(text.contains("NDP who has 2001:2:0:1::2?"), "{text}");
}

#[test]
#[ignore = "needs root"]
fn host_down_over_a_tap_quickly() {
    let text = all_is_well(&["run", "host-down", "--over", "tap", "--quick"], 3);
    assert!(text.contains("pinned: net/ipv4/neigh/"), "{text}");
}

#[test]
#[ignore = "needs root"]
fn app_blocked_over_a_tap() {
    let client = all_is_well(
        &["run", "app-blocked", "--over", "tap", "--role", "client"],
        4,
    );
    assert!(client.contains("SYN,ACK again"), "{client}");
    all_is_well(
        &["run", "app-blocked", "--over", "tap", "--role", "server"],
        3,
    );
}

#[test]
#[ignore = "needs root"]
fn without_permission_a_tap_says_what_to_do() {
    // A copy that everybody may run, wherever the build directory is.
    let copy =
        std::env::temp_dir().join(format!("syncline-lab-unprivileged-{}", std::process::id()));
    std::fs::copy(env!("CARGO_BIN_EXE_syncline"), &copy).expect("room for a copy");
    let output = Command::new(&copy)
        .args(["lab", "run", "closed-port", "--over", "tap"])
        .current_dir("/")
        .uid(65_534)
        .gid(65_534)
        .output();
    std::fs::remove_file(&copy).expect("it was made");
    let output = output.expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("run as root, or play it in simulation"),
        "{text}"
    );
}
