//! [`RunPlan`]: requests, tables and pools of a run. Everything that can be refused before a NIC is touched is refused here.
//!
//! It must never change the machine; it looks at it (addresses, interfaces, files).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use dpdk::{NicSpec, PoolSizes, PortConfig};
use stack::config::{Config, Interface};
use stack::conn::{Capacity, Records};
use stack::local::addresses::LocalPrefix;
use stack::local::ports::PortRange;
use workload::load::{
    Arrivals, CloseMode, LoadPlan, Pace, RatePiece, ReplyPlan, RequestPlan, Schedule, Template,
    WhenBusy, Window, Work,
};

use super::args::{ArrivalLaw, Busy, Close, LoadArgs, Workload};
use super::target::{Scheme, TargetUrl};
use crate::failure::Failure;
use crate::rig::idle::Idle;
use crate::rig::{self, Allowed};
use crate::secrets;

/// Connections without `-c` and without `-R`.
const CLOSED_DEFAULT: u32 = 10;
/// Connections without `-c` and with `-R`, at least and at most.
const OPEN_LEAST: u32 = 10_000;
const OPEN_MOST: u32 = 200_000;
/// Connections in TIME-WAIT that one worker has room for at most; then the oldest goes, counted.
const TIME_WAIT_MAX: u32 = 4 << 20;
/// The same for a closed loop, whose rate is not known before.
const TIME_WAIT_CLOSED: u32 = 1 << 20;
/// A body of a request at most, in bytes: it lies in the NIC's memory.
const BODY_MAX: usize = 1 << 20;
/// Bytes of a frame in the pools.
const FRAME_BYTES: usize = 2048;
/// Our addresses and the server's on the in-memory link.
const RING_CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
pub(super) const RING_SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const RING_PREFIX_LEN: u8 = 24;

/// A checked plan.
#[derive(Debug, Clone)]
pub(super) struct RunPlan {
    /// The NIC; `ring` for our own server.
    pub(super) spec: NicSpec,
    /// Targets, as reports name them.
    pub(super) targets: Vec<String>,
    /// The stack's configuration, one for each worker.
    pub(super) configs: Vec<Arc<Config>>,
    /// What each worker is to do.
    pub(super) plans: Vec<LoadPlan>,
    /// What an operation is.
    pub(super) work: Work,
    /// Operations a second, of all workers; `None` in a closed loop.
    pub(super) rate: Option<u64>,
    /// Connections at a time, of all workers.
    pub(super) connections: u32,
    /// Queue pairs, workers.
    pub(super) workers: u16,
    /// What they do while nothing comes.
    pub(super) idle: Idle,
    /// How the port is set up.
    pub(super) port: PortConfig,
    /// Our addresses.
    pub(super) interfaces: Vec<Interface>,
    /// Prefixes that are ours, sources included.
    pub(super) prefixes: Vec<LocalPrefix>,
}

impl RunPlan {
    /// The plan that `args` describe, as far as this machine allows it.
    ///
    /// # Errors
    /// [`Failure::Usage`] for what another command line avoids, [`Failure::Run`] for what the machine hasn't got.
    pub(super) fn new(args: &LoadArgs) -> Result<Self, Failure> {
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
        let rate = allowed.rate(args.rate);
        let work = work(args, &targets)?;
        let connections = connections(args, rate);
        let workers = args.link.workers()?;
        if connections < u32::from(workers) {
            return Err(Failure::Usage(format!(
                "--connections {connections}: each of the {workers} workers needs one at least"
            )));
        }
        rig::check_flags(&args.link, &spec)?;
        let interfaces = interfaces(args, is_ring)?;
        let prefixes: Vec<LocalPrefix> = args
            .link
            .prefix
            .iter()
            .chain(&args.sources)
            .copied()
            .collect();
        let mut plan = Self {
            targets: targets.iter().map(described).collect(),
            configs: Vec::new(),
            plans: Vec::new(),
            work,
            rate,
            connections,
            workers,
            idle: args.link.idle.unwrap_or(Idle::Spin),
            port: PortConfig::default(),
            interfaces,
            prefixes,
            spec,
        };
        plan.check_sources(args, &targets)?;
        let requests = requests(args, &targets)?;
        let bodies: usize = requests
            .iter()
            .map(|request| request.bytes.constant().map_or(0, <[u8]>::len) / FRAME_BYTES + 1)
            .sum();
        for worker in 0..workers {
            let share = plan.share(connections, worker);
            plan.configs.push(Arc::new(plan.config(args, share)?));
            plan.plans
                .push(plan.of_worker(args, (&targets, &requests), (worker, share))?);
        }
        plan.port = PortConfig {
            queues: workers,
            mtu: args.link.mtu,
            pools: plan.pools(u32::try_from(bodies).unwrap_or(u32::MAX), args.pipeline),
            ..PortConfig::default()
        };
        Ok(plan)
    }

