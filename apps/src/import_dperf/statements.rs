//! The keywords of dperf: their meanings and arguments.
//!
//! It must never know what we make of it.

use std::net::IpAddr;

use super::NotDperf;
use super::configuration::{Configuration, Keepalive, Port, Set, Statement};
use super::ranges::{AddressRange, number};

/// Keywords whose words are all that we need, and how many arguments they have.
const OTHERS: &[(&str, usize, usize)] = &[
    ("clear_screen", 0, 0),
    ("client_hop", 0, 0),
    ("daemon", 0, usize::MAX),
    ("disable_ack", 0, 0),
    ("fast_close", 0, 0),
    ("kni", 0, 1),
    ("log_level", 1, 1),
    ("payload_random", 0, 0),
    ("pipeline", 1, 1),
    ("quiet", 0, 0),
    ("retransmit_timeout", 1, 1),
    ("rss", 0, 2),
    ("send_window", 1, 1),
    ("simd512", 0, 0),
    ("socket_mem", 1, 1),
    ("tos", 1, 1),
    ("tx_burst", 1, 1),
    ("vxlan", 7, 7),
    ("wait", 1, 1),
];

/// The configuration that `text` is.
///
/// # Errors
/// [`NotDperf`]: the first thing that is wrong.
pub(super) fn parse(text: &str) -> Result<Configuration, NotDperf> {
    let mut configuration = Configuration::default();
    let mut has_mode = false;
    for (index, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(&keyword) = words.first().filter(|word| !word.starts_with('#')) else {
            continue;
        };
        let line = index + 1;
        has_mode |= keyword == "mode";
        read(&mut configuration, line, &words).map_err(|why| NotDperf {
            line: Some(line),
            why,
        })?;
    }
    configuration.check(has_mode)?;
    Ok(configuration)
}

/// Reads one line into `into`.
fn read(into: &mut Configuration, line: usize, words: &[&str]) -> Result<(), String> {
    let (keyword, arguments) = (words[0], &words[1..]);
    let statement = || Statement {
        line,
        words: words.iter().map(|word| (*word).to_owned()).collect(),
    };
    match (keyword, arguments) {
        ("mode", ["client"]) => into.is_server = false,
        ("mode", ["server"]) => into.is_server = true,
        ("cpu", [_, ..]) => into.cpus = cpus(arguments)?,
        ("port", [_, _, _] | [_, _, _, _]) => into.ports.push(port(line, arguments)?),
        ("client", [first, count]) => into.clients.push(set_range(line, first, count)?),
        ("server", [first, count]) => into.servers.push(set_range(line, first, count)?),
        ("listen", [port, count]) => into.listen = Some(ports(port, count)?),
        ("flood", []) => into.flood = Some(line),
        ("protocol", ["tcp" | "http"]) => into.is_udp = None,
        ("protocol", ["udp"]) => into.is_udp = Some(line),
        ("change_dip", [_, _, _]) => into.change_dip.push(statement()),
        ("http_host" | "http_path", [_]) | ("http_method", ["GET" | "POST"]) => {
            into.http.push(statement());
        }
        _ if read_number(into, line, words)? => {}
        _ => {
            let known = OTHERS.iter().find(|(name, ..)| *name == keyword);
            let has_form = |(_, least, most): &(&str, usize, usize)| {
                (*least..=*most).contains(&arguments.len())
            };
            if known.is_some_and(has_form) {
                into.others.push(statement());
            } else if known.is_some() || is_keyword(keyword) {
                return Err(format!(
                    "`{}` has arguments that `{keyword}` of dperf doesn't take",
                    words.join(" ")
                ));
            } else {
                return Err(format!("dperf has no keyword `{}`", keyword.escape_debug()));
            }
        }
    }
    Ok(())
}

