//! [`Template`]: the frame of a tuple, written as a copy of one template with addresses, ports, numbers and checksums patched.
//!
//! It must never sum more than what it patches (RFC 1624: the rest was summed once).

use workload::pools::{self, Source};

use super::tuples::{Numbers, Target};

/// Bytes of the longest frame: Ethernet, IPv6, TCP with 20 bytes of options.
pub(crate) const MAX_LEN: usize = 94;
/// Ethernet's shortest frame without FCS, in bytes.
const MIN_LEN: usize = 60;

pub(crate) const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
pub(crate) const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
pub(crate) const IP: usize = 14;
pub(crate) const PROTOCOL_TCP: u8 = 6;
pub(crate) const FLAG_FIN: u8 = 0x01;
pub(crate) const FLAG_SYN: u8 = 0x02;
pub(crate) const FLAG_RST: u8 = 0x04;
pub(crate) const FLAG_PSH: u8 = 0x08;
pub(crate) const FLAG_ACK: u8 = 0x10;
pub(crate) const FLAG_URG: u8 = 0x20;
/// As a current Linux sends them: MSS 1460, SACK-permitted, timestamps (TSval patched), NOP, window scale 7.
const LINUX_OPTIONS: [u8; 20] = [
    2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7,
];
/// Where TSval stands among those.
pub(super) const TSVAL: usize = 8;

/// Which TCP options a segment with SYN carries; others carry none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SynOptions {
    /// None: the shortest SYN, 60 bytes over IPv4
    #[value(name = "bare", alias = "none")]
    Bare,
    /// The options of Linux: MSS 1460, SACK-permitted, timestamps, window scale 7; 74 bytes over IPv4
    Linux,
}

/// The parts that all frames of a template have in common beside their family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Headers {
    /// The generator's link-layer address.
    pub(crate) source_mac: [u8; 6],
    /// TTL or hop limit.
    pub(crate) ttl: u8,
    /// SEG.WND, unscaled.
    pub(crate) window: u16,
    /// Options of segments with SYN.
    pub(crate) options: SynOptions,
}

impl Headers {
    /// As a current Linux sends a SYN: TTL 64, window 64,240.
    pub(crate) const fn linux(source_mac: [u8; 6], options: SynOptions) -> Self {
        Self {
            source_mac,
            ttl: 64,
            window: 64_240,
            options,
        }
    }
}

/// Where things stand in a frame of one family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offsets {
    pub(crate) v6: bool,
    /// Source address; the destination follows it.
    pub(crate) source: usize,
    /// TCP header.
    pub(crate) tcp: usize,
}

impl Offsets {
    pub(crate) const fn of(v6: bool) -> Self {
        if v6 {
            Self {
                v6,
                source: 22,
                tcp: 54,
            }
        } else {
            Self {
                v6,
                source: 26,
                tcp: 34,
            }
        }
    }
}

/// The properties that decide the layout of a frame.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// IPv4 without options, padded.
    Ipv4,
    Ipv4WithOptions,
    Ipv6,
    Ipv6WithOptions,
}

/// A frame with everything in it but the tuple and its numbers.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    bytes: [u8; MAX_LEN],
    len: usize,
    shape: Shape,
    offsets: Offsets,
    flags: u8,
    /// All ones where the segment has ACK set.
    ack_mask: u32,
    /// Sum of the IPv4 header without what is patched.
    ip_sum: u64,
    /// Sum of pseudo-header and TCP header without what is patched.
    tcp_sum: u64,
}

