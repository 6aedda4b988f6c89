//! The marks of mechanisms: each `//~` comment of `stack/src` names a mechanism, the code that is its switch and the test
//! that notices, and `docs/reference/mechanisms.md` is made from them.
//!
//! It must never try a mark: whether its test notices is for `scripts/mutants --rows` to say.

use crate::tree::{File, Finding, Rust, Tree};
use std::collections::BTreeMap;
use std::fmt::Write;

const PAGE: &str = "docs/reference/mechanisms.md";
/// Set to anything, it makes the test write the page.
const WRITE: &str = "SYNCLINE_WRITE_DOCS";
const SOURCE: &str = "stack/src/";

/// Opens a line of a mark. One space behind it begins a mark, more of them (three, as we write it) continue it.
const OPENS: &str = "//~";
/// Columns of such a line at most.
const WIDTH: usize = 120;

const FORM: &str = "write `//~ NAME: `CODE` -> `INSTEAD`; TEST`, or `nothing` for `INSTEAD`; without CODE the whole next \
    line is the code, and `//~ NAME; TEST` takes it away. NAME has no `:`, `;` or backtick and stands in the first line";

/// The content of a mark, and its place.
#[derive(Debug, PartialEq, Eq)]
struct Mark {
    file: String,
    line: usize,
    function: String,
    name: String,
    /// The first such text behind the mark is the switch.
    code: String,
    /// The code there when the mechanism is off; nothing, when the code is only taken away.
    instead: Option<String>,
    /// The full path of the unit test that then fails.
    test: String,
}

/// Each mark has the form, stands above its code, names a test and has a name of its own.
pub(crate) fn marks_name_what_exists(tree: &Tree) -> Vec<Finding> {
    read(tree).1
}

/// All marks in the order of the tree, and what is wrong with others.
fn read(tree: &Tree) -> (Vec<Mark>, Vec<Finding>) {
    let tests = unit_tests(tree);
    let (mut marks, mut findings) = (Vec::<Mark>::new(), Vec::new());
    for (file, rust) in tree.rust() {
        for comment in comments(file) {
            let wrong = |fix| file.finding(comment.line, "mechanism", fix);
            match mark(file, rust, &comment, &tests) {
                Err(fix) => findings.push(wrong(fix)),
                Ok(mark) => match marks.iter().find(|other| other.name == mark.name) {
                    Some(other) => findings.push(wrong(format!(
                        "the mark at {SOURCE}{}:{} has this name too: give one of them another",
                        other.file, other.line
                    ))),
                    None => marks.push(mark),
                },
            }
        }
    }
    (marks, findings)
}

/// A comment that is to be a mark: the number of its first line, that line, and the text of all its lines.
struct Comment {
    line: usize,
    first: String,
    text: String,
    is_too_wide: bool,
}

fn comments(file: &File) -> Vec<Comment> {
    let mut found: Vec<Comment> = Vec::new();
    let mut continues = false;
    for (index, line) in file.text.lines().enumerate() {
        let Some(text) = line.trim_start().strip_prefix(OPENS) else {
            continues = false;
            continue;
        };
        let is_too_wide = line.chars().count() > WIDTH;
        match found.last_mut() {
            Some(mark) if continues && text.starts_with("  ") => {
                mark.text = format!("{} {}", mark.text, text.trim());
                mark.is_too_wide |= is_too_wide;
            }
            _ => found.push(Comment {
                line: index + 1,
                first: text.to_owned(),
                text: text.trim().to_owned(),
                is_too_wide,
            }),
        }
        continues = true;
    }
    found
}

/// The mark that a comment is, or what to do about it.
fn mark(file: &File, rust: &Rust, comment: &Comment, tests: &[String]) -> Result<Mark, String> {
    let source = file.path.strip_prefix(SOURCE);
    let Some(path) = source.filter(|_| !rust.is_test_line(comment.line)) else {
        return Err(format!(
            "a mark stands in production code of {SOURCE}, where it is tried: take this one away"
        ));
    };
    if comment.is_too_wide {
        return Err(format!(
            "a line of a mark has {WIDTH} columns at most: continue it on a line that begins with `{OPENS}` and three spaces"
        ));
    }
    let said = Said::read(comment).ok_or_else(|| FORM.to_owned())?;
    let functions = rust.functions();
    let around = functions
        .iter()
        .filter(|function| function.lines.contains(&comment.line));
    let Some(function) = around.max_by_key(|function| function.lines.start()) else {
        return Err(
            "the mark stands in no function: put it above its code in a function".to_owned(),
        );
    };
    let (lines, name) = (comment.line..=*function.lines.end(), &function.name);
    let Some(code) = said.code_behind(file, lines) else {
        return Err(format!(
            "`{}` isn't behind the mark in `{name}`: put the mark above its code, or correct it",
            said.code.unwrap_or_default()
        ));
    };
    Ok(Mark {
        file: path.to_owned(),
        line: comment.line,
        function: name.clone(),
        name: said.name.to_owned(),
        code,
        instead: said.instead.map(str::to_owned),
        test: resolve(said.test, tests)?,
    })
}

