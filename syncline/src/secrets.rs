//! Random numbers that no peer may guess: the secrets of an endpoint, the seed of a generator. From the system's randomness.
//!
//! It must never be called per packet, and never fall back to a weaker source.

use stack::nic::rss::KEY_BYTES;
use stack::worker::Secrets;

use crate::Error;

/// Fresh secrets, as every start of an endpoint draws them.
///
/// # Errors
/// [`Error::Randomness`] when the system has no randomness.
pub fn fresh() -> Result<Secrets, Error> {
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
/// [`Error::Randomness`] when the system has no randomness.
pub fn rss_key() -> Result<[u8; KEY_BYTES], Error> {
    let mut key = [0; KEY_BYTES];
    fill(&mut key)?;
    Ok(key)
}

/// A fresh seed for a generator.
///
/// # Errors
/// [`Error::Randomness`] when the system has no randomness.
pub fn seed() -> Result<[u64; 3], Error> {
    let mut bytes = [0; 24];
    fill(&mut bytes)?;
    Ok(core::array::from_fn(|word| {
        u64::from_le_bytes(core::array::from_fn(|byte| bytes[word * 8 + byte]))
    }))
}

fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|error| Error::Randomness(error.to_string()))
}
