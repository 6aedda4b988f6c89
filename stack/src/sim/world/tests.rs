//! The world with a stateless endpoint and a scripted peer: what it takes to trust what it says about connections.

use core::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::counters::Counter;
use crate::local::listener::{ListenerConfig, SynPolicy};
use crate::nic::rss::{Fields, Steering};
use crate::sim::host::Spread;
use crate::sim::inspect::Tcp;
use crate::sim::link::LinkSpec;
use crate::wire::tcp::Flags;
use crate::wire::{Link as Addresses, MacAddr, SegmentSpec};
use crate::worker::app::Connect;
use crate::worker::app::NoApp;

const PORT: u16 = 80;

/// A server with a listener and a station, and a start like any.
fn server_and_station(
    seed: u64,
    change: impl FnOnce(&mut HostSpec),
) -> (World<NoApp>, HostId, HostId) {
    let mut world = World::new(seed, Instant::from_ms(5_000));
    let mut server = HostSpec::new(1);
    server.config.listeners = vec![ListenerConfig::new(PORT, SynPolicy::Embryo)];
    change(&mut server);
    let server = world.add_host(server, |_| NoApp).expect("a host");
    let station = world.add_station(HostSpec::new(2)).expect("a station");
    (world, server, station)
}

fn segment(source: (IpAddr, u16), destination: (IpAddr, u16), flags: Flags) -> Vec<u8> {
    let link = Addresses {
        dst: MacAddr([2, 0, 0, 0, 0, 1]),
        src: MacAddr([2, 0, 0, 0, 0, 2]),
        vlan: None,
    };
    let spec = SegmentSpec {
        flags,
        ..SegmentSpec::new(link, source.into(), destination.into())
    };
    let mut bytes = vec![0; 200];
    let len = spec.emit(&mut bytes).expect("room");
    bytes.truncate(len);
    bytes
}

fn syn(port: u16, destination_port: u16) -> Vec<u8> {
    let (from, to) = if port.is_multiple_of(2) {
        (HostSpec::v4(2), HostSpec::v4(1))
    } else {
        (HostSpec::v6(2), HostSpec::v6(1))
    };
    segment((from, port), (to, destination_port), Flags::SYN)
}

/// A NIC that hashes both families whole, onto four queues.
fn steering() -> Arc<Steering> {
    let key = core::array::from_fn(|at| (at * 29 + 3) as u8);
    let table: Vec<u16> = (0..64).map(|slot| slot % 4).collect();
    let whole = Fields::AddressesAndPorts;
    Arc::new(Steering::new(&key, &table, whole, whole).expect("64 slots"))
}

fn flags_of(bytes: &[u8]) -> Option<u8> {
    Some(Tcp::of(bytes)?.flags())
}

#[test]
fn a_syn_is_answered_across_the_wire_and_after_its_delay() {
    let (mut world, server, station) = server_and_station(1, |_| {});
    world.record(true);
    let sent_at = world.now();
    world.send(station, syn(40_000, 81));
    world.run_for(Duration::from_millis(1));
    let heard = world.take_heard(station);
    assert_eq!(heard.len(), 1);
    assert_eq!(flags_of(&heard[0].1), Some(0x14), "RST, ACK");
    let took = heard[0].0 - sent_at;
    assert!(
        (Duration::from_micros(200)..Duration::from_micros(240)).contains(&took),
        "{took:?}"
    );
    let [there, back] = world.trace() else {
        panic!("two crossings");
    };
    assert_eq!((there.from, there.to), (station, Some(server)));
    assert_eq!(
        (back.from, back.to, back.fate),
        (server, Some(station), Fate::Delivered)
    );
    assert_eq!(back.arrives_at, Some(heard[0].0));
}

