//! The kernel's end: its namespace, its side of the tap, and what it says about its sockets and neighbours.
//!
//! It must never touch a network namespace that this run has not made.

use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use stack::neighbor;
use stack::tcp::state::State;

use super::super::scenario::{CLIENT_PORT, End, Family, SERVER_PORT};
use crate::clock;
use crate::failure::Failure;
use crate::sock_diag::{self, KernelSocket};

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

/// The states of the kernel's sockets of these connections, by sock_diag.
pub(super) fn states(conns: &[u16], side: End, local: IpAddr) -> Vec<(u16, State)> {
    // A look that fails is one look less.
    let all = sockets_of(side, local).unwrap_or_default();
    conns
        .iter()
        .map(|&conn| {
            let is_it = |socket: &&KernelSocket| number(side, socket) == Some(conn);
            (
                conn,
                all.iter()
                    .find(is_it)
                    .map_or(State::Closed, |socket| socket.state),
            )
        })
        .collect()
}

/// The sockets of connections at the kernel's end.
pub(super) fn sockets_of(side: End, local: IpAddr) -> std::io::Result<Vec<KernelSocket>> {
    let (local_port, remote_port) = match side {
        End::Client => (0, SERVER_PORT),
        End::Server => (SERVER_PORT, 0),
    };
    let mut all = sock_diag::sockets(local.is_ipv4(), local_port, remote_port)?;
    all.retain(|socket| socket.local.0 == local && socket.state != State::Listen);
    Ok(all)
}

/// The number of the connection that a socket is of.
pub(super) fn number(side: End, socket: &KernelSocket) -> Option<u16> {
    match side {
        End::Client => socket.local.1.checked_sub(CLIENT_PORT),
        End::Server => socket.remote.1.checked_sub(CLIENT_PORT),
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
        let entry = "198.18.0.2 lladdr 02:00:00:00:00:02 DELAY \n";
        assert_eq!(neighbor_state(entry), Some(neighbor::NeighborState::Delay));
        assert_eq!(neighbor_state(""), None);
    }
}
