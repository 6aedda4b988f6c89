//! Operations under way: [`Operations`] and [`Connections`], each a slab of fixed size, linked by number.
//!
//! It must never grow: what finds no place is not begun.

use stack::app::ConnId;

use super::response::Framing;

/// No number.
pub(super) const NONE: u32 = u32::MAX;

/// How far a reply was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Nothing, or part of the head.
    Head,
    /// Up to here in the body.
    Body(Framing),
    /// Bytes of an exact reply that came and were right.
    Exact(u32),
    /// All.
    Over,
}

/// An operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    /// When it was due; as `begun_ns` in a closed loop.
    pub(super) due_ns: u64,
    pub(super) begun_ns: u64,
    /// When its request was sent; 0 while it was not.
    pub(super) sent_ns: u64,
    /// The next one on the same connection.
    pub(super) next: u32,
    /// Its connection.
    pub(super) conn: u32,
    /// The ones that were begun before and after it and have not ended.
    pub(super) older: u32,
    pub(super) newer: u32,
    /// Which request.
    pub(super) request: u16,
    pub(super) status: u16,
    pub(super) reading: Reading,
    /// Its first byte came.
    pub(super) has_begun_reply: bool,
    /// The server closes the connection behind its reply.
    pub(super) closes: bool,
    /// It lies in the window.
    pub(super) is_timed: bool,
    /// Its connection was opened for it.
    pub(super) opens: bool,
}

/// The times of an operation up to now, and which of them count. Copied alone: all of an operation would be loaded over what was just
/// stored into it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub(super) due_ns: u64,
    pub(super) begun_ns: u64,
    pub(super) sent_ns: u64,
    pub(super) is_timed: bool,
    pub(super) opens: bool,
}

impl Operation {
    #[inline]
    pub(super) const fn timing(&self) -> Timing {
        Timing {
            due_ns: self.due_ns,
            begun_ns: self.begun_ns,
            sent_ns: self.sent_ns,
            is_timed: self.is_timed,
            opens: self.opens,
        }
    }
}

/// The state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its handshake is under way.
    Opening,
    Open,
    /// Nothing more is asked on it.
    Closing,
}

/// A connection, in one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Connection {
    pub(super) id: ConnId,
    /// When it was asked for.
    pub(super) connect_ns: u64,
    /// When it was established, or its last whole reply came.
    pub(super) heard_ns: u64,
    /// When we closed it.
    pub(super) closed_ns: u64,
    /// The oldest operation and the newest.
    pub(super) first: u32,
    pub(super) last: u32,
    /// How many there are.
    pub(super) depth: u16,
    /// How many there were, these included.
    pub(super) asked: u32,
    pub(super) target: u16,
    /// Bulk: where in the pattern the next byte that is sent stands, and the next one that comes.
    pub(super) sent_at: u16,
    pub(super) received_at: u16,
    pub(super) stage: Stage,
    pub(super) was_established: bool,
    /// It stands in the list of those that can take another operation.
    pub(super) is_listed: bool,
    /// Its timer runs.
    pub(super) has_timer: bool,
    /// Its tuple was used before.
    pub(super) is_reused: bool,
    /// Bulk: something came.
    pub(super) has_received: bool,
}

const _: () = assert!(size_of::<Option<Connection>>() == 64);

impl Connection {
    /// A connection that is asked for now.
    pub(super) fn opening(id: ConnId, now_ns: u64, target: u16, is_reused: bool) -> Self {
        Self {
            id,
            connect_ns: now_ns,
            heard_ns: now_ns,
            closed_ns: 0,
            first: NONE,
            last: NONE,
            depth: 0,
            asked: 0,
            target,
            sent_at: 0,
            received_at: 0,
            stage: Stage::Opening,
            was_established: false,
            is_listed: false,
            has_timer: false,
            is_reused,
            has_received: false,
        }
    }
}

/// A slab: places by number, those that are free in a list.
#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    /// Bytes of a place.
    pub(super) const PLACE_BYTES: usize = size_of::<Option<T>>() + size_of::<u32>();

    /// With so many places.
    pub(super) fn new(places: u32) -> Self {
        Self {
            places: (0..places).map(|_| None).collect(),
            free: (0..places).rev().collect(),
        }
    }

    /// Takes a place for a value that is still to be made: it is [filled](Slab::fill) or [released](Slab::release).
    #[inline]
    pub(super) fn reserve(&mut self) -> Option<u32> {
        self.free.pop()
    }

    /// Puts a value into a reserved place.
    #[inline]
    pub(super) fn fill(&mut self, index: u32, value: T) {
        if let Some(place) = self.places.get_mut(index as usize) {
            *place = Some(value);
        }
    }

    /// Gives a reserved place back, without a value.
    pub(super) fn release(&mut self, index: u32) {
        self.free.push(index);
    }

    /// Gives back a place and its value.
    #[inline]
    pub(super) fn free(&mut self, index: u32) {
        if let Some(place) = self.places.get_mut(index as usize)
            && place.is_some()
        {
            *place = None;
            self.free.push(index);
        }
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.places.get(index as usize)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.places.get_mut(index as usize)?.as_mut()
    }

    /// Places that are free.
    pub(super) fn room(&self) -> usize {
        self.free.len()
    }

    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Places in use, reserved ones included.
    pub(super) fn len(&self) -> u32 {
        (self.places.len() - self.free.len()) as u32
    }

    /// Numbers of places, used or not.
    pub(super) fn places(&self) -> u32 {
        self.places.len() as u32
    }
}
