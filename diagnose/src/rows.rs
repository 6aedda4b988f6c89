//! [`Rows`]: the lines of a connection's ladder: the first ones and the last ones, the rest counted.
//!
//! It must never keep more than its two limits.

use std::collections::VecDeque;

use stack::seq::SeqNum;
use stack::tcp::segment::Segment;
use stack::tcp::state::State;

use crate::dissect::{IcmpError, NeighborFrame};
use crate::side::End;

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// When, in ns since 1970.
    pub at_ns: u64,
    /// By whom.
    pub from: End,
    /// What.
    pub what: RowEvent,
    /// The states of client and server behind it.
    pub states: [Option<State>; 2],
}

/// The contents of a line.
#[derive(Debug, Clone, PartialEq)]
pub enum RowEvent {
    /// A segment.
    Segment {
        /// Its numbers.
        segment: Segment,
        /// Its meaning beyond its flags.
        mark: Mark,
        /// The initial sequence numbers of client and server.
        iss: [SeqNum; 2],
    },
    /// ARP or NDP about one of the ends.
    Neighbor(NeighborFrame),
    /// An ICMP error about the connection.
    Icmp(IcmpError),
}

/// The meaning of a segment beyond its flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mark {
    /// As expected.
    #[default]
    Plain,
    /// Its numbers were sent before.
    Again,
    /// It fills a gap that opened a moment ago: overtaken on the way.
    Overtaken,
    /// It asks whether the other end is there.
    Keepalive,
    /// It asks whether the window is still closed.
    WindowProbe,
    /// It acknowledges nothing new, but opens the window.
    WindowUpdate,
    /// It acknowledges again what was acknowledged.
    DuplicateAck,
    /// Its checksum is wrong: the receiver drops it.
    Corrupted,
}

impl Mark {
    /// As the ladder writes it; nothing for a plain one.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Again => Some("again"),
            Self::Overtaken => Some("overtaken"),
            Self::Keepalive => Some("keepalive"),
            Self::WindowProbe => Some("window probe"),
            Self::WindowUpdate => Some("window update"),
            Self::DuplicateAck => Some("duplicate ACK"),
            Self::Corrupted => Some("wrong checksum"),
        }
    }
}

/// The lines of one connection.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    first: Vec<Row>,
    last: VecDeque<Row>,
    limit: usize,
    left_out: u64,
}

impl Rows {
    /// The first `limit` lines and the last `limit`; 0 keeps none.
    #[must_use]
    pub(crate) fn keeping(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Whether any line is kept.
    #[must_use]
    pub const fn are_kept(&self) -> bool {
        self.limit > 0
    }

    /// Adds a line.
    pub(crate) fn push(&mut self, row: Row) {
        if self.first.len() < self.limit {
            self.first.push(row);
        } else if self.limit > 0 {
            if self.last.len() == self.limit {
                self.last.pop_front();
                self.left_out += 1;
            }
            self.last.push_back(row);
        }
    }

    /// The lines before the gap.
    #[must_use]
    pub fn first(&self) -> &[Row] {
        &self.first
    }

    /// The lines behind the gap.
    pub fn last(&self) -> impl Iterator<Item = &Row> {
        self.last.iter()
    }

    /// Lines in the gap.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }
}
