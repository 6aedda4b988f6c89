//! The rules on windows (RFC 9293 §3.8.6, RFC 7323 §2).

use super::segment::{FIN, SYN};
use super::stream::{Offer, Stream};
use super::{Found, Rule, Sent};

/// Nothing goes beyond the right edge that was offered, but for one byte at a closed window: a probe (§3.8.6.1).
pub(super) fn within_the_edge(sent: &Sent<'_>, own: &Stream, found: &mut Found) {
    let segment = sent.segment;
    let text_len = segment.payload.len() as u32 + u32::from(segment.has(FIN));
    if text_len == 0 {
        return;
    }
    let end = sent.at.wrapping_add(text_len);
    let is_probe = own.is_closed && sent.at == own.edge && text_len == 1;
    //~ Text beyond the offered edge is seen: -> `if false {`; text_beyond_the_offered_edge
    //~ A probe of a closed window is no text beyond the edge: `&& !is_probe` -> nothing;
    //~   a_closed_window_is_probed_with_one_byte
    if end > own.edge && !is_probe {
        let edge = own.edge;
        found.add(Rule::BeyondEdge, || {
            format!("sends up to {end}, offered was {edge}")
        });
    }
}

/// The right edge that a receiver offers never moves to the left (SHLD-14), but for what the shift cuts off
/// (RFC 7323 §2.4: a window is rounded).
pub(super) fn edge_stays(sent: &Sent<'_>, own: &Stream, peer: &mut Stream, found: &mut Found) {
    let segment = sent.segment;
    let shift = shift(own, peer, segment.has(SYN));
    let ack = peer.place(segment.ack);
    let edge = ack.saturating_add(u32::from(segment.window) << shift);
    //~ A scaled window is rounded: -> `let rounding = 0;`; the_edge_retreats
    let rounding = (1 << shift) - 1;
    let earlier = peer.offered.filter(|offer| offer.by == own.iss);
    if let Some(offer) = earlier {
        // A segment that was built earlier and left later says what was true then. So does an answer of a parked connection: it leaves behind what
        // the connection sends that is unparked in the same turn.
        if ack < offer.ack || (ack == offer.ack && sent.now == offer.at) {
            return;
        }
        //~ An edge that retreats is seen: -> `if false {`; the_edge_retreats
        if edge.saturating_add(rounding) < offer.edge {
            found.add(Rule::EdgeRetreats, || {
                format!("offers {edge} after {}", offer.edge)
            });
        }
    }
    let before = earlier.map_or(0, |offer| offer.edge);
    peer.offered = Some(Offer {
        by: own.iss,
        at: sent.now,
        ack,
        edge: before.max(edge),
    });
}

/// The shift of the window field in segments that `own`'s sender sends: not at all in a SYN, nor unless both SYNs had the
/// option (RFC 7323 §2.2).
pub(super) fn shift(own: &Stream, peer: &Stream, is_syn: bool) -> u8 {
    match (own.scale, peer.scale) {
        (Some(scale), Some(_)) if !is_syn => scale,
        _ => 0,
    }
}
