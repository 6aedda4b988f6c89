//! [`NicProber`]: connections to a peer by our own stack on a NIC, one after the other, and what their frames showed.
//!
//! It must never send data, nor reach a peer that the guard rails don't allow.

// The application.
mod prober;
// The frames.
mod sight;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diagnose::counted;
use dpdk::{DpdkNic, Eal, Mempool, NicSpec, Port};
use nix::errno::Errno;
use stack::app::{ConnId, Connect, ConnectError, Reachability, State};
use stack::config::Config;
use stack::conn::{Capacity, Records};
use stack::memory::PageOptions;
use stack::tcp::verdict::{CloseReason, IcmpErrorKind};
use stack::time::Instant;
use stack::worker::{Rings, Worker};

use super::super::args::DiagnoseArgs;
use super::attempt::{After, Attempt, Before, Cause, ConnectEnd, FIN_PATIENCE, Opened};
use crate::addresses::written;
use crate::clock::Clock;
use crate::console;
use crate::failure::Failure;
use crate::rig::idle::{BackOff, Idle};
use crate::rig::{self, Allowed, Needs, OpenedNic};
use crate::secrets;
use crate::stop::Stop;
use prober::Prober;
use sight::{Sight, Watcher};

/// Connections that may be there at the same time: one is open, others are ending.
const CONNECTIONS: u32 = 128;
/// How long frames that were sent last may take to leave.
const LAST_FRAMES: Duration = Duration::from_millis(20);

/// The stack, the NIC under it and what is kept of an attempt. Fields are dropped in this order: the queues before their port.
pub(super) struct NicProber {
    worker: Worker<DpdkNic, Prober>,
    port: Port,
    pools: Vec<Mempool>,
    sight: Arc<Mutex<Sight>>,
    clock: Clock,
    back_off: BackOff,
    _eal: Eal,
}

impl NicProber {
    /// Opens the NIC that `args` name and starts a stack on it; the plan is printed before the first frame.
    ///
    /// # Errors
    /// [`Failure::Usage`] for flags that contradict each other or a target beyond the guard rails, [`Failure::Run`] for what the
    /// machine hasn't got.
    pub(super) fn open(
        args: &DiagnoseArgs,
        targets: &[SocketAddr],
        stop: &Stop,
    ) -> Result<Self, Failure> {
        let link = &args.link;
        let spec = link.spec()?;
        let config = checked(args, &spec, targets)?;
        rig::check_flags(link, &spec)?;
        if link.wants_own_namespace() {
            rig::namespace::enter_own()?;
        }
        let port_config = link.port_config(1, rig::pool_sizes(1, CONNECTIONS, 0))?;
        let eal = rig::start_eal(link, vec![spec.clone()], (&port_config.pools, 1))?;
        let OpenedNic {
            port,
            queues,
            pools,
            ..
        } = OpenedNic::open(&eal, &spec, &port_config)?;
        rig::configure_kernel_side(link, &spec, (&link.ip, &link.prefix))?;
        rig::announce_namespace(link, "programs");
        stop.unless_asked()?;
        let Some(queue) = queues.into_iter().next() else {
            return Err(Failure::Run(format!("{spec} has no queue")));
        };
        let sight = Arc::new(Mutex::new(Sight::default()));
        let mut nic = DpdkNic::new(queue);
        let watcher = Watcher::new(Arc::clone(&sight));
        nic.set_instrument(Some(Box::new(watcher)));
        let clock = Clock::start(eal.cycles_hz());
        nic.set_faults(None, clock.hz());
        announce(args, &spec, targets);
        Ok(Self {
            worker: worker(nic, config)?,
            port,
            pools,
            sight,
            clock,
            back_off: BackOff::new(link.idle.unwrap_or_else(|| Idle::usual_on(&spec))),
            _eal: eal,
        })
    }

    /// Connects and looks, `wait` long at each step.
    pub(super) fn make(&mut self, target: SocketAddr, wait: Duration, stop: &Stop) -> Attempt {
        let start = self.now();
        self.sight().begin(target);
        self.worker.app_mut().begin();
        let (end, took) = match self.connect(target, (start, wait), stop) {
            Err(end) => (end, self.now().since(start)),
            Ok(conn) => {
                let took = self.now().since(start);
                let opened = self.look(conn, wait, stop);
                self.leave(conn);
                (ConnectEnd::Open(opened), took)
            }
        };
        let frames = self.sight().seen();
        Attempt {
            end,
            took,
            syns_again: frames.syns.saturating_sub(1),
            frames: Some(frames),
        }
    }

