//! `syncline diagnose HOST:PORT --nic tap:…`: our own stack finds out what the kernel at the tap's other end does.
//!
//! All tests need root and run in network namespaces of their own. They must never send a frame outside of them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};

use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::Value;

/// The kernel drops what goes to port 82, and rejects at 85 and 86 by ICMP.
const RULES: &str = "table inet diagnose {
  chain in { type filter hook input priority 0; policy accept;
    tcp dport 82 drop
    tcp dport 85 reject with icmp type admin-prohibited
    tcp dport 86 reject with icmp type host-unreachable
  }
}";

/// The verdict at each port of the kernel: class, certainty, and words of the evidence.
const PORTS: [(u16, &str, &str, &str); 9] = [
    (80, "open", "certain", "closed when we did"),
    (
        22,
        "open",
        "certain",
        "it sent data first: \"SSH-2.0-other\"",
    ),
    (81, "port-closed", "likely", "RST,ACK with TTL 64"),
    (82, "no-answer", "possible", "no answer in"),
    (
        85,
        "rejected",
        "certain",
        "ICMP type 3 code 13 from 198.18.0.1",
    ),
    (
        86,
        "host-unreachable",
        "certain",
        "ICMP type 3 code 1 from 198.18.0.1",
    ),
    (88, "resets-at-once", "certain", "ECONNRESET after"),
    (89, "app-silent", "possible", "acknowledged our FIN"),
    (90, "closes-at-once", "certain", "it closed after"),
];

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().expect(program);
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
}

fn diagnose(target: &str, more: &[&str]) -> Output {
    let line = "--nic tap:diag0 --ip 198.18.0.2/24 --tap-up 198.18.0.1/24 --wait 250ms --json";
    Command::new(env!("CARGO_BIN_EXE_syncline"))
        .args(["diagnose", target])
        .args(line.split(' '))
        .args(more)
        .output()
        .expect("it runs")
}

fn verdict(target: &str, more: &[&str]) -> Value {
    let output = diagnose(target, more);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{target}: {said}");
    assert!(
        said.contains(&format!("198.18.0.2/24 to {target}: ")),
        "{said}"
    );
    let whole: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    whole["addresses"][0].clone()
}

fn serve(port: u16, with_each: fn(TcpStream)) {
    let listener = TcpListener::bind(("0.0.0.0", port)).expect("a port");
    std::thread::spawn(move || listener.incoming().flatten().for_each(with_each));
}

fn reset(stream: &TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(stream, sockopt::Linger, &linger).expect("linger zero");
}

fn servers() -> TcpListener {
    serve(80, |mut stream| {
        let _ = stream.read(&mut [0; 9]);
    });
    serve(22, |mut stream| {
        let _ = stream.write_all(b"SSH-2.0-other\r\n");
        let _ = stream.read(&mut [0; 9]);
    });
    serve(88, |stream| reset(&stream));
    serve(90, drop);
    // It never accepts.
    TcpListener::bind("0.0.0.0:89").expect("a port")
}

mod root_only {
    use super::*;

    #[test]
    #[ignore = "needs root"]
    fn a_kernel_is_named_by_what_it_does_over_our_own_stack() {
        let inside = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
            run("ip", &["link", "set", "lo", "up"]);
            run("nft", &[RULES]);
            let _hangs = servers();
            for (port, class, certainty, words) in PORTS {
                let found = verdict(&format!("198.18.0.1:{port}"), &["--attempts", "1"]);
                let seen = (&found["verdict"], &found["certainty"]);
                assert_eq!(seen, (&class.into(), &certainty.into()), "{found}");
                let evidence = found["evidence"][0].as_str().expect("text");
                assert!(evidence.contains(words), "{port}: {evidence}");
            }
            // No host has this address; nothing leads to that one.
            let found = verdict("198.18.0.9:80", &["--attempts", "1"]);
            assert_eq!(found["verdict"], "neighbor-dead", "{found}");
            assert!(
                found["evidence"][0]
                    .as_str()
                    .is_some_and(|text| text.contains("no answer"))
            );
            let found = verdict("192.0.2.9:80", &["--attempts", "1"]);
            assert_eq!(found["verdict"], "no-route", "{found}");
        };
        std::thread::spawn(inside).join().expect("it passes");
    }
}

#[test]
fn flags_of_a_nic_need_one_and_a_stranger_needs_a_name() {
    for (line, words) in [
        ("127.0.0.1:9 --ip 198.18.0.2/24", "--nic <NIC>"),
        ("-r x.pcap --nic tap:t0", "cannot be used with"),
        ("198.18.0.1:80 --nic ring", "needs a peer behind a NIC"),
        ("198.18.0.1:80 --nic tap:t0", "--ip is missing"),
        (
            "198.18.0.1:80 --nic tap:t0 --ip 198.18.0.2/24 -t 2",
            "one queue",
        ),
        (
            "198.18.0.1:80 --nic af_xdp:nic0 --ip 198.18.0.2/24",
            "--allow-target 198.18.0.1/32",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_syncline"))
            .arg("diagnose")
            .args(line.split(' '))
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        assert!(said.contains(words), "{line}: {said}");
    }
}
