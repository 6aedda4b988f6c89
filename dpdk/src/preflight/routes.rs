//! Which interfaces carry IPv4's default route by any of the kernel's routing tables, rtnetlink(7): /proc shows the main one
//! only, and rules of policy routing (ip-rule(8)) may lead to any other.
//!
//! It must never take an answer for whole that isn't: what it doesn't understand is an error.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Error, ErrorKind, Read as _, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};

/// Longest prefixes that count as a default route: its two halves stand in for it (VPNs set them).
const DEFAULT_MAX_BITS: u8 = 1;

/// Questions asked before a table that changes all the time counts as unreadable.
const TRIES: usize = 8;

/// Bytes of a part of the answer, at most: the kernel makes none that is longer than 32 KiB.
const PART_LEN: usize = 1 << 16;

/// `struct nlmsghdr`, and `struct rtmsg` behind it in messages about routes.
const HEADER_LEN: usize = 16;
const ROUTE_LEN: usize = 12;
/// `NLM_F_DUMP_INTR`: the table changed meanwhile.
const INTERRUPTED: u16 = 0x10;

/// The numbers of the interfaces that carry it, in the network namespace of this thread.
///
/// # Errors
/// The kernel doesn't answer, or not as rtnetlink(7) says.
pub(super) fn default_carriers() -> io::Result<BTreeSet<u32>> {
    for _ in 0..TRIES {
        match ask() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
    Err(Error::other("the routes change all the time"))
}

/// Asks once. [`ErrorKind::Interrupted`]: the table changed meanwhile.
fn ask() -> io::Result<BTreeSet<u32>> {
    // SAFETY: the arguments are numbers.
    let fd = unsafe {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE)
    };
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: it was just opened, and has no other owner.
    let mut socket = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let mut question = [0; HEADER_LEN + ROUTE_LEN];
    question[..4].copy_from_slice(&((HEADER_LEN + ROUTE_LEN) as u32).to_ne_bytes());
    question[4..6].copy_from_slice(&libc::RTM_GETROUTE.to_ne_bytes());
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    question[6..8].copy_from_slice(&flags.to_ne_bytes());
    question[HEADER_LEN] = libc::AF_INET as u8;
    socket.write_all(&question)?;
    let (mut carriers, mut part) = (BTreeSet::new(), vec![0; PART_LEN]);
    loop {
        let len = socket.read(&mut part)?;
        if take(&part[..len], &mut carriers)? {
            return Ok(carriers);
        }
    }
}

/// Reads a part of the answer. Whether it was the last.
fn take(mut part: &[u8], carriers: &mut BTreeSet<u32>) -> io::Result<bool> {
    if part.is_empty() {
        return Err(malformed());
    }
    while !part.is_empty() {
        let (message, rest) = split(part, u32_at(part, 0)? as usize, HEADER_LEN)?;
        let kind = u16_at(message, 4)?;
        if u16_at(message, 6)? & INTERRUPTED != 0 {
            return Err(ErrorKind::Interrupted.into());
        }
        let body = &message[HEADER_LEN..];
        match i32::from(kind) {
            libc::NLMSG_DONE => return Ok(true),
            libc::NLMSG_ERROR => {
                let code = u32_at(body, 0)?.cast_signed();
                return Err(Error::from_raw_os_error(code.saturating_neg()));
            }
            _ if kind == libc::RTM_NEWROUTE => carriers.extend(carriers_of(body)?),
            _ => {}
        }
        part = rest;
    }
    Ok(false)
}

