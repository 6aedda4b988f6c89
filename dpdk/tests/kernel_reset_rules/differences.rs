//! Where connections answer otherwise than the kernel's, and why: every difference is one of these rows, or the test fails; so
//! does a row that explains nothing.

use std::collections::BTreeMap;

use stack::wire::tcp::Flags;

use super::states::{Ack, Case, Stamp, State, Verdict};

/// A difference that we know and want.
struct Row {
    what: &'static str,
    kernel: &'static str,
    ours: &'static str,
    reason: &'static str,
    applies: fn(&Case, &Verdict, &Verdict) -> bool,
}

const ROWS: &[Row] = &[
    Row {
        what: "without ACK, RST and SYN, outside of the window or with an old timestamp",
        kernel: "nothing",
        ours: "ACK",
        reason: "the kernel looks for the ACK bit first; RFC 9293 3.10.7.4 checks the sequence number before the fifth check",
        applies: |case, kernel, ours| {
            !case.flags.intersects(Flags::ACK | Flags::RST | Flags::SYN)
                && kernel.is_silent()
                && ours.acks()
        },
    },
    Row {
        what: "the same in the window of TIME-WAIT",
        kernel: "ACK",
        ours: "nothing",
        reason: "RFC 9293 3.10.7.4, fifth check: \"if the ACK bit is off, drop the segment\"",
        applies: |case, kernel, ours| {
            case.state == State::TimeWait
                && !case.flags.intersects(Flags::ACK | Flags::RST | Flags::SYN)
                && kernel.acks()
                && ours.is_silent()
        },
    },
    Row {
        what: "RST at RCV.NXT-1 after the peer's FIN (CLOSE-WAIT, CLOSING, LAST-ACK)",
        kernel: "the connection ends",
        ours: "nothing, or a challenge where its text reaches into the window",
        reason: "the kernel takes it for macOS, whose RST has the number of its FIN; RFC 5961 3.2 wants RCV.NXT exactly",
        applies: |case, kernel, ours| {
            case.has(Flags::RST)
                && matches!(
                    case.state,
                    State::CloseWait | State::Closing | State::LastAck
                )
                && case.offset == -1
                && kernel.is_gone()
                && !ours.is_gone()
        },
    },
    Row {
        what: "RST with SYN or FIN that ends at RCV.NXT",
        kernel: "challenge ACK",
        ours: "nothing",
        reason: "the kernel counts what ends at RCV.NXT as in the window; RFC 9293 Table 6 doesn't",
        applies: |case, kernel, ours| {
            case.has(Flags::RST) && case.ends_at_rcv_nxt() && kernel.acks() && ours.is_silent()
        },
    },
    Row {
        what: "FIN,ACK again in CLOSING and LAST-ACK, which acknowledges our FIN now",
        kernel: "its ACK counts",
        ours: "ACK; its own ACK doesn't count",
        reason: "the kernel counts what ends at RCV.NXT as in the window; by RFC 9293 nothing of an old segment counts",
        applies: |case, _, ours| {
            matches!(case.state, State::Closing | State::LastAck)
                && case.flags == Flags::FIN | Flags::ACK
                && case.ends_at_rcv_nxt()
                && ours.acks()
        },
    },
    Row {
        what: "ACK without text, old by number and timestamp",
        kernel: "nothing",
        ours: "ACK",
        reason: "the kernel takes it for a reordered ACK; RFC 7323 5.3 R1 acknowledges what PAWS refuses",
        applies: |case, kernel, ours| {
            case.flags == Flags::ACK
                && case.text_len == 0
                && case.stamp == Stamp::Older
                && kernel.is_silent()
                && ours.acks()
        },
    },
    Row {
        what: "text after the peer's FIN (CLOSE-WAIT, CLOSING, LAST-ACK)",
        kernel: "nothing, or a reset where it overlaps the FIN",
        ours: "ACK",
        reason: "RFC 9293 3.10.7.4: \"ignore the segment text\"; its sender learns by the ACK that it isn't wanted",
        applies: |case, kernel, ours| {
            matches!(
                case.state,
                State::CloseWait | State::Closing | State::LastAck
            ) && case.text_len > 0
                && (kernel.is_silent() || kernel.resets())
                && ours.acks()
        },
    },
    Row {
        what: "ACK of one number less than SND.UNA when nothing but the SYN was sent",
        kernel: "challenge ACK",
        ours: "an old ACK: the rest of the segment counts",
        reason: "the kernel knows how much was ever sent; RFC 5961 5.2 allows MAX.SND.WND below SND.UNA",
        applies: |case, kernel, _| {
            matches!(case.state, State::Established | State::CloseWait)
                && case.has(Flags::ACK)
                && case.ack == Ack::AllButOne
                && kernel.acks()
        },
    },
    Row {
        what: "SYN-RECEIVED: a wrong acknowledgment number outside of the window or with SYN",
        kernel: "RST",
        ours: "ACK, or nothing and back to LISTEN",
        reason: "the kernel looks at the ACK first; RFC 9293 3.10.7.4 at the sequence number and the SYN",
        applies: |case, kernel, _| {
            case.state == State::SynReceived
                && case.has(Flags::ACK)
                && case.ack != Ack::All
                && kernel.resets()
        },
    },
    Row {
        what: "SYN-RECEIVED: SYN in the window",
        kernel: "RST",
        ours: "nothing; both go back to LISTEN",
        reason: "RFC 9293 3.10.7.4, fourth check, passive open: \"return this connection to the LISTEN state and return\"",
        applies: |case, _, ours| {
            case.state == State::SynReceived
                && case.has(Flags::SYN)
                && !case.has(Flags::RST)
                && ours.is_silent()
                && ours.is_gone()
        },
    },
    Row {
        what: "SYN-RECEIVED: the SYN again with an older timestamp",
        kernel: "ACK",
        ours: "SYN,ACK",
        reason: "its number is the SYN's exactly: the peer has not seen our SYN,ACK, whatever its clock does",
        applies: |case, kernel, _| {
            case.state == State::SynReceived
                && case.flags == Flags::SYN
                && case.offset == -1
                && case.stamp == Stamp::Older
                && kernel.acks()
        },
    },
    Row {
        what: "RST with an older timestamp, SYN-RECEIVED and TIME-WAIT",
        kernel: "nothing",
        ours: "as without a timestamp",
        reason: "RFC 7323 5.2: a RST \"MUST NOT be subjected to the PAWS check\"",
        applies: |case, kernel, _| {
            matches!(case.state, State::SynReceived | State::TimeWait)
                && case.has(Flags::RST)
                && case.stamp == Stamp::Older
                && kernel.is_silent()
        },
    },
    Row {
        what: "TIME-WAIT: RST in the window, not at RCV.NXT",
        kernel: "nothing",
        ours: "challenge ACK",
        reason: "RFC 5961 3.2 knows no exception for TIME-WAIT",
        applies: |case, kernel, ours| {
            case.state == State::TimeWait
                && case.has(Flags::RST)
                && kernel.is_silent()
                && ours.acks()
        },
    },
    Row {
        what: "TIME-WAIT: SYN with FIN that is newer",
        kernel: "nothing, and TIME-WAIT ends",
        ours: "ACK, and TIME-WAIT goes on",
        reason: "a listener drops it (decision 0012), so it can't open a connection; TIME-WAIT must not be ended by it either",
        applies: |case, kernel, ours| {
            case.state == State::TimeWait
                && case.flags == Flags::SYN | Flags::FIN
                && kernel.is_silent()
                && ours.acks()
        },
    },
    Row {
        what: "TIME-WAIT reopened by a SYN, then an old segment of the former connection",
        kernel: "RST",
        ours: "ACK",
        reason: "the same as in SYN-RECEIVED with a wrong acknowledgment number",
        applies: |case, kernel, ours| {
            case.state == State::TimeWait
                && case.flags == Flags::SYN
                && kernel.answers == ours.answers
        },
    },
    Row {
        what: "cookie: sequence or acknowledgment number wrong by one",
        kernel: "a connection, with another MSS",
        ours: "RST",
        reason: "the kernel adds the MSS to the peer's number and so takes one for the other; our MAC covers both",
        applies: |case, _, ours| {
            case.state == State::Cookie
                && case.has(Flags::ACK)
                && !case.flags.intersects(Flags::SYN | Flags::RST)
                && (case.offset == -1 || case.ack == Ack::AllButOne)
                && ours.resets()
        },
    },
];

