//! What a run says: ladders, what was expected and didn't come about, the same as JSON, the frames as pcapng.
//!
//! Called by: `lab`. It must never end well when an expectation failed.

use std::io::IsTerminal as _;

use serde_json::json;

use super::args::RunArgs;
use super::check;
use super::json;
use super::ladder::{self, Paint};
use super::pcap;
use super::recording::Recording;
use super::scenario::{Cast, Player, Scenario, Scene};
use super::story::Story;
use crate::console;
use crate::failure::Failure;

/// A scene as it was played.
pub(crate) struct Played {
    /// Its title, with the cast where there is a choice.
    pub(crate) title: String,
    /// What happened.
    pub(crate) recording: Recording,
    /// What a ladder shows of it.
    pub(crate) story: Story,
    /// What was expected and didn't come about.
    pub(crate) unmet: Vec<String>,
    /// Expectations that counted.
    pub(crate) expectations: usize,
    /// What was changed in the kernel, as commands.
    pub(crate) sysctls: Vec<String>,
}

impl Played {
    /// Reads and judges what happened in a scene.
    pub(crate) fn new(scene: &Scene, recording: Recording, sysctls: Vec<String>) -> Self {
        let recording = recording.in_order();
        let story = Story::read(&recording);
        let title = match recording.cast {
            Cast::SIM => scene.title.to_owned(),
            Cast {
                client: Player::Ours,
                ..
            } => format!("{} (the client is ours)", scene.title),
            Cast { .. } => format!("{} (the server is ours)", scene.title),
        };
        Self {
            title,
            unmet: check::unmet(scene, &story),
            expectations: check::counting(scene, &story),
            recording,
            story,
            sysctls,
        }
    }

    /// Title, ladder, verdict.
    pub(crate) fn text(&self, paint: Paint) -> String {
        let mut text = format!("== {} ==\n", self.title);
        for line in &self.sysctls {
            text += &format!("pinned: {line}\n");
        }
        text += &ladder::draw(&self.recording, &self.story, paint);
        if self.unmet.is_empty() {
            text += &format!("all {} expectations met\n", self.expectations);
        }
        for line in &self.unmet {
            text += &format!("NOT MET: {line}\n");
        }
        text
    }
}

/// Prints what was played, and fails when something expected didn't come about.
///
/// # Errors
/// [`Failure::Gate`] names the first expectation that failed.
pub(crate) fn print(args: &RunArgs, scenario: &Scenario, played: &[Played]) -> Result<(), Failure> {
    if let Some(path) = &args.pcap {
        let scenes: Vec<(String, &Recording)> = played
            .iter()
            .map(|played| (played.title.clone(), &played.recording))
            .collect();
        pcap::write(path, &scenes)?;
    }
    let failed = played.iter().find_map(|played| {
        let unmet = played.unmet.first()?;
        Some(format!("{}: {}: {unmet}", scenario.name, played.title))
    });
    if args.json {
        let scenes: Vec<serde_json::Value> = played
            .iter()
            .map(|played| json::scene(&played.title, &played.story, &played.unmet))
            .collect();
        let whole = json!({
            "scenario": scenario.name,
            "over": if played.iter().all(|played| played.recording.cast == Cast::SIM) { "sim" } else { "tap" },
            "passed": failed.is_none(),
            "scenes": scenes,
        });
        console::result(format_args!("{whole:#}"))?;
    } else {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let paint = if colour { Paint::Colour } else { Paint::Plain };
        let texts: Vec<String> = played.iter().map(|played| played.text(paint)).collect();
        console::result(texts.join("\n").trim_end())?;
    }
    match failed {
        None => Ok(()),
        Some(text) => Err(Failure::Gate(format!("expected, but not so: {text}"))),
    }
}
