//! Every cell of the outcome matrix, with replies that another library builds.
//!
//! It must never build a reply with the code that reads it: frames are etherparse's, checksums too.

use std::net::{IpAddr, Ipv4Addr};

use etherparse::{IcmpEchoHeader, Icmpv4Type, NetHeaders, PacketBuilder, PacketHeaders, TcpHeader};
use workload::pools::{PortRange, SourcePool};

use super::*;
use crate::traffic::generator::Generator;
use crate::traffic::pace::Rate;
use crate::traffic::template::SynOptions;
use crate::traffic::testing::{Heap, Wire};
use crate::traffic::tuples::Target;

const OURS: [u8; 6] = [4; 6];
const THEIRS: [u8; 6] = [2; 6];
/// Ticks of a µs: the clock of the tests.
const HZ: u64 = 1_000_000;

/// Counts what it gets, and answers nothing.
#[derive(Debug, Default)]
struct Deaf;

impl Bystander<Heap> for Deaf {
    fn attend(&mut self, frame: Heap) -> Option<Heap> {
        let _ = frame;
        None
    }
}

type Flooder = Generator<Wire, ObservedExchange<Deaf>>;

/// The settings that a test changes.
struct Setting {
    flags: FloodFlags,
    answer: Answer,
    targets: usize,
    retries: u32,
    observable: Observable,
    tuples: (u8, u16),
    room: u64,
    group_bits: u32,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            flags: FloodFlags::Syn,
            answer: Answer::Nothing,
            targets: 1,
            retries: 0,
            observable: Observable::All,
            tuples: (24, 100),
            room: 1 << 12,
            group_bits: 0,
        }
    }
}

impl Setting {
    fn plan(self, workers: usize) -> Arc<FloodPlan> {
        let prefix = (IpAddr::V4(Ipv4Addr::new(198, 18, 64, 0)), self.tuples.0);
        let ports = PortRange {
            first: 5000,
            last: 4999 + self.tuples.1,
        };
        let pool = SourcePool::new(&[prefix], &[ports]).expect("a pool");
        let targets = (0..self.targets).map(|n| Target {
            mac: THEIRS,
            address: IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)),
            port: 80 + n as u16,
        });
        Arc::new(FloodPlan {
            space: TupleSpace::new(pool, targets.collect(), [7, 9]),
            order: TupleOrder::Permuted { key: 3 },
            shard: Shard::WHOLE,
            flags: self.flags,
            headers: Headers::linux(OURS, SynOptions::Linux),
            answer: self.answer,
            observable: self.observable,
            wait_us: 1000,
            resend_us: if self.retries > 0 { 500 } else { 0 },
            retries: self.retries,
            clock: Clock::of_ticks(HZ),
            books: (0..workers)
                .map(|_| Book::new(self.room, self.group_bits, true))
                .collect(),
        })
    }

    fn flooder(self) -> Flooder {
        let plan = self.plan(1);
        flooder(&plan, 0)
    }
}

fn flooder(plan: &Arc<FloodPlan>, worker: usize) -> Flooder {
    let exchange = ObservedExchange::new(Arc::clone(plan), worker, Deaf).expect("tuples");
    Generator::new(Wire::new(), exchange, Rate::new(None, HZ, 1))
}

fn turn(flooder: &mut Flooder, sending: Sending, at_us: u64) {
    flooder.nic_mut().ticks = at_us;
    flooder.turn(sending, at_us);
}

/// One burst at `at_us`; the frames that left.
fn burst(flooder: &mut Flooder, at_us: u64) -> Vec<Vec<u8>> {
    flooder.nic_mut().sent.clear();
    turn(flooder, Sending::All, at_us);
    core::mem::take(&mut flooder.nic_mut().sent)
}

/// Receives `replies` at `at_us`; the answers that left.
fn deliver(flooder: &mut Flooder, at_us: u64, replies: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    flooder.nic_mut().sent.clear();
    flooder.nic_mut().waiting.extend(replies);
    while !flooder.nic_mut().waiting.is_empty() {
        turn(flooder, Sending::Answers, at_us);
    }
    core::mem::take(&mut flooder.nic_mut().sent)
}

/// The TCP header of a frame, with its ends.
fn read(frame: &[u8]) -> ([u8; 4], [u8; 4], TcpHeader) {
    let packet = PacketHeaders::from_ethernet_slice(frame).expect("a frame");
    let Some(NetHeaders::Ipv4(ip, _)) = packet.net else {
        panic!("no IPv4")
    };
    let tcp = packet.transport.and_then(|transport| transport.tcp());
    (ip.source, ip.destination, tcp.expect("TCP"))
}

