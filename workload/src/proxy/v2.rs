//! Version 2: a signature, four bytes, addresses, and TLVs.
//!
//! It must never read a byte of addresses or TLVs before all of them have come.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crc::{CRC_32_ISCSI, Crc, Digest, Table};

use super::{Defect, Header, Origin, Parsed, V2_MAX, V2_SIGNATURE};

/// Bytes before the addresses.
pub(super) const FIXED_LEN: usize = 16;
/// Bytes of type and length of a TLV.
pub(super) const TLV_HEAD_LEN: usize = 3;
/// The TLV with the checksum.
pub(super) const TLV_CRC32C: u8 = 0x03;
/// Bytes of the checksum.
pub(super) const CRC_LEN: usize = 4;
/// Version 2, LOCAL.
pub(super) const LOCAL: u8 = 0x20;
/// Version 2, PROXY.
pub(super) const PROXY: u8 = 0x21;
/// TCP over IPv4, with 12 bytes of addresses.
pub(super) const TCP4: u8 = 0x11;
/// TCP over IPv6, with 36 bytes of addresses.
pub(super) const TCP6: u8 = 0x21;

/// The checksum of iSCSI and SCTP (RFC 9260, appendix A).
static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// A checksum that is to be fed.
pub(super) fn crc32c() -> Digest<'static, u32, Table<16>> {
    CRC32C.digest()
}

/// Reads what begins with the signature.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    match header(bytes) {
        Ok(Some(header)) => Parsed::Header(header),
        Ok(None) => Parsed::Partial,
        Err(defect) => Parsed::Malformed(defect),
    }
}

/// `None` while bytes are missing that decide.
fn header(bytes: &[u8]) -> Result<Option<Header>, Defect> {
    let fixed = &bytes[V2_SIGNATURE.len()..];
    let Some(&command) = fixed.first() else {
        return Ok(None);
    };
    if command >> 4 != 2 {
        return Err(Defect::Number);
    }
    if !matches!(command, LOCAL | PROXY) {
        return Err(Defect::Command);
    }
    let Some(&[family, high, low]) = fixed.get(1..4) else {
        return Ok(None);
    };
    // Of LOCAL everything behind is ignored, the family too.
    if command == PROXY && (family >> 4 > 3 || family & 0xf > 2) {
        return Err(Defect::Family);
    }
    let len = FIXED_LEN + usize::from(u16::from_be_bytes([high, low]));
    if len > V2_MAX {
        return Err(Defect::TooLong);
    }
    let address_len = match (command, family >> 4) {
        (LOCAL, _) | (_, 0) => 0,
        (_, 1) => 12,
        (_, 2) => 36,
        _ => 216,
    };
    if len < FIXED_LEN + address_len {
        return Err(Defect::TooShort);
    }
    let Some(whole) = bytes.get(..len) else {
        return Ok(None);
    };
    let addresses = &whole[FIXED_LEN..FIXED_LEN + address_len];
    let origin = match (command, family) {
        (LOCAL, _) => Origin::Local,
        (_, TCP4 | TCP6) => relayed(addresses).unwrap_or(Origin::Unknown),
        _ => Origin::Unknown,
    };
    let is_crc32c_verified = match origin {
        Origin::Local => false,
        // Where addresses end isn't known without a family: nothing behind them can be found.
        _ if family >> 4 == 0 => false,
        _ => verify(whole, FIXED_LEN + address_len)?,
    };
    Ok(Some(Header {
        len,
        version: 2,
        origin,
        is_crc32c_verified,
    }))
}

/// Both ends: addresses, then ports.
fn relayed(bytes: &[u8]) -> Option<Origin> {
    let ends = match bytes.len() {
        12 => [&bytes[..4], &bytes[4..8]].map(|at| {
            let octets: [u8; 4] = at.try_into().ok()?;
            Some(IpAddr::V4(Ipv4Addr::from(octets)))
        }),
        36 => [&bytes[..16], &bytes[16..32]].map(|at| {
            let octets: [u8; 16] = at.try_into().ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(octets)))
        }),
        _ => return None,
    };
    let &[.., s1, s0, d1, d0] = bytes else {
        return None;
    };
    Some(Origin::Relayed {
        source: SocketAddr::new(ends[0]?, u16::from_be_bytes([s1, s0])),
        destination: SocketAddr::new(ends[1]?, u16::from_be_bytes([d1, d0])),
    })
}

/// Walks the TLVs, which begin at `start`. Whether there was a checksum, which is right then.
fn verify(whole: &[u8], start: usize) -> Result<bool, Defect> {
    let mut at = start;
    let mut is_verified = false;
    while at < whole.len() {
        let Some(&[kind, high, low]) = whole.get(at..at + TLV_HEAD_LEN) else {
            return Err(Defect::Tlv);
        };
        let value_at = at + TLV_HEAD_LEN;
        let end = value_at + usize::from(u16::from_be_bytes([high, low]));
        let value = whole.get(value_at..end).ok_or(Defect::Tlv)?;
        if kind == TLV_CRC32C {
            let wanted: [u8; CRC_LEN] = value.try_into().map_err(|_| Defect::Crc32c)?;
            let mut digest = crc32c();
            digest.update(&whole[..value_at]);
            digest.update(&[0; CRC_LEN]);
            digest.update(&whole[end..]);
            if digest.finalize() != u32::from_be_bytes(wanted) {
                return Err(Defect::Crc32c);
            }
            is_verified = true;
        }
        at = end;
    }
    Ok(is_verified)
}
