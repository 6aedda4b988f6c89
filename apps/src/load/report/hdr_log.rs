//! `--hdr-log`: the times of each second as an HdrHistogram log (V2), which the tools of that family read.
//!
//! It must never be written while the run lasts.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2Serializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use workload::load::Interval;

use crate::failure::Failure;

/// The tags of the two series of an open loop.
const FROM_BEGINNING: &str = "operation";
const FROM_SCHEDULE: &str = "scheduled";
/// The divisor of the maximum of a line: ns become ms, as the readers of logs expect.
const MAX_DIVISOR: f64 = 1e6;

/// Writes one line a second and series.
///
/// # Errors
/// [`Failure::Run`] when the file does not take it.
pub(super) fn write(
    path: &Path,
    started: SystemTime,
    intervals: &[(Duration, Interval)],
) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::Run(format!("--hdr-log {}: {error}", path.display()))
    };
    let file = File::create(path).map_err(|error| failed(&error))?;
    let mut file = BufWriter::new(file);
    let mut serializer = V2Serializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .with_start_time(started)
        .with_base_time(started)
        .with_max_value_divisor(MAX_DIVISOR)
        .begin_log_with(&mut file, &mut serializer)
        .map_err(|error| failed(&error))?;
    let mut began = Duration::ZERO;
    for (ended, interval) in intervals {
        for (tag, measure) in [
            (FROM_BEGINNING, &interval.operation),
            (FROM_SCHEDULE, &interval.scheduled),
        ] {
            if measure.counts().0 > 0 {
                let histogram = measure.times().histogram();
                let length = ended.saturating_sub(began);
                log.write_histogram(&histogram, began, length, Tag::new(tag))
                    .map_err(|error| failed(&format!("{error:?}")))?;
            }
        }
        began = *ended;
    }
    file.flush().map_err(|error| failed(&error))
}