/// A reply to `frame`, by etherparse: the ends the other way round, `change` makes the rest.
fn reply(frame: &[u8], change: impl FnOnce(&TcpHeader, &mut TcpHeader)) -> Vec<u8> {
    let (source, destination, sent) = read(frame);
    let mut tcp = TcpHeader::new(sent.destination_port, sent.source_port, 777, 1000);
    change(&sent, &mut tcp);
    let builder = PacketBuilder::ethernet2(THEIRS, OURS)
        .ipv4(destination, source, 60)
        .tcp_header(tcp);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &[]).expect("a frame");
    bytes
}

fn syn_ack(frame: &[u8]) -> Vec<u8> {
    reply(frame, |sent, tcp| {
        (tcp.syn, tcp.ack) = (true, true);
        tcp.acknowledgment_number = sent.sequence_number.wrapping_add(1);
    })
}

fn rst(frame: &[u8]) -> Vec<u8> {
    reply(frame, |sent, tcp| {
        (tcp.rst, tcp.ack, tcp.sequence_number) = (true, true, 0);
        tcp.acknowledgment_number = sent.sequence_number.wrapping_add(1);
    })
}

fn icmp(frame: &[u8], kind: u8, code: u8) -> Vec<u8> {
    let (source, destination, _) = read(frame);
    let mut bytes = Vec::new();
    let quoted = &frame[14..14 + 28];
    // An echo as a place holder, then type, code and the unused word by hand: the checksum of both is the same arithmetic.
    PacketBuilder::ethernet2(THEIRS, OURS)
        .ipv4(destination, source, 60)
        .icmpv4(Icmpv4Type::EchoRequest(IcmpEchoHeader { id: 0, seq: 0 }))
        .write(&mut bytes, quoted)
        .expect("a frame");
    bytes[34] = kind;
    bytes[35] = code;
    bytes[36..38].fill(0);
    let words = bytes[34..]
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    bytes[36..38].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    bytes
}

/// The end: everything is settled at `at_us`.
fn finish(mut flooder: Flooder, at_us: u64) -> Matrix {
    while !flooder.exchange().is_settled() {
        turn(&mut flooder, Sending::Repeats, at_us);
    }
    flooder.into_parts().1.into_matrix()
}

fn firsts(matrix: &Matrix) -> Vec<(&'static str, u64)> {
    let total = matrix.total();
    let counted = Outcome::ALL.map(|outcome| (outcome.name(), total.cell(outcome).first));
    counted.into_iter().filter(|(_, n)| *n > 0).collect()
}

#[test]
fn every_frame_has_a_tuple_numbers_and_checksums_of_its_own() {
    let mut flooder = Setting::default().flooder();
    let mut frames = burst(&mut flooder, 0);
    frames.extend(burst(&mut flooder, 5));
    let mut seen = std::collections::HashSet::new();
    let mut numbers = std::collections::HashSet::new();
    for frame in &frames {
        let (source, _, tcp) = read(frame);
        assert!(seen.insert((source, tcp.source_port)));
        assert!(numbers.insert(tcp.sequence_number));
        assert_eq!(dpdk::checksum::ipv4_l4(&frame[14..]), Ok(true));
    }
    assert_eq!(seen.len(), 128);
}

#[test]
fn a_syn_ack_a_reset_and_silence_are_told_apart_with_their_latencies() {
    let mut flooder = Setting::default().flooder();
    let frames = burst(&mut flooder, 0);
    let mut replies: Vec<_> = frames[..30].iter().map(|frame| syn_ack(frame)).collect();
    replies.extend(frames[30..40].iter().map(|frame| rst(frame)));
    assert!(
        deliver(&mut flooder, 250, replies).is_empty(),
        "nothing is answered"
    );
    let matrix = finish(flooder, 1000);
    assert_eq!(firsts(&matrix), [("syn_ack", 30), ("rst", 10)]);
    let total = matrix.total();
    assert_eq!((total.answered, total.silent, total.sent()), (40, 24, 64));
    let latency = total.cell(Outcome::SynAck).latency(false).expect("samples");
    assert_eq!(
        (latency.min(), latency.max(), latency.len()),
        (250, 250, 30)
    );
}

