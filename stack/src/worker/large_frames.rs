//! [`LargeFrames`]: large TCP segments that the NIC (LRO) or a link in memory (vhost) has made of several. Each is taken apart where
//! its buffers end: the part in each buffer becomes a segment of its own, with the headers of the whole in front.
//!
//! It must never copy payload, and never make a segment that the sender could not have sent.

use std::collections::VecDeque;

use super::Core;
use crate::counters::Counter;
use crate::nic::{BURST_FRAMES, Burst, ChecksumVerdict, Frame, Nic, RxChecksum};
use crate::wire::checksum::Sum;
use crate::wire::tcp::Flags;
use crate::wire::{Defect, checksum, ethernet, ip_protocol, ipv4, ipv6, tcp, vlan};

/// Bytes in front of a frame in its buffer, of which a driver may use some: longer headers can't be put there.
const HEADERS_MAX: usize = 118;
/// Bytes that are summed at a time: an even number.
const SUMMED_BYTES: usize = 512;
/// Types of Ethernet: a tag (802.1Q), IPv4, IPv6.
const TAGGED: u16 = 0x8100;
const V4: u16 = 0x0800;
const V6: u16 = 0x86dd;
/// Where fields stand in their headers.
const V4_LENGTH: usize = 2;
const V4_FRAGMENT: usize = 6;
const V4_PROTOCOL: usize = 9;
const V4_CHECKSUM: usize = 10;
const V6_LENGTH: usize = 4;
const V6_NEXT_HEADER: usize = 6;
const TCP_SEQ: usize = 4;
const TCP_DATA_OFFSET: usize = 12;
const TCP_FLAGS: usize = 13;

/// Frames that wait for the next turn, because a burst holds no more.
#[derive(Debug)]
pub(super) struct LargeFrames<F> {
    /// The rest of the segment that is being taken apart.
    rest: Option<(F, Headers)>,
    /// Frames that came behind it, and datagrams that were put together from fragments.
    behind: VecDeque<F>,
}

/// The headers of a large segment, as they stand in front of its next part.
#[derive(Debug)]
struct Headers {
    bytes: [u8; HEADERS_MAX],
    len: usize,
    l3: usize,
    l4: usize,
    /// Bytes of payload that are still to come.
    left: usize,
    /// Control bits of the whole.
    flags: Flags,
    /// The part has them already: it is the first.
    is_in_frame: bool,
}

impl<F: Frame> LargeFrames<F> {
    /// Nothing waits.
    pub(super) fn new() -> Self {
        Self {
            rest: None,
            // Those of a burst, and the datagrams that the fragments of the next one make whole.
            behind: VecDeque::with_capacity(2 * BURST_FRAMES),
        }
    }

    /// Whether something waits.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.rest.is_some() || !self.behind.is_empty()
    }
}

impl<N: Nic> Core<N> {
    /// Frames that the NIC gave earlier, as far as there is room; says how many.
    #[cold]
    pub(super) fn resume_large(&mut self, rx: &mut Burst<N::Frame>) -> usize {
        let before = rx.len();
        self.part_into(rx);
        while rx.room() > 0
            && self.large.rest.is_none()
            && let Some(frame) = self.large.behind.pop_front()
        {
            self.endpoint.counters.bump(Counter::RxFrames);
            self.take_apart(frame, rx);
        }
        rx.len() - before
    }

    /// Leaves a frame for the next turn, which counts it as received.
    #[cold]
    pub(super) fn leave_behind(&mut self, frame: N::Frame) {
        self.endpoint
            .counters
            .add(Counter::RxFrames, 1u64.wrapping_neg());
        self.large.behind.push_back(frame);
    }

    /// Puts a frame in several buffers into `rx`, which has room: as several segments where it is a large one, else in one buffer.
    pub(super) fn take_apart(&mut self, frame: N::Frame, rx: &mut Burst<N::Frame>) {
        let longest = usize::from(self.caps.mtu) + ethernet::HEADER_LEN + vlan::TAG_LEN;
        if frame.is_contiguous() {
            drop(rx.push(frame));
            return;
        }
        //~ Only what is longer than a packet of the link was made of several:
        //~   `frame.total_len() <= longest` -> `false`;
        //~   a_frame_in_several_buffers_that_is_no_longer_than_a_packet_stays_one
        if frame.total_len() <= longest {
            return self.put_into_one_buffer(&frame, rx);
        }
        match Headers::of(&frame) {
            Ok(headers) => {
                self.endpoint.counters.bump(Counter::RxLarge);
                self.large.rest = Some((frame, headers));
                self.part_into(rx);
            }
            Err(Some(defect)) => self.endpoint.counters.defect(defect),
            Err(None) => self.put_into_one_buffer(&frame, rx),
        }
    }

