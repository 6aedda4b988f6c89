//! A seed becomes a world: topology, faults, sizes, behaviours.
//!
//! It must never draw what TCP can't survive by its own rules: orderly plans end in order.

use std::time::Duration;

use stack::config::{FastPath, Rest};
use stack::conn::{Capacity, Records};
use stack::local::listener::{ListenerConfig, SynPolicy};
use stack::rng::Random;
use stack::sim::host::{HostSpec, Spread, draw_secrets};
use stack::sim::link::LinkSpec;
use stack::sim::nic::PoolSizes;
use stack::tcp::profile::ProfileId;
use stack::tcp::settings::Settings;
use stack::time::Instant;
use stack::wire::vlan::VlanId;

use crate::alike::Kind;
use crate::intruder::Intruder;
use crate::narrow;
use crate::plan::{Content, End, FIRST_PORT, Plan, Side};
use crate::scarce;
use crate::stage::{Manners, Stage};
use crate::trouble::Trouble;
use crate::wraps;

/// Bytes that all plans of a seed move together, at most; more only takes longer.
const TOTAL_LEN: u64 = 400_000;

/// As long as R2: a connection that stands still in these worlds is to go on.
const NEVER: Duration = Duration::from_secs(1000);

/// Pools that run dry.
const fn few() -> PoolSizes {
    PoolSizes {
        rx: 150,
        control: 150,
        data: 100,
    }
}

/// When plan 0 opens.
const FIRST_OPEN: Duration = Duration::from_millis(10);

/// The world of a seed. `fast_path` is not drawn: it must make no difference.
pub(crate) fn draw(seed: u64, fast_path: FastPath) -> Stage {
    draw_kind(seed, None, fast_path)
}

/// The same with all connections of one kind, if one is said.
pub(crate) fn draw_kind(seed: u64, kind: Option<Kind>, fast_path: FastPath) -> Stage {
    let mut random = Random::new(seed);
    let mut hosts = draw_hosts(&mut random, fast_path);
    let mut plans = draw_plans(&mut random, &hosts);
    draw_vlans(seed, &mut hosts, &mut plans);
    if let Some(kind) = kind {
        kind.arrange(seed, &mut hosts, &mut plans);
    }
    narrow::draw_paths(seed, &mut hosts, &mut plans);
    let wraps = wraps::is_due(seed);
    // Plan 0 of those has no time to lose.
    let gives_way = !wraps && scarce::draw(seed, &mut hosts, &mut plans);
    if wraps {
        wraps::arrange(&mut random, &mut hosts, &mut plans[0], FIRST_OPEN);
    }
    for (number, host) in hosts.iter_mut().enumerate() {
        let mut policy = random.one_of(&[
            SynPolicy::Embryo,
            SynPolicy::Embryo,
            SynPolicy::Embryo,
            SynPolicy::CookieWhenFull,
            SynPolicy::CookieAlways,
        ]);
        if wraps && usize::from(plans[0].server_host) == number {
            // Plan 0 must not be refused, nor wait until the wraps are over.
            policy = SynPolicy::Embryo;
            host.config.limits.records.embryos = host.config.limits.records.open;
        }
        let keeps_nothing = policy != SynPolicy::Embryo;
        let host_plans = plans
            .iter_mut()
            .filter(|plan| usize::from(plan.server_host) == number);
        host_plans.for_each(|plan| plan.may_be_refused = keeps_nothing);
        let backlog = random.one_of(&[1, 4, 64]);
        host.config.listeners = listeners(&plans, policy, backlog);
    }
    // Within the first second plan 0 opens, which the wraps wait for.
    let from_ms = if wraps { 1_000 } else { 0 };
    let troubles = Trouble::draw(&mut random, hosts.len() as u16, from_ms, !wraps);
    let manners = draw_manners(seed, &hosts, &mut plans, troubles.is_empty());
    let is_intruded = random.hits(200_000);
    if is_intruded {
        for host in &mut hosts {
            // Forged SYNs to what has ended take embryos, and only cookies could help later clients.
            let records = &mut host.config.limits.records;
            records.embryos = records.open;
        }
    }
    if is_intruded || !troubles.is_empty() {
        plans.iter_mut().for_each(|plan| plan.is_lossy = true);
    }
    for plan in &mut plans {
        plan.may_be_evicted = gives_way && !scarce::never_stands_still(plan);
    }
    let mut stage = Stage::new(random.next_u64(), Instant::ZERO, &hosts, plans, manners);
    stage.troubles = troubles;
    if is_intruded {
        let station = stage
            .world
            .add_station(HostSpec::new(9))
            .expect("a station");
        stage.intruder = Some(Intruder::new(station, random, stage.plans.len()));
    }
    stage
}

