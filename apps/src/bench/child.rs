//! The endpoint of a memif run as a process of its own: [`run`] is what it does, [`Child`] is how its parent sees it.
//!
//! Called by: `bench` (the child, by its hidden role), `memif` (the parent). The child must never outlive its parent: it
//! ends when its stdin does. Between them go lines: orders one way, JSON the other.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use dpdk::{Eal, EalConfig, Mempool, NicSpec, PortConfig};
use serde::{Deserialize, Serialize};

use super::args::{Args, Mode};
use super::conversation;
use super::endpoint::{self, Make, Progress, Ready, Stopped, Tells};
use super::memif::Link;
use super::ring::{MEMORY_MB, POOLS, only};
use crate::clock::{self, Clock};
use crate::console;
use crate::failure::Failure;
use crate::mailbox::{Mailbox, Order, Orders};
use crate::stop::Stop;
use crate::threads::join;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the endpoint may take to be ready: the first start of DPDK on a machine, and 100 M connections.
const START: Duration = Duration::from_secs(300);
/// How long a child that was told to end may take.
const END: Duration = Duration::from_secs(5);
/// How often a waiting parent looks whether it should stop.
const LOOK: Duration = Duration::from_millis(50);

const ORDER_PROGRESS: &str = "progress";
const ORDER_STOP: &str = "stop";

/// One line of the child's stdout.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    Ready(Ready),
    Progress(Progress),
    Stopped(Stopped),
    Failed { usage: bool, cause: String },
}

/// The child's life: opens the server's side of the link, turns the endpoint, answers its parent, stops.
///
/// # Errors
/// [`Failure`] when it can't even tell its parent; otherwise it tells, and ends well.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    // A Ctrl-C on the terminal reaches both processes; when to stop is the parent's to say.
    Stop::leave_to_parent()?;
    let outcome = match args.mode {
        Mode::Rst | Mode::Syn => serve(args, endpoint::without_app),
        Mode::Connect | Mode::Request => serve(args, conversation::endpoint),
    };
    match outcome {
        Ok(()) => Ok(()),
        Err(failure) => tell(&Told::Failed {
            usage: matches!(failure, Failure::Usage(_)),
            cause: failure.to_string(),
        }),
    }
}

fn serve<A: Tells>(args: &Args, make: Make<A>) -> Result<(), Failure> {
    let eal = Eal::init(&EalConfig {
        memory_mb: MEMORY_MB,
        extra_args: args.eal.clone(),
        ..EalConfig::default()
    })?;
    let spec: NicSpec = args.nic.parse()?;
    let (port, queues) = eal.open(&spec)?.init(&PortConfig {
        pools: POOLS,
        ..PortConfig::default()
    })?;
    let queue = only(queues)?;
    let rx_pool = port.rx_pool().cloned();
    let cpu = args.cpus.as_ref().and_then(|cpus| cpus.get(1).copied());
    let clock = Clock::start(eal.cycles_hz());
    let (orders, mailbox) = (Orders::new(Order::Run), Mailbox::new());
    let (last, pools) = std::thread::scope(|scope| {
        let (orders, mailbox, eal) = (&orders, &mailbox, &eal);
        let (ready_tx, ready_rx) = mpsc::channel();
        let endpoint = scope.spawn(move || {
            let _lcore = eal.register_thread(cpu)?;
            let (endpoint, ready) = make(queue, args, eal.memory_line(), clock)?;
            // The receiver waits for exactly this.
            drop(ready_tx.send(ready));
            Ok(endpoint.run(orders, mailbox))
        });
        let obeyed = match ready_rx.recv() {
            Ok(ready) => tell(&Told::Ready(ready)).and_then(|()| obey(mailbox)),
            // The thread's own error says more.
            Err(_) => Ok(()),
        };
        orders.give(Order::Stop);
        let ended = join(endpoint)?;
        obeyed.map(|()| ended)
    })?;
    drop(port);
    let in_use = pools.iter().chain(&rx_pool).map(Mempool::in_use).sum();
    tell(&Told::Stopped(Stopped {
        progress: last,
        mbufs_in_use: in_use,
    }))
}

