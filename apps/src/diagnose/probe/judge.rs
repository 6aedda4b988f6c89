//! [`verdict`]: what several attempts mean, how sure that is, what else looks the same and how to tell.
//!
//! It must never say more than the attempts showed.

use nix::errno::Errno;

use super::attempt::{After, Attempt, Before, Cause, ConnectEnd};

/// How sure a verdict is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Certainty {
    /// The observations have no other explanation than the class.
    Certain,
    /// It has, and they are rare.
    Likely,
    /// It is one of several.
    Possible,
}

impl Certainty {
    /// In a word.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Possible => "possible",
        }
    }

    /// Its meaning, in a sentence: a verdict names a class, never the cause within the class.
    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::Certain => "certain: no other class fits what was seen",
            Self::Likely => "likely: other classes rarely fit what was seen",
            Self::Possible => "possible: other classes fit what was seen, too",
        }
    }
}

/// The behaviour of a peer on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The name of the class.
    pub(super) class: &'static str,
    /// In words.
    pub(super) words: &'static str,
    /// How sure.
    pub(super) certainty: Certainty,
    /// The members of the class: they look the same from here.
    pub(super) members: &'static [&'static str],
    /// The observations that separate the members.
    pub(super) tells_apart: &'static str,
    /// A scenario of the lab that shows it.
    pub(super) scenario: &'static str,
}

/// Facts that can't be seen from a client, whatever the verdict.
pub(super) const CAN_NOT_SEE: &str = "what other clients get (filters and load balancers choose by source), whether the application works \
    beyond accepting, and what happens to segments longer than a handshake's";

const MIXED: Verdict = Verdict {
    class: "mixed",
    words: "the attempts ended differently",
    certainty: Certainty::Certain,
    members: &[
        "a load balancer with a dead backend",
        "loss on the path",
        "a server that restarts or is at its limit",
    ],
    tells_apart: "more attempts (--attempts), and the peer's own log",
    scenario: "lossy-link",
};

const QUEUE_FULL: Verdict = Verdict {
    class: "accept-queue-full",
    words: "connections opened, its application never answered them, and then a SYN stayed unanswered",
    certainty: Certainty::Likely,
    members: &[
        "a program that doesn't accept: the attempts filled its accept queue",
        "a backlog that half-open connections fill (SYN flood)",
        "loss on the path",
    ],
    tells_apart: "`ss -ltn` on the server: Recv-Q of the listener above Send-Q; ListenOverflows in `nstat`",
    scenario: "app-blocked",
};

const OPEN: Verdict = Verdict {
    class: "open",
    words: "the port is open, and its application answered",
    certainty: Certainty::Certain,
    members: &[
        "a program that accepts and closes when its client does",
        "a middlebox that answers in the application's place",
    ],
    tells_apart: "a request of its protocol",
    scenario: "as-it-should-be",
};

const SILENT: Verdict = Verdict {
    class: "app-silent",
    words: "its kernel opens and closes connections, and the application sent nothing",
    certainty: Certainty::Possible,
    members: &[
        "a program that waits for a request before it looks at the end of the stream",
        "a program that hangs, is stopped, or doesn't accept",
        "a middlebox that answers in its place",
    ],
    tells_apart: "a request of its protocol; on the server `ss -ltn` (Recv-Q of the listener) and `ss -tnp`",
    scenario: "app-blocked",
};

const VANISHED: Verdict = Verdict {
    class: "vanished",
    words: "the connection opened, and our FIN was not acknowledged",
    certainty: Certainty::Possible,
    members: &[
        "the accept queue is full: the server has dropped the final ACK",
        "the host or the path went down meanwhile",
        "a SYN proxy without a server behind it",
    ],
    tells_apart: "a second probe, a capture here, `nstat` ListenOverflows at the server",
    scenario: "app-blocked",
};

const CLOSED_AT_ONCE: Verdict = Verdict {
    class: "closes-at-once",
    words: "it accepts connections and closes them without sending data",
    certainty: Certainty::Certain,
    members: &[
        "a program that refuses this client (access list, TCP wrappers, connection limit)",
        "a forwarder whose own backend refused",
    ],
    tells_apart: "the program's log; another source address",
    scenario: "early-close",
};

