//! [`reasons`]: how often each reason of a failure occurred, in one line.
//!
//! It must never write a count where a reader takes it for a status code.

use std::fmt::Display;

/// Count and name of each, with commas between them: `500 × wrong_status, 3 × timed_out`.
pub(crate) fn reasons<N: Display, C: Display>(counts: impl IntoIterator<Item = (N, C)>) -> String {
    let each = counts.into_iter().map(|(name, n)| format!("{n} × {name}"));
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_stands_before_its_reason() {
        let text = reasons([("wrong_status", 500), ("reset", 1)]);
        assert_eq!(text, "500 × wrong_status, 1 × reset");
    }
}
