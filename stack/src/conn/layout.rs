//! The records as they lie in the slabs: a head with generation, link and flow key, then the body of the kind.
//!
//! Each family has its own head, so that an IPv4 record doesn't pay for 16-byte addresses. Sizes are stated and asserted
//! here; they must not change without a measurement.

use core::net::{Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::memory::{Plain, paged};

use super::index::Kind;
use super::key::FlowKey;
use super::record::{Embryo, Open, Parked, TickMs, TimeWait};
use super::slab::SlabRecord;
use crate::local::addresses::LocalId;

/// The front of every IPv4 record.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct HeadV4 {
    /// Odd while the record is in use.
    generation: u32,
    /// Free: next free record. Embryo and TIME-WAIT: next younger one. Open and parked: the connection's handle.
    link: u32,
    remote: u32,
    ports: u32,
    local: u16,
    /// Embryo: SYN-ACK retransmissions so far, which is also the number of its queue. Otherwise 0.
    level: u16,
}

/// The front of every IPv6 record; the fields are those of [`HeadV4`].
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct HeadV6 {
    generation: u32,
    link: u32,
    remote: [u32; 4],
    ports: u32,
    local: u16,
    level: u16,
}

/// What both heads can do.
pub(super) trait Head: Plain + Copy {
    fn set_key(&mut self, key: &FlowKey);
    fn key(&self) -> FlowKey;
    /// Whether the record is that of `key`. The family was compared by whoever chose the slab.
    fn is(&self, key: &FlowKey) -> bool;
    fn generation(&self) -> u32;
    fn set_generation(&mut self, generation: u32);
    fn link(&self) -> u32;
    fn set_link(&mut self, link: u32);
    fn level(&self) -> u16;
    fn set_level(&mut self, level: u16);
}

macro_rules! head_words {
    () => {
        #[inline(always)]
        fn generation(&self) -> u32 {
            self.generation
        }
        #[inline(always)]
        fn set_generation(&mut self, generation: u32) {
            self.generation = generation;
        }
        #[inline(always)]
        fn link(&self) -> u32 {
            self.link
        }
        #[inline(always)]
        fn set_link(&mut self, link: u32) {
            self.link = link;
        }
        #[inline(always)]
        fn level(&self) -> u16 {
            self.level
        }
        #[inline(always)]
        fn set_level(&mut self, level: u16) {
            self.level = level;
        }
    };
}

impl Head for HeadV4 {
    #[inline]
    fn set_key(&mut self, key: &FlowKey) {
        self.remote = key.remote_v4();
        self.ports = key.ports();
        self.local = key.local().0;
    }

    #[inline]
    fn key(&self) -> FlowKey {
        let remote = Ipv4Addr::from_bits(self.remote);
        FlowKey::v4(
            LocalId(self.local),
            self.ports as u16,
            remote,
            (self.ports >> 16) as u16,
        )
    }

    #[inline(always)]
    fn is(&self, key: &FlowKey) -> bool {
        // One branch on the sum of the differences: three compares that nearly always agree need no three branches.
        (self.remote ^ key.remote_v4())
            | (self.ports ^ key.ports())
            | u32::from(self.local ^ key.local().0)
            == 0
    }

    head_words!();
}

impl HeadV6 {
    #[inline(always)]
    fn remote_number(&self) -> u128 {
        let [a, b, c, d] = self.remote;
        u128::from(a) << 96 | u128::from(b) << 64 | u128::from(c) << 32 | u128::from(d)
    }
}

impl Head for HeadV6 {
    #[inline]
    fn set_key(&mut self, key: &FlowKey) {
        let remote = key.remote_v6();
        self.remote = [
            (remote >> 96) as u32,
            (remote >> 64) as u32,
            (remote >> 32) as u32,
            remote as u32,
        ];
        self.ports = key.ports();
        self.local = key.local().0;
    }

    #[inline]
    fn key(&self) -> FlowKey {
        let remote = Ipv6Addr::from_bits(self.remote_number());
        FlowKey::v6(
            LocalId(self.local),
            self.ports as u16,
            remote,
            (self.ports >> 16) as u16,
        )
    }

    #[inline(always)]
    fn is(&self, key: &FlowKey) -> bool {
        let ends = (self.ports ^ key.ports()) | u32::from(self.local ^ key.local().0);
        (self.remote_number() ^ key.remote_v6()) | u128::from(ends) == 0
    }

    head_words!();
}

/// A record of either family.
pub(super) trait Record: SlabRecord {
    type Head: Head;
    type Body: Body;
    fn head(&self) -> &Self::Head;
    fn head_mut(&mut self) -> &mut Self::Head;
    fn body(&self) -> &Self::Body;
    fn body_mut(&mut self) -> &mut Self::Body;
}

