//! [`make`]: one connection to a peer by the kernel's sockets, and everything that the kernel says about it.
//!
//! It must never send data, and never leave a socket behind.

use std::io::{IoSliceMut, Read as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrStorage, connect,
    getsockopt, recvmsg, setsockopt, socket, sockopt,
};
use stack::tcp::state::State;

use crate::failure::Failure;
use crate::sock_diag;
use crate::stop::Stop;

/// How long a signal may go unheeded.
const SLICE: Duration = Duration::from_millis(50);
/// The peer's kernel acknowledges a FIN within a round trip and a delayed ACK; a multiple of that.
pub(super) const FIN_PATIENCE: Duration = Duration::from_millis(500);
/// Bytes of a greeting that are kept.
pub(super) const GREETING_LEN: usize = 256;
/// Where an error in the queue comes from (linux/errqueue.h).
const ORIGIN_LOCAL: u8 = 1;

/// The evidence of one connection.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    /// How `connect()` ended.
    pub(super) end: ConnectEnd,
    /// After how long.
    pub(super) took: Duration,
    /// SYNs that were sent again.
    pub(super) syns_again: u8,
    /// The evidence of the frames themselves; `None` by the kernel's sockets, which don't show them.
    pub(super) frames: Option<SeenFrames>,
}

/// The evidence of an attempt's frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SeenFrames {
    /// SYNs that left.
    pub(super) syns: u8,
    /// ARP requests or neighbour solicitations that left.
    pub(super) questions: u8,
    /// TTL or hop limit with which the SYN,ACK came.
    pub(super) syn_ack_ttl: Option<u8>,
    /// The first reset: whether it has ACK set, and its TTL or hop limit.
    pub(super) reset: Option<(bool, u8)>,
    /// The first ICMP error about the attempt.
    pub(super) icmp: Option<Cause>,
}

/// How `connect()` ended.
#[derive(Debug, Clone)]
pub(super) enum ConnectEnd {
    /// The connection is open.
    Open(Opened),
    /// It failed.
    Failed {
        /// The error that the application sees.
        errno: Errno,
        /// The error that made it so, from the socket's error queue.
        cause: Option<Cause>,
    },
    /// Nothing came within the time.
    Silence,
}

/// The entry of the error queue (IP_RECVERR).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cause {
    /// This host made it up (ARP or NDP unanswered, a rule of its own firewall); otherwise ICMP said it.
    pub(super) is_local: bool,
    /// Type and code of the ICMP error.
    pub(super) kind: u8,
    /// As above.
    pub(super) code: u8,
    /// The sender.
    pub(super) from: Option<IpAddr>,
}

/// The evidence of an open connection.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    /// Smoothed round trip in µs, from the handshake.
    pub(super) rtt_us: u32,
    /// The largest payload of a segment to the peer, in bytes.
    pub(super) snd_mss: u32,
    /// The peer's action before anything was sent.
    pub(super) before: Before,
    /// Its reaction to our FIN; `None` when it had ended the connection before.
    pub(super) after: Option<After>,
}

/// The peer's action by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Before {
    /// It sent these bytes first.
    Greeted(Vec<u8>),
    /// It closed without a word, after this time in ms.
    Closed(u64),
    /// It reset the connection, after this time in ms.
    Reset(Errno, u64),
    /// Nothing.
    Silent,
}

/// Its reaction to our FIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// It closed too, or reset: its application is awake.
    Closed,
    /// Its kernel acknowledged the FIN, its application didn't close.
    Acknowledged,
    /// The FIN stays unacknowledged: frames got lost, or the peer is gone.
    Unacknowledged,
}

