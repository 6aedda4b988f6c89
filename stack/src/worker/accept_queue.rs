//! [`AcceptQueues`]: established connections that wait for the application to take them, per listener.
//!
//! It must never hold more than a listener's backlog and one, as on Linux, and never allocate but where a port opens.

use std::collections::VecDeque;

use crate::conn::ConnId;
use crate::conn::connections::Slot;
use crate::local::listener::{ListenerConfig, ListenerId, Listeners};

/// A connection that waits: it stays in its slot for as long as it does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Established {
    pub(super) id: ConnId,
    pub(super) slot: Slot,
}

/// The queue of one listener.
#[derive(Debug)]
struct Queue {
    waiting: VecDeque<Established>,
    /// How many may wait.
    places: u32,
    /// Handshakes that got no further for want of a place, here or among the embryos.
    refused: u64,
}

/// The queues of all listeners of one worker.
#[derive(Debug)]
pub(super) struct AcceptQueues {
    /// By the number of their listener.
    queues: Vec<Queue>,
    /// More than these can't wait.
    connections: u64,
    /// How many of them are full: a flood of SYNs asks for no more.
    full: u32,
    /// While the application hears of a connection, that one: the youngest of its listener's. Most are taken then, and never
    /// see the queue.
    newest: Option<(ListenerId, Established)>,
}

impl Queue {
    fn is_full(&self) -> bool {
        self.waiting.len() >= self.places as usize
    }
}

impl AcceptQueues {
    /// Empty queues, each for its listener's backlog and one, but for no more than `connections`: so many there can be.
    #[must_use]
    pub(super) fn new(listeners: &Listeners, connections: u64) -> Self {
        let mut queues = Self {
            queues: Vec::new(),
            connections,
            full: 0,
            newest: None,
        };
        for (id, config) in listeners.open() {
            queues.open(id, config);
        }
        queues
    }

    /// A queue for a new listener, whose number is the next one.
    pub(super) fn open(&mut self, listener: ListenerId, config: &ListenerConfig) {
        debug_assert_eq!(usize::from(listener.0), self.queues.len());
        let places = config.backlog.saturating_add(1);
        let reserved = u64::from(places).min(self.connections);
        self.queues.push(Queue {
            waiting: VecDeque::with_capacity(reserved as usize),
            places,
            refused: 0,
        });
    }

    /// The listener was closed, and its queue was emptied: the memory goes.
    pub(super) fn close(&mut self, listener: ListenerId) {
        if let Some(queue) = self.queues.get_mut(usize::from(listener.0)) {
            debug_assert!(queue.waiting.is_empty(), "they were reset before");
            queue.waiting = VecDeque::new();
        }
    }

    /// Whether a listener's queue takes no more.
    #[must_use]
    #[inline]
    pub(super) fn is_full(&self, listener: ListenerId) -> bool {
        let queue = self.queues.get(usize::from(listener.0));
        queue.is_none_or(Queue::is_full)
    }

    /// Whether the queue of any listener takes no more.
    #[must_use]
    #[inline]
    pub(super) fn is_any_full(&self) -> bool {
        self.full > 0
    }

    /// Connections that wait.
    #[must_use]
    pub(super) fn len(&self, listener: ListenerId) -> usize {
        let queue = self.queues.get(usize::from(listener.0));
        let is_newest = self.newest.is_some_and(|(of, _)| of == listener);
        queue.map_or(0, |queue| queue.waiting.len()) + usize::from(is_newest)
    }

    /// Counts a segment of a handshake that got no further for want of a place.
    pub(super) fn refuse(&mut self, listener: ListenerId) {
        if let Some(queue) = self.queues.get_mut(usize::from(listener.0)) {
            queue.refused += 1;
        }
    }

    /// Segments of handshakes that got no further for want of a place: SYNs that found the backlog full and were dropped,
    /// ACKs that found the accept queue full.
    #[must_use]
    pub(super) fn refused(&self, listener: ListenerId) -> u64 {
        let queue = self.queues.get(usize::from(listener.0));
        queue.map_or(0, |queue| queue.refused)
    }

    /// A connection that the application is about to hear of. [`AcceptQueues::keep_newest`] follows; the caller has asked whether
    /// the queue is full.
    #[inline(always)]
    pub(super) fn offer(&mut self, listener: ListenerId, newest: Established) {
        self.newest = Some((listener, newest));
    }

    /// The application has heard of the newest connection: one that it has not taken waits.
    #[inline(always)]
    pub(super) fn keep_newest(&mut self) {
        if let Some((listener, newest)) = self.newest.take() {
            self.push(listener, newest);
        }
    }

    #[inline(never)]
    fn push(&mut self, listener: ListenerId, newest: Established) {
        if let Some(queue) = self.queues.get_mut(usize::from(listener.0)) {
            queue.waiting.push_back(newest);
            self.full += u32::from(queue.waiting.len() == queue.places as usize);
        }
    }

    /// The connection that has waited longest, which may have ended meanwhile.
    #[inline]
    pub(super) fn pop(&mut self, listener: ListenerId) -> Option<Established> {
        let queue = self.queues.get_mut(usize::from(listener.0))?;
        let Some(oldest) = queue.waiting.pop_front() else {
            let newest = self.newest.take_if(|(of, _)| *of == listener);
            return newest.map(|(_, newest)| newest);
        };
        self.full -= u32::from(queue.waiting.len() + 1 == queue.places as usize);
        Some(oldest)
    }
}
