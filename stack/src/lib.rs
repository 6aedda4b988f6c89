//! Syncline's TCP endpoint. Modules stand in the order in which a frame meets them.
#![forbid(unsafe_code)]

// The seam to whatever carries frames: bursts of owned frames, offloads by request.
pub mod nic;
// Instants as arguments; the stack never reads a clock.
pub mod time;
// Frames as bytes: views with one bounds check a header, builders with right checksums.
pub mod wire;
// TCP itself: numbers and rules, no buffers.
pub mod tcp;
// When a connection wants to be called: a timing wheel with one node each.
pub mod timer;
