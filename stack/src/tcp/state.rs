//! The connection states and the one table by which they change: the diagram of RFC 9293 §3.3.2 (Figure 5) with the
//! state changes that its §3.10 adds in prose.
//!
//! It must never act: what a change entails stands where the change is asked for. A pair that the table does not define
//! is ignored and counted, since a peer can cause it.

use core::fmt;

/// The states of RFC 9293 §3.3.2. SYN-RECEIVED remembers how it came about (MUST-11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// No connection at all.
    Closed,
    /// Waiting for a connection request.
    Listen,
    /// SYN sent, waiting for one in return.
    SynSent,
    /// SYN received on a listener, waiting for the ACK of ours.
    SynReceivedPassive,
    /// SYN received in answer to our own active open (simultaneous open), waiting for the ACK of ours.
    SynReceivedActive,
    /// Open in both directions.
    Established,
    /// We closed; our FIN isn't acknowledged (or not even sent while data is queued before it).
    FinWait1,
    /// Our FIN is acknowledged; the peer may still send.
    FinWait2,
    /// The peer closed; we may still send.
    CloseWait,
    /// Both closed at once; our FIN isn't acknowledged.
    Closing,
    /// The peer closed first, then we; our FIN isn't acknowledged.
    LastAck,
    /// Both FINs are acknowledged; waiting for old segments to die.
    TimeWait,
}

/// How many states there are.
pub const STATE_COUNT: usize = 12;

/// The events of the state machine. Segment events are the verified ones: an unacceptable segment is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Event {
    /// The application listens.
    PassiveOpen,
    /// The application connects.
    ActiveOpen,
    /// The application closes, or ends its sending direction.
    Close,
    /// The application aborts, or we must (unread data, data after close).
    Abort,
    /// A SYN without an ACK of ours.
    Syn,
    /// A SYN that acknowledges ours, in SYN-SENT.
    SynAck,
    /// An ACK of our SYN, in SYN-RECEIVED.
    AckOfSyn,
    /// A FIN, in order.
    Fin,
    /// An ACK of our FIN.
    AckOfFin,
    /// An acceptable RST.
    Rst,
    /// R2, keepalive or FIN-WAIT-2 ran out.
    Timeout,
    /// 2 MSL passed in TIME-WAIT.
    TwoMsl,
}

/// How many events there are.
pub const EVENT_COUNT: usize = 12;

impl State {
    /// All states, in declaration order.
    pub const ALL: [Self; STATE_COUNT] = [
        Self::Closed,
        Self::Listen,
        Self::SynSent,
        Self::SynReceivedPassive,
        Self::SynReceivedActive,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::TimeWait,
    ];

    /// The RFC's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Listen => "LISTEN",
            Self::SynSent => "SYN-SENT",
            Self::SynReceivedPassive => "SYN-RECEIVED (passive)",
            Self::SynReceivedActive => "SYN-RECEIVED (active)",
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::CloseWait => "CLOSE-WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST-ACK",
            Self::TimeWait => "TIME-WAIT",
        }
    }

    /// Either form of SYN-RECEIVED.
    #[must_use]
    #[inline]
    pub const fn is_syn_received(self) -> bool {
        matches!(self, Self::SynReceivedPassive | Self::SynReceivedActive)
    }

    /// Whether the peer may still send text: nothing of it was closed yet (seventh step of §3.10.7.4).
    #[must_use]
    #[inline]
    pub const fn takes_text(self) -> bool {
        matches!(self, Self::Established | Self::FinWait1 | Self::FinWait2)
    }

    /// Whether queued data and a FIN may still go out.
    #[must_use]
    #[inline]
    pub const fn sends_text(self) -> bool {
        matches!(
            self,
            Self::Established | Self::CloseWait | Self::FinWait1 | Self::Closing | Self::LastAck
        )
    }

    /// Whether the peer's FIN has arrived.
    #[must_use]
    #[inline]
    pub const fn peer_has_closed(self) -> bool {
        matches!(
            self,
            Self::CloseWait | Self::Closing | Self::LastAck | Self::TimeWait
        )
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Event {
    /// All events, in declaration order.
    pub const ALL: [Self; EVENT_COUNT] = [
        Self::PassiveOpen,
        Self::ActiveOpen,
        Self::Close,
        Self::Abort,
        Self::Syn,
        Self::SynAck,
        Self::AckOfSyn,
        Self::Fin,
        Self::AckOfFin,
        Self::Rst,
        Self::Timeout,
        Self::TwoMsl,
    ];

    /// A short name for diagrams and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PassiveOpen => "passive OPEN",
            Self::ActiveOpen => "active OPEN",
            Self::Close => "CLOSE",
            Self::Abort => "ABORT",
            Self::Syn => "rcv SYN",
            Self::SynAck => "rcv SYN,ACK",
            Self::AckOfSyn => "rcv ACK of SYN",
            Self::Fin => "rcv FIN",
            Self::AckOfFin => "rcv ACK of FIN",
            Self::Rst => "rcv RST",
            Self::Timeout => "timeout",
            Self::TwoMsl => "2MSL",
        }
    }
}

