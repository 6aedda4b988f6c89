//! Character generator (RFC 864, over TCP): its pattern without end, until the peer closes.
//!
//! It must never hold the pattern: the queue holds offsets, and a retransmission makes it again.

use stack::app::{Cx, TxItem};
use stack::conn::ConnId;
use stack::nic::Nic;
use stack::queue::pattern::PERIOD_LEN;

use super::Conn;
use super::stats::SiteStats;

/// Bytes of one item: a short queue of them fills a window of a megabyte, and is soon sent at the end.
const ITEM_LEN: u64 = 16 * 1024;

/// Fills the send queue.
pub(super) fn run<N: Nic, S>(
    cx: &mut Cx<'_, N, S>,
    conn: ConnId,
    state: &mut Conn,
    stats: &mut SiteStats,
) {
    loop {
        let start = u64::from(state.pattern_at);
        let item = TxItem::Pattern {
            start,
            len: ITEM_LEN,
        };
        if cx.send(conn, item).is_err() {
            return;
        }
        stats.bytes_out += ITEM_LEN;
        // Below 7030.
        state.pattern_at = ((start + ITEM_LEN) % PERIOD_LEN as u64) as u16;
    }
}
