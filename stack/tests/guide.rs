//! What the guide shows is what is compiled.
#![forbid(unsafe_code)]

#[path = "../examples/capitals.rs"]
mod capitals;

const EXAMPLE: &str = include_str!("../examples/capitals.rs");
const GUIDE: &str = include_str!("../../docs/guide/write-an-app.md");

#[test]
fn the_app_in_the_guide_is_the_example() {
    let shown = GUIDE
        .split_once("```rust\n")
        .and_then(|(_, rest)| rest.split_once("```"))
        .map(|(shown, _)| shown);
    assert_eq!(
        shown,
        Some(EXAMPLE),
        "copy stack/examples/capitals.rs into the guide"
    );
    assert!(EXAMPLE.lines().count() < 60, "a first app fits a screen");
}

#[test]
fn the_example_says_what_the_guide_says() {
    capitals::main().expect("it runs");
}
