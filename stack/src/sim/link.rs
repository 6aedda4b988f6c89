//! [`SimLink`]: one direction of a wire, with everything that can happen to a frame on it.
//!
//! It must never alter what the Ethernet FCS would have caught before anybody saw it: only bytes of IP packets are
//! corrupted, and always so that a ones' complement checksum over them notices.

use core::time::Duration;

use super::draws::FlowDraws;
use super::router::is_too_big;
use crate::rng::Random;
use crate::time::Instant;

/// Bytes of the Ethernet header, which is never corrupted, nor is an 802.1Q tag: a frame with a wrong FCS reaches no host.
const LINK_HEADER_LEN: usize = 14;
/// Bytes of a tag.
const TAG_LEN: usize = 4;

/// Preamble, start delimiter, FCS and gap: what a frame takes on the wire besides its bytes (IEEE 802.3).
const FRAME_OVERHEAD_LEN: usize = 24;

/// The faults of a link. Probabilities are in parts per million of the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkSpec {
    /// Frames that vanish.
    pub loss_ppm: u32,
    /// Frames that arrive twice.
    pub duplicate_ppm: u32,
    /// Frames of which some bits of one 16-bit word flip.
    pub corrupt_ppm: u32,
    /// Frames that take up to [`LinkSpec::reorder_delay`] longer than those sent after them.
    pub reorder_ppm: u32,
    /// How far a reordered frame falls behind, at most; also how late a duplicate comes.
    pub reorder_delay: Duration,
    /// Propagation.
    pub delay: Duration,
    /// The largest variation of the propagation time; order is kept.
    pub jitter: Duration,
    /// Bits per second; 0 is no limit.
    pub rate_bps: u64,
    /// Bytes that wait in front of a limited link, at most.
    pub queue_len: u32,
    /// The largest IP packet that passes, in bytes; 0 is no limit. IPv4 packets that may be fragmented pass.
    pub mtu: u16,
    /// Whether the router in front of it informs the sender of a larger packet, or swallows it in silence.
    pub answers_too_big: bool,
}

impl LinkSpec {
    /// A link that does nothing to frames but delay them.
    #[must_use]
    pub const fn perfect(delay: Duration) -> Self {
        Self {
            loss_ppm: 0,
            duplicate_ppm: 0,
            corrupt_ppm: 0,
            reorder_ppm: 0,
            reorder_delay: Duration::ZERO,
            delay,
            jitter: Duration::ZERO,
            rate_bps: 0,
            queue_len: 0,
            mtu: 0,
            answers_too_big: true,
        }
    }
}

/// The fate of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It arrives as it was sent.
    Delivered,
    /// It arrives later than frames sent after it.
    Reordered,
    /// A second copy that arrives.
    Duplicate,
    /// It arrives with other bits.
    Corrupted,
    /// It vanished.
    Lost,
    /// The queue in front of the link was full.
    QueueFull,
    /// It is longer than the link's MTU.
    TooBig,
    /// The link is down.
    LinkDown,
    /// No host on the link has its destination address.
    NoReceiver,
}

/// One thing that comes of a frame at the far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage {
    /// The counters.
    pub fate: Fate,
    /// When it arrives; `None` when it doesn't.
    pub arrives_at: Option<Instant>,
}

/// One direction of a wire.
#[derive(Debug)]
pub struct SimLink {
    /// Its faults; may be changed at any time.
    pub spec: LinkSpec,
    /// Whether frames pass at all: false is a pulled cable.
    pub up: bool,
    /// The next frames, as many as this says, are lost: for scenarios that need a certain one to be.
    pub lose_next: u32,
    /// When the last bit of what waits has left.
    busy_until: Instant,
    last_arrival: Instant,
    draws: FlowDraws,
}

impl SimLink {
    /// A link that is up. What happens to a frame follows from `seed`, the frame's flow and direction, and how many frames of
    /// these this link was given before.
    #[must_use]
    pub fn new(spec: LinkSpec, seed: u64) -> Self {
        Self {
            spec,
            up: true,
            lose_next: 0,
            busy_until: Instant::ZERO,
            last_arrival: Instant::ZERO,
            draws: FlowDraws::new(seed),
        }
    }

