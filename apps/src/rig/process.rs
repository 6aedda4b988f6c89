//! Counters of the system for this process: its memory, and the time in which its threads had no CPU.
//!
//! It must never count what others take.

use std::time::Duration;

use stack::memory::ProcessMemory;

/// Run time in ns, time in ns ready to run without a CPU, number of turns (Linux, Documentation/scheduler/sched-stats.rst).
const SCHEDULER_COUNTS: &str = "/proc/thread-self/schedstat";

/// Resident memory of this process, in bytes; `None` where the system doesn't say.
pub(crate) fn resident_bytes() -> Option<u64> {
    let memory = ProcessMemory::parse(&std::fs::read_to_string(ProcessMemory::PATH).ok()?)?;
    Some(memory.resident_bytes)
}

/// How long the calling thread has been ready to run and had no CPU; `None` where the system doesn't say.
pub(crate) fn thread_cpu_wait() -> Option<Duration> {
    let counts = std::fs::read_to_string(SCHEDULER_COUNTS).ok()?;
    let wait_ns = counts.split_whitespace().nth(1)?.parse().ok()?;
    Some(Duration::from_nanos(wait_ns))
}
