//! A memif link between two processes: round trip, and a peer that vanishes while we poll.
//!
//! Needs no root and no hugepages. One EAL per process, so this is one test; the peer is this binary once more.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dpdk::{DpdkNic, Eal, EalConfig, Error, Mbuf, Mempool, PoolSizes, Port, PortConfig};
use stack::nic::{Burst, Frame, Nic, PoolClass};

/// Times that the peer is killed in the middle of traffic. Without the gate of `memif.rs` this process dies of SIGSEGV within
/// the first few (tried: 2 of 2 runs).
const KILLS: u32 = 20;
/// Set for the peer: the socket that it connects to.
const PEER_OF: &str = "SYNCLINE_TEST_PEER_OF";
const PATIENCE: Duration = Duration::from_secs(20);

/// Kills its process, the one that this test started.
struct Peer(Child);

impl Peer {
    fn start(socket: &Path) -> Self {
        let child = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "a_memif_link_between_two_processes"])
            .env(PEER_OF, socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("this binary runs");
        Self(child)
    }

    fn kill(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it was ours");
    }

    fn ask_to_end(&mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().expect("it was ours").success());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The other process: sends every frame back until its stdin is closed.
fn echo(socket: &str) {
    static STDIN_CLOSED: AtomicBool = AtomicBool::new(false);
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        STDIN_CLOSED.store(true, Ordering::Relaxed);
    });
    let eal = eal();
    let opened = eal
        .open(&format!("memif:{socket}").parse().expect("a spec"))
        .expect("a client");
    let (_port, queues) = opened.init(&port_config()).expect("a started port");
    let mut nic = DpdkNic::new(queues.into_iter().next().expect("one queue pair"));
    let mut burst = Burst::new();
    while !STDIN_CLOSED.load(Ordering::Relaxed) {
        if nic.rx(&mut burst) == 0 && burst.is_empty() {
            std::thread::yield_now();
        }
        nic.tx(&mut burst);
    }
}

fn eal() -> Eal {
    let config = EalConfig {
        memory_mb: 64,
        ..EalConfig::default()
    };
    Eal::init(&config).expect("EAL without root")
}

fn port_config() -> PortConfig {
    PortConfig {
        pools: PoolSizes {
            control_frames: 1023,
            data_frames: 1023,
            ..PoolSizes::default()
        },
        ..PortConfig::default()
    }
}

fn socket() -> PathBuf {
    std::env::temp_dir().join(format!("syncline-memif-test-{}.sock", std::process::id()))
}

/// Sends bursts of numbered frames and receives until `frames` came back, each with its bytes.
fn ping_pong(nic: &mut DpdkNic, frames: u64) {
    let (mut out, mut back, mut received, mut number) = (Burst::new(), Burst::new(), 0, 0_u64);
    let start = Instant::now();
    while received < frames {
        assert!(
            start.elapsed() < PATIENCE,
            "{received} of {frames} frames came back"
        );
        if out.is_empty() {
            nic.alloc(PoolClass::Control, &mut out, 32);
            for frame in out.as_mut_slice() {
                frame.set_len(60).expect("room");
                frame.bytes_mut().expect("exclusive")[..8].copy_from_slice(&number.to_be_bytes());
                number += 1;
            }
        }
        nic.tx(&mut out);
        received += nic.rx(&mut back) as u64;
        for frame in back.as_slice() {
            assert_eq!(frame.bytes().len(), 60);
            assert_eq!(frame.bytes()[8..], [0; 52]);
        }
        nic.free(&mut back);
    }
}

