//! The command line that EAL gets: which memory, which CPUs, which devices.
//!
//! It must never override what the user gave as a raw EAL argument.

use std::path::Path;

use super::{EalConfig, Hugepages, cpu_list, transparent};
use crate::{Error, NicSpec, preflight};

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

/// The memory of EAL and its drivers themselves when pools live elsewhere, in MB. Used up as it is touched.
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

/// Refuses raw EAL arguments that print and end the process (`-h`, `--help` and what EAL's parser takes for it): a program
/// whose stdout is its result does not do that.
pub(super) fn refuse_help(extra_args: &[String]) -> Result<(), Error> {
    let is_help = |argument: &String| match argument.strip_prefix("--") {
        Some(long) => long.len() >= 2 && "help".starts_with(long),
        None => argument.strip_prefix('-').is_some_and(|short| {
            short.contains('h') && short.bytes().all(|flag| matches!(flag, b'h' | b'v'))
        }),
    };
    match extra_args.iter().find(|argument| is_help(argument)) {
        None => Ok(()),
        Some(argument) => Err(Error::EalArgument {
            said: format!("`{argument}` would print EAL's usage in place of a result"),
        }),
    }
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
    /// The choice and its reason, for the user.
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
    choose(config, &Machine::look(config))
}

/// The memory of this machine.
#[derive(Debug, Clone, Default)]
struct Machine {
    /// Free hugepages of all sizes, in MB.
    free_mb: u64,
    /// Hugepages of 2 MB, used ones included.
    pages: u64,
    /// The kernel gives transparent hugepages to those that ask.
    transparent: bool,
    /// A NIC that reaches hugepages only, and why.
    hugepages_only: Option<String>,
}

impl Machine {
    fn look(config: &EalConfig) -> Self {
        let root = Path::new(HUGEPAGES);
        let mut pci = config.nics.iter().filter_map(NicSpec::pci_devargs);
        Self {
            free_mb: free_hugepages_mb(root),
            pages: std::fs::read_to_string(root.join("hugepages-2048kB/nr_hugepages"))
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(0),
            transparent: transparent::is_available(),
            hugepages_only: pci.find_map(|devargs| {
                let address = devargs.split(',').next().unwrap_or_default();
                preflight::needs_physical_addresses(address)
            }),
        }
    }

    /// The value of `nr_hugepages` at which `wanted_mb` are free.
    fn pages_for(&self, wanted_mb: u64) -> u64 {
        self.pages + wanted_mb.saturating_sub(self.free_mb).div_ceil(2)
    }
}

fn choose(config: &EalConfig, machine: &Machine) -> Result<MemoryChoice, Error> {
    let &Machine {
        free_mb,
        transparent,
        ..
    } = machine;
    let mb = config.memory_mb;
    let choice = MemoryChoice::new;
    if given(&config.extra_args, MEMORY_ARGUMENTS) {
        return Ok(choice(&[], "memory: as given by --eal".to_owned()));
    }
    let too_few = |wanted_mb, why: String| Error::TooFewHugepages {
        wanted_mb,
        free_mb,
        pages: machine.pages_for(wanted_mb),
        why,
    };
    // Where a device reaches the pools, each frame has pages of its own there, because it must not lie in two places: 4096 bytes for
    // the 2368 of a usual one, and less than twice as much for any larger one (rte_mempool_op_calc_mem_size_helper).
    let ordinary = |why: &str| {
        let small_mb = mb * 2;
        let line = format!("memory: {small_mb} MB in ordinary pages{why}");
        choice(
            &["--no-huge", "--no-shconf", "-m", &small_mb.to_string()],
            line,
        )
    };
    Ok(match config.hugepages {
        Hugepages::Require { mb } if free_mb < mb => {
            return Err(too_few(mb, "or run without --hugepages".to_owned()));
        }
        Hugepages::Require { mb } => choice(
            &["--in-memory", "-m", &mb.to_string()],
            format!("memory: {mb} MB in hugepages, as demanded"),
        ),
        // Without -m they are taken as they are needed: clearing all of them at start can take a second.
        Hugepages::Auto if free_mb >= mb => choice(
            &["--in-memory"],
            format!("memory: hugepages ({free_mb} MB free)"),
        ),
        Hugepages::Auto | Hugepages::Never if machine.hugepages_only.is_some() => {
            let why = machine.hugepages_only.clone();
            return Err(too_few(mb, why.unwrap_or_default()));
        }
        Hugepages::Never => ordinary(", as demanded"),
        Hugepages::Auto if transparent && !needs_memory_of_eal(config) => MemoryChoice {
            transparent_mb: Some(mb),
            ..choice(
                &["--no-huge", "--no-shconf", "-m", EAL_OWN_MB],
                format!(
                    "memory: {mb} MB in transparent hugepages ({free_mb} MB of hugepages are free)"
                ),
            )
        },
        Hugepages::Auto => ordinary(&format!(" ({free_mb} MB of hugepages are free)")),
    })
}

