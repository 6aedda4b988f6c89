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

/// What EAL asks first.
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

/// Where EAL puts its directory unless it is told otherwise.
fn usual() -> PathBuf {
    // SAFETY: reads a number of this process.
    if unsafe { libc::getuid() } == 0 {
        return PathBuf::from("/var/run");
    }
    let named = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty());
    named.map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

/// A new directory for this process alone: in the directory of the user's session, else where temporary files go.
fn elsewhere() -> Option<PathBuf> {
    let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let places = session.into_iter().chain([std::env::temp_dir()]);
    let mut bases = places.map(|place| place.join(format!("syncline-{}", std::process::id())));
    // Only one that was not there: nobody else can have put anything into it.
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
