//! The flags of `syncline serve`.
//!
//! It must never hold a flag that nothing reads.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use stack::config::ClosedPolicy;
use stack::local::addresses::LocalPrefix;
use stack::local::listener::SynPolicy;

use super::listen::{ListenGroup, listens};
use crate::addresses::address_or_prefix;
use crate::fault::{FaultFlag, fault};
use crate::report::OutputArgs;
use crate::rig::NicArgs;
use crate::units;

/// Run a TCP endpoint on a NIC or a tap: answer ARP, NDP, ping and TCP until Ctrl-C
///
/// A tap needs root, or --unshare: `syncline serve --nic tap:dtap0 --ip 198.18.0.2/24 --tap-up 198.18.0.1/24 --listen 80=http`, and in another
/// terminal `curl http://198.18.0.2`. The summary goes to stdout, a line a second to stderr.
#[derive(Debug, Clone, clap::Args)]
#[command(mut_arg("nic", |nic| nic.required(true)), mut_arg("ip", |ip| ip.required(true)))]
pub(crate) struct ServeArgs {
    /// The NIC and its addresses.
    #[command(flatten)]
    pub(crate) link: NicArgs,

    /// A virtual address (VIP) behind a load balancer on the same link: TCP and ping are answered, ARP and neighbour discovery
    /// never say that it is ours (direct server return); may be given several times
    #[arg(long, value_name = "ADDR[/LEN]", value_delimiter = ',', value_parser = address_or_prefix)]
    pub(crate) vip: Vec<LocalPrefix>,

    /// An open port and what it serves: 7=echo, `80=http,size=1k`, 198.18.0.2:80=http, 198.18.64.0/24:8000-8010=discard,
    /// `[2001:db8::2]:80=http`; may be given several times
    ///
    /// Places are a port or a range of ports, on all our addresses, on one, or on those within a prefix.
    ///
    /// Services: echo (RFC 862), discard (RFC 863), chargen (RFC 864), daytime (RFC 867: sends its line and closes first),
    /// http (1.1 and 1.0; every path is a body of size=BYTES, 1000 by default; with close it closes after each response; idle=TIME, 75s by default, or
    /// never, closes the connection of a silent peer),
    /// noread (accepts, never reads, never closes), noaccept (never accepts), reset (the default: completes the handshake,
    /// and resets at the first data or FIN).
    ///
    /// Options of every place: backlog=N and cookies=always|full|never in place of --backlog and --syn, abort-on-overflow
    /// (resets a handshake whose final ACK finds the accept queue full; without it the SYN-ACK is retransmitted. New SYNs are
    /// dropped while the queue is full, with and without this option).
    ///
    /// Services that read also take proxy=v1|v2|any: every connection starts with a PROXY protocol header of that version, or of
    /// either; a connection without one is reset.
    #[arg(long, value_name = "[ADDR[/LEN]:]PORT[-PORT][=SERVICE[,OPTION...]]", value_parser = listens)]
    pub(crate) listen: Vec<ListenGroup>,

    /// Reply to a SYN to an open port
    #[arg(
        long,
        value_enum,
        value_name = "POLICY",
        default_value = "cookie-when-full"
    )]
    pub(crate) syn: SynAnswer,

    /// Half-open connections per open port, and places in its accept queue; divided among the workers
    #[arg(long, value_name = "N", default_value = "4096", value_parser = units::count_u32)]
    pub(crate) backlog: u32,

    /// Reply to a segment to a closed port; drop also silences the replies to UDP and other protocols
    #[arg(long, value_enum, value_name = "POLICY", default_value = "rst")]
    pub(crate) closed: ClosedAnswer,

    /// TTL and hop limit of sent packets
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = units::within(1, u8::MAX))]
    pub(crate) ttl: u8,

    /// Largest number of connections per address family; divided among the workers
    #[arg(long, visible_alias = "connections", value_name = "N", default_value = "65536", value_parser = units::count_u32)]
    pub(crate) max_connections: u32,

    /// Largest number of active connections; the others are parked [default: --max-connections, at most 65536]
    #[arg(long, value_name = "N", value_parser = units::count_u32)]
    pub(crate) max_active: Option<u32>,

    /// Largest number of connections in TIME-WAIT per address family; beyond it the oldest is dropped. Divided among the workers
    #[arg(long, value_name = "N", default_value = "65536", value_parser = units::count_u32)]
    pub(crate) max_time_wait: u32,

    /// How long TIME-WAIT lasts (2 MSL)
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::duration)]
    pub(crate) time_wait: Duration,

    /// Minimum retransmission timeout (RFC 6298: 1s, Linux: 200ms)
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    pub(crate) rto_min: Duration,

    /// Receive buffer of a connection: its largest receive window, in bytes
    #[arg(long, value_name = "BYTES", default_value = "256k", value_parser = units::count_u32)]
    pub(crate) rcv_buf: u32,

    /// Largest number of frames that all connections hold, received and unread or sent and unacknowledged; divided among the
    /// workers
    #[arg(long, value_name = "N", default_value = "16384", value_parser = units::count_u32)]
    pub(crate) max_kept_frames: u32,

    /// How long active connections may take to finish at the end before they are reset
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::duration)]
    pub(crate) drain_timeout: Duration,

    /// Stop after this time [default: run until Ctrl-C]
    #[arg(short, long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) duration: Option<Duration>,

    /// Write every frame to a pcapng file, with nanoseconds and direction
    #[arg(long, value_name = "FILE")]
    pub(crate) pcap: Option<PathBuf>,

    /// Make the link a bad one, both ways: shares of the frames that are lost, overtaken by up to eight others, doubled or get a
    /// bit flipped, a delay for all of them, and the seed that all chances follow from [default seed: a fresh one, reported]
    #[arg(long, value_name = "loss=1%,reorder=1%,dup=…,corrupt=…,delay=5ms,seed=N", value_parser = fault)]
    pub(crate) fault: Option<FaultFlag>,

    /// Where the result goes.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// The answer to a SYN to an open port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SynAnswer {
    /// A half-open connection while the backlog has room, then no reply
    Embryo,
    /// A half-open connection while the backlog has room, then a SYN cookie, as on Linux
    CookieWhenFull,
    /// Always a SYN cookie
    Cookies,
    /// No reply
    Drop,
    /// A reset
    Rst,
}

impl From<SynAnswer> for SynPolicy {
    fn from(answer: SynAnswer) -> Self {
        match answer {
            SynAnswer::Embryo => Self::Embryo,
            SynAnswer::CookieWhenFull => Self::CookieWhenFull,
            SynAnswer::Cookies => Self::CookieAlways,
            SynAnswer::Drop => Self::Drop,
            SynAnswer::Rst => Self::Rst,
        }
    }
}

/// The answer to a segment to a closed port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClosedAnswer {
    /// A reset, by RFC 9293
    Rst,
    /// No reply, as from a firewall that drops
    Drop,
    /// ICMP port unreachable, as from a firewall that rejects; at most 1000 a second and worker
    Icmp,
}

impl From<ClosedAnswer> for ClosedPolicy {
    fn from(answer: ClosedAnswer) -> Self {
        match answer {
            ClosedAnswer::Rst => Self::Rst,
            ClosedAnswer::Drop => Self::Drop,
            ClosedAnswer::Icmp => Self::Icmp,
        }
    }
}
