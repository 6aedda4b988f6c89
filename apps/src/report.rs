//! The envelope of every result: what ran, where, when, and on which link.
//!
//! It must never guess: what is not known is left out.

mod envelope;

pub(crate) use envelope::Envelope;
