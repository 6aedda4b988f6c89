//! What more than one benchmark needs: filled tables, random flows, and the lower bounds that they are compared with.
//!
//! Called by: the criterion benchmarks in `benches/`. It must never be linked into the product.
#![forbid(unsafe_code)]

// Connection tables: how they are filled, and the bare loop over their memory.
pub mod table;
