//! Turns a plain received frame (untagged, IPv4 without options, TCP) into its answer in as few stores as its headers have
//! words: addresses and ports change places where they stand, all else is written fresh.
//!
//! It must never write a byte that [`super::reply::turn_around`] wouldn't: a test compares them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, native_endian};

use super::reply::{ReplyOptions, TcpReply};
use crate::nic::Frame;
use crate::wire::checksum::Sum;
use crate::wire::tcp_options::{USUAL_TIMESTAMPS, kind};
use crate::wire::{U16, U32, U64, ip_protocol, ipv4, tcp};

/// Bytes of the headers of a plain frame.
const HEADERS_LEN: usize = size_of::<PlainFrame>();

/// The headers of a plain frame in the words in which they are written, as the machine stores them.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct PlainFrame {
    /// MAC addresses, EtherType, version and header length, DSCP.
    link: [u8; 16],
    /// Total length, identification, flags and fragment offset, TTL, protocol.
    ip: U64,
    ip_checksum: U16,
    addresses: native_endian::U64,
    ports: native_endian::U32,
    seq: U32,
    ack: U32,
    /// Data offset, control bits and window.
    control: U32,
    checksum: U16,
    urgent: U16,
}

const _: () = assert!(HEADERS_LEN == 54);

/// The options of a SYN-ACK with all that it may have, in the layout of `SegmentOptions::each_word`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SynAckOptions {
    mss: U32,
    head: [u8; 4],
    tsval: U32,
    tsecr: U32,
    window_scale: U32,
}

/// Options that a plain answer may have.
pub(super) trait PlainOptions {
    /// Their bytes in the header.
    const LEN: usize;

    /// Writes them into the beginning of `into`, and returns their sum; `None` without room.
    fn write(&self, into: &mut [u8]) -> Option<Sum>;
}

/// None: a reset.
pub(super) struct NoOptions;

impl PlainOptions for NoOptions {
    const LEN: usize = 0;

    #[inline(always)]
    fn write(&self, _: &mut [u8]) -> Option<Sum> {
        Some(Sum::ZERO)
    }
}

/// MSS, timestamps and window scale: nearly every SYN-ACK.
pub(super) struct AllOptions<'a>(pub(super) &'a ReplyOptions);

impl PlainOptions for AllOptions<'_> {
    const LEN: usize = size_of::<SynAckOptions>();

    #[inline(always)]
    fn write(&self, into: &mut [u8]) -> Option<Sum> {
        const MSS: u32 = u32::from_be_bytes([kind::MSS, 4, 0, 0]);
        const SCALE: u32 = u32::from_be_bytes([kind::NOP, kind::WINDOW_SCALE, 3, 0]);
        let said = self.0;
        let mss = MSS | u32::from(said.mss);
        let window_scale = SCALE | u32::from(said.window_scale);
        let (options, _) = SynAckOptions::mut_from_prefix(into).ok()?;
        options.mss.set(mss);
        options.head = USUAL_TIMESTAMPS;
        options.tsval.set(said.tsval);
        options.tsecr.set(said.tsecr);
        options.window_scale.set(window_scale);
        let words = [mss, said.tsval, said.tsecr, window_scale].map(u32::to_be_bytes);
        let [mss, tsval, tsecr, scale] = words.map(Sum::bytes4);
        Some(Sum::bytes4(USUAL_TIMESTAMPS) + mss + tsval + tsecr + scale)
    }
}

