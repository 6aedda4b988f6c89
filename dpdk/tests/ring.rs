//! The in-memory link and the mbufs that pass over it: one EAL, one test (DPDK is initialised once per process).
//!
//! Never needs root, hugepages or a NIC.

use dpdk::{DpdkNic, Error, FaultTotals, Mempool};
use dpdk::{Eal, EalConfig, Hugepages, Instrument, Mbuf, PoolSizes, RingConfig};
use stack::nic::fault::FaultSpec;
use stack::nic::{BURST_FRAMES, ChecksumVerdict, RxChecksum};
use stack::nic::{Burst, Cut, Frame, FrameError, IpVersion, Nic, PoolClass, TxRequest};
use std::sync::{Arc, Mutex};

const POOL_FRAMES: u32 = 127;
const CONFIG: RingConfig = RingConfig {
    steered: false,
    queues: 2,
    ring_frames: 64,
    mtu: 1500,
    pools: PoolSizes {
        rx_frames: 0,
        control_frames: POOL_FRAMES,
        data_frames: POOL_FRAMES,
        cache_frames: 32,
    },
};

struct Side {
    nic: DpdkNic,
    control: Mempool,
    data: Mempool,
}

fn sides(eal: &Eal) -> (Side, Side) {
    let ((_, a), (_, b)) = dpdk::ring_pair(eal, &CONFIG).expect("a link");
    let side = |pairs: Vec<dpdk::QueuePair>| {
        let pair = pairs.into_iter().next().expect("two queue pairs");
        let (control, data) = (pair.control.clone(), pair.data.clone());
        Side {
            nic: DpdkNic::new(pair),
            control,
            data,
        }
    };
    (side(a), side(b))
}

fn one(side: &mut Side, class: PoolClass) -> Mbuf {
    let mut burst = Burst::new();
    assert_eq!(side.nic.alloc(class, &mut burst, 1), 1);
    burst.take_front(1).next().expect("one frame")
}

fn send(side: &mut Side, frame: Mbuf) {
    let mut burst = Burst::new();
    burst.push(frame).expect("room");
    assert_eq!(side.nic.tx(&mut burst), 1);
}

fn receive(side: &mut Side) -> Mbuf {
    let mut burst = Burst::new();
    assert_eq!(side.nic.rx(&mut burst), 1);
    burst.take_front(1).next().expect("one frame")
}

#[test]
fn the_in_memory_link() {
    let config = EalConfig {
        memory_mb: 64,
        hugepages: Hugepages::Never,
        ..EalConfig::default()
    };
    let eal = Eal::init(&config).expect("EAL without root and hugepages");
    assert_eq!(
        eal.memory_line(),
        "memory: 128 MB in ordinary pages, as demanded"
    );
    assert!(matches!(
        Eal::init(&config),
        Err(Error::EalAlreadyInitialised)
    ));

    a_frame_arrives_as_the_same_mbuf(&eal);
    a_frame_grows_by_zeros_up_to_its_tailroom(&eal);
    shared_bytes_are_read_only_until_the_other_owner_is_gone(&eal);
    an_original_that_is_dropped_first_leaves_its_bytes_to_the_clone(&eal);
    growing_leaves_what_was_there_and_lends_the_rest(&eal);
    a_chained_frame_carries_the_very_bytes(&eal);
    a_chain_is_refused_when_it_cannot_be(&eal);
    a_chain_is_taken_apart_without_a_copy(&eal);
    offload_flags_do_not_survive_a_change_of_hands(&eal);
    vlan_tags_move_between_the_frame_and_what_stands_beside_it(&eal);
    a_full_ring_leaves_the_rest_in_the_burst(&eal);
    a_pool_is_exhausted_and_recovers(&eal);
    an_instrument_sees_every_burst(&eal);
    faults_come_both_ways(&eal);
    faults_keep_no_frame(&eal);
    queues_keep_their_port_alive(&eal);
    threads_register_and_unregister(&eal);
    wrong_configurations_are_refused(&eal);
}

