//! [`play`]: one scene, with two hosts and a wire, from its first act to its last expectation.
//!
//! It must never judge: it records.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::poll::{PollFd, ppoll};
use nix::sys::time::{TimeSpec, TimeValLike as _};
use stack::tcp::state::State;
use stack::time::Instant;

use super::kernel::KernelHost;
use super::ours::OurHost;
use super::wire::{InFlight, Wire};
use super::{FLOOD_HOST, HOSTS, Setting, Watch, mac, monotonic_ns};
use crate::failure::Failure;
use crate::lab::check;
use crate::lab::network::NetworkAct;
use crate::lab::recording::{Fate, RecordedEvent, Recording};
use crate::lab::report::ScenePlay;
use crate::lab::scenario::{
    Act, Cast, Client, End, Family, Kernel, Observation, Ours, Scene, SceneAction, Server,
};
use crate::lab::story::Story;

/// From when everything is ready to the start of a scene, in ns.
const COUNTDOWN_NS: u64 = 50_000_000;
/// How long hosts may take to know each other before a scene in which they do, in ns.
const PROLOGUE_NS: u64 = 2_000_000_000;
/// How often it is asked whether a scene has shown all that it can, in ns.
const ASK_EVERY_NS: u64 = 500_000_000;
/// How often watchers of a scene are updated, in ns.
const UPDATE_EVERY_NS: u64 = 100_000_000;
/// How often hosts are looked at when no frame moves, in ns.
const LOOK_EVERY_NS: u64 = 50_000_000;
/// How long the loop sleeps at least while a timer of ours is overdue, in ns.
const NAP_NS: u64 = 1_000_000;
/// How long the loop sleeps at most, in ns.
const LONG_NAP_NS: u64 = 20_000_000;
/// A loop or a program that was so late, in ns, shows that the machine had no time for the scene: acts of different ends are 20 ms apart or
/// more where their order counts.
const LATE_NS: u64 = 5_000_000;
/// How often a scene is played at most while the machine has no time for it.
const ATTEMPTS: u32 = 5;

/// Plays it. Acts that come late make another scene: when something expected didn't come about, and the machine was too busy to act in
/// time, it is played again.
///
/// # Errors
/// [`Failure::Run`] with what the system refused.
pub(super) fn play(
    scene: &Scene,
    (cast, family): (Cast, Family),
    watch: &Watch<'_>,
) -> Result<ScenePlay, Failure> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        if let (Some(live), true) = (watch.live, attempts > 1) {
            live.begins_again(watch.number);
        }
        let mut stage = {
            // One after the other: many at once would take the time of scenes that are being played.
            let _turn = watch.builds.lock();
            Stage::build(scene, Setting::new(scene, cast, family))?
        };
        stage.begin()?;
        stage.run(watch)?;
        let was_late = stage.late_ns > LATE_NS;
        let played = stage.end();
        if played.unmet.is_empty() || !was_late || attempts == ATTEMPTS {
            return Ok(ScenePlay { attempts, ..played });
        }
    }
}

/// A host that has power.
pub(super) enum Host {
    Ours(Box<OurHost>),
    Kernel(Box<KernelHost>),
}

/// Both hosts, the wire, and what was seen so far. Times are in ns from the start of the scene.
pub(super) struct Stage<'a> {
    pub(super) scene: &'a Scene,
    pub(super) setting: Setting,
    pub(super) hosts: [Option<Host>; 2],
    pub(super) wire: Wire,
    pub(super) recording: Recording,
    pub(super) is_frozen: [bool; 2],
    /// Frames that wait for a frozen host, and those that one has yet to say.
    pub(super) held: Vec<InFlight>,
    pub(super) unsaid: [Vec<Vec<u8>>; 2],
    /// CLOCK_MONOTONIC.
    pub(super) start_ns: u64,
    /// Of what was written down last: no two things happen at the same time.
    last_ns: u64,
    /// When each end heard or said something last.
    said_ns: [u64; 2],
    /// Acts that are the stage's own, from the start on.
    due: VecDeque<Act>,
    has_begun: bool,
    /// The longest time that the loop or a program was late by.
    late_ns: u64,
    pinned: Vec<String>,
    says: Vec<String>,
}

