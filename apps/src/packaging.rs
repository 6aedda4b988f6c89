//! `syncline completions` and `syncline man`: what a package installs beside the binary, made from the command line itself.
//!
//! It must never describe a flag by hand: clap's description of the command line is the only source.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;

use crate::console;
use crate::failure::Failure;

/// Which shell.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Where the pages go.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ManArgs {
    /// The directory that the pages are written to; created if it doesn't exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Prints the completion script of a shell for `command`, the whole command line.
///
/// # Errors
/// [`Failure::Run`] when stdout takes no more.
pub(crate) fn completions(args: CompletionsArgs, mut command: Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "syncline", &mut script);
    console::result(String::from_utf8_lossy(&script).trim_end())
}

/// Writes `syncline.1` and a page for each command that `--help` lists, such as `syncline-lab-run.1`.
///
/// # Errors
/// [`Failure::Run`] when the directory or a page can't be written.
pub(crate) fn man(args: &ManArgs, command: Command) -> Result<(), Failure> {
    let failed = |path: &Path, error| {
        Failure::Run(format!(
            "cannot write {}: {error}; name another directory with --out",
            path.display()
        ))
    };
    std::fs::create_dir_all(&args.out).map_err(|error| failed(&args.out, error))?;
    for (name, page) in pages(command) {
        let path = args.out.join(name);
        std::fs::File::create(&path)
            .and_then(|mut file| file.write_all(&page))
            .map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// The pages by file name.
fn pages(mut command: Command) -> Vec<(String, Vec<u8>)> {
    command.build();
    let mut pages = Vec::new();
    let mut left = vec![command];
    while let Some(command) = left.pop() {
        let listed = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
        left.extend(command.get_subcommands().filter(listed).cloned());
        // Of a command built as part of another one it is `syncline-serve`.
        let name = command.get_display_name().unwrap_or(command.get_name());
        let name = format!("{name}.1");
        let mut page = Vec::new();
        // A vector takes every write.
        let _ = clap_mangen::Man::new(command).render(&mut page);
        pages.push((name, page));
    }
    pages
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn each_command_that_help_lists_has_a_page_with_its_flags() {
        let pages = pages(Cli::command());
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["syncline.1", "syncline-lab.1", "syncline-lab-run.1"] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        assert!(!names.iter().any(|name| name.contains("dev-")), "{names:?}");
        let (_, completions) = pages
            .iter()
            .find(|(name, _)| name == "syncline-completions.1")
            .expect("the command has a page");
        let text = String::from_utf8_lossy(completions);
        assert!(text.contains("bash"), "{text}");
    }

    #[test]
    fn a_page_that_cannot_be_written_is_an_error_that_names_it() {
        let file = tempfile_in_target();
        let out = file.join("pages");
        let failure = man(&ManArgs { out }, Cli::command()).expect_err("a file is no directory");
        assert!(failure.to_string().contains("--out"), "{failure}");
        std::fs::remove_file(file).expect("the test made it");
    }

    /// A file where a directory is wanted.
    fn tempfile_in_target() -> PathBuf {
        let path = std::env::temp_dir().join(format!("syncline-man-{}", std::process::id()));
        std::fs::write(&path, b"").expect("the directory for temporary files is writable");
        path
    }
}
