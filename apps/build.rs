//! Compiles `src/cpu.c`: the check that the CPU has what rustc may use.
//!
//! It must never pass rustc's code generation flags on: that file runs on every x86-64 CPU.
#![forbid(unsafe_code)]

use std::env;

/// Features of x86-64-v3 and AES, by rustc's names.
const FEATURES: &[&str] = &[
    "sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "movbe", "aes", "avx", "f16c", "fma", "bmi1",
    "avx2", "bmi2", "lzcnt",
];

fn main() {
    println!("cargo::rerun-if-changed=src/cpu.c");
    let is = |name: &str, value: &str| env::var(name).as_deref() == Ok(value);
    if !is("CARGO_CFG_TARGET_ARCH", "x86_64") || !is("CARGO_CFG_TARGET_OS", "linux") {
        return;
    }
    let enabled = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let mut check = cc::Build::new();
    check.inherit_rustflags(false).cargo_metadata(false);
    check
        .flag("-march=x86-64")
        .opt_level_str("s")
        .warnings(true);
    for feature in FEATURES {
        let name = format!("NEED_{}", feature.to_uppercase().replace('.', "_"));
        let is_used = enabled.split(',').any(|enabled| enabled == *feature);
        check.define(&name, if is_used { "1" } else { "0" });
    }
    check.file("src/cpu.c").compile("cpu_check");
    println!(
        "cargo::rustc-link-search=native={}",
        env::var("OUT_DIR").unwrap_or_default()
    );
    // Nothing names what it holds.
    println!("cargo::rustc-link-lib=static:+whole-archive=cpu_check");
}