/// A kind, by what it keeps: names its two layouts.
pub(super) trait Body: Plain + Copy {
    const KIND: Kind;
    type V4: Record<Head = HeadV4, Body = Self>;
    type V6: Record<Head = HeadV6, Body = Self>;
}

/// A record that stands in a queue ordered by deadline: next is the head's link.
pub(super) trait Queued: Record {
    fn previous(&self) -> u32;
    fn set_previous(&mut self, previous: u32);
    fn deadline(&self) -> TickMs;
    fn set_deadline(&mut self, deadline: TickMs);
}

macro_rules! record {
    ($(#[$doc:meta])* $name:ident, $head:ty, $body:ty, $bytes:literal, $align:literal
     $(, $field:ident: $field_type:ty)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C, align($align))]
        pub(super) struct $name {
            head: $head,
            $($field: $field_type,)*
            body: $body,
        }

        const _: () = assert!(size_of::<$name>() == $bytes && align_of::<$name>() == $align);

        paged!($name);

        impl SlabRecord for $name {
            #[inline(always)]
            fn generation(&self) -> u32 {
                self.head.generation()
            }
            #[inline(always)]
            fn set_generation(&mut self, generation: u32) {
                self.head.set_generation(generation);
            }
            #[inline(always)]
            fn link(&self) -> u32 {
                self.head.link()
            }
            #[inline(always)]
            fn set_link(&mut self, link: u32) {
                self.head.set_link(link);
            }
        }

        impl Record for $name {
            type Head = $head;
            type Body = $body;
            #[inline(always)]
            fn head(&self) -> &$head {
                &self.head
            }
            #[inline(always)]
            fn head_mut(&mut self) -> &mut $head {
                &mut self.head
            }
            #[inline(always)]
            fn body(&self) -> &$body {
                &self.body
            }
            #[inline(always)]
            fn body_mut(&mut self) -> &mut $body {
                &mut self.body
            }
        }
    };
}

macro_rules! queued {
    ($name:ident) => {
        impl Queued for $name {
            #[inline]
            fn previous(&self) -> u32 {
                self.previous
            }
            #[inline]
            fn set_previous(&mut self, previous: u32) {
                self.previous = previous;
            }
            #[inline]
            fn deadline(&self) -> TickMs {
                self.deadline
            }
            #[inline]
            fn set_deadline(&mut self, deadline: TickMs) {
                self.deadline = deadline;
            }
        }
    };
}

record!(
    /// An IPv4 embryo.
    EmbryoV4, HeadV4, Embryo, 60, 4, previous: u32, deadline: TickMs);
record!(
    /// An IPv6 embryo.
    EmbryoV6, HeadV6, Embryo, 72, 4, previous: u32, deadline: TickMs);
record!(
    /// An open IPv4 connection: two to a line.
    OpenV4, HeadV4, Open, 32, 32, unused: [u16; 5]);
record!(
    /// An open IPv6 connection: in one line, whose rest is unused.
    OpenV6, HeadV6, Open, 64, 64, unused: [u16; 15]);
record!(
    /// A parked IPv4 connection: one line, 2 bytes of which are unused.
    ParkedV4, HeadV4, Parked, 64, 64);
record!(
    /// A parked IPv6 connection: 12 bytes more than a line; packed, so 76 bytes rather than 128.
    ParkedV6, HeadV6, Parked, 76, 4);
record!(
    /// An IPv4 connection in TIME-WAIT.
    TimeWaitV4, HeadV4, TimeWait, 48, 4, previous: u32, deadline: TickMs);
record!(
    /// An IPv6 connection in TIME-WAIT.
    TimeWaitV6, HeadV6, TimeWait, 60, 4, previous: u32, deadline: TickMs);

queued!(EmbryoV4);
queued!(EmbryoV6);
queued!(TimeWaitV4);
queued!(TimeWaitV6);

impl Body for Embryo {
    const KIND: Kind = Kind::Embryo;
    type V4 = EmbryoV4;
    type V6 = EmbryoV6;
}

impl Body for Open {
    const KIND: Kind = Kind::Open;
    type V4 = OpenV4;
    type V6 = OpenV6;
}

impl Body for Parked {
    const KIND: Kind = Kind::Parked;
    type V4 = ParkedV4;
    type V6 = ParkedV6;
}

impl Body for TimeWait {
    const KIND: Kind = Kind::TimeWait;
    type V4 = TimeWaitV4;
    type V6 = TimeWaitV6;
}
