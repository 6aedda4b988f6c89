//! Links that do less than a NIC, and those that are not ours to take.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::connect;
use crate::server::{counter, in_namespace, run, syncline};

/// `ethtool -K DEV tx off`, for machines without ethtool (ETHTOOL_STXCSUM, linux/ethtool.h).
const TX_OFF: &str = "
import array, fcntl, socket, struct, sys
value = array.array('B', struct.pack('II', 0x17, 0))
request = struct.pack('16sP', sys.argv[1].encode(), value.buffer_info()[0])
fcntl.ioctl(socket.socket(), 0x8946, request)
";

/// Runs `serve` on one end of a veth pair for some seconds, and `test` meanwhile. The summary, and what it logged.
fn on_veth(nic: &str, test: impl FnOnce()) -> (Value, String) {
    let child = syncline()
        .args(["serve", "--nic", nic, "--ip", "198.18.7.2/24"])
        .args(["--listen", "80=http", "--duration", "4", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    run("ping -c 1 -w 3 198.18.7.2");
    test();
    let output = child.wait_with_output().expect("it was started");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    let summary = serde_json::from_slice(&output.stdout).expect("JSON");
    (summary, log)
}

fn make_veth() {
    run("ip link add veth0 type veth peer name veth1");
    run("ip link set veth0 up");
    run("ip link set veth1 up");
    run("ip addr add 198.18.7.1/24 dev veth1");
}

fn is_open() -> bool {
    let address = "198.18.7.2".parse().expect("an address");
    connect(address, 80, Duration::from_millis(1500)).is_ok()
}

#[test]
#[ignore = "needs root"]
fn a_peer_that_leaves_checksums_to_its_nic_is_named_with_the_remedy() {
    in_namespace(|| {
        make_veth();
        let nic = "net_af_packet0,iface=veth0";
        let (summary, log) = on_veth(nic, || assert!(!is_open(), "no checksum is right"));
        let remedy = "`ethtool -K DEV tx off`";
        assert!(
            counter(&summary, "tcp_checksum_offloaded") >= 2,
            "{summary}"
        );
        assert_eq!(counter(&summary, "tcp_checksum"), 0, "{summary}");
        let notes = summary["notes"].as_array().expect("a list");
        assert!(
            notes.len() == 1 && notes[0].to_string().contains(remedy),
            "{notes:?}"
        );
        assert_eq!(log.matches(remedy).count(), 1, "{log}");
        // And it is one.
        run_python(TX_OFF, "veth1");
        let (summary, log) = on_veth(nic, || assert!(is_open()));
        assert_eq!(summary["notes"], Value::Array(Vec::new()));
        assert!(!log.contains("note:"), "{log}");
    });
}

fn run_python(program: &str, argument: &str) {
    let done = std::process::Command::new("python3")
        .args(["-c", program, argument])
        .status();
    assert!(done.expect("python3 is there").success());
}

/// A kernel without IPv6 routes has one on lo that refuses everything.
#[test]
#[ignore = "needs root"]
fn loopback_carries_no_default_route() {
    in_namespace(|| {
        run("ip link set lo up");
        let output = syncline()
            .args([
                "serve",
                "--nic",
                "net_af_packet0,iface=lo",
                "--ip",
                "198.18.0.2/24",
            ])
            .args(["--duration", "300ms"])
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
    });
}

/// Rules lead to any table: a VPN's default route isn't in the main one.
#[test]
#[ignore = "needs root"]
fn the_default_route_of_any_table_keeps_its_interface() {
    in_namespace(|| {
        make_veth();
        run("ip link add veth2 type veth peer name veth3");
        run("ip link set veth2 up");
        run("ip link set veth3 up");
        run("ip route add default dev veth3 table 100");
        for (interface, is_taken) in [("veth3", false), ("veth2", true)] {
            let nic = format!("net_af_packet0,iface={interface}");
            let output = syncline()
                .args(["serve", "--nic", &nic, "--ip", "198.18.0.2/24"])
                .args(["--duration", "300ms"])
                .output()
                .expect("it runs");
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.success(), is_taken, "{interface}: {text}");
            let why = format!("{interface} carries this machine's default route");
            assert_eq!(text.contains(&why), !is_taken, "{text}");
        }
    });
}

#[test]
#[ignore = "needs root"]
fn without_the_routing_table_no_interface_is_taken() {
    in_namespace(|| {
        make_veth();
        let program = env!("CARGO_BIN_EXE_syncline");
        let hidden = format!(
            "mount -t tmpfs none /proc && exec {program} serve --nic net_af_packet0,iface=veth0 --ip 198.18.0.2/24 --duration 1"
        );
        let output = std::process::Command::new("unshare")
            .args(["--mount", "sh", "-c", &hidden])
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains("can't tell whether veth0 carries this machine's default route")
                && text.contains("mount -t proc proc /proc"),
            "{text}"
        );
    });
}
