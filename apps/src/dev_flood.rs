//! `syncline dev-flood` (hidden): a bounded number of SYNs from spoofed sources at one port, replies verified.
//!
//! It must never send to or from an address that is not set aside for tests, and never through the interface of the
//! default route (the NIC's own check sees to that). `syncline flood` with its guard rails takes its place.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dpdk::{DpdkNic, Eal, EalConfig, NicSpec, PortConfig};
use serde::Serialize;
use stack::nic::Nic as _;

use crate::clock::Clock;
use crate::console;
use crate::failure::Failure;
use crate::rig;
use crate::secrets;
use crate::stop::Stop;
use crate::traffic::{
    Expect, Generator, Rate, Sending, StrictExchange, StrictPlan, SynOptions, Tally, Target,
};
use crate::units;

/// Reasons of the verifier that only say that a frame was somebody else's: the kernel speaks on this link as well. It makes
/// the sum look as if there were a reply too many (`unasked`).
const FOREIGN: &[&str] = &["ether_type", "mac", "unasked"];
/// A line this often.
const LINE: Duration = Duration::from_secs(1);
/// Replies that did not come for this long will not come.
const SILENCE: Duration = Duration::from_millis(300);
/// However much else is said on the link, waiting for replies ends after this.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Turns between two looks at the system's clock.
const TURNS_PER_LOOK: u32 = 64;

/// Sends SYNs from spoofed sources (198.18.0.0/15 or 2001:2:0:1::/64) and verifies the replies
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DevFloodArgs {
    /// The NIC to send through, such as net_af_packet0,iface=dtap0
    #[arg(long, value_name = "NIC")]
    nic: String,

    /// The target
    #[arg(long, value_name = "ADDR:PORT")]
    to: SocketAddr,

    /// The target's link-layer address
    #[arg(long, value_name = "MAC", value_parser = mac)]
    to_mac: [u8; 6],

    /// SYNs to send; up to one burst more leave
    #[arg(long, value_name = "N", default_value = "1m", value_parser = units::count)]
    count: u64,

    /// SYNs a second [default: as many as are taken]
    #[arg(long, value_name = "PPS", value_parser = units::rate_pps)]
    rate: Option<u64>,

    /// What must come back
    #[arg(long, value_enum, default_value = "rst")]
    expect: Expect,

    /// TCP options of the SYNs
    #[arg(long, value_enum, default_value = "linux")]
    options: SynOptions,

    /// SYNs that may be unanswered at a time; a tap holds 500 frames
    #[arg(long, value_name = "N", default_value = "384", value_parser = units::count_u32)]
    window: u32,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Outcome {
    sent: u64,
    replies_verified: u64,
    replies_wrong: u64,
    /// Frames that were no replies.
    foreign_frames: u64,
    lost: u64,
    seconds: f64,
    sent_pps: f64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} SYNs in {:.1} s ({:.0}/s): {} replies verified, {} wrong, {} lost",
            self.sent,
            self.seconds,
            self.sent_pps,
            self.replies_verified,
            self.replies_wrong,
            self.lost
        )
    }
}

/// Sends as `args` say, and prints what came back.
///
/// # Errors
/// [`Failure`]: wrong usage, a NIC that can't be had, wrong replies.
pub(crate) fn run(args: &DevFloodArgs) -> Result<(), Failure> {
    let stop = Stop::on_signals()?;
    if !rig::is_for_tests(args.to.ip()) {
        return Err(Failure::Usage(format!(
            "--to {}: only addresses that are set aside for tests (198.18.0.0/15, 192.0.2.0/24, 2001:2::/48, 2001:db8::/32)",
            args.to
        )));
    }
    let spec: NicSpec = args.nic.parse()?;
    spec.check()?;
    let eal = Eal::init(&EalConfig {
        memory_mb: 128,
        nics: vec![spec.clone()],
        ..EalConfig::default()
    })?;
    let (port, queues) = eal.open(&spec)?.init(&PortConfig::default())?;
    let none = || Failure::Run(format!("{spec} has no queue"));
    let nic = DpdkNic::new(queues.into_iter().next().ok_or_else(none)?);
    let clock = Clock::start(eal.cycles_hz());
    let mut generator = generator(args, nic, clock)?;
    let (tally, seconds) = flood(args, &mut generator, clock, &stop);
    for dump in generator.exchange().dumps() {
        console::log(dump);
    }
    drop((generator, port));
    print(args, &tally, seconds)
}

