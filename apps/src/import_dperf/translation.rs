//! [`Translation`]: command lines that do what a configuration says, and what of it they can't.
//!
//! It must never leave out a keyword without a word.

// Clients: `load` and `flood`.
mod client;
// Servers: `serve`.
mod server;

use std::fmt;
use std::net::IpAddr;

use super::configuration::{Configuration, Port};
use super::ranges::common_prefix_len;

/// The longest packet that our ports take, in bytes.
const MTU_MAX: u64 = 9000;
/// How long dperf runs where the configuration doesn't say it.
const DURATION_DEFAULT_S: u64 = 60;

/// Command lines, and what they lack.
#[derive(Debug, Clone, Default)]
pub(super) struct Translation {
    /// One for each port.
    pub(super) commands: Vec<String>,
    /// A line that can't be kept: its number, its text, and why.
    pub(super) lost: Vec<Remark>,
    /// A line that is kept and needs a look.
    pub(super) notes: Vec<Remark>,
}

/// Something to say about a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remark {
    /// The line; `None` for what dperf does by default.
    pub(super) line: Option<usize>,
    /// The keyword with its arguments, or the meaning.
    pub(super) what: String,
    /// Why, and what to do instead.
    pub(super) why: String,
}

impl Translation {
    /// The translation of a configuration.
    pub(super) fn of(configuration: &Configuration) -> Self {
        let mut translation = Self::default();
        if let Some(line) = configuration.is_udp {
            translation.lose(
                line,
                "protocol udp",
                "syncline speaks TCP only, so there is no command line",
            );
            return translation;
        }
        for (index, port) in configuration.ports.iter().enumerate() {
            let mut command = if configuration.is_server {
                server::command(configuration, index, &mut translation)
            } else {
                client::command(configuration, index, &mut translation)
            };
            link(configuration, port, &mut command, &mut translation);
            translation.commands.push(command.0);
        }
        if configuration.ports.len() > 1 {
            let last = configuration.ports[configuration.ports.len() - 1].line;
            translation.lose(
                last,
                "several `port` in one process",
                "each port is a process of its own: start all command lines together; their results are not summed",
            );
        }
        others(configuration, &mut translation);
        translation
    }

    /// Something can't be kept. Said once, however many ports there are.
    fn lose(
        &mut self,
        line: impl Into<Option<usize>>,
        what: impl Into<String>,
        why: impl Into<String>,
    ) {
        remark_once(&mut self.lost, line.into(), what.into(), why.into());
    }

    /// Something is kept in a way that should be looked at.
    fn note(
        &mut self,
        line: impl Into<Option<usize>>,
        what: impl Into<String>,
        why: impl Into<String>,
    ) {
        remark_once(&mut self.notes, line.into(), what.into(), why.into());
    }
}

/// Adds a remark that `remarks` does not hold yet.
fn remark_once(remarks: &mut Vec<Remark>, line: Option<usize>, what: String, why: String) {
    let remark = Remark { line, what, why };
    if !remarks.contains(&remark) {
        remarks.push(remark);
    }
}

/// A shell script: remarks as comments, then the command lines.
impl fmt::Display for Translation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, remarks) in [("lost", &self.lost), ("note", &self.notes)] {
            for Remark { line, what, why } in remarks {
                match line {
                    Some(line) => writeln!(f, "# {kind}: line {line}: {what}: {why}")?,
                    None => writeln!(f, "# {kind}: {what}: {why}")?,
                }
            }
        }
        f.write_str(&self.commands.join("\n"))
    }
}

/// A command line that is being written.
#[derive(Debug, Clone)]
struct CommandLine(String);

impl CommandLine {
    fn new(command: &str) -> Self {
        Self(format!("syncline {command}"))
    }

    /// A word, quoted where a shell would take it apart.
    fn word(&mut self, word: &str) -> &mut Self {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=%@".contains(c);
        self.0.push(' ');
        if !word.is_empty() && word.chars().all(is_plain) {
            self.0 += word;
        } else {
            self.0 += &format!("'{}'", word.replace('\'', r"'\''"));
        }
        self
    }

    /// A flag with its value.
    fn flag(&mut self, flag: &str, value: impl fmt::Display) -> &mut Self {
        self.word(flag).word(&value.to_string())
    }
}

