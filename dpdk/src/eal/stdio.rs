//! The messages that EAL prints while it starts, its usage and its complaints: kept off stdout, which is for results, and off
//! stderr, where one line of ours says it.
//!
//! It must never leave C's streams turned away, and never touch the descriptors: what a dying process says must be seen.

use std::ffi::CStr;

use dpdk_sys as sys;

/// C's `stdout` and `stderr` lead into memory as long as this exists. Rust's lead where they did.
#[derive(Debug)]
pub(super) struct StdioAside(());

impl StdioAside {
    /// Turns both streams away; `None` when there is no memory for it, and then they stay.
    ///
    /// Only one may exist at a time.
    pub(super) fn start() -> Option<Self> {
        // SAFETY: sets two variables of the C library; EAL starts once in a process, and no other thread prints through them.
        (unsafe { sys::sl_print_aside_start() } == 0).then_some(Self(()))
    }

    /// Turns the streams back, and says what came meanwhile.
    pub(super) fn end(self) -> String {
        let _turned_back_here = core::mem::ManuallyDrop::new(self);
        // SAFETY: `start` came before; the text is NUL-terminated and ours to free, or null.
        unsafe {
            let said = sys::sl_print_aside_end();
            if said.is_null() {
                return String::new();
            }
            let text = CStr::from_ptr(said).to_string_lossy().into_owned();
            libc::free(said.cast());
            text
        }
    }
}

impl Drop for StdioAside {
    fn drop(&mut self) {
        let _ = Self(()).end();
    }
}

/// The complaint of EAL's option parser (it begins lines with the program's name), without the usage that follows.
pub(super) fn complaint(said: &str) -> Option<String> {
    let complaints = before_usage(said).filter_map(|line| line.strip_prefix("syncline: "));
    let mut complaints: Vec<&str> = complaints.collect();
    complaints.dedup();
    (!complaints.is_empty()).then(|| complaints.join("; "))
}

/// The lines of `said` in front of EAL's usage.
pub(super) fn before_usage(said: &str) -> impl Iterator<Item = &str> {
    said.lines()
        .take_while(|line| !line.starts_with("Usage:"))
        .filter(|line| !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "syncline: unrecognized option '--nonsense'\nsyncline: unrecognized option '--nonsense'\n\n\
                        Usage: syncline [options]\n\nEAL common options:\n  -c COREMASK\n";

    #[test]
    fn the_complaint_is_found_and_the_usage_is_not() {
        let complaint = complaint(SAID).expect("there is one");
        assert_eq!(complaint, "unrecognized option '--nonsense'");
        assert_eq!(super::complaint("Usage: syncline [options]\n"), None);
        assert_eq!(before_usage(SAID).count(), 2);
    }

    #[test]
    fn what_c_prints_is_kept_while_it_is_turned_away() {
        let aside = StdioAside::start().expect("memory");
        // SAFETY: a static NUL-terminated text.
        unsafe { libc::puts(c"a usage".as_ptr()) };
        assert_eq!(aside.end(), "a usage\n");
        drop(StdioAside::start().expect("memory"));
    }
}
