//! [`RunPlan`]: requests, tables and pools of a run. Everything that can be refused before a NIC is touched is refused here.
//!
//! It must never change the machine; it looks at it (addresses, interfaces, files).

// Requests as bytes.
mod requests;
// Where connections come from.
mod sources;
// The kind of an operation.
mod work;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use diagnose::counted;
use dpdk::{NicSpec, PoolSizes, PortConfig};
use stack::config::{Config, Interface};
use stack::conn::{Capacity, Records};
use stack::local::addresses::LocalPrefix;
use stack::local::ports::PortRange;
use workload::load::{
    Arrivals, CloseMode, LoadPlan, LocalTuples, Opening, Pace, ProxyHeader, RatePiece, RequestPlan,
    Schedule, WhenBusy, Window, Work,
};

use self::sources::TupleStock;
use super::args::{ArrivalLaw, Busy, LoadArgs, ProxyVersion, Way, Workload};
use super::failures::KEPT_PER_FAULT;
use super::own_server::ServerPlan;
use super::rate::RateSteps;
use super::target::{Scheme, TargetUrl};
use crate::failure::Failure;
use crate::rig::idle::Idle;
use crate::rig::{self, Allowed, NicArgs};
use crate::secrets;

/// Connections without `-c` and without `-R`.
const CLOSED_DEFAULT: u32 = 10;
/// Connections without `-c` and with `-R`, at least and at most.
const OPEN_LEAST: u32 = 10_000;
const OPEN_MOST: u32 = 200_000;
/// Without `-c` and with --find, whose rates are not known before.
const FIND_CONNECTIONS: u32 = 50_000;
/// The first trial's rate of --find where no flag says it.
const FIND_FROM: u64 = 1000;
/// How long a connection that is held is idle before it parks, where no flag says it.
const PARK_AFTER: Duration = Duration::from_millis(200);
/// The receive buffer of bulk transfer, in bytes.
const STREAM_RCV_BUF: u32 = 1 << 20;
/// Of connections that are held, those that keep frames at a time.
const HOLD_BUSY: u32 = 8192;
/// Connections in TIME-WAIT that one worker has room for at most; then the oldest goes, counted.
const TIME_WAIT_MAX: u32 = 4 << 20;
/// The same for a closed loop, whose rate is not known before.
const TIME_WAIT_CLOSED: u32 = 1 << 20;
/// Handshakes, and closings, that are under way at a time where connections are kept: a backlog of listeners takes as many.
const OPENING_MAX: u32 = 1000;
/// The same with a rate, whose handshakes may take a second.
const OPENING_MAX_AT_RATE: u32 = 1 << 20;
/// Connections of one worker that are not parked, and operations under way, at most, where connections are held.
const HOLD_OPEN_MAX: u32 = 1 << 18;
const HOLD_OPERATIONS_MAX: u32 = 8192;
/// The same, of all workers, on a link in memory: when both directions are full, each end waits for the other to take a frame.
const IN_MEMORY_OPERATIONS_MAX: u32 = 512;
/// Bytes of a frame in the pools.
const FRAME_BYTES: usize = 2048;
/// Our addresses and the server's on the in-memory link.
const RING_CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const RING_SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const RING_PREFIX_LEN: u8 = 24;

