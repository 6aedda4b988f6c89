//! Whole workers with an app each on one core, joined in memory, a client and one server or several: complete connections, or one byte
//! there and back. The client is the load generator's, the server the least that can answer. Each side's cycles are its own, and no
//! cache line comes from another core.
//!
//! It must never ask the day's clock or its randomness: two runs of a scenario execute the same instructions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use stack::app::App;
use stack::config::{Config, ConfigSpec, Interface};
use stack::conn::{Capacity, Records};
use stack::counters::Counter;
use stack::local::addresses::LocalPrefix;
use stack::local::listener::{ListenerConfig, SynPolicy};
use stack::memory::PageOptions;
use stack::nic::rss::{SYMMETRIC_KEY, Steering};
use stack::tcp::profile::ProfileId;
use stack::tcp::state::State;
use stack::time::Instant;
use stack::wire::vlan::VlanId;
use stack::worker::{Cycles, RingEnd, Rings, Secrets, Worker};
use workload::load::{LoadClient, LoadCounts, LoadPlan, LocalTuples};
use workload::pools::{PortRange, Shard, SourcePool, TupleOrder};
use workload::{ConnectServer, RequestServer, Shape, Side, Tally, exchange, http};

use crate::pair_nic::PairNic;

/// The conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Conversation {
    /// Complete HTTP connections with as much in each segment as can be: 6 packets, the server closes first.
    Connect,
    /// The same with every segment alone: 11 packets, the client closes first.
    ConnectPlain,
    /// One byte there and back over established connections chosen at random; a reply is acknowledged by the next request on its
    /// connection, or alone after the default delay.
    Request,
    /// The same with every reply acknowledged at once, by a segment of its own.
    RequestPlain,
}

impl Conversation {
    /// Whether its connections stay.
    const fn is_request(self) -> bool {
        matches!(self, Self::Request | Self::RequestPlain)
    }
}

/// One of the two workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Party {
    /// It accepts connections and answers requests.
    Server,
    /// It opens connections and sends requests.
    Client,
}

/// The addresses of both workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A loop as it is to be built.
#[derive(Debug, Clone, Copy)]
pub struct ConversationSpec {
    /// The conversation.
    pub scenario: Conversation,
    /// Between which addresses.
    pub family: Family,
    /// Whether all frames are in a VLAN.
    pub is_tagged: bool,
    /// [`Conversation::Request`]: established connections.
    pub connections: u32,
    /// Connections or requests under way at a time.
    pub concurrency: u32,
    /// Frames per receive call, 1 to [`stack::nic::BURST_FRAMES`].
    pub burst: usize,
    /// Whose turns are counted by what counts instructions.
    pub measured: Party,
    /// Workers of the server, each with a queue of its own, to which the link steers by Toeplitz's hash; 1 without.
    pub workers: u16,
    /// [`Party::Server`]: which of them is measured.
    pub measured_worker: u16,
}

/// Server, client, and the first of the client's addresses, which the server sees behind the client's as behind a router.
const V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(198, 18, 0, 2),
    Ipv4Addr::new(198, 18, 0, 1),
    Ipv4Addr::new(198, 19, 0, 0),
];
const V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2),
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0),
];
/// Bits of the client's addresses that differ.
const SOURCE_BITS: u8 = 12;
const VLAN: VlanId = VlanId(7);
const PORT: u16 = 80;
const BODY_LEN: u32 = 64;
/// Fixed secrets: the gate counts instructions, and those may not depend on the day.
const SERVER_SECRETS: Secrets = Secrets {
    flow: [1, 2],
    isn: [3; 16],
    cookie: [4; 16],
    ports: [10; 16],
};
const CLIENT_SECRETS: Secrets = Secrets {
    flow: [5, 6],
    isn: [7; 16],
    cookie: [8; 16],
    ports: [11; 16],
};
const SEED: u64 = 9;
/// How far the clock goes while both workers turn once: 64 frames for each at about 3 Mpps.
const TURN: Duration = Duration::from_micros(20);
/// 2 MSL, short: at the rate of the loop's own clock it is 160,000 records, more than any cache holds.
const TWO_MSL: Duration = Duration::from_millis(100);
const TIME_WAIT_RECORDS: u32 = 1 << 19;
/// As in `bench request` where each connection may be open: the cost is that of open connections, not of unparking them.
const PARK_AFTER: Duration = Duration::from_secs(5);
/// The largest value of a SYN's window field. More would be announced right behind the handshake, in a segment of its own.
const RCV_BUF: u32 = 65_535;
/// Records beyond those under way.
const SLACK: u32 = 1024;
/// Turns without an end of what is under way that are too many: ten seconds of the loop's clock.
const STALLED_TURNS: u32 = 500_000;

