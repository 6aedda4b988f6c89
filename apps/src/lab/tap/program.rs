//! The sockets program at the kernel's end: this binary again, as a child, that does its acts when they are due.
//!
//! It must never decide anything: what it calls and sees goes to stdout, a line of JSON each, and its end is its parent's to choose.

use diagnose::counted;
use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, connect, listen, setsockopt,
    socket, sockopt,
};
use serde::{Deserialize, Serialize};

use super::monotonic_ns;
use crate::clock;
use crate::failure::Failure;

/// What it is to do: one line of JSON on stdin. A second line says when the scene starts (CLOCK_MONOTONIC, ns).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Script {
    /// The server's address and port.
    pub(super) server: SocketAddr,
    /// Its own address.
    pub(super) local: IpAddr,
    /// The local port of connection `n` is this plus `n`.
    pub(super) client_port: u16,
    /// SO_RCVBUF.
    pub(super) rcv_buf: Option<u32>,
    /// Whether small segments wait (Nagle).
    pub(super) nagle: bool,
    /// Keepalive in s: idle time, interval, probes.
    pub(super) keepalive_s: Option<(u32, u32, u8)>,
    /// TCP_USER_TIMEOUT in s.
    pub(super) user_timeout_s: Option<u32>,
    /// What to listen with; `None`: it doesn't.
    pub(super) backlog: Option<u32>,
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

/// What it can be asked to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Call {
    /// `connect()` for a connection.
    Connect(u16),
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
    /// `recv()` until the end of the stream, then `close()`.
    CloseAtEof(u16),
}

/// What it says.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Line {
    /// When (CLOCK_MONOTONIC).
    pub(super) at_ns: u64,
    /// It listens, if that is its part.
    #[serde(default)]
    pub(super) ready: bool,
    /// A call, as it is written.
    #[serde(default)]
    pub(super) call: Option<String>,
    /// What came of one: connected, accepted, received, eof, failed.
    #[serde(default)]
    pub(super) seen: Option<String>,
    /// The connection, 0 for none in particular.
    #[serde(default)]
    pub(super) conn: u16,
    /// Bytes received in all.
    #[serde(default)]
    pub(super) total: u64,
    /// Why it failed.
    #[serde(default)]
    pub(super) errno: Option<String>,
}

/// The program.
///
/// # Errors
/// [`Failure::Run`] when its stdin holds no script, or the port can't be listened on.
pub(crate) fn run() -> Result<(), Failure> {
    let mut lines = io::stdin().lines();
    let mut line = || {
        let line = lines.next().and_then(Result::ok);
        line.ok_or_else(|| Failure::Run("`lab peer` is started by `lab run --over tap`".into()))
    };
    let script: Script = serde_json::from_str(&line()?)
        .map_err(|error| Failure::Run(format!("not a script for `lab peer`: {error}")))?;
    let script = Arc::new(script);
    let mut sockets = BTreeMap::new();
    let listener = match script.backlog {
        Some(backlog) => Some(listening(&script, backlog).map_err(|errno| {
            Failure::Run(format!("{} can't be listened on: {errno}", script.server))
        })?),
        None => None,
    };
    let accepts = listener.map(|listener| accepting(listener, &script, &mut sockets));
    say(Line {
        ready: true,
        ..Line::default()
    });
    let start_ns: u64 = line()?.trim().parse().unwrap_or(0);
    for act in &script.acts {
        let due_ns = start_ns + act.at_ms * 1_000_000;
        clock::sleep(Duration::from_nanos(due_ns.saturating_sub(monotonic_ns())));
        match (act.call, &accepts) {
            (Call::Accept, Some(accepts)) => {
                // Its thread lives as long as this one.
                let _ = accepts.send(());
            }
            (Call::Accept, None) => {}
            (call, _) => {
                let _ = connection(&mut sockets, &script, number(call))
                    .acts
                    .send(call);
            }
        }
    }
    // Until it is ended, or its parent is gone.
    while line().is_ok() {}
    Ok(())
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

const fn number(call: Call) -> u16 {
    match call {
        Call::Accept => 0,
        Call::Connect(conn)
        | Call::Send(conn, _)
        | Call::Read(conn, _)
        | Call::Close(conn)
        | Call::Shutdown(conn)
        | Call::Abort(conn)
        | Call::CloseAtEof(conn) => conn,
    }
}

/// A connection, with a thread of its own: a call that blocks holds up no other connection.
struct Handle {
    acts: Sender<Call>,
    /// What `accept()` returned; the thread waits for it.
    stream: Arc<(Mutex<Option<TcpStream>>, OnceLock<thread::Thread>)>,
}

fn connection<'a>(
    all: &'a mut BTreeMap<u16, Handle>,
    script: &Arc<Script>,
    conn: u16,
) -> &'a Handle {
    all.entry(conn).or_insert_with(|| {
        let (acts, todo) = channel();
        let stream = Arc::new((Mutex::new(None), OnceLock::new()));
        let (its, script) = (Arc::clone(&stream), Arc::clone(script));
        thread::spawn(move || live(conn, &script, &todo, &its));
        Handle { acts, stream }
    })
}

type Slot = (Mutex<Option<TcpStream>>, OnceLock<thread::Thread>);

