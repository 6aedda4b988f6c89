//! The form in which a scenario is written: [`Scenario`], its [`Scene`]s, what is done in them and what must come of it.
//!
//! It must never know how a scene is played: the same words hold for our endpoint in virtual time and for a kernel on a
//! tap.

use diagnose::counted;
use std::fmt;
use std::ops::RangeInclusive;

use serde::Serialize;
use stack::config::ClosedPolicy;
use stack::local::listener::SynPolicy;
use stack::neighbor;
use stack::tcp::lang::Spec;
use stack::tcp::segment::Flags;

use super::errno::Errno;
use super::network::NetworkAct;

/// One of the two ends. The client is drawn at the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum End {
    /// Connects.
    Client,
    /// Is connected to, or isn't.
    Server,
}

pub(crate) use End::{Client, Server};

/// The TCP that plays an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Player {
    /// This stack.
    Ours,
    /// The kernel's, under a program that uses sockets.
    Kernel,
}

pub(crate) use Player::{Kernel, Ours};

/// Which TCP plays which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Cast {
    /// The left end.
    pub(crate) client: Player,
    /// The right end.
    pub(crate) server: Player,
}

impl Cast {
    /// Both ends are ours: in simulation.
    pub(crate) const SIM: Self = Self {
        client: Ours,
        server: Ours,
    };

    /// The TCP that plays that end.
    pub(crate) fn player(self, side: End) -> Player {
        match side {
            Client => self.client,
            Server => self.server,
        }
    }
}

/// Which protocol carries the segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4, with ARP.
    V4,
    /// IPv6, with NDP.
    V6,
}

/// How fast a real kernel is made to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// With the times that every machine has.
    Real,
    /// With sysctls that shorten what takes a minute; they are printed.
    Quick,
}

/// A situation, in one or more scenes that are played one after the other, each from a fresh start.
#[derive(Default)]
pub(crate) struct Scenario {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// The symptom that a user sees: "connection refused", "timed out", "hangs".
    pub(crate) symptom: &'static str,
    /// The errnos that applications get.
    pub(crate) errnos: Vec<&'static str>,
    /// Which layer the verdict belongs to.
    pub(crate) layer: &'static str,
    /// Where the RFCs say it.
    pub(crate) rfc: &'static str,
    /// Its explanation: a paragraph.
    pub(crate) shows: Vec<&'static str>,
    /// The path through Linux.
    pub(crate) linux: Vec<&'static str>,
    /// The path through `stack`.
    pub(crate) stack: Vec<&'static str>,
    /// Where Linux and Syncline do it differently, and why.
    pub(crate) differs: Vec<&'static str>,
    /// The places to look at on a real system.
    pub(crate) check: Vec<&'static str>,
    /// Its scenes.
    pub(crate) scenes: Vec<Scene>,
}

/// The situations of a connection, numbered from 1 on.
pub(crate) const SITUATIONS: [&str; 12] = [
    "Closed port",
    "Request timeout",
    "Early close",
    "As it should be",
    "Host down just now",
    "Host down long ago",
    "Application blocked",
    "Machine frozen",
    "Power loss during a transfer",
    "Process crash",
    "The network between",
    "Applications",
];

/// The start of a scene, its actions, and its expectations. Times are in ms from the start of the scene.
pub(crate) struct Scene {
    /// A line above the ladder.
    pub(crate) title: &'static str,
    /// The points of the [`SITUATIONS`] that it shows, each with the number of its situation from 1 on.
    pub(crate) points: Vec<(usize, &'static str)>,
    /// Connections that may wait for `accept()` beyond the first (as in `listen(backlog)`); `None`: no program listens.
    pub(crate) backlog: Option<u32>,
    /// The treatment of a SYN by the server's listener.
    pub(crate) syn_policy: SynPolicy,
    /// An embryo whose final ACK meets a full accept queue is reset (`tcp_abort_on_overflow`).
    pub(crate) aborts_on_overflow: bool,
    /// The answer of the server's closed ports.
    pub(crate) closed: ClosedPolicy,
    /// Keepalive of both ends in s: idle time, interval, probes.
    pub(crate) keepalive_s: Option<(u32, u32, u8)>,
    /// How long both ends wait for an acknowledgment of data, in s (TCP_USER_TIMEOUT).
    pub(crate) user_timeout_s: Option<u32>,
    /// Whether both ends wait for an acknowledgment before a small segment (Nagle); false is TCP_NODELAY.
    pub(crate) nagle: bool,
    /// How many local ports the client has, from that of connection 1 on; `None`: as many as usual.
    pub(crate) local_ports: Option<u16>,
    /// Both ends know the other's link address from before.
    pub(crate) knows_neighbors: bool,
    /// Receive buffer of both ends, in bytes; `None` leaves each its default.
    pub(crate) rcv_buf: Option<u32>,
    /// Whether the server's host is there at the start.
    pub(crate) server_is_on: bool,
    /// Sysctls of the kernel's end, below `net/ipv4/` or `net/ipv6/`; `%` stands for its interface.
    pub(crate) sysctls: Vec<(&'static str, &'static str)>,
    /// The TCP that must play an end, when only one can.
    pub(crate) needs: Option<(End, Player)>,
    /// Two machines can't be made to do this, for the reason that stands in its file.
    pub(crate) only_in_simulation: bool,
    /// The mutations that break it: with any of these an expectation fails.
    pub(crate) mutations: Vec<Mutation>,
    /// The actions, in order of time.
    pub(crate) acts: Vec<Act>,
    /// The expectations.
    pub(crate) expectations: Vec<Expectation>,
    /// When the scene is over.
    pub(crate) lasts_ms: u64,
}

/// A change of what happened that the expectations must notice.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mutation {
    /// By whom.
    pub(crate) who: End,
    /// What.
    pub(crate) change: MutationChange,
}

