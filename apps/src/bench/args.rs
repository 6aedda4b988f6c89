//! The flags of `syncline bench`.
//!
//! It must never hold a flag that nothing reads.

use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, ValueEnum};

use crate::failure::Failure;
use crate::fault::{FaultFlag, fault};
use crate::report::OutputArgs;
use crate::traffic::{Expect, SynOptions};
use crate::units;

/// Shortest and longest measurement.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);
/// Longest warm-up.
const WARMUP_MAX_MS: u64 = 60_000;
/// SYNs that may be unanswered at a time, unless the link holds fewer.
const WINDOW: u32 = 384;
/// More handshakes or requests under way than this fill no link faster.
const CONCURRENCY_MAX: u32 = 65_536;
/// The RFC's 2 MSL (RFC 9293 §3.4.2).
const TIME_WAIT_MAX: Duration = Duration::from_secs(240);
/// Connections of `connect` and `request` unless asked for otherwise.
const CONNECT_CONNECTIONS: u32 = 256;
const REQUEST_CONNECTIONS: u32 = 1000;
/// More flows than this can't be made from the ports that the generator leaves alone.
const CONNECTIONS_MAX: u32 = 100_000_000;
/// Records for connections that aren't parked, unless asked for otherwise.
const OPEN_MAX: u32 = 2_000_000;
/// Idle times after which connections park, unless asked for otherwise: where not all may be open, and where all may.
const PARK_AFTER: Duration = Duration::from_secs(1);
const PARK_AFTER_LONG: Duration = Duration::from_secs(5);
/// Records beyond those under way: what one side has ended and the other hasn't.
pub(super) const SLACK: u32 = 1024;

/// Flags that not every mode can honour, by name, and the modes that do.
const ONLY_FOR: &[(&str, &[Mode])] = &[
    ("connections", &[Mode::Connect, Mode::Request]),
    ("concurrency", &[Mode::Request]),
    ("fill", &[Mode::Rst, Mode::Syn]),
    ("shape", &[Mode::Connect, Mode::Request]),
    ("size", &[Mode::Connect]),
    ("time-wait", &[Mode::Connect]),
    ("park-after", &[Mode::Request]),
    ("open-records", &[Mode::Request]),
    ("cookies", &[Mode::Syn]),
    // The generator of SYNs sends nothing again: it would wait for every SYN that was lost, and then give up its window.
    ("fault", &[Mode::Connect, Mode::Request]),
    ("rate", &[Mode::Rst, Mode::Syn]),
    ("options", &[Mode::Rst, Mode::Syn]),
    ("peer", &[Mode::Rst, Mode::Syn]),
    ("expect", &[Mode::Rst, Mode::Syn]),
    ("window", &[Mode::Rst, Mode::Syn]),
];

