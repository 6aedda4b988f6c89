//! `syncline serve`, with curl, wrk, nc and a Python client as its peers.

use std::io::Write as _;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal::SIGTERM;
use serde_json::Value;

use crate::server::{Server, in_namespace, run};
use crate::{LINKS, file, scaled};

/// One of each service, and small timeouts: the links are short.
const FLAGS: [&str; 14] = [
    "--rto-min",
    "200ms",
    "--listen",
    "7=echo",
    "--listen",
    "19=chargen",
    "--listen",
    "80=http,size=1",
    "--listen",
    "8080=http,size=1m",
    "--listen",
    "9=noread",
    "--drain-timeout",
    "1s",
];

/// Runs a test on each of the links.
fn on_each_link(test: fn(&str)) {
    for link in LINKS {
        in_namespace(move || {
            let server = Server::start(&[&FLAGS[..], &["--fault", link]].concat());
            test(link);
            let summary = server.stop(SIGTERM);
            let faults = &summary["fault_injection"];
            let lost = ["rx", "tx"].map(|way| faults[way]["lost"].as_u64().expect("a number"));
            // Of a few frames a hundredth may be none.
            assert!(link != LINKS[0] || lost == [0, 0], "{faults}");
            assert!(link != LINKS[2] || lost != [0, 0], "{faults}");
        });
    }
}

/// Runs the Python client.
fn python(what: &str, host: &str, port: u16, bytes: usize) {
    run(&format!(
        "python3 {} {what} {host} {port} {bytes}",
        file("client.py")
    ));
}

fn pattern(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stack::queue::pattern::fill(0, &mut bytes);
    bytes
}

/// The body that curl gets.
fn curl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("curl")
        .args(["-sS", "--fail", "--globoff", "--max-time", "120"])
        .args(arguments)
        .output()
        .expect("curl is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    output.stdout
}

#[test]
#[ignore = "needs root"]
fn curl_gets_small_and_large_bodies() {
    on_each_link(|link| {
        assert_eq!(curl(&["http://198.18.0.2/"]), pattern(1), "{link}");
        assert_eq!(curl(&["http://[2001:db8::2]/"]), pattern(1), "{link}");
        let large = curl(&["http://198.18.0.2:8080/"]);
        assert!(large == pattern(1_000_000), "{link}: {} bytes", large.len());
    });
}

#[test]
#[ignore = "needs root"]
fn curl_keeps_a_connection_for_a_hundred_requests() {
    on_each_link(|link| {
        let urls = vec!["http://198.18.0.2/"; 100];
        let flags = ["-w", "%{num_connects}"];
        let said = curl(&[&flags[..], &urls].concat());
        // A body of one byte and a number behind it, a hundred times: one connection was made.
        let first = char::from(pattern(1)[0]);
        let wanted = format!("{first}1") + &format!("{first}0").repeat(99);
        assert_eq!(String::from_utf8_lossy(&said), wanted, "{link}");
    });
}

#[test]
#[ignore = "needs root"]
fn wrk_finds_no_error() {
    on_each_link(|link| {
        let said = run("wrk -c 64 -t 1 -d 3 --timeout 20s http://198.18.0.2/");
        assert!(!said.contains("Socket errors"), "{link}: {said}");
        assert!(!said.contains("Non-2xx"), "{link}: {said}");
        let requests = said
            .lines()
            .find_map(|line| line.trim().split_once(" requests in "))
            .and_then(|(n, _)| n.parse::<u64>().ok());
        assert!(requests.is_some_and(|n| n > 100), "{link}: {said}");
    });
}

#[test]
#[ignore = "needs root"]
fn nc_gets_back_what_it_sends() {
    on_each_link(|link| {
        let mut nc = Command::new("nc")
            .args(["-N", "-w", "30", "198.18.0.2", "7"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("nc is there");
        // Enough frames for one in twenty to be lost for certain.
        let sent = pattern(100_000);
        let mut stdin = nc.stdin.take().expect("a pipe");
        stdin.write_all(&sent).expect("nc reads");
        drop(stdin);
        let output = nc.wait_with_output().expect("it ends");
        assert!(output.status.success() && output.stdout == sent, "{link}");
    });
}

#[test]
#[ignore = "needs root"]
fn a_python_client_writes_in_every_size_and_closes_in_halves() {
    on_each_link(|link| {
        python("echo", "198.18.0.2", 7, scaled(link, 8_000_000));
        python("echo", "2001:db8::2", 7, scaled(link, 1_000_000));
        python("half_close", "198.18.0.2", 7, scaled(link, 100_000));
        python("bytewise", "198.18.0.2", 7, scaled(link, 4000));
        python("urgent", "198.18.0.2", 7, 1000);
    });
}

#[test]
#[ignore = "needs root"]
fn a_python_client_reads_slowly_and_finds_a_closed_window() {
    on_each_link(|link| {
        python("slow_reader", "198.18.0.2", 19, scaled(link, 400_000));
        python("blocked", "198.18.0.2", 9, 50_000_000);
    });
}

#[test]
#[ignore = "needs root"]
fn a_client_that_resets_takes_nothing_with_it() {
    on_each_link(|_| {
        for _ in 0..5 {
            python("reset", "198.18.0.2", 7, 20_000);
        }
        python("echo", "198.18.0.2", 7, 10_000);
    });
    // On a good link every reset arrives.
    in_namespace(|| {
        let server = Server::start(&FLAGS);
        for _ in 0..10 {
            python("reset", "198.18.0.2", 7, 20_000);
        }
        let summary = server.stop(SIGTERM);
        let listeners = summary["listeners"].as_array().expect("a list");
        let resets: u64 = listeners
            .iter()
            .filter_map(|listener| listener["closed"]["reset"].as_u64())
            .sum();
        assert_eq!(resets, 10, "{}", Value::Array(listeners.clone()));
    });
}
