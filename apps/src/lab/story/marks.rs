//! [`Marks`]: what a segment is beyond its flags: a probe, a window update, a delayed or a duplicate ACK.
//!
//! It must never go by what an end meant: only by numbers and times.

use std::collections::BTreeMap;

use stack::seq::SeqNum;
use stack::tcp::segment::Segment;

use crate::lab::scenario::End;

/// An ACK that comes so long after the data was delayed, in ns: below is what a busy loop takes.
const DELAYED_NS: u64 = 20_000_000;

/// The segments of each end of each connection so far.
#[derive(Debug, Default)]
pub(super) struct Marks {
    sides: BTreeMap<(u8, u16), Said>,
}

/// The segments of one end of a connection.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    /// The number behind the last one that it sent.
    next: Option<SeqNum>,
    /// Its last acknowledgment, and its window; that of a SYN has another scale.
    ack: Option<(SeqNum, Option<u16>)>,
    /// When the first data of its own arrived, in order, that isn't acknowledged.
    arrived_ns: Option<u64>,
}

impl Marks {
    /// The mark of a segment that an end sends at `sent_ns`; `arrived_ns` is when it arrives, if it does.
    pub(super) fn of(
        &mut self,
        (from, conn): (End, u16),
        (segment, options): (&Segment, &[u8]),
        sent_ns: u64,
        arrived_ns: Option<u64>,
    ) -> Option<&'static str> {
        let key = |end: End| (end as u8, conn);
        if segment.flags.rst() {
            return None;
        }
        if segment.flags.syn() {
            // Another connection on the same ports.
            self.sides.insert(key(from), Said::default());
        }
        let own = self.sides.get(&key(from)).copied().unwrap_or_default();
        let peer = self
            .sides
            .get(&key(from.other()))
            .copied()
            .unwrap_or_default();
        let mark = if segment.flags.syn() || segment.flags.fin() {
            None
        } else {
            mark(&own, &peer, segment, has_sack(options), sent_ns)
        };
        let acknowledges_new =
            segment.flags.ack() && own.ack.is_none_or(|(ack, _)| ack.before(segment.ack));
        let end = segment.end();
        let is_in_order = peer.ack.is_none_or(|(ack, _)| !ack.before(segment.seq));
        let said = self.sides.entry(key(from)).or_default();
        if said.next.is_none_or(|next| next.before(end)) {
            said.next = Some(end);
        }
        if segment.payload_len > 0 && is_in_order {
            said.arrived_ns = said.arrived_ns.or(arrived_ns);
        }
        if segment.flags.ack() {
            let window = (!segment.flags.syn()).then_some(segment.window);
            said.ack = Some((segment.ack, window));
        }
        if acknowledges_new {
            self.sides.entry(key(from.other())).or_default().arrived_ns = None;
        }
        mark
    }
}

/// Whether options hold SACK blocks (RFC 2018 §3): data behind a gap has arrived.
fn has_sack(mut options: &[u8]) -> bool {
    const NOP: u8 = 1;
    const SACK: u8 = 5;
    loop {
        options = match options {
            [SACK, ..] => return true,
            [NOP, rest @ ..] => rest,
            [_, len, ..] if *len >= 2 => options.get(usize::from(*len)..).unwrap_or(&[]),
            _ => return false,
        };
    }
}

fn mark(
    own: &Said,
    peer: &Said,
    segment: &Segment,
    has_sack: bool,
    sent_ns: u64,
) -> Option<&'static str> {
    let is_closed = peer.ack.is_some_and(|(_, window)| window == Some(0));
    let asks = segment.payload_len <= 1 && own.next == Some(segment.seq.add(1));
    if asks || (is_closed && segment.payload_len > 0) {
        return Some(if is_closed {
            "window probe"
        } else {
            "keepalive"
        });
    }
    if !segment.is_empty() || !segment.flags.ack() {
        return None;
    }
    let (ack, window) = own.ack?;
    if ack.before(segment.ack) {
        let waited = peer.arrived_ns.map(|at| sent_ns.saturating_sub(at));
        return waited
            .is_some_and(|ns| ns >= DELAYED_NS)
            .then_some("delayed ACK");
    }
    if has_sack {
        return Some("duplicate ACK");
    }
    if window.is_some_and(|window| window != segment.window) {
        return Some("window update");
    }
    let is_behind = peer.next.is_some_and(|next| segment.ack.before(next));
    is_behind.then_some("duplicate ACK")
}

#[cfg(test)]
mod tests {
    use stack::tcp::lang::{Base, Spec, ack, data, syn, syn_ack};

    use super::*;
    use crate::lab::scenario::{Client, Server};

    const MS: u64 = 1_000_000;

    fn marks(segments: &[(u64, End, Spec)]) -> Vec<Option<&'static str>> {
        let mut marks = Marks::default();
        let base = Base {
            sender_iss: SeqNum(0),
            receiver_iss: SeqNum(0),
        };
        segments
            .iter()
            .map(|(at_ms, from, spec)| {
                let at_ns = at_ms * MS;
                marks.of(
                    (*from, 1),
                    (&spec.to_segment(base), &[]),
                    at_ns,
                    Some(at_ns + 1),
                )
            })
            .collect()
    }

    fn behind_a_handshake(segments: &[(u64, End, Spec)]) -> Vec<Option<&'static str>> {
        let mut all = vec![
            (0, Client, syn().seq(0).win(1000)),
            (0, Server, syn_ack().seq(0).ack(1).win(1000)),
            (0, Client, ack().seq(1).ack(1).win(1000)),
        ];
        all.extend(segments);
        marks(&all).split_off(3)
    }

    #[test]
    fn an_ack_that_waited_was_delayed_and_one_at_once_was_not() {
        let seen = behind_a_handshake(&[
            (10, Client, data(100).seq(1).ack(1).win(1000)),
            (50, Server, ack().seq(1).ack(101).win(1000)),
            (60, Client, data(100).seq(101).ack(1).win(1000)),
            (61, Server, ack().seq(1).ack(201).win(1000)),
        ]);
        assert_eq!(seen, [None, Some("delayed ACK"), None, None]);
    }

    #[test]
    fn a_closed_window_draws_probes_and_ends_with_an_update() {
        let seen = behind_a_handshake(&[
            (10, Client, data(1000).seq(1).ack(1).win(1000)),
            (11, Server, ack().seq(1).ack(1001).win(0)),
            (300, Client, ack().seq(1000).ack(1).win(1000)),
            (301, Server, ack().seq(1).ack(1001).win(0)),
            (900, Server, ack().seq(1).ack(1001).win(1000)),
            (5000, Client, ack().seq(1000).ack(1).win(1000)),
        ]);
        let probe = Some("window probe");
        let keepalive = Some("keepalive");
        assert_eq!(
            seen,
            [None, None, probe, None, Some("window update"), keepalive]
        );
    }

    #[test]
    fn an_ack_of_the_same_number_while_data_is_missing_is_a_duplicate() {
        let seen = behind_a_handshake(&[
            (10, Client, data(100).seq(101).ack(1).win(1000)),
            (10, Server, ack().seq(1).ack(1).win(1000)),
        ]);
        assert_eq!(seen, [None, Some("duplicate ACK")]);
    }
}
