//! The command line that EAL gets: which memory, which CPUs, which devices.
//!
//! Called by: [`super::Eal::init`]. It must never override what the user gave as a raw EAL argument.

use std::path::Path;

use super::{EalConfig, Hugepages, cpu_list, transparent};
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

/// What EAL and its drivers need for themselves when pools live elsewhere, in MB. Used up as it is touched.
const EAL_OWN_MB: &str = "64";

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

/// Whether the prefix of EAL's files belongs to this process alone: the user gave none.
pub(super) fn own_prefix(config: &EalConfig) -> bool {
    !given(&config.extra_args, &["--file-prefix"])
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

/// Which memory DPDK gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MemoryChoice {
    /// EAL's arguments for it.
    pub(super) arguments: Vec<String>,
    /// What was chosen and why, for the user.
    pub(super) line: String,
    /// MB of transparent hugepages that pools and rings live in, if they do.
    pub(super) transparent_mb: Option<u64>,
}

impl MemoryChoice {
    fn new(arguments: &[&str], line: String) -> Self {
        let arguments = arguments.iter().map(|&text| text.to_owned()).collect();
        Self {
            arguments,
            line,
            transparent_mb: None,
        }
    }
}

/// Chooses by what the user wants and by what this machine has.
pub(super) fn choose_memory(config: &EalConfig) -> Result<MemoryChoice, Error> {
    let free_mb = free_hugepages_mb(Path::new(HUGEPAGES));
    choose(config, free_mb, transparent::is_available())
}

fn choose(config: &EalConfig, free_mb: u64, transparent: bool) -> Result<MemoryChoice, Error> {
    let mb = config.memory_mb;
    let choice = MemoryChoice::new;
    if given(&config.extra_args, MEMORY_ARGUMENTS) {
        return Ok(choice(&[], "memory: as given by --eal".to_owned()));
    }
    Ok(match config.hugepages {
        Hugepages::Require { mb } if free_mb < mb => {
            return Err(Error::TooFewHugepages {
                wanted_mb: mb,
                free_mb,
                pages: mb.div_ceil(2),
            });
        }
        Hugepages::Require { mb } => choice(
            &["--in-memory", "-m", &mb.to_string()],
            format!("memory: {mb} MB in hugepages, as demanded"),
        ),
        Hugepages::Never => choice(
            &["--no-huge", "--no-shconf", "-m", &mb.to_string()],
            format!("memory: {mb} MB in ordinary pages, as demanded"),
        ),
        // Without -m they are taken as they are needed: clearing all of them at start can take a second.
        Hugepages::Auto if free_mb >= mb => choice(
            &["--in-memory"],
            format!("memory: hugepages ({free_mb} MB free)"),
        ),
        Hugepages::Auto if transparent && !needs_memory_of_eal(config) => MemoryChoice {
            transparent_mb: Some(mb),
            ..choice(
                &["--no-huge", "--no-shconf", "-m", EAL_OWN_MB],
                format!(
                    "memory: {mb} MB in transparent hugepages ({free_mb} MB of hugepages are free)"
                ),
            )
        },
        Hugepages::Auto => choice(
            &["--no-huge", "--no-shconf", "-m", &mb.to_string()],
            format!("memory: {mb} MB in ordinary pages ({free_mb} MB of hugepages are free)"),
        ),
    })
}

/// Whether a NIC must reach the pools by other ways than our CPU: DMA, or memory that the driver shares.
fn needs_memory_of_eal(config: &EalConfig) -> bool {
    config.nics.iter().any(|nic| match nic {
        NicSpec::Pci { .. } => true,
        NicSpec::Vdev { devargs } => {
            devargs.starts_with("net_virtio_user") || devargs.starts_with("virtio_user")
        }
        _ => false,
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
        let memory = choose(&config, 1000, true).unwrap();
        assert_eq!(memory.line, "memory: as given by --eal");
        let ours = arguments(&config, &[0, 1], memory.arguments);
        assert_eq!(ours[..2], strings(&["syncline", "--no-telemetry"]));
        assert_eq!(ours[2..], config.extra_args[..]);
    }

    #[test]
    fn memory_is_chosen_by_what_there_is() {
        let line = |config: &EalConfig, free_mb, transparent| {
            choose(config, free_mb, transparent).unwrap().line
        };
        let auto = EalConfig {
            memory_mb: 100,
            ..EalConfig::default()
        };
        assert_eq!(line(&auto, 100, true), "memory: hugepages (100 MB free)");
        let transparent = "memory: 100 MB in transparent hugepages (99 MB of hugepages are free)";
        assert_eq!(line(&auto, 99, true), transparent);
        let ordinary = "memory: 100 MB in ordinary pages (99 MB of hugepages are free)";
        assert_eq!(line(&auto, 99, false), ordinary);
        let pci = EalConfig {
            nics: vec!["pci:3b:00.0".parse().unwrap()],
            ..auto.clone()
        };
        assert_eq!(
            line(&pci, 99, true),
            ordinary,
            "nobody maps our own memory for a device"
        );
        let never = EalConfig {
            hugepages: Hugepages::Never,
            ..auto
        };
        assert_eq!(
            line(&never, 1000, true),
            "memory: 100 MB in ordinary pages, as demanded"
        );
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
        let error = choose(&config, 5, true).unwrap_err().to_string();
        assert!(
            error.starts_with("too few hugepages: 1099511627776 MB wanted, 5 MB free"),
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
