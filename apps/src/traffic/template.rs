//! [`Template`]: the SYN of a flow, written as a copy of one template with five fields and two checksums patched.
//!
//! It must never sum more than what it patches (RFC 1624: the rest was summed once).

use std::net::{IpAddr, Ipv6Addr};

use super::flow::{Flow, Flows, Numbers};

/// Bytes of the longest frame: Ethernet, IPv6, TCP with 20 bytes of options.
pub(crate) const MAX_LEN: usize = 94;
/// Ethernet's shortest frame without FCS, in bytes.
const MIN_LEN: usize = 60;

pub(crate) const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
pub(crate) const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
pub(crate) const IP: usize = 14;
pub(crate) const FLAG_SYN: u8 = 0x02;
pub(crate) const FLAG_RST: u8 = 0x04;
pub(crate) const FLAG_ACK: u8 = 0x10;
const PROTOCOL_TCP: u8 = 6;
const TTL: u8 = 64;
const WINDOW: u16 = 64_240;
/// As a current Linux sends them: MSS 1460, SACK-permitted, timestamps (TSval patched), NOP, window scale 7.
const LINUX_OPTIONS: [u8; 20] = [
    2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7,
];
/// Where TSval stands among those.
const TSVAL: usize = 8;

/// Which TCP options a SYN carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SynOptions {
    /// None: the shortest SYN, 60 bytes over IPv4
    None,
    /// What Linux offers: MSS 1460, SACK-permitted, timestamps, window scale 7; 74 bytes over IPv4
    Linux,
}

/// Where SYNs go, and from where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// The endpoint's link-layer address.
    pub(crate) mac: [u8; 6],
    /// The generator's link-layer address.
    pub(crate) source_mac: [u8; 6],
    /// The endpoint's address; its family is that of all frames.
    pub(crate) address: IpAddr,
    /// The port that SYNs go to.
    pub(crate) port: u16,
}

/// Where things stand in a frame of one family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offsets {
    pub(crate) v6: bool,
    /// Source address, the part that varies: IPv4 all of it, IPv6 the lower half.
    pub(crate) source: usize,
    /// TCP header.
    pub(crate) tcp: usize,
}

