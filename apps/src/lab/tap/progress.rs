//! [`Progress`]: how far a long scene is, on a terminal.
//!
//! It must never write where no terminal is, and leaves nothing behind.

use std::io::{IsTerminal as _, Write as _};

use crate::lab::scenario::Scene;

/// From how many ms on a scene shows how far it is.
const LONG_MS: u64 = 5_000;

/// A line on a terminal while a long scene is played: how far it is.
pub(super) struct Progress<'a> {
    scene: &'a Scene,
    is_shown: bool,
}

impl<'a> Progress<'a> {
    /// For this scene; short ones, and runs without a terminal, show nothing.
    pub(super) fn new(scene: &'a Scene) -> Self {
        let is_shown = scene.lasts_ms > LONG_MS && std::io::stderr().is_terminal();
        Self { scene, is_shown }
    }

    /// So much of it is over, in ns.
    pub(super) fn show(&self, passed_ns: u64) {
        if self.is_shown {
            let (passed_s, whole_s) = (passed_ns / 1_000_000_000, self.scene.lasts_ms / 1000);
            let title = self.scene.title;
            on_terminal(&format!(
                "\r\x1b[K{title}: {passed_s} of at most {whole_s} s"
            ));
        }
    }

    /// Takes the line away.
    pub(super) fn end(&self) {
        if self.is_shown {
            on_terminal("\r\x1b[K");
        }
    }
}

/// Without a line feed; a terminal that is gone needs none.
fn on_terminal(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
