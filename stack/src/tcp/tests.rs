//! Tests of a whole connection, by subject.

mod handshake;
mod pipe;
