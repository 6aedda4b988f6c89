//! [`Stage`]: a world with actors, run until all plans are done, and the judgement over it.
//!
//! It must never pass what it did not look at: each oracle adds to the list of complaints, and a test is green when the
//! list is empty.

use std::sync::Arc;
use std::time::Duration;

use stack::counters::Counter;
use stack::sim::host::{HostId, HostSpec};
use stack::sim::world::World;
use stack::tcp::state::{STATE_COUNT, State};
use stack::tcp::verdict::{CloseReason, Outcome};
use stack::time::Instant;

use crate::actor::{Actor, Progress};
use crate::intruder::Intruder;
use crate::plan::Plan;
use crate::trouble::{Trouble, What};
use crate::wraps;

/// Buffers that the workers keep at hand when all is over, at most: the stash of the segment writer.
const STASH_FRAMES: usize = 2 * 64;

/// How long a worker sleeps in a world where nothing waits for time but its own timers.
const IDLE: Duration = Duration::from_secs(5);
/// And where an app does: at least this long.
const BUSY: Duration = Duration::from_millis(2);

/// A world of actors.
pub(crate) struct Stage {
    pub(crate) world: World<Actor>,
    pub(crate) plans: Arc<Vec<Plan>>,
    pub(crate) started_at: Instant,
    pub(crate) troubles: Vec<Trouble>,
    pub(crate) intruder: Option<Intruder>,
    /// Segments that parked connections refused, once judged.
    pub(crate) refused_while_parked: u64,
    /// Segments that were refused in SYN-SENT, once judged.
    pub(crate) refused_in_syn_sent: u64,
    /// Connections that were reset because they stood still while others waited for places, once judged.
    pub(crate) evicted: u64,
    /// Neighbours that had to give their place to others, once judged.
    pub(crate) neighbors_evicted: u64,
    /// Paths that were found to carry less than the link, once judged.
    pub(crate) paths_lowered: u64,
    /// And those of them that swallowed what is larger in silence.
    pub(crate) black_holes: u64,
    /// Segments that large ones were taken apart into, once judged.
    pub(crate) taken_apart: u64,
    /// The state of every actor's connections, and all counters of all workers, in a line each, once judged.
    pub(crate) counted: Vec<String>,
    /// Segments that took the fast path on each host, by the state that they met, once judged.
    pub(crate) predicted: Vec<[u64; STATE_COUNT]>,
    manners: Manners,
    /// Hosts that were rebooted: what their actors knew is gone.
    rebooted: Vec<HostId>,
    /// The faults that actors reported before they were gone.
    complaints: Vec<String>,
}

/// Choices that all actors of a stage share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    pub(crate) keepalive: bool,
    pub(crate) r2: Duration,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            keepalive: false,
            r2: Duration::from_secs(100),
        }
    }
}

impl Stage {
    /// Hosts with these specifications, in this order, and an actor on each worker.
    pub(crate) fn new(
        seed: u64,
        start: Instant,
        hosts: &[HostSpec],
        plans: Vec<Plan>,
        manners: Manners,
    ) -> Self {
        let mut world = World::new(seed, start);
        let plans = Arc::new(plans);
        for (host, spec) in hosts.iter().enumerate() {
            let actor = |worker| Self::actor(&plans, host as u16, worker, manners);
            world
                .add_host(spec.clone(), actor)
                .expect("a host that can be built");
        }
        Self {
            world,
            plans,
            started_at: start,
            troubles: Vec::new(),
            intruder: None,
            refused_while_parked: 0,
            refused_in_syn_sent: 0,
            evicted: 0,
            neighbors_evicted: 0,
            paths_lowered: 0,
            black_holes: 0,
            taken_apart: 0,
            counted: Vec::new(),
            predicted: vec![[0; STATE_COUNT]; hosts.len()],
            manners,
            rebooted: Vec::new(),
            complaints: Vec::new(),
        }
    }

    pub(crate) fn actor(plans: &Arc<Vec<Plan>>, host: u16, worker: u16, manners: Manners) -> Actor {
        let mut actor = Actor::new(plans, host, worker);
        actor.keepalive = manners.keepalive;
        actor.r2 = manners.r2;
        actor
    }

    fn actors(&self) -> impl Iterator<Item = &Actor> {
        (0..self.world.hosts())
            .flat_map(|host| self.world.workers(HostId(host)))
            .map(|worker| worker.app())
    }

    /// One side of a plan, from whichever worker has it; what no worker has is a blank.
    pub(crate) fn side(&self, n: usize, side: usize) -> Progress {
        let places = self.actors().map(|actor| &actor.progress[n][side]);
        let mut known = places.filter(|progress| progress.id.is_some());
        known.next().cloned().unwrap_or_default()
    }

    /// Whether a plan is over on both sides, as far as they ever met.
    fn is_over(&self, n: usize) -> bool {
        let (client, server) = (self.side(n, 0), self.side(n, 1));
        let client_is_over = client.over.is_some() || self.is_forgotten(n, 0);
        // A connection that a rebooted host forgot has no id.
        client_is_over && (server.over.is_some() || server.id.is_none())
    }

