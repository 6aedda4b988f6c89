//! Whether what a scene expects came about: [`unmet`].
//!
//! It must never be kinder to us than to the kernel: the words of the scene hold for both.

use super::scenario::{Cast, End, Expectation, Expected, Observation, Scene};
use super::story::{FORGED, Row, Story, StoryEvent};

/// Over a tap, on a machine that has other things to do, everything may be this much later than it should.
const REAL_TIME_SLACK_MS: u64 = 500;

/// The expectations that were not met, in words: nothing when all is well.
pub(crate) fn unmet(scene: &Scene, story: &Story) -> Vec<String> {
    let mut places = Places::default();
    let counting = scene
        .expectations
        .iter()
        .filter(|expectation| expectation.counts_for(story.cast));
    counting
        .filter_map(|expectation| places.judge(expectation, story).err())
        .collect()
}

/// How many expectations count for this cast.
pub(crate) fn counting(scene: &Scene, story: &Story) -> usize {
    let counts = |expectation: &&Expectation| expectation.counts_for(story.cast);
    scene.expectations.iter().filter(counts).count()
}

/// Behind which row each kind of thing is looked for next.
#[derive(Debug, Default)]
struct Places {
    frames: usize,
    apps: [usize; 2],
    neighbors: [usize; 2],
}

impl Places {
    fn judge(&mut self, expectation: &Expectation, story: &Story) -> Result<(), String> {
        let who = expectation.who as usize;
        let place = match expectation.what {
            _ if expectation.forbids_until_ms().is_some() => return never(expectation, story),
            Expected::App(_) => &mut self.apps[who],
            Expected::Neighbor(_) => &mut self.neighbors[who],
            _ => &mut self.frames,
        };
        let rows = &story.rows[*place..];
        let is_it = |row: &&Row| is(expectation, row);
        let slack_ms = if story.cast == Cast::SIM {
            0
        } else {
            REAL_TIME_SLACK_MS
        };
        let (earliest, latest) = expectation.within_ms.clone().into_inner();
        let timely = |row: &&Row| {
            (earliest..=latest.saturating_add(slack_ms)).contains(&(row.at_ns / 1_000_000))
        };
        if let Some(found) = rows.iter().position(|row| is_it(&row) && timely(&row)) {
            *place += found + 1;
            return Ok(());
        }
        let seen = rows.iter().find(is_it);
        Err(match seen {
            Some(row) => format!("{expectation}: it came at {} ms", row.at_ns / 1_000_000),
            None => format!("{expectation}: it never came"),
        })
    }
}

fn never(expectation: &Expectation, story: &Story) -> Result<(), String> {
    // An event that must never come may come outside of its time.
    let in_time = |row: &&Row| expectation.within_ms.contains(&(row.at_ns / 1_000_000));
    let found = |row: &&Row| is(expectation, row) && in_time(row);
    match story.rows.iter().find(found) {
        None => Ok(()),
        Some(row) => Err(format!(
            "{expectation}: it came at {} ms",
            row.at_ns / 1_000_000
        )),
    }
}

/// Bytes may come in any parts: what counts is how many have come.
fn is_seen(expected: Observation, seen: Observation) -> bool {
    match (expected, seen) {
        (Observation::Received(least), Observation::Received(total)) => total >= least,
        _ => seen == expected,
    }
}

/// Whether a row is what is expected, whenever it came.
fn is(expectation: &Expectation, row: &Row) -> bool {
    let by = |side: End| side == expectation.who;
    match (&expectation.what, &row.what) {
        (Expected::Segment(spec) | Expected::NoSegment(spec), StoryEvent::Segment(carried)) => {
            by(carried.from)
                && carried.mark != Some(FORGED)
                && row.conn == expectation.conn
                && spec.matches(&carried.segment, carried.base)
        }
        (Expected::Retransmission | Expected::NoRetransmission, StoryEvent::Segment(carried)) => {
            by(carried.from) && row.conn == expectation.conn && carried.is_again
        }
        (
            Expected::Solicitation,
            StoryEvent::Packet {
                from,
                is_solicitation,
                ..
            },
        ) => by(*from) && *is_solicitation,
        (Expected::App(expected), StoryEvent::Sees(side, seen)) => {
            by(*side)
                && row.conn == expectation.conn
                && expected.iter().any(|expected| is_seen(*expected, *seen))
        }
        (Expected::NotApp(unwanted), StoryEvent::Sees(side, seen)) => {
            by(*side) && row.conn == expectation.conn && is_seen(*unwanted, *seen)
        }
        (Expected::Neighbor(expected), StoryEvent::Neighbor(side, state)) => {
            by(*side) && *state == Some(*expected)
        }
        _ => false,
    }
}