/// One for each plan.
fn listeners(plans: &[Plan], policy: SynPolicy, backlog: u32) -> Vec<ListenerConfig> {
    let ports = (FIRST_PORT..).zip(plans).map(|(port, _)| port);
    let listener = |port| ListenerConfig {
        address: None,
        port,
        policy,
        backlog,
        abort_on_overflow: false,
        profile: ProfileId::DEFAULT,
    };
    ports.map(listener).collect()
}

/// R2 and the ceiling of probes stand at their defaults in half of the worlds without troubles: of the few retransmissions
/// that 100 s hold, an outage takes so many that the losses of a bad link may take the rest. In some of those worlds an
/// application looks away for longer than both. Drawn apart: these choices came later, and what a seed stands for besides stays.
fn draw_manners(seed: u64, hosts: &[HostSpec], plans: &mut [Plan], is_calm: bool) -> Manners {
    let mut random = Random::new(seed ^ 0x5232);
    let r2 = random.one_of(&[1000, 100]);
    // A path that swallows large segments takes the first tries, and a handshake's last ACK that was too large for it makes the
    // round-trip time of a server seconds long: 100 s may hold two tries then. So they may on a path that loses one frame in ten,
    // where an ACK that was lost three times makes a sample of seconds, too (RFC 7323 §4.1: TSecr is that of the first copy).
    let swallows = |link: &LinkSpec| link.mtu != 0 && !link.answers_too_big;
    let losses_ppm = |link: &LinkSpec| link.loss_ppm + link.corrupt_ppm;
    let is_bad = |host: &HostSpec| {
        let is_swallowed = swallows(&host.up) || swallows(&host.down);
        is_swallowed || losses_ppm(&host.up) + losses_ppm(&host.down) > 10_000
    };
    let r2 = if is_calm && !hosts.iter().any(is_bad) {
        r2
    } else {
        1000
    };
    // Three probes in a row that get lost are silence.
    let is_safe = |host: &HostSpec| {
        let has_places = host.config.limits.queue_items >= 1024;
        has_places && losses_ppm(&host.up) + losses_ppm(&host.down) == 0
    };
    if r2 == 100 && hosts.iter().all(is_safe) && random.hits(300_000) {
        let plan = random.below(plans.len() as u64) as usize;
        let at = random.below(2) as usize;
        let sides = &mut plans[plan].sides;
        let after = random.below(sides[at].len / 2 + 1);
        // One that has closed waits in FIN-WAIT-2 for a minute only.
        if sides[1 - at].end != End::Close {
            sides[at].pause = Some((after, Duration::from_secs(random.one_of(&[200, 600]))));
        }
    }
    Manners {
        // Only a probe, or an app that loses patience, can find the rest that a lost reset leaves behind. A connection with
        // keepalive never parks.
        keepalive: Random::new(!seed).hits(500_000),
        r2: Duration::from_secs(r2),
    }
}

fn draw_hosts(random: &mut Random, fast_path: FastPath) -> Vec<HostSpec> {
    let faults = random.below(6);
    let hosts = random.within(2..=4) as u8;
    let mut make = |number| {
        let mut host = HostSpec::new(number);
        host.secrets = Some(draw_secrets(random));
        host.clock_ahead = Duration::from_nanos(random.below(1 << 58));
        host.workers = random.one_of(&[1, 1, 2, 3, 4]);
        host.spread = random.one_of(&[Spread::First, Spread::Owner, Spread::Wrong, Spread::Random]);
        host.up = draw_link(random, faults);
        host.down = draw_link(random, faults);
        let nic = &mut host.nic;
        nic.mtu = random.one_of(&[1280, 1500, 1500, 1400]);
        nic.rx_checksum = random.hits(500_000);
        nic.stale_good_ppm = random.one_of(&[0, 500_000, 1_000_000]);
        nic.tx_checksum = random.hits(500_000);
        nic.multi_seg = random.hits(700_000);
        // By chance that is drawn again: the worlds stay what they were but for this.
        let mut apart = random.clone();
        nic.tso_buffers = apart.one_of(&[0, 0, 8, 24, 64]);
        nic.held_bursts = random.one_of(&[0, 3, 10]);
        nic.refuse_ppm = random.one_of(&[0, 0, 50_000, 300_000]);
        nic.share_ppm = random.one_of(&[0, 20_000, 200_000]);
        nic.chain_ppm = random.one_of(&[0, 20_000, 200_000]);
        nic.pools = random.one_of(&[
            PoolSizes {
                rx: 2048,
                control: 1024,
                data: 2048,
            },
            PoolSizes {
                rx: 400,
                control: 500,
                data: 300,
            },
            few(),
        ]);
        let config = &mut host.config;
        let records = |n| Records { v4: n, v6: n };
        config.limits.records = Capacity {
            embryos: records(random.one_of(&[1, 4, 64])),
            // Fewer than there are plans, and hosts whose clients hold all records wait for each other's servers for ever.
            open: records(64),
            parked: records(random.one_of(&[2, 64])),
            time_wait: records(random.one_of(&[1, 4, 64])),
        };
        config.fast_path = fast_path;
        config.rest = draw_rest(&mut apart);
        nic.lro_segments = apart.one_of(&[0, 0, 3, 44]);
        config.limits.neighbors = 16;
        config.limits.handoff_frames = 256;
        // Below what the pool for received frames has beyond rings and bursts.
        config.limits.queue_items = match nic.pools.rx {
            1000.. => 1024,
            300.. => 128,
            _ => 32,
        };
        config.limits.stall_limit = NEVER;
        config.limits.send_queue_items = random.one_of(&[1, 4, 64]);
        config.handshake.syn_ack_retries = 7;
        config.tcp.profile.rcv_buf = random.one_of(&[2_920, 10_000, 65_536, 262_144]);
        config.park_after = random.one_of(&[Duration::from_millis(5), Duration::from_secs(1)]);
        draw_tcp(random, &mut config.tcp);
        host
    };
    (1..=hosts).map(&mut make).collect()
}

