//! [`Conn`]: one open connection, where its protocol meets its queues.
//!
//! It must never know of others, nor of what they share: that is [`super::connections::Connections`].

use core::mem::offset_of;
use core::net::{IpAddr, Ipv4Addr};
use core::num::NonZeroU32;

use super::key::{FlowHash, FlowKey};
use super::record::{Kind, StateNumber, TickMs};
use super::{ConnId, Entry, Found};
use crate::bits::Bits;
use crate::local::addresses::LocalId;
use crate::memory::prefetch_read;
use crate::queue::chunks::Chunks;
use crate::queue::out_of_order::OutOfOrder;
use crate::queue::rx_queue::RxQueue;
use crate::queue::tx_queue::{CURSORS_LEN, TxQueue};
use crate::tcp::env::{Env, TcpCounters};
use crate::tcp::output::Unsent;
use crate::tcp::profile::ProfileId;
use crate::tcp::settings::Settings;
use crate::tcp::tcb::Tcb;
use crate::time::Instant;
use crate::wire::ethernet::MacAddr;
use crate::wire::vlan::VlanId;

/// The link-layer address of the peer or its router, as its last frames had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkPeer {
    /// Where frames of the connection come from, and go to.
    pub mac: MacAddr,
    is_known: Known,
    /// When a valid segment last came from there.
    pub heard_at: TickMs,
}

// A connection has just so much room for an optional one.
const _: () = assert!(size_of::<Option<LinkPeer>>() == 12);

impl LinkPeer {
    /// Frames of the connection come from this address, and did so then.
    #[must_use]
    #[inline(always)]
    pub const fn new(mac: MacAddr, heard_at: TickMs) -> Self {
        Self {
            mac,
            is_known: Known::Yes,
            heard_at,
        }
    }
}

/// A byte with one value: by another one an `Option<LinkPeer>` says that there is none, and so takes no more room than a [`LinkPeer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Known {
    Yes = 1,
}

/// The properties of a new connection.
#[derive(Debug, Clone, Copy)]
pub struct NewConn {
    /// Its name.
    pub id: ConnId,
    /// The number of the application's state for it.
    pub state: StateNumber,
    /// Where its record stands in the table.
    pub found: Found,
    /// Whose it is.
    pub key: FlowKey,
    /// The hash of `key`.
    pub hash: FlowHash,
    /// The profile that its application, or its listener, has chosen.
    pub profile: ProfileId,
    /// Our address and VLAN.
    pub local: Option<(VlanId, IpAddr)>,
    /// [`crate::path::Paths::epoch`] now.
    pub path_epoch: u32,
}

/// One open connection: where buffers meet protocol.
///
/// A request in the usual form touches five of its nine cache lines: the first three with the protocol's numbers, and the last two. What
/// few segments need lies in the four between.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub struct Conn {
    /// The protocol's numbers.
    pub tcb: Tcb,
    /// Data received ahead of a gap.
    pub ahead: OutOfOrder,
    /// Frames that the application has read, from any connection, and keeps here.
    pub kept: RxQueue,
    /// Where its record stands in the table.
    pub found: Found,
    /// The hash of `key`.
    pub hash: FlowHash,
    /// Always zero: what of `tx` is used with each request begins a line.
    spare: [u32; 2],
    /// Data queued for sending and not acknowledged yet.
    pub tx: TxQueue,
    pub(super) bits: Bits,
    /// The profile that its application has chosen.
    pub profile: ProfileId,
    /// The earliest time at which it wants to be called, in ns; `u64::MAX` when there is none. The wheel fires by then.
    pub(super) fires_ns: u64,
    /// Its name.
    pub id: ConnId,
    /// Data received in order and not read yet.
    pub rx: RxQueue,
    /// Whose it is.
    pub key: FlowKey,
    /// Our address and VLAN, which `key` names by their id; `None` until it was looked up.
    pub local: Option<(VlanId, IpAddr)>,
    /// Where its frames go; `None` before the first one came.
    pub link: Option<LinkPeer>,
    /// [`crate::path::Paths::epoch`] when it last asked for its path.
    pub path_epoch: u32,
    /// The number of the application's state for it.
    pub state: StateNumber,
}

