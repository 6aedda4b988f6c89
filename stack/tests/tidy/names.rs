//! Names that say nothing: a thing called util, helper, manager or common has no reason to change of its own.
//!
//! It must never look at uses, only at definitions: what others named is theirs.

use crate::tree::{File, Finding, Tree};
use proc_macro2::Ident;
use std::collections::BTreeMap;
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

/// Words that are no names of types: a newcomer can't guess what they hold.
const RIDDLES: &[&str] = &[
    "Aside", "Asked", "Captured", "Carried", "Chosen", "Copied", "Course", "Do", "Given",
    "GivesWay", "Heard", "Made", "Make", "Moves", "Near", "Over", "Owned", "Played", "Seen",
    "Tells", "Told", "Watched", "What", "Whole", "Wrong",
];

/// No type outside of tests is named by a verb, a participle or a question that only its author understands.
pub(crate) fn riddles(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, rust) in tree.rust() {
        if rust.is_test || !file.path.contains("/src/") {
            continue;
        }
        for item in &rust.syntax.items {
            let Some((_, ident)) = type_of(item) else {
                continue;
            };
            let line = ident.span().start().line;
            if RIDDLES.contains(&ident.to_string().as_str()) && !rust.is_test_line(line) {
                let fix = format!("`{ident}` is no noun: name the type for what it holds");
                findings.push(file.finding(line, "name", fix));
            }
        }
    }
    findings
}

/// Where each format's module has types of these names, which are always written with it (`ipv4::Header`): one name serves all.
const FORMATS: &str = "stack/src/wire/";
const OF_EACH_FORMAT: &[&str] = &["Header", "Packet", "View"];

/// No two types of a crate that more than one module can see share a name.
pub(crate) fn types_of_one_name(tree: &Tree) -> Vec<Finding> {
    let mut first: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut findings = Vec::new();
    for (file, rust) in tree.rust() {
        let Some((root, _)) = file.path.split_once("/src/") else {
            continue;
        };
        if rust.is_test {
            continue;
        }
        let is_format = file.path.starts_with(FORMATS);
        for (ident, line) in shared_types(&rust.syntax) {
            let is_qualified = is_format && OF_EACH_FORMAT.contains(&ident.as_str());
            if is_qualified || rust.is_test_line(line) {
                continue;
            }
            let key = (root.to_owned(), ident.clone());
            match first.get(&key) {
                Some(path) if *path != file.path => findings.push(file.finding(
                    line,
                    "type name",
                    format!("`{ident}` is a type of `{path}` too: call one of them what it is"),
                )),
                Some(_) => {}
                None => {
                    first.insert(key, file.path.clone());
                }
            }
        }
    }
    findings
}

/// Types at the top of a file that are visible in the whole crate, with their lines.
fn shared_types(syntax: &syn::File) -> Vec<(String, usize)> {
    let of = |item: &syn::Item| {
        let (visibility, ident) = type_of(item)?;
        let is_shared = match visibility {
            syn::Visibility::Public(_) => true,
            syn::Visibility::Restricted(within) => within.path.is_ident("crate"),
            syn::Visibility::Inherited => false,
        };
        is_shared.then(|| (ident.to_string(), ident.span().start().line))
    };
    syntax.items.iter().filter_map(of).collect()
}

/// The type that an item defines, if it does.
fn type_of(item: &syn::Item) -> Option<(&syn::Visibility, &Ident)> {
    match item {
        syn::Item::Struct(item) => Some((&item.vis, &item.ident)),
        syn::Item::Enum(item) => Some((&item.vis, &item.ident)),
        syn::Item::Trait(item) => Some((&item.vis, &item.ident)),
        syn::Item::Type(item) => Some((&item.vis, &item.ident)),
        _ => None,
    }
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

#[test]
fn two_types_of_one_name_are_found() {
    let tree = Tree::of(&[
        ("x/src/a.rs", "pub struct Verdict;\nstruct Own;\n"),
        ("x/src/b.rs", "pub(super) enum Verdict {}\nstruct Own;\n"),
        ("x/src/c.rs", "\npub(crate) type Verdict = u8;\n"),
        ("y/src/a.rs", "pub struct Verdict;\n"),
        ("stack/src/wire/ipv4.rs", "pub struct Header;\n"),
        ("stack/src/wire/ipv6.rs", "pub struct Header;\n"),
    ]);
    let found: Vec<String> = types_of_one_name(&tree)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("x/src/c.rs:2: [type name] `Verdict` is a type of `x/src/a.rs` too")
    );
}

#[test]
fn a_type_named_by_a_riddle_is_found() {
    let tree = Tree::of(&[
        (
            "stack/src/a.rs",
            "struct Asked;\nstruct Answer;\nenum E { Asked }\n",
        ),
        ("stack/tests/b.rs", "struct Seen;\n"),
    ]);
    let lines: Vec<usize> = riddles(&tree).iter().map(|finding| finding.line).collect();
    assert_eq!(lines, [1]);
}
