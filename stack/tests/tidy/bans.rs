//! Things that may not stand in the code: unfinished work, prints, clocks and threads in `stack`, an order on sequence numbers,
//! allowances without a reason.
//!
//! It must never ban what a lint of the compiler already denies as exactly.

use crate::paths::named;
use crate::tree::{File, Finding, Tree, after_chars};
use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use syn::visit::{self, Visit};

const UNFINISHED: &[&str] = &["todo", "unimplemented", "dbg"];
const PRINTS: &[&str] = &["print", "println", "eprint", "eprintln"];

/// No `todo!`, `unimplemented!` or `dbg!` anywhere, no print in production code of `stack`.
pub(crate) fn macros_and_prints(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, rust) in tree.rust() {
        let mut calls = Vec::new();
        find_macro_calls(&rust.tokens, &mut calls);
        for name in calls {
            let line = name.span().start().line;
            let is = |names: &[&str]| names.iter().any(|banned| name == banned);
            if is(UNFINISHED) {
                findings.push(file.finding(
                    line,
                    "ban",
                    format!("`{name}!`: finish it or leave it out"),
                ));
            } else if is(PRINTS) && file.path.starts_with("stack/src/") && !rust.is_test_line(line)
            {
                findings.push(file.finding(
                    line,
                    "ban",
                    format!("`{name}!`: stack does no I/O; count it, apps prints"),
                ));
            }
        }
    }
    findings
}

/// Names that a `!` and a group follow, at any depth (macros in the arguments of macros as well).
fn find_macro_calls(tokens: &TokenStream, calls: &mut Vec<Ident>) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    for (i, token) in tokens.iter().enumerate() {
        match (token, tokens.get(i + 1), tokens.get(i + 2)) {
            (TokenTree::Ident(name), Some(TokenTree::Punct(bang)), Some(TokenTree::Group(_)))
                if bang.as_char() == '!' =>
            {
                calls.push(name.clone());
            }
            (TokenTree::Group(group), ..) => find_macro_calls(&group.stream(), calls),
            _ => {}
        }
    }
}

/// Paths that `stack/src` must not name, whether its tests may, and what to do instead.
const BANNED_PATHS: &[(&str, bool, &str)] = &[
    (
        "std::time::Instant",
        false,
        "the stack reads no clock: take a `time::Instant` as an argument",
    ),
    (
        "std::time::SystemTime",
        false,
        "the stack reads no clock: take a `time::Instant` as an argument",
    ),
    (
        "std::time::*",
        false,
        "name what you import: a clock may be among it",
    ),
    (
        "std::thread",
        true,
        "the stack has no threads: apps starts and pins them",
    ),
    (
        "std::fs",
        true,
        "the stack does no I/O: take an `impl Write`, or bytes",
    ),
    ("std::env", true, "settings come through `config`"),
    ("std::process", true, "the stack does no I/O"),
    ("std::net::TcpStream", true, "the stack does no I/O"),
    ("std::net::TcpListener", true, "the stack does no I/O"),
    ("std::net::UdpSocket", true, "the stack does no I/O"),
    (
        "std::sync::Mutex",
        true,
        "workers share nothing that they write: pass it through a bounded ring",
    ),
    (
        "std::sync::RwLock",
        true,
        "workers share nothing that they write: pass it through a bounded ring",
    ),
    (
        "std::collections::HashMap",
        true,
        "SipHash and no prefetch: `conn::table` on the data path, else hashbrown",
    ),
    (
        "std::collections::HashSet",
        true,
        "SipHash and no prefetch: `conn::table` on the data path, else hashbrown",
    ),
    ("std::collections::*", true, "name what you import"),
];

/// `stack/src` names nothing of [`BANNED_PATHS`].
pub(crate) fn standard_library_paths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, rust) in tree
        .rust()
        .filter(|(file, _)| file.path.starts_with("stack/src/"))
    {
        for path in named(file, rust) {
            let text = path.segments.join("::");
            let text = text
                .strip_prefix("core::")
                .map_or(text.clone(), |rest| format!("std::{rest}"));
            for (banned, tests_may, fix) in BANNED_PATHS {
                let names_it = text == *banned || text.starts_with(&format!("{banned}::"));
                if names_it && !(*tests_may && rust.is_test_line(path.line)) {
                    findings.push(file.finding(path.line, "ban", format!("`{banned}`: {fix}")));
                }
            }
        }
    }
    findings
}

