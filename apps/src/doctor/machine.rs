//! [`Machine`]: files of `/proc`, `/sys` and `/dev` below a root.
//!
//! It must never write, and never take a file that can't be read for one that says no: what is unknown is `None`.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use procfs_core::FromRead;
use procfs_core::process::Status;

/// CAP_NET_ADMIN, capabilities(7).
const NET_ADMIN: u64 = 1 << 12;

/// A machine, as its files describe it.
#[derive(Debug)]
pub(super) struct Machine {
    root: PathBuf,
}

impl Machine {
    /// The machine whose files stand below `root`; `/` for this one.
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Whether it is this machine, so that its kernel can be asked.
    pub(super) fn is_this_one(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where a file of the machine is.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A file without the white space around its text.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.path(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// A file that holds a number.
    pub(super) fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// A file as procfs reads it.
    pub(super) fn parsed<T: FromRead>(&self, path: &str) -> Option<T> {
        T::from_file(self.path(path)).ok()
    }

    /// The names in a directory, sorted; none when it isn't there.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path))
            .into_iter()
            .flatten()
            .flatten();
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }

    /// The last part of where a link leads.
    pub(super) fn link(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// Whether a file or directory is there.
    pub(super) fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Whether a socket is there.
    pub(super) fn has_socket(&self, path: &str) -> bool {
        let file = fs::metadata(self.path(path));
        file.is_ok_and(|file| file.file_type().is_socket())
    }

    /// Numbers of a list such as `0-3,8`.
    pub(super) fn list(&self, path: &str) -> Vec<usize> {
        self.text(path).as_deref().map(numbers).unwrap_or_default()
    }

    /// Whether this process may write the file, by owner, group and mode. Root may write everything.
    pub(super) fn may_write(&self, path: &str) -> bool {
        let Ok(file) = fs::metadata(self.path(path)) else {
            return false;
        };
        let Some(status) = self.status() else {
            return true;
        };
        let bit = if status.euid == file.uid() {
            0o200
        } else if status.egid == file.gid() || status.groups.contains(&file.gid()) {
            0o020
        } else {
            0o002
        };
        status.euid == 0 || file.mode() & bit != 0
    }

    /// Whether this process is root.
    pub(super) fn is_root(&self) -> bool {
        self.status().is_none_or(|status| status.euid == 0)
    }

    /// Whether this process may make interfaces (CAP_NET_ADMIN).
    pub(super) fn may_make_interfaces(&self) -> bool {
        self.status()
            .is_none_or(|status| status.capeff & NET_ADMIN != 0)
    }

    fn status(&self) -> Option<Status> {
        self.parsed("/proc/self/status")
    }
}

/// Numbers of a list such as `0-3,8`.
fn numbers(list: &str) -> Vec<usize> {
    let parts = list.split(',').filter_map(|part| {
        let (first, last) = part.trim().split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    });
    parts.flatten().collect()
}
