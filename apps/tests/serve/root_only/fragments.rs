//! Packets that the kernel has cut: by a router on their way, and at their source.

use nix::sys::signal::Signal::SIGTERM;

use super::paths::Client;
use crate::server::{Server, counter, in_namespace, run};

/// Bytes that the client sends and wants back.
const ECHO: &str = "
import socket, random
data = random.Random(1).randbytes(60_000)
peer = socket.create_connection(('198.18.0.2', 7), 10)
peer.sendall(data)
back = b''
while len(back) < len(data):
    part = peer.recv(65536)
    assert part
    back += part
assert back == data
";

/// A datagram that the kernel cuts at its source: it hears that nobody listens, which it can only from the whole datagram.
const UDP: &str = "
import socket
for host in ('198.18.0.2', '2001:db8::2'):
    peer = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
    if ':' not in host:
        peer.setsockopt(socket.IPPROTO_IP, 10, 0)
    peer.settimeout(10)
    peer.connect((host, 9))
    peer.send(bytes(1400))
    try:
        peer.recv(1)
        assert False
    except ConnectionRefusedError:
        pass
";

#[test]
#[ignore = "needs root"]
fn segments_that_a_router_cut_and_datagrams_that_their_sender_cut_become_whole() {
    in_namespace(|| {
        let server = Server::start(&[
            "--listen",
            "7=echo",
            "--gateway",
            "198.18.0.1",
            "--gateway",
            "2001:db8::1",
        ]);
        let client = Client::behind(1500);
        run("ip link set sl0 mtu 1280");
        std::fs::write("/tmp/syncline-fragments-udp.py", UDP).expect("a file");
        std::fs::write("/tmp/syncline-fragments-echo.py", ECHO).expect("a file");
        run("python3 /tmp/syncline-fragments-udp.py");
        // Without DF, the router cuts what the MSS allows.
        client.run("sysctl -q -w net.ipv4.ip_no_pmtu_disc=1");
        client.run("python3 /tmp/syncline-fragments-echo.py");
        let summary = server.stop(SIGTERM);
        assert_eq!(counter(&summary, "udp_closed"), 2, "{summary}");
        assert!(counter(&summary, "datagrams_reassembled") > 30, "{summary}");
        for refused in ["fragment_overlap", "fragment_tiny", "reassembly_evicted"] {
            assert_eq!(counter(&summary, refused), 0, "{summary}");
        }
    });
}
