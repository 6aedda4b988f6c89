//! Command lines that need root: endpoints on taps, their clients, the lab over a tap, and the scripts.
//!
//! It must never send a frame outside of the namespaces that it makes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::collect::{Shown, root};
use super::{Kind, of_kind, shortened, succeed, syncline};

/// A load on a server in a namespace of the run's own. Whether the rate is reached on this machine is not judged.
#[test]
#[ignore = "needs root"]
fn loads_of_other_servers_run_as_they_are_shown() {
    for line in of_kind(Kind::Load) {
        if line.text.contains("--with ") {
            let program = env!("CARGO_BIN_EXE_syncline");
            let text = line
                .text
                .replacen("syncline", program, 1)
                .replace(" -d 10s", " -d 1s");
            let output = Command::new("sh")
                .args(["-c", &text])
                .output()
                .expect("a shell");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                said.contains("buffers add up"),
                "{} `{text}`: {said}",
                line.at
            );
        }
    }
}

/// Runs a test on a thread in a network namespace of its own.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A running `syncline serve`; dropped, it is killed.
struct Serving(Child);

impl Serving {
    /// Starts the line, and returns when it says that it serves.
    fn start(line: &Shown) -> Self {
        let words = shortened(&line.text, &[]);
        let mut child = syncline()
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let serving = Self(child);
        let mut log = stderr.lines().map_while(Result::ok);
        let is_there = log.any(|text| {
            assert!(
                !text.starts_with("error"),
                "{} `{}`: {text}",
                line.at,
                line.text
            );
            text.starts_with("tap:")
        });
        assert!(is_there, "{} `{}` never serves", line.at, line.text);
        std::thread::spawn(move || log.for_each(drop));
        serving
    }

    /// Ctrl-C; it must succeed.
    fn stop(mut self) {
        let pid = i32::try_from(self.0.id()).expect("a pid");
        kill(Pid::from_raw(pid), Signal::SIGINT).expect("it runs");
        assert!(self.0.wait().expect("it ends").success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs root"]
fn endpoints_serve_as_they_are_shown() {
    in_namespace(|| {
        for line in of_kind(Kind::Serve) {
            // Help names the command alone as well.
            if line.text.contains("--nic") {
                Serving::start(&line).stop();
            }
        }
    });
}

#[test]
#[ignore = "needs root"]
fn floods_run_as_they_are_shown() {
    for line in of_kind(Kind::Flood) {
        // Other NICs than a tap of the run's own are not here.
        if line.text.contains("--nic tap ") {
            let words = shortened(&line.text, &[("-d", "500ms")]);
            succeed(&line, syncline().args(&words[1..]));
        }
    }
}

/// The expected exit status of the lines: a refused connection is what `nc -vz` is shown for.
#[test]
#[ignore = "needs root"]
fn clients_reach_the_endpoint_of_the_first_run() {
    in_namespace(|| {
        let endpoints = of_kind(Kind::Serve);
        let first_run = endpoints
            .iter()
            .find(|line| line.at.starts_with("docs/guide/first-run.md"));
        let serving = Serving::start(first_run.expect("the first run serves"));
        for line in of_kind(Kind::Client) {
            let text = line
                .text
                .replace("ping ", "ping -c 2 ")
                .replace("-d 5 ", "-d 1 ");
            // A person types; here the input ends at once.
            let text = if text == "nc 198.18.0.2 7" {
                "echo typed | nc -N 198.18.0.2 7"
            } else {
                &text
            };
            let mut command = Command::new("bash");
            command.args(["-c", text]);
            if text.contains("-vz") {
                let output = command.output().expect("nc");
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(said.contains("refused"), "{} `{text}`: {said}", line.at);
            } else {
                succeed(&line, &mut command);
            }
        }
        serving.stop();
    });
}

#[test]
#[ignore = "needs root"]
fn the_lab_over_a_tap_runs_as_it_is_shown() {
    for line in of_kind(Kind::LabOverTap) {
        let mut words = shortened(&line.text, &[]);
        if !words.iter().any(|word| word == "--quick") {
            words.push("--quick".into());
        }
        // All scenes take minutes: `tests/lab` plays those of several situations.
        for word in words.iter_mut().filter(|word| *word == "all") {
            *word = "early-close".into();
        }
        succeed(&line, syncline().args(&words[1..]));
    }
}

#[test]
#[ignore = "needs root"]
fn scripts_run_as_they_are_shown() {
    for line in of_kind(Kind::Script) {
        let text = line.text.trim_start_matches("./");
        // wrk takes whole seconds.
        let seconds = if text == "scripts/demo" { "1" } else { "0.3" };
        let binary = env!("CARGO_BIN_EXE_syncline");
        let mut flags = vec![("--seconds", seconds), ("--binary", binary)];
        if text.starts_with("scripts/bench") {
            flags.push(("--rounds", "1"));
        }
        let mut words = shortened(text, &flags);
        super::replace(&mut words, "--connections", "20k");
        let output = Command::new(root().join(&words[0]))
            .args(&words[1..])
            .output();
        let output = output.unwrap_or_else(|error| panic!("{} `{text}`: {error}", line.at));
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        // A build that isn't optimised generates too slowly for a result, and says so.
        let is_slow = said.contains("generator-limited");
        let (at, status) = (&line.at, output.status);
        assert!(
            status.success() || is_slow,
            "{at} `{text}`: {status}\n{said}"
        );
    }
}
