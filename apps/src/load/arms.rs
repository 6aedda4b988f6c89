//! Two arms: clients at one NIC, our own servers at another, the device that is tested between them. What it changed, and what was
//! lost on which side.
//!
//! It must never guess which connection at one arm belongs to which at the other: it says by what they were matched.

// The flags of the second arm.
mod args;
// Handshakes and frames as one arm sees them.
mod observe;
// Both arms beside each other.
mod compare;

pub(super) use args::ServerArmArgs;
pub(super) use compare::{ArmsParts, ArmsReport, ServerRow};
pub(super) use observe::{Arm, ArmRecord, ArmRecords, Observer};

/// The header of HTTP requests that carries the tuple with which a connection began.
pub(super) const TUPLE_HEADER: &str = "Syncline-Tuple";
