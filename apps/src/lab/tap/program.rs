//! The sockets program at a kernel's end: this binary again, as a child, that does its acts when they are due.
//!
//! It must never decide anything: what it calls and sees goes to stdout, a line of JSON each, and its end is its parent's to choose.
//!
//! One loop polls all sockets, as a server on epoll does: an errno is noticed when the socket has it, without a call that waits.

// One connection.
mod connection;

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt,
    shutdown, socket, sockopt,
};
use nix::sys::time::{TimeSpec, TimeValLike as _};
use serde::{Deserialize, Serialize};

use super::monotonic_ns;
use crate::failure::Failure;
use connection::{Attempt, Connection};

/// Congestion control of its sockets: the first one that is allowed here. Machines differ in their default.
pub(super) const CONGESTION: [&str; 2] = ["cubic", "reno"];
/// How often the answers of calls that block in a thread are looked for, in ns.
const LOOK_EVERY_NS: u64 = 5_000_000;
/// It waits so long at most, in ns: the kernel is late by up to a thousandth of what poll(2) waits for.
const WAIT_NS: u64 = 1_000_000_000;

/// Its orders: one line of JSON on stdin. A second line says when the scene starts (CLOCK_MONOTONIC, ns).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Script {
    /// The server's address and port.
    pub(super) server: SocketAddr,
    /// The client's address.
    pub(super) client: IpAddr,
    /// Whether it plays the server.
    pub(super) is_server: bool,
    /// The client's port of connection `n` is this plus `n`.
    pub(super) client_port: u16,
    /// SO_RCVBUF.
    pub(super) rcv_buf: Option<u32>,
    /// Whether small segments wait (Nagle).
    pub(super) nagle: bool,
    /// Keepalive in s: idle time, interval, probes.
    pub(super) keepalive_s: Option<(u32, u32, u8)>,
    /// TCP_USER_TIMEOUT in s.
    pub(super) user_timeout_s: Option<u32>,
    /// The listening sockets.
    pub(super) backlog: Option<u32>,
    /// Whether it listens from the start.
    pub(super) listens: bool,
    /// In order of time.
    pub(super) acts: Vec<ProgramAct>,
}

/// An act, and when it is due.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct ProgramAct {
    /// In ms from the start.
    pub(super) at_ms: u64,
    /// What.
    pub(super) call: Call,
}

/// The calls that it can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Call {
    /// `connect()` for a connection, from its port.
    Connect(u16),
    /// `connect()` for a connection, from any port.
    ConnectAnyPort(u16),
    /// A blocking `connect()` that gives up after so many ms (SO_SNDTIMEO).
    ConnectFor(u16, u64),
    /// `listen()`.
    Listen,
    /// Closes the listening socket.
    StopListening,
    /// `accept()`.
    Accept,
    /// `send()` so many bytes on a connection.
    Send(u16, u32),
    /// `recv()` until so many more have come.
    Read(u16, u32),
    /// `close()`.
    Close(u16),
    /// `shutdown(SHUT_WR)`.
    Shutdown(u16),
    /// `close()` with SO_LINGER of zero.
    Abort(u16),
    /// `close()` as soon as the peer has closed.
    CloseAtEof(u16),
}

/// Its messages.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Line {
    /// When (CLOCK_MONOTONIC).
    pub(super) at_ns: u64,
    /// It listens, if that is its part, and waits for the start.
    #[serde(default)]
    pub(super) ready: bool,
    /// Whether it listens from now on.
    #[serde(default)]
    pub(super) listening: Option<bool>,
    /// A call, as it is written.
    #[serde(default)]
    pub(super) call: Option<String>,
    /// The result of one: connected, accepted, received, eof, failed.
    #[serde(default)]
    pub(super) seen: Option<String>,
    /// The connection, 0 for none in particular.
    #[serde(default)]
    pub(super) conn: u16,
    /// Bytes received in all.
    #[serde(default)]
    pub(super) total: u64,
    /// How late it is with what it is to do next, in ns.
    #[serde(default)]
    pub(super) late_ns: u64,
    /// Why it failed.
    #[serde(default)]
    pub(super) errno: Option<String>,
}

