//! Headers as senders write them.
//!
//! It must never write what [`super::parse`] refuses.

use core::net::{IpAddr, SocketAddr};
use std::io::Write as _;

use arrayvec::ArrayVec;

use super::v2::{CRC_LEN, FIXED_LEN, LOCAL, PROXY, TCP4, TCP6, TLV_CRC32C, TLV_HEAD_LEN, crc32c};
use super::{V1_MAX, V2_MAX, V2_SIGNATURE};

/// A header of version 1.
pub type V1Line = ArrayVec<u8, V1_MAX>;

/// One of the values behind the addresses of version 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tlv<'a> {
    /// A checksum over the whole header, which is computed here.
    Crc32c,
    /// Any other.
    Value {
        /// Its type.
        kind: u8,
        /// Its value, up to 65,535 bytes.
        value: &'a [u8],
    },
}

/// Version 1 for a connection from `source` to `destination`. Ends of different families are both written as IPv6.
#[must_use]
pub fn write_v1(source: SocketAddr, destination: SocketAddr) -> V1Line {
    let (source, destination) = of_one_family(source, destination);
    let family = if source.is_ipv4() { 4 } else { 6 };
    let mut line = V1Line::new();
    // The longest one has 104 bytes.
    let _ = write!(
        line,
        "PROXY TCP{family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    );
    line
}

/// Writes version 2 for a connection from one end to the other (source first), or LOCAL where there are none, and says how many
/// bytes that is. Ends of different families are both written as IPv6. `None` when it doesn't fit into `into` or into
/// [`V2_MAX`].
#[must_use]
pub fn write_v2(
    ends: Option<(SocketAddr, SocketAddr)>,
    tlvs: &[Tlv<'_>],
    into: &mut [u8],
) -> Option<usize> {
    let mut writer = Writer { into, len: 0 };
    writer.put(V2_SIGNATURE)?;
    let ends = ends.map(|(source, destination)| of_one_family(source, destination));
    writer.put(&match ends {
        None => [LOCAL, 0],
        Some((source, _)) if source.is_ipv4() => [PROXY, TCP4],
        Some(_) => [PROXY, TCP6],
    })?;
    let len_at = writer.len;
    writer.put(&[0; 2])?;
    if let Some((source, destination)) = ends {
        for end in [source, destination] {
            match end.ip() {
                IpAddr::V4(ip) => writer.put(&ip.octets())?,
                IpAddr::V6(ip) => writer.put(&ip.octets())?,
            }
        }
        writer.put(&source.port().to_be_bytes())?;
        writer.put(&destination.port().to_be_bytes())?;
    }
    let mut checksums_at = None;
    for tlv in tlvs {
        match *tlv {
            Tlv::Crc32c => {
                writer.tlv(TLV_CRC32C, &[0; CRC_LEN])?;
                checksums_at = Some(writer.len - CRC_LEN);
            }
            Tlv::Value { kind, value } => writer.tlv(kind, value)?,
        }
    }
    let Writer { into, len } = writer;
    if len > V2_MAX {
        return None;
    }
    let behind = u16::try_from(len - FIXED_LEN).ok()?;
    into[len_at..FIXED_LEN].copy_from_slice(&behind.to_be_bytes());
    if let Some(at) = checksums_at {
        let mut digest = crc32c();
        digest.update(&into[..len]);
        into[at..at + CRC_LEN].copy_from_slice(&digest.finalize().to_be_bytes());
    }
    Some(len)
}

/// Both as they are, or as IPv6 where one of them is.
fn of_one_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let mapped = |end: SocketAddr| match end.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), end.port()),
        IpAddr::V6(_) => end,
    };
    (mapped(source), mapped(destination))
}

struct Writer<'a> {
    into: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len + bytes.len();
        self.into.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    fn tlv(&mut self, kind: u8, value: &[u8]) -> Option<()> {
        let [high, low] = u16::try_from(value.len()).ok()?.to_be_bytes();
        let head: [u8; TLV_HEAD_LEN] = [kind, high, low];
        self.put(&head)?;
        self.put(value)
    }
}
