//! The queues of connections: bytes to send, bytes received in order, bytes behind a gap. All of a worker's queues take
//! their places in one slab, [`chunks::Chunks`], which is the hard budget of frames that connections keep.
//!
//! It must never know a connection: a queue is a few plain numbers that lie in its owner's record.

// The nodes of all queues below: the budget of kept frames.
pub mod chunks;
// Which claims on a place are refused first, and what is lacking.
pub mod claim;
// Few bytes share a frame.
mod compact;
// Items that a connection is given to send.
pub mod item;
// Data received behind a gap.
pub mod out_of_order;
// Bytes that are computed.
pub mod pattern;
// Data received in order.
pub mod rx_queue;
// Bytes that are copied once.
pub mod statics;
// Data to send.
pub mod tx_queue;
