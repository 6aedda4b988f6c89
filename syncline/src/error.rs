//! [`Error`]: why an endpoint could not be made or run.
//!
//! It must never leave out the fix where the program's author or user can mend the cause.

/// Why an endpoint could not be made or run. The text is one line: cause and fix.
///
/// `Debug` is the same text, so that a `main` which returns the error prints what a person can act on.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address was written wrongly. The text says what a right one looks like.
    #[error("{0}")]
    Address(String),
    /// The endpoint was described in a way that can't be: no address, a gateway off the link, no worker.
    #[error("{0}")]
    Config(String),
    /// The kernel has an address that the endpoint was given: it would reset the endpoint's connections.
    #[error(
        "{what}: the kernel owns {address} (on {interface}), and its resets would kill our connections; give an address that no host has"
    )]
    KernelAddress {
        /// The given text.
        what: String,
        /// The kernel's address.
        address: std::net::IpAddr,
        /// The interface that has it.
        interface: String,
    },
    /// The kernel's side of a tap could not be set up, or the kernel didn't tell its addresses.
    #[error("{0}")]
    KernelSide(String),
    /// The system lets this process make no network namespace.
    #[error("{0}")]
    Namespace(String),
    /// The system has no randomness.
    #[error("the system has no randomness: {0}")]
    Randomness(String),
    /// The system refuses a signal handler.
    #[error("no handler for signal {signal}: {reason}")]
    Signals {
        /// Its number.
        signal: i32,
        /// The system's words.
        reason: String,
    },
    /// A signal came before the first frame.
    #[error("stopped by a signal before it began")]
    Stopped,
    /// The tables of a worker do not fit into memory.
    #[error("a worker's table does not fit into memory: {0}; lower the number of connections")]
    Memory(String),
    /// A worker's thread could not be started, or ended too early.
    #[error("{0}")]
    Worker(String),
    /// DPDK's own.
    #[cfg(feature = "dpdk")]
    #[error(transparent)]
    Dpdk(#[from] dpdk::Error),
}

impl core::fmt::Debug for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}