#[test]
fn a_wrong_ack_is_found_by_its_tuple_and_reset_by_seg_ack() {
    let setting = Setting {
        answer: Answer::Complete,
        ..Setting::default()
    };
    let mut flooder = setting.flooder();
    let frames = burst(&mut flooder, 0);
    let wrong = reply(&frames[3], |sent, tcp| {
        (tcp.syn, tcp.ack) = (true, true);
        tcp.acknowledgment_number = sent.sequence_number.wrapping_add(2);
    });
    let answers = deliver(&mut flooder, 9, vec![wrong.clone()]);
    let (_, _, answer) = read(&answers[0]);
    assert!(answer.rst && !answer.ack);
    assert_eq!(answer.sequence_number, read(&wrong).2.acknowledgment_number);
    assert_eq!(firsts(&finish(flooder, 2000)), [("syn_ack_wrong_ack", 1)]);
}

#[test]
fn a_syn_ack_is_answered_as_chosen() {
    for (answer, expected) in [(Answer::Rst, true), (Answer::Complete, false)] {
        let setting = Setting {
            answer,
            ..Setting::default()
        };
        let mut flooder = setting.flooder();
        let frames = burst(&mut flooder, 0);
        let with_timestamps = reply(&frames[0], |sent, tcp| {
            (tcp.syn, tcp.ack) = (true, true);
            tcp.acknowledgment_number = sent.sequence_number.wrapping_add(1);
            tcp.set_options(&[etherparse::TcpOptionElement::Timestamp(4242, 1)])
                .expect("room");
        });
        let answers = deliver(&mut flooder, 9, vec![with_timestamps, syn_ack(&frames[1])]);
        for (n, answer) in answers.iter().enumerate() {
            let (source, destination, sent) = read(&frames[n]);
            let (from, to, tcp) = read(answer);
            assert_eq!((from, to), (source, destination));
            assert_eq!(answer[..12], [THEIRS, OURS].concat());
            assert_eq!(tcp.sequence_number, sent.sequence_number.wrapping_add(1));
            assert_eq!((tcp.rst, tcp.ack), (expected, !expected));
            assert_eq!(dpdk::checksum::ipv4_header(&answer[14..]), Ok(true));
            assert_eq!(dpdk::checksum::ipv4_l4(&answer[14..]), Ok(true));
            if !expected {
                assert_eq!(tcp.acknowledgment_number, 778);
                let has_timestamps = tcp.options_iterator().flatten().any(|option| {
                    matches!(option, etherparse::TcpOptionElement::Timestamp(_, 4242))
                });
                assert_eq!(has_timestamps, n == 0);
            }
        }
        assert_eq!(answers.len(), 2);
        assert_eq!(flooder.tally().answers_sent, 2);
    }
}

#[test]
fn a_reset_after_a_syn_ack_and_a_challenge_ack_have_cells_of_their_own() {
    let mut flooder = Setting::default().flooder();
    let frames = burst(&mut flooder, 0);
    let late_reset = reply(&frames[0], |_, tcp| {
        (tcp.rst, tcp.sequence_number) = (true, 778);
    });
    let challenge = reply(&frames[1], |_, tcp| {
        (tcp.ack, tcp.acknowledgment_number) = (true, 99);
    });
    let lone_reset = reply(&frames[2], |_, tcp| {
        (tcp.rst, tcp.sequence_number) = (true, 778);
    });
    let data = reply(&frames[3], |_, tcp| (tcp.ack, tcp.psh) = (true, true));
    // A forger does not know what was sent.
    let forged = reply(&frames[0], |sent, tcp| {
        (tcp.rst, tcp.ack) = (true, true);
        tcp.acknowledgment_number = sent.sequence_number.wrapping_add(2);
    });
    let replies = vec![
        syn_ack(&frames[0]),
        late_reset,
        forged,
        challenge,
        lone_reset,
        data,
    ];
    deliver(&mut flooder, 9, replies);
    assert_eq!(
        firsts(&finish(flooder, 2000)),
        [
            ("syn_ack", 1),
            ("rst_after_syn_ack", 1),
            ("challenge_ack", 1),
            ("other", 3)
        ]
    );
}