#[test]
fn the_same_seed_gives_the_same_frames_at_the_same_times_and_another_seed_does_not() {
    let run = |seed| {
        let (mut world, _, station) = server_and_station(seed, |server| {
            server.workers = 3;
            server.spread = Spread::Random;
            server.nic.refuse_ppm = 100_000;
            server.nic.share_ppm = 100_000;
            server.down = LinkSpec {
                loss_ppm: 100_000,
                jitter: Duration::from_micros(500),
                ..server.down
            };
        });
        world.record(true);
        for port in 1..100 {
            world.send(station, syn(port, PORT));
            world.run_for(Duration::from_micros(300));
        }
        world.run_for(Duration::from_secs(3));
        assert_eq!(world.violations(), &[] as &[String]);
        world.trace().to_vec()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

/// Half-open connections from 200 ports over everything that a link and a NIC can do, on four workers that never get
/// their own frames.
#[test]
fn every_syn_is_answered_whatever_worker_gets_it_and_nothing_leaks() {
    for spread in [
        Spread::First,
        Spread::Owner,
        Spread::AsSaid,
        Spread::Wrong,
        Spread::Random,
    ] {
        let (mut world, server, station) = server_and_station(3, |server| {
            server.workers = 4;
            server.spread = spread;
            server.nic.steering = (spread == Spread::AsSaid).then(steering);
            server.nic.held_bursts = 6;
            server.nic.refuse_ppm = 200_000;
            server.nic.share_ppm = 100_000;
            server.nic.chain_ppm = 100_000;
            server.down.duplicate_ppm = 50_000;
            server.down.reorder_ppm = 50_000;
            server.down.reorder_delay = Duration::from_millis(1);
        });
        for port in 1..=200 {
            world.send(station, syn(port, if port <= 100 { PORT } else { 81 }));
        }
        world.run_for(Duration::from_millis(500));
        let heard = world.take_heard(station);
        let with = |flags| {
            heard
                .iter()
                .filter(|(_, bytes)| flags_of(bytes) == Some(flags))
                .count()
        };
        assert!(
            with(0x12) >= 100 && with(0x14) >= 100,
            "{spread:?}: {} {}",
            with(0x12),
            with(0x14)
        );
        // Their SYN-ACKs are retransmitted, for which the station's addresses are asked for in vain.
        world.run_for(Duration::from_secs(60));
        let handed_off: u64 = world
            .workers(server)
            .map(|worker| worker.counters().get(Counter::HandedOff))
            .sum();
        match spread {
            Spread::Owner | Spread::AsSaid => assert!(handed_off < 20, "{handed_off}"),
            Spread::Wrong => assert!(handed_off >= 200, "{handed_off}"),
            Spread::First | Spread::Random => assert!(handed_off >= 100, "{handed_off}"),
        }
        for worker in world.workers(server) {
            assert_eq!(worker.counters().unaccounted(), 0);
            assert_eq!(worker.table().total(), 0, "embryos have ended");
        }
        world.power_off(server);
        assert_eq!(world.violations(), &[] as &[String], "{spread:?}");
        assert_eq!(world.settle(server), 0);
    }
}

#[test]
fn corrupted_segments_are_dropped_with_and_without_verifying_hardware() {
    for rx_checksum in [false, true] {
        let (mut world, server, station) = server_and_station(4, |server| {
            server.nic.rx_checksum = rx_checksum;
            server.down.corrupt_ppm = 1_000_000;
        });
        for port in 1..=500 {
            world.send(station, syn(port * 2, 81));
            world.run_for(Duration::from_micros(100));
        }
        world.run_for(Duration::from_millis(1));
        // Only what stands under no checksum can have changed without harm: nothing in IPv4.
        assert_eq!(world.take_heard(station).len(), 0);
        let worker = world.workers(server).next().expect("a worker");
        assert_eq!(worker.counters().get(Counter::RxFrames), 500);
        assert_eq!(worker.counters().unaccounted(), 0);
    }
}

#[test]
fn a_pulled_cable_passes_nothing_and_power_loss_forgets_everything() {
    let (mut world, server, station) = server_and_station(5, |_| {});
    world.set_cable(server, false);
    world.send(station, syn(2, PORT));
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.take_heard(station).len(), 0);
    world.set_cable(server, true);
    world.send(station, syn(4, PORT));
    world.run_for(Duration::from_millis(10));
    assert_eq!(world.take_heard(station).len(), 1);
    world.power_off(server);
    world.send(station, syn(6, PORT));
    world.run_for(Duration::from_millis(10));
    assert_eq!(world.take_heard(station).len(), 0);
    world.power_on(server, |_| NoApp).expect("memory");
    let worker = world.workers(server).next().expect("a worker");
    assert_eq!(worker.table().total(), 0);
    world.send(station, syn(8, PORT));
    world.run_for(Duration::from_millis(10));
    assert_eq!(world.take_heard(station).len(), 1);
}

#[test]
fn a_frozen_host_says_nothing_until_it_goes_on_and_then_answers_what_waited() {
    let (mut world, server, station) = server_and_station(5, |_| {});
    world.set_frozen(server, true);
    world.send(station, syn(2, PORT));
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.take_heard(station).len(), 0);
    world.set_frozen(server, false);
    world.run_for(Duration::from_millis(10));
    assert_eq!(world.take_heard(station).len(), 1);
}