    /// The outcome of a frame that starts now, with its outcome on an earlier link: one outcome, or two when it is
    /// duplicated. Corruption is done to `bytes` (of both copies), and only once: a checksum promises nothing about two.
    pub fn pass(
        &mut self,
        bytes: &mut [u8],
        earlier: Fate,
        now: Instant,
    ) -> (Passage, Option<Passage>) {
        let mut random = self.draws.next(bytes);
        let gone = |fate| {
            let arrives_at = None;
            (Passage { fate, arrives_at }, None)
        };
        if !self.up {
            return gone(Fate::LinkDown);
        }
        if self.spec.mtu != 0 && is_too_big(bytes, self.spec.mtu) {
            return gone(Fate::TooBig);
        }
        let Some(left_at) = self.transmit(bytes.len(), now) else {
            return gone(Fate::QueueFull);
        };
        if self.lose_next > 0 {
            self.lose_next -= 1;
            return gone(Fate::Lost);
        }
        if random.hits(self.spec.loss_ppm) {
            return gone(Fate::Lost);
        }
        let corrupted = earlier != Fate::Corrupted && random.hits(self.spec.corrupt_ppm);
        if corrupted && !corrupt(bytes, &mut random) {
            return gone(Fate::Lost);
        }
        let mut arrives_at = left_at + self.spec.delay + random.duration_up_to(self.spec.jitter);
        let reordered = random.hits(self.spec.reorder_ppm);
        if reordered {
            arrives_at = arrives_at + random.duration_up_to(self.spec.reorder_delay);
        } else {
            arrives_at = arrives_at.max(self.last_arrival);
            self.last_arrival = arrives_at;
        }
        // Corruption outlasts every other label, on both copies: what reads the trace must not take such bytes as sent.
        let is_whole = !corrupted && earlier != Fate::Corrupted;
        let label = |fate| if is_whole { fate } else { Fate::Corrupted };
        let fate = label(if reordered { Fate::Reordered } else { earlier });
        let first = Passage {
            fate,
            arrives_at: Some(arrives_at),
        };
        let second = random.hits(self.spec.duplicate_ppm).then(|| Passage {
            fate: label(Fate::Duplicate),
            arrives_at: Some(arrives_at + random.duration_up_to(self.spec.reorder_delay)),
        });
        (first, second)
    }

    /// When the last bit of a frame of `len` bytes has left, or `None` when the queue is full.
    fn transmit(&mut self, len: usize, now: Instant) -> Option<Instant> {
        if self.spec.rate_bps == 0 {
            return Some(now);
        }
        let starts_at = self.busy_until.max(now);
        let rate = u128::from(self.spec.rate_bps);
        let queued_len = (starts_at - now).as_nanos() * rate / 8_000_000_000;
        if queued_len > u128::from(self.spec.queue_len) {
            return None;
        }
        let bits = (len + FRAME_OVERHEAD_LEN) as u128 * 8;
        let took_ns = u64::try_from(bits * 1_000_000_000 / rate).unwrap_or(u64::MAX);
        self.busy_until = starts_at + Duration::from_nanos(took_ns);
        Some(self.busy_until)
    }
}