const RESET_AT_ONCE: Verdict = Verdict {
    class: "resets-at-once",
    words: "it completes the handshake and then resets the connection",
    certainty: Certainty::Certain,
    members: &[
        "a full accept queue with tcp_abort_on_overflow",
        "a program that closes with linger zero",
        "a middlebox that resets what it has opened",
    ],
    tells_apart: "a capture: RST,ACK comes from a program, a bare RST from a kernel or middlebox without a socket",
    scenario: "early-close",
};

const REFUSED: Verdict = Verdict {
    class: "port-closed",
    words: "the SYN was reset: no program listens on that port and address",
    certainty: Certainty::Likely,
    members: &[
        "no program listens",
        "it listens on another address",
        "a firewall that rejects with a TCP reset",
    ],
    tells_apart: "`ss -ltn` on the host; in a capture, a reset whose TTL differs from that of ping replies is a firewall's",
    scenario: "closed-port",
};

const REJECTED: Verdict = Verdict {
    class: "rejected",
    words: "a firewall or the host rejected the connection by ICMP",
    certainty: Certainty::Certain,
    members: &["a reject rule of the firewall whose address the evidence names"],
    tells_apart: "the sender of the ICMP error: the target itself, or a router before it",
    scenario: "filtered-port",
};

const UNREACHABLE: Verdict = Verdict {
    class: "host-unreachable",
    words: "a router answered by ICMP that the host or its network can't be reached",
    certainty: Certainty::Certain,
    members: &[
        "the host is down, behind that router",
        "a route is missing there",
    ],
    tells_apart: "the router's neighbour table and routes",
    scenario: "host-down",
};

const NEIGHBOR_DEAD: Verdict = Verdict {
    class: "neighbor-dead",
    words: "the next hop doesn't answer ARP or NDP",
    certainty: Certainty::Likely,
    members: &[
        "the host on this link (or the gateway) is off",
        "its cable, port or VLAN is wrong",
        "no host has the address",
    ],
    tells_apart: "`ip neigh`, `ip route get`, the switch's MAC table",
    scenario: "host-down",
};

const NO_ROUTE: Verdict = Verdict {
    class: "no-route",
    words: "this host has no route there: no packet was sent",
    certainty: Certainty::Certain,
    members: &[
        "no default route",
        "an `unreachable` or `blackhole` route",
        "no address of that family here",
    ],
    tells_apart: "`ip route get`",
    scenario: "host-down",
};

const NO_ANSWER: Verdict = Verdict {
    class: "no-answer",
    words: "nothing answered the SYN",
    certainty: Certainty::Possible,
    members: &[
        "a firewall that drops",
        "the host is off behind a router",
        "the accept queue is full, or a SYN flood fills the backlog",
        "answers that take another way and get lost",
    ],
    tells_apart: "ping; another port of the host; a capture at the host: does the SYN arrive?",
    scenario: "filtered-port",
};

const NO_PORT: Verdict = Verdict {
    class: "no-local-port",
    words: "this host has no local port left towards it: no packet was sent",
    certainty: Certainty::Certain,
    members: &[
        "connections in TIME-WAIT hold all ports",
        "a leak of connections",
    ],
    tells_apart: "`ss -tan` towards the target",
    scenario: "no-ports-left",
};

const FORBIDDEN: Verdict = Verdict {
    class: "forbidden-here",
    words: "this host forbids it: no packet was sent",
    certainty: Certainty::Certain,
    members: &[
        "a rule of the local firewall",
        "a `prohibit` route",
        "a sandbox",
    ],
    tells_apart: "`nft list ruleset`, `ip route get`",
    scenario: "filtered-port",
};

const OTHER: Verdict = Verdict {
    class: "other",
    words: "connect() failed with an error that Syncline does not classify",
    certainty: Certainty::Certain,
    members: &[],
    tells_apart: "the errno in the evidence",
    scenario: "closed-port",
};

/// Their common meaning.
pub(super) fn verdict(attempts: &[Attempt]) -> Verdict {
    let mut classes: Vec<Verdict> = Vec::new();
    for attempt in attempts {
        let one = of(attempt);
        if classes.iter().all(|known| known.class != one.class) {
            classes.push(one);
        }
    }
    match classes.as_slice() {
        [one] => one.clone(),
        [first, then] if first.class == SILENT.class && then.class == NO_ANSWER.class => QUEUE_FULL,
        _ => MIXED,
    }
}