/// The change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MutationChange {
    /// These segments never came.
    Lost(Spec),
    /// They acknowledged this instead.
    Ack(Spec, u32),
    /// They had these flags instead.
    Flags(Spec, Flags),
    /// This segment came as well, at the end.
    Added(Spec),
    /// The application didn't see this.
    Unseen(Observation),
    /// It saw this as well, at the end.
    Seen(Observation),
    /// It didn't ask for the other's link address.
    Unasked,
    /// It sent nothing again.
    Unrepeated,
}

/// One deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Act {
    /// When.
    pub(crate) at_ms: u64,
    /// Whose.
    pub(crate) who: End,
    /// What.
    pub(crate) what: SceneAction,
}

/// An action of an end. Connections are numbered by the author of the scene; number `n` has the client's port
/// [`CLIENT_PORT`] plus `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SceneAction {
    /// Calls `connect()` for connection `n`; the server does so from its own port, towards the client's.
    Connect(u16),
    /// Calls `connect()` without a local port of its own choice; `n` is what is said of it when there is none.
    ConnectAnyPort(u16),
    /// A blocking `connect()` for connection `n` returns, because its time is up (SO_SNDTIMEO); the socket stays.
    StopWaiting(u16),
    /// Calls `listen()`.
    Listen,
    /// Closes the listening socket.
    StopListening,
    /// The process dies: the system closes its sockets, the listening one too.
    Crash,
    /// Calls `accept()`: takes the oldest connection that waits, or the next one that comes.
    Accept,
    /// Calls `send()` on connection `n` with so many bytes.
    Send(u16, u32),
    /// Calls `recv()` on connection `n` until so many more bytes have come.
    Read(u16, u32),
    /// Calls `close()` on connection `n`.
    Close(u16),
    /// Calls `close()` on connection `n` as soon as the peer has closed.
    CloseAtEof(u16),
    /// Calls `shutdown(SHUT_WR)` on connection `n`.
    Shutdown(u16),
    /// Calls `close()` on connection `n` with SO_LINGER of zero.
    Abort(u16),
    /// The host loses its power: it neither hears nor says anything any more.
    PowerOff,
    /// The host has power again, and knows nothing.
    PowerOn,
    /// Its cable is pulled.
    CableOut,
    /// Its cable is plugged in again.
    CableIn,
    /// The machine stands still: it hears and says nothing, and forgets nothing.
    Freeze,
    /// It goes on.
    Thaw,
    /// The host has power again, with another link address.
    PowerOnElsewhere,
    /// The network does something to the frames of this end.
    Network(NetworkAct),
}

impl SceneAction {
    /// Whether an application does it; the rest happens to its host.
    pub(crate) const fn is_of_application(self) -> bool {
        !matches!(
            self,
            Self::PowerOff
                | Self::PowerOn
                | Self::CableOut
                | Self::CableIn
                | Self::Freeze
                | Self::Thaw
                | Self::PowerOnElsewhere
                | Self::Network(_)
        )
    }
}

