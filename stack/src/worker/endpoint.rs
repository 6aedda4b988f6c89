//! The state and the decisions of one worker: connection table, listeners, secrets, counters.
//!
//! It must never touch a frame or send: it returns a [`EndpointVerdict`] and the stage writes the reply.

use std::sync::Arc;

use super::classify::Meta;
use super::reply::TcpReply;
use super::token_bucket::TokenBucket;
use crate::config::{ClosedPolicy, Config};
use crate::conn::spent_cookies::SpentCookies;
use crate::conn::{ConnTable, FlowHasher, FlowKey, Found, Parked, Probe};
use crate::counters::{Counter, Counters};
use crate::local::listener::{ListenerConfig, ListenerId, Listeners, ListenersError};
use crate::memory::{MemoryError, PageOptions};
use crate::tcp::cookie::CookieKey;
use crate::tcp::isn::IsnKey;
use crate::tcp::profile::ProfileId;
use crate::tcp::profiles::Profiles;
use crate::tcp::reset::{ListenStep, Reset, answer_closed, listen_step};
use crate::time::Instant;
use crate::worker::accept_queue::AcceptQueues;
use crate::worker::opening::KeptSyn;

/// The secrets of an endpoint, from the system's randomness (or a simulated world's seed), drawn anew at each start and
/// shared by all its workers.
#[derive(Clone, Copy)]
pub struct Secrets {
    /// Behind the flow hash.
    pub flow: [u64; 2],
    /// Behind initial sequence numbers and timestamp offsets.
    pub isn: [u8; 16],
    /// Behind SYN cookies.
    pub cookie: [u8; 16],
    /// Behind local ports.
    pub ports: [u8; 16],
}

/// The fate of a segment's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndpointVerdict {
    /// Its buffer is returned.
    Drop,
    /// It becomes this reset.
    Reset(Reset),
    /// It becomes the reply in [`Endpoint::answer`].
    Reply,
    /// It is a SYN that meets the policy of this listener.
    Syn(ListenerId),
    /// It becomes a SYN-ACK with a cookie, of a listener with this profile.
    Cookie(ProfileId),
    /// It is answered with ICMP port unreachable.
    Unreachable,
    /// It unparks this connection.
    Unpark(Found),
    /// It ends this connection, which needn't be unparked for that.
    ParkedReset(Found),
    /// It makes this embryo a connection of its listener.
    Establish(Found, ListenerId),
    /// It makes [`Endpoint::kept_syn`] a connection.
    EstablishCookie,
}

/// The half of a worker that knows no frames. The sibling files have what it does with embryos and with parked connections.
pub(super) struct Endpoint {
    pub(super) config: Arc<Config>,
    /// The open ports: those of the configuration at first.
    pub(super) listeners: Listeners,
    /// The profiles that applications choose from: at first those of the configuration.
    pub(super) profiles: Profiles,
    pub(super) table: ConnTable,
    pub(super) counters: Counters,
    pub(super) hasher: FlowHasher,
    pub(super) isn: IsnKey,
    pub(super) cookies: CookieKey,
    /// Connections that wait to be accepted.
    pub(super) accept_queues: AcceptQueues,
    /// Embryos per listener, for the backlog.
    pub(super) embryos: Vec<u32>,
    /// Those that have opened a connection.
    pub(super) spent_cookies: SpentCookies,
    /// When the last cookie was sent: ACKs are checked against cookies only while one can be alive.
    pub(super) cookie_sent_at: Option<Instant>,
    /// Largest IP packet of the link, in bytes: our MSS follows from it.
    pub(super) mtu: u16,
    icmp_errors: TokenBucket,
    /// The run ends: no port is open any more.
    pub(super) ports_closed: bool,
    /// The reply of the last [`EndpointVerdict::Reply`]. It stays in one place because copying it right after it was written in
    /// parts stalls on store forwarding, which cost a fifth of a cookie.
    pub(super) answer: TcpReply,
    /// The contents of the cookie of the last [`EndpointVerdict::EstablishCookie`].
    pub(super) kept_syn: Option<KeptSyn>,
}

impl Endpoint {
    pub(super) fn new(
        config: Arc<Config>,
        secrets: &Secrets,
        mtu: u16,
        memory: PageOptions,
    ) -> Result<Self, MemoryError> {
        Ok(Self {
            table: ConnTable::new(&config.limits.records, memory)?,
            counters: Counters::new(),
            hasher: FlowHasher::new(secrets.flow),
            isn: IsnKey::new(&secrets.isn),
            cookies: CookieKey::new(&secrets.cookie),
            spent_cookies: SpentCookies::new(config.limits.spent_cookies, memory)?,
            accept_queues: AcceptQueues::new(&config.listeners, config.limits.records.open.total()),
            embryos: vec![0; config.listeners.open().count()],
            listeners: config.listeners.clone(),
            profiles: config.profiles.clone(),
            cookie_sent_at: None,
            mtu,
            icmp_errors: TokenBucket::new(config.limits.icmp_errors_pps),
            ports_closed: false,
            answer: TcpReply::default(),
            kept_syn: None,
            config,
        })
    }

