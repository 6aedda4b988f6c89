//! [`counted`]: a number with its noun, as reports write it.
//!
//! It must never know what is counted.

use std::fmt::Display;

/// `1 frame`, `2 frames`; `1 address`, `2 addresses`; `1 reply`, `2 replies`. `noun` is the singular.
#[must_use]
pub fn counted(count: impl Display, noun: &str) -> String {
    let count = count.to_string();
    if count == "1" {
        return format!("1 {noun}");
    }
    match noun.strip_suffix('y') {
        Some(stem) => format!("{count} {stem}ies"),
        None if noun.ends_with('s') => format!("{count} {noun}es"),
        None => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_thing_is_singular() {
        let both = |noun| {
            (
                counted(1u8, noun),
                counted(2usize, noun),
                counted(0i64, noun),
            )
        };
        let said = |one: &str, two: &str, none: &str| (one.into(), two.into(), none.into());
        assert_eq!(both("byte"), said("1 byte", "2 bytes", "0 bytes"));
        assert_eq!(
            both("address"),
            said("1 address", "2 addresses", "0 addresses")
        );
        assert_eq!(both("reply"), said("1 reply", "2 replies", "0 replies"));
        assert_eq!(counted(11, "SYN"), "11 SYNs");
    }
}
