//! [`Peer`]: the sockets program at the kernel's end, a child that runs `peer.py`.
//!
//! It must never outlive its scene: dropped, it is killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::IpAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::super::errno::Errno;
use super::super::recording::RecordedEvent;
use super::super::scenario::{CLIENT_PORT, End, Observation, SERVER_PORT, Scene, SceneAction};
use crate::failure::Failure;

/// The program.
const PROGRAM: &str = include_str!("peer.py");
/// How long Python may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program.
pub(super) struct Peer {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<Line>,
}

/// What it says, a line at a time.
#[derive(Debug, Deserialize)]
struct Line {
    at_ns: u64,
    ready: Option<bool>,
    call: Option<String>,
    seen: Option<String>,
    conn: Option<u16>,
    total: Option<u64>,
    errno: Option<String>,
}

impl Peer {
    /// Starts it as `side`; returns when it listens, if that is its part.
    ///
    /// # Errors
    /// [`Failure::Run`] when there is no Python or the program fails.
    pub(super) fn start(
        scene: &Scene,
        side: End,
        local: IpAddr,
        server: IpAddr,
    ) -> Result<Self, Failure> {
        let child = Command::new("python3")
            .args(["-c", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|error| {
            Failure::Run(format!(
                "python3 can't be run ({error}); install it: the kernel's end is a Python program"
            ))
        })?;
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
        let script = json!({
            "server": (server.to_string(), SERVER_PORT),
            "local": local.to_string(),
            "client_port": CLIENT_PORT,
            "rcv_buf": scene.rcv_buf,
            "backlog": scene.backlog.filter(|_| side == End::Server),
            "acts": acts(scene, side),
        });
        peer.tell(&script.to_string())?;
        match peer.lines.recv_timeout(PATIENCE) {
            Ok(line) if line.ready == Some(true) => Ok(peer),
            _ => Err(Failure::Run(
                "the peer program did not start; what it says stands above".into(),
            )),
        }
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
            let conn = line.conn.unwrap_or(0);
            if let Some(call) = &line.call {
                let call = call.clone();
                return Some(RecordedEvent::Calls { side, conn, call });
            }
            let seen = match line.seen.as_deref()? {
                "connected" => Observation::Connected,
                "accepted" => Observation::Accepted,
                "received" => Observation::Received(line.total?),
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

fn acts(scene: &Scene, side: End) -> Vec<serde_json::Value> {
    let mine = scene.acts.iter().filter(|act| act.who == side);
    mine.filter_map(|act| {
        let at_ms = act.at_ms;
        Some(match act.what {
            SceneAction::Connect(conn) => json!({"at_ms": at_ms, "do": "connect", "conn": conn}),
            SceneAction::Accept => json!({"at_ms": at_ms, "do": "accept"}),
            SceneAction::Send(conn, len) => {
                json!({"at_ms": at_ms, "do": "send", "conn": conn, "len": len})
            }
            SceneAction::Read(conn, len) => {
                json!({"at_ms": at_ms, "do": "read", "conn": conn, "len": len})
            }
            SceneAction::Close(conn) => json!({"at_ms": at_ms, "do": "close", "conn": conn}),
            // The stage takes the power away. The others are played in simulation only, which `can_be_played_by` sees to.
            _ => return None,
        })
    })
    .collect()
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
