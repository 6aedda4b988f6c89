//! `--fault loss=1%,reorder=1%,seed=7`: a bad link as users write it.
//!
//! It must never guess: a fault that it doesn't know, or a share without its unit, is an error.

// The counts of injected faults.
#[cfg(feature = "dpdk")]
mod report;

use std::fmt::Write as _;

use stack::nic::fault::{FaultSpec, WHOLE_PPM};

#[cfg(feature = "dpdk")]
use crate::failure::Failure;
#[cfg(feature = "dpdk")]
use crate::secrets;
use crate::units;

#[cfg(feature = "dpdk")]
pub(crate) use report::FaultReport;

/// A correct example, for errors.
const EXAMPLE: &str = "write it like loss=1%,reorder=0.5%,dup=0.1%,corrupt=0.1%,delay=5ms,seed=7";

/// The faults that were asked for; without a seed until one is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FaultFlag {
    spec: FaultSpec,
    has_seed: bool,
}

impl FaultFlag {
    /// The faults, with a fresh seed where none was given.
    ///
    /// # Errors
    /// [`Failure::Run`] when the system has no randomness.
    #[cfg(feature = "dpdk")]
    pub(crate) fn spec(&self) -> Result<FaultSpec, Failure> {
        let mut spec = self.spec;
        if !self.has_seed {
            // Short enough to be typed.
            spec.seed = secrets::seed()?[0] >> 32;
        }
        Ok(spec)
    }

    /// The faults, with this seed where none was given.
    pub(crate) fn spec_or_seed(&self, seed: u64) -> FaultSpec {
        let mut spec = self.spec;
        if !self.has_seed {
            spec.seed = seed;
        }
        spec
    }
}

/// Parses the value of `--fault`.
///
/// # Errors
/// One line that names the part that is wrong, and what a right one looks like.
pub(crate) fn fault(text: &str) -> Result<FaultFlag, String> {
    let mut flag = FaultFlag::default();
    let mut named: Vec<&str> = Vec::new();
    for part in text.split(',') {
        let (name, value) = part
            .split_once('=')
            .ok_or_else(|| format!("`{part}` has no value; {EXAMPLE}"))?;
        if named.contains(&name) {
            return Err(format!("`{name}` is given twice in `{text}`"));
        }
        named.push(name);
        let spec = &mut flag.spec;
        match name {
            "loss" => spec.loss_ppm = share(name, value)?,
            "dup" => spec.duplicate_ppm = share(name, value)?,
            "corrupt" => spec.corrupt_ppm = share(name, value)?,
            "reorder" => spec.reorder_ppm = share(name, value)?,
            "delay" => spec.delay_ns = delay_ns(value)?,
            "seed" => {
                spec.seed = units::count(value)?;
                flag.has_seed = true;
            }
            _ => {
                return Err(format!(
                    "unknown fault `{name}`: expected loss, reorder, dup, corrupt, delay or seed"
                ));
            }
        }
    }
    Ok(flag)
}

fn share(name: &str, value: &str) -> Result<u32, String> {
    match units::share_ppm(value) {
        Some(ppm) if ppm <= WHOLE_PPM => Ok(ppm),
        Some(_) => Err(format!("{name}={value}: more than 100%")),
        None => Err(format!(
            "invalid share {name}={value}: write it like 1% or 0.05%, in steps of 0.0001%"
        )),
    }
}

/// A second is more than any path that works.
fn delay_ns(value: &str) -> Result<u64, String> {
    let delay = units::duration(value)?;
    match u64::try_from(delay.as_nanos()) {
        Ok(ns) if delay.as_secs() < 1 => Ok(ns),
        _ => Err(format!("delay={value}: must be less than 1s")),
    }
}

/// A spec as the flag that gives it again.
pub(crate) fn written(spec: &FaultSpec) -> String {
    let mut text = String::new();
    for (name, ppm) in [
        ("loss", spec.loss_ppm),
        ("reorder", spec.reorder_ppm),
        ("dup", spec.duplicate_ppm),
        ("corrupt", spec.corrupt_ppm),
    ] {
        if ppm > 0 {
            let percent = f64::from(ppm) / f64::from(WHOLE_PPM / 100);
            // Writing to a String can't fail.
            let _ = write!(text, "{name}={percent}%,");
        }
    }
    if spec.delay_ns > 0 {
        let _ = match spec.delay_ns % 1000 {
            0 => write!(text, "delay={}us,", spec.delay_ns / 1000),
            _ => write!(text, "delay={}ns,", spec.delay_ns),
        };
    }
    let _ = write!(text, "seed={}", spec.seed);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_unit() {
        let flag = fault("loss=1%,reorder=0.5%,dup=0.0001%,corrupt=100%,delay=2.5ms,seed=7");
        let spec = FaultSpec {
            loss_ppm: 10_000,
            reorder_ppm: 5000,
            duplicate_ppm: 1,
            corrupt_ppm: 1_000_000,
            delay_ns: 2_500_000,
            seed: 7,
        };
        let has_seed = true;
        assert_eq!(flag, Ok(FaultFlag { spec, has_seed }));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("", "has no value"),
            ("loss", "has no value"),
            ("loss=1", "invalid share"),
            ("loss=1%%", "invalid share"),
            ("loss=0.00001%", "invalid share"),
            ("loss=101%", "more than 100%"),
            ("loss=1%,loss=2%", "given twice"),
            ("lost=1%", "unknown fault `lost`"),
            ("delay=1s", "less than 1s"),
            ("delay=x", "invalid time"),
            ("seed=-1", "invalid number"),
            ("loss=1%,", "has no value"),
        ] {
            let error = fault(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_written_gives_the_same_again() {
        for text in [
            "loss=1%,reorder=0.5%,dup=0.0001%,corrupt=0.1%,delay=2500us,seed=7",
            "delay=1500ns,seed=0",
            "seed=4294967295",
        ] {
            let flag = fault(text).expect(text);
            assert_eq!(written(&flag.spec_or_seed(0)), text);
        }
        assert!(fault("loss=5%").is_ok_and(|flag| !flag.has_seed));
    }
}