/// Reads one line that sets a number, a time or a range; false for another line.
fn read_number(into: &mut Configuration, line: usize, words: &[&str]) -> Result<bool, String> {
    let set = |value| Set { line, value };
    match *words {
        ["duration", time] => into.duration_s = Some(duration_s(time)?),
        ["cps", n] => into.cps = Some(set(count(n)?)),
        ["cc", n] => into.cc = Some(set(count(n)?)),
        ["keepalive", _] | ["keepalive", _, _] => {
            let value = keepalive(&words[1..])?;
            into.keepalive = Some(Set { line, value });
        }
        ["payload_size", n] => into.payload_size = Some(set(count(n)?)),
        ["packet_size", n] => into.packet_size = Some(set(count(n)?)),
        ["mss", n] => into.mss = Some(set(whole(n, 1, 65_535)?)),
        ["jumbo"] => into.jumbo = Some(set(9710)),
        ["jumbo", mtu] => into.jumbo = Some(set(whole(mtu, 1500, 9710)?)),
        ["vlan", id] => into.vlan = Some(whole(id, 1, 4094)?),
        ["launch_num", n] => into.launch_num = Some(set(whole(n, 0, 1 << 31)?)),
        ["slow_start", s] => into.slow_start_s = Some(set(whole(s, 10, 600)?)),
        ["client_port_range" | "lport_range", first] => {
            let value = (port_number(first)?, u16::MAX);
            into.client_ports = Some(Set { line, value });
        }
        ["client_port_range" | "lport_range", first, last] => {
            let value = (port_number(first)?, port_number(last)?);
            if value.0 > value.1 {
                return Err(format!("invalid range of ports `{first} {last}`"));
            }
            into.client_ports = Some(Set { line, value });
        }
        ["tcp_rst", value @ ("0" | "1")] => {
            let value = value == "1";
            into.tcp_rst = Some(Set { line, value });
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Whether a keyword is one of those that [`read`] takes apart.
fn is_keyword(keyword: &str) -> bool {
    [
        "mode",
        "cpu",
        "port",
        "client",
        "server",
        "listen",
        "duration",
        "cps",
        "cc",
        "keepalive",
        "flood",
        "protocol",
        "payload_size",
        "packet_size",
        "mss",
        "jumbo",
        "vlan",
        "launch_num",
        "slow_start",
        "client_port_range",
        "lport_range",
        "change_dip",
        "tcp_rst",
        "http_host",
        "http_path",
        "http_method",
    ]
    .contains(&keyword)
}

/// A number of things: `100`, `1.5m`, `2k`.
fn count(text: &str) -> Result<u64, String> {
    crate::units::count(text)
        .map_err(|_| format!("invalid number `{text}`: dperf writes it like 100, 2k or 1.5m"))
}

fn whole(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let number = text.parse().ok().filter(|n| (least..=most).contains(n));
    number.ok_or_else(|| format!("invalid number `{text}`: expected {least} to {most}"))
}

fn port_number(text: &str) -> Result<u16, String> {
    // At most 65,535.
    whole(text, 1, 65_535).map(|port| port as u16)
}

/// The first port and how many.
fn ports(first: &str, how_many: &str) -> Result<(u16, u16), String> {
    let (first, how_many) = (port_number(first)?, port_number(how_many)?);
    match first.checked_add(how_many - 1) {
        Some(_) => Ok((first, how_many)),
        None => Err(format!(
            "{how_many} ports from {first} on go beyond 65535: give fewer"
        )),
    }
}

/// `0 1 4-7`.
fn cpus(words: &[&str]) -> Result<Vec<usize>, String> {
    let mut cpus = Vec::new();
    for word in words {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let range = first.parse().ok().zip(last.parse().ok());
        let range = range.filter(|(first, last): &(usize, usize)| first <= last && *last < 4096);
        let (first, last) =
            range.ok_or_else(|| format!("invalid CPU or range of CPUs `{word}`"))?;
        cpus.extend(first..=last);
    }
    let mut sorted = cpus.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() < cpus.len() {
        return Err("a CPU is named twice".into());
    }
    Ok(cpus)
}

fn ip(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| format!("invalid IP address `{text}`"))
}

fn set_range(line: usize, first: &str, how_many: &str) -> Result<Set<AddressRange>, String> {
    let first = ip(first)?;
    // Only the last byte may differ.
    let room = 256 - (number(first) & 0xff) as u64;
    let count = whole(how_many, 1, room.min(254))? as u32;
    Ok(Set {
        line,
        value: AddressRange { first, count },
    })
}

/// `PCI|BOND IP GATEWAY [MAC]`.
fn port(line: usize, words: &[&str]) -> Result<Port, String> {
    let device = words[0];
    // 0000:3b:00.0
    let is_pci = device.len() == 12 && device.matches(':').count() == 2 && device.contains('.');
    if !is_pci && !device.starts_with("bond") {
        return Err(format!(
            "invalid device `{device}`: expected a PCI address such as 0000:3b:00.0, or a bond"
        ));
    }
    let (own, gateway) = (ip(words[1])?, ip(words[2])?);
    if own.is_ipv4() != gateway.is_ipv4() || own == gateway {
        return Err(format!("`{}` is not on the link of {own}", words[2]));
    }
    Ok(Port {
        line,
        device: device.to_owned(),
        ip: own,
        gateway,
        gateway_mac: words.get(3).map(|mac| (*mac).to_owned()),
    })
}

/// `1.5d`, `2h`, `3.5m`, `100s`, `100`: whole seconds.
fn duration_s(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("invalid duration `{text}`: dperf writes it like 1.5d, 2h, 3.5m or 100s");
    let digits = text.trim_end_matches(['s', 'm', 'h', 'd']);
    let seconds: f64 = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let value: f64 = digits.parse().map_err(|_| wrong())?;
    let total = value * seconds;
    if (1.0..1e9).contains(&total) {
        Ok(total as u64)
    } else {
        Err(wrong())
    }
}

/// `1ms`, `10us`, `60s`, and a number of requests.
fn keepalive(words: &[&str]) -> Result<Keepalive, String> {
    let digits = words[0].trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let us = match &words[0][digits.len()..] {
        "us" => 1,
        "ms" => 1000,
        "s" => 1_000_000,
        _ => {
            return Err(format!(
                "invalid interval `{}`: dperf writes it like 10us, 1ms or 60s",
                words[0]
            ));
        }
    };
    let requests = words.get(1).map_or(Ok(0), |n| count(n))?;
    Ok(Keepalive {
        interval_us: whole(digits, 0, 1 << 31)? * us,
        requests,
    })
}
