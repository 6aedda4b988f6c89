//! [`Defect`]: every way in which a frame can be malformed, or unusable for a host, before anybody looks at a
//! connection.
//!
//! It must never overlap: one frame has one defect, the first one that parsing meets from the outside in.

macro_rules! defects {
    ($($(#[doc = $doc:literal])+ $variant:ident => $name:literal,)+) => {
        /// Why a frame was refused while parsing. Parsing stops at the first defect, from the outer header inwards.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Defect {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Defect {
            /// All defects, in the order of their discriminants (which count from 0 without gaps).
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its stable name for counters and reports, in snake case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The defect of the frame, in one sentence.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+),)+
                }
            }
        }
    };
}

defects! {
    /// Shorter than an Ethernet header.
    EthernetTruncated => "ethernet_truncated",
    /// The source address is a group (IEEE 802.3 §3.2.3: a source is an individual address).
    EthernetSource => "ethernet_source",
    /// An 802.3 length instead of a protocol: LLC, spanning tree and the like.
    EthernetLength => "ethernet_length",
    /// A protocol other than IPv4, ARP, IPv6 and 802.1Q.
    EtherType => "ethertype",
    /// The frame ends inside the 802.1Q tag.
    VlanTruncated => "vlan_truncated",
    /// A second tag, or a service tag (QinQ, 802.1ad): not supported.
    VlanNested => "vlan_nested",
    /// Shorter than an ARP packet for Ethernet and IPv4.
    ArpTruncated => "arp_truncated",
    /// Hardware type or length isn't Ethernet's.
    ArpHardware => "arp_hardware",
    /// Protocol type or length isn't IPv4's.
    ArpProtocol => "arp_protocol",
    /// Neither request nor reply.
    ArpOperation => "arp_operation",
    /// The sender's hardware address is a group or zero.
    ArpSenderMac => "arp_sender_mac",
    /// The sender's protocol address can't be a host's (0.0.0.0 is legal in a request: an RFC 5227 probe).
    ArpSenderIp => "arp_sender_ip",
    /// Shorter than an IPv4 header.
    Ipv4Truncated => "ipv4_truncated",
    /// Version isn't 4.
    Ipv4Version => "ipv4_version",
    /// Header length below 20 bytes, or past the packet's end.
    Ipv4HeaderLength => "ipv4_header_length",
    /// Total length below the header's, or past the frame's end.
    Ipv4TotalLength => "ipv4_total_length",
    /// The header checksum is wrong.
    Ipv4Checksum => "ipv4_checksum",
    /// The source can't be a host's: 0/8, loopback, multicast, reserved, broadcast (RFC 1122 §3.2.1.3).
    Ipv4Source => "ipv4_source",
    /// The destination can't be on a wire: 0/8 or loopback (RFC 1122 §3.2.1.3).
    Ipv4Destination => "ipv4_destination",
    /// An option whose length is below two bytes or past the header's end.
    Ipv4Option => "ipv4_option",
    /// A source route, loose or strict, whether it is used up or not (RFC 7126 §4.3, §4.4).
    Ipv4SourceRoute => "ipv4_source_route",
    /// A part that no datagram has: empty, no multiple of 8 bytes and not the last, beyond 65,535 bytes; or reassembly is switched off.
    Ipv4Fragment => "ipv4_fragment",
    /// Shorter than an IPv6 header.
    Ipv6Truncated => "ipv6_truncated",
    /// Version isn't 6.
    Ipv6Version => "ipv6_version",
    /// Payload length past the frame's end.
    Ipv6PayloadLength => "ipv6_payload_length",
    /// The source can't be a host's: multicast, loopback, an IPv4-mapped address.
    Ipv6Source => "ipv6_source",
    /// The destination can't be on a wire: unspecified or loopback (RFC 4291 §2.5.2, §2.5.3).
    Ipv6Destination => "ipv6_destination",
    /// The packet ends inside an extension header.
    Ipv6ExtensionTruncated => "ipv6_extension_truncated",
    /// More extension headers than we walk, or a hop-by-hop header that isn't first (RFC 8200 §4.1).
    Ipv6ExtensionChain => "ipv6_extension_chain",
    /// An unknown option that asks to be discarded (RFC 8200 §4.2), or one past its header's end.
    Ipv6Option => "ipv6_option",
    /// A routing header with segments left: we are no router (RFC 8200 §4.4, RFC 5095).
    Ipv6Routing => "ipv6_routing",
    /// As `ipv4_fragment`, over IPv6; or a fragment behind more than 106 bytes of headers.
    Ipv6Fragment => "ipv6_fragment",
    /// Nothing follows the headers (next header 59).
    Ipv6NoNextHeader => "ipv6_no_next_header",
    /// Shorter than a TCP header.
    TcpTruncated => "tcp_truncated",
    /// Data offset below 5 words, or past the segment's end.
    TcpDataOffset => "tcp_data_offset",
    /// The TCP checksum is wrong.
    TcpChecksum => "tcp_checksum",
    /// The checksum field holds the sum of the pseudo-header alone: the sender left the rest to a NIC, and none was there.
    TcpChecksumOffloaded => "tcp_checksum_offloaded",
    /// Shorter than a UDP header.
    UdpTruncated => "udp_truncated",
    /// UDP length below 8, or past the packet's end.
    UdpLength => "udp_length",
    /// The UDP checksum is wrong, or missing over IPv6 (RFC 8200 §8.1).
    UdpChecksum => "udp_checksum",
    /// Shorter than an ICMP header.
    IcmpTruncated => "icmp_truncated",
    /// The ICMP checksum is wrong.
    IcmpChecksum => "icmp_checksum",
    /// A type or code that a host has no use for (router advertisement, timestamp, Source Quench: RFC 6633…).
    IcmpType => "icmp_type",
    /// An error whose quoted packet is too short or broken to tell the connection.
    IcmpQuote => "icmp_quote",
    /// Shorter than an ICMPv6 header, or than its type needs.
    Icmpv6Truncated => "icmpv6_truncated",
    /// The ICMPv6 checksum is wrong.
    Icmpv6Checksum => "icmpv6_checksum",
    /// A type or code that a host has no use for (multicast listener reports, redirects…).
    Icmpv6Type => "icmpv6_type",
    /// An error whose quoted packet is too short or broken to tell the connection.
    Icmpv6Quote => "icmpv6_quote",
    /// Shorter than its message (RFC 4861 §6.1, §7.1).
    NdpTruncated => "ndp_truncated",
    /// Hop limit isn't 255: it came over a router (RFC 4861 §6.1, §7.1).
    NdpHopLimit => "ndp_hop_limit",
    /// Code isn't 0.
    NdpCode => "ndp_code",
    /// The target is multicast or unspecified.
    NdpTarget => "ndp_target",
    /// Source or destination break the rules of the message (RFC 4861 §6.1, §7.1).
    NdpAddress => "ndp_address",
    /// An option of length zero, past the end, or with a link-layer address of the wrong length.
    NdpOption => "ndp_option",
}