/// Frames on their way between two workers of the server.
const HANDOFF_FRAMES: u16 = 4096;

/// All workers, ready to turn.
pub struct ConversationLoop {
    client: Worker<PairNic, LoadClient>,
    servers: Vec<Worker<PairNic, Side>>,
    /// How the link steers to several servers.
    steering: Option<Arc<Steering>>,
    scenario: Conversation,
    measured: Party,
    measured_worker: usize,
    now: Instant,
}

/// The result of a run: the counts of both sides, and where their cycles went.
#[derive(Debug, Clone, Copy)]
pub struct ConversationRun {
    /// Complete connections, or requests answered.
    pub exchanges: u64,
    /// The cycles of the server's measured worker.
    pub server: Cycles,
    /// The client's cycles.
    pub client: Cycles,
    /// Segments of connections that the server took by the general path.
    pub server_general: u64,
    /// Those that the client did.
    pub client_general: u64,
    /// Frames that one worker of the server handed over to another.
    pub handed_over: u64,
}

impl ConversationSpec {
    /// Server, client, and the first of the client's addresses.
    fn addresses(&self) -> [IpAddr; 3] {
        match self.family {
            Family::V4 => V4.map(IpAddr::V4),
            Family::V6 => V6.map(IpAddr::V6),
        }
    }
}

fn capacity(spec: &ConversationSpec) -> Capacity {
    let records = |n| match spec.family {
        Family::V4 => Records { v4: n, v6: 0 },
        Family::V6 => Records { v4: 0, v6: n },
    };
    let under_way = spec.concurrency + SLACK;
    let is_request = spec.scenario.is_request();
    Capacity {
        embryos: records(under_way),
        open: records(under_way.max(if is_request { spec.connections } else { 0 })),
        parked: records(spec.connections.max(64)),
        time_wait: records(if is_request { 64 } else { TIME_WAIT_RECORDS }),
    }
}

fn config(
    spec: &ConversationSpec,
    address: IpAddr,
    change: impl FnOnce(&mut ConfigSpec),
) -> Config {
    let prefix_len = match spec.family {
        Family::V4 => 24,
        Family::V6 => 64,
    };
    let mut config = ConfigSpec::new(vec![Interface {
        address,
        prefix_len,
    }]);
    if spec.is_tagged {
        config.vlans = Some(vec![VLAN]);
    }
    config.limits.records = capacity(spec);
    if spec.scenario.is_request() {
        let places = exchange::queue_items(spec.connections);
        config.limits.queue_items = config.limits.queue_items.max(places);
    }
    config.tcp.two_msl = TWO_MSL;
    config.park_after = PARK_AFTER;
    config.tcp.profile.rcv_buf = RCV_BUF;
    // Each message is whole, and should not wait for an acknowledgment.
    config.tcp.profile.nagle = false;
    if matches!(
        spec.scenario,
        Conversation::ConnectPlain | Conversation::RequestPlain
    ) {
        config.tcp.profile.ack_delay = Duration::ZERO;
    }
    change(&mut config);
    config.validate().expect("it is valid")
}

