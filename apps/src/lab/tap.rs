//! The stage in real time: one end is ours on a tap, the other is the kernel's under a sockets program.
//!
//! It must never touch anything outside the network namespace that it makes.

// The kernel's end.
mod kernel;
// How far a long scene is.
mod progress;
// What its counters and sockets say.
mod witness;
// The child.
pub(crate) mod program;
// The program at the kernel's end.
mod peer;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dpdk::{DpdkNic, Eal, EalConfig, Instrument, Mbuf, NicSpec, PoolSizes, PortConfig};
use nix::time::{ClockId, clock_gettime};
use stack::config::{Config, ConfigSpec, Interface};
use stack::memory::PageOptions;
use stack::neighbor::NeighborState as Nud;
use stack::nic::{Burst, Frame as _, Nic as _};
use stack::tcp::state::State;
use stack::time::Instant;
use stack::wire;
use stack::worker::{Rings, Worker};

use super::actor::Actor;
use super::check;
use super::endpoint;
use super::recording::{Fate, RecordedEvent, Recording};
use super::report::ScenePlay;
use super::scenario::{
    Act, CLIENT_PORT, Cast, Client, End, Expected, Family, Observation, Ours, SERVER_PORT,
    Scenario, Scene, SceneAction, Server, connections,
};
use super::story::Story;
use crate::clock;
use crate::console;
use crate::failure::Failure;
use crate::rig::namespace;
use crate::secrets;
use kernel::NeighborWatch;
use peer::Peer;
use progress::Progress;

/// Frames that our end can hold: a lab moves few.
const POOLS: PoolSizes = PoolSizes {
    rx_frames: 8191,
    control_frames: 4095,
    data_frames: 4095,
    cache_frames: 256,
};
/// Places in the queues of our connections: well below the pools.
const QUEUE_ITEMS: u32 = 2048;
/// Memory besides the pools, in MB.
const OTHER_MEMORY_MB: u64 = 32;
/// From when everything is ready to the start of a scene, in ns.
const COUNTDOWN_NS: u64 = 50_000_000;
/// How often it is asked whether a scene has shown all that it can, in ns.
const ASK_EVERY_NS: u64 = 500_000_000;
/// How often the kernel's sockets are looked at when no frame moves, in ns. A look walks the kernel's whole table.
const LOOK_EVERY_NS: u64 = 100_000_000;
/// How long our loop sleeps when nothing came.
const NAP: Duration = Duration::from_micros(200);

/// Plays the scenes that can be played, with one cast after the other.
///
/// # Errors
/// [`Failure`]: no namespace, no DPDK, or a command that failed.
pub(super) fn play(
    scenarios: &[Scenario],
    casts: &[Cast],
    family: Family,
) -> Result<Vec<Vec<ScenePlay>>, Failure> {
    namespace::enter_own().map_err(|failure| {
        Failure::Run(format!("{failure}; or play it in simulation (--over sim)"))
    })?;
    let spec: NicSpec = format!("tap:{}", kernel::TAP).parse()?;
    let eal = Eal::init(&EalConfig {
        memory_mb: POOLS.memory_mb(1500, None) + OTHER_MEMORY_MB,
        nics: vec![spec.clone()],
        ..EalConfig::default()
    })?;
    let (_port, queues) = eal.open(&spec)?.init(&PortConfig {
        pools: POOLS,
        ..PortConfig::default()
    })?;
    let Some(queue) = queues.into_iter().next() else {
        return Err(Failure::Run("the tap has no queue".into()));
    };
    kernel::bring_up()?;
    let mut stage = Stage {
        nic: Some(DpdkNic::new(queue)),
    };
    let mut net = 0;
    let mut all = Vec::new();
    for scenario in scenarios {
        let mut played = Vec::new();
        for &cast in casts {
            for scene in scenario.scenes.iter().filter(|s| s.can_be_played_by(cast)) {
                net += 1;
                announce(scene, cast);
                played.push(stage.scene(scene, &Setting::new(scene, cast, family, net))?);
            }
        }
        if played.is_empty() {
            return Err(Failure::Usage(format!(
                "no scene of `{}` can be played so: play it in simulation, or leave --role or --quick out",
                scenario.name
            )));
        }
        all.push(played);
    }
    Ok(all)
}

