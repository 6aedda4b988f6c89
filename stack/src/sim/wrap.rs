//! Start times at which a number wraps soon: sequence numbers, timestamps, ticks of the tables.
//!
//! It must never touch the stack: ISS and timestamps are keyed functions of the connection plus a clock (RFC 6528, RFC
//! 7323), so the clock can be chosen for the numbers that it should give.

use core::time::Duration;

use crate::tcp::isn::{IsnKey, Tuple};
use crate::time::Instant;
use crate::worker::Secrets;

/// Nanoseconds of one step of the ISS clock (RFC 6528 §3).
const ISS_STEP_NS: u64 = 4_000;
const MS_NS: u64 = 1_000_000;

/// A start of the clock from which ticks in milliseconds, as 32-bit numbers, wrap after `lead`.
#[must_use]
pub const fn before_ticks_wrap(lead: Duration) -> Instant {
    Instant::from_ns((MS_NS << 32).saturating_sub(lead.as_nanos() as u64))
}

/// A start of the clock from which timestamps (RFC 7323) of the owner of `secrets` to the peer of `tuple` wrap after
/// `lead`.
#[must_use]
pub fn before_timestamps_wrap(secrets: &Secrets, tuple: Tuple, lead: Duration) -> Instant {
    let offset_ms = IsnKey::new(&secrets.isn).timestamp_offset_ms(tuple);
    let wraps_at_ms = (1 << 32) - u64::from(offset_ms);
    later(wraps_at_ms * MS_NS, MS_NS << 32, lead)
}

/// A start of the clock for which the owner of `secrets`, opening `tuple` after `lead`, chooses an ISS of 2^32 − `room`.
#[must_use]
pub fn before_iss_wraps(secrets: &Secrets, tuple: Tuple, lead: Duration, room: u32) -> Instant {
    let at_epoch = IsnKey::new(&secrets.isn).iss(tuple, Instant::ZERO);
    let steps = room.wrapping_neg().wrapping_sub(at_epoch.0);
    later(u64::from(steps) * ISS_STEP_NS, ISS_STEP_NS << 32, lead)
}

/// `lead` before `at_ns`, or a period later when that would be before the epoch.
fn later(at_ns: u64, period_ns: u64, lead: Duration) -> Instant {
    let lead_ns = lead.as_nanos() as u64;
    let at_ns = if at_ns < lead_ns {
        at_ns + period_ns
    } else {
        at_ns
    };
    Instant::from_ns(at_ns - lead_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::isn::Remote;
    use crate::tcp::timestamps::TimestampState;

    #[test]
    fn the_numbers_wrap_when_they_should() {
        let secrets = Secrets {
            flow: [1, 2],
            isn: [3; 16],
            cookie: [4; 16],
            ports: [5; 16],
        };
        let lead = Duration::from_secs(2);
        for remote in 0..50 {
            let tuple = Tuple {
                remote: Remote::V4(remote),
                ends: 1 << 32 | 40_000 << 16 | 80,
            };
            let key = IsnKey::new(&secrets.isn);
            let start = before_iss_wraps(&secrets, tuple, lead, 1000);
            assert_eq!(key.iss(tuple, start + lead).0, 1000_u32.wrapping_neg());

            let start = before_timestamps_wrap(&secrets, tuple, lead);
            let timestamps = TimestampState {
                offset: key.timestamp_offset_ms(tuple),
                ..TimestampState::default()
            };
            assert_eq!(timestamps.clock(start + lead), 0);
            assert!(timestamps.clock(start) > 1 << 31);
        }
        let start = before_ticks_wrap(lead);
        assert_eq!((start + lead).as_ms() as u32, 0);
    }
}
