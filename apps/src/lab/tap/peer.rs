//! [`Peer`]: the sockets program at a kernel's end, this binary again as a child.
//!
//! It must never outlive its scene: dropped, it is killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Setting;
use super::program::{Call, Line, ProgramAct, Script};
use crate::failure::Failure;
use crate::lab::errno::Errno;
use crate::lab::recording::RecordedEvent;
use crate::lab::scenario::{Act, CLIENT_PORT, End, Observation, SERVER_PORT, Scene, SceneAction};

/// How long the child may take to start: nothing is judged before. One that ends is noticed at once.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running program.
pub(super) struct Peer {
    side: End,
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<Line>,
    is_killed: bool,
    late_ns: u64,
}

impl Peer {
    /// Starts it as `side`, in the namespace of this thread, to do what is written for it behind `since_ms`; returns when it
    /// listens, if it is to.
    ///
    /// # Errors
    /// [`Failure::Run`] when it can't be started or fails.
    pub(super) fn start(
        scene: &Scene,
        setting: &Setting,
        side: End,
        since_ms: u64,
        listens: bool,
    ) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::Run(format!(
                "cannot start the program at the kernel's end: {error}"
            ))
        };
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .args(["lab", "peer"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::Run(
                "the program at the kernel's end has no pipes: that is a bug, please report it"
                    .into(),
            ));
        };
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // Ends with the program; what isn't understood is left out.
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            let mut said = lines.filter_map(|line| serde_json::from_str(&line).ok());
            said.try_for_each(|line: Line| sender.send(line))
        });
        let mut peer = Self {
            side,
            child,
            stdin,
            lines,
            is_killed: false,
            late_ns: 0,
        };
        let script = Script {
            server: SocketAddr::new(setting.address(End::Server), SERVER_PORT),
            client: setting.address(End::Client),
            is_server: side == End::Server,
            client_port: CLIENT_PORT,
            rcv_buf: scene.rcv_buf,
            nagle: scene.nagle,
            keepalive_s: scene.keepalive_s,
            user_timeout_s: scene.user_timeout_s,
            backlog: scene.backlog,
            listens: listens && side == End::Server && scene.backlog.is_some(),
            acts: acts(scene, side, since_ms),
        };
        let script = serde_json::to_string(&script)
            .map_err(|error| Failure::Run(format!("the scene can't be written: {error}")))?;
        peer.tell(&script)?;
        match peer.lines.recv_timeout(PATIENCE) {
            Ok(line) if line.ready => Ok(peer),
            Err(RecvTimeoutError::Timeout) => Err(Failure::Run(format!(
                "the program at the kernel's end did not start within {} s: the machine is too busy for so many scenes; give a \
                 smaller --at-once",
                PATIENCE.as_secs()
            ))),
            _ => Err(Failure::Run(
                "the program at the kernel's end did not start; its error stands above".into(),
            )),
        }
    }

    /// Kills it (SIGKILL): the kernel closes its sockets.
    pub(super) fn crash(&mut self) {
        self.is_killed = true;
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Fails when it has ended by itself.
    ///
    /// # Errors
    /// [`Failure::Run`] with its status.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait() {
            Ok(Some(status)) if !self.is_killed => Err(Failure::Run(format!(
                "the program at the kernel's end ended early ({status}); its error stands above"
            ))),
            _ => Ok(()),
        }
    }

    /// Stops it (SIGSTOP), or lets it go on.
    pub(super) fn set_stopped(&self, stopped: bool) {
        let signal = if stopped {
            Signal::SIGSTOP
        } else {
            Signal::SIGCONT
        };
        // It may have ended by itself, and isn't reaped before it is dropped.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), signal);
    }

    /// The scene starts then (CLOCK_MONOTONIC).
    ///
    /// # Errors
    /// [`Failure::Run`] when it is gone.
    pub(super) fn begin(&mut self, start_ns: u64) -> Result<(), Failure> {
        self.tell(&start_ns.to_string())
    }

    fn tell(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.stdin, "{line}")
            .and_then(|()| self.stdin.flush())
            .map_err(|error| {
                Failure::Run(format!("the program at the kernel's end is gone: {error}"))
            })
    }

    /// How late it was at most with what it was to do.
    pub(super) fn late_ns(&self) -> u64 {
        self.late_ns
    }

    /// Its calls and their results since the last call, with CLOCK_MONOTONIC in ns.
    pub(super) fn take_notes(&mut self) -> Vec<(u64, RecordedEvent)> {
        let side = self.side;
        let what = |line: &Line| {
            let conn = line.conn;
            if let Some(now) = line.listening {
                return Some(RecordedEvent::Listening(now));
            }
            if let Some(call) = &line.call {
                let call = call.clone();
                return Some(RecordedEvent::Calls { side, conn, call });
            }
            let seen = match line.seen.as_deref()? {
                "connected" => Observation::Connected,
                "accepted" => Observation::Accepted,
                "received" => Observation::Received(line.total),
                "eof" => Observation::Eof,
                _ => Observation::Failed(Errno::from_name(line.errno.as_deref()?)),
            };
            Some(RecordedEvent::Sees { side, conn, seen })
        };
        let lines: Vec<Line> = self.lines.try_iter().collect();
        for line in &lines {
            self.late_ns = self.late_ns.max(line.late_ns);
        }
        lines
            .iter()
            .filter_map(|line| Some((line.at_ns, what(line)?)))
            .collect()
    }
}

