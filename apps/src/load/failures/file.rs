//! [`FailureFile`]: failed connections as pcapng, each frame with what its connection failed with as a comment.
//!
//! It must never end a run: what can't be written is said in the result.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use diagnose::counted;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, PcapError};
use serde::Serialize;

use super::KEPT_PER_FAULT;
use super::recorder::{CutFrame, Direction, KeptFailure};
use crate::failure::Failure;
use crate::report::reasons;

/// Timestamps are in 10^-9 s (if_tsresol).
const NANOSECONDS: u8 = 9;
/// epb_flags, lowest two bits.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// The file, open before the run begins.
#[derive(Debug)]
pub(in crate::load) struct FailureFile {
    path: PathBuf,
    file: File,
}

/// The contents of the file. Field names are stable.
#[derive(Debug, Serialize)]
pub(in crate::load) struct FailuresReport {
    file: String,
    /// Failed connections in it, by failure.
    connections: BTreeMap<&'static str, u64>,
    frames: u64,
    /// Failed connections among the first of their kind whose frames were not held: too many connections were under way when they
    /// began.
    not_held: u64,
    /// Why the file is not whole.
    error: Option<String>,
}

impl FailureFile {
    /// Creates it.
    ///
    /// # Errors
    /// [`Failure::Usage`] when it can't be created.
    pub(in crate::load) fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|error| {
            Failure::Usage(format!(
                "--pcap-failures {}: can't be written ({error}); choose another file",
                path.display()
            ))
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Writes the first failures of each kind, oldest first. `clock_ns` is now by the clock of the run.
    pub(in crate::load) fn write(
        self,
        (kept, not_held): (Vec<KeptFailure>, u64),
        link: &str,
        clock_ns: u64,
    ) -> FailuresReport {
        let kept = first_of_each(kept);
        let mut connections = BTreeMap::new();
        for failure in &kept {
            *connections.entry(failure.fault().name()).or_insert(0) += 1;
        }
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let epoch = since_1970
            .unwrap_or_default()
            .saturating_sub(Duration::from_nanos(clock_ns));
        let mut frames = 0;
        let written = write_all(self.file, (&kept, link), epoch, &mut frames);
        FailuresReport {
            file: self.path.display().to_string(),
            connections,
            frames: if written.is_ok() { frames } else { 0 },
            not_held,
            error: written.err().map(|error| match error {
                PcapError::IoError(error) => error.to_string(),
                error => error.to_string(),
            }),
        }
    }
}

/// The first ones of each kind, of all workers.
fn first_of_each(mut kept: Vec<KeptFailure>) -> Vec<KeptFailure> {
    kept.sort_by_key(|failure| failure.frames.first().map_or(0, |frame| frame.at_ns));
    let mut counts = BTreeMap::new();
    kept.retain(|failure| {
        let count = counts.entry(failure.fault().name()).or_insert(0);
        *count += 1;
        *count <= KEPT_PER_FAULT
    });
    kept
}

fn write_all(
    file: File,
    (kept, link): (&[KeptFailure], &str),
    epoch: Duration,
    frames: &mut u64,
) -> Result<(), PcapError> {
    let mut pcapng = PcapNgWriter::new(BufWriter::new(file))?;
    pcapng.write_pcapng_block(InterfaceDescriptionBlock {
        linktype: DataLink::ETHERNET,
        snaplen: 0,
        options: vec![
            InterfaceDescriptionOption::IfName(Cow::Owned(link.to_owned())),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ],
    })?;
    let comments: Vec<String> = kept.iter().map(comment).collect();
    let all = kept.iter().zip(&comments);
    let mut rows: Vec<(&CutFrame, &str)> = all
        .flat_map(|(failure, comment)| {
            let frames = failure.frames.iter();
            frames.map(move |frame| (frame, comment.as_str()))
        })
        .collect();
    // Readers expect frames in their order.
    rows.sort_by_key(|(frame, _)| frame.at_ns);
    for (frame, comment) in rows {
        let flags = match frame.direction {
            Direction::In => INBOUND,
            Direction::Out => OUTBOUND,
        };
        pcapng.write_pcapng_block(EnhancedPacketBlock {
            interface_id: 0,
            timestamp: epoch + Duration::from_nanos(frame.at_ns),
            original_len: u32::try_from(frame.frame_len).unwrap_or(u32::MAX),
            data: Cow::Borrowed(&frame.bytes),
            options: vec![
                EnhancedPacketOption::Comment(Cow::Borrowed(comment)),
                EnhancedPacketOption::Flags(flags),
            ],
        })?;
        *frames += 1;
    }
    pcapng.get_mut().flush().map_err(PcapError::IoError)
}

fn comment(failure: &KeptFailure) -> String {
    let mark = &failure.mark;
    let left_out = match failure.left_out {
        0 => String::new(),
        n => format!(", {} in the middle left out", counted(n, "frame")),
    };
    format!(
        "{}: {} > {}{left_out}",
        mark.fault.name(),
        mark.local,
        mark.remote
    )
}

impl FailuresReport {
    /// The faults, in words.
    pub(in crate::load) fn fault(&self) -> Option<String> {
        let error = self.error.as_ref()?;
        Some(format!(
            "--pcap-failures {}: {error}; the file is not whole",
            self.file
        ))
    }
}

impl fmt::Display for FailuresReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = if self.connections.is_empty() {
            "no failed connection".to_owned()
        } else {
            reasons(&self.connections)
        };
        write!(
            f,
            "  failures     {by}: {} in {}",
            counted(self.frames, "frame"),
            self.file
        )?;
        if self.not_held > 0 {
            write!(f, "; {} more were not held", self.not_held)?;
        }
        match &self.error {
            Some(error) => writeln!(f, " !! {error}"),
            None => writeln!(f),
        }
    }
}
