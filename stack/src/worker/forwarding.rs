//! Frames of one connection sent on another, or back on the same one, without a copy: an echo server, a proxy.
//!
//! It must never take a frame that the other connection has no place for: its bytes stay unread, and the sender's window closes.

use super::cx::Cx;
use crate::conn::ConnId;
use crate::nic::Nic;

/// Forwarding.
impl<N: Nic, S> Cx<'_, N, S> {
    /// Queues on `to` the frames that `from` has received, as far as `to` has room; both may be the same connection. True once the peer
    /// of `from` has closed its direction and all of its bytes are queued: the moment to close or shut down `to`.
    ///
    /// Bytes that wait for room stay unread, and [`crate::worker::app::App::on_writable`] of `to` follows when there is some.
    pub fn forward(&mut self, from: ConnId, to: ConnId) -> bool {
        //~ Forwarding waits for room: -> `while true`;
        //~   a_forwarder_loses_no_byte_when_its_reader_is_slow
        while self.has_room(to)
            && let Some(chunk) = self.take(from)
        {
            let sent = self.send(to, chunk.into());
            debug_assert!(sent.is_ok(), "there was room");
        }
        self.unread_len(from) == 0 && self.peer_closed(from)
    }
}
