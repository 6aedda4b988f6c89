//! Discard (RFC 863): reads and forgets. The same for whatever comes to a connection that we have finished with.
//!
//! It must never answer.

use stack::app::Cx;
use stack::conn::ConnId;
use stack::nic::Nic;

/// Reads all that waits, and says how many bytes that were.
pub(super) fn run<N: Nic, S>(cx: &mut Cx<'_, N, S>, conn: ConnId) -> u64 {
    let mut bytes = 0;
    loop {
        let waiting = u32::try_from(cx.peek(conn).len()).unwrap_or(u32::MAX);
        if waiting == 0 {
            return bytes;
        }
        cx.consume(conn, waiting);
        bytes += u64::from(waiting);
    }
}