#[test]
fn icmp_errors_are_found_by_what_they_quote_and_counted_by_type() {
    let mut flooder = Setting::default().flooder();
    let frames = burst(&mut flooder, 0);
    let mut of_another = frames[5].clone();
    of_another[40] ^= 1;
    let mut damaged = icmp(&frames[6], 3, 1);
    damaged[36] ^= 1;
    let errors = vec![
        icmp(&frames[0], 3, 3),
        icmp(&frames[1], 3, 13),
        icmp(&frames[2], 11, 0),
        icmp(&of_another, 3, 3),
        damaged,
    ];
    deliver(&mut flooder, 9, errors);
    assert_eq!(flooder.tally().damaged, 1);
    let matrix = finish(flooder, 2000);
    assert_eq!(firsts(&matrix), [("icmp", 3)]);
    let kinds: Vec<_> = matrix.icmp().iter().map(|(&kind, &n)| (kind, n)).collect();
    assert_eq!(kinds, [((3, 3), 1), ((3, 13), 1), ((11, 0), 1)]);
    assert_eq!(
        matrix.late, 1,
        "another sequence number: of no frame in flight"
    );
}

#[test]
fn repeats_are_apart_from_first_replies() {
    let mut flooder = Setting::default().flooder();
    let frames = burst(&mut flooder, 0);
    deliver(
        &mut flooder,
        100,
        vec![syn_ack(&frames[0]), syn_ack(&frames[1])],
    );
    deliver(&mut flooder, 900, vec![syn_ack(&frames[0])]);
    let total = finish(flooder, 2000).total();
    let cell = total.cell(Outcome::SynAck);
    assert_eq!((cell.first, cell.repeats, total.answered), (2, 1, 2));
    assert_eq!(
        cell.latency(true).map(|h| (h.len(), h.max())),
        Some((1, 900))
    );
}

#[test]
fn an_unanswered_frame_is_sent_again_byte_for_byte_and_found_as_answered_on_retry() {
    let setting = Setting {
        retries: 2,
        ..Setting::default()
    };
    let mut flooder = setting.flooder();
    let frames = burst(&mut flooder, 10);
    deliver(
        &mut flooder,
        20,
        frames[1..].iter().map(|frame| rst(frame)).collect(),
    );
    turn(&mut flooder, Sending::Repeats, 509);
    assert!(flooder.nic_mut().sent.is_empty(), "not due yet");
    turn(&mut flooder, Sending::Repeats, 510);
    assert_eq!(flooder.nic_mut().sent, [frames[0].clone()], "the same SYN");
    flooder.nic_mut().sent.clear();
    deliver(&mut flooder, 700, vec![syn_ack(&frames[0])]);
    turn(&mut flooder, Sending::Repeats, 1010);
    assert!(
        flooder.nic_mut().sent.is_empty(),
        "answered: not a third time"
    );
    let tally = flooder.tally();
    assert_eq!((tally.sent, tally.resent, tally.tuples_sent), (65, 1, 64));
    let total = finish(flooder, 3000).total();
    assert_eq!(
        (total.answered, total.answered_on_retry, total.silent),
        (64, 1, 0)
    );
}

#[test]
fn silence_is_final_only_after_the_wait_and_then_a_reply_is_late() {
    let mut flooder = Setting::default().flooder();
    let frames = burst(&mut flooder, 0);
    turn(&mut flooder, Sending::Repeats, 999);
    assert!(!flooder.exchange().is_settled());
    assert_eq!(flooder.tally().silent, 0);
    turn(&mut flooder, Sending::Repeats, 1000);
    assert_eq!(flooder.tally().silent, 64);
    deliver(&mut flooder, 1001, vec![syn_ack(&frames[0])]);
    let matrix = finish(flooder, 2000);
    assert_eq!(
        (matrix.late, matrix.total().answered, matrix.total().silent),
        (1, 0, 64)
    );
}

#[test]
fn no_tuple_is_used_again_before_its_verdict_and_then_with_new_numbers() {
    // 100 tuples: the second burst has room for 36.
    let setting = Setting {
        tuples: (32, 100),
        ..Setting::default()
    };
    let mut flooder = setting.flooder();
    let first = burst(&mut flooder, 0);
    assert_eq!(burst(&mut flooder, 1).len(), 36);
    assert!(burst(&mut flooder, 2).is_empty(), "all are taken");
    let again = burst(&mut flooder, 1000);
    assert_eq!(again.len(), 64, "64 verdicts are known");
    for (old, new) in first.iter().zip(&again) {
        let ((source, _, old), (source_again, _, new)) = (read(old), read(new));
        assert_eq!((source, old.source_port), (source_again, new.source_port));
        assert_ne!(old.sequence_number, new.sequence_number);
    }
    // A reply to the first round does not pass for one to the second.
    deliver(
        &mut flooder,
        1001,
        vec![syn_ack(&first[0]), syn_ack(&again[1])],
    );
    assert_eq!(
        firsts(&finish(flooder, 5000)),
        [("syn_ack", 1), ("syn_ack_wrong_ack", 1)]
    );
}