/// A checked plan.
#[derive(Debug, Clone)]
pub(super) struct RunPlan {
    /// The NIC; `ring` for our own server.
    pub(super) spec: NicSpec,
    /// Our own server, at the other end of the link or behind a device.
    pub(super) server: Option<ServerPlan>,
    /// Targets, as reports name them.
    pub(super) targets: Vec<String>,
    /// The stack's configuration, one for each worker.
    pub(super) configs: Vec<Arc<Config>>,
    /// The plan of each worker.
    pub(super) plans: Vec<LoadPlan>,
    /// The kind of an operation.
    pub(super) work: Work,
    /// Operations a second, of all workers; `None` in a closed loop, and where connections are held.
    pub(super) rate: Option<RateSteps>,
    /// Connections opened a second where they are held; `None` as fast as the peer answers.
    pub(super) ramp_rate: Option<u64>,
    /// In this time each connection that is held is asked once.
    pub(super) verify_every: Option<Duration>,
    /// Connections at a time, of all workers.
    pub(super) connections: u32,
    /// Queue pairs, workers.
    pub(super) workers: u16,
    /// Their behaviour while no frame comes.
    pub(super) idle: Idle,
    /// How the port is set up.
    pub(super) port: PortConfig,
    /// Our addresses.
    pub(super) interfaces: Vec<Interface>,
    /// Prefixes that are ours, sources included.
    pub(super) prefixes: Vec<LocalPrefix>,
    /// How many tuples connections may have.
    stock: TupleStock,
}

impl RunPlan {
    /// The plan that `args` describe, as far as this machine allows it.
    ///
    /// # Errors
    /// [`Failure::Usage`] for what another command line avoids, [`Failure::Run`] for what the machine hasn't got.
    pub(super) fn new(args: &LoadArgs) -> Result<Self, Failure> {
        let plan = Self::of(args)?;
        rig::check_flags(&args.link, &plan.spec)?;
        if let Some((link, spec)) = plan.second_arm() {
            rig::check_flags(link, spec)?;
        }
        Ok(plan)
    }

    /// The plan that `args` describe, whatever this machine allows.
    ///
    /// # Errors
    /// [`Failure::Usage`] for what another command line avoids, [`Failure::Run`] when a file can't be read.
    pub(super) fn of(args: &LoadArgs) -> Result<Self, Failure> {
        let spec = args.link.spec()?;
        let is_ring = spec == NicSpec::Ring;
        let targets = targets(args, is_ring)?;
        check_times(args)?;
        let allowed = Allowed::for_connections(&spec, &args.guard);
        for target in &targets {
            allowed.target(target.address.ip())?;
        }
        for sources in &args.sources {
            allowed.sources(sources)?;
        }
        let work = work::work(args, &targets)?;
        let (rate, ramp_rate) = rates(args, &allowed, work);
        let connections = connections(args, rate.as_ref());
        let workers = args.link.workers()?;
        if connections < u32::from(workers) {
            return Err(Failure::Usage(format!(
                "--connections {connections}: each of the {workers} workers needs at least one"
            )));
        }
        args.link.check(&spec)?;
        let interfaces = interfaces(args, is_ring)?;
        let prefixes: Vec<LocalPrefix> = args
            .link
            .prefix
            .iter()
            .chain(&args.sources)
            .copied()
            .collect();
        let mut plan = Self {
            server: server(args, (is_ring, &targets))?,
            targets: targets.iter().map(described).collect(),
            configs: Vec::new(),
            plans: Vec::new(),
            work,
            rate,
            ramp_rate,
            verify_every: args.verify_every,
            connections,
            workers,
            idle: args.link.idle.unwrap_or(Idle::Spin),
            port: PortConfig::default(),
            interfaces,
            prefixes,
            stock: TupleStock::default(),
            spec,
        };
        plan.deal(args, &targets)?;
        Ok(plan)
    }

    /// Deals what is to be done to the workers, and sizes what the port needs for it.
    fn deal(&mut self, args: &LoadArgs, targets: &[TargetUrl]) -> Result<(), Failure> {
        let ends: Vec<SocketAddr> = targets.iter().map(|target| target.address).collect();
        let tuples = self.tuples(args, &ends)?;
        self.stock = TupleStock::new(&ends, tuples.as_ref());
        self.check_tuples(args, self.peak_rate())
            .map_err(Failure::Usage)?;
        let requests = match (self.work, args.verify_every) {
            (Work::Hold, None) => Vec::new(),
            _ => requests::all(args, targets)?,
        };
        let bodies: usize = requests
            .iter()
            .map(|request| request.bytes.constant().map_or(0, <[u8]>::len) / FRAME_BYTES + 1)
            .sum();
        for worker in 0..self.workers {
            let share = self.share(self.connections, worker);
            self.configs.push(Arc::new(self.config(args, share)?));
            let of_worker =
                self.of_worker(args, (&ends, &requests, tuples.as_ref()), (worker, share))?;
            self.plans.push(of_worker);
        }
        let pools = self.pools(u32::try_from(bodies).unwrap_or(u32::MAX), args.pipeline);
        self.port = args.link.port_config(self.workers, pools)?;
        Ok(())
    }

