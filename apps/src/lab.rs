//! `syncline lab`: plays a situation in which TCP goes wrong, draws what happens as a packet ladder, and checks it.
//!
//! It must never touch a link that it has not made itself.
//!
//! A scenario says who does what when and what must come of it. A stage plays it and records what happened: `sim` in
//! virtual time between two of our endpoints, `tap` in real time with a kernel at one end or at both. The rest is the
//! same for both: the recording is read into a story, the story is drawn, printed as JSON, and judged.

// The flags.
mod args;
// A scenario in memory, and in its file.
mod format;
pub(crate) mod scenario;
// Actions of the network between the ends.
mod network;
// The errno that an application sees when a call fails.
mod errno;
// The scenarios.
mod scenarios;
// Their meaning.
mod explain;
// An end that is ours: its configuration, its application.
mod actor;
mod endpoint;
// Frames of the network's own.
mod forge;
// The events of a scene, as bytes and words.
mod recording;
// In virtual time.
mod sim;
// In real time, with a kernel at one end or at both.
#[cfg(feature = "dpdk")]
mod tap;
// The recording, read.
pub(crate) mod story;
// Expectations, and whether they were met.
mod check;
// The story as text, as JSON, as a capture.
pub(crate) mod json;
pub(crate) mod ladder;
mod page;
mod pcap;
mod report;

pub(crate) use args::LabArgs;

use std::path::Path;

use args::{LabCommand, LabLink, PageArgs, PlayArgs, RunArgs};
use report::{ScenarioPlay, ScenePlay};
use scenario::{Cast, Family, Pace, Scenario, Scene};

use crate::console;
use crate::failure::Failure;
use crate::fault::FaultFlag;

/// Scenes that are played side by side over taps, unless `--at-once` says otherwise: they mostly wait.
#[cfg(feature = "dpdk")]
const AT_ONCE: u16 = 64;

/// Does what `args` say.
///
/// # Errors
/// [`Failure`]: no such scenario, no stage for it, or something expected that did not come about.
pub(crate) fn run(args: &LabArgs) -> Result<(), Failure> {
    match &args.command {
        LabCommand::List => console::text(explain::list()?.trim_end()),
        LabCommand::Show { name } => {
            console::text(explain::show(&find(name, Pace::Real)?).trim_end())
        }
        LabCommand::Explain { topic } => console::text(explain::explain(topic)?.trim_end()),
        LabCommand::Run(args) => play_often(args),
        #[cfg(feature = "dpdk")]
        LabCommand::Peer => tap::program::run(),
        LabCommand::Report(args) => write_page(args),
    }
}

/// By its name, or by its file.
fn find(name: &str, pace: Pace) -> Result<Scenario, Failure> {
    if Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "lab")
    {
        let text = std::fs::read_to_string(name)
            .map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
        // Scenarios live as long as the process, and a run reads each file once.
        return format::parse(text.leak(), pace)
            .map_err(|error| Failure::Usage(format!("{name}: {error}")));
    }
    let mut all = scenarios::all(pace)?;
    let place = all.iter().position(|scenario| scenario.name == name);
    place
        .map(|place| all.swap_remove(place))
        .ok_or_else(|| explain::unknown(name, &all, false))
}

/// The scenarios with these names, each once; `all` stands for all of them.
fn chosen(names: &[String], pace: Pace) -> Result<Vec<Scenario>, Failure> {
    if names.iter().any(|name| name == "all") {
        return scenarios::all(pace);
    }
    names.iter().map(|name| find(name, pace)).collect()
}

/// Words in lines of at most so many columns.
fn wrapped(text: &str, columns: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().map_or(0, |line| line.len());
        if line > 0 && line + 1 + word.len() > columns {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

/// Plays it as often as asked: in virtual time each run is the same as the first.
fn play_often(args: &RunArgs) -> Result<(), Failure> {
    args.check()?;
    let first = play(&args.play, args.is_live())?;
    for run in 2..=args.repeat {
        let again = play(&args.play, false)?;
        if let Some(scene) = differing(&first, &again) {
            return Err(Failure::Gate(format!(
                "run {run} of {}: `{scene}` differs from the first run",
                args.repeat
            )));
        }
    }
    if args.repeat > 1 {
        console::log(format_args!("{} runs, all the same", args.repeat));
    }
    report::print(args, &first)
}

/// The title of the first scene that came out differently.
fn differing(first: &[ScenarioPlay], again: &[ScenarioPlay]) -> Option<String> {
    let scenes = |all: &[ScenarioPlay]| -> Vec<(String, String)> {
        let played = all.iter().flat_map(|(_, played)| played);
        played
            .map(|one| (one.title.clone(), one.text(ladder::Paint::Plain)))
            .collect()
    };
    let (first, again) = (scenes(first), scenes(again));
    let pairs = first.into_iter().zip(again);
    pairs
        .into_iter()
        .find(|(one, other)| one != other)
        .map(|((title, _), _)| title)
}

fn write_page(args: &PageArgs) -> Result<(), Failure> {
    let all = play(&args.play, false)?;
    crate::page::write(&args.output, &page::page(&all)?)?;
    report::verdict(&all)
}

/// Plays what is asked for; `is_live`: ladders are drawn meanwhile.
fn play(args: &PlayArgs, is_live: bool) -> Result<Vec<ScenarioPlay>, Failure> {
    args.check()?;
    let pace = if args.quick { Pace::Quick } else { Pace::Real };
    let scenarios = chosen(&args.names, pace)?;
    let played = match args.over {
        LabLink::Sim => scenarios
            .iter()
            .map(|scenario| in_sim(scenario, args.family(), args.fault.as_ref()))
            .collect::<Result<Vec<_>, Failure>>()?,
        LabLink::Tap => over_tap(args, &scenarios, is_live)?,
    };
    Ok(scenarios.into_iter().zip(played).collect())
}

fn in_sim(
    scenario: &Scenario,
    family: Family,
    fault: Option<&FaultFlag>,
) -> Result<Vec<ScenePlay>, Failure> {
    let fault = fault.map(|flag| flag.spec_or_seed(sim::SEED));
    let plays = |scene: &&Scene| scene.can_be_played_by(Cast::SIM);
    scenario
        .scenes
        .iter()
        .filter(plays)
        .map(|scene| {
            let recording = sim::play(scene, family, fault.as_ref())?;
            let played = ScenePlay::new(scene, recording, Vec::new());
            Ok(match &fault {
                None => played,
                Some(spec) => played.over_bad_link(spec),
            })
        })
        .collect()
}

#[cfg(feature = "dpdk")]
fn over_tap(
    args: &PlayArgs,
    scenarios: &[Scenario],
    is_live: bool,
) -> Result<Vec<Vec<ScenePlay>>, Failure> {
    tap::play(
        scenarios,
        &args.casts(),
        args.family(),
        (args.at_once.unwrap_or(AT_ONCE), is_live),
    )
}

#[cfg(not(feature = "dpdk"))]
fn over_tap(args: &PlayArgs, _: &[Scenario], _: bool) -> Result<Vec<Vec<ScenePlay>>, Failure> {
    Err(Failure::Usage(format!(
        "`lab run {} --over tap` needs a part of the endpoint that this binary was built without: build with `--features dpdk`, \
         or play it in simulation",
        args.names.join(" ")
    )))
}

#[cfg(test)]
mod tests;
