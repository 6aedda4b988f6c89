//! [`Connection`]: a socket of the program, what it was ordered to do, and what it has seen.
//!
//! It must never block: what has to block does so in a thread of its own, which hands the socket back.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::mpsc::Sender;
use std::thread;

use diagnose::counted;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{SockaddrStorage, connect, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};
use stack::queue::pattern;

use super::{Call, Script, calls, fails, prepared, sees};

/// The peer has closed its direction (poll(2); nix has no name for it).
const POLLRDHUP: PollFlags = PollFlags::from_bits_retain(0x2000);

/// The result of a blocking `connect()`.
pub(super) struct Attempt {
    /// Of which connection.
    pub(super) conn: u16,
    stream: TcpStream,
    outcome: Result<(), Errno>,
}

/// How far a socket is.
enum Stage {
    /// `accept()` has yet to return it.
    Awaited,
    /// A thread waits in `connect()`.
    Blocking,
    /// `connect()` is in progress.
    Connecting(TcpStream),
    /// It is open.
    Open(TcpStream),
    /// It failed: nothing can be done with it, and it isn't closed.
    Failed,
    /// It is closed.
    Closed,
}

/// A connection.
pub(super) struct Connection {
    conn: u16,
    stage: Stage,
    /// Bytes that the application wants to read, and has read.
    wanted: u64,
    received: u64,
    /// Bytes that are yet to be sent, and bytes that the kernel took.
    to_send: u64,
    sent: u64,
    peer_has_closed: bool,
    closes_at_eof: bool,
    /// Both directions are closed: poll(2) would return at once for ever.
    is_hung_up: bool,
    /// The socket after its error: what came before that can still be read.
    broken: Option<TcpStream>,
    /// Orders that came before it was accepted.
    waiting: Vec<Call>,
}

impl Connection {
    fn new(conn: u16, stage: Stage) -> Self {
        Self {
            conn,
            stage,
            wanted: 0,
            received: 0,
            to_send: 0,
            sent: 0,
            peer_has_closed: false,
            closes_at_eof: false,
            is_hung_up: false,
            broken: None,
            waiting: Vec::new(),
        }
    }

    /// One that `accept()` is to return.
    pub(super) fn awaited(conn: u16) -> Self {
        Self::new(conn, Stage::Awaited)
    }

    /// Calls `connect()`; `None` when that fails at once.
    pub(super) fn connecting(
        script: &Script,
        call: Call,
        attempts: &Sender<Attempt>,
    ) -> Option<Self> {
        let conn = super::number(call);
        let client = SocketAddr::new(script.client, script.client_port + conn);
        let (mut local, remote) = match script.is_server {
            false => (client, script.server),
            true => (script.server, client),
        };
        if matches!(call, Call::ConnectAnyPort(_)) {
            local.set_port(0);
        }
        calls(conn, format!("connect({remote})"));
        let stream = match prepared(script, local) {
            Ok(fd) => TcpStream::from(fd),
            Err(errno) => {
                fails(conn, errno);
                return None;
            }
        };
        if let Call::ConnectFor(_, ms) = call {
            let attempts = attempts.clone();
            thread::spawn(move || {
                let time = TimeVal::milliseconds(i64::try_from(ms).unwrap_or(i64::MAX));
                let outcome = setsockopt(&stream, sockopt::SendTimeout, &time)
                    .and_then(|()| connect(stream.as_raw_fd(), &SockaddrStorage::from(remote)));
                // The program lives as long as this thread.
                let _ = attempts.send(Attempt {
                    conn,
                    stream,
                    outcome,
                });
            });
            return Some(Self::new(conn, Stage::Blocking));
        }
        let _ = stream.set_nonblocking(true);
        match connect(stream.as_raw_fd(), &SockaddrStorage::from(remote)) {
            Ok(()) | Err(Errno::EINPROGRESS) => Some(Self::new(conn, Stage::Connecting(stream))),
            Err(errno) => {
                fails(conn, errno);
                None
            }
        }
    }