    /// The flags and the NIC of the servers behind a device.
    pub(super) fn second_arm(&self) -> Option<(&NicArgs, &NicSpec)> {
        let link = self.server.as_ref()?.link.as_ref()?;
        Some((&link.0, &link.1))
    }

    fn share(&self, whole: u32, worker: u16) -> u32 {
        let workers = u32::from(self.workers);
        whole / workers + u32::from(u32::from(worker) < whole % workers)
    }

    /// Whether the link is one in memory, which holds little.
    fn is_in_memory(&self) -> bool {
        matches!(self.spec, NicSpec::Ring | NicSpec::Memif { .. })
    }

    /// Whether operations are due at times of their own.
    pub(super) fn is_open_loop(&self) -> bool {
        self.rate.is_some() || self.verify_every.is_some()
    }

    /// The highest rate, in operations a second; `None` in a closed loop, and where connections are held.
    pub(super) fn peak_rate(&self) -> Option<u64> {
        self.rate.as_ref().map(RateSteps::peak)
    }

    /// Connections that end a second, at a rate of `peak` operations a second; `None` in a closed loop, and where connections stay.
    fn ended_per_s(&self, args: &LoadArgs, peak: Option<u64>) -> Option<u64> {
        let peak = peak?;
        match (self.work, args.requests_per_connection) {
            (Work::Connect(_), _) => Some(peak),
            (Work::Request, Some(requests)) => Some(peak.div_ceil(requests.into())),
            _ => None,
        }
    }

    /// Frames that the connections of one worker may hold.
    fn kept_frames(&self, pipeline: u16) -> u32 {
        let per_worker = match self.work {
            // Most of them are idle.
            Work::Hold => self.share(self.connections, 0).min(HOLD_BUSY),
            _ => self.share(self.connections, 0),
        };
        let wanted = per_worker.saturating_mul(u32::from(pipeline) + 3);
        wanted.clamp(8192, 131_072)
    }

    fn config(&self, args: &LoadArgs, connections: u32) -> Result<Config, Failure> {
        let mut spec = args.link.config_spec()?;
        spec.interfaces.clone_from(&self.interfaces);
        let own: Vec<IpAddr> = self.interfaces.iter().map(|i| i.address).collect();
        let parts = self.prefixes.iter();
        spec.prefixes = parts
            .flat_map(|&prefix| sources::without(prefix, &own))
            .collect();
        spec.tcp.two_msl = args.time_wait;
        spec.tcp.rto_min = args.rto_min;
        spec.tcp.rto_initial = spec.tcp.rto_initial.max(args.rto_min);
        spec.tcp.profile.nagle = false;
        if let Work::Stream(_) = self.work {
            spec.tcp.profile.rcv_buf = STREAM_RCV_BUF;
        }
        spec.park_after = match self.work {
            Work::Hold => args.park_after.unwrap_or(PARK_AFTER),
            _ => Duration::from_secs(3600),
        };
        spec.local_ports =
            PortRange::new(1024, u16::MAX).map_err(|error| Failure::Run(error.to_string()))?;
        spec.limits.queue_items = self.kept_frames(args.pipeline);
        let has = |v6| self.interfaces.iter().any(|i| i.address.is_ipv6() == v6);
        let of_families = |n: u32| Records {
            v4: if has(false) { n } else { 0 },
            v6: if has(true) { n } else { 0 },
        };
        let closes_first =
            self.work == Work::Connect(CloseMode::Fin) || args.requests_per_connection.is_some();
        let time_wait = match self.ended_per_s(args, self.peak_rate()) {
            Some(rate) if closes_first && !args.find => {
                let per_worker = rate.div_ceil(self.workers.into());
                let all = per_worker as f64 * args.time_wait.as_secs_f64() * 1.1;
                (all as u64).clamp(1024, TIME_WAIT_MAX.into()) as u32
            }
            _ if closes_first => TIME_WAIT_CLOSED,
            _ => 65_536,
        };
        spec.limits.records = Capacity {
            embryos: of_families(16),
            parked: of_families(connections.max(16)),
            open: of_families(match self.work {
                Work::Hold => connections.clamp(16, HOLD_OPEN_MAX),
                _ => connections.max(16),
            }),
            time_wait: of_families(time_wait),
        };
        spec.validate()
            .map_err(|error| Failure::Usage(error.to_string()))
    }

