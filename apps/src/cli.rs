//! The command line of `syncline`. Each command's flags stand with the command, in its `args` file.
//!
//! Called by: `main`. It must never do anything but parse: what depends on the machine is checked by the command.

use clap::{Parser, Subcommand};

use crate::bench;

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
    Bench(Box<bench::Args>),
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