    /// Takes parts off the large segment, as far as `rx` has room.
    fn part_into(&mut self, rx: &mut Burst<N::Frame>) {
        while rx.room() > 0
            && let Some((mut frame, mut headers)) = self.large.rest.take()
        {
            let rest = frame.split_rest();
            let payload = headers.payload(&frame);
            if payload > 0 {
                self.endpoint.counters.bump(Counter::RxLargeSegments);
                if headers.dress(&mut frame, payload) {
                    drop(rx.push(frame));
                } else {
                    self.endpoint.counters.bump(Counter::ChainedTooLong);
                }
            }
            headers.pass(payload);
            if headers.left > 0 {
                self.large.rest = rest.map(|rest| (rest, headers));
            }
        }
    }
}

impl Headers {
    /// The headers of a large segment: TCP over IPv4 or IPv6 without extension headers, with nothing but payload to say.
    ///
    /// # Errors
    /// `None` for what is no such segment, else what is wrong with it.
    fn of<F: Frame>(frame: &F) -> Result<Self, Option<Defect>> {
        let bytes = frame.bytes();
        let (l3, ethertype) = match half_at(bytes, ethernet::HEADER_LEN - 2) {
            Some(TAGGED) => (
                ethernet::HEADER_LEN + vlan::TAG_LEN,
                half_at(bytes, ethernet::HEADER_LEN + vlan::TAG_LEN - 2),
            ),
            untagged => (ethernet::HEADER_LEN, untagged),
        };
        let (l4, end) = match ethertype {
            Some(V4) => v4_ends(bytes, l3),
            Some(V6) => v6_ends(bytes, l3),
            _ => None,
        }
        .ok_or(None)?;
        let data_offset = bytes.get(l4 + TCP_DATA_OFFSET).copied().ok_or(None)?;
        let flags = bytes.get(l4 + TCP_FLAGS).copied().map(Flags).ok_or(None)?;
        let header_len = usize::from(data_offset >> 4) * 4;
        let len = l4 + header_len;
        let is_plain = flags.contains(Flags::ACK)
            && !flags.contains(Flags::SYN)
            && !flags.contains(Flags::RST)
            && !flags.contains(Flags::URG);
        let fits = header_len >= tcp::HEADER_LEN && len <= HEADERS_MAX && len <= bytes.len();
        if !is_plain || !fits || end <= len || end > frame.total_len() {
            return Err(None);
        }
        let mut headers = Self {
            bytes: [0; HEADERS_MAX],
            len,
            l3,
            l4,
            left: end - len,
            flags,
            is_in_frame: true,
        };
        headers.bytes[..len].copy_from_slice(&bytes[..len]);
        headers
            .verify(frame)
            .map_or(Ok(headers), |defect| Err(Some(defect)))
    }

    fn is_v4(&self) -> bool {
        self.bytes[self.l3] >> 4 == 4
    }

    /// The defect of a whole's checksum, as the NIC reports it, or as computed where it reports nothing: the parts have none of
    /// their own.
    fn verify<F: Frame>(&self, frame: &F) -> Option<Defect> {
        let verdict = frame.rx_checksum();
        let header = &self.bytes[self.l3..self.l4];
        //~ A large segment with a wrong header checksum is dropped:
        //~   `!checksum::sum_header(header).is_valid()` -> `false`;
        //~   a_large_segment_with_a_wrong_checksum_is_dropped_whole
        if self.is_v4()
            && verdict.ip != ChecksumVerdict::Good
            && !checksum::sum_header(header).is_valid()
        {
            return Some(Defect::Ipv4Checksum);
        }
        //~ So is one with a wrong TCP checksum, whether the NIC has found it or not:
        //~   `self.tcp_sum(frame).is_valid()` -> `true`;
        //~   a_large_segment_with_a_wrong_checksum_is_dropped_whole
        let is_good = verdict.l4 == ChecksumVerdict::Good || self.tcp_sum(frame).is_valid();
        (!is_good).then_some(Defect::TcpChecksum)
    }

    /// The sum of the segment and its pseudo-header.
    fn tcp_sum<F: Frame>(&self, frame: &F) -> Sum {
        let len = self.len - self.l4 + self.left;
        let header = &self.bytes[self.l3..self.l4];
        let mut sum = match (header.get(12..16), header.get(16..20)) {
            (Some(&[a, b, c, d]), Some(&[e, f, g, h])) if self.is_v4() => checksum::pseudo_v4(
                [a, b, c, d],
                [e, f, g, h],
                ip_protocol::TCP,
                u16::try_from(len).unwrap_or(u16::MAX),
            ),
            _ => {
                // Addresses as bytes, and the rest as a pseudo-header without any.
                let rest = checksum::pseudo_v6(&[0; 16], &[0; 16], ip_protocol::TCP, len as u32);
                checksum::sum(header.get(8..40).unwrap_or(&[])) + rest
            }
        };
        let mut piece = [0; SUMMED_BYTES];
        for start in (0..len).step_by(SUMMED_BYTES) {
            let n = SUMMED_BYTES.min(len - start);
            let n = frame.copy_out(self.l4 + start, &mut piece[..n]);
            sum = sum + checksum::sum(&piece[..n]);
        }
        sum
    }

