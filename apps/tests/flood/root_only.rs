//! Floods at the kernel's side of a tap.
//!
//! It must never count by what it tests: figures are compared with the kernel's counters and tcpdump's.

use super::*;

/// Ports of the tests: 80 is open, 81 closed; nft drops what goes to 82, the first SYN of each tuple to 84, and refuses 85.
pub(super) const RULES: &str = "nft -f - <<EOF
table inet flood {
  set seen { type ipv4_addr . inet_service; flags dynamic,timeout; timeout 60s; size 65536; }
  chain in { type filter hook input priority 0; policy accept;
    tcp dport 82 drop
    tcp dport 84 tcp flags syn ip saddr . tcp sport @seen accept
    tcp dport 84 tcp flags syn add @seen { ip saddr . tcp sport } drop
    tcp dport 85 reject with icmp type admin-prohibited
  }
}
EOF";

#[test]
#[ignore = "needs root"]
fn every_outcome_is_the_kernels() {
    in_namespace(|| {
        let _open = listeners(&[80, 84]);
        run(RULES);
        // The kernel's default, 1000 ICMP errors a second, must not silence port 85.
        run("sysctl -qw net.ipv4.icmp_ratemask=0 net.ipv4.icmp_msgs_per_sec=100000");
        let report = flooded(
            "198.18.0.1:80-82 198.18.0.1:84-85 --sources 198.18.64.0/20 --routed -R 5k -d 1s --wait 300ms --resend 200ms",
        );
        let rows = report["targets"].as_array().expect("rows");
        let [open, closed, dropped, second, refused] = rows.as_slice() else {
            panic!("five rows: {report}")
        };
        for (row, outcome) in [
            (open, "syn_ack"),
            (closed, "rst"),
            (second, "syn_ack"),
            (refused, "icmp"),
        ] {
            assert!(number(row, "sent") > 400, "{row}");
            assert_eq!(first(row, outcome), number(row, "sent"), "{row}");
            assert_eq!(number(row, "answered"), number(row, "sent"), "{row}");
        }
        assert_eq!(number(dropped, "silent"), number(dropped, "sent"));
        assert_eq!(number(second, "answered_on_retry"), number(second, "sent"));
        assert_eq!(number(open, "answered_on_retry"), 0);
        assert_eq!(report["icmp"][0]["name"], "administratively prohibited");
        // The kernel's own counts: resets it sent, half-open connections that our resets ended.
        assert_eq!(kernel("TcpOutRsts"), first(closed, "rst"));
        let half_open = number(open, "sent") + number(second, "sent");
        assert_eq!(kernel("TcpExtEmbryonicRsts"), half_open);
        assert_eq!(number(&report, "answers_sent"), half_open);
    });
}

#[test]
#[ignore = "needs root"]
fn every_frame_on_the_wire_is_another_and_the_right_one() {
    in_namespace(|| {
        let flooder = flood("198.18.0.1:81 --sources 198.18.0.64/26 -R 5k -d 4s --wait 300ms")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let started = Instant::now();
        while !run("ip -o link show up || true").contains("dtap0") {
            assert!(started.elapsed() < Duration::from_secs(10), "no tap");
            std::thread::sleep(Duration::from_millis(2));
        }
        let frames =
            run("timeout 3 tcpdump -nnvvi dtap0 -c 2000 -s 120 'tcp[13] == 2' 2>/dev/null || true");
        let report = result(&flooder.wait_with_output().expect("it ends"), 0);
        assert_eq!(first(&report["total"], "rst"), number(&report, "sent"));
        // tcpdump: a line for the IP header, one for the segment.
        let segments: Vec<&str> = frames
            .lines()
            .filter(|line| line.contains("Flags [S]"))
            .collect();
        assert!(segments.len() > 500, "{} frames", segments.len());
        let mut ends = std::collections::HashSet::new();
        let mut numbers = std::collections::HashSet::new();
        for segment in segments {
            assert!(segment.contains("(correct)"), "{segment}");
            let options = "options [mss 1460,sackOK,TS val";
            assert!(
                segment.contains(options) && segment.contains("wscale 7"),
                "{segment}"
            );
            let word = |after: &str| {
                let rest = segment.split_once(after).expect(segment).1;
                rest.split([',', ' ', ':'])
                    .next()
                    .expect("a word")
                    .to_owned()
            };
            assert!(ends.insert(segment.trim().split(' ').next().expect("an end").to_owned()));
            assert!(numbers.insert(word("seq ")));
        }
    });
}

