//! `--pcap-failures`: the frames of the first few failed connections of each kind of failure, from their SYN on.
//!
//! It must never record more than it has taken memory for, and never lose a result because a file could not be written.

// The frames of connections, until they fail or end.
mod recorder;
// The file.
mod file;

pub(super) use file::{FailureFile, FailuresReport};
pub(super) use recorder::{FrameRecording, KeptFailure, Recorder};

/// Failed connections of each kind that are kept.
pub(super) const KEPT_PER_FAULT: u32 = 3;