// Nine lines, and nothing to spare.
const _: () = assert!(size_of::<Conn>() == 576);
const _: () = assert!(offset_of!(Conn, tx) + CURSORS_LEN == 7 * 64);
const _: () = assert!(offset_of!(Conn, key) == 8 * 64);

impl Conn {
    /// The application has accepted it, or opened it.
    pub const OWNED: u16 = 1;
    /// It stands in the list of those to be asked for output.
    pub(super) const DIRTY: u16 = 1 << 1;
    /// It is there: a place keeps what it held last, so that its lines can be prefetched without reading any of them.
    pub(super) const LIVE: u16 = 1 << 7;
    /// Bytes have arrived that the application has not heard of.
    pub const NEWS: u16 = 1 << 2;
    /// A send was refused: the application is to hear when there is room.
    pub const WANTS_ROOM: u16 = 1 << 3;
    /// The application has heard that the connection opened.
    pub const ANNOUNCED: u16 = 1 << 4;
    /// The application is to hear that the peer closed.
    pub const PEER_CLOSED: u16 = 1 << 5;
    /// It stands in the list of those whose application is to hear of an ICMP error.
    pub(super) const HAS_ERROR: u16 = 1 << 6;
    /// We open it, and knew no link address for its destination: the answer shows one to those that follow.
    pub const SEEKS_WAY: u16 = 1 << 9;
    /// We opened it, to where there is a next hop: its frames go where the neighbour table says, wherever answers come from. A load
    /// balancer with direct server return answers from the link address of a server, and must see what follows.
    pub const ASKS_WAY: u16 = 1 << 11;
    /// The application holds back what fills no segment.
    pub const CORKED: u16 = 1 << 8;
    /// The walk over connections while places are scarce has seen it: the mark of its slot is its own.
    pub(super) const MARKED: u16 = 1 << 10;

    /// A new connection without anything queued, in the place of the one that stood there; its `tcb` is still to be begun.
    #[inline(always)]
    pub fn begin(&mut self, new: &NewConn) {
        // Named without `..`, so that no field can be forgotten.
        let Self {
            tcb: _,
            ahead,
            kept,
            found,
            hash,
            spare: _,
            tx,
            bits,
            profile,
            fires_ns,
            id,
            rx,
            key,
            local,
            link,
            path_epoch,
            state,
        } = self;
        *fires_ns = u64::MAX;
        *tx = TxQueue::default();
        (*rx, *kept) = (RxQueue::default(), RxQueue::default());
        *ahead = OutOfOrder::default();
        (*id, *state, *found) = (new.id, new.state, new.found);
        (*key, *hash) = (new.key, new.hash);
        (*local, *link) = (new.local, None);
        *path_epoch = new.path_epoch;
        *bits = Bits::only(Self::LIVE);
        *profile = new.profile;
    }

    /// A record without a connection.
    pub(super) fn vacant(settings: &Settings, now: Instant) -> Self {
        let (handle, generation) = (0, NonZeroU32::MIN);
        let entry = Entry::from_bits(0);
        let env = Env {
            now,
            settings,
            counters: &mut TcpCounters::default(),
        };
        Self {
            tcb: Tcb::closed(&env),
            fires_ns: u64::MAX,
            spare: [0; 2],
            tx: TxQueue::default(),
            rx: RxQueue::default(),
            ahead: OutOfOrder::default(),
            kept: RxQueue::default(),
            id: ConnId { handle, generation },
            found: Found::new(entry, Kind::Open, generation),
            state: StateNumber(0),
            key: FlowKey::v4(LocalId(0), 0, Ipv4Addr::UNSPECIFIED, 0),
            hash: FlowHash(0),
            local: None,
            link: None,
            path_epoch: 0,
            bits: Bits::NONE,
            profile: ProfileId::DEFAULT,
        }
    }

