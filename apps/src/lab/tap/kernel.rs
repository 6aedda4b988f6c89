//! [`KernelHost`]: a kernel's TCP as one end: a network namespace of its own, its tap, and the sockets program in it.
//!
//! It must never touch a network namespace that this run has not made.

use std::fs::File;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsFd as _;

use nix::poll::{PollFd, PollFlags};
use nix::sched::{CloneFlags, setns, unshare};
use stack::config::ClosedPolicy;
use stack::local::listener::SynPolicy;
use stack::neighbor::NeighborState;
use stack::sim::inspect::Tcp;
use stack::tcp::state::State;
use stack::wire::tcp::Flags;
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::netlink::{NeighborMonitor, Route};
use super::peer::Peer;
use super::program::CONGESTION;
use super::stamps::Stamps;
use super::witness::{self, Counters};
use super::{FLOOD_HOST, HOSTS, Setting, number};
use crate::failure::Failure;
use crate::lab::forge;
use crate::lab::network::{IcmpCode, NetworkAct};
use crate::lab::recording::RecordedEvent;
use crate::lab::scenario::{
    CLIENT_PORT, Client, End, Family, SERVER_PORT, Scene, SceneAction, Server,
};
use crate::sock_diag::{KernelSocket, SockDiag};

/// The tap, in a namespace that holds nothing else.
const TAP: &str = "lab0";
/// Index of the loopback interface in every namespace.
const LOOPBACK: u32 = 1;
/// The longest frame: an MTU of 1500, and room.
const FRAME_LEN: usize = 2048;
/// Sockets in a namespace's own table: a look walks all of it.
const TABLE_LEN: &str = "256";

/// As many as fit into a line of a ladder.
const SYSCTLS_IN_A_LINE: usize = 3;

/// Settings that decide timing, pinned to the defaults of Linux: another value of this machine would change the ladders.
const PINNED: [(&str, &str); 5] = [
    ("tcp_syn_retries", "6"),
    ("tcp_syn_linear_timeouts", "4"),
    ("tcp_synack_retries", "5"),
    ("tcp_retries2", "15"),
    ("tcp_rfc1337", "0"),
];

/// A kernel with a sockets program.
pub(super) struct KernelHost {
    side: End,
    tap: SyncDevice,
    stamps: Stamps,
    route: Route,
    monitor: NeighborMonitor,
    sockets: SockDiag,
    counters: Counters,
    /// The behaviour that a scene wants beyond a plain kernel's: a firewall on this host.
    firewall: Firewall,
    peer: Peer,
    namespace: File,
    mac: [u8; 6],
    /// Sysctls that were set.
    pub(super) pinned: Vec<String>,
}

