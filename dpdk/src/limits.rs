//! What this process may have at most, for errors: a limit that somebody set is a cause that DPDK does not know.
//!
//! Called by: `eal` and `mempool` when memory is refused. It must never change a limit.

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

/// What `ulimit -v` allows, in bytes; `None` when nothing is said.
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