/// The program.
///
/// # Errors
/// [`Failure::Run`] when its stdin holds no script, or the port can't be listened on.
pub(crate) fn run() -> Result<(), Failure> {
    // Stopped, it would not notice that its stdin has ended: the kernel ends it with the thread that started it, which plays its scene.
    set_pdeathsig(Signal::SIGKILL)
        .map_err(|errno| Failure::Run(format!("no PR_SET_PDEATHSIG: {errno}")))?;
    let line = || {
        let mut line = String::new();
        match io::stdin().read_line(&mut line) {
            Ok(len) if len > 0 => Ok(line),
            _ => Err(Failure::Run(
                "`lab peer` is started by `lab run --over tap`".into(),
            )),
        }
    };
    let script: Script = serde_json::from_str(&line()?)
        .map_err(|error| Failure::Run(format!("not a script for `lab peer`: {error}")))?;
    let mut program = Program::new(script);
    if program.script.listens {
        program.open_listener().map_err(|errno| {
            let server = program.script.server;
            Failure::Run(format!("cannot listen on {server}: {errno}"))
        })?;
    }
    say(Line {
        ready: true,
        ..Line::default()
    });
    let start_ns: u64 = line()?.trim().parse().unwrap_or(0);
    program.live(start_ns);
    Ok(())
}

/// All that it holds.
struct Program {
    script: Script,
    acts: VecDeque<ProgramAct>,
    listener: Option<TcpListener>,
    /// `accept()` calls that wait for a connection.
    accepts: u32,
    connections: BTreeMap<u16, Connection>,
    /// Accepted connections that no act names stay open until the end.
    kept: Vec<std::net::TcpStream>,
    /// Answers of calls that block.
    attempts: (Sender<Attempt>, Receiver<Attempt>),
}

impl Program {
    fn new(script: Script) -> Self {
        Self {
            acts: script.acts.iter().copied().collect(),
            script,
            listener: None,
            accepts: 0,
            connections: BTreeMap::new(),
            kept: Vec::new(),
            attempts: channel(),
        }
    }

    /// Until stdin ends: the parent is gone, or wants no more of it.
    fn live(&mut self, start_ns: u64) {
        loop {
            let now = monotonic_ns();
            let is_due = |act: &ProgramAct| start_ns + act.at_ms * 1_000_000 <= now;
            while self.acts.front().is_some_and(is_due) {
                if let Some(act) = self.acts.pop_front() {
                    say(Line {
                        late_ns: now - (start_ns + act.at_ms * 1_000_000),
                        ..Line::default()
                    });
                    self.perform(act.call);
                }
            }
            let next = self.acts.front();
            let due_ns = next.map_or(u64::MAX, |act| start_ns + act.at_ms * 1_000_000);
            if !self.wait(due_ns) {
                return;
            }
            while let Ok(attempt) = self.attempts.1.try_recv() {
                if let Some(connection) = self.connections.get_mut(&attempt.conn) {
                    connection.attempted(attempt);
                }
            }
            self.accept();
            for connection in self.connections.values_mut() {
                connection.look();
            }
            self.connections
                .retain(|_, connection| !connection.is_over());
        }
    }

