//! [`Peer`]: the sockets program at the kernel's end, this binary again as a child.
//!
//! It must never outlive its scene: dropped, it is killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::super::errno::Errno;
use super::super::recording::RecordedEvent;
use super::super::scenario::{CLIENT_PORT, End, Observation, SERVER_PORT, Scene, SceneAction};
use super::program::{Call, Line, ProgramAct, Script};
use crate::failure::Failure;

/// How long the child may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program.
pub(super) struct Peer {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<Line>,
}

impl Peer {
    /// Starts it as `side`; returns when it listens, if that is its part.
    ///
    /// # Errors
    /// [`Failure::Run`] when it can't be started or fails.
    pub(super) fn start(
        scene: &Scene,
        side: End,
        local: IpAddr,
        server: IpAddr,
    ) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::Run(format!(
                "the program at the kernel's end can't be started: {error}"
            ))
        };
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .args(["lab", "peer"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::Run("the peer program has no pipes".into()));
        };
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // Ends with the program; what isn't understood is left out.
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            let mut said = lines.filter_map(|line| serde_json::from_str(&line).ok());
            said.try_for_each(|line: Line| sender.send(line))
        });
        let mut peer = Self {
            child,
            stdin,
            lines,
        };
        let script = Script {
            server: SocketAddr::new(server, SERVER_PORT),
            local,
            client_port: CLIENT_PORT,
            rcv_buf: scene.rcv_buf,
            nagle: scene.nagle,
            keepalive_s: scene.keepalive_s,
            user_timeout_s: scene.user_timeout_s,
            backlog: scene.backlog.filter(|_| side == End::Server),
            acts: acts(scene, side),
        };
        let script = serde_json::to_string(&script).map_err(|error| {
            Failure::Run(format!("the scene can't be written as JSON: {error}"))
        })?;
        peer.tell(&script)?;
        match peer.lines.recv_timeout(PATIENCE) {
            Ok(line) if line.ready => Ok(peer),
            _ => Err(Failure::Run(
                "the peer program did not start; what it says stands above".into(),
            )),
        }
    }

    /// Kills it (SIGKILL): the kernel closes its sockets.
    pub(super) fn crash(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
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
            .map_err(|error| Failure::Run(format!("the peer program is gone: {error}")))
    }

    /// What it called and saw since the last call, with CLOCK_MONOTONIC in ns.
    pub(super) fn take_notes(&self, side: End) -> Vec<(u64, RecordedEvent)> {
        let what = |line: &Line| {
            let conn = line.conn;
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
        let lines = self.lines.try_iter();
        lines
            .filter_map(|line| Some((line.at_ns, what(&line)?)))
            .collect()
    }
}

fn acts(scene: &Scene, side: End) -> Vec<ProgramAct> {
    let mine = scene.acts.iter().filter(|act| act.who == side);
    mine.filter_map(|act| {
        let call = match act.what {
            SceneAction::Connect(conn) => Call::Connect(conn),
            SceneAction::Accept => Call::Accept,
            SceneAction::Send(conn, len) => Call::Send(conn, len),
            SceneAction::Read(conn, len) => Call::Read(conn, len),
            SceneAction::Close(conn) => Call::Close(conn),
            SceneAction::CloseAtEof(conn) => Call::CloseAtEof(conn),
            SceneAction::Shutdown(conn) => Call::Shutdown(conn),
            SceneAction::Abort(conn) => Call::Abort(conn),
            // The stage kills the program and takes the power away. Scenes with other acts aren't played over a tap, which
            // `can_be_played_by` sees to.
            _ => return None,
        };
        let at_ms = act.at_ms;
        Some(ProgramAct { at_ms, call })
    })
    .collect()
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.crash();
    }
}
