//! [`ObservedExchange`]: frames of a flood at any target, every reply counted by what it is.
//!
//! It must never keep a connection: what was sent follows from the tuple, what came back is a byte of bits in a [`Book`].

// The frames that it sends.
mod writing;

use std::collections::VecDeque;
use std::sync::Arc;

use arrayvec::ArrayVec;
use stack::nic::{BURST_FRAMES, Burst, Frame};
use workload::pools::{Divisor, Shard, TupleOrder, TupleSequence};

use super::answer::{self, Answer, Reply};
use super::book::{Book, REPEATED};
use super::flags::{FloodFlags, segment_len};
use super::generator::{Exchange, Sending};
use super::outcome::{Matrix, Outcome, Verdict};
use super::sight::{Observer, Segment, Sight};
use super::tally::Tally;
use super::template::{
    AimedTemplate, FLAG_ACK, FLAG_FIN, FLAG_PSH, FLAG_RST, FLAG_SYN, Headers, Template,
};
use super::tuples::{Numbers, Target, Tuple, TupleSpace};
use crate::clock::Clock;

/// Where frames into a sink go: an address of no vendor, which no host of ours has.
pub(super) const SINK_MAC: [u8; 6] = [0x02, 0x53, 0x49, 0x4e, 0x4b, 0x00];

/// For up to so many targets the templates are made ready, each with its target.
const AIMED_TARGETS: usize = 64;

/// Tuples looked at per turn at most: for their verdict, and for repeats.
const LOOKS_PER_TURN: u32 = 1024;

/// Takes the frames that are no replies: neighbour discovery, connections of a probe.
pub(crate) trait Bystander<F>: Send {
    /// A frame that is no reply; returned when it has become an answer.
    fn attend(&mut self, frame: F) -> Option<F>;
}

/// Of which sources replies can come back.
#[derive(Debug, Clone)]
pub(crate) enum Observable {
    /// Of all.
    All,
    /// Of none.
    None,
    /// Of the addresses in these ranges, both ends included.
    Ranges(Vec<(u128, u128)>),
}

/// The frames of a flood, the same for all its workers.
#[derive(Debug)]
pub(crate) struct FloodPlan {
    /// Sources × targets.
    pub(crate) space: TupleSpace,
    /// In which order.
    pub(crate) order: TupleOrder,
    /// Which part of them.
    pub(crate) shard: Shard,
    /// Control bits.
    pub(crate) flags: FloodFlags,
    /// The parts that all frames have in common.
    pub(crate) headers: Headers,
    /// The answer to SYN-ACKs.
    pub(crate) answer: Answer,
    /// Of which sources replies can come back.
    pub(crate) observable: Observable,
    /// After the last frame of a tuple, silence is final after this, in µs.
    pub(crate) wait_us: u32,
    /// An unanswered frame is sent again after this, in µs.
    pub(crate) resend_us: u32,
    /// So often; 0 for never.
    pub(crate) retries: u32,
    /// The time of the run.
    pub(crate) clock: Clock,
    /// One for each worker.
    pub(crate) books: Vec<Book>,
}

impl FloodPlan {
    /// How long a tuple is taken from its first frame on, in µs.
    pub(crate) fn horizon_us(&self) -> u32 {
        self.wait_us + self.retries * self.resend_us
    }

    /// The tuples of one worker.
    pub(crate) fn sequence(&self, worker: usize) -> Option<TupleSequence> {
        let workers = self.books.len() as u32;
        let part = self.shard.split(worker as u32, workers)?;
        TupleSequence::new(self.space.len(), self.order, part)
    }
}

/// The treatment of a received frame.
#[derive(Debug, Clone, Copy)]
enum Action {
    Free,
    Answer(usize, Reply),
    Attend,
}

