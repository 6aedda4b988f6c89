//! The rules on how much may be on its way (RFC 5681, RFC 6928, RFC 3042, RFC 2018 §5).
//!
//! It must never be stricter than slow start from the initial window: what an endpoint knows of losses can't be seen from
//! outside.

use super::segment::FIN;
use super::stream::Stream;
use super::{Found, Rule, Sent};

/// Before the first acknowledgment of text at most the initial window is on its way, and afterwards at most that and all that was
/// acknowledged so far: slow start doubles per round trip and nothing grows faster. A duplicate ACK adds a segment.
pub(super) fn flight_is_earned(sent: &Sent<'_>, own: &Stream, found: &mut Found) {
    let text_end = sent.at.wrapping_add(sent.segment.payload.len() as u32);
    if sent.segment.payload.is_empty() || text_end <= own.next {
        return;
    }
    let acked = own.acked.max(1);
    let flight = text_end - acked.min(text_end);
    let window = sent.bounds.initial_window(sent.mss);
    let beyond = own.recovery.inflation + u32::from(own.recovery.is_overtaken);
    let earned = window + (acked - 1) + beyond * sent.mss;
    //~ More than the initial window is seen: -> `if flight > earned && acked > 1 {`; more_than_the_initial_window
    //~ More than slow start allows is seen: -> `if flight > earned && acked == 1 {`;
    //~   a_window_that_grows_faster_than_slow_start
    if flight > earned {
        let rule = match acked {
            1 => Rule::InitialWindow,
            _ => Rule::Flight,
        };
        found.add(rule, || {
            format!("{flight} bytes on their way, {acked} acknowledged, initial window {window}")
        });
    }
}

/// A segment takes the options from the MSS that its receiver announced (RFC 9293 MUST-16).
pub(super) fn segment_fits(sent: &Sent<'_>, found: &mut Found) {
    let (text, options) = (sent.segment.payload.len(), sent.segment.options.len);
    //~ A segment beyond the MSS is seen: `text + options > sent.mss as usize` -> `text > sent.mss as usize`;
    //~   a_segment_beyond_the_mss
    if text > 0 && text + options > sent.mss as usize {
        let mss = sent.mss;
        found.add(Rule::SegmentSize, || {
            format!("{text} bytes and {options} of options, the MSS is {mss}")
        });
    }
}

/// Data that a SACK block covered isn't sent again before a timeout.
pub(super) fn sacked_stays(sent: &Sent<'_>, own: &Stream, found: &mut Found) {
    let text_len = sent.segment.payload.len() as u32 + u32::from(sent.segment.has(FIN));
    let range = sent.at..sent.at.saturating_add(text_len);
    //~ SACKed text that is sent again is seen: `own.sacked.contains(&range)` -> `false`;
    //~   what_was_sacked_is_sent_again_before_a_timeout_only
    if text_len > 0 && range.end <= own.next && own.sacked.contains(&range) {
        found.add(Rule::ResentSacked, || format!("sends {range:?} again"));
    }
}
