//! NICs on the PCI bus: which there are, which driver has them, their link, the IOMMU; and whether the command's is free.
//!
//! It must never propose to take the interface of the default route.

use std::collections::BTreeSet;

use procfs_core::net::RouteEntries;

use super::super::finding::Finding;
use super::super::machine::Machine;
use super::super::request::Request;

const CHECK: &str = "nics";
const IOMMU: &str = "iommu";
const DEVICES: &str = "/sys/bus/pci/devices";
/// Drivers of the kernel that leave a device to DPDK.
const FREE: [&str; 3] = ["vfio-pci", "uio_pci_generic", "igb_uio"];
/// Drivers of the kernel that share a device with DPDK (bifurcated drivers).
const SHARED: [&str; 4] = ["mlx5_core", "mlx4_core", "mana", "hv_netvsc"];

/// A NIC on the bus.
struct Device {
    address: String,
    driver: Option<String>,
    interfaces: Vec<String>,
    node: Option<u64>,
    leads_out: bool,
}

/// Looks at the NICs, and at the one of the command.
pub(super) fn check(machine: &Machine, request: Option<&Request>, into: &mut Vec<Finding>) {
    let carriers = default_carriers(machine);
    let devices: Vec<Device> = machine
        .names(DEVICES)
        .into_iter()
        .filter(|address| {
            // Class 02: network controllers.
            let class = machine.text(&format!("{DEVICES}/{address}/class"));
            class.is_some_and(|class| class.starts_with("0x02"))
        })
        .map(|address| Device::of(machine, address, &carriers))
        .collect();
    let wanted = request.and_then(Request::pci_address);
    for device in &devices {
        if wanted == Some(device.address.as_str()) {
            judge(machine, device, into);
        } else {
            into.push(Finding::ok(CHECK, device.text(machine)));
        }
    }
    match wanted {
        None if devices.is_empty() => into.push(Finding::note(CHECK, "no NIC on the PCI bus")),
        Some(address) if devices.iter().all(|device| device.address != address) => {
            into.push(Finding::fault(
                CHECK,
                format!("there is no NIC {address} on the PCI bus"),
                "lspci -D -d ::0200 lists the NICs",
            ));
        }
        _ => {}
    }
    check_iommu(machine, wanted, into);
}

impl Device {
    fn of(machine: &Machine, address: String, carriers: &BTreeSet<String>) -> Self {
        let directory = format!("{DEVICES}/{address}");
        let mut interfaces = machine.names(&format!("{directory}/net"));
        // virtio-net's interface belongs to a device below the PCI device.
        for child in machine.names(&directory) {
            if child.starts_with("virtio") {
                interfaces.extend(machine.names(&format!("{directory}/{child}/net")));
            }
        }
        Self {
            driver: machine.link(&format!("{directory}/driver")),
            node: machine.number(&format!("{directory}/numa_node")),
            leads_out: interfaces.iter().any(|name| carriers.contains(name)),
            interfaces,
            address,
        }
    }

    fn text(&self, machine: &Machine) -> String {
        let mut text = self.address.clone();
        match &self.driver {
            Some(driver) => text += &format!(" is bound to {driver}"),
            None => text += " has no driver",
        }
        for interface in &self.interfaces {
            let carrier = machine.number(&format!("/sys/class/net/{interface}/carrier"));
            text += &format!(
                ", interface {interface} with {}",
                match carrier {
                    Some(1) => "a link",
                    _ => "no link",
                }
            );
        }
        if let Some(node) = self.node {
            text += &format!(", NUMA node {node}");
        }
        if self.leads_out {
            text += ", carries the default route: left to the kernel";
        }
        text
    }
}

/// The NIC of the command.
fn judge(machine: &Machine, device: &Device, into: &mut Vec<Finding>) {
    let address = &device.address;
    let driver = device.driver.as_deref().unwrap_or_default();
    if device.leads_out {
        into.push(Finding::fault(
            CHECK,
            format!(
                "{address} has the interface {} with the default route: taking it would cut this machine off",
                device.interfaces.join(", ")
            ),
            "name another NIC",
        ));
    } else if FREE.contains(&driver) || SHARED.contains(&driver) {
        into.push(Finding::ok(CHECK, device.text(machine)));
    } else {
        let held = device.driver.as_ref().map_or_else(
            || "has no driver".to_owned(),
            |driver| format!("is bound to the kernel's {driver}"),
        );
        let with = if has_iommu(machine) {
            "vfio-pci"
        } else {
            "uio_pci_generic"
        };
        into.push(
            Finding::fault(
                CHECK,
                format!("{address} {held}: DPDK can't open it"),
                format!("scripts/bind-nic --driver {with} {address}"),
            )
            .or(format!("dpdk-devbind.py --bind={with} {address}")),
        );
    }
    if driver == "vfio-pci"
        && let Some(group) = machine.link(&format!("{DEVICES}/{address}/iommu_group"))
    {
        let file = format!("/dev/vfio/{group}");
        if machine.has(&file) && !machine.may_write(&file) {
            into.push(
                Finding::fault(
                    CHECK,
                    format!("no permission to write to {file}, through which vfio gives {address}"),
                    "run as root",
                )
                .or(format!("chown $USER {file}")),
            );
        }
    }
    if driver.ends_with("uio_pci_generic") && !machine.is_root() {
        into.push(Finding::fault(
            CHECK,
            format!("{address} is bound to {driver}, which needs root for physical addresses"),
            "run as root",
        ));
    }
}

fn has_iommu(machine: &Machine) -> bool {
    !machine.names("/sys/kernel/iommu_groups").is_empty()
}

fn check_iommu(machine: &Machine, wanted: Option<&str>, into: &mut Vec<Finding>) {
    if has_iommu(machine) {
        into.push(Finding::ok(
            IOMMU,
            "on: a NIC under vfio-pci reaches only the memory of its program",
        ));
        return;
    }
    let driver = wanted.and_then(|address| machine.link(&format!("{DEVICES}/{address}/driver")));
    let unsafe_mode = machine.text("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode");
    if driver.as_deref() == Some("vfio-pci") && unsafe_mode.as_deref() != Some("Y") {
        into.push(Finding::fault(
            IOMMU,
            "off, and the NIC is bound to vfio-pci, which needs one",
            "kernel parameters intel_iommu=on iommu=pt (AMD: iommu=pt), and VT-d or AMD-Vi in the firmware",
        )
        .or("echo Y > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode (any program with the NIC may write to all memory)"));
    } else {
        into.push(Finding::note(
            IOMMU,
            "off: use uio_pci_generic, or vfio-pci with enable_unsafe_noiommu_mode; both need hugepages",
        ));
    }
}

/// Interfaces of the default route: IPv4's and IPv6's.
fn default_carriers(machine: &Machine) -> BTreeSet<String> {
    let routes: Option<RouteEntries> = machine.parsed("/proc/net/route");
    let v4 = routes.map(|routes| routes.0).unwrap_or_default();
    let v4 = v4
        .into_iter()
        .filter(|route| route.mask.is_unspecified() && route.destination.is_unspecified());
    let mut carriers: BTreeSet<String> = v4.map(|route| route.iface).collect();
    let v6 = machine.text("/proc/net/ipv6_route").unwrap_or_default();
    carriers.extend(v6.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Destination, its length, …, flags (RTF_REJECT is 0x200), interface.
        let flags = u32::from_str_radix(fields.get(8)?, 16).ok()?;
        (fields.get(1) == Some(&"00") && flags & 0x200 == 0).then(|| fields[9].to_owned())
    }));
    carriers
}