impl<'a> Stage<'a> {
    fn build(scene: &'a Scene, setting: Setting) -> Result<Self, Failure> {
        let addresses = (setting.address(Client), setting.address(Server));
        let mut stage = Self {
            recording: Recording::new(setting.cast, addresses, scene.backlog.is_some()),
            wire: new_wire(),
            scene,
            hosts: [None, None],
            is_frozen: [false; 2],
            held: Vec::new(),
            unsaid: [Vec::new(), Vec::new()],
            start_ns: monotonic_ns(),
            last_ns: 0,
            said_ns: [0; 2],
            due: scene
                .acts
                .iter()
                .filter(|act| is_of_stage(act, setting.cast))
                .copied()
                .collect(),
            has_begun: false,
            late_ns: 0,
            setting,
            pinned: Vec::new(),
            says: Vec::new(),
        };
        for side in [Server, Client] {
            if side == Client || scene.server_is_on {
                stage.boot(side, 0)?;
            }
        }
        Ok(stage)
    }

    pub(super) fn boot(&mut self, side: End, since_ms: u64) -> Result<(), Failure> {
        let (scene, setting, mac) = (self.scene, &self.setting, self.wire.mac(side));
        self.hosts[side as usize] = Some(match setting.cast.player(side) {
            Ours => {
                let host = OurHost::boot(scene, setting, side, mac, since_ms)?;
                Host::Ours(Box::new(host))
            }
            Kernel => {
                let host = KernelHost::boot(scene, setting, side, mac, since_ms)?;
                if self.pinned.is_empty() {
                    self.pinned.clone_from(&host.pinned);
                }
                Host::Kernel(Box::new(host))
            }
        });
        Ok(())
    }

    /// The actions before the scene, and then its start.
    fn begin(&mut self) -> Result<(), Failure> {
        if self.scene.knows_neighbors {
            self.introduce()?;
        }
        // Frames of booting hosts belong to no scene.
        self.exchange()?;
        self.wire = new_wire();
        self.start_ns = monotonic_ns() + COUNTDOWN_NS;
        self.last_ns = 0;
        self.said_ns = [0; 2];
        self.has_begun = true;
        self.recording.events.clear();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        let countdown = Duration::from_nanos(COUNTDOWN_NS);
        self.recording.started_at = since_epoch.map(|now| now + countdown);
        for side in [Client, Server] {
            self.start(side)?;
        }
        if !self.scene.server_is_on {
            self.recording.push(0, RecordedEvent::PoweredOff(Server));
        }
        // No end may act before the network does what is written for the same moment.
        crate::clock::sleep(Duration::from_nanos(
            self.start_ns.saturating_sub(monotonic_ns()),
        ));
        Ok(())
    }

    pub(super) fn start(&mut self, side: End) -> Result<(), Failure> {
        match &mut self.hosts[side as usize] {
            Some(Host::Ours(host)) => host.begin(Instant::from_ns(self.start_ns)),
            Some(Host::Kernel(host)) => host.begin(self.start_ns)?,
            None => {}
        }
        Ok(())
    }

    /// Each end learns the other's link address.
    fn introduce(&mut self) -> Result<(), Failure> {
        let until_ns = PROLOGUE_NS;
        while self.now_ns() < until_ns {
            let mut knows = [true; 2];
            let now = self.instant();
            for side in [Client, Server] {
                let setting = &self.setting;
                if let Some(Host::Ours(host)) = &mut self.hosts[side as usize] {
                    host.reach(setting, now);
                    knows[side as usize] = host
                        .neighbor(setting)
                        .is_some_and(|state| state == stack::neighbor::NeighborState::Reachable);
                }
            }
            self.exchange()?;
            if knows == [true; 2] {
                break;
            }
            self.wait(self.now_ns() + NAP_NS);
        }
        for side in [Client, Server] {
            let far = side.other();
            if let Some(Host::Kernel(host)) = &self.hosts[side as usize] {
                host.know(self.setting.address(far), self.wire.mac(far))?;
            }
        }
        Ok(())
    }