/// The pieces of a mark as they are written.
struct Said<'a> {
    name: &'a str,
    code: Option<&'a str>,
    instead: Option<&'a str>,
    test: &'a str,
}

impl<'a> Said<'a> {
    fn read(comment: &'a Comment) -> Option<Self> {
        let (head, test) = comment.text.rsplit_once("; ")?;
        let is_path = test
            .chars()
            .all(|c| c.is_alphanumeric() || c == '_' || c == ':');
        let (name, change) = head.split_once(": ").unwrap_or((head, "-> nothing"));
        let (code, change) = match change.strip_prefix('`') {
            Some(change) => change
                .split_once("` ")
                .map(|(code, change)| (Some(code), change))?,
            None => (None, change),
        };
        let instead = match change.strip_prefix("-> ")? {
            "nothing" => None,
            code => Some(code.strip_prefix('`')?.strip_suffix('`')?),
        };
        let is_first = |first: &str| {
            let behind = first
                .strip_prefix(' ')
                .and_then(|first| first.strip_prefix(name));
            behind.is_some_and(|behind| behind.starts_with([':', ';']))
        };
        let is_whole = !name.is_empty() && !test.is_empty() && is_path && is_first(&comment.first);
        let is_clean = !name.contains([':', ';', '`']) && code != Some("");
        let has_two_codes = [code, instead]
            .into_iter()
            .flatten()
            .any(|code| code.contains('`'));
        (is_whole && is_clean && !has_two_codes).then_some(Self {
            name,
            code,
            instead,
            test,
        })
    }

    /// The code of the mark, if it stands in one of these lines that is no comment.
    fn code_behind(&self, file: &File, lines: std::ops::RangeInclusive<usize>) -> Option<String> {
        let mut code = file
            .text
            .lines()
            .take(*lines.end())
            .skip(*lines.start())
            .filter(|line| !line.trim_start().starts_with("//"));
        match self.code {
            Some(wanted) => code
                .any(|line| line.contains(wanted))
                .then(|| wanted.to_owned()),
            None => code
                .next()
                .and_then(|line| line.split(" // ").next())
                .map(|line| line.trim().to_owned()),
        }
    }
}

/// The one unit test whose path ends so.
fn resolve(end: &str, tests: &[String]) -> Result<String, String> {
    let behind = format!("::{end}");
    let is_it = |test: &&String| *test == end || test.ends_with(&behind);
    let found: Vec<&String> = tests.iter().filter(is_it).collect();
    match found.as_slice() {
        [test] => Ok((*test).clone()),
        [] => Err(format!(
            "there is no unit test `{end}` in {SOURCE}: name the one that fails without the code"
        )),
        [one, other, ..] => Err(format!(
            "`{end}` is both `{one}` and `{other}`: write as much of the path as tells them apart"
        )),
    }
}

/// The paths of all unit tests of `stack`, as `cargo test` prints them.
fn unit_tests(tree: &Tree) -> Vec<String> {
    let mut paths = Vec::new();
    for (file, rust) in tree.rust() {
        let Some(path) = file.path.strip_prefix(SOURCE) else {
            continue;
        };
        let module = path.trim_end_matches(".rs").replace('/', "::");
        collect_tests(&rust.syntax.items, &module, &mut paths);
    }
    paths
}

fn collect_tests(items: &[syn::Item], module: &str, paths: &mut Vec<String>) {
    for item in items {
        match item {
            syn::Item::Fn(function) => {
                let is_test = |attribute: &syn::Attribute| attribute.path().is_ident("test");
                if function.attrs.iter().any(is_test) {
                    paths.push(format!("{module}::{}", function.sig.ident));
                }
            }
            syn::Item::Mod(inner) => {
                if let Some((_, items)) = &inner.content {
                    collect_tests(items, &format!("{module}::{}", inner.ident), paths);
                }
            }
            _ => {}
        }
    }
}

