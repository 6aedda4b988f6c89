//! [`Failure`]: how a command ends when it does not end well.
//!
//! Each command makes them, `main` prints them. The text is one line: cause and fix.

use std::fmt;

/// Exit status when the run failed, or one of its gates.
const FAILED: u8 = 1;
/// Exit status when the command can't be carried out as it was written; clap uses the same.
const USAGE: u8 = 2;
/// Exit status when a signal ended the run: 128 + SIGINT, as shells say it.
#[cfg(feature = "dpdk")]
const INTERRUPTED: u8 = 130;

/// Why a command did not succeed. The text names the cause and the fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The command line can't be carried out: another one is needed.
    Usage(String),
    /// The run could not be made, or broke off.
    Run(String),
    /// The run was made and its result is printed, but it is not good: wrong replies, a leak, a missed limit.
    Gate(String),
    /// A signal ended it. What came until then is printed.
    #[cfg(feature = "dpdk")]
    Interrupted(String),
}

impl Failure {
    /// How a run ends whose result is printed: well, when nothing is wrong with it.
    ///
    /// # Errors
    /// [`Failure::Gate`] with all `faults`.
    #[cfg(feature = "dpdk")]
    pub(crate) fn unless_good(faults: &[String]) -> Result<(), Self> {
        if faults.is_empty() {
            Ok(())
        } else {
            Err(Self::Gate(faults.join("; ")))
        }
    }

    /// The status with which the process ends.
    pub(crate) const fn exit_status(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Run(_) | Self::Gate(_) => FAILED,
            #[cfg(feature = "dpdk")]
            Self::Interrupted(_) => INTERRUPTED,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Run(text) | Self::Gate(text) => f.write_str(text),
            #[cfg(feature = "dpdk")]
            Self::Interrupted(text) => f.write_str(text),
        }
    }
}

impl From<syncline::Error> for Failure {
    /// Errors that another command line avoids are usage; the rest is the run's.
    fn from(error: syncline::Error) -> Self {
        match error {
            syncline::Error::Address(_)
            | syncline::Error::Config(_)
            | syncline::Error::KernelAddress { .. } => Self::Usage(error.to_string()),
            #[cfg(feature = "dpdk")]
            syncline::Error::Stopped => Self::Interrupted(error.to_string()),
            #[cfg(feature = "dpdk")]
            syncline::Error::Dpdk(error) => error.into(),
            _ => Self::Run(error.to_string()),
        }
    }
}

#[cfg(feature = "dpdk")]
impl From<dpdk::Error> for Failure {
    /// Errors that another command line avoids are usage; the rest is the run's.
    fn from(error: dpdk::Error) -> Self {
        match error {
            dpdk::Error::NoSuchCpu { .. }
            | dpdk::Error::Spec { .. }
            | dpdk::Error::EalArgument { .. }
            | dpdk::Error::MemifOption { .. }
            | dpdk::Error::TooManyQueues { .. }
            | dpdk::Error::Mtu { .. }
            | dpdk::Error::NulByte(_)
            | dpdk::Error::Config { .. } => Self::Usage(error.to_string()),
            _ => Self::Run(error.to_string()),
        }
    }
}
