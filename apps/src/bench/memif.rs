//! `--nic memif`: this process generates; the endpoint is a child process (or somebody else's) behind shared memory.
//!
//! Called by: `bench`. It must never unmap the link while the other side polls: the child stops and closes first, and a
//! process that somebody else started is waited for.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dpdk::{DpdkNic, Eal, EalConfig, Mempool, NicSpec, Port, PortConfig};
use stack::nic::Nic as _;

use super::args::{Args, Peer};
use super::child::Child;
use super::conduct::{self, Line, Watch};
use super::endpoint::{Progress, Stopped};
use super::plan;
use super::report::{Report, Sides};
use super::ring::{MEMORY_MB, POOLS, join, only, spawn_generator};
use crate::clock::Clock;
use crate::console;
use crate::failure::Failure;
use crate::mailbox;
use crate::stop::Stop;
use crate::threads;
use crate::traffic::{Expect, Generator, Order, PaceConfig, Target};

/// What a peer that somebody else started is called on the link; memif delivers everything to everybody.
const EXTERNAL_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];
/// How long the link may take to come up.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a peer that somebody else started may take to leave.
const LEAVE: Duration = Duration::from_secs(10);
/// net_memif's own ring is 1024 frames; short rings stay in the cache, long ones ride out stalls.
const DEFAULT_OPTIONS: &str = "rsize=10";

/// The two ends of a link as NIC specs, and the directory that was made for its socket.
pub(super) struct Link {
    socket: String,
    options: String,
    directory: Option<PathBuf>,
}

impl Link {
    /// From the text of `--nic`; without a socket one is made in a directory of its own.
    ///
    /// # Errors
    /// [`Failure::Usage`] for text that is no memif link.
    fn new(nic: &str) -> Result<Self, Failure> {
        if nic == "memif" {
            let directory = std::env::temp_dir().join(format!("syncline-{}", std::process::id()));
            std::fs::create_dir_all(&directory).map_err(|error| {
                Failure::Run(format!(
                    "no directory {} for the socket: {error}",
                    directory.display()
                ))
            })?;
            let socket = directory.join("memif.sock").display().to_string();
            return Ok(Self {
                socket,
                options: DEFAULT_OPTIONS.to_owned(),
                directory: Some(directory),
            });
        }
        match nic.parse::<NicSpec>()? {
            NicSpec::Memif {
                socket, options, ..
            } => {
                let options = if options.is_empty() {
                    DEFAULT_OPTIONS.to_owned()
                } else {
                    options
                };
                Ok(Self {
                    socket,
                    options,
                    directory: None,
                })
            }
            _ => Err(Failure::Usage(format!(
                "bench runs on links that it makes itself, and `{nic}` is none: use --nic ring or --nic memif"
            ))),
        }
    }

    fn client(&self) -> NicSpec {
        self.spec(false)
    }

    /// The endpoint's side.
    pub(super) fn server(&self) -> NicSpec {
        self.spec(true)
    }

    fn spec(&self, server: bool) -> NicSpec {
        NicSpec::Memif {
            socket: self.socket.clone(),
            server,
            options: self.options.clone(),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(directory) = &self.directory {
            // The server removes its socket; what is left is ours, and nobody is hurt when it stays.
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

/// Runs over memif and prints the result.
///
/// # Errors
/// [`Failure`] when DPDK, a CPU, memory or the socket can't be had, or a side does not answer.
pub(super) fn run(args: &Args, stop: &Stop) -> Result<Report, Failure> {
    let link = Link::new(&args.nic)?;
    let eal = Eal::init(&EalConfig {
        memory_mb: MEMORY_MB,
        extra_args: args.eal.clone(),
        ..EalConfig::default()
    })?;
    let cpus = threads::assign(&["generator", "endpoint"], args.cpus.as_deref(), eal.cpus())?;
    let mut child = match args.peer {
        Peer::Endpoint => Some(Child::start(args, &link, &cpus)?),
        Peer::External => None,
    };
    let ready = child.as_mut().map(|child| child.ready(stop)).transpose()?;
    let mac = ready.as_ref().map_or(EXTERNAL_MAC, |ready| ready.mac);
    let (port, queues) = eal.open(&link.client())?.init(&PortConfig {
        pools: POOLS,
        ..PortConfig::default()
    })?;
    let queue = only(queues)?;
    port.wait_link_up(CONNECT)?;
    let mut pools = vec![queue.control.clone(), queue.data.clone()];
    pools.extend(port.rx_pool().cloned());
    let clock = Clock::start(eal.cycles_hz());
    let line = Line::new();
    let (course, dumps) = std::thread::scope(|scope| {
        let generator = spawn_generator(scope, args, &eal, cpus[0], (queue, mac), (&line, clock));
        let course = conduct::conduct(args, &line, &mut Far(child.as_mut()), clock, stop);
        line.orders.give(mailbox::Order::Stop);
        let dumps = join(generator)?;
        Ok::<_, Failure>((course?, dumps))
    })?;
    // Nobody polls on this side any more: the other side may close.
    let stopped: Option<Stopped> = child.as_mut().map(Child::stop).transpose()?;
    let mut sides = Sides {
        link: format!("memif {}, two processes, no NIC", link.options),
        ready,
        stopped,
        generator_mbufs_in_use: 0,
        generator_memory: eal.memory_line().to_owned(),
        dpdk: eal.version(),
        cpus,
        dumps,
    };
    if args.peer == Peer::External {
        // The result first: whoever started the peer stops it when it is there.
        Report::new(args, &course, sides.clone()).print(args.json)?;
        wait_for_leave(&port, stop);
    }
    drop(port);
    sides.generator_mbufs_in_use = pools.iter().map(Mempool::in_use).sum();
    let report = Report::new(args, &course, sides);
    if args.peer == Peer::Endpoint {
        report.print(args.json)?;
    }
    Ok(report)
}

/// The endpoint in the other process, or nobody to ask.
struct Far<'a>(Option<&'a mut Child>);

impl Watch for Far<'_> {
    fn progress(&mut self) -> Result<Option<Progress>, Failure> {
        self.0.as_mut().map(|child| child.progress()).transpose()
    }
}

/// Waits until the peer has closed the link: a client that leaves first pulls the memory away from under its poll loop.
fn wait_for_leave(port: &Port, stop: &Stop) {
    let started = Instant::now();
    while port.link_is_up() && !stop.is_asked() {
        if started.elapsed() >= LEAVE {
            console::log("warning: the peer still holds the link; leaving all the same");
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A generator for this run on `nic`.
///
/// # Errors
/// [`Failure::Run`] without randomness.
pub(super) fn generator(
    args: &Args,
    nic: DpdkNic,
    endpoint_mac: [u8; 6],
    clock: Clock,
) -> Result<Generator<DpdkNic>, Failure> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::Run(format!("the system has no randomness: {error}")))?;
    let seed = core::array::from_fn(|word| {
        u64::from_le_bytes(core::array::from_fn(|byte| bytes[word * 8 + byte]))
    });
    let (address, port): (IpAddr, u16) = plan::target(args);
    let order = Order {
        target: Target {
            mac: endpoint_mac,
            source_mac: nic.mac(),
            address,
            port,
        },
        options: args.syn_options(),
        expect: args.expected(),
        retire: args.is_stateful(),
        pace: PaceConfig {
            rate_pps: args.rate,
            window: (args.expected() != Expect::Sink).then_some(args.window),
            hz: clock.hz(),
        },
        seed,
    };
    Ok(Generator::new(nic, &order))
}
