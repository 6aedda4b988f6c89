//! [`Progress`]: how far a run is: a line on a terminal while it lasts, a line a scene elsewhere.
//!
//! It must never write to stdout.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};

use crate::console;

/// How far it is.
pub(super) struct Progress {
    is_terminal: bool,
    scenes: usize,
    state: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    played: usize,
    /// Titles of what is being played, in the order in which it began.
    titles: Vec<&'static str>,
}

impl Progress {
    /// Of so many scenes.
    pub(super) fn new(scenes: usize) -> Self {
        Self {
            is_terminal: std::io::stderr().is_terminal(),
            scenes,
            state: Mutex::new(Running::default()),
        }
    }

    /// A scene begins.
    pub(super) fn begins(&self, title: &'static str) {
        self.change(|running| running.titles.push(title));
        if !self.is_terminal {
            console::log(title);
        }
    }

    /// It is over.
    pub(super) fn ends(&self, title: &'static str) {
        self.change(|running| {
            running.played += 1;
            if let Some(place) = running.titles.iter().position(|running| *running == title) {
                running.titles.remove(place);
            }
        });
    }

    /// Takes the line away.
    pub(super) fn close(&self) {
        if self.is_terminal {
            on_terminal("\r\x1b[K");
        }
    }

    fn change(&self, change: impl FnOnce(&mut Running)) {
        let mut running = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut running);
        if self.is_terminal {
            let (played, scenes) = (running.played, self.scenes);
            let oldest = running.titles.first().copied().unwrap_or("");
            on_terminal(&format!(
                "\r\x1b[K{played} of {scenes} scenes; {} at once: {oldest}",
                running.titles.len()
            ));
        }
    }
}

/// Without a line feed; a terminal that is gone needs none.
fn on_terminal(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