fn generator(
    args: &DevFloodArgs,
    nic: DpdkNic,
    clock: Clock,
) -> Result<Generator<DpdkNic, StrictExchange>, Failure> {
    let plan = StrictPlan {
        target: Target {
            mac: args.to_mac,
            address: args.to.ip(),
            port: args.to.port(),
        },
        source_mac: nic.mac(),
        options: args.options,
        expect: args.expect,
        retire: false,
        window: (args.expect != Expect::Sink).then_some(args.window),
        hz: clock.hz(),
        seed: secrets::seed()?,
    };
    let exchange = StrictExchange::new(&plan).map_err(|error| Failure::Run(error.to_string()))?;
    let rate = Rate::new(args.rate, clock.hz(), 1);
    Ok(Generator::new(nic, exchange, rate))
}

/// Sends until `--count` is reached or a signal comes, then waits for what is on its way. The seconds are those of sending.
fn flood(
    args: &DevFloodArgs,
    generator: &mut Generator<DpdkNic, StrictExchange>,
    clock: Clock,
    stop: &Stop,
) -> (Tally, f64) {
    let started = generator.tally();
    let (mut last, mut next_line) = (started, Instant::now() + LINE);
    let mut now_ticks = started.at_ticks;
    loop {
        for _ in 0..TURNS_PER_LOOK {
            let sending = if generator.tally().sent < args.count {
                Sending::All
            } else {
                Sending::Answers
            };
            now_ticks = generator.turn(sending, now_ticks).0;
        }
        let tally = generator.tally();
        if tally.sent >= args.count || stop.is_asked() {
            break;
        }
        if Instant::now() >= next_line {
            next_line += LINE;
            let moved = tally.since(&last);
            let seconds = clock.seconds(last.at_ticks, tally.at_ticks);
            console::log(format_args!(
                "{:.3} Mpps sent, {:.3} Mpps verified",
                moved.sent as f64 / seconds / 1e6,
                moved.verified as f64 / seconds / 1e6
            ));
            last = tally;
        }
    }
    let seconds = clock.seconds(started.at_ticks, generator.tally().at_ticks);
    generator.discard_unsent();
    let (mut moved_at, mut received) = (Instant::now(), generator.tally().rx_frames);
    let waits_since = Instant::now();
    while moved_at.elapsed() < SILENCE && waits_since.elapsed() < WAIT_MAX {
        now_ticks = generator.turn(Sending::Answers, now_ticks).0;
        if generator.tally().rx_frames != received {
            received = generator.tally().rx_frames;
            moved_at = Instant::now();
        }
    }
    (generator.tally(), seconds)
}

fn print(args: &DevFloodArgs, tally: &Tally, seconds: f64) -> Result<(), Failure> {
    let is_foreign = |name: &str| FOREIGN.contains(&name);
    let sum = |foreign| {
        let reasons = tally.wrong_by_reason();
        let counted = reasons.filter(|(name, _)| is_foreign(name) == foreign);
        counted.map(|(_, n)| n).sum::<u64>()
    };
    let outcome = Outcome {
        sent: tally.sent,
        replies_verified: tally.verified,
        replies_wrong: sum(false),
        foreign_frames: sum(true),
        lost: tally.sent.saturating_sub(tally.verified),
        seconds,
        sent_pps: (tally.sent as f64 / seconds.max(1e-9)).round(),
    };
    console::report(&outcome, args.json)?;
    if outcome.replies_wrong == 0 {
        return Ok(());
    }
    let reasons: Vec<String> = tally
        .wrong_by_reason()
        .filter(|(name, _)| !is_foreign(name))
        .map(|(name, n)| format!("{name} {n}"))
        .collect();
    Err(Failure::Gate(format!(
        "{} wrong replies ({})",
        outcome.replies_wrong,
        reasons.join(", ")
    )))
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
        .ok_or_else(|| format!("`{text}` is no MAC address; write it like 02:00:00:00:00:02"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_are_read_exactly() {
        assert_eq!(mac("02:00:5e:10:00:fF"), Ok([2, 0, 0x5e, 0x10, 0, 0xff]));
        for text in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:02:03",
            "2:0:0:0:0:2",
            "02-00-00-00-00-02",
            "0g:00:00:00:00:02",
            "+2:00:00:00:00:02",
        ] {
            assert!(mac(text).is_err(), "{text}");
        }
    }
}