impl Template {
    /// Segments with these control bits in frames of one family.
    pub(crate) fn new(v6: bool, flags: u8, headers: &Headers) -> Self {
        let options: &[u8] = match headers.options {
            SynOptions::Linux if flags & FLAG_SYN != 0 => &LINUX_OPTIONS,
            SynOptions::Linux | SynOptions::Bare => &[],
        };
        let offsets = Offsets::of(v6);
        let mut bytes = [0; MAX_LEN];
        let end = offsets.tcp + 20 + options.len();
        let tcp_len = (end - offsets.tcp) as u16;
        bytes[6..12].copy_from_slice(&headers.source_mac);
        if v6 {
            bytes[12..14].copy_from_slice(&ETHERTYPE_IPV6);
            bytes[IP] = 0x60;
            bytes[IP + 4..IP + 6].copy_from_slice(&tcp_len.to_be_bytes());
            bytes[IP + 6..IP + 8].copy_from_slice(&[PROTOCOL_TCP, headers.ttl]);
        } else {
            bytes[12..14].copy_from_slice(&ETHERTYPE_IPV4);
            bytes[IP] = 0x45;
            bytes[IP + 2..IP + 4].copy_from_slice(&(20 + tcp_len).to_be_bytes());
            bytes[IP + 6] = 0x40; // don't fragment
            bytes[IP + 8..IP + 10].copy_from_slice(&[headers.ttl, PROTOCOL_TCP]);
        }
        let tcp = &mut bytes[offsets.tcp..];
        tcp[12..14].copy_from_slice(&[((tcp_len / 4) as u8) << 4, flags]);
        tcp[14..16].copy_from_slice(&headers.window.to_be_bytes());
        tcp[20..20 + options.len()].copy_from_slice(options);
        Self {
            ip_sum: sum(&bytes[IP..IP + 20]),
            tcp_sum: u64::from(PROTOCOL_TCP) + u64::from(tcp_len) + sum(&bytes[offsets.tcp..end]),
            shape: match (v6, options.is_empty()) {
                (false, true) => Shape::Ipv4,
                (false, false) => Shape::Ipv4WithOptions,
                (true, true) => Shape::Ipv6,
                (true, false) => Shape::Ipv6WithOptions,
            },
            ack_mask: if flags & FLAG_ACK != 0 { u32::MAX } else { 0 },
            len: end.max(MIN_LEN),
            flags,
            bytes,
            offsets,
        }
    }

    /// Bare resets, as they end an embryo: `<SEQ=RCV.NXT><CTL=RST>`.
    pub(crate) fn reset(v6: bool, source_mac: [u8; 6]) -> Self {
        let headers = Headers {
            window: 0,
            ..Headers::linux(source_mac, SynOptions::Bare)
        };
        Self::new(v6, FLAG_RST, &headers)
    }

    /// Bytes of each frame, without FCS.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The control bits of each segment.
    #[inline]
    pub(crate) fn flags(&self) -> u8 {
        self.flags
    }

    /// Where things stand in it.
    #[inline]
    pub(crate) fn offsets(&self) -> Offsets {
        self.offsets
    }

    /// Whether its segments offer timestamps and a window scale.
    #[inline]
    pub(crate) fn offers_options(&self) -> bool {
        matches!(self.shape, Shape::Ipv4WithOptions | Shape::Ipv6WithOptions)
    }

    /// Writes the frame from `source` to `target` into `frame`, which is [`Template::len`] bytes long; a shorter one stays as it
    /// is. Where many frames go to one target, [`Template::aimed`] takes less time.
    #[inline]
    pub(crate) fn write(
        &self,
        frame: &mut [u8],
        source: Source,
        target: &Target,
        numbers: Numbers,
    ) {
        self.aimed(target).write(frame, source, numbers);
    }

    /// The same with a target.
    #[inline]
    pub(crate) fn aimed(&self, target: &Target) -> AimedTemplate {
        let Offsets { v6, source, tcp } = self.offsets;
        let mut template = self.clone();
        let (bytes, to) = (&mut template.bytes, pools::bits(target.address));
        bytes[..6].copy_from_slice(&target.mac);
        bytes[tcp + 2..tcp + 4].copy_from_slice(&target.port.to_be_bytes());
        let address_sum = if v6 {
            bytes[source + 16..source + 32].copy_from_slice(&to.to_be_bytes());
            words(to)
        } else {
            bytes[source + 4..source + 8].copy_from_slice(&(to as u32).to_be_bytes());
            to as u64
        };
        template.ip_sum += address_sum;
        template.tcp_sum += address_sum + u64::from(target.port);
        AimedTemplate(template)
    }
}

/// Which of `count` templates a frame with this identification is made from.
#[inline(always)]
pub(super) fn template_index(ident: u16, count: usize) -> usize {
    (usize::from(ident) * count) >> 16
}

/// The checksum parts that a template's frames have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base {
    /// Sum of the IPv4 header without what is patched, in 16 bits.
    pub(super) ip_sum: u32,
    /// Sum of pseudo-header and TCP header without what is patched, in 16 bits.
    pub(super) tcp_sum: u32,
    /// All ones where the segment has ACK set.
    pub(super) ack_mask: u32,
    /// All ones where the segment has timestamps.
    pub(super) tsval_mask: u32,
}

