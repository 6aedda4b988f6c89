//! Numbers for readers.
//!
//! It must never round to fewer than three figures.

/// A number with three figures and an SI prefix: `98.2 k`.
pub(super) fn si(n: f64) -> String {
    let prefixes = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let prefix = prefixes.into_iter().find(|(size, _)| n.abs() >= *size);
    match prefix {
        Some((size, prefix)) => format!("{} {prefix}", figures(n / size)),
        None => figures(n),
    }
}

/// A number of things, in groups of three digits.
pub(super) fn count(n: f64) -> String {
    if n.fract() != 0.0 || n.abs() >= 1e15 {
        return figures(n);
    }
    let digits = format!("{:.0}", n.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            // A thin space that doesn't break.
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    if n < 0.0 { format!("−{text}") } else { text }
}

/// A time given in microseconds.
pub(super) fn time_us(us: f64) -> String {
    let units = [(1e6, "s"), (1e3, "ms"), (1.0, "µs")];
    let unit = units.into_iter().find(|(size, _)| us.abs() >= *size);
    match unit {
        Some((size, unit)) => format!("{} {unit}", figures(us / size)),
        None if us == 0.0 => "0 µs".into(),
        None => format!("{} ns", figures(us * 1e3)),
    }
}

/// Three figures, without zeros behind the point.
fn figures(n: f64) -> String {
    let places = match n.abs() {
        n if n >= 100.0 => 0,
        n if n >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{n:.places$}");
    match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => text,
    }
}

/// A share of a whole.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", figures(share * 100.0))
}

/// The name of a quantile: `p99.9`.
pub(super) fn quantile(q: f64) -> String {
    if q >= 1.0 {
        return "max".into();
    }
    let text = format!("{:.4}", q * 100.0);
    format!("p{}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_figures_and_their_unit() {
        assert_eq!(si(98_176.0), "98.2 k");
        assert_eq!(si(1_000_000.0), "1 M");
        assert_eq!(si(12.0), "12");
        assert_eq!(count(1_234_567.0), "1\u{202f}234\u{202f}567");
        assert_eq!(count(999.0), "999");
        assert_eq!(count(-1000.0), "−1\u{202f}000");
        assert_eq!(time_us(242.82), "243 µs");
        assert_eq!(time_us(40_566.78), "40.6 ms");
        assert_eq!(time_us(0.5), "500 ns");
        assert_eq!(time_us(2e6), "2 s");
        assert_eq!(percent(0.5312), "53.1 %");
        assert_eq!(quantile(0.999), "p99.9");
        assert_eq!(quantile(0.5), "p50");
        assert_eq!(quantile(1.0), "max");
    }
}
