//! The table of what the RFCs ask: that the tests of each row exist. Whether they prove it is for a reader to judge.
//!
//! It must never pass a name that is neither a test nor a module.

use crate::tree::{Finding, Tree, in_backticks};

const PAGE: &str = "docs/reference/rfc.md";

/// Each name in the last cell of a row is that of a test, or of a module or a table of tests.
pub(crate) fn rows_name_what_exists(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.files.iter().find(|file| file.path == PAGE) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (index, line) in page.text.lines().enumerate() {
        let Some(proof) = line
            .strip_prefix('|')
            .and_then(|row| row.trim_end_matches('|').rsplit('|').next())
        else {
            continue;
        };
        if proof.trim_start().starts_with("proved by") {
            continue;
        }
        for name in in_backticks(proof) {
            if !exists(tree, name) {
                let fix = format!("`{name}` is neither a test nor a module: correct the row");
                findings.push(page.finding(index + 1, "requirement", fix));
            }
        }
    }
    findings
}

/// Whether there is such a file, such a module, or a function or type whose name is the last part of `name`; a `*` at the
/// end stands for the rest of the function's name.
fn exists(tree: &Tree, name: &str) -> bool {
    let last = name.rsplit("::").next().unwrap_or(name);
    let opens = match last.strip_suffix('*') {
        Some(start) => vec![format!("fn {start}")],
        None => vec![
            format!("fn {last}("),
            format!("enum {last} "),
            format!("mod {last};"),
        ],
    };
    let is_file = |path: &str| path.ends_with(last) && last.ends_with(".rs");
    tree.rust()
        .any(|(file, _)| is_file(&file.path) || opens.iter().any(|opens| file.text.contains(opens)))
}

#[test]
fn a_row_that_names_no_test_is_found() {
    let page = "| id | requirement | proved by |\n|---|---|---|\n\
        | MUST-1 | `x` | `tests::a_test`, `rtt`, `tests::keepalive_*` |\n\
        | MUST-2 | y | `tests::gone` and `rtt::gone` |\n";
    let code = "mod rtt;\nfn a_test() {}\nfn keepalive_ends() {}\n";
    let tree = Tree::of(&[(PAGE, page), ("stack/src/tcp.rs", code)]);
    let lines: Vec<usize> = rows_name_what_exists(&tree)
        .iter()
        .map(|finding| finding.line)
        .collect();
    assert_eq!(lines, [4, 4]);
}
