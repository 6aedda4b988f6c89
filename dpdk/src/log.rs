//! DPDK's log lines: errors go to stderr, and a failed call hands its lines to the error that it becomes.
//!
//! It must never be reached by the packet path (drivers log errors only) and never call back into DPDK's logger.

use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_void};
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dpdk_sys as sys;

/// Lines kept for errors. A failing call of DPDK logs a handful.
const KEPT_LINES: usize = 64;

/// Parts of lines that drivers log as errors although nothing failed: net_tap on a kernel without the multiq qdisc (only
/// its flow rules need it), and drivers without a secondary process to notify.
const HARMLESS: &[&str] = &[
    "Specified qdisc kind is unknown",
    "multiq qdisc",
    "Disabling rte flow support",
    "Failed to send start req to secondary",
    "Failed to register mp action callback",
];

struct Line {
    number: u64,
    level: u32,
    text: String,
}

impl Line {
    fn is_harmless(&self) -> bool {
        HARMLESS.iter().any(|part| self.text.contains(part))
    }
}

struct Tail {
    lines: VecDeque<Line>,
    next_number: u64,
    captures: u32,
}

static TAIL: Mutex<Tail> = Mutex::new(Tail {
    lines: VecDeque::new(),
    next_number: 0,
    captures: 0,
});

fn tail() -> MutexGuard<'static, Tail> {
    // The tail is valid after every statement, so a panic of another thread does not spoil it.
    TAIL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes DPDK log through us. Before `rte_eal_init`, once.
pub(crate) fn open() {
    // SAFETY: `write` is a plain function that lives as long as the process; it unwinds never (see there).
    unsafe { sys::sl_log_open(Some(write)) };
}

/// Called by glibc for each line that DPDK logs (it flushes line by line), on the thread that logs.
unsafe extern "C" fn write(_cookie: *mut c_void, text: *const c_char, bytes: usize) -> isize {
    // SAFETY: glibc hands over `bytes` readable bytes (fopencookie(3)).
    let text = unsafe { core::slice::from_raw_parts(text.cast::<u8>(), bytes) };
    let text = String::from_utf8_lossy(text);
    crate::memif::on_log_line(&text);
    // SAFETY: reads a thread-local variable of the message being logged.
    let level = u32::try_from(unsafe { sys::rte_log_cur_msg_loglevel() }).unwrap_or(0);
    if level <= sys::RTE_LOG_NOTICE {
        record(level, text.trim_end());
    }
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

/// Makes the libraries of drivers that print to stderr by themselves (libbpf and libxdp, for AF_XDP) log through us, too.
/// After `rte_eal_init`, which loads them.
pub(crate) fn open_libraries() {
    // SAFETY: `write_library` is a plain function that lives as long as the process; it unwinds never (see there).
    unsafe { sys::sl_library_log_open(Some(write_library)) };
}

/// Called for each line of such a library, on the thread that logs. Their levels are 0 for warnings, then what is not needed.
unsafe extern "C" fn write_library(level: i32, text: *const c_char) {
    if level == 0 {
        // SAFETY: the shim hands over a NUL-terminated line.
        let text = unsafe { CStr::from_ptr(text) };
        record(sys::RTE_LOG_WARNING, text.to_string_lossy().trim_end());
    }
}

fn record(level: u32, text: &str) {
    if text.is_empty() {
        return;
    }
    let mut tail = tail();
    // A message above the level of errors is followed by the end of the process: it could not be said later.
    if tail.captures == 0 || level <= sys::RTE_LOG_CRIT {
        if level <= sys::RTE_LOG_ERR {
            to_stderr(text);
        }
        return;
    }
    if tail.lines.len() == KEPT_LINES {
        tail.lines.pop_front();
    }
    let number = tail.next_number;
    tail.next_number += 1;
    tail.lines.push_back(Line {
        number,
        level,
        text: text.to_owned(),
    });
}

/// One line of log for the user. A closed stderr is no reason to fail.
pub(crate) fn to_stderr(text: &str) {
    let _ = writeln!(std::io::stderr(), "dpdk: {text}");
}

/// The lines that DPDK logs while this exists. Dropped without [`Capture::failure`], errors among them go to stderr.
pub(crate) struct Capture {
    first: u64,
}

impl Capture {
    pub(crate) fn start() -> Self {
        let mut tail = tail();
        tail.captures += 1;
        Self {
            first: tail.next_number,
        }
    }

    /// Why the call failed: DPDK's own lines, or `errno` in words when it said nothing.
    pub(crate) fn failure(self, errno: i32) -> String {
        let mut tail = tail();
        let mut said = Vec::new();
        tail.lines.retain(|line| {
            let ours = line.number >= self.first && line.level <= sys::RTE_LOG_WARNING;
            if ours && !line.is_harmless() && !said.contains(&line.text) {
                said.push(line.text.clone());
            }
            !ours
        });
        let errno = crate::error::errno_text(errno);
        if said.is_empty() {
            errno
        } else {
            format!("{errno} [{}]", said.join("; "))
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let mut tail = tail();
        tail.captures -= 1;
        for line in &tail.lines {
            if line.number >= self.first && line.level <= sys::RTE_LOG_ERR && !line.is_harmless() {
                to_stderr(&line.text);
            }
        }
        let first = self.first;
        tail.lines.retain(|line| line.number < first);
    }
}

/// Sets the level of the log types that match `pattern` (as `--log-level` does).
pub(crate) fn set_level(pattern: &CStr, level: u32) {
    // SAFETY: `pattern` is a NUL-terminated string that DPDK copies.
    unsafe { sys::rte_log_set_level_pattern(pattern.as_ptr(), level) };
}
