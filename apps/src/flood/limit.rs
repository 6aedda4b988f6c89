//! The limit of a flood: the verdict, what it rests on, and what to change.
//!
//! It must never guess: what nothing shows is `undetermined`.

use serde::Serialize;

use crate::traffic::Tally;

/// Of the offered rate, the share that counts as reached.
const REACHED_SHARE: f64 = 0.99;
/// From this share of sends that were refused, or held, on they were the limit.
const LIMITING_SHARE: f64 = 0.5;
/// From this share of busy time on the generator had no time left.
const FULL_SHARE: f64 = 0.95;

/// The limit of a flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FloodVerdict {
    /// The rate that was asked for was reached.
    Rate,
    /// The link took no more frames.
    Link,
    /// No tuple was free: each waited for its verdict.
    Tuples,
    /// The generator had no time left.
    Generator,
    /// None of these can be shown.
    Undetermined,
}

/// The limit of a flood. Field names are stable (docs/reference/flood-json.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct FloodLimit {
    pub(super) verdict: FloodVerdict,
    /// Its evidence.
    pub(super) evidence: String,
    /// The change that gives a higher rate.
    pub(super) change: &'static str,
}

impl FloodLimit {
    /// Judges what was sent at `sent_pps`, of `offered_pps` if a rate was asked for.
    pub(super) fn new(offered_pps: Option<u64>, sent_pps: f64, sending: &Tally) -> Self {
        let (busy, refused, held) = (
            sending.busy_share(),
            sending.refused_share(),
            sending.held_share(),
        );
        let verdict = if offered_pps.is_some_and(|rate| sent_pps >= rate as f64 * REACHED_SHARE) {
            FloodVerdict::Rate
        } else if refused > LIMITING_SHARE {
            FloodVerdict::Link
        } else if held > LIMITING_SHARE {
            FloodVerdict::Tuples
        } else if busy > FULL_SHARE {
            FloodVerdict::Generator
        } else {
            FloodVerdict::Undetermined
        };
        Self {
            verdict,
            evidence: format!(
                "generator busy {:.0} %, {:.0} % of its sends refused by the link, {:.0} % of its turns without a free tuple",
                busy * 100.0,
                refused * 100.0,
                held * 100.0
            ),
            change: change(verdict),
        }
    }
}

const fn change(verdict: FloodVerdict) -> &'static str {
    match verdict {
        FloodVerdict::Rate => "raise -R to find the limit",
        FloodVerdict::Link => "use a faster link or NIC, larger rings, or a faster receiver",
        FloodVerdict::Tuples => "add addresses or ports to --sources, or lower --wait or --resend",
        FloodVerdict::Generator => {
            "give the generator more workers (--queues) and CPUs of their own (--cpus)"
        }
        FloodVerdict::Undetermined => {
            "give the generator CPUs of its own (--cpus), and look at the link's own counters"
        }
    }
}

impl FloodVerdict {
    /// As it stands in the summary.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Rate => "none, the rate was reached",
            Self::Link => "the link",
            Self::Tuples => "the tuples",
            Self::Generator => "the generator",
            Self::Undetermined => "undetermined",
        }
    }
}
