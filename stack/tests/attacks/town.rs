//! A server with every default limit, and a client whose connections do ordinary things: what an attack is measured by.
//!
//! It must never set a limit or a setting to anything but its default.

use std::net::SocketAddr;
use std::time::Duration;

use stack::app::{App, Connect, Cx, TxItem};
use stack::config::ClosedPolicy;
use stack::conn::ConnId;
use stack::counters::Counter;
use stack::local::listener::{ListenerConfig, ListenerId, SynPolicy};
use stack::nic::Nic;
use stack::sim::host::{HostId, HostSpec};
use stack::sim::link::LinkSpec;
use stack::sim::nic::{PoolSizes, SimNic};
use stack::sim::world::World;
use stack::tcp::verdict::CloseReason;
use stack::time::Instant;
use stack::worker::Worker;

use crate::without;

/// The services of the server's listeners, in their order.
pub(crate) const ECHO: u16 = 7;
pub(crate) const DISCARD: u16 = 9;
pub(crate) const DAYTIME: u16 = 13;
pub(crate) const CHARGEN: u16 = 19;
/// Its connections are never accepted.
pub(crate) const UNATTENDED: u16 = 100;

const PORTS: [u16; 5] = [ECHO, DISCARD, DAYTIME, CHARGEN, UNATTENDED];

/// Bytes of a daytime answer.
const DAYTIME_LEN: u64 = 26;

/// How long a measurement lasts.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

const CLIENT: u8 = 1;
const SERVER: u8 = 2;
const STATION: u8 = 3;

/// The results of the client's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Score {
    /// Bytes echoed on connections that say something ten times a second.
    pub(crate) echoed: u64,
    /// Bytes that came on connections that only receive.
    pub(crate) downloaded: u64,
    /// Bytes acknowledged on connections that only send.
    pub(crate) uploaded: u64,
    /// Connections opened, answered and closed.
    pub(crate) visits: u64,
    /// Answers on a connection that is parked for longer than a neighbour's address is believed.
    pub(crate) unparked: u64,
}

impl Score {
    pub(crate) fn parts(self) -> [(&'static str, u64); 5] {
        [
            ("echoed", self.echoed),
            ("downloaded", self.downloaded),
            ("uploaded", self.uploaded),
            ("visits", self.visits),
            ("unparked", self.unparked),
        ]
    }
}

/// The purpose of a connection, at the client; at the server it follows from the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Use {
    #[default]
    Serve,
    Echo,
    Download,
    Upload,
    Visit,
    Park,
}

/// The state of both sides for a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Talk {
    what: Use,
    /// Bytes that came.
    len: u64,
}

/// The app of both sides. A puppet has one service; the victims of an attack use five.
#[derive(Debug)]
pub(crate) struct Party {
    is_client: bool,
    /// The opened connections, by the order of opening.
    conns: Vec<(ConnId, Use)>,
    started_at: Option<Instant>,
    ticks: u64,
    sent_up: u64,
    score: Score,
    /// How connections ended that should have stayed.
    pub(crate) broken: Vec<(Use, CloseReason)>,
}

impl Party {
    fn new(is_client: bool) -> Self {
        Self {
            is_client,
            conns: Vec::new(),
            started_at: None,
            ticks: 0,
            sent_up: 0,
            score: Score::default(),
            broken: Vec::new(),
        }
    }

    fn open<N: Nic>(&mut self, cx: &mut Cx<'_, N, Talk>, port: u16, what: Use) {
        let remote = (HostSpec::v4(SERVER), port).into();
        let talk = Talk { what, len: 0 };
        if let Ok(conn) = cx.connect(remote, &Connect::default(), talk) {
            self.conns.push((conn, what));
        }
    }

    fn say<N: Nic, S>(&self, cx: &mut Cx<'_, N, S>, what: Use) {
        for &(conn, of) in &self.conns {
            if of == what {
                let _ = cx.send_bytes(conn, &[0x55; 64]);
            }
        }
    }

    /// Sends as much as there is room for.
    fn fill<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, conn: ConnId) {
        let len = 1400;
        while cx.send(conn, TxItem::Pattern { start: 0, len }).is_ok() {
            self.sent_up += len;
        }
    }

    fn start<N: Nic>(&mut self, cx: &mut Cx<'_, N, Talk>) {
        for _ in 0..8 {
            self.open(cx, ECHO, Use::Echo);
        }
        for _ in 0..2 {
            self.open(cx, CHARGEN, Use::Download);
            self.open(cx, DISCARD, Use::Upload);
        }
        self.open(cx, ECHO, Use::Park);
    }
}

impl App for Party {
    type Conn = Talk;

