//! Reading over the boundaries of frames: exact lengths and lines, into memory of the app's own.
//!
//! It must never take a part of what was asked for: it reads all of it, or nothing.

use super::cx::Cx;
use crate::conn::ConnId;
use crate::nic::Nic;

/// The result of [`Cx::read_line`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// A line of so many bytes, its line feed included, is read and stands at the front.
    Whole(usize),
    /// Its line feed has not come. Nothing was read.
    Partial,
    /// The line is longer than the place for it. Nothing was read.
    TooLong,
}

impl<N: Nic, S> Cx<'_, N, S> {
    /// Copies the oldest bytes that wait, over the boundaries of frames, as far as they fit `into`; says how many those are.
    /// They stay unread.
    #[must_use]
    pub fn peek_into(&self, conn: ConnId, into: &mut [u8]) -> usize {
        let mut filled = 0;
        self.visit_unread(conn, |bytes| {
            let left = &mut into[filled..];
            let len = bytes.len().min(left.len());
            left[..len].copy_from_slice(&bytes[..len]);
            filled += len;
            len == bytes.len()
        });
        filled
    }

    /// Fills `into` with the oldest bytes, which are read then. False, and nothing is read, when fewer wait.
    #[must_use]
    pub fn read_exact(&mut self, conn: ConnId, into: &mut [u8]) -> bool {
        if (self.unread_len(conn) as usize) < into.len() {
            //~ A length is read whole or not at all; an_exact_length_is_read_whole_or_not_at_all
            return false;
        }
        let filled = self.peek_into(conn, into);
        // No more than wait, which has a number.
        self.consume(conn, filled as u32);
        filled == into.len()
    }

    /// Reads a line into `into`, with the line feed that ends it.
    pub fn read_line(&mut self, conn: ConnId, into: &mut [u8]) -> Line {
        let (mut seen, mut end) = (0, None);
        let limit = into.len();
        self.visit_unread(conn, |bytes| {
            end = bytes
                .iter()
                .position(|&byte| byte == b'\n')
                .map(|at| seen + at + 1);
            seen += bytes.len();
            end.is_none() && seen < limit
        });
        match end {
            Some(len) if len <= limit => {
                let filled = self.peek_into(conn, &mut into[..len]);
                self.consume(conn, filled as u32);
                Line::Whole(len)
            }
            //~ A line waits for its end; a_line_is_read_over_frames_once_its_end_has_come
            None if seen < limit => Line::Partial,
            _ => Line::TooLong,
        }
    }

    /// Shows what waits to be read, frame by frame, until `see` has enough.
    fn visit_unread(&self, conn: ConnId, mut see: impl FnMut(&[u8]) -> bool) {
        let conns = &self.core.conns;
        let Some(slot) = self.open_slot(conn) else {
            return;
        };
        match self.core.lent_to(slot) {
            Some(lent) if lent.unread_len() > 0 => drop(see(lent.bytes())),
            Some(_) => {}
            None => {
                if let Some(conn) = conns.get(slot) {
                    conn.rx.visit(&conns.chunks, see);
                }
            }
        }
    }
}
