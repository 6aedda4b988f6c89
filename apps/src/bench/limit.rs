//! The limit of a run, with the evidence; it may be undetermined.
//!
//! It must never guess: a verdict needs one side that was full and another that was not.

use diagnose::counted;
use serde::Serialize;

use super::endpoint::Spent;
use crate::traffic::Tally;

/// From this share of busy cycles on a side had no time left.
const FULL_SHARE: f64 = 0.95;
/// A side that has no time left works on bursts of at least this many frames; with fewer it polls more than it works.
const FULL_BURST: f64 = 16.0;
/// From this share of refused bursts on the link was full from the generator's side.
const REFUSED_SHARE: f64 = 0.05;
/// From this share of requests on that waited for an open record, these are the limit.
const WAITED_SHARE: f64 = 0.05;
/// A rate that was reached to this share is the limit itself.
const REACHED_SHARE: f64 = 0.98;

/// The limit of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// The generator had no time left, the endpoint had.
    Generator,
    /// The endpoint had no time left, the generator had to wait for it.
    Endpoint,
    /// Both had time left, and the link took no more.
    Link,
    /// Both had time left, and requests waited for an open record of their parked connection.
    Records,
    /// The rate that was asked for was reached.
    Rate,
    /// None of these.
    Undetermined,
}

impl Verdict {
    /// In a word.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Generator => "generator",
            Self::Endpoint => "endpoint",
            Self::Link => "link",
            Self::Records => "open records",
            Self::Rate => "the rate asked for",
            Self::Undetermined => "undetermined",
        }
    }
}

/// A verdict and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Limit {
    pub(super) verdict: Verdict,
    pub(super) evidence: String,
}

/// Judges what happened in the measurement. `spent` is `None` when the endpoint is not ours to ask; `wanted_pps` is the
/// rate that was asked for.
pub(super) fn judge(
    tally: &Tally,
    spent: Option<&Spent>,
    seconds: f64,
    wanted_pps: Option<u64>,
) -> Limit {
    let refused = tally.refused_share();
    let generator_full = tally.busy_share() >= FULL_SHARE && tally.mean_rx_burst() >= FULL_BURST;
    let endpoint_full =
        spent.map(|spent| spent.busy_share() >= FULL_SHARE && spent.mean_burst() >= FULL_BURST);
    let reached = wanted_pps
        .is_some_and(|wanted| tally.sent as f64 / seconds >= wanted as f64 * REACHED_SHARE);
    let verdict = match (endpoint_full, generator_full) {
        _ if reached => Verdict::Rate,
        (Some(true), false) => Verdict::Endpoint,
        (Some(false), true) => Verdict::Generator,
        (Some(false), false) if refused >= REFUSED_SHARE => Verdict::Link,
        _ => Verdict::Undetermined,
    };
    let mut evidence = format!(
        "generator busy {:.0} %, {:.0} % of its sends refused by the link, {:.0} % held back until replies came, \
         mean burst received {:.1}",
        tally.busy_share() * 100.0,
        refused * 100.0,
        tally.held_share() * 100.0,
        tally.mean_rx_burst()
    );
    match spent {
        Some(spent) => {
            evidence += &format!(
                "; endpoint busy {:.0} %, mean burst {:.1}",
                spent.busy_share() * 100.0,
                spent.mean_burst()
            );
        }
        None => evidence += "; the peer is not ours to ask",
    }
    Limit { verdict, evidence }
}

/// What a run lacked open records for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RecordLack {
    /// The share of requests that waited for an open record of the client.
    pub(super) waited_share: f64,
    /// Segments of parked connections that the endpoint dropped, in the whole run: each comes again.
    pub(super) dropped: u64,
}