fn a_frame_arrives_as_the_same_mbuf(eal: &Eal) {
    let (mut a, mut b) = sides(eal);
    assert_eq!(a.nic.caps().link, "memory link, no NIC");
    assert!(a.nic.link_is_up());
    let mut frame = one(&mut a, PoolClass::Control);
    frame.set_len(60).expect("room");
    frame.bytes_mut().expect("exclusive")[..4].copy_from_slice(b"ping");
    let address = frame.address();
    send(&mut a, frame);
    let frame = receive(&mut b);
    assert_eq!(frame.address(), address);
    assert_eq!(&frame.bytes()[..4], b"ping");
    assert_eq!((frame.total_len(), frame.is_contiguous()), (60, true));
    // And back.
    send(&mut b, frame);
    assert_eq!(receive(&mut a).address(), address);
    assert_eq!(a.control.in_use(), 0);
}

fn a_frame_grows_by_zeros_up_to_its_tailroom(eal: &Eal) {
    let (mut a, _b) = sides(eal);
    let mut frame = one(&mut a, PoolClass::Control);
    let Err(FrameError::NoTailroom { capacity }) = frame.set_len(usize::MAX) else {
        panic!("no frame is that long");
    };
    assert_eq!(capacity, 2048);
    frame.set_len(capacity).expect("all of it");
    frame.bytes_mut().expect("exclusive").fill(0xaa);
    assert_eq!(
        frame.set_len(capacity + 1),
        Err(FrameError::NoTailroom { capacity })
    );
    assert_eq!(frame.total_len(), capacity, "unchanged by a refusal");
    frame.set_len(10).expect("shorter");
    frame.set_len(60).expect("longer again");
    assert_eq!(&frame.bytes()[..10], [0xaa; 10]);
    assert_eq!(
        &frame.bytes()[10..],
        [0; 50],
        "old bytes must not leak as padding"
    );
    let mut out = [0xff; 8];
    assert_eq!(frame.copy_out(6, &mut out), 8);
    assert_eq!(out, [0xaa, 0xaa, 0xaa, 0xaa, 0, 0, 0, 0]);
    assert_eq!(frame.copy_out(58, &mut out), 2);
    assert_eq!(frame.copy_out(61, &mut out), 0);
}

fn shared_bytes_are_read_only_until_the_other_owner_is_gone(eal: &Eal) {
    let (mut a, mut b) = sides(eal);
    let mut frame = one(&mut a, PoolClass::Data);
    frame.set_len(60).expect("room");
    let mut clone = a.nic.share(&mut frame).expect("a header for it");
    assert_eq!(clone.address(), frame.address());
    assert_eq!(frame.refcount(), 2);
    assert!(frame.bytes_mut().is_none() && clone.bytes_mut().is_none());
    assert_eq!(frame.set_len(61), Err(FrameError::NotExclusive));
    assert_eq!(clone.set_len(59), Err(FrameError::NotExclusive));
    // The other side of an in-memory link gets the clone itself, and can't rewrite what we keep for retransmission.
    send(&mut a, clone);
    let mut received = receive(&mut b);
    assert_eq!(received.address(), frame.address());
    assert!(received.bytes_mut().is_none());
    assert!(frame.bytes_mut().is_none());
    drop(received);
    assert!(frame.bytes_mut().is_some());
    drop(frame);
    assert_eq!(a.data.in_use(), 0);
}

fn an_original_that_is_dropped_first_leaves_its_bytes_to_the_clone(eal: &Eal) {
    let (mut a, _b) = sides(eal);
    let mut frame = one(&mut a, PoolClass::Data);
    frame.set_len(60).expect("room");
    frame.bytes_mut().expect("exclusive").fill(7);
    let mut clone = a.nic.share(&mut frame).expect("a header for it");
    drop(frame);
    assert_eq!(clone.bytes(), [7; 60]);
    assert!(
        clone.bytes_mut().is_none(),
        "an indirect mbuf is never ours to rewrite"
    );
    assert_eq!(a.data.in_use(), 2);
    let mut burst = Burst::new();
    burst.push(clone).expect("room");
    a.nic.free(&mut burst);
    assert_eq!(a.data.in_use(), 0);
}

