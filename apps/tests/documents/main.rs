//! Every command line that README, BENCHMARKING, the guide, the reference and `--help` show, run, with measurements and
//! tables made short. A line that no rule here knows fails.
//!
//! Lines that need root run in network namespaces of their own. It must never pass over a line in silence.
#![forbid(unsafe_code)]

// The command lines.
mod collect;
// Those that need root.
mod root_only;

use std::process::Command;

use collect::{Shown, root, shown};

/// How a command line is run here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A measurement on a link of its own.
    Bench,
    /// The lab in simulation, its lists and its texts.
    Lab,
    /// Lines that read a capture, which the lab writes here.
    Diagnose,
    /// Lines that read files prepared here: results, configurations.
    OnFiles,
    /// Lines of `doctor`: the machine may lack something.
    Doctor,
    /// The lab over a tap: root.
    LabOverTap,
    /// An endpoint on a tap: root.
    Serve,
    /// A load on our own server, or on one in a network namespace of its own.
    Load,
    /// A flood over a tap in a namespace of its own: root.
    Flood,
    /// A program of the system, as a client of `serve`: root.
    Client,
    /// A script that takes `--binary`: root.
    Script,
    /// One of the programs of `benches`.
    Loop,
    /// Takes a release build, an hour, or is what runs this test: only its name and flags are checked.
    NotHere,
}

impl Kind {
    fn of(text: &str) -> Option<Self> {
        let text = text.strip_prefix("./").unwrap_or(text);
        let starts = |prefix: &&str| text.starts_with(*prefix);
        if text.starts_with("syncline lab") && text.contains("--over tap") {
            return Some(Self::LabOverTap);
        }
        let kinds: [(Self, &[&str]); 12] = [
            (Self::Load, &["syncline load"]),
            (Self::Bench, &["syncline bench"]),
            (Self::Diagnose, &["syncline diagnose"]),
            (Self::OnFiles, &["syncline report", "syncline import-dperf"]),
            (Self::Doctor, &["syncline doctor"]),
            (Self::Lab, &["syncline lab", "syncline completions"]),
            (Self::Serve, &["syncline serve"]),
            (Self::Flood, &["syncline flood"]),
            (
                Self::Client,
                &["ping ", "nc ", "curl ", "wrk ", "echo hello | nc "],
            ),
            (
                Self::Script,
                &[
                    "scripts/bench rst",
                    "scripts/bench syn",
                    "scripts/bench connect",
                    "scripts/bench request",
                    "scripts/bench flood",
                    "scripts/demo",
                ],
            ),
            (
                Self::Loop,
                &["cargo run --release -p syncline-benches --bin "],
            ),
            (
                Self::NotHere,
                &[
                    "scripts/test",
                    "scripts/bind-nic",
                    "scripts/bench-loop",
                    "scripts/diagnose-captures",
                    "scripts/bench-instructions",
                    "cargo build --release",
                    "scripts/package",
                    "scripts/build-profiled",
                    "scripts/build-static",
                    "scripts/install",
                    "scripts/setup",
                    "apt install ./target/debian/",
                    "cargo bench -p syncline-benches",
                    "GLIBC_TUNABLES=glibc.malloc.hugetlb=1 cargo bench -p syncline-benches",
                    "cargo test -p syncline-dpdk --test kernel_reset_rules",
                    "SYNCLINE_SEED=",
                    "SYNCLINE_WRITE_DOCS=1 cargo test",
                    "tcpdump -nr target/sim-seed-",
                    "tcpdump -i eth0 ",
                ],
            ),
        ];
        let known = kinds
            .iter()
            .find(|(_, prefixes)| prefixes.iter().any(starts));
        known.map(|(kind, _)| *kind)
    }
}

