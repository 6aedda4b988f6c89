//! [`ProfileName`]: the tests of RFC 9411 that `--profile` runs, and what must hold in each.
//!
//! It must never know the other flags.

use std::time::Duration;

use clap::ValueEnum;

/// The timed phase lasts this long at least (RFC 9411 §4.3.4).
pub(super) const SUSTAIN_LEAST: Duration = Duration::from_secs(300);

/// A test of RFC 9411, with HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProfileName {
    /// Connections per second (§7.2): one transaction each, closed by us
    #[value(name = "rfc9411-cps")]
    Cps,
    /// Concurrent connections (§7.5): --connections are held, with transactions on all of them
    #[value(name = "rfc9411-cc")]
    Cc,
    /// Throughput (§7.3): ten transactions on each connection
    #[value(name = "rfc9411-throughput")]
    Throughput,
    /// Latency of a transaction (§7.4), at half of --rate, which is what rfc9411-cps found
    #[value(name = "rfc9411-latency")]
    Latency,
}

impl ProfileName {
    /// The stable name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cps => "rfc9411-cps",
            Self::Cc => "rfc9411-cc",
            Self::Throughput => "rfc9411-throughput",
            Self::Latency => "rfc9411-latency",
        }
    }

    /// Where the standard describes it.
    pub(super) fn standard(self) -> &'static str {
        match self {
            Self::Cps => "RFC 9411 §7.2",
            Self::Throughput => "RFC 9411 §7.3",
            Self::Latency => "RFC 9411 §7.4",
            Self::Cc => "RFC 9411 §7.5",
        }
    }

    /// The unit of its target.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Cps => "connections/s",
            Self::Throughput | Self::Latency => "transactions/s",
            Self::Cc => "connections",
        }
    }

    /// The conditions of every trial (the criteria of the section above).
    pub(super) fn gates(self) -> &'static str {
        match self {
            Self::Cps | Self::Latency => "failed=0.001%,resets=0.001%,rate=5%,open=10%",
            Self::Throughput => "failed=0.001%,rate=5%,open=10%",
            Self::Cc => "failed=0.001%,resets=0.001%,rate=5%",
        }
    }
}