fn server_config(spec: &ConversationSpec) -> Config {
    let [server, client, _] = spec.addresses();
    config(spec, server, |config| {
        match client {
            IpAddr::V4(client) => config.gateway_v4 = Some(client),
            IpAddr::V6(client) => config.gateway_v6 = Some(client),
        }
        config.listeners = vec![ListenerConfig {
            address: None,
            port: PORT,
            policy: SynPolicy::Embryo,
            backlog: spec.concurrency + SLACK,
            abort_on_overflow: false,
            profile: ProfileId::DEFAULT,
        }];
    })
}

fn client_config(spec: &ConversationSpec) -> Config {
    let [_, client, sources] = spec.addresses();
    config(spec, client, |config| {
        let address_bits = if sources.is_ipv4() { 32 } else { 128 };
        let sources = LocalPrefix::new(sources, address_bits - SOURCE_BITS);
        config.prefixes = vec![sources.expect("a prefix")];
    })
}

/// Where the client's connections come from.
fn sources(spec: &ConversationSpec) -> LocalTuples {
    let [_, _, sources] = spec.addresses();
    let address_bits = if sources.is_ipv4() { 32 } else { 128 };
    let prefix = (sources, address_bits - SOURCE_BITS);
    let pool = SourcePool::new(&[prefix], &[PortRange::UNPRIVILEGED]);
    let tuples = pool
        .ok()
        .and_then(|pool| LocalTuples::new(pool, TupleOrder::Sequential, Shard::WHOLE));
    tuples.expect("a prefix of many addresses")
}

fn client_plan(spec: &ConversationSpec) -> LoadPlan {
    let [server, ..] = spec.addresses();
    let ends = (SocketAddr::from((server, PORT)), sources(spec));
    match shape(spec.scenario) {
        Some(shape) => {
            let body = http::body(BODY_LEN);
            exchange::complete_connections(ends, shape, spec.concurrency, &body)
        }
        None => exchange::single_bytes(ends, spec.connections, spec.concurrency, SEED),
    }
}

fn server_app(spec: &ConversationSpec) -> Side {
    match shape(spec.scenario) {
        Some(shape) => {
            let server = ConnectServer::new(shape, BODY_LEN, spec.concurrency + SLACK);
            Side::Connect(Box::new(server))
        }
        None => Side::Request(Box::new(RequestServer::new())),
    }
}

/// Of complete connections: which data shares a segment with which flag.
const fn shape(scenario: Conversation) -> Option<Shape> {
    match scenario {
        Conversation::Connect => Some(Shape::Piggyback),
        Conversation::ConnectPlain => Some(Shape::Plain),
        Conversation::Request | Conversation::RequestPlain => None,
    }
}

/// Builds both workers and, for [`Conversation::Request`], opens the connections.
///
/// # Errors
/// In words: not enough memory, or connections that could not be opened.
pub fn build(spec: &ConversationSpec) -> Result<ConversationLoop, String> {
    let steering = (spec.workers > 1)
        .then(|| Steering::even(&SYMMETRIC_KEY, spec.workers).map(Arc::new))
        .flatten();
    // Page faults of records that were never used before would be most of what is measured.
    let pages = PageOptions {
        prefault: true,
        ..PageOptions::default()
    };
    let config = Arc::new(server_config(spec));
    let mut servers = Vec::new();
    for end in Rings::new(spec.workers, HANDOFF_FRAMES).into_ends() {
        let nic = PairNic::new([2, 0, 0, 0, 0, 2], spec.burst).with_steering(steering.clone());
        let (app, config) = (server_app(spec), Arc::clone(&config));
        let server = Worker::with_app(nic, app, config, &SERVER_SECRETS, end, pages);
        servers.push(server.map_err(|error| error.to_string())?);
    }
    let client = Worker::with_app(
        PairNic::new([2, 0, 0, 0, 0, 1], spec.burst),
        LoadClient::new(client_plan(spec)),
        Arc::new(client_config(spec)),
        &CLIENT_SECRETS,
        RingEnd::single(),
        pages,
    );
    let mut conversation = ConversationLoop {
        client: client.map_err(|error| error.to_string())?,
        servers,
        steering,
        scenario: spec.scenario,
        measured: spec.measured,
        measured_worker: spec.measured_worker.into(),
        now: Instant::ZERO,
    };
    conversation.turn_until(Counted::No, |seen| seen.client.app().unreached().is_none())?;
    if spec.scenario.is_request() {
        let wanted = u64::from(spec.connections);
        conversation.client.app_mut().fill();
        conversation.turn_until(Counted::No, |seen| {
            seen.client().established >= wanted && seen.served(|tally| tally.opened) >= wanted
        })?;
    }
    Ok(conversation)
}