#[test]
fn sources_whose_replies_can_not_come_back_are_not_silent() {
    let last = u128::from(u32::from(Ipv4Addr::new(198, 18, 64, 127)));
    for (observable, some) in [
        (Observable::None, false),
        (Observable::Ranges(vec![(last - 127, last)]), true),
    ] {
        let setting = Setting {
            observable,
            ..Setting::default()
        };
        let mut flooder = setting.flooder();
        let frames = burst(&mut flooder, 0);
        let seen = frames.iter().filter(|frame| frame[29] < 128).count() as u64;
        let total = finish(flooder, 1000).total();
        let silent = if some { seen } else { 0 };
        assert_eq!((total.silent, total.not_observable), (silent, 64 - silent));
    }
}

#[test]
fn an_interrupted_run_says_what_is_undecided() {
    let mut flooder = Setting::default().flooder();
    let frames = burst(&mut flooder, 0);
    deliver(&mut flooder, 9, vec![syn_ack(&frames[0])]);
    let total = flooder.into_parts().1.into_matrix().total();
    assert_eq!((total.answered, total.undecided, total.silent), (1, 63, 0));
}

#[test]
fn each_target_has_its_row() {
    let setting = Setting {
        targets: 3,
        ..Setting::default()
    };
    let mut flooder = setting.flooder();
    let frames = burst(&mut flooder, 0);
    let to = |port: u16| {
        frames
            .iter()
            .filter(move |frame| read(frame).2.destination_port == port)
    };
    let counts = [80, 81, 82].map(|port| to(port).count() as u64);
    deliver(&mut flooder, 9, to(81).map(|frame| rst(frame)).collect());
    let matrix = finish(flooder, 1000);
    let rows: Vec<_> = matrix
        .rows()
        .iter()
        .map(|row| (row.answered, row.silent))
        .collect();
    assert_eq!(rows, [(0, counts[0]), (counts[1], 0), (0, counts[2])]);
}

#[test]
fn resets_answer_each_kind_of_frame_by_its_own_rule() {
    for (flags, len) in [
        (FloodFlags::Fin, 1),
        (FloodFlags::Null, 0),
        (FloodFlags::Xmas, 1),
    ] {
        let setting = Setting {
            flags,
            ..Setting::default()
        };
        let mut flooder = setting.flooder();
        let frames = burst(&mut flooder, 0);
        let with_ack = |frame: &[u8], more: u32| {
            reply(frame, |sent, tcp| {
                (tcp.rst, tcp.ack, tcp.sequence_number) = (true, true, 0);
                tcp.acknowledgment_number = sent.sequence_number.wrapping_add(more);
            })
        };
        deliver(
            &mut flooder,
            9,
            vec![with_ack(&frames[0], len), with_ack(&frames[1], len + 1)],
        );
        assert_eq!(
            firsts(&finish(flooder, 1000)),
            [("rst", 1), ("other", 1)],
            "{flags:?}"
        );
    }
    for flags in [FloodFlags::Ack, FloodFlags::SynAck] {
        let setting = Setting {
            flags,
            ..Setting::default()
        };
        let mut flooder = setting.flooder();
        let frames = burst(&mut flooder, 0);
        let bare = |frame: &[u8], more: u32| {
            reply(frame, |sent, tcp| {
                tcp.rst = true;
                tcp.sequence_number = sent.acknowledgment_number.wrapping_add(more);
            })
        };
        deliver(
            &mut flooder,
            9,
            vec![bare(&frames[0], 0), bare(&frames[1], 1)],
        );
        assert_eq!(
            firsts(&finish(flooder, 1000)),
            [("rst", 1), ("other", 1)],
            "{flags:?}"
        );
    }
}

#[test]
fn a_mix_has_all_kinds_of_frames() {
    let setting = Setting {
        flags: FloodFlags::Mix,
        ..Setting::default()
    };
    let mut flooder = setting.flooder();
    let mut kinds = std::collections::BTreeMap::<u8, u32>::new();
    for round in 0..20 {
        for frame in burst(&mut flooder, round) {
            *kinds.entry(frame[47]).or_default() += 1;
        }
    }
    assert_eq!(kinds.len(), 7, "{kinds:?}");
    assert!(kinds.values().all(|&n| n > 120), "{kinds:?}");
}

