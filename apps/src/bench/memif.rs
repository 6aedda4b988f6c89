//! `--nic memif`: this process generates or is the client; the endpoint is a child process (or one that was started separately) behind shared memory.
//!
//! It must never unmap the link while the other side polls: the child stops and closes first, and a process that
//! was started separately is waited for.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use dpdk::{Eal, EalConfig, Mempool, NicSpec, Port, PortConfig};

use super::args::{BenchArgs, Peer};
use super::child::Child;
use super::conduct::{NearSide, Watch};
use super::endpoint::{EndpointTotals, Progress};
use super::report::Sides;
use super::ring::{MEMORY_MB, POOLS, only};
use crate::clock::{self, Clock};
use crate::console;
use crate::failure::Failure;
use crate::stop::Stop;
use crate::threads;

/// How long the link may take to come up.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a peer that was started separately may take to leave.
const LEAVE: Duration = Duration::from_secs(5);
/// The driver says that the link is down before it has unmapped it; this is how long that may take.
const SETTLE: Duration = Duration::from_millis(20);
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
        let own = nic.strip_prefix("memif").filter(|options| {
            // Without a colon there is no socket: the options follow at once.
            options.is_empty() || options.starts_with(',')
        });
        if let Some(options) = own {
            let options = match options.trim_start_matches(',') {
                "" => DEFAULT_OPTIONS.to_owned(),
                given => given.to_owned(),
            };
            let directory = std::env::temp_dir().join(format!("syncline-{}", std::process::id()));
            std::fs::create_dir_all(&directory).map_err(|error| {
                Failure::Run(format!(
                    "cannot make the directory {} for the socket: {error}",
                    directory.display()
                ))
            })?;
            let socket = directory.join("memif.sock").display().to_string();
            return Ok(Self {
                socket,
                options,
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
                "bench runs only over links that it makes itself, and `{nic}` is another: use --nic ring or --nic memif"
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
            // The server removes its socket; what is left is ours, and it harms nothing when it stays.
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

/// Makes the link with an endpoint (or a peer that was started separately) behind it, runs `near` on this side, and closes everything.
/// `early` is called as soon as this side has stopped: the program that started the peer stops it when the result is there.
///
/// # Errors
/// [`Failure`] when DPDK, a CPU, memory or the socket can't be had, or a side does not answer; or what `near` or `early`
/// end with.
pub(super) fn run<R>(
    args: &BenchArgs,
    stop: &Stop,
    near: impl FnOnce(NearSide<'_>) -> Result<R, Failure>,
    early: impl FnOnce(&R, &Sides) -> Result<(), Failure>,
) -> Result<(R, Sides), Failure> {
    let link = Link::new(&args.nic)?;
    let eal = Eal::init(&EalConfig {
        memory_mb: MEMORY_MB,
        extra_args: args.eal.clone(),
        ..EalConfig::default()
    })?;
    let cpus = threads::assign(&["generator", "endpoint"], args.cpus.as_deref(), eal.cpus())?;
    let mut child = match args.peer {
        Peer::Endpoint => Some(Child::start(args, &link.server().to_string(), &cpus)?),
        Peer::External => None,
    };
    let ready = child.as_mut().map(|child| child.ready(stop)).transpose()?;
    let (port, queues) = eal.open(&link.client())?.init(&PortConfig {
        pools: POOLS,
        ..PortConfig::default()
    })?;
    let queue = only(queues)?;
    port.wait_link_up(CONNECT)?;
    let mut pools = vec![queue.control.clone(), queue.data.clone()];
    pools.extend(port.rx_pool().cloned());
    let result = near(NearSide {
        eal: &eal,
        queues: queue,
        cpu: cpus[0],
        clock: Clock::start(eal.cycles_hz()),
        endpoint: ready.as_ref(),
        far: &mut FarProcess(child.as_mut()),
    })?;
    // No thread polls on this side any more: the other side may close.
    let stopped: Option<EndpointTotals> = child.as_mut().map(Child::stop).transpose()?;
    let mut sides = Sides {
        link: format!("memif {}, two processes, no NIC", link.options),
        ready,
        stopped,
        generator_mbufs_in_use: 0,
        generator_memory: eal.memory_line().to_owned(),
        dpdk: eal.version(),
        cpus,
        dumps: Vec::new(),
    };
    early(&result, &sides)?;
    wait_for_leave(&port);
    drop(port);
    sides.generator_mbufs_in_use = pools.iter().map(Mempool::in_use).sum();
    Ok((result, sides))
}

/// The endpoint in the other process, or none to ask.
struct FarProcess<'a>(Option<&'a mut Child>);

impl Watch for FarProcess<'_> {
    fn progress(&mut self) -> Result<Option<Progress>, Failure> {
        self.0.as_mut().map(|child| child.progress()).transpose()
    }
}

/// Waits until the peer has closed the link: a client that leaves first pulls the memory away from under its poll loop,
/// and one that closes while the driver's own thread takes the link down frees the same memory twice.
fn wait_for_leave(port: &Port) {
    let started = Instant::now();
    while port.link_is_up() {
        if started.elapsed() >= LEAVE {
            console::log(
                "warning: the peer still holds the link; bench ends without waiting for it",
            );
            return;
        }
        clock::sleep(SETTLE);
    }
    clock::sleep(SETTLE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_follow_with_a_socket_and_without() {
        for (nic, options, own) in [
            ("memif", "rsize=10", true),
            ("memif,rsize=9", "rsize=9", true),
            ("memif,rsize=9,bsize=256", "rsize=9,bsize=256", true),
            ("memif:/run/a.sock", "rsize=10", false),
            ("memif:/run/a.sock,rsize=9", "rsize=9", false),
        ] {
            let link = Link::new(nic).unwrap_or_else(|failure| panic!("{nic}: {failure}"));
            assert_eq!(link.options, options, "{nic}");
            assert_eq!(link.directory.is_some(), own, "{nic}");
        }
        assert!(Link::new("memifs").is_err());
    }
}
