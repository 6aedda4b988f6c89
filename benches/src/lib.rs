//! Parts of more than one benchmark: filled tables, random flows, the one-core loop, and the lower bounds that they are
//! compared with.
//!
//! It must never be linked into the product.
#![forbid(unsafe_code)]

// Connection tables: how they are filled, and the bare loop over their memory.
pub mod table;
// The SYNs that the loop receives.
pub mod syn_stream;
// A NIC that is only memory.
pub mod loop_nic;
// The whole worker on that NIC, by scenario.
pub mod worker_loop;
// One end of a link between two workers on one core.
pub mod pair_nic;
// Two whole workers on such a link, with an app each.
pub mod conversation_loop;
// Bounds on the cost of a lookup: the worker with a full table, beside a bare loop over the same table.
pub mod bound;
// Several runs of one figure.
pub mod spread;

/// Our MAC address on the loop.
pub const LOCAL_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
