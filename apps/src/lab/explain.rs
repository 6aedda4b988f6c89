//! `lab list`, `lab show` and `lab explain`: scenarios by what a user sees, and what they mean.
//!
//! It must never explain what no scenario shows: the texts are the scenarios' own.

use super::errno::Errno;
use super::scenario::{Pace, Player, SITUATIONS, Scenario};
use super::scenarios;
use super::wrapped;
use crate::failure::Failure;

/// Columns of a paragraph.
const COLUMNS: usize = 96;
/// How alike a word must be to be offered (0 to 1, Jaro-Winkler).
const ALIKE: f64 = 0.75;
/// The question that the mission starts from.
const RST_ACK: &str = include_str!("rst-ack.txt");

/// The scenarios in groups by symptom.
///
/// # Errors
/// [`Failure::Run`] when a scenario can't be read.
pub(crate) fn list() -> Result<String, Failure> {
    let all = scenarios::all(Pace::Real)?;
    let mut symptoms: Vec<&str> = Vec::new();
    for scenario in &all {
        if !symptoms.contains(&scenario.symptom) {
            symptoms.push(scenario.symptom);
        }
    }
    let mut out = String::new();
    for symptom in symptoms {
        out += &format!("{symptom}\n");
        for scenario in all.iter().filter(|scenario| scenario.symptom == symptom) {
            for (n, scene) in scenario.scenes.iter().enumerate() {
                let name = if n == 0 { scenario.name } else { "" };
                out += &format!("  {name:<20} {}\n", scene.title);
            }
        }
    }
    Ok(
        out + "\nmore: syncline lab explain NAME, syncline lab explain ERRNO, syncline lab explain rst-ack"
    )
}

/// The topic, actions and expectations of a scenario.
pub(crate) fn show(scenario: &Scenario) -> String {
    let mut text = format!(
        "{}\n\n{}\n",
        scenario.name,
        wrapped(&scenario.shows.join(" "), COLUMNS)
    );
    for scene in &scenario.scenes {
        text += &format!(
            "\n== {} == ({} s)\n",
            scene.title,
            scene.lasts_ms.div_ceil(1000)
        );
        for (situation, point) in &scene.points {
            let situation = SITUATIONS[situation - 1].to_lowercase();
            text += &format!("     shows {situation}: {point}\n");
        }
        for act in &scene.acts {
            text += &format!("{:>7} ms  {} {}\n", act.at_ms, act.who.name(), act.what);
        }
        for expectation in &scene.expectations {
            let named = |player| match player {
                Player::Ours => "syncline",
                Player::Kernel => "the kernel",
            };
            let mut by = String::new();
            if let Some(player) = expectation.played_by {
                by += &format!(" (when it is {})", named(player));
            }
            if let Some((end, player)) = expectation.while_is {
                by += &format!(" (while the {} is {})", end.name(), named(player));
            }
            text += &format!("   expects {expectation}{by}\n");
        }
    }
    text
}

/// Explains a scenario, an errno or rst-ack.
///
/// # Errors
/// [`Failure::Usage`] when it is none of these, with what may have been meant.
pub(crate) fn explain(topic: &str) -> Result<String, Failure> {
    if topic.eq_ignore_ascii_case("rst-ack") {
        return Ok(RST_ACK.to_owned());
    }
    let all = scenarios::all(Pace::Real)?;
    let errno = topic.to_uppercase();
    // By name, or by a part of its words: "refused".
    let said = topic.to_lowercase();
    let by_words = |words: &str| said.len() >= 5 && words.contains(&said);
    let mut errnos = Errno::all();
    if let Some((name, words)) = errnos.find(|(name, words)| *name == errno || by_words(words)) {
        return Ok(errno_text(name, words, &all));
    }
    let found = all.iter().find(|scenario| scenario.name == topic);
    found
        .map(scenario_text)
        .ok_or_else(|| unknown(topic, &all, true))
}

/// No scenario, and no errno where one may stand, is called so.
pub(crate) fn unknown(word: &str, all: &[Scenario], errnos_too: bool) -> Failure {
    let names: Vec<&str> = all.iter().map(|scenario| scenario.name).collect();
    let errnos = Errno::all().map(|(name, _)| name).filter(|_| errnos_too);
    let candidates = names.iter().copied().chain(errnos);
    let likeness =
        |candidate: &str| strsim::jaro_winkler(&candidate.to_lowercase(), &word.to_lowercase());
    let best = candidates.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let meant = match best.filter(|best| likeness(best) >= ALIKE) {
        Some(best) => format!(": did you mean `{best}`? Expected"),
        None => ": expected".to_owned(),
    };
    let what = if errnos_too {
        "scenario or errno"
    } else {
        "scenario"
    };
    Failure::Usage(format!(
        "unknown {what} `{word}`{meant} one of: {}",
        names.join(", ")
    ))
}

fn scenario_text(scenario: &Scenario) -> String {
    let mut text = format!(
        "{}\n\n{}\n",
        scenario.name,
        wrapped(&scenario.shows.join(" "), COLUMNS)
    );
    let errnos = scenario.errnos.join(", ");
    let rows = [
        ("seen as", scenario.symptom.to_owned()),
        ("errno", errnos),
        ("layer", scenario.layer.to_owned()),
        ("RFC", scenario.rfc.to_owned()),
        ("in Linux", scenario.linux.join(" ")),
        ("in stack", scenario.stack.join(" ")),
        ("differs", scenario.differs.join(" ")),
        ("look at", scenario.check.join(" ")),
    ];
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        let value = wrapped(value, COLUMNS - 10).replace('\n', "\n          ");
        text += &format!("\n{name:<9} {value}");
    }
    text + &format!("\n{:<9} syncline lab run {}\n", "see it", scenario.name)
}

fn errno_text(name: &str, words: &str, all: &[Scenario]) -> String {
    let mut text = format!("{name} ({words})\n");
    let fitting = all
        .iter()
        .filter(|scenario| scenario.errnos.contains(&name));
    let mut is_shown = false;
    for scenario in fitting {
        is_shown = true;
        text += &format!(
            "\n{}: {}\n  {}\n  look at {}\n",
            scenario.name,
            scenario.layer,
            wrapped(&scenario.shows.join(" "), COLUMNS - 2).replace('\n', "\n  "),
            wrapped(&scenario.check.join(" "), COLUMNS - 10).replace('\n', "\n          ")
        );
    }
    if !is_shown {
        text += "\nNo scenario shows it yet.\n";
    }
    text
}
