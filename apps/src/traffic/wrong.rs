//! [`ReplyFault`]: what can be wrong with a reply, each reason with its stable name.
//!
//! The names stand in reports and JSON: a reason may be added, never renamed.

macro_rules! wrong {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal,)+) => {
        /// The first fault found in a reply.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum ReplyFault {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl ReplyFault {
            /// All reasons, in the order in which they are looked for.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The stable text name, in snake case.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

wrong! {
    /// Shorter than the headers that it must have, or than its own lengths say.
    Truncated "truncated",
    /// Not from the endpoint's MAC address to ours.
    Mac "mac",
    /// Neither the IP version of the SYN nor ARP or neighbour discovery.
    EtherType "ether_type",
    /// An IP header that no endpoint should send here: version, length, fragment, TTL 0, protocol.
    IpHeader "ip_header",
    /// The IPv4 header checksum.
    IpChecksum "ip_checksum",
    /// Not from the endpoint's address, or to an address that sent no SYN.
    Address "address",
    /// The TCP checksum.
    TcpChecksum "tcp_checksum",
    /// Not from the port that was asked, or to a port that sent no SYN.
    Port "port",
    /// Flags other than the expected ones, or reserved bits set.
    Flags "flags",
    /// The sequence number of a reset without ACK in the segment must be 0.
    SequenceNumber "sequence_number",
    /// The acknowledgment number must be the SYN's sequence number plus 1.
    AcknowledgmentNumber "acknowledgment_number",
    /// A reset with options, an option that may not be there, twice, or of the wrong length.
    OptionsMalformed "options_malformed",
    /// A SYN-ACK without MSS (RFC 9293 MUST-14).
    MssMissing "mss_missing",
    /// Timestamps not offered but there, offered but not there, or a wrong echo (RFC 7323 §3.2).
    Timestamps "timestamps",
    /// A window scale that was not offered, or above 14 (RFC 7323 §2).
    WindowScale "window_scale",
    /// SACK-permitted from an endpoint that has no SACK.
    SackPermitted "sack_permitted",
    /// An urgent pointer without URG.
    UrgentPointer "urgent_pointer",
    /// Bytes behind the TCP header.
    Payload "payload",
    /// Ethernet padding that isn't zero: bytes of another packet.
    Padding "padding",
    /// An echo that is not what was sent.
    Echo "echo",
    /// More replies than SYNs.
    Unasked "unasked",
}
