//! Frames that an application keeps beyond the callback that read them, in a connection: as a proxy does until its other side is
//! open, or has room.
//!
//! It must never let a frame outlast its connection.

use super::cx::Cx;
use crate::conn::ConnId;
use crate::nic::Nic;
use crate::queue::claim::Claim;
use crate::queue::rx_queue::Chunk;

/// Keeping. Frames of any connection may be kept in any: most often in that which is to send them.
impl<N: Nic, S> Cx<'_, N, S> {
    /// Keeps what [`Cx::take`] gave, behind what this connection keeps already. It takes a place among those for received bytes
    /// ([`crate::config::Limits::queue_items`]), and a connection that keeps something never parks. What is kept when the connection
    /// ends is gone.
    ///
    /// # Errors
    /// The chunk, when the connection has ended, no open record is free, or the places are used up.
    pub fn keep(&mut self, conn: ConnId, chunk: Chunk<N::Frame>) -> Result<(), Chunk<N::Frame>> {
        let slot = self.unparked_slot(conn);
        let Some(parts) = slot.and_then(|slot| self.core.conns.parts(slot)) else {
            return Err(chunk);
        };
        //~ Kept frames leave places to others: `parts.chunks.has_receive_room(Claim::More)` -> `true`;
        //~   places_for_what_others_receive_are_left
        if !parts.chunks.has_receive_room(Claim::More) {
            return Err(chunk);
        }
        parts.conn.kept.push(parts.chunks, chunk)
    }

    /// Whether [`Cx::keep`] has a place for a frame that is taken next. When it is false, leave unread what waits: the peer stops when
    /// its window is used up.
    #[must_use]
    pub fn can_keep(&self) -> bool {
        self.core.conns.chunks.has_receive_room(Claim::More)
    }

    /// Takes back what the connection has kept longest.
    pub fn take_kept(&mut self, conn: ConnId) -> Option<Chunk<N::Frame>> {
        let slot = self.open_slot(conn)?;
        let mut parts = self.core.conns.parts(slot)?;
        let chunk = parts.conn.kept.take(parts.chunks)?;
        // It may park again.
        parts.mark_dirty();
        Some(chunk)
    }

    /// The oldest bytes that the connection keeps, as far as they lie in one frame; empty when it keeps none.
    #[must_use]
    pub fn peek_kept(&self, conn: ConnId) -> &[u8] {
        let conns = &self.core.conns;
        let conn = self.open_slot(conn).and_then(|slot| conns.get(slot));
        conn.map_or(&[], |conn| conn.kept.front(&conns.chunks))
    }

    /// Bytes that the connection keeps.
    #[must_use]
    pub fn kept_len(&self, conn: ConnId) -> u32 {
        self.look(conn, |conn| conn.kept.len()).unwrap_or(0)
    }
}