/// One arrow of the diagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Where it starts.
    pub from: State,
    /// The event that causes it.
    pub event: Event,
    /// Where it ends.
    pub to: State,
}

/// The diagram, an arrow a line. `step`, the DOT picture and the exhaustive test are all made from it.
#[rustfmt::skip]
pub const TABLE: &[Transition] = {
    use Event as E;
    use State as S;
    const fn arrow(from: State, event: Event, to: State) -> Transition {
        Transition { from, event, to }
    }
    &[
        arrow(S::Closed, E::PassiveOpen, S::Listen),                    // §3.10.1
        arrow(S::Closed, E::ActiveOpen, S::SynSent),
        arrow(S::Listen, E::ActiveOpen, S::SynSent),
        arrow(S::Listen, E::Syn, S::SynReceivedPassive),                // §3.10.7.2
        arrow(S::SynSent, E::SynAck, S::Established),                   // §3.10.7.3
        arrow(S::SynSent, E::Syn, S::SynReceivedActive),
        arrow(S::SynReceivedPassive, E::AckOfSyn, S::Established),      // §3.10.7.4, fifth
        arrow(S::SynReceivedActive, E::AckOfSyn, S::Established),
        arrow(S::SynReceivedPassive, E::Syn, S::Listen),                // §3.10.7.4, fourth
        arrow(S::SynReceivedPassive, E::Fin, S::CloseWait),             // §3.10.7.4, eighth
        arrow(S::SynReceivedActive, E::Fin, S::CloseWait),
        arrow(S::Established, E::Fin, S::CloseWait),
        arrow(S::FinWait1, E::Fin, S::Closing),
        arrow(S::FinWait2, E::Fin, S::TimeWait),
        arrow(S::FinWait1, E::AckOfFin, S::FinWait2),                   // §3.10.7.4, fifth
        arrow(S::Closing, E::AckOfFin, S::TimeWait),
        arrow(S::LastAck, E::AckOfFin, S::Closed),
        arrow(S::TimeWait, E::Syn, S::SynReceivedPassive),              // MAY-2, RFC 6191
        arrow(S::TimeWait, E::TwoMsl, S::Closed),                       // §3.10.8
        arrow(S::Listen, E::Close, S::Closed),                          // §3.10.4
        arrow(S::SynSent, E::Close, S::Closed),
        arrow(S::SynReceivedPassive, E::Close, S::FinWait1),
        arrow(S::SynReceivedActive, E::Close, S::FinWait1),
        arrow(S::Established, E::Close, S::FinWait1),
        arrow(S::CloseWait, E::Close, S::LastAck),
        arrow(S::SynSent, E::Rst, S::Closed),                           // §3.10.7.3, second
        arrow(S::SynReceivedPassive, E::Rst, S::Listen),                // §3.10.7.4, second
        arrow(S::SynReceivedActive, E::Rst, S::Closed),
        arrow(S::Established, E::Rst, S::Closed),
        arrow(S::FinWait1, E::Rst, S::Closed),
        arrow(S::FinWait2, E::Rst, S::Closed),
        arrow(S::CloseWait, E::Rst, S::Closed),
        arrow(S::Closing, E::Rst, S::Closed),
        arrow(S::LastAck, E::Rst, S::Closed),
        arrow(S::TimeWait, E::Rst, S::Closed),
        arrow(S::Listen, E::Abort, S::Closed),                          // §3.10.5
        arrow(S::SynSent, E::Abort, S::Closed),
        arrow(S::SynReceivedPassive, E::Abort, S::Closed),
        arrow(S::SynReceivedActive, E::Abort, S::Closed),
        arrow(S::Established, E::Abort, S::Closed),
        arrow(S::FinWait1, E::Abort, S::Closed),
        arrow(S::FinWait2, E::Abort, S::Closed),
        arrow(S::CloseWait, E::Abort, S::Closed),
        arrow(S::Closing, E::Abort, S::Closed),
        arrow(S::LastAck, E::Abort, S::Closed),
        arrow(S::TimeWait, E::Abort, S::Closed),
        arrow(S::SynSent, E::Timeout, S::Closed),                       // §3.10.8, user timeout and R2
        arrow(S::SynReceivedPassive, E::Timeout, S::Closed),
        arrow(S::SynReceivedActive, E::Timeout, S::Closed),
        arrow(S::Established, E::Timeout, S::Closed),
        arrow(S::FinWait1, E::Timeout, S::Closed),
        arrow(S::FinWait2, E::Timeout, S::Closed),
        arrow(S::CloseWait, E::Timeout, S::Closed),
        arrow(S::Closing, E::Timeout, S::Closed),
        arrow(S::LastAck, E::Timeout, S::Closed),
    ]
};

