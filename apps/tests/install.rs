//! `scripts/install`: what it puts below a prefix runs, and goes again without a trace.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("apps is in it")
}

fn install(arguments: &[&str]) -> Output {
    Command::new(root().join("scripts/install"))
        .args(arguments)
        .output()
        .expect("bash is there")
}

fn succeeds(arguments: &[&str]) -> String {
    let output = install(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

/// All files below a directory.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn what_is_installed_runs_and_goes_again() {
    let folder = std::env::temp_dir().join(format!("syncline install {}", std::process::id()));
    let prefix = folder.to_str().expect("text");
    let binary = env!("CARGO_BIN_EXE_syncline");
    let said = succeeds(&["--prefix", prefix, "--binary", binary]);
    assert!(said.contains("is not on the PATH: export PATH="), "{said}");
    let version = Command::new(folder.join("bin/syncline"))
        .arg("--version")
        .output();
    assert!(version.is_ok_and(|output| output.stdout.starts_with(b"syncline ")));
    for path in [
        "share/man/man1/syncline.1",
        "share/man/man1/syncline-serve.1",
        "share/bash-completion/completions/syncline",
        "share/zsh/site-functions/_syncline",
        "share/fish/vendor_completions.d/syncline.fish",
    ] {
        assert!(folder.join(path).is_file(), "{path}");
    }
    // A file beside it that isn't ours stays, and a second installation replaces the first.
    let other = folder.join("bin/other");
    std::fs::write(&other, "x").expect("room for a file");
    let before = files(&folder).len();
    succeeds(&["--prefix", prefix, "--binary", binary]);
    assert_eq!(files(&folder).len(), before);
    succeeds(&["--prefix", prefix, "--uninstall"]);
    assert_eq!(files(&folder), [other]);
    let again = install(&["--prefix", prefix, "--uninstall"]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        !again.status.success() && said.contains("nothing is installed below"),
        "{said}"
    );
    std::fs::remove_dir_all(&folder).expect("it was made");
}

#[test]
fn what_cant_be_installed_is_refused_and_leaves_nothing() {
    let folder = std::env::temp_dir().join(format!("syncline-no-install-{}", std::process::id()));
    let prefix = folder.to_str().expect("text");
    for (arguments, wanted) in [
        (
            &["--prefix", prefix, "--binary", "/bin/false"][..],
            "doesn't run",
        ),
        (
            &["--prefix", "/proc/none", "--binary", "/bin/true"],
            "can't be written to",
        ),
        (&["--sideways"], "unknown argument: --sideways"),
    ] {
        let output = install(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains(wanted),
            "{arguments:?}: {said}"
        );
    }
    assert!(files(&folder).is_empty());
    let _ = std::fs::remove_dir_all(&folder);
}
