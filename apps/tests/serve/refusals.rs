//! Missing devices and bad flags are refused before anything is started: one line with cause and fix, exit status not 0.

use std::process::{Command, Stdio};

use crate::server::syncline;

/// The one line with which `serve` refuses `flags`.
pub(crate) fn refusal(flags: &[&str], status: i32) -> String {
    let output = syncline()
        .arg("serve")
        .args(flags)
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{flags:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{flags:?}: no result");
    assert_eq!(stderr.lines().count(), 1, "{flags:?}: one line\n{stderr}");
    assert!(stderr.starts_with("error: "), "{stderr}");
    stderr
}

const IP: [&str; 2] = ["--ip", "198.18.0.2/24"];

#[test]
fn each_mistake_is_one_line_with_cause_and_fix() {
    for (flags, part, status) in [
        (&["--nic", "ring"][..], "use `syncline bench`", 2),
        (&["--nic", "eth0"], "unknown NIC", 2),
        (&["--nic", "tap:a/b"], "holds a slash", 2),
        (&["--nic", "af_xdp:no-such-if0"], "no interface", 1),
        (&["--nic", "pci:ffff:ff:1f.7"], "there is no such device", 1),
        (
            &["--nic", "net_nonsense0"],
            "DPDK has no driver for net_nonsense0",
            1,
        ),
        (
            &["--nic", "memif:/no/such/dir/a.sock,server"],
            "doesn't exist",
            1,
        ),
        (
            &["--nic", "memif:/tmp/syncline-nobody.sock"],
            "no process serves",
            1,
        ),
        (
            &["--nic", "net_null0", "--cpus", "4095"],
            "no such lcore: CPU 4095",
            2,
        ),
        (
            &["--nic", "net_null0", "--hugepages", "64m"],
            "too few hugepages",
            1,
        ),
        (
            &["--nic", "net_null0", "--pcap", "/proc/no/such"],
            "can't be written",
            2,
        ),
        (
            &["--nic", "net_null0", "--tap-up", "198.18.0.1/24"],
            "--tap-up applies only to --nic tap",
            2,
        ),
        (
            &["--nic", "net_null0", "--unshare"],
            "--unshare applies only to --nic tap",
            2,
        ),
        (
            &["--nic", "net_null0", "--listen", "80,80"],
            "two listeners",
            2,
        ),
    ] {
        let text = refusal(&[flags, &IP].concat(), status);
        assert!(text.contains(part), "{flags:?}: {text}");
    }
}

/// A start that is killed before EAL has begun leaves an empty directory; the next start removes it, and nothing else.
#[test]
fn directories_of_ended_processes_go_at_the_next_start() {
    let place = std::env::temp_dir().join(format!("syncline-left-{}", std::process::id()));
    let make = |name: &str| {
        let path = place.join("dpdk").join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        path
    };
    // No process has a number above PID_MAX_LIMIT.
    let empty = make("syncline-4194305");
    let used = make("syncline-4194306");
    std::fs::write(used.join("config"), "").expect("a file");
    let living = make(&format!("syncline-{}", std::process::id()));
    let another = make("rte-4194305");
    let output = syncline()
        .args(["serve", "--nic", "net_null0", "--eal=--vdev=net_nonsense0"])
        .args(IP)
        .env("RUNTIME_DIRECTORY", &place)
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!empty.exists());
    for path in [used, living, another] {
        assert!(path.exists(), "{path:?}");
    }
    std::fs::remove_dir_all(&place).expect("it was made");
}

/// EAL keeps files of its own, and leaves them when it fails.
#[test]
fn a_failed_start_leaves_no_files() {
    let place = std::env::temp_dir().join(format!("syncline-runtime-{}", std::process::id()));
    std::fs::create_dir_all(&place).expect("a directory");
    for eal in [
        &["--bogus"][..],
        &["-m", "100000000"],
        &["--vdev=net_nonsense0"],
        &["--no-huge", "-m", "64"],
        &["--no-huge", "-m", "64", "--no-shconf"],
    ] {
        let output = syncline()
            .args(["serve", "--nic", "net_null0"])
            .args(IP)
            .args(eal.iter().map(|argument| format!("--eal={argument}")))
            .env("RUNTIME_DIRECTORY", &place)
            .output()
            .expect("it runs");
        // An argument that EAL does not know is wrong usage, the rest is not there.
        let status = if eal == ["--bogus"] { 2 } else { 1 };
        assert_eq!(output.status.code(), Some(status), "{eal:?}: {output:?}");
        let left = std::fs::read_dir(place.join("dpdk"));
        let left: Vec<_> = left.into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "{eal:?}: {left:?}");
    }
    std::fs::remove_dir_all(&place).expect("it was made");
}

#[test]
fn mistakes_in_what_goes_to_dpdk_are_not_left_to_dpdk() {
    for (flags, part) in [
        (
            &["--nic", "net_null0", "--eal", "--nonsense"][..],
            "DPDK rejects an --eal argument: unrecognized option '--nonsense'",
        ),
        (
            &["--nic", "net_null0", "--eal", "--help"],
            "would print EAL's usage",
        ),
        (
            &["--nic", "memif:/tmp/syncline-nobody.sock,server,rsize=20"],
            "20: must be 1 to 14",
        ),
        (
            &["--nic", "memif,rsize=9"],
            "the path of the socket is missing",
        ),
    ] {
        let text = refusal(&[flags, &IP].concat(), 2);
        assert!(text.contains(part), "{flags:?}: {text}");
    }
}

#[test]
fn an_address_of_the_kernel_is_refused() {
    let text = refusal(&["--nic", "net_null0", "--ip", "127.0.0.1/8"], 2);
    assert!(text.contains("the kernel owns 127.0.0.1 (on lo)"), "{text}");
}

#[test]
fn a_memif_socket_in_use_is_refused() {
    let directory = std::env::temp_dir().join(format!("syncline-serve-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join("used.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    let nic = format!("memif:{},server", path.display());
    let text = refusal(&["--nic", &nic, "--ip", "198.18.0.2/24"], 1);
    assert!(
        text.contains("is served by another process already"),
        "{text}"
    );
    drop(listener);
    std::fs::remove_dir_all(&directory).expect("it was made");
}

#[test]
fn a_limit_of_addresses_is_named_with_its_fix() {
    // Too little for EAL, for the pools, and for the tables.
    for limit_kb in [100_000, 250_000, 420_000] {
        let binary = env!("CARGO_BIN_EXE_syncline");
        let serve = format!(
            "ulimit -v {limit_kb}; exec {binary} serve --nic net_null0 --ip 198.18.0.2/24 --duration 1s"
        );
        let output = Command::new("sh").args(["-c", &serve]).output();
        let output = output.expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{limit_kb}: {stderr}");
        assert!(output.stdout.is_empty(), "no result");
        let last = stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: no memory for "), "{stderr}");
        assert!(
            last.contains("`ulimit -v unlimited` lifts that"),
            "{stderr}"
        );
    }
}
