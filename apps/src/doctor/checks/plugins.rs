//! DPDK's drivers: which are installed, and whether one of them knows the NIC.
//!
//! It must never load one: each says in its file which devices it drives (`PMD_INFO_STRING`, what `dpdk-pmdinfo.py` reads).

use std::collections::BTreeMap;
use std::fs;

use diagnose::counted;
use dpdk::NicSpec;
use serde::Deserialize;

use super::super::finding::Finding;
use super::super::machine::Machine;
use super::super::request::Request;

const CHECK: &str = "drivers";
/// The marker in front of a driver's description of itself.
const MARK: &[u8] = b"PMD_INFO_STRING= ";
/// Matches every subsystem.
const ANY_ID: u32 = 0xffff;

/// A driver's description of itself.
#[derive(Debug, Deserialize)]
struct Info {
    name: String,
    /// Vendor, device, and the subsystem's two.
    #[serde(default)]
    pci_ids: Vec<[u32; 4]>,
}

/// Looks at the drivers, and at the one of the command's NIC.
pub(super) fn check(machine: &Machine, request: Option<&Request>, into: &mut Vec<Finding>) {
    let Some(directory) = directory(machine) else {
        into.push(Finding::fault(
            CHECK,
            "no directory of DPDK's drivers (dpdk/pmds-… below /usr/lib or /usr/local/lib)",
            "apt-get install dpdk",
        ));
        return;
    };
    let drivers = drivers(machine, &directory);
    let names: Vec<&str> = drivers.keys().map(String::as_str).collect();
    let networks = names.iter().filter(|name| name.starts_with("net_")).count();
    into.push(Finding::ok(
        CHECK,
        format!("{} in {directory}", counted(networks, "NIC driver")),
    ));
    let Some(request) = request else { return };
    if let Some(wanted) = device_driver(&request.needs.spec)
        && !drivers.contains_key(wanted)
    {
        into.push(Finding::fault(
            CHECK,
            format!("DPDK's driver {wanted} is not among those in {directory}"),
            format!("apt-get install {}", package_of(wanted)),
        ));
    }
    if let Some(address) = request.pci_address() {
        check_pci(machine, address, &drivers, into);
    }
}

fn check_pci(
    machine: &Machine,
    address: &str,
    drivers: &BTreeMap<String, Info>,
    into: &mut Vec<Finding>,
) {
    let id = |file: &str| {
        let text = machine.text(&format!("/sys/bus/pci/devices/{address}/{file}"))?;
        u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()
    };
    let (Some(vendor), Some(device)) = (id("vendor"), id("device")) else {
        return; // `nics` says that there is no such device
    };
    let subsystem = [id("subsystem_vendor"), id("subsystem_device")];
    let knows = |info: &&Info| {
        info.pci_ids.iter().any(|ids| {
            let fits = |known: u32, own: Option<u32>| {
                known == ANY_ID || own.is_none_or(|own| own == known)
            };
            ids[0] == vendor
                && ids[1] == device
                && fits(ids[2], subsystem[0])
                && fits(ids[3], subsystem[1])
        })
    };
    match drivers.values().find(knows) {
        Some(info) => into.push(Finding::ok(
            CHECK,
            format!(
                "{address} ({vendor:04x}:{device:04x}) is driven by {}",
                info.name
            ),
        )),
        None => into.push(
            Finding::fault(
                CHECK,
                format!("no installed driver of DPDK knows {address} ({vendor:04x}:{device:04x})"),
                "apt-get install dpdk librte-meta-net",
            )
            .or("use its interface of the kernel: --nic af_xdp:INTERFACE"),
        ),
    }
}

/// The driver of a device without a PCI address.
fn device_driver(spec: &NicSpec) -> Option<&'static str> {
    match spec {
        NicSpec::Tap { .. } => Some("net_tap"),
        NicSpec::Memif { .. } => Some("net_memif"),
        NicSpec::AfXdp { .. } => Some("net_af_xdp"),
        NicSpec::Ring | NicSpec::Pci { .. } | NicSpec::Vdev { .. } => None,
    }
}

/// The Debian package of a driver.
fn package_of(driver: &str) -> String {
    format!(
        "librte-{}23 (or dpdk, which brings all of them)",
        driver.replace('_', "-")
    )
}

/// Where the drivers are, of the newest DPDK.
fn directory(machine: &Machine) -> Option<String> {
    let bases = ["/usr/local/lib", "/usr/lib"].into_iter().flat_map(|lib| {
        let triples = machine.names(lib).into_iter();
        let below = triples.map(move |triple| format!("{lib}/{triple}/dpdk"));
        below.chain([format!("{lib}/dpdk")])
    });
    let directories = bases.flat_map(|base| {
        let names = machine.names(&base).into_iter().rev();
        let plugins = names.filter(|name| name.starts_with("pmds-"));
        plugins
            .map(move |name| format!("{base}/{name}"))
            .collect::<Vec<_>>()
    });
    directories.into_iter().next()
}

fn drivers(machine: &Machine, directory: &str) -> BTreeMap<String, Info> {
    // Each driver has up to three names (.so, .so.23, .so.23.0), of which a machine without headers has the last.
    let names = machine.names(directory).into_iter();
    let files: BTreeMap<String, String> = names
        .filter_map(|file| {
            let (stem, _) = file.strip_prefix("librte_net_")?.split_once(".so")?;
            Some((stem.to_owned(), file))
        })
        .collect();
    let infos = files.values().flat_map(|file| {
        let content = fs::read(machine.path(&format!("{directory}/{file}"))).unwrap_or_default();
        infos(&content)
    });
    infos.map(|info| (info.name.clone(), info)).collect()
}

/// All descriptions in a driver's file.
fn infos(content: &[u8]) -> Vec<Info> {
    let mut infos = Vec::new();
    let mut rest = content;
    while let Some(at) = rest.windows(MARK.len()).position(|window| window == MARK) {
        rest = &rest[at + MARK.len()..];
        let end = rest
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(rest.len());
        infos.extend(serde_json::from_slice::<Info>(&rest[..end]));
    }
    infos
}
