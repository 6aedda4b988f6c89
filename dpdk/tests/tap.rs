//! The Linux kernel as the peer, over a tap in a network namespace of its own: what it sends comes in, offloads hold on
//! both directions, bad specs are told apart. Needs root and /dev/net/tun; says so and passes when they are missing.
//!
//! One EAL per process, so this is one test. The namespace belongs to this test's thread and ends with it.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use dpdk::{DpdkNic, Eal, EalConfig, Error, Mbuf, NicSpec, PortConfig, TxCheck};
use stack::nic::{Burst, ChecksumVerdict, Frame, IpVersion, Nic, TxRequest};

const PATIENCE: Duration = Duration::from_secs(10);
/// An address of the tap's network that nobody has: ours.
const OURS: [u8; 4] = [198, 18, 0, 2];
const ETHERNET: usize = 14;
const IP_CHECKSUM: usize = ETHERNET + 10;
const TCP: usize = ETHERNET + 20;

/// Moves this thread (and what it starts) into a new network namespace, or says why it can't.
fn new_network_namespace() -> Result<(), String> {
    if !std::path::Path::new("/dev/net/tun").exists() {
        return Err("there is no /dev/net/tun".to_owned());
    }
    // SAFETY: changes the namespace of this thread only; no memory is involved.
    match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(format!(
            "no network namespace: {}",
            std::io::Error::last_os_error()
        )),
    }
}

fn ip(arguments: &str) {
    let done = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .expect("ip runs");
    assert!(done.success(), "ip {arguments}");
}

/// How many descriptors of the tap this process has, and how many of them make a signal of each packet (proc(5)).
fn descriptors() -> (usize, usize) {
    let infos = std::fs::read_dir("/proc/self/fdinfo").expect("proc");
    let of_tap: Vec<String> = infos
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
        .filter(|info| info.contains("iff:\tdtap0"))
        .collect();
    let is_async = |info: &&String| {
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|octal| i32::from_str_radix(octal.trim(), 8).ok());
        flags.is_none_or(|flags| flags & libc::O_ASYNC != 0)
    };
    (of_tap.len(), of_tap.iter().filter(is_async).count())
}

/// Receives until a frame is what is looked for. The kernel sends multicast of its own accord; it is dropped here.
fn receive(nics: &mut [DpdkNic], mut wanted: impl FnMut(&Mbuf) -> bool) -> Mbuf {
    let start = Instant::now();
    let mut burst = Burst::new();
    while start.elapsed() < PATIENCE {
        for nic in &mut *nics {
            nic.rx(&mut burst);
            while let Some(frame) = burst.take_front(1).next() {
                if wanted(&frame) {
                    return frame;
                }
            }
        }
        std::thread::yield_now();
    }
    panic!("the kernel did not send what was expected");
}

fn send(nic: &mut DpdkNic, frame: Mbuf) {
    let mut burst = Burst::new();
    burst.push(frame).expect("room");
    assert_eq!(nic.tx(&mut burst), 1);
}

fn is_arp_request(frame: &Mbuf) -> bool {
    let bytes = frame.bytes();
    bytes.len() >= 42 && bytes[12..22] == [8, 6, 0, 1, 8, 0, 6, 4, 0, 1] && bytes[38..42] == OURS
}

fn is_tcp_syn(frame: &Mbuf) -> bool {
    let bytes = frame.bytes();
    bytes.len() >= TCP + 20
        && bytes[12..15] == [8, 0, 0x45]
        && bytes[ETHERNET + 9] == 6
        && bytes[TCP + 13] == 2
}

/// Rewrites an ARP request into its answer, in place.
fn answer_arp(frame: &mut Mbuf, mac: [u8; 6]) {
    let bytes = frame.bytes_mut().expect("exclusive");
    bytes.copy_within(6..12, 0);
    bytes[6..12].copy_from_slice(&mac);
    bytes[21] = 2;
    bytes.copy_within(22..32, 32);
    bytes[22..28].copy_from_slice(&mac);
    bytes[28..32].copy_from_slice(&OURS);
}

