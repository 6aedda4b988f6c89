//! The flags of `syncline diagnose`.
//!
//! It must never hold a flag that nothing reads.

use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "dpdk")]
use crate::rig::{GuardArgs, NicArgs};
use crate::units::{self, duration};

/// Name what became of each TCP connection in a capture, or what a peer does on a port, with the evidence
///
/// The capture is pcap or pcapng with Ethernet, 802.1Q, Linux SLL and SLL2, raw IP or loopback headers. A verdict is a class:
/// situations that look alike on the wire are listed together, with what distinguishes them.
///
/// With HOST:PORT it connects a few times, as any client does, sends no data, and says what the peer does, how sure that is and what it
/// can't see. It uses the kernel's sockets, or with --nic our own stack on a NIC: then ARP, NDP, ICMP errors and resets are judged as
/// they came on the wire. Outside of links that the run makes the target must be within --allow-target.
#[derive(Debug, Clone, clap::Args)]
#[cfg_attr(feature = "dpdk", command(mut_args(of_nic)))]
pub(crate) struct DiagnoseArgs {
    /// Find out what this peer does, by connecting to it: HOST:PORT
    #[arg(value_name = "HOST:PORT", conflicts_with_all = ["connection", "ladders", "rows", "limit", "table"])]
    pub(crate) target: Option<String>,

    /// How often to connect to it
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = units::within(1, 100u32), conflicts_with = "read")]
    pub(crate) attempts: u32,

    /// How long to wait at each step: for an answer to the SYN, for a greeting, for its close
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration, conflicts_with = "read")]
    pub(crate) wait: Duration,

    /// Read this capture; `-` reads a pipe: `tcpdump -w - | syncline diagnose -r -`
    #[arg(short, long, value_name = "FILE", conflicts_with = "target")]
    pub(crate) read: Option<PathBuf>,

    /// Show only the connection with this number, with its ladder
    #[arg(short, long, value_name = "NUMBER")]
    pub(crate) connection: Option<u64>,

    /// Draw the ladder of each connection that is listed
    #[arg(long, conflicts_with = "connection")]
    pub(crate) ladders: bool,

    /// Lines of a ladder to draw at its beginning, and again at its end
    #[arg(long, value_name = "LINES", default_value_t = 40)]
    pub(crate) rows: usize,

    /// Largest number of connections to list; abnormal ones come first
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub(crate) limit: usize,

    /// Largest number of connections to follow at the same time, about 1.5 KB each; further ones are only counted
    #[arg(long, value_name = "COUNT", default_value_t = 65_536)]
    pub(crate) table: usize,

    /// Print the result as JSON
    #[arg(short = 'J', long)]
    pub(crate) json: bool,

    /// The NIC, and our addresses on it.
    #[cfg(feature = "dpdk")]
    #[command(flatten, next_help_heading = "Over a NIC")]
    pub(crate) link: NicArgs,

    /// Whom it may reach.
    #[cfg(feature = "dpdk")]
    #[command(flatten)]
    pub(crate) guard: GuardArgs,
}

/// Flags of a NIC and its guard rails mean nothing without one, nor to a capture.
#[cfg(feature = "dpdk")]
fn of_nic(arg: clap::Arg) -> clap::Arg {
    use clap::Args as _;
    let all = NicArgs::augment_args(GuardArgs::augment_args(clap::Command::new("nic")));
    if all
        .get_arguments()
        .all(|known| known.get_id() != arg.get_id())
    {
        return arg;
    }
    let arg = arg.conflicts_with("read");
    if arg.get_id() == "nic" {
        arg
    } else {
        arg.requires("nic")
    }
}
