//! The rules on what a segment says about the other direction (RFC 9293 §3.4, RFC 2018, RFC 2883, RFC 7323 §3).

use super::stream::{Stream, Streams};
use super::{Found, Rule, Sent};

/// Something is acknowledged, and it isn't in a stream that was sent.
pub(super) fn ack_is_of_a_stream(sent: &Sent<'_>, peer: &Streams, found: &mut Found) {
    let ack = sent.segment.ack;
    if peer.is_complete() && !peer.is_empty() {
        found.add(Rule::AckOfUndelivered, || {
            format!("acknowledges {ack}, a number that was never sent")
        });
    }
}

/// Nothing is acknowledged that wasn't delivered, nor beyond a gap.
pub(super) fn ack_was_delivered(sent: &Sent<'_>, peer: &Stream, found: &mut Found) {
    let (ack, delivered) = (peer.place(sent.segment.ack), peer.delivered.gapless());
    //~ An ACK of what did not arrive is seen: -> `if false {`; an_ack_of_what_was_not_delivered
    if ack > delivered {
        found.add(Rule::AckOfUndelivered, || {
            format!("acknowledges {ack}, delivered was {delivered}")
        });
    }
}

/// A SACK block covers what was delivered, beyond the acknowledgment; only the first may lie below (RFC 2883 §4).
pub(super) fn sack_was_delivered(sent: &Sent<'_>, peer: &Stream, found: &mut Found) {
    let ack = peer.place(sent.segment.ack);
    for (n, [left, right]) in sent.segment.options.sacked().iter().enumerate() {
        let (left, right) = (peer.place(*left), peer.place(*right));
        let is_duplicate = n == 0 && right <= ack;
        let is_delivered = left < right && peer.delivered.contains(&(left..right));
        //~ A SACK block of what did not arrive is seen: `if !is_delivered ||` -> `if`;
        //~   a_sack_block_of_what_was_not_delivered
        //~ A SACK block below the ACK is seen: `(left < ack && !is_duplicate)` -> `false`;
        //~   a_duplicate_may_be_reported_below_the_ack_and_only_first
        if !is_delivered || (left < ack && !is_duplicate) {
            found.add(Rule::SackOfUndelivered, || {
                format!("a SACK block {left}..{right} with the acknowledgment {ack}")
            });
        }
    }
}

/// TSecr is a TSval that was delivered (RFC 7323 §4.3), and where both SYNs had the option, each segment has it (§3.2).
pub(super) fn timestamps_were_heard(
    sent: &Sent<'_>,
    own: &Stream,
    peer: &Stream,
    heard: &[u32],
    found: &mut Found,
) {
    match sent.segment.options.timestamps {
        //~ A TSecr that no TSval was is seen: `if !heard.iter().rev().any(|tsval| *tsval == tsecr) => {`
        //~   -> `if { let _ = heard; false } => {`; a_tsecr_that_was_never_heard
        Some([_, tsecr]) if !heard.iter().rev().any(|tsval| *tsval == tsecr) => {
            found.add(Rule::UnheardTsecr, || format!("TSecr {tsecr}"));
        }
        //~ Missing timestamps are seen: -> `None if false => {`; a_segment_without_the_timestamps_that_both_agreed_on
        None if own.has_timestamps && peer.has_timestamps => {
            found.add(Rule::TimestampsMissing, || "no timestamps".into());
        }
        Some(_) | None => {}
    }
}
