//! Configurations of every kind: what becomes of them, and that what is printed is a command line of ours.

use clap::{CommandFactory as _, Parser as _};

use super::statements;
use super::translation::Translation;
use crate::cli::Cli;

const CLIENT: &str = "\
# the client of a pair
mode        client
cpu         0
duration    60s
cps         10k
port        0000:1b:00.0    198.18.0.100   198.18.0.27
client      198.18.0.100    1
server      198.18.0.27     1
listen      80              1
";

const SERVER: &str = "\
mode server
cpu 0-1
duration 2m
port 0000:1b:00.0 198.18.0.27 198.18.0.100
client 198.18.0.100 1
server 198.18.0.27 1
listen 80 2
";

fn translate(text: &str) -> Translation {
    let configuration = statements::parse(text).unwrap_or_else(|error| panic!("{error}"));
    let translation = Translation::of(&configuration);
    for command in &translation.commands {
        is_ours(command);
    }
    translation
}

/// The words of a command line, as a shell takes it apart.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut is_quoted) = (vec![String::new()], false);
    for c in command.chars() {
        match c {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            c => words.last_mut().expect("one").push(c),
        }
    }
    words
}

/// The command line is one that this program takes.
fn is_ours(command: &str) {
    let words = words(command);
    if Cli::command().find_subcommand(&words[1]).is_some() {
        Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{command}: {error}"));
    }
}

fn lost(translation: &Translation) -> Vec<String> {
    let remark = |remark: &super::translation::Remark| match remark.line {
        Some(line) => format!("{line} {}", remark.what),
        None => remark.what.clone(),
    };
    translation.lost.iter().map(remark).collect()
}

#[test]
fn a_client_of_connections_is_a_load() {
    let translation = translate(CLIENT);
    assert_eq!(
        translation.commands,
        [
            "syncline load http://198.18.0.27:80/ --workload connect -R 10000 --close peer --allow-target 198.18.0.27/32 \
             --ramp-up 30s --nic pci:0000:1b:00.0 --ip 198.18.0.100/25 --gateway 198.18.0.27 --queues 1 --cpus 0 --duration 60s"
        ]
    );
    // 10 k/s × 60 s are more than one address and one target have.
    assert_eq!(lost(&translation), ["5 cps 10000"]);
    // .3 is no host of a /30, and .1 and .3 are in no longer prefix.
    let near = CLIENT.replace("198.18.0.100   198.18.0.27", "198.18.0.3 198.18.0.1");
    assert_ne!(near, CLIENT);
    assert!(translate(&near).commands[0].contains(" --ip 198.18.0.3/29 "));
    let more = CLIENT.replace("198.18.0.100    1", "198.18.0.101    10");
    let translation = translate(&more);
    assert_eq!(lost(&translation), [] as [&str; 0]);
    let command = &translation.commands[0];
    assert!(command.contains("--sources 198.18.0.101/32,198.18.0.102/31,198.18.0.104/30,198.18.0.108/31,198.18.0.110/32 "), "{command}");
}

#[test]
fn a_server_is_a_serve() {
    let translation = translate(SERVER);
    assert_eq!(
        translation.commands,
        [
            "syncline serve --listen 80-81=http,size=14,close --nic pci:0000:1b:00.0 --ip 198.18.0.27/25 --gateway 198.18.0.100 \
             --queues 2 --cpus 0,1 --duration 120s"
        ]
    );
    assert_eq!(lost(&translation), ["5 client 198.18.0.100 1"]);
    let translation = translate(
        &format!(
            "{SERVER}keepalive 60s\npayload_size 1400\ntcp_rst 0\nvlan 7\nmss 1400\nserver_ 1"
        )
        .replace("server_ 1", "quiet"),
    );
    let command = &translation.commands[0];
    assert!(command.contains("=http,size=1260,idle=68s "), "{command}");
    assert!(
        command.contains(" --closed drop ")
            && command.contains(" --vlan 7 ")
            && command.contains(" --mtu 1440 "),
        "{command}"
    );
    assert_eq!(lost(&translation), ["5 client 198.18.0.100 1", "13 quiet"]);
    let translation = translate(&format!("{SERVER}packet_size 64\n"));
    assert!(translation.commands[0].contains("size=0,"), "{translation}");
    assert_eq!(lost(&translation)[0], "8 packet_size 64");
}

