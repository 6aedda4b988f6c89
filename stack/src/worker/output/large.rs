//! How a large segment leaves: whole for the NIC to cut, or in pieces where there are not enough buffers.
//!
//! It must never leave out a segment that the protocol counts as sent without telling it.

use super::{OutputStatus, fill};
use crate::conn::connections::Slot;
use crate::counters::Counter;
use crate::nic::Nic;
use crate::tcp::segment::SendPlan;
use crate::time::Instant;
use crate::worker::Core;
use crate::worker::frame_writer::Path;
use crate::worker::large_segment::LargeSegment;

impl<N: Nic> Core<N> {
    /// A segment that the NIC is to cut, and what follows it.
    #[inline(never)]
    pub(super) fn send_large(
        &mut self,
        slot: Slot,
        large: &LargeSegment,
        path: &Path,
        now: Instant,
    ) -> OutputStatus {
        let Core {
            conns,
            endpoint,
            writer,
            nic,
            ..
        } = self;
        let Some(parts) = conns.parts(slot) else {
            return OutputStatus::Done;
        };
        let cut = large.cut();
        let draft = writer.begin(nic, &mut endpoint.counters, path, &large.whole);
        let frame = draft.and_then(|mut draft| {
            draft.cut(cut);
            fill(draft, path, &large.whole, parts)
        });
        match frame {
            Some(frame) => {
                if cut != 0 {
                    let counters = &mut endpoint.counters;
                    counters.bump(Counter::TxCut);
                    counters.add(Counter::TxCutSegments, large.segments().into());
                }
                self.outbox.connection(frame, &mut endpoint.counters);
            }
            // A NIC may take more buffers than there are.
            None if cut != 0 => self.send_in_pieces(slot, large, path, now),
            None => self.unsent(slot, now),
        }
        if let Some(next) = &large.next {
            self.send_apart(slot, next, path, now);
        }
        match self.conns.get(slot) {
            Some(conn) if !conn.tcb.is_silent(conn.unsent()) => OutputStatus::More,
            _ => OutputStatus::Done,
        }
    }

    /// A large segment for which there were not enough buffers goes in pieces, as far as there are any.
    #[cold]
    fn send_in_pieces(&mut self, slot: Slot, large: &LargeSegment, path: &Path, now: Instant) {
        for plan in large.pieces() {
            self.send_apart(slot, &plan, path, now);
        }
    }

    /// A segment that follows a large one.
    #[cold]
    fn send_apart(&mut self, slot: Slot, plan: &SendPlan, path: &Path, now: Instant) {
        let has_room = self.has_room_for_connections();
        let Core {
            conns,
            endpoint,
            writer,
            nic,
            ..
        } = self;
        let Some(parts) = conns.parts(slot) else {
            return;
        };
        let draft = writer.begin(nic, &mut endpoint.counters, path, plan);
        match draft.and_then(|draft| fill(draft, path, plan, parts)) {
            Some(frame) if has_room => self.outbox.connection(frame, &mut endpoint.counters),
            Some(frame) => {
                endpoint.counters.bump(Counter::TxNoRoom);
                self.outbox.free(frame);
                self.unsent(slot, now);
            }
            None => self.unsent(slot, now),
        }
    }
}