/// [`TABLE`] spread out at compile time, so that a step is one load.
const NEXT: [[Option<State>; EVENT_COUNT]; STATE_COUNT] = {
    let mut next = [[None; EVENT_COUNT]; STATE_COUNT];
    let mut i = 0;
    while i < TABLE.len() {
        let arrow = TABLE[i];
        let cell = &mut next[arrow.from as usize][arrow.event as usize];
        assert!(cell.is_none(), "two arrows for one state and event");
        *cell = Some(arrow.to);
        i += 1;
    }
    next
};

/// Where `event` leads from `state`, or `None` when the diagram has no such arrow.
#[must_use]
#[inline]
pub const fn step(state: State, event: Event) -> Option<State> {
    NEXT[state as usize][event as usize]
}

/// Steps taken and steps refused, counted per worker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transitions {
    taken: [[u64; EVENT_COUNT]; STATE_COUNT],
    undefined: u64,
}

impl Transitions {
    /// [`step`], counted.
    #[inline]
    pub fn step(&mut self, state: State, event: Event) -> Option<State> {
        let next = step(state, event);
        if next.is_some() {
            self.taken[state as usize][event as usize] += 1;
        } else {
            self.undefined += 1;
        }
        next
    }

    /// How often this arrow was taken.
    #[must_use]
    pub const fn taken(&self, state: State, event: Event) -> u64 {
        self.taken[state as usize][event as usize]
    }

