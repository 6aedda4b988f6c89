//! [`NicSpec`]: a NIC as users name it on the command line, and as DPDK wants to hear it.
//!
//! It must never touch the machine: what depends on the machine is in `preflight`, behind [`NicSpec::check`].

use core::fmt;
use core::str::FromStr;

use crate::{Error, preflight};

/// The forms of a spec, for error messages and help texts.
pub(crate) const ALLOWED: &str = "ring, tap:NAME, memif:SOCKET[,server], af_xdp:INTERFACE, pci:ADDRESS, \
                           or a DPDK device like net_pcap0,iface=… (options of the driver follow after commas)";
/// Longest name of a network interface, in bytes (IFNAMSIZ without its NUL).
const INTERFACE_NAME_MAX_BYTES: usize = 15;
/// Longest path of a Unix socket that memif takes, in bytes.
const SOCKET_PATH_MAX_BYTES: usize = 107;

/// Which NIC. `options` are the driver's own (`rsize=9,bsize=256` for memif), passed through as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NicSpec {
    /// The in-memory link inside this process.
    Ring,
    /// A tap interface that the driver creates.
    Tap {
        /// The kernel's name for it.
        name: String,
        /// Further options of net_tap, or empty.
        options: String,
    },
    /// Shared memory with another process.
    Memif {
        /// Path of the control socket.
        socket: String,
        /// Whether this side creates the socket. The server must be there first.
        server: bool,
        /// Further options of net_memif, or empty.
        options: String,
    },
    /// A kernel interface through AF_XDP.
    AfXdp {
        /// The kernel's name for it.
        interface: String,
        /// Further options of net_af_xdp, or empty.
        options: String,
    },
    /// A NIC on the PCI bus.
    Pci {
        /// Its address with its options, as DPDK wants them (`0000:3b:00.0,…`).
        devargs: String,
    },
    /// Any other virtual device of DPDK.
    Vdev {
        /// Its name and options, as DPDK wants them.
        devargs: String,
    },
}

impl FromStr for NicSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Spec {
            text: text.to_owned(),
            reason: reason.to_owned(),
        };
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(wrong("it holds a blank or a control character"));
        }
        if text == "ring" {
            return Ok(Self::Ring);
        }
        // A raw device has its first comma before its first colon, or no colon; `pci:` and the like are never before a comma.
        let Some((kind, rest)) = text.split_once(':').filter(|(kind, _)| !kind.contains(','))
        else {
            return vdev(text).ok_or_else(|| match text.split(',').next() {
                Some("tap" | "af_xdp") => {
                    wrong("the name of the interface is missing, behind a colon")
                }
                Some("memif") => wrong("the path of the socket is missing, behind a colon"),
                Some("pci") => wrong("the address is missing, behind a colon"),
                _ => wrong("the name of a DPDK device begins with `net_`"),
            });
        };
        let (head, options) = rest.split_once(',').unwrap_or((rest, ""));
        match kind {
            "tap" | "af_xdp" if head.is_empty() || head.contains('/') => Err(wrong(
                "the name of an interface is missing or holds a slash",
            )),
            "tap" | "af_xdp" if head.len() > INTERFACE_NAME_MAX_BYTES => {
                Err(wrong("the name of an interface has at most 15 bytes"))
            }
            "tap" => Ok(Self::Tap {
                name: head.to_owned(),
                options: options.to_owned(),
            }),
            "af_xdp" => Ok(Self::AfXdp {
                interface: head.to_owned(),
                options: options.to_owned(),
            }),
            "memif" if head.is_empty() => Err(wrong("the path of the socket is missing")),
            "memif" if head.len() > SOCKET_PATH_MAX_BYTES => {
                Err(wrong("the path of a socket has at most 107 bytes"))
            }
            "memif" => Ok(memif(head, options)),
            "pci" if is_pci_address(head) => Ok(Self::Pci {
                devargs: full_pci(rest),
            }),
            "pci" => Err(wrong("a PCI address looks like 0000:3b:00.0 or 3b:00.0")),
            "vdev" => {
                vdev(rest).ok_or_else(|| wrong("the name of a DPDK device begins with `net_`"))
            }
            _ => Err(wrong("that kind is unknown")),
        }
    }
}

impl fmt::Display for NicSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (head, options) = match self {
            Self::Ring => return f.write_str("ring"),
            Self::Tap { name, options } => (format!("tap:{name}"), options.as_str()),
            Self::Memif {
                socket,
                server,
                options,
            } => {
                let role = if *server { ",server" } else { "" };
                (format!("memif:{socket}{role}"), options.as_str())
            }
            Self::AfXdp { interface, options } => (format!("af_xdp:{interface}"), options.as_str()),
            Self::Pci { devargs } => (format!("pci:{devargs}"), ""),
            Self::Vdev { devargs } => (devargs.clone(), ""),
        };
        f.write_str(&head)?;
        if options.is_empty() {
            Ok(())
        } else {
            write!(f, ",{options}")
        }
    }
}

impl NicSpec {
    /// Looks at this machine: whether the device can be opened, as far as that is known without opening it.
    ///
    /// # Errors
    /// One of [`Error::InterfaceExists`], [`Error::NoInterface`], [`Error::NoTun`], [`Error::DefaultRoute`],
    /// [`Error::RoutesUnreadable`],
    /// `Error::Memif…`, [`Error::Pci`], with cause and fix.
    pub fn check(&self) -> Result<(), Error> {
        preflight::check(self)
    }

