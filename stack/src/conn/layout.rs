//! A connection's record as it lies in memory: [`RecordV4`] and [`RecordV6`], which differ in the peer's address alone.
//!
//! It stays in its place for a life; when the connection changes its kind, the body changes. Sizes are stated and asserted
//! here; they must not change without a measurement: a byte costs 100 MB in 100 million connections.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::num::NonZeroU32;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute_mut, transmute_ref};

use crate::memory::{Paged, Plain, paged};

use super::key::FlowKey;
use super::record::{Embryo, Kind, Open, Parked, TickMs, TimeWait};
use crate::local::addresses::LocalId;

/// Words of a body: those of a parked connection, which is the largest.
const BODY_WORDS: usize = size_of::<Parked>() / size_of::<u32>();

/// In the bodies of embryos and of TIME-WAIT: the next older record of the queue.
const PREVIOUS: usize = BODY_WORDS - 2;
/// In those: when the record is due.
const DEADLINE: usize = BODY_WORDS - 1;

/// All of a record but the peer's address.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Record {
    /// Odd while the record is in use.
    pub(super) generation: u32,
    ports: u32,
    local: u16,
    /// A [`Kind`].
    kind: u8,
    /// Embryo: SYN-ACK retransmissions so far, which is also the number of its queue. Otherwise meaningless.
    pub(super) level: u8,
    /// Free: next free record. Embryo and TIME-WAIT: next younger one of the queue. Open and parked: number of the app's
    /// state.
    pub(super) link: u32,
    body: [u32; BODY_WORDS],
}

/// The record of an IPv4 connection: one line.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub(super) struct RecordV4 {
    remote: u32,
    record: Record,
}

/// The record of an IPv6 connection: a line and a quarter, packed, so that it never lies in three.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(16))]
pub(super) struct RecordV6 {
    remote: [u64; 2],
    record: Record,
    unused: u32,
}

const _: () = assert!(size_of::<RecordV4>() == 64 && size_of::<RecordV6>() == 80);

paged!(RecordV4);
paged!(RecordV6);

/// The fields of a kind, at the front of a record's body.
pub(super) trait Body: Plain + Copy {
    const KIND: Kind;
    /// The fields in these words. The caller has seen that the record is of this kind.
    fn of(record: &Record) -> &Self;
    fn of_mut(record: &mut Record) -> &mut Self;
}

macro_rules! body {
    ($body:ident, $unused_words:literal) => {
        const _: () = {
            #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
            #[repr(C)]
            struct Padded {
                body: $body,
                unused: [u32; $unused_words],
            }

            impl Body for $body {
                const KIND: Kind = Kind::$body;
                #[inline(always)]
                fn of(record: &Record) -> &Self {
                    let padded: &Padded = transmute_ref!(&record.body);
                    &padded.body
                }
                #[inline(always)]
                fn of_mut(record: &mut Record) -> &mut Self {
                    let padded: &mut Padded = transmute_mut!(&mut record.body);
                    &mut padded.body
                }
            }
        };
    };
}

// The last two words of the first two are those of their queue.
body!(Embryo, 2);
body!(TimeWait, 6);
body!(Open, 9);
body!(Parked, 0);

impl Record {
    #[inline(always)]
    pub(super) const fn kind(&self) -> Kind {
        Kind::from_bits(self.kind)
    }

    /// The generation of a record in use, which is odd.
    #[inline(always)]
    pub(super) const fn generation_in_use(&self) -> NonZeroU32 {
        debug_assert!(self.generation & 1 == 1, "a free record was used");
        match NonZeroU32::new(self.generation | 1) {
            Some(generation) => generation,
            None => NonZeroU32::MIN,
        }
    }

    /// Ends the name of a record that stays in use: its holders must not reach what becomes of it. An odd number stays
    /// odd, so it never becomes zero.
    #[inline(always)]
    pub(super) const fn end_name(&mut self) {
        self.generation = self.generation.wrapping_add(2);
    }

    /// Makes it a record of this kind.
    #[inline(always)]
    pub(super) fn fill<B: Body>(&mut self, body: &B) {
        self.kind = B::KIND as u8;
        *B::of_mut(self) = *body;
    }

    #[inline]
    pub(super) const fn previous(&self) -> u32 {
        self.body[PREVIOUS]
    }

    #[inline]
    pub(super) const fn set_previous(&mut self, previous: u32) {
        self.body[PREVIOUS] = previous;
    }

    #[inline]
    pub(super) const fn deadline(&self) -> TickMs {
        TickMs(self.body[DEADLINE])
    }

    #[inline]
    pub(super) const fn set_deadline(&mut self, deadline: TickMs) {
        self.body[DEADLINE] = deadline.0;
    }

    #[inline]
    fn set_ends(&mut self, key: &FlowKey) {
        self.ports = key.ports();
        self.local = key.local().0;
    }

    /// Zero where ports and local address are those of `key`. All compares of a key are one branch in the end: they nearly
    /// always agree.
    #[inline(always)]
    fn ends_differ(&self, key: &FlowKey) -> u32 {
        (self.ports ^ key.ports()) | u32::from(self.local ^ key.local().0)
    }
}

/// A record of either family.
pub(super) trait Family: Paged {
    fn record(&self) -> &Record;
    fn record_mut(&mut self) -> &mut Record;
    fn set_key(&mut self, key: &FlowKey);
    fn key(&self) -> FlowKey;
    /// Whether the record is that of `key`, whose family was compared before.
    fn is(&self, key: &FlowKey) -> bool;
}

macro_rules! record_of_family {
    () => {
        #[inline(always)]
        fn record(&self) -> &Record {
            &self.record
        }
        #[inline(always)]
        fn record_mut(&mut self) -> &mut Record {
            &mut self.record
        }
    };
}

impl Family for RecordV4 {
    record_of_family!();

    #[inline]
    fn set_key(&mut self, key: &FlowKey) {
        self.remote = key.remote_v4();
        self.record.set_ends(key);
    }

    #[inline]
    fn key(&self) -> FlowKey {
        let Record { ports, local, .. } = self.record;
        let remote = Ipv4Addr::from_bits(self.remote);
        FlowKey::v4(LocalId(local), ports as u16, remote, (ports >> 16) as u16)
    }

    #[inline(always)]
    fn is(&self, key: &FlowKey) -> bool {
        (self.remote ^ key.remote_v4()) | self.record.ends_differ(key) == 0
    }
}

impl Family for RecordV6 {
    record_of_family!();

    #[inline]
    fn set_key(&mut self, key: &FlowKey) {
        let remote = key.remote_v6();
        self.remote = [(remote >> 64) as u64, remote as u64];
        self.record.set_ends(key);
    }

    #[inline]
    fn key(&self) -> FlowKey {
        let Record { ports, local, .. } = self.record;
        let [high, low] = self.remote.map(u128::from);
        let remote = Ipv6Addr::from_bits(high << 64 | low);
        FlowKey::v6(LocalId(local), ports as u16, remote, (ports >> 16) as u16)
    }

    #[inline(always)]
    fn is(&self, key: &FlowKey) -> bool {
        let [high, low] = self.remote;
        let remote = key.remote_v6();
        let differs = (high ^ (remote >> 64) as u64) | (low ^ remote as u64);
        differs | u64::from(self.record.ends_differ(key)) == 0
    }
}
