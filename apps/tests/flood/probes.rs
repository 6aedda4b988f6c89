//! Floods with a probe: a server of the kernel, a server behind a SYN proxy and a connection-tracking firewall, and one that
//! nothing protects.
//!
//! It must never call a mitigator good for what the link does: the controls must hold as well.

use super::*;

/// A web server of Python on the kernel's side.
fn web_server(port: u16) -> Beside {
    let server = Beside::start(
        Command::new("python3")
            .args(["-m", "http.server", &port.to_string(), "--bind", "0.0.0.0"])
            .current_dir("/usr/share/doc/base-files"),
    );
    wait_for(|| run(&format!("ss -Hltn sport = :{port}")).contains("LISTEN"));
    server
}

fn success(report: &Value, phase: &str) -> f64 {
    report["probe"][phase]["success"]
        .as_f64()
        .expect("probes ended")
}

#[test]
#[ignore = "needs root"]
fn a_probe_is_verified_beside_a_flood_that_cookies_hold_off() {
    in_namespace(|| {
        run("sysctl -qw net.ipv4.tcp_syncookies=2 net.core.somaxconn=4096");
        let _server = web_server(80);
        let report = flooded(
            "198.18.0.1:80 --sources 198.18.64.0/20 --routed -R 5k -d 3s --wait 300ms --answer nothing --probe 20 --control 2s",
        );
        for phase in ["baseline", "flood", "sink"] {
            assert!(success(&report, phase) >= 0.99, "{phase}: {report}");
            assert!(number(&report["probe"][phase], "started") >= 39, "{report}");
        }
        assert_eq!(
            first(&report["total"], "syn_ack"),
            number(&report["total"], "sent")
        );
        assert!(kernel("TcpExtSyncookiesSent") >= number(&report, "tuples_sent"));
        // Every probe is a connection that the kernel has accepted.
        let probes: u64 = ["baseline", "flood", "sink"]
            .map(|phase| number(&report["probe"][phase], "verified"))
            .iter()
            .sum();
        assert_eq!(kernel("TcpPassiveOpens"), probes);
        assert!(number(&report, "sunk") > 5000, "{report}");
    });
}

#[test]
#[ignore = "needs root"]
fn a_syn_ack_is_no_success_and_a_probe_that_fails_ends_the_flood() {
    in_namespace(|| {
        // Handshakes succeed, and nothing ever answers.
        let _open = listeners(&[80]);
        let output = flood(
            "198.18.0.1:80 --sources 198.18.64.0/24 --routed -R 100 -d 60s --wait 300ms --probe 10 --control 1s --probe-timeout 1s --stop-after 2s",
        )
        .output()
        .expect("it starts");
        let report = result(&output, 1);
        assert_eq!(report["ended_by"], "probe");
        assert_eq!(success(&report, "flood"), 0.0);
        assert!(
            number(&report["probe"]["flood"]["failed"], "no_reply") > 5,
            "{report}"
        );
    });
}

/// A server of ours behind a forwarding kernel with these rules, flooded through it; the result of the flood, which must end
/// with this status. Its backlog has 64 places and it has no cookies.
fn through_a_firewall(rules: &str, status: i32) -> Value {
    run("sysctl -qw net.ipv4.ip_forward=1");
    let mut server = Beside::start(
        Command::new(env!("CARGO_BIN_EXE_syncline"))
            .args("serve --nic tap:dtap1 --ip 198.18.1.2/24 --gateway 198.18.1.1 --tap-up 198.18.1.1/24".split(' '))
            .args("--listen 80=http,size=64 --backlog 64 --syn embryo --json".split(' '))
    );
    wait_for(|| {
        Command::new("ping")
            .args(["-c", "1", "-W", "1", "198.18.1.2"])
            .output()
            .expect("ping")
            .status
            .success()
    });
    if !rules.is_empty() {
        run("sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0 net.ipv4.tcp_syncookies=1");
        run(rules);
    }
    let output = flood(
        "198.18.1.2:80 --gateway 198.18.0.1 --sources 198.18.64.0/20 --routed -R 4k -d 4s --wait 300ms --answer nothing --probe 20 --control 2s --probe-timeout 2s --stop-after 20s",
    )
    .output()
    .expect("it starts");
    server.interrupt();
    server.0.wait().expect("it ends");
    result(&output, status)
}

