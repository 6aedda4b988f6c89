//! [`Spread`]: several runs of one figure, of which the median is the result.
//!
//! It must never leave an outlier out.

use std::fmt;

/// The runs of one figure, in order of size.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread(Vec<f64>);

impl Spread {
    /// The runs in any order; `None` when there are none.
    #[must_use]
    pub fn new(mut runs: Vec<f64>) -> Option<Self> {
        runs.sort_by(f64::total_cmp);
        (!runs.is_empty()).then_some(Self(runs))
    }

    /// The middle run; of an even number, the upper one of the two in the middle.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    /// The smallest run.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.0[0]
    }

    /// The largest run.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = out.precision().unwrap_or(1);
        write!(
            out,
            "{:.digits$} ({:.digits$} to {:.digits$})",
            self.median(),
            self.min(),
            self.max()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_middle_run_is_the_result() {
        let spread = Spread::new(vec![9.0, 1.0, 2.0]).expect("three runs");
        assert_eq!(format!("{spread:.0}"), "2 (1 to 9)");
        assert_eq!(Spread::new(vec![]), None);
    }
}
