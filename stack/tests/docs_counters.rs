//! `docs/reference/counters.md` says what the code counts: the page is made from the code, and this compares the two.
//!
//! It must never pass on a page that misses a counter, has one too many, or describes one otherwise than the code.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use stack::counters::{Class, Counter};
use stack::wire::Defect;

/// Set to anything, it makes the test write the page.
const WRITE: &str = "SYNCLINE_WRITE_DOCS";

const OPENING: &str = "# Counters

Every worker counts for itself; reports add the workers up. The names are stable: scripts may rely on them. In the line a
second and in summaries only what is not zero is shown.

**Every frame that came in ends in exactly one counter.** Between two turns of a worker the sum of the first table equals
the sum of the second and third; the difference is `unaccounted` in the summary of `syncline serve`, and it is 0. What
happened besides (what was sent, retransmitted, refused) stands in the fourth and is no part of the sum.

This page is made from `stack/src/counters.rs` and `stack/src/wire/defect.rs`, and a test holds it to them. After a change
there: `SYNCLINE_WRITE_DOCS=1 cargo test -p syncline-stack --test docs_counters`.
";

const IN: &str = "
## In: frames that came
";
const END: &str = "
## End: what became of a frame

In the order in which a frame meets them.
";
const DEFECTS: &str = "
## Defects: frames that could not be read

These are ends too. Parsing stops at the first defect, from the outer header inwards, so a frame has one.
";
const EVENT: &str = "
## Event: what else happened
";

fn table(rows: impl Iterator<Item = (&'static str, &'static str)>) -> String {
    let head = "\n| Name | What it counts |\n|---|---|\n".to_owned();
    rows.fold(head, |page, (name, description)| {
        page + &format!("| `{name}` | {} |\n", description.trim())
    })
}

fn of_class(class: Class) -> String {
    let counters = Counter::ALL
        .iter()
        .filter(|counter| counter.class() == class);
    table(counters.map(|counter| (counter.name(), counter.description())))
}

fn page_from_code() -> String {
    let defects = table(
        Defect::ALL
            .iter()
            .map(|defect| (defect.name(), defect.description())),
    );
    [
        OPENING,
        IN,
        &of_class(Class::In),
        END,
        &of_class(Class::End),
        DEFECTS,
        &defects,
        EVENT,
        &of_class(Class::Event),
    ]
    .concat()
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/counters.md")
}

#[test]
fn the_page_says_what_the_code_counts() {
    let expected = page_from_code();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(path(), &expected).expect("the page can be written");
    }
    let page = std::fs::read_to_string(path()).expect("the page exists");
    let differs = page
        .lines()
        .zip(expected.lines())
        .find(|(page, expected)| page != expected);
    assert!(
        page == expected,
        "docs/reference/counters.md is not what the code says (page, code): {differs:?}\n\
         write it anew: {WRITE}=1 cargo test -p syncline-stack --test docs_counters"
    );
}