impl fmt::Display for SceneAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(conn) => write!(f, "calls connect() for connection {conn}"),
            Self::Accept => f.write_str("calls accept()"),
            Self::Send(conn, len) => {
                write!(f, "sends {} on connection {conn}", counted(len, "byte"))
            }
            Self::Read(conn, len) => {
                write!(f, "reads {} of connection {conn}", counted(len, "byte"))
            }
            Self::Close(conn) => write!(f, "closes connection {conn}"),
            Self::CloseAtEof(conn) => write!(
                f,
                "closes connection {conn} as soon as it sees the end of the stream"
            ),
            Self::Shutdown(conn) => write!(f, "ends its direction of connection {conn}"),
            Self::Abort(conn) => write!(f, "closes connection {conn} with linger zero"),
            Self::PowerOff => f.write_str("loses its power"),
            Self::PowerOn => f.write_str("boots again"),
            Self::CableOut => f.write_str("loses its cable"),
            Self::CableIn => f.write_str("gets its cable back"),
            Self::ConnectAnyPort(conn) => write!(
                f,
                "calls connect() for connection {conn} from whatever port is free"
            ),
            Self::StopWaiting(conn) => write!(f, "stops waiting for connection {conn}"),
            Self::Listen => f.write_str("calls listen()"),
            Self::StopListening => f.write_str("closes its listening socket"),
            Self::Crash => f.write_str("crashes: its process is gone"),
            Self::Freeze => f.write_str("freezes"),
            Self::Thaw => f.write_str("goes on"),
            Self::PowerOnElsewhere => f.write_str("boots again with another link address"),
            Self::Network(what) => write!(f, "(the network) {what}"),
        }
    }
}

/// A scene in real time may take so long.
const REAL_LIMIT_MS: u64 = 450_000;
/// The server's address in every scene is the other end's; this is its port.
pub(crate) const SERVER_PORT: u16 = 81;
/// The client's port of connection `n` is this plus `n`.
pub(crate) const CLIENT_PORT: u16 = 40_000;

/// An event that an application can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Observation {
    /// `connect()` returned: the connection is open.
    Connected,
    /// `accept()` returned a connection.
    Accepted,
    /// `recv()` has returned so many bytes of the connection by now.
    Received(u64),
    /// `recv()` returned 0: the peer has closed.
    Eof,
    /// A call failed.
    Failed(Errno),
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Accepted => f.write_str("accepted"),
            Self::Received(total) => write!(f, "{} received", counted(total, "byte")),
            Self::Eof => f.write_str("end of stream"),
            Self::Failed(errno) => write!(f, "{errno}"),
        }
    }
}

/// Something that must come of a scene.
///
/// Frames are looked for in the order in which they are written down: each one behind the one before. What applications
/// and neighbour entries go through is looked for in order too, on each side by itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expectation {
    /// Whose.
    pub(crate) who: End,
    /// What.
    pub(crate) what: Expected,
    /// Which connection, where there are several.
    pub(crate) conn: u16,
    /// When, in ms from the start of the scene.
    pub(crate) within_ms: RangeInclusive<u64>,
    /// Only if that player plays the end whose it is.
    pub(crate) played_by: Option<Player>,
    /// Only while that player plays that end.
    pub(crate) while_is: Option<(End, Player)>,
}

/// An expectation of an end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expected {
    /// It sends this segment.
    Segment(Spec),
    /// It sends this segment at no time.
    NoSegment(Spec),
    /// It sends a segment again.
    Retransmission,
    /// It sends no segment again.
    NoRetransmission,
    /// It asks for the other's link address: an ARP request, a neighbour solicitation.
    Solicitation,
    /// Its application sees one of these.
    App(Vec<Observation>),
    /// Its application sees this at no time.
    NotApp(Observation),
    /// Its neighbour entry for the other becomes this.
    Neighbor(neighbor::NeighborState),
}

impl End {
    /// The other end.
    pub(crate) const fn other(self) -> Self {
        match self {
            Client => Server,
            Server => Client,
        }
    }

    /// As people call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Client => "client",
            Server => "server",
        }
    }
}

impl Expectation {
    /// Until when nothing may happen, in ms; `None` for what must happen.
    pub(crate) fn forbids_until_ms(&self) -> Option<u64> {
        let forbids = matches!(
            self.what,
            Expected::NoSegment(_) | Expected::NotApp(_) | Expected::NoRetransmission
        );
        forbids.then_some(*self.within_ms.end())
    }

    /// Whether it counts with this cast.
    pub(crate) fn counts_for(&self, cast: Cast) -> bool {
        let is_played = |(end, player)| cast.player(end) == player;
        self.played_by
            .is_none_or(|player| is_played((self.who, player)))
            && self.while_is.is_none_or(is_played)
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = self.who.name();
        match &self.what {
            Expected::Segment(spec) => write!(f, "{who} sends {spec}")?,
            Expected::NoSegment(spec) => write!(f, "{who} never sends {spec}")?,
            Expected::Retransmission => write!(f, "{who} sends a segment again")?,
            Expected::NoRetransmission => write!(f, "{who} sends no segment again")?,
            Expected::Solicitation => write!(f, "{who} asks for the other's link address")?,
            Expected::App(seen) => {
                let seen: Vec<String> = seen.iter().map(Observation::to_string).collect();
                write!(f, "{who}'s application sees: {}", seen.join(" or "))?;
            }
            Expected::NotApp(seen) => write!(f, "{who}'s application never sees: {seen}")?,
            Expected::Neighbor(state) => {
                write!(f, "{who}'s neighbour entry becomes {}", nud(*state))?;
            }
        }
        if self.conn != 1 {
            write!(f, " on connection {}", self.conn)?;
        }
        match (*self.within_ms.start(), *self.within_ms.end()) {
            (0, u64::MAX) => Ok(()),
            (from, u64::MAX) => write!(f, " from {from} ms on"),
            (from, to) => write!(f, " between {from} and {to} ms"),
        }
    }
}

