//! [`open`]: the file of `-r`, or stdin as a pipe that a signal ends.
//!
//! It must never hang on a pipe that stays silent after Ctrl-C: the result so far is what the user wants then.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use crate::failure::Failure;
use crate::stop::Stop;

/// Bytes of a read from the pipe.
const CHUNK_LEN: usize = 1 << 18;
/// Chunks that wait at most.
const CHUNKS: usize = 8;
/// How long a signal may go unheeded.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Opens it.
///
/// # Errors
/// [`Failure::Usage`] with the file's name and the system's words, or when `-` is a terminal.
pub(crate) fn open<'a>(path: &Path, stop: &'a Stop) -> Result<Box<dyn Read + Send + 'a>, Failure> {
    if path.as_os_str() == "-" {
        if io::stdin().is_terminal() {
            return Err(Failure::Usage(
                "-r -: stdin is a terminal; give it a capture: `tcpdump -w - | syncline diagnose -r -`".into(),
            ));
        }
        return Ok(Box::new(Pipe::reading(io::stdin(), stop)));
    }
    let failed = |error: io::Error| Failure::Usage(format!("-r {}: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(Failure::Usage(format!(
            "-r {}: it is a directory; name the capture in it",
            path.display()
        )));
    }
    Ok(Box::new(file))
}

/// The pipe's bytes, read by a thread.
struct Pipe<'a> {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    used: usize,
    stop: &'a Stop,
}

impl<'a> Pipe<'a> {
    /// A thread reads, and ends with the process: no signal interrupts a read that waits.
    fn reading(mut from: impl Read + Send + 'static, stop: &'a Stop) -> Self {
        let (sender, chunks) = sync_channel(CHUNKS);
        thread::spawn(move || {
            loop {
                let mut chunk = vec![0; CHUNK_LEN];
                let read = from.read(&mut chunk).map(|len| {
                    chunk.truncate(len);
                    chunk
                });
                let is_last = read.as_ref().map_or(true, Vec::is_empty);
                if sender.send(read).is_err() || is_last {
                    return;
                }
            }
        });
        Self {
            chunks,
            chunk: Vec::new(),
            used: 0,
            stop,
        }
    }
}

impl Read for Pipe<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.used == self.chunk.len() {
            if self.stop.is_asked() {
                return Ok(0);
            }
            match self.chunks.recv_timeout(LOOK_EVERY) {
                Ok(chunk) => {
                    self.chunk = chunk?;
                    self.used = 0;
                    if self.chunk.is_empty() {
                        return Ok(0);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
        let rest = &self.chunk[self.used..];
        let len = rest.len().min(into.len());
        into[..len].copy_from_slice(&rest[..len]);
        self.used += len;
        Ok(len)
    }
}
