//! The report of a run: ladders, what was expected and didn't come about, the same as JSON, the frames as pcapng.
//!
//! It must never end well when an expectation failed.

use serde_json::{Value, json};
use stack::nic::fault::FaultSpec;

use super::args::RunArgs;
use super::check;
use super::json;
use super::ladder::{self, Heads, Paint};
use super::pcap;
use super::recording::Recording;
use super::scenario::{Cast, Client, End, Player, Scenario, Scene, Server};
use super::story::Story;
use super::wrapped;
use crate::console;
use crate::failure::Failure;
use crate::fault::written;

/// A scene as it was played.
pub(crate) struct ScenePlay {
    /// Its title in the file.
    pub(crate) scene: &'static str,
    /// Its title, with the cast where there is a choice.
    pub(crate) title: String,
    /// The events.
    pub(crate) recording: Recording,
    /// The rows of its ladder.
    pub(crate) story: Story,
    /// The expectations that were not met.
    pub(crate) unmet: Vec<String>,
    /// Expectations that counted.
    pub(crate) expectations: usize,
    /// The changed settings of the kernel.
    pub(crate) sysctls: Vec<String>,
    /// The kernel's counters and sockets afterwards.
    pub(crate) kernel_says: Vec<String>,
    /// How often it was played, because the machine was too busy for it.
    pub(crate) attempts: u32,
    /// The flag that made the link a bad one; nothing was judged then.
    pub(crate) fault: Option<String>,
}

impl ScenePlay {
    /// Reads and judges what happened in a scene.
    pub(crate) fn new(scene: &Scene, recording: Recording, sysctls: Vec<String>) -> Self {
        let recording = recording.in_order();
        let story = Story::read(&recording);
        let title = title(scene, recording.cast);
        Self {
            scene: scene.title,
            title,
            unmet: check::unmet(scene, &story),
            expectations: check::counting(scene, &story),
            recording,
            story,
            sysctls,
            kernel_says: Vec::new(),
            attempts: 1,
            fault: None,
        }
    }

    /// The same, played over a bad link: what is expected of a good one can't be held against it.
    pub(crate) fn over_bad_link(self, spec: &FaultSpec) -> Self {
        Self {
            unmet: Vec::new(),
            fault: Some(written(spec)),
            ..self
        }
    }

    /// Title, ladder, verdict.
    pub(crate) fn text(&self, paint: Paint) -> String {
        let mut text = opening(&self.title, &self.sysctls);
        text += &draw(&self.recording, &self.story, paint);
        text + &self.closing()
    }

    /// The text below the ladder: counters of kernels, and the verdict.
    pub(crate) fn closing(&self) -> String {
        let mut text = String::new();
        for line in &self.kernel_says {
            text += &format!("kernel {line}\n");
        }
        if self.attempts > 1 {
            let times = self.attempts;
            text += &format!("played {times} times: the machine was too busy to act in time\n");
        }
        if let Some(fault) = &self.fault {
            text += &format!("not judged: --fault {fault}\n");
        } else if self.unmet.is_empty() {
            text += &format!("expectations met: {0} of {0}\n", self.expectations);
        }
        for line in &self.unmet {
            text += &format!("NOT MET: {line}\n");
        }
        text
    }
}

/// The text above the ladder.
pub(super) fn opening(title: &str, sysctls: &[String]) -> String {
    let lines = sysctls.iter().map(|line| format!("  {line}\n"));
    let pinned = lines.collect::<String>();
    let head = if pinned.is_empty() {
        ""
    } else {
        "kernel settings of this scene, fixed so that every machine shows the same:\n"
    };
    format!("== {title} ==\n{head}{pinned}")
}

/// The title of a scene, with the cast where there is a choice.
pub(super) fn title(scene: &Scene, cast: Cast) -> String {
    match cast {
        Cast::SIM => scene.title.to_owned(),
        Cast {
            client: Player::Ours,
            ..
        } => format!("{} (the client is ours)", scene.title),
        Cast {
            server: Player::Kernel,
            ..
        } => format!("{} (both ends are the kernel's)", scene.title),
        Cast { .. } => format!("{} (the server is ours)", scene.title),
    }
}

/// The ladder of a scene.
pub(super) fn draw(recording: &Recording, story: &Story, paint: Paint) -> String {
    ladder::draw(
        &heads(recording),
        &story.rows,
        story.has_several_connections,
        paint,
    )
}

/// The names of the two ends, for the margins.
pub(super) fn heads(recording: &Recording) -> Heads {
    let head = |side: End| {
        let player = match recording.cast.player(side) {
            Player::Ours => "syncline",
            Player::Kernel => "kernel",
        };
        format!("{} {} ({player})", side.name(), recording.address(side))
    };
    Heads {
        client: head(Client),
        server: head(Server),
    }
}

/// A scenario, and its scenes as they were played.
pub(crate) type ScenarioPlay = (Scenario, Vec<ScenePlay>);