    fn of_worker(
        &self,
        args: &LoadArgs,
        (targets, requests, tuples): (&[SocketAddr], &[RequestPlan], Option<&LocalTuples>),
        (worker, connections): (u16, u32),
    ) -> Result<LoadPlan, Failure> {
        let [seed, arrivals_seed, _] = secrets::seed()?;
        let share = (worker, self.workers);
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let window = Window {
            from_ns: ns(args.ramp_up),
            until_ns: ns(args.lasts() - args.ramp_down),
        };
        let pace = self.pace(args, share, arrivals_seed);
        let operations = connections.saturating_mul(u32::from(args.pipeline));
        Ok(LoadPlan {
            targets: targets.to_vec(),
            requests: requests.to_vec(),
            work: self.work,
            pace,
            connections,
            keeps_all: match self.work {
                Work::Request => args.connections.is_some(),
                Work::Hold | Work::Stream(_) => true,
                Work::Connect(_) => false,
            },
            opening: self.work.keeps().then(|| self.opening()),
            operations: match self.work {
                Work::Hold if self.is_in_memory() => {
                    operations.min(IN_MEMORY_OPERATIONS_MAX.div_ceil(self.workers.into()))
                }
                Work::Hold => operations.min(HOLD_OPERATIONS_MAX),
                _ => operations,
            },
            pipeline: args.pipeline,
            requests_per_connection: args.requests_per_connection,
            times_steps: true,
            times_from_syn: args.profile.is_some(),
            apart: false,
            at_random: false,
            count_by: args.count_by.as_deref().map(Into::into),
            marks_per_fault: match args.pcap_failures {
                Some(_) => KEPT_PER_FAULT,
                None => 0,
            },
            count: args.count.map(|count| {
                let workers = u64::from(self.workers);
                count / workers + u64::from(u64::from(worker) < count % workers)
            }),
            ramp_ns: if self.is_open_loop() {
                0
            } else {
                window.from_ns
            },
            burst: args.burst,
            timeout: args.timeout,
            window,
            proxy: args.send_proxy.map(|version| match version {
                ProxyVersion::V1 => ProxyHeader::V1,
                ProxyVersion::V2 => ProxyHeader::V2,
            }),
            // Our own services return the pattern.
            expects_pattern: args.expect_pattern || self.spec == NicSpec::Ring,
            accepted: args.status.0.clone(),
            tuples: tuples.cloned(),
            share,
            seed,
        })
    }

    /// How one worker opens the connections that are kept.
    fn opening(&self) -> Opening {
        let workers = self.workers;
        Opening {
            rate_rps: self.ramp_rate.map(|rate| rate as f64 / f64::from(workers)),
            under_way_max: match self.ramp_rate {
                Some(_) if !self.is_in_memory() => OPENING_MAX_AT_RATE,
                _ => OPENING_MAX.div_ceil(workers.into()),
            },
            closing_max: OPENING_MAX.div_ceil(workers.into()),
        }
    }

