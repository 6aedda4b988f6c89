//! [`Generator`]: the loop that sends SYNs as fast as they are taken and verifies what comes back.
//!
//! It must never allocate, lock or format per frame (a wrong reply excepted: it is dumped, the first few), and never
//! send before it has received what waits: replies that find no room are lost.

use core::fmt::Write as _;

use stack::nic::{BURST_FRAMES, Burst, Frame, Nic, PoolClass};

use super::flow::{Flow, Flows, Numbers};
use super::pace::{Pace, PaceConfig};
use super::tally::Tally;
use super::template::{SynOptions, Target, Template};
use super::verify::{Expect, Judgement, Verifier};
use super::wrong::ReplyFault;

/// Wrong replies that are kept in hex.
const DUMPS: usize = 5;
/// Bytes of each of them.
const DUMP_BYTES: usize = 128;
/// Bursts received per turn at most, so that sending is never starved.
const RX_BURSTS_PER_TURN: usize = 4;

/// What a generator sends and what it expects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrafficPlan {
    /// Where SYNs go.
    pub(crate) target: Target,
    /// What they offer.
    pub(crate) options: SynOptions,
    /// What must come back.
    pub(crate) expect: Expect,
    /// Whether every verified SYN-ACK is answered by an exact reset, which ends the embryo.
    pub(crate) retire: bool,
    /// When they may leave.
    pub(crate) pace: PaceConfig,
    /// Where flows and their numbers come from.
    pub(crate) seed: [u64; 3],
}

/// Sends SYNs to one target and verifies the replies.
pub(crate) struct Generator<N: Nic> {
    nic: N,
    flows: Flows,
    v6: bool,
    syn: Template,
    verifier: Verifier,
    /// Sends a reset for every verified SYN-ACK, which ends the embryo.
    reset: Option<Template>,
    pace: Pace,
    /// Smallest burst that is worth sending while the window is narrow, in frames.
    smallest_burst: usize,
    syns: Burst<N::Frame>,
    replies: Burst<N::Frame>,
    resets: Burst<N::Frame>,
    tally: Tally,
    dumps: Vec<String>,
}

impl<N: Nic> Generator<N> {
    /// A generator on `nic`.
    pub(crate) fn new(nic: N, order: &TrafficPlan) -> Self {
        let syn = Template::syn(&order.target, order.options);
        let flows = Flows::new(order.seed);
        Self {
            nic,
            v6: order.target.address.is_ipv6(),
            verifier: Verifier::new(order.expect, &order.target, syn.clone(), flows.clone()),
            reset: order.retire.then(|| Template::reset(&order.target)),
            syn,
            flows,
            smallest_burst: order
                .pace
                .window
                .map_or(1, |n| BURST_FRAMES.min(n as usize)),
            pace: Pace::new(order.pace),
            syns: Burst::new(),
            replies: Burst::new(),
            resets: Burst::new(),
            tally: Tally::default(),
            dumps: Vec::with_capacity(DUMPS),
        }
    }

    /// One turn: what waits is received and verified, then up to one burst of SYNs is sent if `sending`. `now_ticks` is
    /// [`dpdk::cycles`] at its beginning; returns the same at its end.
    #[inline]
    pub(crate) fn turn(&mut self, sending: bool, now_ticks: u64) -> u64 {
        let mut moved = self.receive();
        if sending {
            moved += self.send(now_ticks);
        }
        let ended = self.nic.cycles();
        let spent = ended.wrapping_sub(now_ticks);
        if moved > 0 {
            self.tally.busy += spent;
        } else {
            self.tally.idle += spent;
            core::hint::spin_loop();
        }
        ended
    }

    /// SYNs that were made but not taken yet go back to their pool: the end of sending.
    pub(crate) fn discard_unsent(&mut self) {
        self.nic.free(&mut self.syns);
    }