    /// Gives everything back.
    ///
    /// # Errors
    /// [`Failure::Gate`] when buffers of the NIC's pools are still in use.
    pub(super) fn close(mut self) -> Result<(), Failure> {
        let (mut now, until) = (self.now(), self.now() + LAST_FRAMES);
        self.worker.abort(now);
        while now < until {
            self.turn();
            now = self.now();
        }
        while self.worker.drain_turn(self.clock.at(dpdk::cycles())) {}
        drop(self.worker);
        drop(self.port);
        match rig::in_use(&self.pools) {
            0 => Ok(()),
            lost => Err(Failure::Gate(format!(
                "{} not returned to the NIC's pools",
                counted(lost, "buffer")
            ))),
        }
    }

    /// Finds the next hop and opens a connection.
    fn connect(
        &mut self,
        target: SocketAddr,
        (start, wait): (Instant, Duration),
        stop: &Stop,
    ) -> Result<ConnId, ConnectEnd> {
        let here = |errno| ConnectEnd::Failed {
            errno,
            cause: Some(LOCAL),
        };
        loop {
            let now = self.turn();
            match self.worker.with_cx(now, |_, cx| cx.reach(target.ip())) {
                Ok(Reachability::Known) => break,
                Err(error) => return Err(here(errno_of(error))),
                Ok(_) if now.since(start) >= wait || stop.is_asked() => {
                    return Err(here(Errno::EHOSTUNREACH));
                }
                Ok(_) => {}
            }
        }
        let now = self.now();
        let number = self.worker.app().number();
        let how = Connect::default();
        let conn = self
            .worker
            .with_cx(now, |_, cx| cx.connect(target, &how, number))
            .map_err(|error| here(errno_of(error)))?;
        let begun = now;
        loop {
            let now = self.turn();
            let heard = self.worker.app().heard();
            if heard.opened_at.is_some() {
                return Ok(conn);
            }
            let failed = match (heard.ended, heard.soft) {
                (Some((_, reason)), _) => Some(errno_of_end(reason)),
                (None, Some(_)) => Some(Errno::EHOSTUNREACH),
                (None, None) => None,
            };
            if let Some(errno) = failed {
                self.leave(conn);
                let cause = self.sight().seen().icmp;
                return Err(ConnectEnd::Failed { errno, cause });
            }
            if now.since(begun) >= wait || stop.is_asked() {
                self.leave(conn);
                return Err(ConnectEnd::Silence);
            }
        }
    }

    /// Waits for what the peer says first, then closes our direction and looks what comes of it.
    fn look(&mut self, conn: ConnId, wait: Duration, stop: &Stop) -> Opened {
        let start = self.now();
        let info = self.worker.with_cx(start, |_, cx| cx.info(conn));
        let (rtt_us, snd_mss) = info.map_or((0, 0), |info| {
            let rtt = info.tcp.srtt.unwrap_or_default().as_micros();
            (
                u32::try_from(rtt).unwrap_or(u32::MAX),
                info.tcp.snd_mss.into(),
            )
        });
        let before = loop {
            let now = self.turn();
            let heard = self.worker.app().heard();
            let after_ms = |at: Instant| at.since(start).as_millis() as u64;
            if !heard.greeting.is_empty() {
                break Before::Greeted(heard.greeting.clone());
            }
            if let Some((at, reason)) = heard.ended {
                break Before::Reset(errno_of_end(reason), after_ms(at));
            }
            if let Some(at) = heard.peer_closed_at {
                break Before::Closed(after_ms(at));
            }
            if now.since(start) >= wait || stop.is_asked() {
                break Before::Silent;
            }
        };
        let is_over = matches!(before, Before::Closed(_) | Before::Reset(..));
        Opened {
            rtt_us,
            snd_mss,
            before,
            after: (!is_over).then(|| self.close_ours(conn, wait.max(FIN_PATIENCE), stop)),
        }
    }

    fn close_ours(&mut self, conn: ConnId, patience: Duration, stop: &Stop) -> After {
        let start = self.now();
        self.worker.with_cx(start, |_, cx| cx.shutdown(conn));
        loop {
            let now = self.turn();
            let heard = self.worker.app().heard();
            if heard.peer_closed_at.is_some() || heard.ended.is_some() {
                return After::Closed;
            }
            if now.since(start) >= patience || stop.is_asked() {
                let info = self.worker.with_cx(now, |_, cx| cx.info(conn));
                return match info.map(|info| info.state) {
                    Some(State::FinWait1) => After::Unacknowledged,
                    _ => After::Acknowledged,
                };
            }
        }
    }

    /// Leaves nothing open behind: what the peer hasn't closed is reset.
    fn leave(&mut self, conn: ConnId) {
        if self.worker.app().heard().ended.is_none() {
            let now = self.now();
            self.worker.with_cx(now, |_, cx| cx.abort(conn));
        }
        self.turn();
    }

