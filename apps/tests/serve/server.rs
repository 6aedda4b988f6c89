//! [`Server`]: a running `syncline serve` on a tap, and the namespace around it.
//!
//! It must never outlive its test: dropped, it is killed.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

pub(crate) const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2));
pub(crate) const OURS6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));
/// How long a start may take: the first on a machine loads DPDK's plugins from a cold disk.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn syncline() -> Command {
    Command::new(env!("CARGO_BIN_EXE_syncline"))
}

/// Runs a test on a thread in a network namespace of its own.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A program that must succeed; its stdout and stderr.
pub(crate) fn run(command: &str) -> String {
    let mut words = command.split(' ');
    let output = Command::new(words.next().expect("a program"))
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{command}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{command}: {said}");
    said
}

pub(crate) struct Server {
    child: Child,
    stdout: ChildStdout,
    log: Receiver<String>,
}

impl Server {
    /// On tap `dtap0`, both families, the kernel's side set up; returns when it says that it is there.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_by(syncline(), flags)
    }

    /// As [`Server::start`], by another command that leads to the program.
    pub(crate) fn start_by(command: Command, flags: &[&str]) -> Self {
        let kernel = ["--tap-up", "198.18.0.1/24", "--tap-up", "2001:db8::1/64"];
        Self::start_on(command, "tap:dtap0", &[&kernel, flags].concat()).0
    }

    /// As [`Server::start`], with the kernel's side left down.
    pub(crate) fn alone(flags: &[&str]) -> Self {
        Self::start_on(syncline(), "tap:dtap0", flags).0
    }

    /// On a NIC, both families; with the line that says that it is there.
    pub(crate) fn start_on(mut command: Command, nic: &str, flags: &[&str]) -> (Self, String) {
        let mut child = command
            .args(["serve", "--nic", nic, "--json"])
            .args(["--ip", "198.18.0.2/24", "--ip", "2001:db8::2/64"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdout = child.stdout.take().expect("a pipe");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (line, log) = channel();
        std::thread::spawn(move || {
            // Ends with the program; without a reader the rest is not needed.
            stderr
                .lines()
                .map_while(Result::ok)
                .try_for_each(|text| line.send(text))
        });
        let server = Self { child, stdout, log };
        loop {
            let text = server
                .log
                .recv_timeout(PATIENCE)
                .expect("it says that it is there");
            assert!(!text.starts_with("error"), "{text}");
            if text.starts_with(&format!("{nic}: ")) {
                return (server, text);
            }
        }
    }

    /// Waits for a line of the log that is `wanted`; those before it.
    pub(crate) fn wait_for_line(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let text = self.log.recv_timeout(PATIENCE).expect("it says that");
            if wanted(&text) {
                return lines;
            }
            lines.push(text);
        }
    }

    /// Sends the signal, waits for the end, and checks what every run promises.
    pub(crate) fn stop(mut self, signal: Signal) -> Value {
        self.signal(signal);
        self.end()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it runs");
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"))
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it was started").is_some()
    }

    /// Stops all of its threads, and returns when none runs any more: SIGSTOP alone reaches them some time later.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.child.id());
        let runs = |task: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The state follows the name, which stands in brackets.
            let state = stat.rsplit(") ").next().unwrap_or_default();
            !state.starts_with('T') && !state.is_empty()
        };
        let start = std::time::Instant::now();
        while std::fs::read_dir(&tasks)
            .expect("it runs")
            .flatten()
            .any(runs)
        {
            assert!(start.elapsed() < PATIENCE, "it does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// As [`Server::stop`], for a server that ends by itself.
    pub(crate) fn end(&mut self) -> Value {
        self.end_with_log().0
    }

    /// As [`Server::end`], with the lines that it logged since it was there.
    pub(crate) fn end_with_log(&mut self) -> (Value, Vec<String>) {
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).expect("text");
        let status = self.child.wait().expect("it was started");
        let log: Vec<String> = self.log.try_iter().collect();
        assert!(status.success(), "{status}\n{text}\n{}", log.join("\n"));
        let summary: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(summary["unaccounted"], 0, "{text}");
        assert_eq!(summary["mbufs_in_use"], 0, "{text}");
        assert_eq!(summary["faults"], Value::Array(Vec::new()), "{text}");
        for key in [
            "command",
            "versions",
            "link",
            "duration_s",
            "workers",
            "counters",
            "listeners",
            "ending",
            "tcp",
            "rx_frames",
            "tx_frames",
            "pcap",
        ] {
            assert!(summary.get(key).is_some(), "{key}: {text}");
        }
        (summary, log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A counter of the summary, 0 when it isn't there.
pub(crate) fn counter(summary: &Value, name: &str) -> u64 {
    summary["counters"][name].as_u64().unwrap_or(0)
}
