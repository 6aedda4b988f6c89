//! Turns a plain received frame (untagged, IPv4 without options, TCP) into its answer in as few stores as its headers have
//! words: addresses and ports change places where they stand, all else is written fresh.
//!
//! It must never write a byte that [`super::reply::turn_around`] wouldn't: a test compares them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::plain_frame::{HEADERS_LEN, PlainFields, PlainFrame};
use super::reply::{Answer, Layout, NotWritable, Ports, ReplyOptions, TcpReply, write_answer};
use super::segment_headers::{Content, Offload, TcpFields};
use crate::nic::Frame;
use crate::wire::U32;
use crate::wire::checksum::Sum;
use crate::wire::tcp_options::{USUAL_TIMESTAMPS, kind};

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

    let fields = PlainFields {
        addresses: headers.addresses.get().rotate_left(32),
        ports: headers.ports.get().rotate_left(16),
        seq: reply.seq,
        ack: reply.ack,
        flags: reply.flags,
        window: reply.window,
        ttl,
        options_len: O::LEN as u16,
        payload_len: 0,
    };
    headers.fill(&fields, options.write(rest)?);
    frame.request(None);
    Some(())
}

/// [`super::reply::turn_around`] for a reply that has all options, where no checksum is the NIC's: over IPv6, or with a tag.
#[inline(never)]
pub(super) fn turn_around_full<F: Frame>(
    frame: &mut F,
    layout: Layout,
    ports: Ports,
    reply: &TcpReply,
    ttl: u8,
) -> Result<(), NotWritable> {
    let content = FullAnswer(Answer { ports, reply });
    let options_len = <AllOptions<'_> as PlainOptions>::LEN;
    write_answer(frame, layout, content, options_len, ttl, Offload::NONE)
}

/// One with MSS, timestamps and window scale.
struct FullAnswer<'a>(Answer<'a>);

impl Content for FullAnswer<'_> {
    #[inline(always)]
    fn fields(&self) -> TcpFields {
        self.0.fields()
    }

    #[inline(always)]
    fn write_options(&self, into: &mut [u8]) -> Option<Sum> {
        AllOptions(&self.0.reply.options).write(into)
    }
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
