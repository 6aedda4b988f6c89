//! How long a file and a function may be, in lines of code: blank lines and comments are free.
//!
//! It must never count tests into a file's size.

use crate::tree::{Finding, Tree};

/// Production lines of a file at most.
const FILE_LINES: usize = 500;
/// Lines of a function at most, from its signature to its closing brace.
const FUNCTION_LINES: usize = 70;

/// No file above [`FILE_LINES`].
pub(crate) fn files(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, rust) in tree.rust().filter(|(_, rust)| !rust.is_test) {
        let lines: Vec<usize> = file
            .code_lines()
            .into_iter()
            .filter(|line| !rust.is_test_line(*line))
            .collect();
        if let Some(first_over) = lines.get(FILE_LINES) {
            let fix = format!(
                "{} production lines (at most {FILE_LINES}): split by reason to change",
                lines.len()
            );
            findings.push(file.finding(*first_over, "file-size", fix));
        }
    }
    findings
}

/// No function above [`FUNCTION_LINES`], in tests neither.
pub(crate) fn functions(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, rust) in tree.rust() {
        let code = file.code_lines();
        for function in rust.functions() {
            let lines = code.range(function.lines.clone()).count();
            if lines > FUNCTION_LINES {
                let fix = format!(
                    "`{}` has {lines} lines (at most {FUNCTION_LINES}): give its steps names",
                    function.name
                );
                findings.push(file.finding(*function.lines.start(), "function-size", fix));
            }
        }
    }
    findings
}

#[test]
fn a_file_is_too_long_from_its_501st_production_line_on() {
    let comment_and_test = "// why\n\n#[cfg(test)]\nmod tests {\n    fn a() {}\n}\n";
    let fits = "const A: u8 = 1;\n".repeat(FILE_LINES) + comment_and_test;
    let too_long = "const A: u8 = 1;\n".repeat(FILE_LINES + 1);
    let tree = Tree::of(&[
        ("stack/src/fits.rs", &fits),
        ("stack/src/long.rs", &too_long),
        ("a/tests.rs", &too_long),
    ]);
    let places: Vec<String> = files(&tree)
        .iter()
        .map(|f| format!("{}:{}", f.path, f.line))
        .collect();
    assert_eq!(places, ["stack/src/long.rs:501"]);
}

#[test]
fn a_function_is_too_long_from_its_71st_line_on() {
    let of_lines = |n: usize| format!("fn f() {{\n{}    // why\n}}\n", "    g();\n".repeat(n - 2));
    let methods = format!(
        "impl A {{\n{}}}\ntrait B {{\n{}}}\n",
        of_lines(71),
        of_lines(71)
    );
    let free = of_lines(70) + &of_lines(71);
    let tree = Tree::of(&[("stack/src/a.rs", &free), ("apps/src/b.rs", &methods)]);
    let places: Vec<String> = functions(&tree)
        .iter()
        .map(|f| format!("{}:{}", f.path, f.line))
        .collect();
    assert_eq!(
        places,
        ["stack/src/a.rs:72", "apps/src/b.rs:2", "apps/src/b.rs:76"]
    );
}
