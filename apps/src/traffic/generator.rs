//! [`Generator`]: the loop that sends frames as fast as they are taken, or as a rate says, and receives what comes back.
//!
//! It must never allocate, lock or format per frame, and never send before it has received what waits: replies that find no
//! room are lost.

use stack::nic::{BURST_FRAMES, Burst, Frame, Nic, PoolClass};

use super::pace::Rate;
use super::tally::Tally;

/// Bursts received per turn at most, so that sending is never starved.
const RX_BURSTS_PER_TURN: usize = 4;

/// The frames that a turn may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sending {
    /// All that is due.
    All,
    /// Frames that repeat an earlier one.
    Repeats,
    /// As all that is due, to a link-layer address that no host has; no reply is expected.
    Sink,
    /// Nothing of its own; answers to what is received.
    Answers,
}

/// Which frames a generator sends, and what it makes of those that come back.
pub(crate) trait Exchange<F: Frame> {
    /// How many frames may leave now, whatever the rate.
    fn room(&mut self, sending: Sending, now_ticks: u64) -> usize;

    /// Writes the next frames, at most as many as there was [room](Exchange::room) for, into empty ones.
    fn fill(&mut self, frames: &mut [F], now_ticks: u64);

    /// The NIC took the oldest `frames` of those filled and not yet reported.
    fn sent(&mut self, frames: usize);

    /// Frames that were filled and not taken are dropped.
    fn discarded(&mut self);

    /// Judges what was received. Frames that become answers move to `answers`, which is empty and has room for all; the others
    /// stay.
    fn receive(
        &mut self,
        received: &mut Burst<F>,
        answers: &mut Burst<F>,
        tally: &mut Tally,
        now_ticks: u64,
    );

    /// The NIC took so many of the answers.
    fn answered(&mut self, frames: usize, tally: &mut Tally);

    /// Adds what only the exchange knows to a copy of the counts.
    fn complete(&self, tally: &mut Tally);
}

/// Sends and receives on one queue pair.
pub(crate) struct Generator<N: Nic, X> {
    nic: N,
    exchange: X,
    rate: Rate,
    /// Made, and not taken by the NIC yet.
    unsent: Burst<N::Frame>,
    received: Burst<N::Frame>,
    answers: Burst<N::Frame>,
    tally: Tally,
    /// The frames of the last turn.
    sending: Sending,
}

impl<N: Nic, X: Exchange<N::Frame>> Generator<N, X> {
    /// A generator on `nic`.
    pub(crate) fn new(nic: N, exchange: X, rate: Rate) -> Self {
        Self {
            nic,
            exchange,
            rate,
            unsent: Burst::new(),
            received: Burst::new(),
            answers: Burst::new(),
            tally: Tally::default(),
            sending: Sending::Answers,
        }
    }

    /// One turn: what waits is received and judged, then up to one burst is sent. `now_ticks` is [`dpdk::cycles`] at its
    /// beginning; returns the same at its end, and whether a frame moved.
    #[inline]
    pub(crate) fn turn(&mut self, sending: Sending, now_ticks: u64) -> (u64, bool) {
        let mut moved = self.receive(now_ticks);
        if sending != self.sending {
            self.sending = sending;
            // Frames that were not sent in a pause are not made up for.
            self.rate.restart();
        }
        if sending != Sending::Answers {
            moved += self.send(sending, now_ticks);
        }
        let ended = self.nic.cycles();
        let spent = ended.wrapping_sub(now_ticks);
        if moved > 0 {
            self.tally.busy += spent;
        } else {
            self.tally.idle += spent;
        }
        (ended, moved > 0)
    }

    /// The caller rested for so many ticks between two turns.
    #[inline]
    pub(crate) fn rested(&mut self, ticks: u64) {
        self.tally.idle += ticks;
    }

    /// Frames that were made but not taken yet go back to their pool: the end of sending.
    pub(crate) fn discard_unsent(&mut self) {
        if !self.unsent.is_empty() {
            self.nic.free(&mut self.unsent);
            self.exchange.discarded();
        }
    }

    /// A copy of the counts, stamped.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = self.tally;
        tally.at_ticks = self.nic.cycles();
        self.exchange.complete(&mut tally);
        tally
    }

    /// Its frames, and its verdicts on replies.
    pub(crate) fn exchange(&self) -> &X {
        &self.exchange
    }

    /// Its parts, when it has ended.
    pub(crate) fn into_parts(self) -> (N, X) {
        (self.nic, self.exchange)
    }

    #[inline]
    fn send(&mut self, sending: Sending, now_ticks: u64) -> usize {
        // Answers first: what they end at the other side is what replies to further frames wait for.
        if !self.answers.is_empty() {
            return 0;
        }
        self.tally.tx_turns += 1;
        if self.unsent.is_empty() && !self.make(sending, now_ticks) {
            return 0;
        }
        let sent = self.nic.tx(&mut self.unsent);
        self.tally.sent += sent as u64;
        self.exchange.sent(sent);
        if !self.unsent.is_empty() {
            self.tally.tx_refused += 1;
        }
        sent
    }

    /// Fills the burst; false when there is nothing to send.
    #[inline]
    fn make(&mut self, sending: Sending, now_ticks: u64) -> bool {
        let room = self.exchange.room(sending, now_ticks);
        if room < BURST_FRAMES {
            self.tally.tx_held += 1;
        }
        let due = self.rate.release(room.min(BURST_FRAMES), now_ticks);
        if due == 0 {
            return false;
        }
        let n = self.nic.alloc(PoolClass::Control, &mut self.unsent, due);
        if n < due {
            self.tally.no_buffer += 1;
        }
        self.exchange.fill(self.unsent.as_mut_slice(), now_ticks);
        n > 0
    }

    #[inline]
    fn receive(&mut self, now_ticks: u64) -> usize {
        let mut moved = self.send_answers();
        for _ in 0..RX_BURSTS_PER_TURN {
            // Every reply may need its place among the answers.
            if !self.answers.is_empty() {
                break;
            }
            let received = self.nic.rx(&mut self.received);
            if received == 0 {
                break;
            }
            moved += received;
            self.tally.rx_bursts += 1;
            self.tally.rx_frames += received as u64;
            for frame in self.received.as_slice() {
                frame.prefetch();
            }
            self.exchange.receive(
                &mut self.received,
                &mut self.answers,
                &mut self.tally,
                now_ticks,
            );
            moved += self.send_answers();
            self.nic.free(&mut self.received);
            if received < BURST_FRAMES / 2 {
                break;
            }
        }
        moved
    }

    #[inline]
    fn send_answers(&mut self) -> usize {
        if self.answers.is_empty() {
            return 0;
        }
        let sent = self.nic.tx(&mut self.answers);
        self.exchange.answered(sent, &mut self.tally);
        sent
    }
}

#[cfg(test)]
impl<N: Nic, X> Generator<N, X> {
    /// The NIC, for tests that are its other end.
    pub(super) fn nic_mut(&mut self) -> &mut N {
        &mut self.nic
    }

    /// Frames that were made and not taken.
    pub(super) fn unsent(&self) -> &[N::Frame] {
        self.unsent.as_slice()
    }
}
