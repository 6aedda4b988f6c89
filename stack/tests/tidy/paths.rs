//! Which paths a Rust file names: imports expanded, `self` and `super` resolved, macros' arguments included.
//!
//! It must never follow a name beyond its file: `use` puts every foreign name into the file that names it, so the file is
//! enough.

use crate::tree::{File, Rust, is_test_only};
use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// A path that a file names.
pub(crate) struct Named {
    /// From the crate's root for our own (`crate` first), else as written (`std::time::Instant`); `*` for a glob.
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// All paths that a file names.
pub(crate) fn named(file: &File, rust: &Rust) -> Vec<Named> {
    let mut paths = Paths {
        module: module_of(&file.path),
        found: Vec::new(),
        skip_tests: false,
    };
    paths.visit_file(&rust.syntax);
    paths.found
}

/// The same, without items under `#[cfg(test)]`.
pub(crate) fn named_in_production(file: &File, rust: &Rust) -> Vec<Named> {
    let mut paths = Paths {
        module: module_of(&file.path),
        found: Vec::new(),
        skip_tests: true,
    };
    paths.visit_file(&rust.syntax);
    paths.found.retain(|path| !rust.is_test_line(path.line));
    paths.found
}

/// The module that a file is, from the crate's root: `stack/src/tcp/seq.rs` is `tcp, seq`.
pub(crate) fn module_of(path: &str) -> Vec<String> {
    let inside = path.split_once("src/").map_or(path, |(_, inside)| inside);
    let mut parts: Vec<String> = inside
        .trim_end_matches(".rs")
        .split('/')
        .map(str::to_owned)
        .collect();
    if parts
        .last()
        .is_some_and(|last| matches!(last.as_str(), "lib" | "main" | "mod"))
    {
        parts.pop();
    }
    parts
}

struct Paths {
    module: Vec<String>,
    found: Vec<Named>,
    skip_tests: bool,
}

impl Paths {
    fn note(&mut self, segments: &[String], line: usize) {
        let mut rest = segments;
        let mut from = self.module.clone();
        let own = match segments.first().map(String::as_str) {
            Some("crate") => {
                from.clear();
                rest = &rest[1..];
                true
            }
            Some("self" | "super") => {
                while let Some("self" | "super") = rest.first().map(String::as_str) {
                    if rest[0] == "super" {
                        from.pop();
                    }
                    rest = &rest[1..];
                }
                true
            }
            _ => false,
        };
        let mut resolved = if own {
            [vec!["crate".to_owned()], from].concat()
        } else {
            Vec::new()
        };
        resolved.extend_from_slice(rest);
        self.found.push(Named {
            segments: resolved,
            line,
        });
    }

    fn expand(&mut self, prefix: &[String], tree: &syn::UseTree) {
        let with = |ident: &Ident| [prefix, &[ident.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.expand(&with(&path.ident), &path.tree),
            // `a::{self}` names `a`.
            syn::UseTree::Name(name) if name.ident == "self" && !prefix.is_empty() => {
                self.note(prefix, name.ident.span().start().line);
            }
            syn::UseTree::Name(name) => {
                self.note(&with(&name.ident), name.ident.span().start().line);
            }
            syn::UseTree::Rename(name) => {
                self.note(&with(&name.ident), name.ident.span().start().line);
            }
            syn::UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                self.note(&[prefix, &["*".to_owned()]].concat(), line);
            }
            syn::UseTree::Group(group) => group
                .items
                .iter()
                .for_each(|item| self.expand(prefix, item)),
        }
    }

    /// Paths in the arguments of a macro, which have no syntax tree.
    fn scan(&mut self, tokens: &TokenStream) {
        let mut path: Vec<Ident> = Vec::new();
        let mut colons = 0;
        for token in tokens.clone() {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.note_scanned(&mut path);
                    }
                    path.push(ident);
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.note_scanned(&mut path);
                    self.scan(&group.stream());
                    colons = 0;
                }
                _ => {
                    self.note_scanned(&mut path);
                    colons = 0;
                }
            }
        }
        self.note_scanned(&mut path);
    }

    fn note_scanned(&mut self, path: &mut Vec<Ident>) {
        if path.len() > 1 {
            let segments: Vec<String> = path.iter().map(ToString::to_string).collect();
            self.note(&segments, path[0].span().start().line);
        }
        path.clear();
    }
}

impl<'a> Visit<'a> for Paths {
    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.expand(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let segments: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        self.note(&segments, path.segments[0].ident.span().start().line);
        visit::visit_path(self, path); // generic arguments
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        self.scan(&call.tokens); // not its name: macros live at the crate's root, wherever they are defined
    }

    // `pub(super)` and attributes name no dependency.
    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}
    fn visit_attribute(&mut self, _: &'a syn::Attribute) {}

    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        if self.skip_tests && is_test_only(&module.attrs) {
            return;
        }
        self.module.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.module.pop();
    }
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let text = "use super::{a::{self, B}, c as d};\nfn f(x: crate::g::H<std::i::J>) { m!(crate::k::L { y: 1 }); }\n\
                mod inner {\n    use super::super::n::*;\n}\n#[cfg(test)]\nmod tests {\n    use crate::o::P;\n}\n";
    let tree = crate::tree::Tree::of(&[("stack/src/tcp/seq.rs", text)]);
    let (file, rust) = tree.rust().next().expect("one file");
    let found: Vec<String> = named_in_production(file, rust)
        .into_iter()
        .filter(|path| path.segments.len() > 1)
        .map(|path| format!("{} {}", path.line, path.segments.join("::")))
        .collect();
    let expected = [
        "1 crate::tcp::a",
        "1 crate::tcp::a::B",
        "1 crate::tcp::c",
        "2 crate::g::H",
        "2 std::i::J",
        "2 crate::k::L",
        "4 crate::tcp::n::*",
    ];
    assert_eq!(found, expected);
    assert!(
        named(file, rust)
            .iter()
            .any(|path| path.segments == ["crate", "o", "P"])
    );
}