/// Fails on a difference without a row, and on a row without a difference.
pub(super) fn check(results: &[(Case, Verdict, Verdict)]) {
    let mut unexplained = Vec::new();
    let mut counts = vec![0; ROWS.len()];
    for (case, kernel, ours) in results.iter().filter(|(_, kernel, ours)| kernel != ours) {
        let row = ROWS
            .iter()
            .position(|row| (row.applies)(case, kernel, ours));
        match row {
            Some(row) => counts[row] += 1,
            None => unexplained.push((case, kernel, ours)),
        }
    }
    println!("{} segments to connections compared", results.len());
    for (row, count) in ROWS.iter().zip(&counts) {
        println!(
            "| {} | {} | {} | {} | {count} |",
            row.what, row.kernel, row.ours, row.reason
        );
    }
    let mut groups: BTreeMap<String, (u32, &Case)> = BTreeMap::new();
    for (case, kernel, ours) in &unexplained {
        let group = format!(
            "{:?} {}: kernel {kernel:?}, we {ours:?}",
            case.state, case.flags
        );
        groups.entry(group).or_insert((0, case)).0 += 1;
    }
    for (group, (count, case)) in &groups {
        println!("{count} x {group}, first {case:?}");
    }
    assert!(unexplained.is_empty(), "{} unexplained", unexplained.len());
    for (row, count) in ROWS.iter().zip(&counts) {
        assert!(*count > 0, "{}: no difference any more", row.what);
    }
}
