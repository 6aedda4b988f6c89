//! `proxy=`: reads the PROXY header at the start of each connection to a place, and keeps the original tuple for http.
//!
//! It must never let a byte of a header reach a service, nor start a service before the header is complete and valid.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use serde::Serialize;
use stack::app::Cx;
use stack::conn::ConnId;
use stack::nic::Nic;
use workload::proxy::{self, Defect, HEADER_MAX, Header, Origin, Parsed, Versions};

/// How long a header may take: the specification asks for 3 s at least, so that a lost segment can be sent again.
const PATIENCE: Duration = Duration::from_secs(10);

/// The state that a connection keeps of its header: 4 bytes, which those to other places have too.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProxyConn(u32);

impl ProxyConn {
    /// No header, or none that is to be remembered.
    const NONE: Self = Self(0);
    /// The header hasn't come yet. Greater numbers are places of [`Origins`], counted from 2.
    const AWAITED: Self = Self(1);

    /// Whether the service hasn't begun.
    pub(super) fn is_awaited(self) -> bool {
        self == Self::AWAITED
    }

    const fn place(self) -> Option<usize> {
        (self.0 as usize).checked_sub(2)
    }
}

/// The headers of connections that may be asked for them again.
#[derive(Debug, Default)]
pub(super) struct Origins {
    places: Vec<Origin>,
    free: Vec<u32>,
    /// Places that there may be.
    limit: usize,
}

impl Origins {
    /// Takes the address space for every connection that there may be; the system gives memory for those that come.
    pub(super) fn reserve<N: Nic, S>(&mut self, cx: &Cx<'_, N, S>) {
        let records = &cx.config().limits.records;
        let both = |of: stack::conn::Records| of.v4 as usize + of.v6 as usize;
        self.limit = both(records.parked) + both(records.open);
        self.places.reserve_exact(self.limit);
        self.free.reserve_exact(self.limit);
    }

    /// Remembers what a header said. Without a place it is forgotten, which the limit rules out.
    fn insert(&mut self, origin: Origin) -> ProxyConn {
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = origin;
                place
            }
            None if self.places.len() < self.limit => {
                self.places.push(origin);
                // Limits of records are 32-bit numbers.
                self.places.len() as u32 - 1
            }
            None => return ProxyConn::NONE,
        };
        ProxyConn(place + 2)
    }

    /// The header of a connection, if it was kept.
    pub(super) fn get(&self, conn: ProxyConn) -> Option<&Origin> {
        self.places.get(conn.place()?)
    }

    /// A connection has ended.
    pub(super) fn remove(&mut self, conn: &mut ProxyConn) {
        if let Some(place) = conn.place() {
            // It was a u32 before.
            self.free.push(place as u32);
        }
        *conn = ProxyConn::NONE;
    }
}

/// A connection to a place with `proxy=` was accepted: its header has its time.
pub(super) fn begin<N: Nic, S>(cx: &mut Cx<'_, N, S>, conn: ConnId) -> ProxyConn {
    let at = cx.now() + PATIENCE;
    cx.set_timer(conn, at);
    ProxyConn::AWAITED
}

/// The header has not come in time.
pub(super) fn time_out<N: Nic, S>(cx: &mut Cx<'_, N, S>, conn: ConnId, stats: &mut ProxyStats) {
    stats.timed_out += 1;
    cx.abort(conn);
}

/// Reads the header, if all of it is there: true when the service may begin. A connection without one is ended.
pub(super) fn read<N: Nic, S>(
    cx: &mut Cx<'_, N, S>,
    (conn, has_peer_closed): (ConnId, bool),
    versions: Versions,
    (stats, origins): (&mut ProxyStats, Option<&mut Origins>),
    state: &mut ProxyConn,
) -> bool {
    let parsed = match proxy::parse(cx.peek(conn), versions) {
        // Its pieces may lie in several frames.
        Parsed::Partial => {
            let mut bytes = [0; HEADER_MAX];
            let len = cx.peek_into(conn, &mut bytes);
            proxy::parse(&bytes[..len], versions)
        }
        parsed => parsed,
    };
    match parsed {
        Parsed::Header(header) => {
            stats.header(&header);
            // At most HEADER_MAX.
            cx.consume(conn, header.len as u32);
            cx.clear_timer(conn);
            *state = origins.map_or(ProxyConn::NONE, |origins| origins.insert(header.origin));
            return true;
        }
        Parsed::Partial if has_peer_closed && cx.unread_len(conn) == 0 => {
            // Port scanners do this.
            stats.closed_before += 1;
            cx.close(conn);
        }
        Parsed::Partial if has_peer_closed => {
            stats.truncated += 1;
            cx.abort(conn);
        }
        Parsed::Partial => {}
        Parsed::Malformed(defect) => {
            stats.malformed[defect as usize] += 1;
            cx.abort(conn);
        }
    }
    false
}

