//! Clients: `syncline load`, and `syncline flood` for `flood`.
//!
//! It must never translate a rate into another one silently.

use diagnose::counted;
use std::net::IpAddr;

use super::{CommandLine, Translation};
use crate::import_dperf::configuration::{Configuration, Keepalive, Set};
use crate::import_dperf::ranges::{AddressRange, address, number};

/// New connections a second where only `cc` is given.
const CPS_DEFAULT: u64 = 1000;
/// How long dperf takes to reach its rate where the configuration doesn't say it, in seconds.
const SLOW_START_DEFAULT_S: u64 = 30;
/// Targets of a command line at most.
const TARGETS_MAX: usize = 64;
/// Connections that `--burst` of `load` can bound.
const BURST_MAX: u64 = 512;
/// How long a peer that closes first keeps a connection in TIME-WAIT, in seconds (as Linux does).
const TIME_WAIT_S: u64 = 60;

/// The command line of one port, without the flags of its link.
pub(super) fn command(
    configuration: &Configuration,
    index: usize,
    translation: &mut Translation,
) -> CommandLine {
    if let Some(tcp_rst) = configuration.tcp_rst.filter(|tcp_rst| !tcp_rst.value) {
        translation.lose(
            tcp_rst.line,
            "tcp_rst 0",
            "a client answers segments to closed ports with RST",
        );
    }
    for size in [configuration.payload_size, configuration.packet_size]
        .into_iter()
        .flatten()
    {
        translation.lose(
            size.line,
            format!("request of {}", counted(size.value, "byte")),
            "a request is as long as its head; the server decides on the response",
        );
    }
    match configuration.flood {
        Some(_) => flood(configuration, index, translation),
        None => load(configuration, index, translation),
    }
}

/// A share of a number for each port.
fn share(configuration: &Configuration, whole: u64) -> u64 {
    (whole / configuration.ports.len() as u64).max(1)
}

fn sources(configuration: &Configuration, index: usize, command: &mut CommandLine) {
    let range = configuration.clients[index].value;
    if range.addresses().ne([configuration.ports[index].ip]) {
        command.flag("--sources", range.prefixes().join(","));
        command.flag("--allow-source", range.prefixes().join(","));
    }
}

/// Requests or connections on real TCP.
fn load(configuration: &Configuration, index: usize, translation: &mut Translation) -> CommandLine {
    let mut command = CommandLine::new("load");
    let range = configuration.servers[index].value;
    for url in urls(configuration, range, translation) {
        command.word(&url);
    }
    match configuration.keepalive {
        None => connect(configuration, &mut command, translation),
        Some(keepalive) => request(configuration, keepalive, &mut command, translation),
    }
    sources(configuration, index, &mut command);
    command.flag("--allow-target", range.prefixes().join(","));
    for statement in &configuration.http {
        match (statement.words[0].as_str(), statement.words[1].as_str()) {
            ("http_host", host) => drop(command.flag("-H", format!("Host: {host}"))),
            ("http_method", "POST") => drop(command.flag("-X", "POST")),
            // The path is in the URLs, and GET is the default.
            _ => {}
        }
    }
    if let Some(Set { line, value }) = configuration.launch_num.filter(|set| set.value > 0) {
        command.flag("--burst", value.min(BURST_MAX));
        if value > BURST_MAX {
            translation.lose(
                line,
                format!("launch_num {value}"),
                format!("--burst takes up to {BURST_MAX}"),
            );
        }
    }
    if let Some(Set {
        line,
        value: (first, last),
    }) = configuration.client_ports
    {
        translation.lose(
            line,
            format!("client_port_range {first} {last}"),
            "local ports are chosen by RFC 6056 from the whole ephemeral range",
        );
    }
    let port = &configuration.ports[index];
    if let Some(mac) = &port.gateway_mac {
        translation.lose(
            port.line,
            format!("gateway's MAC address {mac}"),
            "it is asked for by ARP or neighbour discovery",
        );
    }
    ramp(configuration, &mut command, translation);
    arithmetic(configuration, index, translation);
    command
}

