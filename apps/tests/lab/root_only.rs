//! Every scenario over a tap, with the kernel at the other end.
//!
//! Each run makes a network namespace of its own.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

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

/// Processes with this parent that haven't ended, with the letter of their state.
fn children(parent: u32) -> Vec<(u32, char)> {
    let numbers = std::fs::read_dir("/proc").expect("it is there").flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter_map(|number| {
            let (state, its_parent) = state(number)?;
            (its_parent == parent && state != 'Z').then_some((number, state))
        })
        .collect()
}

/// The letter of the state of a process, and its parent (proc(5), stat).
fn state(number: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    let mut words = stat.rsplit_once(") ")?.1.split(' ');
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}

/// The program at a kernel's end ends with a lab that is killed, even while it is stopped.
#[test]
#[ignore = "needs root"]
fn a_stopped_program_does_not_outlive_a_killed_lab() {
    let file = std::env::temp_dir().join(format!("syncline-lab-frozen-{}.lab", std::process::id()));
    let scene = "name: frozen\nsymptom: none\nlayer: host\nrfc: none\nshows:\n  A server that stands still.\n\nscene: Frozen\n  listens 4\n  \
                 at 0 client connects 1\n  at 100 server freezes\n  client sees ETIMEDOUT\n  lasts 60000\n";
    std::fs::write(&file, scene).expect("room");
    let mut lab = Command::new(env!("CARGO_BIN_EXE_syncline"))
        .args(["lab", "run"])
        .arg(&file)
        .args(["--over", "tap", "--role", "none"])
        .spawn()
        .expect("it starts");
    let mut programs = Vec::new();
    while !programs.iter().any(|(_, state)| *state == 'T') {
        std::thread::sleep(Duration::from_millis(20));
        programs = children(lab.id());
        let ended = lab.try_wait().expect("it is ours");
        assert_eq!(ended, None, "it plays for a minute");
    }
    lab.kill().expect("it runs");
    lab.wait().expect("it is ours");
    std::fs::remove_file(&file).expect("it was written");
    let lives = |number| state(number).is_some_and(|(letter, _)| letter != 'Z');
    // The kernel ends them at once; a busy machine may take a while to let it.
    for _ in 0..1_000 {
        programs.retain(|(number, _)| lives(*number));
        if programs.is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{programs:?} outlived the lab");
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
