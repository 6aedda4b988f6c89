//! The run itself: DPDK, port, threads, phases; then everything in the reverse order, and the result.
//!
//! It must never leave a thread polling, and once frames could have come it never ends without a report.

use diagnose::counted;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use dpdk::{DpdkNic, Eal, NicSpec, Port, QueuePair, RingConfig};
use stack::config::Config;
use stack::nic::fault::FaultSpec;
use stack::worker::{RingEnd, Rings, Secrets, Steered};
use workload::load::Work;

use super::args::LoadArgs;
use super::arms::{ArmRecord, ArmRecords, ArmsParts, ArmsReport, ServerRow};
use super::failures::FailureFile;
use super::instruments::{Instrumented, Instruments};
use super::own_server::{OwnServer, ServerPlan, ServerTotals};
use super::plan::RunPlan;
use super::report::{self, LoadReport, LoadReportParts};
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
use crate::rig::{self, Companion, HANGS, NicReport, OpenedNic, Ready};
use crate::secrets;
use crate::serve::SiteStats;
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
    let failures = args.pcap_failures.as_deref().map(FailureFile::create);
    let failures = failures.transpose()?;
    let (eal, mut near, far) = start(args, plan, stop)?;
    let companion = start_companion(args, plan, stop)?;
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
    let seen = Instrumented::new(args, plan);
    let clock = Clock::start(eal.cycles_hz());
    let polled = poll(
        args,
        plan,
        (&eal, clock, fault.as_ref(), &seen),
        (queues, steered, far_queues),
        (LinkWatch::new(&near.port), stop, ndjson, &envelope),
    )?;
    let (watched, totals, servers, mut thread_faults) = polled;
    let nic = client_nic(&near.port, (plan.workers, &totals));
    thread_faults.extend(nic.fault());
    let servers_nic = far_port.as_ref().filter(|_| seen.arms.is_some());
    let servers_nic = servers_nic.map(|port| server_nic(port, &servers));
    thread_faults.extend(servers_nic.as_ref().and_then(NicReport::fault));
    let arms = seen.arms.as_ref();
    let arms = arms.map(|records| arms_report(plan, (records, &totals, &servers), servers_nic));
    drop((near.port, far_port));
    drop(companion);
    let pcap = failures.map(|file| {
        let now_ns = clock.at(dpdk::cycles()).as_ns();
        file.write(seen.failures(), &plan.spec.to_string(), now_ns)
    });
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
        arms,
        pcap,
        mbufs_in_use: in_use,
        fault,
        thread_faults,
    });
    report.write_hdr_log(args)?;
    Ok(report)
}

/// The command of `--with`, once it is ready.
fn start_companion(
    args: &LoadArgs,
    plan: &RunPlan,
    stop: &Stop,
) -> Result<Option<Companion>, Failure> {
    let targets = plan.plans.first().map_or(&[][..], |first| &first.targets);
    let may_end = plan.second_arm().is_some();
    Companion::ready(args.with.as_deref(), (targets, may_end), stop)
}

/// DPDK, the ports, and the kernel's side of taps.
fn start(
    args: &LoadArgs,
    plan: &RunPlan,
    stop: &Stop,
) -> Result<(Eal, OpenedNic, Option<OpenedNic>), Failure> {
    let is_ring = plan.spec == NicSpec::Ring;
    let second_arm = plan.second_arm().map(|(_, spec)| spec);
    let nics = [&plan.spec].into_iter().chain(second_arm).cloned();
    let nics = nics.filter(|_| !is_ring).collect();
    let ports = if plan.server.is_some() { 2 } else { 1 };
    let eal = rig::start_eal(&args.link, nics, (&plan.port.pools, ports))?;
    stop.unless_asked()?;
    let (near, far) = open(plan, &eal)?;
    rig::configure_kernel_side(&args.link, &plan.spec, (&plan.interfaces, &plan.prefixes))?;
    if let Some((link, spec)) = plan.second_arm() {
        rig::configure_kernel_side(link, spec, (&link.ip, &[]))?;
    }
    Ok((eal, near, far))
}

fn open(plan: &RunPlan, eal: &Eal) -> Result<(OpenedNic, Option<OpenedNic>), Failure> {
    if plan.spec != NicSpec::Ring {
        let near = OpenedNic::open(eal, &plan.spec, &plan.port)?;
        let far = plan.second_arm();
        let far = far.map(|(_, spec)| OpenedNic::open(eal, spec, &plan.port));
        return Ok((near, far.transpose()?));
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
        ref spec => match plan.second_arm() {
            Some((_, servers)) => format!("{spec}, our own servers over {servers}"),
            None => spec.to_string(),
        },
    }
}

/// The clients' port at the end.
fn client_nic(port: &Port, (workers, totals): (u16, &[LoadTotals])) -> NicReport {
    let mut link = LinkWatch::new(port);
    link.look();
    let taken = (totals.len() == usize::from(workers))
        .then(|| totals.iter().map(|totals| totals.frames_taken).sum());
    NicReport::new(port, taken, link.report())
}