/// The meaning of one attempt.
pub(super) fn of(attempt: &Attempt) -> Verdict {
    match &attempt.end {
        ConnectEnd::Silence => NO_ANSWER,
        ConnectEnd::Failed { errno, cause } => failed(*errno, *cause),
        ConnectEnd::Open(opened) => match (&opened.before, opened.after) {
            (Before::Closed(_), _) => CLOSED_AT_ONCE,
            (Before::Reset(..), _) => RESET_AT_ONCE,
            (_, Some(After::Unacknowledged)) => VANISHED,
            (Before::Greeted(_), _) | (_, Some(After::Closed)) => OPEN,
            (Before::Silent, _) => SILENT,
        },
    }
}

fn failed(errno: Errno, cause: Option<Cause>) -> Verdict {
    let by_icmp = cause.is_some_and(|cause| !cause.is_local);
    match errno {
        Errno::ECONNREFUSED if by_icmp => REJECTED,
        Errno::ECONNREFUSED => REFUSED,
        Errno::EHOSTUNREACH | Errno::ENETUNREACH if by_icmp => match cause {
            // Administratively prohibited (RFC 1812 5.2.7.1, RFC 4443 3.1).
            Some(
                Cause {
                    kind: 3,
                    code: 9 | 10 | 13,
                    ..
                }
                | Cause {
                    kind: 1,
                    code: 1 | 5 | 6,
                    ..
                },
            ) => REJECTED,
            _ => UNREACHABLE,
        },
        Errno::EHOSTUNREACH => NEIGHBOR_DEAD,
        Errno::ENETUNREACH => NO_ROUTE,
        Errno::EACCES | Errno::EPERM => FORBIDDEN,
        Errno::ETIMEDOUT => NO_ANSWER,
        Errno::EADDRNOTAVAIL => NO_PORT,
        Errno::ECONNRESET => RESET_AT_ONCE,
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::attempt::Opened;
    use super::*;

    fn attempt(end: ConnectEnd) -> Attempt {
        Attempt {
            end,
            took: Duration::ZERO,
            syns_again: 0,
            frames: None,
        }
    }

    fn fails(errno: Errno, cause: Option<Cause>) -> Attempt {
        attempt(ConnectEnd::Failed { errno, cause })
    }

    #[test]
    fn an_errno_and_its_cause_name_the_class() {
        let icmp = |kind, code| {
            Some(Cause {
                is_local: false,
                kind,
                code,
                from: None,
            })
        };
        for (errno, cause, class) in [
            (Errno::ECONNREFUSED, None, "port-closed"),
            (Errno::ECONNREFUSED, icmp(3, 3), "rejected"),
            (Errno::EHOSTUNREACH, icmp(3, 13), "rejected"),
            (Errno::EHOSTUNREACH, icmp(3, 1), "host-unreachable"),
            (Errno::EHOSTUNREACH, None, "neighbor-dead"),
            (Errno::ENETUNREACH, None, "no-route"),
            (Errno::ETIMEDOUT, None, "no-answer"),
            (Errno::EADDRNOTAVAIL, None, "no-local-port"),
            (Errno::EPERM, None, "forbidden-here"),
            (Errno::EDOM, None, "other"),
        ] {
            assert_eq!(verdict(&[fails(errno, cause)]).class, class, "{errno}");
        }
        let opened = Opened {
            rtt_us: 100,
            snd_mss: 1460,
            before: Before::Silent,
            after: Some(After::Acknowledged),
        };
        let silent = || attempt(ConnectEnd::Open(opened.clone()));
        assert_eq!(verdict(&[silent(), silent()]).class, "app-silent");
        let filled = [silent(), attempt(ConnectEnd::Silence)];
        assert_eq!(verdict(&filled).class, "accept-queue-full");
        let different = [
            attempt(ConnectEnd::Silence),
            fails(Errno::ECONNREFUSED, None),
        ];
        assert_eq!(verdict(&different).class, "mixed");
    }
}
