//! Every flag byte × listener or none × text or none × both families × corner numbers, against RFC 9293 3.10.7.1 and
//! 3.10.7.2 as their text reads. The model below must never call `tcp::reset`.

use super::answer::Answer;
use super::host::{CLOSED, Flow, Host, OPEN};
use crate::counters::Counter;
use crate::seq::SeqNum;
use crate::tcp::lang::segment;
use crate::tcp::segment::{Flags, SegmentOptions};

/// The segments that the RFC demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Silence,
    /// `<SEQ=seq><CTL=RST>`
    Rst {
        seq: u32,
    },
    /// `<SEQ=0><ACK=ack><CTL=RST,ACK>`
    RstAck {
        ack: u32,
    },
    /// `<SEQ=ISS><ACK=ack><CTL=SYN,ACK>`
    SynAck {
        ack: u32,
    },
}

/// A segment by the bits of its control octet.
#[derive(Debug, Clone, Copy)]
struct Case {
    flags: u8,
    seq: u32,
    ack: u32,
    text_len: u32,
    listener: bool,
}

impl Case {
    /// "The control bits are ... CWR ECE URG ACK PSH RST SYN FIN" (3.1), the last one is bit 0.
    fn fin(&self) -> bool {
        self.flags & 0b0000_0001 != 0
    }
    fn syn(&self) -> bool {
        self.flags & 0b0000_0010 != 0
    }
    fn rst(&self) -> bool {
        self.flags & 0b0000_0100 != 0
    }
    fn ack(&self) -> bool {
        self.flags & 0b0001_0000 != 0
    }

    fn due(&self) -> (Due, Counter) {
        if self.listener {
            self.due_in_listen()
        } else {
            self.due_in_closed()
        }
    }

    /// 3.10.7.1: "An incoming segment containing a RST is discarded. An incoming segment not containing a RST causes a
    /// RST to be sent in response."
    fn due_in_closed(&self) -> (Due, Counter) {
        if self.rst() {
            return (Due::Silence, Counter::RstUnmatched);
        }
        // "If the ACK bit is off, sequence number zero is used, <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>. If the ACK
        // bit is on, <SEQ=SEG.ACK><CTL=RST>." SEG.LEN: "the number of octets occupied by the data in the segment
        // (counting SYN and FIN)" (3.4).
        let due = if self.ack() {
            Due::Rst { seq: self.ack }
        } else {
            let seg_len = self.text_len + u32::from(self.syn()) + u32::from(self.fin());
            Due::RstAck {
                ack: self.seq.wrapping_add(seg_len),
            }
        };
        (due, Counter::RstSent)
    }

    /// 3.10.7.2, in its order: RST, ACK, SYN, anything else.
    fn due_in_listen(&self) -> (Due, Counter) {
        if self.rst() {
            // "An incoming RST segment could not be valid ... Ignore it."
            (Due::Silence, Counter::ListenRst)
        } else if self.ack() {
            // "Any acknowledgment is bad if it arrives on a connection still in the LISTEN state. An acceptable reset
            // segment should be formed ... <SEQ=SEG.ACK><CTL=RST>."
            (Due::Rst { seq: self.ack }, Counter::ListenAckReset)
        } else if self.syn() && self.fin() {
            // The RFC would take it as a SYN whose FIN counts later; no peer sends it, Linux drops it, and so do we.
            (Due::Silence, Counter::ListenSynFin)
        } else if self.syn() {
            // "RCV.NXT is set to SEG.SEQ+1 ... <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>": text is not acknowledged yet.
            let ack = self.seq.wrapping_add(1);
            (Due::SynAck { ack }, Counter::SynEmbryo)
        } else {
            // "This should not be reached. Drop the segment and return."
            (Due::Silence, Counter::ListenDropped)
        }
    }
}

/// Numbers at which arithmetic breaks.
const CORNERS: [u32; 5] = [0, 1, 0x7fff_ffff, u32::MAX - 1, u32::MAX];

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for flags in 0..=u8::MAX {
        for listener in [false, true] {
            for text_len in [0, 3] {
                for seq in CORNERS {
                    for ack in [0, 1, 0x8000_0000, u32::MAX] {
                        cases.push(Case {
                            flags,
                            seq,
                            ack,
                            text_len,
                            listener,
                        });
                    }
                }
            }
        }
    }
    cases
}

