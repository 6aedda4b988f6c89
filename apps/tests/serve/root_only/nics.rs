//! Wires of the kernel besides the tap, and what is reported about a NIC while it serves.

use std::process::Command;

use nix::sys::signal::Signal::{SIGINT, SIGTERM};
use serde_json::Value;

use crate::server::{Server, in_namespace, run, syncline};

/// Whether a line is one of those that `serve` prints once a second.
fn is_figures(line: &str) -> bool {
    line.contains(" s  rx ")
}

fn kernel_has_af_xdp() -> bool {
    // AF_XDP is 44, SOCK_RAW is 3.
    let open = "import socket; socket.socket(44, 3)";
    let python = Command::new("python3").args(["-c", open]).output();
    python.expect("python3").status.success()
}

#[test]
#[ignore = "needs root"]
fn a_veth_serves_over_af_xdp_and_af_packet_and_every_buffer_comes_back() {
    for nic in ["af_xdp:sl0", "net_af_packet0,iface=sl0"] {
        if nic.starts_with("af_xdp") && !kernel_has_af_xdp() {
            continue;
        }
        in_namespace(move || {
            run("ip link add sl0 type veth peer name sl1");
            for command in [
                "ip addr add 198.18.0.1/24 dev sl1",
                "ip link set sl0 up",
                "ip link set sl1 up",
            ] {
                run(command);
            }
            let (server, line) = Server::start_on(syncline(), nic, &[]);
            assert!(line.contains("offloads: "), "{line}");
            // More frames than the driver's rings hold, and some at once at the end.
            run("ping -q -f -c 5000 198.18.0.2");
            let lines = server.wait_for_line(is_figures);
            assert!(
                lines.iter().all(|line| line.starts_with("link ")),
                "{lines:?}"
            );
            run("ping -q -c 50 -i 0.002 198.18.0.2");
            // `stop` checks that no buffer is missing and that nothing went wrong.
            let summary = server.stop(SIGINT);
            assert_eq!(summary["nic"]["tx_check"], "equal", "{summary}");
            assert_eq!(summary["nic"]["tx_taken"], summary["tx_frames"]);
            assert!(summary["tx_frames"].as_u64() > Some(5000), "{summary}");
        });
    }
}

#[test]
#[ignore = "needs root"]
fn offloads_and_changes_of_the_link_are_told() {
    in_namespace(|| {
        let tap_up = ["--tap-up", "198.18.0.1/24,2001:db8::1/64"];
        let (server, line) = Server::start_on(syncline(), "tap:dtap0", &tap_up);
        let offloads = "net_tap with offloads: rx IPv4 checksum, rx TCP checksum, tx IPv4 checksum, tx in several buffers";
        assert!(line.contains(offloads), "{line}");
        server.wait_for_line(is_figures);
        run("ip link set dev dtap0 down");
        server.wait_for_line(|line| line == "link down");
        run("ip link set dev dtap0 up");
        server.wait_for_line(|line| line.starts_with("link up"));
        run("ping -c 3 -i 0.2 -W 5 198.18.0.2");
        let summary = server.stop(SIGTERM);
        let nic = &summary["nic"];
        assert_eq!(nic["driver"], "net_tap");
        assert_eq!(nic["link"]["up"], true, "{nic}");
        assert_eq!(nic["link"]["downs"], 1, "{nic}");
        assert_eq!(nic["tx_check"], "equal", "{nic}");
        for (offload, on) in [
            ("rx_ipv4_checksum", true),
            ("rx_tcp_checksum", true),
            ("tx_ipv4_checksum", true),
            ("tx_tcp_checksum", false),
            ("tx_multi_seg", true),
        ] {
            assert_eq!(
                nic["offloads"][offload],
                Value::Bool(on),
                "{offload}: {nic}"
            );
        }
    });
}
