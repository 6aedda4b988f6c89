//! [`Machines`]: both state machines of a connection, followed from outside by the stack's own table of states.
//!
//! It must never assume what only a silent host knows: a state is entered when a segment shows it. A SYN shows nothing of its
//! receiver, a FIN nothing before it is acknowledged.

use stack::seq::SeqNum;
use stack::tcp::segment::Segment;
use stack::tcp::state::{Event, State, step};

use crate::side::End;

/// The states of both ends; `None` while nothing is known of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Machines {
    states: [Option<State>; 2],
    /// The number behind each end's SYN.
    after_syn: [Option<SeqNum>; 2],
    /// The number behind each end's FIN.
    after_fin: [Option<SeqNum>; 2],
}

impl Machines {
    /// Of a connection that was open before the capture began.
    #[must_use]
    pub(crate) const fn in_the_middle() -> Self {
        Self {
            states: [Some(State::Established); 2],
            after_syn: [None; 2],
            after_fin: [None; 2],
        }
    }

    /// The state of an end.
    #[must_use]
    pub const fn state(&self, end: End) -> Option<State> {
        self.states[end as usize]
    }

    /// The number behind the end's FIN, once it has sent one.
    #[must_use]
    pub(crate) const fn after_fin(&self, end: End) -> Option<SeqNum> {
        self.after_fin[end as usize]
    }

    /// Takes a segment that `from` sent, and that its receiver accepts.
    pub(crate) fn take(&mut self, from: End, segment: &Segment) {
        let flags = segment.flags;
        if flags.rst() {
            self.event(from, Event::Abort);
            self.event(from.other(), Event::Rst);
            return;
        }
        if flags.syn() {
            self.syn(from, segment);
        } else if flags.ack() {
            self.acknowledgment(from, segment.ack);
        }
        if flags.fin() && !flags.syn() {
            let known = &mut self.after_fin[from as usize];
            if known.is_none() {
                *known = Some(segment.end());
                self.event(from, Event::Close);
            }
        }
    }

    fn syn(&mut self, from: End, segment: &Segment) {
        let to = from.other();
        self.after_syn[from as usize] = Some(segment.seq.add(1));
        let own = &mut self.states[from as usize];
        if own.is_none() {
            let open = if segment.flags.ack() {
                Event::PassiveOpen
            } else {
                Event::ActiveOpen
            };
            *own = step(State::Closed, open);
        }
        if segment.flags.ack() {
            self.event(from, Event::Syn);
            self.event(to, Event::SynAck);
            self.event(to, Event::AckOfSyn);
        } else if self.states[to as usize] == Some(State::SynSent) {
            // Both at once (§3.5, figure 7): the crossing SYN leads to SYN-RECEIVED.
            self.event(to, Event::Syn);
        }
    }

    /// An ACK shows what its sender has received, and its receiver takes it.
    fn acknowledgment(&mut self, from: End, ack: SeqNum) {
        let to = from.other();
        let covers = |number: Option<SeqNum>| number.is_some_and(|number| !ack.before(number));
        if covers(self.after_syn[to as usize])
            && self.states[to as usize].is_some_and(State::is_syn_received)
        {
            self.event(to, Event::AckOfSyn);
        }
        if covers(self.after_fin[to as usize]) {
            let state = self.states[from as usize];
            if !state.is_some_and(State::peer_has_closed) {
                self.event(from, Event::Fin);
            }
            self.event(to, Event::AckOfFin);
        }
    }

    /// A step, where the table has one.
    fn event(&mut self, end: End, event: Event) {
        let state = &mut self.states[end as usize];
        if let Some(next) = state.and_then(|state| step(state, event)) {
            *state = Some(next);
        }
    }
}
