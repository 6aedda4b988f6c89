//! Four workers of one endpoint, and a NIC whose hash is always wrong.

use core::net::SocketAddr;

use super::super::Rings;
use super::answer::Answer;
use super::host::{CLOSED, Flow, Host, LINK, OPEN, OUR_MAC, OUR_V4, PEER_MAC, PEER_V4};
use super::neighbors::{arp_frame, arp_request};
use super::retransmission::expect_arp_request_in;
use super::vlans::tagged;
use crate::counters::{Counter, Counters};
use crate::local::listener::SynPolicy;
use crate::tcp::lang::{Spec, ack, data, rst, syn, syn_ack};
use crate::wire::vlan::VlanId;
use crate::wire::{Link, MacAddr, arp};
use crate::worker::connect::{Connect, ConnectError};

const WORKERS: u16 = 4;

struct Cluster {
    hosts: Vec<Host>,
}

impl Cluster {
    fn new(ring_frames: u16, policy: SynPolicy) -> Self {
        let ends = Rings::new(WORKERS, ring_frames).into_ends();
        let host = |end| Host::on_nic(|spec| spec.listeners[0].policy = policy, |_| {}, end);
        Self {
            hosts: ends.into_iter().map(host).collect(),
        }
    }

    fn owner(&mut self, flow: Flow) -> usize {
        usize::from(self.hosts[0].on(flow).owner(WORKERS))
    }

    /// Turns until no worker has anything to do.
    fn settle(&mut self) {
        while self.hosts.iter_mut().map(Host::turn).sum::<usize>() > 0 {}
    }

    /// A segment that arrives at `worker`; the replies leave wherever the owner is.
    fn inject(&mut self, worker: usize, flow: Flow, spec: Spec) {
        let frame = flow.frame(spec);
        self.hosts[worker].inject_bytes(&frame);
        self.settle();
    }

    fn counters(&self) -> Counters {
        let mut sum = Counters::new();
        for host in &self.hosts {
            sum.merge(host.counters());
        }
        sum
    }
}

#[test]
fn every_frame_at_the_wrong_worker_is_answered_rightly_by_its_owner() {
    let mut cluster = Cluster::new(256, SynPolicy::Embryo);
    let mut owned = [0; WORKERS as usize];
    for port in 1000..1200 {
        let flow = Flow::v4(port, CLOSED).absolute();
        let owner = cluster.owner(flow);
        owned[owner] += 1;
        let wrong = (owner + 1 + usize::from(port) % 3) % 4;
        assert_ne!(wrong, owner);
        cluster.inject(wrong, flow, syn().seq(u32::from(port)));
        cluster.hosts[owner]
            .on(flow)
            .expect(rst().seq(0).ack(u32::from(port) + 1));
    }
    assert!(owned.iter().all(|&n| n > 20), "the hash spreads: {owned:?}");
    let sum = cluster.counters();
    for counter in [
        Counter::RxFrames,
        Counter::HandedOff,
        Counter::HandoffIn,
        Counter::RstSent,
        Counter::TxFrames,
    ] {
        assert_eq!(sum.get(counter), 200, "{}", counter.name());
    }
}

#[test]
fn a_frame_at_its_owner_is_not_handed_over() {
    let mut cluster = Cluster::new(16, SynPolicy::Embryo);
    let flow = Flow::v6(1000, CLOSED).absolute();
    let owner = cluster.owner(flow);
    cluster.inject(owner, flow, syn().seq(1));
    cluster.hosts[owner].on(flow).expect(rst().seq(0).ack(2));
    assert_eq!(cluster.counters().get(Counter::HandedOff), 0);
}