#[test]
#[ignore = "needs root"]
fn a_completed_handshake_is_established_for_the_kernel() {
    in_namespace(|| {
        let _open = listeners(&[80]);
        run("sysctl -qw net.core.somaxconn=4096 net.ipv4.tcp_max_syn_backlog=4096");
        let report = flooded(
            "198.18.0.1:80 --sources 198.18.0.64/26 -R 1k -n 100 --answer complete --wait 300ms",
        );
        let sent = number(&report, "sent");
        assert_eq!(first(&report["total"], "syn_ack"), sent);
        // The backlog of std's listener is 128: of those that fit, every one is established.
        assert!((100..128).contains(&sent), "{sent}");
        assert_eq!(kernel("TcpPassiveOpens"), sent);
        assert_eq!(kernel("TcpExtEmbryonicRsts"), 0);
    });
}

#[test]
#[ignore = "needs root"]
fn both_families_and_every_kind_of_frame_meet_what_linux_does() {
    in_namespace(|| {
        let _open = listeners(&[80]);
        run("sysctl -qw net.ipv6.icmp.ratelimit=0");
        // Linux in LISTEN: ACK gets a reset; FIN, NULL and XMAS nothing. Without a listener all but RST get one.
        for (flags, at_open, at_closed) in [
            ("A", "rst", "rst"),
            ("SA", "rst", "rst"),
            ("F", "silent", "rst"),
            ("null", "silent", "rst"),
            ("xmas", "silent", "rst"),
            ("R", "silent", "silent"),
        ] {
            let resets = kernel("TcpOutRsts");
            let report = flooded(&format!(
                "198.18.0.1:80-81 --sources 198.18.0.64/26 -R 2k -d 200ms --wait 200ms --flags {flags}"
            ));
            for (row, expected) in [(0, at_open), (1, at_closed)] {
                let row = &report["targets"][row];
                let met = if expected == "silent" {
                    number(row, "silent")
                } else {
                    first(row, expected)
                };
                assert_eq!(met, number(row, "sent"), "{flags}: {row}");
            }
            assert_eq!(
                kernel("TcpOutRsts") - resets,
                first(&report["total"], "rst"),
                "{flags}"
            );
        }
        let output = flood("[2001:db8::1]:80-81 --sources 2001:db8::1:0/122 -R 2k -d 300ms --wait 300ms --ip 2001:db8::2/64 --tap-up 2001:db8::1/64")
            .output()
            .expect("it starts");
        let report = result(&output, 0);
        let rows = &report["targets"];
        assert_eq!(
            first(&rows[0], "syn_ack"),
            number(&rows[0], "sent"),
            "{report}"
        );
        assert_eq!(first(&rows[1], "rst"), number(&rows[1], "sent"), "{report}");
    });
}

#[test]
#[ignore = "needs root"]
fn a_command_may_set_the_target_up_and_leave_a_process_behind() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    let words = "flood 198.18.0.1:81 --nic tap --ip 198.18.0.2/24 --tap-up 198.18.0.1/24 --sources 198.18.0.64/26 -R 500 -d 200ms \
                 --wait 300ms --expect rst --json --with";
    command.args(words.split_whitespace());
    let output = command.arg("sleep 60 & true").output().expect("it starts");
    let report = result(&output, 0);
    assert_eq!(
        first(&report["total"], "rst"),
        number(&report, "tuples_sent")
    );
}

