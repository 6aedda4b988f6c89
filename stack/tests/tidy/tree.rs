//! The repository as the rules see it: files with their text and, where they are Rust, their tokens and syntax.
//!
//! It must never judge: it only says what is there.

use proc_macro2::{Span, TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// One place where a norm is broken.
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) rule: &'static str,
    /// The fault and its fix.
    pub(crate) fix: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: [{}] {}",
            self.path, self.line, self.rule, self.fix
        )
    }
}

/// A text file of the repository.
pub(crate) struct File {
    /// Relative to the repository's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Present when the name ends in `.rs`.
    pub(crate) rust: Option<Rust>,
}

/// A Rust file, read.
pub(crate) struct Rust {
    pub(crate) tokens: TokenStream,
    pub(crate) syntax: syn::File,
    /// The whole file serves tests only.
    pub(crate) is_test: bool,
    /// Lines of items under `#[cfg(test)]` or `#[test]`.
    test_lines: Vec<RangeInclusive<usize>>,
}

impl Rust {
    /// Whether this line (from 1) belongs to tests.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.is_test || self.test_lines.iter().any(|range| range.contains(&line))
    }

    /// All functions with a body, an outer one before those in it.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut found = Functions::default();
        found.visit_file(&self.syntax);
        found.functions
    }
}

/// A function with a body.
pub(crate) struct Function {
    pub(crate) name: String,
    /// From its signature to its closing brace.
    pub(crate) lines: RangeInclusive<usize>,
}

impl File {
    fn new(path: &str, text: String) -> Self {
        let rust = path.ends_with(".rs").then(|| {
            let tokens: TokenStream = text
                .parse()
                .unwrap_or_else(|e| panic!("{path}: not Rust: {e}"));
            let syntax: syn::File =
                syn::parse2(tokens.clone()).unwrap_or_else(|e| panic!("{path}: not Rust: {e}"));
            let mut tests = TestItems::default();
            tests.visit_file(&syntax);
            let is_test = path
                .split('/')
                .any(|part| part == "tests" || part == "tests.rs");
            Rust {
                tokens,
                syntax,
                is_test,
                test_lines: tests.lines,
            }
        });
        Self {
            path: path.to_owned(),
            text,
            rust,
        }
    }

    /// A finding in this file.
    pub(crate) fn finding(
        &self,
        line: usize,
        rule: &'static str,
        fix: impl Into<String>,
    ) -> Finding {
        Finding {
            path: self.path.clone(),
            line,
            rule,
            fix: fix.into(),
        }
    }

    /// Lines (from 1) that hold code: not blank, not only a comment, doc comments included among those.
    pub(crate) fn code_lines(&self) -> BTreeSet<usize> {
        let mut lines = BTreeSet::new();
        let Some(rust) = &self.rust else { return lines };
        let text: Vec<&str> = self.text.lines().collect();
        // A doc comment reaches us as the tokens of an attribute that stand where the comment stands.
        let is_comment = |span: Span| {
            let line = text.get(span.start().line - 1).unwrap_or(&"");
            let rest = after_chars(line, span.start().column);
            rest.starts_with("//") || rest.starts_with("/*")
        };
        for_each_token(&rust.tokens, &mut |span, whole| {
            if !is_comment(whole) {
                lines.extend(span.start().line..=span.end().line);
            }
        });
        lines
    }

    /// The line with this number (from 1).
    pub(crate) fn line(&self, line: usize) -> &str {
        self.text.lines().nth(line - 1).unwrap_or("")
    }
}

/// The texts in backticks, in their order.
pub(crate) fn in_backticks(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The rest of a line behind its first `chars` characters.
pub(crate) fn after_chars(line: &str, chars: usize) -> &str {
    line.char_indices()
        .nth(chars)
        .map_or("", |(at, _)| &line[at..])
}

/// Shows each token's span, and for a bracket also the span of the whole group that it opens or closes.
fn for_each_token(tokens: &TokenStream, see: &mut impl FnMut(Span, Span)) {
    for token in tokens.clone() {
        if let TokenTree::Group(group) = &token {
            see(group.span_open(), group.span());
            for_each_token(&group.stream(), see);
            see(group.span_close(), group.span());
        } else {
            see(token.span(), token.span());
        }
    }
}

/// The repository, or a small one made up by a rule's test.
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

impl Tree {
    /// A tree of the given paths and texts.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self::from_files(
            files
                .iter()
                .map(|(path, text)| File::new(path, (*text).to_owned()))
                .collect(),
        )
    }

    /// The repository that this test was built from.
    pub(crate) fn of_this_repository() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("stack lies in the repository");
        let mut files = Vec::new();
        walk(root, "", &mut files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self::from_files(files)
    }

    /// Rust files, with their Rust.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&File, &Rust)> {
        self.files
            .iter()
            .filter_map(|file| file.rust.as_ref().map(|rust| (file, rust)))
    }

    /// The file with this path.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Marks the files that are modules under `#[cfg(test)]`.
    fn from_files(mut files: Vec<File>) -> Self {
        let mut test_modules = Vec::new();
        for file in &files {
            let Some(rust) = &file.rust else { continue };
            for item in &rust.syntax.items {
                let syn::Item::Mod(module) = item else {
                    continue;
                };
                if module.content.is_none() && is_test_only(&module.attrs) {
                    test_modules.push(format!("{}{}", folder_of_modules(&file.path), module.ident));
                }
            }
        }
        for file in &mut files {
            let stem = file.path.trim_end_matches(".rs");
            let inside =
                |module: &String| stem == module || stem.starts_with(&format!("{module}/"));
            if let Some(rust) = &mut file.rust {
                rust.is_test |= test_modules.iter().any(inside);
            }
        }
        Self { files }
    }
}

