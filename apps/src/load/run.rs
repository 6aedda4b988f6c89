//! The run itself: DPDK, port, threads, phases; then everything in the reverse order, and the result.
//!
//! It must never leave a thread polling, and once frames could have come it never ends without a report.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::SystemTime;

use dpdk::{DpdkNic, Eal, NicSpec, QueuePair, RingConfig};
use stack::config::Config;
use stack::nic::fault::FaultSpec;
use stack::worker::{RingEnd, Rings, Secrets, Steered};
use workload::load::Work;

use super::args::LoadArgs;
use super::companion::Companion;
use super::own_server::{self, OwnServer, ServerTotals};
use super::plan::RunPlan;
use super::report::{LoadReport, LoadReportParts};
use super::watch::{Control, LoadWatched};
use super::worker::{LoadLine, LoadPhase, LoadPhases, LoadTotals, LoadWorker};
use crate::clock::Clock;
use crate::console;
use crate::failure::Failure;
use crate::fault::FaultReport;
use crate::mailbox::{Order, Orders};
use crate::report::{Envelope, NdjsonFile};
use crate::rig::idle::BackOff;
use crate::rig::link::LinkWatch;
use crate::rig::{self, HANGS, NicReport, OpenedNic, Ready};
use crate::secrets;
use crate::stop::Stop;

/// How a thread ended.
enum ThreadEnd {
    Load(Box<LoadTotals>),
    Server(Box<ServerTotals>),
}

type Body<'a> = Box<dyn FnOnce(Ready) -> Result<ThreadEnd, Failure> + Send + 'a>;

/// Loads until the end of the run.
///
/// # Errors
/// [`Failure`] when something can't be had. What happens later is in the report.
pub(super) fn run(args: &LoadArgs, plan: &RunPlan, stop: &Stop) -> Result<LoadReport, Failure> {
    let started = SystemTime::now();
    let fault = args.fault.map(|flag| flag.spec()).transpose()?;
    let ndjson = NdjsonFile::create(args.ndjson.as_deref())?;
    let is_ring = plan.spec == NicSpec::Ring;
    let nics = if is_ring {
        vec![]
    } else {
        vec![plan.spec.clone()]
    };
    let ports = if is_ring { 2 } else { 1 };
    let eal = rig::start_eal(&args.link, nics, (&plan.port.pools, ports))?;
    stop.unless_asked()?;
    let (mut near, far) = open(plan, &eal)?;
    rig::configure_kernel_side(&args.link, &plan.spec, (&plan.interfaces, &plan.prefixes))?;
    let mut companion = args.with.as_deref().map(Companion::start).transpose()?;
    if let (Some(companion), Some(first)) = (&mut companion, plan.plans.first()) {
        companion.wait_until_it_listens(&first.targets, stop)?;
    }
    stop.unless_asked()?;
    announce(args, plan, &near);
    let queues = std::mem::take(&mut near.queues);
    let (queues, steered) = rig::rss_probe(&args.link, plan.configs.first(), queues, stop)?;
    let mut pools = near.pools;
    let far_port = far.map(|far| {
        pools.extend(far.pools);
        (far.port, far.queues)
    });
    let (far_port, far_queues) =
        far_port.map_or((None, Vec::new()), |(port, queues)| (Some(port), queues));
    let envelope = Envelope::new(
        "load",
        started,
        (eal.version(), eal.cpus().len()),
        (link_text(plan), eal.memory_line().to_owned()),
    );
    let polled = poll(
        args,
        plan,
        (&eal, fault.as_ref()),
        (queues, steered, far_queues),
        (LinkWatch::new(&near.port), stop, ndjson, &envelope),
    )?;
    let (watched, totals, servers, mut thread_faults) = polled;
    let mut link_watch = LinkWatch::new(&near.port);
    link_watch.look();
    let taken = (totals.len() == usize::from(plan.workers))
        .then(|| totals.iter().map(|totals| totals.frames_taken).sum());
    let nic = NicReport::new(&near.port, taken, link_watch.report());
    thread_faults.extend(nic.fault());
    drop((near.port, far_port));
    drop(companion);
    let in_use = rig::in_use(&pools);
    let fault_queues = totals.iter().filter_map(|totals| totals.faults);
    let fault = fault.map(|spec| FaultReport::new(&spec, fault_queues));
    let report = LoadReport::new(LoadReportParts {
        args,
        plan,
        envelope,
        watched,
        totals: &totals,
        servers: &servers,
        nic: Some(nic),
        mbufs_in_use: in_use,
        fault,
        thread_faults,
    });
    report.write_hdr_log(args)?;
    Ok(report)
}