#[test]
fn concurrent_connections_are_requests_at_a_rate() {
    let text = CLIENT.replace(
        "cps         10k",
        "cc 1m\nkeepalive 60s\nlaunch_num 8\nslow_start 20",
    );
    let translation = translate(&text);
    let command = &translation.commands[0];
    for part in [
        "--workload request -c 1000000 -R 16666 ",
        " --burst 8 ",
        " --ramp-up 20s ",
    ] {
        assert!(command.contains(part), "{part}: {command}");
    }
    assert_eq!(lost(&translation), [] as [&str; 0]);
    let translation = translate(&text.replace("keepalive 60s", "keepalive 1ms 100"));
    assert!(translation.commands[0].contains("-R 1000000000 "));
    assert_eq!(
        lost(&translation),
        ["6 end of a connection after 100 requests (`keepalive`)"]
    );
}

#[test]
fn a_flood_is_a_flood_with_the_rate_that_it_has() {
    let text = CLIENT.replace(
        "listen      80              1",
        "flood\nlisten 80 10\nclient_port_range 5000 6000",
    );
    let translation = translate(&text);
    let command = &translation.commands[0];
    assert!(
        command.starts_with(
            "syncline flood 198.18.0.27:80-89 --flags S -R 10000 --routed --source-ports 5000-6000 "
        ),
        "{command}"
    );
    assert_eq!(lost(&translation), [] as [&str; 0]);
    let rate = "flood\ncc 3000\nkeepalive 1ms\nlisten";
    let translation = translate(&CLIENT.replace("listen", rate));
    assert!(
        translation.commands[0].contains(" -R 3000000 "),
        "{translation}"
    );
    let changed = "flood\nchange_dip 198.18.1.0 1 4\nchange_dip 198.18.2.1 64 2\nlisten";
    let translation = translate(&CLIENT.replace("listen", changed));
    let targets = "syncline flood 198.18.1.0/30:80 198.18.2.1:80 198.18.2.65:80 ";
    assert!(
        translation.commands[0].starts_with(targets),
        "{translation}"
    );
}

#[test]
fn several_ports_share_the_rate_and_the_cpus() {
    let text = "mode client\ncpu 0-3\ncps 1m\nport 0000:1b:00.0 198.18.0.100 198.18.0.1\nport 0000:1c:00.0 2001:db8::2 2001:db8::1 02:00:00:00:00:01\n\
        client 198.18.1.1 200\nclient 2001:db8::100 200\nserver 198.19.0.1 1\nserver 2001:db8:1::1 1\nlisten 80 200\nslow_start 10\n";
    let translation = translate(text);
    assert_eq!(translation.commands.len(), 2);
    assert!(
        translation.commands[0].contains(" -R 500000 ")
            && translation.commands[0].contains(" --cpus 0,1 ")
    );
    assert!(
        translation.commands[1].contains(" 'http://[2001:db8:1::1]:80/' ")
            && translation.commands[1].contains(" --cpus 2,3 "),
        "{translation}"
    );
    let lost = lost(&translation);
    assert!(
        lost.contains(&"5 several `port` in one process".into()),
        "{lost:?}"
    );
    assert!(
        lost.contains(&"200 targets (`server` × `listen`)".into()),
        "{lost:?}"
    );
    assert!(
        lost.contains(&"5 gateway's MAC address 02:00:00:00:00:01".into()),
        "{lost:?}"
    );
}