/// Prints what was played, and fails when something expected didn't come about.
///
/// # Errors
/// [`Failure::Gate`] names the first expectation that failed.
pub(crate) fn print(args: &RunArgs, all: &[ScenarioPlay]) -> Result<(), Failure> {
    let was_live = args.is_live();
    if let Some(path) = &args.pcap {
        let scenes = all.iter().flat_map(|(_, played)| played);
        let scenes: Vec<(String, &Recording)> = scenes
            .map(|played| (played.title.clone(), &played.recording))
            .collect();
        pcap::write(path, &scenes)?;
    }
    if args.json {
        let values: Vec<Value> = all.iter().map(whole).collect();
        match values.as_slice() {
            [one] => console::result(format_args!("{one:#}"))?,
            several => console::result(format_args!("{:#}", json!({"scenarios": several})))?,
        }
    } else if !was_live {
        let texts: Vec<String> = all.iter().map(|play| text(play, all.len() > 1)).collect();
        console::result(texts.join("\n\n").trim_end())?;
    }
    verdict(all)
}

/// Whether everything that was expected came about.
///
/// # Errors
/// [`Failure::Gate`] names the first expectation that failed.
pub(crate) fn verdict(all: &[ScenarioPlay]) -> Result<(), Failure> {
    all.iter()
        .try_for_each(|(scenario, played)| judge(scenario, played))
}

/// The ladders of a scenario, and what it means for a real system.
fn text((scenario, played): &ScenarioPlay, with_name: bool) -> String {
    let paint = Paint::of_stdout();
    let texts: Vec<String> = played.iter().map(|played| played.text(paint)).collect();
    let name = heading(scenario, with_name);
    format!("{name}{}\n{}", texts.join("\n"), summary(scenario))
}

/// The name of a scenario, where there are several.
pub(super) fn heading(scenario: &Scenario, with_name: bool) -> String {
    if with_name {
        format!("=== {} ===\n", scenario.name)
    } else {
        String::new()
    }
}

/// The symptom, its layer, and where to look.
pub(super) fn summary(scenario: &Scenario) -> String {
    let mut lines = vec![
        format!("seen as   {}", scenario.symptom),
        format!("layer     {}", scenario.layer),
    ];
    for (name, paragraph) in [("differs", &scenario.differs), ("look at", &scenario.check)] {
        if !paragraph.is_empty() {
            let text = wrapped(&paragraph.join(" "), 86);
            lines.push(format!("{name:<9} {}", text.replace('\n', "\n          ")));
        }
    }
    lines.push(format!("explain   syncline lab explain {}", scenario.name));
    lines.join("\n")
}

fn whole((scenario, played): &ScenarioPlay) -> Value {
    let scenes: Vec<Value> = played
        .iter()
        .map(|played| {
            let mut scene = json::scene(&played.title, &played.story, &played.unmet);
            scene["kernel_says"] = json!(played.kernel_says);
            scene
        })
        .collect();
    let fault = played.iter().find_map(|played| played.fault.as_ref());
    let is_sim = played
        .iter()
        .all(|played| played.recording.cast == Cast::SIM);
    json!({
        "scenario": scenario.name,
        "symptom": scenario.symptom,
        "errnos": scenario.errnos,
        "layer": scenario.layer,
        "over": if is_sim { "sim" } else { "tap" },
        // Over a bad link nothing was judged.
        "passed": fault.is_none().then_some(judge(scenario, played).is_ok()),
        "fault": fault,
        "scenes": scenes,
    })
}

/// Whether everything that was expected came about.
fn judge(scenario: &Scenario, played: &[ScenePlay]) -> Result<(), Failure> {
    let first = played
        .iter()
        .find_map(|played| Some((&played.title, played.unmet.first()?)));
    match first {
        None => Ok(()),
        Some((title, unmet)) => Err(Failure::Gate(format!(
            "expectation not met: {}: {title}: {unmet}",
            scenario.name
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::scenario::{Family, Observation, Pace};
    use crate::lab::{scenarios, sim};

    #[test]
    fn an_expectation_that_fails_fails_the_run_by_name() {
        let mut all = scenarios::all(Pace::Real).expect("they can be read");
        let mut scenario = all.swap_remove(0);
        let played = |scenario: &Scenario| {
            let scene = &scenario.scenes[0];
            [ScenePlay::new(
                scene,
                sim::play(scene, Family::V4, None).expect("a world"),
                Vec::new(),
            )]
        };
        assert_eq!(judge(&scenario, &played(&scenario)), Ok(()));
        let impossible = Client.sees(Observation::Connected);
        scenario.scenes[0].expectations.push(impossible);
        let failed = judge(&scenario, &played(&scenario)).expect_err("nobody listens");
        assert_eq!(
            failed,
            Failure::Gate(
                "expectation not met: closed-port: No program listens: client's application sees: connected: it never came"
                    .into()
            )
        );
    }
}
