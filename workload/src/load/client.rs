//! [`LoadClient`]: the app that begins operations when they are due and accounts for every one of them.
//!
//! It must never begin more than a burst in a turn, never lose an operation between its beginning and its end, and never let
//! a slow target change what is due.

// When and how operations begin.
mod beginning;
// What is asked, and on which connection.
mod choosing;
// Those that take too long.
mod deadlines;
// What waits for a segment of its own.
mod apart;
// How they end.
mod ending;
// Where connections come from.
mod opening;
// Connections that are kept.
mod keeping;
// Bulk transfer.
mod streaming;
// What the stack calls.
mod callbacks;

use core::net::SocketAddr;
use std::collections::VecDeque;

use stack::app::{ConnectError, Cx, Reachability, StaticId};
use stack::nic::Nic;
use stack::rng::Random;
use stack::time::Instant;

use self::apart::Apart;
use self::deadlines::Line;
use self::keeping::OpeningClock;
use super::LoadConn;
use super::backends::Backends;
use super::checksum::{BodyHash, RememberedBody};
use super::counts::LoadCounts;
use super::measure::{Interval, Measures, Step};
use super::plan::{LoadPlan, Pace, ReplyPlan, RequestPlan, Window, Work};
use super::response::{HEAD_MAX, Head};
use super::schedule::RatePiece;
use super::template::WRITTEN_MAX;
use super::under_way::{Connection, Operation, Reading, Slab, Stage};
use crate::remembered_head::RememberedHead;
use crate::tally::{FAULTS, Fault};

/// Operations that were due and never begun, which are looked at one by one at the end; more are counted as that many.
const NEVER_BEGUN_MAX: u64 = 10_000_000;

/// A connection with a failed operation, or one that was to be kept and broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureMark {
    /// Why.
    pub fault: Fault,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
}

/// The phase of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing yet, but the way to the targets.
    Waiting,
    /// Opening connections before the clock starts.
    Filling,
    /// At work.
    Running,
    /// Nothing new begins; what is under way may end.
    Finishing,
}

/// Whether an operation could be begun.
enum Begin {
    Begun,
    /// Every connection is busy.
    Busy,
}

/// The facts of a request that never change.
#[derive(Debug, Clone, Copy)]
struct FixedRequest {
    /// Its bytes in the NIC's memory and their number, once they are registered; `None` where they differ each time.
    bytes: Option<(StaticId, u32)>,
    /// How its reply is read at first.
    reading: Reading,
}

impl FixedRequest {
    fn of(request: &RequestPlan) -> Self {
        Self {
            bytes: None,
            reading: match request.reply {
                ReplyPlan::Exact(_) => Reading::Exact(0),
                ReplyPlan::Http { .. } => Reading::Head,
            },
        }
    }
}

/// The app of one worker.
#[derive(Debug)]
pub struct LoadClient {
    pub(super) plan: LoadPlan,
    phase: Phase,
    /// When the clock of the run started.
    origin_ns: u64,
    /// The facts of each request that never change.
    fixed: Vec<FixedRequest>,
    is_registered: bool,
    /// Of each request, the head of the response that was read last.
    pub(super) last_heads: Vec<RememberedHead<Head>>,
    /// Of each request, the last body that had its checksum.
    pub(super) last_bodies: Vec<RememberedBody>,
    total_weight: u64,
    are_weights_equal: bool,
    /// With [`LoadPlan::apart`].
    apart: Option<Apart>,
    pub(super) operations: Slab<Operation>,
    line: Line,
    pub(super) connections: Slab<Connection>,
    /// Of each target, the connections that can take another operation, the longest unused first.
    listed: Vec<VecDeque<u32>>,
    random: Random,
    opening: OpeningClock,
    /// Connections in [`Stage::Closing`].
    closing: u32,
    /// When it is counted next what is not acknowledged.
    next_count_ns: u64,
    next_target: usize,
    next_number: u64,
    last_begun_ns: Option<u64>,
    /// When every connection was busy last while something was due.
    blocked_ns: u64,
    pub(super) counts: LoadCounts,
    /// All times but those in `interval`.
    measures: Measures,
    /// Whole operations since [`LoadClient::take_interval`] was called last: from their beginning, and from when they were due.
    interval: Interval,
    /// Of operations whose body is summed up, what came so far, by place; empty where none is.
    pub(super) hashes: Vec<Option<BodyHash>>,
    pub(super) backends: Backends,
    /// Failures that were not taken yet, and how many there were of each fault.
    marks: Vec<FailureMark>,
    marked: [u32; FAULTS],
    /// The state of the path to each target.
    ways: Vec<Result<Reachability, ConnectError>>,
    /// Room for a head that came in pieces, and for a request that is written.
    pub(super) scratch: Box<[u8]>,
    written: Vec<u8>,
}

