//! [`BodyChecksum`]: what the bodies of replies must sum up to, as the user says it; [`BodyHash`]: what one has summed up to so far.
//!
//! It must never keep a byte of a body, but of a short one that was right.

use core::fmt;
use core::str::FromStr;

use crc::{CRC_32_ISCSI, Crc, Digest, Table};
use sha2::{Digest as _, Sha256};

static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// The checksum of a body, without transfer coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyChecksum {
    /// CRC32C (RFC 3720 appendix B.4).
    Crc32c(u32),
    /// SHA-256 (FIPS 180-4).
    Sha256([u8; 32]),
}

impl BodyChecksum {
    /// The CRC32C of this body.
    #[must_use]
    pub fn crc32c_of(body: &[u8]) -> Self {
        Self::Crc32c(CRC32C.checksum(body))
    }
}

/// Why a text is no checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChecksumError {
    /// Neither `crc32c:` nor `sha256:`.
    Algorithm,
    /// Not as many hexadecimal digits as the algorithm has.
    Digits,
}

impl fmt::Display for ChecksumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Algorithm => "a checksum begins with crc32c: or sha256:",
            Self::Digits => {
                "crc32c: is followed by 8 hexadecimal digits, sha256: by the 64 that sha256sum prints"
            }
        })
    }
}

impl core::error::Error for ChecksumError {}

impl FromStr for BodyChecksum {
    type Err = ChecksumError;

    fn from_str(text: &str) -> Result<Self, ChecksumError> {
        if let Some(digits) = text.strip_prefix("crc32c:") {
            let bytes = hex(digits).ok_or(ChecksumError::Digits)?;
            return Ok(Self::Crc32c(u32::from_be_bytes(bytes)));
        }
        let digits = text
            .strip_prefix("sha256:")
            .ok_or(ChecksumError::Algorithm)?;
        hex(digits).map(Self::Sha256).ok_or(ChecksumError::Digits)
    }
}

/// Two digits for each byte.
fn hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.len() != 2 * N || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// A body so far.
#[derive(Clone)]
pub(super) enum BodyHash {
    Crc32c(Digest<'static, u32, Table<16>>),
    Sha256(Sha256),
}

impl fmt::Debug for BodyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crc32c(_) => "Crc32c",
            Self::Sha256(_) => "Sha256",
        })
    }
}

impl BodyHash {
    /// Nothing so far, by the algorithm of `wanted`.
    pub(super) fn new(wanted: &BodyChecksum) -> Self {
        match wanted {
            BodyChecksum::Crc32c(_) => Self::Crc32c(CRC32C.digest()),
            BodyChecksum::Sha256(_) => Self::Sha256(Sha256::new()),
        }
    }

    /// The next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32c(digest) => digest.update(bytes),
            Self::Sha256(digest) => digest.update(bytes),
        }
    }

    /// Whether the whole body is the one that is wanted.
    pub(super) fn is(self, wanted: &BodyChecksum) -> bool {
        match (self, wanted) {
            (Self::Crc32c(digest), BodyChecksum::Crc32c(wanted)) => digest.finalize() == *wanted,
            (Self::Sha256(digest), BodyChecksum::Sha256(wanted)) => {
                digest.finalize()[..] == wanted[..]
            }
            _ => false,
        }
    }
}

/// A longer body is summed up each time.
const REMEMBERED_MAX: usize = 2048;

/// The last body that had the checksum that is wanted: the same bytes have it again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct RememberedBody(Vec<u8>);

impl RememberedBody {
    #[cfg(test)]
    pub(super) fn of(body: &[u8]) -> Self {
        Self(body.to_vec())
    }

    /// Whether a whole body has this checksum, which is the same in every call.
    #[inline]
    pub(super) fn is_right(&mut self, body: &[u8], wanted: &BodyChecksum) -> bool {
        // Empty: there was none yet.
        if !self.0.is_empty() && self.0 == body {
            return true;
        }
        let mut hash = BodyHash::new(wanted);
        hash.update(body);
        let is_right = hash.is(wanted);
        if is_right && body.len() <= REMEMBERED_MAX {
            self.0.clear();
            self.0.extend_from_slice(body);
        }
        is_right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum(text: &str) -> BodyChecksum {
        text.parse().expect(text)
    }

    /// RFC 3720 B.4: 32 bytes of zeroes. FIPS 180-4, the example with one block.
    #[test]
    fn published_checksums_are_those_of_their_bytes_in_any_pieces() {
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for (text, bytes) in [("crc32c:8a9136aa", &[0; 32][..]), (abc, b"abc")] {
            let wanted = checksum(text);
            for at in 0..bytes.len() {
                let mut hash = BodyHash::new(&wanted);
                hash.update(&bytes[..at]);
                hash.update(&bytes[at..]);
                assert!(hash.is(&wanted), "{text} {at}");
            }
            let mut short = BodyHash::new(&wanted);
            short.update(&bytes[1..]);
            assert!(!short.is(&wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_checksum_is_refused() {
        for (text, error) in [
            ("md5:00", ChecksumError::Algorithm),
            ("", ChecksumError::Algorithm),
            ("crc32c:8a9136a", ChecksumError::Digits),
            ("crc32c:8a9136ag", ChecksumError::Digits),
            ("crc32c:+a9136aa", ChecksumError::Digits),
            ("sha256:00", ChecksumError::Digits),
        ] {
            assert_eq!(text.parse::<BodyChecksum>(), Err(error), "{text}");
        }
    }
}
