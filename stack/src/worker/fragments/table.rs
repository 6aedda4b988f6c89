//! [`Fragments`]: the datagrams of one worker of which fragments are missing. Which bytes are there is kept in a table of bits, one
//! for 8 bytes (RFC 791 §3.2, "An Example Reassembly Procedure").
//!
//! It must never deliver a byte that two fragments claim to be different, and never take memory after its making.

use core::net::IpAddr;
use core::time::Duration;

use crate::counters::Counter;
use crate::time::Instant;
use crate::wire::fragment::{DatagramId, Fragment, Head};
use crate::wire::ipv4;

/// How long fragments over IPv4 are waited for: Linux's `ipfrag_time`. RFC 1122 §3.3.2 names 60 to 120 s, but identifications come
/// again sooner than that (RFC 4963 §2).
const TIMEOUT_V4: Duration = Duration::from_secs(30);
/// The same over IPv6 (RFC 8200 §4.5).
const TIMEOUT_V6: Duration = Duration::from_secs(60);
/// No time is later.
const NEVER: Instant = Instant::from_ns(u64::MAX);
/// Bytes that one bit stands for.
const BLOCK: usize = 8;

/// The place of a datagram in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) struct Place(usize);

/// The outcome of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// The counter in which it ends.
    pub(super) end: Counter,
    /// The datagram, where nothing of it is missing any more.
    pub(super) whole: Option<Place>,
    /// Whether another datagram gave way to this one.
    pub(super) evicted: bool,
}

/// A datagram whose time is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// Its sender is to hear of it: the headers and the length of the first fragment, whose bytes lie in this place until the next
    /// fragment is taken.
    Told(Place, Head, usize),
    /// Its first fragment has not come, or it was refused for an overlap.
    Silent,
}

/// The state of one datagram.
#[derive(Debug)]
struct Datagram {
    id: DatagramId,
    began: Instant,
    ends_at: Instant,
    /// The headers and the length of the first fragment.
    first: Option<(Head, usize)>,
    /// Bytes of the whole payload, once the last fragment has come.
    len: Option<usize>,
    /// Bytes that are there.
    held: usize,
    /// Where the bytes that are there end.
    reach: usize,
    /// Fragments of it disagreed: what comes of it is dropped until its time is over.
    is_refused: bool,
}

/// Datagrams that wait for fragments.
#[derive(Debug)]
pub(in crate::worker) struct Fragments {
    datagrams: Box<[Option<Datagram>]>,
    /// The payloads, `longest` bytes each.
    bytes: Box<[u8]>,
    /// One bit for each block that is there, `words` for each datagram.
    blocks: Box<[u64]>,
    longest: usize,
    words: usize,
    next_end: Instant,
}

impl Fragments {
    /// Room for so many datagrams of at most `mtu` bytes each, IP header included: no segment that respects our MSS is longer.
    pub(in crate::worker) fn new(datagrams: u16, mtu: u16) -> Self {
        let places = usize::from(datagrams);
        let longest = usize::from(mtu).saturating_sub(ipv4::HEADER_LEN);
        let words = longest.div_ceil(BLOCK).div_ceil(64);
        Self {
            datagrams: (0..places).map(|_| None).collect(),
            bytes: vec![0; places * longest].into_boxed_slice(),
            blocks: vec![0; places * words].into_boxed_slice(),
            longest,
            words,
            next_end: NEVER,
        }
    }

    /// Whether any datagram is ever put together.
    pub(super) fn is_on(&self) -> bool {
        !self.datagrams.is_empty()
    }

    /// When the first of the datagrams has waited long enough.
    #[inline]
    pub(super) fn next_end(&self) -> Instant {
        self.next_end
    }

    /// Takes a fragment.
    pub(super) fn take(&mut self, fragment: &Fragment<'_>, now: Instant) -> Taken {
        let id = fragment.datagram;
        let known = |datagram: &Option<Datagram>| datagram.as_ref().is_some_and(|d| d.id == id);
        let found = self.datagrams.iter().position(known);
        //~ A datagram that is longer than the MTU takes no memory: -> `if false {`;
        //~   a_datagram_longer_than_the_mtu_is_refused_with_all_its_fragments
        if fragment.end() > self.longest {
            if let Some(place) = found {
                self.refuse(place);
            }
            return Taken::end(Counter::LongerThanMtu);
        }
        let (place, evicted) = match found {
            Some(place) => (place, false),
            None => self.begin(id, now),
        };
        let end = self.add(place, fragment);
        let is_whole = self.datagrams[place]
            .as_ref()
            .is_some_and(Datagram::is_whole);
        Taken {
            end,
            whole: is_whole.then_some(Place(place)),
            evicted,
        }
    }

    /// A place for a new datagram, and whether another one gave way to it: the one that began first.
    fn begin(&mut self, id: DatagramId, now: Instant) -> (usize, bool) {
        let began = |place: &usize| self.datagrams[*place].as_ref().map(|d| d.began);
        // `None` is less than any time.
        let place = (0..self.datagrams.len()).min_by_key(began).unwrap_or(0);
        let evicted = self.datagrams[place].is_some();
        let ends_at = match id.src {
            IpAddr::V4(_) => now + TIMEOUT_V4,
            IpAddr::V6(_) => now + TIMEOUT_V6,
        };
        self.blocks[place * self.words..][..self.words].fill(0);
        self.datagrams[place] = Some(Datagram {
            id,
            began: now,
            ends_at,
            first: None,
            len: None,
            held: 0,
            reach: 0,
            is_refused: false,
        });
        self.next_end = self.next_end.min(ends_at);
        (place, evicted)
    }

