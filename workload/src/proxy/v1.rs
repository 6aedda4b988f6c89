//! Version 1: one line of text.
//!
//! It must never look at an address before the end of the line has come.

use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;

use super::{Defect, Header, Origin, Parsed, V1_MAX, V1_START};

/// Reads a line that begins as version 1 does.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let seen = &bytes[..bytes.len().min(V1_MAX)];
    let end = seen.iter().position(|byte| b"\r\n".contains(byte));
    let defect = match end.map(|end| (end, seen[end], bytes.get(end + 1))) {
        // The line feed would be the 108th byte.
        Some((end, b'\r', _)) if end + 1 == V1_MAX => Defect::LineTooLong,
        Some((_, b'\r', None)) => return Parsed::Partial,
        Some((end, b'\r', Some(b'\n'))) => match origin(&seen[V1_START.len()..end]) {
            Ok(origin) => {
                return Parsed::Header(Header {
                    len: end + 2,
                    version: 1,
                    origin,
                    is_crc32c_verified: false,
                });
            }
            Err(defect) => defect,
        },
        Some(_) => Defect::LineEnd,
        None if seen.len() == V1_MAX => Defect::LineTooLong,
        None => return Parsed::Partial,
    };
    Parsed::Malformed(defect)
}

/// The text between `PROXY ` and the end of the line.
fn origin(line: &[u8]) -> Result<Origin, Defect> {
    let mut words = line.split(|&byte| byte == b' ');
    let is_v4 = match words.next() {
        Some(b"TCP4") => true,
        Some(b"TCP6") => false,
        // Whatever follows is to be ignored.
        Some(b"UNKNOWN") => return Ok(Origin::Unknown),
        _ => return Err(Defect::Protocol),
    };
    let mut next = || words.next().ok_or(Defect::Address);
    let (source, destination) = (next()?, next()?);
    let (source_port, destination_port) = (next()?, next()?);
    if words.next().is_some() {
        return Err(Defect::Address);
    }
    let end = |address, port| Some(SocketAddr::new(ip(address, is_v4)?, number(port)?));
    let source = end(source, source_port).ok_or(Defect::Address)?;
    let destination = end(destination, destination_port).ok_or(Defect::Address)?;
    Ok(Origin::Relayed {
        source,
        destination,
    })
}

/// An address of the family that was named. `::ffff:192.0.2.1` passes: that is how inet_ntop(3) writes mapped addresses.
fn ip(word: &[u8], is_v4: bool) -> Option<IpAddr> {
    let text = core::str::from_utf8(word).ok()?;
    let address = IpAddr::from_str(text).ok()?;
    (address.is_ipv4() == is_v4).then_some(address)
}

/// A port: digits alone, and no zero before them.
fn number(word: &[u8]) -> Option<u16> {
    let is_plain =
        word.iter().all(u8::is_ascii_digit) && (word.len() == 1 || word.first() != Some(&b'0'));
    let text = core::str::from_utf8(word).ok()?;
    text.parse().ok().filter(|_| is_plain)
}