fn growing_leaves_what_was_there_and_lends_the_rest(eal: &Eal) {
    let (mut a, _b) = sides(eal);
    let mut frame = one(&mut a, PoolClass::Control);
    frame.grow(10).expect("room").fill(1);
    let more = frame.grow(20).expect("room");
    assert_eq!(more.len(), 20);
    more.fill(2);
    assert_eq!(frame.bytes(), [[1; 10].as_slice(), &[2; 20]].concat());
    assert_eq!(frame.total_len(), 30);
    for additional in [2048 - 29, usize::MAX] {
        assert_eq!(
            frame.grow(additional),
            Err(FrameError::NoTailroom { capacity: 2048 })
        );
    }
    assert_eq!(frame.total_len(), 30, "unchanged by a refusal");
    let clone = a.nic.share(&mut frame).expect("a header for it");
    assert_eq!(frame.grow(1), Err(FrameError::NotExclusive));
    drop(clone);
}

fn a_chained_frame_carries_the_very_bytes(eal: &Eal) {
    let (mut a, mut b) = sides(eal);
    let mut body = one(&mut a, PoolClass::Data);
    let payload: Vec<u8> = (0..1500_u32).map(|i| i as u8).collect();
    body.grow(1500).expect("room").copy_from_slice(&payload);
    let mut head = one(&mut a, PoolClass::Control);
    head.grow(54).expect("room").fill(0xee);
    assert!(a.nic.chain(&mut head, &mut body, 100, 1000));
    assert!(a.nic.chain(&mut head, &mut body, 3, 1));
    assert_eq!(
        (head.total_len(), head.bytes().len(), head.is_contiguous()),
        (1055, 54, false)
    );
    assert_eq!(body.refcount(), 3);
    assert!(
        body.bytes_mut().is_none(),
        "what is sent can't be rewritten"
    );
    assert!(head.bytes_mut().is_none() && head.grow(1).is_err() && head.set_len(9).is_err());
    head.first_mut().expect("the headers are ours")[0] = 0xdd;

    send(&mut a, head);
    let received = receive(&mut b);
    let mut bytes = vec![0; 2000];
    assert_eq!(received.copy_out(0, &mut bytes), 1055);
    assert_eq!(bytes[..2], [0xdd, 0xee]);
    assert_eq!(bytes[54..1054], payload[100..1100]);
    assert_eq!(bytes[1054], payload[3]);
    assert_eq!(received.copy_out(1050, &mut bytes[..100]), 5);
    assert_eq!(
        bytes[..5],
        [payload[1096..1100].to_vec(), vec![payload[3]]].concat()
    );
    // The same memory, not a copy of it.
    assert_eq!(
        dpdk::mbuf::segment_addresses_for_test(&received)[1..],
        [body.address() + 100, body.address() + 3]
    );
    assert_eq!((a.control.in_use(), a.data.in_use()), (3, 1));
    let mut burst = Burst::new();
    burst.push(received).expect("room");
    b.nic.free(&mut burst);
    assert_eq!(body.refcount(), 1);
    assert!(body.bytes_mut().is_some(), "acknowledged: ours again");
    assert_eq!((a.control.in_use(), a.data.in_use()), (0, 1));

    // The body goes first: its bytes stay with the chain. And a clone is a body like any other.
    let mut clone = a.nic.share(&mut body).expect("a header for it");
    let mut head = one(&mut a, PoolClass::Control);
    head.grow(14).expect("room").fill(0);
    assert!(a.nic.chain(&mut head, &mut clone, 1490, 10));
    drop((body, clone));
    let mut tail = [0; 10];
    assert_eq!(head.copy_out(14, &mut tail), 10);
    assert_eq!(tail, payload[1490..]);
    drop(head);
    assert_eq!((a.control.in_use(), a.data.in_use()), (0, 0));
}

