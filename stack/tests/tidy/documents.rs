//! Claims of files about themselves: their opening, paths that exist on one machine only, the dependency list, the book.
//!
//! It must never judge prose, only what can be checked against the tree.

use crate::crates::{dependencies, manifests};
use crate::tree::{File, Finding, Tree};
use std::collections::BTreeSet;

const DEPENDENCIES: &str = "docs/dependencies.md";
const SUMMARY: &str = "docs/SUMMARY.md";

/// Each Rust file opens with `//!`: what it is, what it must never do. It names no callers: those names go stale.
pub(crate) fn rust_files_open_with_what_they_are(tree: &Tree) -> Vec<Finding> {
    let opens = |file: &File| {
        let mut head = file.text.lines().map_while(|line| line.strip_prefix("//!"));
        let first = head.next();
        first.is_some_and(|says| !says.trim().is_empty())
            && !head.any(|says| says.trim_start().starts_with("Called by"))
    };
    tree.rust()
        .filter(|(file, _)| !opens(file))
        .map(|(file, _)| {
            file.finding(
                1,
                "opening",
                "open with `//!`: what it is, what it must never do, and no list of callers",
            )
        })
        .collect()
}

/// The text of each script in `scripts/`.
const SCRIPT: &[&str] = &[
    "#!/usr/bin/env bash\n# scripts/",
    "\nset -euo pipefail\n",
    "--help) usage",
];

/// Each script of ours says what it does when asked, and stops at the first error.
pub(crate) fn scripts_explain_themselves(tree: &Tree) -> Vec<Finding> {
    let is_script = |path: &str| {
        path.strip_prefix("scripts/")
            .is_some_and(|name| !name.contains(['/', '.']))
    };
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| is_script(&file.path)) {
        for part in SCRIPT.iter().filter(|part| !file.text.contains(**part)) {
            findings.push(file.finding(
                1,
                "script",
                format!("{part:?} is missing: begin as scripts/setup does"),
            ));
        }
    }
    findings
}

/// Folders of the machine that this is written on; spelled in halves, since this file is checked too.
const ONE_MACHINE: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// No file names a folder that other machines don't have.
pub(crate) fn paths_of_one_machine(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        for (index, line) in file.text.lines().enumerate() {
            for folder in ONE_MACHINE
                .iter()
                .filter(|folder| names_folder(line, folder))
            {
                let fix = format!(
                    "`{folder}` exists on one machine only: use a path inside the repository, or $HOME"
                );
                findings.push(file.finding(index + 1, "machine-path", fix));
            }
        }
    }
    findings
}

/// Whether the folder stands in the line as an absolute path, not as the middle of a longer one.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        !line[..at].ends_with(|before: char| {
            before.is_alphanumeric() || matches!(before, '.' | '-' | '_' | '}')
        })
    })
}

/// Each direct dependency has its reason in `docs/dependencies.md`.
pub(crate) fn dependencies_have_their_line(tree: &Tree) -> Vec<Finding> {
    let listed: BTreeSet<&str> = tree.file(DEPENDENCIES).map_or_else(BTreeSet::new, |page| {
        page.text
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .collect()
    });
    let mut findings = Vec::new();
    for (manifest, _) in manifests(tree) {
        for dependency in dependencies(tree, manifest) {
            if dependency.folder.is_none() && !listed.contains(dependency.name.as_str()) {
                let fix = format!(
                    "`{}` has no line in {DEPENDENCIES}: say what for and why this one",
                    dependency.name
                );
                findings.push(manifest.finding(dependency.line, "dependency", fix));
            }
        }
    }
    findings
}

/// The book's summary links only pages that exist, and every page of `docs/` stands in it.
pub(crate) fn pages_and_summary_agree(tree: &Tree) -> Vec<Finding> {
    let Some(summary) = tree.file(SUMMARY) else {
        return Vec::new();
    };
    let mut linked = BTreeSet::new();
    let mut findings = Vec::new();
    for (index, line) in summary.text.lines().enumerate() {
        for link in line
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
            .filter(|link| !link.is_empty())
        {
            let path = format!("docs/{link}");
            if tree.file(&path).is_none() {
                findings.push(summary.finding(
                    index + 1,
                    "book",
                    format!("{path} doesn't exist: link only what does"),
                ));
            }
            linked.insert(path);
        }
    }
    let pages = tree
        .files
        .iter()
        .filter(|file| file.path.starts_with("docs/") && file.path.ends_with(".md"));
    for page in pages.filter(|page| page.path != SUMMARY && !linked.contains(&page.path)) {
        findings.push(page.finding(
            1,
            "book",
            format!("no link leads to this page: give it one in {SUMMARY}"),
        ));
    }
    findings
}

