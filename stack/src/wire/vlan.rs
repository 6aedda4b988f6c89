//! One 802.1Q tag: [`Tag`], and the VLAN that it names: [`VlanId`] (IEEE 802.1Q §9.6). Two tags (QinQ, 802.1ad) are not supported and are named as a defect.
//!
//! It must never decide which VLAN is ours.

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::U16;
use super::ethernet::EtherType;

/// Bytes that a tag adds to the Ethernet header.
pub const TAG_LEN: usize = 4;

/// The bytes behind the tag protocol identifier 0x8100: the control information and the inner ethertype.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Priority, drop eligibility, VLAN identifier.
    pub tag: Tag,
    /// The type of the payload behind the tag.
    pub ethertype: EtherType,
}

/// Tag control information: priority (3 bits), drop eligible (1), VLAN identifier (12).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct Tag(pub U16);

/// The VLAN of a frame: 1 to 4094, or 0 for a frame without a tag or with a priority tag, which 802.1Q treats alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct VlanId(pub u16);

impl VlanId {
    /// No VLAN: frames without a tag, or with a priority tag.
    pub const UNTAGGED: Self = Self(0);
    /// The highest VLAN; 4095 is reserved.
    pub const LAST: Self = Self(4094);

    /// The VLAN of a frame with this tag or without one: a priority tag (VID 0) counts as none.
    #[must_use]
    #[inline]
    pub const fn of(tag: Option<Tag>) -> Self {
        match tag {
            //~ A priority tag counts as no tag: -> `Some(tag) => Self(if tag.id() == 0 { 4095 } else { tag.id() }),`;
            //~   a_priority_tag_counts_as_no_tag
            Some(tag) => Self(tag.id()),
            None => Self::UNTAGGED,
        }
    }

    /// The tag of a frame in this VLAN, of priority 0; none for [`VlanId::UNTAGGED`].
    #[must_use]
    #[inline]
    pub const fn tag(self) -> Option<Tag> {
        match self.0 {
            0 => None,
            id => Some(Tag::new(id)),
        }
    }
}

/// As users write it: the number, or `untagged`.
impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => write!(f, "untagged"),
            id => write!(f, "{id}"),
        }
    }
}

impl Tag {
    /// A tag of priority 0. Only the lower 12 bits of `id` are used.
    #[must_use]
    pub const fn new(id: u16) -> Self {
        Self(U16::new(id & 0x0fff))
    }

    /// The VLAN identifier: 0 means priority only, 4095 is reserved.
    #[must_use]
    #[inline]
    pub const fn id(self) -> u16 {
        self.0.get() & 0x0fff
    }

    /// The priority, 0 to 7.
    #[must_use]
    pub const fn priority(self) -> u8 {
        (self.0.get() >> 13) as u8
    }
}