fn a_chain_is_taken_apart_without_a_copy(eal: &Eal) {
    let (mut a, _b) = sides(eal);
    let filled = |a: &mut Side, value| {
        let mut frame = one(a, PoolClass::Data);
        frame.grow(1500).expect("room").fill(value);
        frame
    };
    let (mut head, tail) = (filled(&mut a, 1), filled(&mut a, 2));
    let address = tail.address();
    dpdk::mbuf::link_for_test(&mut head, tail);
    assert_eq!((head.total_len(), head.is_contiguous()), (3000, false));
    let mut rest = head.split_rest().expect("a second buffer");
    assert_eq!((head.total_len(), rest.total_len()), (1500, 1500));
    assert!(head.is_contiguous() && rest.is_contiguous() && head.split_rest().is_none());
    assert!(rest.prepend(&[7; 118]), "there is headroom");
    assert_eq!((rest.address(), rest.total_len()), (address - 118, 1618));
    let bytes = rest.bytes_mut().expect("ours alone");
    assert!(bytes[..118].iter().all(|&byte| byte == 7));
    assert!(bytes[118..].iter().all(|&byte| byte == 2));
    assert!(!rest.prepend(&[7; 118]), "and no more");
    let clone = a.nic.share(&mut rest).expect("shared");
    assert!(!rest.prepend(&[7; 4]), "another reader has it");
    drop((head, rest, clone));
    assert_eq!(a.data.in_use(), 0);
}

fn a_chain_is_refused_when_it_cannot_be(eal: &Eal) {
    let (mut a, _b) = sides(eal);
    let mut body = one(&mut a, PoolClass::Data);
    body.grow(100).expect("room").fill(1);
    let mut head = one(&mut a, PoolClass::Control);
    head.grow(54).expect("room").fill(2);
    for (start, len) in [
        (0, 0),
        (0, 101),
        (100, 1),
        (101, 0),
        (1, usize::MAX),
        (usize::MAX, 2),
    ] {
        assert!(
            !a.nic.chain(&mut head, &mut body, start, len),
            "{start} {len}"
        );
    }
    // So many owners that the counter could wrap.
    dpdk::mbuf::set_refcount_for_test(&mut body, 0x8000);
    assert!(!a.nic.chain(&mut head, &mut body, 0, 100));
    dpdk::mbuf::set_refcount_for_test(&mut body, 1);
    let mut rest = [Burst::new(), Burst::new()];
    for burst in &mut rest {
        a.nic.alloc(PoolClass::Control, burst, 64);
    }
    assert!(!a.nic.chain(&mut head, &mut body, 0, 100), "no header left");
    assert_eq!((head.total_len(), body.refcount()), (54, 1));
    assert!(body.bytes_mut().is_some() && head.bytes_mut().is_some());
    drop((rest, head, body));
    assert_eq!((a.control.in_use(), a.data.in_use()), (0, 0));
}

fn offload_flags_do_not_survive_a_change_of_hands(eal: &Eal) {
    let (mut a, mut b) = sides(eal);
    let mut frame = one(&mut a, PoolClass::Control);
    frame.set_len(60).expect("room");
    let claims_good = dpdk::mbuf::RX_CHECKSUM_GOOD_FLAGS;
    dpdk::mbuf::set_offload_flags_for_test(&mut frame, claims_good);
    assert_eq!(
        frame.rx_checksum().l4,
        ChecksumVerdict::Good,
        "the test sets what it means to"
    );
    send(&mut a, frame);
    let mut frame = receive(&mut b);
    assert_eq!(
        frame.rx_checksum(),
        RxChecksum::default(),
        "this link has no such offload"
    );
    dpdk::mbuf::set_offload_flags_for_test(&mut frame, claims_good);
    let request = TxRequest {
        ip: IpVersion::V4,
        l2_len: 14,
        l3_len: 20,
        ipv4_checksum: true,
        tcp_checksum: true,
        cut: None,
    };
    frame.request(Some(request));
    assert_eq!(frame.rx_checksum(), RxChecksum::default());
    send(&mut b, frame);
    assert_eq!(
        dpdk::mbuf::offload_flags_for_test(&receive(&mut a)),
        0,
        "nor do requests"
    );
}

