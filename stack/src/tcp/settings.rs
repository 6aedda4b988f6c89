//! [`Settings`]: every limit and default of the TCP core, validated once and shared read-only by all connections.
//!
//! It must never change while connections live, and what differs between connections stands in its [`Profile`] only.

use core::time::Duration;

use super::profile::{Profile, ProfileError};

/// How large the congestion window starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialWindow {
    /// 2 to 4 segments by their size, RFC 5681 §3.1.
    Rfc5681,
    /// min(10 segments, max(2 segments, 14600 bytes)), RFC 6928 §2.
    Rfc6928,
}

/// Limits and defaults that all connections of a worker share, and the profile of some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Retransmission timeout before the first RTT sample. 1 s, RFC 6298 §2.1.
    pub rto_initial: Duration,
    /// Floor of the retransmission timeout. 1 s, RFC 6298 §2.4; Linux uses 200 ms.
    pub rto_min: Duration,
    /// Ceiling of the retransmission timeout, backoff included; at least 60 s, RFC 6298 §2.5.
    pub rto_max: Duration,
    /// R1: expiries for one octet after which the IP layer is advised to look for another way, and before which R2 ends no
    /// connection as far as that many fit into it. At least 3, SHLD-10.
    pub r1_expiries: u8,
    /// R2 for SYN and SYN-ACK; at least 3 min, MUST-23.
    pub r2_syn: Duration,
    /// Ceiling between two zero-window probes; at least `rto_initial` (SHLD-29).
    pub persist_max: Duration,
    /// How long a partial segment waits in front of a window too small for silly-window avoidance; 0.1 to 1 s,
    /// RFC 9293 §3.8.6.2.1.
    pub sws_override: Duration,
    /// In-order segments after which an ACK is due even in the middle of a burst (`Events::ACK_NOW`).
    pub ack_stretch_segments: u8,
    /// Expiries in a row after which a full segment is tried as a small one: the path may swallow large ones in silence
    /// (RFC 4821 §7.7; Linux tries so after `tcp_retries1`, 3, with `tcp_mtu_probing=1`). 255 is never.
    pub black_hole_expiries: u8,
    /// Duplicate ACKs owed at most between two outputs, so that a burst of junk draws a bounded answer.
    pub duplicate_acks_max: u8,
    /// Smallest distance between two challenge ACKs of one connection, RFC 5961 §7; what an answer to an old segment costs of
    /// their budget. At most 10 s.
    pub challenge_interval: Duration,
    /// Initial congestion window.
    pub initial_window: InitialWindow,
    /// 2 MSL: how long TIME-WAIT lasts. Linux's 60 s; the RFC's MSL of 2 min would make it 240 s.
    pub two_msl: Duration,
    /// Ignore RST in TIME-WAIT (RFC 1337, fix F1). False is RFC 9293's word.
    pub rfc1337: bool,
    /// Drop segments without the timestamps option once it was negotiated (RFC 7323 §3.2); Linux accepts them.
    pub require_timestamps: bool,
    /// Offer and accept timestamps, RFC 7323 §3.
    pub timestamps: bool,
    /// Offer and accept window scaling, RFC 7323 §2.
    pub window_scaling: bool,
    /// An effective MSS that no peer can go below, in bytes of payload: a peer that says MSS 1 can't make us send
    /// a frame per byte (CVE-2019-11479).
    pub mss_min: u16,
    /// The settings of connections whose application chooses none.
    pub profile: Profile,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rto_initial: Duration::from_secs(1),
            rto_min: Duration::from_secs(1),
            rto_max: Duration::from_secs(120),
            r1_expiries: 3,
            r2_syn: Duration::from_secs(180),
            persist_max: Duration::from_secs(120),
            sws_override: Duration::from_millis(200),
            ack_stretch_segments: 8,
            black_hole_expiries: 3,
            duplicate_acks_max: 16,
            challenge_interval: Duration::from_millis(500),
            initial_window: InitialWindow::Rfc6928,
            two_msl: Duration::from_secs(60),
            rfc1337: false,
            require_timestamps: true,
            timestamps: true,
            window_scaling: true,
            mss_min: 36,
            profile: Profile::default(),
        }
    }
}

