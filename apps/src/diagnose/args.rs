//! The flags of `syncline diagnose`.
//!
//! It must never hold a flag that nothing reads.

use std::path::PathBuf;

/// Says what became of the TCP connections in a capture: names the situation of each, with its evidence
///
/// Reads pcap and pcapng with Ethernet, 802.1Q, Linux SLL and SLL2, raw IP or loopback headers. A verdict is a class: what looks
/// alike from the wire is listed with what would tell it apart.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DiagnoseArgs {
    /// Read this capture; `-` reads a pipe: `tcpdump -w - | syncline diagnose -r -`
    #[arg(short, long, value_name = "FILE")]
    pub(crate) read: PathBuf,

    /// Show only the connection with this number, with its ladder
    #[arg(short, long, value_name = "NUMBER")]
    pub(crate) connection: Option<u64>,

    /// Draw the ladder of each connection that is listed
    #[arg(long, conflicts_with = "connection")]
    pub(crate) ladders: bool,

    /// Lines of a ladder at its beginning, and again at its end
    #[arg(long, value_name = "LINES", default_value_t = 40)]
    pub(crate) rows: usize,

    /// Connections to list at most, the abnormal ones before the others
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub(crate) limit: usize,

    /// Connections to follow at the same time, about 1.5 KB each; beyond that only sums are kept
    #[arg(long, value_name = "COUNT", default_value_t = 65_536)]
    pub(crate) table: usize,

    /// Print the same as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
