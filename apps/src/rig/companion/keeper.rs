//! [`keep`]: the process between a run and the command of `--with`. It becomes the parent of every process that the command leaves
//! behind, and ends all of them when the run ends, even by SIGKILL.
//!
//! It must never end before the processes that it keeps, but for those that SIGKILL does not end.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use procfs_core::FromRead as _;
use procfs_core::process::Stat;

use crate::clock;
use crate::console;
use crate::failure::Failure;

/// How long processes may take to end after each signal.
const EACH_MAX: Duration = Duration::from_secs(2);
/// How long they may take to end: after SIGTERM, then after SIGKILL.
pub(super) const END_MAX: Duration = EACH_MAX.saturating_mul(2);
const LOOK: Duration = Duration::from_millis(20);
/// A shell's status of a command that a signal ended, less the number of the signal.
const BY_SIGNAL: u8 = 128;
/// A shell's status of a command that it did not find.
const NOT_STARTED: u8 = 127;

/// Flags of the process that keeps a command. `syncline` itself starts it.
#[derive(Debug, clap::Args)]
pub(crate) struct KeepArgs {
    /// Run this command by the shell, until stdin ends
    command: String,
}

/// Runs the command by the shell until it has ended with all its processes, or until stdin ends. The exit status is the command's,
/// as a shell says it; stdout gets it as a line once the command itself has ended.
pub(crate) fn keep(args: &KeepArgs) -> ExitCode {
    let own = match start(&args.command) {
        Ok(own) => own,
        Err(failure) => {
            console::failure(&failure);
            return ExitCode::from(NOT_STARTED);
        }
    };
    let is_over = watch_stdin();
    let mut kept = Kept { own, status: None };
    let mut are_all_gone = false;
    while !are_all_gone && !is_over.load(Ordering::Relaxed) {
        are_all_gone = kept.reap();
        // A daemon's parent ends well; what is left behind by a command that failed is of no use.
        if kept.status.is_some_and(|status| status != 0) {
            break;
        }
        if !are_all_gone {
            clock::sleep(LOOK);
        }
    }
    if !are_all_gone && !kept.end() {
        console::log(format_args!(
            "warning: processes of --with `{}` did not end after SIGTERM and SIGKILL",
            args.command
        ));
    }
    ExitCode::from(kept.status.unwrap_or(0))
}

/// Starts the command, in a process group of its own.
fn start(command: &str) -> Result<Pid, Failure> {
    // Without it (Linux before 3.4) a daemon would outlive the run.
    let adopts = set_child_subreaper(true);
    adopts.map_err(|error| Failure::Run(format!("--with `{command}`: prctl: {error}")))?;
    let spawned = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .process_group(0)
        .spawn();
    let child = spawned.map_err(|error| Failure::Run(format!("--with `{command}`: {error}")))?;
    Ok(Pid::from_raw(child.id().cast_signed()))
}

/// Becomes true when stdin has ended: the run has, or it was killed.
fn watch_stdin() -> Arc<AtomicBool> {
    let is_over = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&is_over);
    std::thread::spawn(move || {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
        flag.store(true, Ordering::Relaxed);
    });
    is_over
}

/// The command and the processes that it left behind.
struct Kept {
    /// The command, and its process group.
    own: Pid,
    /// The command's exit status once it has ended.
    status: Option<u8>,
}

impl Kept {
    /// Waits for every child that has ended. Whether none is left.
    fn reap(&mut self) -> bool {
        loop {
            let (pid, status) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, u8::try_from(code).unwrap_or(u8::MAX)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    let number = u8::try_from(signal as i32).unwrap_or(0);
                    (pid, BY_SIGNAL.saturating_add(number))
                }
                Ok(WaitStatus::StillAlive) => return false,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(_) => return true,
            };
            if pid == self.own {
                self.status = Some(status);
                // A run that has ended reads no more.
                let _ = console::text(status);
            }
        }
    }

    /// Ends all: SIGTERM, and after a while SIGKILL, to the group of the command and to every child, also to those that become children
    /// meanwhile. Whether none is left.
    fn end(&mut self) -> bool {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            let (started, mut signalled) = (Instant::now(), Vec::new());
            if self.status.is_none() {
                // The command was not waited for: the number is still its.
                let _ = killpg(self.own, signal);
                signalled.push(self.own);
            }
            while started.elapsed() < EACH_MAX {
                if self.reap() {
                    return true;
                }
                for pid in children() {
                    if !signalled.contains(&pid) {
                        signalled.push(pid);
                        // It is a child that was not waited for: the number is still its.
                        let _ = kill(pid, signal);
                    }
                }
                clock::sleep(LOOK);
            }
        }
        self.reap()
    }
}

/// The children of this process.
fn children() -> Vec<Pid> {
    let own = std::process::id().cast_signed();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let child = |entry: std::fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        // It may end meanwhile.
        let stat = Stat::from_file(entry.path().join("stat")).ok()?;
        (stat.ppid == own).then(|| Pid::from_raw(pid))
    };
    entries.flatten().filter_map(child).collect()
}