/// A header with two parts of one kept frame behind it goes out and comes back in one piece.
fn a_chained_frame_comes_back_whole(nic: &mut DpdkNic, data: &Mempool) {
    let (mut burst, mut back) = (Burst::new(), Burst::new());
    assert_eq!(nic.alloc(PoolClass::Data, &mut burst, 1), 1);
    let mut body = burst.take_front(1).next().expect("one frame");
    let payload: Vec<u8> = (0..1400_u32).map(|i| i as u8).collect();
    body.grow(1400).expect("room").copy_from_slice(&payload);
    assert_eq!(nic.alloc(PoolClass::Control, &mut burst, 1), 1);
    let head = &mut burst.as_mut_slice()[0];
    head.grow(60).expect("room").fill(7);
    assert!(nic.chain(head, &mut body, 0, 701) && nic.chain(head, &mut body, 701, 699));
    assert_eq!((head.total_len(), body.refcount()), (1460, 3));
    let start = Instant::now();
    let is_ours = |frame: &Mbuf| frame.total_len() == 1460;
    // Short frames from before are still on their way.
    while !back.as_slice().iter().any(is_ours) {
        assert!(start.elapsed() < PATIENCE, "nothing came back");
        nic.free(&mut back);
        nic.tx(&mut burst);
        nic.rx(&mut back);
    }
    let received = back.as_slice().iter().find(|&frame| is_ours(frame));
    let received = received.expect("just seen");
    let mut bytes = vec![0; 1460];
    assert_eq!(received.copy_out(0, &mut bytes), 1460);
    assert_eq!(bytes[..60], [7; 60]);
    assert_eq!(bytes[60..], payload);
    // memif copies into the peer's memory, so the chain is gone and the body ours again.
    assert_eq!(body.refcount(), 1);
    nic.free(&mut back);
    drop(body);
    assert_eq!(data.in_use(), 0);
}

/// Sends and receives as fast as it can until the link is down.
fn poll_until_down(nic: &mut DpdkNic, port: &Port) {
    let (mut out, mut back) = (Burst::new(), Burst::new());
    let start = Instant::now();
    while port.link_is_up() {
        assert!(
            start.elapsed() < PATIENCE,
            "the link stays up without a peer"
        );
        for _ in 0..1000 {
            nic.alloc(PoolClass::Control, &mut out, 32);
            nic.tx(&mut out);
            nic.rx(&mut back);
            nic.free(&mut back);
        }
    }
    for _ in 0..1000 {
        assert_eq!(
            (nic.tx(&mut out), nic.rx(&mut back)),
            (0, 0),
            "nobody is there"
        );
    }
}

#[test]
fn a_memif_link_between_two_processes() {
    if let Ok(socket) = std::env::var(PEER_OF) {
        return echo(&socket);
    }
    let eal = eal();
    let socket = socket();
    let client = format!("memif:{}", socket.display())
        .parse()
        .expect("a spec");
    assert!(matches!(
        eal.open(&client),
        Err(Error::MemifNoServer { .. })
    ));

    let server = format!("memif:{},server", socket.display())
        .parse()
        .expect("a spec");
    let opened = eal.open(&server).expect("a server");
    let (port, queues) = opened.init(&port_config()).expect("a started port");
    assert!(matches!(
        eal.open(&server),
        Err(Error::MemifSocketInUse { .. })
    ));
    assert!(port.caps().tx_multi_seg && !port.caps().rx_tcp_checksum);
    let rx_pool = port.rx_pool().expect("a NIC that receives").clone();
    let (control, data) = (queues[0].control.clone(), queues[0].data.clone());
    let mut nic = DpdkNic::new(queues.into_iter().next().expect("one queue pair"));
    let down = port
        .wait_link_up(Duration::from_millis(20))
        .expect_err("no peer")
        .to_string();
    assert!(
        down.contains("is the peer started, with the same socket and id?"),
        "{down}"
    );

    let mut peer = Peer::start(&socket);
    port.wait_link_up(PATIENCE).expect("a peer");
    ping_pong(&mut nic, 100_000);
    a_chained_frame_comes_back_whole(&mut nic, &data);
    peer.ask_to_end();
    poll_until_down(&mut nic, &port);

    for _ in 0..KILLS {
        let mut peer = Peer::start(&socket);
        port.wait_link_up(PATIENCE).expect("a peer");
        ping_pong(&mut nic, 1000);
        std::thread::scope(|scope| {
            let killer = scope.spawn(|| peer.kill());
            poll_until_down(&mut nic, &port);
            killer.join().expect("no panic");
        });
    }

    drop((nic, port));
    assert_eq!((rx_pool.in_use(), control.in_use()), (0, 0));
    assert!(!socket.exists(), "the server removes its socket");
}
