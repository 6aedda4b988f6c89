//! The pages of `docs/reference/situations`, as they follow from scenario files and ladders; SYNCLINE_WRITE_DOCS=1 writes them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::lab::errno::Errno;
use crate::lab::scenario::{Pace, SITUATIONS, Scenario};
use crate::lab::scenarios;

/// How they are made, at the top of each.
const MADE: &str = "Made from `apps/src/lab/scenarios/` by `SYNCLINE_WRITE_DOCS=1 cargo test -p syncline-cli --bin syncline lab::`.";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference")
}

fn link(scenario: &Scenario) -> String {
    format!("[{0}](situations/{0}.md)", scenario.name)
}

/// All by symptom and by errno.
fn index(all: &[Scenario]) -> String {
    let mut page = format!(
        "# Situations of a connection\n\n{MADE} `syncline lab run NAME` plays one, `syncline lab explain ERRNO` finds those of an errno.\n\n\
         ## By what is seen\n\n| Seen as | errno | Situation | Scenes |\n|---|---|---|---|\n"
    );
    for scenario in all {
        let titles: Vec<&str> = scenario.scenes.iter().map(|scene| scene.title).collect();
        let (symptom, errnos) = (scenario.symptom, scenario.errnos.join(", "));
        let _ = writeln!(
            page,
            "| {symptom} | {errnos} | {} | {} |",
            link(scenario),
            titles.join("<br>")
        );
    }
    let _ = write!(page, "\n## By situation\n\n{}", by_situation(all));
    page += "\n## By errno\n\n| errno | In words | Situations |\n|---|---|---|\n";
    let mut by_errno: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for scenario in all {
        for errno in &scenario.errnos {
            by_errno.entry(errno).or_default().push(link(scenario));
        }
    }
    for (errno, links) in by_errno {
        let words = Errno::all().find(|(name, _)| *name == errno);
        let words = words.map_or("", |(_, words)| words);
        let _ = writeln!(page, "| {errno} | {words} | {} |", links.join(", "));
    }
    page
}

/// Each of the twelve situations with its points, and the scenes that show them.
fn by_situation(all: &[Scenario]) -> String {
    let mut page = "| Situation | Point | Scenes |\n|---|---|---|\n".to_owned();
    for (number, situation) in (1..).zip(SITUATIONS) {
        let mut points: Vec<(&str, Vec<String>)> = Vec::new();
        for scenario in all {
            for scene in &scenario.scenes {
                let its = scene.points.iter().filter(|(of, _)| *of == number);
                for (_, point) in its {
                    let shown = format!("{}: {}", link(scenario), scene.title);
                    match points.iter_mut().find(|(known, _)| known == point) {
                        Some((_, scenes)) => scenes.push(shown),
                        None => points.push((point, vec![shown])),
                    }
                }
            }
        }
        assert!(!points.is_empty(), "no scene shows {situation}");
        for (point, scenes) in points {
            let _ = writeln!(
                page,
                "| {number}. {situation} | {point} | {} |",
                scenes.join("<br>")
            );
        }
    }
    page
}

#[test]
fn every_scene_shows_a_point_of_a_situation() {
    for scenario in scenarios::all(Pace::Real).expect("they can be read") {
        for scene in &scenario.scenes {
            assert!(
                !scene.points.is_empty(),
                "{}: {}",
                scenario.name,
                scene.title
            );
        }
    }
}

/// One with its ladders.
fn page(scenario: &Scenario) -> String {
    let mut page = format!(
        "# {}\n\n{MADE} To play it: `syncline lab run {}`.\n\n{}\n\n",
        scenario.name,
        scenario.name,
        scenario.shows.join("\n")
    );
    for (name, value) in [
        ("Seen as", scenario.symptom.to_owned()),
        ("errno", scenario.errnos.join(", ")),
        ("Layer", scenario.layer.to_owned()),
        ("RFC", scenario.rfc.to_owned()),
        ("In Linux", scenario.linux.join("\n  ")),
        ("In `stack`", scenario.stack.join("\n  ")),
        ("Linux and Syncline differ", scenario.differs.join("\n  ")),
        ("Look at", scenario.check.join("\n  ")),
    ] {
        if !value.is_empty() {
            let _ = writeln!(page, "- **{name}**: {value}");
        }
    }
    let path = format!(
        "{}/src/lab/ladders/{}.txt",
        env!("CARGO_MANIFEST_DIR"),
        scenario.name
    );
    let ladders = std::fs::read_to_string(&path).expect(&path);
    let _ = write!(page, "\n```text\n{}\n```\n", ladders.trim_end());
    page
}

#[test]
fn the_pages_of_situations_follow_from_the_files() {
    let all = scenarios::all(Pace::Real).expect("they can be read");
    let own = folder().join("situations");
    let mut pages = vec![(folder().join("situations.md"), index(&all))];
    pages.extend(
        all.iter()
            .map(|scenario| (own.join(format!("{}.md", scenario.name)), page(scenario))),
    );
    if std::env::var_os("SYNCLINE_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(&own).expect("the folder can be made");
        for (path, page) in &pages {
            std::fs::write(path, page).expect("the page can be written");
        }
    }
    for (path, page) in &pages {
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        let path = path.display();
        assert!(
            kept == *page,
            "{path}: SYNCLINE_WRITE_DOCS=1 writes it anew"
        );
    }
    let files = std::fs::read_dir(&own).expect("it is there").count();
    assert_eq!(
        files,
        all.len(),
        "a page in {} is of no scenario",
        own.display()
    );
}