impl LoadClient {
    /// Bytes of this app's own lists per connection, which are no part of the stack's.
    pub const CONNECTION_BYTES: usize = Slab::<Connection>::PLACE_BYTES + size_of::<u32>();

    /// A client that waits. Its stack has room for [`LoadPlan::connections`] connections at least.
    #[must_use]
    pub fn new(plan: LoadPlan) -> Self {
        let connections = plan.connections.max(1);
        let operations = plan.operations.max(1);
        let total_weight = plan.requests.iter().map(|r| u64::from(r.weight)).sum();
        Self {
            phase: Phase::Waiting,
            origin_ns: 0,
            fixed: plan.requests.iter().map(FixedRequest::of).collect(),
            is_registered: false,
            last_heads: vec![RememberedHead::default(); plan.requests.len()],
            last_bodies: vec![RememberedBody::default(); plan.requests.len()],
            total_weight,
            are_weights_equal: plan
                .requests
                .windows(2)
                .all(|two| two[0].weight == two[1].weight),
            apart: plan.apart.then(|| Apart::new(connections)),
            operations: Slab::new(operations),
            line: Line::EMPTY,
            connections: Slab::new(connections),
            // One list where all connections take their turns, whatever their target.
            listed: match plan.work {
                Work::Hold => vec![VecDeque::with_capacity(connections as usize)],
                _ => plan
                    .targets
                    .iter()
                    .map(|_| VecDeque::with_capacity(2 * connections as usize))
                    .collect(),
            },
            random: Random::new(plan.seed),
            opening: OpeningClock::default(),
            closing: 0,
            next_count_ns: 0,
            next_target: 0,
            next_number: 0,
            last_begun_ns: None,
            blocked_ns: 0,
            counts: LoadCounts::default(),
            measures: Measures::default(),
            interval: Interval::default(),
            hashes: match plan
                .requests
                .iter()
                .any(|request| request.checksum.is_some())
            {
                true => vec![None; operations as usize],
                false => Vec::new(),
            },
            backends: Backends::default(),
            marks: Vec::new(),
            marked: [0; FAULTS],
            ways: vec![Ok(Reachability::Asked); plan.targets.len()],
            scratch: vec![0; HEAD_MAX].into(),
            written: Vec::with_capacity(WRITTEN_MAX),
            plan,
        }
    }

    /// Gets ready for operations at other times, over `connections` connections of all workers at most: nothing is under way, and
    /// nothing was timed. Counts go on. There are no more connections than the plan had at first.
    pub fn prepare(&mut self, (pieces, window): (&[RatePiece], Window), connections: u32) {
        self.phase = Phase::Waiting;
        let (worker, workers) = self.plan.share;
        let workers = u32::from(workers.max(1));
        let own = connections / workers + u32::from(u32::from(worker) < connections % workers);
        self.plan.connections = own.clamp(1, self.connections.places().max(1));
        if let Pace::Open(schedule, _) = &mut self.plan.pace {
            *schedule = schedule.again(pieces, self.plan.share);
        }
        self.plan.window = window;
        self.measures = Measures::default();
        self.counts.longest_unasked_ns = 0;
        self.interval = Interval::default();
        self.last_begun_ns = None;
        self.blocked_ns = 0;
    }

    /// Opens all connections that are to be kept; none where they are opened as they are needed.
    pub fn fill(&mut self) {
        self.phase = Phase::Filling;
    }

    /// The clock of the run starts at `origin`.
    pub fn start(&mut self, origin: Instant) {
        self.origin_ns = origin.as_ns();
        self.phase = Phase::Running;
    }

