//! The run itself: DPDK, port, next hops, threads; a line a second; then everything in the reverse order, and the result.
//!
//! It must never leave a thread polling, and once a frame was sent it never ends without a report.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dpdk::{DpdkNic, Eal, Mbuf, NicSpec};
use stack::config::Config;
use stack::conn::{Capacity, Records};
use stack::memory::PageOptions;
use stack::worker::{Rings, Worker};

use super::args::FloodArgs;
use super::door::{Attendant, Door, SharedNic};
use super::phase::{Phase, Phases};
use super::plan::Setup;
use super::probe::{Probe, ProbePlan};
use super::probe_watch::ProbeLine;
use super::report::{FloodReport, ReportParts};
use super::watch::{self, Controls, FloodRun};
use super::worker::{FloodNic, ThreadEnd, WorkerLine, probe_until_stopped, turn_until_stopped};
use crate::clock::Clock;
use crate::failure::Failure;
use crate::mailbox::{Order, Orders};
use crate::report::{Envelope, NdjsonFile};
use crate::rig::idle::BackOff;
use crate::rig::link::LinkWatch;
use crate::rig::neighbors::{self, LinkHost};
use crate::rig::vlan_nic::VlanNic;
use crate::rig::{self, Companion, HANGS, NicReport, OpenedNic, Reach, Ready};
use crate::secrets;
use crate::stop::Stop;
use crate::traffic::{
    Book, FloodPlan, Generator, Headers, ObservedExchange, Rate, Target, TupleSpace,
};

/// How long next hops may take to answer: three questions.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(3);
/// The same where the user still has to set up the other side of the link.
const RESOLVE_PATIENCE_MANUAL: Duration = Duration::from_secs(30);

/// Floods until the end of the run.
///
/// # Errors
/// [`Failure`] when something can't be had. What happens later is in the report.
pub(super) fn run(args: &FloodArgs, setup: &Setup, stop: &Stop) -> Result<FloodReport, Failure> {
    stop.unless_asked()?;
    let started = SystemTime::now();
    let ndjson = NdjsonFile::create(args.ndjson.as_deref())?;
    let eal = rig::start_eal(&args.link, vec![setup.spec.clone()], (&setup.port.pools, 1))?;
    let cpus = rig::cpus(&args.link, &eal, (setup.port.queues, setup.idle))?;
    let OpenedNic {
        port,
        queues,
        pools,
        mac,
    } = OpenedNic::open(&eal, &setup.spec, &setup.port)?;
    rig::configure_kernel_side(&args.link, &setup.spec, (&args.link.ip, &setup.routed))?;
    rig::announce_namespace(&args.link, "servers");
    let first = setup.targets.first().map(|&target| target.into());
    let wanted: Vec<SocketAddr> = first.into_iter().collect();
    let companion = Companion::ready(args.with.as_deref(), (&wanted, true), stop)?;
    let mut nics: Vec<FloodNic> = queues
        .into_iter()
        .map(|queue| VlanNic::new(DpdkNic::new(queue), args.vlan()))
        .collect();
    let mut host = LinkHost::new(mac.0, args.link.ip.clone(), setup.pool.clone());
    let targets = reach_targets(args, setup, (&mut nics, &mut host), stop)?;
    let clock = Clock::start(eal.cycles_hz());
    let plan = Arc::new(flood_plan(args, setup, targets, (mac.0, clock))?);
    super::announce::plan(args, setup, &plan);
    let mut link_watch = LinkWatch::new(&port);
    let envelope = Envelope::new(
        "flood",
        started,
        (eal.version(), eal.cpus().len()),
        (setup.spec.to_string(), eal.memory_line().to_owned()),
    );
    let parts = |run: FloodRun, nic, mbufs_in_use| {
        FloodReport::new(
            args,
            setup,
            ReportParts {
                plan: &plan,
                run,
                nic,
                mbufs_in_use,
                envelope: envelope.clone(),
                cpus: cpus.clone(),
            },
        )
    };
    let unfinished = |run: FloodRun| {
        let nic = NicReport::new(&port, None, LinkWatch::new(&port).report());
        parts(run, nic, 0)
    };
    let workers = Workers {
        args,
        setup,
        plan: &plan,
        host: &host,
        eal: &eal,
        cpus: &cpus,
        unfinished: &unfinished,
    };
    let mut ended = workers.run(nics, (&mut link_watch, stop), ndjson)?;
    drop(companion);
    link_watch.look();
    let nic = NicReport::new(&port, ended.frames_taken(), link_watch.report());
    ended.faults.extend(nic.fault());
    // Frames in its rings come back when the port is closed; only then is every buffer back.
    drop(port);
    Ok(parts(ended, nic, rig::in_use(&pools)))
}