    fn share(&self, whole: u32, worker: u16) -> u32 {
        let workers = u32::from(self.workers);
        whole / workers + u32::from(u32::from(worker) < whole % workers)
    }

    /// Frames that the connections of one worker may hold.
    fn kept_frames(&self, pipeline: u16) -> u32 {
        let per_worker = self.share(self.connections, 0);
        let wanted = per_worker.saturating_mul(u32::from(pipeline) + 3);
        wanted.clamp(8192, 131_072)
    }

    fn config(&self, args: &LoadArgs, connections: u32) -> Result<Config, Failure> {
        let mut spec = args.link.config_spec()?;
        spec.interfaces.clone_from(&self.interfaces);
        spec.prefixes.clone_from(&self.prefixes);
        spec.tcp.two_msl = args.time_wait;
        spec.tcp.rto_min = args.rto_min;
        spec.tcp.rto_initial = spec.tcp.rto_initial.max(args.rto_min);
        spec.tcp.profile.nagle = false;
        spec.park_after = Duration::from_secs(3600);
        spec.local_ports =
            PortRange::new(1024, u16::MAX).map_err(|error| Failure::Run(error.to_string()))?;
        spec.limits.queue_items = self.kept_frames(args.pipeline);
        let has = |v6| self.interfaces.iter().any(|i| i.address.is_ipv6() == v6);
        let of_families = |n: u32| Records {
            v4: if has(false) { n } else { 0 },
            v6: if has(true) { n } else { 0 },
        };
        let time_wait = match (self.work, self.rate) {
            (Work::Connect(CloseMode::Fin), Some(rate)) => {
                let per_worker = rate.div_ceil(self.workers.into());
                let all = per_worker as f64 * args.time_wait.as_secs_f64() * 1.1;
                (all as u64).clamp(1024, TIME_WAIT_MAX.into()) as u32
            }
            (Work::Connect(CloseMode::Fin), None) => TIME_WAIT_CLOSED,
            _ => 65_536,
        };
        spec.limits.records = Capacity {
            embryos: of_families(16),
            parked: of_families(connections.max(16)),
            open: of_families(connections.max(16)),
            time_wait: of_families(time_wait),
        };
        spec.validate()
            .map_err(|error| Failure::Usage(error.to_string()))
    }

