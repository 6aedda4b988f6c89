//! [`AcceptQueues`]: established connections that wait for the application to take them, per listener.
//!
//! It must never hold more than a listener's backlog and one, as on Linux, and never allocate but where a port opens.

use std::collections::VecDeque;

use crate::conn::ConnId;
use crate::local::listener::{ListenerConfig, ListenerId, Listeners};

/// The queue of one listener.
#[derive(Debug)]
struct Queue {
    waiting: VecDeque<ConnId>,
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
        self.queues
            .get(usize::from(listener.0))
            .map_or(0, |queue| queue.waiting.len())
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

    /// Appends a connection; the caller has asked whether the queue is full.
    #[inline]
    pub(super) fn push(&mut self, listener: ListenerId, id: ConnId) {
        if let Some(queue) = self.queues.get_mut(usize::from(listener.0)) {
            queue.waiting.push_back(id);
            self.full += u32::from(queue.waiting.len() == queue.places as usize);
        }
    }

    /// The connection that has waited longest, which may have ended meanwhile.
    #[inline]
    pub(super) fn pop(&mut self, listener: ListenerId) -> Option<ConnId> {
        let queue = self.queues.get_mut(usize::from(listener.0))?;
        let id = queue.waiting.pop_front()?;
        self.full -= u32::from(queue.waiting.len() + 1 == queue.places as usize);
        Some(id)
    }
}