    /// A copy of the counts, stamped.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = self.tally;
        tally.at_ticks = self.nic.cycles();
        tally.given_up = self.pace.given_up();
        // A reply too many is a wrong one, whatever it looks like.
        let replies = tally.verified + tally.wrong_total();
        for _ in 0..replies.saturating_sub(tally.sent).min(1) {
            tally.add_wrong(ReplyFault::Unasked);
        }
        tally
    }

    /// The first wrong replies, in hex, with their reasons.
    pub(crate) fn dumps(&self) -> &[String] {
        &self.dumps
    }

    #[inline]
    fn send(&mut self, now_ticks: u64) -> usize {
        // Resets first: the embryos that they end are what replies to further SYNs wait for.
        if !self.resets.is_empty() {
            return 0;
        }
        self.tally.tx_turns += 1;
        if self.syns.is_empty() && !self.make_syns(now_ticks) {
            return 0;
        }
        let sent = self.nic.tx(&mut self.syns);
        self.tally.sent += sent as u64;
        if !self.syns.is_empty() {
            self.tally.tx_refused += 1;
        }
        sent
    }

    /// Fills the burst; false when there is nothing to send.
    #[inline]
    fn make_syns(&mut self, now_ticks: u64) -> bool {
        let replies = self.tally.verified + self.tally.wrong_total();
        let room = self.pace.window_room(self.tally.sent, replies, now_ticks);
        if room < BURST_FRAMES {
            self.tally.tx_held += 1;
            // A window that opens by one frame a turn would make bursts of one frame.
            if room < self.smallest_burst {
                return false;
            }
        }
        let due = self.pace.release(room.min(BURST_FRAMES), now_ticks);
        let n = self.nic.alloc(PoolClass::Control, &mut self.syns, due);
        if n < due {
            self.tally.no_buffer += 1;
        }
        let len = self.syn.len();
        for frame in self.syns.as_mut_slice() {
            let flow = self.flows.next(self.v6);
            let numbers = self.flows.numbers(flow);
            if frame.set_len(len).is_ok()
                && let Some(bytes) = frame.bytes_mut()
            {
                self.syn.write(bytes, flow, numbers);
            }
        }
        n > 0
    }

    #[inline]
    fn receive(&mut self) -> usize {
        let mut moved = self.send_resets();
        for _ in 0..RX_BURSTS_PER_TURN {
            // Every reply may need its place among the resets.
            if !self.resets.is_empty() {
                break;
            }
            let received = self.nic.rx(&mut self.replies);
            if received == 0 {
                break;
            }
            moved += received;
            self.tally.rx_bursts += 1;
            self.tally.rx_frames += received as u64;
            for frame in self.replies.as_slice() {
                frame.prefetch();
            }
            if self.reset.is_some() {
                self.retire_all();
                moved += self.send_resets();
            } else {
                self.verify_all();
                self.nic.free(&mut self.replies);
            }
            if received < BURST_FRAMES / 2 {
                break;
            }
        }
        moved
    }

    #[inline]
    fn verify_all(&mut self) {
        for frame in self.replies.as_slice() {
            match self.verifier.judge(frame.bytes()) {
                Judgement::Verified(_) => self.tally.verified += 1,
                Judgement::Housekeeping => self.tally.housekeeping += 1,
                Judgement::Wrong(wrong) => {
                    note(&mut self.tally, &mut self.dumps, wrong, frame.bytes());
                }
            }
        }
    }

    /// As [`Self::verify_all`]; each right reply's buffer becomes the reset that ends its embryo.
    fn retire_all(&mut self) {
        for mut frame in self.replies.take_front(BURST_FRAMES) {
            match self.verifier.judge(frame.bytes()) {
                Judgement::Verified(flow) => {
                    self.tally.verified += 1;
                    let Some(template) = &self.reset else {
                        continue;
                    };
                    if make_reset(&mut frame, template, &self.flows, flow) {
                        // Not refused: there are no more than replies were.
                        drop(self.resets.push(frame));
                    }
                }
                Judgement::Housekeeping => self.tally.housekeeping += 1,
                Judgement::Wrong(wrong) => {
                    note(&mut self.tally, &mut self.dumps, wrong, frame.bytes());
                }
            }
        }
    }

    #[inline]
    fn send_resets(&mut self) -> usize {
        if self.resets.is_empty() {
            return 0;
        }
        let sent = self.nic.tx(&mut self.resets);
        self.tally.resets_sent += sent as u64;
        sent
    }
}

/// Writes the reset of `flow` into a received frame: `<SEQ=SEG.ACK><CTL=RST>`, exact by RFC 5961 §3.2.
#[inline]
fn make_reset<F: Frame>(frame: &mut F, template: &Template, flows: &Flows, flow: Flow) -> bool {
    if frame.set_len(template.len()).is_err() {
        return false;
    }
    let Some(bytes) = frame.bytes_mut() else {
        return false;
    };
    let seq = flows.numbers(flow).isn.wrapping_add(1);
    template.write(bytes, flow, Numbers { isn: seq, tsval: 0 });
    true
}

#[cold]
fn note(tally: &mut Tally, dumps: &mut Vec<String>, wrong: ReplyFault, bytes: &[u8]) {
    tally.add_wrong(wrong);
    if dumps.len() < DUMPS {
        let mut text = format!("wrong reply ({}, {} bytes):", wrong.name(), bytes.len());
        for (i, byte) in bytes.iter().take(DUMP_BYTES).enumerate() {
            let gap = if i % 16 == 0 { " " } else { "" };
            // Writing into a String can't fail.
            let _ = write!(text, "{gap}{byte:02x}");
        }
        dumps.push(text);
    }
}

#[cfg(test)]
mod tests;
