//! No circle among the files of a crate: each can be read, tested and moved without the ones that use it.
//!
//! It must never count an edge between a module and one of its own submodules: those two are one house. Tests may look
//! at whatever they need.

use crate::paths::{module_of, named_in_production};
use crate::tree::{File, Finding, Tree};
use std::collections::{BTreeMap, BTreeSet};

/// The files of one crate and what each of them imports, with the line of the first import.
type Graph<'a> = BTreeMap<&'a str, BTreeMap<&'a str, usize>>;

/// Files that import each other, directly or through others.
pub(crate) fn among_files(tree: &Tree) -> Vec<Finding> {
    let mut crates: BTreeMap<&str, Vec<&File>> = BTreeMap::new();
    for (file, rust) in tree.rust() {
        if let Some((root, _)) = file.path.split_once("/src/")
            && !rust.is_test
        {
            crates.entry(root).or_default().push(file);
        }
    }
    let graphs = crates.values().map(|files| graph(files));
    graphs.flat_map(|graph| circles(tree, &graph)).collect()
}

fn graph<'a>(files: &[&'a File]) -> Graph<'a> {
    let modules: BTreeMap<Vec<String>, &str> = files
        .iter()
        .map(|file| (module_of(&file.path), file.path.as_str()))
        .collect();
    let edges = |file: &&'a File| {
        let from = module_of(&file.path);
        let rust = file.rust.as_ref()?;
        let mut edges = BTreeMap::new();
        for path in named_in_production(file, rust) {
            if path.segments.first().is_none_or(|root| root != "crate") {
                continue;
            }
            // The file of the longest prefix that is a module defines the rest, or re-exports it.
            let named = &path.segments[1..];
            let to = (1..=named.len())
                .rev()
                .map(|n| &named[..n])
                .find_map(|prefix| modules.get_key_value(prefix));
            if let Some((to, path_of_it)) = to
                && !from.starts_with(to)
                && !to.starts_with(&from)
            {
                edges.entry(*path_of_it).or_insert(path.line);
            }
        }
        Some((file.path.as_str(), edges))
    };
    files.iter().filter_map(edges).collect()
}

/// One finding for each circle: at the file of it that stands first in the alphabet.
fn circles(tree: &Tree, graph: &Graph<'_>) -> Vec<Finding> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = graph
        .keys()
        .map(|file| (*file, reachable(graph, file)))
        .collect();
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for (file, from_here) in &reached {
        let circle: Vec<&str> = from_here
            .iter()
            .filter(|other| reached[**other].contains(file))
            .copied()
            .collect();
        if circle.is_empty() || !seen.insert(circle.clone()) {
            continue;
        }
        let imports = &graph[file];
        let (to, line) = imports
            .iter()
            .find(|(to, _)| circle.contains(to))
            .expect("a file of a circle imports another one of it");
        let fix = format!(
            "imports `{to}`, which leads back here: {} are a circle; move what both need into a file below them",
            circle.join(", ")
        );
        let at = tree.files.iter().find(|it| it.path == **file);
        findings.extend(at.map(|file| file.finding(*line, "circle", fix)));
    }
    findings
}

/// All files that `from` leads to, itself only through another one.
fn reachable<'a>(graph: &Graph<'a>, from: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&str> = vec![from];
    while let Some(file) = next.pop() {
        for to in graph.get(file).into_iter().flat_map(BTreeMap::keys) {
            if found.insert(*to) {
                next.push(to);
            }
        }
    }
    found
}

#[test]
fn a_circle_is_found_once_and_a_house_with_its_rooms_is_none() {
    let tree = Tree::of(&[
        ("stack/src/lib.rs", "mod a;\nmod house;"),
        ("stack/src/a.rs", "use crate::b::B;"),
        ("stack/src/b.rs", "use crate::c::C;"),
        ("stack/src/c.rs", "\nuse super::a::A;"),
        ("stack/src/house.rs", "mod room;\nuse room::R;"),
        ("stack/src/house/room.rs", "use super::House;"),
        ("stack/src/d.rs", "use crate::a::A;"),
    ]);
    let found: Vec<String> = among_files(&tree).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("stack/src/a.rs:1: [circle] imports `stack/src/b.rs`"),
        "{found:?}"
    );
    assert!(found[0].contains("stack/src/a.rs, stack/src/b.rs, stack/src/c.rs are a circle"));
}
