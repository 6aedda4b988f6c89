//! [`Request`]: the command to check, and what it needs of the machine.
//!
//! It must never carry the command out.

use clap::Parser;
use dpdk::NicSpec;

use crate::diagnose::{self, DiagnoseArgs};
use crate::failure::Failure;
use crate::flood::{self, FloodArgs};
use crate::load::{self, LoadArgs};
use crate::rig::{Needs, NicArgs};
use crate::serve::{self, ServeArgs};

/// A command to check.
#[derive(Debug)]
pub(super) struct Request {
    /// The command line.
    pub(super) command: String,
    /// Its needs of the machine.
    pub(super) needs: Needs,
    /// The flags that name the NIC, its addresses and its CPUs.
    pub(super) link: NicArgs,
}

/// The commands that can be checked.
#[derive(Debug, Parser)]
#[command(name = "syncline", no_binary_name = true)]
enum CheckedCommand {
    Serve(Box<ServeArgs>),
    Load(Box<LoadArgs>),
    Flood(Box<FloodArgs>),
    Diagnose(Box<DiagnoseArgs>),
}

impl Request {
    /// The command in these words; `None` for no words.
    ///
    /// # Errors
    /// [`Failure::Usage`] when it is no command that can be checked, or one that would be refused whatever the machine.
    pub(super) fn of(words: &[String]) -> Result<Option<Self>, Failure> {
        if words.is_empty() {
            return Ok(None);
        }
        let given = CheckedCommand::try_parse_from(words).map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            let cause = first.trim_start_matches("error: ").to_owned();
            Failure::Usage(format!(
                "{cause}: expected a command to check, such as `syncline doctor serve --nic tap:dtap0 --ip 198.18.0.2/24`"
            ))
        })?;
        let (needs, link) = match given {
            CheckedCommand::Serve(args) => (serve::needs(&args)?, args.link),
            CheckedCommand::Load(args) => (load::needs(&args)?, args.link),
            CheckedCommand::Flood(args) => (flood::needs(&args)?, args.link),
            CheckedCommand::Diagnose(args) => (diagnose::needs(&args)?, args.link),
        };
        Ok(Some(Self {
            command: format!("syncline {}", words.join(" ")),
            needs,
            link,
        }))
    }

    /// The PCI address of its NIC.
    pub(super) fn pci_address(&self) -> Option<&str> {
        match &self.needs.spec {
            NicSpec::Pci { devargs } => devargs.split(',').next(),
            _ => None,
        }
    }
}
