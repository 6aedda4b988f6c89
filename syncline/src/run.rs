//! [`Endpoint::run`]: an endpoint on a NIC, from the first check to the last buffer.
//!
//! It must never leave a thread polling, and once frames could have come it never ends without a report.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dpdk::{DpdkNic, Eal, EalConfig, Hugepages, NicSpec, PortConfig, QueuePair};
use stack::app::App;
use stack::config::LocalPrefix;
use stack::config::PageOptions;
use stack::config::VlanId;
use stack::config::{Config, Interface};
use stack::worker::{Rings, Worker};

use crate::clock::{self, Clock};
use crate::ending::{self, Ended};
use crate::idle::{BackOff, Idle};
use crate::kernel::{self, KernelSide};
use crate::mailbox::{Mailbox, Order, Orders};
use crate::port::{self, OpenedNic, pool_sizes};
use crate::report::{Progress, Report};
use crate::stop::{Stop, StopHandle};
use crate::threads::{Ready, poll_all};
use crate::turning::turn_until_stopped;
use crate::{Endpoint, Error, addresses, namespace, secrets};

/// How often the control thread looks whether the run is to end.
const LOOK: Duration = Duration::from_millis(20);
/// The exit status of a process whose worker hangs.
const HANGS: u8 = 1;

/// The place of an app: which worker it runs on, and how it ends the run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Seat {
    /// Its worker, from 0 on.
    pub worker: u16,
    /// Workers in all.
    pub workers: u16,
    stop: StopHandle,
}

impl Seat {
    /// Ends the run of all workers, as a signal does: open connections finish, the NIC is emptied. Cheap enough for a callback.
    pub fn end(&self) {
        self.stop.ask();
    }
}

/// Everything that is set up before the workers start.
struct Start {
    eal: Eal,
    config: Arc<Config>,
    idle: Idle,
    cpus: Vec<Option<usize>>,
    stop: Stop,
}

impl Endpoint {
    /// Runs on `nic` (`tap:NAME`, `memif:SOCKET[,server]`, `af_xdp:INTERFACE`, `pci:ADDRESS`, or any DPDK device) until a signal
    /// (SIGINT, SIGTERM, SIGHUP), [`Endpoint::duration`] or [`Seat::end`]. `app` makes the app of each worker. Open connections then
    /// have [`Endpoint::drain_timeout`] to finish; a second signal resets them.
    ///
    /// Once per process: DPDK's environment can't be made twice. A worker that hangs ends the process with status 1, because a thread
    /// can't be ended from outside.
    ///
    /// # Errors
    /// [`Error`], before the first frame. What happens to a worker later is in [`Report::faults`].
    pub fn run<A: App>(
        mut self,
        nic: &str,
        app: impl FnMut(Seat) -> A,
    ) -> Result<Report<A>, Error> {
        let stop = Stop::in_steps()?;
        let spec: NicSpec = nic.parse()?;
        let config = self.config()?;
        self.check(&spec)?;
        if self.own_namespace {
            namespace::enter_own()?;
        }
        kernel::refuse_owned(self.named()?, &kernel::owned_addresses()?)?;
        spec.check()?;
        let pools = pool_sizes(self.workers, config.limits.queue_items, 0);
        let eal = Eal::init(&EalConfig {
            memory_mb: pools.memory_mb(self.mtu, None) + port::OTHER_MEMORY_MB,
            hugepages: Hugepages::Auto,
            nics: vec![spec.clone()],
            extra_args: self.eal.clone(),
        })?;
        let idle = self.idle.unwrap_or_else(|| Idle::usual_on(&spec));
        let cpus = self.cpus_of_workers(&eal, idle);
        let port_config = PortConfig {
            queues: self.workers,
            mtu: self.mtu,
            pools,
            vlans: config_vlans(&self),
            rss_key: secrets::rss_key()?,
            ..PortConfig::default()
        };
        let opened = OpenedNic::open(&eal, &spec, &port_config)?;
        self.bring_kernel_up(&spec)?;
        stop.unless_asked()?;
        let start = Start {
            eal,
            config,
            idle,
            cpus,
            stop,
        };
        let OpenedNic {
            port,
            queues,
            pools,
            ..
        } = opened;
        let mut report = self.run_workers(&start, queues, app)?;
        report.nic = port.stats();
        // Frames in its rings come back when the port is closed.
        drop(port);
        report.mbufs_in_use = port::in_use(&pools);
        Ok(report)
    }

