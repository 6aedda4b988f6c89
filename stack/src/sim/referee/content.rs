//! The rules on what is sent at which number, and on the end of a stream (RFC 9293 §3.4, §3.6, §3.10).

use super::segment::FIN;
use super::stream::Stream;
use super::{Found, Rule, Sent};

/// A number carries the same byte each time that it is sent.
pub(super) fn bytes_stay(sent: &Sent<'_>, own: &mut Stream, found: &mut Found) {
    if sent.segment.payload.is_empty() {
        return;
    }
    //~ Other bytes in a repetition are seen:
    //~   -> `if let Some(at) = own.bytes.compare(sent.at, sent.segment.payload).filter(|_| false) {`;
    //~   another_byte_at_the_same_number
    if let Some(at) = own.bytes.compare(sent.at, sent.segment.payload) {
        found.add(Rule::OtherBytes, || format!("sends another byte at {at}"));
    }
}

/// Nothing follows a FIN, and there is one, always at the same number.
pub(super) fn fin_is_last(sent: &Sent<'_>, own: &Stream, found: &mut Found) {
    let text_end = sent.at.wrapping_add(sent.segment.payload.len() as u32);
    //~ Text behind a FIN is seen: `&& text_end > fin` -> `&& text_end > fin && false`; text_or_another_fin_behind_a_fin
    if let Some(fin) = own.fin
        && text_end > fin
        && !sent.segment.payload.is_empty()
    {
        found.add(Rule::TextBeyondFin, || {
            format!("sends up to {text_end}, the FIN was at {fin}")
        });
    } else if sent.segment.has(FIN) {
        //~ A second FIN elsewhere is seen: `own.fin.is_some_and(|fin| fin != text_end)` -> `false`;
        //~   text_or_another_fin_behind_a_fin
        let is_elsewhere = own.fin.is_some_and(|fin| fin != text_end);
        let is_early = own.fin.is_none() && own.next > text_end;
        if is_elsewhere || is_early {
            let (next, fin) = (own.next, own.fin);
            found.add(Rule::TextBeyondFin, || {
                format!("sends a FIN at {text_end}, sent was up to {next}, {fin:?} a FIN")
            });
        }
    }
}

/// An endpoint that has reset a connection which it knew says nothing more in it, but for more resets.
pub(super) fn reset_is_last(sent: &Sent<'_>, own: &Stream, found: &mut Found) {
    //~ A segment after a reset is seen: `if own.is_reset &&` -> `if false &&`; a_segment_after_a_reset
    if own.is_reset && sent.now >= own.overtaken_until {
        let at = sent.at;
        found.add(Rule::AfterReset, || format!("sends {at} after a reset"));
    }
}