    /// A blocking `connect()` has returned. After EINPROGRESS the attempt goes on.
    pub(super) fn attempted(&mut self, attempt: Attempt) {
        let _ = attempt.stream.set_nonblocking(true);
        self.stage = match attempt.outcome {
            Ok(()) => Stage::Connecting(attempt.stream),
            Err(errno) => {
                fails(self.conn, errno);
                match errno {
                    Errno::EINPROGRESS => Stage::Connecting(attempt.stream),
                    _ => Stage::Failed,
                }
            }
        };
        self.catch_up();
    }

    /// `accept()` has returned it.
    pub(super) fn accepted(&mut self, stream: TcpStream) {
        let _ = stream.set_nonblocking(true);
        let waiting = std::mem::take(&mut self.waiting);
        *self = Self {
            waiting,
            ..Self::new(self.conn, Stage::Open(stream))
        };
        self.catch_up();
    }

    fn catch_up(&mut self) {
        for call in std::mem::take(&mut self.waiting) {
            self.order(call);
        }
    }

    /// Obeys, at once or as soon as it can.
    pub(super) fn order(&mut self, call: Call) {
        if matches!(self.stage, Stage::Awaited | Stage::Blocking) {
            self.waiting.push(call);
            return;
        }
        let conn = self.conn;
        match call {
            Call::Send(_, len) => {
                calls(conn, format!("send({})", counted(len, "byte")));
                self.to_send += u64::from(len);
                // The error of a send() on a broken socket is that of the write below.
            }
            Call::Read(_, len) => {
                calls(conn, format!("recv({})", counted(len, "byte")));
                self.wanted += u64::from(len);
                self.read_rest();
            }
            Call::CloseAtEof(_) => self.closes_at_eof = true,
            Call::Shutdown(_) => {
                calls(conn, "shutdown(SHUT_WR)".into());
                if let Stage::Open(stream) = &self.stage {
                    // Of a socket that failed: its errno is known already.
                    let _ = stream.shutdown(Shutdown::Write);
                }
            }
            Call::Close(_) => self.close("close()"),
            Call::Abort(_) => {
                if let Stage::Open(stream) = &self.stage {
                    let zero = nix::libc::linger {
                        l_onoff: 1,
                        l_linger: 0,
                    };
                    let _ = setsockopt(stream, sockopt::Linger, &zero);
                }
                self.close("close() with linger zero");
            }
            _ => {}
        }
        self.look();
    }

    fn close(&mut self, call: &str) {
        calls(self.conn, call.into());
        // Dropped, it is closed.
        self.stage = Stage::Closed;
        self.broken = None;
    }

