//! Ways that carry less than our link: a router of the kernel's, a smaller link behind it, and a client there.

use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal::SIGTERM;
use serde_json::Value;

use crate::server::{Server, counter, in_namespace, run};

/// The size of what is fetched.
const SIZE: &str = "40k";
const BYTES: &str = "200,40000";

/// A client in a namespace of its own, behind the router that the test's namespace is.
pub(super) struct Client {
    /// Keeps the namespace.
    process: Child,
}

impl Client {
    /// Behind a link that carries packets of `mtu` bytes towards the client. The client's own link carries 1500, so that the MSS
    /// that it announces says nothing of that.
    pub(super) fn behind(mtu: u16) -> Self {
        let process = Command::new("unshare")
            .args(["-n", "sleep", "300"])
            .stdin(Stdio::null())
            .spawn()
            .expect("root may make a network namespace");
        let client = Self { process };
        let pid = client.process.id();
        // unshare(1) becomes sleep(1) once the namespace is there.
        let comm = format!("/proc/{pid}/comm");
        while std::fs::read_to_string(&comm).is_ok_and(|name| name.trim() != "sleep") {
            std::thread::yield_now();
        }
        run("ip link add dpath0 type veth peer name dpath1");
        run(&format!("ip link set dpath1 netns {pid}"));
        for address in ["198.18.1.1/24", "2001:db8:1::1/64 nodad"] {
            run(&format!("ip address add {address} dev dpath0"));
        }
        run(&format!("ip link set dpath0 mtu {mtu} up"));
        for (name, value) in [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
        ] {
            std::fs::write(format!("/proc/sys/{name}"), value).expect("ours to set");
        }
        for command in [
            "ip address add 198.18.1.2/24 dev dpath1",
            "ip address add 2001:db8:1::2/64 dev dpath1 nodad",
            "ip link set dpath1 up",
            "ip route add default via 198.18.1.1",
            "ip -6 route add default via 2001:db8:1::1",
        ] {
            client.run(command);
        }
        client
    }

    pub(super) fn run(&self, command: &str) -> String {
        run(&format!("nsenter -t {} -n {command}", self.process.id()))
    }

    /// Fetches the page over a fresh connection, and says status and bytes.
    fn fetch(&self, host: &str, patience_s: u32) -> String {
        self.run(&format!(
            "curl -m {patience_s} -sSg -o /dev/null -w %{{http_code}},%{{size_download}} http://{host}/"
        ))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The counters of TCP in the summary.
fn tcp(summary: &Value, name: &str) -> u64 {
    summary["tcp"][name].as_u64().unwrap_or(0)
}

fn server() -> Server {
    let listen = format!("80=http,size={SIZE}");
    Server::start(&[
        "--listen",
        &listen,
        "--gateway",
        "198.18.0.1",
        "--gateway",
        "2001:db8::1",
    ])
}

const HOSTS: [&str; 2] = ["198.18.0.2", "[2001:db8::2]"];

/// RFC 1191 and RFC 8201, by the kernel's own "fragmentation needed" and "packet too big".
#[test]
#[ignore = "needs root"]
fn a_smaller_link_behind_a_router_is_found_in_both_families() {
    in_namespace(|| {
        let server = server();
        let client = Client::behind(1400);
        for host in HOSTS {
            for _ in 0..3 {
                assert_eq!(client.fetch(host, 20), BYTES, "{host}");
            }
        }
        let summary = server.stop(SIGTERM);
        // Once for each family: the later connections know.
        assert_eq!(counter(&summary, "path_mtu_lowered"), 2, "{summary}");
        assert_eq!(tcp(&summary, "black_holes"), 0, "{summary}");
        assert_eq!(tcp(&summary, "retransmission_timeouts"), 0, "{summary}");
    });
}

/// The same with a router whose ICMP never arrives (RFC 2923 §2.1).
#[test]
#[ignore = "needs root"]
fn a_smaller_link_whose_router_is_silent_is_found_too() {
    in_namespace(|| {
        let server = server();
        let client = Client::behind(1400);
        run("ip rule add ipproto icmp to 198.18.0.2 blackhole");
        run("ip -6 rule add ipproto ipv6-icmp to 2001:db8::2 blackhole");
        for host in HOSTS {
            assert_eq!(client.fetch(host, 60), BYTES, "{host}");
            // Those that follow know, and need no timeout.
            assert_eq!(client.fetch(host, 3), BYTES, "{host}");
        }
        let summary = server.stop(SIGTERM);
        assert_eq!(tcp(&summary, "black_holes"), 2, "{summary}");
        assert_eq!(counter(&summary, "path_mtu_lowered"), 2, "{summary}");
        assert_eq!(
            counter(&summary, "icmp_error_for_connection"),
            0,
            "{summary}"
        );
    });
}

/// The kernel asks for the router, on a link that no default route uses.
#[test]
#[ignore = "needs root"]
fn doctor_lets_the_kernel_ask_whether_the_gateway_answers() {
    in_namespace(|| {
        let _router = Client::behind(1500);
        let doctor = |gateway: &str| {
            let line =
                format!("--json serve --nic tap:dtap0 --ip 198.18.1.9/24 --gateway {gateway}");
            let output = crate::server::syncline()
                .arg("doctor")
                .args(line.split(' '))
                .output()
                .expect("the binary");
            let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            let findings = report["findings"].as_array().expect("findings").clone();
            let gateway = findings.iter().find(|found| found["check"] == "gateway");
            gateway.expect("the gateway").clone()
        };
        let answers = doctor("198.18.1.2");
        assert_eq!(answers["level"], "ok", "{answers}");
        let silent = doctor("198.18.1.77");
        assert_eq!(silent["level"], "warning", "{silent}");
        assert!(
            silent["fix"][0]
                .as_str()
                .is_some_and(|fix| fix.contains("arping"))
        );
    });
}
