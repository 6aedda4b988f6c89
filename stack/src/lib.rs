//! Syncline's TCP endpoint. Modules stand in the order in which a frame meets them.
#![forbid(unsafe_code)]

// The seam to whatever carries frames: bursts of owned frames, offloads by request.
pub mod nic;
// Instants as arguments; the stack never reads a clock.
pub mod time;
// Huge-page-advised zeroed memory as typed slices: what tables and slabs live in.
pub mod memory;
// The connection table: which connection, embryo or TIME-WAIT record a segment belongs to.
pub mod conn;
// TCP itself: numbers and rules, no buffers.
pub mod tcp;