/// The command lines of one kind.
fn of_kind(kind: Kind) -> Vec<Shown> {
    let lines = shown().into_iter();
    let lines: Vec<Shown> = lines
        .filter(|line| Kind::of(&line.text) == Some(kind))
        .collect();
    assert!(!lines.is_empty(), "no line is of kind {kind:?}");
    lines
}

/// The words of a line (none is quoted for a space in it), with the values of these flags replaced, or added where they are missing.
fn shortened(text: &str, flags: &[(&str, &str)]) -> Vec<String> {
    // Words as a shell splits them: a quoted text is one word.
    let (mut words, mut is_quoted) = (vec![String::new()], false);
    for character in text.chars() {
        match (character, words.last_mut()) {
            ('\'', _) => is_quoted = !is_quoted,
            (' ', _) if !is_quoted => words.push(String::new()),
            (_, Some(word)) => word.push(character),
            _ => {}
        }
    }
    for (flag, value) in flags {
        match words.iter().position(|word| word == flag) {
            Some(at) => words[at + 1] = (*value).to_owned(),
            None => words.extend([(*flag).to_owned(), (*value).to_owned()]),
        }
    }
    words
}

/// Replaces the value of a flag, where it is given.
fn replace(words: &mut [String], flag: &str, value: &str) {
    if let Some(at) = words.iter().position(|word| word == flag) {
        words[at + 1] = value.to_owned();
    }
}

/// Runs it; it must succeed.
fn succeed(line: &Shown, command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{} `{}`: {error}", line.at, line.text));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let (at, text, status) = (&line.at, &line.text, output.status);
    assert!(status.success(), "{at} `{text}`: {status}\n{said}");
}

fn syncline() -> Command {
    Command::new(env!("CARGO_BIN_EXE_syncline"))
}

#[test]
fn every_line_is_of_a_known_kind() {
    let lines = shown();
    assert!(lines.len() > 30, "{} lines were found", lines.len());
    let unknown: Vec<String> = lines
        .iter()
        .filter(|line| Kind::of(&line.text).is_none())
        .map(|line| format!("{}: {}", line.at, line.text))
        .collect();
    assert!(unknown.is_empty(), "no rule runs:\n{}", unknown.join("\n"));
}

#[test]
fn benches_run_as_they_are_shown() {
    for line in of_kind(Kind::Bench) {
        let mut words = shortened(&line.text, &[("-d", "0.2s")]);
        replace(&mut words, "--connections", "20k");
        replace(&mut words, "--fill", "20k");
        succeed(&line, syncline().args(&words[1..]));
    }
}

#[test]
fn loads_of_our_own_server_run_as_they_are_shown() {
    for line in of_kind(Kind::Load) {
        if !line.text.contains("--nic") {
            let mut words = shortened(&line.text, &[("-d", "0.3s")]);
            if line.text.contains("--workload hold") {
                replace(&mut words, "-c", "2000");
            }
            replace(&mut words, "--confirm", "0.3s");
            if line.text.contains("--find") {
                // As many operations in a trial as its gates need.
                replace(&mut words, "-R", "10k");
            }
            // The times of a busy machine's generator spoil a run, and its result is shown all the same.
            let output = syncline().args(&words[1..]).output().expect("it starts");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                said.contains("add up") || said.contains("\"account\""),
                "{} `{}`: {said}",
                line.at,
                line.text
            );
        }
    }
}