    /// Refuses contradictory arguments before anything is touched.
    fn check(&self, spec: &NicSpec) -> Result<(), Error> {
        let wrong = |text: &str| Err(Error::Config(text.to_owned()));
        if *spec == NicSpec::Ring {
            return wrong(
                "`ring` is a link inside one process with nothing at its other end; use tap:NAME, or Endpoint::worker on a NIC in memory",
            );
        }
        if self.workers == 0 {
            return wrong("no workers: an endpoint needs at least 1");
        }
        if let Some(cpus) = &self.cpus
            && cpus.len() != usize::from(self.workers)
        {
            return Err(Error::Config(format!(
                "CPUs: {}, workers: {}; each worker has a CPU of its own",
                cpus.len(),
                self.workers
            )));
        }
        if !matches!(spec, NicSpec::Tap { .. }) && (!self.kernel.is_empty() || self.own_namespace) {
            return Err(Error::Config(format!(
                "kernel_address and own_namespace are for tap:NAME; the kernel has no side of {spec}"
            )));
        }
        let ours = &self.spec.interfaces;
        if let Some(both) = self
            .kernel
            .iter()
            .find(|theirs| ours.iter().any(|ip| ip.address == theirs.address))
        {
            return Err(Error::Config(format!(
                "{} is both ours and the kernel's: the kernel's resets would kill our connections; give the kernel another one",
                both.address
            )));
        }
        Ok(())
    }

    /// Our addresses as they were given.
    fn named(&self) -> Result<Vec<(String, LocalPrefix)>, Error> {
        let host = |ip: &Interface| {
            LocalPrefix::host(ip.address)
                .map(|host| (addresses::written(ip), host))
                .map_err(|error| Error::Config(error.to_string()))
        };
        let mut named = self
            .spec
            .interfaces
            .iter()
            .map(host)
            .collect::<Result<Vec<_>, _>>()?;
        let prefixes = self.spec.prefixes.iter().chain(&self.spec.vips);
        named.extend(prefixes.map(|prefix| (prefix.to_string(), *prefix)));
        Ok(named)
    }

    fn cpus_of_workers(&self, eal: &Eal, idle: Idle) -> Vec<Option<usize>> {
        let workers = usize::from(self.workers);
        match &self.cpus {
            Some(cpus) => cpus.iter().copied().map(Some).collect(),
            // A worker that sleeps shares its CPU with the kernel that feeds it.
            None if idle == Idle::Sleep => vec![None; workers],
            None => {
                let of_process = eal.cpus().iter().copied().map(Some);
                of_process.cycle().take(workers).collect()
            }
        }
    }

    fn bring_kernel_up(&self, spec: &NicSpec) -> Result<(), Error> {
        let NicSpec::Tap { name, .. } = spec else {
            return Ok(());
        };
        if self.own_namespace {
            kernel::bring_loopback_up()?;
        }
        if self.kernel.is_empty() {
            return Ok(());
        }
        let vlans = self.spec.vlans.iter().flatten().copied();
        let side = KernelSide {
            tap: name,
            // Untagged comes first where it is among them, as in the stack's own order.
            vlan: vlans
                .min_by_key(|vlan| *vlan != VlanId::UNTAGGED)
                .unwrap_or_default(),
            ours: &self.spec.interfaces,
            prefixes: &self.spec.prefixes,
        };
        side.bring_up(&self.kernel)
    }