impl KernelHost {
    /// Boots it, in a namespace of its own; its program does what is written for it behind `since_ms`.
    ///
    /// # Errors
    /// [`Failure::Run`] with what the system refused.
    pub(super) fn boot(
        scene: &Scene,
        setting: &Setting,
        side: End,
        mac: [u8; 6],
        since_ms: u64,
    ) -> Result<Self, Failure> {
        unshare(CloneFlags::CLONE_NEWNET)
            .map_err(|error| Failure::Run(format!("no network namespace for an end: {error}")))?;
        let refused = |what: &'static str| {
            move |error: std::io::Error| {
                Failure::Run(format!("{what} in a namespace of the lab: {error}"))
            }
        };
        let tap = DeviceBuilder::new()
            .name(TAP)
            .layer(Layer::L2)
            .mac_addr(mac)
            .enable(false)
            .build_sync()
            .map_err(refused("no tap"))?;
        tap.set_nonblocking(true).map_err(refused("no tap"))?;
        let index = tap.if_index().map_err(refused("no tap"))?;
        let pinned = pin(scene, setting, side)?;
        let route = Route::open(index).map_err(refused("no rtnetlink"))?;
        let stamps = Stamps::open(index, FRAME_LEN).map_err(refused("no packet socket"))?;
        let monitor = NeighborMonitor::open().map_err(refused("no rtnetlink"))?;
        // Over loopback a kernel informs itself that a neighbour doesn't answer.
        for index in [LOOPBACK, index] {
            route
                .switch_on(index)
                .map_err(refused("an interface stays down"))?;
        }
        for (address, prefix_len) in addresses(setting, side) {
            route
                .add_address(address, prefix_len)
                .map_err(refused("no address"))?;
        }
        if has_flood(scene) {
            // No host answers for the third one, and a server that waits for its address sends no SYN-ACK.
            route
                .set_neighbor(setting.flooder(), super::mac(FLOOD_HOST), true)
                .map_err(refused("no neighbour entry"))?;
        }
        Ok(Self {
            side,
            tap,
            stamps,
            route,
            monitor,
            sockets: SockDiag::open().map_err(refused("no sock_diag"))?,
            counters: Counters::read(),
            firewall: Firewall::of(scene, side),
            peer: Peer::start(scene, setting, side, since_ms, true)?,
            namespace: File::open("/proc/thread-self/ns/net").map_err(refused("no namespace"))?,
            mac,
            pinned,
        })
    }

    /// The scene begins then (CLOCK_MONOTONIC).
    ///
    /// # Errors
    /// [`Failure::Run`] when its program is gone.
    pub(super) fn begin(&mut self, start_ns: u64) -> Result<(), Failure> {
        self.peer.begin(start_ns)
    }

    /// Knows the other's link address from before.
    ///
    /// # Errors
    /// [`Failure::Run`] when the kernel takes no neighbour entry.
    pub(super) fn know(&self, address: IpAddr, mac: [u8; 6]) -> Result<(), Failure> {
        self.route
            .set_neighbor(address, mac, false)
            .map_err(|error| Failure::Run(format!("no neighbour entry for {address}: {error}")))
    }

    /// Its tap, for poll(2).
    pub(super) fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(self.tap.as_fd(), PollFlags::POLLIN)
    }

    /// A frame arrives.
    pub(super) fn receive(&mut self, frame: &[u8]) {
        if self.firewall.drops(frame) {
            return;
        }
        self.firewall.note(frame);
        // A full queue loses it, as any host's would.
        let _ = self.tap.send(frame);
        // The capture has this frame, too, and room for so many.
        self.stamps.take();
    }

    /// The frames that it sends by now, with their times (CLOCK_MONOTONIC, ns).
    pub(super) fn sent(&mut self, setting: &Setting) -> Vec<(u64, Vec<u8>)> {
        let mut frames = Vec::new();
        let mut buffer = vec![0; FRAME_LEN];
        while let Ok(len) = self.tap.recv(&mut buffer) {
            let frame = buffer[..len].to_vec();
            let sent_ns = self.stamps.sent_ns(&frame);
            let replaced = self.firewall.replaced(frame, self.mac, setting);
            frames.extend(replaced.map(|frame| (sent_ns, frame)));
        }
        frames
    }

    /// Kills its program; another one does what is written for later.
    ///
    /// # Errors
    /// [`Failure::Run`] when that can't be started.
    pub(super) fn crash(
        &mut self,
        scene: &Scene,
        setting: &Setting,
        at_ms: u64,
        start_ns: u64,
    ) -> Result<(), Failure> {
        self.peer.crash();
        let is_later = |act: &crate::lab::scenario::Act| {
            act.who == self.side && act.at_ms > at_ms && act.what.is_of_application()
        };
        if scene.acts.iter().any(is_later) {
            // This thread has made another namespace since, for the other end.
            setns(&self.namespace, CloneFlags::CLONE_NEWNET).map_err(|error| {
                Failure::Run(format!("no way back into the namespace of an end: {error}"))
            })?;
            self.peer = Peer::start(scene, setting, self.side, at_ms + 1, false)?;
            self.peer.begin(start_ns)?;
        }
        Ok(())
    }

    /// Fails when its program has ended by itself.
    ///
    /// # Errors
    /// [`Failure::Run`] with its status.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        self.peer.check()
    }

    /// Stops its program, or lets it go on. The kernel's own timers run on.
    pub(super) fn set_stopped(&self, stopped: bool) {
        self.peer.set_stopped(stopped);
    }

    /// How late its program was at most.
    pub(super) fn late_ns(&self) -> u64 {
        self.peer.late_ns()
    }

    /// The calls of its program and their results, with CLOCK_MONOTONIC in ns.
    pub(super) fn notes(&mut self) -> Vec<(u64, RecordedEvent)> {
        self.peer.take_notes()
    }

    /// The states of its sockets.
    pub(super) fn states(&self, setting: &Setting) -> Vec<(u16, State)> {
        let all = self.sockets_of(setting);
        let state = |conn: &u16| {
            let its = all
                .iter()
                .find(|socket| number(self.side, socket) == Some(*conn));
            (*conn, its.map_or(State::Closed, |socket| socket.state))
        };
        setting.conns.iter().map(state).collect()
    }

    /// The states of its neighbour entry for the other end since the last call; the last one is the present one.
    pub(super) fn neighbor(&self, setting: &Setting) -> Vec<Option<NeighborState>> {
        let far = setting.address(self.side.other());
        let mut states = self.monitor.changes(far);
        states.push(self.route.neighbor(far));
        states
    }

    /// Its counters and sockets.
    pub(super) fn says(&mut self, setting: &Setting) -> Vec<String> {
        let mut said = witness::sockets(&setting.conns, self.side, &self.sockets_of(setting));
        said.extend(self.counters.since());
        said
    }

    /// The sockets of its connections. A look that fails is one look less.
    fn sockets_of(&self, setting: &Setting) -> Vec<KernelSocket> {
        let (local_port, remote_port) = match self.side {
            Client => (0, SERVER_PORT),
            Server => (SERVER_PORT, 0),
        };
        let is_v4 = setting.family == Family::V4;
        let all = self.sockets.sockets(is_v4, local_port, remote_port);
        let mut all = all.unwrap_or_default();
        all.retain(|socket| socket.state != State::Listen);
        all
    }
}

