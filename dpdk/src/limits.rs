//! The resource limits of this process, for errors: a limit that was set is a cause that DPDK does not know.
//!
//! It must never change a limit.

use crate::Error;

/// Words of DPDK and of the kernel for "no memory".
const NO_MEMORY: &[&str] = &["memory", "mmap", "Cannot allocate"];

/// The error for `what`, which got no memory for `reason`: the limit of addresses where there is one, else `otherwise`.
pub(crate) fn explain(
    what: &'static str,
    reason: String,
    otherwise: impl FnOnce(String) -> Error,
) -> Error {
    match address_limit_bytes() {
        Some(limit) if NO_MEMORY.iter().any(|word| reason.contains(word)) => Error::AddressLimit {
            what,
            limit_mb: limit >> 20,
            reason,
        },
        _ => otherwise(reason),
    }
}

/// Whether this process may still take `bytes` more for `what`. Memory that can't be had ends a Rust program without a word
/// of ours, so this is asked before.
///
/// # Errors
/// [`Error::AddressLimit`] when `ulimit -v` is in the way.
pub fn require_addresses(what: &'static str, bytes: u64) -> Result<(), Error> {
    let Some(limit) = address_limit_bytes() else {
        return Ok(());
    };
    let taken = addresses_taken_bytes();
    if taken.saturating_add(bytes) <= limit {
        return Ok(());
    }
    let (more_mb, taken_mb) = (bytes.div_ceil(1 << 20), taken >> 20);
    Err(Error::AddressLimit {
        what,
        limit_mb: limit >> 20,
        reason: format!("{taken_mb} MB are taken, up to {more_mb} MB more are wanted"),
    })
}

/// Addresses that this process has mapped, in bytes; 0 when the kernel does not say (proc(5)).
fn addresses_taken_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let size_kb = size.and_then(|text| text.trim().strip_suffix("kB")?.trim().parse().ok());
    size_kb.unwrap_or(0u64) << 10
}

/// The limit of `ulimit -v`, in bytes; `None` when there is none.
fn address_limit_bytes() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is writable.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) } == 0;
    (known && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_any_limit_is_refused_where_there_is_one() {
        assert!(
            addresses_taken_bytes() > 1 << 20,
            "this test has a stack and a heap"
        );
        let refused = require_addresses("all of it", u64::MAX).is_err();
        assert_eq!(refused, address_limit_bytes().is_some());
    }

    #[test]
    fn without_a_limit_the_reason_stays() {
        let error = explain("pools", "Cannot allocate memory".to_owned(), Error::NulByte);
        // Tests run without a limit, or else this is what they would see.
        match address_limit_bytes() {
            None => assert!(matches!(error, Error::NulByte(_)), "{error}"),
            Some(_) => assert!(matches!(error, Error::AddressLimit { .. }), "{error}"),
        }
        let other = explain("pools", "Invalid argument".to_owned(), Error::NulByte);
        assert!(matches!(other, Error::NulByte(_)), "{other}");
    }
}