    /// Whether this side was on a host that lost all that it knew.
    fn is_forgotten(&self, n: usize, side: usize) -> bool {
        let plan = &self.plans[n];
        let host = [plan.client_at.0, plan.server_host][side];
        self.rebooted.contains(&HostId(host))
    }

    /// Begins and ends troubles whose time has come, and lets an intruder have its turn.
    fn disturb(&mut self) {
        let since = self.world.now() - self.started_at;
        for Trouble { host, time, what } in self.troubles.clone() {
            let is_off = self.world.workers(host).next().is_none();
            if what != What::Reboot {
                let trouble = Trouble { host, time, what };
                trouble.apply(&mut self.world, trouble.time.contains(&since));
            } else if since >= time.start && !self.rebooted.contains(&host) {
                self.rebooted.push(host);
                let actors = self.world.workers(host).map(|worker| worker.app());
                let complaints = actors.flat_map(|actor| actor.complaints.clone());
                self.complaints.extend(complaints);
                self.world.power_off(host);
            } else if since >= time.end && is_off {
                let (plans, manners) = (&self.plans, self.manners);
                let reborn = |worker| {
                    let mut actor = Self::actor(plans, host.0, worker, manners);
                    actor.is_reborn = true;
                    actor
                };
                self.world.power_on(host, reborn).expect("memory");
            }
        }
        if let Some(intruder) = &mut self.intruder {
            intruder.act(&mut self.world, &self.plans);
        }
    }

    /// How long workers may sleep so that no actor is late by more than [`BUSY`].
    fn idle(&self) -> Duration {
        let hosts = (0..self.world.hosts()).map(HostId);
        let waits = hosts.flat_map(|host| {
            let now = self.world.clock(host);
            let workers = self.world.workers(host);
            workers.filter_map(move |worker| Some(worker.app().next_at(now)? - now))
        });
        waits.min().unwrap_or(IDLE).clamp(BUSY, IDLE)
    }

    /// Lets time pass until all plans are over, at most for `limit`. Says whether they are.
    pub(crate) fn play(&mut self, limit: Duration) -> bool {
        let deadline = self.started_at + limit;
        let mut step = Duration::from_millis(20);
        loop {
            self.world.set_max_idle(self.idle());
            self.world.run_for(step);
            self.disturb();
            if (0..self.plans.len()).all(|n| self.is_over(n)) {
                return true;
            }
            if self.world.now() > deadline {
                return false;
            }
            step = (step * 5 / 4).min(Duration::from_secs(1));
        }
    }

    /// Lets time pass until no record is left, at most for `limit`. Says whether none is.
    pub(crate) fn rest(&mut self, limit: Duration) -> bool {
        for trouble in &self.troubles {
            trouble.apply(&mut self.world, false);
        }
        self.world.set_max_idle(IDLE);
        let deadline = self.world.now() + limit;
        while self.records() > 0 {
            if self.world.now() > deadline {
                return false;
            }
            self.world.run_for(Duration::from_secs(2));
        }
        true
    }

    fn records(&self) -> u32 {
        (0..self.world.hosts())
            .flat_map(|host| self.world.workers(HostId(host)))
            .map(|worker| worker.table().total())
            .sum()
    }

    /// Plays to the end and says everything that was wrong.
    pub(crate) fn judge(&mut self, limit: Duration) -> Vec<String> {
        let mut wrong = Vec::new();
        if !self.play(limit) {
            for n in 0..self.plans.len() {
                if !self.is_over(n) {
                    let (client, server) = (self.side(n, 0), self.side(n, 1));
                    wrong.push(format!(
                        "plan {n} is stuck: {client:?} {server:?} {:?}",
                        self.plans[n]
                    ));
                }
            }
        }
        for n in 0..self.plans.len() {
            self.judge_plan(n, &mut wrong);
        }
        // Connections that a rebooted host left at its peers may go on until the peer's R2.
        let limit = match self.rebooted.is_empty() {
            true => Duration::from_secs(600),
            false => limit + Duration::from_secs(600),
        };
        if !self.rest(limit) {
            wrong.push(format!("{} records are left", self.records()));
        }
        self.judge_workers(&mut wrong);
        wrong
    }

