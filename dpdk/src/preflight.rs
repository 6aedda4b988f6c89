//! Checks of a NIC spec before DPDK is asked. DPDK fails with a bare errno or, worse, takes the machine's
//! only link; here each cause has its own error and fix.
//!
//! It must never change the machine, except for the one file of a dead memif server.

// The interface that this machine is reached by is not taken.
mod default_route;
mod routes;

use std::ffi::CString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::{Error, NicSpec};

/// Bit of the effective capability set, capabilities(7).
const CAP_NET_ADMIN: u32 = 12;
/// Drivers of the kernel that leave a PCI device to DPDK. The mlx ones share it.
const PCI_DRIVERS: &[&str] = &[
    "vfio-pci",
    "uio_pci_generic",
    "igb_uio",
    "mlx5_core",
    "mlx4_core",
    "hv_netvsc",
];

/// Drivers that take an interface of the kernel, and the options that name it.
const TAKES_INTERFACE: &[(&str, &[&str])] = &[
    ("net_af_packet", &["iface"]),
    ("eth_af_packet", &["iface"]),
    ("net_af_xdp", &["iface"]),
    (
        "net_pcap",
        &["iface", "rx_iface", "rx_iface_in", "tx_iface"],
    ),
    (
        "eth_pcap",
        &["iface", "rx_iface", "rx_iface_in", "tx_iface"],
    ),
    ("net_tap", &["remote"]),
    ("net_vdev_netvsc", &["iface"]),
];

pub(crate) fn check(spec: &NicSpec) -> Result<(), Error> {
    match spec {
        NicSpec::Ring | NicSpec::Memif { .. } => {}
        NicSpec::Tap { name, options } => {
            check_tap(name)?;
            check_options("net_tap", options)?;
        }
        NicSpec::AfXdp { interface, .. } => check_interface(interface)?,
        NicSpec::Pci { devargs } => check_pci(devargs.split(',').next().unwrap_or_default())?,
        NicSpec::Vdev { devargs } => check_options(devargs, devargs)?,
    }
    match spec {
        NicSpec::Ring => Ok(()),
        NicSpec::Memif {
            socket,
            server,
            options,
        } => check_memif_options(options).and_then(|()| check_memif(socket, *server)),
        NicSpec::Tap { options, .. } => default_route::refuse(options),
        NicSpec::AfXdp { interface, options } => {
            default_route::refuse(interface)?;
            default_route::refuse(options)
        }
        NicSpec::Pci { devargs } | NicSpec::Vdev { devargs } => default_route::refuse(devargs),
    }
}

fn check_tap(name: &str) -> Result<(), Error> {
    let no_tun = |reason: &str| {
        Err(Error::NoTun {
            reason: reason.to_owned(),
        })
    };
    match fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
    {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return no_tun("there is no /dev/net/tun; `modprobe tun`, or give it to the container");
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return no_tun("no permission to open /dev/net/tun; run as root");
        }
        Err(error) => return no_tun(&format!("/dev/net/tun: {error}")),
    }
    if !has_capability(CAP_NET_ADMIN) {
        return no_tun("creating an interface needs CAP_NET_ADMIN; run as root");
    }
    if interface_exists(name) {
        return Err(Error::InterfaceExists {
            name: name.to_owned(),
        });
    }
    Ok(())
}

fn check_interface(name: &str) -> Result<(), Error> {
    if interface_exists(name) {
        return Ok(());
    }
    Err(Error::NoInterface {
        name: name.to_owned(),
    })
}

/// Interfaces of the kernel that `options` give to a driver must be there.
fn check_options(driver: &str, options: &str) -> Result<(), Error> {
    let taken = TAKES_INTERFACE
        .iter()
        .filter(|(name, _)| driver.starts_with(name));
    let keys: Vec<&str> = taken.flat_map(|(_, keys)| *keys).copied().collect();
    let pairs = options
        .split(',')
        .filter_map(|option| option.split_once('='));
    for (_, interface) in pairs.filter(|(key, _)| keys.contains(key)) {
        check_interface(interface)?;
    }
    Ok(())
}

