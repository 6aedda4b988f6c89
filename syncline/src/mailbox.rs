//! [`Mailbox`] and [`Orders`]: how a control thread talks to a thread that polls, without a lock on its path.
//!
//! It must never cost a polling thread more than two loads of lines that are not written, unless it was asked.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer may take. A turn takes microseconds; the rest is for a thread that lost its CPU.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks a polling thread for a copy of what it knows.
#[derive(Debug)]
pub struct Mailbox<T> {
    /// Number of the last question.
    asked: AtomicU64,
    /// Number of the last question that was answered, with the answer.
    answer: Mutex<(u64, Option<T>)>,
    answered: Condvar,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Mailbox<T> {
    /// No question yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            asked: AtomicU64::new(0),
            answer: Mutex::new((0, None)),
            answered: Condvar::new(),
        }
    }

    /// Between two bursts: answers the question that came since the last call, if one did. `served` belongs to the
    /// caller and starts at 0.
    #[inline]
    pub fn serve(&self, served: &mut u64, answer: impl FnOnce() -> T) {
        let asked = self.asked.load(Ordering::Relaxed);
        if asked != *served {
            *served = asked;
            self.put(asked, answer());
        }
    }

    #[cold]
    fn put(&self, number: u64, answer: T) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = (number, Some(answer));
        self.answered.notify_all();
    }

    /// Asks, and waits for the answer. `None` when none came in five seconds: the thread hangs or has ended.
    pub fn ask(&self) -> Option<T> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let deadline = Instant::now() + PATIENCE;
        let mut answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        while answer.0 < number {
            let left = deadline.checked_duration_since(Instant::now())?;
            answer = self
                .answered
                .wait_timeout(answer, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        answer.1.take()
    }
}

/// An order to a polling thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Order {
    /// Send and receive.
    #[default]
    Run,
    /// End what is open, take nothing new.
    Finish,
    /// Break off what is open.
    Abort,
    /// Receive only.
    Drain,
    /// Leave the loop.
    Stop,
}

/// The order of the hour, for any number of threads.
#[derive(Debug)]
pub struct Orders(AtomicU8);

impl Orders {
    /// `first`, until another one is given.
    #[must_use]
    pub const fn new(first: Order) -> Self {
        Self(AtomicU8::new(first as u8))
    }

    /// From now on, do this.
    pub fn give(&self, order: Order) {
        self.0.store(order as u8, Ordering::Relaxed);
    }

    /// The present order.
    #[inline]
    pub fn current(&self) -> Order {
        match self.0.load(Ordering::Relaxed) {
            0 => Order::Run,
            1 => Order::Finish,
            2 => Order::Abort,
            3 => Order::Drain,
            _ => Order::Stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_polling_thread_answers_each_question_once() {
        let (mailbox, orders) = (Mailbox::new(), Orders::new(Order::Run));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut served, mut answers) = (0, 0u64);
                while orders.current() != Order::Stop {
                    mailbox.serve(&mut served, || {
                        answers += 1;
                        answers
                    });
                }
            });
            assert_eq!(
                [mailbox.ask(), mailbox.ask(), mailbox.ask()],
                [Some(1), Some(2), Some(3)]
            );
            orders.give(Order::Stop);
        });
    }
}
