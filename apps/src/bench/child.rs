//! [`Child`]: the endpoint of a memif run as its parent sees it, a process of its own; [`EndpointMessage`], the lines between them.
//!
//! Orders go one way, JSON the other. The child must never outlive its parent: it ends when its stdin does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::args::{BenchArgs, Mode};
use super::endpoint::{EndpointTotals, Progress, Ready};
use crate::clock;
use crate::console;
use crate::failure::Failure;
use crate::rig;
use crate::stop::Stop;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the endpoint may take to be ready: the first start of DPDK on a machine, and 100 M connections.
const START: Duration = Duration::from_secs(300);
/// How long a child may take to end.
const END: Duration = Duration::from_secs(5);
/// How often a waiting parent looks whether it should stop.
const LOOK: Duration = Duration::from_millis(50);

pub(super) const ORDER_PROGRESS: &str = "progress";
const ORDER_STOP: &str = "stop";

/// One line of the child's stdout.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EndpointMessage {
    Ready(Ready),
    Progress(Progress),
    Stopped(EndpointTotals),
    Failed { usage: bool, cause: String },
}

/// The endpoint's process, as its parent sees it. Ends with this value.
pub(super) struct Child {
    process: std::process::Child,
    told: Receiver<EndpointMessage>,
}

impl Child {
    /// Starts this very program in the other role, on the NIC `server`.
    ///
    /// # Errors
    /// [`Failure::Run`] when the system refuses.
    pub(super) fn start(args: &BenchArgs, server: &str, cpus: &[usize]) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| {
            Failure::Run(format!("cannot start the endpoint's process: {error}"))
        };
        let cpus: Vec<String> = cpus.iter().map(ToString::to_string).collect();
        let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
        command
            .args(["bench", args.mode.name(), "--role", "endpoint"])
            .args(["--nic", server, "--cpus", &cpus.join(",")])
            .args(args.cookies.then_some("--cookies"))
            .args(flags(args))
            .args(args.ipv6.then_some("--ipv6"))
            .args(args.eal.iter().map(|argument| format!("--eal={argument}")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = command.spawn().map_err(cannot)?;
        let (tx, told) = mpsc::channel();
        if let Some(stdout) = process.stdout.take() {
            // Ends with the child's stdout, or when the parent no longer reads.
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let Ok(told) = serde_json::from_str(&line) else {
                        console::log(format_args!("endpoint: {line}"));
                        continue;
                    };
                    if tx.send(told).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Self { process, told })
    }

    /// Waits until the endpoint answers on its side of the link.
    ///
    /// # Errors
    /// The child's own [`Failure`], or that it ended, was too slow, or Ctrl-C came before it was ready.
    pub(super) fn ready(&mut self, stop: &Stop) -> Result<Ready, Failure> {
        let started = Instant::now();
        loop {
            match self.told.recv_timeout(LOOK) {
                Ok(EndpointMessage::Ready(ready)) => return Ok(ready),
                Err(RecvTimeoutError::Timeout) if stop.is_asked() => {
                    return Err(Failure::Run(
                        "interrupted before the measurement began".into(),
                    ));
                }
                Err(RecvTimeoutError::Timeout) if started.elapsed() < START => {}
                other => return Err(self.unexpected(other)),
            }
        }
    }

    /// The progress of the endpoint.
    ///
    /// # Errors
    /// The child's own [`Failure`], or that it ended or does not answer.
    pub(super) fn progress(&mut self) -> Result<Progress, Failure> {
        self.order(ORDER_PROGRESS);
        match self.told.recv_timeout(PATIENCE) {
            Ok(EndpointMessage::Progress(progress)) => Ok(progress),
            other => Err(self.unexpected(other)),
        }
    }

    /// Stops the endpoint and waits until it has closed its side of the link.
    ///
    /// # Errors
    /// The child's own [`Failure`], or that it ended or does not answer.
    pub(super) fn stop(&mut self) -> Result<EndpointTotals, Failure> {
        self.order(ORDER_STOP);
        match self.told.recv_timeout(PATIENCE) {
            Ok(EndpointMessage::Stopped(stopped)) => Ok(stopped),
            other => Err(self.unexpected(other)),
        }
    }

    fn order(&mut self, order: &str) {
        if let Some(stdin) = &mut self.process.stdin {
            // A child that is gone shows when its answer is missing.
            let _ = writeln!(stdin, "{order}").and_then(|()| stdin.flush());
        }
    }

    /// The text in place of an answer.
    fn unexpected(&mut self, told: Result<EndpointMessage, RecvTimeoutError>) -> Failure {
        match told {
            Ok(EndpointMessage::Failed { usage: true, cause }) => Failure::Usage(cause),
            Ok(EndpointMessage::Failed {
                usage: false,
                cause,
            }) => Failure::Run(cause),
            Ok(other) => Failure::Run(format!(
                "the endpoint's process sent {other:?} at the wrong time: that is a bug, please report it"
            )),
            Err(RecvTimeoutError::Timeout) => Failure::Run(rig::silent("the endpoint's process")),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self
                    .process
                    .wait()
                    .map_or_else(|e| e.to_string(), |s| s.to_string());
                Failure::Run(format!(
                    "the endpoint's process ended before the run did ({status})"
                ))
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The end of its stdin is the order to end.
        drop(self.process.stdin.take());
        let started = Instant::now();
        while started.elapsed() < END {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            clock::sleep(LOOK);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The flags that the endpoint's process must have too: of a conversation, or of the table.
fn flags(args: &BenchArgs) -> Vec<String> {
    if !args.mode.is_conversation() {
        return vec!["--fill".to_owned(), args.fill.to_string()];
    }
    let ms = |time: Duration| format!("{}ms", time.as_millis());
    let connections = match args.mode {
        Mode::Connect => args.under_way(),
        _ => args.requested_connections(),
    };
    let mut flags: Vec<String> = [
        ("--connections", connections.to_string()),
        ("--concurrency", args.under_way().to_string()),
        ("--shape", args.shape.name().to_owned()),
        ("--size", args.size.to_string()),
        ("--time-wait", ms(args.time_wait)),
        ("--park-after", ms(args.park_after())),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect();
    if let Some(records) = args.open_records {
        flags.extend(["--open-records".to_owned(), records.to_string()]);
    }
    flags
}