/// Flips bits of one 16-bit word of an IP packet, so that every ones' complement sum over it changes (0x0000 and 0xffff
/// are the same number there). False when the frame carries no IP: its FCS would have given it away.
fn corrupt(bytes: &mut [u8], random: &mut Random) -> bool {
    let is_tagged = matches!(bytes.get(12..14), Some([0x81, 0x00]));
    let start = LINK_HEADER_LEN + if is_tagged { TAG_LEN } else { 0 };
    let ethertype = bytes.get(start - 2..start);
    let is_ip = matches!(ethertype, Some([0x08, 0x00] | [0x86, 0xdd]));
    let words = bytes.len().saturating_sub(start) / 2;
    if !is_ip || words == 0 {
        return false;
    }
    let at = start + 2 * random.below(words as u64) as usize;
    let flips = match random.below(4) {
        0 => random.within(1..=0xfffe) as u16,
        _ => 1 << random.below(16),
    };
    let [high, low] = flips.to_be_bytes();
    bytes[at] ^= high;
    bytes[at + 1] ^= low;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Vec<u8> {
        let mut bytes = vec![0x11; 100];
        bytes[12..14].copy_from_slice(&[0x08, 0x00]);
        bytes
    }

    fn many(spec: LinkSpec, n: u64) -> Vec<(Passage, Option<Passage>)> {
        let mut link = SimLink::new(spec, 3);
        let mut pass = |i| link.pass(&mut frame(), Fate::Delivered, Instant::from_ms(i));
        (0..n).map(&mut pass).collect()
    }

    #[test]
    fn each_fault_comes_as_often_as_asked_and_no_other_does() {
        let clean = LinkSpec::perfect(Duration::from_millis(5));
        let faults = [
            (
                Fate::Lost,
                LinkSpec {
                    loss_ppm: 100_000,
                    ..clean
                },
            ),
            (
                Fate::Corrupted,
                LinkSpec {
                    corrupt_ppm: 100_000,
                    ..clean
                },
            ),
            (
                Fate::Reordered,
                LinkSpec {
                    reorder_ppm: 100_000,
                    ..clean
                },
            ),
            (
                Fate::Duplicate,
                LinkSpec {
                    duplicate_ppm: 100_000,
                    ..clean
                },
            ),
        ];
        for (fault, spec) in faults {
            let outcomes = many(spec, 10_000);
            let fates = outcomes
                .iter()
                .flat_map(|(first, second)| [Some(*first), *second])
                .flatten();
            let (mut hit, mut other) = (0, 0);
            for outcome in fates {
                match outcome.fate {
                    fate if fate == fault => hit += 1,
                    Fate::Delivered => {}
                    _ => other += 1,
                }
            }
            assert!(
                (900..1100).contains(&hit) && other == 0,
                "{fault:?} {hit} {other}"
            );
        }
    }

    #[test]
    fn every_copy_of_a_corrupted_frame_is_labelled_so_and_stays_so() {
        let mut link = SimLink::new(
            LinkSpec {
                corrupt_ppm: 500_000,
                duplicate_ppm: 1_000_000,
                reorder_ppm: 500_000,
                ..LinkSpec::perfect(Duration::ZERO)
            },
            3,
        );
        let (sent, mut corrupted) = (frame(), 0);
        for earlier in [Fate::Delivered, Fate::Corrupted].repeat(500) {
            let mut bytes = sent.clone();
            let (first, second) = link.pass(&mut bytes, earlier, Instant::ZERO);
            let is_corrupted = bytes != sent || earlier == Fate::Corrupted;
            for copy in [Some(first), second].into_iter().flatten() {
                assert_eq!(copy.fate == Fate::Corrupted, is_corrupted, "{earlier:?}");
            }
            corrupted += u32::from(bytes != sent);
        }
        assert!((150..350).contains(&corrupted), "{corrupted}");
    }

    #[test]
    fn order_is_kept_under_jitter_and_lost_under_reordering() {
        let jitter = LinkSpec {
            jitter: Duration::from_millis(20),
            ..LinkSpec::perfect(Duration::from_millis(5))
        };
        let arrivals = |spec| -> Vec<_> {
            many(spec, 1000)
                .iter()
                .map(|(first, _)| first.arrives_at)
                .collect()
        };
        assert!(arrivals(jitter).is_sorted());
        let reorder = LinkSpec {
            reorder_ppm: 100_000,
            reorder_delay: Duration::from_millis(20),
            ..jitter
        };
        assert!(!arrivals(reorder).is_sorted());
    }

    #[test]
    fn a_limited_link_spaces_frames_and_drops_what_its_queue_cannot_hold() {
        let mut link = SimLink::new(
            LinkSpec {
                rate_bps: 992_000, // 124 bytes in a millisecond
                queue_len: 300,
                ..LinkSpec::perfect(Duration::ZERO)
            },
            3,
        );
        let mut pass = |now_ms| {
            link.pass(&mut frame(), Fate::Delivered, Instant::from_ms(now_ms))
                .0
        };
        let at = |ms| Some(Instant::from_ms(ms));
        assert_eq!(
            [pass(0), pass(0), pass(0)].map(|o| o.arrives_at),
            [at(1), at(2), at(3)]
        );
        assert_eq!(pass(0).fate, Fate::QueueFull);
        assert_eq!(pass(2).arrives_at, at(4), "the queue has drained");
    }

    #[test]
    fn a_tag_is_never_corrupted_and_what_is_behind_it_is() {
        let mut random = Random::new(1);
        for _ in 0..1_000 {
            let mut bytes = frame();
            bytes[12..18].copy_from_slice(&[0x81, 0x00, 0, 5, 0x08, 0x00]);
            let sent = bytes.clone();
            assert!(corrupt(&mut bytes, &mut random));
            assert_eq!(bytes[..18], sent[..18]);
            assert_ne!(bytes[18..], sent[18..]);
        }
    }

    #[test]
    fn a_link_that_is_down_passes_nothing_and_corruption_changes_each_frame_once() {
        let mut link = SimLink::new(
            LinkSpec {
                corrupt_ppm: 1_000_000,
                ..LinkSpec::perfect(Duration::ZERO)
            },
            3,
        );
        let sent = frame();
        for _ in 0..1000 {
            let mut bytes = sent.clone();
            let (outcome, _) = link.pass(&mut bytes, Fate::Delivered, Instant::ZERO);
            assert_eq!(outcome.fate, Fate::Corrupted);
            assert_eq!(bytes[..14], sent[..14]);
            let changed = |i: &usize| bytes[2 * i..2 * i + 2] != sent[2 * i..2 * i + 2];
            assert_eq!((7..50).filter(changed).count(), 1);
            let mut again = bytes.clone();
            let (outcome, _) = link.pass(&mut again, outcome.fate, Instant::ZERO);
            assert_eq!((outcome.fate, again), (Fate::Corrupted, bytes), "once");
        }
        let mut arp = sent.clone();
        arp[12..14].copy_from_slice(&[0x08, 0x06]);
        let (outcome, _) = link.pass(&mut arp, Fate::Delivered, Instant::ZERO);
        assert_eq!(outcome.fate, Fate::Lost, "the FCS sees it");
        link.up = false;
        let (outcome, _) = link.pass(&mut arp, Fate::Delivered, Instant::ZERO);
        assert_eq!((outcome.fate, outcome.arrives_at), (Fate::LinkDown, None));
    }
}
