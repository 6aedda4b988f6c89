//! The programs of the guide are those that are compiled.
#![forbid(unsafe_code)]

#[path = "../examples/capitals.rs"]
mod capitals;

#[path = "../examples/by_hand.rs"]
mod by_hand;

const BY_HAND: &str = include_str!("../examples/by_hand.rs");
const BY_HAND_GUIDE: &str = include_str!("../../docs/guide/drive-a-worker.md");
const EXAMPLE: &str = include_str!("../examples/capitals.rs");
const GUIDE: &str = include_str!("../../docs/guide/write-an-app.md");

/// The first piece of Rust on a page.
fn shown(page: &'static str) -> Option<&'static str> {
    let (_, rest) = page.split_once("```rust\n")?;
    let (shown, _) = rest.split_once("```")?;
    Some(shown)
}

#[test]
fn the_app_in_the_guide_is_the_example() {
    assert_eq!(
        shown(GUIDE),
        Some(EXAMPLE),
        "copy stack/examples/capitals.rs into the guide"
    );
    assert_eq!(
        shown(BY_HAND_GUIDE),
        Some(BY_HAND),
        "copy stack/examples/by_hand.rs into the guide"
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

#[test]
fn a_worker_driven_by_hand_carries_ten_megabytes() {
    by_hand::main();
    assert_eq!(by_hand::send(10_000_000), 10_000_000);
}
