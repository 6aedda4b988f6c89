//! [`Progress`]: how far a run is: a line on a terminal while it lasts, a line a scene elsewhere.
//!
//! It must never write to stdout.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::console;
use crate::lab::scenario::Scene;

/// How far it is.
pub(super) struct Progress {
    is_terminal: bool,
    scenes: usize,
    state: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    played: usize,
    /// The scenes being played, in the order in which they began.
    scenes: Vec<Begun>,
    /// The line on the terminal.
    line: String,
}

/// A scene that has begun.
struct Begun {
    title: &'static str,
    at: Instant,
    /// How long it lasts at most.
    lasts_s: u64,
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
    pub(super) fn begins(&self, scene: &Scene) {
        self.change(|running| {
            running.scenes.push(Begun {
                title: scene.title,
                at: Instant::now(),
                lasts_s: scene.lasts_ms.div_ceil(1000),
            });
        });
        if !self.is_terminal {
            console::log(scene.title);
        }
    }

    /// It is over.
    pub(super) fn ends(&self, scene: &Scene) {
        self.change(|running| {
            running.played += 1;
            let place = running
                .scenes
                .iter()
                .position(|begun| begun.title == scene.title);
            if let Some(place) = place {
                running.scenes.remove(place);
            }
        });
    }

    /// Time goes on.
    pub(super) fn goes_on(&self) {
        self.change(|_| {});
    }

    /// Prints to stdout with the line out of the way.
    pub(super) fn around(&self, print: impl FnOnce()) {
        let mut running = self.running();
        if self.is_terminal {
            on_terminal("\r\x1b[K");
        }
        print();
        // It is drawn again with the next change.
        running.line.clear();
    }

    /// Takes the line away.
    pub(super) fn close(&self) {
        if self.is_terminal {
            on_terminal("\r\x1b[K");
        }
    }

    fn change(&self, change: impl FnOnce(&mut Running)) {
        let mut running = self.running();
        change(&mut running);
        if !self.is_terminal {
            return;
        }
        let line = self.line(&running);
        if line != running.line {
            on_terminal(&format!("\r\x1b[K{line}"));
            running.line = line;
        }
    }

    fn line(&self, running: &Running) -> String {
        let (played, scenes) = (running.played, self.scenes);
        let oldest = running.scenes.first().map_or_else(String::new, |begun| {
            let (after_s, lasts_s) = (begun.at.elapsed().as_secs(), begun.lasts_s);
            format!(": {}, {after_s} s of at most {lasts_s} s", begun.title)
        });
        format!(
            "{played} of {scenes} scenes; {} at once{oldest}",
            running.scenes.len()
        )
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Running> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without a line feed; a terminal that is gone needs none.
fn on_terminal(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