/// SYN, final ACK, a duplicate and data each arrive at another worker.
#[test]
fn a_connection_whose_frames_arrive_everywhere() {
    for policy in [SynPolicy::Embryo, SynPolicy::CookieAlways] {
        for port in 2000..2020 {
            let mut cluster = Cluster::new(16, policy);
            let mut flow = Flow::v4(port, OPEN);
            let owner = cluster.owner(flow);
            cluster.inject(0, flow, syn().seq(0));
            cluster.hosts[owner]
                .on(flow)
                .expect(syn_ack().seq(0).ack(1));
            flow = cluster.hosts[owner].flow;
            cluster.inject(1, flow, ack().seq(1).ack(1));
            cluster.hosts[owner].park();
            assert!(cluster.hosts[owner].parked().is_some());
            cluster.inject(2, flow, ack().seq(1).ack(1));
            assert_eq!(cluster.hosts[owner].count(Counter::ParkedAck), 1);
            cluster.inject(3, flow, data(5).seq(1).ack(1));
            cluster.hosts[owner].expect(rst().seq(1).ack(6));
            let sum = cluster.counters();
            assert_eq!(sum.get(Counter::HandedOff), 3);
            assert_eq!(sum.get(Counter::HandoffIn), 3);
        }
    }
}

#[test]
fn a_full_ring_is_a_counted_drop() {
    let mut cluster = Cluster::new(4, SynPolicy::Embryo);
    let all = (1000..2000).map(|port| Flow::v4(port, CLOSED).absolute());
    let of_2: Vec<Flow> = all
        .filter(|&flow| cluster.owner(flow) == 2)
        .take(10)
        .collect();
    let frames = of_2.iter().map(|flow| flow.frame(syn().seq(0)));
    cluster.hosts[1].inject_burst(frames);
    assert_eq!(
        cluster.hosts[1].ends(),
        [("handed_off", 4), ("handoff_full", 6)]
    );
    cluster.settle();
    for flow in &of_2[..4] {
        cluster.hosts[2].on(*flow).expect(rst().seq(0).ack(1));
    }
}

/// Frames in the rings when everything ends go back to their pools.
#[test]
fn frames_that_wait_in_a_ring_are_not_leaked() {
    let mut cluster = Cluster::new(16, SynPolicy::Embryo);
    let flow = (1000..)
        .map(|port| Flow::v4(port, CLOSED))
        .find(|&flow| cluster.owner(flow) == 3);
    let frame = flow.expect("some flow is worker 3's").frame(syn());
    cluster.hosts[0].inject_bytes(&frame);
    // Worker 3 ends first and empties its ring; then worker 0 must have its buffer back.
    cluster.hosts.reverse();
}

#[test]
fn worker_0_owns_arp_and_ndp_and_everybody_echoes() {
    let mut cluster = Cluster::new(16, SynPolicy::Embryo);
    for (frame, counter) in [
        (arp_request(), Counter::ArpAnswered),
        (super::neighbors::solicitation(), Counter::NdpAnswered),
    ] {
        cluster.hosts[2]
            .inject_bytes(&frame)
            .counted(Counter::HandedOff)
            .silent();
        cluster.settle();
        cluster.hosts[0].next_reply();
        assert_eq!(cluster.hosts[0].count(counter), 1);
    }
    cluster.hosts[3].inject_bytes(&super::neighbors::echo_request_v4(b"x"));
    cluster.hosts[3].counted(Counter::EchoAnswered).next_reply();
}

#[test]
fn icmp_errors_go_to_the_owner_of_the_quoted_connection() {
    let mut cluster = Cluster::new(16, SynPolicy::Embryo);
    let flow = Flow::v4(40_000, OPEN);
    let owner = cluster.owner(flow);
    cluster.hosts[owner].on(flow).establish();
    let wrong = (owner + 1) % 4;
    cluster.hosts[wrong].inject_bytes(&super::neighbors::port_unreachable_v4());
    cluster.hosts[wrong].counted(Counter::HandedOff);
    cluster.settle();
    assert_eq!(
        cluster.hosts[owner].count(Counter::IcmpErrorForConnection),
        1
    );
}

