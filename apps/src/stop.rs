//! [`Stop`]: Ctrl-C and SIGTERM as a flag that every loop looks at.
//!
//! Called by: commands at start, their loops between bursts. It must never end the process by itself at the first
//! signal: what is in flight drains, and what was measured is printed. A second signal ends it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::failure::Failure;

/// Exit status of the second signal: 128 + SIGINT, as shells say it.
const ENDED_BY_SIGNAL: i32 = 130;

/// Whether the user wants to stop. Clones are the same flag.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    asked: Arc<AtomicBool>,
    /// The next signal ends the process.
    last: Arc<AtomicBool>,
}

impl Stop {
    /// A flag that SIGINT and SIGTERM set. The second of them ends the process.
    ///
    /// # Errors
    /// [`Failure::Run`] when the system refuses handlers.
    pub(crate) fn on_signals() -> Result<Self, Failure> {
        let asked = Arc::new(AtomicBool::new(false));
        Self::with(Arc::clone(&asked), asked)
    }

    /// As [`Stop::on_signals`], but the second signal is for [`Stop::is_asked_again`], and the third ends the process.
    ///
    /// # Errors
    /// [`Failure::Run`] when the system refuses handlers.
    pub(crate) fn in_steps() -> Result<Self, Failure> {
        Self::with(Arc::default(), Arc::default())
    }

    fn with(asked: Arc<AtomicBool>, last: Arc<AtomicBool>) -> Result<Self, Failure> {
        for signal in [SIGINT, SIGTERM] {
            // In this order: the signal that sets the flag finds it down.
            flag::register_conditional_shutdown(signal, ENDED_BY_SIGNAL, Arc::clone(&last))
                .and_then(|_| flag::register(signal, Arc::clone(&asked)))
                .map_err(|error| {
                    Failure::Run(format!("no handler for signal {signal}: {error}"))
                })?;
        }
        Ok(Self { asked, last })
    }

    /// After the first signal was heeded: from now on [`Stop::is_asked`] waits for another one, which is the last that does
    /// not end the process. For a [`Stop::in_steps`].
    pub(crate) fn heed(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }

    /// Whether another signal came after [`Stop::heed`]; if so, the next one ends the process.
    pub(crate) fn is_asked_again(&self) -> bool {
        let again = self.is_asked();
        if again {
            self.last.store(true, Ordering::Relaxed);
        }
        again
    }

    /// Swallows SIGINT: for a child process that shares the terminal with its parent, which tells it when to stop.
    ///
    /// # Errors
    /// [`Failure::Run`] when the system refuses handlers.
    #[cfg(feature = "dpdk")]
    pub(crate) fn leave_to_parent() -> Result<(), Failure> {
        flag::register(SIGINT, Arc::new(AtomicBool::new(false)))
            .map(|_| ())
            .map_err(|error| Failure::Run(format!("no handler for signal {SIGINT}: {error}")))
    }

    /// Whether a signal came.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}
