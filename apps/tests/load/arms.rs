//! Clients and servers at both sides of a device that the kernel is: what it changes and drops must be in the result, as its own counters
//! have it.
//!
//! Every run has a network namespace of its own, which ends with it.

use std::fs;

use serde_json::Value;

use crate::results::assert_valid;
use crate::root_only::Folder;
use crate::{assert_account, load, number};

/// A NAT that forwards the clients' side to our server, clamps the MSS and drops every fiftieth segment with data to it. The kernel's
/// own count of those is written at the end.
const NAT: &str = "table ip t {
  counter dropped { }
  chain pre { type nat hook prerouting priority -100; ip daddr 198.18.0.1 tcp dport 8000 dnat to 198.18.1.2:80; }
  chain post { type nat hook postrouting priority 100; oifname \"syncline1\" masquerade random; }
  chain through { type filter hook forward priority 0; tcp flags syn tcp option maxseg size set 1300;
    tcp dport 80 tcp flags & psh == psh numgen inc mod 50 0 counter name dropped drop; }
}";

fn change<'a>(result: &'a Value, way: &str, property: &str) -> &'a Value {
    let changes = result["arms"][way].as_array().expect("changes");
    let found = changes.iter().find(|change| change["property"] == property);
    found.unwrap_or_else(|| panic!("no {property}: {result:#}"))
}

fn frames<'a>(result: &'a Value, kind: &str) -> &'a Value {
    let rows = result["arms"]["frames"].as_array().expect("frames");
    rows.iter().find(|row| row["kind"] == kind).expect(kind)
}

/// A run with both arms in a namespace of its own. `device` is the command that makes the kernel the device.
fn both_arms(target: &str, device: &str, more: &[&str]) -> (Value, i32, String) {
    let words = [
        target,
        "--nic",
        "tap",
        "--tap-up",
        "198.18.0.1/24",
        "--ip",
        "198.18.0.2/24",
        "--gateway",
        "198.18.0.1",
        "--server-nic",
        "tap",
        "--server-tap-up",
        "198.18.1.1/24",
        "--server-ip",
        "198.18.1.2/24",
        "--idle",
        "sleep",
        "--with",
        device,
    ];
    load(&[&words[..], more].concat())
}

#[test]
#[ignore = "needs root"]
fn a_router_changes_the_ttl_and_nothing_else() {
    let device = "sysctl -qw net.ipv4.ip_forward=1";
    let more = ["--workload", "connect", "-n", "50", "-c", "2"];
    let (result, status, said) = both_arms("http://198.18.1.2/", device, &more);
    assert_eq!(status, 0, "{said}");
    assert_account(&result);
    assert_valid(&result);
    assert_eq!(number(&result, "/arms/compared"), 50);
    assert_eq!(number(&result, "/arms/servers/0/connections"), 50);
    for way in ["to_servers", "to_clients"] {
        for change in result["arms"][way].as_array().expect("changes") {
            let wanted = if change["property"] == "ttl" { 50 } else { 0 };
            assert_eq!(change["changed"], wanted, "{way}: {change}");
        }
    }
    for kind in ["syn", "data"] {
        let row = frames(&result, kind);
        assert_eq!(row["clients_sent"], row["servers_received"], "{row}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_nat_that_drops_is_seen_from_both_sides() {
    let folder = Folder::new("nat");
    let rules = folder.path().join("nat.nft");
    fs::write(&rules, NAT).expect("a file");
    let dropped = folder.path().join("dropped");
    // It listens until the run ends: its last count is written then.
    let device = format!(
        "sysctl -qw net.ipv4.ip_forward=1; nft -f {}; trap 'nft list counter ip t dropped > {}; exit' TERM; \
         nc -l -k 198.18.0.1 8000 & while :; do sleep 0.05; done",
        rules.display(),
        dropped.display()
    );
    let more = [
        "--workload",
        "connect",
        "-n",
        "200",
        "-c",
        "2",
        "--server-listen",
        "80=http",
    ];
    let (result, status, said) = both_arms("http://198.18.0.1:8000/", &device, &more);
    assert_eq!(status, 0, "{said}");
    assert_account(&result);
    assert_valid(&result);
    assert_eq!(number(&result, "/arms/compared"), 200);
    assert_eq!(number(&result, "/arms/matched_by/payload"), 200);
    assert_eq!(result["arms"]["opens_its_own"], false);
    for (property, changed) in [
        ("source_address", 200),
        ("destination_address", 200),
        ("destination_port", 200),
        ("mss", 200),
        ("ttl", 200),
        ("isn", 0),
        ("timestamps", 0),
    ] {
        assert_eq!(
            change(&result, "to_servers", property)["changed"],
            changed,
            "{property}"
        );
    }
    let mss = &change(&result, "to_servers", "mss")["example"];
    assert_eq!(mss[1], "1300");
    // The frames that the kernel dropped are those that the servers did not get.
    let row = frames(&result, "data");
    let lost = row["clients_sent"].as_u64().expect("sent")
        - row["servers_received"].as_u64().expect("got");
    let said = fs::read_to_string(&dropped).expect("the kernel's counter");
    let counted = said
        .split("packets ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    assert_eq!(counted, Some(lost.to_string().as_str()), "{said}");
    assert!(lost > 0, "nothing was dropped");
    assert!(number(&result, "/arms/clients_retransmitted") >= lost);
}

#[test]
#[ignore = "needs root"]
fn a_proxy_opens_connections_of_its_own_and_spreads_them() {
    let folder = Folder::new("proxy");
    let config = folder.path().join("haproxy.cfg");
    let text = "defaults
  mode http
  timeout connect 1s
  timeout client 20s
  timeout server 5s
frontend web
  bind 198.18.0.1:8000
  default_backend ours
backend ours
  balance roundrobin
  http-reuse never
  server a 198.18.1.2:80
  server b 198.18.1.3:80
";
    fs::write(&config, text).expect("a file");
    let device = format!("exec haproxy -db -f {}", config.display());
    let more = [
        "--server-ip",
        "198.18.1.3/24",
        "--server-listen",
        "198.18.1.2:80=http;198.18.1.3:80=http",
        "--workload",
        "connect",
        "-n",
        "100",
        "-c",
        "2",
    ];
    let (result, status, said) = both_arms("http://198.18.0.1:8000/", &device, &more);
    assert_eq!(status, 0, "{said}");
    assert_account(&result);
    assert_valid(&result);
    assert_eq!(result["arms"]["opens_its_own"], true);
    assert_eq!(
        number(&result, "/arms/matched_by/payload"),
        number(&result, "/arms/compared")
    );
    for server in 0..2 {
        assert_eq!(
            number(&result, &format!("/arms/servers/{server}/connections")),
            50
        );
    }
}
