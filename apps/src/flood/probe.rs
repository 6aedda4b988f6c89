//! [`Probe`]: legitimate connections beside a flood: full TCP, a request, and a reply that is verified.
//!
//! It must never call a SYN-ACK success: a SYN proxy sends one before any server has been asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stack::app::{App, Connect, Cx};
use stack::conn::ConnId;
use stack::nic::Nic;
use stack::tcp::verdict::CloseReason;
use stack::time::Instant;
use workload::Latency;

use super::phase::{Phase, Phases};

/// Connections that begin in one turn at most.
const CONNECTS_PER_TURN: u32 = 16;
/// Parts of a run that are counted apart.
const PHASES: usize = 3;

/// The plan of a probe.
#[derive(Debug, Clone)]
pub(super) struct ProbePlan {
    /// Whom it asks, in turn.
    pub(super) targets: Vec<SocketAddr>,
    /// Connections a second.
    pub(super) rate: u32,
    /// The bytes that it sends on each; may be empty.
    pub(super) request: Vec<u8>,
    /// How the reply must begin; at least a byte.
    pub(super) reply: Vec<u8>,
    /// How long a connection may take, all reconnections together.
    pub(super) timeout: Duration,
    /// How often a connection is opened again that was reset after its handshake.
    pub(super) reconnects: u8,
}

/// Why a connection gave no verified reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum ProbeFault {
    /// A reset answered the SYN.
    Refused,
    /// A reset came after the handshake, once more than `--reconnect` forgives.
    ResetAfterHandshake,
    /// No SYN-ACK in time.
    NoHandshake,
    /// A handshake, and no whole reply in time.
    NoReply,
    /// The reply was another, or ended too early.
    WrongReply,
    /// ICMP, or no route.
    Unreachable,
    /// It could not be opened here: no port or no record.
    NotOpened,
}

impl ProbeFault {
    /// All of them.
    pub(super) const ALL: [Self; 7] = [
        Self::Refused,
        Self::ResetAfterHandshake,
        Self::NoHandshake,
        Self::NoReply,
        Self::WrongReply,
        Self::Unreachable,
        Self::NotOpened,
    ];

    /// The stable name, in snake case.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::ResetAfterHandshake => "reset_after_handshake",
            Self::NoHandshake => "no_handshake",
            Self::NoReply => "no_reply",
            Self::WrongReply => "wrong_reply",
            Self::Unreachable => "unreachable",
            Self::NotOpened => "not_opened",
        }
    }
}

/// The outcomes of the connections that were due in one phase.
#[derive(Debug, Clone)]
pub(super) struct ProbeTally {
    /// Connections that were due.
    pub(super) started: u64,
    /// Those with a verified reply.
    pub(super) verified: u64,
    /// Those of them that were reset after a handshake first.
    pub(super) verified_after_reconnect: u64,
    /// Those without one, by reason.
    pub(super) failed: [u64; ProbeFault::ALL.len()],
    /// From when a connection was due to the last byte of its verified reply.
    pub(super) latency: Latency,
}

impl ProbeTally {
    fn new() -> Self {
        Self {
            started: 0,
            verified: 0,
            verified_after_reconnect: 0,
            failed: [0; ProbeFault::ALL.len()],
            latency: Latency::new(),
        }
    }

    /// Connections whose end is known.
    pub(super) fn ended(&self) -> u64 {
        self.verified + self.failed.iter().sum::<u64>()
    }

    /// Share of the ended ones with a verified reply, 0 to 1; `None` when none has ended.
    pub(super) fn success(&self) -> Option<f64> {
        (self.ended() > 0).then(|| self.verified as f64 / self.ended() as f64)
    }
}

/// The state of a probe, for the control thread.
#[derive(Debug, Clone)]
pub(super) struct ProbeProgress {
    /// Without the flood, during the same flood into a sink, and during the flood.
    pub(super) phases: [ProbeTally; PHASES],
    /// Connections that were due and have not ended.
    pub(super) open: u64,
}

/// The state of a probe for a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ProbeConn {
    /// When it was due.
    due: Instant,
    target: u32,
    phase: u8,
    reconnects: u8,
    matched: u16,
    is_open: bool,
    /// Its end is counted.
    is_over: bool,
}

/// The app.
#[derive(Debug)]
pub(super) struct Probe {
    plan: Arc<ProbePlan>,
    phases: Arc<Phases>,
    tallies: [ProbeTally; PHASES],
    started_at: Option<Instant>,
    /// Connections that were due so far.
    due: u64,
    open: u64,
    /// Reset after the handshake, to be opened again.
    again: Vec<ProbeConn>,
    /// No further connection begins.
    is_stopped: bool,
}

impl Probe {
    pub(super) fn new(plan: Arc<ProbePlan>, phases: Arc<Phases>) -> Self {
        Self {
            plan,
            phases,
            tallies: core::array::from_fn(|_| ProbeTally::new()),
            started_at: None,
            due: 0,
            open: 0,
            again: Vec::new(),
            is_stopped: false,
        }
    }

    /// Its state.
    pub(super) fn progress(&self) -> ProbeProgress {
        ProbeProgress {
            phases: self.tallies.clone(),
            open: self.open,
        }
    }

    /// No further connection begins.
    pub(super) fn stop(&mut self) {
        self.is_stopped = true;
    }