/// The interfaces of a route, if it is a default route.
fn carriers_of(route: &[u8]) -> io::Result<Vec<u32>> {
    let [_, bits, _, _, _, _, _, kind] = *route.first_chunk().ok_or_else(malformed)?;
    let leads_nowhere = matches!(
        kind,
        libc::RTN_LOCAL
            | libc::RTN_BLACKHOLE
            | libc::RTN_UNREACHABLE
            | libc::RTN_PROHIBIT
            | libc::RTN_THROW
    );
    if bits > DEFAULT_MAX_BITS || leads_nowhere {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let mut attributes = route.get(ROUTE_LEN..).ok_or_else(malformed)?;
    while !attributes.is_empty() {
        let len = u16_at(attributes, 0)?;
        let kind = u16_at(attributes, 2)?;
        let (attribute, rest) = split(attributes, len.into(), 4)?;
        match kind {
            libc::RTA_OIF => found.push(u32_at(attribute, 4)?),
            libc::RTA_MULTIPATH => next_hops(&attribute[4..], &mut found)?,
            _ => {}
        }
        attributes = rest;
    }
    if found.is_empty() {
        return Err(Error::other("a default route names no interface"));
    }
    Ok(found)
}

/// The interfaces of a route with several (`struct rtnexthop`, each with attributes of its own).
fn next_hops(mut hops: &[u8], found: &mut Vec<u32>) -> io::Result<()> {
    while !hops.is_empty() {
        let (hop, rest) = split(hops, u16_at(hops, 0)?.into(), 8)?;
        found.push(u32_at(hop, 4)?);
        hops = rest;
    }
    Ok(())
}

/// The first `len` bytes, at least `least`, and what begins at the next multiple of four.
fn split(bytes: &[u8], len: usize, least: usize) -> io::Result<(&[u8], &[u8])> {
    let first = bytes.get(..len).filter(|_| len >= least);
    let rest = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
    Ok((first.ok_or_else(malformed)?, rest))
}

fn u16_at(bytes: &[u8], at: usize) -> io::Result<u16> {
    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    bytes
        .map(|bytes| u16::from_ne_bytes(*bytes))
        .ok_or_else(malformed)
}

fn u32_at(bytes: &[u8], at: usize) -> io::Result<u32> {
    let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    bytes
        .map(|bytes| u32::from_ne_bytes(*bytes))
        .ok_or_else(malformed)
}

fn malformed() -> Error {
    Error::new(ErrorKind::InvalidData, "no answer of rtnetlink(7)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = 4 + value.len() as u16;
        padded([&len.to_ne_bytes(), &kind.to_ne_bytes(), value].concat())
    }

    fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let len = (HEADER_LEN + body.len()) as u32;
        let header = [
            &len.to_ne_bytes()[..],
            &kind.to_ne_bytes(),
            &flags.to_ne_bytes(),
        ]
        .concat();
        padded([&header, &[0; 8][..], body].concat())
    }

    /// A route with a prefix of so many bits in table 100.
    fn route(bits: u8, kind: u8, attributes: &[u8]) -> Vec<u8> {
        let head = [2, bits, 0, 0, 100, 4, 0, kind, 0, 0, 0, 0];
        message(libc::RTM_NEWROUTE, 2, &[&head, attributes].concat())
    }

    fn over(interface: u32) -> Vec<u8> {
        attribute(libc::RTA_OIF, &interface.to_ne_bytes())
    }

    fn carriers(part: &[u8]) -> io::Result<Vec<u32>> {
        let mut found = BTreeSet::new();
        take(part, &mut found)?;
        Ok(found.into_iter().collect())
    }

    #[test]
    fn a_default_route_of_any_table_is_found_and_its_halves_and_each_next_hop() {
        let hop = |interface: u32| {
            let gateway = attribute(libc::RTA_GATEWAY, &[198, 18, 0, 1]);
            let len = 8 + gateway.len() as u16;
            [
                &len.to_ne_bytes()[..],
                &[0, 0],
                &interface.to_ne_bytes(),
                &gateway,
            ]
            .concat()
        };
        let two = attribute(libc::RTA_MULTIPATH, &[hop(5), hop(6)].concat());
        let part = [
            route(0, libc::RTN_UNICAST, &over(3)),
            route(24, libc::RTN_UNICAST, &over(7)),
            route(1, libc::RTN_UNICAST, &over(4)),
            route(0, libc::RTN_UNICAST, &two),
        ];
        assert_eq!(carriers(&part.concat()).ok(), Some(vec![3, 4, 5, 6]));
    }

    #[test]
    fn a_route_that_refuses_or_stays_here_is_none() {
        for kind in [libc::RTN_UNREACHABLE, libc::RTN_BLACKHOLE, libc::RTN_LOCAL] {
            assert_eq!(carriers(&route(0, kind, &over(1))).ok(), Some(vec![]));
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let whole = route(0, libc::RTN_UNICAST, &over(3));
        assert!(carriers(&[]).is_err());
        for len in 1..whole.len() {
            assert!(carriers(&whole[..len]).is_err(), "{len} bytes");
        }
        assert!(carriers(&route(0, libc::RTN_UNICAST, &[])).is_err());
        let refused = message(libc::NLMSG_ERROR as u16, 0, &(-libc::EPERM).to_ne_bytes());
        let error = carriers(&refused).expect_err("it says so");
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        let changed = message(libc::RTM_NEWROUTE, INTERRUPTED, &[]);
        let error = carriers(&changed).expect_err("it says so");
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        let done = message(libc::NLMSG_DONE as u16, 2, &[0; 4]);
        assert!(take(&done, &mut BTreeSet::new()).is_ok_and(|is_last| is_last));
    }

    /// The kernel's own answer is understood to its end.
    #[test]
    fn the_kernel_answers() {
        assert!(default_carriers().is_ok());
    }
}
