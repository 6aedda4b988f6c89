//! The command lines that README, BENCHMARKING, the pages of `docs/` and `--help` show.
//!
//! It must never leave out a line of a block that it reads: what isn't a command fails the test that runs it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// One command line, as a reader would type it.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// Where it stands: page and line, or the command whose help shows it.
    pub(crate) at: String,
    /// The command without prompt, `sudo`, continuation and trailing comment.
    pub(crate) text: String,
}

/// The repository.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("apps is in it").to_owned()
}

/// Every command line of the pages and of `--help`.
pub(crate) fn shown() -> Vec<Shown> {
    let mut pages = vec!["README.md".to_owned(), "BENCHMARKING.md".to_owned()];
    for folder in ["docs/guide", "docs/reference"] {
        let entries = std::fs::read_dir(root().join(folder)).expect("a folder of pages");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        let pages_of = names.filter(|name| name.ends_with(".md"));
        pages.extend(pages_of.map(|name| format!("{folder}/{name}")));
    }
    pages.sort();
    let of_page = |page: String| {
        let text = std::fs::read_to_string(root().join(&page)).expect("a page");
        in_page(&page, &text)
    };
    let mut shown: Vec<Shown> = pages.into_iter().flat_map(of_page).collect();
    shown.extend(
        ["serve", "bench", "lab", "load", "flood", "diagnose"]
            .into_iter()
            .flat_map(in_help),
    );
    shown
}

/// The commands in the fenced blocks of a page: every line of a `sh` block, what follows a prompt in a `console` block, and
/// in a block without a language the lines that begin with a program of ours.
fn in_page(page: &str, text: &str) -> Vec<Shown> {
    let (mut shown, mut language) = (Vec::new(), None);
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(rest) = line.trim_start().strip_prefix("```") {
            language = if language.is_none() { Some(rest) } else { None };
            continue;
        }
        let Some(command) = language.and_then(|language| command_in(language, line)) else {
            continue;
        };
        let mut command = command.to_owned();
        while let Some(begun) = command.strip_suffix('\\') {
            let (_, next) = lines.next().expect("a continued line");
            command = format!("{begun} {next}");
        }
        shown.push(Shown {
            at: format!("{page}:{}", number + 1),
            text: plain(&command),
        });
    }
    shown
}

fn command_in<'a>(language: &str, line: &'a str) -> Option<&'a str> {
    const OURS: [&str; 3] = ["syncline ", "scripts/", "./scripts/"];
    let is_ours = OURS.iter().any(|program| line.starts_with(program));
    match language {
        "sh" => Some(line).filter(|line| !line.is_empty() && !line.starts_with('#')),
        "console" => line.strip_prefix("$ ").or(line.strip_prefix("# ")),
        "" => Some(line).filter(|_| is_ours),
        _ => None,
    }
}

/// Without `sudo`, a trailing comment and runs of spaces.
fn plain(command: &str) -> String {
    let command = command.split(" #").next().unwrap_or_default();
    let words: Vec<&str> = command.split_whitespace().collect();
    let words = match words.as_slice() {
        ["sudo", rest @ ..] => rest,
        all => all,
    };
    words
        .join(" ")
        .replace("target/release/syncline", "syncline")
}

/// The commands between back-ticks in the help of a command.
fn in_help(command: &str) -> Vec<Shown> {
    let output = Command::new(env!("CARGO_BIN_EXE_syncline"))
        .args([command, "--help"])
        .output()
        .expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let quoted = text.split('`').skip(1).step_by(2);
    let commands = quoted.filter(|text| text.starts_with("syncline "));
    commands
        .map(|text| Shown {
            at: format!("syncline {command} --help"),
            text: text.to_owned(),
        })
        .collect()
}

#[test]
fn blocks_of_every_kind_are_read() {
    let page = "```sh\n# a comment\nsudo syncline a \\\n    -b   # why\n\n```\n```console\n$ curl x\nanswer\n# syncline c\n```\n\
                ```\nsyncline d\nprinted\n```\n```rust\nlet x;\n```\nsyncline e\n";
    let texts: Vec<String> = in_page("p", page).into_iter().map(|s| s.text).collect();
    assert_eq!(
        texts,
        ["syncline a -b", "curl x", "syncline c", "syncline d"]
    );
}