/// Rewrites a SYN into the reset that answers it, in place, with its TCP checksum and without that of its IPv4 header.
fn answer_with_reset(frame: &mut Mbuf, mac: [u8; 6]) {
    frame.set_len(TCP + 20).expect("shorter");
    let bytes = frame.bytes_mut().expect("exclusive");
    bytes.copy_within(6..12, 0);
    bytes[6..12].copy_from_slice(&mac);
    let peer: [u8; 4] = bytes[26..30].try_into().expect("four bytes");
    bytes[26..30].copy_from_slice(&OURS);
    bytes[30..34].copy_from_slice(&peer);
    bytes[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&40_u16.to_be_bytes());
    bytes[IP_CHECKSUM..IP_CHECKSUM + 2].fill(0);
    let ports: [u8; 4] = bytes[TCP..TCP + 4].try_into().expect("four bytes");
    bytes[TCP..TCP + 2].copy_from_slice(&ports[2..]);
    bytes[TCP + 2..TCP + 4].copy_from_slice(&ports[..2]);
    let seq = u32::from_be_bytes(bytes[TCP + 4..TCP + 8].try_into().expect("four bytes"));
    bytes[TCP + 4..TCP + 8].fill(0);
    bytes[TCP + 8..TCP + 12].copy_from_slice(&seq.wrapping_add(1).to_be_bytes());
    bytes[TCP + 12..TCP + 14].copy_from_slice(&[0x50, 0x14]);
    bytes[TCP + 16..TCP + 18].fill(0);
    // Addresses, protocol, length (RFC 9293 §3.1), then the header itself.
    let mut sum = 6 + 20;
    for pair in bytes[26..34]
        .chunks(2)
        .chain(bytes[TCP..TCP + 20].chunks(2))
    {
        sum += u32::from(pair[0]) << 8 | u32::from(pair[1]);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    bytes[TCP + 16..TCP + 18].copy_from_slice(&(!sum as u16).to_be_bytes());
}

/// Puts a frame on the kernel's side of the tap, as it is.
fn send_from_the_kernels_side(interface: &str, frame: &[u8]) {
    let name = std::ffi::CString::new(interface).expect("no NUL");
    // SAFETY: plain system calls on a descriptor of our own; the address is fully initialised and its size is right; the
    // frame is readable for its length.
    unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
        let mut to: libc::sockaddr_ll = core::mem::zeroed();
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
        let to_bytes = size_of::<libc::sockaddr_ll>() as u32;
        let (bytes, address) = (frame.as_ptr().cast(), (&raw const to).cast());
        let sent = libc::sendto(socket, bytes, frame.len(), 0, address, to_bytes);
        assert_eq!(
            sent,
            frame.len() as isize,
            "{}",
            std::io::Error::last_os_error()
        );
        libc::close(socket);
    }
}