/// The sleep of std, and who may use it: tests only.
const RELATIVE_SLEEP: &str = "std::thread::sleep";

/// Nothing that runs beside a driver sleeps by std: a signal makes it begin again with what is left and the timer's slack, so
/// with enough of them it never ends.
pub(crate) fn relative_sleeps(tree: &Tree) -> Vec<Finding> {
    let places = ["apps/src/", "dpdk/src/", "workload/src/"];
    let mut findings = Vec::new();
    for (file, rust) in tree
        .rust()
        .filter(|(file, _)| places.iter().any(|place| file.path.starts_with(place)))
    {
        for path in named(file, rust) {
            let text = path.segments.join("::");
            let is_it = text == RELATIVE_SLEEP || text == "thread::sleep";
            if is_it && !rust.is_test_line(path.line) {
                let fix =
                    "`std::thread::sleep` restarts after a signal: `clock::sleep` ends on time";
                findings.push(file.finding(path.line, "ban", fix));
            }
        }
    }
    findings
}

/// `SeqNum` implements neither `Ord` nor `PartialOrd`.
pub(crate) fn order_on_sequence_numbers(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, rust) in tree.rust() {
        let mut orders = Orders {
            file,
            found: Vec::new(),
        };
        orders.visit_file(&rust.syntax);
        findings.extend(orders.found);
    }
    findings
}

struct Orders<'a> {
    file: &'a File,
    found: Vec<Finding>,
}

impl Orders<'_> {
    fn note(&mut self, line: usize) {
        let fix =
            "an order on `SeqNum` is wrong across the wrap: use `before`, `after` or `in_window`";
        self.found.push(self.file.finding(line, "ban", fix));
    }
}

impl<'a> Visit<'a> for Orders<'_> {
    fn visit_item_struct(&mut self, item: &'a syn::ItemStruct) {
        for attribute in item.attrs.iter().filter(|_| item.ident == "SeqNum") {
            let syn::Meta::List(list) = &attribute.meta else {
                continue;
            };
            let derives = |token: TokenTree| matches!(token, TokenTree::Ident(name) if name == "Ord" || name == "PartialOrd");
            if list.path.is_ident("derive") && list.tokens.clone().into_iter().any(derives) {
                self.note(item.ident.span().start().line);
            }
        }
    }

    fn visit_item_impl(&mut self, item: &'a syn::ItemImpl) {
        let last = |path: &syn::Path| path.segments.last().map(|segment| segment.ident.clone());
        let subject = if let syn::Type::Path(subject) = &*item.self_ty {
            last(&subject.path)
        } else {
            None
        };
        let order = item
            .trait_
            .as_ref()
            .and_then(|implemented| last(&implemented.0));
        if let (Some(subject), Some(order)) = (subject, order)
            && subject == "SeqNum"
            && (order == "Ord" || order == "PartialOrd")
        {
            self.note(order.span().start().line);
        }
        visit::visit_item_impl(self, item);
    }
}

/// Each `#[allow(…)]` and `#[expect(…)]` has a `reason = "…"` in it or a comment beside it.
pub(crate) fn allows_without_a_reason(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, rust) in tree.rust() {
        let mut lines = Vec::new();
        find_bare_allows(file, &rust.tokens, &mut lines);
        let fix = "an allowance without a reason: write `// why` behind it on the same line";
        findings.extend(
            lines
                .into_iter()
                .map(|line| file.finding(line, "reason", fix)),
        );
    }
    findings
}

/// Attributes are `#` or `#!` and brackets; inside, `allow` or `expect` and parentheses, at any depth (`cfg_attr`).
fn find_bare_allows(file: &File, tokens: &TokenStream, lines: &mut Vec<usize>) {
    let mut after_hash = false;
    for token in tokens.clone() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => after_hash = true,
            TokenTree::Punct(punct) if punct.as_char() == '!' => {}
            TokenTree::Group(group) => {
                if after_hash && group.delimiter() == Delimiter::Bracket {
                    let (first, end) = (group.span_open().start().line, group.span_close().end());
                    // Over several lines the reason may stand beside the lint that it is for.
                    let has_reason = (first..end.line).any(|line| file.line(line).contains(" // "))
                        || after_chars(file.line(end.line), end.column)
                            .trim_start()
                            .starts_with("// ");
                    if allows_something(&group.stream()) && !has_reason {
                        lines.push(first);
                    }
                }
                find_bare_allows(file, &group.stream(), lines);
                after_hash = false;
            }
            _ => after_hash = false,
        }
    }
}

