//! [`Errno`]: what a failing call returns to its application, by the names that users search for.
//!
//! It must never invent a name: these are POSIX's, the words are glibc's.

use std::fmt;

use stack::app::ConnectError;
use stack::tcp::verdict::{CloseReason, IcmpErrorKind};

/// An error number of a socket call.
#[allow(clippy::upper_case_acronyms)] // POSIX writes them so
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errno {
    /// Connection refused.
    ECONNREFUSED,
    /// Connection reset by peer.
    ECONNRESET,
    /// Connection timed out.
    ETIMEDOUT,
    /// No route to host.
    EHOSTUNREACH,
    /// Network is unreachable.
    ENETUNREACH,
    /// Address already in use.
    EADDRINUSE,
    /// Cannot assign requested address.
    EADDRNOTAVAIL,
    /// No buffer space available.
    ENOBUFS,
    /// Broken pipe.
    EPIPE,
    /// Software caused connection abort.
    ECONNABORTED,
    /// Operation now in progress.
    EINPROGRESS,
    /// Any other.
    EOTHER,
}

use Errno::{
    EADDRINUSE, EADDRNOTAVAIL, ECONNABORTED, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EINPROGRESS,
    ENETUNREACH, ENOBUFS, EOTHER, EPIPE, ETIMEDOUT,
};

/// Name and words of each.
const NAMES: [(Errno, &str, &str); 12] = [
    (ECONNREFUSED, "ECONNREFUSED", "connection refused"),
    (ECONNRESET, "ECONNRESET", "connection reset by peer"),
    (ETIMEDOUT, "ETIMEDOUT", "connection timed out"),
    (EHOSTUNREACH, "EHOSTUNREACH", "no route to host"),
    (ENETUNREACH, "ENETUNREACH", "network is unreachable"),
    (EADDRINUSE, "EADDRINUSE", "address already in use"),
    (
        EADDRNOTAVAIL,
        "EADDRNOTAVAIL",
        "cannot assign requested address",
    ),
    (ENOBUFS, "ENOBUFS", "no buffer space available"),
    (EPIPE, "EPIPE", "broken pipe"),
    (
        ECONNABORTED,
        "ECONNABORTED",
        "software caused connection abort",
    ),
    (EINPROGRESS, "EINPROGRESS", "operation now in progress"),
    (EOTHER, "EOTHER", "an error without a name here"),
];

impl Errno {
    /// By its POSIX name; [`Errno::EOTHER`] when it isn't known here.
    pub(crate) fn from_name(name: &str) -> Self {
        NAMES
            .iter()
            .find(|(_, known, _)| *known == name)
            .map_or(EOTHER, |(errno, ..)| *errno)
    }

    /// All that have a name here.
    pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
        NAMES
            .iter()
            .filter(|(errno, ..)| *errno != EOTHER)
            .map(|(_, name, words)| (*name, *words))
    }

    fn entry(self) -> (&'static str, &'static str) {
        NAMES
            .iter()
            .find(|(errno, ..)| *errno == self)
            .map_or(("EOTHER", ""), |(_, name, words)| (name, words))
    }

    /// The error of a socket whose connection ended so; `None` for a good end.
    pub(crate) fn of_close(reason: CloseReason) -> Option<Self> {
        let of_icmp = |error: IcmpErrorKind| match error {
            IcmpErrorKind::Unreachable
            | IcmpErrorKind::TimeExceeded
            | IcmpErrorKind::Prohibited => EHOSTUNREACH,
            IcmpErrorKind::PortUnreachable => ECONNREFUSED,
            // A parameter problem.
            _ => EOTHER,
        };
        match reason {
            CloseReason::Graceful | CloseReason::FinWait2TimedOut => None,
            CloseReason::Refused => Some(ECONNREFUSED),
            CloseReason::Reset | CloseReason::BackToListen => Some(ECONNRESET),
            CloseReason::TimedOut { soft: None } | CloseReason::KeepaliveTimedOut => {
                Some(ETIMEDOUT)
            }
            CloseReason::TimedOut { soft: Some(error) } | CloseReason::Unreachable(error) => {
                Some(of_icmp(error))
            }
            CloseReason::Aborted | CloseReason::UnreadData | CloseReason::DataAfterClose => {
                Some(ECONNABORTED)
            }
            CloseReason::Evicted => Some(ENOBUFS),
            _ => Some(EOTHER),
        }
    }

    /// The error of `connect()`.
    pub(crate) fn of_connect(error: ConnectError) -> Self {
        match error {
            ConnectError::NotLocal | ConnectError::NoPort | ConnectError::OtherWorker => {
                EADDRNOTAVAIL
            }
            ConnectError::PortInUse => EADDRINUSE,
            ConnectError::TableFull => ENOBUFS,
            ConnectError::NoRoute | ConnectError::BadAddress => ENETUNREACH,
            _ => EOTHER,
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, words) = self.entry();
        write!(f, "{name} ({words})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_name_and_words() {
        for (errno, name, words) in NAMES {
            assert_eq!(Errno::from_name(name), errno);
            assert_eq!(errno.to_string(), format!("{name} ({words})"));
        }
        assert_eq!(Errno::from_name("EDOM"), EOTHER);
    }

    #[test]
    fn an_end_is_told_as_a_socket_would() {
        for (reason, errno) in [
            (CloseReason::Refused, Some(ECONNREFUSED)),
            (CloseReason::Reset, Some(ECONNRESET)),
            (CloseReason::TimedOut { soft: None }, Some(ETIMEDOUT)),
            (
                CloseReason::TimedOut {
                    soft: Some(IcmpErrorKind::Unreachable),
                },
                Some(EHOSTUNREACH),
            ),
            (CloseReason::Graceful, None),
        ] {
            assert_eq!(Errno::of_close(reason), errno);
        }
        assert_eq!(Errno::of_connect(ConnectError::NoRoute), ENETUNREACH);
    }
}
