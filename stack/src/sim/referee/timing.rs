//! The rules on when something is sent again without a hint that it was lost (RFC 6298 §5), and how much after it (RFC 5681
//! §3.1).
//!
//! It must never be stricter than what an endpoint may know that frames don't show.

use core::time::Duration;

use super::segment::SYN;
use super::stream::Stream;
use super::timer::{Loss, NOTICED, Timer};
use super::{Found, Rule, Sent};

/// The time that a clock in milliseconds, and a NIC that refuses a burst, may take off between two transmissions.
const SLACK: Duration = Duration::from_millis(2);

/// The least time from the start of the timer until the timeout of this number: each wait is twice the one before (RFC 6298
/// §5.5), none more than the ceiling.
fn least(floor: Duration, ceiling: Duration, timeouts: u32) -> Duration {
    //~ A timeout that does not double is seen: `floor.saturating_mul(1 << n.min(16))` -> `{ let _ = n; floor }`;
    //~   a_timeout_that_does_not_double
    let wait = |n: u32| floor.saturating_mul(1 << n.min(16)).min(ceiling);
    (0..timeouts).map(wait).sum()
}

/// Judges a segment that occupies numbers. Says whether it is a timeout's.
pub(super) fn judge(sent: &Sent<'_>, own: &mut Stream, found: &mut Found) -> bool {
    let (at, len) = (sent.at, sent.segment.len());
    if len == 0 {
        return false;
    }
    // It has found its path to be smaller, and what it lost to be too large (RFC 4821 §7.7).
    found.is_cut = own.is_cut(at, len);
    if at >= own.next {
        on_new(sent, own, found);
        return false;
    }
    let timing = &mut own.timing;
    if at > timing.left {
        // More of what is being repaired.
        loss_window(sent, timing, found);
        return false;
    }
    // A segment sent again as soon as something is acknowledged answers that: a loss that only the endpoint knows of.
    let answers_ack = timing.by_ack && sent.now - timing.started_at < NOTICED;
    let is_answer = answers_ack || sent.now - timing.repeated_at < NOTICED;
    let is_timeout = at == timing.left && timing.excuses == 0 && !is_answer;
    if is_timeout {
        timing.timeouts += 1;
        let took = elapsed(sent, timing);
        let floor = match (sent.segment.has(SYN), sent.segment.has(super::segment::ACK)) {
            (true, true) => sent.bounds.rto_initial.min(sent.bounds.syn_ack_rto),
            (true, false) => sent.bounds.rto_initial,
            _ => sent.bounds.rto_min,
        };
        let due = least(floor, sent.bounds.rto_max, timing.timeouts);
        //~ A timeout below the floor is seen: -> `if timing.timeouts > 1 && took + SLACK < due {`;
        //~   a_timeout_below_the_floor
        if took + SLACK < due {
            let (rule, n) = match timing.timeouts {
                1 => (Rule::RtoFloor, 1),
                n => (Rule::Backoff, n),
            };
            found.add(rule, || {
                format!("timeout {n} of {at} after {took:?}, before {due:?}")
            });
        }
        timing.since_timeout = Some(len);
        timing.recover = Some(Loss {
            until: own.next,
            is_fast: false,
            is_partial: false,
            since: sent.now,
        });
    } else if at == timing.left {
        // The timer goes on.
        timing.excuses = timing.excuses.saturating_sub(1);
        let loss = timing.recover.get_or_insert(Loss::fast(own.next, sent.now));
        loss.until = loss.until.max(own.next);
    } else {
        // An ACK that was delivered never reached the endpoint: from here on it is counted anew.
        timing.left = at;
        timing.started_at = sent.now;
        timing.started_tsval = None;
        timing.timeouts = 0;
        let loss = timing.recover.get_or_insert(Loss::fast(own.next, sent.now));
        loss.until = loss.until.max(own.next);
    }
    is_timeout
}

/// A segment that goes beyond all that was sent so far.
fn on_new(sent: &Sent<'_>, own: &mut Stream, found: &mut Found) {
    let (at, len) = (sent.at, sent.segment.len());
    let timing = &mut own.timing;
    if own.acked >= own.next {
        own.recovery.on_start(at, sent.now);
        timing.left = at;
        timing.started_tsval = sent.segment.options.timestamps.map(|[tsval, _]| tsval);
        timing.started_at = match timing.started_tsval {
            Some(_) => sent.now,
            None => sent.built_at,
        };
        timing.by_ack = false;
        timing.timeouts = 0;
        timing.is_resent = false;
        timing.recover = timing.recover.filter(|loss| loss.is_fresh(sent.now));
        timing.excuses = timing.recover.is_some().into();
    }
    if at < own.shown {
        // For want of a buffer it didn't leave when it was sent first, which started the timer.
        timing.excuse(1);
    }
    // An endpoint notices later what is delivered, and counts what it has sent till then to the loss.
    if let Some(loss) = &mut timing.recover
        && loss.is_fresh(sent.now)
    {
        loss.until = loss.until.max(at + len);
    }
    loss_window(sent, timing, found);
}

/// How long the timer has run, at most: the segment that started it was built at its TSval.
fn elapsed(sent: &Sent<'_>, timing: &Timer) -> Duration {
    let took = sent.now - timing.started_at;
    match (timing.started_tsval, sent.segment.options.timestamps) {
        (Some(before), Some([tsval, _])) => {
            took.max(Duration::from_millis(tsval.wrapping_sub(before).into()))
        }
        _ => took,
    }
}

/// After a timeout one segment is sent before something is acknowledged (RFC 5681 §3.1: the loss window).
fn loss_window(sent: &Sent<'_>, timing: &mut Timer, found: &mut Found) {
    if let Some(len) = &mut timing.since_timeout {
        *len += sent.segment.len();
        //~ More than a segment after a timeout is seen: -> `if false {`; more_than_one_segment_after_a_timeout
        if *len > sent.mss + 1 {
            let (len, mss) = (*len, sent.mss);
            found.add(Rule::LossWindow, || {
                format!("{len} numbers after a timeout, the MSS is {mss}")
            });
        }
    }
}
