//! [`Situation`]: the names of what can have happened to a connection. Each is a class: what looks alike from the wire is one
//! name that lists its members, and says what would tell them apart.
//!
//! It must never name a member alone where the wire can't tell it from another.

/// How sure a verdict is. It is about the class, not about one of its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Certainty {
    /// The capture ends too early, or shows too little.
    Possible,
    /// The usual explanation of what was seen.
    Likely,
    /// The frames have no other explanation.
    Certain,
}

impl Certainty {
    /// As reports write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }

    /// Its meaning, in a sentence: a verdict names a class, never the cause within the class.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Possible => "possible: other situations leave such frames, too",
            Self::Likely => "likely: other situations rarely leave such frames",
            Self::Certain => {
                "certain: no other situation leaves such frames; its causes, below, leave the same ones"
            }
        }
    }
}

/// The name of a situation, its members, and how to tell them apart.
struct Text {
    situation: Situation,
    name: &'static str,
    title: &'static str,
    members: &'static [&'static str],
    apart: &'static str,
}

/// The verdict on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Situation {
    /// Nothing abnormal.
    Normal,
    /// A SYN drew RST,ACK.
    PortClosed,
    /// A SYN drew an ICMP error that says no on purpose.
    Rejected,
    /// A SYN drew an ICMP error: host or network unreachable.
    HostUnreachable,
    /// The destination's ARP or NDP went unanswered.
    NeighborDead,
    /// SYNs drew nothing.
    NoAnswer,
    /// The server's accept queue is full.
    QueueFull,
    /// The SYN-ACK was never acknowledged.
    HalfOpen,
    /// The SYN-ACK drew a reset.
    GaveUp,
    /// The TCP at one end acknowledges, its application says nothing.
    AppSilent,
    /// The receive window was closed for long.
    ZeroWindow,
    /// An open connection was aborted by RST,ACK.
    Aborted,
    /// One end closed, the other sent on, and that drew a reset.
    DataAfterClose,
    /// A segment of an open connection drew a bare RST.
    NoSocket,
    /// A reset with another hop count than its sender's.
    MiddleboxReset,
    /// A SYN in an open connection: one end lost its state.
    StaleConnection,
    /// One end fell silent.
    Silence,
    /// One end fell silent and came back.
    Outage,
    /// Only large segments vanish.
    MtuBlackHole,
    /// Segments arrive with wrong checksums.
    Corruption,
    /// Segments were sent again.
    Loss,
    /// None of these.
    NoneOfThese,
}

use Situation::{
    Aborted, AppSilent, Corruption, DataAfterClose, GaveUp, HalfOpen, HostUnreachable, Loss,
    MiddleboxReset, MtuBlackHole, NeighborDead, NoAnswer, NoSocket, NoneOfThese, Normal, Outage,
    PortClosed, QueueFull, Rejected, Silence, StaleConnection, ZeroWindow,
};