#[test]
fn a_reply_that_reaches_another_worker_counts_for_the_one_that_sent() {
    let plan = Setting::default().plan(2);
    let (mut first, mut second) = (flooder(&plan, 0), flooder(&plan, 1));
    let frames = burst(&mut first, 0);
    burst(&mut second, 0);
    deliver(
        &mut second,
        9,
        frames.iter().map(|frame| syn_ack(frame)).collect(),
    );
    turn(&mut first, Sending::Repeats, 1000);
    let mut matrix = finish(first, 1000);
    assert_eq!(
        matrix.total().sent(),
        0,
        "all were answered, and the other worker has counted them"
    );
    matrix.add(&finish(second, 1000));
    let total = matrix.total();
    assert_eq!((total.answered, total.silent), (64, 64));
}

#[test]
fn another_shards_tuples_are_no_replies_of_ours() {
    let mut plan = Setting::default().plan(1);
    let shards = [0, 1].map(|index| {
        Arc::get_mut(&mut plan).expect("alone").shard = Shard::new(index, 2).expect("a part");
        let mut flooder = flooder(&plan, 0);
        let frames = burst(&mut flooder, 0);
        drop(flooder);
        Arc::get_mut(&mut plan).expect("alone").books = vec![Book::new(1 << 12, 0, false)];
        frames
    });
    let mut flooder = flooder(&plan, 0);
    burst(&mut flooder, 0);
    deliver(
        &mut flooder,
        9,
        vec![syn_ack(&shards[0][0]), syn_ack(&shards[1][0])],
    );
    let matrix = finish(flooder, 2000);
    assert_eq!((matrix.total().answered, matrix.late), (1, 1));
}

#[test]
fn what_is_damaged_is_not_judged_and_what_is_no_reply_goes_to_the_bystander() {
    let mut flooder = Setting::default().flooder();
    let frames = burst(&mut flooder, 0);
    let mut damaged = syn_ack(&frames[0]);
    damaged[40] ^= 1;
    let mut short = syn_ack(&frames[1]);
    short.truncate(45);
    let mut stranger = syn_ack(&frames[2]);
    stranger[26] ^= 1;
    deliver(
        &mut flooder,
        9,
        vec![damaged, short, stranger, vec![0; 14], vec![]],
    );
    let tally = flooder.tally();
    assert_eq!((tally.damaged, tally.housekeeping), (2, 3));
    assert_eq!(finish(flooder, 1000).total().answered, 0);
}

#[test]
fn frames_that_the_nic_refuses_are_not_sent() {
    let setting = Setting {
        group_bits: 3,
        retries: 1,
        ..Setting::default()
    };
    let mut flooder = setting.flooder();
    flooder.nic_mut().takes = 10;
    let frames = burst(&mut flooder, 0);
    assert_eq!((frames.len(), flooder.tally().tuples_sent), (10, 10));
    flooder.discard_unsent();
    // The repeats of those that left are the only frames that still do.
    flooder.nic_mut().takes = 64;
    turn(&mut flooder, Sending::Repeats, 600);
    let tally = flooder.tally();
    assert_eq!((tally.tuples_sent, tally.resent, tally.sent), (10, 10, 20));
    let total = finish(flooder, 5000).total();
    assert_eq!((total.sent(), total.silent), (10, 10));
}

#[test]
fn a_flood_into_a_sink_has_new_frames_and_no_verdicts() {
    let mut flooder = Setting::default().flooder();
    turn(&mut flooder, Sending::Sink, 0);
    let sunk = core::mem::take(&mut flooder.nic_mut().sent);
    assert_eq!(sunk.len(), 64);
    assert!(sunk.iter().all(|frame| frame[..6] == SINK_MAC));
    let ends: std::collections::HashSet<_> =
        sunk.iter().map(|frame| frame[26..36].to_vec()).collect();
    assert_eq!(ends.len(), 64);
    let frames = burst(&mut flooder, 10);
    let tally = flooder.tally();
    assert_eq!((tally.sunk, tally.tuples_sent, tally.sent), (64, 64, 128));
    // Later replies are judged as ever.
    deliver(
        &mut flooder,
        20,
        frames[..9].iter().map(|frame| rst(frame)).collect(),
    );
    let matrix = finish(flooder, 5000);
    assert_eq!((matrix.total().sent(), matrix.late), (64, 0));
    assert_eq!(firsts(&matrix), [("rst", 9)]);
}
