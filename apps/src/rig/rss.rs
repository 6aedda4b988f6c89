//! [`RssReport`]: which queue new flows came to, against the queue that the NIC's own hash and table name.
//!
//! It must never call a steering proven by a handful of flows.

use std::fmt;

use serde::Serialize;
use stack::worker::Steered;

/// The key of a NIC's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RssKey {
    /// Fresh for each run: no peer can guess it, and so choose the queue of its flows
    Random,
    /// The same for both directions, and known to all
    Symmetric,
}

/// New flows before there is a verdict.
pub(super) const FLOWS_MIN: u64 = 64;
/// Of a hundred new flows so many may come elsewhere: those before a link was up, or of a protocol around them (tags).
const ELSEWHERE_MAX_PERCENT: u64 = 1;

/// How the NIC steers flows to queues. Field names are stable (docs/guide/serve.md).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RssReport {
    verdict: RssVerdict,
    /// New flows from peers, those of --rss-probe included.
    flows: u64,
    /// Of those, the ones that --rss-probe asked for before the first one from a peer.
    probed: u64,
    /// Of those, the ones that the NIC delivered to another queue than the worker's that owns them.
    elsewhere: u64,
    /// Frames handed over to another worker, of all that were received: 0 to 1.
    handed_over_share: f64,
}

/// Whether the NIC's hash decides who owns a flow, and whether it keeps its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum RssVerdict {
    /// It does, and new flows came where it says.
    Proven,
    /// It does, and new flows came elsewhere.
    Contradicted,
    /// It does, and there were too few new flows to tell.
    TooFewFlows,
    /// It doesn't: the driver has no RSS or doesn't say how it steers, and our own hash decides.
    Unknown,
}

impl RssReport {
    /// The verdict on `steered` of all workers, the NIC's hash deciding or not, after `handed_over` of `received` frames.
    pub(crate) fn new(
        steered: impl Iterator<Item = Steered>,
        follows_the_nic: bool,
        (handed_over, received): (u64, u64),
    ) -> Self {
        let (flows, elsewhere, probed) =
            steered.fold((0, 0, 0), |(flows, elsewhere, probed), of| {
                (
                    flows + of.owned,
                    elsewhere + of.elsewhere,
                    probed + of.probed,
                )
            });
        let share = handed_over as f64 / received.max(1) as f64;
        Self {
            verdict: if !follows_the_nic {
                RssVerdict::Unknown
            } else if elsewhere >= FLOWS_MIN / 4 && elsewhere * 100 > flows * ELSEWHERE_MAX_PERCENT
            {
                RssVerdict::Contradicted
            } else if flows < FLOWS_MIN {
                RssVerdict::TooFewFlows
            } else if elsewhere * 100 <= flows * ELSEWHERE_MAX_PERCENT {
                RssVerdict::Proven
            } else {
                RssVerdict::TooFewFlows
            },
            flows,
            probed,
            elsewhere,
            handed_over_share: (share * 10_000.0).round() / 10_000.0,
        }
    }

    /// The line for the log once there is a verdict.
    pub(crate) fn verdict_line(&self) -> Option<String> {
        let is_known = match self.verdict {
            RssVerdict::Proven | RssVerdict::Contradicted => true,
            RssVerdict::TooFewFlows => false,
            RssVerdict::Unknown => self.flows >= FLOWS_MIN,
        };
        is_known.then(|| format!("rss: {self}"))
    }
}

impl fmt::Display for RssReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Self {
            verdict,
            flows,
            elsewhere,
            handed_over_share,
            ..
        } = self;
        match verdict {
            RssVerdict::Proven => write!(
                f,
                "each flow belongs to the worker of its queue, proven by {flows} new flows"
            )?,
            RssVerdict::Contradicted => write!(
                f,
                "the NIC delivered {elsewhere} of {flows} new flows to another queue than its key and indirection table name; \
                 their frames are handed over"
            )?,
            RssVerdict::TooFewFlows => write!(
                f,
                "each flow belongs to the worker of its queue as the NIC's key and indirection table name it; \
                 too few new flows to prove it: {flows}, {elsewhere} of them elsewhere"
            )?,
            RssVerdict::Unknown => write!(
                f,
                "the driver does not say how it steers; flows are shared out by our own hash and handed over"
            )?,
        }
        let percent = handed_over_share * 100.0;
        write!(f, "; {percent:.2} % of the frames were handed over")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(owned: u64, elsewhere: u64, follows: bool) -> RssReport {
        let mut steered = Steered::default();
        (steered.owned, steered.elsewhere) = (owned, elsewhere);
        let queues = [steered, Steered::default()];
        RssReport::new(queues.into_iter(), follows, (elsewhere * 3, owned * 10))
    }

    #[test]
    fn a_verdict_needs_flows() {
        assert_eq!(report(0, 0, true).verdict, RssVerdict::TooFewFlows);
        assert_eq!(report(10, 5, true).verdict, RssVerdict::TooFewFlows);
        assert_eq!(report(64, 0, true).verdict, RssVerdict::Proven);
        assert_eq!(report(300, 3, true).verdict, RssVerdict::Proven);
        assert_eq!(report(300, 150, true).verdict, RssVerdict::Contradicted);
        assert_eq!(report(32, 30, true).verdict, RssVerdict::Contradicted);
        assert_eq!(report(300, 150, false).verdict, RssVerdict::Unknown);
    }

    #[test]
    fn a_contradiction_is_said_with_its_share() {
        let text = report(300, 150, true).verdict_line().expect("a verdict");
        assert!(text.contains("150 of 300 new flows"), "{text}");
        assert!(
            text.contains("15.00 % of the frames were handed over"),
            "{text}"
        );
        assert_eq!(report(10, 0, true).verdict_line(), None);
    }
}
