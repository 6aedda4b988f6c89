//! `--fault loss=1%,reorder=1%,seed=7`: a bad link as users write it.
//!
//! Called by: the flags of commands that open a NIC, and their reports. It must never guess: a fault that it doesn't know, or
//! a share without its unit, is an error.

use std::fmt::{self, Write as _};

use dpdk::FaultTotals;
use serde::Serialize;
use stack::nic::fault::{FaultCounts, FaultSpec, WHOLE_PPM};

use crate::failure::Failure;
use crate::{secrets, units};

/// What a right one looks like, for errors.
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
    pub(crate) fn spec(&self) -> Result<FaultSpec, Failure> {
        let mut spec = self.spec;
        if !self.has_seed {
            // Short enough to be typed.
            spec.seed = secrets::seed()?[0] >> 32;
        }
        Ok(spec)
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
            .ok_or_else(|| format!("`{part}` names no value; {EXAMPLE}"))?;
        if named.contains(&name) {
            return Err(format!("`{name}` stands twice in `{text}`"));
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
                    "`{name}` is no fault; there are loss, reorder, dup, corrupt, delay and seed"
                ));
            }
        }
    }
    Ok(flag)
}

fn share(name: &str, value: &str) -> Result<u32, String> {
    match units::share_ppm(value) {
        Some(ppm) if ppm <= WHOLE_PPM => Ok(ppm),
        Some(_) => Err(format!("{name}={value} is more than all frames (100%)")),
        None => Err(format!(
            "{name}={value} is no share of the frames; write it like 1% or 0.05%, in steps of 0.0001%"
        )),
    }
}

/// A second is more than any path that works.
fn delay_ns(value: &str) -> Result<u64, String> {
    let delay = units::duration(value)?;
    match u64::try_from(delay.as_nanos()) {
        Ok(ns) if delay.as_secs() < 1 => Ok(ns),
        _ => Err(format!("delay={value}: less than a second, please")),
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

/// What the faults did, for reports. Field names are stable: scripts rely on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FaultReport {
    /// The flag that gives the same faults again, seed included.
    pub(crate) spec: String,
    /// Frames from the link, over all queues.
    pub(crate) rx: FaultDone,
    /// Frames to the link.
    pub(crate) tx: FaultDone,
    /// Frames that were still held back at the end, and were given up.
    pub(crate) held_at_end: usize,
}

/// One direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct FaultDone {
    frames: u64,
    lost: u64,
    duplicated: u64,
    corrupted: u64,
    reordered: u64,
    /// Faults that were due, without a buffer or a place for them.
    not_done: u64,
}

impl FaultReport {
    /// The sum over all queues.
    pub(crate) fn new(spec: &FaultSpec, queues: impl Iterator<Item = FaultTotals>) -> Self {
        let mut report = Self {
            spec: written(spec),
            rx: FaultDone::default(),
            tx: FaultDone::default(),
            held_at_end: 0,
        };
        for totals in queues {
            report.rx.add(&totals.rx);
            report.tx.add(&totals.tx);
            report.held_at_end += totals.held;
        }
        report
    }
}

impl FaultDone {
    fn add(&mut self, counts: &FaultCounts) {
        self.frames += counts.frames;
        self.lost += counts.lost;
        self.duplicated += counts.duplicated;
        self.corrupted += counts.corrupted;
        self.reordered += counts.reordered;
        self.not_done += counts.not_done;
    }
}

impl fmt::Display for FaultReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "--fault {}: in {}; out {}; {} held at the end",
            self.spec, self.rx, self.tx, self.held_at_end
        )
    }
}

impl fmt::Display for FaultDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} frames, {} lost, {} reordered, {} doubled, {} corrupted",
            self.frames, self.lost, self.reordered, self.duplicated, self.corrupted
        )
    }
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
            ("", "names no value"),
            ("loss", "names no value"),
            ("loss=1", "no share"),
            ("loss=1%%", "no share"),
            ("loss=0.00001%", "no share"),
            ("loss=101%", "more than all"),
            ("loss=1%,loss=2%", "twice"),
            ("lost=1%", "`lost` is no fault"),
            ("delay=1s", "less than a second"),
            ("delay=x", "is no time"),
            ("seed=-1", "is no whole number"),
            ("loss=1%,", "names no value"),
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
            assert_eq!(written(&flag.spec().expect("given")), text);
        }
        assert!(fault("loss=5%").is_ok_and(|flag| !flag.has_seed));
    }
}