/// Settings that contradict each other or an RFC's MUST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingsError {
    /// `rto_min <= rto_initial <= rto_max` does not hold, or a value is zero.
    RtoOrder,
    /// `rto_max` is below 60 s (RFC 6298 §2.5).
    RtoMax,
    /// `r2_syn` is below 3 minutes (MUST-23).
    R2Syn,
    /// The profile can't be used.
    Profile(ProfileError),
    /// A count that must be at least 1 is zero: `ack_stretch_segments`, `duplicate_acks_max`, `mss_min`.
    Zero,
    /// `r1_expiries` is below 3 (SHLD-10).
    R1,
    /// Fewer SYNs than R1 fit into `r2_syn`: it is below 7 times `rto_initial`.
    R2SynShort,
    /// `persist_max` is below `rto_initial`: probes would come faster than retransmissions (SHLD-29, SHLD-30).
    PersistMax,
    /// `sws_override` is zero, or above 1 s (RFC 9293 §3.8.6.2.1).
    SwsOverride,
}

impl core::fmt::Display for SettingsError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Profile(error) => return error.fmt(f),
            Self::RtoOrder => "set 0 < rto_min <= rto_initial <= rto_max",
            Self::RtoMax => "rto_max must be at least 60 s (RFC 6298 2.5)",
            Self::R2Syn => "r2_syn must be at least 180 s (RFC 9293 MUST-23)",
            Self::Zero => "ack_stretch_segments, duplicate_acks_max and mss_min must be at least 1",
            Self::R1 => "r1_expiries must be at least 3 (RFC 9293 SHLD-10)",
            Self::R2SynShort => {
                "r2_syn must be at least 7 times rto_initial, or set a lower rto_initial"
            }
            Self::PersistMax => "persist_max must be at least rto_initial (RFC 9293 SHLD-29)",
            Self::SwsOverride => "set 0 < sws_override <= 1 s (RFC 9293 3.8.6.2.1)",
        })
    }
}

impl core::error::Error for SettingsError {}

impl Settings {
    /// Checks the relations that the rest of `tcp` relies on.
    ///
    /// # Errors
    /// The first [`SettingsError`] found.
    pub fn validate(&self) -> Result<(), SettingsError> {
        if self.rto_min.is_zero()
            || self.rto_min > self.rto_initial
            || self.rto_initial > self.rto_max
        {
            Err(SettingsError::RtoOrder)
        } else if self.rto_max < Duration::from_secs(60) {
            Err(SettingsError::RtoMax)
        } else if self.r2_syn < Duration::from_secs(180) {
            Err(SettingsError::R2Syn)
        } else if self.ack_stretch_segments == 0
            || self.duplicate_acks_max == 0
            || self.mss_min == 0
        {
            Err(SettingsError::Zero)
        } else {
            self.profile
                .validate(self.mss_min)
                .map_err(SettingsError::Profile)?;
            self.validate_limits_against_timers()
        }
    }

    /// A limit that a timer can't reach, or passes at its first expiry, is none. R2 of data is each profile's own, so
    /// there it is a rule ([`crate::tcp::retransmit::Patience`]).
    fn validate_limits_against_timers(&self) -> Result<(), SettingsError> {
        if self.r1_expiries < 3 {
            Err(SettingsError::R1)
        } else if self.r2_syn < self.rto_initial.saturating_mul(7) {
            Err(SettingsError::R2SynShort)
        } else if self.persist_max < self.rto_initial {
            Err(SettingsError::PersistMax)
        } else if self.sws_override.is_zero() || self.sws_override > Duration::from_secs(1) {
            Err(SettingsError::SwsOverride)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_broken_relation_is_named() {
        let broken = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.validate()
        };
        assert_eq!(broken(|_| {}), Ok(()));
        assert_eq!(
            broken(|s| s.rto_min = Duration::from_secs(2)),
            Err(SettingsError::RtoOrder)
        );
        assert_eq!(
            broken(|s| s.rto_min = Duration::ZERO),
            Err(SettingsError::RtoOrder)
        );
        assert_eq!(
            broken(|s| s.rto_max = Duration::from_secs(59)),
            Err(SettingsError::RtoMax)
        );
        assert_eq!(
            broken(|s| s.r2_syn = Duration::from_secs(179)),
            Err(SettingsError::R2Syn)
        );
        assert_eq!(broken(|s| s.mss_min = 0), Err(SettingsError::Zero));
        assert_eq!(broken(|s| s.r1_expiries = 2), Err(SettingsError::R1));
        assert_eq!(
            broken(|s| s.rto_initial = Duration::from_secs(26)),
            Err(SettingsError::R2SynShort)
        );
        assert_eq!(
            broken(|s| s.persist_max = Duration::from_millis(999)),
            Err(SettingsError::PersistMax)
        );
        for wrong in [Duration::ZERO, Duration::from_millis(1001)] {
            let settings = Settings {
                sws_override: wrong,
                ..Settings::default()
            };
            assert_eq!(settings.validate(), Err(SettingsError::SwsOverride));
        }
    }
}
