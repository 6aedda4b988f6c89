//! What can be known about a NIC spec before DPDK is asked. DPDK fails with a bare errno or, worse, takes the machine's
//! only link; here each cause has its own error and fix.
//!
//! Called by: `spec` and `port`. It must never change the machine, except for the one file of a dead memif server.

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

pub(crate) fn check(spec: &NicSpec) -> Result<(), Error> {
    match spec {
        NicSpec::Ring => Ok(()),
        NicSpec::Tap { name, .. } => check_tap(name),
        NicSpec::Memif {
            socket,
            server,
            options,
        } => check_memif_options(options).and_then(|()| check_memif(socket, *server)),
        NicSpec::AfXdp { interface, .. } => check_interface(interface),
        NicSpec::Pci { devargs } => check_pci(devargs.split(',').next().unwrap_or_default()),
        NicSpec::Vdev { devargs } => check_vdev(devargs),
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
            return no_tun("no permission on /dev/net/tun; run as root");
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
    if !interface_exists(name) {
        return Err(Error::NoInterface {
            name: name.to_owned(),
        });
    }
    let routes = fs::read_to_string("/proc/self/net/route").unwrap_or_default();
    let routes6 = fs::read_to_string("/proc/self/net/ipv6_route").unwrap_or_default();
    if has_default_route(name, &routes, &routes6) {
        return Err(Error::DefaultRoute {
            interface: name.to_owned(),
        });
    }
    Ok(())
}

/// Raw devices that take over a kernel interface are held to the same rule.
fn check_vdev(devargs: &str) -> Result<(), Error> {
    let takes_interface = [
        "net_af_packet",
        "net_af_xdp",
        "net_pcap",
        "eth_af_packet",
        "eth_pcap",
    ]
    .iter()
    .any(|driver| devargs.starts_with(driver));
    if !takes_interface {
        return Ok(());
    }
    let interfaces = devargs.split(',').filter_map(|option| {
        let (key, value) = option.split_once('=')?;
        ["iface", "rx_iface", "rx_iface_in", "tx_iface"]
            .contains(&key)
            .then_some(value)
    });
    for interface in interfaces {
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
    /// Somebody listens.
    Served,
    /// The file of somebody who died.
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
        Ok(file) if !file.file_type().is_socket() => return Err("it is no socket".to_owned()),
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
        check_interface(&interface.file_name().to_string_lossy())?;
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
        .map(|why| format!("{address} is bound to {driver}, which {why}: other memory won't do"))
}

/// What a driver of the kernel lacks for addresses of another kind; `group` names the IOMMU group's kind.
fn why_physical(driver: &str, group: &str) -> Option<&'static str> {
    match driver {
        "uio_pci_generic" | "igb_uio" => Some("knows no IOMMU"),
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
    let Ok(name) = CString::new(name) else {
        return false;
    };
    // SAFETY: the name is NUL-terminated.
    unsafe { libc::if_nametoindex(name.as_ptr()) != 0 }
}

/// Looks for a default route through `name` in the kernel's two tables (proc(5); the second one has no header).
fn has_default_route(name: &str, routes: &str, routes6: &str) -> bool {
    let v4 = routes.lines().any(|line| {
        let mut fields = line.split_whitespace();
        // Interface, destination, gateway, flags, reference count, use, metric, mask.
        let (interface, destination, mask) = (fields.next(), fields.next(), fields.nth(5));
        interface == Some(name) && destination == Some("00000000") && mask == Some("00000000")
    });
    let v6 = routes6.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Destination, its prefix length, …, flags, interface. The reject route of a host without IPv6 is on lo.
        fields.len() == 10
            && fields[1] == "00"
            && fields[0].bytes().all(|b| b == b'0')
            && fields[9] == name
    });
    v4 || v6
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

    const ROUTES: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                          eth7\t00000000\t010212C6\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                          eth8\t000012C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
    const ROUTES6: &str = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
                           20010db8000000000000000000000001 00000400 00000001 00000000 00000003 eth9\n\
                           fe800000000000000000000000000000 40 00000000000000000000000000000000 00 \
                           00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth8\n";

    #[test]
    fn the_interface_of_the_default_route_is_found_in_both_families() {
        assert!(has_default_route("eth7", ROUTES, ""));
        assert!(!has_default_route("eth8", ROUTES, ROUTES6));
        assert!(has_default_route("eth9", ROUTES, ROUTES6));
        assert!(!has_default_route("eth7", "", ROUTES6));
    }

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
            ("rsize=20", "is 20, but must be 1 to 14"),
            ("id=1,rsize=0", "is 0, but must be 1 to 14"),
            ("bsize=70000", "is 70000, but must be 1 to 65535"),
            ("rsize=many", "is many, but must be 1 to 14"),
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
        let error = check(&"pci:ffff:ff:1f.7".parse().unwrap()).unwrap_err();
        assert!(matches!(error, Error::Pci { .. }), "{error}");
    }
}