/// A URL for each server and port.
fn urls(
    configuration: &Configuration,
    range: AddressRange,
    translation: &mut Translation,
) -> Vec<String> {
    let path = configuration
        .http
        .iter()
        .find(|statement| statement.words[0] == "http_path");
    let path = path.map_or("/", |statement| statement.words[1].as_str());
    let (first, count) = configuration.listen.unwrap_or((80, 1));
    let ports = (0..count).map(|n| first + n);
    let url = |address: IpAddr, port: u16| match address {
        IpAddr::V4(address) => format!("http://{address}:{port}{path}"),
        IpAddr::V6(address) => format!("http://[{address}]:{port}{path}"),
    };
    let all = range
        .addresses()
        .flat_map(|address| ports.clone().map(move |port| url(address, port)));
    let all: Vec<String> = all.collect();
    if all.len() > TARGETS_MAX {
        translation.lose(
            None,
            format!("{} targets (`server` × `listen`)", all.len()),
            format!("a command line names the first {TARGETS_MAX}: add others by hand, or spread them over several"),
        );
    }
    all.into_iter().take(TARGETS_MAX).collect()
}

/// A connection for each request.
fn connect(
    configuration: &Configuration,
    command: &mut CommandLine,
    translation: &mut Translation,
) {
    let cps = configuration.cps.map_or(CPS_DEFAULT, |cps| cps.value);
    command
        .flag("--workload", "connect")
        .flag("-R", share(configuration, cps));
    // dperf's server sets FIN in its response.
    command.flag("--close", "peer");
    translation.note(
        None,
        "who closes first",
        "dperf's server closes with its response, so --close peer asks for that; --close fin or rst closes from our side",
    );
}

/// Requests over connections that stay.
fn request(
    configuration: &Configuration,
    keepalive: Set<Keepalive>,
    command: &mut CommandLine,
    translation: &mut Translation,
) {
    let Set { line, value } = keepalive;
    command.flag("--workload", "request");
    if value.requests > 0 {
        translation.lose(
            line,
            format!(
                "end of a connection after {} requests (`keepalive`)",
                value.requests
            ),
            "connections stay until the end of the run",
        );
    }
    let Some(cc) = configuration.cc else {
        let cps = configuration.cps.map_or(CPS_DEFAULT, |cps| cps.value);
        command.flag("-R", share(configuration, cps));
        translation.lose(
            line,
            "`keepalive` without `cc`",
            "the rate of new connections becomes a rate of requests; add -c for the connections that carry them",
        );
        return;
    };
    let connections = share(configuration, cc.value);
    command.flag("-c", connections);
    if value.interval_us > 0 {
        let rate = (u128::from(connections) * 1_000_000 / u128::from(value.interval_us)).max(1);
        command.flag("-R", rate);
        translation.note(
            line,
            "interval of `keepalive`",
            format!(
                "{connections} connections with a request every {} µs are {rate} requests a second",
                value.interval_us
            ),
        );
    }
    if let Some(cps) = configuration.cps {
        translation.lose(
            cps.line,
            format!("cps {}", cps.value),
            "with cc it is the rate at which connections are opened at first; ours open during --ramp-up",
        );
    }
}

/// dperf's slow start.
fn ramp(configuration: &Configuration, command: &mut CommandLine, translation: &mut Translation) {
    let duration = configuration
        .duration_s
        .unwrap_or(super::DURATION_DEFAULT_S);
    let (line, seconds) = match configuration.slow_start_s {
        Some(set) => (Some(set.line), set.value),
        None => (None, SLOW_START_DEFAULT_S),
    };
    if seconds < duration {
        command.flag("--ramp-up", format!("{seconds}s"));
        translation.note(
            line,
            format!("slow_start {seconds}"),
            "--ramp-up is part of --duration, and what happens in it isn't timed",
        );
    } else {
        translation.lose(
            line,
            format!("slow_start {seconds}"),
            format!("the run is over after {duration} s"),
        );
    }
}

/// Real TCP keeps connections in TIME-WAIT: whether there are sources enough.
fn arithmetic(configuration: &Configuration, index: usize, translation: &mut Translation) {
    let Some(cps) = configuration
        .cps
        .filter(|_| configuration.keepalive.is_none())
    else {
        return;
    };
    let sources = u64::from(configuration.clients[index].value.count);
    let targets = u64::from(configuration.servers[index].value.count)
        * u64::from(configuration.listen.map_or(1, |listen| listen.1));
    let have = sources * 64_512 * targets;
    let need = share(configuration, cps.value) * TIME_WAIT_S;
    if need > have {
        translation.lose(
            cps.line,
            format!("cps {}", cps.value),
            format!(
                "dperf reuses a connection's addresses at once; TCP keeps them for {TIME_WAIT_S} s: {need} tuples are needed, and \
                 {sources} × 64512 × {targets} = {have} are there: add clients, servers or ports"
            ),
        );
    }
}

