//! [`turn_until_stopped`]: the loop of one worker. It runs, finishes, aborts, drains and stops as the orders say, and answers
//! questions in between.
//!
//! It must never lock, allocate or call the system while frames come; asked, it copies its counters once.

use dpdk::DpdkNic;
use stack::app::App;
use stack::worker::Worker;

use crate::clock::Clock;
use crate::idle::BackOff;
use crate::mailbox::{Mailbox, Order, Orders};

/// Turns `worker` until [`Order::Stop`], and gives it back. `progress` says what it has done: the worker, the order that it was
/// given last, whether its last turn had something to do.
pub fn turn_until_stopped<A: App, P>(
    mut worker: Worker<DpdkNic, A>,
    mut back_off: BackOff,
    (clock, orders): (Clock, &Orders),
    mailbox: &Mailbox<P>,
    progress: impl Fn(&Worker<DpdkNic, A>, Order, bool) -> P,
) -> Worker<DpdkNic, A> {
    let mut served = 0;
    loop {
        let order = orders.current();
        let now = clock.at(dpdk::cycles());
        let moved = match order {
            Order::Run => worker.turn(now) > 0,
            Order::Finish => {
                let finishes = worker.finish(now);
                worker.turn(now) > 0 || finishes
            }
            Order::Abort => {
                let aborts = worker.abort(now);
                worker.turn(now) > 0 || aborts
            }
            Order::Drain => worker.drain_turn(now),
            Order::Stop => return worker,
        };
        mailbox.serve(&mut served, || progress(&worker, order, moved));
        back_off.rest(moved);
    }
}