/// All idle connections rest, or none.
fn draw_rest(random: &mut Random) -> Rest {
    Rest {
        above: random.one_of(&[0, u32::MAX]),
        after: Duration::ZERO,
    }
}

fn draw_tcp(random: &mut Random, tcp: &mut Settings) {
    tcp.two_msl = Duration::from_secs(60);
    tcp.profile.fin_wait_2 = Duration::from_secs(600);
    tcp.timestamps = random.hits(700_000);
    tcp.window_scaling = random.hits(700_000);
    tcp.profile.ack_delay = random.one_of(&[Duration::ZERO, Duration::from_millis(40)]);
    tcp.profile.keepalive_idle = Duration::from_secs(30);
    tcp.profile.keepalive_interval = Duration::from_secs(5);
    tcp.profile.keepalive_probes = 9;
}

fn draw_link(random: &mut Random, faults: u64) -> LinkSpec {
    let delay = random.one_of(&[10, 200, 5_000, 40_000]);
    let perfect = LinkSpec::perfect(Duration::from_micros(delay));
    let slow = LinkSpec {
        rate_bps: random.one_of(&[1_000_000, 10_000_000, 100_000_000]),
        queue_len: random.one_of(&[8_000, 30_000, 100_000]),
        ..perfect
    };
    match faults {
        0 => perfect,
        1 => LinkSpec {
            loss_ppm: random.below(50_000) as u32,
            ..perfect
        },
        2 => LinkSpec {
            reorder_ppm: random.below(100_000) as u32,
            duplicate_ppm: random.below(50_000) as u32,
            reorder_delay: Duration::from_millis(random.within(1..=100)),
            jitter: Duration::from_micros(random.below(2_000)),
            ..perfect
        },
        3 => slow,
        4 => LinkSpec {
            corrupt_ppm: random.below(30_000) as u32,
            ..perfect
        },
        _ => LinkSpec {
            loss_ppm: random.below(20_000) as u32,
            reorder_ppm: random.below(50_000) as u32,
            duplicate_ppm: random.below(20_000) as u32,
            corrupt_ppm: random.below(10_000) as u32,
            reorder_delay: Duration::from_millis(random.within(1..=50)),
            jitter: Duration::from_micros(random.below(1_000)),
            ..slow
        },
    }
}

fn draw_plans(random: &mut Random, hosts: &[HostSpec]) -> Vec<Plan> {
    let plans = random.within(1..=20);
    let each_len = TOTAL_LEN / plans;
    let make = |n| draw_plan(random, hosts, n, each_len);
    (0..plans as u16).map(make).collect()
}