/// Measure how fast the endpoint answers; every reply is verified with DPDK's checksum code
///
/// Two polling threads, a generator and an endpoint, each on a CPU of its own. On `ring` (the default) both are in this
/// process and frames pass by pointer; on `memif` the endpoint is a second process. Neither needs root, a NIC or
/// hugepages. Ctrl-C ends the run early and prints what was measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BenchArgs {
    // First, because clap takes away what a field has read.
    #[command(flatten)]
    given: GivenFlags,

    /// The exchange to measure
    #[arg(value_enum)]
    pub(crate) mode: Mode,

    /// The link: `ring`, or `memif[:SOCKET][,rsize=N,bsize=N]` (options of net_memif)
    #[arg(long, value_name = "NIC", default_value = "ring")]
    pub(crate) nic: String,

    /// Concurrent connections. `connect`: each is opened, asked once and closed [default: 256]. `request`: all are opened first;
    /// each request uses a random one [default: 1000]
    #[arg(short, long, value_name = "N", value_parser = units::count_u32)]
    pub(crate) connections: Option<u32>,

    /// `request`: concurrent requests
    #[arg(long, value_name = "N", default_value = "256", value_parser = units::count_u32)]
    concurrency: u32,

    /// `rst`, `syn`: established connections to fill the endpoint's table with before the measurement
    #[arg(long, value_name = "N", default_value = "0", value_parser = units::count_u32)]
    pub(crate) fill: u32,

    /// `connect`: which segments are combined. `piggyback`: request with the handshake's ACK, response with the server's FIN; 6
    /// packets, the server closes first. `plain`: no segments are combined, each is acknowledged at once; 11 packets, the client closes
    /// first. `request`: with `piggyback` the client's ACK waits for its next request, 40 ms at most (delayed ACK); with `plain` it goes
    /// at once, alone: 2 and 3 packets a request
    #[arg(long, value_enum, default_value = "piggyback")]
    pub(crate) shape: ShapeArg,

    /// `connect`: bytes of the response's body, at most 60k
    #[arg(long, value_name = "BYTES", default_value = "64", value_parser = units::count_u32)]
    pub(crate) size: u32,

    /// `connect`: how long TIME-WAIT lasts (2 MSL) on the side that closes first (RFC 9293: 240 s, Linux: 60 s)
    #[arg(long, value_name = "TIME", default_value = "1", value_parser = units::duration)]
    pub(crate) time_wait: Duration,

    /// `request`: how long a connection is idle before it is parked [default: 1 s with fewer open records than connections, else 5 s]
    #[arg(long, value_name = "TIME", value_parser = units::duration, hide_short_help = true)]
    pub(crate) park_after: Option<Duration>,

    /// `request`: records for connections that aren't parked, on each side [default: one per connection, at most 2m]
    #[arg(long, value_name = "N", value_parser = units::count_u32, hide_short_help = true)]
    pub(crate) open_records: Option<u32>,

    /// `connect`, `request`: inject faults in both directions, on the client's side, as for serve:
    /// `loss=1%,reorder=1%,dup=0.5%,corrupt=0.1%,delay=5ms,seed=7`. Connections that end because of them count as lost, not as failures
    #[arg(long, value_name = "FAULTS", value_parser = fault)]
    pub(crate) fault: Option<FaultFlag>,

    /// `syn`: answer every SYN with a SYN cookie instead of keeping an embryo
    #[arg(long)]
    pub(crate) cookies: bool,

    /// How long to measure
    #[arg(short, long, value_name = "TIME", default_value = "3s", value_parser = units::duration)]
    pub(crate) duration: Duration,

    /// How long to run before the measurement, in ms
    #[arg(long, value_name = "MS", default_value_t = 300, value_parser = units::count)]
    pub(crate) warmup_ms: u64,

    /// SYNs to send per second [default: as many as the link takes]
    #[arg(short = 'R', long, value_name = "PPS", value_parser = units::rate_pps)]
    pub(crate) rate: Option<u64>,

    /// CPUs of generator and endpoint [default: the first two]
    #[arg(
        long,
        visible_alias = "lcores",
        value_name = "G,E",
        value_delimiter = ',',
        value_parser = units::within(0, 65_535usize)
    )]
    pub(crate) cpus: Option<Vec<usize>>,

    /// IPv6 instead of IPv4
    #[arg(long)]
    pub(crate) ipv6: bool,

    /// TCP options of the SYNs [default: rst none, syn linux]
    #[arg(long, value_enum)]
    pub(crate) options: Option<SynOptions>,

    /// Where the result goes.
    #[command(flatten)]
    pub(crate) output: OutputArgs,

    /// The endpoint that answers the generator
    #[arg(long, value_enum, default_value = "endpoint", hide_short_help = true)]
    pub(crate) peer: Peer,

    /// Which reply is correct; for `--peer external` [default: depends on the mode]
    #[arg(long, value_enum, hide_short_help = true)]
    pub(crate) expect: Option<Expect>,

    /// Largest number of unanswered SYNs; must be smaller than the link's ring, so that replies always fit [default: 384, at most
    /// three quarters of --ring-frames]
    #[arg(long, value_name = "N", value_parser = units::count_u32, hide_short_help = true)]
    pub(crate) window: Option<u32>,

    /// Ring size of each direction of `ring`, in frames: a power of two, at least 64
    #[arg(long, value_name = "N", default_value = "512", value_parser = units::count_u32, hide_short_help = true)]
    pub(crate) ring_frames: u32,

    /// An argument for DPDK's EAL, passed on unchanged; repeatable
    #[arg(
        long,
        value_name = "ARG",
        allow_hyphen_values = true,
        hide_short_help = true
    )]
    pub(crate) eal: Vec<String>,

    /// Which half of a run in two processes this process is
    #[arg(long, value_enum, hide = true)]
    pub(crate) role: Option<BenchRole>,
}