fn acts(scene: &Scene, side: End, since_ms: u64) -> Vec<ProgramAct> {
    let is_mine = |act: &&Act| act.who == side && act.at_ms >= since_ms;
    let mine = scene.acts.iter().filter(is_mine);
    let mut acts: Vec<ProgramAct> = mine
        .filter_map(|act| {
            let call = match act.what {
                SceneAction::Connect(conn) => match patience_ms(scene, act, conn) {
                    Some(ms) => Call::ConnectFor(conn, ms),
                    None => Call::Connect(conn),
                },
                SceneAction::ConnectAnyPort(conn) => Call::ConnectAnyPort(conn),
                SceneAction::Listen => Call::Listen,
                SceneAction::StopListening => Call::StopListening,
                SceneAction::Accept => Call::Accept,
                SceneAction::Send(conn, len) => Call::Send(conn, len),
                SceneAction::Read(conn, len) => Call::Read(conn, len),
                SceneAction::Close(conn) => Call::Close(conn),
                SceneAction::CloseAtEof(conn) => Call::CloseAtEof(conn),
                SceneAction::Shutdown(conn) => Call::Shutdown(conn),
                SceneAction::Abort(conn) => Call::Abort(conn),
                // Said by SO_SNDTIMEO before the call.
                SceneAction::StopWaiting(_) => return None,
                // Actions on the process, its host and the network are the stage's.
                SceneAction::Crash
                | SceneAction::PowerOff
                | SceneAction::PowerOn
                | SceneAction::PowerOnElsewhere
                | SceneAction::CableOut
                | SceneAction::CableIn
                | SceneAction::Freeze
                | SceneAction::Thaw
                | SceneAction::Network(_) => return None,
            };
            let at_ms = act.at_ms;
            Some(ProgramAct { at_ms, call })
        })
        .collect();
    acts.sort_by_key(|act| act.at_ms);
    acts
}

/// How long a `connect()` is to wait, where the scene says when its application gives up.
fn patience_ms(scene: &Scene, connect: &Act, conn: u16) -> Option<u64> {
    let gives_up = |act: &&Act| {
        act.who == connect.who
            && act.what == SceneAction::StopWaiting(conn)
            && act.at_ms > connect.at_ms
    };
    let act = scene.acts.iter().find(gives_up)?;
    Some(act.at_ms - connect.at_ms)
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.crash();
    }
}
