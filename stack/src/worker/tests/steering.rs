//! Four workers behind a NIC that steers by its own hash, as it says or otherwise.

use core::net::SocketAddr;
use std::sync::Arc;

use super::super::Rings;
use super::host::{CLOSED, Flow, Host, OPEN, OUR_V4, PEER_V4};
use crate::counters::Counter;
use crate::local::listener::SynPolicy;
use crate::nic::rss::{Fields, KEY_BYTES, Steering};
use crate::tcp::lang::{ack, data, rst, syn, syn_ack};
use crate::worker::Steered;
use crate::worker::connect::{Connect, ConnectError};

const WORKERS: u16 = 4;

struct Cluster {
    hosts: Vec<Host>,
    steering: Arc<Steering>,
}

/// The behaviour of the NIC of these tests.
fn steering(v6: Fields) -> Arc<Steering> {
    let key: [u8; KEY_BYTES] = core::array::from_fn(|at| (at * 37 + 11) as u8);
    let table: Vec<u16> = (0..128).map(|slot| slot % WORKERS).collect();
    Arc::new(Steering::new(&key, &table, Fields::AddressesAndPorts, v6).expect("128 slots"))
}

impl Cluster {
    fn new(v6: Fields) -> Self {
        let steering = steering(v6);
        let host = |end| {
            Host::on_nic(
                |spec| spec.listeners[0].policy = SynPolicy::Embryo,
                |nic| nic.caps_mut().steering = Some(Arc::clone(&steering)),
                end,
            )
        };
        let ends = Rings::new(WORKERS, 256).into_ends();
        Self {
            hosts: ends.into_iter().map(host).collect(),
            steering,
        }
    }

    /// The queue on which a NIC delivers a flow that does what it says.
    fn queue(&self, flow: Flow) -> usize {
        let queue = self.steering.queue(flow.remote, flow.local);
        queue.expect("hashed").into()
    }

    /// A segment that arrives at a worker; turns until no worker has anything to do.
    fn inject(&mut self, worker: usize, flow: Flow, spec: crate::tcp::lang::Spec) {
        let frame = flow.frame(spec);
        self.hosts[worker].inject_bytes(&frame);
        while self.hosts.iter_mut().map(Host::turn).sum::<usize>() > 0 {}
    }

    fn handed_off(&self) -> u64 {
        let count = |host: &Host| host.counters().get(Counter::HandedOff);
        self.hosts.iter().map(count).sum()
    }

    fn steered(&mut self) -> Steered {
        let mut sum = Steered::default();
        for host in &mut self.hosts {
            let (steered, follows_the_nic) = host.worker().steered();
            assert!(follows_the_nic);
            sum.owned += steered.owned;
            sum.elsewhere += steered.elsewhere;
        }
        sum
    }
}

#[test]
fn flows_stay_where_the_nic_delivers_them() {
    let mut cluster = Cluster::new(Fields::AddressesAndPorts);
    let mut used = [0; WORKERS as usize];
    for port in 1000..1100 {
        for flow in [Flow::v4(port, OPEN), Flow::v6(port, OPEN)] {
            let queue = cluster.queue(flow);
            used[queue] += 1;
            cluster.inject(queue, flow, syn().seq(0));
            let host = cluster.hosts[queue].on(flow);
            host.expect(syn_ack().seq(0).ack(1));
            let flow = host.flow;
            cluster.inject(queue, flow, ack().seq(1).ack(1));
            cluster.inject(queue, flow, data(5).seq(1).ack(1));
            cluster.hosts[queue].on(flow).expect(rst().seq(1).ack(6));
        }
    }
    assert!(used.iter().all(|&flows| flows > 20), "{used:?}");
    assert_eq!(cluster.handed_off(), 0);
    let steered = cluster.steered();
    assert_eq!((steered.owned, steered.elsewhere), (200, 0));
}

/// The NIC's table is another one than it says: every frame comes to a worker that doesn't own it.
#[test]
fn a_nic_that_steers_otherwise_than_it_says_is_noticed_and_costs_only_hand_overs() {
    let mut cluster = Cluster::new(Fields::AddressesAndPorts);
    for port in 1000..1100 {
        let flow = Flow::v4(port, OPEN);
        let owner = cluster.queue(flow);
        let wrong = (owner + 1) % usize::from(WORKERS);
        cluster.inject(wrong, flow, syn().seq(0));
        let host = cluster.hosts[owner].on(flow);
        host.expect(syn_ack().seq(0).ack(1));
        let flow = host.flow;
        cluster.inject(wrong, flow, ack().seq(1).ack(1));
        cluster.inject(wrong, flow, data(5).seq(1).ack(1));
        cluster.hosts[owner].on(flow).expect(rst().seq(1).ack(6));
    }
    assert_eq!(cluster.handed_off(), 300);
    let steered = cluster.steered();
    assert_eq!((steered.owned, steered.elsewhere), (100, 100));
}

#[test]
fn a_nic_that_hashes_only_one_family_leaves_the_other_to_our_own_hash() {
    let mut cluster = Cluster::new(Fields::Nothing);
    let mut owned = [0; WORKERS as usize];
    for port in 1000..1100 {
        let flow = Flow::v6(port, CLOSED).absolute();
        let owner = usize::from(cluster.hosts[0].on(flow).owner(WORKERS));
        owned[owner] += 1;
        cluster.inject(0, flow, syn().seq(7));
        cluster.hosts[owner].on(flow).expect(rst().seq(0).ack(8));
    }
    assert!(owned.iter().all(|&flows| flows > 10), "{owned:?}");
}

#[test]
fn ports_are_chosen_so_that_the_nic_brings_replies_back() {
    let mut cluster = Cluster::new(Fields::AddressesAndPorts);
    let remote: SocketAddr = (PEER_V4, 9_000).into();
    for worker in 0..usize::from(WORKERS) {
        for _ in 0..10 {
            let local = cluster.hosts[worker].act(|_, cx| {
                let conn = cx.connect(remote, &Connect::default(), ());
                cx.info(conn.expect("connects")).expect("open").local
            });
            assert_eq!(cluster.queue(Flow::between(remote, local)), worker);
        }
    }
    while cluster.hosts[0].try_reply().is_some() {} // it asks for the neighbour
    let flow = |port| Flow::between(remote, (OUR_V4, port).into());
    let port = (1_000..).find(|&port| cluster.queue(flow(port)) == 2);
    let how = Connect {
        local_port: port,
        ..Connect::default()
    };
    for worker in [0, 2] {
        let opened = cluster.hosts[worker].act(|_, cx| cx.connect(remote, &how, ()));
        let expected = (worker == 2).then_some(()).ok_or(ConnectError::OtherWorker);
        assert_eq!(opened.map(drop), expected, "{worker}");
    }
}

#[test]
fn icmp_errors_go_to_the_worker_to_which_the_nic_brings_the_connection() {
    let mut cluster = Cluster::new(Fields::AddressesAndPorts);
    let flow = Flow::v4(40_000, OPEN);
    let owner = cluster.queue(flow);
    cluster.hosts[owner].on(flow).establish();
    let wrong = (owner + 1) % usize::from(WORKERS);
    cluster.hosts[wrong].inject_bytes(&super::neighbors::port_unreachable_v4());
    cluster.hosts[wrong].counted(Counter::HandedOff);
    while cluster.hosts.iter_mut().map(Host::turn).sum::<usize>() > 0 {}
    let host = &mut cluster.hosts[owner];
    assert_eq!(host.count(Counter::IcmpErrorForConnection), 1);
}
