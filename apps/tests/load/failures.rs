//! Failed connections as a capture, wrong bodies, and who answered: read by tcpdump, summed up by sha256sum.

use std::process::Command;

use serde_json::Value;

use crate::results::{TestFile, assert_valid};
use crate::{assert_account, load, number};

/// The output of `tcpdump` for a capture, a line for each frame.
fn frames(file: &TestFile) -> Vec<String> {
    let output = Command::new("tcpdump").args(["-nr", file.path()]).output();
    let output = output.expect("tcpdump: scripts/setup installs it");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_first_failures_of_a_kind_are_whole_in_the_capture() {
    let file = TestFile::new("failures.pcapng");
    let words = ["--workload", "connect", "-n", "20", "-c", "2"];
    let wrong = ["--expect-body", "crc32c:00000000"];
    let (result, status, said) =
        load(&[&words[..], &wrong, &["--pcap-failures", file.path()]].concat());
    assert_eq!(status, 1, "{said}");
    assert_eq!(number(&result, "/operations/failed_by/wrong_content"), 20);
    assert_eq!(
        number(&result, "/pcap_failures/connections/wrong_content"),
        3
    );
    assert_account(&result);
    assert_valid(&result);
    let frames = frames(&file);
    assert_eq!(
        frames.len() as u64,
        number(&result, "/pcap_failures/frames")
    );
    let with = |flags: &str| frames.iter().filter(|line| line.contains(flags)).count();
    // Three connections from SYN to our RST.
    assert_eq!((with("[S],"), with("[S.],")), (3, 3), "{frames:#?}");
    assert_eq!(with("[R"), 3, "{frames:#?}");
    assert_eq!(with("HTTP/1.1 200 OK"), 3, "{frames:#?}");
}

#[test]
fn a_full_disk_is_said_and_the_result_is_printed() {
    let words = ["-n", "20", "-c", "2", "--pcap-failures", "/dev/full"];
    let (result, status, said) = load(&words);
    assert_eq!(status, 1);
    assert_eq!(number(&result, "/operations/completed"), 20);
    assert!(said.contains("No space left on device"), "{said}");
    assert_account(&result);
    let (_, status, said) = load(&["--pcap-failures", "/nowhere/at/all"]);
    assert_eq!(status, 2);
    assert!(said.contains("choose another file"), "{said}");
}

#[test]
fn a_body_is_summed_up_whether_it_comes_at_once_or_behind_others() {
    // The first 1,000 bytes of the pattern of RFC 864, summed up by Python's hashlib.
    let right = "sha256:e2784094810bd498b84d9a399b36cd3780a90dd859e8780e22e600494a103e6e";
    for more in [&[][..], &["--pipeline", "4"], &["--workload", "connect"]] {
        let words = ["-n", "200", "-c", "3", "--expect-body", right];
        let (result, status, said) = load(&[&words[..], more].concat());
        assert_eq!(status, 0, "{said}");
        assert_eq!(number(&result, "/operations/completed"), 200);
    }
    let (_, status, said) = load(&["--expect-body", right, "--expect-body", right]);
    assert_eq!(status, 2);
    assert!(said.contains("given 2 times for 1 URLs"), "{said}");
}

#[test]
fn responses_are_counted_by_a_header() {
    let (result, status, said) = load(&["-n", "100", "-c", "2", "--count-by", "server"]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(result["backends"][0]["name"], Value::from("syncline"));
    assert_eq!(number(&result, "/backends/0/connections"), 2);
    assert_eq!(number(&result, "/backends/0/responses"), 100);
    assert_valid(&result);
}