fn check_memif(socket: &str, server: bool) -> Result<(), Error> {
    let path = Path::new(socket);
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if !directory.is_dir() {
        let directory = directory.display().to_string();
        return Err(Error::MemifNoDirectory {
            socket: socket.to_owned(),
            directory,
        });
    }
    // The driver wants both, on both sides (memif/rte_eth_memif.c, memif_check_socket_filename).
    access(directory, libc::R_OK | libc::W_OK).map_err(|error| Error::MemifDirectory {
        socket: socket.to_owned(),
        directory: directory.display().to_string(),
        reason: error.to_string(),
    })?;
    let unusable = |reason: String| Error::MemifSocket {
        socket: socket.to_owned(),
        reason,
    };
    match (socket_state(path).map_err(unusable)?, server) {
        (SocketState::Served, true) => Err(Error::MemifSocketInUse {
            socket: socket.to_owned(),
        }),
        (SocketState::Served, false) | (SocketState::Stale | SocketState::Absent, true) => Ok(()),
        (SocketState::Stale | SocketState::Absent, false) => Err(Error::MemifNoServer {
            socket: socket.to_owned(),
        }),
    }
}

/// Whether this user may use `path` in that way.
fn access(path: &Path, mode: i32) -> std::io::Result<()> {
    let c_path = CString::new(path.as_os_str().as_encoded_bytes())?;
    // SAFETY: the path is NUL-terminated.
    match unsafe { libc::faccessat(libc::AT_FDCWD, c_path.as_ptr(), mode, libc::AT_EACCESS) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// The numbers among the options of a memif (memif/rte_eth_memif.c, memif_set_rs and memif_set_bs).
fn check_memif_options(options: &str) -> Result<(), Error> {
    for (key, what, max, allowed) in [
        (
            "rsize=",
            "rsize, the logarithm of a memif's frames,",
            14,
            "1 to 14: rsize=10 is 1024 frames",
        ),
        (
            "bsize=",
            "bsize, the bytes of a memif's buffer,",
            65_535,
            "1 to 65535",
        ),
    ] {
        let values = options
            .split(',')
            .filter_map(|option| option.strip_prefix(key));
        for text in values {
            let value: u64 = text.parse().unwrap_or(u64::MAX);
            if !(1..=max).contains(&value) {
                return Err(Error::MemifOption {
                    what,
                    text: text.to_owned(),
                    allowed,
                });
            }
        }
    }
    Ok(())
}

enum SocketState {
    /// A program listens.
    Served,
    /// The file of a process that died.
    Stale,
    /// No file.
    Absent,
}

/// Asks the kernel without disturbing a server: connecting a datagram socket to a listening one of another type fails
/// with another error than to a dead one, and the server never hears of it.
fn socket_state(path: &Path) -> Result<SocketState, String> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(SocketState::Absent),
        Err(error) => return Err(error.to_string()),
        Ok(file) if !file.file_type().is_socket() => return Err("it is not a socket".to_owned()),
        Ok(_) => {}
    }
    let probe = UnixDatagram::unbound().and_then(|probe| probe.connect(path));
    match probe {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(SocketState::Stale),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error.to_string()),
        // EPROTOTYPE: it listens, with the type that memif uses.
        Err(_) | Ok(()) => Ok(SocketState::Served),
    }
}

/// Removes the socket file of a memif server that died: the driver can't bind over it.
pub(crate) fn remove_stale_socket(spec: &NicSpec) -> Result<(), Error> {
    let NicSpec::Memif {
        socket,
        server: true,
        ..
    } = spec
    else {
        return Ok(());
    };
    if let Ok(SocketState::Stale) = socket_state(Path::new(socket)) {
        fs::remove_file(socket).map_err(|error| Error::MemifSocket {
            socket: socket.clone(),
            reason: format!("its server is gone, and the file can't be removed: {error}"),
        })?;
    }
    Ok(())
}

fn check_pci(address: &str) -> Result<(), Error> {
    let wrong = |reason: String| {
        Err(Error::Pci {
            address: address.to_owned(),
            reason,
        })
    };
    let device = Path::new("/sys/bus/pci/devices").join(address);
    if !device.exists() {
        return wrong("there is no such device (`lspci -D` lists them)".to_owned());
    }
    for interface in fs::read_dir(device.join("net"))
        .into_iter()
        .flatten()
        .flatten()
    {
        default_route::refuse(&interface.file_name().to_string_lossy())?;
    }
    let driver = fs::read_link(device.join("driver"))
        .ok()
        .and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned()));
    match driver {
        Some(driver) if PCI_DRIVERS.contains(&driver.as_str()) => Ok(()),
        Some(driver) => wrong(format!(
            "it is bound to the kernel's {driver}: `dpdk-devbind.py --bind=vfio-pci {address}`"
        )),
        None => wrong(format!(
            "it has no driver: `dpdk-devbind.py --bind=vfio-pci {address}`"
        )),
    }
}

