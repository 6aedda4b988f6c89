//! Echo requests of every size from 60 to 9,018 bytes, over the links that the machine offers without hardware: what fits our
//! MTU returns whole, what is longer gets no answer, and neither keeps the next one from being answered.
//!
//! memif needs no root: the endpoint is this binary once more. The tap and the af_packet port (on a veth pair) need root;
//! they share an EAL, so they are one test, whose namespace belongs to its thread and ends with it.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dpdk::{DpdkNic, Eal, EalConfig, NicSpec, PoolSizes, PortConfig};
use stack::app::NoApp;
use stack::config::{ConfigSpec, Interface};
use stack::counters::Counter;
use stack::nic::{Burst, Frame, Nic, PoolClass};
use stack::sim::pair::worker_on;
use stack::wire::{IpSpec, Link, MacAddr, emit, ip_protocol};
use stack::worker::Worker;

const PATIENCE: Duration = Duration::from_secs(10);
const OURS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 2)),
];
const PEERS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1)),
];
const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x51]);
/// Link header, IP header and the eight bytes of an echo, by family.
const HEADERS: [usize; 2] = [14 + 20 + 8, 14 + 40 + 8];
/// The sizes of frames, in bytes: the least of Ethernet to that of a jumbo packet behind a VLAN tag.
const SIZES: std::ops::RangeInclusive<usize> = 60..=9_018;
/// The echo's identifier separates what is tested from the short ones between.
const TESTED: u16 = 1;
const BETWEEN: u16 = 2;
/// Set for the peer of the memif test: the socket that it connects to.
const ENDPOINT_ON: &str = "SYNCLINE_TEST_ENDPOINT_ON";

/// The other end of a link.
trait Wire {
    fn send(&mut self, frame: &[u8]);
    /// A frame that has arrived, if one has.
    fn receive(&mut self) -> Option<Vec<u8>>;
}

fn worker(nic: DpdkNic) -> Worker<DpdkNic> {
    let interface = |address, prefix_len| Interface {
        address,
        prefix_len,
    };
    let spec = ConfigSpec::new(vec![interface(OURS[0], 24), interface(OURS[1], 64)]);
    worker_on(nic, spec, NoApp)
}

/// An echo request in a frame of `size` bytes.
fn echo(family: usize, mac: MacAddr, ident: u16, seq: u16, size: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..size - HEADERS[family])
        .map(|i| (i + size) as u8)
        .collect();
    let link = Link {
        dst: mac,
        src: PEER_MAC,
        vlan: None,
    };
    let ip = IpSpec::new(PEERS[family], OURS[family]);
    let mut frame = vec![0; size];
    let len = emit::echo_request(link, &ip, ident, seq, &data, &mut frame).expect("fits");
    assert_eq!(len, size);
    frame
}

/// Identifier and sequence number of an echo reply, and the data.
fn read_reply(frame: &[u8]) -> Option<(u16, u16, Vec<u8>)> {
    let (family, protocol) = match frame.get(12..14)? {
        [8, 0] => (0, frame[23]),
        [0x86, 0xdd] => (1, frame[20]),
        _ => return None,
    };
    let (icmp, data) = frame.get(HEADERS[family] - 8..)?.split_at_checked(8)?;
    let is_reply =
        [(ip_protocol::ICMP, 0), (ip_protocol::ICMPV6, 129)][family] == (protocol, icmp[0]);
    let number = |at: usize| u16::from_be_bytes([icmp[at], icmp[at + 1]]);
    // The padding to Ethernet's minimum is no data.
    let ip_len = match family {
        0 => usize::from(u16::from_be_bytes([frame[16], frame[17]])),
        _ => 40 + usize::from(u16::from_be_bytes([frame[18], frame[19]])),
    };
    let len = (14 + ip_len).checked_sub(HEADERS[family])?;
    is_reply.then(|| (number(4), number(6), data[..len].to_vec()))
}

/// Sends a frame of every size in both families, and after what is too long a short one. `turn` lets the endpoint work.
fn every_size(wire: &mut dyn Wire, mac: MacAddr, mtu: usize, turn: &mut dyn FnMut()) {
    for family in [0, 1] {
        for size in SIZES.skip_while(|&size| size < HEADERS[family]) {
            let seq = size as u16;
            wire.send(&echo(family, mac, TESTED, seq, size));
            let fits = size - 14 <= mtu;
            let awaited = if fits { TESTED } else { BETWEEN };
            if !fits {
                wire.send(&echo(family, mac, BETWEEN, seq, HEADERS[family]));
            }
            let start = Instant::now();
            loop {
                turn();
                let Some(reply) = wire.receive().and_then(|frame| read_reply(&frame)) else {
                    assert!(
                        start.elapsed() < PATIENCE,
                        "no answer at {size} bytes, family {family}"
                    );
                    continue;
                };
                assert_eq!(
                    (reply.0, reply.1),
                    (awaited, seq),
                    "at {size} bytes, family {family}"
                );
                if fits {
                    let sent = echo(family, mac, TESTED, seq, size);
                    assert_eq!(reply.2, sent[HEADERS[family]..], "at {size} bytes");
                }
                break;
            }
        }
    }
}