#[test]
fn a_host_that_boots_with_another_link_address_hears_that_one_only() {
    let (mut world, server, station) = server_and_station(5, |_| {});
    world.power_off(server);
    world.set_mac(server, [2, 0, 0, 0, 1, 1]);
    world.power_on(server, |_| NoApp).expect("memory");
    world.send(station, syn(2, PORT));
    let mut renamed = syn(4, PORT);
    renamed[4] = 1;
    world.send(station, renamed);
    world.run_for(Duration::from_millis(10));
    assert_eq!(world.take_heard(station).len(), 1);
}

#[test]
fn groups_are_flooded_and_unknown_addresses_reach_nobody() {
    let (mut world, _, station) = server_and_station(6, |_| {});
    let other = world.add_station(HostSpec::new(3)).expect("a station");
    let mut broadcast = syn(2, PORT);
    broadcast[..6].fill(0xff);
    world.send(station, broadcast);
    let mut nobody = syn(2, PORT);
    nobody[5] = 99;
    world.record(true);
    world.send(station, nobody);
    world.run_for(Duration::from_millis(1));
    assert_eq!(world.take_heard(other).len(), 1);
    assert_eq!(world.trace().last().map(|c| c.fate), Some(Fate::NoReceiver));
}

#[test]
fn an_empty_rx_pool_loses_frames_and_recovers() {
    let (mut world, server, station) = server_and_station(7, |server| server.nic.pools.rx = 8);
    for port in 1..=50 {
        world.send(station, syn(port, 81));
    }
    world.run_for(Duration::from_millis(10));
    let heard = world.take_heard(station).len();
    assert!((8..50).contains(&heard), "{heard}");
    world.send(station, syn(60, 81));
    world.run_for(Duration::from_millis(10));
    assert_eq!(world.take_heard(station).len(), 1);
    assert_eq!(world.settle(server), 0);
}

/// Worker 1 asks worker 0 for the neighbour of its connection: without a frame and without a deadline of worker 0.
#[test]
fn a_worker_notices_at_once_what_another_has_handed_over() {
    let (mut world, server, station) = server_and_station(8, |server| server.workers = 2);
    world.set_max_idle(Duration::from_secs(10));
    world.run_for(Duration::from_secs(1));
    let remote = (HostSpec::v4(2), PORT).into();
    let connect = Connect::default();
    let opened = world.act(server, 1, |_, cx| cx.connect(remote, &connect, ()).is_ok());
    assert_eq!(opened, Some(true));
    world.run_for(Duration::from_millis(1));
    let asked = world.take_heard(station);
    assert_eq!(asked.len(), 1, "an ARP request");
    assert_eq!(asked[0].1[12..14], [0x08, 0x06]);
}