fn announce(scene: &Scene, cast: Cast) {
    let whose = if cast.client == Ours {
        "client"
    } else {
        "server"
    };
    console::log(format_args!(
        "{}: {} s, the {whose} is ours",
        scene.title,
        scene.lasts_ms.div_ceil(1000)
    ));
}

/// CLOCK_MONOTONIC, in ns: the same for our loop and the program at the kernel's end.
fn monotonic_ns() -> u64 {
    // It can't fail: every Linux has this clock.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(Duration::ZERO, Duration::from)
        .as_nanos() as u64
}

/// What stays from scene to scene. The loop runs on the thread that has initialised EAL, which is an lcore by that.
struct Stage {
    nic: Option<DpdkNic>,
}

/// What a scene is about, for everybody who looks.
#[derive(Debug, Clone)]
struct Setting {
    cast: Cast,
    ours: End,
    /// Client and server.
    addresses: (IpAddr, IpAddr),
    conns: Vec<u16>,
    family: Family,
}

impl Setting {
    /// Each scene has a network of its own: nothing from one before can disturb it.
    fn new(scene: &Scene, cast: Cast, family: Family, net: u8) -> Self {
        let ours = if cast.client == Ours { Client } else { Server };
        let host = |number: u8| match family {
            Family::V4 => Ipv4Addr::new(198, 18, net, number).into(),
            Family::V6 => Ipv6Addr::new(0x2001, 2, 0, net.into(), 0, 0, 0, number.into()).into(),
        };
        Self {
            cast,
            ours,
            addresses: (host(1), host(2)),
            family,
            conns: connections(scene).collect(),
        }
    }

    fn prefix_len(&self) -> u8 {
        match self.family {
            Family::V4 => 24,
            Family::V6 => 64,
        }
    }

    fn address(&self, side: End) -> IpAddr {
        match side {
            Client => self.addresses.0,
            Server => self.addresses.1,
        }
    }

    fn kernel_states(&self) -> Vec<(u16, State)> {
        let side = self.ours.other();
        kernel::states(&self.conns, side, self.address(side))
    }
}

impl Stage {
    fn scene(&mut self, scene: &Scene, setting: &Setting) -> Result<ScenePlay, Failure> {
        let theirs = setting.ours.other();
        kernel::set_address(setting.address(theirs), setting.prefix_len())?;
        let mut before = Vec::new();
        let mut pinned = Vec::new();
        for (name, value) in &scene.sysctls {
            let (old, command) = kernel::sysctl(setting.family, name, value)?;
            before.push((name, old));
            pinned.push(command);
        }
        let server = setting.address(Server);
        let mut peer = Peer::start(scene, theirs, setting.address(theirs), server)?;
        if theirs == Server && !scene.server_is_on {
            kernel::power_off()?;
        }
        let counters = witness::Counters::read();
        let recording = self.record(scene, setting, &mut peer)?;
        let mut said = witness::sockets(&setting.conns, theirs, setting.address(theirs));
        said.extend(counters.since());
        drop(peer);
        for (name, old) in before {
            kernel::sysctl(setting.family, name, &old)?;
        }
        Ok(ScenePlay {
            kernel_says: said,
            ..ScenePlay::new(scene, recording, pinned)
        })
    }

