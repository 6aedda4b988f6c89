//! A network namespace of our own, for a tap that no other program sees; with a user namespace around it where we are not root.
//!
//! It must never ask for more than it needs: root stays in its user namespace.

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, getegid, geteuid};

use crate::Error;

/// Moves this process into a network namespace of its own.
///
/// # Errors
/// [`Error::Namespace`] when the system lets us make neither a network namespace nor a user namespace for one.
pub fn enter_own() -> Result<(), Error> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => return Ok(()),
        Err(Errno::EPERM) => {}
        Err(error) => return Err(refused(error)),
    }
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).map_err(refused)?;
    become_root_inside(uid, gid).map_err(|error| {
        Error::Namespace(format!(
            "the user namespace takes no mapping of our user ({error}); run as root"
        ))
    })
}

/// Whether this process is in a user namespace that isn't the system's: it maps some users only.
pub fn is_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// user_namespaces(7): the groups must be settled before a user who is not root may map their own.
fn become_root_inside(uid: Uid, gid: Gid) -> std::io::Result<()> {
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

fn refused(error: Errno) -> Error {
    Error::Namespace(format!(
        "no network namespace of our own ({}): run as root, or let users make user namespaces (sysctl \
         user.max_user_namespaces, on some systems kernel.unprivileged_userns_clone or \
         kernel.apparmor_restrict_unprivileged_userns)",
        error.desc()
    ))
}
