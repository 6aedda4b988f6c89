//! Memory of this process.
//!
//! It must never count what others take.

use stack::memory::ProcessMemory;

/// Resident memory of this process, in bytes; `None` where the system doesn't say.
pub(crate) fn resident_bytes() -> Option<u64> {
    let memory = ProcessMemory::parse(&std::fs::read_to_string(ProcessMemory::PATH).ok()?)?;
    Some(memory.resident_bytes)
}
