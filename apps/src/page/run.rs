//! [`Run`]: what a page shows of one result, whatever command it comes from.
//!
//! It must never hold a number that the result doesn't.

use std::path::Path;

use serde_json::Value;

use super::facts::{Check, Fact, Limit};
use super::latency::{Histogram, Percentiles};
use super::series::Series;
use super::tables::{Matrix, Reasons, Rows};
use super::{facts, json, latency, series, tables};
use crate::failure::Failure;

/// One result.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// The file's name, without its ending.
    pub(super) name: String,
    /// The command: `serve`, `bench connect`, `load`, `flood`.
    pub(super) kind: String,
    /// The link, in words.
    pub(super) link: Option<String>,
    /// The program and the machine.
    pub(super) conditions: Vec<Fact>,
    /// The figures that matter most.
    pub(super) summary: Vec<Fact>,
    /// The conditions of a good result.
    pub(super) checks: Vec<Check>,
    /// The limit of the run.
    pub(super) limit: Option<Limit>,
    /// Series by time.
    pub(super) series: Vec<Series>,
    /// Percentiles, one set for each thing that was timed.
    pub(super) percentiles: Vec<Percentiles>,
    /// Histograms of the same.
    pub(super) histograms: Vec<Histogram>,
    /// Outcomes by target.
    pub(super) matrices: Vec<Matrix>,
    /// Why something failed or ended, counted.
    pub(super) reasons: Vec<Reasons>,
    /// Workers, listeners.
    pub(super) rows: Vec<Rows>,
    /// Faults, in words.
    pub(super) faults: Vec<String>,
    /// Warnings, in words.
    pub(super) notes: Vec<String>,
    /// Counters that aren't 0.
    pub(super) counters: Vec<Reasons>,
}

impl Run {
    /// The result in a file.
    ///
    /// # Errors
    /// [`Failure`]: the file can't be read, or holds no result.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let values = json::read(path)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::new(&name, &values).ok_or_else(|| {
            Failure::Usage(format!(
                "{} is not a result of syncline: it names no command; expected what serve, bench, load or flood print with --json",
                path.display()
            ))
        })
    }

    /// A result from its objects: of several the last is the summary, and those before it are what happened by the second.
    /// `None` when the summary names no command.
    pub(super) fn new(name: &str, values: &[Value]) -> Option<Self> {
        let (value, lines) = values.split_last()?;
        Some(Self {
            name: name.to_owned(),
            kind: facts::kind(value)?,
            link: json::text(value, &["/link/name", "/link"]).map(str::to_owned),
            conditions: facts::conditions(value),
            summary: facts::summary(value),
            checks: facts::checks(value),
            limit: facts::limit(value),
            series: series::of(value, lines),
            percentiles: latency::percentiles(value),
            histograms: latency::histograms(value),
            matrices: tables::matrices(value),
            reasons: tables::reasons(value),
            rows: tables::rows(value),
            faults: json::texts(value, &["/faults"]),
            notes: json::texts(value, &["/notes"]),
            counters: tables::counters(value),
        })
    }

    /// Whether everything that was checked holds.
    pub(super) fn is_good(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }
}
