//! Echo (RFC 862): the frame that brought bytes is the frame that takes them back.
//!
//! It must never copy, and never take bytes that the send queue has no place for: they stay unread, and the peer's
//! window closes.

use stack::app::{Cx, TxItem};
use stack::conn::ConnId;
use stack::nic::Nic;

use super::Conn;
use super::stats::SiteStats;

/// Echoes what waits. Once everything is echoed and the peer has closed (or `last`), closes too.
pub(super) fn run<N: Nic, S>(
    cx: &mut Cx<'_, N, S>,
    conn: ConnId,
    state: &Conn,
    stats: &mut SiteStats,
    last: bool,
) {
    while cx.has_room(conn) {
        let Some(chunk) = cx.take(conn) else {
            if state.peer_closed || last {
                cx.close(conn);
            }
            return;
        };
        stats.bytes_in += u64::from(chunk.len);
        stats.bytes_out += u64::from(chunk.len);
        let item = TxItem::Owned {
            frame: chunk.frame,
            start: chunk.start,
            len: chunk.len,
        };
        if cx.send(conn, item).is_err() {
            // There was a place, so the connection can't send any more; its bytes have nowhere to go.
            cx.abort(conn);
            return;
        }
    }
}
