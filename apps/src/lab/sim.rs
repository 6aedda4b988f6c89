//! The stage in virtual time: two hosts of the simulated world, both ours, with a wire between them that is perfect unless it
//! was asked to be a bad one.
//!
//! It must never depend on the machine that it runs on: the same scene gives the same ladder everywhere.

// Actions of the network.
mod network;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use stack::nic::fault::FaultSpec;
use stack::sim::host::{HostError, HostId, HostSpec};
use stack::sim::link::Fate as LinkFate;
use stack::sim::trace::Crossing;
use stack::sim::world::{Direction, World};
use stack::time::Instant;

use super::actor::Actor;
use super::endpoint;
use super::network::OVERTAKEN;
use super::recording::{Fate, RecordedEvent, Recording};
use super::scenario::{
    CLIENT_PORT, Cast, Client, End, Family, SERVER_PORT, Scene, SceneAction, Server, connections,
};
use crate::failure::Failure;

/// Every ladder comes from this one, unless `--fault` names another.
pub(super) const SEED: u64 = 793;
/// The time of the clock when a scene starts.
const START: Instant = Instant::from_ms(1_000_000);
/// Time enough for two hosts to ask for each other.
const BEFORE: Instant = Instant::from_ms(999_500);
/// Numbers of the hosts: the last byte of their addresses.
const CLIENT_HOST: u8 = 1;
const SERVER_HOST: u8 = 2;
/// Where the SYNs of a flood come from.
const FLOOD_HOST: u8 = 3;
/// The last bytes of a server's other link address.
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 1, SERVER_HOST];
/// Within this time of an arrival its receiver has taken a turn: states are looked up behind it.
const SETTLED: Duration = Duration::from_micros(30);

/// The world, and what was seen of it so far.
struct Stage<'a> {
    scene: &'a Scene,
    world: World<Actor>,
    hosts: [HostId; 2],
    /// The third host, in a scene with a flood.
    flooder: Option<HostId>,
    /// Frames that the network made: when, and the bytes.
    forged: Vec<(Instant, Vec<u8>)>,
    /// When each host had no power: from, and until.
    off: [Vec<(Instant, Option<Instant>)>; 2],
    recording: Recording,
}

/// Plays a scene; `fault` is what its wire does in both directions.
///
/// # Errors
/// [`Failure::Run`] when the world can't be built, or finds fault with what our stack does.
pub(crate) fn play(
    scene: &Scene,
    family: Family,
    fault: Option<&FaultSpec>,
) -> Result<Recording, Failure> {
    let seed = fault.map_or(SEED, |fault| fault.seed);
    let mut stage = Stage::build(scene, family, seed)
        .map_err(|error| Failure::Run(format!("the simulated world can't be built: {error}")))?;
    if let Some(fault) = fault {
        stage.make_bad(fault);
    }
    if !scene.server_is_on {
        stage.power_off(Server);
    }
    let end = START + Duration::from_millis(scene.lasts_ms);
    for act in &scene.acts {
        stage.run_until(START + Duration::from_millis(act.at_ms));
        match act.what {
            SceneAction::PowerOff => stage.power_off(act.who),
            SceneAction::PowerOn => stage.power_on(act.who, act.at_ms)?,
            SceneAction::PowerOnElsewhere => {
                let host = stage.hosts[act.who as usize];
                stage.world.set_mac(host, OTHER_MAC);
                stage.power_on(act.who, act.at_ms)?;
            }
            SceneAction::Freeze => stage.set_frozen(act.who, true),
            SceneAction::Thaw => stage.set_frozen(act.who, false),
            SceneAction::Network(what) => stage.network(act.who, what)?,
            SceneAction::CableOut => stage.set_cable(act.who, false),
            SceneAction::CableIn => stage.set_cable(act.who, true),
            // Applications look at their scripts once per turn.
            _ => stage.world.wake(stage.hosts[act.who as usize]),
        }
    }
    stage.run_until(end);
    stage.keep_frames();
    match stage.world.violations() {
        [] => Ok(stage.recording),
        [first, ..] => Err(Failure::Run(format!(
            "the simulated world found a fault of the stack: {first}"
        ))),
    }
}

impl<'a> Stage<'a> {
    fn build(scene: &'a Scene, family: Family, seed: u64) -> Result<Self, HostError> {
        let mut world = World::new(seed, if scene.knows_neighbors { BEFORE } else { START });
        let addresses = (address(family, CLIENT_HOST), address(family, SERVER_HOST));
        let mut host = |number, side| {
            let actor = |_| {
                let mut actor = Actor::new(side, addresses, scene, 0);
                actor.begin(START);
                actor
            };
            world.add_host(spec(scene, number, side), actor)
        };
        let hosts = [host(CLIENT_HOST, Client)?, host(SERVER_HOST, Server)?];
        let flooder = network::flooder(&mut world, scene)?;
        if scene.knows_neighbors {
            for (host, far) in [(hosts[0], addresses.1), (hosts[1], addresses.0)] {
                world.act(host, 0, |_, cx| cx.reach(far));
            }
            world.run_until(START);
        }
        world.record(true);
        Ok(Self {
            scene,
            world,
            hosts,
            flooder,
            forged: Vec::new(),
            off: [Vec::new(), Vec::new()],
            recording: Recording::new(Cast::SIM, addresses, scene.backlog.is_some()),
        })
    }