/// The rows stand between these two lines of the page; all else there is written by hand.
const ROWS: [&str; 2] = [
    "<!-- made from the marks: begin -->\n",
    "<!-- made from the marks: end -->\n",
];

/// The page with its rows made from the marks; `None` when the page doesn't say where they go.
fn page_from_marks(page: &str, marks: &[Mark]) -> Option<String> {
    let (head, behind) = page.split_once(ROWS[0])?;
    let (_, tail) = behind.split_once(ROWS[1])?;
    let mut by_file = BTreeMap::<&str, Vec<&Mark>>::new();
    for mark in marks {
        by_file.entry(&mark.file).or_default().push(mark);
    }
    let mut rows = String::new();
    for (file, marks) in by_file {
        write!(
            rows,
            "\n## [`{file}`](../../{SOURCE}{file})\n\n\
             | mechanism | function | code | instead | noticed by |\n|---|---|---|---|---|\n"
        )
        .ok()?;
        for mark in marks {
            let instead = mark.instead.as_deref().map(cell);
            writeln!(
                rows,
                "| {} | `{}` | {} | {} | `{}` |",
                mark.name,
                mark.function,
                cell(&mark.code),
                instead.as_deref().unwrap_or("nothing"),
                mark.test
            )
            .ok()?;
        }
    }
    Some([head, ROWS[0], &rows, "\n", ROWS[1], tail].concat())
}

/// Code as a cell of a table.
fn cell(code: &str) -> String {
    format!("`{}`", code.replace('|', r"\|"))
}

#[test]
fn the_page_says_what_the_marks_say() {
    let tree = Tree::of_this_repository();
    let (marks, findings) = read(&tree);
    if !findings.is_empty() {
        return; // the rule above reports them, and no page can be made before
    }
    let page = &tree.file(PAGE).expect("the page exists").text;
    let expected = page_from_marks(page, &marks).expect("the page holds both lines of ROWS");
    if std::env::var_os(WRITE).is_some() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        std::fs::write(path.join(PAGE), &expected).expect("the page can be written");
        return;
    }
    let differs = page
        .lines()
        .zip(expected.lines())
        .find(|(page, expected)| page != expected);
    assert!(
        *page == expected,
        "{PAGE} is not what the marks say (page, marks): {differs:?}\n\
         write it anew: {WRITE}=1 cargo test -p syncline-stack --test tidy"
    );
}

#[cfg(test)]
const TESTS: &str = "//! Tests.\n#[test]\nfn ends() {}\n#[test]\nfn begins() {}\nmod more {\n    #[test]\n    fn begins() {}\n}\n";

/// The findings in a function with these lines.
#[cfg(test)]
fn judged(body: &str) -> (Vec<Mark>, Vec<String>) {
    let code = format!("fn on_timer() {{\n{body}}}\nfn behind() {{\n    late();\n}}\n");
    let tree = Tree::of(&[
        ("stack/src/tcp/a.rs", &code),
        ("stack/src/tcp/a/tests.rs", TESTS),
    ]);
    let (marks, findings) = read(&tree);
    let said = findings
        .iter()
        .map(|finding| format!("{}: {}", finding.line, finding.fix));
    (marks, said.collect())
}

#[test]
fn a_mark_names_its_code_in_four_ways() {
    let (marks, findings) = judged(
        "    //~ It stops; ends\n    stop(); // RFC 1\n\
         \x20   //~ It waits: -> `if true {`; tests::begins\n    if a || b {\n        stop();\n    }\n\
         \x20   //~ It looks: `x ||` -> nothing; ends\n\
         \x20   //~ It looks twice: `|| y`\n    //~   -> `|| z; w`;\n    //~   ends\n    look(x || y);\n",
    );
    assert_eq!(findings, Vec::<String>::new());
    let read = |mark: &Mark| {
        let instead = mark.instead.clone().unwrap_or_default();
        let test = mark.test.trim_start_matches("tcp::a::").to_owned();
        [mark.name.clone(), mark.code.clone(), instead, test]
    };
    let expected = [
        ["It stops", "stop();", "", "tests::ends"],
        ["It waits", "if a || b {", "if true {", "tests::begins"],
        ["It looks", "x ||", "", "tests::ends"],
        ["It looks twice", "|| y", "|| z; w", "tests::ends"],
    ];
    assert_eq!(marks.iter().map(read).collect::<Vec<_>>(), expected);
}