/// The flags that stand on the command line, by name: a default that a mode can't honour is no mistake.
#[derive(Debug, Clone, Default)]
struct GivenFlags(Vec<String>);

impl GivenFlags {
    fn has(&self, flag: &str) -> bool {
        self.0.iter().any(|given| given == flag)
    }
}

impl clap::FromArgMatches for GivenFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Self::default();
        given.update_from_arg_matches(matches)?;
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let names = matches.ids().map(clap::Id::as_str);
        let given =
            names.filter(|name| matches.value_source(name) == Some(ValueSource::CommandLine));
        self.0 = given.map(|name| name.replace('_', "-")).collect();
        Ok(())
    }
}

impl clap::Args for GivenFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        command
    }
}

/// The exchange to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// A closed port: each SYN is answered with RST,ACK
    Rst,
    /// An open port: each SYN is answered with SYN,ACK
    Syn,
    /// Complete HTTP connections: handshake, request, response, close
    Connect,
    /// One byte in each direction over `--connections` established connections chosen at random
    Request,
}

/// Which segments are combined, as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShapeArg {
    /// Combine what can be combined
    Piggyback,
    /// Combine nothing
    Plain,
}

impl ShapeArg {
    /// As it stands on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Piggyback => "piggyback",
            Self::Plain => "plain",
        }
    }
}

impl Mode {
    /// As it stands on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rst => "rst",
            Self::Syn => "syn",
            Self::Connect => "connect",
            Self::Request => "request",
        }
    }

    /// Whether both sides are stacks with an app.
    pub(crate) const fn is_conversation(self) -> bool {
        matches!(self, Self::Connect | Self::Request)
    }
}

/// The side that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// Syncline's endpoint, started by this run
    Endpoint,
    /// A memif server that was started separately (`dpdk-testpmd`)
    External,
}

/// Which half of a run in two processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchRole {
    /// The endpoint: stdin are orders, stdout is what it reports, both one JSON value a line
    Endpoint,
}

