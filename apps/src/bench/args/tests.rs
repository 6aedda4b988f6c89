//! Which flags belong together: every flag with every mode, and what they say about each other.

use clap::{CommandFactory as _, Parser as _};

use super::*;
use crate::cli::{Cli, Command};

/// Every flag with a value that is right, and the modes that honour it.
const FLAGS: &[(&str, &str)] = &[
    ("--nic ring", "rst syn connect request"),
    ("--connections 1000", "connect request"),
    ("--concurrency 8", "request"),
    ("--fill 1000", "rst syn"),
    ("--shape plain", "connect request"),
    ("--size 64", "connect"),
    ("--time-wait 1", "connect"),
    ("--park-after 1", "request"),
    ("--open-records 2000", "request"),
    ("--fault loss=1%", "connect request"),
    ("--cookies", "syn"),
    ("--duration 1", "rst syn connect request"),
    ("--warmup-ms 5", "rst syn connect request"),
    ("--rate 5mpps", "rst syn"),
    ("--cpus 0,1", "rst syn connect request"),
    ("--ipv6", "rst syn connect request"),
    ("--options linux", "rst syn"),
    ("--json", "rst syn connect request"),
    ("--json-file /dev/null", "rst syn connect request"),
    ("--peer endpoint", "rst syn"),
    ("--expect syn", "rst syn"),
    ("--window 9", "rst syn"),
    ("--ring-frames 512", "rst syn connect request"),
    ("--eal=-v", "rst syn connect request"),
];

/// The flags of a command line behind `syncline bench`, as they are.
pub(in crate::bench) fn args(line: &str) -> BenchArgs {
    let words = ["syncline", "bench"]
        .into_iter()
        .chain(line.split_whitespace());
    let Command::Bench(args) = Cli::parse_from(words).command else {
        panic!("not the bench command");
    };
    *args
}

fn checked(line: &str) -> Result<(), String> {
    args(line).check().map_err(|failure| failure.to_string())
}

#[test]
fn a_flag_is_honoured_or_refused_by_name_in_every_mode() {
    for (flag, modes) in FLAGS {
        let name = flag.split([' ', '=']).next().expect("a name");
        for mode in Mode::value_variants().iter().map(|mode| mode.name()) {
            // It means something only to an endpoint that was started separately.
            let line = match name {
                "--expect" => format!("{mode} {flag} --peer external --nic memif:/none"),
                _ => format!("{mode} {flag}"),
            };
            let outcome = checked(&line);
            if modes.split(' ').any(|honours| honours == mode) {
                assert_eq!(outcome, Ok(()), "{line}");
            } else {
                let error = outcome.expect_err(&line);
                let named = format!("doesn't apply to `bench {mode}`: use it with `bench ");
                assert!(
                    error.contains("--") && error.contains(&named),
                    "{line}: {error}"
                );
                assert!(
                    name == "--expect" || error.starts_with(name),
                    "{line}: {error}"
                );
            }
        }
    }
}

#[test]
fn no_flag_is_left_out_of_that() {
    let command = Cli::command();
    let bench = command.find_subcommand("bench").expect("the command");
    for flag in bench.get_arguments().filter_map(clap::Arg::get_long) {
        let is_checked = FLAGS
            .iter()
            .any(|(text, _)| text.split([' ', '=']).next() == Some(&format!("--{flag}")));
        // The hidden half of a run in two processes is not for users.
        assert!(is_checked || ["role", "help"].contains(&flag), "--{flag}");
    }
    for (flag, _) in ONLY_FOR {
        assert!(
            FLAGS
                .iter()
                .any(|(text, _)| text.starts_with(&format!("--{flag}"))),
            "{flag}"
        );
    }
}

#[test]
fn defaults_are_right_in_every_mode() {
    for mode in Mode::value_variants() {
        assert_eq!(checked(mode.name()), Ok(()));
        assert_eq!(
            checked(&format!("{} --nic memif --json", mode.name())),
            Ok(())
        );
    }
    assert_eq!(checked("rst --ring-frames 64"), Ok(()));
    assert_eq!(checked("rst --nic memif --window 5000"), Ok(()));
}

#[test]
fn what_flags_say_about_each_other_is_checked() {
    for (line, part) in [
        (
            "rst --nic memif --ring-frames 512",
            "--ring-frames applies only to --nic ring",
        ),
        (
            "rst --peer external --nic memif:/none --expect sink --window 5",
            "--window limits SYNs",
        ),
        (
            "rst --peer external --nic memif:/none --fill 5",
            "--fill and --cookies",
        ),
        ("rst --window 5000", "less than --ring-frames (512)"),
        (
            "syn --window 64 --ring-frames 64",
            "less than --ring-frames (64)",
        ),
        ("rst --window 0", "--window must be at least 1"),
        ("rst --peer external", "--nic memif:SOCKET"),
        ("rst --expect echo", "--peer external"),
        ("request -c 0", "at least 1"),
        ("request --connections 5", "at most --connections"),
        (
            "request --open-records 1279",
            "--open-records must be at least 1280",
        ),
        ("request --concurrency 0", "1 to 65536"),
        ("connect -c 65537", "1 to 65536"),
        ("connect --size 60001", "at most 60k"),
        ("connect --time-wait 241", "at most 240"),
        ("syn -d 50ms", "0.1 to 3600"),
        ("syn --warmup-ms 60001", "at most 60000"),
        ("rst --fill 100000001", "--fill must be at most 100m"),
        ("request -c 100000001", "at most 100m"),
    ] {
        let error = checked(line).expect_err(line);
        assert!(error.contains(part), "{line}: {error}");
    }
}
