//! The flags of `syncline flood`.
//!
//! It must never know what they lead to: `plan.rs` checks them against each other and the machine.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use stack::config::{ConfigSpec, Interface};
use stack::wire::vlan::VlanId;
use workload::pools::PortRange;

use crate::addresses::host_prefix;
use crate::failure::Failure;
use crate::report::OutputArgs;
use crate::rig::{GuardArgs, NicArgs, PoolArgs, port_range};
use crate::traffic::{Answer, FloodFlags, SynOptions};
use crate::units;

/// Send bare segments from pools of addresses, and count what each of them meets
///
/// No connection is kept: every reply is judged by its addresses, ports and numbers. Over a tap of its own, without root:
/// `syncline flood 198.18.0.1:80 --nic tap --ip 198.18.0.2/24 --tap-up 198.18.0.1/24 --sources 198.18.64.0/24 --routed -R 10k -d 5s`.
/// The summary goes to stdout, a line a second to stderr. Exit status: 0 the gates held, 1 one did not, 2 usage error, 130
/// interrupted.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FloodArgs {
    /// Where the frames go: 198.18.0.1:80, a range of ports 198.18.0.1:80-89, a prefix 198.18.0.0/28:80, `[2001:db8::1]:80`
    #[arg(required = true, value_name = "TARGET", value_parser = targets)]
    pub(crate) target: Vec<TargetGroup>,

    #[command(flatten)]
    pub(crate) link: NicArgs,

    #[command(flatten)]
    pub(crate) guard: GuardArgs,

    /// Control bits of the frames
    #[arg(long, value_enum, default_value = "S")]
    pub(crate) flags: FloodFlags,

    /// Frames per second of all workers together, including repeats [default: as many as the link takes on a link that this run
    /// makes, 10k elsewhere]
    #[arg(short = 'R', long, value_name = "PPS", value_parser = units::rate_pps)]
    pub(crate) rate: Option<u64>,

    /// How long frames are sent
    #[arg(short = 'd', long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    pub(crate) duration: Duration,

    /// Stop after this many frames, or at the end of --duration; each worker may send up to a burst more
    #[arg(short = 'n', long, value_name = "N", value_parser = units::count)]
    pub(crate) count: Option<u64>,

    /// Where the frames come from; may be given several times [default: --ip]
    #[arg(long, value_name = "ADDR/LEN", value_delimiter = ',', value_parser = source_prefix)]
    pub(crate) sources: Vec<Interface>,

    /// Sources off the link of --ip are routed to us, so their replies come back (as those within --prefix do)
    #[arg(long)]
    pub(crate) routed: bool,

    /// Which tuples are used, and in which order.
    #[command(flatten)]
    pub(crate) pool: PoolArgs,

    /// TCP options of segments with SYN
    #[arg(long, value_enum, default_value = "linux")]
    pub(crate) syn_options: SynOptions,

    /// TTL or hop limit of the frames
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = units::within(1, u8::MAX))]
    pub(crate) ttl: u8,

    /// Window that they offer
    #[arg(long, value_name = "N", default_value_t = 64_240, value_parser = units::within(0, u16::MAX))]
    pub(crate) window: u16,

    /// The link-layer address behind which all targets are [default: ask by ARP or neighbour discovery]
    #[arg(long, value_name = "MAC", value_parser = mac)]
    pub(crate) target_mac: Option<[u8; 6]>,

    /// Send an unanswered frame again after this time, the same one [default: never]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) resend: Option<Duration>,

    /// With --resend: how often
    #[arg(long, value_name = "N", default_value_t = 1, requires = "resend", value_parser = units::within(1, 10u32))]
    pub(crate) retries: u32,

    /// How long after its last frame a tuple's silence is final
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    pub(crate) wait: Duration,

    /// Answer to a SYN-ACK
    #[arg(long, value_enum, default_value = "rst")]
    pub(crate) answer: Answer,

    /// Outcome that every tuple must meet; any other fails the run [default: anything]
    #[arg(long, value_enum, value_name = "OUTCOME", value_delimiter = ',')]
    pub(crate) expect: Vec<ExpectedOutcome>,

    /// Beside the flood, on a queue and a thread of its own, open so many connections a second to the targets, and verify a reply
    /// on each [default: none]
    #[arg(long, value_name = "N", value_parser = units::within(1, 100_000u32))]
    pub(crate) probe: Option<u32>,

    /// Request of a probe; backslashes begin the escapes of C for r, n, t and themselves [default: an HTTP request]
    #[arg(long, value_name = "TEXT", requires = "probe", value_parser = escaped)]
    pub(crate) probe_request: Option<Bytes>,

    /// How the reply to a probe must begin
    #[arg(long, value_name = "TEXT", requires = "probe", default_value = "HTTP/1.", value_parser = escaped)]
    pub(crate) probe_reply: Bytes,

    /// How long a probe may take
    #[arg(long, value_name = "TIME", requires = "probe", default_value = "5s", value_parser = units::duration)]
    pub(crate) probe_timeout: Duration,

    /// Open a probe's connection again, so often, when it is reset after the handshake: some mitigators do that once
    #[arg(
        long,
        value_name = "N",
        requires = "probe",
        default_value_t = 0,
        value_parser = units::within(0, 10u8)
    )]
    pub(crate) reconnect: u8,

    /// Per cent of the probes that must be verified, in each part of the run
    #[arg(long, value_name = "PERCENT", requires = "probe", default_value_t = 99, value_parser = units::within(0, 100u8))]
    pub(crate) probe_success: u8,

    /// How long the probe runs before the flood: first alone, then beside the same flood into a sink
    #[arg(long, value_name = "TIME", requires = "probe", default_value = "5s", value_parser = units::duration)]
    pub(crate) control: Duration,

    /// End the run when no probe was verified for so long
    #[arg(long, value_name = "TIME", requires = "probe", default_value = "5s", value_parser = units::duration)]
    pub(crate) stop_after: Duration,

    /// The victim is expected to fail: go on, and don't judge the probes during the flood
    #[arg(long, requires = "probe")]
    pub(crate) expect_outage: bool,

    /// Take flags from the table `flood` of a TOML file: keys are long flags without dashes, `targets` the targets; the command
    /// line wins
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Print the flags of this command line as a file for --config, and do nothing else
    #[arg(long)]
    pub(crate) echo_config: bool,

    /// A command to run in the run's network namespace, the target or what sets it up; the flood begins when it listens on the
    /// first target's port or has ended well, and it ends with the run
    #[arg(long, value_name = "COMMAND")]
    pub(crate) with: Option<String>,

    /// Where the result goes.
    #[command(flatten)]
    pub(crate) output: OutputArgs,

    /// Write a JSON object for each second to a file, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) ndjson: Option<PathBuf>,
}

