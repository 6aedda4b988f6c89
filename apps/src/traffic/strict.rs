//! [`StrictExchange`]: SYNs to our own endpoint (or an echo of them), every reply verified in every respect.
//!
//! It must never forgive: what a real peer may do is a fault of ours here. (`observed.rs` is for everybody else's.)

use core::fmt::Write as _;
use diagnose::counted;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stack::nic::{BURST_FRAMES, Burst, Frame};
use workload::pools::{PoolError, PortRange, Shard, SourcePool, TupleOrder, TupleSequence};

use super::generator::Exchange;
use super::pace::Window;
use super::tally::Tally;
use super::template::{AimedTemplate, FLAG_SYN, Headers, SynOptions, Template};
use super::tuples::{Target, Tuple, TupleSpace};
use super::verify::{Expect, Judgement, Verifier};
use super::wrong::ReplyFault;

/// Wrong replies that are kept in hex.
const DUMPS: usize = 5;
/// Bytes of each of them.
const DUMP_BYTES: usize = 128;
/// Ports below are left to others (`bench` fills the table with flows from them).
pub(crate) const FIRST_PORT: u16 = PortRange::UNPRIVILEGED.first;
/// Source addresses of IPv4: 198.18.0.0/15 (RFC 2544) without its first and last 256, where networks, broadcasts and the
/// endpoint live. As prefixes, each half as long as the one before from both ends.
const V4_PREFIXES: [(Ipv4Addr, u8); 16] = v4_prefixes();
/// Source addresses of IPv6 (RFC 5180): as many as an index space holds, and not the endpoint's 2001:2::/64.
const V6_PREFIX: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, 0), 96);

const fn v4_prefixes() -> [(Ipv4Addr, u8); 16] {
    let mut prefixes = [(Ipv4Addr::UNSPECIFIED, 0); 16];
    let mut i = 0;
    while i < 8 {
        // 198.18.1.0/24, 198.18.2.0/23, … 198.18.128.0/17.
        prefixes[i] = (Ipv4Addr::new(198, 18, 1 << i, 0), 24 - i as u8);
        // 198.19.0.0/17, 198.19.128.0/18, … 198.19.254.0/24.
        let third = (0xff00u32 >> i) as u8;
        prefixes[8 + i] = (Ipv4Addr::new(198, 19, third, 0), 17 + i as u8);
        i += 1;
    }
    prefixes
}

/// The frames to send and the replies to expect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StrictPlan {
    /// Where SYNs go.
    pub(crate) target: Target,
    /// The generator's link-layer address.
    pub(crate) source_mac: [u8; 6],
    /// Their options.
    pub(crate) options: SynOptions,
    /// The expected reply.
    pub(crate) expect: Expect,
    /// Whether every verified SYN-ACK is answered by an exact reset, which ends the embryo.
    pub(crate) retire: bool,
    /// SYNs that may be unanswered at a time; `None` for any number (replies are not expected).
    pub(crate) window: Option<u32>,
    /// Ticks of a second of the clock that `now_ticks` are readings of, at least 1.
    pub(crate) hz: u64,
    /// The seed of the order of tuples and of their numbers.
    pub(crate) seed: [u64; 3],
}

/// SYNs out, strictly verified replies in.
pub(crate) struct StrictExchange {
    space: TupleSpace,
    sequence: TupleSequence,
    place: u64,
    syn: AimedTemplate,
    verifier: Verifier,
    /// Sends a reset for every verified SYN-ACK, which ends the embryo.
    reset: Option<AimedTemplate>,
    window: Window,
    /// Smallest burst that is worth sending while the window is narrow, in frames.
    smallest_burst: usize,
    sent: u64,
    replies: u64,
    dumps: Vec<String>,
}

impl StrictExchange {
    /// The exchange of that plan.
    ///
    /// # Errors
    /// [`PoolError`], which is a bug: the pool is fixed.
    pub(crate) fn new(plan: &StrictPlan) -> Result<Self, PoolError> {
        let v6 = plan.target.address.is_ipv6();
        let space = TupleSpace::new(
            sources(v6)?,
            vec![plan.target],
            [plan.seed[1], plan.seed[2]],
        );
        let order = TupleOrder::Permuted { key: plan.seed[0] };
        let syn = Template::new(v6, FLAG_SYN, &Headers::linux(plan.source_mac, plan.options));
        Ok(Self {
            sequence: TupleSequence::new(space.len(), order, Shard::WHOLE)
                .ok_or(PoolError::Empty)?,
            place: 0,
            verifier: Verifier::new(plan.expect, plan.source_mac, &syn, space.clone()),
            reset: plan
                .retire
                .then(|| Template::reset(v6, plan.source_mac).aimed(&plan.target)),
            syn: syn.aimed(&plan.target),
            space,
            smallest_burst: plan.window.map_or(1, |n| BURST_FRAMES.min(n as usize)),
            window: Window::new(plan.window, plan.hz),
            sent: 0,
            replies: 0,
            dumps: Vec::with_capacity(DUMPS),
        })
    }

