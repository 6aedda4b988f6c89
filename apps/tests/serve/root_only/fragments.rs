//! Packets that the kernel has cut: by a router on their way, and at their source.

use nix::sys::signal::Signal::SIGTERM;

use super::paths::Client;
use crate::server::{Server, counter, in_namespace, run};

/// Where the programs of the client are.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/serve");

#[test]
#[ignore = "needs root"]
fn segments_that_a_router_cut_and_datagrams_that_their_sender_cut_become_whole() {
    in_namespace(|| {
        let server = Server::start(&[
            "--queues",
            "2",
            "--listen",
            "7=echo",
            "--gateway",
            "198.18.0.1",
            "--gateway",
            "2001:db8::1",
        ]);
        let client = Client::behind(1500);
        run("ip link set dtap0 mtu 1280");
        run(&format!("python3 {PROGRAMS}/closed_udp.py"));
        // Without DF, the router cuts what the MSS allows.
        client.run("sysctl -q -w net.ipv4.ip_no_pmtu_disc=1");
        client.run(&format!("python3 {PROGRAMS}/echo_back.py"));
        let summary = server.stop(SIGTERM);
        assert_eq!(counter(&summary, "udp_closed"), 2, "{summary}");
        assert!(counter(&summary, "datagrams_reassembled") > 30, "{summary}");
        for refused in ["fragment_overlap", "fragment_tiny", "reassembly_evicted"] {
            assert_eq!(counter(&summary, refused), 0, "{summary}");
        }
    });
}
