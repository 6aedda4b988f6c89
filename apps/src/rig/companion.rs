//! [`Companion`]: the command of `--with`, in the run's network namespace: the server to be measured, or what sets up a device.
//!
//! It must never outlive the run, however that ends, and never be waited for without an end: a process of its own keeps it
//! ([`keep`]).

// The process that keeps the command.
mod keeper;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

pub(crate) use self::keeper::{KeepArgs, keep};
use crate::clock;
use crate::console;
use crate::failure::Failure;
use crate::stop::Stop;

/// How long it may take until it listens.
const START_MAX: Duration = Duration::from_secs(10);
/// How long the keeper may take to end: as long as it gives its command, and a second.
const END_MAX: Duration = keeper::END_MAX.saturating_add(Duration::from_secs(1));
const LOOK: Duration = Duration::from_millis(20);
/// The state LISTEN in /proc/net/tcp.
const LISTEN: &str = "0A";

/// A command that runs.
#[derive(Debug)]
pub(crate) struct Companion {
    /// It ends when its stdin does, which the kernel closes where this process is killed.
    keeper: Child,
    /// The exit status of the command itself, which may leave processes behind that run on.
    ended: Receiver<u8>,
    command: String,
}

impl Companion {
    /// The command, if there is one, started and ready, as [`Companion::wait_until_ready`] says.
    ///
    /// # Errors
    /// [`Failure::Run`] when it can't be started, has ended, or does not listen in time, or a signal came.
    pub(crate) fn ready(
        command: Option<&str>,
        wanted: (&[SocketAddr], bool),
        stop: &Stop,
    ) -> Result<Option<Self>, Failure> {
        let mut companion = command.map(Self::start).transpose()?;
        if let Some(companion) = &mut companion {
            companion.wait_until_ready(wanted, stop)?;
        }
        stop.unless_asked()?;
        Ok(companion)
    }

    /// Starts `command` by the shell, in a process group of its own. What it prints goes to stderr. Processes that it leaves behind,
    /// such as a daemon, end with the companion.
    ///
    /// # Errors
    /// [`Failure::Run`] when the keeper can't be started.
    fn start(command: &str) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::Run(format!("--with `{command}`: {error}"));
        // This program, whatever has become of its file.
        let mut keeper = Command::new("/proc/self/exe")
            .arg0("syncline")
            .args(["keep", "--", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let (statuses, ended) = mpsc::channel();
        if let Some(stdout) = keeper.stdout.take() {
            // Ends with the keeper.
            std::thread::spawn(move || {
                let lines = BufReader::new(stdout).lines().map_while(Result::ok);
                for status in lines.filter_map(|line| line.parse().ok()) {
                    let _ = statuses.send(status);
                }
            });
        }
        Ok(Self {
            keeper,
            ended,
            command: command.to_owned(),
        })
    }

    /// Waits until a program of this network namespace listens on the port of each target; or, where it `may_end`, until it has
    /// ended well, as a command does that sets a device up.
    ///
    /// # Errors
    /// [`Failure::Run`] when the command has ended, or none listens in time, or a signal came.
    fn wait_until_ready(
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
            // It has ended together with the processes that it left behind.
            if let Ok(Some(status)) = self.keeper.try_wait() {
                return if may_end && status.success() {
                    Ok(())
                } else {
                    Err(self.ended(status))
                };
            }
            if may_end && self.ended.try_recv() == Ok(0) {
                return Ok(());
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
}

impl Drop for Companion {
    fn drop(&mut self) {
        // With its stdin the keeper ends, and all that it keeps.
        drop(self.keeper.stdin.take());
        let started = Instant::now();
        while matches!(self.keeper.try_wait(), Ok(None)) {
            if started.elapsed() >= END_MAX {
                console::log(format_args!(
                    "warning: --with `{}` did not end",
                    self.command
                ));
                return;
            }
            clock::sleep(LOOK);
        }
    }
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
}