/// A kernel asks from its link-local address whether a neighbour still lives, and without it not at all.
fn addresses(setting: &Setting, side: End) -> Vec<(IpAddr, u8)> {
    let address = setting.address(side);
    match setting.family {
        Family::V4 => vec![(address, 24)],
        Family::V6 => {
            let number = HOSTS[side as usize].into();
            let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number);
            vec![(address, 64), (link_local.into(), 64)]
        }
    }
}

fn has_flood(scene: &Scene) -> bool {
    let is_flood = |what| matches!(what, SceneAction::Network(NetworkAct::Floods(_)));
    scene.acts.iter().any(|act| is_flood(act.what))
}

/// Sets sysctls; says those that a reader may want to know.
fn pin(scene: &Scene, setting: &Setting, side: End) -> Result<Vec<String>, Failure> {
    // The next namespace made by this thread gets a small table of sockets from this one.
    sysctl("ipv4/tcp_child_ehash_entries", TABLE_LEN)?;
    // IPv6 says nothing on its own account: no routers are asked for, no address is made.
    sysctl(&format!("ipv6/conf/{TAP}/addr_gen_mode"), "1")?;
    sysctl(&format!("ipv6/conf/{TAP}/router_solicitations"), "0")?;
    let mut said = Vec::new();
    for (name, value) in PINNED {
        // One that may not be set here is at its default.
        if sysctl(&format!("ipv4/{name}"), value).is_ok() {
            said.push(format!("{name}={value}"));
        }
    }
    let cookies = match scene.syn_policy {
        SynPolicy::CookieAlways => "2",
        SynPolicy::CookieWhenFull => "1",
        _ => "0",
    };
    let mut own = vec![("tcp_syncookies".to_owned(), cookies.to_owned())];
    if scene.aborts_on_overflow {
        own.push(("tcp_abort_on_overflow".into(), "1".into()));
    }
    if let (Client, Some(ports)) = (side, scene.local_ports) {
        let range = format!("{} {}", CLIENT_PORT + 1, CLIENT_PORT + ports.max(1));
        own.push(("ip_local_port_range".into(), range));
    }
    for (name, value) in own {
        sysctl(&format!("ipv4/{name}"), &value)?;
        said.push(format!("{name}={value}"));
    }
    said.push(format!("TCP_CONGESTION={}", CONGESTION.join(" or ")));
    let mut lines: Vec<String> = said
        .chunks(SYSCTLS_IN_A_LINE)
        .map(|some| format!("net/ipv4: {}", some.join(", ")))
        .collect();
    let folder = match setting.family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    for (name, value) in &scene.sysctls {
        // TCP's own stand below ipv4 for both families.
        let folder = if name.starts_with("tcp_") {
            "ipv4"
        } else {
            folder
        };
        let name = format!("{folder}/{}", name.replace('%', TAP));
        let path = format!("/proc/sys/net/{name}");
        if !std::fs::exists(&path).unwrap_or(true) {
            // Of a newer kernel: an older one acts without it.
            lines.push(format!("net/{name}: this kernel has no such sysctl"));
            continue;
        }
        sysctl(&name, value)?;
        lines.push(format!("net/{name} = {value}"));
    }
    Ok(lines)
}

/// Sets a sysctl below `net/` in the namespace of this thread.
fn sysctl(name: &str, value: &str) -> Result<(), Failure> {
    let path = format!("/proc/sys/net/{name}");
    std::fs::write(&path, value).map_err(|error| Failure::Run(format!("{path}: {error}")))
}

/// The behaviour that a scene asks of a server's host beyond a plain kernel's, as a firewall on that host would add it.
struct Firewall {
    syns: SynPolicy,
    closed: ClosedPolicy,
    /// The last segment to a closed port, for the error about it.
    last: Vec<u8>,
}

impl Firewall {
    fn of(scene: &Scene, side: End) -> Self {
        let is_server = side == Server;
        Self {
            syns: if is_server {
                scene.syn_policy
            } else {
                SynPolicy::Embryo
            },
            closed: if is_server {
                scene.closed
            } else {
                ClosedPolicy::Rst
            },
            last: Vec::new(),
        }
    }

    /// Whether it drops what comes in.
    fn drops(&self, frame: &[u8]) -> bool {
        let is_syn = |tcp: Tcp<'_>| {
            let flags = Flags(tcp.flags());
            flags.syn() && !flags.ack()
        };
        self.syns == SynPolicy::Drop && Tcp::of(frame).is_some_and(is_syn)
    }

    fn note(&mut self, frame: &[u8]) {
        if self.closed == ClosedPolicy::Icmp && Tcp::of(frame).is_some() {
            frame.clone_into(&mut self.last);
        }
    }

    /// The frame that leaves in place of another.
    fn replaced(&self, frame: Vec<u8>, mac: [u8; 6], setting: &Setting) -> Option<Vec<u8>> {
        let is_reset = Tcp::of(&frame).is_some_and(|tcp| Flags(tcp.flags()).rst());
        match self.closed {
            ClosedPolicy::Drop if is_reset => None,
            ClosedPolicy::Icmp if is_reset => {
                let is_v4 = setting.family == Family::V4;
                forge::icmp_error(&self.last, mac, is_v4, IcmpCode::Port).ok()
            }
            _ => Some(frame),
        }
    }
}
