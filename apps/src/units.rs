//! Numbers as users write them: `1.5m`, `200k`, `10us`, `5mpps`. Parsers for the command line, and times as tables show them.
//!
//! It must never round silently: `1.5` frames is an error, not 1.

use std::time::Duration;

/// The suffixes of an unsigned number (SI, any case), and their factors.
const SI: &[(&str, u64)] = &[
    ("k", 1_000),
    ("m", 1_000_000),
    ("g", 1_000_000_000),
    ("t", 1_000_000_000_000),
    ("", 1),
];

/// The suffixes of a duration, in ns. Longer endings stand before those that they end with.
const DURATIONS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("", 1_000_000_000),
];

/// A number of things: `1000`, `1.5m`, `200k`, `10_000`.
///
/// # Errors
/// One line that says what is wrong and what a right one looks like.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    scaled(text, SI).ok_or_else(|| {
        format!("invalid number `{text}`: write a whole number such as 1000, 200k or 1.5m")
    })
}

/// As [`count`], for numbers that must fit 32 bits.
///
/// # Errors
/// As [`count`], or the number is too large.
#[cfg(any(test, feature = "dpdk"))]
pub(crate) fn count_u32(text: &str) -> Result<u32, String> {
    u32::try_from(count(text)?).map_err(|_| format!("`{text}` is more than {}", u32::MAX))
}

/// As [`count`], for numbers from `first` to `last`, in the fitting type.
pub(crate) fn within<T>(
    first: T,
    last: T,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: TryFrom<u64> + PartialOrd + std::fmt::Display + Copy + Send + Sync + 'static,
{
    move |text| {
        let number = T::try_from(count(text)?).ok();
        number
            .filter(|number| (first..=last).contains(number))
            .ok_or_else(|| format!("`{text}` is out of range: expected {first} to {last}"))
    }
}

/// Frames a second, at least one: `5mpps`, `200kpps`, `1.5m`.
///
/// # Errors
/// One line that says what is wrong and what a right one looks like.
#[cfg(any(test, feature = "dpdk"))]
pub(crate) fn rate_pps(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix("pps").unwrap_or(text);
    match scaled(number, SI) {
        Some(rate) if rate > 0 => Ok(rate),
        _ => Err(format!(
            "invalid rate `{text}`: write frames per second such as 5mpps, 200kpps or 1.5m"
        )),
    }
}

/// A time: `10us`, `200ms`, `1.5s`, `2m`, `1h`; without a unit in seconds.
///
/// # Errors
/// One line that says what is wrong and what a right one looks like.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    scaled(text, DURATIONS)
        .map(Duration::from_nanos)
        .ok_or_else(|| {
            format!("invalid time `{text}`: write it like 10us, 200ms, 1.5s, 2m or 3 (seconds)")
        })
}

/// A share of a whole in parts per million: `1%`, `0.05%`. `None` for anything else; more than all (100%) is not refused.
pub(crate) fn share_ppm(text: &str) -> Option<u32> {
    u32::try_from(scaled(text, &[("%", 10_000)])?).ok()
}

/// `digits[.digits][suffix]`, exactly: `None` when the value is no whole number of the smallest unit or too large.
fn scaled(text: &str, suffixes: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim().to_lowercase();
    let (number, unit) = suffixes.iter().find_map(|&(suffix, unit)| {
        let number = text.strip_suffix(suffix)?;
        number
            .ends_with(|c: char| c.is_ascii_digit())
            .then_some((number, unit))
    })?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| -> Option<u128> {
        let part = part.replace('_', "");
        let clean =
            !part.is_empty() && part.len() <= 18 && part.bytes().all(|b| b.is_ascii_digit());
        if clean { part.parse().ok() } else { None }
    };
    let divisor = 10u128.pow(u32::try_from(fraction.replace('_', "").len()).ok()?.min(18));
    let parts = digits(whole)? * divisor + digits(fraction)?;
    let product = parts.checked_mul(unit.into())?;
    if product % divisor != 0 {
        return None;
    }
    u64::try_from(product / divisor).ok()
}

/// A time of so many µs, in the unit that suits it: 412us, 1.23ms, 2.00s.
#[cfg(feature = "dpdk")]
pub(crate) fn short_time(us: f64) -> String {
    match us {
        us if us < 1000.0 => format!("{us:.0}us"),
        us if us < 1e6 => format!("{:.2}ms", us / 1e3),
        us => format!("{:.2}s", us / 1e6),
    }
}