#[test]
#[ignore = "needs root"]
fn root_only_the_kernel_over_a_tap() {
    new_network_namespace().expect("a network namespace of its own");
    let config = EalConfig {
        memory_mb: 128,
        ..EalConfig::default()
    };
    let eal = Eal::init(&config).expect("EAL");
    let spec: NicSpec = "tap:dtap0".parse().expect("a spec");
    let opened = eal.open(&spec).expect("a tap");
    let (port, queues) = opened
        .init(&PortConfig {
            queues: 2,
            ..PortConfig::default()
        })
        .expect("a started port");
    assert_eq!(port.driver(), "net_tap");
    let (all, with_signals) = descriptors();
    assert!(all >= 2 && with_signals == 0, "{with_signals} of {all}");
    let caps = port.caps().clone();
    assert_eq!(caps.link, "tap:dtap0");
    assert!(caps.rx_ipv4_checksum && caps.rx_tcp_checksum);
    // The driver's sum over a chain is wrong when a segment in the middle is odd: we don't use it.
    assert!(caps.tx_ipv4_checksum && !caps.tx_tcp_checksum && caps.tx_multi_seg);
    let error = eal.open(&spec).expect_err("the name is taken");
    assert!(matches!(error, Error::InterfaceExists { .. }), "{error}");

    ip("addr add 198.18.0.1/24 dev dtap0");
    ip("link set dev dtap0 up");
    port.wait_link_up(PATIENCE).expect("it was set up");
    let rx_pool = port.rx_pool().expect("a NIC that receives").clone();
    let mut nics: Vec<DpdkNic> = queues.into_iter().map(DpdkNic::new).collect();

    let client =
        std::thread::spawn(|| TcpStream::connect_timeout(&SocketAddr::from((OURS, 80)), PATIENCE));
    let mac = nics[0].mac();
    let mut arp = receive(&mut nics, is_arp_request);
    answer_arp(&mut arp, mac);
    send(&mut nics[0], arp);
    received_checksums_are_judged_by_the_nic(&mut nics);
    sent_header_checksums_are_filled_in_by_the_nic(&mut nics, mac);
    let refused = client.join().expect("no panic").expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    assert!(
        port.stats().rx_frames >= 4 && port.stats().tx_frames >= 3,
        "{:?}",
        port.stats()
    );
    // The driver counts what it took, and a frame that it did not send shows.
    let taken = nics.iter().map(DpdkNic::frames_taken).sum();
    assert_eq!(port.check_tx(taken), TxCheck::Equal);
    assert_eq!(port.check_tx(taken + 1), TxCheck::Lost(1));
    drop((nics, port));
    assert_eq!(rx_pool.in_use(), 0);
    // The interface went with the port, so its name is free again.
    let tap = eal.open(&spec).expect("a tap");
    let error = tap.init(&PortConfig {
        queues: 17,
        ..PortConfig::default()
    });
    let text = error.expect_err("it has 16").to_string();
    assert!(text.contains("use --queues 16"), "{text}");
    let error = eal.open(&spec).expect("a tap").init(&PortConfig {
        mtu: 9000,
        ..PortConfig::default()
    });
    let text = error.expect_err("too long for it").to_string();
    assert!(text.contains("net_tap takes an MTU of"), "{text}");
    assert!(text.contains("use --mtu 1504"), "{text}");
}

fn received_checksums_are_judged_by_the_nic(nics: &mut [DpdkNic]) {
    let syn = receive(nics, is_tcp_syn);
    let verdicts = |frame: &Mbuf| (frame.rx_checksum().ip, frame.rx_checksum().l4);
    let (good, bad) = (ChecksumVerdict::Good, ChecksumVerdict::Bad);
    assert_eq!(verdicts(&syn), (good, good));
    for (flipped, expected) in [(IP_CHECKSUM, (bad, good)), (TCP + 16, (good, bad))] {
        let mut bytes = syn.bytes().to_vec();
        bytes[flipped] ^= 1;
        send_from_the_kernels_side("dtap0", &bytes);
        let frame = receive(nics, |frame| frame.bytes() == bytes);
        assert_eq!(verdicts(&frame), expected, "byte {flipped} was changed");
    }
}

fn sent_header_checksums_are_filled_in_by_the_nic(nics: &mut [DpdkNic], mac: [u8; 6]) {
    // The same reset without the request has a wrong checksum: the kernel ignores it and sends its SYN again.
    let mut syn = receive(nics, is_tcp_syn);
    answer_with_reset(&mut syn, mac);
    syn.request(None);
    send(&mut nics[0], syn);
    let mut syn = receive(nics, is_tcp_syn);
    answer_with_reset(&mut syn, mac);
    // A clone goes out, as for a retransmission; what we keep is still ours when the NIC has freed the clone.
    let mut clone = nics[0].share(&mut syn).expect("a header for it");
    clone.request(Some(TxRequest {
        ip: IpVersion::V4,
        l2_len: 14,
        l3_len: 20,
        ipv4_checksum: true,
        tcp_checksum: false,
        cut: None,
    }));
    send(&mut nics[0], clone);
    assert_eq!(syn.refcount(), 1);
}
