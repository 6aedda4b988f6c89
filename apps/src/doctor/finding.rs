//! [`Finding`]: one thing about the machine, and the commands that change it; [`Report`]: all of them.
//!
//! It must never name a fault without a fix.

use std::fmt;

use serde::Serialize;

use super::request::Request;
use crate::failure::Failure;

/// The meaning of a finding for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing has to be done.
    Note,
    /// It runs, but slower or less steadily.
    Warning,
    /// It will not run.
    Fault,
}

/// One thing about the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// Which check found it. Names are stable.
    pub(super) check: &'static str,
    /// Its meaning.
    pub(super) level: Level,
    /// The finding.
    pub(super) text: String,
    /// Commands that change it, or what to do in words.
    pub(super) fix: Vec<String>,
}

impl Finding {
    /// Something that is as it should be.
    pub(super) fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, text.into(), Vec::new())
    }

    /// Something worth knowing.
    pub(super) fn note(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(check, Level::Note, text.into(), Vec::new())
    }

    /// Something that makes a run slower.
    pub(super) fn warning(
        check: &'static str,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::new(check, Level::Warning, text.into(), vec![fix.into()])
    }

    /// Something without which the run fails.
    pub(super) fn fault(
        check: &'static str,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::new(check, Level::Fault, text.into(), vec![fix.into()])
    }

    /// The same with another command.
    pub(super) fn or(mut self, fix: impl Into<String>) -> Self {
        self.fix.push(fix.into());
        self
    }

    fn new(check: &'static str, level: Level, text: String, fix: Vec<String>) -> Self {
        Self {
            check,
            level,
            text,
            fix,
        }
    }
}

/// All findings. Field names are stable (docs/guide/doctor.md).
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The command that was checked; `null` without one.
    command: Option<String>,
    /// The worst of the findings.
    verdict: Level,
    findings: Vec<Finding>,
}

impl Report {
    /// The report on these findings.
    pub(super) fn new(request: Option<&Request>, findings: Vec<Finding>) -> Self {
        let worst = findings.iter().map(|finding| finding.level).max();
        Self {
            command: request.map(|request| request.command.clone()),
            verdict: worst.unwrap_or(Level::Ok),
            findings,
        }
    }

    /// Whether nothing is missing.
    ///
    /// # Errors
    /// [`Failure::Gate`] with the number of faults.
    pub(super) fn gate(&self) -> Result<(), Failure> {
        let is_fault = |finding: &&Finding| finding.level == Level::Fault;
        match self.findings.iter().filter(is_fault).count() {
            0 => Ok(()),
            1 => Err(Failure::Gate(
                "1 fault: its fix stands above, after `fix:`".into(),
            )),
            faults => Err(Failure::Gate(format!(
                "{faults} faults: their fixes stand above, after `fix:`"
            ))),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.findings.iter().enumerate() {
            let mark = match finding.level {
                Level::Ok => "ok     ",
                Level::Note => "note   ",
                Level::Warning => "WARNING",
                Level::Fault => "FAULT  ",
            };
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{mark}  {:<10} {}", finding.check, finding.text)?;
            for (i, fix) in finding.fix.iter().enumerate() {
                let word = if i == 0 { "fix:" } else { "or: " };
                write!(f, "\n{:20} {word} {fix}", "")?;
            }
        }
        if let Some(command) = &self.command {
            let would = match self.verdict {
                Level::Ok | Level::Note => "would run on this machine",
                Level::Warning => {
                    "would run on this machine, slower or less steadily than it could"
                }
                Level::Fault => "would fail on this machine",
            };
            write!(f, "\n`{command}` {would}")?;
        }
        Ok(())
    }
}