    /// How often an event met a state for which the diagram has no arrow.
    #[must_use]
    pub const fn undefined(&self) -> u64 {
        self.undefined
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the diagram in Graphviz's DOT language.
    fn write_dot(out: &mut impl fmt::Write) -> fmt::Result {
        writeln!(
            out,
            "digraph tcp {{\n  rankdir=TB;\n  node [shape=box, fontname=monospace];"
        )?;
        for state in State::ALL {
            writeln!(out, "  s{} [label=\"{state}\"];", state as u8)?;
        }
        for arrow in TABLE {
            let (from, to, event) = (arrow.from as u8, arrow.to as u8, arrow.event.name());
            writeln!(out, "  s{from} -> s{to} [label=\"{event}\"];")?;
        }
        writeln!(out, "}}")
    }

    /// Writes the diagram in Mermaid's language, which code hosts draw.
    fn write_mermaid(out: &mut impl fmt::Write) -> fmt::Result {
        writeln!(out, "flowchart TD")?;
        for state in State::ALL {
            writeln!(out, "  s{}[\"{state}\"]", state as u8)?;
        }
        for arrow in TABLE {
            let (from, to, event) = (arrow.from as u8, arrow.to as u8, arrow.event.name());
            writeln!(out, "  s{from} -- \"{event}\" --> s{to}")?;
        }
        Ok(())
    }

    #[test]
    fn every_pair_agrees_with_a_search_of_the_diagram() {
        let mut counts = Transitions::default();
        let mut undefined = 0;
        for (i, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, i);
            for (j, event) in Event::ALL.into_iter().enumerate() {
                assert_eq!(event as usize, j);
                let arrow = TABLE.iter().find(|a| a.from == state && a.event == event);
                assert_eq!(step(state, event), arrow.map(|a| a.to), "{state} {event:?}");
                assert_eq!(counts.step(state, event), arrow.map(|a| a.to));
                assert_eq!(counts.taken(state, event), u64::from(arrow.is_some()));
                undefined += u64::from(arrow.is_none());
            }
        }
        assert_eq!(counts.undefined(), undefined);
        assert_eq!(undefined as usize + TABLE.len(), STATE_COUNT * EVENT_COUNT);
    }

    /// Properties of the RFC's diagram that a slip in the table would break.
    #[test]
    fn the_diagram_is_the_rfcs() {
        for state in State::ALL {
            // RST, abort and time end everything that isn't closed; a passive embryo falls back to LISTEN.
            if !matches!(state, State::Closed | State::Listen) {
                let end = if state == State::SynReceivedPassive {
                    State::Listen
                } else {
                    State::Closed
                };
                assert_eq!(step(state, Event::Rst), Some(end), "{state}");
            }
            assert_eq!(
                step(state, Event::Abort).is_some(),
                state != State::Closed,
                "{state}"
            );
            // Every state is reached, and every state reaches CLOSED.
            assert!(
                state == State::Closed || TABLE.iter().any(|a| a.to == state),
                "{state}"
            );
        }
        let walk = |events: &[Event]| {
            events
                .iter()
                .try_fold(State::Closed, |state, &event| step(state, event))
        };
        use Event::{AckOfFin, AckOfSyn, ActiveOpen, Close, Fin, PassiveOpen, Syn, SynAck, TwoMsl};
        assert_eq!(
            walk(&[ActiveOpen, SynAck, Close, AckOfFin, Fin]),
            Some(State::TimeWait)
        );
        assert_eq!(
            walk(&[ActiveOpen, SynAck, Close, Fin, AckOfFin, TwoMsl]),
            Some(State::Closed)
        );
        assert_eq!(walk(&[ActiveOpen, Syn, AckOfSyn]), Some(State::Established));
        assert_eq!(
            walk(&[PassiveOpen, Syn, AckOfSyn, Fin, Close, AckOfFin]),
            Some(State::Closed)
        );
        assert_eq!(walk(&[PassiveOpen, Fin]), None);
    }

    #[test]
    fn the_picture_has_every_arrow() {
        let mut dot = String::new();
        write_dot(&mut dot).unwrap();
        assert_eq!(dot.matches(" -> ").count(), TABLE.len());
        for state in State::ALL {
            assert!(dot.contains(state.name()));
        }
        let kept = include_str!("../../../docs/reference/tcp-states.dot");
        assert!(
            kept == dot,
            "docs/reference/tcp-states.dot should be:\n{dot}"
        );
    }

    #[test]
    fn the_page_shows_the_same_picture() {
        let mut mermaid = String::new();
        write_mermaid(&mut mermaid).unwrap();
        let page = include_str!("../../../docs/reference/tcp-states.md");
        assert!(
            page.contains(&format!("```mermaid\n{mermaid}```")),
            "docs/reference/tcp-states.md should show:\n{mermaid}"
        );
    }
}
