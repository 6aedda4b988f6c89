//! What must not be guessed: the secrets of an endpoint, the seed of a generator. From the system's randomness.
//!
//! It must never be called per packet, and never fall back to a weaker source.

use stack::nic::rss::KEY_BYTES;
use stack::worker::Secrets;

use crate::failure::Failure;

/// Fresh secrets, as every start of an endpoint draws them.
///
/// # Errors
/// [`Failure::Run`] when the system has no randomness.
pub(crate) fn fresh() -> Result<Secrets, Failure> {
    let mut bytes = [0; 64];
    fill(&mut bytes)?;
    let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|i| bytes[at + i]));
    Ok(Secrets {
        flow: [word(0), word(8)],
        isn: core::array::from_fn(|i| bytes[16 + i]),
        cookie: core::array::from_fn(|i| bytes[32 + i]),
        ports: core::array::from_fn(|i| bytes[48 + i]),
    })
}

/// A fresh key for the hash of a NIC: who knows it can send all its flows to one queue.
///
/// # Errors
/// [`Failure::Run`] when the system has no randomness.
pub(crate) fn rss_key() -> Result<[u8; KEY_BYTES], Failure> {
    let mut key = [0; KEY_BYTES];
    fill(&mut key)?;
    Ok(key)
}

/// A fresh seed for a generator.
///
/// # Errors
/// [`Failure::Run`] when the system has no randomness.
pub(crate) fn seed() -> Result<[u64; 3], Failure> {
    let mut bytes = [0; 24];
    fill(&mut bytes)?;
    Ok(core::array::from_fn(|word| {
        u64::from_le_bytes(core::array::from_fn(|byte| bytes[word * 8 + byte]))
    }))
}

fn fill(bytes: &mut [u8]) -> Result<(), Failure> {
    getrandom::fill(bytes)
        .map_err(|error| Failure::Run(format!("the system has no randomness: {error}")))
}