/// Whether these tokens of an attribute hold an allowance without `reason`.
fn allows_something(tokens: &TokenStream) -> bool {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    tokens
        .iter()
        .enumerate()
        .any(|(i, token)| match (token, tokens.get(i + 1)) {
            (TokenTree::Ident(name), Some(TokenTree::Group(group)))
                if name == "allow" || name == "expect" =>
            {
                !group
                    .stream()
                    .into_iter()
                    .any(|inner| matches!(inner, TokenTree::Ident(key) if key == "reason"))
            }
            (TokenTree::Group(group), _) => allows_something(&group.stream()),
            _ => false,
        })
}

#[cfg(test)]
fn lines(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|finding| format!("{}:{}", finding.path, finding.line))
        .collect()
}

#[test]
fn unfinished_work_and_prints_are_found() {
    let text = "fn f(todo: bool) {\n    if todo != true {\n        vec![std::todo!()];\n    }\n    println!(\"x\");\n}\n\
                #[test]\nfn t() {\n    println!();\n    dbg!(1);\n}\n";
    let tree = Tree::of(&[
        ("stack/src/a.rs", text),
        ("apps/src/b.rs", "fn f() {\n    println!();\n}"),
    ]);
    assert_eq!(
        lines(&macros_and_prints(&tree)),
        ["stack/src/a.rs:3", "stack/src/a.rs:5", "stack/src/a.rs:10"]
    );
}

#[test]
fn clocks_and_the_like_in_stack_are_found() {
    let text = "use std::{time::{Duration, Instant}, collections::BTreeMap};\nuse crate::time::Instant as Ours;\n\
                fn f() { std::thread::sleep(D); }\n#[cfg(test)]\nmod tests {\n    use std::collections::HashMap;\n\
                \x20   use std::time::SystemTime;\n}\n";
    let tree = Tree::of(&[
        ("stack/src/a.rs", text),
        ("apps/src/b.rs", "use std::time::Instant;"),
    ]);
    assert_eq!(
        lines(&standard_library_paths(&tree)),
        ["stack/src/a.rs:1", "stack/src/a.rs:3", "stack/src/a.rs:7"]
    );
}

#[test]
fn sleeps_that_restart_are_found() {
    let text = "use std::thread;\nfn f() {\n    thread::sleep(D);\n    std::thread::sleep(D);\n    clock::sleep(D);\n}\n\
                use std::thread::sleep;\n#[cfg(test)]\nmod tests {\n    fn g() { std::thread::sleep(D); }\n}\n";
    let tree = Tree::of(&[("apps/src/a.rs", text), ("apps/tests/b.rs", text)]);
    assert_eq!(
        lines(&relative_sleeps(&tree)),
        ["apps/src/a.rs:3", "apps/src/a.rs:4", "apps/src/a.rs:7"]
    );
}

#[test]
fn an_order_on_sequence_numbers_is_found() {
    let text = "#[derive(Clone, PartialOrd)]\nstruct SeqNum(u32);\nimpl core::cmp::Ord for crate::seq::SeqNum {}\n\
                #[derive(Ord)]\nstruct Other;\nimpl Eq for SeqNum {}\n";
    assert_eq!(
        lines(&order_on_sequence_numbers(&Tree::of(&[(
            "stack/src/a.rs",
            text
        )]))),
        ["stack/src/a.rs:2", "stack/src/a.rs:3"]
    );
}

#[test]
fn an_allowance_without_a_reason_is_found() {
    let text = "#![allow(missing_docs)]\n#![allow(\n    unused, // generated\n)]\n#[allow(dead_code)] // the peer's half\nfn a() {}\n\
                #[expect(dead_code, reason = \"x\")]\nfn b() {}\n#[cfg_attr(test, allow(dead_code))]\nfn c() {\n\
                \x20   x.expect(y);\n    #[expect(unused)]\n    let z = [1];\n}\n";
    let tree = Tree::of(&[("apps/src/a.rs", text)]);
    assert_eq!(
        lines(&allows_without_a_reason(&tree)),
        ["apps/src/a.rs:1", "apps/src/a.rs:9", "apps/src/a.rs:12"]
    );
}