    fn begin_due<N: Nic>(&mut self, cx: &mut Cx<'_, N, ProbeConn>) {
        let phase = match self.phases.current() {
            Phase::Baseline => 0,
            Phase::Sink => 1,
            Phase::Flood => 2,
            // A connection begun now would belong to no figure.
            Phase::Settle | Phase::Quiet => {
                self.started_at = None;
                return;
            }
        };
        let now = cx.now();
        let started = *self.started_at.get_or_insert_with(|| {
            self.due = 0;
            now
        });
        let gap_ns = 1_000_000_000 / u64::from(self.plan.rate.max(1));
        for _ in 0..CONNECTS_PER_TURN {
            let due = started + Duration::from_nanos(gap_ns * self.due);
            if due > now {
                return;
            }
            let target = (self.due % self.plan.targets.len() as u64) as u32;
            self.due += 1;
            self.tallies[phase].started += 1;
            self.open += 1;
            let conn = ProbeConn {
                due,
                target,
                phase: phase as u8,
                ..ProbeConn::default()
            };
            self.connect(cx, conn);
        }
    }

    fn connect<N: Nic>(&mut self, cx: &mut Cx<'_, N, ProbeConn>, mut conn: ProbeConn) {
        conn.is_open = false;
        conn.matched = 0;
        let to = self.plan.targets[conn.target as usize];
        match cx.connect(to, &Connect::default(), conn) {
            Ok(id) => cx.set_timer(id, conn.due + self.plan.timeout),
            Err(_) => self.fail(&mut conn, ProbeFault::NotOpened),
        }
    }

    fn fail(&mut self, conn: &mut ProbeConn, fault: ProbeFault) {
        if core::mem::replace(&mut conn.is_over, true) {
            return;
        }
        self.open -= 1;
        self.tallies[usize::from(conn.phase)].failed[fault as usize] += 1;
    }

    fn succeed(&mut self, conn: &mut ProbeConn, now: Instant) {
        if core::mem::replace(&mut conn.is_over, true) {
            return;
        }
        self.open -= 1;
        let tally = &mut self.tallies[usize::from(conn.phase)];
        tally.verified += 1;
        tally.verified_after_reconnect += u64::from(conn.reconnects > 0);
        let took = now.since(conn.due);
        tally
            .latency
            .record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }
}

impl App for Probe {
    type Conn = ProbeConn;

    fn on_open<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, ProbeConn>,
        conn: ConnId,
        state: &mut ProbeConn,
    ) {
        state.is_open = true;
        let request = &self.plan.request;
        if !request.is_empty() && cx.send_bytes(conn, request) != Ok(request.len()) {
            self.fail(state, ProbeFault::NotOpened);
            cx.abort(conn);
        }
    }

    fn on_data<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, ProbeConn>,
        conn: ConnId,
        state: &mut ProbeConn,
    ) {
        loop {
            let bytes = cx.peek(conn);
            let len = bytes.len();
            if len == 0 {
                return;
            }
            let wanted = &self.plan.reply[usize::from(state.matched)..];
            let compared = wanted.len().min(len);
            let is_right = bytes[..compared] == wanted[..compared];
            let is_whole = compared == wanted.len();
            state.matched += compared as u16;
            // A frame is shorter than that.
            cx.consume(conn, u32::try_from(len).unwrap_or(u32::MAX));
            if !is_right {
                self.fail(state, ProbeFault::WrongReply);
                cx.abort(conn);
                return;
            }
            if is_whole && !state.is_over {
                let now = cx.now();
                self.succeed(state, now);
                cx.close(conn);
            }
        }
    }

    fn on_peer_closed<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, ProbeConn>,
        conn: ConnId,
        state: &mut ProbeConn,
    ) {
        self.fail(state, ProbeFault::WrongReply);
        cx.close(conn);
    }

    /// The time of a connection is over.
    fn on_timer<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, ProbeConn>,
        conn: ConnId,
        state: &mut ProbeConn,
    ) {
        let fault = if state.is_open {
            ProbeFault::NoReply
        } else {
            ProbeFault::NoHandshake
        };
        self.fail(state, fault);
        cx.abort(conn);
    }

    fn on_close<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, ProbeConn>,
        conn: ConnId,
        state: &mut ProbeConn,
        reason: CloseReason,
    ) {
        let _ = conn;
        if state.is_over {
            return;
        }
        if reason == CloseReason::Reset
            && state.is_open
            && state.reconnects < self.plan.reconnects
            && cx.now() < state.due + self.plan.timeout
        {
            state.reconnects += 1;
            // From the next turn: its record is still in use.
            self.again.push(*state);
            return;
        }
        let fault = match reason {
            CloseReason::Refused => ProbeFault::Refused,
            CloseReason::Reset if state.is_open => ProbeFault::ResetAfterHandshake,
            CloseReason::Unreachable(_) => ProbeFault::Unreachable,
            CloseReason::TimedOut { soft: Some(_) } => ProbeFault::Unreachable,
            _ if state.is_open => ProbeFault::NoReply,
            _ => ProbeFault::NoHandshake,
        };
        self.fail(state, fault);
    }

    fn on_tick<N: Nic>(&mut self, cx: &mut Cx<'_, N, ProbeConn>) {
        while let Some(conn) = self.again.pop() {
            self.connect(cx, conn);
        }
        if !self.is_stopped {
            self.begin_due(cx);
        }
    }
}
