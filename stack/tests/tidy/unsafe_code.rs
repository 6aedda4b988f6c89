//! Unsafe stands only in `dpdk-sys` and `dpdk`, and every other crate forbids it at its root.
//!
//! It must never except a test: an unsound test proves nothing.

use crate::tree::{Finding, Tree};
use proc_macro2::{TokenStream, TokenTree};

const UNSAFE_CRATES: &[&str] = &["dpdk-sys/", "dpdk/"];

/// The keyword stands nowhere else, in macros neither.
pub(crate) fn only_where_it_belongs(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, rust) in tree.rust().filter(|(file, _)| is_safe(&file.path)) {
        let mut lines = Vec::new();
        find_unsafe(&rust.tokens, &mut lines);
        let fix = "unsafe lives in dpdk-sys and dpdk only: wrap what you need there, or take a crate that did";
        findings.extend(
            lines
                .into_iter()
                .map(|line| file.finding(line, "unsafe", fix)),
        );
    }
    findings
}

fn is_safe(path: &str) -> bool {
    !UNSAFE_CRATES.iter().any(|folder| path.starts_with(folder))
}

fn find_unsafe(tokens: &TokenStream, lines: &mut Vec<usize>) {
    for token in tokens.clone() {
        match token {
            TokenTree::Ident(ident) if ident == "unsafe" => lines.push(ident.span().start().line),
            TokenTree::Group(group) => find_unsafe(&group.stream(), lines),
            _ => {}
        }
    }
}

/// `#![forbid(unsafe_code)]` at the root of each library, binary and benchmark.
pub(crate) fn forbidden_at_the_roots(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, rust) in tree
        .rust()
        .filter(|(file, _)| is_safe(&file.path) && is_root(&file.path))
    {
        let forbids = rust.syntax.attrs.iter().any(|attribute| {
            attribute.path().is_ident("forbid")
                && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string().contains("unsafe_code"))
        });
        if !forbids {
            findings.push(file.finding(
                1,
                "unsafe",
                "a crate's root without #![forbid(unsafe_code)]: add it",
            ));
        }
    }
    findings
}

/// Where cargo looks for crate roots. Tests are left out: the rule above holds for them without the attribute.
fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        [_, "src", "lib.rs" | "main.rs"] => true,
        [.., folder, _] => matches!(folder, "bin" | "benches" | "examples" | "fuzz_targets"),
        _ => false,
    }
}

#[test]
fn unsafe_outside_its_crates_is_found() {
    let tree = Tree::of(&[
        (
            "stack/src/a.rs",
            "#![forbid(unsafe_code)]\nfn f() { m!({ unsafe { g() } }) }",
        ),
        ("apps/src/b.rs", "unsafe impl Send for A {}"),
        ("dpdk/src/c.rs", "unsafe fn f() {}"),
    ]);
    let places: Vec<String> = only_where_it_belongs(&tree)
        .iter()
        .map(|f| format!("{}:{}", f.path, f.line))
        .collect();
    assert_eq!(places, ["stack/src/a.rs:2", "apps/src/b.rs:1"]);
}

#[test]
fn a_root_that_does_not_forbid_unsafe_is_found() {
    let forbids = "#![forbid(unsafe_code, missing_docs)]";
    let tree = Tree::of(&[
        ("stack/src/lib.rs", forbids),
        ("apps/src/main.rs", "#![deny(unsafe_code)]"),
        ("benches/benches/table.rs", ""),
        ("stack/src/tcp.rs", ""),
        ("dpdk/src/lib.rs", ""),
    ]);
    let paths: Vec<String> = forbidden_at_the_roots(&tree)
        .into_iter()
        .map(|finding| finding.path)
        .collect();
    assert_eq!(paths, ["apps/src/main.rs", "benches/benches/table.rs"]);
}