    /// The cause that begins operations of one worker.
    fn pace(&self, args: &LoadArgs, share: (u16, u16), seed: u64) -> Pace {
        let pieces = match (self.work, &self.rate) {
            (Work::Hold, _) => self.verifications(args),
            (Work::Stream(_), _) => Vec::new(),
            (_, Some(rate)) => pieces(args, rate),
            (_, None) => return Pace::Closed,
        };
        let arrivals = match args.arrivals {
            ArrivalLaw::Constant => Arrivals::Constant,
            ArrivalLaw::Poisson => Arrivals::Poisson,
        };
        let when_busy = match args.when_busy {
            Busy::Queue => WhenBusy::Queue,
            Busy::Drop => WhenBusy::Drop,
        };
        Pace::Open(Schedule::new(&pieces, arrivals, share, seed), when_busy)
    }

    /// Requests on connections that are held: as many in an interval as there are connections.
    fn verifications(&self, args: &LoadArgs) -> Vec<RatePiece> {
        let Some(interval) = self.verify_every else {
            return Vec::new();
        };
        let rps = f64::from(self.connections) / interval.as_secs_f64();
        vec![RatePiece {
            for_ns: u64::try_from(args.lasts().as_nanos()).unwrap_or(u64::MAX),
            from_rps: rps,
            to_rps: rps,
        }]
    }

    fn pools(&self, bodies: u32, pipeline: u16) -> PoolSizes {
        let kept = self.kept_frames(pipeline);
        let sizes = rig::pool_sizes(self.workers, kept, bodies);
        PoolSizes {
            // A client's SYNs and ACKs leave in bursts.
            control_frames: sizes.control_frames * 2 + 1,
            ..sizes
        }
    }
}

fn described(target: &TargetUrl) -> String {
    match target.scheme {
        Scheme::Http => format!("http://{}{}", target.authority, target.path),
        Scheme::Tcp => format!("tcp://{}", target.address),
    }
}

fn targets(args: &LoadArgs, is_ring: bool) -> Result<Vec<TargetUrl>, Failure> {
    // What can't be loaded at all is said first.
    let parsed = args.targets.iter().map(|text| TargetUrl::parse(text));
    let targets: Vec<TargetUrl> = parsed.collect::<Result<_, _>>()?;
    match (is_ring, targets.is_empty()) {
        (true, true) => Ok(vec![TargetUrl::parse(&own_target(args))?]),
        (true, false) => Err(Failure::Usage(
            "a target needs a NIC that leads to it. For a server of this machine: http://198.18.0.1:PORT/ --nic tap \
             --tap-up 198.18.0.1/24 --ip 198.18.0.2/24 --with 'COMMAND THAT STARTS IT'; for one elsewhere: --nic pci:ADDRESS --ip \
             OURS/LEN. Without a target our own server is loaded, over an in-memory link"
                .into(),
        )),
        (false, true) => Err(Failure::Usage(
            "the target is missing: give a URL such as http://198.18.0.1:8080/".into(),
        )),
        (false, false) => Ok(targets),
    }
}

/// Our own server, where there is to be one.
fn server(
    args: &LoadArgs,
    (is_ring, targets): (bool, &[TargetUrl]),
) -> Result<Option<ServerPlan>, Failure> {
    if !is_ring {
        return ServerPlan::behind_a_device(args, targets);
    }
    args.server.link(&args.link)?;
    let server = Interface {
        address: IpAddr::V4(RING_SERVER),
        prefix_len: RING_PREFIX_LEN,
    };
    ServerPlan::ring(args, (server, IpAddr::V4(RING_CLIENT))).map(Some)
}

/// The service of our own server that the workload needs.
fn own_target(args: &LoadArgs) -> String {
    match (args.workload, args.direction) {
        (Some(Workload::Stream), Way::Up) => format!("tcp://{RING_SERVER}:9"),
        (Some(Workload::Stream), Way::Down) => format!("tcp://{RING_SERVER}:19"),
        (Some(Workload::Stream), Way::Both) => format!("tcp://{RING_SERVER}:7"),
        _ => format!("http://{RING_SERVER}/"),
    }
}

