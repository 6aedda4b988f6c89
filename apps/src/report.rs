//! The envelope of every result: what ran, where, when, and on which link.
//!
//! It must never guess: what is not known is left out.

// Where a result comes from.
mod envelope;
// The file of a line a second.
mod ndjson;
// Where a result goes.
mod output;
// Why operations failed, counted.
mod reasons;

pub(crate) use envelope::Envelope;
pub(crate) use ndjson::NdjsonFile;
pub(crate) use output::OutputArgs;
pub(crate) use reasons::reasons;
