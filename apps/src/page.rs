//! `syncline report`: one page of HTML from the JSON results of other commands, alone or side by side.
//!
//! It must never load anything from elsewhere, and never fail for a field that it doesn't know or misses: a missing field leaves
//! its section out.

// A result as JSON, and ways to look into it.
mod json;
// The part of a page about one result.
mod run;
// Conditions, summary and checks.
mod facts;
// Latency: percentiles and histograms.
mod latency;
// Series over time.
mod series;
// Failures, outcomes, counters.
mod tables;
// Numbers for readers.
mod format;
// Drawings.
mod chart;
// The page around them.
mod html;

use std::io::Write as _;
use std::path::{Path, PathBuf};

#[cfg(feature = "dpdk")]
pub(crate) use self::latency::step_title;
use self::run::Run;
use crate::console;
use crate::failure::Failure;

/// Results side by side at most: as many as there are line styles.
const RUNS_MAX: usize = 6;

/// Make one page of HTML from results
///
/// Takes what `serve`, `bench`, `load` and `flood` print with --json. Several results are compared side by side. The page needs
/// nothing but itself: no script, no font, no network. `syncline report run.json -o report.html`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ReportArgs {
    /// Results, up to six; `-` is stdin
    #[arg(required = true, value_name = "RUN.json")]
    runs: Vec<PathBuf>,

    /// Where the page goes [default: stdout]
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// The page's title [default: the commands and links of the results]
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
}

/// Writes the page.
///
/// # Errors
/// [`Failure::Usage`] for a file that is no result, [`Failure::Run`] for one that can't be read and a page that can't be
/// written.
pub(crate) fn run(args: &ReportArgs) -> Result<(), Failure> {
    if args.runs.len() > RUNS_MAX {
        return Err(Failure::Usage(format!(
            "{} results: a page compares up to {RUNS_MAX}; name fewer",
            args.runs.len()
        )));
    }
    let runs = args.runs.iter().map(|path| Run::read(path));
    let runs = runs.collect::<Result<Vec<_>, _>>()?;
    let page = html::page(args.title.as_deref(), &runs)?;
    match &args.output {
        None => console::result(page),
        Some(path) => write(path, &page),
    }
}

/// Writes the page beside its place first, so that no reader ever sees half of one.
pub(crate) fn write(path: &Path, page: &str) -> Result<(), Failure> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(name);
    let written = std::fs::File::create(&beside)
        .and_then(|mut file| {
            file.write_all(page.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| {
        // The file is not a whole page yet.
        let _ = std::fs::remove_file(&beside);
        Failure::Run(format!(
            "cannot write {}: {error}; name another file with -o",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests;