fn vlan_tags_move_between_the_frame_and_what_stands_beside_it(eal: &Eal) {
    let (mut a, _b) = sides(eal);
    let mut tagged: Vec<u8> = (0..60).collect();
    tagged[12..16].copy_from_slice(&[0x81, 0x00, 0xa0, 0x05]);
    let untagged = [&tagged[..12], &tagged[16..]].concat();
    let mut frame = one(&mut a, PoolClass::Control);
    frame.grow(60).expect("room").copy_from_slice(&tagged);
    let request = TxRequest {
        ip: IpVersion::V4,
        l2_len: 18,
        l3_len: 20,
        ipv4_checksum: true,
        tcp_checksum: true,
        cut: Some(Cut {
            l4_len: 32,
            segment_bytes: 1448,
        }),
    };
    frame.request(Some(request));
    let (bytes, tci, lengths) = dpdk::mbuf::leave_tag_for_test(&mut frame).expect("a tag");
    assert_eq!((&bytes, tci), (&untagged, 0xa005), "priority included");
    assert_eq!(lengths & 0x7f, 14, "l2_len without the tag");
    assert_eq!((lengths >> 16) & 0xff, 32, "l4_len");
    assert_eq!(lengths >> 24, 1448, "tso_segsz");
    assert_eq!(
        (frame.bytes(), frame.total_len()),
        (&tagged[..], 60),
        "refused"
    );
    // Nothing is moved under another reader, nor where there is no tag.
    let clone = a.nic.share(&mut frame).expect("shared");
    assert_eq!(dpdk::mbuf::leave_tag_for_test(&mut frame), None);
    drop(clone);
    let mut received = one(&mut a, PoolClass::Control);
    received.grow(56).expect("room").copy_from_slice(&untagged);
    assert_eq!(dpdk::mbuf::leave_tag_for_test(&mut received), None);
    dpdk::mbuf::strip_for_test(&mut received, 0xa005);
    assert_eq!((received.bytes(), received.total_len()), (&tagged[..], 60));
    let mut short = one(&mut a, PoolClass::Control);
    short.grow(11).expect("room").fill(1);
    dpdk::mbuf::strip_for_test(&mut short, 5);
    assert_eq!(short.total_len(), 0, "no frame of another VLAN");
}

fn a_full_ring_leaves_the_rest_in_the_burst(eal: &Eal) {
    let (mut a, mut b) = sides(eal);
    let mut burst = Burst::new();
    assert_eq!(
        a.nic.alloc(PoolClass::Control, &mut burst, BURST_FRAMES),
        BURST_FRAMES
    );
    let addresses: Vec<usize> = burst.as_slice().iter().map(Mbuf::address).collect();
    // A ring of 64 holds 63.
    assert_eq!(a.nic.tx(&mut burst), 63);
    assert_eq!(burst.len(), 1);
    assert_eq!(burst.as_slice()[0].address(), addresses[63]);
    assert_eq!(a.nic.tx(&mut burst), 0);
    assert_eq!(burst.len(), 1);
    // RX appends, and stops where the burst is full.
    let mut received = Burst::new();
    received
        .push(burst.take_front(1).next().expect("the rest"))
        .expect("room");
    assert_eq!(b.nic.rx(&mut received), 63);
    assert_eq!(b.nic.rx(&mut received), 0);
    let order: Vec<usize> = received.as_slice()[1..].iter().map(Mbuf::address).collect();
    assert_eq!(order, addresses[..63]);
    assert_eq!(a.control.in_use(), 64);
    b.nic.free(&mut received);
    assert_eq!((a.control.in_use(), received.len()), (0, 0));
}