    /// Whether there may be a record of a segment although [`ConnTable::meet`] found none. `probe` was made when the table had
    /// seen `inserted` insertions: it is stale when this burst has inserted since.
    #[inline(always)]
    pub(super) fn may_be_elsewhere(&self, probe: Probe, inserted: u64) -> bool {
        !probe.is_miss() || self.table.inserted() != inserted
    }

    /// Opens a port.
    pub(super) fn listen(&mut self, config: ListenerConfig) -> Result<ListenerId, ListenersError> {
        let listener = self.listeners.listen(config, &self.config.locals)?;
        //~ A port that opens has an accept queue; a_port_opens_and_serves_and_closes
        self.accept_queues.open(listener, &config);
        self.embryos.push(0);
        Ok(listener)
    }

    /// The listener of this flow's port, while ports are open.
    #[inline(always)]
    pub(super) fn listener_of(&self, key: &FlowKey) -> Option<ListenerId> {
        let listener = self.listeners.find(key.local(), key.local_port());
        listener.filter(|_| !self.ports_closed)
    }

    /// A segment that belongs to no connection and to no listener. Only [`EndpointVerdict::Reset`], [`EndpointVerdict::Drop`] and
    /// [`EndpointVerdict::Unreachable`] come of it.
    #[inline(always)]
    pub(super) fn on_closed(&mut self, meta: &Meta, now: Instant) -> EndpointVerdict {
        let payload_len = u32::from(meta.payload_len);
        let Some(reset) = answer_closed(meta.seq, meta.ack, meta.flags, payload_len) else {
            return self.ended(Counter::RstUnmatched);
        };
        match self.config.closed {
            ClosedPolicy::Rst => self.reset(Counter::RstSent, reset),
            ClosedPolicy::Drop => self.ended(Counter::ClosedDropped),
            ClosedPolicy::Icmp if self.icmp_errors.take(now) => {
                self.counters.bump(Counter::ClosedIcmpSent);
                EndpointVerdict::Unreachable
            }
            ClosedPolicy::Icmp => self.ended(Counter::ClosedIcmpLimited),
        }
    }

    /// A segment that belongs to no connection, for a listener.
    #[inline(always)]
    pub(super) fn on_listener(
        &mut self,
        meta: &Meta,
        bytes: &[u8],
        listener: ListenerId,
        now: Instant,
    ) -> EndpointVerdict {
        match listen_step(meta.ack, meta.flags) {
            ListenStep::IgnoreRst => self.ended(Counter::ListenRst),
            ListenStep::DropSynFin => self.ended(Counter::ListenSynFin),
            ListenStep::Drop => self.ended(Counter::ListenDropped),
            ListenStep::Syn => self.on_syn(listener),
            ListenStep::ResetAck(reset) => self.on_listener_ack(meta, bytes, listener, reset, now),
        }
    }

    /// Whether an ICMP error may be sent now about a frame that has been counted. The limit is one for all errors.
    pub(super) fn may_report(&mut self, now: Instant) -> bool {
        //~ Reports have the limit of all ICMP errors: `self.icmp_errors.take(now)`
        //~   -> `self.icmp_errors.take(now) || true`; reports_share_the_limit_of_icmp_errors
        let may = self.icmp_errors.take(now);
        self.counters.bump(if may {
            Counter::IcmpErrorsSent
        } else {
            Counter::IcmpErrorsLimited
        });
        may
    }

    /// Counts the end of a segment that gets no answer.
    #[inline]
    pub(super) fn ended(&mut self, counter: Counter) -> EndpointVerdict {
        self.counters.bump(counter);
        EndpointVerdict::Drop
    }

    /// Counts the end of a segment that becomes `reset`.
    #[inline(always)]
    pub(super) fn reset(&mut self, counter: Counter, reset: Reset) -> EndpointVerdict {
        self.counters.bump(counter);
        EndpointVerdict::Reset(reset)
    }

    /// Counts the end of a segment that becomes `reply`.
    #[inline(always)]
    pub(super) fn reply(&mut self, counter: Counter, reply: TcpReply) -> EndpointVerdict {
        self.counters.bump(counter);
        self.answer = reply;
        EndpointVerdict::Reply
    }

    /// Adds a parked connection, as if its handshake had just been completed: benchmarks fill the table
    /// with these. False when no record is free or the flow is there already.
    pub(super) fn preload(&mut self, key: &FlowKey, parked: &Parked) -> bool {
        let hash = self.hasher.hash(key);
        self.table.lookup(key, hash).is_none()
            && self.table.insert_parked(key, hash, parked).is_ok()
    }
}
