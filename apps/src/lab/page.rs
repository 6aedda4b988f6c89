//! `lab report`: one page of HTML with a sequence diagram for each scene that was played, pairings side by side.
//!
//! It must never load anything from elsewhere: no script, no font, no picture.

// A scene as lines of life and arrows.
mod sequence;
// The states that were gone through.
mod machine;

use askama::Template;

use super::recording::Recording;
use super::report::{ScenarioPlay, ScenePlay};
use super::scenario::{Cast, Player};
use crate::failure::Failure;

/// The template's fields.
#[derive(Template)]
#[template(path = "lab.html")]
struct Page {
    title: String,
    scenes: usize,
    failed: usize,
    fault: Option<String>,
    scenarios: Vec<ScenarioSection>,
    version: &'static str,
}

/// A scenario in the page.
struct ScenarioSection {
    name: &'static str,
    symptom: &'static str,
    errnos: String,
    shows: String,
    facts: Vec<(&'static str, String)>,
    unmet: usize,
    machine: String,
    scenes: Vec<SceneSection>,
}

/// A scene, in each pairing that played it.
struct SceneSection {
    title: &'static str,
    pairings: Vec<PairingFigure>,
}

/// One of them.
struct PairingFigure {
    cast: String,
    expectations: usize,
    unmet: Vec<String>,
    sysctls: Vec<String>,
    kernel_says: Vec<String>,
    svg: String,
}

/// The page of what was played.
///
/// # Errors
/// [`Failure::Run`] when the template can't be filled.
pub(super) fn page(all: &[ScenarioPlay]) -> Result<String, Failure> {
    let scenarios: Vec<ScenarioSection> = all.iter().map(section).collect();
    let page = Page {
        title: match all {
            [(one, _)] => format!("syncline lab: {}", one.name),
            _ => "syncline lab".into(),
        },
        scenes: all.iter().map(|(_, played)| played.len()).sum(),
        failed: scenarios.iter().map(|one| one.unmet).sum(),
        fault: all
            .iter()
            .flat_map(|(_, played)| played)
            .find_map(|p| p.fault.clone()),
        scenarios,
        version: env!("CARGO_PKG_VERSION"),
    };
    page.render()
        .map(|html| html + "\n")
        .map_err(|error| Failure::Run(format!("cannot make the page: {error}")))
}

fn section((scenario, played): &ScenarioPlay) -> ScenarioSection {
    let mut scenes: Vec<SceneSection> = Vec::new();
    for one in played {
        let figure = figure(one);
        match scenes.iter_mut().find(|scene| scene.title == one.scene) {
            Some(scene) => scene.pairings.push(figure),
            None => scenes.push(SceneSection {
                title: one.scene,
                pairings: vec![figure],
            }),
        }
    }
    let recordings: Vec<&Recording> = played.iter().map(|one| &one.recording).collect();
    ScenarioSection {
        name: scenario.name,
        symptom: scenario.symptom,
        errnos: scenario.errnos.join(", "),
        shows: scenario.shows.join(" "),
        facts: [
            ("layer", scenario.layer.to_owned()),
            ("RFC", scenario.rfc.to_owned()),
            ("in Linux", scenario.linux.join(" ")),
            ("in stack", scenario.stack.join(" ")),
            ("Linux and Syncline", scenario.differs.join(" ")),
            ("look at", scenario.check.join(" ")),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect(),
        unmet: played.iter().map(|one| one.unmet.len()).sum(),
        machine: machine::svg(&recordings),
        scenes,
    }
}

fn figure(played: &ScenePlay) -> PairingFigure {
    let cast = played.recording.cast;
    let player = |player: Player| match player {
        Player::Ours => "syncline",
        Player::Kernel => "kernel",
    };
    let (client, server) = (player(cast.client), player(cast.server));
    let over = if cast == Cast::SIM {
        "in virtual time"
    } else {
        "over a tap"
    };
    let heads = (format!("client ({client})"), format!("server ({server})"));
    PairingFigure {
        cast: format!("{client} to {server}, {over}"),
        expectations: played.expectations,
        unmet: played.unmet.clone(),
        sysctls: played.sysctls.clone(),
        kernel_says: played.kernel_says.clone(),
        svg: sequence::svg(&played.story, (&heads.0, &heads.1)),
    }
}

/// Text for SVG, where nothing may look like a tag.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::in_sim;
    use crate::lab::scenario::{Family, Pace};
    use crate::lab::scenarios;

    #[test]
    fn a_page_shows_each_scene_and_nothing_from_elsewhere() {
        let all: Vec<ScenarioPlay> = scenarios::all(Pace::Real)
            .expect("they can be read")
            .into_iter()
            .map(|scenario| {
                let played = in_sim(&scenario, Family::V4, None).expect("a world");
                (scenario, played)
            })
            .collect();
        let html = page(&all).expect("a page");
        for (scenario, played) in &all {
            assert!(html.contains(&format!("<section id=\"{}\">", scenario.name)));
            let diagrams = html.matches("class=\"sequence\"").count();
            assert!(diagrams >= played.len());
        }
        let scenes: usize = all.iter().map(|(_, played)| played.len()).sum();
        assert_eq!(html.matches("class=\"sequence\"").count(), scenes);
        assert_eq!(html.matches("class=\"machine\"").count(), all.len());
        for forbidden in ["<script", "http://", "https://", "url(", "<img", "@import"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        assert!(html.contains("✓ All expectations were met."));
    }

    #[test]
    fn the_edges_that_were_gone_along_are_coloured() {
        let scenario = crate::lab::find("closed-port", Pace::Real).expect("it is there");
        let played = in_sim(&scenario, Family::V4, None).expect("a world");
        let machine = machine::svg(&[&played[0].recording]);
        // CLOSED to SYN-SENT and back, at the client only.
        assert_eq!(machine.matches("<line class=\"edge client\"").count(), 2);
        assert!(!machine.contains("edge server"));
    }

    #[test]
    fn nothing_in_a_diagram_looks_like_a_tag() {
        assert_eq!(
            escaped("<mss 1460> & \"x\""),
            "&lt;mss 1460&gt; &amp; &quot;x&quot;"
        );
    }
}