fn a_pool_is_exhausted_and_recovers(eal: &Eal) {
    let (mut a, _b) = sides(eal);
    let (mut first, mut second) = (Burst::new(), Burst::new());
    assert_eq!(
        a.nic.alloc(PoolClass::Control, &mut first, 100),
        64,
        "a burst is full at 64"
    );
    assert_eq!(
        a.nic.alloc(PoolClass::Control, &mut second, 64),
        63,
        "the pool has 127"
    );
    assert_eq!(a.nic.alloc(PoolClass::Control, &mut second, 1), 0);
    assert_eq!(a.control.in_use(), POOL_FRAMES);
    // Data has its own pool, and sharing needs a header from it.
    let mut frame = one(&mut a, PoolClass::Data);
    let mut rest = [Burst::new(), Burst::new()];
    for burst in &mut rest {
        a.nic.alloc(PoolClass::Data, burst, 64);
    }
    assert!(a.nic.share(&mut frame).is_none(), "no header left");
    assert!(
        frame.bytes_mut().is_some(),
        "a failed share leaves it exclusive"
    );
    drop((first, frame, rest));
    assert_eq!(a.control.in_use(), 63);
    a.nic.free(&mut second);
    assert_eq!((a.control.in_use(), a.data.in_use()), (0, 0));
}

#[derive(Default)]
struct Seen {
    rx: Vec<usize>,
    tx: Vec<usize>,
}
struct Recorder(Arc<Mutex<Seen>>);

impl Instrument for Recorder {
    fn rx(&mut self, frames: &[Mbuf]) {
        self.0
            .lock()
            .expect("no panic")
            .rx
            .extend(frames.iter().map(Mbuf::address));
    }
    fn tx(&mut self, frames: &[Mbuf]) {
        self.0
            .lock()
            .expect("no panic")
            .tx
            .extend(frames.iter().map(Mbuf::address));
    }
    fn tx_done(&mut self, refused: usize) {
        let tx = &mut self.0.lock().expect("no panic").tx;
        tx.truncate(tx.len() - refused);
    }
}

fn an_instrument_sees_every_burst(eal: &Eal) {
    let (mut a, mut b) = sides(eal);
    let seen = Arc::new(Mutex::new(Seen::default()));
    a.nic
        .set_instrument(Some(Box::new(Recorder(Arc::clone(&seen)))));
    let mut burst = Burst::new();
    a.nic.alloc(PoolClass::Control, &mut burst, 64);
    let addresses: Vec<usize> = burst.as_slice().iter().map(Mbuf::address).collect();
    assert_eq!((a.nic.tx(&mut burst), a.nic.tx(&mut burst)), (63, 0));
    assert_eq!(
        seen.lock().expect("no panic").tx,
        addresses[..63],
        "refused frames were not sent"
    );
    let mut received = Burst::new();
    b.nic.rx(&mut received);
    a.nic.tx(&mut burst);
    assert_eq!(seen.lock().expect("no panic").tx, addresses);
    b.nic.tx(&mut received);
    // Only what this call received is shown, not what lay in the burst before.
    let mut into = Burst::new();
    into.push(one(&mut a, PoolClass::Data)).expect("room");
    a.nic.rx(&mut into);
    assert_eq!(seen.lock().expect("no panic").rx, addresses[..63]);
    assert!(a.nic.set_instrument(None).is_some());
}

const BAD_LINK: FaultSpec = FaultSpec {
    loss_ppm: 50_000,
    duplicate_ppm: 50_000,
    corrupt_ppm: 50_000,
    reorder_ppm: 50_000,
    delay_ns: 1000,
    seed: 1,
};