/// Rewrites `frame`, a plain one, into `reply` with these options; those of `reply` don't count. `None` when it is shared or too
/// small.
#[inline(always)]
pub(super) fn turn_around_plain<F: Frame, O: PlainOptions>(
    frame: &mut F,
    reply: &TcpReply,
    options: &O,
    ttl: u8,
) -> Option<()> {
    frame.set_len(HEADERS_LEN + O::LEN).ok()?;
    let bytes = frame.bytes_mut()?;
    let (headers, rest) = PlainFrame::mut_from_prefix(bytes).ok()?;
    headers.link = turned_link(&headers.link);

    let segment_len = tcp::HEADER_LEN as u16 + O::LEN as u16;
    let total_len = ipv4::HEADER_LEN as u16 + segment_len;
    let received = headers.addresses.get();
    let addresses = received.rotate_left(32);
    headers.addresses.set(addresses);
    // Both halves added to each other, the carry included.
    let addresses = Sum::bytes4(((received.wrapping_add(addresses) >> 32) as u32).to_ne_bytes());
    let ttl_protocol = u16::from_be_bytes([ttl, ip_protocol::TCP]);
    let ip =
        u64::from(total_len) << 48 | u64::from(ipv4::DONT_FRAGMENT) << 16 | u64::from(ttl_protocol);
    headers.ip.set(ip);
    let sum = addresses
        + Sum::word(u16::from_be_bytes([ipv4::VERSION_IHL_PLAIN, 0]))
        + Sum::word(total_len)
        + Sum::word(ipv4::DONT_FRAGMENT)
        + Sum::word(ttl_protocol);
    headers.ip_checksum = sum.finish();

    let ports = headers.ports.get().rotate_left(16);
    headers.ports.set(ports);
    headers.seq.set(reply.seq.0);
    headers.ack.set(reply.ack.0);
    let data_offset = tcp::Header::data_offset_for(segment_len.into());
    let offset_flags = u16::from_be_bytes([data_offset, reply.flags.0]);
    headers
        .control
        .set(u32::from(offset_flags) << 16 | u32::from(reply.window));
    let sum = addresses
        + Sum::word(ip_protocol::TCP.into())
        + Sum::word(segment_len)
        + Sum::bytes4(ports.to_ne_bytes())
        + Sum::bytes4(reply.seq.0.to_be_bytes())
        + Sum::bytes4(reply.ack.0.to_be_bytes())
        + Sum::word(offset_flags)
        + Sum::word(reply.window)
        + options.write(rest)?;
    headers.checksum = sum.finish();
    headers.urgent = U16::ZERO;
    frame.request(None);
    Some(())
}

/// The addresses change places; what else stands there is the same in the answer, but for DSCP, which is 0.
#[cfg(target_feature = "ssse3")]
#[inline(always)]
fn turned_link(link: &[u8; 16]) -> [u8; 16] {
    use safe_arch::{m128i, shuffle_av_i8z_all_m128i};
    const ORDER: [i8; 16] = [6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 12, 13, 14, -1];
    shuffle_av_i8z_all_m128i(m128i::from(*link), m128i::from(ORDER)).into()
}

#[cfg(not(target_feature = "ssse3"))]
#[inline(always)]
fn turned_link(link: &[u8; 16]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, _] = *link;
    [g, h, i, j, k, l, a, b, c, d, e, f, m, n, o, 0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::nic::memory::MemoryNic;
    use crate::nic::{IpVersion, Nic, PoolClass};
    use crate::seq::SeqNum;
    use crate::wire::tcp::Flags;
    use crate::worker::reply::{Layout, Ports, turn_around};

    proptest! {
        #[test]
        fn it_writes_what_the_general_way_writes(
            received in any::<[u8; 54]>(),
            (seq, ack, flags, window, ttl) in any::<(u32, u32, u8, u16, u8)>(),
            options in prop::option::of(any::<(u16, u32, u32, u8)>()),
        ) {
            let mut received = received;
            received[12..15].copy_from_slice(&[8, 0, 0x45]);
            let port = |at: usize| u16::from_be_bytes([received[at], received[at + 1]]);
            let (layout, ports) = (
                Layout { ip: IpVersion::V4, l3_offset: 14 },
                Ports { remote: port(34), local: port(36) },
            );
            let mut reply = TcpReply {
                seq: SeqNum(seq),
                ack: SeqNum(ack),
                flags: Flags(flags),
                window,
                options: ReplyOptions::NONE,
            };
            let mut nic = MemoryNic::new([2, 0, 0, 0, 0, 1]);
            let caps = nic.caps().clone();
            let mut frame = || {
                let mut frame = nic.alloc_one(PoolClass::Control).expect("a frame");
                frame.set_len(54).expect("room");
                frame.bytes_mut().expect("a frame of ours").copy_from_slice(&received);
                frame
            };
            let (mut plain, mut general) = (frame(), frame());
            let written = match options {
                None => turn_around_plain(&mut plain, &reply, &NoOptions, ttl),
                Some((mss, tsval, tsecr, window_scale)) => {
                    reply.options = ReplyOptions::NONE
                        .with_mss(mss)
                        .with_window_scale(Some(window_scale))
                        .with_timestamps(Some((tsval, tsecr)));
                    turn_around_plain(&mut plain, &reply, &AllOptions(&reply.options), ttl)
                }
            };
            prop_assert_eq!(written, Some(()));
            prop_assert_eq!(turn_around(&mut general, layout, ports, &reply, ttl, &caps), Ok(()));
            prop_assert_eq!(plain.bytes(), general.bytes());
        }
    }
}