impl FloodArgs {
    /// The VLAN of all frames; `None` for untagged ones.
    pub(crate) fn vlan(&self) -> Option<VlanId> {
        Some(self.link.kernel_vlan()).filter(|&vlan| vlan != VlanId::UNTAGGED)
    }

    /// The configuration of a stack above [`crate::rig::vlan_nic::VlanNic`], which sees untagged frames.
    ///
    /// # Errors
    /// As [`NicArgs::config_spec`].
    pub(crate) fn config_spec(&self) -> Result<ConfigSpec, Failure> {
        let mut spec = self.link.config_spec()?;
        spec.vlans = None;
        Ok(spec)
    }
}

/// An outcome that the run may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum ExpectedOutcome {
    /// A SYN-ACK that acknowledges the SYN
    SynAck,
    /// A SYN-ACK that acknowledges something else
    SynAckWrongAck,
    /// A reset
    Rst,
    /// A reset after a SYN-ACK
    RstAfterSynAck,
    /// An ACK alone
    ChallengeAck,
    /// An ICMP error
    Icmp,
    /// No reply
    Silence,
}

/// Targets as one argument names them: addresses × ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TargetGroup {
    /// An address, and the length of the prefix that is meant.
    pub(crate) addresses: Interface,
    /// The ports.
    pub(crate) ports: PortRange,
}

/// Bytes as a flag names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

/// Text with escapes; at least a byte.
fn escaped(text: &str) -> Result<Bytes, String> {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, byte == b'\\') {
            (_, false) => byte,
            (_, true) => match rest.next() {
                Some(b'r') => b'\r',
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'\\') => b'\\',
                _ => {
                    return Err(format!(
                        "`{text}` has an unknown escape: expected \\r, \\n, \\t or \\\\"
                    ));
                }
            },
        });
    }
    if (1..=1024).contains(&bytes.len()) {
        Ok(Bytes(bytes))
    } else {
        Err("expected 1 to 1024 bytes".into())
    }
}