    fn run(&mut self, watch: &Watch<'_>) -> Result<(), Failure> {
        let end_ns = self.scene.lasts_ms * 1_000_000;
        let (mut looked_ns, mut asked_ns, mut updated_ns) = (0, 0, 0);
        let mut awaited_ns = u64::MAX;
        loop {
            let now = self.now_ns();
            self.late_ns = self.late_ns.max(now.saturating_sub(awaited_ns));
            if now > asked_ns + ASK_EVERY_NS {
                asked_ns = now;
                for host in self.hosts.iter_mut().flatten() {
                    if let Host::Kernel(host) = host {
                        host.check()?;
                    }
                }
                if self.has_shown_all() {
                    return Ok(());
                }
            }
            if now >= end_ns {
                return Ok(());
            }
            if self.exchange()? || now > looked_ns + LOOK_EVERY_NS {
                looked_ns = now;
                for side in [Client, Server] {
                    let at_ns = self.tick();
                    self.look(side, at_ns);
                }
            }
            if now > updated_ns + UPDATE_EVERY_NS {
                updated_ns = now;
                self.update(watch, now);
            }
            // A turn of the loop that takes long is as late as one that begins late.
            self.late_ns = self.late_ns.max(self.now_ns().saturating_sub(now));
            let next = self.due.front();
            let next = next.map_or(end_ns, |act| act.at_ms * 1_000_000);
            awaited_ns = self.wait(next.min(end_ns));
        }
    }

    /// Updates the watchers of the scene.
    fn update(&self, watch: &Watch<'_>, now_ns: u64) {
        watch.progress.goes_on();
        if let Some(live) = watch.live {
            live.goes_on(watch.number, (&self.recording, now_ns), &self.pinned);
        }
    }

    fn end(mut self) -> ScenePlay {
        for (at_ns, frame) in self.wire.left_over() {
            let what = frame.recorded(Fate::Arrived(at_ns));
            self.recording.push(frame.sent_ns, what);
        }
        for frame in std::mem::take(&mut self.held) {
            let what = frame.recorded(Fate::Arrived(frame.sent_ns));
            self.recording.push(frame.sent_ns, what);
        }
        for side in [Client, Server] {
            self.hear_out(side);
        }
        ScenePlay {
            kernel_says: self.says,
            ..ScenePlay::new(self.scene, self.recording, self.pinned)
        }
    }

    /// The counters and sockets of a kernel, before it ends.
    pub(super) fn hear_out(&mut self, side: End) {
        let both = self.setting.cast.client == self.setting.cast.server;
        if let Some(Host::Kernel(host)) = &mut self.hosts[side as usize] {
            let whose = if both {
                format!("({}) ", side.name())
            } else {
                String::new()
            };
            let said = host.says(&self.setting);
            self.says
                .extend(said.into_iter().map(|line| format!("{whose}{line}")));
        }
    }

    /// Now, from the start of the scene; 0 before it.
    pub(super) fn now_ns(&self) -> u64 {
        monotonic_ns().saturating_sub(self.start_ns)
    }

    /// Now, later than all that was written down.
    pub(super) fn tick(&mut self) -> u64 {
        self.last_ns = self.now_ns().max(self.last_ns + 1);
        self.last_ns
    }

    /// The time of our worker that this is.
    fn instant(&self) -> Instant {
        Instant::from_ns(self.start_ns + self.last_ns)
    }

    /// Moves frames until none moves any more; says whether any did.
    ///
    /// # Errors
    /// As of [`play`].
    pub(super) fn exchange(&mut self) -> Result<bool, Failure> {
        let mut has_moved = false;
        loop {
            let mut moves = false;
            self.perform_due()?;
            for side in [Client, Server] {
                moves |= self.send(side);
            }
            let now = self.now_ns().max(self.last_ns);
            while let Some(frame) = self.wire.arrived(now) {
                moves = true;
                self.deliver(frame);
            }
            if !moves {
                return Ok(has_moved);
            }
            has_moved = true;
        }
    }

