//! [`World`]: hosts on a switch, in virtual time.
//!
//! It must never let real time, addresses in memory or the order of a hash map decide anything: two runs of one seed are
//! the same to the last byte.

use core::time::Duration;
use std::sync::Arc;

use super::agenda::{Agenda, Event, InFlight};
use super::host::{Host, HostError, HostId, HostPower, HostSpec};
use super::inspect::VlanJudge;
use super::link::{Fate, LinkSpec, Passage, SimLink};
use super::nic::Pools;
use super::nic::SimNic;
use super::referee::Referee;
use super::router::{ROUTER, too_big};
use super::trace::{Crossing, Trace};
use crate::config::Config;
use crate::rng::Random;
use crate::time::Instant;
use crate::worker::Worker;
use crate::worker::app::{App, Cx};

/// The duration of a worker's turn that had something to do.
const TURN: Duration = Duration::from_micros(1);

/// A worker's polling loop notices a frame within this time, so that bursts of several frames form.
const POLL_JITTER: Duration = Duration::from_micros(20);

/// Which wire of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the host to the switch.
    Up,
    /// From the switch to the host.
    Down,
}

/// Hosts, wires, and the time. The same seed and calls give the same world.
pub struct World<A: App> {
    now: Instant,
    agenda: Agenda,
    /// Frames that were put on wires so far.
    frames: u64,
    hosts: Vec<Host<A>>,
    random: Random,
    trace: Trace,
    violations: Vec<String>,
    vlans: VlanJudge,
    referee: Referee,
    /// A worker without anything to do has a turn at least this often.
    max_idle: Duration,
}

impl<A: App> World<A> {
    /// An empty world whose clock shows `start`.
    #[must_use]
    pub fn new(seed: u64, start: Instant) -> Self {
        Self {
            now: start,
            agenda: Agenda::default(),
            frames: 0,
            hosts: Vec::new(),
            random: Random::new(seed),
            trace: Trace::default(),
            violations: Vec::new(),
            vlans: VlanJudge::default(),
            referee: Referee::default(),
            max_idle: Duration::from_millis(10),
        }
    }

    /// How long a worker with nothing to do may sleep besides its own deadlines, which is how exactly apps see time
    /// pass; 10 ms unless set.
    pub fn set_max_idle(&mut self, max_idle: Duration) {
        self.max_idle = max_idle.max(TURN);
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The time by a host's clock.
    #[must_use]
    pub fn clock(&self, host: HostId) -> Instant {
        self.now + self.host(host).spec.clock_ahead
    }

    /// Adds a host and switches it on; `app` makes the app of each worker.
    ///
    /// # Errors
    /// [`HostError`] when its configuration or memory is impossible.
    pub fn add_host(
        &mut self,
        spec: HostSpec,
        app: impl FnMut(u16) -> A,
    ) -> Result<HostId, HostError> {
        let id = self.add_machine(spec)?;
        self.power_on(id, app)?;
        Ok(id)
    }

    /// Adds a peer that the caller plays: it sends what [`World::send`] is given and keeps what it hears.
    ///
    /// # Errors
    /// [`HostError`] when its configuration is impossible.
    pub fn add_station(&mut self, spec: HostSpec) -> Result<HostId, HostError> {
        let id = self.add_machine(spec)?;
        self.host_mut(id).running = HostPower::Station(Vec::new());
        Ok(id)
    }

    fn add_machine(&mut self, spec: HostSpec) -> Result<HostId, HostError> {
        let random = self.random.fork();
        let id = HostId(self.hosts.len() as u16);
        self.hosts.push(Host::new(spec, random)?);
        Ok(id)
    }
}

/// Actions on hosts and wires.
impl<A: App> World<A> {
    /// Switches a host on that is off.
    ///
    /// # Errors
    /// [`HostError`] when the memory is missing.
    pub fn power_on(&mut self, host: HostId, app: impl FnMut(u16) -> A) -> Result<(), HostError> {
        self.host_mut(host).power_on(app)?;
        let bounds = self.host(host).bounds();
        self.referee.on_power_on(host, bounds);
        self.wake(host);
        Ok(())
    }

    /// Power loss: everything on the host ends without a word. A buffer that is not returned is a violation.
    pub fn power_off(&mut self, host: HostId) {
        let leaked = self.host_mut(host).power_off();
        self.referee.on_power_off(host);
        if leaked > 0 {
            self.violate(
                host,
                &format!("{leaked} buffers were not returned at the end"),
            );
        }
    }