/// Connects and looks, `wait` long at each step.
///
/// # Errors
/// [`Failure::Run`] when the system refuses a socket.
pub(super) fn make(target: SocketAddr, wait: Duration, stop: &Stop) -> Result<Attempt, Failure> {
    let refused = |what: &str, errno: Errno| Failure::Run(format!("{target}: {what}: {errno}"));
    let family = match target {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(family, SockType::Stream, flags, None).map_err(|e| refused("socket()", e))?;
    let set = match target {
        SocketAddr::V4(_) => setsockopt(&fd, sockopt::Ipv4RecvErr, &true),
        SocketAddr::V6(_) => setsockopt(&fd, sockopt::Ipv6RecvErr, &true),
    };
    set.map_err(|errno| refused("setsockopt(IP_RECVERR)", errno))?;
    let start = Instant::now();
    let address = SockaddrStorage::from(target);
    let (mut syns_again, mut failed) = (0, None);
    match connect(fd.as_raw_fd(), &address) {
        Ok(()) => {}
        Err(Errno::EINPROGRESS) => {
            let is_over = wait_for(&fd, PollFlags::POLLOUT, wait, stop);
            syns_again = retransmits(&fd, target);
            if !is_over {
                let (end, took) = (ConnectEnd::Silence, start.elapsed());
                return Ok(Attempt {
                    end,
                    took,
                    syns_again,
                    frames: None,
                });
            }
            let error = getsockopt(&fd, sockopt::SocketError).unwrap_or(0);
            failed = (error != 0).then(|| Errno::from_raw(error));
        }
        Err(errno) => failed = Some(errno),
    }
    let took = start.elapsed();
    let end = match failed {
        Some(errno) => ConnectEnd::Failed {
            errno,
            cause: cause(&fd),
        },
        None => ConnectEnd::Open(look(TcpStream::from(fd), target, wait, stop)),
    };
    Ok(Attempt {
        end,
        took,
        syns_again,
        frames: None,
    })
}

/// Whether something of `events` is there within the time, and no signal came.
fn wait_for(fd: &OwnedFd, events: PollFlags, wait: Duration, stop: &Stop) -> bool {
    let until = Instant::now() + wait;
    while !stop.is_asked() {
        let left = until.saturating_duration_since(Instant::now());
        let slice = PollTimeout::try_from(left.min(SLICE)).unwrap_or(PollTimeout::ZERO);
        let mut fds = [PollFd::new(fd.as_fd(), events)];
        // Interrupted by a signal, it is asked again or ends above.
        if matches!(poll(&mut fds, slice), Ok(ready) if ready > 0) {
            return true;
        }
        if left.is_zero() {
            return false;
        }
    }
    false
}

fn ends(fd: &OwnedFd, target: SocketAddr) -> Option<((IpAddr, u16), (IpAddr, u16))> {
    let name = nix::sys::socket::getsockname::<SockaddrStorage>(fd.as_raw_fd()).ok()?;
    let local: SocketAddr = match (name.as_sockaddr_in(), name.as_sockaddr_in6()) {
        (Some(v4), _) => std::net::SocketAddrV4::from(*v4).into(),
        (_, Some(v6)) => std::net::SocketAddrV6::from(*v6).into(),
        _ => return None,
    };
    Some(((local.ip(), local.port()), (target.ip(), target.port())))
}

fn retransmits(fd: &OwnedFd, target: SocketAddr) -> u8 {
    let socket = ends(fd, target)
        .and_then(|(local, remote)| sock_diag::socket_between(local, remote).ok()?);
    let info = socket.and_then(|socket| socket.info);
    info.map_or(0, |info| info.retransmits)
}

/// The last error in the socket's queue.
fn cause(fd: &OwnedFd) -> Option<Cause> {
    let mut payload = [0; 512];
    let mut iov = [IoSliceMut::new(&mut payload)];
    let mut control = nix::cmsg_space!([u8; 256]);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message =
        recvmsg::<SockaddrStorage>(fd.as_raw_fd(), &mut iov, Some(&mut control), flags).ok()?;
    message.cmsgs().ok()?.find_map(|part| match part {
        ControlMessageOwned::Ipv4RecvErr(error, from) => Some(Cause {
            is_local: error.ee_origin == ORIGIN_LOCAL,
            kind: error.ee_type,
            code: error.ee_code,
            from: from.map(|from| IpAddr::from(from.sin_addr.s_addr.to_ne_bytes())),
        }),
        ControlMessageOwned::Ipv6RecvErr(error, from) => Some(Cause {
            is_local: error.ee_origin == ORIGIN_LOCAL,
            kind: error.ee_type,
            code: error.ee_code,
            from: from.map(|from| IpAddr::from(from.sin6_addr.s6_addr)),
        }),
        _ => None,
    })
}

/// Waits for what the peer says first, then closes our direction and looks what comes of it.
fn look(mut stream: TcpStream, target: SocketAddr, wait: Duration, stop: &Stop) -> Opened {
    let start = Instant::now();
    let info = known(&stream, target).and_then(|socket| socket.info);
    let (rtt_us, snd_mss) = info.map_or((0, 0), |info| (info.rtt, info.snd_mss));
    let fd = stream.try_clone().map(OwnedFd::from);
    let is_ready = fd
        .as_ref()
        .is_ok_and(|fd| wait_for(fd, PollFlags::POLLIN, wait, stop));
    let mut bytes = [0; GREETING_LEN];
    let elapsed_ms = start.elapsed().as_millis() as u64;
    let before = match is_ready.then(|| stream.read(&mut bytes)) {
        None => Before::Silent,
        Some(Ok(0)) => Before::Closed(elapsed_ms),
        Some(Ok(len)) => Before::Greeted(bytes[..len].to_vec()),
        Some(Err(error)) => {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
            Before::Reset(errno, elapsed_ms)
        }
    };
    let is_over = matches!(before, Before::Closed(_) | Before::Reset(..));
    let after = (!is_over && stream.shutdown(Shutdown::Write).is_ok()).then(|| {
        let until = Instant::now() + wait.max(FIN_PATIENCE);
        loop {
            let is_ready = fd
                .as_ref()
                .is_ok_and(|fd| wait_for(fd, PollFlags::POLLIN, SLICE, stop));
            match is_ready.then(|| stream.read(&mut bytes)) {
                // Bytes still sent are read: unread, it would reset the peer at the end.
                Some(Ok(len)) if len > 0 => {}
                Some(_) => return After::Closed,
                None => {}
            }
            if Instant::now() >= until || stop.is_asked() {
                let state = known(&stream, target).map(|socket| socket.state);
                return match state {
                    Some(State::FinWait1) => After::Unacknowledged,
                    _ => After::Acknowledged,
                };
            }
        }
    });
    Opened {
        rtt_us,
        snd_mss,
        before,
        after,
    }
}

/// The kernel's state of it.
fn known(stream: &TcpStream, target: SocketAddr) -> Option<sock_diag::KernelSocket> {
    let local = stream.local_addr().ok()?;
    let (local, remote) = ((local.ip(), local.port()), (target.ip(), target.port()));
    sock_diag::socket_between(local, remote).ok()?
}
