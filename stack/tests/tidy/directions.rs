//! Which module may import which inside `stack` (CONTRIBUTING.md, "Direction").
//!
//! It must never judge tests: they may look at whatever they need.

use crate::paths::{module_of, named_in_production};
use crate::tree::{Finding, Tree};
use std::collections::BTreeSet;

/// Modules that import nothing of ours but this.
const ONLY: &[(&str, &[&str])] = &[
    ("wire", &["wire", "seq"]),
    ("nic", &["nic", "rng"]),
    ("seq", &["seq"]),
    ("time", &["time"]),
    ("rng", &["rng"]),
];

/// Modules that import anything of ours but this. A module that isn't named here stands below `worker`.
const NEVER: &[(&str, &[&str])] = &[
    (
        "tcp",
        &["nic", "conn", "local", "queue", "config", "worker", "sim"],
    ),
    ("queue", &["conn", "local", "config", "worker", "sim"]),
    ("local", &["conn", "queue", "config", "worker", "sim"]),
    ("conn", &["config", "worker", "sim"]),
    ("worker", &["sim"]),
    ("sim", &[]),
];
/// The modules that `stack` re-exports whole from the crate `nic`: judged like modules of its own.
const FROM_NIC: &[&str] = &["nic", "rng"];
const NEVER_BELOW_WORKER: &[&str] = &["worker", "sim"];

/// Each import of one of our modules by another follows the tables above.
pub(crate) fn imports(tree: &Tree) -> Vec<Finding> {
    let production = || {
        tree.rust()
            .filter(|(file, rust)| file.path.starts_with("stack/src/") && !rust.is_test)
    };
    let modules: BTreeSet<String> = production()
        .filter_map(|(file, _)| module_of(&file.path).first().cloned())
        .chain(FROM_NIC.iter().map(|&name| name.to_owned()))
        .collect();
    let mut findings = Vec::new();
    for (file, rust) in production() {
        let Some(from) = module_of(&file.path).first().cloned() else {
            continue;
        }; // lib.rs may re-export
        for path in named_in_production(file, rust) {
            let [root, to, ..] = &path.segments[..] else {
                continue;
            };
            if root != "crate" || *to == from {
                continue;
            }
            let target = path.segments[1..].join("::");
            let fix = if !modules.contains(to) {
                format!(
                    "`crate::{target}` hides where it comes from: import it from the module that defines it"
                )
            } else if !may_import(&from, &target) {
                format!(
                    "`{from}` must not import `{target}`: turn the dependency round or pass the value in"
                )
            } else {
                continue;
            };
            findings.push(file.finding(path.line, "direction", fix));
        }
    }
    findings
}

fn may_import(from: &str, target: &str) -> bool {
    let within = |module: &&str| target == *module || target.starts_with(&format!("{module}::"));
    let listed =
        |table: &'static [(&str, &[&str])]| table.iter().find(|(module, _)| *module == from);
    if let Some((_, only)) = listed(ONLY) {
        return only.iter().any(within);
    }
    let never = listed(NEVER).map_or(NEVER_BELOW_WORKER, |(_, never)| never);
    !never.iter().any(within)
}

#[test]
fn an_import_against_the_direction_is_found() {
    let lib = ("stack/src/lib.rs", "pub use worker::Worker;");
    let empty = [
        "conn", "nic", "seq", "sim", "tcp", "timer", "wire", "worker",
    ]
    .map(|m| format!("stack/src/{m}.rs"));
    let mut files: Vec<(&str, &str)> = empty.iter().map(|path| (path.as_str(), "")).collect();
    files.push(lib);
    let against = [
        (
            "stack/src/wire/tcp.rs",
            "use crate::{seq::SeqNum, tcp::state::State};",
        ),
        ("stack/src/tcp/input.rs", "use super::super::nic::Frame;"),
        ("stack/src/conn/table.rs", "fn f() { crate::worker::g(); }"),
        (
            "stack/src/timer/wheel.rs",
            "fn f() { assert!(crate::worker::G); }",
        ),
        ("stack/src/worker/turn.rs", "use crate::sim::Net;"),
        ("stack/src/nic/ring.rs", "use crate::wire::tcp::Header;"),
        ("stack/src/conn/hide.rs", "use crate::Worker;"),
    ];
    let along = [
        (
            "stack/src/wire/ipv4.rs",
            "use crate::wire::checksum::Sum; use super::super::seq::SeqNum;",
        ),
        (
            "stack/src/tcp/output.rs",
            "use crate::wire::tcp::Flags; #[cfg(test)] mod tests { use crate::sim::Net; }",
        ),
        (
            "stack/src/sim/net.rs",
            "use crate::{worker::Worker, nic::Nic, worker::app::App};",
        ),
        ("stack/src/tcp/input/tests.rs", "use crate::sim::Net;"),
    ];
    files.extend(against);
    files.extend(along);
    let mut found: Vec<String> = imports(&Tree::of(&files))
        .into_iter()
        .map(|finding| finding.path)
        .collect();
    found.sort();
    let mut expected = against.map(|(path, _)| path);
    expected.sort_unstable();
    assert_eq!(found, expected);
}
