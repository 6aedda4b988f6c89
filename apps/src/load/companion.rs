//! [`Companion`]: the command of `--with`, the server to be measured, in the run's network namespace.
//!
//! It must never outlive the run, and never be waited for without an end.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use procfs_core::FromRead as _;
use procfs_core::process::Stat;

use crate::clock;
use crate::console;
use crate::failure::Failure;
use crate::stop::Stop;

/// How long it may take until it listens.
const START_MAX: Duration = Duration::from_secs(10);
/// How long it may take to end.
const END_MAX: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);
/// The state LISTEN in /proc/net/tcp.
const LISTEN: &str = "0A";

/// A command that runs.
#[derive(Debug)]
pub(super) struct Companion {
    child: Child,
    command: String,
    /// Children of this process that are not the command's.
    others: Vec<Pid>,
}

impl Companion {
    /// Starts `command` by the shell, in a process group of its own. What it prints goes to stderr. Processes that it leaves behind,
    /// such as a daemon, become children of this process, and end with the companion.
    ///
    /// # Errors
    /// [`Failure::Run`] when there is no shell.
    pub(super) fn start(command: &str) -> Result<Self, Failure> {
        let spawn = |program: &str, before: &[&str]| {
            Command::new(program)
                .args(before)
                .arg(command)
                .stdin(Stdio::null())
                .stdout(std::io::stderr())
                .process_group(0)
                .spawn()
        };
        let others = children();
        // Without it (Linux before 3.4) a daemon would outlive the run.
        let adopts = set_child_subreaper(true);
        adopts.map_err(|error| Failure::Run(format!("--with `{command}`: prctl: {error}")))?;
        // With setpriv (util-linux) it ends with us even where we are killed.
        let child = spawn("setpriv", &["--pdeathsig", "TERM", "sh", "-c"])
            .or_else(|_| spawn("sh", &["-c"]))
            .map_err(|error| Failure::Run(format!("--with `{command}`: {error}")))?;
        Ok(Self {
            child,
            command: command.to_owned(),
            others,
        })
    }

    /// Waits until a program of this network namespace listens on the port of each target; or, where it `may_end`, until it has
    /// ended well, as a command does that sets a device up.
    ///
    /// # Errors
    /// [`Failure::Run`] when the command has ended, or none listens in time, or a signal came.
    pub(super) fn wait_until_ready(
        &mut self,
        (targets, may_end): (&[SocketAddr], bool),
        stop: &Stop,
    ) -> Result<(), Failure> {
        let started = Instant::now();
        loop {
            let listening = listening_ports();
            let Some(missing) = targets.iter().find(|t| !listening.contains(&t.port())) else {
                return Ok(());
            };
            stop.unless_asked()?;
            if let Ok(Some(status)) = self.child.try_wait() {
                if may_end && status.success() {
                    return Ok(());
                }
                // A daemon's parent ends well, and the daemon listens in its own time.
                if !status.success() || self.left_behind().is_empty() {
                    return Err(self.ended(status));
                }
            }
            if started.elapsed() >= START_MAX {
                return Err(Failure::Run(format!(
                    "--with `{}`: nothing listens on port {} after {} s",
                    self.command,
                    missing.port(),
                    START_MAX.as_secs()
                )));
            }
            clock::sleep(LOOK);
        }
    }

    fn ended(&self, status: ExitStatus) -> Failure {
        Failure::Run(format!(
            "--with `{}` ended before it listened: {status}",
            self.command
        ))
    }

    /// Processes of the command whose parents have ended: they are our children now. Those that have ended themselves are waited
    /// for.
    fn left_behind(&self) -> Vec<Pid> {
        let own = Pid::from_raw(self.child.id().cast_signed());
        let is_ours = |pid: &Pid| *pid != own && !self.others.contains(pid);
        let runs = |pid: &Pid| {
            let ended = waitpid(*pid, Some(WaitPidFlag::WNOHANG));
            ended.is_ok_and(|status| status.pid().is_none())
        };
        children()
            .into_iter()
            .filter(is_ours)
            .filter(runs)
            .collect()
    }

    /// Ends what the command has left behind, and what that leaves behind in turn. Whether nothing is left.
    fn end_left_behind(&self) -> bool {
        end_by_signals(|signal, signalled| {
            let left = self.left_behind();
            for &pid in &left {
                if !signalled.contains(&pid) {
                    signalled.push(pid);
                    // It is a child that was not waited for: the number is still its.
                    let _ = kill(pid, signal);
                }
            }
            left.is_empty()
        })
    }

    /// Ends the command with its process group. Whether it has ended.
    fn end(&mut self) -> bool {
        // Once it has been waited for, its number may be another's.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return true;
        }
        let group = Pid::from_raw(self.child.id().cast_signed());
        end_by_signals(|signal, signalled| {
            if signalled.is_empty() {
                signalled.push(group);
                // The group is the child's own, and the child was not waited for: the number is still its.
                let _ = killpg(group, signal);
            }
            !matches!(self.child.try_wait(), Ok(None))
        })
    }
}

/// SIGTERM, and after a while SIGKILL. `have_ended` is called again and again with the signal and with those that have got it, for
/// it to add to; whether it has said yes.
fn end_by_signals(mut have_ended: impl FnMut(Signal, &mut Vec<Pid>) -> bool) -> bool {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let (started, mut signalled) = (Instant::now(), Vec::new());
        while started.elapsed() < END_MAX {
            if have_ended(signal, &mut signalled) {
                return true;
            }
            clock::sleep(LOOK);
        }
    }
    false
}

impl Drop for Companion {
    fn drop(&mut self) {
        let has_ended = self.end();
        if !(self.end_left_behind() && has_ended) {
            console::log(format_args!(
                "warning: --with `{}` did not end after SIGTERM and SIGKILL",
                self.command
            ));
        }
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

/// Ports on which a program of this network namespace listens, of both families.
fn listening_ports() -> Vec<u16> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| {
        // Without IPv6 there is no second table.
        std::fs::read_to_string(path).unwrap_or_default()
    });
    tables.iter().flat_map(|table| ports_in(table)).collect()
}

/// The local ports of a table of the kernel whose sockets listen (proc(5), net/tcp).
fn ports_in(table: &str) -> Vec<u16> {
    let port = |line: &str| {
        let mut words = line.split_whitespace();
        let (local, _, state) = (words.nth(1)?, words.next()?, words.next()?);
        let (_, port) = local.rsplit_once(':')?;
        (state == LISTEN).then(|| u16::from_str_radix(port, 16).ok())?
    };
    table.lines().filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_listen_are_found_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n   0: 00000000:1F90 00000000:0000 0A 00000000:00000000\n   \
                     1: 0100007F:0050 0100007F:9C40 01 00000000:00000000\n";
        assert_eq!(ports_in(table), [8080]);
    }

    #[test]
    fn a_command_that_ends_at_once_is_said_so() {
        let mut companion = Companion::start("exit 3").expect("a shell");
        let stop = Stop::on_signals().expect("signals");
        // No program listens on port 1.
        let error = companion
            .wait_until_ready((&[([198, 18, 0, 1], 1).into()], false), &stop)
            .expect_err("it has ended");
        assert!(error.to_string().contains("exit status: 3"), "{error}");
    }
}