    /// Freezes a host, as a stalled hypervisor or a stop in firmware does, or lets it go on. Its workers have no turn meanwhile and
    /// frames wait in the ring of its NIC, those that don't fit being lost; its clock runs on, and what it knew it knows afterwards.
    pub fn set_frozen(&mut self, host: HostId, frozen: bool) {
        self.host_mut(host).is_frozen = frozen;
        if !frozen {
            self.wake(host);
        }
    }

    /// Gives a host another link address, as a new NIC would; it counts from the next [`World::power_on`].
    pub fn set_mac(&mut self, host: HostId, mac: [u8; 6]) {
        self.host_mut(host).spec.mac = mac;
    }

    /// Plugs the cable of a host in or pulls it.
    pub fn set_cable(&mut self, host: HostId, plugged: bool) {
        let host = self.host_mut(host);
        host.up.up = plugged;
        host.down.up = plugged;
    }

    /// One wire of a host, to change what it does.
    pub fn link_mut(&mut self, host: HostId, direction: Direction) -> &mut SimLink {
        let host = self.host_mut(host);
        match direction {
            Direction::Up => &mut host.up,
            Direction::Down => &mut host.down,
        }
    }

    /// Puts a frame of a station (or a forged one of a host) on its wire.
    pub fn send(&mut self, from: HostId, bytes: Vec<u8>) {
        self.transmit(from, bytes, true);
    }

    fn transmit(&mut self, from: HostId, mut bytes: Vec<u8>, is_forged: bool) {
        let (now, at, number) = (self.now, usize::from(from.0), self.frames);
        self.frames += 1;
        let up = &mut self.hosts[at].up;
        let spec = up.spec;
        let (first, second) = up.pass(&mut bytes, Fate::Delivered, now);
        self.answer_too_big(&bytes, first, &spec);
        for outcome in [Some(first), second].into_iter().flatten() {
            match outcome.arrives_at {
                Some(at) => {
                    let frame = InFlight {
                        number,
                        sent_at: now,
                        from,
                        bytes: bytes.clone(),
                        fate: outcome.fate,
                        is_forged,
                    };
                    self.agenda.plan(at, Event::AtSwitch(frame));
                }
                None => self.trace.record(|| Crossing {
                    number,
                    sent_at: now,
                    arrives_at: None,
                    from,
                    to: None,
                    bytes: Arc::from(bytes.as_slice()),
                    fate: outcome.fate,
                }),
            }
        }
    }

    /// Lets the app of one worker act now, outside of its callbacks. `None` when the host has no such worker.
    pub fn act<T>(
        &mut self,
        host: HostId,
        worker: u16,
        act: impl FnOnce(&mut A, &mut Cx<'_, SimNic, A::Conn>) -> T,
    ) -> Option<T> {
        let now = self.clock(host);
        let worker = self.workers_mut(host).nth(usize::from(worker))?;
        let result = worker.with_cx(now, act);
        self.wake(host);
        Some(result)
    }

    /// Gives all workers of a host a turn now: for orders to its app.
    pub fn wake(&mut self, host: HostId) {
        self.plan_turns(host, self.now);
    }
}

/// Time.
impl<A: App> World<A> {
    /// Lets time pass until `at`.
    pub fn run_until(&mut self, at: Instant) {
        while self.next_at().is_some_and(|next| next <= at) {
            self.step();
        }
        self.now = self.now.max(at);
    }

    /// Lets time pass for so long.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Lets time pass while `condition` holds, at most until `deadline`. Says whether it ended before.
    pub fn run_while(
        &mut self,
        deadline: Instant,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> bool {
        while condition(self) {
            if self.next_at().is_none_or(|next| next > deadline) {
                self.now = self.now.max(deadline);
                return false;
            }
            self.step();
        }
        true
    }

    /// When something happens next.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        self.agenda.next_at()
    }

    /// Lets the next thing happen. False when nothing will ever happen.
    pub fn step(&mut self) -> bool {
        let Some((at, event)) = self.agenda.pop() else {
            return false;
        };
        self.now = self.now.max(at);
        match event {
            Event::Turn(host, worker) => self.turn(host, worker, at),
            Event::AtSwitch(frame) => self.forward(&frame),
            Event::AtHost(host, frame) => self.deliver(host, &frame),
        }
        true
    }