/// One worker's part of a flood.
pub(crate) struct ObservedExchange<B> {
    plan: Arc<FloodPlan>,
    worker: usize,
    /// Of all workers: a reply may come to another than the one that sent.
    sequences: Vec<TupleSequence>,
    shards: Divisor,
    templates: Vec<Template>,
    /// Where there are few targets: the templates with each, and those with the link-layer address of the sink.
    aimed: [Vec<AimedTemplate>; 2],
    observer: Observer,
    bystander: B,
    /// Numbers of the frames that are due to be sent again.
    due_again: VecDeque<u64>,
    /// For each repeat: frames below this number were looked at.
    looked_at: Vec<u64>,
    /// Filled and not taken by the NIC: repeats, which stand first, and others.
    unsent: (usize, usize),
    resent: u64,
    /// Frames go into the sink, are in no book, and have no verdict.
    is_sinking: bool,
    /// The place of the next tuple for the sink, which stands in no book.
    sink_place: u64,
    sunk: u64,
    answered: u64,
    /// The place of the next tuple in this worker's sequence.
    place: u64,
    matrix: Matrix,
    silent: u64,
}

impl<B> ObservedExchange<B> {
    /// The part of `worker`; `None` when there are fewer tuples than workers.
    pub(crate) fn new(plan: Arc<FloodPlan>, worker: usize, bystander: B) -> Option<Self> {
        let sequences: Option<Vec<_>> = (0..plan.books.len()).map(|n| plan.sequence(n)).collect();
        let v6 = plan.space.is_ipv6();
        let sets = plan.flags.sets().iter();
        let templates: Vec<_> = sets
            .map(|&flags| Template::new(v6, flags, &plan.headers))
            .collect();
        let targets = plan.space.targets();
        let aimed = |mac: Option<[u8; 6]>| {
            let few = targets.iter().filter(|_| targets.len() <= AIMED_TARGETS);
            few.flat_map(|target| {
                let mac = mac.unwrap_or(target.mac);
                let target = Target { mac, ..*target };
                templates.iter().map(move |one| one.aimed(&target))
            })
            .collect()
        };
        Some(Self {
            aimed: [aimed(None), aimed(Some(SINK_MAC))],
            sequences: sequences?,
            shards: Divisor::new(plan.shard.count().into()),
            templates,
            observer: Observer::new(&plan.space),
            bystander,
            due_again: VecDeque::with_capacity(BURST_FRAMES),
            looked_at: vec![0; plan.retries as usize],
            unsent: (0, 0),
            resent: 0,
            is_sinking: false,
            sink_place: 0,
            sunk: 0,
            answered: 0,
            place: 0,
            matrix: Matrix::new(plan.space.targets().len()),
            silent: 0,
            worker,
            plan,
        })
    }

    /// Whether the verdict on everything that was sent is known.
    pub(crate) fn is_settled(&self) -> bool {
        self.book().settled() == self.sent_tuples()
    }

    /// The end: what has no verdict yet is undecided.
    pub(crate) fn into_matrix(mut self) -> Matrix {
        for number in self.book().settled()..self.sent_tuples() {
            if self.book().marks(number) & !REPEATED == 0 {
                let target = self.tuple(number).target;
                self.matrix.verdict(target, Verdict::Undecided, 1);
            }
        }
        self.matrix
    }

    #[inline]
    fn book(&self) -> &Book {
        &self.plan.books[self.worker]
    }

    #[inline]
    fn sequence(&self) -> &TupleSequence {
        &self.sequences[self.worker]
    }

    /// Tuples whose first frame the NIC took.
    #[inline]
    fn sent_tuples(&self) -> u64 {
        self.book().made() - self.unsent.1 as u64
    }

    /// µs of the run. They wrap after 71 minutes; only differences count.
    #[inline]
    fn micros(&self, now_ticks: u64) -> u32 {
        (self.plan.clock.at(now_ticks).as_ns() / 1000) as u32
    }

    /// The tuple of a frame of this worker.
    #[inline]
    fn tuple(&self, number: u64) -> Tuple {
        let sequence = self.sequence();
        self.plan.space.get(sequence.at(number % sequence.len()))
    }

    /// The tuples of so many frames from `place` on; returns the place behind them.
    #[inline]
    fn run<F>(&self, place: u64, frames: &[F], tuples: &mut [u64; BURST_FRAMES]) -> u64 {
        self.sequence().run(place, &mut tuples[..frames.len()])
    }