/// The name of a neighbour's state (RFC 4861 §7.3.2), as `ip neigh` prints it.
pub(crate) const fn nud(state: neighbor::NeighborState) -> &'static str {
    match state {
        neighbor::NeighborState::Incomplete => "INCOMPLETE",
        neighbor::NeighborState::Reachable => "REACHABLE",
        neighbor::NeighborState::Stale => "STALE",
        neighbor::NeighborState::Delay => "DELAY",
        neighbor::NeighborState::Probe => "PROBE",
        neighbor::NeighborState::Failed => "FAILED",
    }
}

impl Scene {
    /// A scene in which no program listens, both hosts are there and nothing is done yet.
    pub(crate) fn new(title: &'static str) -> Self {
        Self {
            title,
            points: Vec::new(),
            backlog: None,
            syn_policy: SynPolicy::Embryo,
            aborts_on_overflow: false,
            closed: ClosedPolicy::Rst,
            keepalive_s: None,
            user_timeout_s: None,
            nagle: true,
            local_ports: None,
            knows_neighbors: false,
            rcv_buf: None,
            server_is_on: true,
            sysctls: Vec::new(),
            needs: None,
            only_in_simulation: false,
            mutations: Vec::new(),
            acts: Vec::new(),
            expectations: Vec::new(),
            lasts_ms: 0,
        }
    }

    /// Whether it can be played with this cast. In simulation everything is ours, and a need for the kernel isn't met.
    pub(crate) fn can_be_played_by(&self, cast: Cast) -> bool {
        let suits = self
            .needs
            .is_none_or(|(side, player)| cast.player(side) == player);
        suits && (cast == Cast::SIM || self.why_not_real().is_none())
    }

    /// Why it is played in simulation only; `None` where it can be played in real time as well.
    pub(crate) fn why_not_real(&self) -> Option<String> {
        if self.only_in_simulation {
            return Some("played in simulation only".into());
        }
        let seconds = self.lasts_ms.div_ceil(1000);
        (self.lasts_ms > REAL_LIMIT_MS)
            .then(|| format!("played in simulation only: it takes {seconds} s"))
    }
}

/// The numbers of the connections of a scene.
pub(crate) fn connections(scene: &Scene) -> impl Iterator<Item = u16> {
    scene.acts.iter().filter_map(|act| match act.what {
        SceneAction::Connect(number) | SceneAction::ConnectAnyPort(number) => Some(number),
        _ => None,
    })
}

/// Expectations in Rust, for tests: files have a text for each.
#[cfg(test)]
impl End {
    /// It sends this segment.
    pub(crate) const fn sends(self, spec: Spec) -> Expectation {
        self.expects(Expected::Segment(spec))
    }

    /// It never sends this segment.
    pub(crate) const fn never_sends(self, spec: Spec) -> Expectation {
        self.expects(Expected::NoSegment(spec))
    }

    /// It asks who has the other's address, by ARP or NDP.
    pub(crate) const fn asks_for_neighbor(self) -> Expectation {
        self.expects(Expected::Solicitation)
    }

    /// Its application sees this.
    pub(crate) fn sees(self, seen: Observation) -> Expectation {
        self.sees_one_of(&[seen])
    }

    /// Its application sees one of these: which one is chance.
    pub(crate) fn sees_one_of(self, seen: &[Observation]) -> Expectation {
        self.expects(Expected::App(seen.to_vec()))
    }

    /// Its neighbour entry for the other becomes this.
    pub(crate) const fn finds_neighbor(self, state: neighbor::NeighborState) -> Expectation {
        self.expects(Expected::Neighbor(state))
    }

    const fn expects(self, what: Expected) -> Expectation {
        Expectation {
            who: self,
            what,
            conn: 1,
            within_ms: 0..=u64::MAX,
            played_by: None,
            while_is: None,
        }
    }
}

/// As for [`End`].
#[cfg(test)]
impl Expectation {
    /// Not earlier than `from`, not later than `to` (ms from the start of the scene).
    pub(crate) fn within_ms(mut self, from: u64, to: u64) -> Self {
        self.within_ms = from..=to;
        self
    }

    /// On connection `n` rather than the first.
    pub(crate) fn on(mut self, conn: u16) -> Self {
        self.conn = conn;
        self
    }

    /// Only where `player` plays this end: what the two do differently is written down once for each.
    pub(crate) fn played_by(mut self, player: Player) -> Self {
        self.played_by = Some(player);
        self
    }
}
