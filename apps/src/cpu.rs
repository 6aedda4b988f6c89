//! Whether this CPU has what the binary was compiled for: said in a line, instead of an illegal instruction later.
//!
//! It must never refuse a machine whose CPU it can't read about.

use crate::failure::Failure;

/// Where Linux lists what a CPU can do.
const CPUINFO: &str = "/proc/cpuinfo";

/// What `.cargo/config.toml` asks of an x86-64 CPU beyond the oldest: the name in [`CPUINFO`], and whether this binary was
/// compiled with it.
const NEEDED: [(&str, bool); 4] = [
    ("avx2", cfg!(target_feature = "avx2")),
    ("bmi2", cfg!(target_feature = "bmi2")),
    ("movbe", cfg!(target_feature = "movbe")),
    ("aes", cfg!(target_feature = "aes")),
];

/// Refuses a CPU that lacks an instruction set which this binary uses.
///
/// # Errors
/// [`Failure::Run`] that names what is missing and how to build without it.
pub(crate) fn check() -> Result<(), Failure> {
    let Ok(cpuinfo) = std::fs::read_to_string(CPUINFO) else {
        return Ok(());
    };
    let missing = missing(&cpuinfo, &NEEDED);
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::Run(format!(
        "this CPU has no {}, which this binary was built for: build it with \
         RUSTFLAGS=\"-C target-cpu=native\" cargo build --release",
        missing.join(", ")
    )))
}

/// What is needed and not listed. Nothing when there is no list of flags, as on other architectures.
fn missing(cpuinfo: &str, needed: &[(&'static str, bool)]) -> Vec<&'static str> {
    let flags = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("flags")?.split_once(':'));
    let Some((_, flags)) = flags else {
        return Vec::new();
    };
    let has = |name: &str| flags.split_whitespace().any(|flag| flag == name);
    let absent = needed
        .iter()
        .filter(|(name, compiled)| *compiled && !has(name));
    absent.map(|&(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEHALEM: &str = "processor\t: 0\nmodel name\t: old\nflags\t\t: fpu sse4_2 popcnt\n";

    #[test]
    fn an_old_cpu_is_told_what_it_lacks_and_only_what_was_compiled_in() {
        let needed = [
            ("avx2", true),
            ("aes", true),
            ("bmi2", false),
            ("popcnt", true),
        ];
        assert_eq!(missing(NEHALEM, &needed), ["avx2", "aes"]);
        assert!(missing("Processor\t: ARMv8\nFeatures\t: aes\n", &needed).is_empty());
    }

    #[test]
    fn the_machine_that_runs_this_test_can_run_it() {
        assert!(check().is_ok());
    }
}
