//! The flags of `syncline serve`.
//!
//! It must never hold a flag that nothing reads.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use stack::config::ClosedPolicy;
use stack::local::listener::SynPolicy;

use super::listen::{ListenGroup, listens};
use crate::fault::{FaultFlag, fault};
use crate::rig::NicArgs;
use crate::units;

/// Is a TCP endpoint on a NIC or a tap: answers ARP, NDP, ping and TCP until Ctrl-C
///
/// A tap needs root, or --unshare: `syncline serve --nic tap:dtap0 --ip 198.18.0.2/24 --tap-up 198.18.0.1/24 --listen 80=http`, and in another
/// terminal `curl http://198.18.0.2`. The summary goes to stdout, a line a second to stderr.
#[derive(Debug, Clone, clap::Args)]
#[command(mut_arg("nic", |nic| nic.required(true)), mut_arg("ip", |ip| ip.required(true)))]
pub(crate) struct ServeArgs {
    /// The NIC and its addresses.
    #[command(flatten)]
    pub(crate) link: NicArgs,

    /// An open port and what it serves: 7=echo, `80=http,size=1k`, 198.18.0.2:80=http, 198.18.64.0/24:8000-8010=discard,
    /// `[2001:db8::2]:80=http`; may be given several times
    ///
    /// Places are a port or a range of ports, on all our addresses, on one, or on those within a prefix.
    ///
    /// Services: echo (RFC 862), discard (RFC 863), chargen (RFC 864), daytime (RFC 867: sends its line and closes first),
    /// http (1.1 and 1.0; every path is a body of size=BYTES, 1000 by default; with close it closes after each response; a
    /// peer that is silent for idle=TIME, 75s by default, or never, is left),
    /// noread (accepts, never reads, never closes), noaccept (never accepts), reset (the default: completes the handshake,
    /// and resets at the first data or FIN).
    ///
    /// Options of every place: backlog=N and cookies=always|full|never in place of --backlog and --syn, abort-on-overflow
    /// (a handshake whose last step finds the accept queue full is reset; otherwise its SYN-ACK is sent again. New SYNs are
    /// dropped while it is full, with and without it).
    #[arg(long, value_name = "[ADDR[/LEN]:]PORT[-PORT][=SERVICE[,OPTION...]]", value_parser = listens)]
    pub(crate) listen: Vec<ListenGroup>,

    /// What a SYN to an open port gets
    #[arg(
        long,
        value_enum,
        value_name = "POLICY",
        default_value = "cookie-when-full"
    )]
    pub(crate) syn: SynAnswer,

    /// Half-open connections of each open port, and as many that wait to be accepted; shared out among the workers
    #[arg(long, value_name = "N", default_value = "4096", value_parser = units::count_u32)]
    pub(crate) backlog: u32,

    /// What a segment to a closed port gets; with drop, UDP and other protocols get no answer either
    #[arg(long, value_enum, value_name = "POLICY", default_value = "rst")]
    pub(crate) closed: ClosedAnswer,

    /// TTL and hop limit of what is sent
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) ttl: u8,

    /// Connections of each family that there is room for, shared out among the workers
    #[arg(long, visible_alias = "connections", value_name = "N", default_value = "65536", value_parser = units::count_u32)]
    pub(crate) max_connections: u32,

    /// Of those, the ones that can be at work at once [default: all, but at most 65536]
    #[arg(long, value_name = "N", value_parser = units::count_u32)]
    pub(crate) max_active: Option<u32>,

    /// Connections of each family in TIME-WAIT at most, shared out among the workers; then the oldest goes
    #[arg(long, value_name = "N", default_value = "65536", value_parser = units::count_u32)]
    pub(crate) max_time_wait: u32,

    /// How long TIME-WAIT lasts (2 MSL)
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::duration)]
    pub(crate) time_wait: Duration,

    /// Least retransmission timeout (RFC 6298 says 1s, Linux does 200ms)
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    pub(crate) rto_min: Duration,

    /// Bytes of a connection that may wait to be read: its receive window
    #[arg(long, value_name = "BYTES", default_value = "256k", value_parser = units::count_u32)]
    pub(crate) rcv_buf: u32,

    /// Frames that all connections together may hold: received and not read, or sent and not acknowledged; shared out
    /// among the workers
    #[arg(long, value_name = "N", default_value = "16384", value_parser = units::count_u32)]
    pub(crate) max_kept_frames: u32,

    /// At the end, how long connections at work may take before they are reset
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::duration)]
    pub(crate) drain_timeout: Duration,

    /// End by itself after this time [default: run until Ctrl-C]
    #[arg(short, long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) duration: Option<Duration>,

    /// Write every frame to a pcapng file, with nanoseconds and direction
    #[arg(long, value_name = "FILE")]
    pub(crate) pcap: Option<PathBuf>,

    /// Make the link a bad one, both ways: shares of the frames that are lost, overtaken by up to eight others, doubled or get a
    /// bit flipped, a delay for all of them, and the seed that all chances follow from [default seed: a fresh one, reported]
    #[arg(long, value_name = "loss=1%,reorder=1%,dup=…,corrupt=…,delay=5ms,seed=N", value_parser = fault)]
    pub(crate) fault: Option<FaultFlag>,

    /// Print the summary as JSON
    #[arg(short = 'J', long)]
    pub(crate) json: bool,
}

/// What a SYN to an open port gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SynAnswer {
    /// A half-open connection while the backlog has room, then nothing
    Embryo,
    /// A half-open connection while the backlog has room, then a SYN cookie, as on Linux
    CookieWhenFull,
    /// Always a SYN cookie
    Cookies,
    /// Nothing
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

/// What a segment to a closed port gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClosedAnswer {
    /// A reset, by RFC 9293
    Rst,
    /// Nothing, as from a firewall that drops
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
