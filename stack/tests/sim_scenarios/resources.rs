//! Resources of a machine: memory, workers, NICs and their offloads, tables of neighbours.
//!
//! It must never share a world with another test.

use stack::app::{Connect, Cx, TxItem};
use stack::counters::Counter;
use stack::sim::host::{HostSpec, Spread};
use stack::sim::nic::SimNic;
use stack::sim::puppet::AppEvent;
use stack::tcp::verdict::CloseReason;
use stack::time::Instant;
use stack::wire::Defect;

use super::{
    ms, secs,
    show::{PORT, Show},
};

/// Small pools and applications that don't read: everything waits, nothing breaks, and it goes on when they read.
#[test]
fn memory_runs_out_and_comes_back() {
    let mut show = Show::new(|client, server| {
        client.config.limits.send_queue_items = 64;
        server.nic.pools.rx = 200;
        server.nic.pools.control = 100;
        server.config.limits.queue_items = 64;
        // Longer than the silence below: no connection has to give way.
        server.config.limits.stall_limit = secs(60);
    });
    show.tell_server(|server| server.reads = false);
    let ids: Vec<_> = (0..8).map(|_| show.connect(Connect::default())).collect();
    show.run(secs(1));
    for &id in &ids {
        show.send(id, 0, 100_000);
    }
    show.run(secs(30));
    let worker = show.world.workers(show.server).next().expect("a worker");
    assert!(
        worker.counters().get(Counter::PayloadNoPlace) > 0,
        "it did run out"
    );
    // One puppet checks one stream: count only.
    let peers = show.server().conns.clone();
    assert_eq!(peers.len(), 8);
    for _ in 0..3_000 {
        for &peer in &peers {
            show.world.act(show.server, 0, |server, cx| {
                while !cx.peek(peer).is_empty() {
                    let len = cx.peek(peer).len() as u32;
                    server.received += u64::from(len);
                    cx.consume(peer, len);
                }
            });
        }
        show.run(ms(100));
        if show.server().received == 800_000 {
            break;
        }
    }
    assert_eq!(show.server().received, 800_000);
    show.end();
}

/// Buffers whose flags still say "good" of older frames, on ports that verify nothing: what is corrupt is dropped all the same.
#[test]
fn stale_verdicts_of_a_nic_that_was_not_asked_do_not_count() {
    let mut show = Show::new(|client, server| {
        for host in [client, server] {
            host.nic.stale_good_ppm = 1_000_000;
            host.up.corrupt_ppm = 100_000;
        }
    });
    let id = show.established(Connect::default());
    show.send(id, 0, 500_000);
    show.run(secs(600));
    assert_eq!(show.server().received, 500_000);
    let worker = show.world.workers(show.server).next().expect("a worker");
    let wrong = worker.counters().get_defect(Defect::TcpChecksum);
    assert!(wrong > 10, "{wrong} frames were corrupt");
    show.end();
}

/// Four workers on each side, and no frame ever comes to the right one.
#[test]
fn four_workers_that_get_only_frames_of_others() {
    let mut show = Show::new(|client, server| {
        for host in [client, server] {
            host.workers = 4;
            host.spread = Spread::Wrong;
        }
    });
    let remote = (HostSpec::v4(2), PORT).into();
    for _ in 0..8 {
        for worker in 0..4 {
            let opened = show.world.act(show.client, worker, |_, cx| {
                let id = cx
                    .connect(remote, &Connect::default(), false)
                    .expect("a connection");
                cx.send(
                    id,
                    TxItem::Pattern {
                        start: 0,
                        len: 3_000,
                    },
                )
                .is_ok()
            });
            assert_eq!(opened, Some(true));
        }
        show.run(ms(10));
    }
    show.run(secs(5));
    let workers = || show.world.workers(show.server);
    let received: u64 = workers().map(|worker| worker.app().received).sum();
    assert_eq!(received, 32 * 3_000);
    let handed_off: u64 = workers()
        .map(|worker| worker.counters().get(Counter::HandedOff))
        .sum();
    assert!(handed_off >= 32 * 4, "{handed_off}");
    // Each puppet reads the streams of several connections, so what it takes for wrong is not.
    for host in [show.client, show.server] {
        show.world.power_off(host);
    }
    assert_eq!(show.world.violations(), &[] as &[String]);
}

