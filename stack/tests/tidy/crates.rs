//! Which of our crates may depend on which: `apps -> {stack, dpdk} -> nic`, `dpdk -> dpdk-sys`.
//!
//! It must never trust a crate's name: a crate is the folder that its manifest lies in.

use crate::tree::{File, Finding, Tree};
use toml::{Table, Value};

/// The folder of each crate, and the folders that it may depend on.
const EDGES: &[(&str, &[&str])] = &[
    ("nic", &[]),
    ("stack", &["nic"]),
    ("dpdk-sys", &[]),
    ("dpdk", &["nic", "dpdk-sys"]),
    ("workload", &["stack"]),
    ("diagnose", &["stack"]),
    ("syncline", &["stack", "dpdk"]),
    (
        "apps",
        &["syncline", "stack", "dpdk", "workload", "diagnose"],
    ),
    ("benches", &["stack", "workload"]),
    ("fuzz", &["stack", "workload", "diagnose"]),
];
/// Edges that only tests may use: the crate without its tests builds without the other.
const TEST_EDGES: &[(&str, &str)] = &[("dpdk", "stack")];

/// One entry of a dependency table.
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Named under `[dev-dependencies]`.
    pub(crate) is_dev: bool,
    /// The folder of ours that it points at, when it is ours.
    pub(crate) folder: Option<String>,
    pub(crate) line: usize,
}

/// The manifests of our crates with their folders, the workspace's own excepted.
pub(crate) fn manifests(tree: &Tree) -> impl Iterator<Item = (&File, &str)> {
    tree.files.iter().filter_map(|file| {
        file.path
            .strip_suffix("/Cargo.toml")
            .map(|folder| (file, folder))
    })
}

/// All dependencies of a manifest: normal, dev, build, and those under `[target.…]`.
pub(crate) fn dependencies(tree: &Tree, manifest: &File) -> Vec<Dependency> {
    let root = tree.file("Cargo.toml").map(parse);
    let shared = root.as_ref().and_then(|root| {
        root.get("workspace")?
            .get("dependencies")?
            .as_table()
            .cloned()
    });
    let table = parse(manifest);
    let mut sections: Vec<&Table> = vec![&table];
    if let Some(Value::Table(targets)) = table.get("target") {
        sections.extend(targets.values().filter_map(Value::as_table));
    }
    let mut found = Vec::new();
    for section in sections {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, entry) in section
                .get(kind)
                .and_then(Value::as_table)
                .into_iter()
                .flatten()
            {
                let inherited = shared.as_ref().and_then(|shared| shared.get(name));
                let path =
                    |entry: &Value| entry.get("path").and_then(Value::as_str).map(str::to_owned);
                let folder = path(entry).or_else(|| inherited.and_then(path));
                let package = entry.get("package").and_then(Value::as_str).unwrap_or(name);
                found.push(Dependency {
                    name: package.to_owned(),
                    is_dev: kind == "dev-dependencies",
                    folder: folder.map(|path| {
                        path.trim_start_matches("../")
                            .trim_end_matches('/')
                            .to_owned()
                    }),
                    line: line_of(manifest, name),
                });
            }
        }
    }
    found
}

fn parse(file: &File) -> Table {
    file.text
        .parse()
        .unwrap_or_else(|e| panic!("{}: {e}", file.path))
}

/// The first line that sets `key`, as good a place as any.
fn line_of(file: &File, key: &str) -> usize {
    let sets = |line: &str| {
        line.trim_start()
            .strip_prefix(key)
            .is_some_and(|rest| rest.trim_start().starts_with(['=', '.']))
    };
    file.text
        .lines()
        .position(sets)
        .map_or(1, |index| index + 1)
}

/// Each edge between our crates stands in [`EDGES`].
pub(crate) fn edges(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (manifest, folder) in manifests(tree) {
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == folder) else {
            let fix = format!(
                "`{folder}` is a crate that stack/tests/tidy/crates.rs doesn't know: give it its edges"
            );
            findings.push(manifest.finding(1, "crate-direction", fix));
            continue;
        };
        for dependency in dependencies(tree, manifest) {
            let Some(to) = dependency.folder else {
                continue;
            };
            // A crate that names itself there gives its own tests its features.
            let in_tests =
                dependency.is_dev && (to == "." || TEST_EDGES.contains(&(folder, to.as_str())));
            if !allowed.contains(&to.as_str()) && to != folder && !in_tests {
                let fix = format!(
                    "`{folder}` must not depend on `{to}`: apps -> {{stack, dpdk}} -> nic, dpdk -> dpdk-sys"
                );
                findings.push(manifest.finding(dependency.line, "crate-direction", fix));
            }
        }
    }
    findings
}

/// `stack` builds and tests on a machine that has nothing installed.
pub(crate) fn native_dependencies_of_stack(tree: &Tree) -> Vec<Finding> {
    let Some(manifest) = tree.file("stack/Cargo.toml") else {
        return Vec::new();
    };
    let native = |name: &str| {
        name.ends_with("-sys") || matches!(name, "libc" | "nix" | "rustix" | "cc" | "bindgen")
    };
    dependencies(tree, manifest)
        .into_iter()
        .filter(|dependency| !dependency.is_dev && native(&dependency.name))
        .map(|dependency| {
            let fix = format!(
                "`stack` has no native dependency: move what needs `{}` to dpdk or apps",
                dependency.name
            );
            manifest.finding(dependency.line, "crate-direction", fix)
        })
        .collect()
}

#[test]
fn an_edge_against_the_direction_is_found() {
    let tree = Tree::of(&[
        (
            "Cargo.toml",
            "[workspace.dependencies]\ndpdk = { path = \"dpdk\" }",
        ),
        (
            "stack/Cargo.toml",
            "[dependencies]\nlibc = \"0.2\"\n\n[dev-dependencies]\ndpdk.workspace = true",
        ),
        (
            "dpdk/Cargo.toml",
            "[dependencies]\nstack = { path = \"../stack\" }\nsyncline = { path = \"../apps\" }",
        ),
        (
            "apps/Cargo.toml",
            "[target.'cfg(unix)'.dependencies]\nraw = { package = \"x\", path = \"../dpdk-sys\" }",
        ),
        ("extra/Cargo.toml", ""),
    ]);
    let places = |findings: Vec<Finding>| -> Vec<String> {
        findings
            .iter()
            .map(|finding| format!("{}:{}", finding.path, finding.line))
            .collect()
    };
    let expected = [
        "stack/Cargo.toml:5",
        "dpdk/Cargo.toml:2",
        "dpdk/Cargo.toml:3",
        "apps/Cargo.toml:2",
        "extra/Cargo.toml:1",
    ];
    assert_eq!(places(edges(&tree)), expected);
    assert_eq!(
        places(native_dependencies_of_stack(&tree)),
        ["stack/Cargo.toml:2"]
    );
}
