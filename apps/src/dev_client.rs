//! `syncline dev-client` (hidden): opens connections to a real server, talks on them, and verifies every byte.
//!
//! It must never take an address that the kernel owns. `syncline load` with its guard rails takes its place.

mod client;

use diagnose::counted;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dpdk::{DpdkNic, Eal, EalConfig, Mempool, NicSpec, PoolSizes, PortConfig, QueuePair};
use serde::Serialize;
use stack::config::{Config, ConfigSpec, Interface};
use stack::conn::{Capacity, Records};
use stack::local::addresses::LocalPrefix;
use stack::memory::PageOptions;
use stack::nic::fault::FaultSpec;
use stack::wire::vlan::VlanId;
use stack::worker::{Rings, Worker};

use crate::addresses::{host_prefix, written};
use crate::clock::Clock;
use crate::console;
use crate::failure::Failure;
use crate::fault::{FaultFlag, FaultReport, fault};
use crate::provenance;
use crate::rig::idle::{BackOff, Idle};
use crate::rig::kernel::{self, KernelSide};
use crate::secrets;
use crate::stop::Stop;
use crate::units;
use client::{Client, ClientPlan, ClientTally, Talk};

/// Frames of each pool beside those that connections hold.
const POOL_FRAMES: u32 = 16_383;
/// Memory beside the pools, in MB.
const OTHER_MEMORY_MB: u64 = 64;
/// How long the end may take.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Opens connections to a server on the kernel's side of a tap, talks, and verifies what comes back
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ClientArgs {
    /// The NIC, such as tap:dtap0
    #[arg(long, value_name = "NIC")]
    nic: String,

    /// An address of ours and the length of its link's prefix; may be given several times
    #[arg(long, value_name = "ADDR/LEN", required = true, value_delimiter = ',', value_parser = host_prefix)]
    ip: Vec<Interface>,

    /// Configures the kernel's side of the tap: link up, and this address
    #[arg(long, value_name = "ADDR/LEN", value_delimiter = ',', value_parser = host_prefix)]
    tap_up: Vec<Interface>,

    /// The server
    #[arg(long, value_name = "ADDR:PORT")]
    to: SocketAddr,

    /// Conversation on each connection
    #[arg(long, value_enum, default_value = "echo")]
    talk: Talk,

    /// Bytes of each connection: to send, or to get
    #[arg(long, value_name = "N", default_value = "1k", value_parser = units::count)]
    bytes: u64,

    /// The path that --talk get requests
    #[arg(long, default_value = "/")]
    path: String,

    /// Connections in all
    #[arg(long, value_name = "N", default_value = "1", value_parser = units::count_u32)]
    connections: u32,

    /// Connections at a time
    #[arg(long, value_name = "N", default_value = "1", value_parser = units::count_u32)]
    concurrent: u32,

    /// How long a connection may take
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::duration)]
    timeout: Duration,

    /// Least retransmission timeout
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    rto_min: Duration,

    /// How long TIME-WAIT lasts (2 MSL)
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::duration)]
    time_wait: Duration,

    /// Make the link a bad one, as for serve
    #[arg(long, value_name = "FAULTS", value_parser = fault)]
    fault: Option<FaultFlag>,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// The result. Field names are stable: tests rely on them.
#[derive(Debug, Serialize)]
struct Outcome {
    command: String,
    connections: u32,
    opened: u32,
    /// Every byte came, no other did, and both directions were closed.
    complete: u32,
    /// Other bytes came than had to.
    wrong: u32,
    timed_out: u32,
    bytes_received: u64,
    endings: BTreeMap<&'static str, u32>,
    refused_by_us: BTreeMap<&'static str, u32>,
    seconds: f64,
    counters: BTreeMap<&'static str, u64>,
    tcp: BTreeMap<&'static str, u64>,
    fault_injection: Option<FaultReport>,
    /// Frames that ended in no counter; 0, or a bug.
    unaccounted: i64,
    /// Buffers that did not come back; 0, or a leak.
    mbufs_in_use: u32,
}

/// Connects as `args` say, and prints what came of it.
///
/// # Errors
/// [`Failure`]: wrong usage, something that could not be had, or wrong bytes, lost frames, lost buffers.
pub(crate) fn run(args: &ClientArgs) -> Result<(), Failure> {
    let stop = Stop::on_signals()?;
    let spec: NicSpec = args.nic.parse()?;
    let config = config(args)?;
    let named = |ip: &Interface| {
        LocalPrefix::host(ip.address)
            .map(|host| (format!("--ip {}", written(ip)), host))
            .map_err(|error| Failure::Usage(error.to_string()))
    };
    let named = args.ip.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    kernel::refuse_owned(named, &kernel::owned_addresses()?)?;
    spec.check()?;
    let fault = args.fault.map(|flag| flag.spec()).transpose()?;
    let pools = PoolSizes {
        rx_frames: POOL_FRAMES,
        control_frames: POOL_FRAMES,
        data_frames: POOL_FRAMES,
        cache_frames: 256,
    };
    let port_config = PortConfig {
        pools,
        ..PortConfig::default()
    };
    let eal = Eal::init(&EalConfig {
        memory_mb: pools.memory_mb(port_config.mtu, None) + OTHER_MEMORY_MB,
        nics: vec![spec.clone()],
        ..EalConfig::default()
    })?;
    let (port, queues) = eal.open(&spec)?.init(&port_config)?;
    if let NicSpec::Tap { name, .. } = &spec {
        let side = KernelSide {
            tap: name,
            vlan: VlanId::UNTAGGED,
            ours: &args.ip,
            prefixes: &[],
        };
        side.bring_up(&args.tap_up)?;
    }
    let no_queue = || Failure::Run(format!("{spec} has no queue"));
    let queue = queues.into_iter().next().ok_or_else(no_queue)?;
    let mut pools = vec![queue.control.clone(), queue.data.clone()];
    pools.extend(port.rx_pool().cloned());
    console::log(format_args!("{spec}: to {}", args.to));
    let mut outcome = talk(args, &eal, queue, (config, fault.as_ref()), &stop)?;
    drop(port);
    outcome.mbufs_in_use = pools.iter().map(Mempool::in_use).sum();
    console::report(&outcome, args.json)?;
    outcome.gate()
}

