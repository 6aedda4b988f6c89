//! [`Opening`]: how a connection comes into a slot: from an embryo, from a cookie, from a parked record, or by our own SYN.
//!
//! It must never leave a record without its connection or a connection without its record.

use crate::config::Config;
use crate::conn::connections::{Conn, Connections, LinkPeer, NewConn, Slot};
use crate::conn::key::{FlowHash, FlowKey};
use crate::conn::lifecycle::Promoted;
use crate::conn::record::{ConnFlags, Embryo, EndDue, Open, Parked, TickMs};
use crate::conn::{ConnId, ConnTable, Found, StateNumber};
use crate::local::addresses::LocalAddrs;
use crate::path::{Destination, Paths};
use crate::seq::SeqNum;
use crate::tcp::env::Env;
use crate::tcp::handshake::AnsweredSyn;
use crate::tcp::isn::{IsnKey, Remote, Tuple};
use crate::tcp::opening::SynAckSent;
use crate::tcp::predict::{ExpectedSegment, Prediction};
use crate::tcp::profile::ProfileId;
use crate::tcp::profiles::Profiles;
use crate::tcp::tcb::{OpenParams, Tcb};
use crate::time::Instant;
use crate::wire::vlan::VlanId;
use crate::wire::{ipv4, ipv6, tcp};
use core::net::IpAddr;

/// The MSS of a SYN without an MSS option (RFC 9293 MUST-15).
pub(super) const DEFAULT_MSS_V4: u16 = 536;
/// The same for IPv6.
pub(super) const DEFAULT_MSS_V6: u16 = 1220;

/// The MSS of a peer that says none, by family.
#[must_use]
#[inline]
pub(super) const fn default_peer_mss(key: &FlowKey) -> u16 {
    if key.is_v6() {
        DEFAULT_MSS_V6
    } else {
        DEFAULT_MSS_V4
    }
}

/// The MSS that we announce: what fits the link (RFC 9293 MUST-67, RFC 6691: without options).
#[must_use]
#[inline]
pub(super) const fn local_mss(key: &FlowKey, mtu: u16) -> u16 {
    let ip = if key.is_v6() {
        ipv6::HEADER_LEN
    } else {
        ipv4::HEADER_LEN
    };
    mtu.saturating_sub((ip + tcp::HEADER_LEN) as u16)
}

/// Where packets of this flow go.
#[must_use]
pub(super) fn destination(key: &FlowKey, locals: &LocalAddrs) -> Destination {
    let vlan = locals.vlan(key.local()).unwrap_or(VlanId::UNTAGGED);
    Destination {
        vlan,
        address: key.remote(),
    }
}

/// The input of the keyed functions of `tcp` for this flow.
#[must_use]
#[inline]
pub(super) fn tuple(key: &FlowKey) -> Tuple {
    let remote = if key.is_v6() {
        Remote::V6(key.remote_v6())
    } else {
        Remote::V4(key.remote_v4())
    };
    Tuple {
        remote,
        ends: key.ends(),
    }
}

/// [`Conn::ASKS_WAY`] for a connection that we opened, to where there is a next hop.
#[must_use]
pub(super) fn asks_way(key: &FlowKey, listener: u16, config: &Config) -> u16 {
    let is_ours = listener == Open::NO_LISTENER;
    if is_ours && config.next_hop(key.remote()).is_some() {
        Conn::ASKS_WAY
    } else {
        0
    }
}

/// A connection could not come into being; nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRecord;

/// The parts of the worker that opening a connection needs.
pub(super) struct Opening<'a, F> {
    /// Limits and defaults.
    pub(super) config: &'a Config,
    /// The profiles of applications.
    pub(super) profiles: &'a Profiles,
    /// Behind sequence numbers and timestamp offsets.
    pub(super) isn: &'a IsnKey,
    /// Records.
    pub(super) table: &'a mut ConnTable,
    /// Connections.
    pub(super) conns: &'a mut Connections<F>,
    /// Largest IP packet of the link, in bytes.
    pub(super) mtu: u16,
    /// The cache of paths.
    pub(super) paths: &'a Paths,
    /// The time of this turn.
    pub(super) now: Instant,
}

