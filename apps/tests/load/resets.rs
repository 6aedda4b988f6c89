//! A target that answers with a flood of RSTs, sent by a program of Python from the kernel's side of the tap: valid ones end
//! connections, forged ones never do.
//!
//! Every run has a network namespace of its own, which ends with it.

use std::fs;

use serde_json::Value;

use crate::root_only::{Folder, TAP};
use crate::{assert_account, number, result, syncline};

const RESETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/rst_flood.py");
/// RSTs for every segment of the client.
const EACH: &str = "20";

/// A run of 100 operations; its result, its exit status, all that it printed, and how many RSTs were sent by kind.
fn run(folder: &Folder, kind: &str, server: &str) -> (Value, i32, String, Value) {
    let (json, sent) = (folder.path().join("run.json"), folder.path().join("sent"));
    let with = format!(
        "python3 {RESETS} syncline0 8080 {kind} {EACH} {} & {server} wait",
        sent.display()
    );
    let output = syncline()
        .args(["http://198.18.0.1:8080/file", "-n", "100", "-c", "2"])
        .args(["-d", "30s", "--with", &with, "--json-file"])
        .arg(&json)
        .args(TAP)
        .output()
        .expect("it starts");
    let (_, status, said) = result(&output);
    let said = format!("{}{said}", String::from_utf8_lossy(&output.stdout));
    let read = |path| -> Value {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{error}: {said}"));
        serde_json::from_str(&text).expect("JSON")
    };
    (read(&json), status, said.clone(), read(&sent))
}

#[test]
#[ignore = "needs root"]
fn forged_resets_end_nothing_and_are_named() {
    let folder = Folder::new("forged");
    let place = folder.path().display();
    fs::write(folder.path().join("file"), "hello").expect("a file");
    let server =
        format!("python3 -m http.server 8080 --directory {place} >/dev/null 2>{place}/log &");
    let (run, status, said, sent) = run(&folder, "forged", &server);
    assert_eq!(status, 0, "{said}");
    assert_eq!(number(&run, "/operations/completed"), 100);
    assert_eq!(number(&run, "/connections/reset_by_peer"), 0);
    // The server has answered each request, and sent none of the RSTs.
    let log = fs::read_to_string(folder.path().join("log")).expect("a log");
    assert_eq!(log.matches("\"GET /file").count(), 100, "{log}");
    let challenged = number(&run, "/tcp/rst_challenged");
    let unmatched = number(&run, "/counters/rst_unmatched");
    assert!(
        challenged > 0 && challenged <= number(&sent, "/in_window"),
        "{sent}"
    );
    assert!(
        unmatched > 0 && number(&sent, "/unknown_tuple") > 0,
        "{sent}"
    );
    assert!(run["tcp"]["rst_accepted"].is_null(), "{run:#}");
    assert!(said.contains("RSTs reset nothing"), "{said}");
    assert_account(&run);
}

#[test]
#[ignore = "needs root"]
fn valid_resets_fail_the_run_by_name() {
    let folder = Folder::new("valid");
    let (run, status, said, sent) = run(&folder, "valid", "");
    assert_eq!(status, 1, "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert_eq!(last, "error: 100 operations failed (100 × reset)");
    // One for each operation, and one that the other place may have opened before the last operation failed.
    let resets = number(&run, "/connections/reset_by_peer");
    assert!((100..=101).contains(&resets), "{resets}");
    // The first RST ended the connection, and the rest met none.
    assert!(number(&sent, "/exact") > 100, "{sent}");
    assert!(number(&run, "/counters/rst_unmatched") > 0, "{run:#}");
    assert_account(&run);
}
