//! [`Puppet`]: an application that does what the test says and remembers what it heard.
//!
//! It must never act on its own, unless told to accept, read or close by itself.

use std::time::Duration;

use stack::app::{App, Connect, Cx, TxItem};
use stack::conn::{Capacity, ConnId, Records};
use stack::local::listener::{ListenerConfig, ListenerId, SynPolicy};
use stack::nic::Nic;
use stack::sim::host::{HostId, HostSpec};
use stack::sim::world::World;
use stack::tcp::profile::ProfileId;
use stack::tcp::verdict::CloseReason;
use stack::time::Instant;

/// The port that every puppet listens on.
pub(crate) const PORT: u16 = 80;

/// What a puppet heard of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Open,
    PeerClosed,
    Over(CloseReason),
}

/// An application on strings.
#[derive(Debug)]
pub(crate) struct Puppet {
    /// Accepts what comes.
    pub(crate) accepts: bool,
    /// Reads what comes.
    pub(crate) reads: bool,
    /// Closes when the peer has.
    pub(crate) closes: bool,
    /// In order.
    pub(crate) heard: Vec<(Instant, ConnId, Heard)>,
    /// What was read, all connections together, checked against the chargen pattern while it comes.
    pub(crate) received: u64,
    /// Bytes that were wrong.
    pub(crate) wrong: u64,
}

impl Default for Puppet {
    fn default() -> Self {
        Self {
            accepts: true,
            reads: true,
            closes: true,
            heard: Vec::new(),
            received: 0,
            wrong: 0,
        }
    }
}

impl Puppet {
    /// The first connection that it heard of.
    pub(crate) fn first(&self) -> Option<ConnId> {
        self.heard.first().map(|(_, id, _)| *id)
    }

    /// How the first connection ended, and when.
    pub(crate) fn over(&self) -> Option<(Instant, CloseReason)> {
        self.heard.iter().find_map(|(at, _, heard)| match heard {
            Heard::Over(reason) => Some((*at, *reason)),
            _ => None,
        })
    }

    pub(crate) fn has_heard(&self, what: Heard) -> bool {
        self.heard.iter().any(|(_, _, heard)| *heard == what)
    }

    /// Reads all that waits.
    pub(crate) fn read<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, id: ConnId) {
        loop {
            let bytes = cx.peek(id);
            if bytes.is_empty() {
                return;
            }
            let expected = (self.received..).map(stack::queue::pattern::byte_at);
            self.wrong += bytes
                .iter()
                .zip(expected)
                .filter(|(a, b)| **a != *b)
                .count() as u64;
            let len = bytes.len() as u32;
            self.received += u64::from(len);
            cx.consume(id, len);
        }
    }
}

impl App for Puppet {
    type Conn = ();

    fn on_accept_ready<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, listener: ListenerId) {
        while self.accepts && cx.accept(listener).is_some() {}
    }

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, _: &mut ()) {
        self.heard.push((cx.now(), conn, Heard::Open));
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, _: &mut ()) {
        if self.reads {
            self.read(cx, conn);
        }
    }

    fn on_peer_closed<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, _: &mut ()) {
        self.heard.push((cx.now(), conn, Heard::PeerClosed));
        if self.closes {
            cx.close(conn);
        }
    }

    fn on_close<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        _: &mut (),
        why: CloseReason,
    ) {
        self.heard.push((cx.now(), conn, Heard::Over(why)));
    }
}

/// Two hosts with a puppet on each worker.
pub(crate) struct Show {
    pub(crate) world: World<Puppet>,
    pub(crate) client: HostId,
    pub(crate) server: HostId,
}

/// Records that are enough for a scenario.
fn few() -> Capacity {
    let records = Records { v4: 256, v6: 256 };
    Capacity {
        embryos: records,
        open: records,
        parked: records,
        time_wait: records,
    }
}

impl Show {
    /// Both hosts as they are unless `change` says otherwise (client, server); the server listens on [`PORT`].
    pub(crate) fn new(change: impl FnOnce(&mut HostSpec, &mut HostSpec)) -> Self {
        Self::starting_at(Instant::from_ms(1_000_000), change)
    }

    /// The same when the clock shows `start`.
    pub(crate) fn starting_at(
        start: Instant,
        change: impl FnOnce(&mut HostSpec, &mut HostSpec),
    ) -> Self {
        let mut world = World::new(1, start);
        world.set_max_idle(Duration::from_millis(100));
        let (mut client, mut server) = (HostSpec::new(1), HostSpec::new(2));
        client.config.limits.records = few();
        server.config.limits.records = few();
        server.config.listeners.push(ListenerConfig {
            address: None,
            port: PORT,
            policy: SynPolicy::Embryo,
            backlog: 64,
            abort_on_overflow: false,
            profile: ProfileId::DEFAULT,
        });
        change(&mut client, &mut server);
        let client = world
            .add_host(client, |_| Puppet::default())
            .expect("a host");
        let server = world
            .add_host(server, |_| Puppet::default())
            .expect("a host");
        Self {
            world,
            client,
            server,
        }
    }

    /// The client's first worker opens a connection to the server's port.
    pub(crate) fn connect(&mut self, how: Connect) -> ConnId {
        let remote = (HostSpec::v4(2), PORT).into();
        let opened = self
            .world
            .act(self.client, 0, |_, cx| cx.connect(remote, &how, ()));
        opened.expect("a worker").expect("a connection")
    }

    /// The same, until it is established.
    pub(crate) fn established(&mut self, how: Connect) -> ConnId {
        let id = self.connect(how);
        let client = self.client;
        let opens = |world: &World<Puppet>| !app(world, client).has_heard(Heard::Open);
        let deadline = self.world.now() + Duration::from_secs(60);
        assert!(self.world.run_while(deadline, opens), "it opens");
        self.world.run_for(Duration::from_millis(1));
        id
    }

    /// Queues so many bytes of the pattern at the client.
    pub(crate) fn send(&mut self, id: ConnId, start: u64, len: u64) {
        let sent = self.world.act(self.client, 0, |_, cx| {
            cx.send(id, TxItem::Pattern { start, len }).is_ok()
        });
        assert_eq!(sent, Some(true));
    }

    pub(crate) fn run(&mut self, time: Duration) {
        self.world.run_for(time);
    }

    /// The puppet of the client's first worker.
    pub(crate) fn client(&self) -> &Puppet {
        app(&self.world, self.client)
    }

    /// And of the server's.
    pub(crate) fn server(&self) -> &Puppet {
        app(&self.world, self.server)
    }

    /// Orders to the server's puppet.
    pub(crate) fn tell_server(&mut self, order: impl FnOnce(&mut Puppet)) {
        self.world.act(self.server, 0, |puppet, _| order(puppet));
    }

    /// Nothing was wrong with any frame or buffer, and nothing is left when both hosts go.
    pub(crate) fn end(mut self) {
        for host in [self.client, self.server] {
            for worker in self.world.workers(host) {
                assert_eq!(worker.counters().unaccounted(), 0);
                assert_eq!(worker.app().wrong, 0);
            }
            self.world.power_off(host);
        }
        assert_eq!(self.world.violations(), &[] as &[String]);
    }
}

/// The puppet of a host's first worker.
pub(crate) fn app(world: &World<Puppet>, host: HostId) -> &Puppet {
    world.workers(host).next().expect("a worker").app()
}
