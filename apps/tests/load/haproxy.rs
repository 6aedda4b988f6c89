//! A load balancer whose backend dies during the run: what broke is counted as HAProxy's own log counts it.
//!
//! It must never know more of a backend's end than HAProxy tells.

use std::fs;

use crate::root_only::Folder;
use crate::{assert_account, load, number};

/// Two of our servers behind taps, HAProxy before them; after 1.5 s the second one is killed with its NIC.
fn balancer(folder: &Folder) -> String {
    let at = folder.path();
    let config = "global
  log stdout format raw local0
defaults
  mode http
  log global
  log-format \"%ST %ts %s\"
  timeout connect 300ms
  timeout client 20s
  timeout server 500ms
  retries 0
frontend web
  bind 198.18.0.1:8080
  default_backend ours
backend ours
  balance roundrobin
  http-reuse never
  server a 198.18.1.2:80 check inter 200ms fall 2
  server b 198.18.2.2:80 check inter 200ms fall 2
";
    fs::write(at.join("haproxy.cfg"), config).expect("a file");
    let serve = |tap: u8| {
        format!(
            "{} serve --nic tap:back{tap} --ip 198.18.{tap}.2/24 --tap-up 198.18.{tap}.1/24 --listen 80=http,size=100 2>/dev/null >/dev/null",
            env!("CARGO_BIN_EXE_syncline")
        )
    };
    let log = at.join("haproxy.log");
    format!(
        "{} & a=$!; {} & b=$!; trap 'kill $a $h' EXIT; until ip route get 198.18.2.2 2>/dev/null | grep -q back2; do sleep 0.1; done; sleep 0.5; \
         haproxy -db -f {} >{} 2>&1 & h=$!; sleep 2.5; kill -9 $b; wait $h",
        serve(1),
        serve(2),
        at.join("haproxy.cfg").display(),
        log.display()
    )
}

#[test]
#[ignore = "needs root"]
fn a_backend_that_dies_breaks_what_haproxy_says() {
    let folder = Folder::new("haproxy");
    let (result, status, said) = load(&[
        "http://198.18.0.1:8080/",
        "-R",
        "300",
        "-c",
        "16",
        "-d",
        "4s",
        "--nic",
        "tap",
        "--tap-up",
        "198.18.0.1/24",
        "--ip",
        "198.18.0.2/24",
        "--with",
        &balancer(&folder),
    ]);
    assert_account(&result);
    let log = fs::read_to_string(folder.path().join("haproxy.log")).expect("HAProxy's log");
    // Status, how the session ended (`--`: well), and the server that had it.
    let requests = || {
        let lines = log.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        lines.filter(|words| words.len() == 3 && words[0].len() == 3)
    };
    let with_status = |status: char| {
        requests()
            .filter(|words| words[0].starts_with(status))
            .count() as u64
    };
    let (good, bad) = (with_status('2'), with_status('5'));
    assert_eq!(
        number(&result, "/operations/completed"),
        good,
        "{said}\n{log}"
    );
    assert!(requests().any(|words| words[2] == "b"), "{log}");
    assert!(bad > 0, "its death broke nothing: {log}");
    assert_eq!(number(&result, "/operations/failed"), bad, "{said}\n{log}");
    assert_eq!(status, 1, "a run with failures fails: {said}");
}