/// Bytes of a response's head with what [`with_fields`] adds, at most.
pub(super) const HEAD_MAX: usize = 512;

/// Inserts the fields with the original tuple before the empty line that ends `head`. Returns the length.
pub(super) fn with_fields(origin: &Origin, head: &[u8], into: &mut [u8; HEAD_MAX]) -> usize {
    let fields = head.len().saturating_sub(2);
    let mut rest = &mut into[..];
    // There is room: the longest of each has 240 and 142 bytes.
    let _ = rest.write_all(&head[..fields]);
    let _ = match origin {
        Origin::Local => rest.write_all(b"X-Proxy-Source: local\r\n\r\n"),
        Origin::Unknown => rest.write_all(b"X-Proxy-Source: unknown\r\n\r\n"),
        Origin::Relayed {
            source,
            destination,
        } => write!(
            rest,
            "X-Proxy-Source: {source}\r\nX-Proxy-Destination: {destination}\r\n\r\n"
        ),
    };
    let left = rest.len();
    HEAD_MAX - left
}

/// Counts of the headers of one place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::serve) struct ProxyStats {
    v1: u64,
    v2: u64,
    local: u64,
    unknown: u64,
    crc32c_verified: u64,
    closed_before: u64,
    truncated: u64,
    timed_out: u64,
    malformed: [u64; Defect::ALL.len()],
}

impl ProxyStats {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self {
            v1: 0,
            v2: 0,
            local: 0,
            unknown: 0,
            crc32c_verified: 0,
            closed_before: 0,
            truncated: 0,
            timed_out: 0,
            malformed: [0; Defect::ALL.len()],
        }
    }

    fn header(&mut self, header: &Header) {
        match header.version {
            1 => self.v1 += 1,
            _ => self.v2 += 1,
        }
        self.local += u64::from(header.origin == Origin::Local);
        self.unknown += u64::from(header.origin == Origin::Unknown);
        self.crc32c_verified += u64::from(header.is_crc32c_verified);
    }

    /// Adds what another worker counted.
    pub(super) fn merge(&mut self, other: &Self) {
        for (sum, n) in [
            (&mut self.v1, other.v1),
            (&mut self.v2, other.v2),
            (&mut self.local, other.local),
            (&mut self.unknown, other.unknown),
            (&mut self.crc32c_verified, other.crc32c_verified),
            (&mut self.closed_before, other.closed_before),
            (&mut self.truncated, other.truncated),
            (&mut self.timed_out, other.timed_out),
        ] {
            *sum += n;
        }
        for (sum, n) in self.malformed.iter_mut().zip(other.malformed) {
            *sum += n;
        }
    }

    /// The counts as they stand in results.
    pub(in crate::serve) fn report(&self) -> ProxyReport {
        let named = Defect::ALL
            .map(Defect::name)
            .into_iter()
            .zip(self.malformed);
        let mut aborted: BTreeMap<&'static str, u64> = named.filter(|&(_, n)| n > 0).collect();
        for (name, n) in [("truncated", self.truncated), ("timed_out", self.timed_out)] {
            if n > 0 {
                aborted.insert(name, n);
            }
        }
        ProxyReport {
            v1: self.v1,
            v2: self.v2,
            local: self.local,
            unknown: self.unknown,
            crc32c_verified: self.crc32c_verified,
            closed_before: self.closed_before,
            aborted,
        }
    }
}

/// The headers of one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::serve) struct ProxyReport {
    /// Headers of version 1.
    pub(in crate::serve) v1: u64,
    /// Headers of version 2.
    pub(in crate::serve) v2: u64,
    /// Of those, LOCAL: the proxy's own connections.
    pub(in crate::serve) local: u64,
    /// Of all, those without a tuple of TCP over IP.
    pub(in crate::serve) unknown: u64,
    /// Of version 2, those with a correct CRC32C.
    pub(in crate::serve) crc32c_verified: u64,
    /// Connections that their peer closed before it sent anything.
    pub(in crate::serve) closed_before: u64,
    /// Connections that were aborted because of their header, by reason.
    pub(in crate::serve) aborted: BTreeMap<&'static str, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_head_has_room_for_the_longest_fields() {
        let end = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
        let end = end.parse().expect("an address");
        let origin = Origin::Relayed {
            source: end,
            destination: end,
        };
        let head = [b'x'; 300];
        let mut into = [0; HEAD_MAX];
        let len = with_fields(&origin, &head, &mut into);
        assert!(len < HEAD_MAX);
        let text = String::from_utf8_lossy(&into[298..len]);
        assert_eq!(
            text,
            format!("X-Proxy-Source: {end}\r\nX-Proxy-Destination: {end}\r\n\r\n")
        );
    }
}
