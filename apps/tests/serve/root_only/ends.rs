//! The end of a run comes on time: under a flood, by every signal, and with nothing left behind.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGTERM};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::{PATIENCE, connect};
use crate::server::{OURS, Server, counter, in_namespace, run, syncline};

/// UDP datagrams as fast as Python can, at a port that we answer in silence.
const FLOOD: &str = "
import socket, time
flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
flood.connect(('198.18.0.2', 9))
end = time.monotonic() + 60
while time.monotonic() < end:
    try:
        for _ in range(100):
            flood.send(b'x' * 20)
    except OSError:
        pass
";
/// Below that, a machine is too slow to show the fault: the driver's signals have to come faster than a sleep can begin.
const FLOOD_MIN_PPS: u64 = 20_000;

/// Ends with the test.
struct Flood(Child);

impl Flood {
    fn start() -> Self {
        let mut python = Command::new("python3");
        python.args(["-c", FLOOD]).stdin(Stdio::null());
        Self(python.spawn().expect("python3 is there"))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs root"]
fn a_flood_delays_neither_lines_nor_the_end() {
    in_namespace(|| {
        let mut server = Server::start(&["--duration", "5"]);
        let started = Instant::now();
        let flood = Flood::start();
        let (summary, log) = server.end_with_log();
        let took = started.elapsed();
        drop(flood);
        let lines = log.iter().filter(|line| line.contains(" s  rx ")).count();
        let frames = summary["rx_frames"].as_u64().expect("a number");
        assert!(frames > 4 * FLOOD_MIN_PPS, "{frames} frames are no flood");
        assert!(took < Duration::from_secs(7), "--duration 5 took {took:?}");
        assert!(lines >= 4, "{lines} lines in 5 s: {log:#?}");
    });
}

#[test]
#[ignore = "needs root"]
fn a_flood_does_not_delay_ctrl_c() {
    in_namespace(|| {
        let server = Server::start(&[]);
        let flood = Flood::start();
        std::thread::sleep(Duration::from_secs(2));
        let asked = Instant::now();
        let summary = server.stop(SIGINT);
        let took = asked.elapsed();
        drop(flood);
        let frames = summary["rx_frames"].as_u64().expect("a number");
        assert!(frames > FLOOD_MIN_PPS, "{frames} frames are no flood");
        assert!(took < Duration::from_secs(3), "the end took {took:?}");
    });
}

/// Requests of the meantime are answered, and idle connections are closed.
#[test]
#[ignore = "needs root"]
fn a_hang_up_drains_as_ctrl_c_does() {
    for signal in [SIGHUP, SIGTERM, SIGINT] {
        in_namespace(move || {
            let server = Server::start(&["--listen", "7=echo"]);
            let mut stream = connect(OURS, 7, PATIENCE).expect("open");
            stream.write_all(b"x").expect("the kernel takes it");
            stream.read_exact(&mut [0]).expect("an echo");
            // A peer that closes after us.
            let peer = std::thread::spawn(move || stream.read(&mut [0]));
            let summary = server.stop(signal);
            let read = peer.join().expect("no panic");
            assert_eq!(read.expect("closed, not reset"), 0);
            assert_eq!(summary["ended_by"], "signal", "{signal}");
            assert_eq!(summary["ending"]["open"], 1, "{signal}: {summary}");
            assert_eq!(summary["ending"]["reset"], 0, "{signal}: {summary}");
        });
    }
}

#[test]
#[ignore = "needs root"]
fn nohup_is_respected() {
    in_namespace(|| {
        let mut command = Command::new("sh");
        let program = env!("CARGO_BIN_EXE_syncline");
        command.args(["-c", "trap '' HUP; exec \"$@\"", "sh", program]);
        let mut server = Server::start_by(command, &[]);
        server.signal(SIGHUP);
        std::thread::sleep(Duration::from_millis(500));
        assert!(!server.has_ended());
        server.stop(SIGINT);
    });
}

/// Before it has begun there is nothing to finish: a start that is asked to end ends.
#[test]
#[ignore = "needs root"]
fn a_signal_ends_a_start() {
    in_namespace(|| {
        let child = syncline()
            .args(["serve", "--nic", "tap:dtap0", "--ip", "198.18.0.2/24"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        // As soon as it handles signals, which is long before DPDK is there.
        let caught = |text: &str| {
            let set = text.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            let set = set.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
            set.is_some_and(|set| set >> (SIGINT as i32 - 1) & 1 == 1)
        };
        let status = format!("/proc/{pid}/status");
        while !std::fs::read_to_string(&status).is_ok_and(|text| caught(&text)) {
            std::thread::sleep(Duration::from_millis(1));
        }
        nix::sys::signal::kill(pid, SIGTERM).expect("it runs");
        let output = child.wait_with_output().expect("it was started");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{text}");
        assert!(
            text.contains("stopped by a signal before it began"),
            "{text}"
        );
    });
}

/// A start that hangs (here in a command that we run) is ended by the second signal.
#[test]
#[ignore = "needs root"]
fn a_second_signal_ends_a_start_that_hangs() {
    in_namespace(|| {
        let place = std::env::temp_dir().join(format!("syncline-hang-{}", std::process::id()));
        std::fs::create_dir_all(&place).expect("a directory");
        let ip = place.join("ip");
        std::fs::write(&ip, "#!/bin/sh\ntouch \"$0.runs\"\nexec sleep 10\n").expect("a script");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&ip, mode).expect("it is ours");
        let path = format!(
            "{}:{}",
            place.display(),
            std::env::var("PATH").expect("a path")
        );
        let mut child = syncline()
            .args(["serve", "--nic", "tap:dtap0", "--ip", "198.18.0.2/24"])
            .args(["--tap-up", "198.18.0.1/24"])
            .env("PATH", path)
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        while !place.join("ip.runs").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        for may_run_on in [true, false] {
            nix::sys::signal::kill(pid, SIGINT).expect("it runs");
            let asked = Instant::now();
            while child.try_wait().expect("it was started").is_none() {
                if asked.elapsed() > Duration::from_secs(1) {
                    assert!(may_run_on, "the second signal did not end it");
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        std::fs::remove_dir_all(&place).expect("it was made");
        assert_eq!(child.wait().expect("it was started").code(), Some(130));
    });
}

/// A worker that is stopped for good stands for one that hangs in a driver.
#[test]
#[ignore = "needs root"]
fn a_worker_that_hangs_takes_no_result_with_it() {
    in_namespace(|| {
        let mut child = syncline()
            .args(["serve", "--nic", "tap:dtap0", "--ip", "198.18.0.2/24"])
            .args(["--tap-up", "198.18.0.1/24", "--duration", "3", "--json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let worker = thread_of(child.id(), "worker0");
        run("ping -c 3 -i 0.2 -W 5 198.18.0.2");
        // The last line before counts the pings.
        std::thread::sleep(Duration::from_millis(1100));
        ptrace::seize(worker, ptrace::Options::empty()).expect("it is our child's");
        ptrace::interrupt(worker).expect("it runs");
        waitpid(worker, Some(WaitPidFlag::__WALL)).expect("it stops");
        let (mut result, mut log) = (String::new(), String::new());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        stdout
            .expect("a pipe")
            .read_to_string(&mut result)
            .expect("text");
        stderr
            .expect("a pipe")
            .read_to_string(&mut log)
            .expect("text");
        // The end of a thread that we trace is ours to hear of, before that of the process.
        let _ = waitpid(worker, Some(WaitPidFlag::__WALL));
        let status = child.wait().expect("it was started");
        assert_eq!(status.code(), Some(1), "{log}");
        let summary: serde_json::Value = serde_json::from_str(&result).expect("JSON");
        assert_eq!(counter(&summary, "echo_answered"), 3, "{summary}");
        assert_eq!(summary["ended_by"], "fault");
        let faults = summary["faults"].to_string();
        assert!(
            faults.contains("worker 0 does not answer") && faults.contains("does not end"),
            "{faults}"
        );
    });
}

/// The thread of that name, once it is there.
fn thread_of(pid: u32, name: &str) -> Pid {
    loop {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let comm = std::fs::read_to_string(task.path().join("comm"));
            if comm.is_ok_and(|comm| comm.trim() == name) {
                let id = task.file_name().to_string_lossy().parse();
                return Pid::from_raw(id.expect("a number"));
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
