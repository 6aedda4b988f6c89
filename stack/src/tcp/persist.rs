//! How long until the next zero-window probe, RFC 9293 §3.8.6.1.
//!
//! It must never end a connection: probing goes on for as long as the probes are acknowledged (MUST-37), and R2 judges
//! only silence.

use core::time::Duration;

/// The wait before probe number `sent + 1`: one RTO first (SHLD-29), then doubling (SHLD-30) up to `max`.
#[must_use]
pub fn interval(rto: Duration, sent: u8, max: Duration) -> Duration {
    //~ Probes come after one RTO and double: `1u32 << sent.min(16)` -> `1u32`;
    //~   probes_start_at_one_rto_and_double_to_the_ceiling
    let factor = 1u32 << sent.min(16);
    //~ The wait between probes has a ceiling: `.min(max)` -> `.max(max.min(Duration::ZERO))`;
    //~   probes_start_at_one_rto_and_double_to_the_ceiling
    rto.saturating_mul(factor).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_start_at_one_rto_and_double_to_the_ceiling() {
        let s = Duration::from_secs;
        let waits: Vec<_> = (0..9)
            .map(|n| interval(s(1), n, s(120)).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
        assert_eq!(interval(s(1), u8::MAX, s(120)), s(120));
    }
}
