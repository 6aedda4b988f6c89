//! [`LoadPlan`]: what one worker of a load generator is to do, in full.
//!
//! It must never hold a choice that the client does not heed.

use core::net::SocketAddr;
use core::time::Duration;

use super::checksum::BodyChecksum;
use super::local_tuples::LocalTuples;
use super::schedule::Schedule;
use super::template::Template;

/// The kind of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A connection: open, ask once if there is a request, close.
    Connect(CloseMode),
    /// A request over a connection that stays.
    Request,
    /// The same, and every connection is asked in its turn: the longest unasked one first. One that ends is replaced.
    Hold,
    /// Bulk transfer over connections that stay: there are no operations. One that ends is replaced.
    Stream(Direction),
}

impl Work {
    /// Whether connections are kept, and replaced when they end.
    #[must_use]
    pub const fn keeps(self) -> bool {
        matches!(self, Self::Hold | Self::Stream(_))
    }
}

/// Which way the bulk of [`Work::Stream`] goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From us.
    Up,
    /// To us.
    Down,
    /// Both ways at once.
    Both,
}

impl Direction {
    /// Whether we send.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Up | Self::Both)
    }
}

/// How a connection of [`Work::Connect`] ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseMode {
    /// We close first, by FIN: TIME-WAIT is ours.
    Fin,
    /// We reset it: there is no TIME-WAIT.
    Rst,
    /// We wait for the peer's FIN: TIME-WAIT is the peer's.
    Peer,
}

/// The treatment of an operation that is due while every connection is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenBusy {
    /// It waits, and the time that it waits counts.
    #[default]
    Queue,
    /// It is counted as dropped.
    Drop,
}

/// The cause that begins operations: a rate, or the end of another one.
#[derive(Debug, Clone)]
pub enum Pace {
    /// The end of others: as many connections as there may be, always at work.
    Closed,
    /// The time: an open loop.
    Open(Schedule, WhenBusy),
}

/// How connections that stay are opened, and closed at the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Opening {
    /// Connections a second; `None` for as many as [`Opening::under_way_max`] allows.
    pub rate_rps: Option<f64>,
    /// Handshakes under way at a time at most, at least 1.
    pub under_way_max: u32,
    /// Closings under way at a time at most, at least 1.
    pub closing_max: u32,
}

/// Which operations are timed: those that are due, or in a closed loop begin, within it. In ns from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First moment.
    pub from_ns: u64,
    /// First moment behind it.
    pub until_ns: u64,
}

impl Window {
    /// Whether a moment lies within.
    #[must_use]
    pub const fn holds(&self, at_ns: u64) -> bool {
        self.from_ns <= at_ns && at_ns < self.until_ns
    }
}

/// A request, and what must come back.
#[derive(Debug, Clone)]
pub struct RequestPlan {
    /// Which of [`LoadPlan::targets`] is asked.
    pub target: u16,
    /// How often it is chosen, beside the weights of the others.
    pub weight: u32,
    /// Its bytes.
    pub bytes: Template,
    /// The response.
    pub reply: ReplyPlan,
    /// The checksum of the body of a response; HTTP only.
    pub checksum: Option<BodyChecksum>,
}

/// A header of the PROXY protocol, sent in front of everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Version 1, a line of text.
    V1,
    /// Version 2, with a CRC32C.
    V2,
}

/// The expected reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyPlan {
    /// An HTTP response.
    Http {
        /// The request is a HEAD.
        to_head: bool,
    },
    /// These bytes.
    Exact(Box<[u8]>),
}

/// The plan of one worker.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// The targets, at least one.
    pub targets: Vec<SocketAddr>,
    /// The requests; may be empty for [`Work::Connect`] and [`Work::Hold`].
    pub requests: Vec<RequestPlan>,
    /// The kind of an operation.
    pub work: Work,
    /// The cause that begins operations: a rate, or the end of another one.
    pub pace: Pace,
    /// Connections at a time at most, at least 1.
    pub connections: u32,
    /// Open all connections before the clock starts, and keep that many (for [`Work::Request`] and [`Work::Hold`]).
    pub keeps_all: bool,
    /// How connections that are kept are opened; `None` for a burst in each turn.
    pub opening: Option<Opening>,
    /// Operations under way at most, on all connections.
    pub operations: u32,
    /// Requests under way on one connection at most, at least 1.
    pub pipeline: u16,
    /// [`Work::Request`]: we close a connection after so many requests; `None` keeps it. At least 1.
    pub requests_per_connection: Option<u32>,
    /// Time each step of an operation, not only the whole.
    pub times_steps: bool,
    /// Time the first reply of each connection from its SYN as well.
    pub times_from_syn: bool,
    /// Nothing shares a segment with anything else: the request follows the handshake's last ACK a turn later, and our FIN the ACK of
    /// the reply. For [`Work::Connect`] with [`CloseMode::Fin`].
    pub apart: bool,
    /// A closed loop of [`Work::Request`] asks on connections chosen at random, as many at a time as there are
    /// [`LoadPlan::operations`]; without it on the one that has just been answered. For [`LoadPlan::keeps_all`].
    pub at_random: bool,
    /// Operations in all; `None` without an end.
    pub count: Option<u64>,
    /// Over how long a closed loop opens its connections, in ns.
    pub ramp_ns: u64,
    /// Operations that begin in one turn at most: what can leave back to back. At least 1.
    pub burst: u16,
    /// How long an operation may take from its beginning.
    pub timeout: Duration,
    /// Which operations are timed.
    pub window: Window,
    /// Of each fault, so many failed connections are remembered for [`crate::load::LoadClient::take_marks`].
    pub marks_per_fault: u32,
    /// The header in front of each connection; it names the connection's own ends.
    pub proxy: Option<ProxyHeader>,
    /// [`Work::Stream`]: what comes is the pattern of chargen, from its beginning, and anything else a failure.
    pub expects_pattern: bool,
    /// The header of responses by which the servers that answer are counted apart.
    pub count_by: Option<Box<str>>,
    /// HTTP status codes that are no failure.
    pub accepted: core::ops::RangeInclusive<u16>,
    /// Where connections come from; `None` leaves address and port to the stack.
    pub tuples: Option<LocalTuples>,
    /// This worker, and how many there are: request numbers are unique among all.
    pub share: (u16, u16),
    /// Where choices and random texts come from.
    pub seed: u64,
}

impl LoadPlan {
    /// A closed loop of one worker without requests, over so many connections to a target, from where the stack likes. Each operation
    /// may take a minute, all are timed, and every status below 400 is right.
    #[must_use]
    pub fn closed_loop(target: SocketAddr, work: Work, connections: u32) -> Self {
        Self {
            targets: vec![target],
            requests: Vec::new(),
            work,
            pace: Pace::Closed,
            connections,
            keeps_all: false,
            opening: None,
            operations: connections,
            pipeline: 1,
            requests_per_connection: None,
            times_steps: true,
            times_from_syn: false,
            apart: false,
            at_random: false,
            count: None,
            ramp_ns: 0,
            burst: 32,
            timeout: Duration::from_secs(60),
            window: Window {
                from_ns: 0,
                until_ns: u64::MAX,
            },
            marks_per_fault: 0,
            proxy: None,
            expects_pattern: false,
            count_by: None,
            accepted: 200..=399,
            tuples: None,
            share: (0, 1),
            seed: 1,
        }
    }
}
