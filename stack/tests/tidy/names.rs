//! Names that say nothing: a thing called util, helper, manager or common has no reason to change of its own.
//!
//! It must never look at uses, only at definitions: what others named is theirs.

use crate::tree::{File, Finding, Tree};
use proc_macro2::Ident;
use syn::visit::{self, Visit};

const VAGUE: &[&str] = &["util", "utils", "helper", "helpers", "manager", "managers"];

/// No file, folder, module, type, trait or function carries such a name.
pub(crate) fn vague_names(tree: &Tree) -> Vec<Finding> {
    let fix = |name: &str| format!("`{name}` says nothing: name the thing for what it does");
    let mut findings = Vec::new();
    for file in &tree.files {
        for part in file.path.split('/') {
            let stem = part.split('.').next().unwrap_or(part);
            if is_vague(stem) {
                findings.push(file.finding(1, "name", fix(part)));
            }
        }
    }
    for (file, rust) in tree.rust() {
        let mut definitions = Definitions {
            file,
            vague: Vec::new(),
        };
        definitions.visit_file(&rust.syntax);
        findings.extend(definitions.vague);
    }
    findings
}

/// Whether a word of the name is vague; `common` only alone, since as an adjective it may say something.
fn is_vague(name: &str) -> bool {
    let words = words(name);
    words.iter().any(|word| VAGUE.contains(&word.as_str())) || words == ["common"]
}

/// `FlowManager`, `flow_manager` and `flow-manager` are `flow, manager`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if matches!(c, '_' | '-') || c.is_uppercase() {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words
                .last_mut()
                .expect("never empty")
                .extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

struct Definitions<'a> {
    file: &'a File,
    vague: Vec<Finding>,
}

impl Definitions<'_> {
    fn note(&mut self, name: &Ident) {
        let text = name.to_string();
        if is_vague(&text) {
            let fix = format!("`{text}` says nothing: name the thing for what it does");
            self.vague
                .push(self.file.finding(name.span().start().line, "name", fix));
        }
    }
}

impl<'a> Visit<'a> for Definitions<'_> {
    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        self.note(&item.ident);
        visit::visit_item_mod(self, item);
    }

    fn visit_item_struct(&mut self, item: &'a syn::ItemStruct) {
        self.note(&item.ident);
    }

    fn visit_item_enum(&mut self, item: &'a syn::ItemEnum) {
        self.note(&item.ident);
    }

    fn visit_item_type(&mut self, item: &'a syn::ItemType) {
        self.note(&item.ident);
    }

    fn visit_item_trait(&mut self, item: &'a syn::ItemTrait) {
        self.note(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_signature(&mut self, signature: &'a syn::Signature) {
        self.note(&signature.ident);
        visit::visit_signature(self, signature);
    }
}

#[test]
fn a_name_that_says_nothing_is_found() {
    let tree = Tree::of(&[
        ("stack/src/utils.rs", ""),
        ("scripts/lib/common.sh", ""),
        (
            "stack/src/a.rs",
            "mod helper {}\nstruct FlowManager;\nimpl A { fn parse_util() {} }\ntrait Common {}",
        ),
        (
            "stack/src/b.rs",
            "fn common_prefix_len() {}\nfn utility() {}\nstruct Futile;",
        ),
    ]);
    let mut places: Vec<String> = vague_names(&tree)
        .iter()
        .map(|f| format!("{}:{}", f.path, f.line))
        .collect();
    places.sort();
    let expected = [
        "scripts/lib/common.sh:1",
        "stack/src/a.rs:1",
        "stack/src/a.rs:2",
        "stack/src/a.rs:3",
        "stack/src/a.rs:4",
        "stack/src/utils.rs:1",
    ];
    assert_eq!(places, expected);
}