/// The frames that arrived while frames went from `a` to `b` and back.
#[derive(Default)]
struct Arrived {
    at_b: u64,
    at_a: u64,
    corrupt: u64,
}

impl Arrived {
    /// Frames on the link go to `b` and from there back to `a`.
    fn echo(&mut self, a: &mut Side, b: &mut Side) {
        let mut burst = Burst::new();
        b.nic.rx(&mut burst);
        self.at_b += burst.len() as u64;
        b.nic.tx(&mut burst);
        b.nic.free(&mut burst);
        a.nic.rx(&mut burst);
        self.at_a += burst.len() as u64;
        self.corrupt += count_corrupt(&burst);
        a.nic.free(&mut burst);
    }
}

fn faults_come_both_ways(eal: &Eal) {
    const ROUNDS: u64 = 4000;
    let (mut a, mut b) = sides(eal);
    assert_eq!(a.nic.fault_totals(), None);
    a.nic.set_faults(Some(&BAD_LINK), eal.cycles_hz());
    let totals = |a: &Side| a.nic.fault_totals().expect("faults");
    let mut kept = one(&mut a, PoolClass::Data);
    kept.set_len(60).expect("room");
    let mut arrived = Arrived::default();
    for round in 0..ROUNDS {
        // Shared bytes: what is corrupted must be a copy.
        let frame = if round % 7 == 0 {
            a.nic.share(&mut kept).expect("a header")
        } else {
            let mut frame = one(&mut a, PoolClass::Data);
            frame.set_len(60).expect("room");
            frame
        };
        send(&mut a, frame);
        arrived.echo(&mut a, &mut b);
    }
    let (started, mut quiet_turns) = (std::time::Instant::now(), 0);
    while quiet_turns < 3 {
        assert!(started.elapsed().as_secs() < 10, "held frames never leave");
        arrived.echo(&mut a, &mut b);
        let is_quiet = totals(&a).held == 0;
        quiet_turns = if is_quiet { quiet_turns + 1 } else { 0 };
    }
    let FaultTotals { rx, tx, .. } = totals(&a);
    assert_eq!((tx.frames, rx.frames), (ROUNDS, arrived.at_b));
    assert_eq!(arrived.at_b, ROUNDS - tx.lost + tx.duplicated);
    assert_eq!(arrived.at_a, arrived.at_b - rx.lost + rx.duplicated);
    for done in [tx, rx] {
        for n in [done.lost, done.duplicated, done.corrupted, done.reordered] {
            assert!((100..=320).contains(&n), "{done:?}");
        }
        assert_eq!(done.not_done, 0);
    }
    // Of those that were corrupted on the way out some were lost on the way in, and some doubled.
    assert!((200..=tx.corrupted + rx.corrupted + 40).contains(&arrived.corrupt));
    assert!(kept.bytes().iter().all(|&byte| byte == 0));
}

/// Frames held when polling has ended are freed with the NIC.
fn faults_keep_no_frame(eal: &Eal) {
    let (mut a, _b) = sides(eal);
    let never = FaultSpec {
        delay_ns: u64::MAX,
        ..BAD_LINK
    };
    a.nic.set_faults(Some(&never), eal.cycles_hz());
    let mut burst = Burst::new();
    a.nic.alloc(PoolClass::Control, &mut burst, 64);
    assert_eq!(a.nic.tx(&mut burst), 64);
    let held = a.nic.fault_totals().map(|totals| totals.held);
    assert!(a.control.in_use() > 0 && held.is_some_and(|held| held > 0));
    let Side { nic, control, .. } = a;
    drop(nic);
    assert_eq!(control.in_use(), 0);
}

