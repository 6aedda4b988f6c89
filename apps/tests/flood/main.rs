//! `syncline flood` over a tap, judged by the kernel's own counters and by tcpdump.
//!
//! All tests need root and /dev/net/tun, and run in network namespaces of their own. They must never send a frame outside
//! of them.
#![forbid(unsafe_code)]

// Answers, silence and refusals of the kernel.
mod root_only;
// Probes beside floods, and mitigators.
#[path = "probes.rs"]
mod root_only_probes;

use std::io::Read as _;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The kernel's side of the tap, and ours.
const LINK: [&str; 6] = [
    "--nic",
    "tap:dtap0",
    "--ip",
    "198.18.0.2/24",
    "--tap-up",
    "198.18.0.1/24",
];

/// Runs a test on a thread in a network namespace of its own.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
        run("ip link set lo up");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a command line, which must succeed; what it prints.
fn run(line: &str) -> String {
    let output = Command::new("bash").args(["-c", line]).output();
    let output = output.unwrap_or_else(|error| panic!("{line}: {error}"));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{line}: {said}");
    said
}

/// A program that runs beside the test, and is killed when the test is over.
struct Beside(Child);

impl Beside {
    fn start(command: &mut Command) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    fn interrupt(&self) {
        let pid = i32::try_from(self.0.id()).expect("a pid");
        kill(Pid::from_raw(pid), Signal::SIGINT).expect("it runs");
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until it is so.
fn wait_for(mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "it never happens"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A server of the kernel on these ports, all addresses, that accepts nothing; it listens when this returns.
fn listeners(ports: &[u16]) -> Vec<std::net::TcpListener> {
    let open = |&port: &u16| std::net::TcpListener::bind(("::", port)).expect("a free port");
    ports.iter().map(open).collect()
}

/// `syncline flood` with these arguments, over the tap.
fn flood(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command
        .arg("flood")
        .args(args.split(' '))
        .args(LINK)
        .arg("--json")
        .stdin(Stdio::null());
    command
}

/// The result of a flood that must end with this status.
fn result(output: &Output, status: i32) -> Value {
    let (said, log) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(status), "{said}\n{log}");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}\n{log}"))
}

/// A flood with these arguments, to its end; its result.
fn flooded(args: &str) -> Value {
    result(&flood(args).output().expect("it starts"), 0)
}

/// How many tuples met `outcome` in a row of the result.
fn first(row: &Value, outcome: &str) -> u64 {
    row["outcomes"][outcome]["first"].as_u64().unwrap_or(0)
}

fn number(value: &Value, name: &str) -> u64 {
    value[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// A counter of the kernel in this namespace.
fn kernel(counter: &str) -> u64 {
    let line = format!("nstat -asz {counter} | awk '$1 == \"{counter}\" {{ print $2 }}'");
    run(&line).trim().parse().expect("a number")
}