const BENCHMARKING: &str = "BENCHMARKING.md";
const INSTRUCTIONS: &str = "benches/instructions.json";
/// The scenarios, each with a row of the page.
const SCENARIOS: &[&str] = &[
    "rst",
    "syn-cookies",
    "syn-embryos",
    "connect",
    "request",
    "connect-client",
    "request-client",
];

/// The rows of instructions say what was recorded.
pub(crate) fn instructions_are_those_recorded(tree: &Tree) -> Vec<Finding> {
    let (Some(page), Some(record)) = (tree.file(BENCHMARKING), tree.file(INSTRUCTIONS)) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for scenario in SCENARIOS {
        let name = format!("\"{scenario}\": ");
        let recorded = record.text.split_once(&name).and_then(|(_, after)| {
            let number = after.split([',', '\n', ' ']).next()?;
            number.parse::<f64>().ok()
        });
        let Some(count) = recorded else { continue };
        let (what, figure) = (format!("`{scenario}`:"), format!("| {count:.0} |"));
        let mut rows = page.text.lines().enumerate();
        let row = rows
            .find(|(_, line)| line.starts_with("| instructions a packet") && line.contains(&what));
        if !row.is_some_and(|(_, row)| row.contains(&figure)) {
            let line = row.map_or(1, |(index, _)| index + 1);
            let fix =
                format!("{INSTRUCTIONS} says {figure}: write that into the row of `{scenario}`");
            findings.push(page.finding(line, "figures", fix));
        }
    }
    findings
}

#[test]
fn a_row_of_instructions_that_was_not_recorded_is_found() {
    let record = "{ \"rst\": 424.57,\n\"syn-cookies\": 757.5\n}";
    let findings = |rows: &str| {
        let tree = Tree::of(&[(BENCHMARKING, rows), (INSTRUCTIONS, record)]);
        instructions_are_those_recorded(&tree).len()
    };
    let row = |scenario, figure| {
        format!("| instructions a packet, `{scenario}`: x | {figure} | exact |\n")
    };
    let right = row("rst", 425) + &row("syn-cookies", 758);
    assert_eq!(findings(&right), 0);
    assert_eq!(findings(&row("rst", 425)), 1);
    assert_eq!(findings(&(row("rst", 424) + &row("syn-cookies", 758))), 1);
}

#[cfg(test)]
fn places(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|finding| format!("{}:{}", finding.path, finding.line))
        .collect()
}

#[test]
fn a_rust_file_without_an_opening_is_found() {
    let tree = Tree::of(&[
        ("a.rs", "//! What it is.\n"),
        ("b.rs", "// What it is.\n"),
        ("c.rs", "//!\n\nfn f() {}\n"),
        ("d.rs", "//! What it is.\n//!\n//! Called by: main.\n"),
    ]);
    assert_eq!(
        places(&rust_files_open_with_what_they_are(&tree)),
        ["b.rs:1", "c.rs:1", "d.rs:1"]
    );
}

#[test]
fn a_script_that_does_not_explain_itself_is_found() {
    let good =
        "#!/usr/bin/env bash\n# scripts/good\nset -euo pipefail\n-h | --help) usage; exit 0 ;;\n";
    let silent = good.replace("--help", "");
    let tree = Tree::of(&[
        ("scripts/good", good),
        ("scripts/silent", &silent),
        ("scripts/lib/part.sh", ""),
    ]);
    assert_eq!(
        places(&scripts_explain_themselves(&tree)),
        ["scripts/silent:1"]
    );
}

#[test]
fn a_path_of_one_machine_is_found() {
    let text = "see ROOMshared\n(ROOMmain)\nhttps://host.exampleROOMx\n../netROOM\n"
        .replace("ROOM", ONE_MACHINE[0]);
    assert_eq!(
        places(&paths_of_one_machine(&Tree::of(&[("README.md", &text)]))),
        ["README.md:1", "README.md:2"]
    );
}

#[test]
fn a_dependency_without_its_line_is_found() {
    let tree = Tree::of(&[
        (
            DEPENDENCIES,
            "| Crate | What for |\n| `arrayvec` | bursts |\n",
        ),
        ("Cargo.toml", ""),
        (
            "apps/Cargo.toml",
            "[dependencies]\narrayvec = \"0.7\"\nclap = \"4\"\nstack = { path = \"../stack\" }\n",
        ),
    ]);
    assert_eq!(
        places(&dependencies_have_their_line(&tree)),
        ["apps/Cargo.toml:3"]
    );
}

#[test]
fn a_summary_that_disagrees_with_the_pages_is_found() {
    let tree = Tree::of(&[
        (
            SUMMARY,
            "# Summary\n\n- [Here](here.md)\n- [Gone](guide/gone.md)\n- [Draft]()\n",
        ),
        ("docs/here.md", ""),
        ("docs/guide/lost.md", ""),
    ]);
    assert_eq!(
        places(&pages_and_summary_agree(&tree)),
        ["docs/SUMMARY.md:4", "docs/guide/lost.md:1"]
    );
}