/// A frame to one target with everything in it but its source and its numbers.
#[derive(Debug, Clone)]
pub(crate) struct AimedTemplate(Template);

impl AimedTemplate {
    /// Bytes of each frame, without FCS.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.len
    }

    /// Writes the frame from `source` into `frame`, which is [`AimedTemplate::len`] bytes long; a shorter one stays as it is.
    #[inline(always)]
    pub(crate) fn write(&self, frame: &mut [u8], source: Source, numbers: Numbers) {
        // Constant lengths: the copy becomes a few vector moves, and no bounds are checked behind it.
        match self.0.shape {
            Shape::Ipv4 => self.write_sized::<60, false, false>(frame, source, numbers),
            Shape::Ipv4WithOptions => self.write_sized::<74, false, true>(frame, source, numbers),
            Shape::Ipv6 => self.write_sized::<74, true, false>(frame, source, numbers),
            Shape::Ipv6WithOptions => self.write_sized::<94, true, true>(frame, source, numbers),
        }
    }

    /// The checksum parts that its frames have in common.
    #[inline]
    pub(super) fn base(&self) -> Base {
        let Template {
            ip_sum,
            tcp_sum,
            ack_mask,
            ..
        } = self.0;
        let has_timestamps = self.0.offers_options();
        Base {
            ip_sum: u32::from(!folded(ip_sum)),
            tcp_sum: u32::from(!folded(tcp_sum)),
            ack_mask,
            tsval_mask: if has_timestamps { u32::MAX } else { 0 },
        }
    }

    /// Its bytes up to [`AimedTemplate::len`].
    #[inline]
    pub(super) fn bytes(&self) -> &[u8; MAX_LEN] {
        &self.0.bytes
    }

    /// Whether its segments offer timestamps and a window scale.
    #[inline]
    pub(super) fn offers_options(&self) -> bool {
        self.0.offers_options()
    }

    #[inline(always)]
    fn write_sized<const LEN: usize, const V6: bool, const TIMESTAMPS: bool>(
        &self,
        frame: &mut [u8],
        from: Source,
        numbers: Numbers,
    ) {
        let template = &self.0;
        let (Ok(frame), Some(bytes)) = (
            <&mut [u8; LEN]>::try_from(frame),
            template.bytes.first_chunk::<LEN>(),
        ) else {
            return;
        };
        *frame = *bytes;
        let Offsets { source, tcp, .. } = const { Offsets::of(V6) };
        let address_sum;
        if V6 {
            address_sum = words(from.address);
            frame[source..source + 16].copy_from_slice(&from.address.to_be_bytes());
        } else {
            address_sum = u64::from(from.address as u32);
            frame[source..source + 4].copy_from_slice(&(from.address as u32).to_be_bytes());
            frame[IP + 4..IP + 6].copy_from_slice(&numbers.ident.to_be_bytes());
            let checksum = folded(template.ip_sum + address_sum + u64::from(numbers.ident));
            frame[IP + 10..IP + 12].copy_from_slice(&checksum.to_be_bytes());
        }
        let ack = numbers.ack & template.ack_mask;
        frame[tcp..tcp + 2].copy_from_slice(&from.port.to_be_bytes());
        frame[tcp + 4..tcp + 8].copy_from_slice(&numbers.seq.to_be_bytes());
        frame[tcp + 8..tcp + 12].copy_from_slice(&ack.to_be_bytes());
        let mut tcp_sum = template.tcp_sum
            + address_sum
            + u64::from(from.port)
            + u64::from(numbers.seq)
            + u64::from(ack);
        if TIMESTAMPS {
            let at = tcp + 20 + TSVAL;
            frame[at..at + 4].copy_from_slice(&numbers.tsval.to_be_bytes());
            tcp_sum += u64::from(numbers.tsval);
        }
        frame[tcp + 16..tcp + 18].copy_from_slice(&folded(tcp_sum).to_be_bytes());
    }
}

/// All four 32-bit words, added.
#[inline]
const fn words(address: u128) -> u64 {
    ((address >> 96) as u32 as u64)
        + ((address >> 64) as u32 as u64)
        + ((address >> 32) as u32 as u64)
        + (address as u32 as u64)
}

/// The one's complement of a sum of at most 65,536 words of 16 or 32 bits (RFC 1071 §1, §2(C)).
#[inline]
pub(super) const fn folded(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    !((sum >> 16) + sum) as u16
}