/// Each frame that fitted and each short one was answered, each of the others has one name, and the NIC took all.
fn check(worker: &Worker<DpdkNic>, mtu: usize) -> BTreeMap<&'static str, u64> {
    let counters = worker.counters();
    assert_eq!(counters.unaccounted(), 0);
    let sizes: usize = HEADERS
        .iter()
        .map(|&headers| 9_018 - headers.max(60) + 1)
        .sum();
    let all: BTreeMap<_, _> = counters.non_zero().collect();
    assert_eq!(counters.get(Counter::EchoAnswered), sizes as u64, "{all:?}");
    assert_eq!(counters.get(Counter::TxFrames), sizes as u64, "{all:?}");
    assert_eq!(counters.get(Counter::TxUnsendable), 0, "{all:?}");
    assert_eq!(
        counters.get(Counter::LongerThanMtu) > 0,
        mtu < 9_004,
        "{all:?}"
    );
    all
}

fn clock() -> impl FnMut() -> stack::time::Instant {
    let start = Instant::now();
    move || stack::time::Instant::from_ns(1_000_000_000 + start.elapsed().as_nanos() as u64)
}

/// A raw socket on a kernel interface.
struct Packets(i32);

impl Packets {
    fn on(interface: &str) -> Self {
        let name = std::ffi::CString::new(interface).expect("no NUL");
        let all = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: plain system calls on a descriptor of our own; the address is fully initialised and its size is right.
        unsafe {
            let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            let socket = libc::socket(libc::AF_PACKET, kind, i32::from(all));
            assert!(socket >= 0, "{}", std::io::Error::last_os_error());
            let mut at: libc::sockaddr_ll = core::mem::zeroed();
            at.sll_family = libc::AF_PACKET as u16;
            at.sll_protocol = all;
            at.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
            let bytes = size_of::<libc::sockaddr_ll>() as u32;
            let bound = libc::bind(socket, (&raw const at).cast(), bytes);
            assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
            Self(socket)
        }
    }
}

impl Drop for Packets {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours and open.
        unsafe { libc::close(self.0) };
    }
}

impl Wire for Packets {
    fn send(&mut self, frame: &[u8]) {
        // SAFETY: the frame is readable for its length.
        let sent = unsafe { libc::send(self.0, frame.as_ptr().cast(), frame.len(), 0) };
        let error = std::io::Error::last_os_error();
        assert_eq!(sent, frame.len() as isize, "{error}");
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut frame = vec![0; 10_000];
        // SAFETY: the buffer is writable for its length.
        let len = unsafe { libc::recv(self.0, frame.as_mut_ptr().cast(), frame.len(), 0) };
        frame.truncate(usize::try_from(len).ok()?);
        Some(frame)
    }
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status();
    assert!(done.expect("ip runs").success(), "ip {arguments}");
}

fn eal() -> Eal {
    let config = EalConfig {
        memory_mb: 128,
        ..EalConfig::default()
    };
    Eal::init(&config).expect("EAL")
}

/// The endpoint on `spec`, whose other end the kernel has as `interface`.
fn over_the_kernel(eal: &Eal, spec: &str, interface: &str) {
    let opened = eal.open(&spec.parse::<NicSpec>().expect("a spec"));
    let (port, queues) = opened
        .expect("a NIC")
        .init(&PortConfig::default())
        .expect("a port");
    // As long as the kernel lets a frame in, whatever we said: the tap's other side is the kernel's to set.
    ip(&format!("link set dev {interface} mtu 9100 up"));
    port.wait_link_up(PATIENCE).expect("it was set up");
    let rx_pool = port.rx_pool().expect("a NIC that receives").clone();
    let nic = DpdkNic::new(queues.into_iter().next().expect("one queue pair"));
    let (mac, mtu) = (MacAddr(nic.mac()), usize::from(nic.caps().mtu));
    let (mut worker, mut now) = (worker(nic), clock());
    let mut wire = Packets::on(interface);
    every_size(&mut wire, mac, mtu, &mut || {
        worker.turn(now());
    });
    println!("{spec}: {:?}", check(&worker, mtu));
    drop((worker.into_nic(), port));
    assert_eq!(rx_pool.in_use(), 0);
}