    /// Begins nothing new, and keeps the connections that there are. The clock of the run starts anew with [`LoadClient::start`].
    pub fn pause(&mut self) {
        self.phase = Phase::Waiting;
    }

    /// Begins nothing new. Operations that are due at `now` and were not begun count as never begun, with the time that they
    /// waited.
    pub fn finish(&mut self, now: Instant) {
        if self.phase != Phase::Running {
            self.phase = Phase::Finishing;
            return;
        }
        self.phase = Phase::Finishing;
        self.note_all_unasked(now.as_ns());
        let until_ns = now.as_ns().saturating_sub(self.origin_ns);
        let Pace::Open(schedule, _) = &mut self.plan.pace else {
            return;
        };
        while let Some(due_ns) = schedule.next_ns()
            && due_ns <= until_ns
            && self.counts.never_begun < NEVER_BEGUN_MAX
        {
            schedule.advance();
            self.counts.due += 1;
            self.counts.never_begun += 1;
            if self.plan.window.holds(due_ns) {
                self.counts.window_due += 1;
                let scheduled = self.measures.of(Step::Scheduled);
                scheduled.record_censored(until_ns - due_ns);
            }
        }
    }

    /// Gives up what is under way: its operations count as unfinished, with the time that they have taken; its connections
    /// are reset.
    pub fn give_up<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>) {
        self.phase = Phase::Finishing;
        let now_ns = cx.now().as_ns();
        for index in 0..self.connections.places() {
            while let Some(operation) = self.pop_operation(index) {
                self.counts.unfinished += 1;
                self.record_unended(&operation, now_ns);
            }
            if let Some(id) = self.connections.get(index).map(|conn| conn.id) {
                self.set_stage(index, Stage::Closing, now_ns);
                cx.abort(id);
            }
        }
    }

    /// Whether nothing is under way: no operation, no connection.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.connections.len() == 0
    }

    /// Whether all connections that are to be kept are established, or none are to be kept.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.plan.keeps_all || self.counts.open() >= u64::from(self.plan.connections)
    }

    /// Whether the last operation of [`LoadPlan::count`] or of the schedule has been begun.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        let no_more = match &self.plan.pace {
            Pace::Open(schedule, _) => schedule.next_ns().is_none(),
            Pace::Closed => false,
        };
        self.phase == Phase::Running && (no_more || self.count_left() == 0)
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> &LoadCounts {
        &self.counts
    }

    /// The servers that answered; empty without [`LoadPlan::count_by`].
    #[must_use]
    pub fn backends(&self) -> &Backends {
        &self.backends
    }

    /// Connections that there are, opening and closing ones included.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections.len()
    }

    /// Times so far. Takes memory: once a second at most.
    #[must_use]
    pub fn measures(&self) -> Measures {
        let mut measures = self.measures.clone();
        measures.add(&self.interval);
        measures
    }

    /// Times since the last call. Takes memory: once a second at most.
    pub fn take_interval(&mut self) -> Interval {
        self.measures.add(&self.interval);
        core::mem::take(&mut self.interval)
    }

    /// The first target that can't be reached, or has not been heard of yet; `None` when SYNs to all of them would leave at once.
    #[must_use]
    pub fn unreached(&self) -> Option<(SocketAddr, Result<Reachability, ConnectError>)> {
        let mut ways = self.plan.targets.iter().zip(&self.ways);
        let is_known = |way: &Result<Reachability, ConnectError>| {
            matches!(way, Ok(Reachability::Known | Reachability::Elsewhere))
        };
        ways.find(|(_, way)| !is_known(way))
            .map(|(&target, &way)| (target, way))
    }

    /// Whether there are failures to take.
    #[must_use]
    #[inline]
    pub fn has_marks(&self) -> bool {
        !self.marks.is_empty()
    }

    /// The first failures of each fault that were not taken yet.
    pub fn take_marks(&mut self) -> Vec<FailureMark> {
        core::mem::take(&mut self.marks)
    }

    fn count_left(&self) -> u64 {
        self.plan
            .count
            .map_or(u64::MAX, |count| count.saturating_sub(self.counts.begun))
    }
}