    fn judge_plan(&self, n: usize, wrong: &mut Vec<String>) {
        let plan = &self.plans[n];
        let is_forgotten = self.is_forgotten(n, 0) || self.is_forgotten(n, 1);
        if !plan.is_orderly() || is_forgotten || self.is_excused(n) {
            return;
        }
        for side in 0..2 {
            let name = ["client", "server"][side];
            let (progress, peer) = (self.side(n, side), self.side(n, 1 - side));
            let due = plan.expected(side).1;
            // TIME-WAIT at the peer ended before its last ACK arrived: by time, recycled, or reopened by a forged SYN. Then
            // our FIN meets a closed port, or a half-open connection that acknowledges nothing of ours. A reset takes away
            // what we hadn't read yet.
            let is_late = match progress.over {
                Some(CloseReason::Reset) => plan.is_lossy || plan.is_reordered,
                Some(CloseReason::TimedOut { .. }) => self.intruder.is_some(),
                _ => false,
            };
            let last_ack_lost =
                is_late && progress.peer_closed && peer.over == Some(CloseReason::Graceful);
            if progress.received != due && !last_ack_lost {
                let received = progress.received;
                wrong.push(format!(
                    "plan {n}, {name}: received {received} of {due} bytes"
                ));
            }
            match progress.over {
                Some(CloseReason::Graceful) | None => {}
                Some(_) if last_ack_lost => {}
                Some(why) => wrong.push(format!("plan {n}, {name}: ended by {why:?}: {plan:?}")),
            }
        }
    }

    /// Whether an orderly plan didn't come to its end for a reason that the plan knows.
    fn is_excused(&self, n: usize) -> bool {
        let plan = &self.plans[n];
        let is_evicted = |side| self.side(n, side).over == Some(CloseReason::Evicted);
        // One that was never accepted is evicted without its application. Where the reset got lost, its client waits in vain.
        let is_reset_before = self.side(n, 0).over.is_some() && self.side(n, 1).id.is_none();
        if plan.may_be_evicted && (is_evicted(0) || is_evicted(1) || is_reset_before) {
            return true;
        }
        match self.side(n, 0).over {
            // A forged SYN in the window of a half-open connection ends it (RFC 9293 §3.10.7.4, fourth check): the server
            // never knew of the client that believes to be connected. What answers its probes then is half of another one.
            Some(CloseReason::Reset | CloseReason::KeepaliveTimedOut) => {
                let is_unknown = self.intruder.is_some() && self.side(n, 1).id.is_none();
                plan.may_be_refused || is_unknown
            }
            // No neighbour answered, or no SYN found room for an embryo.
            Some(
                CloseReason::Unreachable(_) | CloseReason::TimedOut { .. } | CloseReason::Aborted,
            ) => plan.is_lossy && self.side(n, 1).id.is_none(),
            _ => false,
        }
    }

    /// The number that should have wrapped in plan 0 and did not; `None` when its connection never opened, or too late.
    pub(crate) fn missing_wraps(&self) -> Option<Vec<String>> {
        if self.is_excused(0) {
            return None;
        }
        let plan = &self.plans[0];
        let client = HostId(plan.client_at.0);
        let ahead = self.world.clock(client) - self.world.now();
        wraps::missing(self.world.trace(), plan, self.started_at, ahead)
    }

    fn judge_workers(&mut self, wrong: &mut Vec<String>) {
        wrong.append(&mut self.complaints);
        for actor in self.actors() {
            wrong.extend(actor.complaints.iter().cloned());
        }
        let heard = |actor: &Actor| format!("{:?}", actor.progress);
        self.counted = self.actors().map(heard).collect();
        for host in (0..self.world.hosts()).map(HostId) {
            let in_use = self.world.settle(host);
            let workers = self.world.workers(host).count();
            if in_use > STASH_FRAMES * workers {
                let pools = self.world.pools(host);
                wrong.push(format!(
                    "{in_use} buffers of {host:?} are in use: {pools:?}"
                ));
            }
            for (at, worker) in self.world.workers(host).enumerate() {
                let unaccounted = worker.counters().unaccounted();
                if unaccounted != 0 {
                    wrong.push(format!(
                        "{host:?}.{at}: {unaccounted} frames unaccounted for"
                    ));
                }
                let counters = worker.counters();
                let refused = [
                    Counter::ParkedChallenged,
                    Counter::ParkedChallengeLimited,
                    Counter::ParkedDropped,
                ];
                self.refused_while_parked += refused
                    .map(|counter| counters.get(counter))
                    .iter()
                    .sum::<u64>();
                self.refused_in_syn_sent +=
                    worker.tcp_counters().outcome(Outcome::HandshakeIgnored);
                self.evicted += counters.get(Counter::ConnectionsEvicted);
                self.neighbors_evicted += counters.get(Counter::NeighborEvicted);
                self.taken_apart += counters.get(Counter::RxLargeSegments);
                self.paths_lowered += counters.get(Counter::PathMtuLowered);
                let tcp = worker.tcp_counters();
                self.black_holes += tcp.black_holes;
                let own: Vec<u64> = Counter::ALL.iter().map(|&c| counters.get(c)).collect();
                let named: Vec<_> = tcp.named().collect();
                self.counted
                    .push(format!("{own:?} {named:?} {:?}", tcp.transitions));
                for (sum, state) in self.predicted[usize::from(host.0)]
                    .iter_mut()
                    .zip(State::ALL)
                {
                    *sum += tcp.predicted_in(state);
                }
                let queued = worker.queued_items();
                if queued != 0 {
                    wrong.push(format!("{host:?}.{at}: {queued} places in queues in use"));
                }
            }
            self.world.power_off(host);
        }
        wrong.extend(self.world.violations().iter().cloned());
    }
}