    /// The client's wire does this to frames, as `--fault` does it to those of a NIC.
    fn make_bad(&mut self, fault: &FaultSpec) {
        for direction in [Direction::Up, Direction::Down] {
            let client = self.hosts[Client as usize];
            let wire = &mut self.world.link_mut(client, direction).spec;
            wire.loss_ppm = fault.loss_ppm;
            wire.duplicate_ppm = fault.duplicate_ppm;
            wire.corrupt_ppm = fault.corrupt_ppm;
            wire.reorder_ppm = fault.reorder_ppm;
            wire.reorder_delay = OVERTAKEN;
            wire.delay += Duration::from_nanos(fault.delay_ns);
        }
    }

    fn power_off(&mut self, side: End) {
        let now = self.world.now();
        self.look(side);
        self.world.power_off(self.hosts[side as usize]);
        self.off[side as usize].push((now, None));
        self.recording
            .push(since_start(now), RecordedEvent::PoweredOff(side));
    }

    /// With an application that does what is written for later.
    fn power_on(&mut self, side: End, at_ms: u64) -> Result<(), Failure> {
        let now = self.world.now();
        let addresses = (self.recording.client, self.recording.server);
        let scene = self.scene;
        let boot = |_| {
            let mut actor = Actor::new(side, addresses, scene, at_ms);
            actor.begin(START);
            actor
        };
        self.world
            .power_on(self.hosts[side as usize], boot)
            .map_err(|error| Failure::Run(format!("the {} can't boot: {error}", side.name())))?;
        if let Some((_, until)) = self.off[side as usize].last_mut() {
            *until = Some(now);
        }
        self.recording
            .push(since_start(now), RecordedEvent::PoweredOn(side));
        Ok(())
    }

    fn set_frozen(&mut self, side: End, frozen: bool) {
        let now = self.world.now();
        self.look(side);
        self.world.set_frozen(self.hosts[side as usize], frozen);
        self.recording
            .push(since_start(now), RecordedEvent::Frozen(side, frozen));
    }

    fn set_cable(&mut self, side: End, plugged: bool) {
        let now = self.world.now();
        self.world.set_cable(self.hosts[side as usize], plugged);
        self.recording
            .push(since_start(now), RecordedEvent::Cable { side, plugged });
    }

    fn run_until(&mut self, at: Instant) {
        while self.world.next_at().is_some_and(|next| next <= at) {
            self.world.step();
            self.look(Client);
            self.look(Server);
        }
        self.world.run_until(at);
    }

    /// The application's notes, and the states of connections and neighbour.
    fn look(&mut self, side: End) {
        let at_ns = since_start(self.world.now());
        let host = self.hosts[side as usize];
        let Some(worker) = self.world.workers_mut(host).next() else {
            return;
        };
        for (at, what) in worker.app_mut().take_notes() {
            self.recording.push(since_start(at), what);
        }
        for conn in connections(self.scene) {
            let client = SocketAddr::new(self.recording.client, CLIENT_PORT + conn);
            let server = SocketAddr::new(self.recording.server, SERVER_PORT);
            let (local, remote) = match side {
                Client => (client, server),
                Server => (server, client),
            };
            let state = worker.state_between(local, remote);
            self.recording.push_state(at_ns, side, conn, state);
        }
        let state = worker.neighbor_state(self.recording.address(side.other()));
        self.recording.push_neighbor(at_ns, side, state);
    }

    /// The frames that crossed the wire.
    fn keep_frames(&mut self) {
        let mut crossings: Vec<&Crossing> = self.world.trace().iter().collect();
        crossings.sort_by_key(|crossing| crossing.number);
        for crossing in crossings {
            let Some(from) = self.sender(crossing) else {
                continue;
            };
            let is_off = |at: Instant| {
                let mut times = self.off[from.other() as usize].iter();
                times.any(|(since, until)| *since <= at && until.is_none_or(|until| at < until))
            };
            let fate = match (crossing.arrives_at, crossing.fate) {
                (Some(at), _) if is_off(at) => Fate::Lost("no power"),
                // Its checksum shows it to the receiver.
                (Some(_), LinkFate::Corrupted) => Fate::Lost("corrupted"),
                (Some(at), _) => Fate::Arrived(since_start(at + SETTLED)),
                (None, LinkFate::NoReceiver) => Fate::Lost("no host there"),
                (None, LinkFate::TooBig) => Fate::Lost("too big"),
                (None, _) => Fate::Lost("lost"),
            };
            let what = RecordedEvent::Frame {
                from,
                bytes: crossing.bytes.to_vec(),
                fate,
                is_forged: self.is_forged(crossing),
            };
            self.recording.push(since_start(crossing.sent_at), what);
        }
    }
}

fn spec(scene: &Scene, number: u8, side: End) -> HostSpec {
    let mut spec = HostSpec::new(number);
    endpoint::configure(&mut spec.config, scene, side);
    spec
}

fn address(family: Family, number: u8) -> IpAddr {
    match family {
        Family::V4 => HostSpec::v4(number),
        Family::V6 => HostSpec::v6(number),
    }
}

fn since_start(at: Instant) -> u64 {
    at.as_ns().saturating_sub(START.as_ns())
}