    /// Acts whose time has come: before any frame that is taken later.
    fn perform_due(&mut self) -> Result<(), Failure> {
        let now = self.now_ns();
        let is_due = |act: &Act| act.at_ms * 1_000_000 <= now;
        while self.has_begun
            && self.due.front().is_some_and(is_due)
            && let Some(mut act) = self.due.pop_front()
        {
            if self.is_early(&act) {
                act.at_ms = now / 1_000_000 + 1;
                self.due.push_front(act);
                break;
            }
            self.perform(act)?;
        }
        Ok(())
    }

    /// Whether an act answers a segment that hasn't been sent: an ICMP error quotes one, and waits for it.
    fn is_early(&self, act: &Act) -> bool {
        match act.what {
            SceneAction::Network(NetworkAct::Rejects(conn, _)) => {
                self.wire.last_segment(act.who.other(), conn).is_none()
            }
            _ => false,
        }
    }

    /// The frames of an end go on the wire.
    fn send(&mut self, side: End) -> bool {
        let at_ns = self.tick();
        let instant = self.instant();
        let is_frozen = self.is_frozen[side as usize];
        let frames = match &mut self.hosts[side as usize] {
            Some(Host::Ours(host)) if !is_frozen => host.sent(instant),
            Some(Host::Kernel(host)) => host.sent(&self.setting),
            _ => Vec::new(),
        };
        if frames.is_empty() {
            return false;
        }
        if is_frozen {
            // A kernel's timers run on: what they make it say comes when it goes on.
            self.unsaid[side as usize].extend(frames.into_iter().map(|(_, frame)| frame));
            return true;
        }
        // Its state when it sent them.
        let first_ns = frames.first().map_or(at_ns, |(sent_ns, _)| *sent_ns);
        let looked_ns = self.sent_at(side, first_ns);
        self.look(side, looked_ns);
        for (sent_ns, frame) in frames {
            let at_ns = self.sent_at(side, sent_ns);
            self.wire.send(side, frame, at_ns, &mut self.recording);
        }
        true
    }

    /// When an end sent something by the clock of the scene: behind what it heard and sent before.
    fn sent_at(&mut self, side: End, sent_ns: u64) -> u64 {
        let said_ns = &mut self.said_ns[side as usize];
        *said_ns = sent_ns.saturating_sub(self.start_ns).max(*said_ns + 1);
        *said_ns
    }

    /// A frame has arrived.
    pub(super) fn deliver(&mut self, frame: InFlight) {
        let at_ns = self.tick();
        let (to, instant) = (frame.to, self.instant());
        self.said_ns[to as usize] = self.said_ns[to as usize].max(at_ns);
        if self.is_frozen[to as usize] && self.hosts[to as usize].is_some() {
            self.held.push(frame);
            return;
        }
        let fate = match &mut self.hosts[to as usize] {
            Some(Host::Ours(host)) => {
                host.receive(&frame.bytes, instant);
                Fate::Arrived(at_ns)
            }
            Some(Host::Kernel(host)) => {
                host.receive(&frame.bytes);
                Fate::Arrived(at_ns)
            }
            None => Fate::Lost("no power"),
        };
        self.recording.push(frame.sent_ns, frame.recorded(fate));
        self.look(to, at_ns);
    }

    /// A frame of a third host arrives at an end; no ladder shows it.
    pub(super) fn receive(&mut self, side: End, frame: &[u8]) {
        self.tick();
        let instant = self.instant();
        match &mut self.hosts[side as usize] {
            Some(Host::Ours(host)) => host.receive(frame, instant),
            Some(Host::Kernel(host)) => host.receive(frame),
            None => {}
        }
    }

