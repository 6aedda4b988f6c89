//! Effects of a simulated NIC on frames that a real one may have.

use super::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn nic(change: impl FnOnce(&mut NicSpec)) -> (SimNic, Pools) {
    let mut spec = NicSpec::default();
    change(&mut spec);
    let pools = Pools::new(spec.pools);
    (SimNic::new(&spec, MAC, &pools, Random::new(5)), pools)
}

fn one(nic: &mut SimNic, class: PoolClass, bytes: &[u8]) -> SimFrame {
    let mut burst = Burst::new();
    assert_eq!(nic.alloc(class, &mut burst, 1), 1);
    let mut frame = burst.take_front(1).next().expect("a frame");
    frame.set_len(bytes.len()).expect("room");
    frame.bytes_mut().expect("exclusive").copy_from_slice(bytes);
    frame
}

fn received(nic: &mut SimNic) -> Vec<SimFrame> {
    let mut burst = Burst::new();
    nic.rx(&mut burst);
    burst.take_front(64).collect()
}

#[test]
fn a_sent_frame_stays_in_use_until_the_nic_has_read_it() {
    let (mut nic, pools) = nic(|spec| spec.held_bursts = 8);
    let mut most_held = 0;
    for _ in 0..50 {
        let mut burst = Burst::new();
        drop(burst.push(one(&mut nic, PoolClass::Control, b"frame")));
        assert_eq!(nic.tx(&mut burst), 1);
        most_held = most_held.max(pools.in_use());
    }
    assert!((3..=9).contains(&most_held), "{most_held}");
    nic.complete_all();
    assert_eq!(pools.in_use(), 0);
    assert!(nic.take_violations().is_empty());
    assert_eq!(nic.take_wire().len(), 50);
}

#[test]
fn a_kept_frame_cannot_be_rewritten_while_the_nic_sends_it() {
    let (mut nic, _pools) = nic(|_| {});
    let mut kept = one(&mut nic, PoolClass::Data, b"kept");
    let mut burst = Burst::new();
    drop(burst.push(nic.share(&mut kept).expect("shared")));
    assert!(kept.bytes_mut().is_none());
    nic.tx(&mut burst);
    assert!(kept.bytes_mut().is_none(), "in the ring of the NIC");
    nic.complete_all();
    assert!(kept.bytes_mut().is_some());
}

#[test]
fn tx_refuses_at_random_places_and_a_full_ring_refuses_all() {
    let (mut sometimes, _) = nic(|spec| spec.refuse_ppm = 500_000);
    let mut accepted = Vec::new();
    for _ in 0..200 {
        let mut burst = Burst::new();
        for _ in 0..3 {
            drop(burst.push(one(&mut sometimes, PoolClass::Control, b"frame")));
        }
        accepted.push(sometimes.tx(&mut burst));
    }
    for n in 0..=3 {
        assert!(accepted.contains(&n), "never {n}");
    }
    assert!(sometimes.take_left_behind() && !sometimes.take_left_behind());
    let (mut full, _) = nic(|spec| spec.tx_ring = 0);
    let mut burst = Burst::new();
    drop(burst.push(one(&mut full, PoolClass::Control, b"frame")));
    assert_eq!((full.tx(&mut burst), burst.len()), (0, 1));
}

#[test]
fn pools_and_rings_end() {
    let (mut nic, pools) = nic(|spec| {
        spec.pools.rx = 3;
        spec.pools.control = 1;
        spec.rx_ring = 2;
    });
    assert!(nic.deliver(b"1") && nic.deliver(b"2") && !nic.deliver(b"3"));
    let kept = received(&mut nic);
    assert_eq!(kept.len(), 2);
    assert!(nic.deliver(b"4") && !nic.deliver(b"5"), "the pool is empty");
    assert_eq!(
        (nic.counters().rx_ring_full, nic.counters().rx_pool_empty),
        (1, 1)
    );
    drop(kept);
    assert!(nic.deliver(b"6"));
    let mut burst = Burst::new();
    assert_eq!(nic.alloc(PoolClass::Control, &mut burst, 5), 1);
    assert_eq!(
        nic.alloc(PoolClass::Data, &mut burst, 5),
        5,
        "pools are separate"
    );
    nic.power_off();
    drop(burst);
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn received_frames_come_shared_and_in_pieces_with_the_same_bytes() {
    let (mut nic, pools) = nic(|spec| {
        spec.share_ppm = 300_000;
        spec.chain_ppm = 300_000;
    });
    let bytes: Vec<u8> = (0..100).collect();
    let (mut shared, mut chained, mut plain) = (0, 0, 0);
    for _ in 0..200 {
        assert!(nic.deliver(&bytes));
        for mut frame in received(&mut nic) {
            assert_eq!(frame.to_vec(), bytes);
            match (frame.is_contiguous(), frame.bytes_mut().is_some()) {
                (true, true) => plain += 1,
                (true, false) => shared += 1,
                (false, _) => chained += 1,
            }
        }
    }
    assert!(
        shared > 20 && chained > 20 && plain > 50,
        "{shared} {chained} {plain}"
    );
    nic.complete_all();
    assert_eq!(pools.in_use(), 0);
}

#[test]
fn chains_where_there_are_none_and_offloads_that_nobody_promised_are_violations() {
    let (mut single, _) = nic(|spec| spec.multi_seg = false);
    let mut head = one(&mut single, PoolClass::Control, b"head");
    let mut body = one(&mut single, PoolClass::Data, b"body");
    assert!(!single.chain(&mut head, &mut body, 0, 4));
    head.request(Some(TxRequest {
        ip: nic::IpVersion::V4,
        l2_len: 14,
        l3_len: 20,
        ipv4_checksum: false,
        tcp_checksum: true,
        cut: None,
    }));
    let mut burst = Burst::new();
    drop(burst.push(head));
    single.tx(&mut burst);
    assert_eq!(single.take_violations().len(), 1);
    let chained = SimFrame::chained(&single.pools.rx, b"in two parts", 3).expect("room");
    drop(burst.push(chained));
    single.tx(&mut burst);
    assert_eq!(single.take_violations().len(), 1);
}
