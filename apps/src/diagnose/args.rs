//! The flags of `syncline diagnose`.
//!
//! It must never hold a flag that nothing reads.

use std::path::PathBuf;

/// Name what became of each TCP connection in a capture, with the evidence
///
/// The capture is pcap or pcapng with Ethernet, 802.1Q, Linux SLL and SLL2, raw IP or loopback headers. A verdict is a class:
/// situations that look alike on the wire are listed together, with what distinguishes them.
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

    /// Lines of a ladder to draw at its beginning, and again at its end
    #[arg(long, value_name = "LINES", default_value_t = 40)]
    pub(crate) rows: usize,

    /// Largest number of connections to list; abnormal ones come first
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub(crate) limit: usize,

    /// Largest number of connections to follow at the same time, about 1.5 KB each; further ones are only counted
    #[arg(long, value_name = "COUNT", default_value_t = 65_536)]
    pub(crate) table: usize,

    /// Print the same as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
