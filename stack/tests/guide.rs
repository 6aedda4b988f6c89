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
    assert!(
        EXAMPLE.lines().count() < 100,
        "a first app fits two screens"
    );
}

#[test]
fn the_example_says_what_the_guide_says() {
    capitals::main().expect("it runs");
    let heard = capitals::ask(b"hello, world").expect("it runs");
    assert_eq!(heard, b"HELLO, WORLD");
}

/// More than any queue holds, from a client that is faster than the server's answers leave.
#[test]
fn the_example_loses_nothing_of_ten_megabytes() {
    let words: Vec<u8> = (0..10_000_000u32).map(|i| b'a' + (i % 26) as u8).collect();
    let heard = capitals::ask(&words).expect("it runs");
    assert!(heard == words.to_ascii_uppercase(), "{} bytes", heard.len());
}
