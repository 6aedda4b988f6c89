//! The public API of each library crate, as a text file that a change must change too: `docs/reference/api/CRATE.txt`.
//!
//! It must never resolve a name as the compiler does: it lists what is written `pub` in modules that are `pub`, what those re-export from
//! private ones, and the public methods of all these types.

use crate::tree::{File, Tree};
use std::collections::{BTreeMap, BTreeSet};
use syn::spanned::Spanned;
use syn::{Attribute, ImplItem, Item, TraitItem, UseTree, Visibility};

/// Folders of crates that others build on.
const CRATES: &[&str] = &["nic", "stack", "dpdk", "workload", "diagnose", "syncline"];
/// Set, the files are written in place of being compared.
const WRITE: &str = "SYNCLINE_WRITE_DOCS";

/// A module with its items.
struct Module<'a> {
    /// As a user writes it: `stack::conn`.
    path: String,
    is_public: bool,
    items: &'a [Item],
}

/// Everything public of a crate, one line each, sorted.
fn api(tree: &Tree, folder: &str) -> String {
    let mut modules = Vec::new();
    let root = format!("{folder}/src/lib.rs");
    if let Some(file) = tree.file(&root) {
        collect(tree, file, folder, true, &mut modules);
    }
    let mut exported = BTreeSet::new();
    for module in modules.iter().filter(|module| module.is_public) {
        for item in module.items {
            if let Item::Use(used) = item
                && is_public(&used.vis)
            {
                leaves(&used.tree, &mut exported);
            }
        }
    }
    let mut lines = BTreeSet::new();
    let mut types = BTreeSet::new();
    for module in &modules {
        for item in module.items {
            let Some(name) = named(item) else { continue };
            let is_seen = module.is_public || exported.contains(&name);
            if is_seen && !is_hidden(attributes(item)) {
                types.insert(name);
                lines.extend(item_lines(&module.path, item));
            }
        }
    }
    for module in &modules {
        for item in module.items {
            if let Item::Impl(block) = item
                && !is_hidden(&block.attrs)
            {
                lines.extend(impl_lines(block, &types));
            }
        }
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

fn collect<'a>(
    tree: &'a Tree,
    file: &'a File,
    path: &str,
    is_seen: bool,
    into: &mut Vec<Module<'a>>,
) {
    let Some(rust) = &file.rust else { return };
    let items = &rust.syntax.items;
    into.push(Module {
        path: path.to_owned(),
        is_public: is_seen,
        items,
    });
    let folder = file
        .path
        .trim_end_matches("/lib.rs")
        .trim_end_matches(".rs");
    // A module that is public with a feature and private without has two items.
    let mut children: BTreeMap<String, bool> = BTreeMap::new();
    for item in items {
        if let Item::Mod(module) = item
            && !is_hidden(&module.attrs)
        {
            *children.entry(module.ident.to_string()).or_default() |= is_public(&module.vis);
        }
    }
    for (name, is_child_public) in children {
        if let Some(child) = tree.file(&format!("{folder}/{name}.rs")) {
            let path = format!("{path}::{name}");
            collect(tree, child, &path, is_seen && is_child_public, into);
        }
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Conditions of what no user gets who asks for no feature: tests, and the modules of `stack` behind its API.
const HIDDEN: &[&str] = &["(test)", "(feature = \"internals\")", "(feature = \"sim\")"];

/// Whether this is not compiled for a user who asks for no feature.
fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_condition = attribute.path().is_ident("cfg");
        is_condition
            && HIDDEN
                .iter()
                .any(|hidden| source(attribute).contains(&format!("cfg{hidden}")))
    })
}

/// The names that a `use` brings in.
fn leaves(tree: &UseTree, into: &mut BTreeSet<String>) {
    match tree {
        UseTree::Path(path) => leaves(&path.tree, into),
        UseTree::Name(name) => drop(into.insert(name.ident.to_string())),
        UseTree::Rename(renamed) => drop(into.insert(renamed.ident.to_string())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, into)),
        UseTree::Glob(_) => {}
    }
}

/// The name of a public item that has one.
fn named(item: &Item) -> Option<String> {
    let (visibility, name) = match item {
        Item::Fn(item) => (&item.vis, &item.sig.ident),
        Item::Struct(item) => (&item.vis, &item.ident),
        Item::Enum(item) => (&item.vis, &item.ident),
        Item::Trait(item) => (&item.vis, &item.ident),
        Item::Const(item) => (&item.vis, &item.ident),
        Item::Static(item) => (&item.vis, &item.ident),
        Item::Type(item) => (&item.vis, &item.ident),
        _ => return None,
    };
    is_public(visibility).then(|| name.to_string())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Fn(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        _ => &[],
    }
}