    /// Plans a turn, unless an earlier one is planned.
    fn plan_turn(&mut self, host: HostId, worker: u16, at: Instant) {
        if let HostPower::Stack(seats) = &mut self.host_mut(host).running
            && let Some(seat) = seats.get_mut(usize::from(worker))
            && seat.turn_at.is_none_or(|planned| planned > at)
        {
            seat.turn_at = Some(at);
            self.agenda.plan(at, Event::Turn(host, worker));
        }
    }

    fn plan_turns(&mut self, host: HostId, at: Instant) {
        for worker in 0..self.host(host).spec.workers {
            self.plan_turn(host, worker, at);
        }
    }

    /// Plans turns of those workers to which another has handed something over: real ones always look.
    fn wake_siblings(&mut self, host: HostId, at: Instant) {
        let workers = self.workers(host).enumerate();
        let woken = workers.filter(|(_, worker)| worker.has_handovers());
        // A host has 64 workers at most.
        let woken = woken.fold(0u64, |woken, (worker, _)| woken | 1 << worker);
        for worker in (0..64).filter(|worker| woken >> worker & 1 == 1) {
            self.plan_turn(host, worker, at);
        }
    }

    fn turn(&mut self, host: HostId, worker: u16, planned_at: Instant) {
        let (now, max_idle) = (self.now, self.max_idle);
        let (its_now, ahead) = (self.clock(host), self.host(host).spec.clock_ahead);
        let host_mut = self.host_mut(host);
        let is_frozen = host_mut.is_frozen;
        let HostPower::Stack(seats) = &mut host_mut.running else {
            return;
        };
        let Some(seat) = seats.get_mut(usize::from(worker)) else {
            return;
        };
        if seat.turn_at != Some(planned_at) {
            return;
        }
        seat.turn_at = None;
        if is_frozen {
            return;
        }
        let received = seat.worker.turn(its_now);
        let deadline = seat.worker.next_due(its_now);
        let nic = seat.worker.nic_mut();
        let (sent, violations) = (nic.take_wire(), nic.take_violations());
        let waits = nic.take_left_behind() || nic.has_received();
        //~ A worker notices at once what another has handed over; a_worker_notices_at_once_what_another_has_handed_over
        self.wake_siblings(host, now + TURN);
        if received > 0 || !sent.is_empty() || waits {
            self.plan_turn(host, worker, now + TURN);
        } else {
            let latest = now + max_idle;
            let in_ours = |at: Instant| Instant::ZERO + (at - (Instant::ZERO + ahead));
            let at = deadline.map_or(latest, |at| in_ours(at).clamp(now + TURN, latest));
            self.plan_turn(host, worker, at);
        }
        for violation in violations {
            self.violate(host, &violation);
        }
        for bytes in sent {
            self.judge(host, &bytes);
            self.transmit(host, bytes, false);
        }
    }

    /// The switch gives a frame to the host that has its destination address.
    fn forward(&mut self, frame: &InFlight) {
        let now = self.now;
        let destination = frame.bytes.get(..6).unwrap_or(&[]);
        let mut heard = false;
        for at in 0..self.hosts.len() {
            let to = HostId(at as u16);
            if to == frame.from || !self.hosts[at].hears(destination) {
                continue;
            }
            heard = true;
            let mut bytes = frame.bytes.clone();
            let down = &mut self.hosts[at].down;
            let spec = down.spec;
            let (first, second) = down.pass(&mut bytes, frame.fate, now);
            self.answer_too_big(&bytes, first, &spec);
            for outcome in [Some(first), second].into_iter().flatten() {
                self.arrive(frame, to, &bytes, outcome);
            }
        }
        if !heard {
            self.trace.record(|| Crossing {
                number: frame.number,
                sent_at: frame.sent_at,
                arrives_at: None,
                from: frame.from,
                to: None,
                bytes: Arc::from(frame.bytes.as_slice()),
                fate: Fate::NoReceiver,
            });
        }
    }

    /// The router in front of a link informs the sender of a packet that the link is too small for.
    fn answer_too_big(&mut self, bytes: &[u8], outcome: Passage, link: &LinkSpec) {
        if outcome.fate != Fate::TooBig {
            return;
        }
        self.referee.on_too_big();
        if !link.answers_too_big {
            return;
        }
        if let Some(bytes) = too_big(bytes, link.mtu) {
            let error = InFlight {
                number: self.frames,
                sent_at: self.now,
                from: ROUTER,
                bytes,
                fate: Fate::Delivered,
                is_forged: false,
            };
            self.agenda.plan(self.now, Event::AtSwitch(error));
        }
    }

