//! [`RuntimeDirectory`]: where EAL keeps its files while this process runs, and that nothing of them stays.
//!
//! It must never remove what another process uses.
//!
//! EAL makes `dpdk/PREFIX` in `$RUNTIME_DIRECTORY`, else in /var/run for root and in `$XDG_RUNTIME_DIR` or /tmp for others
//! (DPDK 22.11, lib/eal/unix/eal_filesystem.c), and fails where it may not. "Root" of a user namespace may not write to
//! /var/run, and the variables of a login survive `su`: then we name a directory that can be written to.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use dpdk_sys as sys;

/// The beginning of our prefixes; the number of the process follows.
const OURS: &str = "syncline-";

/// The first directory that EAL tries.
const VARIABLE: &str = "RUNTIME_DIRECTORY";

/// EAL's directory for this process. Removed when dropped, as far as it is ours.
#[derive(Debug)]
pub(super) struct RuntimeDirectory {
    /// Made by us for this process: EAL's usual place can't be written to.
    own_base: Option<PathBuf>,
    /// The prefix is ours as well, so no other process has files there.
    is_private: bool,
}

impl RuntimeDirectory {
    /// Sees to it that EAL has a place for its directory. `is_private`: the prefix belongs to this process alone.
    pub(super) fn prepare(is_private: bool) -> Self {
        remove_left_behind();
        let own_base = if std::env::var_os(VARIABLE).is_none() && !takes_a_directory(&usual()) {
            elsewhere()
        } else {
            None
        };
        if let Some(base) = &own_base {
            // SAFETY: nothing else in this process reads the environment by way of C before `rte_eal_init`, which follows on
            // this thread; what goes through std is locked.
            unsafe { std::env::set_var(VARIABLE, base) };
        }
        Self {
            own_base,
            is_private,
        }
    }

    /// Removes the directories as far as they are empty. EAL makes them even when it has nothing to put there; without
    /// them a process that is killed leaves nothing behind.
    pub(super) fn remove_if_empty(&self) {
        let Some(path) = made_by_eal() else { return };
        // Each fails on a directory that is in use, which is what we want then.
        let _ = fs::remove_dir(&path);
        self.remove_parents(&path);
    }

    /// The parent of EAL's directory goes as well where users share it (`/tmp/dpdk`, made for one user only, would keep
    /// every other user from starting DPDK), and where it is ours.
    fn remove_parents(&self, path: &Path) {
        let shared = path.parent().filter(|parent| parent.starts_with("/tmp"));
        let parents = self.own_base.iter().map(|base| base.join("dpdk"));
        let own = parents.chain(self.own_base.clone());
        for parent in shared.map(Path::to_path_buf).into_iter().chain(own) {
            let _ = fs::remove_dir(parent);
        }
    }
}

/// Removes what starts of ours have left that were killed before they had tidied up. Only empty directories go, of processes
/// that are no more: whatever else has such a name stays.
fn remove_left_behind() {
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    remove_empty(&named.unwrap_or_else(usual).join("dpdk"));
    for place in places() {
        for base in of_ended_processes(&place) {
            remove_empty(&base.join("dpdk"));
            // Both fail on what isn't empty.
            let _ = fs::remove_dir(base.join("dpdk"));
            let _ = fs::remove_dir(base);
        }
    }
}

fn remove_empty(place: &Path) {
    for path in of_ended_processes(place) {
        let _ = fs::remove_dir(path);
    }
}

/// Directories named after Syncline and a process that is no more.
fn of_ended_processes(place: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(place).into_iter().flatten().flatten();
    let has_ended = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        let pid = name.and_then(|name| name.strip_prefix(OURS)?.parse::<u32>().ok());
        pid.is_some_and(is_over)
    };
    names.map(|entry| entry.path()).filter(has_ended).collect()
}

/// Whether no process has this number.
fn is_over(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else {
        return true;
    };
    // SAFETY: signal 0 is none, it only asks.
    let is_there = unsafe { libc::kill(pid, 0) } == 0;
    let error = std::io::Error::last_os_error().raw_os_error();
    !is_there && error == Some(libc::ESRCH)
}

impl Drop for RuntimeDirectory {
    fn drop(&mut self) {
        if let Some(path) = made_by_eal().filter(|_| self.is_private) {
            // It may be gone already.
            let _ = fs::remove_dir_all(path);
        }
        self.remove_if_empty();
        if let Some(base) = &self.own_base {
            // EAL may have failed before it made anything.
            let _ = fs::remove_dir(base);
        }
    }
}

/// Where EAL puts its directory unless an argument says otherwise.
fn usual() -> PathBuf {
    // SAFETY: reads a number of this process.
    if unsafe { libc::getuid() } == 0 {
        return PathBuf::from("/var/run");
    }
    let named = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty());
    named.map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

/// Where directories of our own may be.
fn places() -> impl Iterator<Item = PathBuf> {
    let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    session.into_iter().chain([std::env::temp_dir()])
}

/// A new directory for this process alone: in the directory of the user's session, else where temporary files go.
fn elsewhere() -> Option<PathBuf> {
    let own = format!("{OURS}{}", std::process::id());
    let mut bases = places().map(|place| place.join(&own));
    // Only one that was not there: no other process can have put anything into it.
    bases.find(|base| fs::DirBuilder::new().mode(0o700).create(base).is_ok())
}

/// Whether `dpdk` is in that directory, or can be made there, and can be written to.
fn takes_a_directory(place: &Path) -> bool {
    let dpdk = place.join("dpdk");
    let path = if dpdk.is_dir() { &dpdk } else { place };
    CString::new(path.as_os_str().as_bytes()).is_ok_and(|path| {
        // SAFETY: the path is NUL-terminated.
        unsafe { libc::access(path.as_ptr(), libc::W_OK | libc::X_OK) == 0 }
    })
}

/// The directory that EAL has made; `None` when it has not come that far.
fn made_by_eal() -> Option<PathBuf> {
    // SAFETY: the string is static and NUL-terminated, and empty before EAL has made its directory.
    let path = unsafe { core::ffi::CStr::from_ptr(sys::rte_eal_get_runtime_dir()) };
    let path = path.to_str().ok().filter(|path| !path.is_empty())?;
    Some(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_not_there_is_seen() {
        assert!(takes_a_directory(&std::env::temp_dir()));
        assert!(!takes_a_directory(Path::new("/no/such/place")));
    }
}