    /// Waits for a socket or the next act; false when stdin has ended.
    fn wait(&self, due_ns: u64) -> bool {
        let stdin = io::stdin();
        let mut fds = vec![PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        if let Some(listener) = self.listener.as_ref().filter(|_| self.accepts > 0) {
            fds.push(PollFd::new(listener.as_fd(), PollFlags::POLLIN));
        }
        fds.extend(self.connections.values().filter_map(Connection::poll_fd));
        let has_attempts = self.connections.values().any(Connection::is_blocking);
        let most_ns = if has_attempts { LOOK_EVERY_NS } else { WAIT_NS };
        let left_ns = due_ns.saturating_sub(monotonic_ns()).min(most_ns);
        let timeout = TimeSpec::nanoseconds(i64::try_from(left_ns).unwrap_or(i64::MAX));
        // Interrupted or not: the loop looks at everything.
        let _ = ppoll(&mut fds, Some(timeout), None);
        let said = fds[0].revents().unwrap_or(PollFlags::empty());
        // The parent writes nothing behind the start: what comes is the end.
        said.is_empty() || io::stdin().read(&mut [0]).is_ok_and(|len| len > 0)
    }

    fn perform(&mut self, call: Call) {
        match call {
            Call::Listen => {
                calls(0, "listen()".into());
                match self.open_listener() {
                    Ok(()) => listening(true),
                    Err(errno) => fails(0, errno),
                }
            }
            Call::StopListening => {
                calls(0, "close() of the listening socket".into());
                if let Some(listener) = self.listener.take() {
                    // Its queue is reset now, even while another thread holds the descriptor.
                    let _ = shutdown(listener.as_raw_fd(), nix::sys::socket::Shutdown::Read);
                    listening(false);
                }
            }
            Call::Accept => {
                calls(0, "accept()".into());
                self.accepts += 1;
            }
            Call::Connect(conn) | Call::ConnectAnyPort(conn) | Call::ConnectFor(conn, _) => {
                let connection = Connection::connecting(&self.script, call, &self.attempts.0);
                if let Some(connection) = connection {
                    self.connections.insert(conn, connection);
                }
            }
            Call::Send(conn, _)
            | Call::Read(conn, _)
            | Call::Close(conn)
            | Call::Shutdown(conn)
            | Call::Abort(conn)
            | Call::CloseAtEof(conn) => self.connection(conn).order(call),
        }
        for connection in self.connections.values_mut() {
            connection.look();
        }
    }

    /// The connection with that number; one that is still to be accepted remembers its orders.
    fn connection(&mut self, conn: u16) -> &mut Connection {
        self.connections
            .entry(conn)
            .or_insert_with(|| Connection::awaited(conn))
    }

    fn accept(&mut self) {
        while self.accepts > 0
            && let Some(listener) = &self.listener
            && let Ok((stream, peer)) = listener.accept()
        {
            self.accepts -= 1;
            let conn = peer.port().saturating_sub(self.script.client_port);
            sees(conn, "accepted", 0);
            let named = self.script.acts.iter().any(|act| number(act.call) == conn);
            if named || self.connections.contains_key(&conn) {
                self.connection(conn).accepted(stream);
            } else {
                self.kept.push(stream);
            }
        }
    }

    fn open_listener(&mut self) -> Result<(), Errno> {
        let fd = prepared(&self.script, self.script.server)?;
        let backlog = i32::try_from(self.script.backlog.unwrap_or(0)).unwrap_or(i32::MAX);
        listen(&fd, Backlog::new(backlog)?)?;
        let listener = TcpListener::from(fd);
        let _ = listener.set_nonblocking(true);
        self.listener = Some(listener);
        Ok(())
    }
}

/// The connection that a call is about, 0 for none.
const fn number(call: Call) -> u16 {
    match call {
        Call::Accept | Call::Listen | Call::StopListening => 0,
        Call::Connect(conn)
        | Call::ConnectAnyPort(conn)
        | Call::ConnectFor(conn, _)
        | Call::Send(conn, _)
        | Call::Read(conn, _)
        | Call::Close(conn)
        | Call::Shutdown(conn)
        | Call::Abort(conn)
        | Call::CloseAtEof(conn) => conn,
    }
}

/// A socket with the options of the scene, bound to `local`.
fn prepared(script: &Script, local: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = match script.server {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if let Some(rcv_buf) = script.rcv_buf {
        setsockopt(&fd, sockopt::RcvBuf, &(rcv_buf as usize))?;
    }
    setsockopt(&fd, sockopt::TcpNoDelay, &!script.nagle)?;
    // Without CAP_NET_ADMIN a kernel may allow only some, and reno always.
    let is_taken =
        |name: &str| setsockopt(&fd, sockopt::TcpCongestion, &OsString::from(name)).is_ok();
    let _ = CONGESTION.iter().find(|name| is_taken(name));
    if let Some((idle_s, interval_s, probes)) = script.keepalive_s {
        setsockopt(&fd, sockopt::KeepAlive, &true)?;
        setsockopt(&fd, sockopt::TcpKeepIdle, &idle_s)?;
        setsockopt(&fd, sockopt::TcpKeepInterval, &interval_s)?;
        setsockopt(&fd, sockopt::TcpKeepCount, &u32::from(probes))?;
    }
    if let Some(seconds) = script.user_timeout_s {
        setsockopt(&fd, sockopt::TcpUserTimeout, &(seconds * 1000))?;
    }
    if local.port() != 0 {
        bind(fd.as_raw_fd(), &SockaddrStorage::from(local))?;
    }
    Ok(fd)
}

fn say(mut line: Line) {
    line.at_ns = monotonic_ns();
    let Ok(text) = serde_json::to_string(&line) else {
        return;
    };
    // Without a parent there is no one to speak to, and it ends with its stdin.
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

fn calls(conn: u16, call: String) {
    say(Line {
        conn,
        call: Some(call),
        ..Line::default()
    });
}

fn sees(conn: u16, seen: &str, total: u64) {
    say(Line {
        conn,
        total,
        seen: Some(seen.to_owned()),
        ..Line::default()
    });
}

fn fails(conn: u16, errno: Errno) {
    say(Line {
        conn,
        seen: Some("failed".into()),
        errno: Some(format!("{errno:?}")),
        ..Line::default()
    });
}

fn listening(now: bool) {
    say(Line {
        listening: Some(now),
        ..Line::default()
    });
}