fn config(args: &ClientArgs) -> Result<Arc<Config>, Failure> {
    let mut spec = ConfigSpec::new(args.ip.clone());
    spec.tcp.rto_min = args.rto_min;
    spec.tcp.rto_initial = spec.tcp.rto_initial.max(args.rto_min);
    spec.tcp.two_msl = args.time_wait;
    let few = Records { v4: 16, v6: 16 };
    let of_family = |n: u32| Records { v4: n, v6: n };
    let active = args.concurrent.max(16);
    spec.limits.records = Capacity {
        embryos: few,
        parked: of_family(active),
        open: of_family(active),
        time_wait: of_family(args.connections.clamp(16, 1 << 20)),
    };
    let config = spec
        .validate()
        .map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(Arc::new(config))
}

/// The loop, on this thread, until all connections have ended or a signal came.
fn talk(
    args: &ClientArgs,
    eal: &Eal,
    queue: QueuePair,
    (config, fault): (Arc<Config>, Option<&FaultSpec>),
    stop: &Stop,
) -> Result<Outcome, Failure> {
    let clock = Clock::start(eal.cycles_hz());
    let mut nic = DpdkNic::new(queue);
    nic.set_faults(fault, clock.hz());
    let ring = Rings::new(1, config.limits.handoff_frames)
        .into_ends()
        .into_iter()
        .next()
        .ok_or_else(|| {
            Failure::Run("no ring is left for the worker: that is a bug, please report it".into())
        })?;
    let client = Client::new(order(args));
    let secrets = secrets::fresh()?;
    let mut worker = Worker::with_app(nic, client, config, &secrets, ring, PageOptions::default())
        .map_err(|error| Failure::Run(format!("the tables do not fit into memory: {error}")))?;
    let mut back_off = BackOff::new(Idle::Sleep);
    let started = Instant::now();
    let mut given_up = false;
    while !worker.app().is_done() {
        let moved = worker.turn(clock.at(dpdk::cycles())) > 0;
        back_off.rest(moved);
        if stop.is_asked() && !given_up {
            given_up = true;
            worker.app_mut().give_up();
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let drain = Instant::now();
    while worker.drain_turn(clock.at(dpdk::cycles())) && drain.elapsed() < DRAIN_MAX {}
    let tally = worker.app().tally().clone();
    let mut outcome = Outcome::new(args, &tally, seconds);
    outcome.counters = worker.counters().non_zero().collect();
    let tcp = worker.tcp_counters().named();
    outcome.tcp = tcp.filter(|(_, n)| *n > 0).collect();
    outcome.unaccounted = worker.counters().unaccounted();
    let totals = worker.into_nic().fault_totals();
    outcome.fault_injection = fault.map(|spec| FaultReport::new(spec, totals.into_iter()));
    Ok(outcome)
}

fn order(args: &ClientArgs) -> ClientPlan {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        args.path, args.to
    );
    ClientPlan {
        to: args.to,
        talk: args.talk,
        bytes: args.bytes,
        request: request.into_bytes(),
        connections: args.connections,
        concurrent: args.concurrent.max(1),
        timeout: args.timeout,
    }
}

impl Outcome {
    fn new(args: &ClientArgs, tally: &ClientTally, seconds: f64) -> Self {
        Self {
            command: provenance::command(),
            connections: args.connections,
            opened: tally.opened,
            complete: tally.complete,
            wrong: tally.wrong,
            timed_out: tally.timed_out,
            bytes_received: tally.bytes_received,
            endings: tally.endings.clone(),
            refused_by_us: tally.refused_by_us.clone(),
            seconds: (seconds * 1000.0).round() / 1000.0,
            counters: BTreeMap::new(),
            tcp: BTreeMap::new(),
            fault_injection: None,
            unaccounted: 0,
            mbufs_in_use: 0,
        }
    }

    /// Wrong bytes and what is lost fail the run; how connections end is for the caller to judge.
    fn gate(&self) -> Result<(), Failure> {
        let mut faults = Vec::new();
        if self.wrong > 0 {
            faults.push(format!(
                "{} got wrong bytes",
                counted(self.wrong, "connection")
            ));
        }
        if self.unaccounted != 0 {
            faults.push(format!(
                "{} unaccounted for",
                counted(self.unaccounted, "frame")
            ));
        }
        if self.mbufs_in_use > 0 {
            faults.push(format!(
                "{} did not come back",
                counted(self.mbufs_in_use, "buffer")
            ));
        }
        Failure::unless_good(&faults)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} complete in {:.1} s, {} received, {} wrong, endings {:?}",
            self.complete,
            counted(self.connections, "connection"),
            self.seconds,
            counted(self.bytes_received, "byte"),
            self.wrong,
            self.endings
        )
    }
}