    /// Adds a fragment that fits to the datagram in a place.
    fn add(&mut self, place: usize, fragment: &Fragment<'_>) -> Counter {
        let (start, end) = (fragment.start, fragment.end());
        let blocks = start / BLOCK..end.div_ceil(BLOCK);
        let marks = &mut self.blocks[place * self.words..][..self.words];
        let there = blocks.clone().filter(|&at| is_marked(marks, at)).count();
        let bytes = &mut self.bytes[place * self.longest..][..self.longest];
        let Some(datagram) = &mut self.datagrams[place] else {
            // Not reached: `take` has found or begun it.
            return Counter::FragmentOverlap;
        };
        if datagram.is_refused {
            return Counter::FragmentOverlap;
        }
        let ends_elsewhere = if fragment.is_last {
            datagram.len.is_some_and(|len| len != end) || datagram.reach > end
        } else {
            datagram.len.is_some_and(|len| end > len)
        };
        // An exact copy, made by the network, is no overlap (RFC 8200 §4.5).
        let is_copy = there == blocks.len()
            && end <= datagram.reach
            && bytes[start..end] == *fragment.payload
            && (!fragment.is_last || datagram.len == Some(end));
        //~ A copy does no harm: `is_copy && !ends_elsewhere` -> `false`;
        //~   fragments_that_overlap_refuse_their_datagram_and_what_follows_of_it
        if is_copy && !ends_elsewhere {
            return Counter::FragmentDuplicate;
        }
        //~ Overlaps refuse the datagram: `there > 0 || ends_elsewhere` -> `false`;
        //~   fragments_that_overlap_refuse_their_datagram_and_what_follows_of_it
        if there > 0 || ends_elsewhere {
            self.refuse(place);
            return Counter::FragmentOverlap;
        }
        for at in blocks {
            marks[at / 64] |= 1 << (at % 64);
        }
        bytes[start..end].copy_from_slice(fragment.payload);
        datagram.held += fragment.payload.len();
        datagram.reach = datagram.reach.max(end);
        if fragment.is_last {
            datagram.len = Some(end);
        }
        if start == 0 {
            datagram.first = Some((fragment.head(), fragment.payload.len()));
        }
        Counter::FragmentHeld
    }

    /// The fragments of a datagram, and those still to come, are dropped until its time is over.
    fn refuse(&mut self, place: usize) {
        if let Some(datagram) = &mut self.datagrams[place] {
            datagram.is_refused = true;
        }
    }

    /// Bytes of the frame that a whole datagram becomes.
    pub(super) fn frame_len(&self, place: Place) -> usize {
        self.whole(place).map_or(0, |(head, len)| head.len() + len)
    }

    /// Writes that frame. False, and nothing useful was written, where it doesn't fit.
    pub(super) fn write(&self, place: Place, into: &mut [u8]) -> bool {
        let Some((head, len)) = self.whole(place) else {
            return false;
        };
        let payload = into.get_mut(head.len()..head.len() + len);
        payload.is_some_and(|payload| {
            payload.copy_from_slice(&self.bytes[place.0 * self.longest..][..len]);
            true
        }) && head.write(into, len)
    }

    /// Writes the first fragment of a datagram as it came. False where `into` isn't as long.
    pub(super) fn write_first(
        &self,
        place: Place,
        head: &Head,
        len: usize,
        into: &mut [u8],
    ) -> bool {
        let Some((headers, payload)) = into.split_at_mut_checked(head.received().len()) else {
            return false;
        };
        headers.copy_from_slice(head.received());
        let first = &self.bytes[place.0 * self.longest..][..len];
        let fits = payload.len() == len;
        if fits {
            payload.copy_from_slice(first);
        }
        fits
    }

    fn whole(&self, place: Place) -> Option<(&Head, usize)> {
        let datagram = self.datagrams.get(place.0)?.as_ref()?;
        let (head, _) = datagram.first.as_ref()?;
        Some((head, datagram.len?))
    }

    /// The place is free for another datagram.
    pub(super) fn release(&mut self, place: Place) {
        self.datagrams[place.0] = None;
        self.find_next_end();
    }

    /// Takes out one datagram that has waited long enough.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<Expired> {
        let is_over = |d: &Option<Datagram>| d.as_ref().is_some_and(|d| d.ends_at <= now);
        let place = self.datagrams.iter().position(is_over);
        let Some(place) = place else {
            self.find_next_end();
            return None;
        };
        let datagram = self.datagrams[place].take()?;
        Some(match datagram.first {
            Some((head, len)) if !datagram.is_refused => Expired::Told(Place(place), head, len),
            _ => Expired::Silent,
        })
    }

    fn find_next_end(&mut self) {
        let ends = self.datagrams.iter().flatten().map(|d| d.ends_at);
        self.next_end = ends.min().unwrap_or(NEVER);
    }
}

impl Datagram {
    fn is_whole(&self) -> bool {
        !self.is_refused && self.len == Some(self.held)
    }
}

impl Taken {
    fn end(end: Counter) -> Self {
        Self {
            end,
            whole: None,
            evicted: false,
        }
    }
}

fn is_marked(marks: &[u64], at: usize) -> bool {
    marks
        .get(at / 64)
        .is_some_and(|word| word >> (at % 64) & 1 == 1)
}

#[cfg(test)]
mod tests;
