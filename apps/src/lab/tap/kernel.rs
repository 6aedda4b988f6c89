//! The kernel's end: its namespace, its side of the tap, and what it says about its sockets and neighbours.
//!
//! It must never touch a network namespace that this run has not made.

use std::net::{IpAddr, Ipv6Addr};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use stack::neighbor;
use stack::tcp::state::State;

use super::super::scenario::{CLIENT_PORT, End, Family, SERVER_PORT};
use crate::clock;
use crate::failure::Failure;

/// The tap, in a namespace that holds nothing else.
pub(super) const TAP: &str = "labtap0";
/// The kernel's link-local address.
const LINK_LOCAL: &str = "fe80::1";
/// How often neighbour entries are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs a command; its words on stdout.
///
/// # Errors
/// [`Failure::Run`] with the command and what it says.
fn run(command: &str) -> Result<String, Failure> {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap_or_default())
        .args(words)
        .output()
        .map_err(|error| Failure::Run(format!("`{command}` can't be run: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::Run(format!("`{command}` failed: {}", said.trim())))
}

/// Switches the kernel's side of the tap on, without what IPv6 says on its own account (duplicate detection, looking for
/// routers); and loopback, over which a kernel informs itself that a neighbour doesn't answer.
///
/// # Errors
/// [`Failure::Run`] with the command that failed.
pub(super) fn bring_up() -> Result<(), Failure> {
    run("ip link set dev lo up")?;
    sysctl(Family::V6, "conf/%/addr_gen_mode", "1")?;
    sysctl(Family::V6, "conf/%/router_solicitations", "0")?;
    run(&format!("ip link set dev {TAP} up")).map(drop)
}

/// Gives the kernel this address, and nothing from scenes before.
///
/// # Errors
/// [`Failure::Run`] with the command that failed.
pub(super) fn set_address(address: IpAddr, prefix_len: u8) -> Result<(), Failure> {
    power_off()?;
    let (family, nodad) = match address {
        IpAddr::V4(_) => (4, ""),
        // No other host is on this link, and asking takes a second.
        IpAddr::V6(_) => (6, " nodad"),
    };
    run(&format!(
        "ip addr add {address}/{prefix_len} dev {TAP}{nodad}"
    ))?;
    if address.is_ipv6() {
        // A kernel asks from here whether a neighbour still lives, and without it not at all.
        run(&format!("ip addr add {LINK_LOCAL}/64 dev {TAP}{nodad}"))?;
    }
    // Entries may outlive the address that they were for.
    run(&format!("ip -{family} neigh flush dev {TAP} nud all")).map(drop)
}

/// The kernel has no address any more: it neither answers ARP nor takes packets, as a host without power.
///
/// # Errors
/// [`Failure::Run`] with the command that failed.
pub(super) fn power_off() -> Result<(), Failure> {
    run(&format!("ip addr flush dev {TAP}")).map(drop)
}

/// Sets a sysctl below `net/ipv4/` or `net/ipv6/`, `%` standing for the tap; says the value that it had and the command.
///
/// # Errors
/// [`Failure::Run`] when there is none of that name, or it refuses the value.
pub(super) fn sysctl(family: Family, name: &str, value: &str) -> Result<(String, String), Failure> {
    let folder = match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    let name = format!("{folder}/{}", name.replace('%', TAP));
    let path = format!("/proc/sys/net/{name}");
    let failed = |error: std::io::Error| Failure::Run(format!("{path}: {error}"));
    let before = std::fs::read_to_string(&path).map_err(failed)?;
    std::fs::write(&path, value).map_err(failed)?;
    Ok((before.trim().to_owned(), format!("net/{name} = {value}")))
}

/// The states of the kernel's sockets of these connections, by /proc.
pub(super) fn states(conns: &[u16], side: End, local: IpAddr) -> Vec<(u16, State)> {
    let table = if local.is_ipv4() { "tcp" } else { "tcp6" };
    let table = format!("/proc/thread-self/net/{table}");
    let table = std::fs::read_to_string(table).unwrap_or_default();
    let rows: Vec<_> = table.lines().skip(1).filter_map(socket).collect();
    let number = |row: &Socket| match side {
        End::Client if row.remote_port == SERVER_PORT => row.local_port.checked_sub(CLIENT_PORT),
        End::Server if row.local_port == SERVER_PORT => row.remote_port.checked_sub(CLIENT_PORT),
        _ => None,
    };
    let conns = conns.iter();
    conns
        .map(|&conn| {
            let mut mine = rows
                .iter()
                .filter(|row| row.local == local && number(row) == Some(conn));
            (conn, mine.next().map_or(State::Closed, |row| row.state))
        })
        .collect()
}

/// A line of /proc/net/tcp.
struct Socket {
    local: IpAddr,
    local_port: u16,
    remote_port: u16,
    state: State,
}

/// Reads `0: 0100007F:1F90 00000000:0000 0A …`.
fn socket(line: &str) -> Option<Socket> {
    let mut words = line.split_whitespace().skip(1);
    let (local, remote, state) = (words.next()?, words.next()?, words.next()?);
    let (address, local_port) = local.split_once(':')?;
    let (_, remote_port) = remote.split_once(':')?;
    let port = |hex: &str| u16::from_str_radix(hex, 16).ok();
    Some(Socket {
        local: written_address(address)?,
        local_port: port(local_port)?,
        remote_port: port(remote_port)?,
        state: match u8::from_str_radix(state, 16).ok()? {
            1 => State::Established,
            2 => State::SynSent,
            3 | 12 => State::SynReceivedPassive,
            4 => State::FinWait1,
            5 => State::FinWait2,
            6 => State::TimeWait,
            8 => State::CloseWait,
            9 => State::LastAck,
            10 => State::Listen,
            11 => State::Closing,
            _ => State::Closed,
        },
    })
}

/// An address in words of 32 bits, whose bytes stand as they do in the kernel's memory.
fn written_address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = hex.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let mut bytes = [0; 16];
            bytes.copy_from_slice(words.as_flattened());
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// Looks at the kernel's neighbour entry until it is dropped.
pub(super) struct NeighborWatch {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// Times (CLOCK_MONOTONIC, ns) and states.
    pub(super) seen: mpsc::Receiver<(u64, Option<neighbor::NeighborState>)>,
}

impl NeighborWatch {
    /// Watches the entry for `peer`.
    pub(super) fn start(peer: IpAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let family = if peer.is_ipv4() { 4 } else { 6 };
        let (sender, seen) = mpsc::channel();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut last = None;
            while !stopped.load(Ordering::Relaxed) {
                let at_ns = super::monotonic_ns();
                // A look that fails is one look less.
                let said =
                    run(&format!("ip -{family} neigh show {peer} dev {TAP}")).unwrap_or_default();
                let state = neighbor_state(&said);
                if state != last && sender.send((at_ns, state)).is_err() {
                    return;
                }
                last = state;
                clock::sleep(LOOK_EVERY);
            }
        });
        Self {
            stop,
            thread: Some(thread),
            seen,
        }
    }
}

