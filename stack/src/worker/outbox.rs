//! Frames that wait to leave: connection output first, stateless replies behind it, and the buffers that go back to their pool.
//!
//! It must never hold more than two bursts, and never drop connection output that a NIC has no room for: the worker
//! receives little instead.

use crate::counters::{Counter, Counters};
use crate::nic::{Burst, Nic};
use crate::worker::Core;

/// Refusals in a row after which the frame in front is suspected: the NIC is offered what stands behind it.
const REFUSALS_MAX: u32 = 256;

/// Refusals in a row after which the frame in front is given up although nothing that stands behind it passes. More, because
/// most likely the NIC is only full, as memif is while its peer stands still.
const REFUSALS_EVER: u32 = 1 << 20;

/// Of the turns of a worker whose output is stuck, each so many-th receives a burst.
const BLOCKED_TURNS_PER_BURST: u32 = 32;

/// Frames on their way out, bounded.
pub(super) struct Outbox<F> {
    /// Answers that need no connection: dropped first when the NIC refuses.
    replies: Lane<F>,
    /// Frames of connections and of the neighbour table: kept until the NIC takes them.
    connections: Lane<F>,
    /// Buffers to return in bulk.
    freed: Burst<F>,
    /// Turns that began with connection output stuck.
    blocked_turns: u32,
}

/// One queue to the NIC.
struct Lane<F> {
    frames: Burst<F>,
    /// How often in a row the NIC has taken nothing of it.
    refusals: u32,
}

impl<F> Lane<F> {
    const fn new() -> Self {
        Self {
            frames: Burst::new(),
            refusals: 0,
        }
    }

    /// The NIC took `sent` frames and left some. A driver may refuse a frame for ever (net_tap one that is too long) and takes
    /// none behind it then; the frames behind it distinguish it from a NIC that is full.
    #[cold]
    fn refused<N: Nic<Frame = F>>(
        &mut self,
        sent: usize,
        nic: &mut N,
        counters: &mut Counters,
        freed: &mut Burst<F>,
    ) {
        counters.bump(Counter::TxRefused);
        if sent > 0 {
            self.refusals = 0;
            return;
        }
        self.refusals += 1;
        //~ A frame that the NIC never takes is dropped: -> `if true {`;
        //~   a_frame_that_the_nic_never_takes_does_not_keep_others_from_leaving
        if !self.refusals.is_multiple_of(REFUSALS_MAX) {
            return;
        }
        let (mut suspects, mut passed) = (Burst::new(), false);
        while !passed && let Some(front) = self.frames.pop_front() {
            drop(suspects.push(front));
            if !self.frames.is_empty() {
                let sent = nic.tx(&mut self.frames);
                counters.add(Counter::TxFrames, sent as u64);
                passed = sent > 0;
            }
        }
        if !passed {
            self.frames = suspects;
            suspects = Burst::new();
            //~ A NIC that is full loses nothing: -> `if false {`; a_nic_that_is_full_loses_nothing
            //~ A frame that the NIC never takes is given up alone: -> `if true {`;
            //~   a_frame_that_the_nic_never_takes_is_given_up_alone
            if self.refusals < REFUSALS_EVER {
                return;
            }
            suspects.storage_mut().extend(self.frames.pop_front());
        }
        self.refusals = 0;
        while let Some(suspect) = suspects.pop_front() {
            // Once more, now that there is room.
            let mut alone = Burst::new();
            drop(alone.push(suspect));
            let sent = nic.tx(&mut alone);
            counters.add(Counter::TxFrames, sent as u64);
            if let Some(unsendable) = alone.pop_front() {
                counters.bump(Counter::TxUnsendable);
                // A full burst of freed buffers means more than one burst in this turn: this one goes back alone.
                drop(freed.push(unsendable));
            }
        }
    }
}

impl<F> Outbox<F> {
    pub(super) const fn new() -> Self {
        Self {
            replies: Lane::new(),
            connections: Lane::new(),
            freed: Burst::new(),
            blocked_turns: 0,
        }
    }

    /// A stateless reply. When a whole burst waits already it is dropped, and counted.
    #[inline]
    pub(super) fn reply(&mut self, frame: F, counters: &mut Counters) {
        if let Err(frame) = self.replies.frames.push(frame) {
            counters.bump(Counter::TxRepliesDropped);
            self.free(frame);
        }
    }

    /// Frames of connections that can still be taken this turn.
    pub(super) fn connection_room(&self) -> usize {
        self.connections.frames.room()
    }

    /// A frame of a connection; the caller has asked for room. Without any it is dropped and counted.
    pub(super) fn connection(&mut self, frame: F, counters: &mut Counters) {
        if let Err(frame) = self.connections.frames.push(frame) {
            counters.bump(Counter::TxNoRoom);
            self.free(frame);
        }
    }

    /// Returns a buffer that is not needed any more.
    #[inline]
    pub(super) fn free(&mut self, frame: F) {
        // A full burst of freed buffers means more than one burst in this turn: this one goes back alone.
        drop(self.freed.push(frame));
    }

    /// Whether nothing waits to leave.
    pub(super) fn is_empty(&self) -> bool {
        self.replies.frames.is_empty() && self.connections.frames.is_empty()
    }

    /// Whether the worker may receive in this turn. While connection output is stuck, receiving would only add to it; but now and
    /// then it may all the same: a peer that waits until we receive, and whose frames fill the link, would wait for ever.
    #[inline]
    pub(super) fn may_receive(&mut self) -> bool {
        //~ A worker whose output is stuck stops receiving: `self.connections.frames.room() > 0` -> `true`;
        //~   a_worker_that_cant_send_receives_little
        self.connections.frames.room() > 0 || self.may_receive_blocked()
    }

    #[cold]
    fn may_receive_blocked(&mut self) -> bool {
        self.blocked_turns = self.blocked_turns.wrapping_add(1);
        //~ A worker whose output is stuck receives now and then: -> `false`; a_worker_that_cant_send_receives_little
        self.blocked_turns.is_multiple_of(BLOCKED_TURNS_PER_BURST)
    }
}

impl<N: Nic> Core<N> {
    /// The send stage: everything that waits goes to the NIC, connections first; what it refuses stays.
    #[inline]
    pub(super) fn send(&mut self) {
        let Outbox {
            replies,
            connections,
            freed,
            ..
        } = &mut self.outbox;
        for lane in [connections, replies] {
            if lane.frames.is_empty() {
                continue;
            }
            let counters = &mut self.endpoint.counters;
            let sent = self.nic.tx(&mut lane.frames);
            counters.add(Counter::TxFrames, sent as u64);
            if lane.frames.is_empty() {
                lane.refusals = 0;
            } else {
                lane.refused(sent, &mut self.nic, counters, freed);
            }
        }
        if !freed.is_empty() {
            self.nic.free(freed);
        }
    }
}