/// A turn of the measured worker and nothing else. It stands alone, so that callgrind can collect inside it (and outside of the
/// NIC): `scripts/bench-instructions` names it.
#[inline(never)]
fn measured_turn<A: App>(worker: &mut Worker<PairNic, A>, now: Instant) -> usize {
    worker.turn(now)
}

/// The same for the other worker, and for both while nothing is measured. Not quite the same: of two functions with one
/// body the compiler keeps one.
#[inline(never)]
fn unmeasured_turn<A: App>(worker: &mut Worker<PairNic, A>, now: Instant) -> usize {
    core::hint::black_box(worker.turn(now))
}

fn turn<A: App>(worker: &mut Worker<PairNic, A>, now: Instant, is_measured: bool) {
    if is_measured {
        measured_turn(worker, now);
    } else {
        unmeasured_turn(worker, now);
    }
}

/// Segments of connections that a worker took by the general path.
fn general_segments<A: App>(worker: &Worker<PairNic, A>) -> u64 {
    let tcp = worker.tcp_counters();
    let predicted: u64 = State::ALL
        .iter()
        .map(|&state| tcp.predicted_in(state))
        .sum();
    worker.counters().get(Counter::ConnSegment) - predicted
}

/// Whether a turn is one of those that are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    Yes,
    No,
}

impl ConversationLoop {
    /// Runs until `exchanges` more connections are complete, or requests answered.
    ///
    /// # Errors
    /// In words, when something failed or nothing happens any more.
    pub fn run(&mut self, exchanges: u64) -> Result<ConversationRun, String> {
        self.client.app_mut().start(self.now);
        let (client, server) = (*self.client.cycles(), *self.measured_server()?.cycles());
        let general = (general_segments(&self.client), self.server_general());
        let handed_over = self.handed_over();
        let before = self.exchanges();
        self.turn_until(Counted::Yes, |seen| seen.exchanges() - before >= exchanges)?;
        Ok(ConversationRun {
            exchanges: self.exchanges() - before,
            server: self.measured_server()?.cycles().since(&server),
            client: self.client.cycles().since(&client),
            client_general: general_segments(&self.client) - general.0,
            server_general: self.server_general() - general.1,
            handed_over: self.handed_over() - handed_over,
        })
    }

    /// The same with turns that are not counted: until every worker of the server knows its neighbour.
    ///
    /// # Errors
    /// As [`ConversationLoop::run`].
    pub fn warm_up(&mut self, exchanges: u64) -> Result<(), String> {
        self.client.app_mut().start(self.now);
        let before = self.exchanges();
        self.turn_until(Counted::No, |seen| seen.exchanges() - before >= exchanges)
    }

    /// Starts nothing new and lets what is under way end.
    ///
    /// # Errors
    /// In words, when something failed or does not end.
    pub fn drain(&mut self) -> Result<(), String> {
        self.client.app_mut().pause();
        self.turn_until(Counted::No, Self::is_done)
    }

    /// The client's side of what happened.
    #[must_use]
    pub fn client(&self) -> &LoadCounts {
        self.client.app().counts()
    }

    /// Whether nothing is under way.
    fn is_done(&self) -> bool {
        let keeps = self.scenario.is_request();
        self.client().under_way() == 0 && (keeps || self.client.app().is_idle())
    }

    /// The server's side of what happened, over its workers.
    #[must_use]
    pub fn served(&self, what: impl Fn(&Tally) -> u64) -> u64 {
        let tallies = self.servers.iter().map(|server| server.app().tally());
        tallies.map(what).sum()
    }

