//! `--pcap` to a FIFO, with a reader that is late, gone, or stopped, and to a full disk: the run begins and ends all the same.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::server::syncline;

/// A run of one second with everything that it may wait for, on a busy machine.
const END_MAX: Duration = Duration::from_secs(20);

/// A FIFO of its own, gone with the test.
struct Fifo(PathBuf);

impl Fifo {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("syncline-{name}-{}", std::process::id()));
        let done = Command::new("mkfifo").arg(&path).status();
        assert!(done.expect("mkfifo is there").success());
        Self(path)
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A NIC that receives without end, so that there is always something to capture.
fn start(pcap: &Path, flags: &[&str]) -> Child {
    syncline()
        .args(["serve", "--nic", "net_null0", "--ip", "198.18.0.2/24"])
        .args(["--idle", "sleep", "--json", "--pcap"])
        .arg(pcap)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

/// Its summary, exit status and log; it must end in time.
fn end(child: Child) -> (Value, Option<i32>, String) {
    let started = Instant::now();
    let output = child.wait_with_output().expect("it was started");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(started.elapsed() < END_MAX, "{log}");
    let summary = serde_json::from_slice(&output.stdout);
    let summary = summary.unwrap_or_else(|error| panic!("{error}: {log}"));
    (summary, output.status.code(), log)
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

#[test]
fn without_a_reader_it_runs_and_says_so() {
    let fifo = Fifo::new("no-reader");
    let (summary, status, log) = end(start(&fifo.0, &["--duration", "1"]));
    assert!(log.contains("a FIFO without a reader"), "{log}");
    let pcap = &summary["pcap"];
    assert_eq!(pcap["error"], "no program opened it for reading");
    assert!(
        number(&pcap["frames"]) == 0 && number(&pcap["dropped"]) > 0,
        "{pcap}"
    );
    assert_eq!(status, Some(1), "a capture was asked for");
}

#[test]
fn without_a_reader_a_signal_ends_it() {
    let fifo = Fifo::new("signal");
    let child = start(&fifo.0, &[]);
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    // It serves when its worker has a thread.
    let serves = || {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten();
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm"));
        tasks
            .flatten()
            .filter_map(|task| name(task).ok())
            .any(|name| name.trim() == "worker0")
    };
    while !serves() {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(300));
    kill(pid, Signal::SIGTERM).expect("it runs");
    let (summary, _, _) = end(child);
    assert_eq!(summary["ended_by"], "signal");
}

#[test]
fn a_reader_that_comes_later_gets_whole_frames() {
    let fifo = Fifo::new("late");
    let child = start(&fifo.0, &["--duration", "2"]);
    std::thread::sleep(Duration::from_millis(700));
    let mut bytes = Vec::new();
    let read = File::open(&fifo.0).and_then(|mut fifo| fifo.read_to_end(&mut bytes));
    read.expect("a capture");
    let (summary, status, log) = end(child);
    assert_eq!(status, Some(0), "{log}");
    let mut reader = pcap_file::pcapng::PcapNgReader::new(bytes.as_slice()).expect("pcapng");
    let mut frames = 0;
    while let Some(block) = reader.next_block() {
        frames += u64::from(block.expect("whole").into_enhanced_packet().is_some());
    }
    assert!(frames > 0);
    assert_eq!(number(&summary["pcap"]["frames"]), frames);
}

#[test]
fn a_reader_that_goes_away_ends_the_capture_and_not_the_run() {
    let fifo = Fifo::new("gone");
    let child = start(&fifo.0, &["--duration", "2"]);
    let read = File::open(&fifo.0).and_then(|mut fifo| fifo.read_exact(&mut [0; 1000]));
    read.expect("a capture");
    let (summary, status, log) = end(child);
    assert_eq!(summary["pcap"]["error"], "its reader is gone", "{log}");
    assert!(log.contains("no frame is captured any more"), "{log}");
    assert_eq!(
        (status, &summary["ended_by"]),
        (Some(1), &"duration".into())
    );
}

#[test]
fn a_reader_that_sleeps_holds_nothing_up() {
    let fifo = Fifo::new("asleep");
    let child = start(&fifo.0, &["--duration", "1"]);
    let reader = File::open(&fifo.0).expect("it writes");
    let (summary, status, log) = end(child);
    drop(reader);
    let pcap = &summary["pcap"];
    assert_eq!(
        pcap["error"], "its reader took nothing more at the end",
        "{log}"
    );
    assert!(number(&pcap["dropped"]) > 0 && status == Some(1), "{pcap}");
}

#[test]
fn a_full_disk_is_named() {
    let output = start(Path::new("/dev/full"), &[]).wait_with_output();
    let output = output.expect("it was started");
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(
        log.contains("--pcap /dev/full: No space left on device"),
        "{log}"
    );
}