/// The targets with the link-layer addresses behind which they are.
fn reach_targets(
    args: &FloodArgs,
    setup: &Setup,
    (nics, host): (&mut [FloodNic], &mut LinkHost),
    stop: &Stop,
) -> Result<Vec<Target>, Failure> {
    if let Some(mac) = args.target_mac {
        let target = |&(address, port): &(IpAddr, u16)| Target { mac, address, port };
        return Ok(setup.targets.iter().map(target).collect());
    }
    let hops = neighbors::next_hops(&setup.targets, &setup.config)?;
    let distinct: Vec<IpAddr> = hops
        .iter()
        .copied()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let is_manual = matches!(setup.spec, NicSpec::Tap { .. }) && args.link.tap_up.is_empty();
    let patience = if is_manual {
        RESOLVE_PATIENCE_MANUAL
    } else {
        RESOLVE_PATIENCE
    };
    let found = neighbors::resolve(nics, host, (&distinct, &setup.config), (patience, stop))?;
    let targets = setup.targets.iter().zip(hops);
    Ok(targets
        .filter_map(|(&(address, port), hop)| {
            let mac = *found.get(&hop)?;
            Some(Target { mac, address, port })
        })
        .collect())
}

fn flood_plan(
    args: &FloodArgs,
    setup: &Setup,
    targets: Vec<Target>,
    (source_mac, clock): ([u8; 6], Clock),
) -> Result<FloodPlan, Failure> {
    // Horizons are at most half an hour.
    let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX / 2);
    let [_, key_high, key_low] = secrets::seed()?;
    Ok(FloodPlan {
        space: TupleSpace::new(setup.pool.clone(), targets, [key_high, key_low]),
        order: args.pool.order(),
        shard: args.pool.shard(),
        flags: args.flags,
        headers: Headers {
            source_mac,
            ttl: args.ttl,
            window: args.window,
            options: args.syn_options,
        },
        answer: args.answer,
        observable: setup.observable.clone(),
        wait_us: micros(args.wait),
        resend_us: args.resend.map_or(0, micros),
        retries: args.resend.map_or(0, |_| args.retries),
        clock,
        books: (0..setup.workers)
            .map(|_| Book::new(setup.in_flight, setup.group_bits, setup.workers > 1))
            .collect(),
    })
}

/// The parts that the threads need.
struct Workers<'a> {
    args: &'a FloodArgs,
    setup: &'a Setup,
    plan: &'a Arc<FloodPlan>,
    host: &'a LinkHost,
    eal: &'a Eal,
    cpus: &'a [Option<usize>],
    /// The report of a run whose port can't be closed.
    unfinished: &'a dyn Fn(FloodRun) -> FloodReport,
}

/// The function of a thread.
type Body<'a> = Box<dyn FnOnce(Ready) -> Result<ThreadEnd, Failure> + Send + 'a>;

