//! The runs of scripts/soak, which take hours, at a size for every run of the tests: an echo, connections one after the other and all at
//! once, a flood of spoofed SYNs beside legitimate ones.

use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal::SIGTERM;
use serde_json::Value;

use crate::file;
use crate::server::{OURS, Server, counter, in_namespace, run, syncline};

const FLAGS: [&str; 6] = [
    "--listen",
    "7=echo",
    "--listen",
    "80=http,size=1k",
    "--rto-min",
    "200ms",
];

fn python(what: &str, port: u16, n: u32) {
    run(&format!(
        "python3 {} {what} 198.18.0.2 {port} {n}",
        file("client.py")
    ));
}

#[test]
#[ignore = "needs root"]
fn twenty_megabytes_come_back() {
    in_namespace(|| {
        let server = Server::start(&FLAGS);
        python("echo", 7, 20_000_000);
        server.stop(SIGTERM);
    });
}

#[test]
#[ignore = "needs root"]
fn connections_come_one_after_the_other_and_all_at_once() {
    in_namespace(|| {
        let server = Server::start(&FLAGS);
        python("sequential", 7, 2000);
        python("concurrent", 7, 500);
        let summary = server.stop(SIGTERM);
        let accepted = |listener: &Value| listener["accepted"].as_u64();
        let listeners = summary["listeners"].as_array().expect("a list");
        assert_eq!(listeners.iter().filter_map(accepted).sum::<u64>(), 2500);
    });
}

#[test]
#[ignore = "needs root"]
fn legitimate_connections_open_during_a_flood() {
    in_namespace(|| {
        let server = Server::start(&[&FLAGS[..], &["--backlog", "256"]].concat());
        run("ping -c 1 -W 5 198.18.0.2");
        run("sysctl -qw net.ipv4.ip_forward=0");
        let neighbors = run("ip neigh show 198.18.0.2 dev dtap0");
        let words: Vec<&str> = neighbors.split(' ').collect();
        let at = words
            .iter()
            .position(|word| *word == "lladdr")
            .expect(&neighbors);
        let mut flood = syncline()
            .args(["flood", "198.18.0.2:80", "--answer", "nothing"])
            .args(["--nic", "net_af_packet0,iface=dtap0,framecnt=2048"])
            .args(["--ip", "198.18.0.3/24", "--target-mac", words[at + 1]])
            .args(["--allow-target", "198.18.0.2/32"])
            .args(["--sources", "198.19.0.0/16", "--routed"])
            .args(["-R", "50k", "-d", "2s"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        // The flood starts within a second or two and takes two. It waits for silence afterwards, so we must end first.
        for _ in 0..200 {
            let stream = TcpStream::connect_timeout(&(OURS, 80).into(), Duration::from_secs(20));
            stream.expect("a connection");
            std::thread::sleep(Duration::from_millis(20));
        }
        flood.wait().expect("it was started");
        let summary = server.stop(SIGTERM);
        assert!(counter(&summary, "syn_cookie_sent") > 1000, "a flood");
        assert!(
            counter(&summary, "cookie_established") > 10,
            "beside the flood"
        );
    });
}
