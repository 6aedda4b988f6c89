//! [`HostId`]: the name of a host in its world.
//!
//! It must never mean anything in another world.

/// A host of a world, in the order in which they were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub u16);
