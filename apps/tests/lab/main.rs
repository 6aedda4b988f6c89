//! `syncline lab` from outside: what it prints, and how it ends.
//!
//! Scenarios over a tap need root and stand in `root_only`.

mod root_only;

use std::process::{Command, Output};

use serde_json::Value;

fn lab(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_syncline"))
        .arg("lab")
        .args(args)
        .output()
        .expect("it runs")
}

/// Its output when all is well.
fn printed(args: &[&str]) -> String {
    let output = lab(args);
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{args:?}:\n{stdout}\n{stderr}");
    stdout
}

#[test]
fn scenarios_are_listed_and_shown() {
    let list = printed(&["list"]);
    for name in ["closed-port", "host-down", "app-blocked"] {
        assert!(list.contains(name), "{list}");
        let shown = printed(&["show", name]);
        assert!(
            shown.starts_with(name)
                && shown.contains("calls connect()")
                && shown.contains("expects client"),
            "{shown}"
        );
    }
    let output = lab(&["show", "open-port"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains(
            "unknown scenario `open-port`: did you mean `closed-port`? Expected one of: closed-port"
        ),
        "{text}"
    );
}

#[test]
fn names_errnos_and_the_first_question_are_explained() {
    for (topic, words) in [
        ("early-close", "in Linux  tcp_close"),
        ("ECONNRESET", "power-loss: host: it lost its state"),
        ("epipe", "EPIPE (broken pipe)"),
        ("rst-ack", "a reset is never answered"),
    ] {
        let text = printed(&["explain", topic]);
        assert!(text.contains(words), "{topic}: {text}");
    }
}

#[test]
fn several_scenarios_and_files_of_ones_own_are_played() {
    let text = printed(&["run", "all"]);
    for name in ["closed-port", "power-loss"] {
        assert!(text.contains(&format!("=== {name} ===")), "{name}: {text}");
    }
    assert!(text.contains("seen as   connection refused"), "{text}");
    let file = std::env::temp_dir().join(format!("syncline-lab-{}.lab", std::process::id()));
    let path = file.to_str().expect("text");
    let own = include_str!("../../src/lab/scenarios/closed-port.lab").replace("ack 1", "ack 2");
    std::fs::write(&file, own).expect("room");
    let output = lab(&["run", path]);
    std::fs::remove_file(&file).expect("it was written");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("server sends RST,ACK seq 0 ack 2"), "{said}");
}

#[test]
fn a_ladder_is_plain_text_for_a_pipe() {
    let text = printed(&["run", "closed-port"]);
    assert!(
        text.contains("SYN seq 0") && text.contains("RST,ACK seq 0 ack 1 win 0"),
        "{text}"
    );
    assert!(text.contains("ECONNREFUSED (connection refused)"), "{text}");
    assert!(
        text.contains("expectations met: 4 of 4") && !text.contains('\x1b'),
        "{text}"
    );
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
}

#[test]
fn json_says_the_same() {
    let whole: Value =
        serde_json::from_str(&printed(&["run", "host-down", "--json"])).expect("JSON");
    assert_eq!(
        (&whole["passed"], &whole["over"]),
        (&Value::Bool(true), &"sim".into())
    );
    let rows = whole["scenes"][1]["rows"].as_array().expect("a list");
    let syns: Vec<&Value> = rows
        .iter()
        .filter(|row| row["flags"] == "SYN" && row["connection"] == 2)
        .collect();
    assert!(
        syns.len() == 3 && syns[0]["neighbor"] == "REACHABLE",
        "{syns:?}"
    );
    assert_eq!(
        (&syns[1]["lost"], &syns[1]["again"]),
        (&"no power".into(), &Value::Bool(true))
    );
    let last = rows.last().expect("a row");
    assert_eq!(last["text"], "EHOSTUNREACH (no route to host)");
    assert_eq!(
        (&last["client_state"], &last["server_state"]),
        (&"CLOSED".into(), &"(off)".into())
    );
}

#[test]
fn a_bad_link_is_drawn_and_not_judged() {
    let json = printed(&["run", "closed-port", "--fault", "delay=1ms", "--json"]);
    let whole: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (&whole["passed"], &whole["fault"]),
        (&Value::Null, &"delay=1000us,seed=793".into())
    );
    let output = lab(&["run", "closed-port", "--over", "tap", "--fault", "loss=1%"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("--fault applies only to --over sim"),
        "{text}"
    );
}

#[test]
fn runs_in_simulation_are_all_the_same() {
    let output = lab(&["run", "all", "--repeat", "3"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("3 runs, all the same"),
        "{said}"
    );
}

#[test]
fn a_page_shows_what_was_played() {
    let file = std::env::temp_dir().join(format!("syncline-lab-{}.html", std::process::id()));
    let path = file.to_str().expect("text");
    printed(&["report", "closed-port", "early-close", "-o", path]);
    let page = std::fs::read_to_string(&file).expect("it was written");
    std::fs::remove_file(&file).expect("it was written");
    assert_eq!(page.matches("class=\"sequence\"").count(), 5, "{page}");
    assert!(
        page.contains("id=\"early-close\"") && page.contains("RST,ACK seq 1 ack 101"),
        "{page}"
    );
    assert!(page.ends_with("</html>\n"));
}

#[test]
fn frames_can_be_kept() {
    let file = std::env::temp_dir().join(format!("syncline-lab-{}.pcapng", std::process::id()));
    let path = file.to_str().expect("text");
    let whole: Value =
        serde_json::from_str(&printed(&["run", "closed-port", "--json", "--pcap", path]))
            .expect("JSON");
    let bytes = std::fs::read(&file).expect("it was written");
    std::fs::remove_file(&file).expect("it was written");
    let mut reader = pcap_file::pcapng::PcapNgReader::new(bytes.as_slice()).expect("pcapng");
    let mut frames = 0;
    while let Some(block) = reader.next_block() {
        frames += usize::from(block.expect("a block").into_enhanced_packet().is_some());
    }
    let rows = whole["scenes"][0]["rows"].as_array().expect("a list");
    let carried = |row: &&Value| row["kind"] == "segment" || row["kind"] == "packet";
    assert_eq!((frames, rows.iter().filter(carried).count()), (4, 4));
}