/// A rate of so many frames a second, in the unit that suits it: 200 pps, 10.0 kpps, 1.234 Mpps.
#[cfg(feature = "dpdk")]
pub(crate) fn short_rate(pps: f64) -> String {
    match pps {
        pps if pps < 1e3 => format!("{pps:.0} pps"),
        pps if pps < 1e6 => format!("{:.1} kpps", pps / 1e3),
        pps => format!("{:.3} Mpps", pps / 1e6),
    }
}

/// As [`short_time`].
#[cfg(feature = "dpdk")]
pub(crate) fn short_duration(time: Duration) -> String {
    short_time(time.as_secs_f64() * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_scale_and_fractions_are_exact() {
        for (text, value) in [
            ("0", 0),
            ("17", 17),
            ("10_000", 10_000),
            ("200k", 200_000),
            ("1.5m", 1_500_000),
            ("1.5M", 1_500_000),
            ("0.1k", 100),
            ("2G", 2_000_000_000),
            ("1.000001m", 1_000_001),
            (" 5k ", 5_000),
        ] {
            assert_eq!(count(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused_with_an_example() {
        for text in [
            "",
            "k",
            ".5k",
            "5.",
            "1.5",
            "-1",
            "+1",
            "1e6",
            "1kk",
            "5x",
            "1.0001k",
            "0x10",
            "1 k",
            "99999999999999999999",
            "99999999t",
            "_",
            "1._",
        ] {
            let error = count(text).expect_err(text);
            assert!(error.contains("200k"), "{text}: {error}");
        }
        assert!(count_u32("5g").is_err());
        assert_eq!(count_u32("4g"), Ok(4_000_000_000));
    }

    #[test]
    fn a_range_is_named_with_what_lies_outside() {
        let share = within(0, 100u8);
        assert_eq!((share("0"), share("100")), (Ok(0), Ok(100)));
        for text in ["101", "5k"] {
            let error = share(text).expect_err(text);
            assert!(error.contains("0 to 100"), "{error}");
        }
        assert!(share("x").expect_err("no number").contains("200k"));
    }

    #[test]
    fn rates_may_say_pps_and_are_never_zero() {
        assert_eq!(rate_pps("5mpps"), Ok(5_000_000));
        assert_eq!(rate_pps("200kpps"), Ok(200_000));
        assert_eq!(rate_pps("12pps"), Ok(12));
        assert_eq!(rate_pps("1.5m"), Ok(1_500_000));
        assert!(rate_pps("0").is_err() && rate_pps("pps").is_err() && rate_pps("5gbps").is_err());
    }

    #[test]
    fn shares_have_a_percent_sign_and_are_exact() {
        for (text, ppm) in [
            ("0%", 0),
            ("1%", 10_000),
            ("0.0001%", 1),
            ("100%", 1_000_000),
        ] {
            assert_eq!(share_ppm(text), Some(ppm), "{text}");
        }
        for text in ["", "%", "1", "0.01", "-1%", "1 %", "0.00001%"] {
            assert_eq!(share_ppm(text), None, "{text}");
        }
    }

    #[cfg(feature = "dpdk")]
    #[test]
    fn measured_times_and_rates_are_rounded_in_the_unit_that_suits_them() {
        for (ns, text) in [
            (0, "0us"),
            (4_911, "5us"),
            (999_400, "999us"),
            (4_911_103, "4.91ms"),
            (2_004_911_103, "2.00s"),
        ] {
            assert_eq!(short_duration(Duration::from_nanos(ns)), text);
        }
        let rates = [199.6, 9_990.0, 1_234_567.0].map(short_rate);
        assert_eq!(rates, ["200 pps", "10.0 kpps", "1.235 Mpps"]);
    }

    #[test]
    fn durations_have_units_and_seconds_without() {
        for (text, ns) in [
            ("10us", 10_000),
            ("10µs", 10_000),
            ("3", 3_000_000_000),
            ("0.25", 250_000_000),
            ("1.5s", 1_500_000_000),
            ("200ms", 200_000_000),
            ("7ns", 7),
            ("2m", 120_000_000_000),
            ("1h", 3_600_000_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_nanos(ns)), "{text}");
        }
        for text in ["", "s", "1.5ns", "10 us", "1d", "-1s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