/// The source of something, with one blank for each run of white space.
fn source(of: &impl Spanned) -> String {
    let text = of.span().source_text().unwrap_or_default();
    let text: String = text
        .split("//")
        .next()
        .map_or_else(String::new, str::to_owned);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn item_lines(module: &str, item: &Item) -> Vec<String> {
    let open_ended = attributes(item)
        .iter()
        .any(|attribute| attribute.path().is_ident("non_exhaustive"));
    let mark = if open_ended { "#[non_exhaustive] " } else { "" };
    match item {
        Item::Fn(item) => vec![format!("{module} {}", source(&item.sig))],
        Item::Const(item) => vec![format!(
            "{module} const {}: {}",
            item.ident,
            source(&item.ty)
        )],
        Item::Static(item) => vec![format!(
            "{module} static {}: {}",
            item.ident,
            source(&item.ty)
        )],
        Item::Type(item) => vec![format!(
            "{module} type {} = {}",
            item.ident,
            source(&item.ty)
        )],
        Item::Struct(item) => {
            let head = format!("{module}::{}", item.ident);
            let public = item
                .fields
                .iter()
                .enumerate()
                .filter(|(_, field)| is_public(&field.vis));
            let fields = public.map(|(index, field)| {
                let name = field
                    .ident
                    .as_ref()
                    .map_or_else(|| index.to_string(), ToString::to_string);
                format!("{head}.{name}: {}", source(&field.ty))
            });
            std::iter::once(format!("{head} {mark}struct"))
                .chain(fields)
                .collect()
        }
        Item::Enum(item) => enum_lines(module, mark, item),
        Item::Trait(item) => {
            let head = format!("{module}::{}", item.ident);
            let parts = item.items.iter().filter_map(|part| match part {
                TraitItem::Fn(method) => Some(source(&method.sig)),
                TraitItem::Type(kind) => Some(format!("type {}", kind.ident)),
                TraitItem::Const(value) => {
                    Some(format!("const {}: {}", value.ident, source(&value.ty)))
                }
                _ => None,
            });
            let parts = parts.map(|part| format!("{head} {part}"));
            std::iter::once(format!("{head} trait"))
                .chain(parts)
                .collect()
        }
        _ => Vec::new(),
    }
}

fn enum_lines(module: &str, mark: &str, item: &syn::ItemEnum) -> Vec<String> {
    let head = format!("{module}::{}", item.ident);
    let variants = item.variants.iter().map(|variant| {
        let types = variant.fields.iter().map(|field| match &field.ident {
            Some(name) => format!("{name}: {}", source(&field.ty)),
            None => source(&field.ty),
        });
        let types: Vec<String> = types.collect();
        format!("{head}::{} ({})", variant.ident, types.join(", ")).replace(" ()", "")
    });
    std::iter::once(format!("{head} {mark}enum"))
        .chain(variants)
        .collect()
}

/// Public methods of these types, and the traits that they have.
fn impl_lines(block: &syn::ItemImpl, types: &BTreeSet<String>) -> Vec<String> {
    let syn::Type::Path(path) = &*block.self_ty else {
        return Vec::new();
    };
    let Some(last) = path.path.segments.last() else {
        return Vec::new();
    };
    let name = last.ident.to_string();
    if !types.contains(&name) {
        return Vec::new();
    }
    if let Some((of_trait, _)) = &block.trait_ {
        return vec![format!("{name}: {}", source(of_trait))];
    }
    let parts = block.items.iter().filter_map(|part| match part {
        ImplItem::Fn(method) if is_public(&method.vis) && !is_hidden(&method.attrs) => {
            Some(source(&method.sig))
        }
        ImplItem::Const(value) if is_public(&value.vis) => {
            Some(format!("const {}: {}", value.ident, source(&value.ty)))
        }
        _ => None,
    });
    parts.map(|part| format!("{name}: {part}")).collect()
}

#[test]
fn the_public_api_is_the_one_on_file() {
    let tree = Tree::of_this_repository();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/api");
    let mut differing = Vec::new();
    for folder in CRATES {
        let (page, now) = (root.join(format!("{folder}.txt")), api(&tree, folder));
        assert!(!now.is_empty(), "{folder} has no public item");
        if std::env::var_os(WRITE).is_some() {
            std::fs::create_dir_all(&root).expect("a folder");
            std::fs::write(&page, &now).expect("the file can be written");
            continue;
        }
        let kept = std::fs::read_to_string(&page).unwrap_or_default();
        let (kept, now): (BTreeSet<&str>, BTreeSet<&str>) =
            (kept.lines().collect(), now.lines().collect());
        differing.extend(kept.difference(&now).map(|line| format!("- {line}")));
        differing.extend(now.difference(&kept).map(|line| format!("+ {line}")));
    }
    assert!(
        differing.is_empty(),
        "the public API is not the one in docs/reference/api:\n{}\n\
         if that is meant, write it anew: {WRITE}=1 cargo test -p syncline-stack --test tidy",
        differing.join("\n")
    );
}

#[test]
fn what_is_private_is_not_listed_and_what_is_re_exported_is() {
    let tree = Tree::of(&[
        (
            "a/src/lib.rs",
            "//! A.\nmod inner;\npub mod open;\npub use inner::{Kept, Open};\npub(crate) fn hidden() {}\n",
        ),
        (
            "a/src/inner.rs",
            "//! I.\n#[non_exhaustive]\npub enum Open { A, B { n: u8 } }\npub struct Kept { pub a: u8, b: u8 }\npub struct Lost;\nimpl Kept { pub fn get(&self) -> u8 { self.b } fn not(&self) {} }\nimpl Lost { pub fn get(&self) {} }\n",
        ),
        (
            "a/src/open.rs",
            "//! O.\npub fn run(a: u8) -> u8 { a }\npub trait Way { fn go(&self); }\n#[cfg(test)]\npub mod tests;\n",
        ),
    ]);
    let expected = "Kept: fn get(&self) -> u8\na::inner::Kept struct\na::inner::Kept.a: u8\na::inner::Open #[non_exhaustive] enum\n\
                    a::inner::Open::A\na::inner::Open::B (n: u8)\na::open fn run(a: u8) -> u8\na::open::Way fn go(&self)\na::open::Way trait\n";
    assert_eq!(api(&tree, "a"), expected);
}