#[test]
fn the_lab_runs_as_it_is_shown() {
    // Where a page or capture may be written.
    let folder = std::env::temp_dir().join(format!("syncline-lab-lines-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder of its own");
    for line in of_kind(Kind::Lab) {
        let words = shortened(&line.text, &[]);
        // Help names the command without what it plays.
        if words.len() > 2 {
            succeed(&line, syncline().args(&words[1..]).current_dir(&folder));
        }
    }
    std::fs::remove_dir_all(&folder).expect("it was made");
}

#[test]
fn captures_are_diagnosed_as_it_is_shown() {
    let folder = std::env::temp_dir().join(format!("syncline-documents-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder of its own");
    let capture = folder.join("capture.pcap");
    let lab = ["lab", "run", "closed-port", "--pcap"];
    let played = syncline().args(lab).arg(&capture).output();
    assert!(played.is_ok_and(|output| output.status.success()));
    for line in of_kind(Kind::Diagnose) {
        let words = shortened(&line.text, &[]);
        if words.len() > 2 {
            succeed(&line, syncline().args(&words[1..]).current_dir(&folder));
        }
    }
    std::fs::remove_dir_all(&folder).expect("it was made");
}

#[test]
fn files_are_read_as_it_is_shown() {
    let folder = std::env::temp_dir().join(format!("syncline-files-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder of its own");
    let bench = ["bench", "rst", "-d", "200ms", "--json"];
    let result = syncline().args(bench).output().expect("it runs").stdout;
    let dperf = "mode client\ncpu 0\ncps 1k\nport 0000:1b:00.0 198.18.0.2 198.18.0.1\nclient 198.18.1.1 9\n\
                 server 198.18.0.9 1\n";
    for (name, bytes) in [
        ("connect.json", &result[..]),
        ("before.json", &result),
        ("after.json", &result),
        ("client.conf", dperf.as_bytes()),
    ] {
        std::fs::write(folder.join(name), bytes).expect("room for a file");
    }
    for line in of_kind(Kind::OnFiles) {
        let words = shortened(&line.text, &[]);
        if words.len() > 2 {
            succeed(&line, syncline().args(&words[1..]).current_dir(&folder));
        }
    }
    let page = std::fs::read_to_string(folder.join("compare.html")).expect("a page was made");
    assert!(page.contains("syncline bench rst") && page.ends_with("</html>\n"));
    std::fs::remove_dir_all(&folder).expect("it was made");
}

#[test]
fn the_doctor_judges_what_is_shown() {
    for line in of_kind(Kind::Doctor) {
        let words = shortened(&line.text, &[]);
        let output = syncline().args(&words[1..]).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        let (at, text) = (&line.at, &line.text);
        assert!(output.status.code() < Some(2), "{at} `{text}`: {output:?}");
        assert!(said.contains("cpus"), "{at} `{text}`: {said}");
    }
}

#[test]
fn loops_run_as_they_are_shown() {
    for line in of_kind(Kind::Loop) {
        let size = if line.text.contains("conversation-loop") {
            "--exchanges"
        } else {
            "--packets"
        };
        let mut words = shortened(
            &line.text.replace(" --release", ""),
            &[("--runs", "1"), (size, "2000")],
        );
        replace(&mut words, "--connections", "1000");
        succeed(
            &line,
            Command::new(env!("CARGO"))
                .args(&words[1..])
                .current_dir(root()),
        );
    }
}

#[test]
fn what_is_not_run_here_exists_with_the_flags_that_are_shown() {
    for line in of_kind(Kind::NotHere) {
        let words: Vec<&str> = line.text.split(' ').collect();
        let at = &line.at;
        for pair in words.windows(2) {
            let exists = match pair {
                ["--bench", name] => root().join(format!("benches/benches/{name}.rs")).exists(),
                ["--test", name] => ["stack", "dpdk", "apps"]
                    .iter()
                    .any(|package| root().join(format!("{package}/tests/{name}.rs")).exists()),
                _ => true,
            };
            assert!(exists, "{at} `{}`: {pair:?} is not there", line.text);
        }
        let script = words[0].trim_start_matches("./");
        if !script.starts_with("scripts/") {
            continue;
        }
        let help = Command::new(root().join(script)).arg("--help").output();
        let help = help.unwrap_or_else(|error| panic!("{at} {script}: {error}"));
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        let flags = words.iter().filter(|word| word.starts_with("--"));
        for flag in flags {
            assert!(help.contains(*flag), "{at}: {script} has no {flag}");
        }
    }
}
