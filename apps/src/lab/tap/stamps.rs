//! [`Stamps`]: when a kernel sent a frame, by the stamp that a capture of its tap gets: what tcpdump would show.
//!
//! It must never keep a frame from its way: one without a stamp was sent when it was read.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType,
    recvmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use super::monotonic_ns;

/// `sll_pkttype` of what leaves an interface (packet(7), PACKET_OUTGOING).
const OUTGOING: u8 = 4;
/// Frames that are remembered at most; each is asked for as soon as the tap gave it.
const KEPT_MAX: usize = 1024;

/// A packet socket in the namespace of a kernel's end.
pub(super) struct Stamps {
    socket: OwnedFd,
    /// Index of the tap.
    index: usize,
    /// Frames that left through the tap, with CLOCK_REALTIME in ns.
    seen: VecDeque<(u64, Vec<u8>)>,
    buffer: Vec<u8>,
}

impl Stamps {
    /// Of what leaves through the interface `index` in the namespace of this thread, from now on; a frame has `frame_len` bytes at most.
    ///
    /// # Errors
    /// The system refuses a packet socket.
    pub(super) fn open(index: u32, frame_len: usize) -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::EthAll,
        )?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        Ok(Self {
            socket,
            index: index as usize,
            seen: VecDeque::new(),
            buffer: vec![0; frame_len],
        })
    }

    /// Takes what was captured: a queue that is full loses stamps.
    pub(super) fn take(&mut self) {
        while let Some(captured) = self.next() {
            if let Some(captured) = captured {
                if self.seen.len() == KEPT_MAX {
                    self.seen.pop_front();
                }
                self.seen.push_back(captured);
            }
        }
    }

    /// When a frame left that the tap gave just now (CLOCK_MONOTONIC, ns). Frames are asked for in their order.
    pub(super) fn sent_ns(&mut self, frame: &[u8]) -> u64 {
        self.take();
        let (now_ns, real_ns) = (monotonic_ns(), realtime_ns());
        let place = self.seen.iter().position(|(_, bytes)| bytes == frame);
        let stamp_ns = place.and_then(|place| self.seen.drain(..=place).next_back());
        let ago_ns = stamp_ns.map_or(0, |(stamp_ns, _)| real_ns.saturating_sub(stamp_ns));
        now_ns.saturating_sub(ago_ns)
    }

    /// The next frame of the queue, `None` when it is empty; nothing in it when it didn't leave through the tap.
    fn next(&mut self) -> Option<Option<(u64, Vec<u8>)>> {
        let mut control = cmsg_space!(TimeSpec);
        let (len, from, stamp_ns) = {
            let mut slices = [IoSliceMut::new(&mut self.buffer)];
            let fd = self.socket.as_raw_fd();
            let flags = MsgFlags::MSG_DONTWAIT;
            let got = recvmsg::<LinkAddr>(fd, &mut slices, Some(&mut control), flags).ok()?;
            let stamp = got.cmsgs().ok()?.find_map(|message| match message {
                ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
                _ => None,
            });
            (got.bytes, got.address, stamp.map(|at| at.as_nanos() as u64))
        };
        let leaves =
            from.is_some_and(|from| from.ifindex() == self.index && from.pkttype() == OUTGOING);
        let stamp_ns = stamp_ns.filter(|_| leaves);
        Some(stamp_ns.map(|at_ns| (at_ns, self.buffer[..len].to_vec())))
    }
}

/// CLOCK_REALTIME, in ns: the clock of stamps.
fn realtime_ns() -> u64 {
    // It can't fail: every Linux has this clock.
    clock_gettime(ClockId::CLOCK_REALTIME)
        .map_or(Duration::ZERO, Duration::from)
        .as_nanos() as u64
}