/// Flags of the link, the same for all commands.
fn link(
    configuration: &Configuration,
    port: &Port,
    command: &mut CommandLine,
    translation: &mut Translation,
) {
    let statement = format!("port {}", port.device);
    if port.device.starts_with("bond") {
        translation.lose(
            port.line,
            statement.clone(),
            "a bond is not supported: name one of its ports with --nic",
        );
        command.flag("--nic", "pci:0000:00:00.0");
    } else {
        command.flag("--nic", format!("pci:{}", port.device));
    }
    let len = common_prefix_len(port.ip, port.gateway);
    command.flag("--ip", format!("{}/{len}", port.ip));
    command.flag("--gateway", port.gateway);
    translation.note(
        port.line,
        format!("{statement} {} {}", port.ip, port.gateway),
        format!("dperf has no prefix length; /{len} is the longest that holds both addresses: write the link's own"),
    );
    let queues = configuration.cpus.len() / configuration.ports.len();
    let at = configuration.ports.iter().position(|other| other == port);
    let first = at.unwrap_or(0) * queues;
    let cpus = configuration.cpus[first..first + queues].iter();
    let cpus: Vec<String> = cpus.map(ToString::to_string).collect();
    command
        .flag("--queues", queues)
        .flag("--cpus", cpus.join(","));
    if let Some(id) = configuration.vlan {
        command.flag("--vlan", id);
    }
    if let Some(mtu) = mtu(configuration, port.ip, translation) {
        command.flag("--mtu", mtu);
    }
    eal(configuration, command, translation);
    command.flag(
        "--duration",
        format!(
            "{}s",
            configuration.duration_s.unwrap_or(DURATION_DEFAULT_S)
        ),
    );
}

/// Arguments that dperf hands to DPDK's EAL.
fn eal(configuration: &Configuration, command: &mut CommandLine, translation: &mut Translation) {
    for statement in &configuration.others {
        match statement
            .words
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()[..]
        {
            ["simd512"] => {
                command.word("--eal=--force-max-simd-bitwidth=512");
            }
            ["socket_mem", sizes] => {
                let parts = sizes.split(',').filter_map(|mb| mb.parse::<u64>().ok());
                let parts: Vec<u64> = parts.filter(|&mb| mb > 0).collect();
                command.flag("--hugepages", parts.iter().sum::<u64>());
                if parts.len() > 1 {
                    translation.lose(
                        statement.line,
                        format!("socket_mem {sizes}"),
                        "memory is taken as a whole and not by NUMA node",
                    );
                }
            }
            _ => {}
        }
    }
}

/// The MTU from which the MSS follows, or that of jumbo frames.
fn mtu(configuration: &Configuration, ip: IpAddr, translation: &mut Translation) -> Option<u64> {
    let headers = if ip.is_ipv4() { 40 } else { 60 };
    let wanted = match (configuration.mss, configuration.jumbo) {
        (Some(mss), _) => {
            translation.note(
                mss.line,
                format!("mss {}", mss.value),
                "the MSS follows from --mtu, which limits what is received too",
            );
            (mss.line, format!("mss {}", mss.value), mss.value + headers)
        }
        (None, Some(mtu)) => (mtu.line, format!("jumbo {}", mtu.value), mtu.value),
        (None, None) => return None,
    };
    let (line, what, mtu) = wanted;
    if !(576..=MTU_MAX).contains(&mtu) {
        translation.lose(line, what, format!("--mtu takes 576 to {MTU_MAX} bytes"));
    }
    Some(mtu.clamp(576, MTU_MAX))
}

/// Keywords that nothing corresponds to, whatever the mode.
fn others(configuration: &Configuration, translation: &mut Translation) {
    for statement in &configuration.others {
        let why = match statement.words[0].as_str() {
            // The worker that owns a connection gets its frames by hand-off where the NIC's hash differs.
            "rss" | "simd512" | "socket_mem" => continue,
            "clear_screen" => "the screen is never cleared; a line a second goes to stderr",
            "client_hop" => {
                "a failed connection is counted, and its source is not changed for that; sources are used in turn anyway"
            }
            "daemon" => "syncline stays in the foreground: start it with systemd-run or nohup",
            "disable_ack" => "received data is always acknowledged, as TCP demands",
            "fast_close" => {
                "connections close as RFC 9293 says; --close rst of `syncline load` ends them at once"
            }
            "kni" => "no interface of the kernel is made beside the NIC",
            "log_level" => "there are no log levels",
            "payload_random" => "payload is a fixed pattern, so that it can be verified",
            "pipeline" => "it is for UDP",
            "quiet" => "a line a second goes to stderr: append 2>/dev/null",
            "retransmit_timeout" => {
                "retransmission follows RFC 6298; --rto-min sets the least timeout"
            }
            "send_window" => "what is sent follows the peer's window and congestion control",
            "tos" => "the TOS byte and the traffic class are always 0",
            "tx_burst" => "frames go to the NIC in bursts of up to 64",
            "vxlan" => "packets are not encapsulated",
            "wait" => "a run begins when the neighbours are resolved",
            _ => "syncline has no such setting",
        };
        translation.lose(statement.line, statement.words.join(" "), why);
    }
}
