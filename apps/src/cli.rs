//! The command line of `syncline`. Each command's flags stand with the command, in its `args` file.
//!
//! It must never do anything but parse: what depends on the machine is checked by the command.

use clap::{Parser, Subcommand};

#[cfg(not(feature = "dpdk"))]
use crate::failure::Failure;
use crate::lab;
#[cfg(feature = "dpdk")]
use crate::{bench, dev_client, dev_flood, load, serve};

/// A TCP endpoint that owns the NIC, and the traffic that measures it.
///
/// Results go to stdout, logs to stderr. Exit status: 0 done, 1 the run or a gate of it failed, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "syncline", version, max_term_width = 110)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measures how fast the endpoint answers, every reply verified; needs no NIC and no root
    #[cfg(feature = "dpdk")]
    Bench(Box<bench::BenchArgs>),
    /// Measures how fast the endpoint answers (left out of this build: no DPDK)
    #[cfg(not(feature = "dpdk"))]
    Bench(MissingFeature),
    /// Is a TCP endpoint on a NIC or a tap: answers ARP, NDP, ping and TCP until Ctrl-C
    #[cfg(feature = "dpdk")]
    Serve(Box<serve::ServeArgs>),
    /// Is a TCP endpoint on a NIC or a tap (left out of this build: no DPDK)
    #[cfg(not(feature = "dpdk"))]
    Serve(MissingFeature),
    /// Loads a server with connections or requests, and says how fast and how well it answers
    #[cfg(feature = "dpdk")]
    Load(Box<load::LoadArgs>),
    /// Loads a server with connections or requests (left out of this build: no DPDK)
    #[cfg(not(feature = "dpdk"))]
    Load(MissingFeature),
    /// Plays a situation in which TCP goes wrong and draws its packet ladder; in simulation it needs no NIC and no root
    Lab(Box<lab::LabArgs>),
    /// Sends SYNs from spoofed sources and verifies the replies; for the demo and for tests
    #[cfg(feature = "dpdk")]
    #[command(hide = true)]
    DevFlood(Box<dev_flood::FloodArgs>),
    /// Opens connections to a server and verifies what comes back; for tests
    #[cfg(feature = "dpdk")]
    #[command(hide = true)]
    DevClient(Box<dev_client::ClientArgs>),
}

/// Stands for the flags of a command that this build has not got, so that asking for it is answered with the reason.
#[cfg(not(feature = "dpdk"))]
#[derive(Debug, clap::Args)]
pub(crate) struct MissingFeature {
    /// Whatever follows
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

#[cfg(not(feature = "dpdk"))]
impl MissingFeature {
    /// Why `command` can't be had, and what to do.
    pub(crate) fn failure(&self, command: &str) -> Failure {
        let given = self.rest.join(" ");
        Failure::Usage(format!(
            "`syncline {command} {given}` moves frames by DPDK, and this binary was built without it: \
             build with `--features dpdk`"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }
}
