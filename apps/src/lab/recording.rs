//! [`Recording`]: what happened in a scene, as the stages saw it: frames as bytes, states, neighbour entries, calls.
//!
//! It must never interpret: frames stay bytes.

use std::net::IpAddr;
use std::time::Duration;

use stack::neighbor;
use stack::tcp::state::State;

use super::scenario::{Cast, Client, End, Observation};

/// The events of one scene.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    /// The TCPs that played.
    pub(crate) cast: Cast,
    /// The client's address.
    pub(crate) client: IpAddr,
    /// The server's.
    pub(crate) server: IpAddr,
    /// When it started by the wall clock, since the epoch; `None` in virtual time.
    pub(crate) started_at: Option<Duration>,
    /// Whether a program listens on the server.
    pub(crate) listens: bool,
    /// All of it, in order of time once [`Recording::in_order`] was called.
    pub(crate) events: Vec<Event>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// When, in ns from the start of the scene.
    pub(crate) at_ns: u64,
    /// What.
    pub(crate) what: RecordedEvent,
}

/// The kinds of events.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RecordedEvent {
    /// The host lost its power, or has none from the start.
    PoweredOff(End),
    /// The host has power again.
    PoweredOn(End),
    /// Its cable was pulled, or plugged in again.
    Cable {
        /// Whose.
        side: End,
        /// Whether it is plugged in now.
        plugged: bool,
    },
    /// The machine stands still, or goes on.
    Frozen(End, bool),
    /// Whether a program listens on the server from now on.
    Listening(bool),
    /// The action of the network from now on, in words.
    Network(String),
    /// An application called something: the call as it is written.
    Calls {
        /// Whose.
        side: End,
        /// The connection, 0 where there is none yet.
        conn: u16,
        /// The call.
        call: String,
    },
    /// The neighbour entry for the other end became this; `None`: it is gone.
    Neighbor(End, Option<neighbor::NeighborState>),
    /// A frame was sent.
    Frame {
        /// By whom.
        from: End,
        /// The whole frame from the Ethernet header on.
        bytes: Vec<u8>,
        /// Its outcome.
        fate: Fate,
        /// The network made it: the end never sent it.
        is_forged: bool,
    },
    /// A connection came into this state, by the end's own word.
    State {
        /// Whose.
        side: End,
        /// Which.
        conn: u16,
        /// The state.
        state: State,
    },
    /// An application saw something.
    Sees {
        /// Whose.
        side: End,
        /// The connection, 0 where it isn't known.
        conn: u16,
        /// The call's result that it saw.
        seen: Observation,
    },
}

/// The outcome of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrived then (ns from the start of the scene).
    Arrived(u64),
    /// It never arrived; the word says why.
    Lost(&'static str),
}

impl RecordedEvent {
    /// The order of what happened at the same time: causes before effects.
    fn rank(&self) -> u8 {
        match self {
            Self::PoweredOff(_)
            | Self::PoweredOn(_)
            | Self::Cable { .. }
            | Self::Frozen(..)
            | Self::Listening(_)
            | Self::Network(_) => 0,
            Self::Calls { .. } => 1,
            Self::Neighbor(..) => 2,
            // Events of an application in a turn come before the frames that leave at its end.
            Self::Sees { .. } => 3,
            Self::Frame { .. } => 4,
            Self::State { .. } => 5,
        }
    }
}

impl Recording {
    /// Nothing yet.
    pub(crate) fn new(cast: Cast, addresses: (IpAddr, IpAddr), listens: bool) -> Self {
        Self {
            cast,
            client: addresses.0,
            server: addresses.1,
            started_at: None,
            listens,
            events: Vec::new(),
        }
    }

    /// Adds what happened at that time.
    pub(crate) fn push(&mut self, at_ns: u64, what: RecordedEvent) {
        self.events.push(Event { at_ns, what });
    }

    /// Adds a state, unless it is the one that the connection has already.
    pub(crate) fn push_state(&mut self, at_ns: u64, side: End, conn: u16, state: State) {
        let last = self.events.iter().rev().find_map(|event| match event.what {
            RecordedEvent::State {
                side: whose,
                conn: which,
                state,
            } if (whose, which) == (side, conn) => Some(state),
            _ => None,
        });
        if last.unwrap_or(State::Closed) != state {
            self.push(at_ns, RecordedEvent::State { side, conn, state });
        }
    }

    /// Adds the state of a neighbour entry, unless it is the one that it has already.
    pub(crate) fn push_neighbor(
        &mut self,
        at_ns: u64,
        side: End,
        state: Option<neighbor::NeighborState>,
    ) {
        let last = self.events.iter().rev().find_map(|event| match event.what {
            RecordedEvent::Neighbor(whose, state) if whose == side => Some(state),
            _ => None,
        });
        if last.unwrap_or(None) != state {
            self.push(at_ns, RecordedEvent::Neighbor(side, state));
        }
    }

    /// Sorted by time; at the same time causes before effects, else as it was recorded.
    pub(crate) fn in_order(mut self) -> Self {
        self.events
            .sort_by_key(|event| (event.at_ns, event.what.rank()));
        self
    }

    /// The address of an end.
    pub(crate) fn address(&self, side: End) -> IpAddr {
        if side == Client {
            self.client
        } else {
            self.server
        }
    }
}
