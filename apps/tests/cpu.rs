//! The binary on a CPU that it was not built for: one line that says so, before any instruction that the CPU lacks.
#![forbid(unsafe_code)]
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::process::{Command, Output};

/// `syncline --version` on a CPU that QEMU emulates.
fn on_cpu(cpu: &str) -> Output {
    Command::new("qemu-x86_64")
        .args(["-cpu", cpu, env!("CARGO_BIN_EXE_syncline"), "--version"])
        .output()
        .unwrap_or_else(|error| {
            panic!("qemu-x86_64: {error}; install qemu-user (scripts/setup does)")
        })
}

#[cfg(target_feature = "avx2")]
#[test]
fn a_cpu_without_avx2_or_aes_is_refused_in_one_line() {
    for (cpu, lacks) in [
        ("qemu64", &["sse4.2", "aes", "avx2"][..]),
        ("Nehalem", &["aes", "avx2"]),
        ("max,aes=off", &["aes"]),
        ("max,bmi2=off", &["bmi2"]),
    ] {
        let output = on_cpu(cpu);
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = said.lines().filter(|line| !line.contains("TCG")).collect();
        assert_eq!(output.status.code(), Some(1), "{cpu}: {said}");
        assert_eq!(lines.len(), 1, "{cpu}: {said}");
        assert!(
            lines[0].starts_with("error: this CPU lacks "),
            "{cpu}: {said}"
        );
        assert!(
            lacks.iter().all(|name| lines[0].contains(name)),
            "{cpu}: {said}"
        );
    }
}

#[test]
fn a_cpu_that_has_all_of_it_runs_the_binary() {
    let output = on_cpu("max");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(output.stdout.starts_with(b"syncline "), "{said}");
}
