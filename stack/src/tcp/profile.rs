//! [`Profile`]: what an application may choose for a listener or a connection, and [`ProfileId`], the byte by which records name it.
//!
//! It must never hold what all connections of a worker share: that is [`super::settings::Settings`].

use core::fmt;
use core::time::Duration;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::window::scale_for;

/// The receive buffer of a connection in bytes, unless asked for otherwise.
pub const RCV_BUF_DEFAULT: u32 = 256 * 1024;

/// The least receive buffer in bytes: two segments of an ordinary link.
pub const RCV_BUF_MIN: u32 = 2920;

/// The largest receive buffer in bytes (RFC 7323 §2.3).
pub const RCV_BUF_MAX: u32 = 1 << 30;

/// The settings that an application may choose for a listener or a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Nagle's algorithm (SHLD-7); false is TCP_NODELAY (MUST-17).
    pub nagle: bool,
    /// Keepalive probes (MUST-24); off unless asked for (MUST-25).
    pub keepalive: bool,
    /// Idle time before the first keepalive probe; at least 2 h by default, MUST-28 (TCP_KEEPIDLE).
    pub keepalive_idle: Duration,
    /// Time between keepalive probes (TCP_KEEPINTVL).
    pub keepalive_interval: Duration,
    /// Unanswered keepalive probes that end the connection; more than one, MUST-29 (TCP_KEEPCNT).
    pub keepalive_probes: u8,
    /// How long an ACK may wait for company; below 500 ms, MUST-40. Zero acknowledges each segment at once.
    pub ack_delay: Duration,
    /// R2 for data: how long the oldest octet may stay unacknowledged before the connection is given up (MUST-21;
    /// TCP_USER_TIMEOUT).
    pub r2: Duration,
    /// How long FIN-WAIT-2 lasts once the application has closed for good (TCP_LINGER2); half-closed connections wait for ever.
    pub fin_wait_2: Duration,
    /// Closing resets the connection, and what is queued is given up (SO_LINGER with a time of zero).
    pub resets_on_close: bool,
    /// Bytes that may wait for the application to read them (SO_RCVBUF). The window scale follows from it when a connection opens.
    pub rcv_buf: u32,
    /// The largest MSS that is announced, in bytes (TCP_MAXSEG); the link's MTU limits it too. Counts while a connection opens.
    pub mss_max: u16,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            nagle: true,
            keepalive: false,
            keepalive_idle: Duration::from_secs(7200),
            keepalive_interval: Duration::from_secs(75),
            keepalive_probes: 9,
            ack_delay: Duration::from_millis(40),
            r2: Duration::from_secs(100),
            fin_wait_2: Duration::from_secs(60),
            resets_on_close: false,
            rcv_buf: RCV_BUF_DEFAULT,
            mss_max: u16::MAX,
        }
    }
}

/// A profile that can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProfileError {
    /// `ack_delay` is 500 ms or more (MUST-40).
    AckDelay,
    /// One unanswered keepalive probe would end the connection (MUST-29), or there is no time between probes.
    Keepalive,
    /// The receive buffer is out of range.
    RcvBuf(u32),
    /// The MSS is below the least that a peer may announce to us.
    MssMax(u16),
    /// More than 256 different profiles.
    TooMany,
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AckDelay => write!(f, "ack_delay must be below 500 ms (RFC 9293 MUST-40)"),
            Self::Keepalive => write!(
                f,
                "keepalive needs at least 2 probes and an interval (RFC 9293 MUST-29)"
            ),
            Self::RcvBuf(bytes) => write!(
                f,
                "a receive buffer of {bytes} bytes is out of range; give {RCV_BUF_MIN} to {RCV_BUF_MAX}"
            ),
            Self::MssMax(mss) => {
                write!(f, "an MSS of {mss} is below mss_min; give more")
            }
            Self::TooMany => write!(f, "more than 256 different profiles; share some"),
        }
    }
}

impl core::error::Error for ProfileError {}

impl Profile {
    /// Checks what the rest of `tcp` relies on. `mss_min` is [`super::settings::Settings::mss_min`].
    ///
    /// # Errors
    /// The first [`ProfileError`] found.
    pub fn validate(&self, mss_min: u16) -> Result<(), ProfileError> {
        if self.ack_delay >= Duration::from_millis(500) {
            Err(ProfileError::AckDelay)
        } else if self.keepalive_probes < 2 || self.keepalive_interval.is_zero() {
            Err(ProfileError::Keepalive)
        } else if !(RCV_BUF_MIN..=RCV_BUF_MAX).contains(&self.rcv_buf) {
            Err(ProfileError::RcvBuf(self.rcv_buf))
        } else if self.mss_max < mss_min {
            Err(ProfileError::MssMax(self.mss_max))
        } else {
            Ok(())
        }
    }

    /// The window field of our SYN and SYN-ACK, which is never scaled (RFC 7323 §2.2).
    #[must_use]
    #[inline]
    pub fn syn_window(&self) -> u16 {
        self.rcv_buf.min(0xffff) as u16
    }

    /// The window scale that we offer: the least that lets the receive buffer be announced (RFC 7323 §2.3).
    #[must_use]
    #[inline]
    pub fn window_scale(&self) -> u8 {
        scale_for(self.rcv_buf)
    }
}

/// The number of a profile within its worker.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct ProfileId(pub(super) u8);

impl ProfileId {
    /// The profile of the configuration, for all connections that choose none.
    pub const DEFAULT: Self = Self(0);

    /// The `n`th after the default one; of those that have no number of their own, the last.
    pub(crate) fn nth(n: usize) -> Self {
        Self(u8::try_from(n).unwrap_or(u8::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_choice_that_cannot_be_is_named() {
        let broken = |change: fn(&mut Profile)| {
            let mut profile = Profile::default();
            change(&mut profile);
            profile.validate(36)
        };
        assert_eq!(broken(|_| {}), Ok(()));
        let late = |p: &mut Profile| p.ack_delay = Duration::from_millis(500);
        assert_eq!(broken(late), Err(ProfileError::AckDelay));
        let once = |p: &mut Profile| p.keepalive_probes = 1;
        assert_eq!(broken(once), Err(ProfileError::Keepalive));
        let together = |p: &mut Profile| p.keepalive_interval = Duration::ZERO;
        assert_eq!(broken(together), Err(ProfileError::Keepalive));
        for bytes in [RCV_BUF_MIN - 1, RCV_BUF_MAX + 1] {
            let profile = Profile {
                rcv_buf: bytes,
                ..Profile::default()
            };
            assert_eq!(profile.validate(36), Err(ProfileError::RcvBuf(bytes)));
        }
        assert_eq!(broken(|p| p.mss_max = 35), Err(ProfileError::MssMax(35)));
    }
}