    /// Whether the bit is set; of several, whether any is.
    #[must_use]
    #[inline]
    pub const fn has(&self, bit: u16) -> bool {
        self.bits.has(bit)
    }

    /// Sets a bit.
    #[inline]
    pub const fn set(&mut self, bit: u16) {
        self.bits.set(bit);
    }

    /// Clears a bit, and says whether it was set.
    #[inline]
    pub const fn take(&mut self, bit: u16) -> bool {
        self.bits.take(bit)
    }

    /// Frees the place: it holds no connection.
    #[inline(always)]
    pub(super) const fn end(&mut self) {
        self.bits = Bits::NONE;
    }

    /// Whether its app has heard of it and of all that happened to it, and nothing else is due for it either.
    #[inline(always)]
    pub(super) fn is_quiet(&self) -> bool {
        /// Without meaning once it is open; what its record says too; and the mark of a walk, which begins anew.
        const OVER: u16 = Conn::SEEKS_WAY | Conn::ASKS_WAY | Conn::MARKED;
        let mut bits = self.bits;
        bits.clear(OVER);
        bits == Bits::only(Self::LIVE | Self::OWNED | Self::ANNOUNCED)
    }

    /// Starts loading what a request in the usual form touches.
    #[inline(always)]
    pub(crate) fn prefetch(&self) {
        self.tcb.prefetch();
        prefetch_read(&self.fires_ns);
        prefetch_read(&self.key);
    }

    /// Whether a queue holds anything.
    #[inline(always)]
    pub(super) const fn has_queued(&self) -> bool {
        let is_empty = self.tx.is_empty()
            && self.rx.is_empty()
            && self.ahead.is_empty()
            && self.kept.is_empty();
        !is_empty
    }

    /// Empties the queues into `freed`.
    #[inline(never)]
    pub(super) fn clear_queues<F>(&mut self, chunks: &mut Chunks<F>, mut freed: impl FnMut(F)) {
        self.tx.clear(chunks, &mut freed);
        self.rx.clear(chunks, &mut freed);
        self.ahead.clear(chunks, &mut freed);
        //~ Kept frames go with their connection; what_is_kept_goes_with_its_connection
        self.kept.clear(chunks, &mut freed);
    }

    /// Marks the bytes queued so far as urgent (RFC 9293 MUST-62).
    pub fn mark_urgent(&mut self) {
        if !self.tx.is_empty() {
            let queued_len = self.tx.len().min(u64::from(u32::MAX >> 1));
            //~ What an app marks is sent as urgent: -> `let _ = queued_len;`;
            //~   what_is_queued_when_the_app_marks_it_is_sent_as_urgent
            self.tcb.mark_urgent(queued_len as u32);
        }
    }

    /// The bytes that the protocol may send next: under a cork, full segments only.
    #[must_use]
    #[inline]
    pub fn unsent(&self) -> Unsent {
        // SYN and FIN in flight are no text: with either there is nothing unsent, or nothing that may be sent yet.
        let unsent = self.tx.len().saturating_sub(self.tcb.flight().into());
        let mut len = unsent.min(u64::from(u32::MAX)) as u32;
        if self.has(Self::CORKED) {
            //~ A cork holds back what fills no segment; full_segments_go_and_the_rest_waits_until_the_cork_is_gone
            len -= len.checked_rem(self.tcb.mss()).unwrap_or(0);
        }
        Unsent { len }
    }

    /// Places for sending that it may hold while they are scarce: as many as the peer has taken segments, and two more; one
    /// while its window is closed. A peer that takes nothing gets no more than it needs to go on.
    #[must_use]
    pub fn earned_places(&self) -> u32 {
        match self.tcb.send_window() {
            //~ A closed window earns one place: -> `u32::MAX => 1,`;
            //~   who_takes_nothing_gets_few_places_while_they_are_scarce
            0 => 1,
            _ => 2 + self.tcb.acked_len() / self.tcb.mss().max(1),
        }
    }
}