impl Workers<'_> {
    /// One thread for each queue, watched until the end.
    fn run(
        &self,
        mut nics: Vec<FloodNic>,
        (link, stop): (&mut LinkWatch<'_>, &Stop),
        ndjson: NdjsonFile,
    ) -> Result<FloodRun, Failure> {
        let orders = &Orders::new(Order::Run);
        let probe = self.setup.probe.as_ref();
        let first = if probe.is_some() {
            Phase::Baseline
        } else {
            Phase::Flood
        };
        let phases = Arc::new(Phases::new(first));
        let addresses = self.args.link.ip.iter().map(|ip| ip.address);
        let door = probe.map(|_| Arc::new(Door::new(addresses.collect())));
        let probe_line = ProbeLine::new();
        let workers = 0..self.setup.workers;
        let lines: Vec<WorkerLine> = workers.map(|_| WorkerLine::new()).collect();
        let mut bodies: Vec<(Option<usize>, Body<'_>)> = Vec::with_capacity(nics.len());
        if let (Some(plan), Some(door), Some(nic)) = (probe, &door, probe.and_then(|_| nics.pop()))
        {
            let nic = SharedNic::of_probe(nic, door);
            let cpu = self.cpus.last().copied().flatten();
            bodies.push((
                cpu,
                self.probe_body(nic, plan, (orders, &phases), &probe_line)?,
            ));
        }
        for (worker, (nic, line)) in nics.into_iter().zip(&lines).enumerate() {
            let nic = SharedNic::of_flood(nic, door.as_ref(), worker == 0);
            let body = self.flood_body((worker, nic), door.as_ref(), (orders, &phases), line)?;
            bodies.push((self.cpus[worker], body));
        }
        let control = || {
            let controls = Controls {
                phases: &phases,
                probe: probe.map(|_| &probe_line),
                has_sink: self.setup.reach == Reach::OwnLink,
            };
            watch::until_the_end(
                self.args,
                &lines,
                &controls,
                (self.plan, link, stop),
                ndjson,
            )
        };
        let hangs = |mut run: FloodRun| {
            run.faults.push(HANGS.to_owned());
            let report = (self.unfinished)(run);
            rig::leave(&report, &self.args.output, report.gate())
        };
        let polled = rig::poll_all((self.eal, orders), bodies, control, hangs)?;
        let mut run = polled.control;
        for outcome in polled.threads {
            match outcome {
                Ok(ThreadEnd::Flood(end)) => run.ends.push(*end),
                Ok(ThreadEnd::Probe(end)) => run.probe = Some(*end),
                Err(failure) => run.faults.push(failure.to_string()),
            }
        }
        if let Some(door) = door {
            run.handover_dropped = door.dropped();
            door.empty();
        }
        Ok(run)
    }

    fn flood_body<'a>(
        &'a self,
        (worker, nic): (usize, SharedNic<FloodNic>),
        door: Option<&Arc<Door<Mbuf>>>,
        (orders, phases): (&'a Orders, &Arc<Phases>),
        line: &'a WorkerLine,
    ) -> Result<Body<'a>, Failure> {
        let attendant = Attendant::new(self.host.clone(), door);
        let exchange = ObservedExchange::new(Arc::clone(self.plan), worker, attendant);
        let exchange = exchange.ok_or_else(|| {
            Failure::Usage("fewer tuples than workers: add addresses or ports to --sources".into())
        })?;
        let workers = f64::from(self.setup.workers);
        let each_pps = self.setup.rate_pps.map(|rate| rate as f64 / workers);
        let (hz, group) = (self.plan.clock.hz(), self.plan.books[worker].group());
        let rate = Rate::per_second(each_pps, hz, group);
        let (back_off, phases) = (BackOff::new(self.setup.idle), Arc::clone(phases));
        Ok(Box::new(move |ready: Ready| {
            let generator = Generator::new(nic, exchange, rate);
            ready.announce();
            let end = turn_until_stopped(generator, back_off, (orders, &phases), line);
            Ok(ThreadEnd::Flood(Box::new(end)))
        }))
    }

    fn probe_body<'a>(
        &'a self,
        nic: SharedNic<FloodNic>,
        plan: &Arc<ProbePlan>,
        (orders, phases): (&'a Orders, &Arc<Phases>),
        line: &'a ProbeLine,
    ) -> Result<Body<'a>, Failure> {
        let probe = Probe::new(Arc::clone(plan), Arc::clone(phases));
        let config = probe_config(self.args, plan)?;
        let secrets = secrets::fresh()?;
        let (back_off, phases) = (BackOff::new(self.setup.idle), Arc::clone(phases));
        let clock = self.plan.clock;
        Ok(Box::new(move |ready: Ready| {
            let ring = Rings::new(1, config.limits.handoff_frames)
                .into_ends()
                .into_iter()
                .next();
            let ring = ring.ok_or_else(|| {
                Failure::Run(
                    "no ring is left for the probe: that is a bug, please report it".into(),
                )
            })?;
            let worker =
                Worker::with_app(nic, probe, config, &secrets, ring, PageOptions::default());
            let worker = worker.map_err(|error| {
                Failure::Run(format!(
                    "the probe's tables do not fit into memory: {error}"
                ))
            })?;
            ready.announce();
            let end = probe_until_stopped(worker, back_off, (orders, &phases, clock), line);
            Ok(ThreadEnd::Probe(Box::new(end)))
        }))
    }
}

/// The stack of the probe: our addresses without those of the pool, and room for its connections.
fn probe_config(args: &FloodArgs, plan: &ProbePlan) -> Result<Arc<Config>, Failure> {
    let mut spec = args.config_spec()?;
    spec.prefixes.clear();
    // A SYN that meets a wrong ack is repeated by its timer.
    let in_flight = u64::from(plan.rate) * (plan.timeout.as_secs() + 1);
    let room = u32::try_from(in_flight)
        .unwrap_or(u32::MAX)
        .clamp(1024, 1 << 20);
    let of_family = |n| Records { v4: n, v6: n };
    spec.limits.records = Capacity {
        embryos: of_family(16),
        parked: of_family(room),
        open: of_family(room),
        time_wait: of_family(room.saturating_mul(16).min(1 << 20)),
    };
    let config = spec
        .validate()
        .map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(Arc::new(config))
}
