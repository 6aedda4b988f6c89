//! What C code prints by itself while EAL starts: kept off stdout, which is for results.
//!
//! Called by: [`super::Eal::init`]. It must never leave the streams of the process turned away: the guard turns them back.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// Streams of C: stdout and stderr.
const STREAMS: [i32; 2] = [1, 2];

/// stdout and stderr of the whole process go to a file in memory as long as this exists.
#[derive(Debug)]
pub(super) struct Aside {
    said: File,
    /// Where the streams lead, in their order.
    kept: [OwnedFd; 2],
}

impl Aside {
    /// Turns both streams away; `None` when the kernel has no descriptor left, and then they stay.
    pub(super) fn start() -> Option<Self> {
        flush();
        // SAFETY: the name is NUL-terminated; the new descriptor is ours alone.
        let said = unsafe {
            let fd = libc::memfd_create(c"syncline-eal".as_ptr(), libc::MFD_CLOEXEC);
            (fd >= 0).then(|| File::from_raw_fd(fd))?
        };
        let kept = [keep(STREAMS[0])?, keep(STREAMS[1])?];
        let aside = Self { said, kept };
        for stream in STREAMS {
            // SAFETY: both are open; stdout and stderr are replaced, which every user of them survives. `drop` undoes it.
            unsafe { libc::dup2(aside.said.as_raw_fd(), stream) };
        }
        Some(aside)
    }

    /// Turns the streams back, and says what came meanwhile.
    pub(super) fn end(mut self) -> String {
        self.turn_back();
        let mut text = Vec::new();
        // A file in memory: reading fails at most when memory does, and then there is less to say.
        let _ = self.said.rewind();
        let _ = self.said.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    fn turn_back(&self) {
        flush();
        for (stream, kept) in STREAMS.into_iter().zip(&self.kept) {
            // SAFETY: both are open.
            unsafe { libc::dup2(kept.as_raw_fd(), stream) };
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.turn_back();
    }
}

/// A second descriptor of `stream`.
fn keep(stream: i32) -> Option<OwnedFd> {
    // SAFETY: duplicates a descriptor, or fails on a closed one; the new one is ours alone.
    unsafe {
        let fd = libc::fcntl(stream, libc::F_DUPFD_CLOEXEC, 3);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))
    }
}

/// Writes out what C's streams hold back.
fn flush() {
    // SAFETY: null stands for all streams.
    unsafe { libc::fflush(core::ptr::null_mut()) };
}

/// What EAL's option parser complained of (it begins lines with the program's name), without the usage that follows.
pub(super) fn complaint(said: &str) -> Option<String> {
    let complaints = said
        .lines()
        .take_while(|line| !line.starts_with("Usage:"))
        .filter_map(|line| line.strip_prefix("syncline: "));
    let mut complaints: Vec<&str> = complaints.collect();
    complaints.dedup();
    (!complaints.is_empty()).then(|| complaints.join("; "))
}

/// The lines of `said` that are not EAL's usage.
pub(super) fn without_usage(said: &str) -> impl Iterator<Item = &str> {
    said.lines()
        .take_while(|line| !line.starts_with("Usage:"))
        .filter(|line| !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "syncline: unrecognized option '--nonsense'\nsyncline: unrecognized option '--nonsense'\n\n\
                        Usage: syncline [options]\n\nEAL common options:\n  -c COREMASK\n";

    #[test]
    fn the_complaint_is_found_and_the_usage_is_not() {
        let complaint = complaint(SAID).expect("there is one");
        assert_eq!(complaint, "unrecognized option '--nonsense'");
        assert_eq!(super::complaint("Usage: syncline [options]\n"), None);
        assert_eq!(without_usage(SAID).count(), 2);
    }
}