    fn measured_server(&self) -> Result<&Worker<PairNic, Side>, String> {
        let server = self.servers.get(self.measured_worker);
        server.ok_or_else(|| format!("the server has no worker {}", self.measured_worker))
    }

    fn server_general(&self) -> u64 {
        self.servers.iter().map(general_segments).sum()
    }

    /// Frames that the server's workers handed over so far.
    fn handed_over(&self) -> u64 {
        let count = |server: &Worker<_, _>| server.counters().get(Counter::HandedOff);
        self.servers.iter().map(count).sum()
    }

    fn exchanges(&self) -> u64 {
        self.client().completed
    }

    /// Lets all workers turn once.
    fn turn(&mut self, counted: Counted) {
        let is_measured = |party| counted == Counted::Yes && self.measured == party;
        let client_is_measured = is_measured(Party::Client);
        let measured_server = is_measured(Party::Server).then_some(self.measured_worker);
        self.client.nic_mut().set_left_out(client_is_measured);
        self.now = self.now + TURN;
        // Each server gets bursts as long as one alone would.
        for _ in 0..self.servers.len() {
            turn(&mut self.client, self.now, client_is_measured);
            let servers = self.servers.iter_mut();
            let mut nics: Vec<&mut PairNic> = servers.map(Worker::nic_mut).collect();
            let client = self.client.nic_mut();
            client.deliver_steered(&mut nics, self.steering.as_deref());
        }
        let client = self.client.nic_mut();
        for (number, server) in self.servers.iter_mut().enumerate() {
            let is_measured = measured_server == Some(number);
            server.nic_mut().set_left_out(is_measured);
            turn(server, self.now, is_measured);
            server.nic_mut().deliver(client);
        }
    }