    /// The first wrong replies, in hex, with their reasons.
    pub(crate) fn dumps(&self) -> &[String] {
        &self.dumps
    }

    /// Judges one frame; the tuple when it is the right reply.
    #[inline]
    fn judge(&mut self, bytes: &[u8], tally: &mut Tally) -> Option<Tuple> {
        match self.verifier.judge(bytes) {
            Judgement::Verified(tuple) => {
                tally.verified += 1;
                self.replies += 1;
                return Some(tuple);
            }
            Judgement::Housekeeping => tally.housekeeping += 1,
            Judgement::Wrong(wrong) => {
                self.replies += 1;
                note(tally, &mut self.dumps, wrong, bytes);
            }
        }
        None
    }

    /// Writes the reset of a tuple into a received frame: `<SEQ=SEG.ACK><CTL=RST>`, exact by RFC 5961 §3.2.
    #[inline]
    fn make_reset<F: Frame>(&self, frame: &mut F, template: &AimedTemplate, tuple: Tuple) -> bool {
        if frame.set_len(template.len()).is_err() {
            return false;
        }
        let Some(bytes) = frame.bytes_mut() else {
            return false;
        };
        let mut numbers = self.space.numbers(tuple.index, 0);
        numbers.seq = numbers.seq.wrapping_add(1);
        template.write(bytes, tuple.source, numbers);
        true
    }
}

/// Where the SYNs come from.
pub(super) fn sources(v6: bool) -> Result<SourcePool, PoolError> {
    let prefixes: Vec<(IpAddr, u8)> = if v6 {
        vec![(V6_PREFIX.0.into(), V6_PREFIX.1)]
    } else {
        V4_PREFIXES
            .map(|(address, len)| (address.into(), len))
            .into()
    };
    SourcePool::new(&prefixes, &[PortRange::UNPRIVILEGED])
}

impl<F: Frame> Exchange<F> for StrictExchange {
    #[inline]
    fn room(&mut self, _sending: super::generator::Sending, now_ticks: u64) -> usize {
        let room = self.window.room(self.sent, self.replies, now_ticks);
        // A window that opens by one frame a turn would make bursts of one frame.
        if room < self.smallest_burst { 0 } else { room }
    }

    #[inline]
    fn fill(&mut self, frames: &mut [F], _now_ticks: u64) {
        let len = self.syn.len();
        for frame in frames {
            let tuple = self.space.get(self.sequence.at(self.place));
            self.place += 1;
            if self.place == self.sequence.len() {
                self.place = 0;
            }
            let numbers = self.space.numbers(tuple.index, 0);
            if let Ok(bytes) = frame.grow(len) {
                self.syn.write(bytes, tuple.source, numbers);
            }
        }
    }

    #[inline]
    fn sent(&mut self, frames: usize) {
        self.sent += frames as u64;
    }

    fn discarded(&mut self) {}

    #[inline]
    fn receive(
        &mut self,
        received: &mut Burst<F>,
        answers: &mut Burst<F>,
        tally: &mut Tally,
        _now_ticks: u64,
    ) {
        let Some(template) = self.reset.take() else {
            for frame in received.as_slice() {
                self.judge(frame.bytes(), tally);
            }
            return;
        };
        for mut frame in received.take_front(BURST_FRAMES) {
            if let Some(tuple) = self.judge(frame.bytes(), tally)
                && self.make_reset(&mut frame, &template, tuple)
            {
                // Not refused: there are no more than replies were.
                drop(answers.push(frame));
            }
        }
        self.reset = Some(template);
    }

    #[inline]
    fn answered(&mut self, frames: usize, tally: &mut Tally) {
        tally.answers_sent += frames as u64;
    }

    fn complete(&self, tally: &mut Tally) {
        tally.given_up = self.window.given_up();
        // A reply too many is a wrong one, whatever it looks like.
        if self.replies > self.sent {
            tally.add_wrong(ReplyFault::Unasked);
        }
    }
}

#[cold]
fn note(tally: &mut Tally, dumps: &mut Vec<String>, wrong: ReplyFault, bytes: &[u8]) {
    tally.add_wrong(wrong);
    if dumps.len() < DUMPS {
        let mut text = format!(
            "wrong reply ({}, {}):",
            wrong.name(),
            counted(bytes.len(), "byte")
        );
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
