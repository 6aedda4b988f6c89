//! The flags of `syncline lab`.
//!
//! It must never hold a flag that nothing reads.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::scenario::Family;
#[cfg(feature = "dpdk")]
use super::scenario::{Cast, Kernel, Ours};
use crate::failure::Failure;
use crate::fault::{FaultFlag, fault};
use crate::units;

/// Play a situation in which TCP fails and draw its packet ladder
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LabArgs {
    /// The command.
    #[command(subcommand)]
    pub(crate) command: LabCommand,
}

/// The commands of the lab.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum LabCommand {
    /// List the scenarios by what a user sees
    List,
    /// Describe a scenario: what it shows, does and expects
    Show {
        /// The scenario (see `syncline lab list`)
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Explain a scenario, an errno such as ECONNRESET, or rst-ack: what a client does with RST,ACK
    Explain {
        /// Which (see `syncline lab list`)
        #[arg(value_name = "NAME|ERRNO|rst-ack")]
        topic: String,
    },
    /// Play scenarios, draw their ladders, and fail when something expected doesn't come about
    Run(RunArgs),
    /// The program at the kernel's end of a run over a tap
    #[cfg(feature = "dpdk")]
    #[command(hide = true)]
    Peer,
    /// Play scenarios and write one page of HTML: a sequence diagram for each scene, the states that were seen
    ///
    /// The page needs nothing but itself. `syncline lab report all -o lab.html`
    Report(PageArgs),
}

/// The flags of `syncline lab run`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RunArgs {
    /// The scenarios to play.
    #[command(flatten)]
    pub(crate) play: PlayArgs,

    /// Play it so often, and fail when a run differs from the first one (--over sim)
    #[arg(long, value_name = "RUNS", default_value_t = 1, value_parser = units::within(1, 10_000u32))]
    pub(crate) repeat: u32,

    /// Print the result as JSON
    #[arg(short = 'J', long)]
    pub(crate) json: bool,

    /// Write every frame to a pcapng file
    #[arg(long, value_name = "FILE")]
    pub(crate) pcap: Option<PathBuf>,
}

impl RunArgs {
    /// Whether ladders are drawn while their scenes are played: in real time, for people, on a terminal.
    pub(crate) fn is_live(&self) -> bool {
        self.play.over == LabLink::Tap && !self.json && std::io::stdout().is_terminal()
    }

    /// Refuses flags that the chosen link would ignore.
    ///
    /// # Errors
    /// [`Failure::Usage`] names the flag, the cause and the fix.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.repeat > 1 && self.play.over != LabLink::Sim {
            return Err(Failure::Usage(
                "--repeat applies only to --over sim: no two runs in real time have the same times"
                    .into(),
            ));
        }
        self.play.check()
    }
}

/// The flags of `syncline lab report`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PageArgs {
    /// The scenarios to play.
    #[command(flatten)]
    pub(crate) play: PlayArgs,

    /// Where the page goes
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

/// The scenarios to play, and how.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PlayArgs {
    /// Which scenarios (see `syncline lab list`), `all`, or files of your own that end in .lab
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,

    /// The link to play it over
    #[arg(long, value_enum, default_value = "sim")]
    pub(crate) over: LabLink,

    /// Play it over IPv6, with NDP instead of ARP
    #[arg(short = '6', long)]
    pub(crate) ipv6: bool,

    /// With --over tap: which end is ours [default: all of these in turn]
    #[arg(long, value_enum)]
    pub(crate) role: Option<LabRole>,

    /// With --over tap: how many scenes are played side by side, each in namespaces of its own [default: 64]
    #[arg(long, value_name = "SCENES", value_parser = units::within(1, 64u16))]
    pub(crate) at_once: Option<u16>,

    /// With --over tap: shorten the kernel's timers by sysctls of its namespace; the sysctls are printed
    #[arg(long)]
    pub(crate) quick: bool,

    /// With --over sim: make the link a bad one, `loss=10%,reorder=5%,dup=5%,corrupt=1%,delay=20ms,seed=7`. What is expected of a
    /// good link is not judged then
    #[arg(long, value_name = "FAULTS", value_parser = fault)]
    pub(crate) fault: Option<FaultFlag>,
}

