//! Hugepages: how many there are on each NUMA node, how many the command needs, and whether they can be used.
//!
//! It must never ask for hugepages where ordinary memory does.

use procfs_core::MountEntry;

use super::super::finding::Finding;
use super::super::machine::Machine;
use super::super::request::Request;

const CHECK: &str = "hugepages";
/// The size that can be had without a reboot, in kB.
const SMALL_KB: u64 = 2048;

/// Looks at the hugepages of the machine.
pub(super) fn check(machine: &Machine, request: Option<&Request>, into: &mut Vec<Finding>) {
    let pools = Pool::all(machine);
    let free_mb: u64 = pools.iter().map(Pool::free_mb).sum();
    let why = request.and_then(|request| why_needed(machine, request));
    let wanted_mb = request.map_or(0, |request| request.needs.memory_mb);
    let needed = why.is_some() || request.is_some_and(|request| request.link.hugepages.is_some());
    let wanted_mb = request
        .and_then(|request| request.link.hugepages)
        .map_or(wanted_mb, |demanded_mb| demanded_mb.max(wanted_mb));
    let why = why.unwrap_or_else(|| "--hugepages asks for them".to_owned());
    let pages = wanted_mb.div_ceil(SMALL_KB / 1024);
    let allocate = |node: &str, pages: u64| {
        format!("echo {pages} > {node}/hugepages/hugepages-{SMALL_KB}kB/nr_hugepages")
    };
    let place = node_of(machine, request);
    if needed && free_mb == 0 {
        into.push(Finding::fault(
            CHECK,
            format!("no hugepages are free, and this command needs {wanted_mb} MB: {why}"),
            allocate(&place, used_pages(&pools) + pages),
        ));
        return;
    }
    if needed && free_mb < wanted_mb {
        into.push(Finding::fault(
            CHECK,
            format!(
                "{free_mb} MB of hugepages are free, and this command needs {wanted_mb} MB: {why}"
            ),
            allocate(&place, used_pages(&pools) + pages),
        ));
        return;
    }
    for pool in pools.iter().filter(|pool| pool.pages > 0) {
        into.push(Finding::ok(CHECK, pool.text()));
    }
    if free_mb == 0 {
        into.push(Finding::note(
            CHECK,
            "none are free; transparent hugepages or ordinary pages are used where the NIC allows it",
        ));
    }
    if needed {
        check_mount(machine, into);
    }
}

/// Hugepages of one size, on one NUMA node or on the whole machine.
struct Pool {
    place: String,
    size_kb: u64,
    pages: u64,
    free: u64,
}

impl Pool {
    /// By NUMA node, or of the whole machine where the kernel knows none.
    fn all(machine: &Machine) -> Vec<Self> {
        let nodes = machine.names("/sys/devices/system/node");
        let nodes = nodes.iter().filter(|name| {
            let number = name.strip_prefix("node");
            number.is_some_and(|number| number.parse::<u32>().is_ok())
        });
        let mut pools: Vec<Self> = nodes
            .flat_map(|node| {
                Self::below(
                    machine,
                    node,
                    &format!("/sys/devices/system/node/{node}/hugepages"),
                )
            })
            .collect();
        if pools.is_empty() {
            pools = Self::below(machine, "this machine", "/sys/kernel/mm/hugepages");
        }
        pools
    }

    fn below(machine: &Machine, place: &str, directory: &str) -> Vec<Self> {
        let sizes = machine.names(directory);
        let pool = |name: &String| {
            let size_kb = name
                .strip_prefix("hugepages-")?
                .strip_suffix("kB")?
                .parse()
                .ok()?;
            let count = |file: &str| machine.number(&format!("{directory}/{name}/{file}"));
            Some(Self {
                place: place.to_owned(),
                size_kb,
                pages: count("nr_hugepages")?,
                free: count("free_hugepages")?,
            })
        };
        sizes.iter().filter_map(pool).collect()
    }

    fn free_mb(&self) -> u64 {
        self.free * self.size_kb / 1024
    }

    fn text(&self) -> String {
        format!(
            "{} of {} pages of {} MB are free on {}",
            self.free,
            self.pages,
            self.size_kb / 1024,
            self.place
        )
    }
}

/// Pages of the small size that others use, and that have to stay.
fn used_pages(pools: &[Pool]) -> u64 {
    let small = pools.iter().filter(|pool| pool.size_kb == SMALL_KB);
    small
        .map(|pool| pool.pages - pool.free.min(pool.pages))
        .sum()
}

/// Where pages are to be allocated: on the node of the NIC.
fn node_of(machine: &Machine, request: Option<&Request>) -> String {
    let address = request.and_then(Request::pci_address);
    let node = address.and_then(|address| {
        let node = machine.text(&format!("/sys/bus/pci/devices/{address}/numa_node"))?;
        node.parse::<u32>().ok() // -1 where there is no telling
    });
    match node {
        Some(node) => format!("/sys/devices/system/node/node{node}"),
        None => "/sys/devices/system/node/node0".to_owned(),
    }
}

/// Why the command can't do without hugepages.
fn why_needed(machine: &Machine, request: &Request) -> Option<String> {
    let address = request.pci_address()?;
    let device = format!("/sys/bus/pci/devices/{address}");
    let driver = machine.link(&format!("{device}/driver"))?;
    let group = machine.text(&format!("{device}/iommu_group/name"));
    match driver.as_str() {
        "uio_pci_generic" | "igb_uio" => Some(format!("{driver} doesn't use an IOMMU")),
        "vfio-pci" if group.as_deref() == Some("vfio-noiommu") => {
            Some("vfio-pci runs without an IOMMU".to_owned())
        }
        _ => None,
    }
}

/// Whether the file system of hugepages is there and this user may use it.
fn check_mount(machine: &Machine, into: &mut Vec<Finding>) {
    let mounts: Option<Vec<MountEntry>> = machine.parsed("/proc/mounts");
    let mount = mounts.and_then(|mounts| {
        let mut mounts = mounts.into_iter();
        mounts.find(|mount| mount.fs_vfstype == "hugetlbfs")
    });
    let Some(mount) = mount else {
        into.push(Finding::fault(
            CHECK,
            "hugetlbfs is not mounted, and DPDK takes hugepages from there",
            "mkdir -p /dev/hugepages && mount -t hugetlbfs hugetlbfs /dev/hugepages",
        ));
        return;
    };
    if !machine.may_write(&mount.fs_file) {
        into.push(
            Finding::fault(
                CHECK,
                format!(
                    "no permission to write to {}, the mount of hugetlbfs",
                    mount.fs_file
                ),
                "run as root",
            )
            .or(format!("chown $USER {}", mount.fs_file)),
        );
    }
}
