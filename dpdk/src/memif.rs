//! Keeps pollers out of a memif link whose peer vanishes.
//!
//! memif unmaps the shared rings on DPDK's interrupt thread as soon as the peer is gone; a poller inside a burst then
//! reads unmapped memory and the process dies (testpmd's as well). DPDK has no callback for it, but the driver logs a
//! line on that thread *before* it unmaps, and DPDK's logger is ours. So:
//!
//! 1. the line arrives in [`on_log_line`] on the interrupt thread: the gate closes, and we wait there until no memif
//!    queue is inside a burst;
//! 2. the driver clears its own "connected" flag, unmaps, and logs "Disconnected": the gate opens. From then on a burst
//!    sees the flag and returns 0 until the peer is back.
//!
//! One case remains: a peer that breaks the protocol on the control channel (an unknown or unexpected message) makes the
//! driver disconnect without that line, and an interrupt thread that is not scheduled for [`REOPEN_AFTER_MS`] between the
//! two steps finds the gate open again.
//!
//! It must never block a poller.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The gate reopens after this even if the driver never said that it is done: a client that was turned away logs the
/// first line but not the second.
const REOPEN_AFTER_MS: u64 = 50;
/// The interrupt thread waits this long at most for pollers to leave their bursts. A burst takes microseconds; the rest
/// is for pollers that lost their CPU.
const QUIESCE: Duration = Duration::from_secs(1);

/// 0 while the gate is open, else the cycle counter at which it closed. One gate for all memif ports: the log line does
/// not name its port, and the gate is closed for microseconds.
static CLOSED_AT: AtomicU64 = AtomicU64::new(0);
/// Whether each memif queue is inside a burst.
static BUSY: Mutex<Vec<Arc<Busy>>> = Mutex::new(Vec::new());

/// On a cache line of its own: the poller writes it twice per burst.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Busy(AtomicBool);

/// One queue's pass through the gate.
#[derive(Debug)]
pub(crate) struct QueueGate {
    busy: Arc<Busy>,
}

impl QueueGate {
    pub(crate) fn new() -> Self {
        let busy = Arc::new(Busy::default());
        BUSY.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&busy));
        Self { busy }
    }

    /// Runs one burst, or returns 0 while the gate is closed.
    #[inline]
    pub(crate) fn burst(&mut self, burst: impl FnOnce() -> u16) -> u16 {
        // SeqCst on both sides: either the hook sees that we are busy, or we see that the gate is closed.
        self.busy.0.store(true, Ordering::SeqCst);
        let closed_at = CLOSED_AT.load(Ordering::SeqCst);
        let n = if closed_at == 0 { burst() } else { 0 };
        self.busy.0.store(false, Ordering::Release);
        if closed_at != 0 {
            reopen_when_overdue(closed_at);
        }
        n
    }
}

impl Drop for QueueGate {
    fn drop(&mut self) {
        let mut all = BUSY.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|busy| !Arc::ptr_eq(busy, &self.busy));
    }
}

#[cold]
fn reopen_when_overdue(closed_at: u64) {
    // SAFETY: reads a number that EAL measured at start.
    let hz = unsafe { dpdk_sys::rte_get_tsc_hz() };
    if crate::cycles().wrapping_sub(closed_at) > hz / 1000 * REOPEN_AFTER_MS {
        let _ = CLOSED_AT.compare_exchange(closed_at, 0, Ordering::SeqCst, Ordering::Relaxed);
    }
}

/// Looks at one line of DPDK's log, on the thread that logs it.
pub(crate) fn on_log_line(line: &str) {
    if !said(line).starts_with("memif_") {
        return;
    }
    if line.contains("Invalid message size") || line.contains("Disconnect received") {
        close();
    } else if line.contains("Disconnected, id") {
        CLOSED_AT.store(0, Ordering::SeqCst);
    }
}

/// A line without the name of its log type, which DPDK puts in front from 23.11 on (`MEMIF_DRIVER: memif_…`).
fn said(line: &str) -> &str {
    let is_name = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    match line.split_once(": ") {
        Some((name, rest)) if is_name(name) => rest,
        _ => line,
    }
}

fn close() {
    CLOSED_AT.store(crate::cycles().max(1), Ordering::SeqCst);
    let all = BUSY.lock().unwrap_or_else(PoisonError::into_inner);
    let deadline = Instant::now() + QUIESCE;
    for busy in all.iter() {
        while busy.0.load(Ordering::SeqCst) && Instant::now() < deadline {
            std::thread::yield_now();
        }
    }
    // Counted from here: waiting for pollers does not use up the driver's time.
    CLOSED_AT.store(crate::cycles().max(1), Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_release_are_understood() {
        for line in [
            "memif_msg_receive(): Invalid message size = 0",
            "MEMIF_DRIVER: memif_msg_receive(): Invalid message size = 0",
        ] {
            assert!(said(line).starts_with("memif_msg_receive()"), "{line}");
        }
        assert_eq!(said("EAL: memif"), "memif");
        assert_eq!(said("no name: memif"), "no name: memif");
    }
}