/// `ADDR:PORT`, `ADDR/LEN:PORT-PORT`, `[ADDR]:PORT`, `[ADDR/LEN]:PORT`.
fn targets(text: &str) -> Result<TargetGroup, String> {
    let wrong = || {
        format!(
            "unknown target `{text}`: expected ADDR:PORT such as 198.18.0.1:80, 198.18.0.1:80-89, 198.18.0.0/28:80 or [2001:db8::1]:80"
        )
    };
    let (host, ports) = text.rsplit_once(':').ok_or_else(wrong)?;
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = inner.unwrap_or(host);
    let (address, len) = match host.split_once('/') {
        Some((address, len)) => (address, Some(len)),
        None => (host, None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    // An IPv6 address without brackets would swallow its port.
    if address.is_ipv6() != inner.is_some() {
        return Err(wrong());
    }
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix_len = match len {
        None => bits,
        Some(len) => len
            .parse()
            .ok()
            .filter(|&len| len <= bits)
            .ok_or_else(wrong)?,
    };
    Ok(TargetGroup {
        addresses: Interface {
            address,
            prefix_len,
        },
        ports: port_range(ports)?,
    })
}

/// `ADDR/LEN`, without bits behind the prefix.
fn source_prefix(text: &str) -> Result<Interface, String> {
    let prefix = host_prefix(text)?;
    let host_bits = match prefix.address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shr(prefix.prefix_len.into()).unwrap_or(0);
            u128::from(address.to_bits() & mask)
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shr(prefix.prefix_len.into()).unwrap_or(0);
            address.to_bits() & mask
        }
    };
    if host_bits == 0 {
        Ok(prefix)
    } else {
        Err(format!(
            "`{text}` has bits behind its prefix: write the first address, such as 198.18.64.0/24, or one address with /32 or /128"
        ))
    }
}

/// `02:00:00:00:00:02`.
fn mac(text: &str) -> Result<[u8; 6], String> {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|part| {
            let is_plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            u8::from_str_radix(part, 16).ok().filter(|_| is_plain)
        })
        .collect();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| {
            format!("invalid MAC address `{text}`: expected one such as 02:00:00:00:00:02")
        })
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: FloodArgs,
    }

    /// The flags of a command line.
    pub(crate) fn args(line: &str) -> Result<FloodArgs, String> {
        Line::try_parse_from(format!("flood {line}").split_whitespace())
            .map(|line| line.args)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn targets_are_addresses_times_ports() {
        let group = |text: &str| {
            let group = targets(text).expect(text);
            let ip = group.addresses;
            format!(
                "{}/{} {}-{}",
                ip.address, ip.prefix_len, group.ports.first, group.ports.last
            )
        };
        assert_eq!(group("198.18.0.1:80"), "198.18.0.1/32 80-80");
        assert_eq!(group("198.18.0.0/28:80-89"), "198.18.0.0/28 80-89");
        assert_eq!(group("[2001:db8::1]:443"), "2001:db8::1/128 443-443");
        assert_eq!(group("[2001:db8::/126]:1"), "2001:db8::/126 1-1");
        for text in [
            "198.18.0.1",
            "198.18.0.1:",
            "198.18.0.1/33:80",
            "2001:db8::1:80",
            "[198.18.0.1]:80",
            "host:80",
            "198.18.0.1:90-80",
            "",
        ] {
            let error = targets(text).expect_err(text);
            assert!(error.contains("expected"), "{text}: {error}");
        }
    }

    #[test]
    fn a_request_has_escapes() {
        assert_eq!(escaped("a\\r\\n\\\\"), Ok(Bytes(b"a\r\n\\".to_vec())));
        assert!(escaped("").is_err() && escaped("\\x").is_err() && escaped("a\\").is_err());
        assert!(args("198.18.0.1:80 --reconnect 1").is_err(), "no probe");
    }

    #[test]
    fn sources_are_whole_prefixes() {
        assert!(source_prefix("198.18.64.0/18").is_ok());
        assert!(source_prefix("198.18.64.7/32").is_ok());
        assert!(source_prefix("2001:db8:0:1::/96").is_ok());
        for text in ["198.18.64.1/18", "2001:db8::1/64", "198.18.64.0"] {
            assert!(source_prefix(text).is_err(), "{text}");
        }
    }

    #[test]
    fn mac_addresses_are_read_exactly() {
        assert_eq!(mac("02:00:5e:10:00:fF"), Ok([2, 0, 0x5e, 0x10, 0, 0xff]));
        for text in [
            "",
            "02:00:00:00:00",
            "2:0:0:0:0:2",
            "02-00-00-00-00-02",
            "0g:00:00:00:00:02",
        ] {
            assert!(mac(text).is_err(), "{text}");
        }
    }

    #[test]
    fn defaults_are_a_bounded_syn_flood() {
        let refused = [
            args("--ip 198.18.0.2/24"),
            args("198.18.0.1:80 --retries 2"),
        ];
        assert!(refused.iter().all(Result::is_err), "no target, no --resend");
        let args = args("198.18.0.1:80 --ip 198.18.0.2/24").expect("valid");
        assert_eq!((args.flags, args.answer), (FloodFlags::Syn, Answer::Rst));
        assert_eq!(args.duration, Duration::from_secs(10));
        assert_eq!((args.rate, args.resend), (None, None));
    }
}
