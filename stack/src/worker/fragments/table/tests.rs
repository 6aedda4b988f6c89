//! The table against a naive model: a byte each, with the fragment that brought it.

use proptest::prelude::*;

use super::{Expired, Fragments, Taken};
use crate::counters::Counter;
use crate::time::Instant;
use crate::wire::fragment;
use core::time::Duration;

const MTU: u16 = 400;
const LONGEST: usize = MTU as usize - 20;
/// TCP header and payload of the datagrams.
const LEN: usize = 203;

/// A fragment over IPv4 of datagram `id`, made by hand.
fn frame(id: u16, start: usize, payload: &[u8], is_last: bool) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    frame.extend((20 + payload.len() as u16).to_be_bytes());
    frame.extend(id.to_be_bytes());
    let more = if is_last { 0 } else { 0x2000 };
    frame.extend((more | (start / 8) as u16).to_be_bytes());
    frame.extend([64, 6, 0, 0, 198, 18, 0, 1, 198, 18, 0, 2]);
    frame.extend(payload);
    frame
}

fn take(table: &mut Fragments, frame: &[u8], now: Instant) -> Taken {
    table.take(&fragment::parse(frame).expect("a fragment"), now)
}

/// The bytes that the datagram has where all senders agree.
fn original() -> Vec<u8> {
    (0..LEN).map(|at| (at * 7 + 3) as u8).collect()
}

/// The model's state of the one datagram.
#[derive(Default)]
struct Model {
    bytes: Vec<Option<u8>>,
    len: Option<usize>,
    is_refused: bool,
}

impl Model {
    fn take(&mut self, start: usize, payload: &[u8], is_last: bool) -> Counter {
        let end = start + payload.len();
        if end > LONGEST {
            self.is_refused |= self.bytes.iter().any(Option::is_some);
            return Counter::LongerThanMtu;
        }
        self.bytes.resize(LONGEST, None);
        let reach = self
            .bytes
            .iter()
            .rposition(Option::is_some)
            .map_or(0, |at| at + 1);
        let agrees = match (self.len, is_last) {
            (Some(len), true) => len == end,
            (Some(len), false) => end <= len,
            (None, true) => reach <= end,
            (None, false) => true,
        };
        let there = &self.bytes[start..end];
        if self.is_refused {
            return Counter::FragmentOverlap;
        }
        let is_copy = there
            .iter()
            .zip(payload)
            .all(|(there, new)| *there == Some(*new));
        if is_copy && agrees && (!is_last || self.len.is_some()) {
            return Counter::FragmentDuplicate;
        }
        if !agrees || there.iter().any(Option::is_some) {
            self.is_refused = true;
            return Counter::FragmentOverlap;
        }
        for (at, byte) in payload.iter().enumerate() {
            self.bytes[start + at] = Some(*byte);
        }
        if is_last {
            self.len = Some(end);
        }
        Counter::FragmentHeld
    }

    fn whole(&self) -> Option<Vec<u8>> {
        let bytes = self.bytes.get(..self.len?)?;
        let bytes: Option<Vec<u8>> = bytes.iter().copied().collect();
        bytes.filter(|_| !self.is_refused)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Any fragments in any order: copies, overlaps, other bytes, other ends.
    #[test]
    fn the_table_is_the_model(
        pieces in prop::collection::vec((0usize..30, 1usize..14, any::<bool>(), 0u8..20), 1..24),
    ) {
        let mut table = Fragments::new(2, MTU);
        let mut model = Model::default();
        let bytes = original();
        for (start, blocks, is_last, change) in pieces {
            let (start, end) = (start * 8, (start + blocks) * 8);
            let (end, is_last) = if end >= LEN { (LEN.max(start + 1), true) } else { (end, is_last && change == 1) };
            let mut payload: Vec<u8> = (start..end).map(|at| bytes.get(at).copied().unwrap_or(0)).collect();
            if change == 0 {
                payload[0] ^= 1;
            }
            let taken = take(&mut table, &frame(7, start, &payload, is_last), Instant::ZERO);
            prop_assert_eq!(taken.end, model.take(start, &payload, is_last));
            let whole = taken.whole.map(|place| {
                let mut whole = vec![0; table.frame_len(place)];
                assert!(table.write(place, &mut whole));
                table.release(place);
                whole.split_off(34)
            });
            prop_assert_eq!(&whole, &model.whole());
            if whole.is_some() {
                model = Model::default();
            }
        }
    }

    /// A cut datagram in any order, each fragment up to three times: it is there once, with its last fragment that is new.
    #[test]
    fn fragments_in_any_order_with_copies_make_the_datagram(
        cuts in prop::collection::btree_set(1usize..25, 0..12),
        order in prop::collection::vec((any::<prop::sample::Index>(), 0usize..3), 40),
    ) {
        let bytes = original();
        let mut ends: Vec<usize> = cuts.into_iter().map(|cut| cut * 8).collect();
        ends.push(LEN);
        let mut start = 0;
        let mut pieces = Vec::new();
        for end in ends {
            pieces.push(frame(7, start, &bytes[start..end], end == LEN));
            start = end;
        }
        let mut table = Fragments::new(1, MTU);
        let mut draws = order.into_iter();
        while !pieces.is_empty() {
            let (index, copies) = draws.next().expect("enough");
            let piece = pieces.remove(index.index(pieces.len()));
            let taken = take(&mut table, &piece, Instant::ZERO);
            prop_assert_eq!(taken.end, Counter::FragmentHeld);
            prop_assert_eq!(taken.whole.is_some(), pieces.is_empty());
            if let Some(place) = taken.whole {
                let mut whole = vec![0; table.frame_len(place)];
                prop_assert!(table.write(place, &mut whole));
                prop_assert_eq!(&whole[34..], &bytes[..]);
                break;
            }
            for _ in 0..copies {
                prop_assert_eq!(take(&mut table, &piece, Instant::ZERO).end, Counter::FragmentDuplicate);
            }
        }
    }
}

#[test]
fn the_oldest_datagram_gives_way_and_time_ends_the_others_in_turn() {
    let mut table = Fragments::new(2, MTU);
    let at = Instant::from_ms;
    for id in 1..=3 {
        let first = frame(id, 0, &[0; 24], false);
        let taken = take(&mut table, &first, at(u64::from(id) * 1000));
        assert_eq!((taken.end, taken.evicted), (Counter::FragmentHeld, id == 3));
    }
    assert_eq!(table.pop_expired(at(31_999)), None);
    assert_eq!(table.next_end(), at(2000) + Duration::from_secs(30));
    assert!(matches!(
        table.pop_expired(at(32_000)),
        Some(Expired::Told(..))
    ));
    assert_eq!(table.pop_expired(at(32_000)), None);
    assert_eq!(table.next_end(), at(33_000));
    // The last fragment of the one that gave way begins anew.
    let last = frame(1, 24, &[0; 5], true);
    let taken = take(&mut table, &last, at(32_500));
    assert_eq!((taken.end, taken.whole), (Counter::FragmentHeld, None));
}
