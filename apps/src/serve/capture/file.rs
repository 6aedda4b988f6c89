//! [`Opening`] and [`Sink`]: what `--pcap` names, opened and written without ever waiting for a reader for good.
//!
//! It must never block: a FIFO may have no reader, or one that has stopped reading, and the end of the run must come all
//! the same.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Shared;
use crate::clock;

/// How often a writer that waits looks whether the run is over.
const LOOK: Duration = Duration::from_millis(50);
/// After the end of the run, a reader that has taken nothing for so long takes nothing any more.
const GIVE_UP: Duration = Duration::from_secs(2);

/// The kind of file at a path.
#[derive(Debug)]
pub(super) enum Opening {
    /// It takes bytes.
    Open(File),
    /// A FIFO without a reader yet.
    NoReader(PathBuf),
}

impl Opening {
    /// Creates the file, or opens what is there.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        match open(path) {
            Ok(file) => Ok(Self::Open(file)),
            Err(error) if is_without_reader(path, &error) => Ok(Self::NoReader(path.to_owned())),
            Err(error) => Err(error),
        }
    }

    /// The file, once it has a reader. `None` when the run was over before.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn wait(self, shared: &Shared) -> io::Result<Option<File>> {
        let path = match self {
            Self::Open(file) => return Ok(Some(file)),
            Self::NoReader(path) => path,
        };
        loop {
            match open(&path) {
                Ok(file) => return Ok(Some(file)),
                Err(error) if !is_without_reader(&path, &error) => return Err(error),
                Err(_) if shared.ended.load(Ordering::Acquire) => return Ok(None),
                Err(_) => clock::sleep(LOOK),
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
}

fn is_without_reader(path: &Path, error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ENXIO as i32)
        && path.metadata().is_ok_and(|file| file.file_type().is_fifo())
}

/// Takes bytes, and waits while the other end is full: as long as the run goes on, and [`GIVE_UP`] at its end.
#[derive(Debug)]
pub(super) struct Sink {
    file: File,
    shared: Arc<Shared>,
    /// It has refused once: buffers above try again when they are dropped, and none waits twice.
    has_failed: bool,
}

impl Sink {
    pub(super) fn new(file: File, shared: Arc<Shared>) -> Self {
        Self {
            file,
            shared,
            has_failed: false,
        }
    }

    /// Writes, and waits while the other end is full.
    fn write_or_wait(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let since = Instant::now();
        loop {
            match self.file.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    return Err(io::Error::new(error.kind(), "its reader is gone"));
                }
                done => return done,
            }
            if self.shared.ended.load(Ordering::Acquire) && since.elapsed() >= GIVE_UP {
                let reason = "its reader took nothing more at the end";
                return Err(io::Error::new(ErrorKind::TimedOut, reason));
            }
            let mut waits = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
            let look = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::ZERO);
            // Whatever it says, the next write says it too.
            let _ = poll(&mut waits, look);
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.has_failed {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let done = self.write_or_wait(bytes);
        self.has_failed |= matches!(&done, Err(error) if error.kind() != ErrorKind::Interrupted);
        done
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