    fn turn(&mut self) -> Instant {
        let now = self.now();
        let moved = self.worker.turn(now) > 0;
        self.back_off.rest(moved);
        now
    }

    fn now(&self) -> Instant {
        self.clock.at(dpdk::cycles())
    }

    fn sight(&self) -> std::sync::MutexGuard<'_, Sight> {
        // No thread panics while holding it.
        self.sight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// This host says so itself.
const LOCAL: Cause = Cause {
    is_local: true,
    kind: 0,
    code: 0,
    from: None,
};

/// The needs of a run over the NIC of `args`, for `doctor`.
///
/// # Errors
/// [`Failure::Usage`] for flags that would be refused whatever the machine.
pub(super) fn needs(args: &DiagnoseArgs, targets: &[SocketAddr]) -> Result<Needs, Failure> {
    let spec = args.link.spec()?;
    checked(args, &spec, targets)?;
    args.link.check(&spec)?;
    let port = args
        .link
        .port_config(1, rig::pool_sizes(1, CONNECTIONS, 0))?;
    Ok(Needs {
        memory_mb: rig::memory_mb(&args.link, (&port.pools, 1)),
        idle: args.link.idle.unwrap_or_else(|| Idle::usual_on(&spec)),
        targets: targets.iter().map(SocketAddr::ip).collect(),
        spec,
    })
}

/// Checks between flags, and the stack's configuration.
fn checked(args: &DiagnoseArgs, spec: &NicSpec, targets: &[SocketAddr]) -> Result<Config, Failure> {
    let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
    if *spec == NicSpec::Ring {
        return usage(
            "diagnose needs a peer behind a NIC: give --nic tap:NAME, memif:SOCKET, pci:ADDRESS, …",
        );
    }
    if args.link.ip.is_empty() {
        return usage(
            "--ip is missing: the address that the connections come from, such as --ip 198.18.0.2/24",
        );
    }
    if args.link.workers()? != 1 {
        return usage(
            "--queues: diagnose uses one queue; leave out --queues, and name one CPU at most",
        );
    }
    // Active diagnosis is held to the same rails as a flood: targets are named, or on a link of our own.
    let allowed = Allowed::for_floods(spec, &args.guard);
    for target in targets {
        allowed.target(target.ip())?;
    }
    let mut config = args.link.config_spec()?;
    let of_family = |n| Records { v4: n, v6: n };
    config.limits.records = Capacity {
        embryos: of_family(16),
        parked: of_family(CONNECTIONS),
        open: of_family(CONNECTIONS),
        time_wait: of_family(CONNECTIONS),
    };
    config
        .validate()
        .map_err(|error| Failure::Usage(error.to_string()))
}

fn worker(nic: DpdkNic, config: Config) -> Result<Worker<DpdkNic, Prober>, Failure> {
    let rings = Rings::new(1, config.limits.handoff_frames).into_ends();
    let Some(ring) = rings.into_iter().next() else {
        return Err(Failure::Run(
            "no ring is left for the worker: that is a bug, please report it".into(),
        ));
    };
    let secrets = secrets::fresh()?;
    let (config, pages) = (Arc::new(config), PageOptions::default());
    Worker::with_app(nic, Prober::default(), config, &secrets, ring, pages)
        .map_err(|error| Failure::Run(format!("no memory for the worker's tables: {error}")))
}

/// The plan, on stderr.
fn announce(args: &DiagnoseArgs, spec: &NicSpec, targets: &[SocketAddr]) {
    let ours: Vec<String> = args.link.ip.iter().map(written).collect();
    let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    console::log(format_args!(
        "{spec}: {} to {}: {} each, one after the other, without data, up to {:.1} s a step",
        ours.join(", "),
        targets.join(", "),
        counted(args.attempts, "connection"),
        args.wait.as_secs_f64()
    ));
}

/// The error of a socket whose connection could not be opened.
fn errno_of(error: ConnectError) -> Errno {
    match error {
        ConnectError::NoRoute | ConnectError::NotLocal | ConnectError::BadAddress => {
            Errno::ENETUNREACH
        }
        ConnectError::PortInUse | ConnectError::OtherWorker | ConnectError::NoPort => {
            Errno::EADDRNOTAVAIL
        }
        _ => Errno::ENOBUFS,
    }
}

/// The error of a socket whose connection ended.
fn errno_of_end(reason: CloseReason) -> Errno {
    match reason {
        CloseReason::Refused | CloseReason::Unreachable(IcmpErrorKind::PortUnreachable) => {
            Errno::ECONNREFUSED
        }
        CloseReason::Unreachable(_) | CloseReason::TimedOut { soft: Some(_) } => {
            Errno::EHOSTUNREACH
        }
        CloseReason::TimedOut { soft: None } => Errno::ETIMEDOUT,
        _ => Errno::ECONNRESET,
    }
}
