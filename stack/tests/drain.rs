//! The end of a run: [`Worker::drain_turn`] finishes what other workers handed over, sends what waits, and takes nothing new.
//! Its two workers are of one endpoint and share rings, as no pair of hosts does.
#![forbid(unsafe_code)]

use core::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use stack::config::{ConfigSpec, Interface};
use stack::conn::{Capacity, Records};
use stack::counters::Counter;
use stack::memory::PageOptions;
use stack::nic::memory::MemoryNic;
use stack::time::Instant;
use stack::wire::emit::SegmentSpec;
use stack::wire::tcp::Flags;
use stack::wire::{Link, MacAddr};
use stack::worker::{Rings, Secrets, Worker};

const OURS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const MAC: [u8; 6] = [2; 6];
const NOW: Instant = Instant::from_ms(1);
const SECRETS: Secrets = Secrets {
    flow: [1, 2],
    isn: [3; 16],
    cookie: [4; 16],
    ports: [5; 16],
};

fn two_workers() -> Vec<Worker<MemoryNic>> {
    let mut spec = ConfigSpec::new(vec![Interface {
        address: OURS.into(),
        prefix_len: 24,
    }]);
    let few = Records { v4: 64, v6: 0 };
    spec.limits.records = Capacity {
        embryos: few,
        parked: few,
        ..spec.limits.records
    };
    let config = Arc::new(spec.validate().expect("valid"));
    let ends = Rings::new(2, 256).into_ends().into_iter();
    ends.map(|end| {
        let (nic, config) = (MemoryNic::new(MAC), Arc::clone(&config));
        Worker::new(nic, config, &SECRETS, end, PageOptions::default()).expect("memory")
    })
    .collect()
}

/// A SYN to a closed port; every port is another flow, so about half of them belong to each worker.
fn syn(from_port: u16) -> Vec<u8> {
    let link = Link {
        dst: MacAddr(MAC),
        src: MacAddr([4; 6]),
        vlan: None,
    };
    let source = SocketAddr::from((Ipv4Addr::new(198, 18, 0, 1), from_port));
    let blank = SegmentSpec::new(link, source, SocketAddr::from((OURS, 81)));
    let segment = SegmentSpec {
        flags: Flags::SYN,
        ..blank
    };
    let mut bytes = vec![0; 128];
    let len = segment.emit(&mut bytes).expect("room");
    bytes.truncate(len);
    bytes
}

#[test]
fn what_was_handed_over_is_answered_and_what_lies_at_the_nic_stays_there() {
    let mut workers = two_workers();
    for port in 1000..1064 {
        workers[0].nic_mut().inject_bytes(&syn(port));
    }
    assert_eq!(workers[0].turn(NOW), 64);
    let handed_off = workers[0].counters().get(Counter::HandedOff);
    assert!((1..64).contains(&handed_off), "both own flows");
    workers[1].nic_mut().inject_bytes(&syn(2000));
    let mut turns = 0;
    while workers[1].drain_turn(NOW) {
        turns += 1;
        assert!(turns < 100, "it ends");
    }
    let counters = workers[1].counters();
    assert_eq!(counters.get(Counter::HandoffIn), handed_off);
    assert_eq!(counters.get(Counter::RstSent), handed_off);
    assert_eq!(
        (counters.get(Counter::RxFrames), counters.unaccounted()),
        (0, 0)
    );
    let sent = workers[1].nic_mut().take_sent().len() as u64;
    assert_eq!(sent, handed_off);
}

#[test]
fn it_is_not_drained_while_the_nic_refuses() {
    let mut worker = two_workers().remove(0);
    worker.nic_mut().tx_room = 0;
    for port in 1000..1016 {
        worker.nic_mut().inject_bytes(&syn(port));
    }
    worker.turn(NOW);
    assert!(worker.drain_turn(NOW), "replies wait");
    worker.nic_mut().tx_room = usize::MAX;
    worker.drain_turn(NOW);
    assert!(!worker.drain_turn(NOW));
    assert_eq!(
        worker.counters().get(Counter::TxFrames),
        worker.counters().get(Counter::RstSent)
    );
}