    /// The template of a tuple with these numbers.
    #[inline]
    fn template(&self, numbers: Numbers) -> &Template {
        &self.templates[self.template_index(numbers)]
    }

    /// Verdicts on tuples whose time is over.
    #[inline]
    fn settle(&mut self, now_us: u32) {
        let first = self.book().settled();
        let limit = self.sent_tuples().min(first + u64::from(LOOKS_PER_TURN));
        let end = self.book().aged(limit, now_us, self.plan.horizon_us());
        if end == first {
            return;
        }
        match self.uniform_verdict() {
            Some(verdict) => {
                let unanswered = self.book().judge_run(first, end);
                self.count_verdicts(0, verdict, unanswered);
            }
            None => {
                for number in first..end {
                    if self.book().judge(number) == 0 {
                        self.unanswered(number);
                    }
                }
            }
        }
        self.book().settle_below(end);
    }

    /// The verdict on whatever is not answered, where that is the same for all.
    #[inline]
    fn uniform_verdict(&self) -> Option<Verdict> {
        match (&self.plan.observable, self.plan.space.targets()) {
            (Observable::All, [_]) => Some(Verdict::Silent),
            (Observable::None, [_]) => Some(Verdict::NotObservable),
            _ => None,
        }
    }

    #[inline]
    fn count_verdicts(&mut self, target: usize, verdict: Verdict, tuples: u64) {
        if verdict == Verdict::Silent {
            self.silent += tuples;
        }
        self.matrix.verdict(target, verdict, tuples);
    }

    fn unanswered(&mut self, number: u64) {
        let tuple = self.tuple(number);
        let address = tuple.source.address;
        let is_observable = match &self.plan.observable {
            Observable::All => true,
            Observable::None => false,
            Observable::Ranges(ranges) => ranges
                .iter()
                .any(|&(first, last)| (first..=last).contains(&address)),
        };
        let verdict = if is_observable {
            Verdict::Silent
        } else {
            Verdict::NotObservable
        };
        self.count_verdicts(tuple.target, verdict, 1);
    }

    /// Looks for frames that are due to be sent again.
    #[inline]
    fn find_repeats(&mut self, now_us: u32) {
        let (sent, settled) = (self.sent_tuples(), self.book().settled());
        for retry in 0..self.looked_at.len() {
            let after = self.plan.resend_us * (retry as u32 + 1);
            let mut number = self.looked_at[retry].max(settled);
            for _ in 0..LOOKS_PER_TURN {
                if self.due_again.len() == BURST_FRAMES
                    || number >= sent
                    || now_us.wrapping_sub(self.book().time(number)) < after
                {
                    break;
                }
                if self.book().marks(number) & !REPEATED == 0 {
                    self.due_again.push_back(number);
                }
                number += 1;
            }
            self.looked_at[retry] = number;
        }
    }

    /// The kind of a segment, and its treatment.
    #[inline]
    fn on_segment(&mut self, tuple: Tuple, segment: Segment, now_us: u32) -> Action {
        let Some((worker, number)) = self.in_flight(tuple) else {
            self.matrix.late += 1;
            return Action::Free;
        };
        let book = &self.plan.books[worker];
        let numbers = self.plan.space.numbers(tuple.index, book.time(number));
        let sent = self.template(numbers).flags();
        let outcome = outcome(sent, numbers, &segment, book.marks(number));
        let latency = now_us.wrapping_sub(book.time(number));
        match book.mark(number, outcome.bit()) {
            Some(before) => self.count(tuple, outcome, before, latency),
            None => self.matrix.late += 1,
        }
        let reply = match (self.plan.answer, outcome) {
            (Answer::Rst | Answer::Complete, Outcome::SynAckWrongAck)
            | (Answer::Rst, Outcome::SynAck) => Reply::Reset { seq: segment.ack },
            (Answer::Complete, Outcome::SynAck) => Reply::Ack {
                seq: segment.ack,
                ack: segment.seq.wrapping_add(1),
                timestamps: segment
                    .tsval
                    .map(|theirs| (numbers.tsval.wrapping_add(latency >> 10), theirs)),
            },
            _ => return Action::Free,
        };
        Action::Answer(segment.at, reply)
    }

