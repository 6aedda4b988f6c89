//! The surroundings of a call into a connection: [`Env`] (the time, the settings, the counters) and [`TcpCounters`].
//!
//! It must never reach back into a connection, and its counters are plain words of one worker: never shared, never
//! atomic.

use crate::tcp::answer_limits::Answer;
use crate::tcp::settings::Settings;
use crate::tcp::state::{Event, STATE_COUNT, State, Transitions};
use crate::tcp::verdict::{OUTCOME_COUNT, Outcome};
use crate::time::Instant;

/// The surroundings of one turn.
#[derive(Debug)]
pub struct Env<'a> {
    /// The time, read once per turn by the caller.
    pub now: Instant,
    /// Limits and defaults.
    pub settings: &'a Settings,
    /// Where what happens is counted.
    pub counters: &'a mut TcpCounters,
}

/// One word per named event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TcpCounters {
    /// State changes by arrow.
    pub transitions: Transitions,
    /// Challenge ACKs owed (RFC 5961).
    pub challenge_acks: u64,
    /// Challenge ACKs that the limit of their connection swallowed.
    pub challenge_acks_suppressed: u64,
    /// ACKs owed for old segments: data again, probes.
    pub old_segment_acks: u64,
    /// ACKs for old segments that the limit of their connection swallowed.
    pub old_segment_acks_suppressed: u64,
    /// Segments sent again, for whatever reason.
    pub retransmitted_segments: u64,
    /// Expiries of the retransmission timer.
    pub retransmission_timeouts: u64,
    /// Fast retransmits entered (RFC 5681 §3.2).
    pub fast_retransmits: u64,
    /// Zero-window probes sent.
    pub window_probes: u64,
    /// Keepalive probes sent.
    pub keepalive_probes: u64,
    /// ACKs that went out because the delay ended.
    pub delayed_acks: u64,
    /// ICMP errors that quoted a sequence number not in flight (RFC 5927 §4.1).
    pub icmp_out_of_window: u64,
    /// Times that full segments went unanswered often enough for a small one to be tried.
    pub black_holes_suspected: u64,
    /// Paths found to swallow full segments: the small one was acknowledged, and the next full one lost again.
    pub black_holes: u64,
    /// Segments that were exactly as expected, by the state that they met ([`crate::tcp::predict`]).
    predicted: [u64; STATE_COUNT],
    outcomes: Outcomes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcomes([u64; OUTCOME_COUNT]);

impl Default for Outcomes {
    fn default() -> Self {
        Self([0; OUTCOME_COUNT])
    }
}

impl TcpCounters {
    /// How many segments ended this way.
    #[must_use]
    pub const fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes.0[outcome as usize]
    }

    /// How many segments were exactly as expected in this state.
    #[must_use]
    pub const fn predicted_in(&self, state: State) -> u64 {
        self.predicted[state as usize]
    }

    /// How many segments were judged in all: the sum over all outcomes.
    #[must_use]
    pub fn segments(&self) -> u64 {
        self.outcomes.0.iter().sum()
    }

    /// A parked connection ended by a valid reset, which no `Tcb` saw.
    pub fn parked_reset(&mut self) {
        self.count(Outcome::RstAccepted);
        let _ = self.transitions.step(State::Established, Event::Rst);
    }

    /// A parked connection ended by its application's abort, which no `Tcb` saw.
    pub fn parked_aborted(&mut self) {
        let _ = self.transitions.step(State::Established, Event::Abort);
    }

    /// All counters with their stable names: outcomes of segments first, then what else happened.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let outcomes = Outcome::ALL.map(|outcome| (outcome.name(), self.outcome(outcome)));
        let others = [
            ("challenge_acks", self.challenge_acks),
            ("challenge_acks_suppressed", self.challenge_acks_suppressed),
            ("old_segment_acks", self.old_segment_acks),
            (
                "old_segment_acks_suppressed",
                self.old_segment_acks_suppressed,
            ),
            ("retransmitted_segments", self.retransmitted_segments),
            ("retransmission_timeouts", self.retransmission_timeouts),
            ("fast_retransmits", self.fast_retransmits),
            ("window_probes_sent", self.window_probes),
            ("keepalive_probes", self.keepalive_probes),
            ("delayed_acks", self.delayed_acks),
            ("icmp_out_of_window", self.icmp_out_of_window),
            ("black_holes_suspected", self.black_holes_suspected),
            ("black_holes", self.black_holes),
            ("undefined_transitions", self.transitions.undefined()),
        ];
        outcomes.into_iter().chain(others)
    }

    /// An unacceptable segment was answered, or wasn't because of the limit.
    pub(super) const fn answer(&mut self, answer: Answer, admitted: bool) {
        let counter = match (answer.is_old(), admitted) {
            (false, true) => &mut self.challenge_acks,
            (false, false) => &mut self.challenge_acks_suppressed,
            (true, true) => &mut self.old_segment_acks,
            (true, false) => &mut self.old_segment_acks_suppressed,
        };
        *counter += 1;
    }

    #[inline]
    pub(super) const fn predicted(&mut self, state: State) {
        self.predicted[state as usize] += 1;
    }

    #[inline]
    pub(super) const fn count(&mut self, outcome: Outcome) {
        self.outcomes.0[outcome as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_name_of_its_own() {
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
        let counters = TcpCounters::default();
        let mut names: Vec<&str> = counters.named().map(|(name, _)| name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