#[test]
#[ignore = "needs root"]
fn ctrl_c_prints_the_result_so_far_and_says_130() {
    in_namespace(|| {
        let child = flood("198.18.0.1:81 --sources 198.18.0.64/26 -R 1k -d 60s")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut flooder = Beside(child);
        let started = Instant::now();
        while kernel("TcpOutRsts") == 0 {
            assert!(started.elapsed() < Duration::from_secs(20), "no frame");
            std::thread::sleep(Duration::from_millis(20));
        }
        flooder.interrupt();
        let status = flooder.0.wait().expect("it ends");
        assert_eq!(status.code(), Some(130));
        let mut text = String::new();
        let stdout = flooder.0.stdout.as_mut().expect("a pipe");
        stdout.read_to_string(&mut text).expect("text");
        let report: Value = serde_json::from_str(&text).expect(&text);
        assert_eq!(
            (&report["interrupted"], &report["ended_by"]),
            (&true.into(), &"signal".into())
        );
        assert_eq!(first(&report["total"], "rst"), kernel("TcpOutRsts"));
        assert_eq!(number(&report, "mbufs_in_use"), 0);
    });
}

#[test]
#[ignore = "needs root"]
fn what_can_not_be_is_one_line_and_the_right_status() {
    in_namespace(|| {
        for (args, status, part) in [
            (
                "198.18.0.9:80 -R 1k",
                1,
                "198.18.0.9 did not answer within 3 s (ARP)",
            ),
            ("198.19.0.9:80 -R 1k", 2, "give --gateway"),
            ("198.18.0.1:80 -R 1m", 2, "this needs 1000000 tuples"),
            (
                "198.18.0.1:81 -R 1k -d 200ms --wait 200ms --expect syn_ack",
                1,
                "unexpected RST",
            ),
            ("198.18.0.1:81 -R 1k --vlan 7,8", 2, "one VLAN"),
        ] {
            let output = flood(args).output().expect("it starts");
            let log = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(status), "{args}: {log}");
            let error = log.lines().last().unwrap_or_default();
            assert!(
                error.starts_with("error: ") && error.contains(part),
                "{args}: {log}"
            );
        }
    });
}

#[test]
#[ignore = "needs root"]
fn in_a_vlan_every_frame_has_its_tag_and_each_second_is_a_line() {
    in_namespace(|| {
        let _open = listeners(&[80]);
        let name = format!("syncline-flood-{}.ndjson", std::process::id());
        let lines = std::env::temp_dir().join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
        command
            .args(["flood", "198.18.0.1:80-81", "--nic", "tap:dtap0"])
            .args(["--ip", "198.18.0.2/24", "--vlan", "5"])
            .args(["--sources", "198.18.0.64/26", "-R", "500", "-d", "1500ms"])
            .args([
                "--probe",
                "20",
                "--control",
                "300ms",
                "--probe-success",
                "0",
            ])
            .args(["--wait", "500ms", "--expect-outage", "--json"])
            .arg("--ndjson")
            .arg(&lines)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let flooder = command.spawn().expect("it starts");
        wait_for(|| run("ip -o link show || true").contains("dtap0"));
        run("ip link set dtap0 up");
        // Frames tagged with 5 reach the kernel's address, and only that; its answers get the tag.
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/serve/trunk.py");
        let _trunk = Beside::start(Command::new("python3").args([script, "dtap0", "5:k5"]));
        wait_for(|| run("ip -o link show || true").contains("k5"));
        run("ip addr add 198.18.0.1/24 dev k5; ip link set k5 up");
        let report = result(&flooder.wait_with_output().expect("it ends"), 0);
        let rows = report["targets"].as_array().expect("rows");
        for (row, outcome) in rows.iter().zip(["syn_ack", "rst"]) {
            assert!(number(row, "sent") > 300, "{row}");
            assert_eq!(first(row, outcome), number(row, "sent"), "{row}");
        }
        // The flood's SYNs to port 81, and the probe's there; only the probe completes handshakes.
        assert!(kernel("TcpOutRsts") > first(&rows[1], "rst"));
        assert!(kernel("TcpPassiveOpens") > 0);
        let text = std::fs::read_to_string(&lines).expect("the file of --ndjson");
        std::fs::remove_file(&lines).expect("it goes");
        let seconds = text
            .lines()
            .map(|line| serde_json::from_str(line).expect(line));
        assert_eq!(
            Value::from(seconds.collect::<Vec<Value>>()),
            report["intervals"]
        );
        assert_eq!(report["limit"]["verdict"], "rate");
        assert_eq!(report["schema"], "syncline/1");
    });
}
