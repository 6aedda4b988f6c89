//! The ratchet of plain English (CONTRIBUTING.md, "Voice"): words of riddles may only become fewer.
//!
//! It must never judge a sentence: it counts words in pages and comments, and compares with what was counted last.

use crate::tree::{File, Finding, Tree};

/// Where the counts below stand, a page that names the words, and one that is made from comments, which are judged.
const EXEMPT: &[&str] = &[
    "CONTRIBUTING.md",
    "docs/reference/mechanisms.md",
    "stack/tests/tidy/voice.rs",
];

/// Words whose sentences hide their subject, and how often each stands in comments. A count may only fall: lower it here when it
/// has. All that are left stand in `stack/src/worker` and `stack/src/tcp`; in pages and in other crates there is none.
const WORDS: &[(&str, usize)] = &[
    ("whoever", 17),
    ("nobody", 38),
    ("somebody", 10),
    ("told", 13),
    ("tells", 17),
    ("asleep", 0),
    ("woken", 0),
    ("woke", 0),
    ("resting", 0),
];

/// Decisions are history: they are not rewritten.
const HISTORY: &[&str] = &["docs/decisions/", "CHANGELOG.md"];

/// No word of the list stands more often than it did.
pub(crate) fn riddles_become_fewer(tree: &Tree) -> Vec<Finding> {
    let too_many = WORDS
        .iter()
        .filter_map(|&(word, allowed)| too_many(tree, word, allowed));
    too_many.chain(in_clean_places(tree)).collect()
}

/// Where none of the words stands any more.
fn is_clean(path: &str) -> bool {
    is_judged(path) && !path.starts_with("stack/src/worker") && !path.starts_with("stack/src/tcp")
}

/// A word of the list in a place that has none.
fn in_clean_places(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| is_clean(&file.path)) {
        // A user of that name.
        let allowed = usize::from(file.path.ends_with("unprivileged.rs"));
        for (word, _) in WORDS {
            if count(file, word) > allowed {
                let fix = format!("`{word}` hides the subject of the sentence: name it");
                findings.push(file.finding(1, "voice", fix));
            }
        }
    }
    findings
}

fn too_many(tree: &Tree, word: &str, allowed: usize) -> Option<Finding> {
    let counts = || {
        tree.files
            .iter()
            .filter(|file| is_judged(&file.path))
            .map(|file| (file, count(file, word)))
    };
    let total: usize = counts().map(|(_, n)| n).sum();
    if total <= allowed {
        return None;
    }
    let (most, _) = counts().max_by_key(|(_, n)| *n)?;
    let fix = format!(
        "`{word}` stands {total} times in pages and comments, {allowed} are allowed: name the subject instead"
    );
    Some(most.finding(1, "voice", fix))
}

fn is_judged(path: &str) -> bool {
    let is_kind = path.ends_with(".rs") || path.ends_with(".md");
    is_kind && !EXEMPT.contains(&path) && !HISTORY.iter().any(|history| path.starts_with(history))
}

fn count(file: &File, word: &str) -> usize {
    let is_page = file.rust.is_none();
    let lines = file
        .text
        .lines()
        .filter(|line| is_page || line.trim_start().starts_with("//"));
    let words = lines.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
    words
        .filter(|found| found.eq_ignore_ascii_case(word))
        .count()
}

#[test]
fn a_word_that_stands_more_often_is_found() {
    let tree = Tree::of(&[
        ("README.md", "Nobody knows whoever told it.\n"),
        ("docs/decisions/0001-x.md", "Nobody.\n"),
        (
            "a.rs",
            "//! What it is.\n// Nobody calls it.\nfn nobody() {}\n",
        ),
    ]);
    assert!(too_many(&tree, "nobody", 2).is_none());
    let found = too_many(&tree, "nobody", 1).expect("two are more than one");
    assert!(found.fix.contains("stands 2 times"), "{}", found.fix);
    let clean = in_clean_places(&tree);
    let paths: Vec<&str> = clean.iter().map(|found| found.path.as_str()).collect();
    assert_eq!(paths, ["README.md", "README.md", "README.md", "a.rs"]);
}
