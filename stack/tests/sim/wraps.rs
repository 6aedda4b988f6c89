//! A third of the seeds: sequence numbers, timestamps and the ticks of tables and timers all wrap while plan 0 runs.
//!
//! It must never count a wrap that it hasn't seen.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use stack::conn::{FlowHasher, FlowKey};
use stack::rng::Random;
use stack::sim::host::HostSpec;
use stack::sim::inspect::Tcp;
use stack::sim::link::Fate;
use stack::sim::trace::Crossing;
use stack::sim::wrap;
use stack::tcp::isn::{IsnKey, Remote, Tuple};
use stack::time::Instant;
use stack::wire::vlan::VlanId;
use stack::worker::Secrets;

use crate::plan::{Content, End, Plan};

/// The least bytes that the client of plan 0 sends, so that its sequence numbers pass their wrap.
const SENT_LEN: u64 = 30_000;
/// How far its ISS is below the wrap: more than the clock behind it advances in the 8 ms by which it may open late.
const ISS_ROOM: RangeInclusive<u32> = 2_000..=20_000;
/// The server of plan 0 doesn't read for so long, so that the connection is there before and after the clocks' wraps.
const PAUSE: Duration = Duration::from_secs(20);

/// How long after the start of the world the clocks wrap, in milliseconds.
const LEAD_MS: RangeInclusive<u64> = 8_000..=15_000;

/// Whether a seed is one of those.
pub(crate) fn is_due(seed: u64) -> bool {
    seed.is_multiple_of(3)
}

/// Makes plan 0, its client's ISS and its hosts' clocks so that all three wrap. The world's clock begins at zero.
pub(crate) fn arrange(
    random: &mut Random,
    hosts: &mut [HostSpec],
    plan: &mut Plan,
    opens_after: Duration,
) {
    let [client, server] = &mut plan.sides;
    client.len = client.len.max(SENT_LEN);
    server.pause = Some((0, PAUSE));
    if server.content == Content::Echo {
        server.content = Content::Static;
    }
    for side in [client, server] {
        if !side.end.is_orderly() {
            side.end = End::Close;
        }
    }
    let lead = Duration::from_millis(random.within(LEAD_MS));
    let server = &mut hosts[usize::from(plan.server_host)];
    server.config.tcp.timestamps = true;
    // Not all fits, so there is something left to send when it reads on.
    server.config.tcp.profile.rcv_buf = server.config.tcp.profile.rcv_buf.min(SENT_LEN as u32 / 3);
    // Ports don't count for timestamps.
    let tuple = tuple(
        server,
        plan.vlan,
        plan.server,
        (plan.client_address, 0).into(),
    )
    .1;
    let starts_at = wrap::before_timestamps_wrap(&secrets(server), tuple, lead);
    server.clock_ahead = starts_at - Instant::ZERO;

    let client = &mut hosts[usize::from(plan.client_at.0)];
    client.config.tcp.timestamps = true;
    client.clock_ahead = wrap::before_ticks_wrap(lead) - Instant::ZERO;
    choose_iss(random, client, plan, opens_after);
}

/// Draws secrets until there is a port that makes an ISS just below the wrap; the client is the worker that owns it.
fn choose_iss(random: &mut Random, host: &mut HostSpec, plan: &mut Plan, opens_after: Duration) {
    let opens_at = Instant::ZERO + host.clock_ahead + opens_after;
    let local = |port| SocketAddr::new(plan.client_address, port);
    let (_, first) = tuple(host, plan.vlan, local(0), plan.server);
    let (port, isn) = loop {
        let isn = random.bytes();
        let key = IsnKey::new(&isn);
        let is_close = |port: &u16| {
            let ends = first.ends | u64::from(*port);
            let iss = key.iss(Tuple { ends, ..first }, opens_at).0;
            ISS_ROOM.contains(&iss.wrapping_neg())
        };
        if let Some(port) = (30_000..=u16::MAX).find(is_close) {
            break (port, isn);
        }
    };
    host.secrets = Some(Secrets {
        isn,
        ..secrets(host)
    });
    let (key, _) = tuple(host, plan.vlan, local(port), plan.server);
    let owner = FlowHasher::new(secrets(host).flow).hash(&key);
    plan.client_port = Some(port);
    plan.client_at.1 = owner.owner(host.workers);
}

fn secrets(host: &HostSpec) -> Secrets {
    host.secrets.expect("drawn secrets")
}

/// The names of a connection at one of its hosts.
fn tuple(host: &HostSpec, vlan: VlanId, local: SocketAddr, remote: SocketAddr) -> (FlowKey, Tuple) {
    let config = host.config.clone().validate().expect("a configuration");
    let id = config
        .locals
        .find(vlan, local.ip())
        .expect("an address of its");
    let key = FlowKey::new(id, local.port(), remote.ip(), remote.port());
    let remote = match key.is_v6() {
        true => Remote::V6(key.remote_v6()),
        false => Remote::V4(key.remote_v4()),
    };
    let ends = key.ends();
    (key, Tuple { remote, ends })
}

/// The number that didn't wrap in the frames of plan 0, judged by those that were sent before and after; `None` when its server
/// sent nothing before the clocks may have wrapped: frames waited for buffers, a neighbour or a cable.
pub(crate) fn missing(
    trace: &[Crossing],
    plan: &Plan,
    started_at: Instant,
    client_ahead: Duration,
) -> Option<Vec<String>> {
    let ports = [plan.client_port.unwrap_or(0), plan.server.port()];
    let sent = |side: usize, field: fn(Tcp<'_>) -> Option<u32>| -> Vec<(Instant, u32)> {
        let whole = trace
            .iter()
            .filter(|crossing| crossing.fate != Fate::Corrupted);
        let of_side = whole.filter_map(|crossing| {
            let tcp = Tcp::of(&crossing.bytes)?;
            let is_its = tcp.ports() == [ports[side], ports[1 - side]];
            Some((crossing.sent_at, field(tcp).filter(|_| is_its)?))
        });
        of_side.collect()
    };
    let wraps = |values: &[(Instant, u32)]| {
        let high = values.iter().position(|(_, value)| *value >> 31 == 1);
        high.is_some_and(|high| values[high..].iter().any(|(_, value)| value >> 30 == 0))
    };
    let seqs = sent(0, |tcp| Some(tcp.seq()));
    let timestamps = sent(1, |tcp| Some(tcp.timestamps()?[0]));
    if timestamps.first()?.0 > started_at + Duration::from_millis(*LEAD_MS.start()) {
        return None;
    }
    let ticks: Vec<_> = seqs
        .iter()
        .map(|(at, _)| (*at, (*at + client_ahead).as_ms() as u32))
        .collect();
    let numbers = [
        ("sequence number", seqs),
        ("timestamp", timestamps),
        ("clock", ticks),
    ];
    let missing = numbers.into_iter().filter(|(_, values)| !wraps(values));
    Some(
        missing
            .map(|(name, _)| format!("no {name} wraps in plan 0"))
            .collect(),
    )
}
