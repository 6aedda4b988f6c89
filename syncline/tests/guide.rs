//! What the guide shows is what is compiled.
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
    assert!(ECHO.lines().count() <= 40, "a first program fits a screen");
}

/// Lines of `main` with its braces.
fn main_lines(example: &str) -> usize {
    example
        .lines()
        .skip_while(|line| !line.starts_with("fn main"))
        .count()
}

#[test]
fn an_endpoint_takes_20_lines_and_a_client_25() {
    assert!(main_lines(ECHO) <= 20);
    assert!(main_lines(include_str!("../examples/clients.rs")) <= 25);
}
