//! The programs of the guide are those that are compiled.
#![forbid(unsafe_code)]

const ECHO: &str = include_str!("../examples/echo.rs");
const PAGE: &str = include_str!("../../docs/guide/build.md");

#[test]
fn the_server_in_the_guide_is_the_example() {
    let shown = PAGE
        .split_once("```rust\n")
        .and_then(|(_, rest)| rest.split_once("```"));
    assert_eq!(
        shown.map(|(shown, _)| shown),
        Some(ECHO),
        "copy syncline/examples/echo.rs into docs/guide/build.md"
    );
}

/// Lines with code: no blank line, comment, or attribute of the file.
fn code_lines(program: &str) -> usize {
    let is_code =
        |line: &&str| !line.is_empty() && !line.starts_with("//") && !line.starts_with("#!");
    program.lines().map(str::trim).filter(is_code).count()
}

#[test]
fn a_server_takes_20_lines_and_a_client_25() {
    assert_eq!(code_lines(ECHO), 20);
    assert!(code_lines(include_str!("../examples/client.rs")) <= 25);
}
