//! [`Wall`]: the time of day for services, from the worker's own clock, without asking the system.
//!
//! It must never call the system or format anything twice within a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use stack::time::Instant;
use time::OffsetDateTime;

/// Bytes of a date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7, IMF-fixdate).
pub(super) const HTTP_DATE_LEN: usize = 29;
/// Room for the line of daytime, in bytes: the longest has 44.
const DAYTIME_ROOM: usize = 48;
const NS_PER_S: u64 = 1_000_000_000;

/// When the clock of the workers began, by the time of day. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub(crate) struct WallClock {
    /// Since 1970 (UTC), in ns.
    epoch_ns: Arc<AtomicU64>,
}

impl WallClock {
    /// A clock that is right: `now` is the workers' time of this moment.
    pub(crate) fn new(now: Instant) -> Self {
        let clock = Self::default();
        clock.set(now);
        clock
    }

    /// Follows the system's time of day, which may have been set meanwhile.
    pub(super) fn set(&self, now: Instant) {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let wall_ns = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX);
        self.epoch_ns
            .store(wall_ns.saturating_sub(now.as_ns()), Ordering::Relaxed);
    }

    /// Whole seconds since 1970 (UTC) at `now`.
    fn second(&self, now: Instant) -> u64 {
        let epoch_ns = self.epoch_ns.load(Ordering::Relaxed);
        epoch_ns.saturating_add(now.as_ns()) / NS_PER_S
    }
}

/// The time of day as one worker's services write it, made anew when a second has passed.
#[derive(Debug)]
pub(super) struct Wall {
    clock: WallClock,
    second: u64,
    http_date: [u8; HTTP_DATE_LEN],
    daytime: [u8; DAYTIME_ROOM],
    daytime_len: usize,
}

impl Wall {
    pub(super) fn new(clock: WallClock) -> Self {
        let mut wall = Self {
            clock,
            second: 0,
            http_date: [0; HTTP_DATE_LEN],
            daytime: [0; DAYTIME_ROOM],
            daytime_len: 0,
        };
        wall.write();
        wall
    }

    /// Whole seconds since 1970 (UTC) at `now`; what the other methods show is of this second then.
    #[inline]
    pub(super) fn second(&mut self, now: Instant) -> u64 {
        let second = self.clock.second(now);
        if second != self.second {
            self.second = second;
            self.write();
        }
        second
    }

    /// Whether the other methods show this second.
    pub(super) fn is_at(&self, second: u64) -> bool {
        self.second == second
    }

    /// The date as HTTP writes it.
    pub(super) fn http_date(&self) -> &[u8; HTTP_DATE_LEN] {
        &self.http_date
    }

    /// The line of RFC 867, in the first of the two forms that it proposes.
    pub(super) fn daytime(&self) -> &[u8] {
        &self.daytime[..self.daytime_len]
    }

    #[cold]
    fn write(&mut self) {
        let at = date_time(self.second);
        self.http_date = http_date_of(self.second);
        let line = format!(
            "{}, {} {}, {} {:02}:{:02}:{:02}-UTC\r\n",
            at.weekday(),
            at.month(),
            at.day(),
            at.year(),
            at.hour(),
            at.minute(),
            at.second()
        );
        self.daytime_len = line.len().min(DAYTIME_ROOM);
        self.daytime[..self.daytime_len].copy_from_slice(&line.as_bytes()[..self.daytime_len]);
    }
}

fn date_time(second: u64) -> OffsetDateTime {
    i64::try_from(second)
        .ok()
        .and_then(|second| OffsetDateTime::from_unix_timestamp(second).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A second since 1970 (UTC) as HTTP writes it.
pub(super) fn http_date_of(second: u64) -> [u8; HTTP_DATE_LEN] {
    let at = date_time(second);
    let (weekday, month) = (at.weekday().to_string(), at.month().to_string());
    let text = format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        &weekday[..3],
        at.day(),
        &month[..3],
        at.year(),
        at.hour(),
        at.minute(),
        at.second()
    );
    // Years have four digits until 9999, where `date_time` ends.
    text.as_bytes().try_into().unwrap_or([b'0'; HTTP_DATE_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 9110 §5.6.7.
    const SECOND: u64 = 784_111_777;

    #[test]
    fn dates_are_written_as_the_rfcs_write_them() {
        assert_eq!(&http_date_of(SECOND), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&http_date_of(u64::MAX), b"Thu, 01 Jan 1970 00:00:00 GMT");
        let clock = WallClock::default();
        clock.epoch_ns.store(SECOND * NS_PER_S, Ordering::Relaxed);
        let mut wall = Wall::new(clock);
        assert_eq!(wall.second(Instant::from_ns(0)), SECOND);
        assert_eq!(wall.daytime(), b"Sunday, November 6, 1994 08:49:37-UTC\r\n");
        assert_eq!(wall.second(Instant::from_ns(2 * NS_PER_S - 1)), SECOND + 1);
        assert_eq!(wall.daytime(), b"Sunday, November 6, 1994 08:49:38-UTC\r\n");
        assert_eq!(wall.http_date(), b"Sun, 06 Nov 1994 08:49:38 GMT");
    }

    #[test]
    fn the_longest_line_has_room() {
        // Wednesday, September 30, 2026.
        let clock = WallClock::default();
        clock
            .epoch_ns
            .store(1_790_726_400 * NS_PER_S, Ordering::Relaxed);
        let mut wall = Wall::new(clock);
        wall.second(Instant::from_ns(0));
        assert_eq!(
            wall.daytime(),
            b"Wednesday, September 30, 2026 00:00:00-UTC\r\n"
        );
    }

    #[test]
    fn it_is_the_systems_time() {
        let clock = WallClock::new(Instant::from_ns(5 * NS_PER_S));
        let system = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let ours = clock.second(Instant::from_ns(5 * NS_PER_S));
        assert!(system.abs_diff(ours) <= 1, "{system} {ours}");
    }
}