/// The sum of 16-bit words; `bytes` has an even length.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    bytes
        .chunks_exact(2)
        .map(|word| u64::from(u16::from_be_bytes([word[0], word[1]])))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE_MAC: [u8; 6] = [4; 6];

    fn target(v6: bool) -> Target {
        let address = if v6 { "2001:2::2" } else { "198.18.0.2" };
        Target {
            mac: [2; 6],
            address: address.parse().expect("an address"),
            port: 80,
        }
    }

    fn source(v6: bool, n: u32) -> Source {
        let base = if v6 { "2001:2:0:1::" } else { "198.18.1.0" };
        Source {
            address: pools::bits(base.parse().expect("an address")) + u128::from(n),
            port: (n as u16).wrapping_mul(7919),
        }
    }

    fn numbers(n: u32) -> Numbers {
        let word = n.wrapping_mul(0x9e37_79b9);
        Numbers {
            seq: word,
            ack: !word,
            tsval: word.rotate_left(9),
            ident: (word >> 8) as u16,
        }
    }

    #[test]
    fn every_frame_is_right_by_dpdks_checksums() {
        let flags = [FLAG_SYN, FLAG_ACK, FLAG_SYN | FLAG_ACK, 0, FLAG_RST];
        for (v6, options, len) in [
            (false, SynOptions::Bare, 60),
            (false, SynOptions::Linux, 74),
            (true, SynOptions::Bare, 74),
            (true, SynOptions::Linux, 94),
        ] {
            for flags in flags {
                let template = Template::new(v6, flags, &Headers::linux(SOURCE_MAC, options));
                if flags & FLAG_SYN != 0 {
                    assert_eq!(template.len(), len);
                }
                for n in 0..3000 {
                    let mut frame = [0xaa; MAX_LEN];
                    let frame = &mut frame[..template.len()];
                    template.write(frame, source(v6, n), &target(v6), numbers(n));
                    let packet = &frame[IP..];
                    if v6 {
                        assert_eq!(dpdk::checksum::ipv6_l4(packet), Ok(true));
                    } else {
                        assert_eq!(dpdk::checksum::ipv4_header(packet), Ok(true));
                        assert_eq!(dpdk::checksum::ipv4_l4(packet), Ok(true));
                    }
                }
            }
        }
    }

    #[test]
    fn another_reader_finds_what_was_meant() {
        use etherparse::{NetHeaders, PacketHeaders, TcpOptionElement};
        let headers = Headers {
            ttl: 33,
            window: 777,
            ..Headers::linux(SOURCE_MAC, SynOptions::Linux)
        };
        let template = Template::new(false, FLAG_SYN, &headers);
        let mut frame = [0; 74];
        template.write(&mut frame, source(false, 5), &target(false), numbers(5));
        let read = PacketHeaders::from_ethernet_slice(&frame).expect("a frame");
        let Some(NetHeaders::Ipv4(ip, _)) = read.net else {
            panic!("no IPv4")
        };
        assert_eq!(
            (ip.source, ip.destination),
            ([198, 18, 1, 5], [198, 18, 0, 2])
        );
        assert_eq!((ip.time_to_live, ip.dont_fragment), (33, true));
        let tcp = read
            .transport
            .and_then(|transport| transport.tcp())
            .expect("TCP");
        assert_eq!(
            (tcp.source_port, tcp.destination_port),
            (source(false, 5).port, 80)
        );
        assert_eq!(
            (tcp.sequence_number, tcp.window_size),
            (numbers(5).seq, 777)
        );
        assert!(tcp.syn && !tcp.ack && tcp.acknowledgment_number == 0);
        let options: Vec<_> = tcp.options_iterator().flatten().collect();
        assert_eq!(options[0], TcpOptionElement::MaximumSegmentSize(1460));
        assert_eq!(options[2], TcpOptionElement::Timestamp(numbers(5).tsval, 0));
    }

    #[test]
    fn a_reset_is_bare() {
        let template = Template::reset(false, SOURCE_MAC);
        let mut frame = [0xaa; 60];
        let numbers = Numbers {
            seq: 77,
            ..numbers(1)
        };
        template.write(&mut frame, source(false, 1), &target(false), numbers);
        assert_eq!(dpdk::checksum::ipv4_l4(&frame[IP..]), Ok(true));
        assert_eq!(&frame[38..48], &[0, 0, 0, 77, 0, 0, 0, 0, 0x50, FLAG_RST]);
        assert_eq!(frame[54..], [0; 6]);
    }
}