#[test]
fn every_keyword_that_is_dropped_is_named() {
    let text = format!(
        "{CLIENT}daemon\nquiet\nkni\ntos 0x10\nrss l3\nsimd512\nsocket_mem 1024,1024\ntx_burst 8\nwait 3\nvxlan 1 a b c 1 d 1\nclient_hop\n\
         fast_close\nclear_screen\nlog_level info\ndisable_ack\nretransmit_timeout 2\nsend_window 8\npayload_random\npayload_size 100\n\
         protocol http\nhttp_host example.org\nhttp_path /x?y\nhttp_method POST\njumbo\ntcp_rst 0\n"
    );
    let translation = translate(&text);
    let lost = lost(&translation).join("\n");
    for keyword in [
        "daemon",
        "quiet",
        "kni",
        "tos 0x10",
        "socket_mem 1024,1024",
        "tx_burst 8",
        "wait 3",
        "vxlan",
        "client_hop",
        "fast_close",
        "clear_screen",
        "log_level",
        "disable_ack",
        "retransmit_timeout",
        "send_window",
        "payload_random",
        "request of 100 bytes",
        "jumbo 9710",
        "tcp_rst 0",
    ] {
        assert!(lost.contains(keyword), "{keyword}: {lost}");
    }
    let command = &translation.commands[0];
    for part in [
        "'http://198.18.0.27:80/x?y'",
        "-H 'Host: example.org'",
        "-X POST",
        "--mtu 9000",
        "--eal=--force-max-simd-bitwidth=512",
        "--hugepages 2048",
    ] {
        assert!(command.contains(part), "{part}: {command}");
    }
    assert!(!lost.contains("rss") && !lost.contains("simd512"));
}

#[test]
fn udp_has_no_command_line() {
    let translation = translate(&format!("{CLIENT}protocol udp\n"));
    assert!(translation.commands.is_empty());
    assert_eq!(lost(&translation), ["10 protocol udp"]);
}

#[test]
fn what_is_no_configuration_is_refused_with_its_line() {
    let refusal = |text: &str| {
        statements::parse(text)
            .map(drop)
            .expect_err(text)
            .to_string()
    };
    for (text, wanted) in [
        ("", "not a dperf configuration: `mode` is missing"),
        ("mode client\nfoo 1\n", "line 2: dperf has no keyword `foo`"),
        ("\u{7f}ELF\u{1}\n", "line 1: dperf has no keyword"),
        (
            "{\n\"mode\": \"client\"}",
            "line 1: dperf has no keyword `{`",
        ),
        (
            "mode both\n",
            "line 1: `mode both` has arguments that `mode` of dperf doesn't take",
        ),
        ("# x\n\ncps ten\n", "line 3: invalid number `ten`"),
        ("cpu 3-1\n", "line 1: invalid CPU or range of CPUs `3-1`"),
        ("cpu 1 0-2\n", "line 1: a CPU is named twice"),
        (
            "port eth0 198.18.0.1 198.18.0.2\n",
            "line 1: invalid device `eth0`: expected a PCI address",
        ),
        (
            "port 0000:1b:00.0 198.18.0.1 2001:db8::1\n",
            "is not on the link of 198.18.0.1",
        ),
        (
            "client 198.18.0.200 100\n",
            "line 1: invalid number `100`: expected 1 to 56",
        ),
        ("listen 65000 1000\n", "line 1: 1000 ports from 65000"),
        ("duration 5w\n", "line 1: invalid duration `5w`"),
        ("keepalive 5\n", "line 1: invalid interval `5`"),
        ("tcp_rst 2\n", "line 1: `tcp_rst 2` has arguments"),
        ("quiet please\n", "line 1: `quiet please` has arguments"),
        ("mode client\n", "`cpu` is missing"),
    ] {
        let error = refusal(text);
        assert!(error.contains(wanted), "{text}: {error}");
    }
    assert!(refusal(&CLIENT.replace("cps         10k", "")).contains("`cps` or `cc` is missing"));
    assert!(refusal(&CLIENT.replace("cps ", "cc ")).contains("`cc` needs `keepalive`"));
    assert!(
        refusal(&SERVER.replace(
            "port 0000:1b:00.0",
            "port 0000:1c:00.0 198.18.0.28 198.18.0.1\nport 0000:1b:00.0"
        ))
        .contains("1 `server` for 2 `port`")
    );
}
