//! The stage in real time: a kernel at one end or at both, Syncline at the other, and a wire between them.
//!
//! Each scene has network namespaces of its own, so that scenes can be played side by side. A kernel's frames come from a tap,
//! Syncline's from a NIC in memory; both go over the same wire, so that all pairings are played in the same way.
//!
//! It must never touch anything outside the network namespaces that it makes.

// Links, addresses and neighbour entries of a namespace.
mod netlink;
// The wire between the ends.
mod wire;
// An end that is ours.
mod ours;
// An end that is a kernel's.
mod kernel;
// When it sent a frame.
mod stamps;
// Its counters and sockets.
mod witness;
// The child.
pub(crate) mod program;
// The program at a kernel's end.
mod peer;
// One scene.
mod stage;
// Actions on hosts in it.
mod acts;
// Actions of the network in it.
mod network;
// How far a run is, and its ladders while it lasts.
mod live;
mod progress;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use diagnose::counted;
use nix::time::{ClockId, clock_gettime};
use stack::sim::host::HostSpec;

use super::report::ScenePlay;
use super::scenario::{
    CLIENT_PORT, Cast, Client, End, Family, SERVER_PORT, Scenario, Scene, Server, connections,
};
use crate::console;
use crate::failure::Failure;
use crate::sock_diag::KernelSocket;
use live::Live;
use progress::Progress;
use syncline::namespace;

/// Numbers of client and server: the last byte of their addresses, as in simulation.
const HOSTS: [u8; 2] = [1, 2];
/// Where the SYNs of a flood come from.
const FLOOD_HOST: u8 = 3;

/// Plays the scenes that can be played, with each of the casts, so many side by side.
///
/// # Errors
/// [`Failure`]: no namespace, a scenario without a scene that can be played so, or what the system refused.
pub(super) fn play(
    scenarios: &[Scenario],
    casts: &[Cast],
    family: Family,
    (at_once, is_live): (u16, bool),
) -> Result<Vec<Vec<ScenePlay>>, Failure> {
    let jobs = jobs(scenarios, casts)?;
    namespace::enter_own().map_err(|failure| {
        Failure::Run(format!("{failure}; or play it in simulation (--over sim)"))
    })?;
    // The longest first: the run takes as long as the last one of them.
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|job| jobs[*job].scene.lasts_ms);
    let (order, progress) = (Mutex::new(order), Progress::new(jobs.len()));
    let builds = Mutex::new(());
    let live = is_live.then(|| Live::new(&jobs, scenarios, &progress));
    let played: Vec<Mutex<Option<Result<ScenePlay, Failure>>>> =
        jobs.iter().map(|_| Mutex::new(None)).collect();
    // Its lock is given back before the scene begins.
    let next = || locked(&order).pop();
    thread::scope(|scope| {
        for _ in 0..usize::from(at_once.max(1)).min(jobs.len()) {
            scope.spawn(|| {
                while let Some(number) = next() {
                    let job = &jobs[number];
                    progress.begins(job.scene);
                    let watch = Watch {
                        number,
                        progress: &progress,
                        live: live.as_ref(),
                        builds: &builds,
                    };
                    let outcome = stage::play(job.scene, (job.cast, family), &watch);
                    progress.ends(job.scene);
                    if let (Some(live), Ok(played)) = (&live, &outcome) {
                        live.ends(number, played);
                    }
                    if outcome.is_err() {
                        // The run has failed: what hasn't begun isn't played.
                        locked(&order).clear();
                    }
                    *locked(&played[number]) = Some(outcome);
                }
            });
        }
    });
    progress.close();
    let mut all: Vec<Vec<ScenePlay>> = scenarios.iter().map(|_| Vec::new()).collect();
    let mut left_out = 0;
    for (job, outcome) in jobs.iter().zip(played) {
        match outcome.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(outcome) => all[job.scenario].push(outcome?),
            None => left_out += 1,
        }
    }
    if left_out > 0 {
        return Err(Failure::Run(format!(
            "{} not played: that is a bug, please report it",
            counted(left_out, "scene")
        )));
    }
    Ok(all)
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // No thread panics while holding it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The watchers of a scene while it is played.
struct Watch<'a> {
    /// The number of the scene among those of the run.
    number: usize,
    progress: &'a Progress,
    live: Option<&'a Live<'a>>,
    /// Held while hosts are made for a scene.
    builds: &'a Mutex<()>,
}

/// A scene with a cast.
struct Job<'a> {
    scenario: usize,
    scene: &'a Scene,
    cast: Cast,
}

/// The scenes to play; those that can't be played are named on stderr.
fn jobs<'a>(scenarios: &'a [Scenario], casts: &[Cast]) -> Result<Vec<Job<'a>>, Failure> {
    let mut jobs = Vec::new();
    for (number, scenario) in scenarios.iter().enumerate() {
        let before = jobs.len();
        for &cast in casts {
            let playable = scenario.scenes.iter().filter(|s| s.can_be_played_by(cast));
            jobs.extend(playable.map(|scene| Job {
                scenario: number,
                scene,
                cast,
            }));
        }
        for scene in &scenario.scenes {
            if let Some(why) = scene.why_not_real() {
                console::log(format_args!("{}: {}: {why}", scenario.name, scene.title));
            }
        }
        if jobs.len() == before && scenarios.len() == 1 {
            return Err(Failure::Usage(format!(
                "no scene of `{}` can be played in this --role: play it in simulation, or leave --role out",
                scenario.name
            )));
        }
    }
    Ok(jobs)
}

/// CLOCK_MONOTONIC, in ns: the same for our loop and the programs at kernels' ends.
fn monotonic_ns() -> u64 {
    // It can't fail: every Linux has this clock.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(Duration::ZERO, Duration::from)
        .as_nanos() as u64
}

/// The number of the connection that a socket is of.
fn number(side: End, socket: &KernelSocket) -> Option<u16> {
    match side {
        Client => socket.local.1.checked_sub(CLIENT_PORT),
        Server => socket.remote.1.checked_sub(CLIENT_PORT),
    }
}

/// The link address of a host, as in simulation.
const fn mac(number: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, number]
}

/// The parts of a scene that all observers need.
#[derive(Debug, Clone)]
struct Setting {
    cast: Cast,
    conns: Vec<u16>,
    family: Family,
}

impl Setting {
    fn new(scene: &Scene, cast: Cast, family: Family) -> Self {
        let mut conns: Vec<u16> = connections(scene).collect();
        conns.dedup();
        Self {
            cast,
            family,
            conns,
        }
    }

    fn host(&self, number: u8) -> IpAddr {
        match self.family {
            Family::V4 => HostSpec::v4(number),
            Family::V6 => HostSpec::v6(number),
        }
    }

    fn address(&self, side: End) -> IpAddr {
        self.host(HOSTS[side as usize])
    }

    fn flooder(&self) -> IpAddr {
        self.host(FLOOD_HOST)
    }

    /// Both ends of a connection, that of `side` first.
    fn ends(&self, side: End, conn: u16) -> [SocketAddr; 2] {
        let client = SocketAddr::new(self.address(Client), CLIENT_PORT + conn);
        let server = SocketAddr::new(self.address(Server), SERVER_PORT);
        match side {
            Client => [client, server],
            Server => [server, client],
        }
    }
}
