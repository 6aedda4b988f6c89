//! Plain English (CONTRIBUTING.md, "Voice"): words that hide the subject of a sentence stand nowhere.
//!
//! It must never judge a sentence: it looks for words in pages, comments, and the texts that users read.

use crate::tree::{File, Finding, Tree};
use proc_macro2::{Literal, TokenStream, TokenTree};

/// A page that names the words, this file, and a page that is made from comments, which are judged.
const EXEMPT: &[&str] = &[
    "CONTRIBUTING.md",
    "docs/reference/mechanisms.md",
    "stack/tests/tidy/voice.rs",
];

/// Words whose sentences hide their subject, in any case of letters.
const WORDS: &[&str] = &[
    "whoever", "nobody", "somebody", "told", "tells", "asleep", "woken", "woke", "resting",
];

/// A sentence that begins with it and is no question has no subject.
const FIRST: &str = "Who";

/// Decisions are history: they are not rewritten, and their titles stand in the summary.
const HISTORY: &[&str] = &["docs/decisions/", "docs/SUMMARY.md", "CHANGELOG.md"];

/// None of the words stands in a page, a comment, or a text of the programs.
pub(crate) fn sentences_name_their_subject(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| is_judged(&file.path)) {
        for (line, text) in texts(file) {
            let found = words(&text).find(|word| is_listed(word, &text));
            if let Some(word) = found.filter(|word| !is_a_user(file, word)) {
                let fix = format!("`{word}` hides the subject of the sentence: name it");
                findings.push(file.finding(line, "voice", fix));
            }
        }
    }
    findings
}

fn is_judged(path: &str) -> bool {
    let is_kind = path.ends_with(".rs") || path.ends_with(".md") || path.ends_with(".lab");
    is_kind && !EXEMPT.contains(&path) && !HISTORY.iter().any(|history| path.starts_with(history))
}

fn is_listed(word: &str, text: &str) -> bool {
    let is_word = WORDS.iter().any(|listed| word.eq_ignore_ascii_case(listed));
    is_word || (word == FIRST && !text.contains('?'))
}

/// A user of Linux has that name.
fn is_a_user(file: &File, word: &str) -> bool {
    word == "nobody" && file.path.ends_with("unprivileged.rs")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// The texts of a file that people read, with their lines (from 1): a page whole; of code the comments, and string literals outside tests.
fn texts(file: &File) -> Vec<(usize, String)> {
    let lines = file.text.lines().enumerate();
    let lines = lines.map(|(index, line)| (index + 1, line.to_owned()));
    let Some(rust) = &file.rust else {
        return lines.collect();
    };
    let is_comment = |line: &str| line.trim_start().starts_with("//");
    let mut texts: Vec<_> = lines.filter(|(_, line)| is_comment(line)).collect();
    let mut literals = Vec::new();
    gather(rust.tokens.clone(), &mut literals);
    for literal in literals {
        let line = literal.span().start().line;
        if !rust.is_test_line(line) {
            texts.push((line, literal.to_string()));
        }
    }
    texts
}

fn gather(tokens: TokenStream, literals: &mut Vec<Literal>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => gather(group.stream(), literals),
            TokenTree::Literal(literal) => literals.push(literal),
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

#[test]
fn a_word_that_hides_the_subject_is_found() {
    let code = "//! What it is.\n// Nobody calls it.\nfn nobody() -> &'static str {\n\"a peer is told\"\n}\n\
                #[test]\nfn t() {\nassert!(a, \"nobody\");\n}\n";
    let tree = Tree::of(&[
        ("README.md", "Whoever knows.\nIt says so.\n"),
        ("docs/decisions/0001-x.md", "Nobody.\n"),
        ("docs/guide/x.md", "Who was it?\nWho waits, loses.\n"),
        ("a.rs", code),
    ]);
    let found = sentences_name_their_subject(&tree);
    let places: Vec<_> = found.iter().map(|f| (f.path.as_str(), f.line)).collect();
    assert_eq!(
        places,
        [
            ("README.md", 1),
            ("docs/guide/x.md", 2),
            ("a.rs", 2),
            ("a.rs", 4)
        ]
    );
}
