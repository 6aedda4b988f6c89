//! Character generator (RFC 864, over TCP): its pattern without end, until the peer closes.
//!
//! Called by: `services`. It must never hold the pattern: the queue holds offsets, and a retransmission makes it again.

use stack::app::{Cx, TxItem};
use stack::conn::ConnId;
use stack::nic::Nic;

use super::Conn;
use super::stats::SiteStats;

/// The pattern repeats after 95 lines of 72 characters, CR and LF.
const PERIOD: u64 = 95 * 74;
/// Bytes of one item: enough to keep a window of some megabytes open with a short queue, little enough to end soon.
const ITEM_LEN: u64 = 64 * 1024;

/// Fills the send queue.
pub(super) fn run<N: Nic>(
    cx: &mut Cx<'_, N>,
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
        state.pattern_at = ((start + ITEM_LEN) % PERIOD) as u16;
    }
}