/// All of them, in the order in which reports list them.
const TEXTS: &[Text] = &[
    Text {
        situation: Normal,
        name: "normal",
        title: "nothing abnormal",
        members: &[],
        apart: "",
    },
    Text {
        situation: PortClosed,
        name: "port-closed",
        title: "port closed: RST,ACK to SYN",
        members: &[
            "no program listens on the port",
            "a firewall rejects with a reset",
        ],
        apart: "`ss -ltn` on the server; the hop count of the reset against that of the server's other segments",
    },
    Text {
        situation: Rejected,
        name: "rejected",
        title: "refused by ICMP",
        members: &[
            "a firewall rejects with ICMP",
            "a router's access list prohibits it",
        ],
        apart: "the sender of the ICMP error, and its code",
    },
    Text {
        situation: HostUnreachable,
        name: "host-unreachable",
        title: "a router reports that the host or its network can't be reached",
        members: &[
            "the host is down behind the router, its ARP unanswered",
            "no route",
        ],
        apart: "the ICMP code; `ip neigh` and `ip route` on the router that sent it",
    },
    Text {
        situation: NeighborDead,
        name: "neighbor-dead",
        title: "neighbour dead: ARP or NDP unanswered",
        members: &[
            "the host is down",
            "its cable is pulled",
            "no host has this address on this link",
            "wrong VLAN",
        ],
        apart: "the switch's port and MAC table; whether the address ever answered",
    },
    Text {
        situation: NoAnswer,
        name: "no-answer",
        title: "SYN unanswered",
        members: &[
            "a firewall drops it",
            "the host is down behind a router",
            "the server's accept queue is full",
            "the answer gets lost on its way back",
        ],
        apart: "a capture at the server: does the SYN arrive, does a SYN-ACK leave; ListenDrops in `nstat`; another port of the host",
    },
    Text {
        situation: QueueFull,
        name: "accept-queue-full",
        title: "server never accepts: its accept queue is full",
        members: &[
            "the application hangs",
            "it accepts more slowly than connections come",
            "the backlog is too small",
        ],
        apart: "Recv-Q against Send-Q of the listener in `ss -ltn`; ListenOverflows in `nstat`; a stack trace of the application",
    },
    Text {
        situation: HalfOpen,
        name: "half-open",
        title: "the SYN-ACK was never acknowledged",
        members: &[
            "a flood of SYNs from spoofed sources",
            "the client died or gave up silently",
            "SYN-ACKs get lost on their way back, or take another way",
        ],
        apart: "how many there are, from how many sources; a capture at the client",
    },
    Text {
        situation: GaveUp,
        name: "gave-up",
        title: "the SYN-ACK drew a reset: the client had given up",
        members: &[
            "the client's timeout ended before the SYN-ACK came",
            "the client lost its state",
            "a half-open port scan",
            "the source of the SYN was spoofed",
        ],
        apart: "the time from SYN to SYN-ACK; whether other ports are tried as well",
    },
    Text {
        situation: AppSilent,
        name: "app-silent",
        title: "the host acknowledges, its application neither answers nor closes",
        members: &[
            "the application never accepts",
            "it accepted, and never reads while there is room",
            "it reads, and doesn't answer in time",
            "it never closes (CLOSE-WAIT leak)",
        ],
        apart: "`ss -tn` on that host: Recv-Q above 0 means unread; no process beside it means not accepted; CLOSE-WAIT means not closed",
    },
    Text {
        situation: ZeroWindow,
        name: "zero-window",
        title: "receiver's application blocked: zero window",
        members: &[
            "the application never reads",
            "it reads more slowly than the other end sends",
            "it is stopped (SIGSTOP, a debugger)",
        ],
        apart: "Recv-Q in `ss -tn` at the receiver; a stack trace of its application",
    },
    Text {
        situation: Aborted,
        name: "aborted",
        title: "aborted by RST,ACK: closed with unread data, or with linger zero",
        members: &[
            "the application closed while bytes were unread",
            "it closed with SO_LINGER zero",
            "its process was killed while bytes were unread",
            "a middlebox on the way sent it with the same hop count",
        ],
        apart: "TCPAbortOnClose (unread) and TCPAbortOnData (linger) in `nstat`; whether the other end had sent bytes that may be unread",
    },
    Text {
        situation: DataAfterClose,
        name: "data-after-close",
        title: "closed, and the other end sent on: that drew the reset (broken pipe)",
        members: &[
            "the application closed while its peer still had something to send",
            "the keep-alive race: an idle close meets the next request",
            "its process ended or was killed with nothing unread",
        ],
        apart: "whether the FIN and the data crossed on the way (keep-alive race); the server's idle timeout; its log",
    },
    Text {
        situation: NoSocket,
        name: "no-socket",
        title: "no socket: a segment of an open connection drew a bare RST",
        members: &[
            "the host rebooted",
            "its socket was destroyed, or its address moved to another host",
            "a load balancer or NAT that lost its state, with the same hop count",
            "it had closed long before",
        ],
        apart: "uptime of the host; whether its timestamps start anew; a capture on the other side of the middlebox",
    },
    Text {
        situation: MiddleboxReset,
        name: "middlebox-reset",
        title: "a middlebox forgot or forbade the connection: RST from another TTL",
        members: &[
            "a NAT or firewall whose idle timeout had run out",
            "a policy that resets",
            "an injected reset",
        ],
        apart: "the idle time before it; a capture on the other side of the middlebox; keepalives shorter than the timeout",
    },
    Text {
        situation: StaleConnection,
        name: "stale-connection",
        title: "a SYN came into an open connection: its sender lost its state",
        members: &[
            "the host rebooted and connects again from the same port",
            "a NAT gave the port to another host",
        ],
        apart: "uptime of the host; whether the timestamps start anew",
    },
    Text {
        situation: Silence,
        name: "silence",
        title: "one end fell silent: retransmissions unanswered",
        members: &[
            "power loss",
            "the machine is frozen",
            "the cable is pulled, or the route is gone",
            "a firewall or NAT forgot the connection and drops silently",
        ],
        apart: "ARP for the host on its own link; another connection to it; a capture on the other side of the firewall",
    },
    Text {
        situation: Outage,
        name: "outage",
        title: "one end fell silent for a time and came back",
        members: &[
            "the machine was frozen",
            "the cable was pulled, or a route changed",
            "a burst of loss",
        ],
        apart: "other connections at that time; the link's error counters; the host's log",
    },
    Text {
        situation: MtuBlackHole,
        name: "mtu-black-hole",
        title: "MTU black hole: only large segments vanish",
        members: &[
            "a link with a smaller MTU, and ICMP that is filtered",
            "a tunnel on the way",
            "the other end died before its first large segment came (where nothing was heard since)",
        ],
        apart: "`ping -M do -s SIZE` and `tracepath`; `tcp_mtu_probing`, MSS clamping",
    },
    Text {
        situation: Corruption,
        name: "corruption",
        title: "segments arrive with wrong checksums",
        members: &["damage on the way: cable, memory, a faulty NIC"],
        apart: "the error counters of NICs and switches along the path",
    },
    Text {
        situation: Loss,
        name: "loss",
        title: "retransmissions: loss on the path",
        members: &[
            "a congested queue",
            "a bad link",
            "a policer",
            "a receiver that drops",
        ],
        apart: "the same capture at the other end; drops of queues and NICs along the path",
    },
    Text {
        situation: NoneOfThese,
        name: "none-of-these",
        title: "abnormal, but none of the situations known here",
        members: &[],
        apart: "the ladder: `syncline diagnose -r FILE -c N`",
    },
];

impl Situation {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        TEXTS.iter().map(|text| text.situation)
    }

    /// Its name in lists and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.text().name
    }

    /// The situation in a line.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.text().title
    }

    /// Causes that look the same on the wire.
    #[must_use]
    pub fn members(self) -> &'static [&'static str] {
        self.text().members
    }

    /// How to tell the members apart.
    #[must_use]
    pub fn apart(self) -> &'static str {
        self.text().apart
    }

    fn text(self) -> &'static Text {
        TEXTS
            .iter()
            .find(|text| text.situation == self)
            .unwrap_or(&TEXTS[0])
    }
}
