//! Connections that we have finished with and whose peer has not: what still comes is read and forgotten, for a while, so
//! that no reset takes away what was sent last (RFC 9112 §9.6).
//!
//! It must never leave such a connection without a timer.

use std::time::Duration;

use stack::app::Cx;
use stack::conn::ConnId;
use stack::nic::Nic;

/// How long the peer has.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends a FIN behind what is queued, and gives the peer time for its own: when that is over, the connection's timer closes
/// it.
pub(super) fn finish<N: Nic, S>(cx: &mut Cx<'_, N, S>, conn: ConnId) {
    cx.shutdown(conn);
    let at = cx.now() + PATIENCE;
    cx.set_timer(conn, at);
}
