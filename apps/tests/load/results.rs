//! Formats that other programs read: the schema of the JSON, checked by Python's jsonschema, and the log of HdrHistogram, read by a
//! decoder that shares no code with ours.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::{load, number};

/// Runs Python; what it prints.
fn python(args: &[&str]) -> String {
    let output = Command::new("python3")
        .args(args)
        .output()
        .expect("python3: scripts/setup installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A file of this test, removed at its end.
pub(crate) struct TestFile(std::path::PathBuf);

impl TestFile {
    pub(crate) fn new(name: &str) -> Self {
        // Tests run beside each other.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("syncline-{}-{number}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("a path")
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const VALIDATE: &str = "import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
errors = [e.json_path + ': ' + e.message for e in jsonschema.Draft202012Validator(schema).iter_errors(json.load(open(sys.argv[2])))]
sys.exit('; '.join(errors) or 0)";

/// The result is as the schema says.
pub(crate) fn assert_valid(result: &Value) {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/load.schema.json");
    let schema = schema.to_str().expect("a path");
    let file = TestFile::new("result.json");
    std::fs::write(file.path(), result.to_string()).expect("a file");
    python(&["-c", VALIDATE, schema, file.path()]);
}

#[test]
fn results_are_as_the_schema_says() {
    for words in [
        &["-R", "500", "-d", "500ms", "--fault", "loss=1%"][..],
        &[
            "--workload",
            "hold",
            "-c",
            "20",
            "-d",
            "300ms",
            "--verify-every",
            "200ms",
        ],
        &[
            "--workload",
            "connect",
            "-n",
            "50",
            "-c",
            "2",
            "--source-ports",
            "2000-2999",
        ],
        &["--workload", "stream", "-d", "200ms"],
        &["--profile", "rfc9411-latency", "-R", "20", "-d", "1s"],
        &[
            "--find",
            "-R",
            "100",
            "-d",
            "200ms",
            "--confirm",
            "200ms",
            "--gate",
            "p50=1ns",
        ],
    ] {
        let (result, _, said) = load(words);
        assert!(result.is_object(), "{words:?}: {said}");
        assert_valid(&result);
    }
}

#[test]
fn another_reader_of_the_log_finds_the_same_percentiles() {
    let log = TestFile::new("times.hlog");
    let words = ["-R", "2k", "-d", "1s", "--hdr-log", log.path()];
    let (result, _, said) = load(&words);
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/load/hdr_log.py");
    let read = python(&[reader.to_str().expect("a path"), log.path()]);
    let read: Value = serde_json::from_str(&read).expect("JSON");
    for tag in ["operation", "scheduled"] {
        let samples = number(&result, &format!("/times/{tag}/samples"));
        assert_eq!(number(&read, &format!("/{tag}/samples")), samples, "{said}");
        for percent in ["p50", "p90", "p99"] {
            let ours = result["times"][tag]["percentiles_us"][percent]["us"].as_f64();
            let theirs = read[tag][format!("{percent}_ns")].as_f64();
            let (ours, theirs) = (ours.expect("ours"), theirs.expect("theirs") / 1000.0);
            assert!(
                (ours - theirs).abs() <= 0.051,
                "{tag} {percent}: {ours} and {theirs} us"
            );
        }
    }
}
