//! Every scenario over a tap, with the kernel at the other end.
//!
//! Each run makes a network namespace of its own.

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
    let text = all_is_well(&["run", "closed-port", "--over", "tap"], 3);
    for pairing in [
        "the server is ours",
        "the client is ours",
        "both ends are the kernel's",
    ] {
        assert!(text.contains(pairing), "{text}");
    }
    let text = all_is_well(&["run", "closed-port", "--over", "tap", "-6"], 3);
    assert!(text.contains("NDP who has 2001:db8::2?"), "{text}");
}

#[test]
#[ignore = "needs root"]
fn host_down_over_a_tap_quickly() {
    let text = all_is_well(&["run", "host-down", "--over", "tap", "--quick"], 5);
    assert!(text.contains("\n  net/ipv4/neigh/"), "{text}");
}

#[test]
#[ignore = "needs root"]
fn app_blocked_over_a_tap() {
    let client = all_is_well(
        &["run", "app-blocked", "--over", "tap", "--role", "client"],
        6,
    );
    assert!(client.contains("SYN,ACK again"), "{client}");
    all_is_well(
        &["run", "app-blocked", "--over", "tap", "--role", "server"],
        4,
    );
}

#[test]
#[ignore = "needs root"]
fn early_close_over_a_tap_with_the_kernels_counters() {
    let text = all_is_well(&["run", "early-close", "--over", "tap"], 9);
    assert!(text.contains("TcpExtTCPAbortOnClose +1"), "{text}");
    assert!(text.contains("TcpExtTCPAbortOnData +1"), "{text}");
}

/// The network loses, delays and damages frames, forges segments and answers for others, between two kernels as for us.
#[test]
#[ignore = "needs root"]
fn a_bad_network_over_a_tap() {
    let args = ["run", "lossy-link", "injected-segments", "--over", "tap"];
    let text = all_is_well(&args, 33);
    assert!(text.contains("network degrades frames") && text.contains("RST (forged)"));
}

/// Hosts lose their power and boot again, cables are pulled, machines stand still.
#[test]
#[ignore = "needs root"]
fn hosts_fail_over_a_tap() {
    let args = ["run", "power-loss", "connect-timeout", "--over", "tap"];
    let text = all_is_well(&args, 12);
    assert!(text.contains("the host boots, and knows nothing"), "{text}");
}

/// A user makes a user namespace for it, where the system lets them; otherwise it says what to do.
#[test]
#[ignore = "needs root"]
fn without_root_it_plays_over_a_tap_or_says_what_to_do() {
    // A copy that everybody may run, wherever the build directory is.
    let copy =
        std::env::temp_dir().join(format!("syncline-lab-unprivileged-{}", std::process::id()));
    std::fs::copy(env!("CARGO_BIN_EXE_syncline"), &copy).expect("room for a copy");
    let as_nobody = |program: &std::path::Path| {
        let mut command = Command::new(program);
        command.current_dir("/").uid(65_534).gid(65_534);
        command
    };
    let may = as_nobody("unshare".as_ref()).args(["-rn", "true"]).output();
    let may = may.is_ok_and(|output| output.status.success());
    let output = as_nobody(&copy)
        .args(["lab", "run", "closed-port", "--over", "tap"])
        .output();
    std::fs::remove_file(&copy).expect("it was made");
    let output = output.expect("it runs");
    let (said, text) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    if may {
        assert!(output.status.success(), "{said}\n{text}");
        assert_eq!(said.matches("expectations met").count(), 3, "{said}");
    } else {
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains("run as root") && text.contains("play it in simulation"),
            "{text}"
        );
    }
}

/// tcpdump at the taps of two kernels sees each segment of the ladder, and when it was sent.
#[test]
#[ignore = "needs root"]
fn the_times_of_a_ladder_are_those_of_tcpdump() {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/times.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_syncline"))
        .output()
        .expect("python3 runs");
    let (said, text) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}{text}");
}
