//! The connection table allocates at start and never again, whatever is done to it.

use std::net::Ipv4Addr;

use stack::conn::{
    Capacity, ConnTable, Embryo, FlowHasher, FlowKey, Found, Open, Parked, Records, TimeWait,
};
use stack::local::addresses::LocalId;
use stack::memory::PageOptions;
use stack::time::Instant;

fn flow(n: u32) -> FlowKey {
    FlowKey::v4(LocalId(0), 80, Ipv4Addr::from_bits(0xc612_0000 + n), 1_024)
}

/// One whole life for each of `count` flows, all at the same time, so that every slab is full once.
fn live(table: &mut ConnTable, hasher: &FlowHasher, count: u32) {
    let find = |table: &ConnTable, n: u32| -> Found {
        let key = flow(n);
        table
            .lookup(&key, hasher.hash(&key))
            .expect("it was put in")
    };
    for n in 0..count {
        let key = flow(n);
        let due = Instant::from_ms(u64::from(n));
        table
            .insert_embryo(&key, hasher.hash(&key), &Embryo::default(), due)
            .expect("has room");
    }
    let key = flow(count);
    let refused = table.insert_embryo(&key, hasher.hash(&key), &Embryo::default(), Instant::ZERO);
    assert!(refused.is_err(), "the table is full");
    for n in 0..count {
        let found = find(table, n);
        table.requeue_embryo(found, Instant::from_ms(9_000));
        table.promote(found, &Open::default()).expect("has room");
    }
    for n in 0..count {
        let found = find(table, n);
        table.park(found, &Parked::default()).expect("has room");
    }
    for n in 0..count {
        let found = find(table, n);
        let open = table.unpark(found, &Open::default()).expect("has room");
        let until = Instant::from_ms(60_000);
        let (_, state) = table
            .linger(open, &TimeWait::default(), until)
            .expect("has room");
        table.free_state(state);
    }
    let due = |table: &ConnTable| table.due_time_waits(Instant::from_ms(60_000)).next();
    while let Some(found) = due(table) {
        let key = table.key(found).expect("it is due");
        assert!(table.remove(found, hasher.hash(&key)));
    }
    assert_eq!(table.total(), 0);
}

#[test]
fn nothing_is_allocated_after_construction() {
    let capacity = Capacity::of_each(Records { v4: 5_000, v6: 0 });
    let hasher = FlowHasher::new([1, 2]);
    let mut table = ConnTable::new(&capacity, PageOptions::default()).expect("memory");

    // The counter works: without this, a counter that was not installed would prove anything.
    let control = allocation_counter::measure(|| drop(std::hint::black_box(vec![1u8; 100])));
    assert_eq!(control.count_total, 1);

    let counted = allocation_counter::measure(|| {
        live(&mut table, &hasher, 5_000);
        live(&mut table, &hasher, 5_000);
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
}