    /// One thread for each queue, watched until the end.
    fn run_workers<A: App>(
        &self,
        start: &Start,
        queues: Vec<QueuePair>,
        mut app: impl FnMut(Seat) -> A,
    ) -> Result<Report<A>, Error> {
        let clock = Clock::start(start.eal.cycles_hz());
        let secrets = secrets::fresh()?;
        let ends = Rings::new(self.workers, start.config.limits.handoff_frames).into_ends();
        let (orders, secrets) = (&Orders::new(Order::Run), &secrets);
        let lines: Vec<Mailbox<Progress>> = queues.iter().map(|_| Mailbox::new()).collect();
        let parts = queues.into_iter().zip(ends).zip(&lines);
        let bodies = parts.zip(&start.cpus).zip(0..);
        let bodies = bodies.map(|((((queue, end), line), &cpu), worker)| {
            let app = app(Seat {
                worker,
                workers: self.workers,
                stop: start.stop.handle(),
            });
            let config = Arc::clone(&start.config);
            let back_off = BackOff::new(start.idle);
            let body = move |ready: Ready| {
                let (nic, pages) = (DpdkNic::new(queue), PageOptions::default());
                let worker = Worker::with_app(nic, app, config, secrets, end, pages)
                    .map_err(|error| Error::Memory(error.to_string()))?;
                ready.announce();
                let worker =
                    turn_until_stopped(worker, back_off, (clock, orders), line, Progress::of);
                let progress = Progress::of(&worker, Order::Stop, false);
                let (_, app) = worker.into_parts();
                Ok::<_, Error>((progress, app))
            };
            (cpu, body)
        });
        let bodies = bodies.collect();
        let control = || {
            start.stop.begin();
            self.watch(&lines, orders, &start.stop)
        };
        let polled = poll_all((&start.eal, orders), bodies, control, leave)?;
        let mut watched: WatchOutcome = polled.control;
        let mut apps = Vec::new();
        for (worker, outcome) in polled.threads.into_iter().enumerate() {
            match outcome {
                Ok((progress, app)) => {
                    watched.states[worker] = progress;
                    apps.push(app);
                }
                Err(error) => watched.faults.push(format!("worker {worker}: {error}")),
            }
        }
        Ok(Report {
            apps,
            workers: watched.states,
            duration: watched.duration,
            open_at_end: watched.ended.open,
            reset_at_end: watched.ended.reset,
            nic: dpdk::PortStats::default(),
            mbufs_in_use: 0,
            faults: watched.faults,
        })
    }

    /// Waits for the end of the run, and then until the workers are drained.
    fn watch(&self, lines: &[Mailbox<Progress>], orders: &Orders, stop: &Stop) -> WatchOutcome {
        let started = Instant::now();
        let mut states: Vec<Progress> = lines.iter().map(|_| Progress::default()).collect();
        let is_over = || self.duration.is_some_and(|max| started.elapsed() >= max);
        while !stop.is_asked() && !is_over() {
            clock::sleep(LOOK);
        }
        let parts = (states.as_mut_slice(), lines);
        let (ended, outcome) = ending::end(parts, orders, self.patience, stop, |_| {});
        let mut faults = Vec::new();
        match outcome {
            Err(worker) => faults.push(format!(
                "worker {worker} does not answer: another program may hold its CPU; give it one of its own (`cpus`)"
            )),
            Ok(()) if !ended.drained => faults.push(
                "the NIC did not take all replies before the end; those that it left were given up"
                    .to_owned(),
            ),
            Ok(()) => {}
        }
        WatchOutcome {
            states,
            ended,
            faults,
            duration: started.elapsed(),
        }
    }
}

/// The result of the control thread.
struct WatchOutcome {
    states: Vec<Progress>,
    ended: Ended,
    faults: Vec<String>,
    duration: Duration,
}

/// A worker hangs: the process ends.
#[expect(
    clippy::print_stderr,
    reason = "the process ends here; there is no caller to tell"
)]
fn leave(_: WatchOutcome) -> Infallible {
    eprintln!("error: a worker does not end; the port was not closed and buffers were not counted");
    // Without what libraries do at exit: a thread is still inside one.
    signal_hook::low_level::exit(HANGS.into())
}

fn config_vlans(endpoint: &Endpoint) -> Option<Vec<u16>> {
    let vlans = endpoint.spec.vlans.as_ref()?;
    Some(vlans.iter().map(|vlan| vlan.0).collect())
}
