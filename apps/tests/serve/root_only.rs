//! The program on a tap, in a network namespace: what the Linux kernel sees of it, and what it says about itself.

// Ends on time, whatever the link carries and whatever asks.
mod ends;
// Packets that were cut on their way.
mod fragments;
// Links that do less than a NIC.
mod links;
// Other NICs than taps, and what is reported about a NIC.
mod nics;
// Ways that carry less than the link.
mod paths;
// A load balancer in front of us.
mod proxies;
// The services behind the ports.
mod services;
// Without root, in namespaces of its own.
mod unprivileged;
// Virtual addresses.
mod vips;
// Separation by VLANs.
mod vlans;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::signal::Signal::{SIGINT, SIGTERM};
use serde_json::Value;

use crate::refusals::refusal;
use crate::server::{OURS, OURS6, Server, counter, in_namespace, run, syncline};

/// An answer that comes, comes at once; this is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// No answer came in this time: the kernel has sent its SYN twice by then.
const SILENCE: Duration = Duration::from_millis(1500);
const CLOSED: u16 = 81;
const OPEN: u16 = 80;

fn connect(address: IpAddr, port: u16, patience: Duration) -> Result<TcpStream, ErrorKind> {
    TcpStream::connect_timeout(&SocketAddr::new(address, port), patience)
        .map_err(|error| error.kind())
}

fn refused(address: IpAddr, port: u16) -> bool {
    connect(address, port, PATIENCE).err() == Some(ErrorKind::ConnectionRefused)
}

/// Ping in both families and a refused connection in both.
fn is_alive() {
    run("ping -c 3 -i 0.2 -W 5 198.18.0.2");
    run("ping -6 -c 3 -i 0.2 -W 5 2001:db8::2");
    assert!(refused(OURS, CLOSED) && refused(OURS6, CLOSED));
}

#[test]
#[ignore = "needs root"]
fn the_kernel_finds_us_pings_us_and_is_refused() {
    in_namespace(|| {
        let server = Server::start(&["--listen", "80"]);
        is_alive();
        let neighbors = run("ip neigh show dev dtap0");
        let summary = server.stop(SIGINT);
        let mac = summary["mac"].as_str().expect("text").to_owned();
        for address in ["198.18.0.2", "2001:db8::2"] {
            let line = neighbors
                .lines()
                .find(|line| line.starts_with(address))
                .expect(&neighbors);
            assert!(line.contains(&mac), "{line}");
        }
        assert_eq!(counter(&summary, "echo_answered"), 6);
        assert_eq!(counter(&summary, "rst_sent"), 2);
        assert!(counter(&summary, "arp_answered") >= 1 && counter(&summary, "ndp_answered") >= 1);
        assert_eq!(summary["ended_by"], "signal");
        assert_eq!(summary["link"], "tap:dtap0");
        // The driver's count is the worker's.
        assert_eq!(summary["nic"]["rx_frames"], summary["rx_frames"]);
        assert_eq!(summary["nic"]["tx_frames"], summary["tx_frames"]);
    });
}

#[test]
#[ignore = "needs root"]
fn closed_ports_can_be_silent() {
    in_namespace(|| {
        let server = Server::start(&["--closed", "drop"]);
        assert_eq!(
            connect(OURS, CLOSED, SILENCE).err(),
            Some(ErrorKind::TimedOut)
        );
        assert_eq!(
            connect(OURS6, CLOSED, SILENCE).err(),
            Some(ErrorKind::TimedOut)
        );
        let summary = server.stop(SIGTERM);
        assert!(counter(&summary, "closed_dropped") >= 2);
        assert_eq!(counter(&summary, "rst_sent"), 0);
    });
}

#[test]
#[ignore = "needs root"]
fn closed_ports_can_answer_with_icmp() {
    in_namespace(|| {
        let server = Server::start(&["--closed", "icmp"]);
        // Linux maps port unreachable to ECONNREFUSED, in both families.
        assert!(refused(OURS, CLOSED) && refused(OURS6, CLOSED));
        let summary = server.stop(SIGTERM);
        assert_eq!(counter(&summary, "closed_icmp_sent"), 2);
        assert_eq!(counter(&summary, "rst_sent"), 0);
    });
}