    #[inline]
    fn count(&mut self, tuple: Tuple, outcome: Outcome, before: u8, latency_us: u32) {
        self.answered += u64::from(before & !REPEATED == 0);
        self.matrix
            .reply(tuple.target, outcome, before, latency_us.into());
    }

    fn on_icmp(&mut self, tuple: Tuple, seq: u32, (kind, code): (u8, u8), now_us: u32) {
        let Some((worker, number)) = self.in_flight(tuple) else {
            self.matrix.late += 1;
            return;
        };
        let book = &self.plan.books[worker];
        let time = book.time(number);
        // Of the frame in flight, and not of one that had the tuple before it.
        if self.plan.space.numbers(tuple.index, time).seq != seq {
            self.matrix.late += 1;
            return;
        }
        match book.mark(number, Outcome::Icmp.bit()) {
            Some(before) => {
                self.count(tuple, Outcome::Icmp, before, now_us.wrapping_sub(time));
                self.matrix.icmp_error(kind, code);
            }
            None => self.matrix.late += 1,
        }
    }

    /// Which worker's frame of this tuple is in flight, and its number.
    #[inline]
    fn in_flight(&self, tuple: Tuple) -> Option<(usize, u64)> {
        let (place, part) = self.sequence().place_and_shard(tuple.index)?;
        let (worker, shard) = self.shards.div_rem(part);
        if shard != u64::from(self.plan.shard.index()) {
            return None;
        }
        let worker = worker as usize;
        let len = self.sequences.get(worker)?.len();
        let number = self.plan.books[worker].in_flight(place, len)?;
        Some((worker, number))
    }
}

/// The outcome of a segment for a tuple whose frame had the control bits `sent`, and whose earlier replies left the bits `before`.
fn outcome(sent: u8, numbers: Numbers, segment: &Segment, before: u8) -> Outcome {
    let acknowledged = numbers.seq.wrapping_add(segment_len(sent));
    let is_acknowledged = segment.flags & FLAG_ACK != 0 && segment.ack == acknowledged;
    if segment.flags & FLAG_RST != 0 {
        if before & (Outcome::SynAck.bit() | Outcome::SynAckWrongAck.bit()) != 0 {
            // The number of a SYN-ACK isn't kept; what a reset acknowledges is known, unless the SYN-ACK was wrong about that.
            let is_forged = before & Outcome::SynAck.bit() != 0
                && segment.flags & FLAG_ACK != 0
                && !is_acknowledged;
            return if is_forged {
                Outcome::Other
            } else {
                Outcome::RstAfterSynAck
            };
        }
        // RFC 9293 §3.10.7.1: `<SEQ=SEG.ACK>` when the frame had ACK, else `<ACK=SEG.SEQ+SEG.LEN>`.
        let is_right = if sent & FLAG_ACK != 0 {
            segment.seq == numbers.ack
        } else {
            is_acknowledged
        };
        return if is_right {
            Outcome::Rst
        } else {
            Outcome::Other
        };
    }
    match segment.flags & (FLAG_SYN | FLAG_ACK | FLAG_FIN | FLAG_PSH) {
        flags if flags == FLAG_SYN | FLAG_ACK && sent == FLAG_SYN => {
            if is_acknowledged {
                Outcome::SynAck
            } else {
                Outcome::SynAckWrongAck
            }
        }
        FLAG_ACK => Outcome::ChallengeAck,
        _ => Outcome::Other,
    }
}

impl<F: Frame, B: Bystander<F>> Exchange<F> for ObservedExchange<B> {
    #[inline]
    fn room(&mut self, sending: Sending, now_ticks: u64) -> usize {
        self.is_sinking = sending == Sending::Sink;
        if self.is_sinking {
            return BURST_FRAMES;
        }
        let now_us = self.micros(now_ticks);
        self.settle(now_us);
        self.find_repeats(now_us);
        let fresh = if sending == Sending::All {
            let in_flight = self.book().made() - self.book().settled();
            let most = self.book().capacity().min(self.sequence().len());
            most - in_flight
        } else {
            0
        };
        self.due_again.len() + usize::try_from(fresh).unwrap_or(usize::MAX >> 1)
    }

