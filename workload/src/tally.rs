//! [`Tally`]: what a side of a benchmark has seen so far, and [`Fault`]: every way in which it can go wrong.
//!
//! It must never hold a fault that isn't a failure of the run.

use stack::app::CloseReason;
use stack::app::ConnectError;

/// Something that must not happen in a benchmark. Each is counted, and one is enough to fail the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes of a request or reply are not the right ones.
    WrongContent,
    /// A request or reply was longer or shorter than it should be.
    WrongLength,
    /// A reply came over a connection on which nothing was asked.
    WrongConnection,
    /// The peer answered our SYN with a RST.
    Refused,
    /// The peer reset the connection.
    Reset,
    /// No acknowledgment came in time.
    TimedOut,
    /// An ICMP error ended it.
    Unreachable,
    /// It was aborted here, because of a fault counted beside this one, or because data came at the wrong time.
    Aborted,
    /// It ended in good order, but too early.
    EndedEarly,
    /// No local port was free.
    NoPort,
    /// The local port that was asked for is in use, or another worker's.
    PortInUse,
    /// No record for a connection was free.
    TableFull,
    /// The address of either side could not be used.
    NoRoute,
    /// There was no room for a request as long as it waited, or room for a part of it only.
    SendRefused,
    /// There was no memory for the bytes to send.
    NoMemory,
    /// A reply can't be read: it is not what the protocol says.
    Malformed,
    /// A reply came, and says that the request failed.
    WrongStatus,
    /// No whole reply came in the time that an operation may take.
    NoReply,
}

/// How many faults there are.
pub(crate) const FAULTS: usize = Fault::ALL.len();

impl Fault {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::WrongContent,
        Self::WrongLength,
        Self::WrongConnection,
        Self::Refused,
        Self::Reset,
        Self::TimedOut,
        Self::Unreachable,
        Self::Aborted,
        Self::EndedEarly,
        Self::NoPort,
        Self::PortInUse,
        Self::TableFull,
        Self::NoRoute,
        Self::SendRefused,
        Self::NoMemory,
        Self::Malformed,
        Self::WrongStatus,
        Self::NoReply,
    ];

    /// The stable name, in snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WrongContent => "wrong_content",
            Self::WrongLength => "wrong_length",
            Self::WrongConnection => "wrong_connection",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Aborted => "aborted",
            Self::EndedEarly => "ended_early",
            Self::NoPort => "no_port",
            Self::PortInUse => "port_in_use",
            Self::TableFull => "table_full",
            Self::NoRoute => "no_route",
            Self::SendRefused => "send_refused",
            Self::NoMemory => "no_memory",
            Self::Malformed => "malformed",
            Self::WrongStatus => "wrong_status",
            Self::NoReply => "no_reply",
        }
    }

    /// Whether it is about what a reply said, not about whether one came.
    #[must_use]
    pub const fn is_wrong_reply(self) -> bool {
        matches!(
            self,
            Self::WrongContent
                | Self::WrongLength
                | Self::WrongConnection
                | Self::Malformed
                | Self::WrongStatus
        )
    }

    /// Whether a link that loses frames can cause it without a fault of either side: segments that never came through, or a peer that
    /// had given up or forgotten the connection when they did.
    #[must_use]
    pub const fn is_of_link(self) -> bool {
        matches!(self, Self::TimedOut | Self::Reset | Self::NoReply)
    }

    /// The fault of a connection that ended for `reason`; `complete` says whether it had done its work.
    #[must_use]
    pub(crate) const fn of_close(reason: CloseReason, complete: bool) -> Option<Self> {
        Some(match reason {
            CloseReason::Graceful if complete => return None,
            CloseReason::Graceful => Self::EndedEarly,
            CloseReason::Refused => Self::Refused,
            CloseReason::Reset => Self::Reset,
            CloseReason::TimedOut { .. }
            | CloseReason::KeepaliveTimedOut
            | CloseReason::FinWait2TimedOut => Self::TimedOut,
            CloseReason::Unreachable(_) => Self::Unreachable,
            // All others are ends by our side: aborted, unread data, data after close, evicted.
            _ => Self::Aborted,
        })
    }
}

impl From<ConnectError> for Fault {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::NoPort => Self::NoPort,
            ConnectError::PortInUse | ConnectError::OtherWorker => Self::PortInUse,
            ConnectError::TableFull => Self::TableFull,
            // All others are about addresses: not local, no route, no address of a host.
            _ => Self::NoRoute,
        }
    }
}

/// The counts so far. All of them only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Tally {
    /// Connections that were asked for (client).
    pub started: u64,
    /// Connections that were established.
    pub opened: u64,
    /// Connections that did all of their work and ended in good order.
    pub completed: u64,
    /// Requests sent (client) or received and found right (server).
    pub requests: u64,
    /// Replies received and found right (client) or sent (server).
    pub replies: u64,
    /// Times that a request found no room and waited (client): [`crate::load::LoadCounts::waited`].
    pub waited: u64,
    /// Faults, in the order of [`Fault::ALL`].
    pub faults: [u64; FAULTS],
}

impl Tally {
    /// Counts a fault.
    pub fn fault(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
    }

    /// All faults.
    #[must_use]
    pub fn faults_total(&self) -> u64 {
        self.faults.iter().sum()
    }

    /// Faults of a kind, such as [`Fault::is_wrong_reply`].
    #[must_use]
    pub fn total_of(&self, is: impl Fn(Fault) -> bool) -> u64 {
        let of_kind = self.by_fault().filter(|&(fault, _)| is(fault));
        of_kind.map(|(_, n)| n).sum()
    }

    /// The faults that happened, and how often.
    pub fn by_fault(&self) -> impl Iterator<Item = (Fault, u64)> {
        Fault::ALL
            .into_iter()
            .zip(self.faults)
            .filter(|&(_, n)| n > 0)
    }

    /// The counts since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            started: self.started - earlier.started,
            opened: self.opened - earlier.opened,
            completed: self.completed - earlier.completed,
            requests: self.requests - earlier.requests,
            replies: self.replies - earlier.replies,
            waited: self.waited - earlier.waited,
            faults: core::array::from_fn(|i| self.faults[i] - earlier.faults[i]),
        }
    }
}
