//! The flags of `syncline load`.
//!
//! It must never hold a flag that nothing reads. `--config` and `--echo-config` are read by [`crate::config_file`].

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use stack::local::addresses::LocalPrefix;
use workload::load::BodyChecksum;

use super::arms::ServerArmArgs;
use super::gate::Gates;
use super::profile::ProfileName;
use super::rate::RateSteps;
use crate::addresses::routed_prefix;
use crate::fault::{FaultFlag, fault};
use crate::report::OutputArgs;
use crate::rig::{GuardArgs, NicArgs, PoolArgs};
use crate::units;

/// Load a server with connections or requests, and report how fast and how well it answers
///
/// Without a target and a NIC it loads our own server over an in-memory link, which needs no root and no NIC. A server on this
/// machine, in a network namespace of its own: `syncline load http://198.18.0.1:8080/ --nic tap --tap-up 198.18.0.1/24
/// --ip 198.18.0.2/24 --with 'python3 -m http.server 8080' -R 1k -d 10s`. The summary goes to stdout, a line a second to stderr.
///
/// Exit status: 0 the gates held (no operation failed, the generator was not the limit), 1 they did not, 2 usage error, 130
/// interrupted by a signal.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LoadArgs {
    /// The target: `http://ADDR[:PORT]/PATH`, or `tcp://ADDR:PORT` for connections and raw bytes; several are chosen from at
    /// random, `URL=WEIGHT` more often than others
    #[arg(value_name = "URL[=WEIGHT]")]
    pub(crate) targets: Vec<String>,

    /// Kind of operation [default: request for http, connect for tcp]
    #[arg(long, value_enum)]
    pub(crate) workload: Option<Workload>,

    /// Operations per second, due at fixed times whatever the server does (an open loop): `1k`, `2.5m`, or steps such as
    /// `1k:10s,2k:10s`. With --workload hold: connections opened per second until all are there
    #[arg(short = 'R', long, value_name = "N[:TIME,…]")]
    pub(crate) rate: Option<RateSteps>,

    /// How operations of --rate are spread
    #[arg(long, value_enum, default_value = "constant")]
    pub(crate) arrivals: ArrivalLaw,

    /// Concurrent connections, exactly [default: 10; with --rate as many as needed, up to 10k]
    #[arg(short, long, value_name = "N", value_parser = units::count_u32)]
    pub(crate) connections: Option<u32>,

    /// How to treat an operation that is due while all connections are busy: let it wait, which counts as its time, or drop and
    /// counted
    #[arg(long, value_enum, default_value = "queue")]
    pub(crate) when_busy: Busy,

    /// How long the load lasts, --ramp-up and --ramp-down included; with --workload hold how long all connections are kept
    /// [default: 10s, or as long as the steps of --rate]
    #[arg(short, long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) duration: Option<Duration>,

    /// Total number of operations [default: as many as --duration allows]
    #[arg(short = 'n', long, value_name = "N", value_parser = units::count)]
    pub(crate) count: Option<u64>,

    /// How long the rate, or without --rate the number of connections, takes to rise; operations of this time are not timed
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = units::duration)]
    pub(crate) ramp_up: Duration,

    /// How long the rate takes to fall at the end; operations of this time are not timed
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = units::duration, requires = "rate")]
    pub(crate) ramp_down: Duration,

    /// Operations that may begin back to back
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = units::within(1, 512u16))]
    pub(crate) burst: u16,

    /// Largest number of requests in flight on one connection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = units::within(1, 32u16))]
    pub(crate) pipeline: u16,

    /// How long an operation may take before it counts as failed and its connection is reset
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    pub(crate) timeout: Duration,

    /// Requests that a connection of --workload request has before we close it [default: it stays]
    #[arg(long, value_name = "N", value_parser = units::within(1, u32::MAX))]
    pub(crate) requests_per_connection: Option<u32>,

    /// Conditions of a good run. failed: operations that fail, resets: connections that the peer resets or refuses, both
    /// a number or a share (0.001%); p50 … p99.99: times of operations, from schedule with --rate; rate, open: how far the operations
    /// that a second completes, and the connections open at its end, may be from their means
    #[arg(
        long,
        value_name = "failed=N,p99=TIME,rate=5%,…",
        default_value = "failed=0"
    )]
    pub(crate) gate: Gates,

    /// Search the highest rate at which the gates hold: trials of --duration each, beginning at --rate [default: 1k], until it is
    /// known to 5 %
    #[arg(long)]
    pub(crate) find: bool,

    /// Run a test of RFC 9411 (benchmarking network security devices), in its phases and with its criteria: trials of --duration
    /// [default: 360s, of which 300s are timed], first at a tenth of --rate or --connections, then at all of it; with --find a search
    /// for the highest behind them
    #[arg(long, value_enum, value_name = "PROFILE")]
    pub(crate) profile: Option<ProfileName>,

    /// With --find: how long the rate that was found must hold in the end
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::duration)]
    pub(crate) confirm: Duration,

    /// How a connection of --workload connect ends: we close first, we reset it, or the peer closes first (asked by
    /// `Connection: close`)
    #[arg(long, value_enum, default_value = "fin")]
    pub(crate) close: Close,

    /// With --workload hold: send a request on every connection once in this time, spread evenly, and verify its reply;
    /// less than the server's idle timeout (`syncline serve`: 75s) [default: connections stay idle]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) verify_every: Option<Duration>,

    /// With --workload hold: how long a connection is idle before it is parked, which keeps 64 bytes of it [default: 200ms]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) park_after: Option<Duration>,

    /// With --workload stream: which way the bytes go
    #[arg(long, value_enum, default_value = "up")]
    pub(crate) direction: Way,

    /// With --workload stream: what comes is the pattern of chargen (RFC 864), which stream sends too: an echo returns it
    #[arg(long)]
    pub(crate) expect_pattern: bool,

    /// The method of HTTP requests [default: GET, and POST with --body]
    #[arg(short = 'X', long, value_name = "METHOD")]
    pub(crate) method: Option<String>,

    /// A header of HTTP requests; repeatable. In headers, paths, --body and --send, `{rand:16}` stands for 16 random characters,
    /// `{tuple}` for both ends of the connection, and an n in braces for the number of the request
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,

    /// The body of HTTP requests
    #[arg(long, value_name = "FILE")]
    pub(crate) body: Option<PathBuf>,

    /// HTTP status codes that count as success
    #[arg(long, value_name = "FIRST-LAST", default_value = "200-399", value_parser = status_range)]
    pub(crate) status: StatusRange,

    /// Expected checksum of the bodies of HTTP responses, `crc32c:` or `sha256:` and hexadecimal digits; another body is a failure. Once
    /// for all URLs, or once for each in their order
    #[arg(long, value_name = "ALGORITHM:HEX")]
    pub(crate) expect_body: Vec<BodyChecksum>,

    /// Count connections and responses by the value of this header of HTTP responses, such as the name of the backend that a load
    /// balancer has chosen
    #[arg(long, value_name = "HEADER")]
    pub(crate) count_by: Option<String>,

    /// Bytes to send on a connection of tcp://; `\r`, `\n`, `\t`, `\\` and `\xHH` stand for bytes
    #[arg(long, value_name = "TEXT")]
    pub(crate) send: Option<String>,

    /// Expected reply to --send, written in the same way
    #[arg(long, value_name = "TEXT", requires = "send")]
    pub(crate) expect: Option<String>,

    /// Send a header of the PROXY protocol in front of each connection, with the connection's own ends, as a load balancer does
    #[arg(long, value_enum, value_name = "VERSION")]
    pub(crate) send_proxy: Option<ProxyVersion>,

    /// Source addresses: whole prefixes that are ours, and routed to us where they are no part of the link; may be given several
    /// times [default: the address of --ip]
    #[arg(long, value_name = "ADDR/LEN", value_delimiter = ',', value_parser = routed_prefix)]
    pub(crate) sources: Vec<LocalPrefix>,

    /// Which tuples are used, and in which order.
    #[command(flatten)]
    pub(crate) pool: PoolArgs,

    /// How long the peer keeps connections that it closed first in TIME-WAIT: for the arithmetic of sources
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::duration)]
    pub(crate) peer_time_wait: Duration,

    /// How long a device on the way remembers an ended connection: for the arithmetic of sources
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = units::duration)]
    pub(crate) dut_hold: Duration,

    /// How long our own TIME-WAIT lasts (2 MSL)
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::duration)]
    pub(crate) time_wait: Duration,

    /// Minimum retransmission timeout (RFC 6298: 1s, Linux: 200ms)
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = units::duration)]
    pub(crate) rto_min: Duration,

    /// A command to run in the run's network namespace, the server to be measured; the load begins when it listens, and
    /// it ends with the run, a daemon too. With --server-nic the device, or what sets it up: the load begins when it listens or has ended well
    #[arg(long, value_name = "COMMAND")]
    pub(crate) with: Option<String>,

    /// Take flags from the table `load` of a TOML file: keys are long flags without dashes, `targets` the URLs; the command line
    /// wins
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Print the flags of this command line as a file for --config, and do nothing else
    #[arg(long)]
    pub(crate) echo_config: bool,

    /// The NIC and its addresses.
    #[command(flatten)]
    pub(crate) link: NicArgs,

    /// The other side of a device.
    #[command(flatten)]
    pub(crate) server: ServerArmArgs,

    /// Whom the run may reach.
    #[command(flatten)]
    pub(crate) guard: GuardArgs,

    /// Make the link a bad one, both ways, as in `serve`
    #[arg(long, value_name = "loss=1%,reorder=1%,dup=…,corrupt=…,delay=5ms,seed=N", value_parser = fault)]
    pub(crate) fault: Option<FaultFlag>,

    /// Where the result goes.
    #[command(flatten)]
    pub(crate) output: OutputArgs,

    /// Write a JSON object for each second to a file, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) ndjson: Option<PathBuf>,

    /// Write the frames of the first failed connections of each kind of failure, three each, to a file as pcapng, from their SYN on
    #[arg(long, value_name = "FILE")]
    pub(crate) pcap_failures: Option<PathBuf>,

    /// Write the times of each second to a file as an HdrHistogram log (V2), in ns
    #[arg(long, value_name = "FILE")]
    pub(crate) hdr_log: Option<PathBuf>,
}

