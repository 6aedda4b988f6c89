//! The flags of `syncline doctor`.
//!
//! It must never interpret the command to check: that is `request`'s.

use std::path::PathBuf;

/// Check this machine for what DPDK and a run need, and print the commands that fix what is missing
///
/// Followed by a command (serve, load, flood, diagnose), it also checks what that command needs: `syncline doctor serve --nic
/// pci:0000:3b:00.0 --ip 198.18.0.2/24`. Nothing is changed and no NIC is opened; the kernel asks the gateway and
/// on-link targets for their link address, never over the interface with the default route. Exit status: 0 nothing is missing, 1 something is, 2 wrong usage.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Print the result as JSON
    #[arg(short = 'J', long)]
    pub(super) json: bool,

    /// Read /proc, /sys and /dev below this directory
    #[arg(long, value_name = "DIRECTORY", default_value = "/", hide = true)]
    pub(super) root: PathBuf,

    /// A command with its flags, as it would be run: serve, load, flood or diagnose
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    pub(super) command: Vec<String>,
}