/// Frames that aren't all zeros.
fn count_corrupt(burst: &Burst<Mbuf>) -> u64 {
    let is_corrupt = |frame: &&Mbuf| frame.bytes().iter().any(|&byte| byte != 0);
    burst.as_slice().iter().filter(is_corrupt).count() as u64
}

fn queues_keep_their_port_alive(eal: &Eal) {
    let ((port_a, a), (port_b, b)) = dpdk::ring_pair(eal, &CONFIG).expect("a link");
    assert_eq!((a.len(), b.len()), (2, 2));
    assert_eq!(port_a.driver(), "net_ring");
    assert!(port_a.rx_pool().is_none());
    let control = a[0].control.clone();
    drop((port_a, port_b));
    let mut a: Vec<DpdkNic> = a.into_iter().map(DpdkNic::new).collect();
    let mut b: Vec<DpdkNic> = b.into_iter().map(DpdkNic::new).collect();
    let mut burst = Burst::new();
    a[1].alloc(PoolClass::Control, &mut burst, 3);
    assert_eq!(a[1].tx(&mut burst), 3);
    let mut received = Burst::new();
    assert_eq!(b[0].rx(&mut received), 0, "queue 1 is not queue 0");
    assert_eq!(b[1].rx(&mut received), 3);
    // Frames in a ring return to their pool when both ports are gone.
    assert_eq!(b[1].tx(&mut received), 3);
    assert_eq!(control.in_use(), 3);
    drop((a, b));
    assert_eq!(control.in_use(), 0);
}

fn threads_register_and_unregister(eal: &Eal) {
    let cpu = eal.cpus()[0];
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let registration = eal.register_thread(Some(cpu)).expect("a free lcore");
            assert_ne!(registration.lcore(), 0);
            assert!(eal.register_thread(None).is_err(), "once per thread");
            // Frames of a registered thread go through its cache, and are not lost in it.
            let (mut a, mut b) = sides(eal);
            for _ in 0..1000 {
                let frame = one(&mut a, PoolClass::Control);
                send(&mut a, frame);
                drop(receive(&mut b));
            }
            assert_eq!(a.control.in_use(), 0);
            drop(registration);
        });
        thread.join().expect("no panic");
    });
    assert!(eal.register_thread(None).is_err(), "this thread is lcore 0");
    let Err(error) = eal.pin_thread(100_000) else {
        panic!("no such CPU")
    };
    let expected =
        format!("no such lcore: CPU 100000 is not available to this process (available: {cpu}");
    assert!(error.to_string().starts_with(&expected), "{error}");
}

fn wrong_configurations_are_refused(eal: &Eal) {
    let wrong = |change: fn(&mut RingConfig)| {
        let mut config = CONFIG;
        change(&mut config);
        dpdk::ring_pair(eal, &config)
            .expect_err("refused")
            .to_string()
    };
    assert!(wrong(|config| config.queues = 17).contains("1 to 16"));
    assert!(wrong(|config| config.ring_frames = 100).contains("a power of two"));
    assert!(wrong(|config| config.pools.cache_frames = 513).contains("at most 512"));
    let error = wrong(|config| config.pools.control_frames = 1_000_000);
    assert!(
        error.contains("no memory for 1000000 frames (2340 MB wanted)"),
        "{error}"
    );
    assert!(
        error.contains("memory: 128 MB in ordinary pages"),
        "{error}"
    );
    // Nothing of the failed attempts is left behind.
    let _ = sides(eal);
    assert!(matches!(
        eal.open(&"net_nonsense0".parse().expect("a spec")),
        Err(Error::NoDriver { .. })
    ));
    let error = eal.open(&"net_memif0,rsize=99,role=server".parse().expect("a spec"));
    let error = error.expect_err("DPDK refuses").to_string();
    assert!(
        error.contains("Invalid ring size: 99 (max 14)"),
        "DPDK's words: {error}"
    );
    assert!(matches!(
        eal.open(&"ring".parse().expect("a spec")),
        Err(Error::RingHasNoDevice)
    ));
}
