//! [`LinkType`]: what captured frames begin with.
//!
//! It must never guess: a number that it doesn't know is none of these.

/// The link header of a captured frame (<https://www.tcpdump.org/linktypes.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkType {
    /// An Ethernet header.
    Ethernet,
    /// The older format of `tcpdump -i any`: 16 bytes in the place of the link header.
    Sll,
    /// The present format of `tcpdump -i any`: 20 bytes.
    Sll2,
    /// The IP header.
    Raw,
    /// A loopback: the address family in four bytes, in either byte order.
    Loopback,
}

impl LinkType {
    /// By the number in the file.
    #[must_use]
    pub(crate) const fn from_number(number: i32) -> Option<Self> {
        match number {
            0 | 108 => Some(Self::Loopback),
            1 => Some(Self::Ethernet),
            12 | 14 | 101 | 228 | 229 => Some(Self::Raw),
            113 => Some(Self::Sll),
            276 => Some(Self::Sll2),
            _ => None,
        }
    }

    /// As people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ethernet => "Ethernet",
            Self::Sll => "Linux SLL",
            Self::Sll2 => "Linux SLL2",
            Self::Raw => "raw IP",
            Self::Loopback => "loopback",
        }
    }
}