/// Does the acts of a connection, one after the other.
fn live(conn: u16, script: &Script, todo: &Receiver<Call>, slot: &Slot) {
    let _ = slot.1.set(thread::current());
    let (mut stream, mut total): (Option<TcpStream>, u64) = (None, 0);
    for call in todo {
        if let Call::Connect(_) = call {
            calls(conn, format!("connect({})", script.server));
            match connected(script, conn) {
                Ok(opened) => {
                    stream = Some(opened);
                    sees(conn, "connected", 0);
                }
                Err(errno) => fails(conn, errno),
            }
            continue;
        }
        // Acts on a connection that failed have nothing to act on; those on one that is to be accepted wait for it.
        while stream.is_none() {
            let taken = slot.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            match taken {
                Some(accepted) => stream = Some(accepted),
                None if script.backlog.is_none() => break,
                None => thread::park_timeout(Duration::from_millis(20)),
            }
        }
        let Some(open) = &mut stream else { continue };
        match act(conn, call, open, &mut total) {
            Ok(true) => {}
            // Dropped, it is closed; another one may follow on the same port.
            Ok(false) => (stream, total) = (None, 0),
            Err(error) => fails(conn, Errno::from_raw(error.raw_os_error().unwrap_or(0))),
        }
    }
}

/// One call; false when the socket is closed now.
fn act(conn: u16, call: Call, stream: &mut TcpStream, total: &mut u64) -> io::Result<bool> {
    match call {
        Call::Connect(_) | Call::Accept => {}
        Call::Send(_, len) => {
            calls(conn, format!("send({})", counted(len, "byte")));
            stream.write_all(&vec![b'x'; len as usize])?;
        }
        Call::Read(_, len) => {
            calls(conn, format!("recv({})", counted(len, "byte")));
            read(conn, stream, u64::from(len), total)?;
        }
        Call::Shutdown(_) => {
            calls(conn, "shutdown(SHUT_WR)".into());
            stream.shutdown(Shutdown::Write)?;
        }
        Call::Close(_) => {
            calls(conn, "close()".into());
            return Ok(false);
        }
        Call::CloseAtEof(_) => {
            read(conn, stream, u64::MAX, total)?;
            calls(conn, "close()".into());
            return Ok(false);
        }
        Call::Abort(_) => {
            let zero = nix::libc::linger {
                l_onoff: 1,
                l_linger: 0,
            };
            setsockopt(&*stream, sockopt::Linger, &zero)?;
            calls(conn, "close() with linger zero".into());
            return Ok(false);
        }
    }
    Ok(true)
}

fn read(conn: u16, stream: &mut TcpStream, mut wanted: u64, total: &mut u64) -> io::Result<()> {
    let mut buffer = vec![0; 65_536];
    while wanted > 0 {
        let most = buffer
            .len()
            .min(usize::try_from(wanted).unwrap_or(usize::MAX));
        let got = stream.read(&mut buffer[..most])?;
        if got == 0 {
            sees(conn, "eof", *total);
            return Ok(());
        }
        wanted -= got as u64;
        *total += got as u64;
        sees(conn, "received", *total);
    }
    Ok(())
}

/// A socket with the options of the scene.
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
    if let Some((idle_s, interval_s, probes)) = script.keepalive_s {
        setsockopt(&fd, sockopt::KeepAlive, &true)?;
        setsockopt(&fd, sockopt::TcpKeepIdle, &idle_s)?;
        setsockopt(&fd, sockopt::TcpKeepInterval, &interval_s)?;
        setsockopt(&fd, sockopt::TcpKeepCount, &u32::from(probes))?;
    }
    if let Some(seconds) = script.user_timeout_s {
        setsockopt(&fd, sockopt::TcpUserTimeout, &(seconds * 1000))?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(local))?;
    Ok(fd)
}

fn connected(script: &Script, conn: u16) -> Result<TcpStream, Errno> {
    let local = SocketAddr::new(script.local, script.client_port + conn);
    let fd = prepared(script, local)?;
    connect(fd.as_raw_fd(), &SockaddrStorage::from(script.server))?;
    Ok(TcpStream::from(fd))
}

fn listening(script: &Script, backlog: u32) -> Result<TcpListener, Errno> {
    let fd = prepared(script, script.server)?;
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    listen(&fd, Backlog::new(backlog)?)?;
    Ok(TcpListener::from(fd))
}

/// A thread that calls `accept()` as often as it is asked to, and hands each connection to its own.
fn accepting(
    listener: TcpListener,
    script: &Arc<Script>,
    all: &mut BTreeMap<u16, Handle>,
) -> Sender<()> {
    // Each connection that an act names has its place beforehand: the thread below only looks.
    for act in &script.acts {
        if act.call != Call::Accept {
            connection(all, script, number(act.call));
        }
    }
    let places: BTreeMap<u16, _> = all
        .iter()
        .map(|(conn, handle)| (*conn, Arc::clone(&handle.stream)))
        .collect();
    let (sender, asked) = channel();
    let client_port = script.client_port;
    thread::spawn(move || {
        // What no act names is kept open until the end.
        let mut kept = Vec::new();
        for () in asked {
            calls(0, "accept()".into());
            match listener.accept() {
                Ok((stream, peer)) => {
                    let conn = peer.port().saturating_sub(client_port);
                    sees(conn, "accepted", 0);
                    match places.get(&conn) {
                        Some(slot) => {
                            *slot.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
                            if let Some(thread) = slot.1.get() {
                                thread.unpark();
                            }
                        }
                        None => kept.push(stream),
                    }
                }
                Err(error) => fails(0, Errno::from_raw(error.raw_os_error().unwrap_or(0))),
            }
        }
    });
    sender
}