/// A burst in which every frame goes somewhere else keeps the order of each flow.
#[test]
fn the_order_of_a_flow_survives_the_hand_over() {
    let mut cluster = Cluster::new(256, SynPolicy::Embryo);
    let flows: Vec<Flow> = (1000..1008)
        .map(|port| Flow::v4(port, CLOSED).absolute())
        .collect();
    let owners: Vec<usize> = flows.iter().map(|&flow| cluster.owner(flow)).collect();
    let frames = (0..8u32).flat_map(|n| flows.iter().map(move |flow| flow.frame(syn().seq(n))));
    cluster.hosts[0].inject_burst(frames);
    cluster.settle();
    let mut next = [0u32; 8];
    for _ in 0..8 * 8 {
        let host = owners
            .iter()
            .find_map(|&owner| cluster.hosts[owner].try_reply());
        let answer = Answer::read(&host.expect("64 replies"));
        let index = usize::from(answer.dst.port() - 1000);
        next[index] += 1;
        assert_eq!(answer.segment.ack.0, next[index], "of flow {index}");
    }
}

/// Only worker 0 knows neighbours, but the SYN-ACK of another one's embryo needs none.
#[test]
fn a_syn_ack_by_timer_leaves_where_its_embryo_is() {
    let mut cluster = Cluster::new(16, SynPolicy::Embryo);
    let flow = (1000..).map(|port| Flow::v4(port, OPEN));
    let flow = flow.filter(|&flow| cluster.owner(flow) == 2).take(1);
    let flow = flow.last().expect("some flow is worker 2's");
    cluster.inject(2, flow, syn().seq(0));
    cluster.hosts[2].on(flow).expect(syn_ack().seq(0).ack(1));
    cluster.hosts[2].wait_ms(1000);
    cluster.hosts[2].expect(syn_ack().seq(0).ack(1));
    cluster.hosts[0].turn();
    cluster.hosts[0].silent();
}

/// A SYN of worker `worker`'s own to the peer, and its tuple as the peer sees it.
fn connect(cluster: &mut Cluster, worker: usize, remote: SocketAddr) -> Flow {
    let host = &mut cluster.hosts[worker];
    let conn = host.act(|_, cx| {
        let conn = cx
            .connect(remote, &Connect::default(), ())
            .expect("connects");
        cx.info(conn).expect("open")
    });
    Flow::between(remote, conn.local)
}

/// The port decides where replies come to.
#[test]
fn who_connects_chooses_ports_whose_replies_come_back() {
    let mut cluster = Cluster::new(64, SynPolicy::Embryo);
    cluster.hosts[0].inject_bytes(&arp_request()).next_reply();
    for worker in [0, 1, 2, 3] {
        for _ in 0..10 {
            let flow = connect(&mut cluster, worker, (PEER_V4, 9_000).into());
            assert_eq!(cluster.owner(flow), worker);
            // Worker 0 says where the neighbour is.
            cluster.hosts[0].turn();
            cluster.hosts[worker].turn();
            let host = cluster.hosts[worker].on(flow);
            host.expect(syn().seq(0)).forget_iss();
        }
    }
}

#[test]
fn a_port_whose_replies_reach_another_worker_is_that_workers() {
    let mut cluster = Cluster::new(64, SynPolicy::Embryo);
    let remote: SocketAddr = (PEER_V4, 9_000).into();
    let flow = |port| Flow::between(remote, (OUR_V4, port).into());
    let port = (1_000..).find(|&port| cluster.owner(flow(port)) == 2);
    let how = Connect {
        local_port: port,
        ..Connect::default()
    };
    for worker in [0, 1, 3, 2] {
        let opened = cluster.hosts[worker].act(|_, cx| cx.connect(remote, &how, ()));
        let expected = (worker == 2).then_some(()).ok_or(ConnectError::OtherWorker);
        assert_eq!(opened.map(drop), expected, "{worker}");
    }
}

