//! [`Stop`]: Ctrl-C, SIGTERM and SIGHUP as a flag that every loop looks at.
//!
//! It must never end the process by itself at the first signal: what is in flight drains, and what was measured is
//! printed. A second signal ends it at once, unless the command ends in steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{SigId, flag, low_level};

use crate::Error;

/// Signals by which users, terminals and service managers ask for the end.
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
/// Exit status of the second signal: 128 + SIGINT, as shells say it.
const ENDED_BY_SIGNAL: i32 = 130;

/// Asks for the end from within the program.
#[derive(Debug, Clone)]
pub struct StopHandle(Arc<AtomicBool>);

impl StopHandle {
    /// Asks for the end, as the first signal does.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether the user wants to stop.
#[derive(Debug)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    /// The next signal ends the process.
    last: Arc<AtomicBool>,
    /// Let the first signal set `last`, while the command has not begun.
    until_begun: Vec<SigId>,
}

impl Stop {
    /// A flag that signals set. The second of them ends the process.
    ///
    /// # Errors
    /// [`Error::Signals`] when the system refuses handlers.
    pub fn on_signals() -> Result<Self, Error> {
        let asked = Arc::new(AtomicBool::new(false));
        let last = Arc::clone(&asked);
        for signal in SIGNALS.into_iter().filter(|&signal| is_wanted(signal)) {
            handle(signal, &asked, &last)?;
        }
        Ok(Self {
            asked,
            last,
            until_begun: Vec::new(),
        })
    }

    /// As [`Stop::on_signals`] until [`Stop::begin`]: whatever hangs then, a second signal ends it. From then on the second
    /// signal is for [`Stop::is_asked_again`], and the third ends the process.
    ///
    /// # Errors
    /// [`Error::Signals`] when the system refuses handlers.
    pub fn in_steps() -> Result<Self, Error> {
        let (asked, last) = (Arc::default(), Arc::default());
        let mut until_begun = Vec::new();
        for signal in SIGNALS.into_iter().filter(|&signal| is_wanted(signal)) {
            handle(signal, &asked, &last)?;
            let registered = flag::register(signal, Arc::clone(&last));
            until_begun.push(registered.map_err(|error| refused(signal, &error))?);
        }
        Ok(Self {
            asked,
            last,
            until_begun,
        })
    }

    /// Now there is something to finish: the first signal is for [`Stop::is_asked`], the second for
    /// [`Stop::is_asked_again`]. For a [`Stop::in_steps`].
    pub fn begin(&self) {
        for &id in &self.until_begun {
            low_level::unregister(id);
        }
        self.last.store(false, Ordering::Relaxed);
    }

    /// Between two steps of a start: nothing was done yet, so a signal ends it here.
    ///
    /// # Errors
    /// [`Error::Stopped`] when a signal came.
    pub fn unless_asked(&self) -> Result<(), Error> {
        if self.is_asked() {
            return Err(Error::Stopped);
        }
        Ok(())
    }

    /// After the first signal was heeded: from now on [`Stop::is_asked`] waits for another one, which is the last that does
    /// not end the process. For a [`Stop::in_steps`].
    pub fn heed(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }

    /// Whether another signal came after [`Stop::heed`]; if so, the next one ends the process.
    pub fn is_asked_again(&self) -> bool {
        let again = self.is_asked();
        if again {
            self.last.store(true, Ordering::Relaxed);
        }
        again
    }

    /// Swallows the signals: for a child process that shares the terminal with its parent, which says when to stop.
    ///
    /// # Errors
    /// [`Error::Signals`] when the system refuses handlers.
    pub fn leave_to_parent() -> Result<(), Error> {
        for signal in SIGNALS.into_iter().filter(|&signal| is_wanted(signal)) {
            flag::register(signal, Arc::new(AtomicBool::new(false)))
                .map_err(|error| refused(signal, &error))?;
        }
        Ok(())
    }

    /// Asks as a signal does, from any thread.
    #[must_use]
    pub fn handle(&self) -> StopHandle {
        StopHandle(Arc::clone(&self.asked))
    }

    /// Whether a signal came.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Ends the process when `last` is set, and sets `asked`; in this order, so that the signal that sets a flag finds it down.
fn handle(signal: i32, asked: &Arc<AtomicBool>, last: &Arc<AtomicBool>) -> Result<(), Error> {
    flag::register_conditional_shutdown(signal, ENDED_BY_SIGNAL, Arc::clone(last))
        .and_then(|_| flag::register(signal, Arc::clone(asked)))
        .map(drop)
        .map_err(|error| refused(signal, &error))
}

fn refused(signal: i32, error: &std::io::Error) -> Error {
    Error::Signals {
        signal,
        reason: error.to_string(),
    }
}

/// A hang-up that was switched off before we started (`nohup syncline …`) stays off.
fn is_wanted(signal: i32) -> bool {
    signal != SIGHUP || !is_ignored(SIGHUP)
}

/// Whether this process ignores the signal, by proc(5).
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|set| set >> (signal - 1) & 1 == 1)
}