    fn on_accept_ready<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, listener: ListenerId) {
        let port = PORTS.get(usize::from(listener.0));
        while port != Some(&UNATTENDED) && cx.accept(listener).is_some() {}
    }

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, talk: &mut Talk) {
        if self.is_client {
            if talk.what == Use::Upload {
                self.fill(cx, conn);
            }
            return;
        }
        let port = cx.info(conn).map_or(0, |info| info.local.port());
        match port {
            CHARGEN => self.fill(cx, conn),
            DAYTIME => {
                let item = TxItem::Pattern {
                    start: 0,
                    len: DAYTIME_LEN,
                };
                let _ = cx.send(conn, item);
                cx.shutdown(conn);
            }
            _ => {}
        }
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, talk: &mut Talk) {
        let is_echo = !self.is_client && cx.info(conn).is_some_and(|i| i.local.port() == ECHO);
        loop {
            let bytes = cx.peek(conn).to_vec();
            if bytes.is_empty() {
                return;
            }
            let len = if is_echo {
                cx.send_bytes(conn, &bytes).unwrap_or(0)
            } else {
                bytes.len()
            };
            if len == 0 {
                return;
            }
            cx.consume(conn, len as u32);
            talk.len += len as u64;
            match talk.what {
                Use::Echo => self.score.echoed += len as u64,
                Use::Download => self.score.downloaded += len as u64,
                Use::Park => self.score.unparked += len as u64 / 64,
                _ => {}
            }
        }
    }

    fn on_writable<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        talk: &mut Talk,
    ) {
        let port = cx.info(conn).map_or(0, |info| info.local.port());
        if talk.what == Use::Upload || (!self.is_client && port == CHARGEN) {
            self.fill(cx, conn);
        } else {
            self.on_data(cx, conn, talk);
        }
    }

    fn on_close<N: Nic>(
        &mut self,
        _: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        talk: &mut Talk,
        why: CloseReason,
    ) {
        match talk.what {
            Use::Visit if why == CloseReason::Graceful && talk.len == DAYTIME_LEN => {
                self.score.visits += 1;
            }
            Use::Serve | Use::Visit => {}
            other => self.broken.push((other, why)),
        }
        self.conns.retain(|(id, _)| *id != conn);
    }

    fn on_tick<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>) {
        if !self.is_client {
            return;
        }
        let Some(started_at) = self.started_at else {
            self.started_at = Some(cx.now());
            return self.start(cx);
        };
        let ticks = (cx.now().since(started_at).as_millis() / 100) as u64;
        if ticks == self.ticks {
            return;
        }
        self.ticks = ticks;
        self.say(cx, Use::Echo);
        if ticks.is_multiple_of(5) {
            self.open(cx, DAYTIME, Use::Visit);
        }
        if matches!(ticks, 20 | 550) {
            self.say(cx, Use::Park);
        }
    }
}

/// The world of one run.
pub(crate) struct Town {
    pub(crate) world: World<Party>,
    pub(crate) server: HostId,
    pub(crate) client: HostId,
    /// Whose frames the attack sends and hears.
    pub(crate) station: HostId,
}

pub(crate) const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, SERVER];
pub(crate) const STATION_MAC: [u8; 6] = [2, 0, 0, 0, 0, STATION];

impl Town {
    /// A server that has all defaults of `Limits` and `Settings`; its pools hold what those limits may keep.
    pub(crate) fn new(seed: u64) -> Self {
        let mut world = World::new(seed, Instant::from_ms(1_000_000));
        let mut server = HostSpec::new(SERVER);
        // Wide enough for an attack from tens of thousands of addresses on the link.
        server.config.interfaces[0].prefix_len = 15;
        server.config.closed = ClosedPolicy::Icmp;
        server.config.fast_path = without::fast_path();
        for port in PORTS {
            let listener = ListenerConfig::new(port, SynPolicy::CookieWhenFull);
            server.config.listeners.push(listener);
        }
        server.nic.pools = PoolSizes {
            rx: 32_768,
            control: 32_768,
            data: 32_768,
        };
        server.nic.rx_ring = 4_096;
        let mut client = HostSpec::new(CLIENT);
        client.config.interfaces[0].prefix_len = 15;
        client.config.fast_path = without::fast_path();
        let wire = LinkSpec {
            loss_ppm: 2_000,
            rate_bps: 4_000_000,
            queue_len: 60_000,
            ..LinkSpec::perfect(Duration::from_millis(5))
        };
        (client.up, client.down) = (wire, wire);
        let server = world
            .add_host(server, |_| Party::new(false))
            .expect("a host");
        let client = world
            .add_host(client, |_| Party::new(true))
            .expect("a host");
        let station = world
            .add_station(HostSpec::new(STATION))
            .expect("a station");
        Self {
            world,
            server,
            client,
            station,
        }
    }

    /// The results of the client, once the minute is over.
    pub(crate) fn score(&mut self) -> Score {
        let (party, queued) = self
            .world
            .act(self.client, 0, |party, cx| {
                let queued: u64 = party
                    .conns
                    .iter()
                    .filter(|(_, what)| *what == Use::Upload)
                    .map(|(conn, _)| cx.unacked_len(*conn))
                    .sum();
                ((party.score, party.sent_up, party.broken.clone()), queued)
            })
            .expect("a worker");
        let (score, sent_up, broken) = party;
        assert_eq!(broken, [], "well-behaved connections that ended");
        Score {
            uploaded: sent_up - queued,
            ..score
        }
    }

    /// Source and destination port of the client's lasting connections.
    pub(crate) fn flows(&mut self) -> Vec<(SocketAddr, u16)> {
        let flows = self.world.act(self.client, 0, |party, cx| {
            let lasting = party.conns.iter().filter(|(_, what)| *what != Use::Visit);
            lasting
                .filter_map(|(conn, _)| cx.info(*conn))
                .map(|info| (info.local, info.remote.port()))
                .collect()
        });
        flows.unwrap_or_default()
    }

    /// One of TCP's own counters of the server.
    pub(crate) fn count_tcp(&self, name: &str) -> u64 {
        let named = |worker: &Worker<SimNic, Party>| {
            let mut all = worker.tcp_counters().named();
            all.find(|(known, _)| *known == name).map_or(0, |(_, n)| n)
        };
        self.world.workers(self.server).map(named).sum()
    }

    /// A counter of the server.
    pub(crate) fn count(&self, counter: Counter) -> u64 {
        let workers = self.world.workers(self.server);
        workers.map(|worker| worker.counters().get(counter)).sum()
    }

    /// Nothing is left over, and no frame or buffer was wrong.
    pub(crate) fn end(mut self) {
        for host in [self.client, self.server] {
            for worker in self.world.workers(host) {
                assert_eq!(worker.counters().unaccounted(), 0);
            }
            self.world.power_off(host);
        }
        assert_eq!(self.world.violations(), &[] as &[String]);
    }
}
