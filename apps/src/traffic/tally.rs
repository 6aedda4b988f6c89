//! [`Tally`]: what the generator sent, what came back, and where its time went.
//!
//! It must never be shared between threads while it is written.

use super::wrong::ReplyFault;

const REASONS: usize = ReplyFault::ALL.len();

/// Counts of one generator since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// [`dpdk::cycles`] when this copy was made.
    pub(crate) at_ticks: u64,
    /// SYNs that the NIC took.
    pub(crate) sent: u64,
    /// Replies, right in every respect.
    pub(crate) verified: u64,
    /// Replies that are wrong, by reason.
    pub(crate) wrong: [u64; REASONS],
    /// ARP and neighbour discovery from the other side.
    pub(crate) housekeeping: u64,
    /// Answers to replies: resets that took embryos back, ACKs that completed handshakes, neighbour advertisements.
    pub(crate) answers_sent: u64,
    /// Those of them that went to neighbours who asked for an address.
    pub(crate) neighbor_answers: u64,
    /// Replies with a wrong checksum or lengths that contradict each other, which are not judged.
    pub(crate) damaged: u64,
    /// Frames that repeated an earlier one, among those sent.
    pub(crate) resent: u64,
    /// Tuples whose first frame the NIC took.
    pub(crate) tuples_sent: u64,
    /// Frames that went to a link-layer address that no host has.
    pub(crate) sunk: u64,
    /// Tuples that got a reply, received here.
    pub(crate) answered: u64,
    /// Tuples whose verdict is silence.
    pub(crate) silent: u64,
    /// The verdict on everything sent is known.
    pub(crate) is_settled: bool,
    /// Turns that wanted to send.
    pub(crate) tx_turns: u64,
    /// Those of them in which the NIC did not take all: the link is full.
    pub(crate) tx_refused: u64,
    /// Those of them in which as many SYNs were unanswered as may be.
    pub(crate) tx_held: u64,
    /// SYNs that were given up as lost while running, so that others may be sent in their place.
    pub(crate) given_up: u64,
    /// Bursts received that held something.
    pub(crate) rx_bursts: u64,
    /// Frames in them.
    pub(crate) rx_frames: u64,
    /// Times that the pool was empty.
    pub(crate) no_buffer: u64,
    /// Cycles of turns in which something was sent or received.
    pub(crate) busy: u64,
    /// Cycles of turns in which nothing was.
    pub(crate) idle: u64,
}

impl Tally {
    /// One more wrong reply.
    pub(super) fn add_wrong(&mut self, reason: ReplyFault) {
        self.wrong[reason as usize] += 1;
    }

    /// Wrong replies of all kinds.
    pub(crate) fn wrong_total(&self) -> u64 {
        self.wrong.iter().sum()
    }

    /// Wrong replies by the names of their reasons, those that happened.
    pub(crate) fn wrong_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counted = ReplyFault::ALL
            .iter()
            .map(|&reason| (reason.name(), self.wrong[reason as usize]));
        counted.filter(|&(_, count)| count > 0)
    }

    /// SYNs without a reply, so far.
    pub(crate) fn unanswered(&self) -> u64 {
        self.sent.saturating_sub(self.verified + self.wrong_total())
    }

    /// Mean frames of a received burst.
    pub(crate) fn mean_rx_burst(&self) -> f64 {
        self.rx_frames as f64 / self.rx_bursts.max(1) as f64
    }

    /// Share of its time in which it sent or received something, 0 to 1.
    pub(crate) fn busy_share(&self) -> f64 {
        self.busy as f64 / (self.busy + self.idle).max(1) as f64
    }

    /// Share of sends that the link did not take whole, 0 to 1.
    pub(crate) fn refused_share(&self) -> f64 {
        self.tx_refused as f64 / self.tx_turns.max(1) as f64
    }

    /// Share of sends that waited for replies, 0 to 1.
    pub(crate) fn held_share(&self) -> f64 {
        self.tx_held as f64 / self.tx_turns.max(1) as f64
    }

    /// Two workers together, at the time of the later one.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self {
            at_ticks: self.at_ticks.max(other.at_ticks),
            is_settled: self.is_settled && other.is_settled,
            ..self.zip_with(
                other,
                |ours, theirs| ours + theirs,
                |ours, theirs| ours + theirs,
            )
        }
    }

    /// The counts since `earlier`, a copy of the same tally.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        // The number of unasked replies is how far replies are ahead of SYNs: it falls again when more SYNs leave.
        self.zip_with(earlier, |now, before| now - before, u64::saturating_sub)
    }

    /// Each count put together with the one of `other`, wrong replies by `wrong`, all others by `count`; the rest is ours.
    fn zip_with(
        &self,
        other: &Self,
        count: impl Fn(u64, u64) -> u64,
        wrong: impl Fn(u64, u64) -> u64,
    ) -> Self {
        let pairs = |index| wrong(self.wrong[index], other.wrong[index]);
        Self {
            at_ticks: self.at_ticks,
            is_settled: self.is_settled,
            wrong: std::array::from_fn(pairs),
            sent: count(self.sent, other.sent),
            verified: count(self.verified, other.verified),
            housekeeping: count(self.housekeeping, other.housekeeping),
            answers_sent: count(self.answers_sent, other.answers_sent),
            neighbor_answers: count(self.neighbor_answers, other.neighbor_answers),
            damaged: count(self.damaged, other.damaged),
            resent: count(self.resent, other.resent),
            tuples_sent: count(self.tuples_sent, other.tuples_sent),
            sunk: count(self.sunk, other.sunk),
            answered: count(self.answered, other.answered),
            silent: count(self.silent, other.silent),
            tx_turns: count(self.tx_turns, other.tx_turns),
            tx_refused: count(self.tx_refused, other.tx_refused),
            tx_held: count(self.tx_held, other.tx_held),
            given_up: count(self.given_up, other.given_up),
            rx_bursts: count(self.rx_bursts, other.rx_bursts),
            rx_frames: count(self.rx_frames, other.rx_frames),
            no_buffer: count(self.no_buffer, other.no_buffer),
            busy: count(self.busy, other.busy),
            idle: count(self.idle, other.idle),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_falls_again_has_not_moved() {
        let mut earlier = Tally::default();
        earlier.wrong[0] = 3;
        earlier.wrong[1] = 3;
        let mut now = earlier;
        now.wrong[0] = 2;
        now.wrong[1] = 5;
        assert_eq!(now.since(&earlier).wrong[..2], [0, 2]);
    }
}