    /// The loop: our worker's turns until the scene is over.
    fn record(
        &mut self,
        scene: &Scene,
        setting: &Setting,
        peer: &mut Peer,
    ) -> Result<Recording, Failure> {
        let log = Arc::new(Mutex::new(Log::new(scene, setting)));
        let mut worker = self.worker(scene, setting, &log)?;
        let watch = NeighborWatch::start(setting.address(setting.ours));
        // Whatever was slow is done.
        let start_ns = monotonic_ns() + COUNTDOWN_NS;
        peer.begin(start_ns)?;
        worker.app_mut().begin(Instant::from_ns(start_ns));
        let_log(&log, |log| log.begin(start_ns, scene.server_is_on));
        let end_ns = start_ns + scene.lasts_ms * 1_000_000;
        let mut due = scene
            .acts
            .iter()
            .filter(|act| is_of_stage(act, setting))
            .peekable();
        let progress = Progress::new(scene);
        let (mut looked_ns, mut asked_ns) = (0, start_ns);
        loop {
            let now = monotonic_ns();
            if now > asked_ns + ASK_EVERY_NS {
                asked_ns = now;
                let is_over = let_log(&log, |log| {
                    log.theirs(peer, &watch);
                    log.has_seen_all_of(scene)
                });
                progress.show(now.saturating_sub(start_ns));
                if is_over || now >= end_ns {
                    break;
                }
            }
            while let Some(act) = due.next_if(|act| start_ns + act.at_ms * 1_000_000 <= now) {
                perform(*act, setting, peer, &log, now)?;
            }
            let is_off = let_log(&log, |log| {
                log.now_ns = now;
                log.is_off[setting.ours as usize]
            });
            let moved = if is_off {
                swallow(worker.nic_mut())
            } else {
                worker.turn(Instant::from_ns(now))
            };
            let notes = worker.app_mut().take_notes();
            let sent = let_log(&log, |log| {
                log.ours(&worker, notes, is_off);
                std::mem::take(&mut log.has_sent)
            });
            if moved > 0 || sent || now - looked_ns > LOOK_EVERY_NS {
                looked_ns = now;
                // Behind what was sent in this turn: the kernel takes it while it is written.
                let_log(&log, |log| log.kernel(now + 2));
            }
            if moved == 0 && !sent {
                clock::sleep(NAP);
            }
        }
        progress.end();
        let mut nic = worker.into_nic();
        nic.set_instrument(None);
        self.nic = Some(nic);
        Ok(let_log(&log, |log| log.recording.clone()))
    }

    fn worker(
        &mut self,
        scene: &Scene,
        setting: &Setting,
        log: &Arc<Mutex<Log>>,
    ) -> Result<Worker<DpdkNic, Actor>, Failure> {
        let Some(mut nic) = self.nic.take() else {
            return Err(Failure::Run("a scene broke off; the tap is lost".into()));
        };
        // What came between two scenes belongs to neither.
        while swallow(&mut nic) > 0 {}
        nic.set_instrument(Some(Box::new(Wire(Arc::clone(log)))));
        let actor = Actor::new(setting.ours, setting.addresses, scene, 0);
        let config = Arc::new(config(scene, setting)?);
        let end = Rings::new(1, config.limits.handoff_frames).into_ends();
        let Some(end) = end.into_iter().next() else {
            return Err(Failure::Run("no ring for the worker".into()));
        };
        let secrets = secrets::fresh()?;
        Worker::with_app(nic, actor, config, &secrets, end, PageOptions::default())
            .map_err(|error| Failure::Run(format!("no memory for the worker's table: {error}")))
    }
}

/// What happens to a host, or to the process at the kernel's end; all else is an application's own.
fn is_of_stage(act: &Act, setting: &Setting) -> bool {
    match act.what {
        SceneAction::PowerOff => true,
        SceneAction::Crash => act.who != setting.ours,
        _ => false,
    }
}

fn perform(
    act: Act,
    setting: &Setting,
    peer: &mut Peer,
    log: &Mutex<Log>,
    now: u64,
) -> Result<(), Failure> {
    match act.what {
        SceneAction::Crash => {
            let_log(log, |log| log.crash(act.who, now));
            peer.crash();
        }
        _ => {
            if act.who != setting.ours {
                kernel::power_off()?;
            }
            let_log(log, |log| log.power_off(act.who, now));
        }
    }
    Ok(())
}

fn config(scene: &Scene, setting: &Setting) -> Result<Config, Failure> {
    let mut spec = ConfigSpec::new(vec![Interface {
        address: setting.address(setting.ours),
        prefix_len: setting.prefix_len(),
    }]);
    endpoint::configure(&mut spec, scene, setting.ours);
    spec.limits.queue_items = QUEUE_ITEMS;
    spec.validate()
        .map_err(|error| Failure::Run(format!("the scene makes no endpoint: {error}")))
}

