//! [`Show`]: two hosts with a [`Puppet`] on each worker.
//!
//! It must never do anything that the test doesn't say, except what puppets do.

use std::time::Duration;

use stack::app::{Connect, TxItem};
use stack::conn::{Capacity, ConnId, Records};
use stack::local::listener::{ListenerConfig, SynPolicy};
use stack::sim::host::{HostId, HostSpec};
use stack::sim::puppet::{AppEvent, Puppet};
use stack::sim::world::World;
use stack::time::Instant;

use crate::without;

/// The port that the server listens on.
pub(crate) const PORT: u16 = 80;

/// Two hosts with a puppet on each worker.
pub(crate) struct Show {
    pub(crate) world: World<Puppet>,
    pub(crate) client: HostId,
    pub(crate) server: HostId,
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
        let few = Capacity::of_each(Records { v4: 256, v6: 256 });
        for host in [&mut client, &mut server] {
            host.config.limits.records = few;
            host.config.fast_path = without::fast_path();
        }
        server.config.listeners = vec![ListenerConfig::new(PORT, SynPolicy::Embryo)];
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
            .act(self.client, 0, |_, cx| cx.connect(remote, &how, false));
        opened.expect("a worker").expect("a connection")
    }

    /// The same, until it is established.
    pub(crate) fn established(&mut self, how: Connect) -> ConnId {
        let id = self.connect(how);
        let client = self.client;
        let opens = |world: &World<Puppet>| app(world, client).count(AppEvent::Open) == 0;
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