impl Drop for NeighborWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say but what it sent.
            let _ = thread.join();
        }
    }
}

/// The last word of `198.18.0.2 lladdr 02:00:… REACHABLE`.
fn neighbor_state(line: &str) -> Option<neighbor::NeighborState> {
    match line.split_whitespace().last()? {
        "INCOMPLETE" => Some(neighbor::NeighborState::Incomplete),
        "REACHABLE" => Some(neighbor::NeighborState::Reachable),
        "STALE" => Some(neighbor::NeighborState::Stale),
        "DELAY" => Some(neighbor::NeighborState::Delay),
        "PROBE" => Some(neighbor::NeighborState::Probe),
        "FAILED" => Some(neighbor::NeighborState::Failed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let line =
            "   1: 010012C6:9C41 020012C6:0051 02 00000001:00000000 01:00000064 00000000     0";
        let socket = socket(line).expect("a socket");
        assert_eq!(socket.local.to_string(), "198.18.0.1");
        let v6 = written_address("02000120000000000000000001000000");
        assert_eq!(
            v6.map(|address| address.to_string()).as_deref(),
            Some("2001:2::1")
        );
        assert_eq!((socket.local_port, socket.remote_port), (40_001, 81));
        assert_eq!(socket.state, State::SynSent);
        assert!(super::socket("garbage").is_none());
        let entry = "198.18.0.2 lladdr 02:00:00:00:00:02 DELAY \n";
        assert_eq!(neighbor_state(entry), Some(neighbor::NeighborState::Delay));
        assert_eq!(neighbor_state(""), None);
    }
}