fn check_times(args: &LoadArgs) -> Result<(), Failure> {
    let ramps = args.ramp_up + args.ramp_down;
    if args.lasts() <= ramps {
        return Err(Failure::Usage(format!(
            "--duration {:?} leaves no measured time beside --ramp-up and --ramp-down ({ramps:?}): raise it",
            args.lasts()
        )));
    }
    if let Some(steps) = &args.rate
        && !steps.fills(args.lasts() - ramps)
    {
        return Err(Failure::Usage(format!(
            "--rate {steps}: the steps do not add up to {:?}, which is --duration without its ramps: leave out --duration, or \
             the time of the last step",
            args.lasts() - ramps
        )));
    }
    if args.connections == Some(0) || args.count == Some(0) {
        return Err(Failure::Usage(
            "--connections and --count must be at least 1".into(),
        ));
    }
    if let (true, Some(rate)) = (args.find, &args.rate) {
        let (rate, lasts) = (rate.peak(), args.lasts());
        let all = (rate as f64 * lasts.as_secs_f64()) as u64;
        let least = args.gate.least_operations();
        if all < least {
            return Err(Failure::Usage(format!(
                "--find: a trial of {lasts:?} at --rate {rate} has {}, and the percentile of --gate needs {least}: raise --duration or --rate",
                counted(all, "operation")
            )));
        }
    }
    if args.timeout.is_zero() {
        return Err(Failure::Usage("--timeout must be more than 0".into()));
    }
    Ok(())
}

/// Operations a second, and connections opened a second where they are held.
fn rates(args: &LoadArgs, allowed: &Allowed, work: Work) -> (Option<RateSteps>, Option<u64>) {
    let asked = args.rate.as_ref().map(RateSteps::peak);
    let limited = allowed.rate(asked);
    if work.keeps() {
        return (None, limited);
    }
    let first = args.find.then(|| RateSteps::constant(FIND_FROM));
    let rate = args.rate.clone().or(first);
    (rate.or_else(|| limited.map(RateSteps::constant)), None)
}

fn connections(args: &LoadArgs, rate: Option<&RateSteps>) -> u32 {
    match (args.connections, rate) {
        (Some(connections), _) => connections,
        (None, _) if args.find => FIND_CONNECTIONS,
        (None, _) if args.workload == Some(Workload::Stream) => 1,
        (None, None) => CLOSED_DEFAULT,
        (None, Some(rate)) => u32::try_from(rate.peak() / 4)
            .unwrap_or(u32::MAX)
            .clamp(OPEN_LEAST, OPEN_MOST),
    }
}

fn interfaces(args: &LoadArgs, is_ring: bool) -> Result<Vec<Interface>, Failure> {
    if is_ring {
        return Ok(vec![Interface {
            address: IpAddr::V4(RING_CLIENT),
            prefix_len: RING_PREFIX_LEN,
        }]);
    }
    if args.link.ip.is_empty() {
        return Err(Failure::Usage(
            "--ip is missing: give an address of ours and the length of its link's prefix, such as 198.18.0.2/24".into(),
        ));
    }
    Ok(args.link.ip.clone())
}

/// The rate over time: up to the first step, the steps, down from the last one.
fn pieces(args: &LoadArgs, rate: &RateSteps) -> Vec<RatePiece> {
    let level = rate.pieces(args.lasts() - args.ramp_up - args.ramp_down);
    let ramp = |time: Duration, from_rps, to_rps| RatePiece {
        for_ns: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        from_rps,
        to_rps,
    };
    let first = level.first().map_or(0.0, |piece| piece.from_rps);
    let last = level.last().map_or(0.0, |piece| piece.to_rps);
    let mut pieces = vec![ramp(args.ramp_up, 0.0, first)];
    pieces.extend(level);
    pieces.push(ramp(args.ramp_down, last, 0.0));
    pieces
}
