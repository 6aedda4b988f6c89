//! The norms of `CONTRIBUTING.md` that a machine can hold, as an ordinary test over the whole workspace.
//!
//! It must never look outside the repository, run a command, or guess at Rust by regular expression: each rule reads the
//! syntax tree, and each has a test that shows it can fail.
#![forbid(unsafe_code)]

#[path = "tidy/api.rs"]
mod api;
#[path = "tidy/bans.rs"]
mod bans;
#[path = "tidy/budgets.rs"]
mod budgets;
#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/crates.rs"]
mod crates;
#[path = "tidy/directions.rs"]
mod directions;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/mechanisms.rs"]
mod mechanisms;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/paths.rs"]
mod paths;
#[path = "tidy/requirements.rs"]
mod requirements;
#[path = "tidy/sizes.rs"]
mod sizes;
#[path = "tidy/tree.rs"]
mod tree;
#[path = "tidy/unsafe_code.rs"]
mod unsafe_code;
#[path = "tidy/voice.rs"]
mod voice;

use tree::{Finding, Tree};

/// A norm: looks at the tree and says where it is broken.
type Rule = fn(&Tree) -> Vec<Finding>;

const RULES: &[Rule] = &[
    bans::macros_and_prints,
    bans::standard_library_paths,
    bans::relative_sleeps,
    bans::order_on_sequence_numbers,
    bans::allows_without_a_reason,
    budgets::rows_and_limits_agree,
    circles::among_files,
    crates::edges,
    crates::native_dependencies_of_stack,
    directions::imports,
    documents::rust_files_open_with_what_they_are,
    documents::scripts_explain_themselves,
    documents::paths_of_one_machine,
    documents::dependencies_have_their_line,
    documents::instructions_are_those_recorded,
    documents::pages_and_summary_agree,
    mechanisms::marks_name_what_exists,
    names::riddles,
    names::types_of_one_name,
    names::vague_names,
    requirements::rows_name_what_exists,
    sizes::files,
    sizes::functions,
    unsafe_code::only_where_it_belongs,
    unsafe_code::forbidden_at_the_roots,
    voice::sentences_name_their_subject,
];

#[test]
fn the_tree_is_tidy() {
    let tree = Tree::of_this_repository();
    assert!(
        tree.files
            .iter()
            .any(|file| file.path == "stack/src/lib.rs"),
        "the walk missed the repository"
    );
    let findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    let report: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(
        findings.is_empty(),
        "{} norms of CONTRIBUTING.md broken:\n{}",
        findings.len(),
        report.join("\n")
    );
}