#[test]
#[ignore = "needs root"]
fn root_only_every_size_over_a_tap_and_af_packet() {
    // SAFETY: changes the namespace of this thread only; no memory is involved.
    let moved = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(moved, 0, "{}", std::io::Error::last_os_error());
    let eal = eal();
    over_the_kernel(&eal, "tap:sizes0", "sizes0");
    ip("link add sizes1 type veth peer name sizes2");
    ip("link set dev sizes1 mtu 9100 up");
    over_the_kernel(&eal, "net_af_packet0,iface=sizes1", "sizes2");
}

/// A DPDK port of ours as the other end.
struct Port(DpdkNic);

/// The link's buffers take the longest frame. With frames over several of them the driver (22.11) receives more than was sent.
const BUFFERS: &str = "bsize=16384,rsize=8";

/// Bytes in one buffer of a long frame.
const PIECE: usize = 1_400;

impl Wire for Port {
    /// memif's MTU is 1,500 and so are our buffers, but a frame may lie in several.
    fn send(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(PIECE));
        let mut head = self.0.alloc_one(PoolClass::Control).expect("a buffer");
        head.grow(first.len()).expect("room").copy_from_slice(first);
        let mut pieces = Vec::new();
        for piece in rest.chunks(PIECE) {
            let mut body = self.0.alloc_one(PoolClass::Data).expect("a buffer");
            body.grow(piece.len()).expect("room").copy_from_slice(piece);
            assert!(self.0.chain(&mut head, &mut body, 0, piece.len()));
            pieces.push(body);
        }
        let mut burst = Burst::new();
        drop(burst.push(head));
        let start = Instant::now();
        while !burst.is_empty() {
            self.0.tx(&mut burst);
            assert!(start.elapsed() < PATIENCE, "memif takes nothing");
        }
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut burst = Burst::new();
        self.0.rx(&mut burst);
        assert!(burst.len() <= 1, "one answer to one frame");
        let frame = burst.pop_front()?;
        let mut bytes = vec![0; frame.total_len()];
        frame.copy_out(0, &mut bytes);
        Some(bytes)
    }
}

fn small_pools() -> PortConfig {
    PortConfig {
        pools: PoolSizes {
            rx_frames: 4095,
            control_frames: 1023,
            data_frames: 1023,
            ..PoolSizes::default()
        },
        ..PortConfig::default()
    }
}

/// The other process: an endpoint until its stdin is closed; then it says what it counted.
fn endpoint(socket: &str) {
    static STDIN_CLOSED: AtomicBool = AtomicBool::new(false);
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        STDIN_CLOSED.store(true, Ordering::Relaxed);
    });
    let eal = eal();
    let opened = eal.open(&format!("memif:{socket},{BUFFERS}").parse().expect("a spec"));
    let (_port, queues) = opened
        .expect("a client")
        .init(&small_pools())
        .expect("a port");
    let nic = DpdkNic::new(queues.into_iter().next().expect("one queue pair"));
    let (mac, mtu) = (nic.mac(), usize::from(nic.caps().mtu));
    let (mut worker, mut now) = (worker(nic), clock());
    std::fs::write(format!("{socket}.mac"), mac).expect("written");
    while !STDIN_CLOSED.load(Ordering::Relaxed) {
        if worker.turn(now()) == 0 {
            std::thread::yield_now();
        }
    }
    println!("memif: {:?}", check(&worker, mtu));
    let _ = std::io::stdout().flush();
}

#[test]
fn every_size_over_memif() {
    if let Ok(socket) = std::env::var(ENDPOINT_ON) {
        return endpoint(&socket);
    }
    let eal = eal();
    let name = format!("syncline-sizes-{}.sock", std::process::id());
    let socket = std::env::temp_dir().join(name);
    let spec = format!("memif:{},server,{BUFFERS}", socket.display());
    let opened = eal.open(&spec.parse().expect("a spec")).expect("a server");
    let (port, queues) = opened.init(&small_pools()).expect("a port");
    let mut wire = Port(DpdkNic::new(queues.into_iter().next().expect("a queue")));
    let mut peer = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "every_size_over_memif", "--nocapture"])
        .env(ENDPOINT_ON, &socket)
        .stdin(Stdio::piped())
        .spawn()
        .expect("this binary runs");
    port.wait_link_up(PATIENCE).expect("a peer");
    let path = format!("{}.mac", socket.display());
    let start = Instant::now();
    let mac = loop {
        match std::fs::read(&path).ok().map(<[u8; 6]>::try_from) {
            Some(Ok(mac)) => break MacAddr(mac),
            _ => assert!(start.elapsed() < PATIENCE, "the endpoint does not start"),
        }
    };
    let _ = std::fs::remove_file(&path);
    let mtu = usize::from(wire.0.caps().mtu);
    every_size(&mut wire, mac, mtu, &mut std::thread::yield_now);
    drop(peer.stdin.take());
    assert!(peer.wait().expect("it was ours").success());
    drop((wire, port));
}