#[test]
#[ignore = "needs root"]
fn a_syn_proxy_and_a_connection_tracker_protect_a_server() {
    in_namespace(|| {
        let report = through_a_firewall(
            "nft -f - <<EOF
table ip flood {
  chain raw { type filter hook prerouting priority raw; policy accept;
    iifname dtap0 tcp dport 80 tcp flags syn notrack
  }
  chain forward { type filter hook forward priority filter; policy accept;
    tcp dport 80 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm
    ct state invalid drop
  }
}
EOF",
            0,
        );
        assert!(success(&report, "flood") >= 0.99, "{report}");
        // The proxy answers every SYN, and keeps the flood from the server.
        assert_eq!(
            first(&report["total"], "syn_ack"),
            number(&report["total"], "sent")
        );
    });
}

#[test]
#[ignore = "needs root"]
fn without_a_proxy_and_cookies_the_probe_fails() {
    in_namespace(|| {
        let report = through_a_firewall("", 1);
        assert!(success(&report, "baseline") >= 0.99, "{report}");
        assert!(success(&report, "sink") >= 0.99, "{report}");
        assert!(success(&report, "flood") < 0.9, "{report}");
    });
}

/// A flood with a probe while every segment gets twenty RSTs of this kind from a program of Python; its output.
fn answered_by_resets(kind: &str) -> Output {
    let flooder = flood(
        "198.18.0.1:80 --sources 198.18.64.0/24 --routed -R 100 -d 1s --wait 300ms --probe 20 --control 500ms",
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .expect("it starts");
    wait_for(|| run("ip -o link show up || true").contains("dtap0"));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/rst_flood.py");
    let words = [script, "dtap0", "80", kind, "20", "/dev/null"];
    let _resets = Beside::start(Command::new("python3").args(words));
    flooder.wait_with_output().expect("it ends")
}

#[test]
#[ignore = "needs root"]
fn forged_resets_in_return_change_no_outcome() {
    in_namespace(|| {
        run("sysctl -qw net.ipv4.tcp_syncookies=2");
        let _server = web_server(80);
        let report = result(&answered_by_resets("forged"), 0);
        for phase in ["baseline", "flood", "sink"] {
            assert!(success(&report, phase) >= 0.99, "{phase}: {report}");
        }
        let total = &report["total"];
        assert_eq!(first(total, "syn_ack"), number(total, "sent"), "{report}");
        assert_eq!(first(total, "rst") + first(total, "rst_after_syn_ack"), 0);
        assert!(first(total, "other") > 0, "{report}");
        let unmatched = &report["probe"]["counters"]["rst_unmatched"];
        assert!(unmatched.as_u64() > Some(0), "{report}");
    });
}

#[test]
#[ignore = "needs root"]
fn valid_resets_in_return_fail_the_probe_by_name() {
    in_namespace(|| {
        let output = answered_by_resets("valid");
        let report = result(&output, 1);
        assert!(success(&report, "flood") < 0.01, "{report}");
        let log = String::from_utf8_lossy(&output.stderr);
        let error = log.lines().last().unwrap_or_default();
        assert!(
            error.starts_with("error: ") && error.contains("reset_after_handshake"),
            "{log}"
        );
    });
}

#[test]
#[ignore = "needs root"]
fn the_probe_passes_a_mitigator_that_drops_the_first_syn() {
    in_namespace(|| {
        let _server = web_server(84);
        run(root_only::RULES);
        let report = flooded(
            "198.18.0.1:84 --sources 198.18.64.0/24 --routed -R 500 -d 3s --wait 300ms --resend 200ms --probe 10 --control 2s",
        );
        assert!(success(&report, "flood") >= 0.99, "{report}");
        let total = &report["total"];
        assert_eq!(number(total, "answered_on_retry"), number(total, "sent"));
    });
}

#[test]
#[ignore = "needs root"]
fn the_probe_passes_a_mitigator_that_waits_for_a_reset() {
    in_namespace(|| {
        let _server = web_server(80);
        let flooder = flood(
            "198.18.0.1:80 --sources 198.18.64.0/24 --routed -R 100 -d 3s --wait 300ms --resend 200ms --probe 5 --control 2s",
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
        wait_for(|| run("ip -o link show up || true").contains("dtap0"));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/safe_reset.py");
        let _mitigator = Beside::start(Command::new("python3").args([script, "dtap0", "80"]));
        let report = result(&flooder.wait_with_output().expect("it ends"), 0);
        assert!(success(&report, "flood") >= 0.99, "{report}");
        let total = &report["total"];
        // A tuple of the flood gets its wrong ack, and answers it with a reset; a probe sends its SYN again and gets through.
        assert_eq!(
            first(total, "syn_ack_wrong_ack"),
            number(total, "sent"),
            "{report}"
        );
    });
}