/// Everything that crossed the links while a client sent 300,000 bytes, without the fields in which a NIC numbers packets.
fn transfer(
    tso_buffers: u16,
    change: impl FnOnce(&mut HostSpec, &mut HostSpec),
) -> (Vec<Vec<u8>>, u64) {
    let mut show = Show::new(|client, server| {
        client.nic.tx_checksum = true;
        client.nic.tso_buffers = tso_buffers;
        change(client, server);
    });
    let id = show.established(Connect::default());
    show.world.record(true);
    show.send(id, 0, 300_000);
    show.world.act(show.client, 0, |_, cx| cx.shutdown(id));
    show.run(secs(20));
    assert_eq!(show.server().received, 300_000);
    let worker = show.world.workers(show.client).next().expect("a worker");
    let cut = worker.counters().get(Counter::TxCut);
    let frames = show.world.trace().iter().map(|crossing| {
        let mut bytes = crossing.bytes.to_vec();
        bytes[18..20].fill(0);
        bytes[24..26].fill(0);
        bytes
    });
    let frames = frames.collect();
    show.end();
    (frames, cut)
}

#[test]
fn a_nic_that_cuts_sends_the_segments_that_we_would_have_sent() {
    let (whole, none) = transfer(0, |_, _| {});
    assert_eq!(none, 0);
    for buffers in [8, 24, 64] {
        let (frames, cut) = transfer(buffers, |_, _| {});
        assert!(cut > 10, "{cut} frames were cut");
        assert!(
            frames == whole,
            "{} frames, not {}",
            frames.len(),
            whole.len()
        );
    }
    let (_, cut) = transfer(64, |_, server| server.down.loss_ppm = 20_000);
    assert!(cut > 10, "with losses, {cut}");
}

#[test]
fn where_buffers_are_few_a_large_segment_goes_in_pieces() {
    let (whole, _) = transfer(0, |client, _| client.nic.pools.control = 40);
    let (frames, _) = transfer(64, |client, _| client.nic.pools.control = 40);
    assert!(
        frames.len() < whole.len() * 2,
        "{} and {}",
        frames.len(),
        whole.len()
    );
}

/// Worker 0 remembers 64 questions of others about neighbours. Silent addresses take them all; a connection that finds no place asks again
/// when its SYN would be due again, and finds the answer.
#[test]
fn more_questions_about_neighbors_than_are_remembered_are_asked_again() {
    let mut show = Show::new(|client, _| client.workers = 2);
    show.run(ms(10));
    let began_at = show.world.now();
    let open = |cx: &mut Cx<'_, SimNic, bool>, to: u8| {
        let how = Connect::default();
        cx.connect((HostSpec::v4(to), PORT).into(), &how, false)
            .is_ok()
    };
    let all = (100..170).chain([2]);
    let opened = show.world.act(show.client, 1, |_, cx| {
        all.filter(|&to| open(cx, to)).count()
    });
    assert_eq!(opened, Some(71));
    show.run(ms(900));
    assert_eq!(show.server().heard, []);
    show.run(ms(300));
    let (at, _, what) = show.server().heard[1];
    assert_eq!(what, AppEvent::Open);
    assert!(at - began_at >= ms(990), "{:?}", at - began_at);
    show.run(secs(20));
    let gone = show
        .world
        .workers(show.client)
        .nth(1)
        .expect("a worker")
        .app();
    let unreachable = |end: &(Instant, CloseReason)| matches!(end.1, CloseReason::Unreachable(_));
    assert_eq!(gone.ends().filter(unreachable).count(), 70);
    show.end();
}
