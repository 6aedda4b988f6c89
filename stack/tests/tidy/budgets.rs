//! The table of shared budgets: that the counters and tests of each row exist, and that each limit has a row.
//!
//! It must never accept a limit of `Limits` that no row names.

use crate::tree::{File, Finding, Tree, in_backticks};

const PAGE: &str = "docs/reference/budgets.md";
const LIMITS: &str = "stack/src/config.rs";
/// Where counters get their names.
const COUNTERS: [&str; 2] = ["stack/src/counters.rs", "stack/src/tcp/env.rs"];

/// Each row names what is there, and each limit has a row.
pub(crate) fn rows_and_limits_agree(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.files.iter().find(|file| file.path == PAGE) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (index, line) in page.text.lines().enumerate() {
        let cells: Vec<&str> = line.split('|').collect();
        let [_, _, _, _, _, _, counters, tests, _] = cells.as_slice() else {
            continue;
        };
        if tests.trim() == "attacked by" || tests.contains("---") {
            continue;
        }
        let mut wrong = |what: String| findings.push(page.finding(index + 1, "budget", what));
        let (counters, tests) = (in_backticks(counters), in_backticks(tests));
        if counters.is_empty() || tests.is_empty() {
            wrong("the row names no counter or no test: add what shows that it holds".to_owned());
        }
        for counter in counters {
            let quoted = format!("\"{counter}\"");
            let has =
                |file: &File| COUNTERS.contains(&file.path.as_str()) && file.text.contains(&quoted);
            if !tree.files.iter().any(has) {
                wrong(format!("there is no counter {counter}: correct the row"));
            }
        }
        for test in tests {
            let opens = format!("fn {test}()");
            if !tree.rust().any(|(file, _)| file.text.contains(&opens)) {
                wrong(format!("there is no test {test}: correct the row"));
            }
        }
    }
    findings.extend(limits_without_a_row(tree, page));
    findings
}

fn limits_without_a_row(tree: &Tree, page: &File) -> Vec<Finding> {
    let Some(config) = tree.files.iter().find(|file| file.path == LIMITS) else {
        return Vec::new();
    };
    let lines = config.text.lines().enumerate();
    lines
        .skip_while(|(_, line)| !line.starts_with("pub struct Limits"))
        .take_while(|(_, line)| !line.starts_with('}'))
        .filter_map(|(index, line)| {
            let (field, _) = line.trim().strip_prefix("pub ")?.split_once(':')?;
            let is_named = page.text.contains(&format!("`Limits::{field}`"));
            let fix =
                format!("{field} has no row in {PAGE}: say who may fill it and what gives way");
            (!is_named).then(|| config.finding(index + 1, "budget", fix))
        })
        .collect()
}

#[test]
fn rows_of_nothing_and_limits_without_a_row_are_found() {
    let row = |limit, counter, test| {
        format!("| places | {limit} | peers | the oldest | 5 s | {counter} | {test} |\n")
    };
    let page = "| budget | limit | filled by | what gives way | after | counter | attacked by |\n"
        .to_owned()
        + &row("`Limits::kept`", "`full`", "`fills`")
        + &row("none", "`empty`", "`fills`")
        + &row("none", "`full`", "`spills`")
        + &row("none", "", "`fills`");
    let config = "pub struct Limits {\n    pub kept: u32,\n    pub lost: u32,\n}\n";
    let tree = Tree::of(&[
        (PAGE, &page),
        (LIMITS, config),
        (COUNTERS[0], "const NAME: &str = \"full\";\nfn fills() {}\n"),
    ]);
    let found: Vec<(String, usize)> = rows_and_limits_agree(&tree)
        .into_iter()
        .map(|finding| (finding.path, finding.line))
        .collect();
    let expected = [(PAGE, 3), (PAGE, 4), (PAGE, 5), (LIMITS, 3)];
    assert_eq!(found, expected.map(|(path, line)| (path.to_owned(), line)));
}
