//! The flags of a run with `--profile`: which workload, in which phases, at which loads.
//!
//! It must never let a flag change what the standard fixes.

use std::time::Duration;

use super::args::{Close, LoadArgs, StatusRange, Workload};
use super::gate::Gates;
use super::profile::ProfileName;
use super::rate::RateSteps;
use crate::failure::Failure;

/// The timed phase, and the others, where no flag says it.
const LASTS_DEFAULT: Duration = Duration::from_secs(360);
/// The rate rises, and falls, for this part of a trial.
const RAMP_PART: u32 = 12;
/// Transactions of a connection that stays, in tests that have several.
const TRANSACTIONS: u32 = 10;

impl ProfileName {
    /// The flags of a run of this test.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a flag that the standard fixes, and for a target that is missing.
    pub(super) fn apply(self, args: &LoadArgs) -> Result<LoadArgs, Failure> {
        self.check(args)?;
        let mut args = args.clone();
        let lasts = args.duration.unwrap_or(LASTS_DEFAULT);
        args.duration = Some(lasts);
        args.gate = self.gates().parse().map_err(Failure::Run)?;
        args.status = StatusRange(200..=200);
        args.workload = Some(match (self, args.requests_per_connection) {
            (Self::Cc, _) => Workload::Hold,
            (Self::Throughput, _) | (Self::Latency, Some(2..)) => Workload::Request,
            (Self::Cps | Self::Latency, _) => Workload::Connect,
        });
        args.requests_per_connection = match args.workload {
            Some(Workload::Request) => args.requests_per_connection.or(Some(TRANSACTIONS)),
            _ => None,
        };
        if self == Self::Cc {
            args.verify_every = args.verify_every.or(Some(lasts / TRANSACTIONS));
        } else {
            let ramp = |time: Duration| {
                if time.is_zero() {
                    lasts / RAMP_PART
                } else {
                    time
                }
            };
            args.ramp_up = ramp(args.ramp_up);
            args.ramp_down = ramp(args.ramp_down);
        }
        Ok(args)
    }

    /// Whether the flags leave alone what the standard fixes, and name a target.
    fn check(self, args: &LoadArgs) -> Result<(), Failure> {
        let name = self.name();
        let fixed = [
            (args.workload.is_some(), "--workload"),
            (args.gate != Gates::default(), "--gate"),
            (args.status != StatusRange::default(), "--status"),
            (args.close != Close::Fin, "--close"),
            (args.count.is_some(), "--count"),
            (args.pipeline != 1, "--pipeline"),
            (args.send.is_some(), "--send"),
            (
                self == Self::Cc && !(args.ramp_up + args.ramp_down).is_zero(),
                "--ramp-up and --ramp-down (--rate is the ramp)",
            ),
            (
                matches!(self, Self::Cps | Self::Cc) && args.requests_per_connection.is_some(),
                "--requests-per-connection",
            ),
        ];
        if let Some((_, flag)) = fixed.into_iter().find(|(is_given, _)| *is_given) {
            return Err(Failure::Usage(format!(
                "--profile {name} fixes what a trial is and what must hold: leave out {flag}"
            )));
        }
        if args
            .targets
            .iter()
            .any(|target| !target.starts_with("http://"))
        {
            return Err(Failure::Usage(format!(
                "--profile {name} tests with HTTP: give a target of http://"
            )));
        }
        let has_target = match self {
            Self::Cc => args.connections.is_some(),
            _ => args.rate.as_ref().and_then(RateSteps::only).is_some(),
        };
        if has_target {
            return Ok(());
        }
        let flag = match self {
            Self::Cc => "--connections: how many the device is to hold",
            Self::Latency => "--rate: the most that it takes, of which half is offered",
            _ => "--rate: what the device is to take, in one number",
        };
        Err(Failure::Usage(format!("--profile {name} needs {flag}")))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::load::profile::SUSTAIN_LEAST;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn applied(words: &str) -> Result<LoadArgs, Failure> {
        let line = Line::try_parse_from(words.split(' ')).expect(words);
        line.load.profile.expect("a profile").apply(&line.load)
    }

    #[test]
    fn a_profile_fixes_workload_phases_and_gates() {
        let cps = applied("load --profile rfc9411-cps -R 1k -d 12s").expect("a plan");
        assert_eq!(cps.workload, Some(Workload::Connect));
        assert_eq!(cps.ramp_up, Duration::from_secs(1));
        assert!(cps.gate.to_string().contains("resets=0.001%"));
        let long = applied("load --profile rfc9411-throughput -R 1k").expect("a plan");
        assert_eq!(long.lasts() - long.ramp_up - long.ramp_down, SUSTAIN_LEAST);
        assert_eq!(long.requests_per_connection, Some(10));
        let one = applied("load --profile rfc9411-latency -R 1k").expect("a plan");
        assert_eq!(one.workload, Some(Workload::Connect));
        let ten = applied("load --profile rfc9411-latency -R 1k --requests-per-connection 10");
        assert_eq!(ten.expect("a plan").workload, Some(Workload::Request));
        let held = applied("load --profile rfc9411-cc -c 100 -d 10s").expect("a plan");
        assert_eq!(held.verify_every, Some(Duration::from_secs(1)));
    }

    #[test]
    fn what_the_standard_fixes_is_no_choice() {
        for (words, part) in [
            (
                "load --profile rfc9411-cps -R 1k --gate p99=1ms",
                "leave out --gate",
            ),
            (
                "load --profile rfc9411-cps -R 1k --close rst",
                "leave out --close",
            ),
            ("load --profile rfc9411-cps", "needs --rate"),
            ("load --profile rfc9411-cps -R 1k:1s,2k", "in one number"),
            ("load --profile rfc9411-cc -R 1k", "needs --connections"),
            (
                "load --profile rfc9411-cps -R 1k tcp://198.18.0.1:7",
                "http://",
            ),
        ] {
            match applied(words) {
                Err(Failure::Usage(text)) => assert!(text.contains(part), "{words}: {text}"),
                other => panic!("{words}: {other:?}"),
            }
        }
    }
}
