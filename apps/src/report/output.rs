//! [`OutputArgs`]: where a result goes.
//!
//! It must never begin a run whose result can't be written.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::console;
use crate::failure::Failure;

/// The flags of a result.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct OutputArgs {
    /// Print the result as JSON in place of the table
    #[arg(short = 'J', long)]
    json: bool,

    /// Write the result as JSON to a file, and print the table all the same
    #[arg(long, value_name = "FILE")]
    json_file: Option<PathBuf>,
}

impl OutputArgs {
    /// Makes the file, before the run.
    ///
    /// # Errors
    /// [`Failure::Usage`] when it can't be made.
    pub(crate) fn prepare(&self) -> Result<(), Failure> {
        match &self.json_file {
            Some(path) => write(path, "").map_err(Failure::Usage),
            None => Ok(()),
        }
    }

    /// Prints a result, and writes the file.
    ///
    /// # Errors
    /// [`Failure::Run`] when stdout or the file takes no more.
    pub(crate) fn print(&self, report: &(impl Display + Serialize)) -> Result<(), Failure> {
        let printed = console::report(report, self.json);
        if let Some(path) = &self.json_file {
            let mut text = console::json(report)?;
            text.push('\n');
            write(path, &text).map_err(Failure::Run)?;
        }
        printed
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| {
        format!(
            "--json-file {}: {error}; choose another file",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(path: &Path) -> OutputArgs {
        OutputArgs {
            json: false,
            json_file: Some(path.to_owned()),
        }
    }

    #[test]
    fn the_file_holds_the_result_and_a_bad_place_is_refused_before_the_run() {
        let path =
            std::env::temp_dir().join(format!("syncline-{}-output.json", std::process::id()));
        let output = to(&path);
        output.prepare().expect("a file");
        output.print(&7).expect("printed");
        let text = std::fs::read_to_string(&path).expect("the file");
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(text, "7\n");
        let refused = to(Path::new("/nowhere/x")).prepare();
        assert!(
            matches!(refused, Err(Failure::Usage(text)) if text.contains("--json-file /nowhere/x"))
        );
        let full = to(Path::new("/dev/full")).print(&7);
        assert!(matches!(full, Err(Failure::Run(_))));
    }
}
