//! Servers: dperf's is a `syncline serve` whose only service is http.
//!
//! It must never promise a packet's length that the response's head makes impossible.

use super::{CommandLine, Translation};
use crate::import_dperf::configuration::{Configuration, Set};

/// Bytes of dperf's own response where no size is given, head included; its body is what is served then.
const BODY_DEFAULT: u64 = 14;
/// How long dperf waits beyond `keepalive` before it leaves an idle client, in seconds.
const IDLE_BEYOND_S: u64 = 8;

/// The command line of one port, without the flags of its link.
pub(super) fn command(
    configuration: &Configuration,
    index: usize,
    translation: &mut Translation,
) -> CommandLine {
    let mut command = CommandLine::new("serve");
    let (first, count) = configuration.listen.unwrap_or((80, 1));
    let mut listen = match count {
        1 => format!("{first}=http"),
        // They are no more than there are.
        _ => format!("{first}-{}=http", first + (count - 1)),
    };
    listen += &format!(",size={}", body_len(configuration, translation));
    match configuration.keepalive {
        None => listen += ",close",
        Some(keepalive) => {
            let idle = keepalive.value.interval_us.div_ceil(1_000_000) + IDLE_BEYOND_S;
            listen += &format!(",idle={idle}s");
        }
    }
    command.flag("--listen", listen);
    let port = &configuration.ports[index];
    let range = configuration.servers[index].value;
    if range.addresses().ne([port.ip]) {
        // The port's own address is in --ip.
        let others = range.prefixes().into_iter().filter(|prefix| {
            let host = if port.ip.is_ipv4() { 32 } else { 128 };
            *prefix != format!("{}/{host}", port.ip)
        });
        command.flag("--prefix", others.collect::<Vec<_>>().join(","));
        if range.count > 1 && range.addresses().any(|address| address == port.ip) {
            translation.lose(
                configuration.servers[index].line,
                format!("server {} {}", range.first, range.count),
                format!(
                    "--prefix and --ip may not overlap: split the range around {}",
                    port.ip
                ),
            );
        }
    }
    if configuration.tcp_rst.is_some_and(|tcp_rst| !tcp_rst.value) {
        command.flag("--closed", "drop");
    }
    for client in &configuration.clients {
        translation.lose(
            client.line,
            format!("client {} {}", client.value.first, client.value.count),
            "every client is served, not only those of a range",
        );
    }
    ignored(configuration, translation);
    command
}

/// Bytes of the body, so that the response has the length that was asked for.
fn body_len(configuration: &Configuration, translation: &mut Translation) -> u64 {
    let is_v6 = configuration.ports[0].ip.is_ipv6();
    let headers = if is_v6 { 74 } else { 54 };
    let (line, what, payload) = match (configuration.payload_size, configuration.packet_size) {
        (Some(Set { line, value }), _) => (line, format!("payload_size {value}"), value),
        (None, Some(Set { line, value })) => (
            line,
            format!("packet_size {value}"),
            value.saturating_sub(headers),
        ),
        (None, None) => return BODY_DEFAULT,
    };
    let head = head_len(payload, configuration.keepalive.is_none());
    if payload < head {
        translation.lose(
            line,
            what,
            format!(
                "a response has a head of {head} bytes, and is no shorter; this is the shortest"
            ),
        );
    }
    payload.saturating_sub(head)
}

/// Bytes of the head of a response that has `payload` bytes altogether (docs/guide/serve.md shows one).
fn head_len(payload: u64, closes: bool) -> u64 {
    let fixed = "HTTP/1.1 200 OK\r\nServer: syncline\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
                 Content-Type: text/plain; charset=us-ascii\r\nContent-Length: \r\n\r\n";
    let close = if closes { "Connection: close\r\n" } else { "" };
    let rest = (fixed.len() + close.len()) as u64;
    // The digits of the length count too.
    let body = payload.saturating_sub(rest);
    rest + body
        .saturating_sub(body.to_string().len() as u64)
        .to_string()
        .len() as u64
}

/// Keywords of clients.
fn ignored(configuration: &Configuration, translation: &mut Translation) {
    for (name, line) in [
        ("cps", configuration.cps.map(|set| set.line)),
        ("cc", configuration.cc.map(|set| set.line)),
        ("flood", configuration.flood),
        ("launch_num", configuration.launch_num.map(|set| set.line)),
        ("slow_start", configuration.slow_start_s.map(|set| set.line)),
    ] {
        if let Some(line) = line {
            translation.note(
                line,
                name,
                "a server doesn't use it, and a server of dperf doesn't either",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_and_body_are_as_long_as_the_payload() {
        for payload in [
            200, 245, 246, 247, 248, 1000, 1146, 1147, 1148, 1149, 20_000,
        ] {
            for closes in [false, true] {
                let head = head_len(payload, closes);
                let body = payload - head;
                let text = format!(
                    "HTTP/1.1 200 OK\r\nServer: syncline\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
                     Content-Type: text/plain; charset=us-ascii\r\nContent-Length: {body}\r\n{}\r\n",
                    if closes { "Connection: close\r\n" } else { "" }
                );
                let difference = (text.len() as u64 + body).abs_diff(payload);
                assert!(difference <= 1, "{payload} {closes}: {difference}");
            }
        }
    }
}