/// SYNs alone.
fn flood(
    configuration: &Configuration,
    index: usize,
    translation: &mut Translation,
) -> CommandLine {
    let mut command = CommandLine::new("flood");
    let (first, count) = configuration.listen.unwrap_or((80, 1));
    let ports = match count {
        1 => first.to_string(),
        _ => format!("{first}-{}", first + (count - 1)),
    };
    let targets = targets(configuration, index, translation);
    for prefix in &targets {
        let prefix = prefix
            .strip_suffix("/32")
            .or(prefix.strip_suffix("/128"))
            .unwrap_or(prefix);
        command.word(&match prefix.contains(':') {
            true => format!("[{prefix}]:{ports}"),
            false => format!("{prefix}:{ports}"),
        });
    }
    let line = configuration.flood;
    let rate = syn_rate(configuration);
    command
        .flag("--flags", "S")
        .flag("-R", share(configuration, rate));
    if configuration.keepalive.is_some() {
        translation.note(
            line,
            "flood with keepalive",
            "cc SYNs in each interval are this rate of SYNs",
        );
    }
    sources(configuration, index, &mut command);
    command.word("--routed");
    let (from, to) = configuration
        .client_ports
        .map_or((1, u16::MAX), |set| set.value);
    command.flag("--source-ports", format!("{from}-{to}"));
    command.flag("--allow-target", targets.join(","));
    if let Some(mac) = &configuration.ports[index].gateway_mac {
        command.flag("--target-mac", mac);
    }
    for (set, name) in [
        (configuration.launch_num, "launch_num"),
        (configuration.slow_start_s, "slow_start"),
    ] {
        if let Some(set) = set {
            translation.lose(
                set.line,
                format!("{name} {}", set.value),
                "a flood has its rate from the first frame on, in bursts of up to 64",
            );
        }
    }
    for statement in &configuration.http {
        translation.lose(
            statement.line,
            statement.words.join(" "),
            "a flood sends SYNs without data",
        );
    }
    command
}

/// SYNs a second, of all ports.
fn syn_rate(configuration: &Configuration) -> u64 {
    match (configuration.keepalive, configuration.cc) {
        // Each of them repeats its SYN once in every interval.
        (Some(Set { value, .. }), Some(cc)) if value.interval_us > 0 => {
            cc.value.saturating_mul(1_000_000) / value.interval_us
        }
        _ => configuration.cps.map_or(CPS_DEFAULT, |cps| cps.value),
    }
}

/// The servers, or what `change_dip` names instead, as prefixes.
fn targets(
    configuration: &Configuration,
    index: usize,
    translation: &mut Translation,
) -> Vec<String> {
    if configuration.change_dip.is_empty() {
        return configuration.servers[index].value.prefixes();
    }
    let mut targets = Vec::new();
    for statement in &configuration.change_dip {
        let words: Vec<&str> = statement.words.iter().map(String::as_str).collect();
        let first: Option<IpAddr> = words[1].parse().ok();
        let numbers = words[2]
            .parse::<u128>()
            .ok()
            .zip(words[3].parse::<u32>().ok());
        let Some((first, (step, count))) = first.zip(numbers) else {
            translation.lose(
                statement.line,
                words.join(" "),
                "its arguments are not an address, a step and a number",
            );
            continue;
        };
        if step == 1 && count > 0 {
            targets.extend(AddressRange { first, count }.prefixes());
        } else {
            let each = (0..u128::from(count)).map(|n| address(number(first) + n * step, first));
            let host = if first.is_ipv4() { 32 } else { 128 };
            targets.extend(
                each.take(TARGETS_MAX)
                    .map(|address| format!("{address}/{host}")),
            );
            if count as usize > TARGETS_MAX {
                translation.lose(
                    statement.line,
                    words.join(" "),
                    format!("a command line names the first {TARGETS_MAX} of these addresses"),
                );
            }
        }
    }
    targets
}
