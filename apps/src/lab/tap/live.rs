//! [`Live`]: the report of a run while it comes about, on a terminal: scene after scene in the order of the report, and the one that is
//! still being played row by row.
//!
//! It must never say anything that the report doesn't, nor show a row before what belongs in front of it had time to come.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Job;
use super::progress::Progress;
use crate::console;
use crate::lab::ladder::{self, Paint};
use crate::lab::recording::Recording;
use crate::lab::report::{self, ScenePlay};
use crate::lab::scenario::Scenario;
use crate::lab::story::{Row, Story};

/// A row is shown so much later than it happened, in ns: its states and the rows before it are known then.
const SETTLED_NS: u64 = 100_000_000;

/// The shown part of a run.
pub(super) struct Live<'a> {
    jobs: &'a [Job<'a>],
    scenarios: &'a [Scenario],
    progress: &'a Progress,
    paint: Paint,
    shown: Mutex<Shown>,
}

/// How far it is.
#[derive(Default)]
struct Shown {
    /// The scene that is shown.
    current: usize,
    /// Whether its title was printed.
    has_begun: bool,
    /// Its rows that were printed.
    rows: Vec<Row>,
    /// Scenes that ended before their turn came.
    waiting: Vec<(usize, String)>,
}

impl<'a> Live<'a> {
    /// Nothing shown yet.
    pub(super) fn new(
        jobs: &'a [Job<'a>],
        scenarios: &'a [Scenario],
        progress: &'a Progress,
    ) -> Self {
        Self {
            jobs,
            scenarios,
            progress,
            paint: Paint::of_stdout(),
            shown: Mutex::new(Shown::default()),
        }
    }

    /// The recording of a scene by `now_ns`, and the settings pinned for it.
    pub(super) fn goes_on(
        &self,
        job: usize,
        (recording, now_ns): (&Recording, u64),
        pinned: &[String],
    ) {
        let mut shown = self.shown();
        if shown.current != job {
            return;
        }
        let recording = recording.clone().in_order();
        let mut text = self.opening(&mut shown, &recording, pinned);
        let story = Story::read(&recording);
        let settled = story.rows.into_iter();
        let settled = settled.filter(|row| row.at_ns + SETTLED_NS <= now_ns);
        text += &self.new_rows(&mut shown, settled.collect());
        self.print(&text);
    }

    /// A scene is played again, because the machine was too busy for it.
    pub(super) fn begins_again(&self, job: usize) {
        let mut shown = self.shown();
        if shown.current == job && shown.has_begun {
            (shown.has_begun, shown.rows) = (false, Vec::new());
            self.print("the machine was too busy to act in time: played again\n\n");
        }
    }

    /// A scene has ended.
    pub(super) fn ends(&self, job: usize, played: &ScenePlay) {
        let mut shown = self.shown();
        if shown.current != job {
            shown.waiting.push((job, played.text(self.paint)));
            return;
        }
        let mut text = self.opening(&mut shown, &played.recording, &played.sysctls);
        text += &self.new_rows(&mut shown, played.story.rows.clone());
        text += &played.closing();
        text += &self.behind(job);
        loop {
            let next = shown.current + 1;
            *shown = Shown {
                current: next,
                waiting: std::mem::take(&mut shown.waiting),
                ..Shown::default()
            };
            let Some(place) = shown.waiting.iter().position(|(job, _)| *job == next) else {
                break;
            };
            text += &self.before(next);
            text += &shown.waiting.swap_remove(place).1;
            text += &self.behind(next);
        }
        self.print(&text);
    }

    /// Title and head of the ladder, once.
    fn opening(&self, shown: &mut Shown, recording: &Recording, pinned: &[String]) -> String {
        if std::mem::replace(&mut shown.has_begun, true) {
            return String::new();
        }
        let Job { scene, cast, .. } = self.jobs[shown.current];
        let title = report::title(scene, cast);
        let heads = report::heads(recording);
        self.before(shown.current) + &report::opening(&title, pinned) + &ladder::head(&heads)
    }

    /// Rows that were not printed yet. One that becomes known late stands late.
    fn new_rows(&self, shown: &mut Shown, rows: Vec<Row>) -> String {
        let Job { scene, cast, .. } = self.jobs[shown.current];
        let several = super::Setting::new(scene, cast, super::Family::V4)
            .conns
            .len()
            > 1;
        let mut text = String::new();
        for row in rows {
            let is_same = |known: &&Row| known.at_ns == row.at_ns && known.what == row.what;
            if !shown.rows.iter().any(|known| is_same(&known)) {
                text += &ladder::line(&row, several, self.paint);
                shown.rows.push(row);
            }
        }
        text
    }

    /// The text in front of a scene: the name of its scenario, before the first one.
    fn before(&self, job: usize) -> String {
        let scenario = self.jobs[job].scenario;
        let is_first = job == 0 || self.jobs[job - 1].scenario != scenario;
        if is_first {
            report::heading(&self.scenarios[scenario], self.scenarios.len() > 1)
        } else {
            String::new()
        }
    }

    /// The text behind it: an empty line, and behind the last one the meaning of the scenario.
    fn behind(&self, job: usize) -> String {
        let scenario = self.jobs[job].scenario;
        match self.jobs.get(job + 1) {
            Some(next) if next.scenario == scenario => "\n".to_owned(),
            next => {
                let gap = if next.is_some() { "\n" } else { "" };
                format!("\n{}\n{gap}", report::summary(&self.scenarios[scenario]))
            }
        }
    }

    fn print(&self, text: &str) {
        if !text.is_empty() {
            self.progress.around(|| {
                // A terminal that is gone ends the run at its verdict.
                let _ = console::result(text.strip_suffix('\n').unwrap_or(text));
            });
        }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        // No thread panics while holding it.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