impl Offsets {
    pub(crate) const fn of(v6: bool) -> Self {
        if v6 {
            Self {
                v6,
                source: 30,
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

/// A frame with everything in it but the flow.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    bytes: [u8; MAX_LEN],
    len: usize,
    offsets: Offsets,
    timestamps: bool,
    /// Sum of the IPv4 header without source address.
    ip_sum: u32,
    /// Sum of pseudo-header and TCP header without what is patched.
    tcp_sum: u32,
}

impl Template {
    /// SYNs to `target`.
    pub(crate) fn syn(target: &Target, options: SynOptions) -> Self {
        let options: &[u8] = match options {
            SynOptions::None => &[],
            SynOptions::Linux => &LINUX_OPTIONS,
        };
        Self::new(target, FLAG_SYN, WINDOW, options)
    }

    /// Bare resets to `target`, as they end an embryo: `<SEQ=RCV.NXT><CTL=RST>`.
    pub(crate) fn reset(target: &Target) -> Self {
        Self::new(target, FLAG_RST, 0, &[])
    }

    fn new(target: &Target, flags: u8, window: u16, options: &[u8]) -> Self {
        let offsets = Offsets::of(target.address.is_ipv6());
        let mut bytes = [0; MAX_LEN];
        let end = offsets.tcp + 20 + options.len();
        bytes[..6].copy_from_slice(&target.mac);
        bytes[6..12].copy_from_slice(&target.source_mac);
        let tcp_len = (end - offsets.tcp) as u16;
        match target.address {
            IpAddr::V4(address) => {
                bytes[12..14].copy_from_slice(&ETHERTYPE_IPV4);
                bytes[IP] = 0x45;
                bytes[IP + 2..IP + 4].copy_from_slice(&(20 + tcp_len).to_be_bytes());
                bytes[IP + 6] = 0x40; // don't fragment
                bytes[IP + 8..IP + 10].copy_from_slice(&[TTL, PROTOCOL_TCP]);
                bytes[IP + 16..IP + 20].copy_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                bytes[12..14].copy_from_slice(&ETHERTYPE_IPV6);
                bytes[IP] = 0x60;
                bytes[IP + 4..IP + 6].copy_from_slice(&tcp_len.to_be_bytes());
                bytes[IP + 6..IP + 8].copy_from_slice(&[PROTOCOL_TCP, TTL]);
                let source = Ipv6Addr::from_bits(u128::from(Flows::v6_prefix()) << 64);
                bytes[IP + 8..IP + 24].copy_from_slice(&source.octets());
                bytes[IP + 24..IP + 40].copy_from_slice(&address.octets());
            }
        }
        let tcp = &mut bytes[offsets.tcp..];
        tcp[2..4].copy_from_slice(&target.port.to_be_bytes());
        tcp[12..14].copy_from_slice(&[((tcp_len / 4) as u8) << 4, flags]);
        tcp[14..16].copy_from_slice(&window.to_be_bytes());
        tcp[20..20 + options.len()].copy_from_slice(options);
        let addresses = if offsets.v6 {
            IP + 8..IP + 40
        } else {
            IP + 12..IP + 20
        };
        Self {
            ip_sum: sum(&bytes[IP..IP + 20]),
            tcp_sum: sum(&bytes[addresses])
                + u32::from(PROTOCOL_TCP)
                + u32::from(tcp_len)
                + sum(&bytes[offsets.tcp..end]),
            timestamps: !options.is_empty(),
            len: end.max(MIN_LEN),
            bytes,
            offsets,
        }
    }

    /// Bytes of each frame, without FCS.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where things stand in it.
    #[inline]
    pub(crate) fn offsets(&self) -> Offsets {
        self.offsets
    }

    /// Whether its SYNs offer timestamps and a window scale.
    pub(crate) fn offers_options(&self) -> bool {
        self.timestamps
    }

    /// Writes the frame of `flow` into `frame`, which is [`Template::len`] bytes long; a shorter one stays as it is.
    #[inline]
    pub(crate) fn write(&self, frame: &mut [u8], flow: Flow, numbers: Numbers) {
        // Constant lengths: the copy becomes a few vector moves, and no bounds are checked behind it.
        match (self.len, self.offsets.v6, self.timestamps) {
            (60, false, false) => self.write_sized::<60, false, false>(frame, flow, numbers),
            (74, false, true) => self.write_sized::<74, false, true>(frame, flow, numbers),
            (74, true, false) => self.write_sized::<74, true, false>(frame, flow, numbers),
            _ => self.write_sized::<94, true, true>(frame, flow, numbers),
        }
    }

    #[inline]
    fn write_sized<const LEN: usize, const V6: bool, const TIMESTAMPS: bool>(
        &self,
        frame: &mut [u8],
        flow: Flow,
        numbers: Numbers,
    ) {
        let (Ok(frame), Some(template)) = (
            <&mut [u8; LEN]>::try_from(frame),
            self.bytes.first_chunk::<LEN>(),
        ) else {
            return;
        };
        *frame = *template;
        let Offsets { source, tcp, .. } = const { Offsets::of(V6) };
        let mut address_sum = halves(flow.address as u32);
        if V6 {
            address_sum += halves((flow.address >> 32) as u32);
            frame[source..source + 8].copy_from_slice(&flow.address.to_be_bytes());
        } else {
            frame[source..source + 4].copy_from_slice(&(flow.address as u32).to_be_bytes());
            let checksum = folded(self.ip_sum + address_sum);
            frame[IP + 10..IP + 12].copy_from_slice(&checksum.to_be_bytes());
        }
        frame[tcp..tcp + 2].copy_from_slice(&flow.port.to_be_bytes());
        frame[tcp + 4..tcp + 8].copy_from_slice(&numbers.isn.to_be_bytes());
        let mut tcp_sum = self.tcp_sum + address_sum + u32::from(flow.port) + halves(numbers.isn);
        if TIMESTAMPS {
            let at = tcp + 20 + TSVAL;
            frame[at..at + 4].copy_from_slice(&numbers.tsval.to_be_bytes());
            tcp_sum += halves(numbers.tsval);
        }
        frame[tcp + 16..tcp + 18].copy_from_slice(&folded(tcp_sum).to_be_bytes());
    }
}

/// Both 16-bit halves, added.
#[inline]
const fn halves(word: u32) -> u32 {
    (word >> 16) + (word & 0xffff)
}

/// The one's complement of a sum of at most 65,536 words (RFC 1071 §1).
#[inline]
const fn folded(sum: u32) -> u16 {
    let sum = halves(sum);
    !(halves(sum) as u16)
}

/// The sum of 16-bit words; `bytes` has an even length.
fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks_exact(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 2));
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 2));

    fn target(address: IpAddr) -> Target {
        Target {
            mac: [2; 6],
            source_mac: [4; 6],
            address,
            port: 80,
        }
    }

    #[test]
    fn every_frame_is_right_by_dpdks_checksums() {
        let mut flows = Flows::new([7, 8, 9]);
        for (address, options, len) in [
            (V4, SynOptions::None, 60),
            (V4, SynOptions::Linux, 74),
            (V6, SynOptions::None, 74),
            (V6, SynOptions::Linux, 94),
        ] {
            let template = Template::syn(&target(address), options);
            assert_eq!(template.len(), len);
            for _ in 0..10_000 {
                let flow = flows.next(address.is_ipv6());
                let mut frame = [0xaa; MAX_LEN];
                template.write(&mut frame[..len], flow, flows.numbers(flow));
                let packet = &frame[IP..len];
                if address.is_ipv6() {
                    assert_eq!(dpdk::checksum::ipv6_l4(packet), Ok(true));
                } else {
                    assert_eq!(dpdk::checksum::ipv4_header(packet), Ok(true));
                    assert_eq!(dpdk::checksum::ipv4_l4(packet), Ok(true));
                }
            }
        }
    }

    #[test]
    fn the_endpoint_reads_what_was_meant() {
        use stack::wire::{Transport, parse};
        let flows = Flows::new([7, 8, 9]);
        let flow = Flow {
            address: 0xc612_0305,
            port: 4321,
        };
        let numbers = flows.numbers(flow);
        let template = Template::syn(&target(V4), SynOptions::Linux);
        let mut frame = [0; MAX_LEN];
        template.write(&mut frame[..74], flow, numbers);
        let parsed = parse(&frame[..74]).expect("a frame");
        let Some(Transport::Tcp(segment)) = parsed.transport() else {
            panic!("no TCP")
        };
        assert_eq!(segment.header.seq().0, numbers.isn);
        assert_eq!(segment.header.src_port.get(), 4321);
        assert_eq!(segment.header.dst_port.get(), 80);
    }

    #[test]
    fn a_reset_is_bare() {
        let template = Template::reset(&target(V4));
        let mut frame = [0xaa; 60];
        let flow = Flow {
            address: 0xc612_0305,
            port: 4321,
        };
        template.write(&mut frame, flow, Numbers { isn: 77, tsval: 0 });
        assert_eq!(dpdk::checksum::ipv4_l4(&frame[IP..]), Ok(true));
        assert_eq!(&frame[38..48], &[0, 0, 0, 77, 0, 0, 0, 0, 0x50, FLAG_RST]);
        assert_eq!(frame[54..], [0; 6]);
    }
}
