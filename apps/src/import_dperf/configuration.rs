//! [`Configuration`]: a dperf file, read as dperf reads it: a keyword and its arguments in each line, `#` in front of a comment line.
//!
//! It must never accept a line that dperf refuses.

use std::net::IpAddr;

use diagnose::counted;

use super::NotDperf;
use super::ranges::AddressRange;

/// One port with its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    /// Where it stands.
    pub(super) line: usize,
    /// The PCI address, or the bond as it is written.
    pub(super) device: String,
    /// Its own address.
    pub(super) ip: IpAddr,
    /// Where it sends everything.
    pub(super) gateway: IpAddr,
    /// The gateway's MAC address, if given.
    pub(super) gateway_mac: Option<String>,
}

/// Keepalive: requests over connections that stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keepalive {
    /// Between two requests of a connection, in µs; on a server how long a connection may be idle.
    pub(super) interval_us: u64,
    /// Requests of a connection; 0 for no end.
    pub(super) requests: u64,
}

/// Something that a keyword sets, with its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Set<T> {
    /// Where it stands.
    pub(super) line: usize,
    /// The kind.
    pub(super) value: T,
}

/// A statement that is kept as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// Where it stands.
    pub(super) line: usize,
    /// The keyword and its arguments.
    pub(super) words: Vec<String>,
}

/// All of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Configuration {
    /// Whether it is a server's.
    pub(super) is_server: bool,
    pub(super) cpus: Vec<usize>,
    pub(super) ports: Vec<Port>,
    pub(super) clients: Vec<Set<AddressRange>>,
    pub(super) servers: Vec<Set<AddressRange>>,
    /// The first port that is listened on, and how many follow it, itself included.
    pub(super) listen: Option<(u16, u16)>,
    pub(super) duration_s: Option<u64>,
    pub(super) cps: Option<Set<u64>>,
    pub(super) cc: Option<Set<u64>>,
    pub(super) keepalive: Option<Set<Keepalive>>,
    pub(super) flood: Option<usize>,
    pub(super) is_udp: Option<usize>,
    pub(super) payload_size: Option<Set<u64>>,
    pub(super) packet_size: Option<Set<u64>>,
    pub(super) mss: Option<Set<u64>>,
    pub(super) jumbo: Option<Set<u64>>,
    pub(super) vlan: Option<u64>,
    pub(super) launch_num: Option<Set<u64>>,
    pub(super) slow_start_s: Option<Set<u64>>,
    pub(super) client_ports: Option<Set<(u16, u16)>>,
    pub(super) change_dip: Vec<Statement>,
    pub(super) tcp_rst: Option<Set<bool>>,
    /// `http_host`, `http_path`, `http_method`.
    pub(super) http: Vec<Statement>,
    /// Keywords whose words are all that we need.
    pub(super) others: Vec<Statement>,
}

impl Configuration {
    /// Whether what every configuration has is there; `mode` has no value that says it.
    ///
    /// # Errors
    /// [`NotDperf`]: the first thing that is missing.
    pub(super) fn check(&self, has_mode: bool) -> Result<(), NotDperf> {
        let missing = [
            ("mode", !has_mode),
            ("cpu", self.cpus.is_empty()),
            ("port", self.ports.is_empty()),
            ("client", self.clients.is_empty()),
            ("server", self.servers.is_empty()),
        ];
        let why = if let Some((keyword, _)) = missing.iter().find(|(_, is_missing)| *is_missing) {
            format!("`{keyword}` is missing")
        } else if !self.cpus.len().is_multiple_of(self.ports.len()) {
            format!(
                "{} can't be shared out among {}: name as many CPUs for each port",
                counted(self.cpus.len(), "CPU"),
                counted(self.ports.len(), "port")
            )
        } else if self.servers.len() != self.ports.len() {
            format!(
                "{} `server` for {} `port`",
                self.servers.len(),
                self.ports.len()
            )
        } else if !self.is_server && self.clients.len() != self.ports.len() {
            format!(
                "{} `client` for {} `port`",
                self.clients.len(),
                self.ports.len()
            )
        } else if !self.is_server && self.cps.is_none() && self.cc.is_none() {
            "`cps` or `cc` is missing".into()
        } else if !self.is_server && self.cc.is_some() && self.keepalive.is_none() {
            "`cc` needs `keepalive`".into()
        } else {
            return Ok(());
        };
        Err(NotDperf { line: None, why })
    }
}