/// Where the modules that a file declares lie, ending in `/`.
fn folder_of_modules(path: &str) -> String {
    let stem = path.trim_end_matches(".rs");
    match stem.rsplit_once('/') {
        Some((folder, "lib" | "main" | "mod")) => format!("{folder}/"),
        _ => format!("{stem}/"),
    }
}

/// Files that others made, or that a build left behind, are not ours to judge.
const NOT_OURS: &[&str] = &[
    ".git",
    "target",
    "book",
    "corpus",
    "artifacts",
    "Cargo.lock",
];

fn walk(folder: &Path, prefix: &str, files: &mut Vec<File>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries.map(|entry| entry.expect("a folder that can be listed")) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().expect("a file has a type");
        let is_profile = name.starts_with("callgrind.out") || name.starts_with("perf.data");
        if NOT_OURS.contains(&name.as_str()) || is_profile || kind.is_symlink() {
            continue;
        }
        let path = format!("{prefix}{name}");
        if kind.is_dir() {
            walk(&entry.path(), &format!("{path}/"), files);
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            files.push(File::new(&path, text)); // what is no UTF-8 (a capture, a profile) has no norms
        }
    }
}

/// Collects functions with a body.
#[derive(Default)]
struct Functions {
    functions: Vec<Function>,
}

impl Functions {
    fn note(&mut self, signature: &syn::Signature, body: &syn::Block) {
        self.functions.push(Function {
            name: signature.ident.to_string(),
            lines: signature.span().start().line..=body.span().end().line,
        });
    }
}

impl<'a> Visit<'a> for Functions {
    fn visit_item_fn(&mut self, function: &'a syn::ItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'a syn::ImplItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'a syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.note(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

/// Collects the lines of items that only tests see.
#[derive(Default)]
struct TestItems {
    lines: Vec<RangeInclusive<usize>>,
}

impl TestItems {
    fn note(&mut self, attributes: &[syn::Attribute], item: &impl Spanned) {
        if is_test_only(attributes) {
            let span = item.span();
            self.lines.push(span.start().line..=span.end().line);
        }
    }
}

impl<'a> Visit<'a> for TestItems {
    fn visit_item(&mut self, item: &'a syn::Item) {
        self.note(attributes_of(item), item);
        visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.note(&item.attrs, item);
        visit::visit_impl_item_fn(self, item);
    }
}

/// The attributes of an item, for the kinds that carry any.
fn attributes_of(item: &syn::Item) -> &[syn::Attribute] {
    use syn::Item;
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[test]`, `#[cfg(test)]` or `#[cfg(all(test, …))]`.
pub(crate) fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let text = attribute.meta.path().get_ident().map(ToString::to_string);
        match (text.as_deref(), &attribute.meta) {
            (Some("test"), _) => true,
            (Some("cfg"), syn::Meta::List(list)) => {
                let condition = list.tokens.to_string().replace(' ', "");
                condition == "test" || condition.starts_with("all(test,")
            }
            _ => false,
        }
    })
}

#[test]
fn lines_of_tests_and_comments_are_told_apart() {
    let text = "//! Doc.\n\n/// Doc.\nfn a() {\n    // why\n    b(\"x\n//y\");\n}\n#[cfg(test)]\nmod t {\n    fn c() {}\n}\n";
    let tree = Tree::of(&[("stack/src/a.rs", text)]);
    let (file, rust) = tree.rust().next().expect("one file");
    assert_eq!(
        file.code_lines(),
        BTreeSet::from([4, 6, 7, 8, 9, 10, 11, 12])
    );
    let tests: Vec<usize> = (1..=12).filter(|line| rust.is_test_line(*line)).collect();
    assert_eq!(tests, [9, 10, 11, 12]);
}

#[test]
fn a_module_declared_for_tests_makes_its_files_tests() {
    let tree = Tree::of(&[
        ("stack/src/lib.rs", "#[cfg(test)]\nmod model;\nmod real;"),
        ("stack/src/model.rs", ""),
        ("stack/src/model/part.rs", ""),
        ("stack/src/real.rs", ""),
        ("stack/src/real/tests.rs", ""),
    ]);
    let tests: Vec<&str> = tree
        .rust()
        .filter(|(_, rust)| rust.is_test)
        .map(|(file, _)| file.path.as_str())
        .collect();
    assert_eq!(
        tests,
        [
            "stack/src/model.rs",
            "stack/src/model/part.rs",
            "stack/src/real/tests.rs"
        ]
    );
}