    fn turn_until(
        &mut self,
        counted: Counted,
        reached: impl Fn(&Self) -> bool,
    ) -> Result<(), String> {
        let (mut last, mut stalled) = (0, 0);
        while !reached(self) {
            self.turn(counted);
            let moved = self.client.cycles().frames;
            stalled = if moved == last { stalled + 1 } else { 0 };
            last = moved;
            let faults = self.client().failed_total() + self.served(Tally::faults_total);
            if faults > 0 || stalled > STALLED_TURNS {
                return Err(format!(
                    "the conversation failed: client {:?}, servers {:?}",
                    self.client(),
                    self.servers
                        .iter()
                        .map(|server| server.app().tally())
                        .collect::<Vec<_>>()
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use stack::nic::Frame as _;

    use super::*;

    fn spec(scenario: Conversation, concurrency: u32) -> ConversationSpec {
        ConversationSpec {
            scenario,
            family: Family::V4,
            is_tagged: false,
            connections: if scenario == Conversation::Request {
                1000
            } else {
                0
            },
            concurrency,
            burst: 64,
            measured: Party::Server,
            workers: 1,
            measured_worker: 0,
        }
    }

    #[test]
    fn two_workers_behind_a_link_that_steers_hand_nothing_over_and_share_the_load() {
        for scenario in [Conversation::Connect, Conversation::Request] {
            let spec = ConversationSpec {
                workers: 2,
                ..spec(scenario, 64)
            };
            let mut conversation = build(&spec).expect("it is built");
            // The first connections find the neighbour, which belongs to worker 0.
            conversation.warm_up(100).expect("it runs");
            let run = conversation.run(5000).expect("it runs");
            assert_eq!(run.handed_over, 0, "{scenario:?}");
            let frames = conversation
                .servers
                .iter()
                .map(|server| server.cycles().frames);
            let frames: Vec<u64> = frames.collect();
            let all: u64 = frames.iter().sum();
            assert!(
                frames.iter().all(|&share| share * 10 > all * 4),
                "{frames:?}"
            );
            conversation.drain().expect("it ends");
        }
    }

    #[test]
    fn every_scenario_runs_without_a_fault() {
        for scenario in [
            Conversation::Connect,
            Conversation::ConnectPlain,
            Conversation::Request,
        ] {
            runs_without_a_fault(&spec(scenario, 64));
        }
    }

    #[test]
    fn and_over_ipv6_and_in_a_vlan() {
        for scenario in [Conversation::Connect, Conversation::Request] {
            for (family, is_tagged) in [(Family::V4, true), (Family::V6, false), (Family::V6, true)]
            {
                runs_without_a_fault(&ConversationSpec {
                    family,
                    is_tagged,
                    ..spec(scenario, 64)
                });
            }
        }
    }

    fn runs_without_a_fault(spec: &ConversationSpec) {
        let mut conversation = build(spec).expect("it is built");
        let run = conversation.run(5000).expect("it runs");
        assert!(run.exchanges >= 5000, "{spec:?}");
        if spec.scenario != Conversation::ConnectPlain {
            let general = [run.client_general, run.server_general];
            assert_eq!(general, [0, 0], "by the general path: {spec:?}");
        }
        conversation.drain().expect("it ends");
        let (client, server) = (conversation.client(), &conversation);
        assert_eq!(
            client.requests,
            server.served(|tally| tally.requests),
            "{spec:?}"
        );
        assert_eq!(
            client.replies,
            server.served(|tally| tally.replies),
            "{spec:?}"
        );
        assert_eq!(
            client.failed_total() + server.served(Tally::faults_total),
            0
        );
    }

    /// Each segment of a single connection: whose it is, its flags but for PSH, whether it has payload.
    fn segments(scenario: Conversation) -> Vec<(char, u8, bool)> {
        let mut conversation = build(&spec(scenario, 1)).expect("it is built");
        // The first connection also finds the neighbour.
        conversation.run(1).expect("it runs");
        conversation.drain().expect("it ends");
        for _ in 0..100 {
            conversation.turn(Counted::No);
        }
        conversation.client.app_mut().start(conversation.now);
        let mut seen = Vec::new();
        for _ in 0..100 {
            conversation.now = conversation.now + TURN;
            unmeasured_turn(&mut conversation.client, conversation.now);
            conversation.client.app_mut().pause();
            let (client, server) = (&mut conversation.client, &mut conversation.servers[0]);
            client.nic_mut().deliver(server.nic_mut());
            seen.extend(
                server
                    .nic_mut()
                    .waiting()
                    .map(|frame| note('c', frame.bytes())),
            );
            measured_turn(server, conversation.now);
            server.nic_mut().deliver(client.nic_mut());
            seen.extend(
                client
                    .nic_mut()
                    .waiting()
                    .map(|frame| note('s', frame.bytes())),
            );
        }
        seen
    }

    fn note(side: char, frame: &[u8]) -> (char, u8, bool) {
        let ip_len = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
        let tcp_header_len = usize::from(frame[46] >> 4) * 4;
        (side, frame[47] & !PSH, ip_len > 20 + tcp_header_len)
    }

    const SYN: u8 = 2;
    const SYN_ACK: u8 = 0x12;
    const ACK: u8 = 0x10;
    const FIN_ACK: u8 = 0x11;
    const PSH: u8 = 8;

    #[test]
    fn piggybacking_takes_six_segments_and_plain_eleven_and_these() {
        let piggybacked = [
            ('c', SYN, false),
            ('s', SYN_ACK, false),
            ('c', ACK, true),
            ('s', FIN_ACK, true),
            ('c', FIN_ACK, false),
            ('s', ACK, false),
        ];
        assert_eq!(segments(Conversation::Connect), piggybacked);
        let plain = [
            ('c', SYN, false),
            ('s', SYN_ACK, false),
            ('c', ACK, false),
            ('c', ACK, true),
            ('s', ACK, false),
            ('s', ACK, true),
            ('c', ACK, false),
            ('c', FIN_ACK, false),
            ('s', ACK, false),
            ('s', FIN_ACK, false),
            ('c', ACK, false),
        ];
        assert_eq!(segments(Conversation::ConnectPlain), plain);
    }
}