/// Connects, looks at what was negotiated, sends a byte, and is reset: a port without a service.
fn connects_and_is_reset_by_data(address: IpAddr) {
    let mut stream = connect(address, OPEN, PATIENCE).expect("open");
    // Timestamps take 12 bytes from each segment: 1500 - 40 - 12, or 1500 - 60 - 12.
    let (dst, mss) = match address {
        IpAddr::V4(address) => (address.to_string(), " mss:1448 "),
        IpAddr::V6(address) => (format!("[{address}]"), " mss:1428 "),
    };
    let sockets = run(&format!("ss -tin dst {dst}"));
    assert!(
        sockets.contains(mss) && sockets.contains("wscale:2,"),
        "{sockets}"
    );
    stream.write_all(b"x").expect("the kernel takes it");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let error = stream.read(&mut [0]).expect_err("reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
#[ignore = "needs root"]
fn open_ports_complete_the_handshake_with_state_and_without() {
    for (policy, sent, accepted) in [
        ("embryo", "syn_embryo", "embryo_established"),
        ("cookie-when-full", "syn_embryo", "embryo_established"),
        ("cookies", "syn_cookie_sent", "cookie_established"),
    ] {
        in_namespace(move || {
            let server = Server::start(&["--listen", "80", "--syn", policy]);
            connects_and_is_reset_by_data(OURS);
            connects_and_is_reset_by_data(OURS6);
            let summary = server.stop(SIGTERM);
            for name in [sent, accepted] {
                assert_eq!(
                    counter(&summary, name),
                    2,
                    "{policy}: {name}: {}",
                    summary["counters"]
                );
            }
            assert_eq!(summary["listeners"][0]["closed"]["aborted"], 2, "{summary}");
        });
    }
}

#[test]
#[ignore = "needs root"]
fn open_ports_can_drop_and_reset() {
    in_namespace(|| {
        let server = Server::start(&["--listen", "[2001:db8::2]:80", "--syn", "drop"]);
        assert_eq!(
            connect(OURS6, OPEN, SILENCE).err(),
            Some(ErrorKind::TimedOut)
        );
        assert!(refused(OURS, OPEN), "nobody listens on the other family");
        assert!(counter(&server.stop(SIGTERM), "syn_dropped_policy") >= 1);
        let server = Server::start(&["--listen", "80", "--syn", "rst"]);
        assert!(refused(OURS, OPEN));
        assert_eq!(counter(&server.stop(SIGTERM), "syn_reset_policy"), 1);
    });
}

#[test]
#[ignore = "needs root"]
fn two_workers_answer_for_each_other() {
    in_namespace(|| {
        let server = Server::start(&["--listen", "80", "--queues", "2"]);
        is_alive();
        for _ in 0..200 {
            assert!(refused(OURS, CLOSED) && refused(OURS6, CLOSED));
        }
        let open: Vec<TcpStream> = (0..200)
            .map(|_| connect(OURS, OPEN, PATIENCE).expect("open"))
            .collect();
        drop(open);
        let summary = server.stop(SIGINT);
        let workers = summary["workers"].as_array().expect("a list");
        assert_eq!(workers.len(), 2);
        let of = |name: &str| -> Vec<u64> {
            workers
                .iter()
                .map(|worker| worker[name].as_u64().expect("a number"))
                .collect()
        };
        // Neither the flow hash of the kernel nor ours is the other's: some flows meet the wrong worker, some the right one.
        assert!(of("handed_off").iter().all(|&n| n > 0), "{workers:?}");
        assert_eq!(
            of("handed_off").iter().sum::<u64>(),
            of("handoff_in").iter().sum::<u64>()
        );
        assert!(
            of("rx_frames").iter().all(|&n| n > 0) && of("handoff_full") == [0, 0],
            "{workers:?}"
        );
        assert_eq!(counter(&summary, "embryo_established"), 200);
        assert_eq!(counter(&summary, "rst_sent"), 402);
    });
}

#[test]
#[ignore = "needs root"]
fn a_capture_holds_every_frame_and_tcpdump_reads_it() {
    in_namespace(|| {
        let file =
            std::env::temp_dir().join(format!("syncline-serve-{}.pcapng", std::process::id()));
        let path = file.to_str().expect("text");
        let server = Server::start(&["--pcap", path]);
        is_alive();
        let summary = server.stop(SIGTERM);
        let dump = run(&format!("tcpdump -nn -r {path}"));
        std::fs::remove_file(&file).expect("it was written");
        let number = |value: &Value| value.as_u64().expect("a number");
        let frames = number(&summary["rx_frames"]) + number(&summary["tx_frames"]);
        assert_eq!(number(&summary["pcap"]["frames"]), frames);
        assert_eq!(number(&summary["pcap"]["dropped"]), 0);
        let count = |text: &str| dump.lines().filter(|line| line.contains(text)).count();
        assert_eq!(
            (count("echo request"), count("echo reply")),
            (6, 6),
            "{dump}"
        );
        assert_eq!((count("Flags [S]"), count("Flags [R.]")), (2, 2), "{dump}");
    });
}

#[test]
#[ignore = "needs root"]
fn a_run_can_end_by_itself_and_with_nothing_to_do() {
    in_namespace(|| {
        let summary = Server::start(&["--duration", "300ms", "--idle", "spin"]).end();
        assert_eq!(summary["ended_by"], "duration");
    });
}

#[test]
#[ignore = "needs root"]
fn the_kernels_side_is_left_alone_without_tap_up_and_the_commands_work() {
    in_namespace(|| {
        let mut child = syncline()
            .args([
                "serve",
                "--nic",
                "tap:dtap0",
                "--ip",
                "198.18.0.2/24,2001:db8::2/64",
            ])
            .args(["--duration", "1", "--json"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("it starts");
        let stderr = std::io::BufReader::new(child.stderr.take().expect("a pipe"));
        let lines = std::io::BufRead::lines(stderr).map_while(Result::ok);
        let mut given = 0;
        for line in lines {
            if let Some(command) = line.strip_prefix("  ip ") {
                run(&format!("ip {command}"));
                given += 1;
            }
            if given == 3 {
                break;
            }
        }
        let addresses = run("ip -br addr show dev dtap0");
        assert!(
            addresses.contains("198.18.0.1/24") && addresses.contains("2001:db8::1/64"),
            "{addresses}"
        );
        run("ping -c 1 -W 5 198.18.0.2");
        assert!(child.wait().expect("it was started").success());
    });
}

#[test]
#[ignore = "needs root"]
fn the_kernels_own_addresses_interfaces_and_devices_are_refused() {
    in_namespace(|| {
        run("ip link set lo up");
        run("ip link add veth0 type veth peer name veth1");
        run("ip link set veth0 up");
        run("ip addr add 198.18.7.1/24 dev veth0");
        let text = refusal(&["--nic", "tap:dtap0", "--ip", "198.18.7.1/24"], 2);
        assert!(
            text.contains("the kernel owns 198.18.7.1 (on veth0)"),
            "{text}"
        );
        let text = refusal(&["--nic", "tap:veth1", "--ip", "198.18.0.2/24"], 1);
        assert!(text.contains("interface veth1 exists already"), "{text}");
        run("ip route add default via 198.18.7.2 dev veth0");
        for nic in [
            "af_xdp:veth0",
            "net_af_packet0,iface=veth0",
            "tap:dtap0,remote=veth0",
            "net_tap0,iface=dtap0,remote=veth0",
        ] {
            let text = refusal(&["--nic", nic, "--ip", "198.18.0.2/24"], 1);
            assert!(
                text.contains("veth0 carries this machine's default route"),
                "{text}"
            );
        }
    });
}

#[test]
#[ignore = "needs root"]
fn a_million_spoofed_syns_change_nothing_for_others() {
    in_namespace(|| {
        let server = Server::start(&["--listen", "80"]);
        is_alive();
        let links = run("ip -o link show dev dtap0");
        let mac = links
            .split_whitespace()
            .skip_while(|word| *word != "link/ether")
            .nth(1)
            .expect("a MAC");
        // Half a million to the closed port, half a million to the open one: embryos until the backlog is full, then cookies.
        for (to, ours, sources, outcome) in [
            ("198.18.0.2:81", "198.18.0.3/24", "198.19.0.0/16", "rst"),
            (
                "[2001:db8::2]:80",
                "2001:db8::3/64",
                "2001:2:0:1::/96",
                "syn_ack",
            ),
        ] {
            let text = run(&format!(
                "{} flood {to} --nic net_af_packet0,iface=dtap0,framecnt=2048 --ip {ours} --target-mac {mac} \
                 --allow-target 198.18.0.2/32,2001:db8::2/128 --sources {sources} --routed -R 100k -n 500k -d 60s \
                 --answer nothing --expect {outcome},silence --json",
                env!("CARGO_BIN_EXE_syncline")
            ));
            let json = text
                .find('{')
                .and_then(|start| Some(&text[start..=text.rfind('}')?]))
                .expect(&text);
            let report: Value = serde_json::from_str(json).expect(&text);
            let answered = report["total"]["outcomes"][outcome]["first"].as_u64();
            assert!(report["sent"].as_u64() >= Some(500_000), "{text}");
            // A tap drops when a process is not on its CPU for long; that is no fault of the endpoint.
            assert!(answered > Some(450_000), "{text}");
        }
        is_alive();
        let summary = server.stop(SIGINT);
        assert!(
            counter(&summary, "syn_cookie_sent") > 0 && counter(&summary, "syn_embryo") >= 4096
        );
        assert!(summary["rx_frames"].as_u64().expect("a number") > 900_000);
    });
}