/// Why a PCI device reaches nothing but hugepages, if that is so: without an IOMMU it needs physical addresses, and only
/// those of hugepages stay where they are.
pub(crate) fn needs_physical_addresses(address: &str) -> Option<String> {
    let device = Path::new("/sys/bus/pci/devices").join(address);
    let name = |link: &str| {
        let target = fs::read_link(device.join(link)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    };
    let driver = name("driver")?;
    let group = fs::read_to_string(device.join("iommu_group/name")).unwrap_or_default();
    why_physical(&driver, group.trim())
        .map(|why| format!("{address} is bound to {driver}, which {why}, so it needs hugepages"))
}

/// The reason why a driver of the kernel needs physical addresses; `group` names the IOMMU group's kind.
fn why_physical(driver: &str, group: &str) -> Option<&'static str> {
    match driver {
        "uio_pci_generic" | "igb_uio" => Some("doesn't use an IOMMU"),
        "vfio-pci" if group == "vfio-noiommu" => Some("runs without an IOMMU"),
        _ => None,
    }
}

/// Why DPDK made no port although it did not complain.
pub(crate) fn why_no_port(spec: &NicSpec) -> String {
    match spec {
        NicSpec::Pci { .. } => {
            "DPDK has no driver for it, or it was not named when the environment started".to_owned()
        }
        _ => "the device has no port by its own name".to_owned(),
    }
}

fn interface_exists(name: &str) -> bool {
    interface_number(name).is_some()
}

/// The kernel's number of an interface; `None` without one of this name.
fn interface_number(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name is NUL-terminated.
    let number = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (number != 0).then_some(number)
}

fn has_capability(bit: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|set| set >> bit & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memif_sockets_are_told_apart() {
        let directory = std::env::temp_dir().join(format!("syncline-memif-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        let served = path("served");
        // memif uses SOCK_SEQPACKET; to the datagram probe any other type looks the same.
        let listener = std::os::unix::net::UnixListener::bind(&served).unwrap();
        assert!(matches!(
            check_memif(&served, true),
            Err(Error::MemifSocketInUse { .. })
        ));
        assert!(check_memif(&served, false).is_ok());
        drop(listener);
        assert!(matches!(
            check_memif(&served, false),
            Err(Error::MemifNoServer { .. })
        ));
        assert!(check_memif(&served, true).is_ok());
        let stale = format!("memif:{served},server").parse().unwrap();
        remove_stale_socket(&stale).unwrap();
        assert!(!Path::new(&served).exists());
        let file = path("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(
            check_memif(&file, true),
            Err(Error::MemifSocket { .. })
        ));
        let missing = path("missing/socket");
        assert!(matches!(
            check_memif(&missing, true),
            Err(Error::MemifNoDirectory { .. })
        ));
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn devices_without_an_iommu_are_told_apart() {
        assert!(why_physical("uio_pci_generic", "").is_some());
        assert!(why_physical("igb_uio", "").is_some());
        assert!(why_physical("vfio-pci", "vfio-noiommu").is_some());
        assert!(why_physical("vfio-pci", "").is_none());
        assert!(why_physical("mlx5_core", "").is_none());
    }

    #[test]
    fn numbers_of_a_memif_are_checked_before_the_driver_sees_them() {
        assert!(check_memif_options("").is_ok());
        assert!(check_memif_options("rsize=14,bsize=2048,zero-copy=yes").is_ok());
        for (options, part) in [
            ("rsize=20", "20: must be 1 to 14"),
            ("id=1,rsize=0", "0: must be 1 to 14"),
            ("bsize=70000", "70000: must be 1 to 65535"),
            ("rsize=many", "many: must be 1 to 14"),
        ] {
            let text = check_memif_options(options).unwrap_err().to_string();
            assert!(text.contains(part), "{options}: {text}");
        }
    }

    #[test]
    fn what_does_not_exist_is_said() {
        let error = check(&"af_xdp:no-such-if0".parse().unwrap()).unwrap_err();
        assert!(matches!(error, Error::NoInterface { .. }), "{error}");
        let error = check(&"net_af_packet0,iface=no-such-if0".parse().unwrap()).unwrap_err();
        assert!(matches!(error, Error::NoInterface { .. }), "{error}");
        for spec in [
            "net_tap0,iface=t0,remote=no-such-if0",
            "net_pcap0,tx_iface=no-such-if0",
        ] {
            let error = check(&spec.parse().unwrap()).unwrap_err();
            assert!(
                matches!(error, Error::NoInterface { .. }),
                "{spec}: {error}"
            );
        }
        let error = check(&"pci:ffff:ff:1f.7".parse().unwrap()).unwrap_err();
        assert!(matches!(error, Error::Pci { .. }), "{error}");
    }
}
