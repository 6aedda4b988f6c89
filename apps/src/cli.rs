//! The command line of `syncline`. Each command's flags stand with the command, in its `args` file.
//!
//! It must never do anything but parse: what depends on the machine is checked by the command.

use clap::{Parser, Subcommand};

#[cfg(not(feature = "dpdk"))]
use crate::failure::Failure;
#[cfg(feature = "dpdk")]
use crate::{bench, doctor, flood, load, rig, serve};
use crate::{diagnose, import_dperf, lab, packaging, page};

/// A TCP endpoint that owns the NIC, and the traffic that measures it.
///
/// Results go to stdout, logs to stderr. Exit status: 0 success, 1 the run or one of its gates failed, 2 usage error.
#[derive(Debug, Parser)]
#[command(name = "syncline", version, max_term_width = 110)]
pub(crate) struct Cli {
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure how fast the endpoint answers; every reply is verified. Needs no NIC and no root
    #[cfg(feature = "dpdk")]
    Bench(Box<bench::BenchArgs>),
    /// Measure how fast the endpoint answers (not in this build: no DPDK)
    #[cfg(not(feature = "dpdk"))]
    Bench(MissingFeature),
    /// Run a TCP endpoint on a NIC or a tap: answer ARP, NDP, ping and TCP until Ctrl-C
    #[cfg(feature = "dpdk")]
    Serve(Box<serve::ServeArgs>),
    /// Run a TCP endpoint on a NIC or a tap (not in this build: no DPDK)
    #[cfg(not(feature = "dpdk"))]
    Serve(MissingFeature),
    /// Load a server with connections or requests, and report how fast and how well it answers
    #[cfg(feature = "dpdk")]
    Load(Box<load::LoadArgs>),
    /// Load a server with connections or requests (not in this build: no DPDK)
    #[cfg(not(feature = "dpdk"))]
    Load(MissingFeature),
    /// Check this machine, and a command, for what is missing; print the commands that fix it
    #[cfg(feature = "dpdk")]
    Doctor(Box<doctor::DoctorArgs>),
    /// Check this machine for what is missing (not in this build: no DPDK)
    #[cfg(not(feature = "dpdk"))]
    Doctor(MissingFeature),
    /// Play a situation in which TCP fails and draw its packet ladder; in simulation it needs no NIC and no root
    Lab(Box<lab::LabArgs>),
    /// Send bare segments from pools of addresses and count what each of them meets
    #[cfg(feature = "dpdk")]
    Flood(Box<flood::FloodArgs>),
    /// Send bare segments from pools of addresses (not in this build: no DPDK)
    #[cfg(not(feature = "dpdk"))]
    Flood(MissingFeature),
    /// Name what became of the TCP connections in a tcpdump capture, or what a peer does on a port; needs no NIC and no root
    Diagnose(Box<diagnose::DiagnoseArgs>),
    /// Make one page of HTML from JSON results, alone or side by side; needs no NIC and no root
    Report(page::ReportArgs),
    /// Translate a dperf configuration into command lines, and name what can't be kept
    ImportDperf(import_dperf::ImportArgs),
    /// Print a completion script for a shell
    ///
    /// For bash: `syncline completions bash >~/.local/share/bash-completion/completions/syncline`. The Debian package
    /// brings those of bash, zsh and fish.
    Completions(packaging::CompletionsArgs),
    /// Keep the command of --with, and end it with the run
    #[cfg(feature = "dpdk")]
    #[command(hide = true)]
    Keep(rig::KeepArgs),
    /// Write the manual pages, one for each command
    #[command(hide = true)]
    Man(packaging::ManArgs),
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
            "`syncline {command} {given}` needs DPDK, and this binary was built without it: \
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
