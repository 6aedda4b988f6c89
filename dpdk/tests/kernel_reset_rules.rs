//! The reset rules of RFC 9293 3.10.7.1 and 3.10.7.2 as the Linux kernel obeys them and as we do: the same raw frames go into
//! the kernel over a tap and into our worker, and the answers are compared.
//!
//! Every difference stands in [`DIFFERENCES`] with its reason, or the test fails; so does a row that no longer differs.
//! The answers of connections in every state are compared by [`states`]. `docs/reference/reset-rules.md` shows both tables to
//! readers. Needs root and /dev/net/tun. One EAL per process, so
//! this is one test; the network namespace belongs to its thread and ends with it.

// Connections in every state, TIME-WAIT and cookies.
#[path = "kernel_reset_rules/states.rs"]
mod states;
// Where they differ from the kernel's, and why.
#[path = "kernel_reset_rules/differences.rs"]
mod differences;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use dpdk::{DpdkNic, Eal, EalConfig, NicSpec, PortConfig};
use stack::app::NoApp;
use stack::config::{ConfigSpec, Interface};
use stack::local::listener::{ListenerConfig, SynPolicy};
use stack::nic::memory::MemoryNic;
use stack::nic::{Burst, Frame, Nic, PoolClass};
use stack::seq::SeqNum;
use stack::sim::pair::worker_on;
use stack::wire::tcp::Flags;
use stack::wire::{Link, MacAddr, SegmentSpec, parse};
use stack::worker::Worker;

const PATIENCE: Duration = Duration::from_secs(10);
/// The kernel's addresses, and our worker's when it gets the same frames.
const TARGETS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1)),
];
/// The peers that the test plays, one for each target.
const PEERS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 2)),
];
const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const OPEN: u16 = 80;
const CLOSED: u16 = 81;
/// The first source port of the cases; below it the ports of the sentinels, used in turn.
const FIRST_PORT: u16 = 2048;
const FIRST_SENTINEL: u16 = 1024;
const SENTINELS: u16 = FIRST_PORT - FIRST_SENTINEL;
const BATCH: usize = 32;

/// One segment to a listener or to a closed port.
#[derive(Debug, Clone, Copy)]
struct Case {
    flags: Flags,
    listener: bool,
    text_len: usize,
    seq: u32,
    ack: u32,
}

/// The answer to a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Silence,
    Segment { flags: Flags, seq: u32, ack: u32 },
}

/// A difference that we know and want.
struct Difference {
    what: &'static str,
    kernel: &'static str,
    ours: &'static str,
    reason: &'static str,
    applies: fn(&Case) -> bool,
}

const DIFFERENCES: &[Difference] = &[Difference {
    what: "SYN with ECE and CWR to a listener",
    kernel: "SYN,ACK,ECE",
    ours: "SYN,ACK",
    reason: "the kernel accepts the offer of ECN (RFC 3168 6.1.1, tcp_ecn=2); we don't speak ECN (a SHOULD: SHLD-8)",
    applies: |case| {
        let (flags, ecn) = (case.flags, Flags::ECE | Flags::CWR);
        let is_taken = flags.syn() && !flags.intersects(Flags::ACK | Flags::RST | Flags::FIN);
        case.listener && is_taken && flags.contains(ecn)
    },
}];

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for flags in 0..=u8::MAX {
        for listener in [false, true] {
            for text_len in [0, 3] {
                for seq in [1_000, u32::MAX] {
                    for ack in [0, 5_000] {
                        cases.push(Case {
                            flags: Flags(flags),
                            listener,
                            text_len,
                            seq,
                            ack,
                        });
                    }
                }
            }
        }
    }
    cases
}

fn frame(case: &Case, family: usize, peer_port: u16, target_mac: MacAddr) -> Vec<u8> {
    let link = Link {
        dst: target_mac,
        src: PEER_MAC,
        vlan: None,
    };
    let port = if case.listener { OPEN } else { CLOSED };
    let spec = SegmentSpec {
        seq: SeqNum(case.seq),
        ack: SeqNum(case.ack),
        flags: case.flags,
        payload: &b"abc"[..case.text_len],
        ..SegmentSpec::new(
            link,
            (PEERS[family], peer_port).into(),
            (TARGETS[family], port).into(),
        )
    };
    let mut bytes = vec![0; 128];
    let len = spec.emit(&mut bytes).expect("fits");
    bytes.truncate(len);
    bytes
}