/// Judges a run with a worker on both sides, by the cycles of both and the open records that they lacked.
pub(super) fn judge_workers(client: &Spent, endpoint: &Spent, lack: RecordLack) -> Limit {
    let full = |spent: &Spent| spent.busy_share() >= FULL_SHARE && spent.mean_burst() >= FULL_BURST;
    let verdict = match (full(endpoint), full(client)) {
        (true, false) => Verdict::Endpoint,
        (false, true) => Verdict::Generator,
        (false, false) if lack.waited_share >= WAITED_SHARE => Verdict::Records,
        _ => Verdict::Undetermined,
    };
    let mut evidence = format!(
        "client busy {:.0} %, mean burst {:.1}; endpoint busy {:.0} %, mean burst {:.1}",
        client.busy_share() * 100.0,
        client.mean_burst(),
        endpoint.busy_share() * 100.0,
        endpoint.mean_burst()
    );
    if lack.waited_share > 0.0 || lack.dropped > 0 {
        evidence += &format!(
            "; {:.1} % of the requests waited for an open record, {} of the endpoint found none (--open-records for more, \
             --park-after for sooner)",
            lack.waited_share * 100.0,
            counted(lack.dropped, "segment")
        );
    }
    Limit { verdict, evidence }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tally and cycles with these shares of busy time, of refused bursts, and this mean burst.
    fn verdict(
        (generator_busy, generator_burst): (u64, u64),
        refused: u64,
        endpoint: Option<(u64, u64)>,
    ) -> Verdict {
        let tally = Tally {
            sent: 100,
            busy: generator_busy,
            idle: 100 - generator_busy,
            tx_turns: 100,
            tx_refused: refused,
            rx_frames: generator_burst,
            rx_bursts: 1,
            ..Tally::default()
        };
        let spent = endpoint.map(|(busy, burst)| Spent {
            own: busy,
            idle: 100 - busy,
            bursts: 1,
            frames: burst,
            ..Spent::default()
        });
        judge(&tally, spent.as_ref(), 1.0, None).verdict
    }

    #[test]
    fn a_verdict_needs_one_full_side_and_one_that_is_not() {
        assert_eq!(verdict((60, 60), 80, Some((99, 60))), Verdict::Endpoint);
        assert_eq!(verdict((99, 60), 0, Some((50, 60))), Verdict::Generator);
        assert_eq!(verdict((99, 60), 0, Some((99, 3))), Verdict::Generator);
        assert_eq!(verdict((60, 60), 80, Some((50, 60))), Verdict::Link);
        assert_eq!(verdict((99, 60), 0, Some((99, 60))), Verdict::Undetermined);
        assert_eq!(verdict((60, 60), 0, Some((60, 60))), Verdict::Undetermined);
        assert_eq!(verdict((99, 3), 0, Some((99, 60))), Verdict::Endpoint);
        assert_eq!(verdict((99, 60), 0, None), Verdict::Undetermined);
    }

    #[test]
    fn with_two_workers_one_is_full_and_the_other_is_not() {
        let spent = |own: u64, burst: u64| Spent {
            own,
            idle: 100 - own,
            bursts: 1,
            frames: burst,
            ..Spent::default()
        };
        let verdict =
            |client, endpoint| judge_workers(&client, &endpoint, RecordLack::default()).verdict;
        assert_eq!(verdict(spent(60, 60), spent(99, 60)), Verdict::Endpoint);
        assert_eq!(verdict(spent(99, 60), spent(60, 60)), Verdict::Generator);
        assert_eq!(verdict(spent(99, 60), spent(99, 60)), Verdict::Undetermined);
        assert_eq!(verdict(spent(99, 3), spent(99, 3)), Verdict::Undetermined);
        let lack = RecordLack {
            waited_share: 0.6,
            dropped: 7,
        };
        let waiting = judge_workers(&spent(20, 30), &spent(20, 30), lack);
        assert_eq!(waiting.verdict, Verdict::Records);
        assert!(waiting.evidence.contains("60.0 % of the requests waited"));
        assert!(waiting.evidence.contains("7 segments of the endpoint"));
    }

    #[test]
    fn a_rate_that_was_reached_is_the_limit() {
        let tally = Tally {
            sent: 990,
            ..Tally::default()
        };
        assert_eq!(judge(&tally, None, 1.0, Some(1000)).verdict, Verdict::Rate);
        assert_eq!(
            judge(&tally, None, 1.0, Some(2000)).verdict,
            Verdict::Undetermined
        );
    }
}
