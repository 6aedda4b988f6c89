//! `syncline lab`: plays a situation in which TCP goes wrong, draws what happens as a packet ladder, and checks it.
//!
//! It must never touch a link that it has not made itself.
//!
//! A scenario says who does what when and what must come of it. A stage plays it and records what happened: `sim` in
//! virtual time between two of our endpoints, `tap` in real time between one of ours and the kernel's. The rest is the
//! same for both: the recording is read into a story, the story is drawn, printed as JSON, and judged.

// The flags.
mod args;
// The form in which a scenario is written.
pub(crate) mod scenario;
// What an application is told when a call fails.
mod errno;
// The scenarios.
mod scenarios;
// The application of an end that is ours.
mod actor;
// What happened, as bytes and words.
mod recording;
// In virtual time.
mod sim;
// In real time, with the kernel at the other end.
#[cfg(feature = "dpdk")]
mod tap;
// The recording, read.
pub(crate) mod story;
// What was expected, and whether it came about.
mod check;
// The story as text, as JSON, as a capture.
pub(crate) mod json;
pub(crate) mod ladder;
mod pcap;
mod report;

pub(crate) use args::LabArgs;

use args::{LabCommand, LabLink, RunArgs};
use report::ScenePlay;
use scenario::{Cast, Family, Pace, Scenario, Scene};

use crate::console;
use crate::failure::Failure;
use crate::fault::FaultFlag;

/// Does what `args` say.
///
/// # Errors
/// [`Failure`]: no such scenario, no stage for it, or something expected that did not come about.
pub(crate) fn run(args: &LabArgs) -> Result<(), Failure> {
    match &args.command {
        LabCommand::List => list(),
        LabCommand::Show { name } => show(&find(name, Pace::Real)?),
        LabCommand::Run(args) => play(args),
    }
}

fn find(name: &str, pace: Pace) -> Result<Scenario, Failure> {
    let mut all = scenarios::all(pace);
    let names: Vec<&str> = all.iter().map(|scenario| scenario.name).collect();
    let unknown = format!("no scenario `{name}`; there are: {}", names.join(", "));
    let place = all.iter().position(|scenario| scenario.name == name);
    place
        .map(|place| all.swap_remove(place))
        .ok_or(Failure::Usage(unknown))
}

fn list() -> Result<(), Failure> {
    let lines: Vec<String> = scenarios::all(Pace::Real)
        .iter()
        .map(|scenario| {
            let titles: Vec<&str> = scenario.scenes.iter().map(|scene| scene.title).collect();
            format!("{:<12} {}", scenario.name, titles.join("; "))
        })
        .collect();
    console::result(lines.join("\n"))
}

fn show(scenario: &Scenario) -> Result<(), Failure> {
    let mut text = format!("{}\n\n{}\n", scenario.name, wrapped(scenario.shows, 96));
    for scene in &scenario.scenes {
        text += &format!(
            "\n== {} == ({} s)\n",
            scene.title,
            scene.lasts_ms.div_ceil(1000)
        );
        for act in &scene.acts {
            text += &format!("{:>7} ms  {} {}\n", act.at_ms, act.who.name(), act.what);
        }
        for expectation in &scene.expectations {
            let by = match expectation.played_by {
                None => "",
                Some(scenario::Player::Ours) => " (when it is syncline)",
                Some(scenario::Player::Kernel) => " (when it is the kernel)",
            };
            text += &format!("   expects {expectation}{by}\n");
        }
    }
    console::result(text.trim_end())
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

fn play(args: &RunArgs) -> Result<(), Failure> {
    args.check()?;
    let pace = if args.quick { Pace::Quick } else { Pace::Real };
    let scenario = find(&args.name, pace)?;
    let played = match args.over {
        LabLink::Sim => in_sim(&scenario, args.family(), args.fault.as_ref())?,
        LabLink::Tap => over_tap(args, &scenario, &args.casts())?,
    };
    report::print(args, &scenario, &played)
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
    args: &RunArgs,
    scenario: &Scenario,
    casts: &[Cast],
) -> Result<Vec<ScenePlay>, Failure> {
    tap::play(scenario, casts, args.family())
}

#[cfg(not(feature = "dpdk"))]
fn over_tap(args: &RunArgs, _: &Scenario, _: &[Cast]) -> Result<Vec<ScenePlay>, Failure> {
    Err(Failure::Usage(format!(
        "`lab run {} --over tap` moves frames by DPDK, and this binary was built without it: build with `--features dpdk`, \
         or play it in simulation",
        args.name
    )))
}

#[cfg(test)]
mod tests;