    /// The notes of its application, and the states of its connections and of its neighbour entry.
    pub(super) fn look(&mut self, side: End, at_ns: u64) {
        if self.is_frozen[side as usize] {
            return;
        }
        let (setting, start_ns) = (&self.setting, self.start_ns);
        let (states, neighbors) = match &mut self.hosts[side as usize] {
            None => return,
            Some(Host::Ours(host)) => {
                for (at, what) in host.notes() {
                    let at_ns = at.as_ns().saturating_sub(start_ns);
                    self.recording.push(at_ns, what);
                }
                (host.states(setting), vec![host.neighbor(setting)])
            }
            Some(Host::Kernel(host)) => {
                let notes = host.notes();
                self.late_ns = self.late_ns.max(host.late_ns());
                let found = (host.states(setting), host.neighbor(setting));
                for (noted_ns, what) in notes {
                    note(&mut self.recording, noted_ns.saturating_sub(start_ns), what);
                }
                found
            }
        };
        for (conn, state) in states {
            self.recording.push_state(at_ns, side, conn, state);
        }
        for state in neighbors {
            self.recording.push_neighbor(at_ns, side, state);
        }
    }

    /// Until a frame comes, one arrives, something of ours may be due, or `until_ns`; says until when at most.
    fn wait(&self, until_ns: u64) -> u64 {
        let hosts = self.hosts.iter().flatten();
        let now = self.now_ns();
        let next = self.wire.next_ns().unwrap_or(u64::MAX).min(until_ns);
        let next = self.next_of_ours(now).unwrap_or(u64::MAX).min(next);
        let left_ns = next.saturating_sub(now).min(LONG_NAP_NS);
        let mut fds: Vec<PollFd<'_>> = hosts
            .filter_map(|host| match host {
                Host::Ours(_) => None,
                Host::Kernel(host) => Some(host.poll_fd()),
            })
            .collect();
        let timeout = TimeSpec::nanoseconds(i64::try_from(left_ns).unwrap_or(i64::MAX));
        // Interrupted or not: the loop looks at everything.
        let _ = ppoll(&mut fds, Some(timeout), None);
        now + left_ns
    }

    /// When the next timer or act of an end that is ours is due, but not at once.
    fn next_of_ours(&self, now_ns: u64) -> Option<u64> {
        let instant = Instant::from_ns(self.start_ns + now_ns);
        let ends = self.hosts.iter().zip(self.is_frozen);
        let due = ends.filter_map(|(host, is_frozen)| match host {
            Some(Host::Ours(host)) if !is_frozen => host.next_due(instant),
            _ => None,
        });
        let next_ns = due.min()?.as_ns().saturating_sub(self.start_ns);
        Some(if next_ns > now_ns {
            next_ns
        } else {
            now_ns + NAP_NS
        })
    }

    /// Whether nothing that is expected can come any more: the rest of the scene would be waiting.
    fn has_shown_all(&self) -> bool {
        let last_act_ms = self.scene.acts.last().map_or(0, |act| act.at_ms);
        let now_ms = self.now_ns() / 1_000_000;
        // A forbidden event may still come, until its time is over.
        let waits_for_nothing = self.scene.expectations.iter().any(|expectation| {
            expectation.counts_for(self.setting.cast)
                && expectation
                    .forbids_until_ms()
                    .is_some_and(|until_ms| until_ms >= now_ms)
        });
        let so_far = || Story::read(&self.recording.clone().in_order());
        !waits_for_nothing
            && now_ms > last_act_ms + 500
            && check::unmet(self.scene, &so_far()).is_empty()
    }
}

fn new_wire() -> Wire {
    Wire::new(HOSTS.map(mac), mac(FLOOD_HOST))
}

/// Actions on a host, on the network and on the process at a kernel's end; all others are an application's own.
fn is_of_stage(act: &Act, cast: Cast) -> bool {
    match act.what {
        SceneAction::Crash => cast.player(act.who) == Kernel,
        other => !other.is_of_application(),
    }
}

/// The messages of a kernel's program.
fn note(recording: &mut Recording, at_ns: u64, what: RecordedEvent) {
    if let RecordedEvent::Sees {
        side,
        conn,
        seen: Observation::Failed(_),
    } = what
    {
        // Sooner than the next look at its sockets, except where the attempt goes on.
        let goes_on = matches!(
            what,
            RecordedEvent::Sees {
                seen: Observation::Failed(crate::lab::errno::Errno::EINPROGRESS),
                ..
            }
        );
        if !goes_on {
            recording.push_state(at_ns, side, conn, State::Closed);
        }
    }
    recording.push(at_ns, what);
}
