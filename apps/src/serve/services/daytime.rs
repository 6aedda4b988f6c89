//! Daytime (RFC 867): one line with the time of day, and the close is ours.
//!
//! It must never read a clock of the system.

use stack::app::Cx;
use stack::conn::ConnId;
use stack::nic::Nic;

use super::stats::SiteStats;
use crate::serve::wall::Wall;

/// Sends the line. False when there was no room for it.
pub(super) fn run<N: Nic, S>(
    cx: &mut Cx<'_, N, S>,
    conn: ConnId,
    wall: &mut Wall,
    stats: &mut SiteStats,
) -> bool {
    wall.second(cx.now());
    let line = wall.daytime();
    let sent = cx.send_bytes(conn, line).unwrap_or(0);
    stats.bytes_out += sent as u64;
    stats.requests += u64::from(sent == line.len());
    sent == line.len()
}
