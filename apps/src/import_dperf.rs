//! `syncline import-dperf`: a dperf configuration as command lines of ours, and everything in it that they can't keep.
//!
//! It must never drop a keyword silently, and never guess what a malformed line means.

// The file, statement by statement.
mod configuration;
// The keywords.
mod statements;
// Ranges of addresses.
mod ranges;
// The command lines.
mod translation;

use std::fmt;
use std::path::PathBuf;

use self::translation::Translation;
use crate::console;
use crate::failure::Failure;

/// Translate a dperf configuration into command lines
///
/// Prints a shell script: a comment for every keyword or meaning that can't be kept, with the reason, then one command line for each
/// `port`. Nothing is started. Exit status: 0 all of it was kept, 1 something was lost, 2 the file isn't a dperf configuration.
/// `syncline import-dperf client.conf`
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ImportArgs {
    /// The configuration, as `dperf -c` takes it
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Prints the translation.
///
/// # Errors
/// [`Failure::Usage`] for a file that isn't a dperf configuration, [`Failure::Run`] for one that can't be read,
/// [`Failure::Gate`] when something was lost.
pub(crate) fn run(args: &ImportArgs) -> Result<(), Failure> {
    let name = args.file.display();
    let bytes = std::fs::read(&args.file)
        .map_err(|error| Failure::Run(format!("cannot read {name}: {error}")))?;
    let text = String::from_utf8_lossy(&bytes);
    let configuration =
        statements::parse(&text).map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    let translation = Translation::of(&configuration);
    console::result(&translation)?;
    match translation.lost.len() {
        0 => Ok(()),
        1 => Err(Failure::Gate(
            "1 meaning was lost; the first lines of the output name it".into(),
        )),
        n => Err(Failure::Gate(format!(
            "{n} meanings were lost; the first lines of the output name them"
        ))),
    }
}

/// Why a file isn't a dperf configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NotDperf {
    /// The line, from 1; `None` when something is missing.
    line: Option<usize>,
    /// The fault.
    why: String,
}

impl fmt::Display for NotDperf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.why),
            None => write!(f, "not a dperf configuration: {}", self.why),
        }
    }
}

#[cfg(test)]
mod tests;