fn open(plan: &RunPlan, eal: &Eal) -> Result<(OpenedNic, Option<OpenedNic>), Failure> {
    if plan.spec != NicSpec::Ring {
        return Ok((OpenedNic::open(eal, &plan.spec, &plan.port)?, None));
    }
    let config = RingConfig {
        queues: plan.workers,
        mtu: plan.port.mtu,
        pools: plan.port.pools,
        steered: true,
        ..RingConfig::default()
    };
    let (near, far) = OpenedNic::ring_pair(eal, &config)?;
    Ok((near, Some(far)))
}

fn link_text(plan: &RunPlan) -> String {
    match plan.spec {
        NicSpec::Ring => "ring (memory link, no NIC), our own server at its other end".to_owned(),
        ref spec => spec.to_string(),
    }
}

/// What is going to happen, on stderr, before the first frame.
fn announce(args: &LoadArgs, plan: &RunPlan, near: &OpenedNic) {
    rig::announce_namespace(&args.link, "programs");
    let pace = match (plan.work, &plan.rate) {
        (Work::Hold, _) => "connections are held".to_owned(),
        (Work::Stream(_), _) => "bulk transfer".to_owned(),
        (_, Some(rate)) => format!("{rate} operations/s"),
        (_, None) => "a closed loop".to_owned(),
    };
    let addresses: Vec<String> = plan
        .interfaces
        .iter()
        .map(crate::addresses::written)
        .chain(plan.prefixes.iter().map(ToString::to_string))
        .collect();
    console::log(format_args!(
        "{}: {} at {}, to {}: {pace}, up to {} connections, {} worker(s), {:.1} s",
        link_text(plan),
        addresses.join(", "),
        near.mac,
        plan.targets.join(", "),
        plan.connections,
        plan.workers,
        args.lasts().as_secs_f64()
    ));
}

type Polled = (LoadWatched, Vec<LoadTotals>, Vec<ServerTotals>, Vec<String>);