impl BenchArgs {
    /// Contradictions between flags, which clap can't express.
    ///
    /// # Errors
    /// [`Failure::Usage`] names the flag and what to do.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
        self.check_mode()?;
        if self.duration < SHORTEST || self.duration > LONGEST {
            return usage(
                "--duration must be 0.1 to 3600 s: every run is bounded, and a shorter one is too noisy",
            );
        }
        if self.warmup_ms > WARMUP_MAX_MS {
            return usage("--warmup-ms must be at most 60000");
        }
        if self.connections > Some(CONNECTIONS_MAX) {
            return usage("--connections must be at most 100m");
        }
        if self.fill > CONNECTIONS_MAX {
            return usage("--fill must be at most 100m");
        }
        if self.given.has("ring-frames") && !self.is_ring() {
            return usage(
                "--ring-frames applies only to --nic ring; the length of a memif is its rsize=N",
            );
        }
        if self.mode.is_conversation() {
            return self.check_conversation();
        }
        if self.window == Some(0) {
            return usage("--window must be at least 1: with 0 nothing is ever sent");
        }
        if self.is_ring() && self.syn_window() >= self.ring_frames {
            return Err(Failure::Usage(format!(
                "--window must be less than --ring-frames ({}): replies that find the ring full are lost",
                self.ring_frames
            )));
        }
        match self.peer {
            Peer::Endpoint if self.expect.is_some() => usage(
                "--expect applies only to --peer external: our own endpoint must answer as the mode says",
            ),
            Peer::External if self.is_ring() => usage(
                "--peer external needs a link that another process serves: --nic memif:SOCKET",
            ),
            Peer::External if self.fill > 0 || self.cookies => usage(
                "--fill and --cookies set up our own endpoint: leave them out with --peer external",
            ),
            Peer::External if self.expected() == Expect::Sink && self.given.has("window") => usage(
                "--window limits SYNs without a reply, and --expect sink gets no replies: use --rate",
            ),
            _ => Ok(()),
        }
    }

    /// No flag that the mode would pass over in silence.
    fn check_mode(&self) -> Result<(), Failure> {
        let in_vain =
            |(flag, modes): &&(&str, &[Mode])| self.given.has(flag) && !modes.contains(&self.mode);
        let Some((flag, modes)) = ONLY_FOR.iter().find(in_vain) else {
            return Ok(());
        };
        let names: Vec<String> = modes
            .iter()
            .map(|mode| format!("`bench {}`", mode.name()))
            .collect();
        Err(Failure::Usage(format!(
            "--{flag} doesn't apply to `bench {}`: use it with {}",
            self.mode.name(),
            names.join(" or ")
        )))
    }

    /// The same for `connect` and `request`.
    fn check_conversation(&self) -> Result<(), Failure> {
        let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
        if self.under_way() == 0 || self.under_way() > CONCURRENCY_MAX {
            return Err(Failure::Usage(format!(
                "--{} must be 1 to 65536",
                if self.mode == Mode::Connect {
                    "connections"
                } else {
                    "concurrency"
                }
            )));
        }
        if self.size > workload::http::BODY_MAX {
            return usage("--size must be at most 60k");
        }
        if self.time_wait > TIME_WAIT_MAX {
            return usage("--time-wait must be at most 240 s");
        }
        if self.mode == Mode::Connect {
            return Ok(());
        }
        if self.connections == Some(0) {
            return usage("--connections must be at least 1");
        }
        if self.under_way() > self.requested_connections() {
            return usage(
                "--concurrency must be at most --connections: a connection has one request under way at a time",
            );
        }
        let least = self.under_way() + SLACK;
        if self.open_records.is_some_and(|records| records < least) {
            return Err(Failure::Usage(format!(
                "--open-records must be at least {least}: --concurrency, plus {SLACK} for connections that only one side has ended"
            )));
        }
        Ok(())
    }

    /// How long a connection is idle before it is parked. Where each may be open, that is long enough for a random request to come before:
    /// the figure is that of open connections. No longer, or those that were not asked yet would rest.
    pub(crate) fn park_after(&self) -> Duration {
        let parks = self.open_records() < self.requested_connections();
        let default = if parks { PARK_AFTER } else { PARK_AFTER_LONG };
        self.park_after.unwrap_or(default)
    }

    /// `request`: records for connections that aren't parked, on each side.
    pub(crate) fn open_records(&self) -> u32 {
        let connections = self.requested_connections();
        self.open_records.unwrap_or(connections.min(OPEN_MAX))
    }

    /// `request`: the connections to open.
    pub(crate) fn requested_connections(&self) -> u32 {
        self.connections.unwrap_or(REQUEST_CONNECTIONS)
    }

    /// `connect`: connections under way at a time. `request`: requests.
    pub(crate) fn under_way(&self) -> u32 {
        if self.mode == Mode::Connect {
            self.connections.unwrap_or(CONNECT_CONNECTIONS)
        } else {
            self.concurrency
        }
    }

    /// Whether the endpoint has the services of `serve`.
    pub(crate) fn is_served(&self) -> bool {
        self.mode == Mode::Connect && self.shape == ShapeArg::Piggyback
    }

    /// Whether both sides are in this process.
    pub(crate) fn is_ring(&self) -> bool {
        self.nic == "ring"
    }

    /// The reply that counts as right.
    pub(crate) fn expected(&self) -> Expect {
        self.expect.unwrap_or(match self.mode {
            Mode::Rst => Expect::Rst,
            _ => Expect::Syn,
        })
    }

    /// SYNs that may be unanswered at a time.
    pub(crate) fn syn_window(&self) -> u32 {
        let fits = if self.is_ring() {
            self.ring_frames / 4 * 3
        } else {
            WINDOW
        };
        self.window.unwrap_or_else(|| WINDOW.min(fits))
    }

    /// The options of the SYNs.
    pub(crate) fn syn_options(&self) -> SynOptions {
        self.options.unwrap_or(match self.mode {
            Mode::Rst => SynOptions::Bare,
            _ => SynOptions::Linux,
        })
    }

    /// Whether the endpoint keeps an embryo for each SYN, which the generator must take back.
    pub(crate) fn is_stateful(&self) -> bool {
        self.mode == Mode::Syn && !self.cookies && self.expected() == Expect::Syn
    }
}

#[cfg(test)]
pub(super) mod tests;