/// A frame that another worker wants sent names its VLAN by its tag.
#[test]
fn a_frame_of_another_worker_waits_in_its_vlan() {
    let mut cluster = Cluster::new(64, SynPolicy::Embryo);
    let tagged_flow = |port| {
        let mut flow = Flow::between((PEER_V4, 9_000).into(), (OUR_V4, port).into());
        flow.link.vlan = VlanId(5).tag();
        flow
    };
    let port = (1_000..).find(|&port| cluster.owner(tagged_flow(port)) == 3);
    let host = cluster.hosts[3].on(tagged_flow(port.expect("one of them")));
    let conn = host.with_parked();
    let sent = host.act(|_, cx| cx.send_bytes(conn, b"hello"));
    assert_eq!(sent, Ok(5));
    cluster.hosts[0].turn();
    cluster.hosts[0].turn();
    expect_arp_request_in(VlanId(5), &mut cluster.hosts[0], PEER_V4);
    let reply = tagged(&super::neighbors::arp_reply(), 5);
    cluster.hosts[0].inject_bytes(&reply);
    let frame = cluster.hosts[0].next_reply();
    let answer = Answer::read(&frame);
    assert_eq!((answer.vlan, answer.segment.payload_len), (Some(5), 5));
}

/// A connection asks for its neighbour in its VLAN.
#[test]
fn worker_0_resolves_for_others_in_their_vlan() {
    let mut cluster = Cluster::new(64, SynPolicy::Embryo);
    let how = Connect {
        vlan: Some(VlanId(5)),
        ..Connect::default()
    };
    let remote = (PEER_V4, 9_000).into();
    cluster.hosts[3].act(|_, cx| cx.connect(remote, &how, ()).expect("connects"));
    cluster.hosts[0].turn();
    cluster.hosts[0].turn();
    expect_arp_request_in(VlanId(5), &mut cluster.hosts[0], PEER_V4);
    let reply = tagged(&super::neighbors::arp_reply(), 5);
    cluster.hosts[0].inject_bytes(&reply);
    cluster.hosts[3].turn();
    let frame = cluster.hosts[3].next_reply();
    assert_eq!(Answer::read(&frame).vlan, Some(5));
}

/// Worker 0 finds out that the neighbour doesn't answer, and the connection is another worker's.
#[test]
fn no_route_is_told_to_the_owner_of_the_connection() {
    let mut cluster = Cluster::new(64, SynPolicy::Embryo);
    connect(&mut cluster, 3, (PEER_V4, 9_000).into());
    for asked in 1..=3 {
        cluster.hosts[0].turn();
        cluster.hosts[0].turn();
        while cluster.hosts[0].try_reply().is_some() {}
        assert_eq!(cluster.hosts[0].count(Counter::SolicitationsSent), asked);
        assert_eq!(cluster.hosts[3].count(Counter::ConnectionsClosed), 0);
        for host in &mut cluster.hosts {
            host.now = host.now + std::time::Duration::from_millis(1000);
        }
    }
    cluster.hosts[0].turn();
    cluster.hosts[3].turn();
    assert_eq!(cluster.hosts[3].count(Counter::ConnectionsClosed), 1);
    assert_eq!(cluster.hosts[3].worker().table().total(), 0);
}