    /// Bytes of payload in a part, which has its own headers only where it is the first.
    fn payload<F: Frame>(&self, part: &F) -> usize {
        let own = if self.is_in_frame { self.len } else { 0 };
        part.bytes().len().saturating_sub(own).min(self.left)
    }

    /// Makes a part with so much payload a segment. False where its buffer can't take the headers.
    fn dress<F: Frame>(&self, part: &mut F, payload: usize) -> bool {
        if !self.is_in_frame && !part.prepend(&self.bytes[..self.len]) {
            return false;
        }
        let len = self.len + payload;
        let Some(bytes) = part.first_mut().and_then(|bytes| bytes.get_mut(..len)) else {
            return false;
        };
        //~ FIN and PSH belong to the last part: `payload == self.left` -> `true`; the_last_part_has_the_fin
        if payload == self.left {
            bytes[self.l4 + TCP_FLAGS] = self.flags.0;
        } else {
            bytes[self.l4 + TCP_FLAGS] = self.flags.0 & !(Flags::FIN.0 | Flags::PSH.0);
        }
        let (at, packet_len) = if self.is_v4() {
            (V4_LENGTH, len - self.l3)
        } else {
            (V6_LENGTH, len - self.l4)
        };
        put_half(bytes, self.l3 + at, packet_len as u16);
        if self.is_v4() {
            put_half(bytes, self.l3 + V4_CHECKSUM, 0);
            let checksum = checksum::sum_header(&bytes[self.l3..self.l4]).finish();
            put_half(bytes, self.l3 + V4_CHECKSUM, checksum.get());
        }
        // Bytes behind the packet are padding of the frame.
        let fits = part.bytes().len() == len || part.set_len(len).is_ok();
        part.set_rx_checksum(RxChecksum {
            ip: ChecksumVerdict::Good,
            l4: ChecksumVerdict::Good,
        });
        fits
    }

    /// So much payload is behind us: what the next part begins with.
    fn pass(&mut self, payload: usize) {
        self.is_in_frame = false;
        self.left -= payload;
        let at = self.l4 + TCP_SEQ;
        if let Some(seq) = self.bytes[at..].first_chunk_mut::<4>() {
            //~ Each part has the number of its own first byte: `wrapping_add(payload as u32)` -> `wrapping_add(0)`;
            //~   a_large_segment_becomes_the_segments_that_it_was_made_of
            *seq = u32::from_be_bytes(*seq)
                .wrapping_add(payload as u32)
                .to_be_bytes();
        }
    }
}

/// Where the TCP header of an IPv4 packet begins, and where the packet ends; `None` for others and for fragments.
fn v4_ends(bytes: &[u8], l3: usize) -> Option<(usize, usize)> {
    let header_len = usize::from(bytes.get(l3)? & 0x0f) * 4;
    let is_fragment = half_at(bytes, l3 + V4_FRAGMENT)? & !ipv4::DONT_FRAGMENT != 0;
    let is_tcp = *bytes.get(l3 + V4_PROTOCOL)? == ip_protocol::TCP;
    let is_plain = bytes[l3] >> 4 == 4 && is_tcp && !is_fragment && header_len >= ipv4::HEADER_LEN;
    let len = usize::from(half_at(bytes, l3 + V4_LENGTH)?);
    is_plain.then_some((l3 + header_len, l3 + len))
}

/// The same of an IPv6 packet.
fn v6_ends(bytes: &[u8], l3: usize) -> Option<(usize, usize)> {
    let l4 = l3 + ipv6::HEADER_LEN;
    let is_tcp = *bytes.get(l3 + V6_NEXT_HEADER)? == ip_protocol::TCP;
    let len = usize::from(half_at(bytes, l3 + V6_LENGTH)?);
    (bytes[l3] >> 4 == 6 && is_tcp).then_some((l4, l4 + len))
}

fn half_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|half| u16::from_be_bytes(*half))
}

/// Nothing where the bytes end before.
fn put_half(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(half) = bytes.get_mut(at..at + 2) {
        half.copy_from_slice(&value.to_be_bytes());
    }
}