/// The link of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LabLink {
    /// A simulated link in virtual time, both ends ours: at once, the same each time, no root
    Sim,
    /// A tap, with the kernel at the other end in a network namespace: real time, needs root
    Tap,
}

/// Which end is ours over the tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LabRole {
    /// The client is ours, the server the kernel's
    Client,
    /// The server is ours, the client the kernel's
    Server,
    /// First one, then the other
    Both,
    /// Neither: kernel to kernel over the same wire, as the reference
    None,
}

impl PlayArgs {
    /// Over which protocol.
    pub(crate) fn family(&self) -> Family {
        if self.ipv6 { Family::V6 } else { Family::V4 }
    }

    /// The TCPs that play, one after the other.
    #[cfg(feature = "dpdk")]
    pub(crate) fn casts(&self) -> Vec<Cast> {
        let server_is_ours = Cast {
            client: Kernel,
            server: Ours,
        };
        let client_is_ours = Cast {
            client: Ours,
            server: Kernel,
        };
        let neither_is_ours = Cast {
            client: Kernel,
            server: Kernel,
        };
        match (self.over, self.role) {
            (LabLink::Sim, _) => vec![Cast::SIM],
            (LabLink::Tap, Some(LabRole::Server)) => vec![server_is_ours],
            (LabLink::Tap, Some(LabRole::Client)) => vec![client_is_ours],
            (LabLink::Tap, Some(LabRole::Both)) => vec![server_is_ours, client_is_ours],
            (LabLink::Tap, Some(LabRole::None)) => vec![neither_is_ours],
            (LabLink::Tap, None) => vec![server_is_ours, client_is_ours, neither_is_ours],
        }
    }

    /// Refuses flags that the chosen link would ignore.
    ///
    /// # Errors
    /// [`Failure::Usage`] names the flag, the cause and the fix.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let refused = match self.over {
            LabLink::Sim if self.role.is_some() => {
                "--role applies only to --over tap: in simulation both ends are ours"
            }
            LabLink::Sim if self.at_once.is_some() => {
                "--at-once applies only to --over tap: simulation waits for nothing"
            }
            LabLink::Sim if self.quick => {
                "--quick applies only to --over tap: simulation runs in virtual time, so nothing can be shortened"
            }
            LabLink::Tap if self.fault.is_some() => {
                "--fault applies only to --over sim: over a tap the lab can't see what became of a frame; try \
                 `syncline serve --fault` with tcpdump"
            }
            _ => return Ok(()),
        };
        Err(Failure::Usage(refused.into()))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn check(line: &str) -> Result<(), String> {
        let cli = Cli::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        let Command::Lab(args) = cli.command else {
            panic!("{line} is not of the lab");
        };
        match args.command {
            LabCommand::Run(run) => run.check().map_err(|failure| failure.to_string()),
            _ => Ok(()),
        }
    }

    #[test]
    fn flags_that_the_link_would_ignore_are_refused() {
        for flag in ["--role client", "--role none", "--quick", "--at-once 4"] {
            let line = format!("syncline lab run closed-port {flag}");
            let error = check(&line).expect_err("refused");
            assert!(error.contains("applies only to --over tap"), "{error}");
            assert_eq!(check(&format!("{line} --over tap")), Ok(()));
        }
        let repeated = check("syncline lab run closed-port --repeat 2 --over tap");
        assert!(
            repeated
                .expect_err("refused")
                .contains("--repeat applies only")
        );
        assert_eq!(check("syncline lab run closed-port --repeat 2"), Ok(()));
        let line = "syncline lab run closed-port --fault loss=1%";
        assert_eq!(check(line), Ok(()));
        let error = check(&format!("{line} --over tap")).expect_err("refused");
        assert!(error.contains("applies only to --over sim"), "{error}");
    }
}