/// The servers' port at the end.
fn server_nic(port: &Port, servers: &[ServerTotals]) -> NicReport {
    let mut link = LinkWatch::new(port);
    link.look();
    let taken = servers.iter().map(|server| server.frames_taken).sum();
    NicReport::new(port, Some(taken), link.report())
}

/// Both arms beside each other.
fn arms_report(
    plan: &RunPlan,
    (records, clients, servers): (&ArmRecords, &[LoadTotals], &[ServerTotals]),
    nic: Option<NicReport>,
) -> ArmsReport {
    let row = |(index, (listen, service)): (usize, (String, &'static str))| {
        let mut sum = SiteStats::new();
        for site in servers.iter().filter_map(|server| server.sites.get(index)) {
            sum.merge(site);
        }
        ServerRow {
            listen,
            service,
            connections: sum.accepted,
            requests: sum.requests,
            open: sum.open,
        }
    };
    let places = plan.server.iter().flat_map(ServerPlan::places);
    let (clients_record, servers_record) = records.merged();
    let by_clients = clients.iter().map(|totals| &totals.progress.tcp);
    ArmsReport::new(ArmsParts {
        clients: clients_record,
        servers: servers_record,
        retransmitted: (
            by_clients.map(|tcp| tcp.retransmitted_segments).sum(),
            servers
                .iter()
                .map(|server| server.tcp.retransmitted_segments)
                .sum(),
        ),
        rows: places.enumerate().map(row).collect(),
        nic,
    })
}

/// Prints the plan of the run to stderr, before the first frame.
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
        "{}: {} at {}, to {}: {pace}, {}, {}, {:.1} s",
        link_text(plan),
        addresses.join(", "),
        near.mac,
        plan.targets.join(", "),
        report::connections(plan.connections, plan.rate.is_some()),
        counted(plan.workers, "worker"),
        args.lasts().as_secs_f64()
    ));
}

type Polled = (LoadWatched, Vec<LoadTotals>, Vec<ServerTotals>, Vec<String>);

/// All threads, watched until the end.
fn poll(
    args: &LoadArgs,
    plan: &RunPlan,
    (eal, clock, fault, seen): (&Eal, Clock, Option<&FaultSpec>, &Instrumented),
    (near, steered, far): (Vec<QueuePair>, Steered, Vec<QueuePair>),
    (link, stop, ndjson, envelope): (LinkWatch<'_>, &Stop, NdjsonFile, &Envelope),
) -> Result<Polled, Failure> {
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
            (&phases, line, seen, steered),
        ));
    }
    if let Some(server) = &plan.server {
        let config = server.config(plan.connections, plan.work)?;
        let ends = Rings::new(plan.workers, handoff).into_ends();
        for (worker, (queue, end)) in far.into_iter().zip(ends).enumerate() {
            let record = seen.arms.as_ref().and_then(|arms| arms.servers.get(worker));
            bodies.push(server_body(
                (server, Arc::clone(&config), &far_secrets),
                (queue, end),
                (clock, record, &orders),
            ));
        }
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
        arms: None,
        pcap: None,
        mbufs_in_use: 0,
        fault: None,
        thread_faults: Vec::new(),
    });
    rig::leave(&report, &args.output, report.gate())
}

/// The results of the threads, by kind.
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
    (phases, line, seen, steered): (&'a LoadPhases, &'a LoadLine, &'a Instrumented, Steered),
) -> Body<'a> {
    let (config, own) = (
        Arc::clone(&plan.configs[worker]),
        plan.plans[worker].clone(),
    );
    Box::new(move |ready| {
        let mut nic = DpdkNic::new(queue);
        nic.set_faults(fault, clock.hz());
        let recording = seen.recordings.get(worker).cloned();
        Instruments::set(&mut nic, seen.instruments(worker, clock));
        let parts = (config, secrets);
        let loader = LoadWorker::new(nic, own, parts, (end, steered), (clock, recording))?;
        ready.announce();
        let back_off = BackOff::new(plan.idle);
        Ok(ThreadEnd::Load(Box::new(
            loader.run(phases, line, back_off),
        )))
    })
}

fn server_body<'a>(
    (plan, config, secrets): (&'a ServerPlan, Arc<Config>, &'a Secrets),
    (queue, end): (QueuePair, RingEnd<dpdk::Mbuf>),
    (clock, record, orders): (Clock, Option<&'a Arc<Mutex<ArmRecord>>>, &'a Orders),
) -> Body<'a> {
    Box::new(move |ready| {
        let parts = (plan, config, secrets);
        let server = OwnServer::new(DpdkNic::new(queue), parts, end, (clock, record))?;
        ready.announce();
        Ok(ThreadEnd::Server(Box::new(server.run(orders))))
    })
}