    /// The events that poll(2) waits for.
    pub(super) fn poll_fd(&self) -> Option<PollFd<'_>> {
        let (stream, mut events) = self.wanted()?;
        if matches!(self.stage, Stage::Open(_)) && !self.peer_has_closed {
            events |= POLLRDHUP;
        }
        Some(PollFd::new(stream.as_fd(), events))
    }

    /// Its socket, and what is awaited of it, POLLRDHUP left out: nix can't read that back.
    fn wanted(&self) -> Option<(&TcpStream, PollFlags)> {
        match &self.stage {
            _ if self.is_hung_up => None,
            Stage::Connecting(stream) => Some((stream, PollFlags::POLLOUT)),
            Stage::Open(stream) => {
                let mut events = PollFlags::empty();
                if self.received < self.wanted {
                    events |= PollFlags::POLLIN;
                }
                if self.to_send > 0 {
                    events |= PollFlags::POLLOUT;
                }
                Some((stream, events))
            }
            _ => None,
        }
    }

    /// The events for which its socket is ready.
    fn ready(&self) -> Option<PollFlags> {
        let (stream, events) = self.wanted()?;
        let mut fd = [PollFd::new(stream.as_fd(), events)];
        poll(&mut fd, PollTimeout::ZERO).ok()?;
        fd[0].revents()
    }

    /// Whether POLLRDHUP is set: nix can't name it, and says that there is something that it can't name.
    fn has_peer_closed(&self) -> bool {
        let Stage::Open(stream) = &self.stage else {
            return false;
        };
        let mut fd = [PollFd::new(stream.as_fd(), POLLRDHUP)];
        poll(&mut fd, PollTimeout::ZERO).is_ok() && fd[0].revents().is_none()
    }

    /// Whether a thread waits for it.
    pub(super) fn is_blocking(&self) -> bool {
        matches!(self.stage, Stage::Blocking)
    }

    /// Whether it is closed.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Closed)
    }

    /// Looks at its socket, and does what can be done.
    pub(super) fn look(&mut self) {
        if self.is_hung_up {
            self.read();
            self.write();
            return;
        }
        let Some(ready) = self.ready() else { return };
        if let Stage::Connecting(_) = &self.stage {
            self.look_at_attempt(ready);
            return;
        }
        if ready.contains(PollFlags::POLLIN) {
            self.read();
        }
        if !self.peer_has_closed && !ready.contains(PollFlags::POLLERR) && self.has_peer_closed() {
            self.peer_has_closed = true;
            // Bytes that came between the last read and the FIN come before the end of the stream.
            self.read();
            sees(self.conn, "eof", self.received);
        }
        if ready.contains(PollFlags::POLLERR) {
            self.fail();
            return;
        }
        self.is_hung_up = ready.contains(PollFlags::POLLHUP);
        self.write();
        if self.peer_has_closed && self.closes_at_eof && !self.is_over() {
            self.close("close()");
        }
    }

    fn look_at_attempt(&mut self, ready: PollFlags) {
        if ready.is_empty() {
            return;
        }
        let Stage::Connecting(stream) = std::mem::replace(&mut self.stage, Stage::Failed) else {
            return;
        };
        match stream.take_error() {
            Ok(None) => {
                sees(self.conn, "connected", 0);
                self.stage = Stage::Open(stream);
                self.look();
            }
            Ok(Some(error)) | Err(error) => fails(self.conn, errno_of(&error)),
        }
    }

    fn fail(&mut self) {
        let Stage::Open(stream) = &self.stage else {
            return;
        };
        if let Ok(Some(error)) | Err(error) = stream.take_error() {
            fails(self.conn, errno_of(&error));
        }
        // Nothing is closed before the application says so.
        if let Stage::Open(stream) = std::mem::replace(&mut self.stage, Stage::Failed) {
            self.broken = Some(stream);
        }
    }

    /// Reads what came before the error: its queue outlives it.
    fn read_rest(&mut self) {
        let Some(stream) = &mut self.broken else {
            return;
        };
        let before = self.received;
        let wanted = self.wanted - self.received;
        let mut rest = Vec::new();
        // It ends where nothing is left, by an end of the stream or an error that is known.
        let _ = stream.take(wanted).read_to_end(&mut rest);
        if pattern::matches(self.received, &rest) {
            self.received += rest.len() as u64;
        }
        if self.received > before {
            sees(self.conn, "received", self.received);
        }
    }

    fn read(&mut self) {
        let mut buffer = vec![0; 65_536];
        let before = self.received;
        while let Stage::Open(stream) = &mut self.stage
            && self.received < self.wanted
        {
            let wanted = usize::try_from(self.wanted - self.received).unwrap_or(usize::MAX);
            let most = buffer.len().min(wanted);
            match stream.read(&mut buffer[..most]) {
                // Bytes other than those that were sent are not counted, so the scene fails.
                Ok(len) if len == 0 || !pattern::matches(self.received, &buffer[..len]) => break,
                Ok(len) => self.received += len as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    fails(self.conn, errno_of(&error));
                    self.stage = Stage::Failed;
                }
            }
        }
        if self.received > before {
            sees(self.conn, "received", self.received);
        }
    }

    fn write(&mut self) {
        let mut buffer = vec![0; 65_536];
        while let Stage::Open(stream) = &mut self.stage
            && self.to_send > 0
        {
            let most = usize::try_from(self.to_send).unwrap_or(usize::MAX);
            let most = buffer.len().min(most);
            pattern::fill(self.sent, &mut buffer[..most]);
            match stream.write(&buffer[..most]) {
                Ok(len) => {
                    self.to_send -= len as u64;
                    self.sent += len as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    fails(self.conn, errno_of(&error));
                    self.stage = Stage::Failed;
                }
            }
        }
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}
