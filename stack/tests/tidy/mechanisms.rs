//! The table of mechanisms: that the code and the test of each row exist. Whether the test notices is for
//! `scripts/mutants --rows` to try.
//!
//! It must never look for code elsewhere than in or behind the function that a row names.

use crate::tree::{File, Finding, Tree};

const PAGE: &str = "docs/reference/mechanisms.md";

/// Each row names code and a test that are there.
pub(crate) fn rows_name_what_exists(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.files.iter().find(|file| file.path == PAGE) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (index, line) in page.text.lines().enumerate() {
        let wrong = |what| page.finding(index + 1, "mechanism", format!("{what}: {FIX}"));
        let Some(row) = Row::read(line) else {
            continue;
        };
        let path = format!("stack/src/{}", row.file);
        let code = tree.files.iter().find(|file| file.path == path);
        if !code.is_some_and(|file| row.is_in(file)) {
            findings.push(wrong("the code isn't there"));
        }
        let test = row
            .test
            .rsplit("::")
            .next()
            .map(|name| format!("fn {name}()"));
        let has_test = |file: &File| test.as_ref().is_some_and(|test| file.text.contains(test));
        if !tree.rust().any(|(file, _)| has_test(file)) {
            findings.push(wrong("there is no such test"));
        }
    }
    findings
}

const FIX: &str = "correct the row, then try it with scripts/mutants --rows";

/// What is to be found: the other cells are for people and for the script.
struct Row {
    file: String,
    function: String,
    code: String,
    test: String,
}

impl Row {
    fn read(line: &str) -> Option<Self> {
        let line = line.replace(r"\|", "\u{1}");
        let cells: Vec<String> = line
            .split('|')
            .map(|cell| cell.trim().trim_matches('`').replace('\u{1}', "|"))
            .collect();
        let [_, _, place, code, _, test, _] = cells.as_slice() else {
            return None;
        };
        let (file, function) = place.split_once("`, `")?;
        Some(Self {
            file: file.to_owned(),
            function: function.to_owned(),
            code: code.clone(),
            test: test.clone(),
        })
    }

    fn is_in(&self, file: &File) -> bool {
        let opens = ["(", "<"].map(|bracket| format!("fn {}{bracket}", self.function));
        let start = opens.iter().filter_map(|open| file.text.find(open)).min();
        start.is_some_and(|start| file.text[start..].contains(&self.code))
    }
}

#[test]
fn rows_without_their_code_or_test_are_found() {
    let row = |file, code, test| {
        format!("| it ends | `{file}`, `on_timer` | `{code}` | nothing | `{test}` |\n")
    };
    let page = "| mechanism | file, function | code | instead | noticed by |\n".to_owned()
        + &row("tcp/a.rs", "x \\|\\| y", "tcp::a::tests::ends")
        + &row("tcp/a.rs", "x && y", "tcp::a::tests::ends")
        + &row("tcp/b.rs", "x \\|\\| y", "tcp::a::tests::ends")
        + &row("tcp/a.rs", "before", "tcp::a::tests::never");
    let code = "const BEFORE: &str = \"before\";\nfn on_timer() { x || y }\nfn ends() {}\n";
    let tree = Tree::of(&[(PAGE, &page), ("stack/src/tcp/a.rs", code)]);
    let lines: Vec<usize> = rows_name_what_exists(&tree)
        .iter()
        .map(|finding| finding.line)
        .collect();
    assert_eq!(lines, [3, 4, 5, 5]);
}