/// The peer's SYN as an embryo or a cookie kept it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeptSyn {
    /// The SYN, as far as it matters still.
    pub(super) syn: AnsweredSyn,
    /// Our ISS.
    pub(super) iss: SeqNum,
    /// The listener, by its number.
    pub(super) listener: u16,
    /// That of the listener.
    pub(super) profile: ProfileId,
    /// The offset to our clock for TSval.
    pub(super) timestamp_offset: u32,
}

/// The places of a connection that opens: its record, and the slot that was taken for it.
#[derive(Debug, Clone, Copy)]
struct Opened {
    found: Found,
    slot: Slot,
    named: (ConnId, StateNumber),
    /// Our VLAN and address, which its key names by their id.
    local: Option<(VlanId, IpAddr)>,
}

impl<F> Opening<'_, F> {
    #[inline(always)]
    fn params(
        &self,
        key: &FlowKey,
        iss: SeqNum,
        timestamp_offset: u32,
        profile: ProfileId,
    ) -> OpenParams {
        let mtu = if self.paths.knows_mtus() {
            self.paths.mtu(destination(key, &self.config.locals))
        } else {
            self.mtu
        };
        let profile = &self.profiles.get(profile).profile;
        OpenParams {
            iss,
            timestamp_offset,
            //~ The MSS that we announce stays the link's: `local_mss: local_mss(key, self.mtu)`
            //~   -> `local_mss: local_mss(key, mtu)`; an_unparked_connection_goes_by_what_is_known_then
            //~ The MSS of a profile limits what is announced: `local_mss(key, self.mtu).min(profile.mss_max)`
            //~   -> `local_mss(key, self.mtu)`; an_active_open_announces_what_its_profile_says
            local_mss: local_mss(key, self.mtu).min(profile.mss_max),
            //~ New connections begin with what is known of the path: `path_mss: local_mss(key, mtu)`
            //~   -> `path_mss: { let _ = mtu; local_mss(key, self.mtu) }`;
            //~   a_packet_too_big_makes_packets_smaller_at_once_and_for_later_connections
            path_mss: local_mss(key, mtu).min(profile.mss_max),
            default_peer_mss: default_peer_mss(key),
            rcv_buf: profile.rcv_buf,
        }
    }

    /// The final ACK of an embryo came. Where it is `expected`, and the new connection takes it in one step, what that did comes
    /// along; else the segment itself is still to be given to it.
    ///
    /// # Errors
    /// [`NoRecord`] when all records of open connections are in use.
    #[inline(always)]
    pub(super) fn embryo(
        &mut self,
        found: Found,
        key: &FlowKey,
        hash: FlowHash,
        local: Option<(VlanId, IpAddr)>,
        expected: Option<&ExpectedSegment>,
    ) -> Result<(Slot, Option<Prediction>), NoRecord> {
        let slot = self.take_slot(key)?;
        let open = |kept: &Embryo| Open::new(slot, kept.listener);
        let Ok(promoted) = self.table.promote_as(found, open) else {
            self.conns.release_slot(slot, key.is_v6());
            return Err(NoRecord);
        };
        let Promoted { found, kept, .. } = promoted;
        let opened = Opened {
            found,
            slot,
            named: (promoted.id, promoted.state),
            local,
        };
        let syn_ack = self.syn_ack_sent(&promoted);
        let kept = KeptSyn {
            syn: kept.syn(),
            iss: kept.iss,
            listener: kept.listener,
            profile: kept.profile,
            timestamp_offset: kept.timestamp_offset,
        };
        Ok(self.passive(opened, key, hash, &kept, (syn_ack, expected)))
    }

    /// When an embryo's SYN-ACK was sent: its first deadline is as far from then as the configuration says. With timestamps
    /// the echo says it, and nothing is looked up.
    #[inline(always)]
    fn syn_ack_sent(&self, promoted: &Promoted) -> SynAckSent {
        let embryo = &promoted.kept;
        if promoted.retransmits > 0 {
            return SynAckSent::Again;
        }
        if embryo.flags.has(ConnFlags::TIMESTAMPS) {
            return SynAckSent::Unknown;
        }
        //~ A SYN-ACK that its SYN drew again gives no sample (Karn): `embryo.flags.has(ConnFlags::ANSWERED_AGAIN)`
        //~   -> `false`; a_syn_ack_sent_twice_says_nothing_of_the_path
        if embryo.flags.has(ConnFlags::ANSWERED_AGAIN) {
            return SynAckSent::Unknown;
        }
        let rto_ms = self.config.handshake.syn_ack_rto.as_millis() as u32;
        //~ When a SYN-ACK was sent follows from its deadline:
        //~   `rto_ms.wrapping_sub(due_in_ms)` -> `0 * rto_ms.wrapping_sub(due_in_ms)`;
        //~   the_ack_of_a_syn_ack_says_how_long_the_path_is
        let due_in_ms = promoted.deadline.since(TickMs::deadline(self.now));
        let ago_ms = rto_ms.wrapping_sub(due_in_ms);
        let ago_ns = u64::from(ago_ms) * 1_000_000;
        SynAckSent::Once(Instant::from_ns(self.now.as_ns().saturating_sub(ago_ns)))
    }

    /// The ACK of a cookie came; the segment itself is still to be given to the new connection.
    ///
    /// # Errors
    /// [`NoRecord`] when all records of open connections are in use.
    pub(super) fn cookie(
        &mut self,
        key: FlowKey,
        hash: FlowHash,
        kept: &KeptSyn,
    ) -> Result<Slot, NoRecord> {
        let slot = self.take_slot(&key)?;
        let record = Open::new(slot, kept.listener);
        let inserted = self.table.insert_open(&key, hash, &record);
        let local = self.config.locals.locate(key.local());
        let opened = self.opened(slot, &key, inserted.ok(), local)?;
        let (slot, _) = self.passive(opened, &key, hash, kept, (SynAckSent::Unknown, None));
        Ok(slot)
    }

    #[inline(always)]
    fn passive(
        &mut self,
        opened: Opened,
        key: &FlowKey,
        hash: FlowHash,
        kept: &KeptSyn,
        (syn_ack, expected): (SynAckSent, Option<&ExpectedSegment>),
    ) -> (Slot, Option<Prediction>) {
        let params = self.params(key, kept.iss, kept.timestamp_offset, kept.profile);
        let (conn, mut env) = self.place(opened, key, hash, kept.profile);
        let window = env.settings.profile.syn_window();
        let (tcb, env, syn) = (&mut conn.tcb, &mut env, &kept.syn);
        let prediction = expected
            .and_then(|segment| tcb.open_expected(&params, syn, (window, syn_ack), segment, env));
        if prediction.is_none() {
            tcb.open_answered(&params, syn, window, syn_ack, env);
        }
        (opened.slot, prediction)
    }

    /// A parked connection has something to do again. The record stays where it is when no other is free.
    ///
    /// # Errors
    /// [`NoRecord`] when all records of open connections are in use, or `found` is stale.
    pub(super) fn unpark(&mut self, found: Found, hash: FlowHash) -> Result<Slot, NoRecord> {
        let key = self.table.key(found).ok_or(NoRecord)?;
        let parked: Parked = *self.table.parked(found).ok_or(NoRecord)?;
        let slot = self.take_slot(&key)?;
        let record = Open::new(slot, parked.listener);
        let unparked = self.table.unpark(found, &record);
        let local = self.config.locals.locate(key.local());
        let opened = self.opened(slot, &key, unparked.ok(), local)?;
        // Its ISS is history: what it sends is counted from here.
        let offset = self.isn.timestamp_offset_ms(tuple(&key));
        let params = self.params(&key, parked.snd_nxt, offset, parked.profile);
        let tcb = parked.tcb(self.now);
        let link = self.link(&key);
        //~ An unparked connection has its profile: -> `let profile = ProfileId::DEFAULT;`; it_outlasts_parking
        let profile = parked.profile;
        let asks_way = asks_way(&key, parked.listener, self.config);
        let (conn, env) = self.place(opened, &key, hash, profile);
        conn.tcb = Tcb::unpark(params, &tcb, &env);
        // A connection parks only once an application has taken it over.
        conn.set(Conn::OWNED | Conn::ANNOUNCED | asks_way);
        conn.link = link;
        if parked.flags.is_work_due() {
            //~ A remembered close or shutdown is done on unparking;
            //~   what_was_remembered_is_done_when_a_segment_unparks_it
            self.make_up_for(slot, parked.flags);
        }
        Ok(slot)
    }

    /// The application's commands to a connection while no open record was free for it.
    #[cold]
    fn make_up_for(&mut self, slot: Slot, asked: ConnFlags) {
        let Some(mut parts) = self.conns.parts(slot) else {
            return;
        };
        if asked.has(ConnFlags::WANTS_ROOM) {
            parts.conn.set(Conn::WANTS_ROOM);
        }
        let (tcb, mut env) = parts.protocol(self.profiles, self.now);
        //~ Keepalive switched on while parked starts its clock; keepalive_unparks_it_when_there_is_a_record
        tcb.on_profile(&env);
        match asked.end_due() {
            None => {}
            Some(EndDue::Shutdown) => drop(tcb.shutdown(&mut env)),
            Some(EndDue::Close) => drop(tcb.close(&mut env)),
            Some(EndDue::Abort) => drop(tcb.abort(&mut env)),
        }
        parts.mark_dirty();
    }

    /// Our own SYN is to be sent, from this VLAN and address, to where earlier connections went.
    ///
    /// # Errors
    /// [`NoRecord`] when all records of open connections are in use.
    pub(super) fn connect(
        &mut self,
        key: FlowKey,
        hash: FlowHash,
        profile: ProfileId,
        local: (VlanId, IpAddr),
        link: Option<LinkPeer>,
    ) -> Result<Slot, NoRecord> {
        let iss = self.isn.iss(tuple(&key), self.now);
        let slot = self.take_slot(&key)?;
        let record = Open::new(slot, Open::NO_LISTENER);
        let inserted = self.table.insert_open(&key, hash, &record);
        let opened = self.opened(slot, &key, inserted.ok(), Some(local))?;
        let offset = self.isn.timestamp_offset_ms(tuple(&key));
        let params = self.params(&key, iss, offset, profile);
        let asks_way = asks_way(&key, Open::NO_LISTENER, self.config);
        let (conn, mut env) = self.place(opened, &key, hash, profile);
        conn.tcb.open_actively(&params, &mut env);
        conn.set(Conn::OWNED | asks_way);
        if link.is_none() {
            conn.set(Conn::SEEKS_WAY);
        }
        conn.link = link;
        Ok(slot)
    }

    /// A slot for a connection that is about to open.
    #[inline(always)]
    fn take_slot(&mut self, key: &FlowKey) -> Result<Slot, NoRecord> {
        self.conns.take_slot(key.is_v6()).ok_or(NoRecord)
    }

    /// The record opened for the connection in `slot`; without a record the slot is free again.
    #[inline(always)]
    fn opened(
        &mut self,
        slot: Slot,
        key: &FlowKey,
        record: Option<Found>,
        local: Option<(VlanId, IpAddr)>,
    ) -> Result<Opened, NoRecord> {
        let Some(found) = record else {
            self.conns.release_slot(slot, key.is_v6());
            return Err(NoRecord);
        };
        let named = self.table.named_found(found);
        Ok(Opened {
            found,
            slot,
            named,
            local,
        })
    }

    /// Where earlier connections to the same destination reached it lately.
    fn link(&self, key: &FlowKey) -> Option<LinkPeer> {
        let destination = destination(key, &self.config.locals);
        self.paths.link(destination, self.now)
    }

    /// The connection in its slot, begun but for its protocol, and what that is begun with.
    #[inline(always)]
    fn place(
        &mut self,
        opened: Opened,
        key: &FlowKey,
        hash: FlowHash,
        profile: ProfileId,
    ) -> (&mut Conn, Env<'_>) {
        let (id, state) = opened.named;
        let new = NewConn {
            id,
            state,
            found: opened.found,
            key: *key,
            hash,
            profile,
            local: opened.local,
            path_epoch: self.paths.epoch(),
        };
        let (conn, counters) = self.conns.vacate(opened.slot);
        conn.begin(&new);
        let env = Env {
            now: self.now,
            settings: self.profiles.get(profile),
            counters,
        };
        (conn, env)
    }
}
