//! Keepalive: whether an idle peer is still there, RFC 9293 §3.8.4. Off unless asked for (MUST-25).
//!
//! It must never run while something is in flight or waiting (MUST-26), and never end a connection for one lost probe
//! (MUST-29).

use core::time::Duration;

use crate::tcp::settings::Settings;

/// The action at the keepalive deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepaliveStep {
    /// Nothing; look again after this time.
    Wait(Duration),
    /// Send a probe; look again after this time.
    Probe(Duration),
    /// The peer is gone.
    GiveUp,
}

/// Probes that were sent since the peer was last heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keepalive {
    probes: u8,
}

impl Keepalive {
    /// Decides, given how long the peer has been silent and whether the connection has something in flight or queued.
    pub fn step(&mut self, silent: Duration, is_busy: bool, settings: &Settings) -> KeepaliveStep {
        if is_busy {
            // Retransmission or probing of the window judges the peer now.
            //~ Own traffic starts keepalive's count anew; an_answer_or_own_traffic_starts_the_count_over
            self.probes = 0;
            return KeepaliveStep::Wait(settings.profile.keepalive_idle);
        }
        //~ An answer starts keepalive's count anew: -> `if silent < settings.profile.keepalive_idle { return
        //~   KeepaliveStep::Wait(settings.profile.keepalive_idle - silent); } if false {`;
        //~   an_answer_or_own_traffic_starts_the_count_over
        if silent < settings.profile.keepalive_idle {
            self.probes = 0;
            return KeepaliveStep::Wait(settings.profile.keepalive_idle - silent);
        }
        if self.probes >= settings.profile.keepalive_probes {
            //~ Too many keepalive probes without an answer end it; nine_probes_75_seconds_apart_then_the_peer_is_gone
            return KeepaliveStep::GiveUp;
        }
        //~ Keepalive probes are counted; nine_probes_75_seconds_apart_then_the_peer_is_gone
        self.probes += 1;
        //~ Keepalive probes come an interval apart: -> `KeepaliveStep::Probe(settings.profile.keepalive_idle)`;
        //~   nine_probes_75_seconds_apart_then_the_peer_is_gone
        KeepaliveStep::Probe(settings.profile.keepalive_interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_probes_75_seconds_apart_then_the_peer_is_gone() {
        let settings = Settings::default();
        let mut keepalive = Keepalive::default();
        let idle = settings.profile.keepalive_idle;
        let s = Duration::from_secs;
        assert_eq!(
            keepalive.step(s(7000), false, &settings),
            KeepaliveStep::Wait(s(200))
        );
        for _ in 0..9 {
            assert_eq!(
                keepalive.step(idle, false, &settings),
                KeepaliveStep::Probe(s(75))
            );
        }
        assert_eq!(
            keepalive.step(idle, false, &settings),
            KeepaliveStep::GiveUp
        );
    }

    #[test]
    fn an_answer_or_own_traffic_starts_the_count_over() {
        let settings = Settings::default();
        let idle = settings.profile.keepalive_idle;
        for (silent, is_busy) in [(Duration::ZERO, false), (idle, true)] {
            let mut keepalive = Keepalive::default();
            for _ in 0..9 {
                keepalive.step(idle, false, &settings);
            }
            assert_eq!(
                keepalive.step(silent, is_busy, &settings),
                KeepaliveStep::Wait(idle)
            );
            let next = keepalive.step(idle, false, &settings);
            assert_eq!(
                next,
                KeepaliveStep::Probe(settings.profile.keepalive_interval)
            );
        }
    }
}