/// All threads, watched until the end.
fn poll(
    args: &LoadArgs,
    plan: &RunPlan,
    (eal, fault): (&Eal, Option<&FaultSpec>),
    (near, steered, far): (Vec<QueuePair>, Steered, Vec<QueuePair>),
    (link, stop, ndjson, envelope): (LinkWatch<'_>, &Stop, NdjsonFile, &Envelope),
) -> Result<Polled, Failure> {
    let clock = Clock::start(eal.cycles_hz());
    let resident_before = rig::resident_bytes();
    let orders = Orders::new(Order::Run);
    let phases = LoadPhases::default();
    let lines: Vec<LoadLine> = near.iter().map(|_| LoadLine::new()).collect();
    let (secrets, far_secrets) = (secrets::fresh()?, secrets::fresh()?);
    let threads = plan.workers + u16::try_from(far.len()).unwrap_or(0);
    let cpus = rig::cpus(&args.link, eal, (threads, plan.idle))?;
    let handoff = plan.configs.first().map_or(1, |c| c.limits.handoff_frames);
    let mut bodies = Vec::new();
    let ends = Rings::new(plan.workers, handoff).into_ends();
    for (worker, ((queue, end), line)) in near.into_iter().zip(ends).zip(&lines).enumerate() {
        let parts = (plan, worker, &secrets, clock);
        let steered = if worker == 0 {
            steered
        } else {
            Steered::default()
        };
        bodies.push(load_body(
            parts,
            (queue, end, fault),
            (&phases, line, steered),
        ));
    }
    let server_config = own_server::config(plan)?;
    let ends = Rings::new(plan.workers, handoff).into_ends();
    for (queue, end) in far.into_iter().zip(ends) {
        let config = Arc::clone(&server_config);
        bodies.push(server_body(
            (config, &far_secrets, (clock, args.send_proxy.is_some())),
            (queue, end),
            &orders,
        ));
    }
    let control = || {
        stop.begin();
        let watched = Control {
            args,
            plan,
            lines: &lines,
            phases: &phases,
            clock,
            link,
            stop,
            ndjson,
            resident_before,
            lasts: args.lasts(),
            is_rss_said: false,
            connections: plan.connections,
        }
        .conduct();
        phases.enter(LoadPhase::Stop);
        watched
    };
    let hangs = |watched| leave_hanging(args, plan, envelope, watched);
    let bodies = cpus.into_iter().zip(bodies).collect();
    let polled = rig::poll_all((eal, &orders), bodies, control, hangs)?;
    Ok(sorted(polled.control, polled.threads))
}

/// A thread hangs: prints what it said last and ends the process.
fn leave_hanging(
    args: &LoadArgs,
    plan: &RunPlan,
    envelope: &Envelope,
    mut watched: LoadWatched,
) -> Infallible {
    watched.faults.push(HANGS.to_owned());
    let report = LoadReport::new(LoadReportParts {
        args,
        plan,
        envelope: envelope.clone(),
        watched,
        totals: &[],
        servers: &[],
        nic: None,
        mbufs_in_use: 0,
        fault: None,
        thread_faults: Vec::new(),
    });
    rig::leave(&report, args.json, report.gate())
}

/// What the threads came to, by kind.
fn sorted(watched: LoadWatched, threads: Vec<Result<ThreadEnd, Failure>>) -> Polled {
    let (mut totals, mut servers, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for (thread, outcome) in threads.into_iter().enumerate() {
        match outcome {
            Ok(ThreadEnd::Load(load)) => totals.push(*load),
            Ok(ThreadEnd::Server(server)) => servers.push(*server),
            Err(failure) => faults.push(format!("worker {thread}: {failure}")),
        }
    }
    (watched, totals, servers, faults)
}

fn load_body<'a>(
    (plan, worker, secrets, clock): (&'a RunPlan, usize, &'a Secrets, Clock),
    (queue, end, fault): (QueuePair, RingEnd<dpdk::Mbuf>, Option<&'a FaultSpec>),
    (phases, line, steered): (&'a LoadPhases, &'a LoadLine, Steered),
) -> Body<'a> {
    let (config, own) = (
        Arc::clone(&plan.configs[worker]),
        plan.plans[worker].clone(),
    );
    Box::new(move |ready| {
        let mut nic = DpdkNic::new(queue);
        nic.set_faults(fault, clock.hz());
        let loader = LoadWorker::new(nic, own, (config, secrets), (end, steered), clock)?;
        ready.announce();
        let back_off = BackOff::new(plan.idle);
        Ok(ThreadEnd::Load(Box::new(
            loader.run(phases, line, back_off),
        )))
    })
}

fn server_body<'a>(
    (config, secrets, clock): (Arc<Config>, &'a Secrets, (Clock, bool)),
    (queue, end): (QueuePair, RingEnd<dpdk::Mbuf>),
    orders: &'a Orders,
) -> Body<'a> {
    Box::new(move |ready| {
        let server = OwnServer::new(DpdkNic::new(queue), (config, secrets), end, clock)?;
        ready.announce();
        Ok(ThreadEnd::Server(Box::new(server.run(orders))))
    })
}