    fn arrive(&mut self, frame: &InFlight, to: HostId, bytes: &[u8], outcome: Passage) {
        self.trace.record(|| Crossing {
            number: frame.number,
            sent_at: frame.sent_at,
            arrives_at: outcome.arrives_at,
            from: frame.from,
            to: Some(to),
            bytes: Arc::from(bytes),
            fate: outcome.fate,
        });
        if let Some(at) = outcome.arrives_at {
            let frame = InFlight {
                bytes: bytes.to_vec(),
                fate: outcome.fate,
                ..*frame
            };
            self.agenda.plan(at, Event::AtHost(to, frame));
        }
    }

    fn deliver(&mut self, to: HostId, frame: &InFlight) {
        let now = self.now;
        let host = &mut self.hosts[usize::from(to.0)];
        let mut random = host.arrivals.next(&frame.bytes);
        let jitter = random.duration_up_to(POLL_JITTER);
        let queue = host.queue_of(&frame.bytes, &mut random);
        let is_taken = match &mut host.running {
            HostPower::Off => false,
            HostPower::Station(inbox) => {
                inbox.push((now, frame.bytes.clone()));
                true
            }
            HostPower::Stack(seats) => {
                let Some(seat) = seats.get_mut(queue) else {
                    return;
                };
                let is_taken = seat.worker.nic_mut().deliver(&frame.bytes);
                self.plan_turn(to, queue as u16, now + jitter);
                is_taken
            }
        };
        if is_taken {
            self.show(to, frame);
        }
    }
}

/// Looking at it.
impl<A: App> World<A> {
    /// Keeps what crosses the wires from now on, or stops to; [`World::trace`] reads it.
    pub fn record(&mut self, on: bool) {
        self.trace.on = on;
    }

    /// The frames that crossed the wires while they were recorded, in the order of arrival at the switch.
    #[must_use]
    pub fn trace(&self) -> &[Crossing] {
        &self.trace.crossings
    }

    /// The frames that a station received since the last call, with the times of arrival.
    pub fn take_heard(&mut self, station: HostId) -> Vec<(Instant, Vec<u8>)> {
        match &mut self.host_mut(station).running {
            HostPower::Station(inbox) => core::mem::take(inbox),
            HostPower::Off | HostPower::Stack(_) => Vec::new(),
        }
    }

    /// The workers of a host; none when it is off or a station.
    pub fn workers(&self, host: HostId) -> impl Iterator<Item = &Worker<SimNic, A>> {
        let seats = match &self.host(host).running {
            HostPower::Stack(seats) => seats.as_slice(),
            HostPower::Off | HostPower::Station(_) => &[],
        };
        seats.iter().map(|seat| &seat.worker)
    }

    /// The same for orders to their apps and NICs; [`World::wake`] lets them be noticed at once.
    pub fn workers_mut(&mut self, host: HostId) -> impl Iterator<Item = &mut Worker<SimNic, A>> {
        let seats = match &mut self.host_mut(host).running {
            HostPower::Stack(seats) => seats.as_mut_slice(),
            HostPower::Off | HostPower::Station(_) => &mut [],
        };
        seats.iter_mut().map(|seat| &mut seat.worker)
    }

    /// A host's validated configuration.
    #[must_use]
    pub fn config(&self, host: HostId) -> &Config {
        &self.host(host).config
    }

    /// The pools of a host.
    #[must_use]
    pub fn pools(&self, host: HostId) -> &Pools {
        &self.host(host).pools
    }

    /// Lets the NICs of a host finish what they are sending, and says how many buffers are in use then.
    pub fn settle(&mut self, host: HostId) -> usize {
        let complete = |worker: &mut Worker<SimNic, A>| worker.nic_mut().complete_all();
        self.workers_mut(host).for_each(complete);
        self.pools(host).in_use()
    }

    /// The number of hosts and stations; their ids count from 0.
    #[must_use]
    pub fn hosts(&self) -> u16 {
        self.hosts.len() as u16
    }

    fn host(&self, id: HostId) -> &Host<A> {
        &self.hosts[usize::from(id.0)]
    }

    fn host_mut(&mut self, id: HostId) -> &mut Host<A> {
        &mut self.hosts[usize::from(id.0)]
    }
}

mod judgement;
#[cfg(test)]
mod tests;