/// Answers of ARP reach the connections of every worker, and their questions reach the worker that knows.
#[test]
fn a_neighbour_that_moved_moves_for_the_connections_of_every_worker() {
    let new_mac = MacAddr([2, 0, 0, 0, 0, 77]);
    let mut cluster = Cluster::new(64, SynPolicy::Embryo);
    cluster.hosts[0].inject_bytes(&arp_request()).next_reply();
    let flow = connect(&mut cluster, 3, (PEER_V4, 9_000).into());
    // Worker 0 says where the neighbour is.
    cluster.hosts[0].turn();
    let host = &mut cluster.hosts[3];
    host.turn();
    host.on(flow).expect(syn().seq(0));
    let flow = host.flow;
    host.on(flow).inject(syn_ack().seq(0).ack(1));
    host.expect(ack().seq(1).ack(1));
    for host in &mut cluster.hosts {
        host.now = host.now + std::time::Duration::from_millis(2_000);
    }
    let announcement = arp::Packet::reply(new_mac, PEER_V4, new_mac, PEER_V4);
    let answer = arp::Packet::reply(new_mac, PEER_V4, OUR_MAC, OUR_V4);
    let link = Link {
        src: new_mac,
        ..LINK
    };
    cluster.hosts[2].inject_bytes(&arp_frame(link, &announcement));
    cluster.settle();
    for host in &mut cluster.hosts {
        host.now = host.now + std::time::Duration::from_millis(250);
        host.turn();
    }
    while cluster.hosts[0].try_reply().is_some() {}
    cluster.hosts[1].inject_bytes(&arp_frame(link, &answer));
    cluster.settle();
    assert_eq!(cluster.counters().get(Counter::NeighborMoved), 1);
    assert_eq!(cluster.counters().get(Counter::NeighborUpdates), 3);
    // Its answer to data goes where the neighbour is now, without worker 0.
    let host = &mut cluster.hosts[3];
    host.flow.link.src = PEER_MAC;
    host.act(|_, cx| {
        let conn = cx.next_conn(0).0.expect("a connection");
        assert_eq!(cx.send_bytes(conn, b"x"), Ok(1));
    });
    host.flow.link.src = new_mac;
    host.expect(data(1).seq(1).ack(1));
}

/// Only worker 0 knows neighbours; connections of all workers wait for them, and go on together.
#[test]
fn every_syn_of_every_worker_leaves_when_the_neighbor_has_answered() {
    let mut cluster = Cluster::new(256, SynPolicy::Embryo);
    for host in &mut cluster.hosts {
        host.act(|_, cx| {
            for _ in 0..20 {
                let opened = cx.connect((PEER_V4, 9_000).into(), &Connect::default(), ());
                assert!(opened.is_ok());
            }
        });
    }
    cluster.settle();
    super::retransmission::expect_arp_request(&mut cluster.hosts[0], PEER_V4);
    for host in &mut cluster.hosts {
        host.silent();
    }
    cluster.hosts[0].inject_bytes(&super::neighbors::arp_reply());
    cluster.settle();
    for host in &mut cluster.hosts {
        host.turn();
        for _ in 0..20 {
            let answer = Answer::read(&host.next_reply());
            assert_eq!(answer.segment.flags, crate::tcp::segment::Flags::SYN);
            assert_eq!(answer.link_dst, PEER_MAC.0);
        }
        host.silent();
    }
    assert_eq!(cluster.counters().get(Counter::TxNeighborDropped), 0);
    // And when it is known already.
    for host in &mut cluster.hosts {
        host.act(|_, cx| {
            let opened = cx.connect((PEER_V4, 9_001).into(), &Connect::default(), ());
            assert!(opened.is_ok());
        });
    }
    cluster.settle();
    for host in &mut cluster.hosts {
        host.turn();
        host.next_reply();
        host.silent();
    }
}

/// The neighbour doesn't answer: the connections of every worker hear that there is no way.
#[test]
fn every_worker_hears_that_a_neighbor_does_not_answer() {
    let mut cluster = Cluster::new(256, SynPolicy::Embryo);
    let count = |cluster: &mut Cluster| -> u32 {
        let open = |host: &mut Host| host.worker().table().len(crate::conn::Kind::Open).v4;
        cluster.hosts.iter_mut().map(open).sum()
    };
    for host in &mut cluster.hosts {
        host.act(|_, cx| {
            let opened = cx.connect((PEER_V4, 9_000).into(), &Connect::default(), ());
            assert!(opened.is_ok());
        });
    }
    cluster.settle();
    assert_eq!(count(&mut cluster), 4);
    for _ in 0..5 {
        for host in &mut cluster.hosts {
            host.wait_ms(1_001);
        }
        cluster.settle();
        for host in &mut cluster.hosts {
            host.turn();
        }
    }
    while cluster.hosts[0].try_reply().is_some() {}
    assert_eq!(count(&mut cluster), 0);
}
