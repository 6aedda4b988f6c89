//! [`Prf`]: the keyed function behind initial sequence numbers, timestamp offsets, SYN cookies and local ports: AES-128
//! on one block.
//!
//! It must never be given inputs of two meanings under one key: each purpose and each family has a key of its own, so
//! outputs seen by one peer say nothing about another's.
//!
//! AES-128 because its blocks are what an IPv4 tuple with a sequence number fits exactly, and because the CPU computes
//! it: half the cycles of SipHash-1-3 here. IPv6 takes two chained blocks (CBC-MAC, sound for inputs of fixed length).

use aes::Aes128Enc as Aes128;
use aes::cipher::{BlockEncrypt, KeyInit};

/// The purpose of a key; part of its derivation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Initial sequence numbers.
    Iss = 1,
    /// Timestamp offsets.
    TimestampOffset = 2,
    /// SYN cookies.
    Cookie = 3,
    /// Local ports of active opens.
    LocalPort = 4,
    /// Where the counters of local ports begin.
    LocalPortStart = 5,
}

/// A pseudo-random function with one key for IPv4 and one for IPv6 inputs.
#[derive(Clone)]
pub(crate) struct Prf {
    v4: Aes128,
    v6: Aes128,
}

impl Prf {
    /// The function for `purpose` under 128 secret bits. `variant` distinguishes functions of the same purpose.
    pub(crate) fn new(secret: &[u8; 16], purpose: Purpose, variant: u64) -> Self {
        let master = Aes128::new(secret.into());
        let derive = |family: u8| {
            let label = u128::from(variant) << 64 | u128::from(family) << 8 | purpose as u128;
            Aes128::new(&encrypt(&master, label).to_le_bytes().into())
        };
        Self {
            v4: derive(4),
            v6: derive(6),
        }
    }

    /// Of an IPv4 input: the remote address, and 12 bytes that go with it as a number below 2^96.
    #[inline(always)]
    pub(crate) fn v4(&self, remote: u32, rest: u128) -> u64 {
        encrypt(&self.v4, rest << 32 | u128::from(remote)) as u64
    }

    /// Of an IPv6 input: the remote address, and 12 bytes that go with it as a number below 2^96.
    #[inline]
    pub(crate) fn v6(&self, remote: u128, rest: u128) -> u64 {
        encrypt(&self.v6, encrypt(&self.v6, remote) ^ rest) as u64
    }
}

/// Blocks are passed as numbers: put together in registers, they reach the cipher without a store in parts before it.
#[inline(always)]
fn encrypt(cipher: &Aes128, block: u128) -> u128 {
    let mut block = block.to_le_bytes().into();
    cipher.encrypt_block(&mut block);
    u128::from_le_bytes(block.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 197 appendix C.1: that the block cipher is AES-128 at all.
    #[test]
    fn the_cipher_is_aes_128() {
        let key: [u8; 16] = core::array::from_fn(|i| i as u8);
        let plain: [u8; 16] = core::array::from_fn(|i| i as u8 * 0x11);
        let expected = 0x69c4_e0d8_6a7b_0430_d8cd_b780_70b4_c55a_u128.to_be_bytes();
        let cipher = Aes128::new(&key.into());
        assert_eq!(
            encrypt(&cipher, u128::from_le_bytes(plain)).to_le_bytes(),
            expected
        );
    }

    #[test]
    fn secret_purpose_variant_family_and_every_byte_count() {
        let base = Prf::new(&[1; 16], Purpose::Iss, 0);
        let rest = 7u128;
        let others = [
            Prf::new(&[2; 16], Purpose::Iss, 0),
            Prf::new(&[1; 16], Purpose::Cookie, 0),
            Prf::new(&[1; 16], Purpose::Iss, 1),
        ];
        for other in others {
            assert_ne!(other.v4(5, rest), base.v4(5, rest));
            assert_ne!(other.v6(5, rest), base.v6(5, rest));
        }
        assert_ne!(base.v4(5, rest), base.v6(5, rest));
        assert_ne!(base.v4(5, rest), base.v4(6, rest));
        assert_ne!(base.v6(5, rest), base.v6(5 | 1 << 127, rest));
        for i in 0..96 {
            let changed = rest ^ 1 << i;
            assert_ne!(base.v4(5, rest), base.v4(5, changed), "bit {i}");
            assert_ne!(base.v6(5, rest), base.v6(5, changed), "bit {i}");
        }
    }
}
