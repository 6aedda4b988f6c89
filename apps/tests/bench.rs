//! `syncline bench` as a user runs it: the binary itself, on the in-memory link and over memif, with its errors.
//!
//! Needs no root, no hugepages, no NIC. It must never judge a speed, only that there is one, and never leave a process
//! behind.
#![cfg(feature = "dpdk")]

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Two polling threads each: one run at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn syncline(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command
        .args(arguments.split_whitespace())
        .stdin(Stdio::null());
    command
}

fn run(arguments: &str) -> Output {
    syncline(arguments).output().expect("the binary starts")
}

/// The JSON of a short run that must be good.
fn measured(arguments: &str) -> Value {
    let _alone = alone();
    let output = run(&format!("bench {arguments} -d 300ms --warmup-ms 50 --json"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {stderr}");
    serde_json::from_slice(&output.stdout).expect("JSON and nothing else on stdout")
}

fn number(json: &Value, key: &str) -> f64 {
    json[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} is no number: {}", json[key]))
}

/// A refused command line: its status and its one line.
fn refused(arguments: &str) -> (i32, String) {
    let output = run(arguments);
    assert!(output.stdout.is_empty(), "{arguments}");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().expect("no signal"), stderr)
}

/// Facts that hold for every good run.
fn assert_good(json: &Value) {
    assert!(number(json, "rate_pps") > 0.0);
    assert!(number(json, "cycles_per_packet") > 0.0);
    assert!(number(json, "cycles_per_packet_with_pmd") >= number(json, "cycles_per_packet"));
    assert!(number(json, "mean_burst") >= 1.0);
    for key in [
        "replies_wrong",
        "unaccounted",
        "endpoint_mbufs_in_use",
        "generator_mbufs_in_use",
    ] {
        assert_eq!(json[key], 0, "{key}");
    }
    let answered = number(json, "replies_verified") + number(json, "lost");
    assert_eq!(answered, number(json, "sent"));
    for stage in ["classify", "look_up", "process", "timers"] {
        assert!(json["stages"][stage].is_number(), "{stage}");
    }
    assert!(!json["limit"]["evidence"].as_str().expect("text").is_empty());
    assert!(
        json["versions"]["dpdk"]
            .as_str()
            .expect("text")
            .starts_with("DPDK")
    );
}

#[test]
fn a_closed_port_on_the_in_memory_link() {
    let json = measured("rst");
    assert_good(&json);
    assert_eq!(
        (&json["mode"], &json["link"]),
        (&"rst".into(), &"memory link, no NIC".into())
    );
    assert_eq!(json["counters"]["rst_sent"], json["counters"]["rx_frames"]);
    assert_eq!(
        (&json["connections"], &json["bytes_per_connection"]),
        (&0.into(), &Value::Null)
    );
}

#[test]
fn an_open_port_with_cookies_and_with_embryos() {
    let cookies = measured("syn --cookies");
    assert_good(&cookies);
    assert_eq!(
        cookies["counters"]["syn_cookie_sent"],
        cookies["counters"]["rx_frames"]
    );
    let embryos = measured("syn");
    assert_good(&embryos);
    assert!(number(&embryos, "resets_sent") > 0.0);
    assert_eq!(
        embryos["counters"]["embryo_reset"],
        embryos["counters"]["syn_embryo"]
    );
}

#[test]
fn ipv6_and_other_options_are_answered_as_well() {
    assert_good(&measured("rst --ipv6"));
    assert_good(&measured("syn --ipv6 --cookies"));
    assert_good(&measured("rst --options linux"));
    assert_good(&measured("syn --cookies --options none"));
}

#[test]
fn connections_fill_the_table_and_are_weighed() {
    let json = measured("rst --fill 200k");
    assert_good(&json);
    assert_eq!(json["connections"], 200_000);
    // A 64-byte record and its place in the index; huge pages round up.
    assert!((64.0..200.0).contains(&number(&json, "bytes_per_connection")));
}

#[test]
fn a_rate_is_kept_to() {
    let json = measured("rst --rate 10kpps");
    let rate = number(&json, "sent_pps");
    // Two busy threads may lose their CPU for a while; what they may not do is exceed the rate.
    assert!(rate > 0.0 && rate < 13_000.0, "{rate}");
}

#[test]
fn two_processes_over_memif() {
    for arguments in ["rst --nic memif", "syn --nic memif --cookies --ipv6"] {
        let json = measured(arguments);
        assert_good(&json);
        assert!(
            json["link"]
                .as_str()
                .expect("text")
                .contains("two processes")
        );
    }
}

#[test]
fn text_goes_to_stdout_and_the_lines_of_each_second_to_stderr() {
    let _alone = alone();
    let output = run("bench rst --duration 0.2 --warmup-ms 0");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    for part in [
        "bench rst over memory link, no NIC",
        "Mpps verified",
        "0 wrong",
        "with the PMD",
        "limit",
    ] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    assert!(stderr.contains("Mpps sent") && !stdout.contains("error"));
}

#[test]
fn wrong_usage_is_one_line_and_status_2() {
    let _alone = alone();
    for (arguments, says) in [
        ("bench rst --nic eth0", "memif:SOCKET"),
        ("bench rst --nic tap:dtap9", "--nic ring"),
        ("bench rst --cpus 0,4095", "no such lcore"),
        ("bench rst --cpus 0", "--cpus G"),
        ("bench rst --cookies", "bench syn"),
        ("bench rst -d 0", "0.1 to 3600"),
        ("bench rst --peer external", "memif:SOCKET"),
        ("bench rst --expect echo", "--peer external"),
        ("bench rst --ring-frames 100", "power of two"),
    ] {
        let (status, stderr) = refused(arguments);
        assert_eq!(status, 2, "{arguments}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{arguments}: {stderr}");
        assert!(
            stderr.starts_with("error: ") && stderr.contains(says),
            "{arguments}: {stderr}"
        );
    }
    for arguments in [
        "bench",
        "bench ack",
        "bench rst --fill many",
        "bench rst -R 0",
    ] {
        assert_eq!(refused(arguments).0, 2, "{arguments}");
    }
}

/// A directory of this test alone, gone with this value.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("syncline-test-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_socket_that_is_taken_or_that_nobody_serves_is_an_error() {
    let _alone = alone();
    let directory = Directory::new("socket");
    let socket = directory.0.join("a.sock");
    let (status, stderr) = refused(&format!(
        "bench rst --nic memif:{} --peer external",
        socket.display()
    ));
    assert_eq!(status, 1);
    assert!(stderr.contains("no process serves"), "{stderr}");
    let _server = UnixListener::bind(&socket).expect("a socket");
    let (status, stderr) = refused(&format!("bench rst --nic memif:{}", socket.display()));
    assert_eq!(status, 1);
    assert!(stderr.contains("choose another path"), "{stderr}");
}

