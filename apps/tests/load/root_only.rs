//! Real servers: what they logged is compared with what was counted.
//!
//! Every run has a network namespace of its own, which ends with it.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{assert_account, load, number, result, syncline};

/// A run behind a tap whose other end is the kernel's.
pub(crate) const TAP: [&str; 6] = [
    "--nic",
    "tap",
    "--tap-up",
    "198.18.0.1/24",
    "--ip",
    "198.18.0.2/24",
];

/// A folder of a test, removed at its end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("syncline-load-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }

    /// The command of an nginx that logs every request here, and answers each with `hello`, `/no` with an error and `/big` with
    /// 100 kB.
    pub(crate) fn nginx(&self) -> String {
        let at = self.0.display();
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log; events {{ worker_connections 4096; }}
             http {{ access_log {at}/access.log; keepalive_requests 100000;
             server {{ listen 8080; listen [::]:8080; location / {{ return 200 hello; }} location /no {{ return 500; }}
             location = /big {{ root {at}; }} }} }}"
        );
        fs::write(self.0.join("big"), vec![b'x'; 100_000]).expect("a file");
        fs::write(self.0.join("nginx.conf"), config).expect("a file");
        format!("exec nginx -e {at}/error.log -c {at}/nginx.conf")
    }

    /// The numbers of the requests that nginx has logged, each once.
    fn ids(&self) -> HashSet<u64> {
        let log = fs::read_to_string(self.0.join("access.log")).expect("a log");
        let id = |line: &str| line.split("id=").nth(1)?.split(' ').next()?.parse().ok();
        let ids: Vec<u64> = log.lines().filter_map(id).collect();
        let unique: HashSet<u64> = ids.iter().copied().collect();
        assert_eq!(ids.len(), unique.len(), "no request was sent twice");
        unique
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
#[ignore = "needs root"]
fn nginx_has_logged_exactly_what_was_completed() {
    for more in [
        &["-n", "3000", "-c", "8"][..],
        &["-n", "600", "-c", "8", "--workload", "connect"],
        &[
            "-n",
            "600",
            "-c",
            "8",
            "--workload",
            "connect",
            "--close",
            "peer",
        ],
        &["-n", "3000", "-c", "4", "--pipeline", "8"],
        &["-n", "1000", "-c", "8", "-t", "2"],
    ] {
        let folder = Folder::new("nginx");
        let server = folder.nginx();
        let url = [
            "http://198.18.0.1:8080/?id={n}",
            "-d",
            "30s",
            "--with",
            &server,
        ];
        let (result, status, said) = load(&[&url[..], &TAP, more].concat());
        assert_eq!(status, 0, "{more:?}: {said}");
        let completed = number(&result, "/operations/completed");
        assert_eq!(completed, number(&result, "/operations/begun"), "{more:?}");
        assert_eq!(folder.ids().len() as u64, completed, "{more:?}");
        assert_account(&result);
    }
}

#[test]
#[ignore = "needs root"]
fn an_open_loop_counts_what_nginx_counts_over_ipv6() {
    let folder = Folder::new("open");
    let server = folder.nginx();
    let (result, _, said) = load(&[
        "http://[2001:db8::1]:8080/?id={n}",
        "-R",
        "500",
        "-d",
        "2s",
        "--with",
        &server,
        "--nic",
        "tap",
        "--tap-up",
        "2001:db8::1/64",
        "--ip",
        "2001:db8::2/64",
    ]);
    // On a busy machine the generator may be late, which is said; what it counts is right all the same.
    let completed = number(&result, "/operations/completed");
    assert_eq!(number(&result, "/operations/failed"), 0, "{said}");
    assert_eq!(number(&result, "/operations/due"), 1000);
    assert_eq!(folder.ids().len() as u64, completed, "{said}");
    assert_account(&result);
}

#[test]
#[ignore = "needs root"]
fn a_server_that_closes_after_each_response_is_no_failure() {
    let folder = Folder::new("python");
    fs::write(folder.0.join("file"), [b'x'; 3000]).expect("a file");
    let server = format!(
        "exec python3 -m http.server 8080 --directory {} 2>/dev/null",
        folder.0.display()
    );
    let url = [
        "http://198.18.0.1:8080/file",
        "-n",
        "200",
        "-c",
        "4",
        "-d",
        "30s",
        "--with",
        &server,
    ];
    let (result, status, said) = load(&[&url[..], &TAP].concat());
    assert_eq!(status, 0, "{said}");
    assert_eq!(number(&result, "/operations/completed"), 200);
    assert!(number(&result, "/connections/established") >= 200);
    assert!(number(&result, "/bytes_in") > 200 * 3000);
    assert_account(&result);
}

#[test]
#[ignore = "needs root"]
fn a_server_in_the_background_ends_with_the_run() {
    let folder = Folder::new("daemon");
    fs::write(folder.0.join("file"), [b'x'; 10]).expect("a file");
    let place = folder.0.display().to_string();
    // The command ends at once, and a session of its own keeps the server out of reach of signals to its group.
    let server = format!(
        "setsid python3 -m http.server 8080 --directory {place} >/dev/null 2>&1 & sleep 0.1"
    );
    let url = ["http://198.18.0.1:8080/file", "-n", "20", "--with", &server];
    let (result, status, said) = load(&[&url[..], &TAP].concat());
    assert_eq!(status, 0, "{said}");
    assert_eq!(number(&result, "/operations/completed"), 20);
    assert!(!runs_at(&place), "the server outlives the run");
}

/// Whether a server of Python runs that serves this folder.
fn runs_at(place: &str) -> bool {
    fs::read_dir("/proc")
        .expect("a folder")
        .flatten()
        .any(|entry| {
            let words = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            words.contains("http.server") && words.contains(place) && !words.starts_with("syncline")
        })
}

#[test]
#[ignore = "needs root"]
fn a_run_that_is_killed_leaves_no_server_behind() {
    let folder = Folder::new("killed");
    let place = folder.0.display().to_string();
    // One server that is the command's own child, and one that has left its session and its parent.
    let server = format!(
        "setsid sh -c 'python3 -m http.server 8081 --directory {place} >/dev/null 2>&1 & exec sleep 0.1' &
        python3 -m http.server 8080 --directory {place} >/dev/null 2>&1"
    );
    let mut child = syncline()
        .args(["http://198.18.0.1:8080/", "http://198.18.0.1:8081/"])
        .args(["-R", "10", "-d", "60s", "--with", &server])
        .args(TAP)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    // Both listen, and the load has begun.
    let is_line = |line: std::io::Result<String>| line.is_ok_and(|line| line.contains("1.0 s"));
    assert!(lines.any(is_line), "no line of a second");
    assert!(runs_at(&place));
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let started = Instant::now();
    while runs_at(&place) {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "the server outlives the run"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs root"]
fn a_command_that_ends_at_once_is_said_so() {
    for (command, part) in [
        ("exit 3", "ended before it listened: exit status: 3"),
        ("sleep 0.1", "ended before it listened: exit status: 0"),
        ("no-such-command", "exit status: 127"),
    ] {
        let words = ["http://198.18.0.1:8080/", "--with", command];
        let output = syncline().args(words).args(TAP).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let last = said.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("error: --with") && last.contains(part),
            "{said}"
        );
    }
}

#[test]
#[ignore = "needs root"]
fn errors_of_the_server_fail_the_run_by_name() {
    let folder = Folder::new("errors");
    let server = folder.nginx();
    for (url, fault) in [
        ("http://198.18.0.1:8080/no", "wrong_status"),
        ("tcp://198.18.0.1:8081", "refused"),
    ] {
        let words = ["-n", "20", "-c", "2", "--with", &server];
        // Nothing listens on 8081: the server of this run has another port, so it isn't waited for.
        let words = if fault == "refused" {
            &words[..4]
        } else {
            &words[..]
        };
        let (result, status, said) = load(&[&[url][..], &TAP, words].concat());
        assert_eq!(status, 1, "{said}");
        assert_eq!(number(&result, "/operations/completed"), 0);
        assert!(
            number(&result, &format!("/operations/failed_by/{fault}")) >= 20,
            "{result:#}"
        );
        assert_account(&result);
    }
}

#[test]
#[ignore = "needs root"]
fn nginx_takes_the_proxy_header_for_the_client() {
    for version in ["v1", "v2"] {
        let folder = Folder::new("proxy");
        let server = folder.nginx();
        let config = folder.0.join("nginx.conf");
        let text = fs::read_to_string(&config).expect("a file");
        let text = text
            .replace("listen 8080;", "listen 8080 proxy_protocol;")
            .replace(
                "access_log ",
                "log_format seen '$proxy_protocol_addr:$proxy_protocol_port $remote_addr:$remote_port $request'; access_log ",
            )
            .replace("access.log;", "access.log seen;");
        fs::write(&config, text).expect("a file");
        let words = ["http://198.18.0.1:8080/?id={n}", "-n", "200", "-c", "4"];
        let more = ["--with", &server, "--send-proxy", version];
        let (result, status, said) = load(&[&words[..], &more, &TAP].concat());
        assert_eq!(status, 0, "{said}");
        assert_eq!(number(&result, "/operations/completed"), 200);
        let log = fs::read_to_string(folder.0.join("access.log")).expect("a log");
        assert_eq!(log.lines().count(), 200);
        for line in log.lines() {
            let mut words = line.split(' ');
            assert_eq!(words.next(), words.next(), "{line}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn the_kernel_sees_as_many_connections_as_are_held() {
    let folder = Folder::new("hold");
    let nginx = folder.nginx();
    let seen = folder.0.join("seen");
    // State 01 is ESTABLISHED; port 8080 is 1F90.
    let server = format!(
        "(while sleep 0.1; do awk '$4 == \"01\" && $2 ~ /:1F90$/' /proc/net/tcp | wc -l; done) > {} & {nginx}",
        seen.display()
    );
    let (result, _, said) = load(
        &[
            &[
                "http://198.18.0.1:8080/?id={n}",
                "--workload",
                "hold",
                "-c",
                "500",
                "-R",
                "1k",
                "-d",
                "2s",
                "--verify-every",
                "1s",
                "--sources",
                "198.18.0.64/26",
                "--with",
                &server,
            ][..],
            &TAP,
        ]
        .concat(),
    );
    assert_eq!(number(&result, "/hold/least"), 500, "{said}");
    assert_eq!(number(&result, "/hold/broken"), 0);
    assert_eq!(number(&result, "/connections/closed"), 500);
    let counts = fs::read_to_string(seen).expect("counts");
    let most = counts
        .lines()
        .filter_map(|line| line.trim().parse::<u64>().ok());
    assert_eq!(most.max(), Some(500), "{said}");
    let completed = number(&result, "/operations/completed");
    assert_eq!(folder.ids().len() as u64, completed, "{said}");
    assert_account(&result);
}

#[test]
#[ignore = "needs root"]
fn a_signal_before_the_load_begins_is_130_too() {
    let folder = Folder::new("early");
    let began = folder.0.join("began");
    let command = format!("touch {}; sleep 60", began.display());
    let child = syncline()
        .args(["http://198.18.0.1:8080/", "--with", &command])
        .args(TAP)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    while !began.exists() {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("it runs");
    let (_, status, said) = result(&child.wait_with_output().expect("it ends"));
    assert_eq!(status, 130, "{said}");
    assert!(said.starts_with("error: stopped by a signal"), "{said}");
}

#[test]
#[ignore = "needs root"]
fn a_server_that_closes_idle_connections_is_named() {
    let folder = Folder::new("idle");
    let server = folder.nginx();
    let config = folder.0.join("nginx.conf");
    let text = fs::read_to_string(&config).expect("a file");
    let short = "keepalive_timeout 1s; keepalive_requests ";
    fs::write(&config, text.replace("keepalive_requests ", short)).expect("a file");
    let words = ["http://198.18.0.1:8080/?id={n}", "--workload", "hold"];
    let more = ["-c", "20", "-d", "3s", "--verify-every", "2500ms"];
    let (result, status, said) = load(&[&words[..], &more, &["--with", &server], &TAP].concat());
    assert_eq!(status, 1, "{said}");
    assert!(number(&result, "/hold/broken_by/ended_early") > 0);
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("raise its idle timeout"), "{said}");
    assert_account(&result);
}

#[test]
#[ignore = "needs root"]
fn a_silent_target_is_one_message() {
    let (result, status, said) = load(&[&["http://198.18.0.77/", "-d", "1s"][..], &TAP].concat());
    assert_eq!(status, 1);
    assert!(
        said.contains("198.18.0.77 can't be reached") && said.contains("no ARP request"),
        "{said}"
    );
    assert_eq!(number(&result, "/operations/begun"), 0);
    assert_account(&result);
}

#[test]
#[ignore = "needs root"]
fn a_target_that_refuses_is_one_message_and_is_not_flooded() {
    // It listens until the load begins, then resets everything.
    let server = "python3 -m http.server 8080 >/dev/null 2>&1 & nft -f - <<'N'
table ip t {
chain i { type filter hook input priority 0; tcp dport 8080 reject with tcp reset; }
}
N
wait";
    let words = [
        "http://198.18.0.1:8080/",
        "-c",
        "50",
        "-d",
        "1s",
        "--with",
        server,
    ];
    let (result, status, said) = load(&[&words[..], &TAP].concat());
    assert_eq!(status, 1, "{said}");
    assert!(
        said.contains("refused by the target; does it listen"),
        "{said}"
    );
    // A burst at a time, and 10 ms after each that failed.
    assert!(
        number(&result, "/connections/asked_for") < 5000,
        "{result:#}"
    );
    assert_account(&result);
}

/// A server of Python, and what happens once the kernel has accepted so many connections, however long the server took to start.
fn server_until(accepted: u32, happens: &str) -> String {
    format!(
        "python3 -m http.server 8080 >/dev/null 2>&1 &
        until awk '/^Tcp: [0-9]/ {{ exit $7 < {accepted} }}' /proc/net/snmp; do sleep 0.05; done
        {happens}; wait"
    )
}

#[test]
#[ignore = "needs root"]
fn a_link_that_goes_down_is_no_riddle() {
    let server = &server_until(20, "ip link set syncline0 down");
    let words = [
        "http://198.18.0.1:8080/",
        "-R",
        "100",
        "-d",
        "2s",
        "--timeout",
        "500ms",
    ];
    let (result, status, said) = load(&[&words[..], &["--with", server], &TAP].concat());
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("operations failed"), "{said}");
    assert!(!said.contains("please report it"), "{said}");
    assert!(
        number(&result, "/operations/failed_by/timed_out") > 0,
        "{result:#}"
    );
}

#[test]
#[ignore = "needs root"]
fn a_target_that_moves_to_another_link_layer_address_is_found_and_named() {
    // The move comes 2 s after the neighbour was learned: within 1 s an announcement would be ignored.
    let server = &server_until(
        40,
        "echo 1 >/proc/sys/net/ipv4/conf/syncline0/arp_notify; ip link set syncline0 address 02:00:00:00:77:01",
    );
    let words = ["http://198.18.0.1:8080/", "-R", "20", "-d", "5s"];
    let (result, _, said) = load(&[&words[..], &["--with", server], &TAP].concat());
    assert_eq!(number(&result, "/counters/neighbor_moved"), 1, "{said}");
    let series = result["series"].as_array().expect("seconds");
    let last = series.last().expect("a second");
    assert!(last["completed"].as_u64() > Some(0), "{said}");
    assert_account(&result);
}

/// As behind a load balancer with direct server return: answers from elsewhere, which the kernel's ARP does not name.
#[test]
#[ignore = "needs root"]
fn frames_from_another_link_layer_address_are_named_and_lead_none_away() {
    let server = "nft -f - <<'N'
table netdev t {
    chain c {
        type filter hook egress device syncline0 priority 0;
        ether type ip ether saddr set 02:00:00:00:77:02
    }
}
N
        exec python3 -m http.server 8080 >/dev/null 2>&1";
    let words = ["http://198.18.0.1:8080/", "-R", "20", "-d", "2s"];
    let (result, status, said) = load(&[&words[..], &["--with", server], &TAP].concat());
    assert_eq!(status, 0, "{said}");
    // Each is answered at its first SYN.
    assert_eq!(number(&result, "/operations/completed"), 40, "{said}");
    let elsewhere = number(&result, "/counters/conn_from_elsewhere");
    assert!(elsewhere >= 3 * 40, "{result:#}");
    assert_account(&result);
}

#[test]
#[ignore = "needs root"]
fn a_signal_ends_it_with_the_result_so_far() {
    let folder = Folder::new("signal");
    let server = folder.nginx();
    let child = syncline()
        .args([
            "http://198.18.0.1:8080/?id={n}",
            "-R",
            "300",
            "-d",
            "60s",
            "-J",
            "--with",
            &server,
        ])
        .args(TAP)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    while !folder.0.join("access.log").exists() || folder.ids().is_empty() {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("it runs");
    let (result, status, said) = result(&child.wait_with_output().expect("it ends"));
    assert_eq!(status, 130, "{said}");
    assert_eq!(result["ended_by"], "signal");
    let completed = number(&result, "/operations/completed");
    let ids = folder.ids().len() as u64;
    assert!(0 < completed && completed <= ids && ids <= number(&result, "/operations/begun"));
    assert_account(&result);
}