    #[inline]
    fn fill(&mut self, frames: &mut [F], now_ticks: u64) {
        let now_us = self.micros(now_ticks);
        self.unsent = (0, 0);
        if self.is_sinking {
            self.fill_for_sink(frames, now_us);
            return;
        }
        let repeats = self.due_again.len().min(frames.len());
        let (again, fresh) = frames.split_at_mut(repeats);
        self.unsent = (again.len(), fresh.len());
        for frame in again {
            let Some(number) = self.due_again.pop_front() else {
                break;
            };
            self.book().mark(number, REPEATED);
            self.write_one(frame, self.tuple(number), false, self.book().time(number));
        }
        let (first, earlier) = self.book().make(fresh.len(), now_us);
        let mut tuples = [0; BURST_FRAMES];
        self.place = self.run(self.place, fresh, &mut tuples);
        let mut times_us = [now_us; BURST_FRAMES];
        times_us[..earlier.min(BURST_FRAMES)].fill(self.book().time(first));
        self.write_run(fresh, &tuples, false, &times_us);
    }

    #[inline]
    fn sent(&mut self, frames: usize) {
        if self.is_sinking {
            self.sunk += frames as u64;
            return;
        }
        let repeats = frames.min(self.unsent.0);
        self.unsent.0 -= repeats;
        self.unsent.1 -= frames - repeats;
        self.resent += repeats as u64;
    }

    fn discarded(&mut self) {
        let fresh = self.unsent.1 as u64;
        self.book().unmake(fresh);
        let len = self.sequence().len();
        self.place = (self.place + len - fresh % len) % len;
        self.unsent = (0, 0);
        self.due_again.clear();
    }

    #[inline]
    fn receive(
        &mut self,
        received: &mut Burst<F>,
        answers: &mut Burst<F>,
        tally: &mut Tally,
        now_ticks: u64,
    ) {
        let now_us = self.micros(now_ticks);
        let mut actions: ArrayVec<Action, BURST_FRAMES> = ArrayVec::new();
        let mut is_plain = true;
        for frame in received.as_slice() {
            let action = match self.observer.read(frame.bytes(), &self.plan.space) {
                Sight::Segment(tuple, segment) => self.on_segment(tuple, segment, now_us),
                Sight::Icmp {
                    tuple,
                    seq,
                    kind,
                    code,
                } => {
                    self.on_icmp(tuple, seq, (kind, code), now_us);
                    Action::Free
                }
                Sight::Damaged => {
                    tally.damaged += 1;
                    Action::Free
                }
                Sight::Other => {
                    tally.housekeeping += 1;
                    Action::Attend
                }
            };
            is_plain &= matches!(action, Action::Free);
            actions.push(action);
        }
        if is_plain {
            return;
        }
        let header = (self.plan.headers.ttl, self.plan.headers.window);
        for (mut frame, action) in received.take_front(BURST_FRAMES).zip(actions) {
            let answer = match action {
                Action::Free => None,
                Action::Answer(at, reply) => {
                    answer::write(&mut frame, at, reply, header).then_some(frame)
                }
                Action::Attend => {
                    let answer = self.bystander.attend(frame);
                    tally.neighbor_answers += u64::from(answer.is_some());
                    answer
                }
            };
            if let Some(answer) = answer {
                // Not refused: there are no more than replies were.
                drop(answers.push(answer));
            }
        }
    }

    #[inline]
    fn answered(&mut self, frames: usize, tally: &mut Tally) {
        tally.answers_sent += frames as u64;
    }

    fn complete(&self, tally: &mut Tally) {
        tally.resent = self.resent;
        tally.sunk = self.sunk;
        tally.tuples_sent = self.sent_tuples();
        tally.answered = self.answered;
        tally.silent = self.silent;
        tally.is_settled = self.is_settled();
    }
}

#[cfg(test)]
mod tests;