/// Takes what comes without reading it, as a host without power. Says how much there was.
fn swallow(nic: &mut DpdkNic) -> usize {
    let mut burst = Burst::new();
    let received = nic.rx(&mut burst);
    nic.free(&mut burst);
    received
}

fn let_log<T>(log: &Mutex<Log>, act: impl FnOnce(&mut Log) -> T) -> T {
    // No thread panics while holding it.
    act(&mut log.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What is written down while a scene is played. Times are CLOCK_MONOTONIC until they are written.
struct Log {
    setting: Setting,
    start_ns: u64,
    recording: Recording,
    /// The time of the turn under way.
    now_ns: u64,
    has_sent: bool,
    is_off: [bool; 2],
    /// When the kernel's neighbour entry was last seen to change, and whether packets could leave by it then.
    last_look_ns: u64,
    was_usable: bool,
}

impl Log {
    fn new(scene: &Scene, setting: &Setting) -> Self {
        Self {
            recording: Recording::new(setting.cast, setting.addresses, scene.backlog.is_some()),
            setting: setting.clone(),
            start_ns: 0,
            now_ns: 0,
            has_sent: false,
            is_off: [false; 2],
            last_look_ns: 0,
            was_usable: false,
        }
    }

    /// The scene starts then; what came before belongs to none.
    fn begin(&mut self, start_ns: u64, server_is_on: bool) {
        self.start_ns = start_ns;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        let countdown = Duration::from_nanos(start_ns.saturating_sub(monotonic_ns()));
        self.recording.started_at = since_epoch.map(|now| now + countdown);
        self.recording.events.clear();
        if !server_is_on {
            self.power_off(Server, start_ns);
        }
    }

    fn since_start(&self, at_ns: u64) -> u64 {
        at_ns.saturating_sub(self.start_ns)
    }

    fn power_off(&mut self, side: End, at_ns: u64) {
        self.is_off[side as usize] = true;
        let at_ns = self.since_start(at_ns);
        self.recording.push(at_ns, RecordedEvent::PoweredOff(side));
    }

    fn crash(&mut self, side: End, at_ns: u64) {
        let at_ns = self.since_start(at_ns);
        let call = "the process dies".to_owned();
        let conn = 0;
        self.recording
            .push(at_ns, RecordedEvent::Calls { side, conn, call });
        if side == Server {
            self.recording.push(at_ns, RecordedEvent::Listening(false));
        }
    }

    fn frame(&mut self, from: End, at_ns: u64, frame: &Mbuf) {
        let mut bytes = vec![0; frame.total_len()];
        frame.copy_out(0, &mut bytes);
        let at_ns = self.since_start(at_ns);
        let fate = if self.is_off[from.other() as usize] {
            Fate::Lost("no power")
        } else {
            Fate::Arrived(at_ns + 1)
        };
        self.recording.push(
            at_ns,
            RecordedEvent::Frame {
                from,
                bytes,
                fate,
                is_forged: false,
            },
        );
    }

    /// What our application noted, and the states of our end.
    fn ours(
        &mut self,
        worker: &Worker<DpdkNic, Actor>,
        notes: Vec<(Instant, RecordedEvent)>,
        is_off: bool,
    ) {
        for (at, what) in notes {
            let at_ns = self.since_start(at.as_ns());
            self.recording.push(at_ns, what);
        }
        if is_off {
            return;
        }
        let (at_ns, ours) = (self.since_start(self.now_ns), self.setting.ours);
        for conn in self.setting.conns.clone() {
            let client = SocketAddr::new(self.setting.addresses.0, CLIENT_PORT + conn);
            let server = SocketAddr::new(self.setting.addresses.1, SERVER_PORT);
            let (local, remote) = match ours {
                Client => (client, server),
                Server => (server, client),
            };
            let state = worker.state_between(local, remote);
            self.recording.push_state(at_ns, ours, conn, state);
        }
        let neighbor = worker.neighbor_state(self.setting.address(ours.other()));
        self.recording.push_neighbor(at_ns, ours, neighbor);
    }

    /// The states of the kernel's end.
    fn kernel(&mut self, at_ns: u64) {
        let (at_ns, side) = (self.since_start(at_ns), self.setting.ours.other());
        for (conn, state) in self.setting.kernel_states() {
            self.recording.push_state(at_ns, side, conn, state);
        }
    }

    /// Whether nothing that is expected can come any more: the rest of the scene would be waiting.
    fn has_seen_all_of(&self, scene: &Scene) -> bool {
        let last_act_ms = scene.acts.last().map_or(0, |act| act.at_ms);
        let waits_for_nothing = scene.expectations.iter().any(|expectation| {
            matches!(
                expectation.what,
                Expected::NoSegment(_) | Expected::NotApp(_)
            )
        });
        let so_far = || Story::read(&self.recording.clone().in_order());
        !waits_for_nothing
            && self.since_start(self.now_ns) > (last_act_ms + 500) * 1_000_000
            && check::unmet(scene, &so_far()).is_empty()
    }

    /// What the program at the kernel's end said, and what its neighbour entry went through.
    fn theirs(&mut self, peer: &Peer, watch: &NeighborWatch) {
        let side = self.setting.ours.other();
        for (at_ns, what) in peer.take_notes(side) {
            let at_ns = self.since_start(at_ns);
            if let RecordedEvent::Sees {
                conn,
                seen: Observation::Failed(_),
                ..
            } = what
            {
                // Sooner than the next look at its sockets.
                let state = State::Closed;
                self.recording
                    .push(at_ns, RecordedEvent::State { side, conn, state });
            }
            self.recording.push(at_ns, what);
        }
        for (seen_ns, state) in watch.seen.try_iter() {
            let seen_ns = self.since_start(seen_ns);
            // It is looked at now and then: a packet that left meanwhile shows that the entry had become usable before.
            let is_usable = !matches!(state, None | Some(Nud::Incomplete | Nud::Failed));
            let at_ns = match self.first_segment(side, self.last_look_ns..seen_ns) {
                Some(at_ns) if is_usable && !self.was_usable => at_ns,
                _ => seen_ns,
            };
            self.recording.push_neighbor(at_ns, side, state);
            (self.last_look_ns, self.was_usable) = (seen_ns, is_usable);
        }
    }
}

impl Log {
    /// When `side` sent its first segment within that time.
    fn first_segment(&self, side: End, within: std::ops::Range<u64>) -> Option<u64> {
        let is_segment = |what: &RecordedEvent| {
            matches!(what, RecordedEvent::Frame { from, bytes, .. } if *from == side
                && wire::parse(bytes).is_ok_and(|parsed| parsed.tcp().is_some()))
        };
        let mut events = self.recording.events.iter();
        events
            .find(|event| within.contains(&event.at_ns) && is_segment(&event.what))
            .map(|event| event.at_ns)
    }
}

/// Our side of the wire: sees every frame.
struct Wire(Arc<Mutex<Log>>);

impl Instrument for Wire {
    fn rx(&mut self, frames: &[Mbuf]) {
        if frames.is_empty() {
            return;
        }
        let_log(&self.0, |log| {
            // Before all that comes of it in this turn.
            let (at_ns, kernel) = (log.now_ns - 1, log.setting.ours.other());
            for frame in frames {
                log.frame(kernel, at_ns, frame);
            }
            // Before we answer: a connection may be over in the next moment.
            log.kernel(at_ns);
        });
    }

    fn tx(&mut self, frames: &[Mbuf]) {
        let_log(&self.0, |log| {
            let (at_ns, ours) = (log.now_ns + 1, log.setting.ours);
            for frame in frames {
                log.frame(ours, at_ns, frame);
            }
            log.has_sent |= !frames.is_empty();
        });
    }

    fn tx_done(&mut self, _refused: usize) {}
}
