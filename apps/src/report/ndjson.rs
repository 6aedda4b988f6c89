//! [`NdjsonFile`]: the file of `--ndjson`, a JSON object for each second of a run.
//!
//! It must never end a run: a file that can't be written is a fault in the result.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use serde::Serialize;

use crate::failure::Failure;

/// The file, as far as it can be written.
#[derive(Debug)]
pub(crate) struct NdjsonFile(Option<BufWriter<File>>);

impl NdjsonFile {
    /// The file of this name, made anew; without a name nothing is written.
    ///
    /// # Errors
    /// [`Failure::Usage`] when it can't be made.
    pub(crate) fn create(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Ok(Self(None));
        };
        let file = File::create(path)
            .map_err(|error| Failure::Usage(format!("--ndjson {}: {error}", path.display())))?;
        Ok(Self(Some(BufWriter::new(file))))
    }

    /// Writes one line. When that fails, the fault is returned, once, and nothing more is written.
    pub(crate) fn write(&mut self, line: &impl Serialize) -> Option<String> {
        let file = self.0.as_mut()?;
        let text = serde_json::to_string(line).unwrap_or_default();
        let error = writeln!(file, "{text}").and_then(|()| file.flush()).err()?;
        self.0 = None;
        Some(format!("--ndjson is not whole: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_takes_nothing_is_a_fault_once() {
        let mut file = NdjsonFile::create(Some(Path::new("/dev/full"))).expect("opens");
        let fault = file.write(&1).expect("a fault");
        assert!(fault.contains("--ndjson is not whole"), "{fault}");
        assert_eq!(file.write(&2), None);
        assert!(NdjsonFile::create(Some(Path::new("/nowhere/x"))).is_err());
    }
}
