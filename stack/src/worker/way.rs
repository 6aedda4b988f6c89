//! The way of a connection's frames, as received ones show it (docs/decisions/0016, 0033).
//!
//! It must never be taught by a segment that TCP has not accepted.

use super::endpoint::Endpoint;
use crate::conn::TickMs;
use crate::conn::connections::{Conn, LinkPeer};
use crate::counters::Counter;
use crate::time::Instant;
use crate::wire::ethernet::MacAddr;

/// Where a frame came from, seen from the way of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CameFrom {
    /// From there, or it has shown the way.
    There,
    /// From another link-layer address than the connection's frames go to, and will go to.
    Elsewhere,
}

/// The frame of a valid segment shows where frames of its connection go. It is copied into its place: one that is built beside
/// it from such small pieces is read before those have reached the cache.
#[inline(always)]
pub(super) fn learn_link(
    conn: &mut Conn,
    bytes: &[u8],
    is_progress: bool,
    now: Instant,
) -> CameFrom {
    let Some((_, mac)) = bytes
        .first_chunk::<12>()
        .and_then(|both| both.split_last_chunk::<6>())
    else {
        return CameFrom::There;
    };
    //~ Where we were led by the neighbour table, another source shows no way: `conn.has(Conn::ASKS_WAY)` -> `false`;
    //~   frames_from_another_link_address_lead_no_active_open_away
    if conn.has(Conn::ASKS_WAY)
        && let Some(link) = &mut conn.link
        && link.mac.0 != *mac
    {
        //~ An acknowledgment of something new confirms the way that it took: `if is_progress` -> `if false`;
        //~   answers_from_elsewhere_confirm_the_way_by_what_they_acknowledge
        if is_progress {
            link.heard_at = TickMs::at(now);
        }
        return CameFrom::Elsewhere;
    }
    let link = conn
        .link
        .get_or_insert(LinkPeer::new(MacAddr([0; 6]), TickMs(0)));
    link.mac.0 = *mac;
    link.heard_at = TickMs::at(now);
    CameFrom::There
}

impl Endpoint {
    /// Counts a segment by where it came from.
    #[inline(always)]
    pub(super) fn count_way(&mut self, way: CameFrom) {
        if way == CameFrom::Elsewhere {
            self.counters.bump(Counter::ConnFromElsewhere);
        }
    }
}