/// The answer in a frame, and to which port of the peer it goes. A SYN,ACK's own number is its sender's choice.
fn read_answer(frame: &[u8]) -> Option<(u16, Answer)> {
    let parsed = parse(frame).ok()?;
    let segment = parsed.tcp()?;
    parsed
        .verify_checksums(true, false)
        .expect("a right IP header checksum");
    assert!(segment.payload.is_empty(), "text in an answer");
    let header = segment.header;
    let seq = if header.flags.syn() {
        0
    } else {
        header.seq.get()
    };
    let answer = Answer::Segment {
        flags: header.flags,
        seq,
        ack: header.ack.get(),
    };
    Some((header.dst_port.get(), answer))
}

/// Moves this thread (and what it starts) into a new network namespace.
fn new_network_namespace() {
    // SAFETY: changes the namespace of this thread only; no memory is involved.
    let status = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(status, 0, "{}", std::io::Error::last_os_error());
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status();
    assert!(done.expect("ip runs").success(), "ip {arguments}");
}

/// Sets what the kernel keeps under `net.ipv4` in this namespace.
fn ip_setting(setting: &str, value: &str) {
    let path = format!("/proc/sys/net/ipv4/{setting}");
    std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// Addresses on the tap, the peer's MAC address known for good, and the settings that the table depends on.
fn bring_up_the_kernels_side() {
    for (setting, value) in [
        ("tcp_ecn", "2"),
        ("tcp_syncookies", "1"),
        ("tcp_timestamps", "1"),
        // Each case is answered for itself.
        ("tcp_invalid_ratelimit", "0"),
        ("tcp_max_syn_backlog", "4096"),
    ] {
        ip_setting(setting, value);
    }
    ip("addr add 198.18.0.1/24 dev dtap0");
    ip("addr add 2001:2::1/64 dev dtap0 nodad");
    ip("link set dev dtap0 up");
    // ACKs at once: those that wait for company would come among the next answers.
    ip("route replace 198.18.0.0/24 dev dtap0 src 198.18.0.1 quickack 1");
    ip("-6 route del 2001:2::/64 dev dtap0");
    ip("-6 route add 2001:2::/64 dev dtap0 quickack 1");
    for peer in PEERS {
        ip(&format!(
            "neigh replace {peer} lladdr {PEER_MAC} dev dtap0 nud permanent"
        ));
    }
}

/// The kernel behind the tap.
struct Kernel {
    nic: DpdkNic,
    next_sentinel: u16,
}

impl Kernel {
    fn send(&mut self, frame: &[u8]) {
        let mut burst = Burst::new();
        assert_eq!(self.nic.alloc(PoolClass::Control, &mut burst, 1), 1);
        let mbuf = &mut burst.as_mut_slice()[0];
        mbuf.set_len(frame.len()).expect("fits");
        mbuf.bytes_mut().expect("exclusive").copy_from_slice(frame);
        assert_eq!(self.nic.tx(&mut burst), 1);
    }

    fn mac(&self) -> [u8; 6] {
        self.nic.mac()
    }

    /// Sends frames and collects the answers by the peer's port.
    fn answers(&mut self, family: usize, frames: &[Vec<u8>]) -> BTreeMap<u16, Answer> {
        let mut answers = BTreeMap::new();
        self.exchange(family, frames, |frame| {
            if let Some((port, answer)) = read_answer(frame) {
                // The first one counts: SYN,ACKs are retransmitted.
                answers.entry(port).or_insert(answer);
            }
        });
        answers
    }

    /// Sends frames and lets `heard` see what comes. The kernel answers in order, so when the sentinel behind the frames is
    /// answered, whatever hasn't been answered by then is silence.
    fn exchange(&mut self, family: usize, frames: &[Vec<u8>], mut heard: impl FnMut(&[u8])) {
        for frame in frames {
            self.send(frame);
        }
        let sentinel = self.next_sentinel;
        self.next_sentinel = FIRST_SENTINEL + (sentinel + 1 - FIRST_SENTINEL) % SENTINELS;
        let case = Case {
            flags: Flags::ACK,
            listener: false,
            text_len: 0,
            seq: 0,
            ack: u32::from(sentinel),
        };
        self.send(&frame(&case, family, sentinel, MacAddr(self.nic.mac())));
        let (mut burst, start, mut is_over) = (Burst::new(), Instant::now(), false);
        while !is_over {
            assert!(start.elapsed() < PATIENCE, "the kernel answers no more");
            self.nic.rx(&mut burst);
            while let Some(frame) = burst.take_front(1).next() {
                heard(frame.bytes());
                is_over |= read_answer(frame.bytes()).is_some_and(|(port, _)| port == sentinel);
            }
        }
    }
}

/// The kernel's addresses.
fn our_config() -> ConfigSpec {
    let interface = |(address, prefix_len)| Interface {
        address,
        prefix_len,
    };
    ConfigSpec::new(TARGETS.into_iter().zip([24, 64]).map(interface).collect())
}

/// Our worker at the kernel's addresses.
fn our_worker(mac: [u8; 6]) -> Worker<MemoryNic> {
    let mut spec = our_config();
    spec.listeners = vec![ListenerConfig::new(OPEN, SynPolicy::CookieWhenFull)];
    worker_on(MemoryNic::new(mac), spec, NoApp)
}

fn our_answers(worker: &mut Worker<MemoryNic>, frames: &[Vec<u8>]) -> BTreeMap<u16, Answer> {
    for frame in frames {
        worker.nic_mut().inject_bytes(frame);
    }
    worker.turn(stack::time::Instant::from_ms(1_000));
    let sent = worker.nic_mut().take_sent();
    sent.iter()
        .filter_map(|frame| read_answer(frame.bytes()))
        .collect()
}

/// Gives every case to both, over IPv4 (0) or IPv6 (1), each from a port of its own.
fn play(
    family: usize,
    kernel: &mut Kernel,
    ours: &mut Worker<MemoryNic>,
    results: &mut Vec<(Case, Answer, Answer)>,
) {
    let mac = MacAddr(kernel.nic.mac());
    let mut first_port = FIRST_PORT;
    for batch in cases().chunks(BATCH) {
        let ports = first_port..first_port + batch.len() as u16;
        first_port = ports.end;
        let numbered = batch.iter().zip(ports.clone());
        let frames: Vec<Vec<u8>> = numbered
            .map(|(case, port)| frame(case, family, port, mac))
            .collect();
        let kernels = kernel.answers(family, &frames);
        let ours = our_answers(ours, &frames);
        let of =
            |answers: &BTreeMap<u16, Answer>, port| *answers.get(&port).unwrap_or(&Answer::Silence);
        for (case, port) in batch.iter().zip(ports) {
            results.push((*case, of(&kernels, port), of(&ours, port)));
        }
    }
}

/// Fails on a difference without a row, on one with two, and on a row that isn't one.
fn compare(results: &[(Case, Answer, Answer)]) {
    let mut unexplained = Vec::new();
    for (case, kernel, ours) in results {
        let rows: Vec<&Difference> = DIFFERENCES
            .iter()
            .filter(|row| (row.applies)(case))
            .collect();
        match (kernel == ours, rows.len()) {
            (true, 0) | (false, 1) => {}
            (true, _) => unexplained.push(format!(
                "no difference any more ({}): {case:?}",
                rows[0].what
            )),
            (false, rows) => unexplained.push(format!(
                "{case:?}: kernel {kernel:?}, we {ours:?}, explained by {rows} rows"
            )),
        }
    }
    println!("{} segments compared", results.len());
    for row in DIFFERENCES {
        let cases = results
            .iter()
            .filter(|(case, ..)| (row.applies)(case))
            .count();
        println!(
            "| {} | {} | {} | {} | {cases} |",
            row.what, row.kernel, row.ours, row.reason
        );
        assert!(cases > 0, "{}: applies to nothing", row.what);
    }
    let shown: Vec<&String> = unexplained.iter().take(40).collect();
    assert!(
        unexplained.is_empty(),
        "{} of {}: {shown:#?}",
        unexplained.len(),
        results.len()
    );
}

#[test]
#[ignore = "needs root"]
fn root_only_every_segment_gets_from_us_what_the_kernel_gives_it() {
    new_network_namespace();
    let config = EalConfig {
        memory_mb: 128,
        ..EalConfig::default()
    };
    let eal = Eal::init(&config).expect("EAL");
    let spec: NicSpec = "tap:dtap0".parse().expect("a spec");
    let opened = eal.open(&spec).expect("a tap");
    let (port, queues) = opened.init(&PortConfig::default()).expect("a started port");
    bring_up_the_kernels_side();
    port.wait_link_up(PATIENCE).expect("it was set up");
    let listen = |port| {
        TARGETS
            .map(|target| TcpListener::bind(SocketAddr::from((target, port))).expect("a listener"))
    };
    let (listeners, of_states) = (listen(OPEN), listen(states::PORT));
    let nic = DpdkNic::new(queues.into_iter().next().expect("a queue"));
    let mac = nic.mac();
    let mut kernel = Kernel {
        nic,
        next_sentinel: FIRST_SENTINEL,
    };
    let mut ours = our_worker(mac);

    let mut results = Vec::new();
    for family in [0, 1] {
        play(family, &mut kernel, &mut ours, &mut results);
    }
    compare(&results);
    let mut results = Vec::new();
    for (family, listener) in of_states.iter().enumerate() {
        results.extend(states::play_all(family, &mut kernel, listener));
    }
    differences::check(&results);
    assert_eq!(ours.counters().unaccounted(), 0);
    drop((listeners, of_states, kernel, port));
}