    fn of_worker(
        &self,
        args: &LoadArgs,
        (targets, requests): (&[TargetUrl], &[RequestPlan]),
        (worker, connections): (u16, u32),
    ) -> Result<LoadPlan, Failure> {
        let [seed, arrivals_seed, _] = secrets::seed()?;
        let share = (worker, self.workers);
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let window = Window {
            from_ns: ns(args.ramp_up),
            until_ns: ns(args.duration - args.ramp_down),
        };
        let pace = match self.rate {
            None => Pace::Closed,
            Some(rate) => {
                let arrivals = match args.arrivals {
                    ArrivalLaw::Constant => Arrivals::Constant,
                    ArrivalLaw::Poisson => Arrivals::Poisson,
                };
                let schedule = Schedule::new(&pieces(args, rate), arrivals, share, arrivals_seed);
                let when_busy = match args.when_busy {
                    Busy::Queue => WhenBusy::Queue,
                    Busy::Drop => WhenBusy::Drop,
                };
                Pace::Open(schedule, when_busy)
            }
        };
        let sources = args.sources.iter().flat_map(addresses_of);
        Ok(LoadPlan {
            targets: targets.iter().map(|target| target.address).collect(),
            requests: requests.to_vec(),
            work: self.work,
            pace,
            connections,
            keeps_all: self.work == Work::Request && args.connections.is_some(),
            pipeline: args.pipeline,
            count: args.count.map(|count| {
                let workers = u64::from(self.workers);
                count / workers + u64::from(u64::from(worker) < count % workers)
            }),
            ramp_ns: if self.rate.is_none() {
                window.from_ns
            } else {
                0
            },
            burst: args.burst,
            timeout: args.timeout,
            window,
            accepted: args.status.0.clone(),
            sources: sources.collect(),
            share,
            seed,
        })
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

    /// Whether there are enough local addresses and ports for the rate: each is taken from a connection's beginning to the end of
    /// its TIME-WAIT, wherever that is kept.
    fn check_sources(&self, args: &LoadArgs, targets: &[TargetUrl]) -> Result<(), Failure> {
        const PORTS: u64 = 65_536 - 1024;
        let (Work::Connect(close), Some(rate)) = (self.work, self.rate) else {
            return Ok(());
        };
        let kept = match close {
            CloseMode::Fin => args.time_wait,
            CloseMode::Peer => args.peer_time_wait,
            CloseMode::Rst => Duration::ZERO,
        };
        // No connection of the run lies longer behind than its beginning.
        let kept = kept.max(args.dut_hold).min(args.duration);
        let mut destinations: Vec<_> = targets.iter().map(|target| target.address).collect();
        destinations.sort_unstable();
        destinations.dedup();
        let addresses: u64 = args.sources.iter().map(|p| u64::from(p.addresses())).sum();
        let addresses = addresses.max(1);
        let have = addresses * PORTS * destinations.len() as u64;
        let needed = (rate as f64 * kept.as_secs_f64()).ceil() as u64
            + u64::from(args.connections.unwrap_or(0));
        if needed <= have {
            return Ok(());
        }
        let more = needed.div_ceil(PORTS * destinations.len() as u64);
        Err(Failure::Usage(format!(
            "-R {rate} needs {needed} tuples of source address and port ({rate}/s × {:.0} s in TIME-WAIT), and there are {have} \
             ({addresses} × {PORTS} × {} destinations): give --sources with {more} addresses, or --close rst, or a shorter \
             --duration or --time-wait",
            kept.as_secs_f64(),
            destinations.len()
        )))
    }
}

fn described(target: &TargetUrl) -> String {
    match target.scheme {
        Scheme::Http => format!("http://{}{}", target.authority, target.path),
        Scheme::Tcp => format!("tcp://{}", target.address),
    }
}

fn targets(args: &LoadArgs, is_ring: bool) -> Result<Vec<TargetUrl>, Failure> {
    match (is_ring, args.targets.is_empty()) {
        (true, true) => Ok(vec![TargetUrl::parse(&format!("http://{RING_SERVER}/"))?]),
        (true, false) => Err(Failure::Usage(
            "a target needs a NIC that leads to it: give --nic and --ip (without a target our own server is loaded, over an \
             in-memory link)"
                .into(),
        )),
        (false, true) => Err(Failure::Usage(
            "the target is missing: give a URL such as http://198.18.0.1:8080/".into(),
        )),
        (false, false) => args.targets.iter().map(|text| TargetUrl::parse(text)).collect(),
    }
}

fn check_times(args: &LoadArgs) -> Result<(), Failure> {
    let ramps = args.ramp_up + args.ramp_down;
    if args.duration <= ramps {
        return Err(Failure::Usage(format!(
            "--duration {:?} leaves no time beside --ramp-up and --ramp-down ({ramps:?})",
            args.duration
        )));
    }
    if args.rate == Some(0) || args.connections == Some(0) || args.count == Some(0) {
        return Err(Failure::Usage(
            "--rate, --connections and --count are at least 1".into(),
        ));
    }
    if args.timeout.is_zero() {
        return Err(Failure::Usage("--timeout is more than 0".into()));
    }
    Ok(())
}

fn work(args: &LoadArgs, targets: &[TargetUrl]) -> Result<Work, Failure> {
    let is_http = targets.iter().any(|target| target.scheme == Scheme::Http);
    let workload = args.workload.unwrap_or(if is_http {
        Workload::Request
    } else {
        Workload::Connect
    });
    if is_http && (args.send.is_some() || args.expect.is_some()) {
        return Err(Failure::Usage(
            "--send and --expect are for tcp://; http:// takes --method, --header and --body"
                .into(),
        ));
    }
    let has_http_flags = args.method.is_some() || !args.header.is_empty() || args.body.is_some();
    if !is_http && has_http_flags {
        return Err(Failure::Usage(
            "--method, --header and --body are for http://; tcp:// takes --send and --expect"
                .into(),
        ));
    }
    match workload {
        Workload::Connect => Ok(Work::Connect(match args.close {
            Close::Fin => CloseMode::Fin,
            Close::Rst => CloseMode::Rst,
            Close::Peer => CloseMode::Peer,
        })),
        Workload::Request if !is_http && args.expect.is_none() => Err(Failure::Usage(
            "--workload request on tcp:// needs --send and --expect: without a reply there is nothing to wait for".into(),
        )),
        Workload::Request => Ok(Work::Request),
    }
}

fn connections(args: &LoadArgs, rate: Option<u64>) -> u32 {
    match (args.connections, rate) {
        (Some(connections), _) => connections,
        (None, None) => CLOSED_DEFAULT,
        (None, Some(rate)) => u32::try_from(rate / 4)
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

/// The rate over time: up, level, down.
fn pieces(args: &LoadArgs, rate: u64) -> Vec<RatePiece> {
    let rate = rate as f64;
    let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let level = args.duration - args.ramp_up - args.ramp_down;
    [
        (args.ramp_up, 0.0, rate),
        (level, rate, rate),
        (args.ramp_down, rate, 0.0),
    ]
    .map(|(time, from_rps, to_rps)| RatePiece {
        for_ns: ns(time),
        from_rps,
        to_rps,
    })
    .to_vec()
}

fn addresses_of(prefix: &LocalPrefix) -> impl Iterator<Item = IpAddr> + use<> {
    let first = prefix.first();
    (0..prefix.addresses()).map(move |n| match first {
        IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits() + n).into(),
        IpAddr::V6(first) => std::net::Ipv6Addr::from_bits(first.to_bits() + u128::from(n)).into(),
    })
}

fn requests(args: &LoadArgs, targets: &[TargetUrl]) -> Result<Vec<RequestPlan>, Failure> {
    let body = match &args.body {
        None => None,
        Some(path) => {
            let bytes = std::fs::read(path)
                .map_err(|error| Failure::Usage(format!("--body {}: {error}", path.display())))?;
            if bytes.len() > BODY_MAX {
                return Err(Failure::Usage(format!(
                    "--body {}: {} bytes are more than {BODY_MAX}, which is what a request may have",
                    path.display(),
                    bytes.len()
                )));
            }
            Some(bytes)
        }
    };
    let mut plans = Vec::new();
    for (index, target) in (0..).zip(targets) {
        let (bytes, reply) = match target.scheme {
            Scheme::Http => http_request(args, target, body.as_deref())?,
            Scheme::Tcp => match &args.send {
                None => continue,
                Some(text) => {
                    let reply = args.expect.as_deref().map(unescaped).transpose()?;
                    let exact = ReplyPlan::Exact(reply.unwrap_or_default().into());
                    (unescaped(text)?, exact)
                }
            },
        };
        let bytes = Template::new(&bytes).map_err(|error| Failure::Usage(error.to_string()))?;
        plans.push(RequestPlan {
            target: index,
            weight: target.weight,
            bytes,
            reply,
        });
    }
    Ok(plans)
}

fn http_request(
    args: &LoadArgs,
    target: &TargetUrl,
    body: Option<&[u8]>,
) -> Result<(Vec<u8>, ReplyPlan), Failure> {
    let method = args.method.as_deref().unwrap_or(match body {
        Some(_) => "POST",
        None => "GET",
    });
    let is_token = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    if !is_token(method) {
        return Err(Failure::Usage(format!(
            "--method {method}: that is not a method of HTTP"
        )));
    }
    let mut head = format!("{method} {} HTTP/1.1\r\n", target.path);
    let mut names = Vec::new();
    for header in &args.header {
        let named = header.split_once(':').filter(|(name, value)| {
            is_token(name) && !value.bytes().any(|byte| byte.is_ascii_control())
        });
        let Some((name, value)) = named else {
            return Err(Failure::Usage(format!(
                "--header `{header}`: write it like `Accept: text/html`"
            )));
        };
        names.push(name.to_ascii_lowercase());
        head += &format!("{name}: {}\r\n", value.trim());
    }
    let has = |name: &str| names.iter().any(|other| other == name);
    if !has("host") {
        head += &format!("Host: {}\r\n", target.authority);
    }
    if !has("user-agent") {
        head += concat!("User-Agent: syncline/", env!("CARGO_PKG_VERSION"), "\r\n");
    }
    let closes = args.workload == Some(Workload::Connect) && args.close == Close::Peer;
    if closes && !has("connection") {
        head += "Connection: close\r\n";
    }
    if let Some(body) = body
        && !has("content-length")
        && !has("transfer-encoding")
    {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    head += "\r\n";
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body.unwrap_or_default());
    let to_head = method == "HEAD";
    Ok((bytes, ReplyPlan::Http { to_head }))
}

/// `\r`, `\n`, `\t`, `\\` and `\xHH` as bytes.
fn unescaped(text: &str) -> Result<Vec<u8>, Failure> {
    let wrong = || {
        Failure::Usage(format!(
            "`{text}`: behind a backslash stands r, n, t, 0, another backslash, or x and two hexadecimal digits"
        ))
    };
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let (&kind, behind) = rest.split_first().ok_or_else(wrong)?;
        rest = behind;
        bytes.push(match kind {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let digits = rest
                    .get(..2)
                    .and_then(|digits| std::str::from_utf8(digits).ok());
                let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                rest = rest.get(2..).unwrap_or_default();
                value.ok_or_else(wrong)?
            }
            _ => return Err(wrong()),
        });
    }
    Ok(bytes)
}