fn flow(case: &Case, index: usize, v6: bool) -> Flow {
    // Each case has a source port of its own, so that none meets the embryo of another.
    let remote_port = 1024 + index as u16;
    let local_port = if case.listener { OPEN } else { CLOSED };
    let flow = if v6 {
        Flow::v6(remote_port, local_port)
    } else {
        Flow::v4(remote_port, local_port)
    };
    flow.absolute()
}

fn check(case: &Case, due: Due, flow: &Flow, reply: &[u8]) {
    let answer = Answer::read(reply);
    let seen = answer.segment;
    assert_eq!((answer.src, answer.dst), (flow.local, flow.remote));
    assert_eq!(answer.link_src, flow.link.dst.0);
    assert_eq!(answer.link_dst, flow.link.src.0);
    let (flags, seq, ack) = match due {
        Due::Silence => panic!("{case:?} was answered: {seen:?}"),
        Due::Rst { seq } => (0b0000_0100, seq, 0),
        Due::RstAck { ack } => (0b0001_0100, 0, ack),
        // Which ISS is the business of `tcp::isn` and of the tests of embryos.
        Due::SynAck { ack } => (0b0001_0010, seen.seq.0, ack),
    };
    let numbers = (seen.flags.0, seen.seq, seen.ack);
    assert_eq!(numbers, (flags, SeqNum(seq), SeqNum(ack)), "{case:?}");
    assert_eq!(seen.payload_len, 0, "{case:?}");
    if !matches!(due, Due::SynAck { .. }) {
        assert_eq!((seen.window, seen.options), (0, SegmentOptions::default()));
    }
}

fn run(v6: bool) {
    let cases = cases();
    let mut host = Host::with(|spec| {
        spec.listeners[0].backlog = u32::MAX;
        spec.limits.records.embryos.v4 = 16_384;
        spec.limits.records.embryos.v6 = 16_384;
    });
    for (batch, cases) in cases.chunks(64).enumerate() {
        let flows: Vec<Flow> = (0..cases.len())
            .map(|index| flow(&cases[index], batch * 64 + index, v6))
            .collect();
        let frames = cases.iter().zip(&flows).map(|(case, flow)| {
            let spec = segment(Flags(case.flags)).seq(case.seq).len(case.text_len);
            // `Spec::ack` would set the ACK bit; the number is there without it as well.
            let mut frame = flow.frame(spec);
            let tcp = if v6 { 54 } else { 34 };
            set_ack(&mut frame, tcp, case.ack);
            frame
        });
        let mut expected = std::collections::BTreeMap::new();
        let frames: Vec<Vec<u8>> = frames.collect();
        host.inject_burst(&frames);
        for (case, flow) in cases.iter().zip(&flows) {
            let (due, counter) = case.due();
            *expected.entry(counter.name()).or_insert(0) += 1;
            if due != Due::Silence {
                check(case, due, flow, &host.next_reply());
            }
        }
        let ends: std::collections::BTreeMap<_, _> = host.ends().into_iter().collect();
        assert_eq!(ends, expected);
        host.silent();
    }
}

/// Sets SEG.ACK and adds it to the checksum (RFC 1624), which is a sum over words.
fn set_ack(frame: &mut [u8], tcp: usize, ack: u32) {
    let word = |at: usize, frame: &[u8]| u32::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    let old = word(tcp + 8, frame) + word(tcp + 10, frame);
    frame[tcp + 8..tcp + 12].copy_from_slice(&ack.to_be_bytes());
    let new = word(tcp + 8, frame) + word(tcp + 10, frame);
    let complement = |sum: u32| -> u32 {
        let folded = (sum & 0xffff) + (sum >> 16);
        let folded = (folded & 0xffff) + (folded >> 16);
        !folded & 0xffff
    };
    let sum = complement(word(tcp + 16, frame)) + complement(old) + new;
    let checksum = complement(sum) as u16;
    frame[tcp + 16..tcp + 18].copy_from_slice(&checksum.to_be_bytes());
}

#[test]
fn every_segment_gets_what_3_10_7_says_over_ipv4() {
    run(false);
}

#[test]
fn every_segment_gets_what_3_10_7_says_over_ipv6() {
    run(true);
}
