//! The table against a naive model: a map from key to what was put in, under hashes that are made to collide.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::tcp::seq::SeqNum;
use crate::time::Instant;

const PLAIN: PageOptions = PageOptions {
    huge: false,
    prefault: false,
};

fn capacity(each: u32) -> Capacity {
    let each = Records { v4: each, v6: each };
    Capacity {
        embryos: each,
        open: each,
        parked: each,
        time_wait: each,
    }
}

fn only_parked(v4: u32) -> Capacity {
    Capacity {
        parked: Records { v4, v6: 0 },
        ..Capacity::default()
    }
}

/// The `n`th flow of a family.
fn flow(n: u32, v6: bool) -> FlowKey {
    if v6 {
        let remote = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n));
        FlowKey::v6(LocalId(1), 443, remote, n as u16)
    } else {
        FlowKey::v4(
            LocalId(0),
            80,
            Ipv4Addr::from_bits(0xc612_0000 + n),
            n as u16,
        )
    }
}

fn at(ms: u64) -> Instant {
    Instant::from_ms(ms)
}

fn embryo(n: u32) -> Embryo {
    Embryo {
        irs: SeqNum(n),
        ..Embryo::default()
    }
}

fn open(n: u32) -> Open {
    Open {
        snd_una: SeqNum(n),
        ..Open::default()
    }
}

fn parked(n: u32) -> Parked {
    Parked {
        snd_nxt: SeqNum(n),
        ..Parked::default()
    }
}

fn time_wait(n: u32) -> TimeWait {
    TimeWait {
        snd_nxt: SeqNum(n),
        ..TimeWait::default()
    }
}

/// What was put into a record of any kind by the four functions above.
fn mark(table: &ConnTable, found: Found) -> Option<u32> {
    let seq = match found.kind() {
        Kind::Embryo => table.embryo(found)?.irs,
        Kind::Open => table.open(found)?.snd_una,
        Kind::Parked => table.parked(found)?.snd_nxt,
        Kind::TimeWait => table.time_wait(found)?.snd_nxt,
    };
    Some(seq.0)
}

/// A connection goes through all its kinds; what is asked of each older reference after each step.
#[test]
fn a_life_from_embryo_to_time_wait() {
    let hasher = FlowHasher::new([1, 2]);
    for v6 in [false, true] {
        let mut table = ConnTable::new(&capacity(4), PLAIN).unwrap();
        let key = flow(7, v6);
        let hash = hasher.hash(&key);
        assert_eq!(table.lookup(&key, hash), None);

        let seed = table
            .insert_embryo(&key, hash, &embryo(1), at(1_000))
            .unwrap();
        assert_eq!(table.lookup(&key, hash), Some(seed));
        assert_eq!((table.key(seed), table.conn_id(seed)), (Some(key), None));

        let first = table.promote(seed, hash, &open(2)).unwrap();
        assert_eq!(table.embryo(seed), None, "an embryo that moved is stale");
        assert_eq!(table.promote(seed, hash, &open(2)), Err(MoveError::Stale));
        let id = table.conn_id(first).unwrap();
        table.open_cold_mut(first).unwrap().acked_bytes = 9;

        let asleep = table.park(first, hash, &parked(3)).unwrap();
        assert_eq!(
            (table.resolve(id), table.conn_id(asleep)),
            (Some(asleep), Some(id))
        );
        assert_eq!(table.open(first), None);

        let awake = table.unpark(asleep, hash, &open(4)).unwrap();
        assert_eq!(
            (table.resolve(id), mark(&table, awake)),
            (Some(awake), Some(4))
        );
        assert_eq!(
            table.open_cold(awake).unwrap().acked_bytes,
            0,
            "parking forgets the cold part"
        );
        assert_ne!(awake, first, "the same slot, but not the same record");

        let last = table
            .linger(awake, hash, &time_wait(5), at(60_000))
            .unwrap();
        assert_eq!(
            (table.resolve(id), table.by_handle(id.handle())),
            (None, None)
        );
        assert_eq!((table.lookup(&key, hash), table.total()), (Some(last), 1));

        assert!(table.remove(last, hash));
        assert!(!table.remove(last, hash));
        assert_eq!((table.lookup(&key, hash), table.total()), (None, 0));
        for kind in Kind::ALL {
            assert_eq!(table.len(kind), Records::default());
        }
    }
}