/// The kind of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// A connection: open, one request if there is one, close
    Connect,
    /// A request over a connection that stays
    Request,
    /// None: exactly --connections connections are opened and kept, idle or asked now and then (--verify-every)
    Hold,
    /// None: bytes go over --connections connections (1 by default) as fast as they can (--direction)
    Stream,
}

/// How long the load lasts where no flag says it.
const DURATION_DEFAULT: Duration = Duration::from_secs(10);

impl Default for StatusRange {
    fn default() -> Self {
        Self(200..=399)
    }
}

impl LoadArgs {
    /// How long the load lasts.
    pub(super) fn lasts(&self) -> Duration {
        let steps = self.rate.as_ref().and_then(RateSteps::lasts);
        let with_ramps = steps.map(|steps| steps + self.ramp_up + self.ramp_down);
        self.duration.or(with_ramps).unwrap_or(DURATION_DEFAULT)
    }
}

/// Versions of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProxyVersion {
    /// A line of text
    V1,
    /// A binary header, with a CRC32C
    V2,
}

/// Which way bulk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// From us: to a discard service, or any server that reads
    Up,
    /// To us: from a chargen service, or a server that sends on connecting or when asked (--send, or the GET of http://)
    Down,
    /// Both: through an echo service
    Both,
}

/// How operations of an open loop are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ArrivalLaw {
    /// Evenly
    Constant,
    /// With exponentially distributed gaps, as independent users arrive
    Poisson,
}

/// How to treat an operation that is due while all connections are busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Busy {
    /// It waits
    Queue,
    /// It is dropped and counted
    Drop,
}

/// Which side closes a connection, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Close {
    /// We do, by FIN
    Fin,
    /// We do, by RST
    Rst,
    /// The peer does
    Peer,
}

/// HTTP status codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatusRange(pub(crate) std::ops::RangeInclusive<u16>);

/// `200`, or `200-399`.
fn status_range(text: &str) -> Result<StatusRange, String> {
    let wrong =
        || format!("`{text}` is not a range of status codes: expected one such as 200-399 or 404");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let code = |digits: &str| {
        digits
            .parse()
            .ok()
            .filter(|code| (200..=599).contains(code))
    };
    match (code(first), code(last)) {
        (Some(first), Some(last)) if first <= last => Ok(StatusRange(first..=last)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_codes_are_final_ones() {
        assert_eq!(status_range("200-399"), Ok(StatusRange(200..=399)));
        assert_eq!(status_range("404"), Ok(StatusRange(404..=404)));
        for text in ["", "2xx", "399-200", "100-200", "200-600", "-"] {
            assert!(status_range(text).is_err(), "{text}");
        }
    }
}