#[test]
fn a_mark_without_the_form_is_found() {
    for comment in [
        "//~ It stops",
        "//~It stops; ends",
        "//~ It stops: now; ends",
        "//~ It stops: `stop()`; ends",
        "//~ It stops: `stop() -> nothing; ends",
        "//~ It stops: `stop()` -> never; ends",
        "//~ It stops: or so: -> nothing; ends",
        "//~ It `stops`; ends",
        "//~ It stops; never; ends",
        "//~ It\n//~  stops; ends",
        "//~ ; ends",
        "//~   ends",
        "//~ It stops; ends well",
    ] {
        let (marks, findings) = judged(&format!("{comment}\nstop();\n"));
        assert_eq!((marks, findings), (vec![], vec![format!("2: {FORM}")]));
    }
}

#[test]
fn a_mark_too_wide_or_without_its_code_or_its_test_is_found() {
    let wide = format!("//~ {}; ends", "x".repeat(WIDTH));
    for (comment, fix) in [
        (wide.as_str(), "has 120 columns at most"),
        (
            "//~ It is late: `late()` -> nothing; ends",
            "`late()` isn't behind the mark in `on_timer`",
        ),
        (
            "//~ It says so: `says` -> nothing; ends\n// says",
            "`says` isn't behind the mark",
        ),
        ("//~ It stops; never", "there is no unit test `never`"),
        ("//~ It stops; nds", "there is no unit test `nds`"),
        (
            "//~ It begins; begins",
            "both `tcp::a::tests::begins` and `tcp::a::tests::more::begins`",
        ),
    ] {
        let (_, findings) = judged(&format!("{comment}\nstop();\n"));
        assert_eq!(findings.len(), 1, "{comment}: {findings:?}");
        assert!(
            findings[0].starts_with("2: ") && findings[0].contains(fix),
            "{findings:?}"
        );
    }
}

#[test]
fn a_mark_with_the_name_of_another_is_found() {
    let (_, findings) =
        judged("//~ It stops; ends\nstop();\n//~ It stops; tests::begins\nstop();\n");
    let [found] = findings.as_slice() else {
        panic!("one of the two: {findings:?}")
    };
    assert!(
        found.starts_with("4: the mark at stack/src/tcp/a.rs:2 "),
        "{found}"
    );
}

#[test]
fn a_mark_outside_of_functions_and_of_production_code_is_found() {
    let mark = "//~ It stops; ends\nfn stop() {}\n";
    let tree = Tree::of(&[
        ("apps/src/a.rs", mark),
        ("stack/src/b.rs", mark),
        (
            "stack/src/b/tests.rs",
            &format!("#[test]\nfn ends() {{\n{mark}}}\n"),
        ),
    ]);
    let found: Vec<String> = read(&tree)
        .1
        .iter()
        .map(|finding| format!("{}:{}", finding.path, finding.line))
        .collect();
    let expected = [
        "apps/src/a.rs:1",
        "stack/src/b.rs:1",
        "stack/src/b/tests.rs:3",
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_page_keeps_what_is_written_by_hand_and_groups_rows_by_file() {
    let mark = |file: &str, name: &str| Mark {
        file: file.to_owned(),
        line: 1,
        function: "f".to_owned(),
        name: name.to_owned(),
        code: "a || b".to_owned(),
        instead: None,
        test: "t::x".to_owned(),
    };
    let page = format!("# Head\n\n{}old\n{}\n## Tail\n", ROWS[0], ROWS[1]);
    let marks = [
        mark("b.rs", "One"),
        mark("a.rs", "Two"),
        mark("b.rs", "Three"),
    ];
    let made = page_from_marks(&page, &marks).expect("the lines are there");
    let lines: Vec<&str> = made.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!((lines[0], lines[lines.len() - 1]), ("# Head", "## Tail"));
    assert_eq!(lines[2], "## [`a.rs`](../../stack/src/a.rs)");
    assert_eq!(lines[5], r"| Two | `f` | `a \|\| b` | nothing | `t::x` |");
    assert_eq!(
        lines.iter().filter(|line| line.starts_with("## [")).count(),
        2
    );
    assert_eq!(page_from_marks("# Head\n", &marks), None);
}
