//! CPUs: what they can do, which of them the workers get, and what else runs there.
//!
//! It must never call a placement wrong that costs nothing.

use procfs_core::CpuInfo;

use super::super::finding::Finding;
use super::super::machine::Machine;
use super::super::request::Request;
use crate::rig::idle::Idle;

const CHECK: &str = "cpus";
/// The CPU flags that DPDK of the distributions needs (x86-64-v2), as `/proc/cpuinfo` names it.
const NEEDED: [&str; 4] = ["ssse3", "sse4_1", "sse4_2", "popcnt"];
/// Features that make the clock of a run one clock: the TSC ticks at one rate and does not stop.
const CLOCK: [&str; 2] = ["constant_tsc", "nonstop_tsc"];

/// Looks at the CPUs, and at those that the workers of the command get.
pub(super) fn check(machine: &Machine, request: Option<&Request>, into: &mut Vec<Finding>) {
    check_features(machine, into);
    let online = machine.list("/sys/devices/system/cpu/online");
    let isolated = machine.list("/sys/devices/system/cpu/isolated");
    if !online.is_empty() {
        let isolated = if isolated.is_empty() {
            "none isolated".to_owned()
        } else {
            format!("isolated: {isolated:?}")
        };
        into.push(Finding::ok(
            CHECK,
            format!("{} online, {isolated}", online.len()),
        ));
    }
    let Some(cpus) = request.and_then(|request| request.link.cpus.as_ref()) else {
        return;
    };
    if let Some(cpu) = cpus
        .iter()
        .find(|cpu| !online.is_empty() && !online.contains(cpu))
    {
        into.push(
            Finding::fault(
                CHECK,
                format!("--cpus names CPU {cpu}, which is not online (online: {online:?})"),
                format!("echo 1 > /sys/devices/system/cpu/cpu{cpu}/online"),
            )
            .or("name other CPUs"),
        );
        return;
    }
    check_siblings(machine, cpus, &online, into);
    check_governor(machine, cpus, into);
    check_node(machine, request, cpus, into);
    let spins = request.is_some_and(|request| request.needs.idle == Idle::Spin);
    if spins && cpus.iter().any(|cpu| !isolated.contains(cpu)) {
        let list: Vec<String> = cpus.iter().map(ToString::to_string).collect();
        into.push(Finding::note(
            CHECK,
            format!(
                "the scheduler runs other programs on CPUs {cpus:?}; the kernel parameters isolcpus={0} nohz_full={0} rcu_nocbs={0} keep \
                 them free",
                list.join(",")
            ),
        ));
    }
}

fn check_features(machine: &Machine, into: &mut Vec<Finding>) {
    let info: Option<CpuInfo> = machine.parsed("/proc/cpuinfo");
    let Some(flags) = info.as_ref().and_then(|info| info.flags(0)) else {
        return;
    };
    let lacks = |wanted: &[&'static str]| -> Vec<&'static str> {
        wanted
            .iter()
            .copied()
            .filter(|flag| !flags.contains(flag))
            .collect()
    };
    let missing = lacks(&NEEDED);
    if !missing.is_empty() {
        into.push(Finding::fault(
            CHECK,
            format!("the CPU has no {}, which DPDK is built for (x86-64-v2)", missing.join(", ")),
            "in a virtual machine: give it the host's CPU (QEMU: -cpu host, libvirt: host-passthrough)",
        ));
    }
    let missing = lacks(&CLOCK);
    if !missing.is_empty() {
        into.push(Finding::warning(
            CHECK,
            format!(
                "the CPU does not have {}: times may drift between CPUs",
                missing.join(", ")
            ),
            "in a virtual machine: pass the invariant TSC on (QEMU: -cpu host,+invtsc)",
        ));
    }
}

/// Two threads of one core share its execution units: two workers there are hardly faster than one.
fn check_siblings(machine: &Machine, cpus: &[usize], online: &[usize], into: &mut Vec<Finding>) {
    for (i, cpu) in cpus.iter().enumerate() {
        let siblings = machine.list(&format!(
            "/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        ));
        let twin = cpus[..i].iter().find(|other| siblings.contains(other));
        let Some(twin) = twin else { continue };
        let others = online
            .iter()
            .filter(|other| !siblings.contains(other))
            .take(4);
        let others: Vec<String> = others.map(ToString::to_string).collect();
        let fix = if others.is_empty() {
            "give one worker to each core: fewer --cpus".to_owned()
        } else {
            format!(
                "take one of each core: CPUs of other cores are {}",
                others.join(", ")
            )
        };
        into.push(Finding::warning(
            CHECK,
            format!("CPUs {twin} and {cpu} of --cpus are two threads of one core (SMT siblings)"),
            fix,
        ));
    }
}

fn check_governor(machine: &Machine, cpus: &[usize], into: &mut Vec<Finding>) {
    for cpu in cpus {
        let file = format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor");
        if let Some(governor) = machine
            .text(&file)
            .filter(|governor| governor != "performance")
        {
            into.push(Finding::warning(
                CHECK,
                format!("the frequency governor of CPU {cpu} is `{governor}`: its speed changes with its load"),
                format!("echo performance > {file}"),
            ));
        }
    }
}

/// Each access of a worker to a NIC on another node crosses the link between the sockets.
fn check_node(
    machine: &Machine,
    request: Option<&Request>,
    cpus: &[usize],
    into: &mut Vec<Finding>,
) {
    let address = request.and_then(Request::pci_address);
    let node = address
        .and_then(|address| machine.number(&format!("/sys/bus/pci/devices/{address}/numa_node")));
    let (Some(address), Some(node)) = (address, node) else {
        return;
    };
    let near = machine.list(&format!("/sys/devices/system/node/node{node}/cpulist"));
    let far: Vec<usize> = cpus
        .iter()
        .copied()
        .filter(|cpu| !near.contains(cpu))
        .collect();
    if !near.is_empty() && !far.is_empty() {
        into.push(Finding::warning(
            CHECK,
            format!("{address} is on NUMA node {node}, but CPUs {far:?} are not"),
            format!("take CPUs of node {node}: {near:?}"),
        ));
    }
}