/// Virtual devices whose frames others than our CPU reach: the other end of shared memory, or PCI devices below them.
const SHARING_VDEVS: [&str; 5] = [
    "net_virtio_user",
    "virtio_user",
    "net_bonding",
    "net_failsafe",
    "net_vdev_netvsc",
];

/// Whether a NIC must reach the pools by other ways than our CPU: DMA, or memory that the driver shares.
pub(super) fn needs_memory_of_eal(config: &EalConfig) -> bool {
    config.nics.iter().any(|nic| match nic {
        NicSpec::Pci { .. } => true,
        NicSpec::Vdev { devargs } => SHARING_VDEVS.iter().any(|kind| devargs.starts_with(kind)),
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

    fn machine(free_mb: u64, transparent: bool) -> Machine {
        Machine {
            free_mb,
            transparent,
            ..Machine::default()
        }
    }

    #[test]
    fn a_device_that_reaches_hugepages_only_gets_them_or_the_count_of_what_is_missing() {
        let config = |hugepages, extra: &[&str]| EalConfig {
            memory_mb: 237,
            hugepages,
            nics: vec!["pci:3b:00.0".parse().unwrap()],
            extra_args: strings(extra),
        };
        // 118 pages, of which another process has taken 8.
        let machine = Machine {
            pages: 118,
            hugepages_only: Some("0000:3b:00.0 is bound to uio_pci_generic".to_owned()),
            ..machine(220, true)
        };
        for hugepages in [Hugepages::Auto, Hugepages::Never] {
            let error = choose(&config(hugepages, &[]), &machine).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("237 MB wanted, 220 MB free"), "{text}");
            assert!(
                text.contains("`echo 127 > /sys/kernel/mm/hugepages/"),
                "{text}"
            );
            assert!(
                text.contains("0000:3b:00.0 is bound to uio_pci_generic"),
                "{text}"
            );
        }
        let enough = Machine {
            free_mb: 237,
            ..machine.clone()
        };
        let line = choose(&config(Hugepages::Auto, &[]), &enough).unwrap().line;
        assert_eq!(line, "memory: hugepages (237 MB free)");
        // Memory arguments of the user's are kept as they are.
        assert!(choose(&config(Hugepages::Auto, &["-m64"]), &machine).is_ok());
    }

    #[test]
    fn the_users_eal_arguments_win() {
        let config = EalConfig {
            extra_args: strings(&["-l", "1", "--file-prefix=mine", "-m64", "--no-pci"]),
            ..EalConfig::default()
        };
        let memory = choose(&config, &machine(1000, true)).unwrap();
        assert_eq!(memory.line, "memory: as given by --eal");
        let ours = arguments(&config, &[0, 1], memory.arguments);
        assert_eq!(ours[..2], strings(&["syncline", "--no-telemetry"]));
        assert_eq!(ours[2..], config.extra_args[..]);
    }

    #[test]
    fn memory_is_chosen_by_what_there_is() {
        let line = |config: &EalConfig, free_mb, transparent| {
            choose(config, &machine(free_mb, transparent)).unwrap().line
        };
        let auto = EalConfig {
            memory_mb: 100,
            ..EalConfig::default()
        };
        assert_eq!(line(&auto, 100, true), "memory: hugepages (100 MB free)");
        let transparent = "memory: 100 MB in transparent hugepages (99 MB of hugepages are free)";
        assert_eq!(line(&auto, 99, true), transparent);
        let ordinary = "memory: 200 MB in ordinary pages (99 MB of hugepages are free)";
        assert_eq!(line(&auto, 99, false), ordinary);
        for shared in [
            "pci:3b:00.0",
            "net_virtio_user0,path=/x",
            "net_bonding0,mode=1",
        ] {
            let shared = EalConfig {
                nics: vec![shared.parse().unwrap()],
                ..auto.clone()
            };
            // Our own memory is not mapped for a device.
            assert_eq!(line(&shared, 99, true), ordinary);
        }
        let never = EalConfig {
            hugepages: Hugepages::Never,
            ..auto
        };
        assert_eq!(
            line(&never, 1000, true),
            "memory: 200 MB in ordinary pages, as demanded"
        );
    }

    #[test]
    fn eals_help_is_refused() {
        for argument in ["--help", "--he", "-h", "-vh"] {
            let error = refuse_help(&strings(&["-m64", argument])).unwrap_err();
            assert!(error.to_string().contains(argument), "{error}");
        }
        let others = [
            "--huge-dir=/x",
            "-v",
            "--h",
            "-l0",
            "--",
            "-",
            "--vdev=net_null1",
        ];
        assert!(refuse_help(&strings(&others)).is_ok());
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
        let error = choose(&config, &machine(5, true)).unwrap_err().to_string();
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
