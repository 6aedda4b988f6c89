//! The command line that EAL gets: which memory, which CPUs, which devices.
//!
//! Called by: [`super::Eal::init`]. It must never override what the user gave as a raw EAL argument.

use std::path::Path;

use super::{EalConfig, Hugepages, cpu_list};
use crate::{Error, NicSpec};

/// Where the kernel counts its hugepages.
const HUGEPAGES: &str = "/sys/kernel/mm/hugepages";
/// EAL arguments that choose memory. When the user gives one, ours stay away.
const MEMORY_ARGUMENTS: &[&str] = &[
    "-m",
    "--no-huge",
    "--in-memory",
    "--socket-mem",
    "--numa-mem",
    "--huge-dir",
    "--legacy-mem",
    "--single-file-segments",
    "--huge-unlink",
];

/// The command line for EAL, program name first.
pub(super) fn arguments(config: &EalConfig, cpus: &[usize], memory: Vec<String>) -> Vec<String> {
    let given = |names: &[&str]| given(&config.extra_args, names);
    let mut arguments = vec!["syncline".to_owned()];
    if !given(&["-l", "-c", "--lcores"]) {
        // One lcore, unpinned: workers are std threads that register themselves, so that Rust owns joins and panics.
        arguments.push(format!("--lcores=0@({})", cpu_list(cpus)));
    }
    if !given(MEMORY_ARGUMENTS) {
        arguments.extend(memory);
    }
    if !given(&["--file-prefix"]) {
        arguments.push(format!("--file-prefix=syncline-{}", std::process::id()));
    }
    let pci: Vec<&str> = config
        .nics
        .iter()
        .filter_map(NicSpec::pci_devargs)
        .collect();
    if pci.is_empty() && !given(&["-a", "--allow", "-b", "--block", "--no-pci"]) {
        arguments.push("--no-pci".to_owned());
        if !given(&["--iova-mode"]) {
            // No device sees physical addresses: pools need not look them up, and no root is needed.
            arguments.push("--iova-mode=va".to_owned());
        }
    }
    arguments.extend(pci.iter().map(|devargs| format!("--allow={devargs}")));
    if !given(&["--telemetry", "--no-telemetry"]) {
        arguments.push("--no-telemetry".to_owned());
    }
    arguments.extend(config.extra_args.iter().cloned());
    arguments
}

/// Whether the user gave one of these arguments, as `NAME`, `NAME=…`, or, for short ones, `-mVALUE`.
fn given(extra_args: &[String], names: &[&str]) -> bool {
    extra_args.iter().any(|argument| {
        names.iter().any(|name| match argument.strip_prefix(name) {
            Some(rest) => rest.is_empty() || rest.starts_with('=') || !name.starts_with("--"),
            None => false,
        })
    })
}

/// EAL's arguments for memory, and the line that says what was chosen.
pub(super) fn choose_memory(config: &EalConfig) -> Result<(Vec<String>, String), Error> {
    if given(&config.extra_args, MEMORY_ARGUMENTS) {
        return Ok((Vec::new(), "memory: as given by --eal".to_owned()));
    }
    let free_mb = free_hugepages_mb(Path::new(HUGEPAGES));
    let in_memory = |mb: u64| vec!["--in-memory".to_owned(), "-m".to_owned(), mb.to_string()];
    let no_huge = |mb: u64| {
        vec![
            "--no-huge".to_owned(),
            "--no-shconf".to_owned(),
            "-m".to_owned(),
            mb.to_string(),
        ]
    };
    let mb = config.memory_mb;
    Ok(match config.hugepages {
        Hugepages::Require { mb } if free_mb < mb => {
            return Err(Error::TooFewHugepages {
                wanted_mb: mb,
                free_mb,
                pages: mb.div_ceil(2),
            });
        }
        Hugepages::Require { mb } => (
            in_memory(mb),
            format!("memory: {mb} MB in hugepages, as demanded"),
        ),
        Hugepages::Never => (
            no_huge(mb),
            format!("memory: {mb} MB in ordinary pages, as demanded"),
        ),
        Hugepages::Auto if free_mb >= mb => (
            in_memory(mb),
            format!("memory: {mb} MB in hugepages ({free_mb} MB were free)"),
        ),
        Hugepages::Auto => (
            no_huge(mb),
            format!("memory: {mb} MB in ordinary pages ({free_mb} MB of hugepages are free)"),
        ),
    })
}

/// Free hugepages of all sizes, in MB. None where the kernel has no such directory.
fn free_hugepages_mb(root: &Path) -> u64 {
    let Ok(sizes) = std::fs::read_dir(root) else {
        return 0;
    };
    let free_kb: u64 = sizes
        .flatten()
        .filter_map(|size| {
            let name = size.file_name().into_string().ok()?;
            let page_kb: u64 = name
                .strip_prefix("hugepages-")?
                .strip_suffix("kB")?
                .parse()
                .ok()?;
            let free = std::fs::read_to_string(size.path().join("free_hugepages")).ok()?;
            Some(page_kb * free.trim().parse::<u64>().ok()?)
        })
        .sum();
    free_kb / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(of: &[&str]) -> Vec<String> {
        of.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn the_users_eal_arguments_win() {
        let config = EalConfig {
            extra_args: strings(&["-l", "1", "--file-prefix=mine", "-m64", "--no-pci"]),
            ..EalConfig::default()
        };
        let (memory, line) = choose_memory(&config).unwrap();
        assert_eq!(line, "memory: as given by --eal");
        let ours = arguments(&config, &[0, 1], memory);
        assert_eq!(ours[..2], strings(&["syncline", "--no-telemetry"]));
        assert_eq!(ours[2..], config.extra_args[..]);
    }

    #[test]
    fn a_long_argument_is_not_mistaken_for_another_that_it_begins() {
        assert!(given(&strings(&["--huge-dir=/x"]), &["--huge-dir"]));
        assert!(!given(&strings(&["--huge-dirs=/x"]), &["--huge-dir"]));
    }

    #[test]
    fn hugepages_that_are_demanded_and_missing_are_an_error() {
        let config = EalConfig {
            hugepages: Hugepages::Require { mb: 1 << 40 },
            ..EalConfig::default()
        };
        let error = choose_memory(&config).unwrap_err().to_string();
        assert!(
            error.starts_with("too few hugepages: 1099511627776 MB wanted"),
            "{error}"
        );
    }

    #[test]
    fn free_hugepages_are_summed_over_their_sizes() {
        let root = std::env::temp_dir().join(format!("syncline-hugepages-{}", std::process::id()));
        for (size, free) in [("hugepages-2048kB", "3\n"), ("hugepages-1048576kB", "2\n")] {
            std::fs::create_dir_all(root.join(size)).unwrap();
            std::fs::write(root.join(size).join("free_hugepages"), free).unwrap();
        }
        assert_eq!(free_hugepages_mb(&root), 3 * 2 + 2 * 1024);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