fn draw_plan(random: &mut Random, hosts: &[HostSpec], n: u16, most_len: u64) -> Plan {
    let client = random.below(hosts.len() as u64) as usize;
    let server = (client + random.within(1..=hosts.len() as u64 - 1) as usize) % hosts.len();
    let (is_v6, server_port) = (random.hits(400_000), FIRST_PORT + n);
    let address = |host: usize| {
        let number = host as u8 + 1;
        if is_v6 {
            HostSpec::v6(number)
        } else {
            HostSpec::v4(number)
        }
    };
    let mut sides = [draw_side(random, most_len), draw_side(random, most_len)];
    if random.hits(150_000) {
        sides[1].content = Content::Echo;
        sides[0].content = Content::Static;
    }
    draw_ends(random, &mut sides);
    let workers = hosts[client].workers;
    Plan {
        client_at: (client as u16, random.below(workers.into()) as u16),
        client_address: address(client),
        client_port: (workers == 1 && random.hits(300_000)).then_some(20_000 + n),
        server_host: server as u16,
        server: (address(server), server_port).into(),
        vlan: VlanId::UNTAGGED,
        starts_after: if n == 0 {
            FIRST_OPEN
        } else {
            Duration::from_millis(random.one_of(&[10, 10, 100, 2_000]))
        },
        accepts_after: Duration::from_millis(random.one_of(&[0, 0, 0, 3_000])),
        sides,
        may_be_refused: false,
        may_be_evicted: false,
        is_lossy: [&hosts[client], &hosts[server]]
            .into_iter()
            .any(loses_frames),
        is_reordered: [&hosts[client], &hosts[server]]
            .into_iter()
            .any(reorders_frames),
    }
}

pub(crate) fn reorders_frames(host: &HostSpec) -> bool {
    let reorders = |link: &LinkSpec| link.reorder_ppm + link.duplicate_ppm > 0;
    reorders(&host.up) || reorders(&host.down)
}

pub(crate) fn loses_frames(host: &HostSpec) -> bool {
    let loses = |link: &LinkSpec| link.loss_ppm + link.corrupt_ppm > 0 || link.rate_bps > 0;
    loses(&host.up) || loses(&host.down) || host.nic.pools.rx < 1000
}

fn draw_side(random: &mut Random, most_len: u64) -> Side {
    let len = match random.below(5) {
        0 => 0,
        1 => 1,
        2 => random.within(1..=3_000),
        _ => random.within(1..=most_len.max(2)),
    };
    let pause = random.hits(200_000).then(|| {
        let time = random.one_of(&[50, 1_000, 20_000]);
        (random.below(len + 1), Duration::from_millis(time))
    });
    Side {
        content: random.one_of(&[
            Content::Bytes(random.clone().next_u64() as u8),
            Content::Chargen,
            Content::Static,
        ]),
        len,
        chunk_len: random.one_of(&[100, 1_000, 1_460, 10_000]),
        read_len: random.one_of(&[500, 5_000, u32::MAX, u32::MAX]),
        takes: random.hits(500_000),
        pause,
        end: End::Close,
        nagle: random.hits(500_000),
    }
}

/// Whether the plans of a seed are in VLANs.
pub(crate) fn has_vlans(seed: u64) -> bool {
    seed % 5 < 2
}

/// One VLAN, two, or one and untagged frames, for all hosts; each plan is in one of them. Some hosts name them, others are in
/// all. From a generator of its own, so that a seed's world stays what it was.
fn draw_vlans(seed: u64, hosts: &mut [HostSpec], plans: &mut [Plan]) {
    if !has_vlans(seed) {
        return;
    }
    let mut random = Random::new(seed ^ 0x8021_0802_1000_0000);
    let (one, another) = (random.within(1..=2_000), random.within(2_001..=4_094));
    let vlans: Vec<VlanId> = match random.below(3) {
        0 => vec![one],
        1 => vec![one, another],
        _ => vec![another, 0],
    }
    .into_iter()
    .map(|id| VlanId(id as u16))
    .collect();
    for host in hosts {
        host.config.vlans = random.hits(600_000).then(|| vlans.clone());
        // Each neighbour is one in each VLAN.
        host.config.limits.neighbors *= 2;
    }
    for plan in plans {
        plan.vlan = random.one_of(&vlans);
    }
}

/// Which side closes, and how. At least one side acts without waiting for the other's FIN.
fn draw_ends(random: &mut Random, sides: &mut [Side; 2]) {
    let first = random.below(2) as usize;
    sides[first].end = random.one_of(&[End::Close, End::Shutdown]);
    sides[1 - first].end =
        random.one_of(&[End::Close, End::Shutdown, End::AfterPeer, End::AfterPeer]);
    if random.hits(150_000) {
        let at = random.below(sides[0].len + sides[1].len + 1);
        sides[first].end = random.one_of(&[End::Abort(at), End::CloseUnread(at / 2)]);
        // It may never come to that, so the other side doesn't wait for it.
        sides[1 - first].end = random.one_of(&[End::Close, End::Shutdown]);
    }
    if random.hits(150_000) {
        // Both at once: simultaneous close, where the delays allow it.
        (sides[0].len, sides[1].len) = (0, 0);
        (sides[0].end, sides[1].end) = (End::Shutdown, End::Shutdown);
    }
}
