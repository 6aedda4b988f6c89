//! The end of a run: ports close, and the app finishes what it has, or everything is reset.
//!
//! It must never look at more than a bounded number of connections in a turn, nor take anything away from one that the
//! app has not given up.

use super::Worker;
use super::cx::Cx;
use crate::nic::Nic;
use crate::time::Instant;
use crate::worker::app::App;

/// Connections that one step asks the app about, or resets.
const PER_STEP: usize = 64;

/// How far the end has come.
#[derive(Debug, Default)]
pub(super) struct Ending {
    step: Step,
    /// The walk over all connections goes on here.
    next_handle: u32,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Step {
    #[default]
    Running,
    Finishing,
    Aborting,
}

impl<N: Nic, A: App> Worker<N, A> {
    /// A step towards the end, to be followed by a turn. From the first one on all ports are closed: a SYN gets what closed
    /// ports answer, half-open connections are reset when they complete, those that wait to be accepted are reset. Each
    /// connection of the app then hears [`App::on_drain`] once, some of them in each step. False when all have heard it.
    ///
    /// `now` must never go back.
    pub fn finish(&mut self, now: Instant) -> bool {
        if self.ending.step == Step::Running {
            self.ending.step = Step::Finishing;
            self.core.endpoint.ports_closed = true;
            self.empty_accept_queues(now);
        }
        self.walk(now, Step::Finishing)
    }

    /// As [`Worker::finish`], but all connections of the app are reset: for those that [`App::on_drain`] left.
    pub fn abort(&mut self, now: Instant) -> bool {
        self.core.endpoint.ports_closed = true;
        if self.ending.step != Step::Aborting {
            self.ending = Ending {
                step: Step::Aborting,
                next_handle: 0,
            };
            self.empty_accept_queues(now);
        }
        self.walk(now, Step::Aborting)
    }

    fn empty_accept_queues(&mut self, now: Instant) {
        let open = self.core.endpoint.listeners.open();
        let listeners: Vec<_> = open.map(|(listener, _)| listener).collect();
        for listener in listeners {
            self.cx(now).empty_accept_queue(listener);
        }
    }

    fn cx(&mut self, now: Instant) -> Cx<'_, N, A::Conn> {
        Cx::new(&mut self.core, &mut self.hosted.new_states, now)
    }

    fn walk(&mut self, now: Instant, step: Step) -> bool {
        for _ in 0..PER_STEP {
            let after = self.ending.next_handle;
            let (conn, next_handle) = self.cx(now).next_conn(after);
            self.ending.next_handle = next_handle;
            let Some(id) = conn else {
                return next_handle < self.core.endpoint.table.handles();
            };
            if step == Step::Aborting {
                self.cx(now).abort(id);
            } else {
                let table = &self.core.endpoint.table;
                let Some(state) = table.resolve(id).and_then(|found| table.state(found)) else {
                    continue;
                };
                let (app, state, new_states) = self.hosted.parts(state);
                app.on_drain(&mut Cx::new(&mut self.core, new_states, now), id, state);
            }
        }
        true
    }
}
