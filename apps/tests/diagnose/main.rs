//! `syncline diagnose` from outside: captures that the lab wrote, read from files and pipes.
//!
//! Captures of kernels need root and stand in `root_only`.

#[cfg(feature = "dpdk")]
mod nic;
mod peers;
mod root_only;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("syncline-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).expect("a folder of its own");
        Self(path)
    }

    /// The capture of a scenario.
    fn capture(&self, scenario: &str) -> PathBuf {
        let path = self.0.join(format!("{scenario}.pcapng"));
        let lab = ["lab", "run", scenario, "--pcap"];
        let output = Command::new(env!("CARGO_BIN_EXE_syncline"))
            .args(lab)
            .arg(&path)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{output:?}");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn diagnose(path: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_syncline"))
        .args(["diagnose", "-r"])
        .arg(path)
        .args(args)
        .output()
        .expect("it runs")
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn situations(path: &Path) -> Vec<String> {
    let output = diagnose(path, &["--json"]);
    let value: Value = serde_json::from_str(&printed(&output)).expect("JSON");
    let connections = value["connections"].as_array().expect("a list").iter();
    connections
        .map(|connection| connection["situation"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn what_the_lab_plays_is_recognized() {
    let folder = Folder::new("diagnose-lab");
    let closed = folder.capture("closed-port");
    assert_eq!(situations(&closed), ["port-closed"]);
    let blocked = situations(&folder.capture("app-blocked"));
    for name in ["zero-window", "accept-queue-full"] {
        assert!(
            blocked.iter().any(|found| found == name),
            "{name}: {blocked:?}"
        );
    }
    let down = diagnose(&folder.capture("host-down"), &[]);
    assert!(printed(&down).contains("neighbour dead"), "{down:?}");
}

#[test]
fn one_connection_is_shown_with_its_ladder() {
    let folder = Folder::new("diagnose-one");
    let path = folder.capture("closed-port");
    let text = printed(&diagnose(&path, &["-c", "1"]));
    for part in [
        "port closed: RST,ACK to SYN, at the server",
        "verdict   certain: no other situation leaves such frames",
        "  could be  a firewall rejects with a reset",
        "ARP who has",
        "SYN seq 0",
        "RST,ACK seq 0 ack 1 win 0",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    let wrong = diagnose(&path, &["-c", "9"]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        said.contains("-c 9: the capture holds 1 connection, numbered from 1"),
        "{said}"
    );
}

#[test]
fn a_pipe_says_the_same_as_the_file() {
    let folder = Folder::new("diagnose-pipe");
    let path = folder.capture("closed-port");
    let from_pipe = Command::new(env!("CARGO_BIN_EXE_syncline"))
        .args(["diagnose", "-r", "-"])
        .stdin(Stdio::from(File::open(&path).expect("it is there")))
        .output()
        .expect("it runs");
    let from_file = printed(&diagnose(&path, &[]));
    let name = format!("{}:", path.display());
    assert_eq!(printed(&from_pipe), from_file.replace(&name, "-:"));
}

#[test]
fn what_is_no_capture_is_refused_with_its_name() {
    let folder = Folder::new("diagnose-none");
    let path = folder.0.join("page.html");
    std::fs::write(&path, "<html>a page, and long enough for a header</html>").expect("room");
    for (path, words) in [
        (path.as_path(), "it is neither pcap nor pcapng"),
        (folder.0.as_path(), "it is a directory"),
        (&folder.0.join("nothing.pcap"), "No such file"),
    ] {
        let output = diagnose(path, &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains(&path.display().to_string()) && said.contains(words),
            "{said}"
        );
    }
}