/// A running binary, killed with this value if it still runs.
struct Running(Child);

impl Running {
    fn start(arguments: &str) -> Self {
        let mut command = syncline(arguments);
        Self(
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("it starts"),
        )
    }

    /// Waits until `line` stands on its stderr.
    fn until_it_says(&mut self, what: &str) {
        use std::io::{BufRead as _, BufReader};
        let stderr = self.0.stderr.take().expect("piped");
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        assert!(
            lines.any(|line| line.contains(what)),
            "it never said {what}"
        );
        // Keeps reading, so that it can go on writing.
        std::thread::spawn(move || lines.for_each(drop));
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([signal, &self.0.id().to_string()])
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// Its exit status and stdout.
    fn end(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.0.try_wait().expect("a child").is_none() {
            assert!(Instant::now() < deadline, "it hangs");
            std::thread::sleep(Duration::from_millis(20));
        }
        let status = self.0.wait().expect("a child").code();
        let stdout = std::io::read_to_string(self.0.stdout.take().expect("piped"));
        (status, stdout.expect("text"))
    }

    /// The process that it started.
    fn child(&self) -> u32 {
        let pid = self.0.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.expect("the kernel lists children");
        children.trim().parse().expect("one child")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn ctrl_c_ends_early_and_prints_the_result() {
    let _alone = alone();
    for nic in ["ring", "memif"] {
        let mut running = Running::start(&format!("bench rst --nic {nic} -d 60s -J"));
        running.until_it_says("Mpps verified");
        running.signal("-INT");
        let (status, stdout) = running.end();
        assert_eq!(status, Some(0), "{nic}: {stdout}");
        let json: Value = serde_json::from_str(&stdout).expect("JSON");
        assert_eq!(json["interrupted"], true);
        assert_good(&json);
    }
}

fn is_alive(pid: u32) -> bool {
    // A zombie counts as gone: no other process could reap it any faster.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn neither_process_of_a_memif_run_outlives_the_other() {
    let _alone = alone();
    let mut orphaned = Running::start("bench rst --nic memif -d 60s");
    orphaned.until_it_says("Mpps verified");
    let endpoint = orphaned.child();
    assert!(is_alive(endpoint));
    orphaned.signal("-KILL");
    let deadline = Instant::now() + Duration::from_secs(20);
    while is_alive(endpoint) {
        assert!(
            Instant::now() < deadline,
            "the endpoint outlives its parent"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(orphaned);

    let mut bereft = Running::start("bench rst --nic memif -d 60s");
    bereft.until_it_says("Mpps verified");
    let endpoint = bereft.child().to_string();
    assert!(
        Command::new("kill")
            .args(["-KILL", &endpoint])
            .status()
            .expect("kill runs")
            .success()
    );
    let (status, stdout) = bereft.end();
    assert_eq!(
        (status, stdout.as_str()),
        (Some(1), ""),
        "a run without an endpoint has no result"
    );
}