    /// The device string for DPDK; `number` makes the names of virtual devices unique. `None` for the in-memory link.
    pub(crate) fn devargs(&self, number: u32) -> Option<String> {
        let (mut devargs, options) = match self {
            Self::Ring => return None,
            Self::Tap { name, options } => (format!("net_tap{number},iface={name}"), options),
            Self::Memif {
                socket,
                server,
                options,
            } => {
                let role = if *server { "server" } else { "client" };
                // The driver takes a path from the root only (memif/rte_eth_memif.c, memif_check_socket_filename).
                let absolute = std::path::absolute(socket);
                let socket =
                    absolute.map_or_else(|_| socket.clone(), |path| path.display().to_string());
                let fixed = format!("role={role},socket={socket},socket-abstract=no");
                (format!("net_memif{number},{fixed}"), options)
            }
            Self::AfXdp { interface, options } => {
                (format!("net_af_xdp{number},iface={interface}"), options)
            }
            Self::Pci { devargs } | Self::Vdev { devargs } => return Some(devargs.clone()),
        };
        if !options.is_empty() {
            devargs.push(',');
            devargs.push_str(options);
        }
        Some(devargs)
    }

    /// The device string of a PCI device, which must be known when EAL starts.
    pub(crate) fn pci_devargs(&self) -> Option<&str> {
        match self {
            Self::Pci { devargs } => Some(devargs),
            _ => None,
        }
    }
}

fn memif(socket: &str, options: &str) -> NicSpec {
    let (roles, options): (Vec<&str>, Vec<&str>) = options
        .split(',')
        .filter(|option| !option.is_empty())
        .partition(|option| matches!(*option, "server" | "role=server" | "client" | "role=client"));
    let server = roles.last().is_some_and(|role| role.ends_with("server"));
    NicSpec::Memif {
        socket: socket.to_owned(),
        server,
        options: options.join(","),
    }
}

fn vdev(devargs: &str) -> Option<NicSpec> {
    let name = devargs.split(',').next().unwrap_or_default();
    let known = name.starts_with("net_") || name.starts_with("eth_");
    known.then(|| NicSpec::Vdev {
        devargs: devargs.to_owned(),
    })
}

/// `DDDD:BB:DD.F`, the domain may be left out.
fn is_pci_address(text: &str) -> bool {
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let Some((bus, function)) = text.rsplit_once('.') else {
        return false;
    };
    let parts: Vec<&str> = bus.split(':').collect();
    let bus_is_right = match parts[..] {
        [domain, bus, device] => hex(domain, 4) && hex(bus, 2) && hex(device, 2),
        [bus, device] => hex(bus, 2) && hex(device, 2),
        _ => false,
    };
    bus_is_right && matches!(function.as_bytes(), [b'0'..=b'7'])
}

/// With the domain, as the port is named.
fn full_pci(devargs: &str) -> String {
    let address = devargs.split(',').next().unwrap_or_default();
    let domain = if address.matches(':').count() == 1 {
        "0000:"
    } else {
        ""
    };
    format!("{domain}{devargs}").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_round_trip_and_become_device_strings() {
        for (text, devargs) in [
            ("tap:dtap0", "net_tap7,iface=dtap0"),
            ("tap:dtap0,mac=fixed", "net_tap7,iface=dtap0,mac=fixed"),
            (
                "memif:/run/a.sock",
                "net_memif7,role=client,socket=/run/a.sock,socket-abstract=no",
            ),
            (
                "memif:/run/a.sock,server,rsize=9,bsize=256",
                "net_memif7,role=server,socket=/run/a.sock,socket-abstract=no,rsize=9,bsize=256",
            ),
            (
                "af_xdp:veth0,start_queue=1",
                "net_af_xdp7,iface=veth0,start_queue=1",
            ),
            ("pci:0000:3b:00.0", "0000:3b:00.0"),
            ("net_pcap0,iface=veth0", "net_pcap0,iface=veth0"),
        ] {
            let spec: NicSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), text);
            assert_eq!(spec.devargs(7).as_deref(), Some(devargs));
        }
        assert_eq!("ring".parse::<NicSpec>().unwrap().devargs(7), None);
    }

    #[test]
    fn the_driver_of_memif_gets_a_path_from_the_root() {
        let spec: NicSpec = "memif:a.sock,server".parse().unwrap();
        let here = std::env::current_dir().unwrap();
        let devargs = spec.devargs(0).unwrap();
        let path = format!("socket={}/a.sock,", here.display());
        assert!(devargs.contains(&path), "{devargs}");
    }

    #[test]
    fn other_spellings_of_the_same_thing() {
        for (text, same) in [
            ("pci:3B:00.0", "pci:0000:3b:00.0"),
            ("vdev:net_null0", "net_null0"),
            ("memif:/a,rsize=9,role=server", "memif:/a,server,rsize=9"),
            ("memif:/a,client", "memif:/a"),
        ] {
            assert_eq!(text.parse::<NicSpec>().unwrap().to_string(), same);
        }
    }

    #[test]
    fn what_is_no_spec_is_refused_with_what_is_allowed() {
        for text in [
            "",
            "eth0",
            "tap",
            "tap:",
            "tap:a/b",
            "tap:sixteen-letters-",
            "tap:a b",
            "memif:",
            "memif:,server",
            "pci:",
            "pci:3b",
            "pci:0000:3b:00.8",
            "pci:0000:3b:00.0x",
            "usb:1",
            "vdev:",
            "ring:4",
            "net",
            "tap:a\0b",
        ] {
            let error = text.parse::<NicSpec>().unwrap_err().to_string();
            assert!(error.contains("memif:SOCKET[,server]"), "{text:?}: {error}");
        }
    }
}