/// Answers orders until told to stop, or until the parent is gone.
fn obey(mailbox: &Mailbox<Progress>) -> Result<(), Failure> {
    for line in std::io::stdin().lines() {
        match line.as_deref() {
            Ok(ORDER_PROGRESS) => {
                let silent = || Failure::Run("the endpoint's thread does not answer".into());
                tell(&Told::Progress(
                    mailbox.ask().ok_or_else(silent)?.with_memory(),
                ))?;
            }
            _ => break,
        }
    }
    Ok(())
}

fn tell(told: &Told) -> Result<(), Failure> {
    let line = serde_json::to_string(told).map_err(|error| Failure::Run(error.to_string()))?;
    console::result(line)
}

/// The endpoint's process, as its parent sees it. Ends with this value.
pub(super) struct Child {
    process: std::process::Child,
    told: Receiver<Told>,
}

impl Child {
    /// Starts this very program in the other role.
    ///
    /// # Errors
    /// [`Failure::Run`] when the system refuses.
    pub(super) fn start(args: &Args, link: &Link, cpus: &[usize]) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| {
            Failure::Run(format!("the endpoint's process does not start: {error}"))
        };
        let cpus: Vec<String> = cpus.iter().map(ToString::to_string).collect();
        let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
        command
            .args(["bench", args.mode.name(), "--role", "endpoint"])
            .args([
                "--nic",
                &link.server().to_string(),
                "--cpus",
                &cpus.join(","),
            ])
            .args(["--connections", &args.connections.to_string()])
            .args(args.cookies.then_some("--cookies"))
            .args(conversation::flags(args))
            .args(args.ipv6.then_some("--ipv6"))
            .args(args.eal.iter().map(|argument| format!("--eal={argument}")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = command.spawn().map_err(cannot)?;
        let (tx, told) = mpsc::channel();
        if let Some(stdout) = process.stdout.take() {
            // Ends with the child's stdout, or when nobody listens any more.
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
                Ok(Told::Ready(ready)) => return Ok(ready),
                Err(RecvTimeoutError::Timeout) if stop.is_asked() => {
                    return Err(Failure::Run(
                        "stopped before there was anything to measure".into(),
                    ));
                }
                Err(RecvTimeoutError::Timeout) if started.elapsed() < START => {}
                other => return Err(self.unexpected(other)),
            }
        }
    }

    /// What the endpoint has done so far.
    ///
    /// # Errors
    /// The child's own [`Failure`], or that it ended or does not answer.
    pub(super) fn progress(&mut self) -> Result<Progress, Failure> {
        self.order(ORDER_PROGRESS);
        match self.told.recv_timeout(PATIENCE) {
            Ok(Told::Progress(progress)) => Ok(progress),
            other => Err(self.unexpected(other)),
        }
    }

    /// Stops the endpoint and waits until it has closed its side of the link.
    ///
    /// # Errors
    /// The child's own [`Failure`], or that it ended or does not answer.
    pub(super) fn stop(&mut self) -> Result<Stopped, Failure> {
        self.order(ORDER_STOP);
        match self.told.recv_timeout(PATIENCE) {
            Ok(Told::Stopped(stopped)) => Ok(stopped),
            other => Err(self.unexpected(other)),
        }
    }

    fn order(&mut self, order: &str) {
        if let Some(stdin) = &mut self.process.stdin {
            // A child that is gone shows when its answer is missing.
            let _ = writeln!(stdin, "{order}").and_then(|()| stdin.flush());
        }
    }

    /// What to say instead of an answer.
    fn unexpected(&mut self, told: Result<Told, RecvTimeoutError>) -> Failure {
        match told {
            Ok(Told::Failed { usage: true, cause }) => Failure::Usage(cause),
            Ok(Told::Failed {
                usage: false,
                cause,
            }) => Failure::Run(cause),
            Ok(other) => Failure::Run(format!("the endpoint's process told {other:?} out of turn")),
            Err(RecvTimeoutError::Timeout) => {
                Failure::Run("the endpoint's process does not answer; is its CPU taken?".into())
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = self
                    .process
                    .wait()
                    .map_or_else(|e| e.to_string(), |s| s.to_string());
                Failure::Run(format!("the endpoint's process ended by itself ({status})"))
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
