//! The table against a naive model: a map from key to what was put in, under hashes that are made to collide.

use crate::local::addresses::LocalId;
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;

use super::record::Slot;
use super::*;
use crate::seq::SeqNum;
use crate::time::Instant;

const PLAIN: PageOptions = PageOptions {
    huge: false,
    prefault: false,
};

fn capacity(each: u32) -> Capacity {
    Capacity::of_each(Records { v4: each, v6: each })
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
    Open::new(Slot(n), n as u16)
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

/// The contents put into a record of any kind by the four functions above.
fn mark(table: &ConnTable, found: Found) -> Option<u32> {
    Some(match found.kind() {
        Kind::Embryo => table.embryo(found)?.irs.0,
        Kind::Open => table.open(found)?.listener.into(),
        Kind::Parked => table.parked(found)?.snd_nxt.0,
        Kind::TimeWait => table.time_wait(found)?.snd_nxt.0,
    })
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
        assert_eq!((table.slot(seed), table.state(seed)), (None, None));

        let first = table.promote(seed, &open(2)).unwrap();
        assert_eq!(table.embryo(seed), None, "an embryo that moved is stale");
        assert_eq!(table.promote(seed, &open(2)), Err(MoveError::Stale));
        let id = table.conn_id(first).unwrap();
        assert_eq!(table.slot(first), Some(Slot(2)));
        let state = table.state(first).unwrap();

        let parked_one = table.park(first, &parked(3)).unwrap();
        assert_eq!(
            (table.resolve(id), table.conn_id(parked_one)),
            (Some(parked_one), Some(id))
        );
        assert_eq!(table.open(first), None);

        let open_again = table.unpark(parked_one, &open(4)).unwrap();
        assert_eq!(
            (table.resolve(id), mark(&table, open_again)),
            (Some(open_again), Some(4))
        );
        assert_eq!(
            (table.state(parked_one), table.state(open_again)),
            (None, Some(state))
        );
        assert_eq!(table.slot(open_again), Some(Slot(4)));

        let (last, ended) = table.linger(open_again, &time_wait(5), at(60_000)).unwrap();
        assert_eq!((ended, table.states_taken()), (state, 1));
        table.free_state(ended);
        for stale in [seed, first, parked_one, open_again] {
            assert!(!table.is_current(stale));
        }
        assert_eq!(
            (table.resolve(id), table.by_handle(id.handle())),
            (None, None)
        );
        assert_eq!((table.lookup(&key, hash), table.total()), (Some(last), 1));

        assert!(table.remove(last, hash));
        assert!(!table.remove(last, hash));
        assert_eq!((table.lookup(&key, hash), table.total()), (None, 0));
        assert_eq!(table.states_taken(), 0);
        for kind in Kind::ALL {
            assert_eq!(table.len(kind), Records::default());
        }
    }
}

/// How a test makes hashes collide.
#[derive(Debug, Clone, Copy)]
enum Hashing {
    /// As in production.
    Keyed,
    /// One hash for all: one bucket, one tag, one class.
    Same,
    /// One bucket; three tags; all classes.
    SameBucket,
    /// Two neighbouring home buckets at the end of the table, so that overflow wraps.
    LastBuckets,
}

impl Hashing {
    fn hash(self, key: &FlowKey) -> FlowHash {
        let keyed = FlowHasher::new([5, 6]).hash(key).0;
        FlowHash(match self {
            Self::Keyed => keyed,
            Self::Same => 0x0123_4567_89ab_cdef,
            Self::SameBucket => (keyed >> 48) << 48 | (keyed % 3 + 1) << 32 | 7,
            Self::LastBuckets => keyed | 0xffff_ffff ^ (keyed & 0x3fff_ffff),
        })
    }
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Insert(Kind),
    /// To the next kind of its life: embryo, open, parked, open again, TIME-WAIT, embryo again.
    Move,
    Remove,
    Requeue,
}

fn any_hashing() -> impl Strategy<Value = Hashing> {
    prop_oneof![
        Just(Hashing::Keyed),
        Just(Hashing::Same),
        Just(Hashing::SameBucket),
        Just(Hashing::LastBuckets)
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0usize..4).prop_map(|kind| Op::Insert(Kind::ALL[kind])),
        3 => Just(Op::Move),
        2 => Just(Op::Remove),
        1 => Just(Op::Requeue),
    ]
}

/// The table and what it should hold.
struct Pair {
    table: ConnTable,
    model: HashMap<FlowKey, (Found, Kind, u32, Option<ConnId>)>,
    hashing: Hashing,
    steps: u32,
}

impl Pair {
    fn insert(&mut self, key: FlowKey, kind: Kind) {
        if self.model.contains_key(&key) {
            return;
        }
        let (hash, n) = (self.hashing.hash(&key), self.steps);
        let used = self
            .model
            .iter()
            .filter(|(k, v)| {
                // Open or parked, it is one connection, and there are as many as records of either kind here.
                let is_connection = |kind| matches!(kind, Kind::Open | Kind::Parked);
                let counts = v.1 == kind || is_connection(v.1) && is_connection(kind);
                counts && k.is_v6() == key.is_v6()
            })
            .count();
        let capacity = self.table.capacity(kind);
        let full = used as u32
            == if key.is_v6() {
                capacity.v6
            } else {
                capacity.v4
            };
        let result = match kind {
            Kind::Embryo => self
                .table
                .insert_embryo(&key, hash, &embryo(n), at(n.into())),
            Kind::Open => self.table.insert_open(&key, hash, &open(n)),
            Kind::Parked => self.table.insert_parked(&key, hash, &parked(n)),
            Kind::TimeWait => self
                .table
                .insert_time_wait(&key, hash, &time_wait(n), at(n.into())),
        };
        assert_eq!(
            result.is_err(),
            full,
            "{kind:?} with {used} used: {result:?}"
        );
        if let Ok(found) = result {
            self.model
                .insert(key, (found, kind, n, self.table.conn_id(found)));
        }
    }

    /// One step of a life. What it becomes depends on the step's number where there is a choice.
    fn step(&mut self, old: Found) -> (Result<Found, MoveError>, Kind) {
        let n = self.steps;
        match old.kind() {
            Kind::Embryo => (self.table.promote(old, &open(n)), Kind::Open),
            Kind::Open if n.is_multiple_of(2) => (self.table.park(old, &parked(n)), Kind::Parked),
            Kind::Open => {
                let until = at(n.into());
                let lingered = self.table.linger(old, &time_wait(n), until);
                let lingered = lingered.map(|(found, state)| {
                    self.table.free_state(state);
                    found
                });
                (lingered, Kind::TimeWait)
            }
            Kind::Parked => (self.table.unpark(old, &open(n)), Kind::Open),
            Kind::TimeWait => {
                let due = at(n.into());
                (self.table.reopen(old, &embryo(n), due), Kind::Embryo)
            }
        }
    }

    fn advance(&mut self, key: FlowKey) {
        let Some(&(old, _, mark, id)) = self.model.get(&key) else {
            return;
        };
        let n = self.steps;
        let (result, kind) = self.step(old);
        let new = match result {
            Ok(found) => {
                assert!(!self.table.is_current(old));
                assert_eq!(found.entry(), old.entry(), "it stays in its place");
                let new_id = self.table.conn_id(found);
                assert!(id.is_none() || new_id == id || kind == Kind::TimeWait);
                (found, kind, n, new_id)
            }
            Err(error) => {
                let v6 = key.is_v6();
                assert_eq!(error, MoveError::Full(TableFull { kind, v6 }));
                (old, old.kind(), mark, id)
            }
        };
        self.model.insert(key, new);
    }

    fn remove(&mut self, key: FlowKey) {
        if let Some((found, _, _, id)) = self.model.remove(&key) {
            assert!(
                !self
                    .table
                    .remove(found, FlowHash(!self.hashing.hash(&key).0))
            );
            assert!(self.table.remove(found, self.hashing.hash(&key)));
            assert!(!self.table.is_current(found));
            assert_eq!(id.and_then(|id| self.table.resolve(id)), None);
        }
    }

    fn requeue(&mut self, key: FlowKey) {
        if let Some(&(found, kind, ..)) = self.model.get(&key) {
            let later = at(u64::from(self.steps) + 10);
            assert_eq!(
                self.table.requeue_embryo(found, later),
                kind == Kind::Embryo
            );
            assert_eq!(
                self.table.restart_time_wait(found, later),
                kind == Kind::TimeWait
            );
        }
    }

    fn check(&self, flows: &[FlowKey]) {
        let hashes: Vec<_> = flows.iter().map(|key| self.hashing.hash(key)).collect();
        let probes: Vec<_> = hashes.iter().map(|&hash| self.table.probe(hash)).collect();
        for ((key, &hash), &probe) in flows.iter().zip(&hashes).zip(&probes) {
            let expected = self.model.get(key);
            assert_eq!(
                self.table.lookup(key, hash),
                expected.map(|expected| expected.0)
            );
            assert_eq!(
                self.table.confirm(key, hash, probe),
                expected.map(|expected| expected.0)
            );
            if let Some(&(found, kind, n, id)) = expected {
                assert_eq!((found.kind(), mark(&self.table, found)), (kind, Some(n)));
                assert_eq!(self.table.key(found), Some(*key));
                assert_eq!(self.table.conn_id(found), id);
                assert_eq!(id.is_some(), matches!(kind, Kind::Open | Kind::Parked));
                assert_eq!(id.and_then(|id| self.table.resolve(id)), id.map(|_| found));
            }
        }
        for kind in Kind::ALL {
            let count = self.model.values().filter(|value| value.1 == kind).count();
            assert_eq!(self.table.len(kind).total(), count as u64);
        }
        assert_eq!(self.table.total() as usize, self.model.len());
        let states: HashSet<_> = self
            .model
            .values()
            .filter_map(|value| self.table.state(value.0))
            .collect();
        let connections = self.model.values().filter(|value| value.3.is_some());
        assert_eq!(states.len(), connections.count(), "each has its own");
        assert_eq!(self.table.states_taken(), states.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_sequence_agrees_with_a_map(
        hashing in any_hashing(),
        each in 1u32..6,
        ops in proptest::collection::vec((any_op(), 0u32..30, any::<bool>()), 1..150),
    ) {
        let flows: Vec<_> = (0..30).flat_map(|n| [flow(n, false), flow(n, true)]).collect();
        let table = ConnTable::new(&capacity(each), PLAIN).unwrap();
        let mut pair = Pair { table, model: HashMap::new(), hashing, steps: 0 };
        for (op, n, v6) in ops {
            pair.steps += 1;
            let key = flow(n, v6);
            match op {
                Op::Insert(kind) => pair.insert(key, kind),
                Op::Move => pair.advance(key),
                Op::Remove => pair.remove(key),
                Op::Requeue => pair.requeue(key),
            }
            pair.check(&flows);
        }
        for key in flows {
            pair.remove(key);
        }
        pair.check(&[]);
        let stats = pair.table.index_stats();
        prop_assert!(stats.overflowing_classes == 0 || stats.stuck_counts > 0);
        prop_assert_eq!(pair.table.oldest_embryo().or(pair.table.oldest_time_wait(false)).or(pair.table.oldest_time_wait(true)), None);
    }
}

/// Every record of a table can be used, whatever the hashes do, and then one more is refused by name.
#[test]
fn a_table_holds_exactly_its_capacity() {
    let cases = [
        (Hashing::Keyed, 50_000),
        (Hashing::Same, 3_000),
        (Hashing::SameBucket, 3_000),
        (Hashing::LastBuckets, 20_000),
    ];
    for (hashing, count) in cases {
        let mut table = ConnTable::new(&only_parked(count), PLAIN).unwrap();
        for round in 0..2 {
            for n in 0..count {
                let key = flow(n, false);
                table
                    .insert_parked(&key, hashing.hash(&key), &parked(n))
                    .unwrap();
            }
            let key = flow(count, false);
            let refused = table.insert_parked(&key, hashing.hash(&key), &parked(0));
            assert_eq!(
                refused,
                Err(TableFull {
                    kind: Kind::Parked,
                    v6: false
                })
            );
            assert_eq!(table.lookup(&key, hashing.hash(&key)), None);
            for n in 0..count {
                let key = flow(n, false);
                let found = table.lookup(&key, hashing.hash(&key)).unwrap();
                assert_eq!(mark(&table, found), Some(n), "{hashing:?}, round {round}");
                if round == 0 {
                    continue;
                }
                assert!(table.remove(found, hashing.hash(&key)));
            }
            if round == 0 {
                // Emptied in another order than it was filled in.
                for n in (0..count).rev() {
                    let key = flow(n, false);
                    let found = table.lookup(&key, hashing.hash(&key)).unwrap();
                    assert!(table.remove(found, hashing.hash(&key)));
                }
            }
            assert_eq!(table.total(), 0);
        }
    }
}

/// Replaces each connection of a full table about nine times, at random. Says which share of misses goes beyond one line,
/// before and after.
fn churn() -> (f64, f64) {
    let (count, hasher) = (40_000, FlowHasher::new([7, 8]));
    let mut table = ConnTable::new(&only_parked(count), PLAIN).unwrap();
    let share = |table: &ConnTable| {
        assert_eq!(table.index_stats().stuck_counts, 0);
        let further = (0..20_000u32).filter(|&n| table.probe(hasher.hash(&flow(n, true))).more());
        further.count() as f64 / 20_000.0
    };
    let mut held: Vec<u32> = (0..count).collect();
    for &n in &held {
        let key = flow(n, false);
        table
            .insert_parked(&key, hasher.hash(&key), &parked(n))
            .unwrap();
    }
    let fresh = share(&table);
    for n in count..10 * count {
        let random = (hasher.hash(&flow(n, true)).0 >> 20) as usize;
        let old = flow(
            std::mem::replace(&mut held[random % count as usize], n),
            false,
        );
        let found = table.lookup(&old, hasher.hash(&old)).unwrap();
        assert!(table.remove(found, hasher.hash(&old)));
        let key = flow(n, false);
        table
            .insert_parked(&key, hasher.hash(&key), &parked(n))
            .unwrap();
    }
    (fresh, share(&table))
}

/// The purpose of the overflow counts and their classes.
#[test]
fn a_full_table_answers_misses_from_one_line_even_after_churn() {
    let (fresh, churned) = churn();
    assert!(fresh < 0.015 && churned < 0.06, "{fresh} became {churned}");
}

#[test]
fn what_changes_within_a_burst_is_noticed() {
    let hasher = FlowHasher::new([1, 2]);
    let mut table = ConnTable::new(&capacity(4), PLAIN).unwrap();
    let (key, hash) = (flow(1, false), hasher.hash(&flow(1, false)));

    let (probe, before) = (table.probe(hash), table.inserted());
    let seed = table.insert_embryo(&key, hash, &embryo(1), at(0)).unwrap();
    assert_eq!(table.confirm(&key, hash, probe), None);
    assert_ne!(table.inserted(), before, "the miss must be looked up again");
    assert_eq!(table.lookup(&key, hash), Some(seed));

    let probe = table.probe(hash);
    assert_eq!(table.confirm(&key, hash, probe), Some(seed));
    let grown = table.promote(seed, &open(1)).unwrap();
    let confirmed = table.confirm(&key, hash, probe);
    assert_eq!(confirmed, Some(grown), "its kind is read anew");
    assert!(table.remove(grown, hash));
    let seed = table.insert_embryo(&key, hash, &embryo(1), at(0)).unwrap();
    let probe = table.probe(hash);
    assert!(table.remove(seed, hash));
    assert!(table.embryo(seed).is_none() && table.embryo_mut(seed).is_none());

    // The same record anew, for another flow: neither the old reference nor the old probe may reach it.
    let (other, other_hash) = (flow(2, false), hasher.hash(&flow(2, false)));
    let heir = table
        .insert_embryo(&other, other_hash, &embryo(2), at(0))
        .unwrap();
    assert_eq!(
        (heir.entry(), table.is_current(seed)),
        (seed.entry(), false)
    );
    assert_eq!(table.confirm(&key, hash, probe), None);
    assert!(!table.remove(seed, hash) && !table.requeue_embryo(seed, at(1)));
}

#[test]
fn records_are_refused_to_those_who_take_them_for_another_kind() {
    let hasher = FlowHasher::new([1, 2]);
    let mut table = ConnTable::new(&capacity(2), PLAIN).unwrap();
    let (key, hash) = (flow(1, true), hasher.hash(&flow(1, true)));
    let parked_one = table.insert_parked(&key, hash, &parked(1)).unwrap();
    assert!(table.embryo(parked_one).is_none() && table.open(parked_one).is_none());
    assert!(table.time_wait(parked_one).is_none());
    assert_eq!(table.deadline(parked_one), None);
    assert_eq!(table.promote(parked_one, &open(1)), Err(MoveError::Stale));
    assert_eq!(table.park(parked_one, &parked(1)), Err(MoveError::Stale));
    assert_eq!(
        table.linger(parked_one, &time_wait(1), at(1)),
        Err(MoveError::Stale)
    );
    assert_eq!(mark(&table, parked_one), Some(1));
}

#[test]
fn embryos_fall_due_in_order_and_move_from_queue_to_queue() {
    let hasher = FlowHasher::new([1, 2]);
    let mut table = ConnTable::new(&capacity(3), PLAIN).unwrap();
    let insert = |table: &mut ConnTable, n: u32, v6| {
        let key = flow(n, v6);
        table
            .insert_embryo(
                &key,
                hasher.hash(&key),
                &embryo(n),
                at(1_000 + u64::from(n)),
            )
            .unwrap()
    };
    let [a, b, c] = [(0, false), (1, true), (2, false)].map(|(n, v6)| insert(&mut table, n, v6));
    assert_eq!(table.due_embryo(at(999)), None);
    assert_eq!(table.due_embryo(at(1_000)), Some(a));
    assert_eq!(table.oldest_embryo(), Some(a));

    assert!(table.requeue_embryo(a, at(3_000)));
    assert_eq!(table.embryo_retransmits(a), Some(1));
    assert_eq!(table.deadline(a), Some(TickMs(3_000)));
    assert_eq!(table.due_embryo(at(1_000)), None);
    assert_eq!(table.due_embryo(at(1_002)), Some(b));
    assert_eq!(
        table.oldest_embryo(),
        Some(a),
        "retransmitted once, so older than the others"
    );

    // One is taken from the middle: the order of the others stays.
    assert!(table.remove(b, hasher.hash(&flow(1, true))));
    assert_eq!(table.due_embryo(at(1_002)), Some(c));
    assert!(table.requeue_embryo(c, at(3_002)));
    assert_eq!(table.due_embryo(at(3_002)), Some(a));
    for round in 2..12 {
        assert!(table.requeue_embryo(a, at(10_000 * round)));
        assert_eq!(
            table.embryo_retransmits(a),
            Some((round as u8).min(EMBRYO_LEVELS - 1))
        );
    }
    assert_eq!(table.oldest_embryo(), Some(a));

    // One that is due before what was known to be the first.
    assert_eq!(table.due_embryo(at(3_001)), None);
    assert!(table.requeue_embryo(c, at(3_001)));
    assert_eq!(table.due_embryo(at(3_001)), Some(c));
}

#[test]
fn time_wait_ends_oldest_first_and_a_retransmitted_fin_begins_it_anew() {
    let hasher = FlowHasher::new([1, 2]);
    let mut table = ConnTable::new(&capacity(3), PLAIN).unwrap();
    let keys = [flow(0, false), flow(1, true), flow(2, false)];
    let [a, b, c] = keys.map(|key| {
        let n = key.remote_port();
        let until = at(60_000) + Duration::from_micros(u64::from(n) * 500);
        table
            .insert_time_wait(&key, hasher.hash(&key), &time_wait(n.into()), until)
            .unwrap()
    });
    assert_eq!(table.oldest_time_wait(false), Some(a));
    assert_eq!(table.due_time_waits(at(59_999)).next(), None);
    assert!(!table.has_due_time_wait(at(59_999)));
    assert_eq!(table.due_time_waits(at(60_000)).next(), Some(a));
    assert!(table.has_due_time_wait(at(60_000)));
    assert_eq!(
        table.deadline(b),
        Some(TickMs(60_001)),
        "a deadline never comes early"
    );

    assert!(table.restart_time_wait(a, at(70_000)));
    assert_eq!(table.oldest_time_wait(false), Some(c), "of its family");
    assert_eq!(table.oldest_time_wait(true), Some(b));
    assert!(table.remove(c, hasher.hash(&keys[2])));
    assert_eq!(table.due_time_waits(at(60_001)).next(), Some(b));
    assert!(table.remove(b, hasher.hash(&keys[1])));
    assert_eq!(table.due_time_waits(at(69_999)).next(), None);
    assert!(!table.has_due_time_wait(at(69_999)));
    assert_eq!(table.due_time_waits(at(70_000)).next(), Some(a));
    assert!(table.has_due_time_wait(at(70_000)));

    // One that is due before what was known to be the first.
    assert!(table.restart_time_wait(a, at(90_000)));
    assert!(!table.has_due_time_wait(at(70_000)));
    assert!(table.restart_time_wait(a, at(80_000)));
    assert!(!table.has_due_time_wait(at(79_999)));
    assert!(table.has_due_time_wait(at(80_000)));
}

#[test]
fn a_name_stays_with_the_connection_and_its_number_is_reused_under_another() {
    let hasher = FlowHasher::new([1, 2]);
    let mut table = ConnTable::new(&only_parked(1), PLAIN).unwrap();
    let (key, hash) = (flow(1, false), hasher.hash(&flow(1, false)));
    let first = table.insert_parked(&key, hash, &parked(1)).unwrap();
    let id = table.conn_id(first).unwrap();
    assert_eq!(table.by_handle(id.handle()), Some(id));
    // No room among the open ones: refused, and everything is as before.
    let full = TableFull {
        kind: Kind::Open,
        v6: false,
    };
    assert_eq!(table.unpark(first, &open(2)), Err(MoveError::Full(full)));
    assert_eq!(
        (table.resolve(id), table.lookup(&key, hash)),
        (Some(first), Some(first))
    );

    assert!(table.remove(first, hash));
    let second = table.insert_parked(&key, hash, &parked(2)).unwrap();
    let new_id = table.conn_id(second).unwrap();
    assert_eq!((new_id.handle(), table.resolve(id)), (id.handle(), None));
    assert_eq!(table.resolve(new_id), Some(second));
}

/// Turns the record in the table's only place into one of a generation that wraps soon.
fn near_wrap(table: &mut ConnTable, entry: Entry) {
    let record = table.slabs.get_mut(entry);
    assert_eq!(record.generation & 1, 0, "it must be free");
    record.generation = u32::MAX - 3;
}

/// A name reaches nothing while its record is half-open, in TIME-WAIT or free, nor what comes after.
#[test]
fn commands_to_what_is_neither_open_nor_parked_are_stale() {
    let hasher = FlowHasher::new([1, 2]);
    for v6 in [false, true] {
        let mut table = ConnTable::new(&capacity(1), PLAIN).unwrap();
        let key = flow(1, v6);
        let hash = hasher.hash(&key);
        let mut names = Vec::new();
        let is_stale = |table: &ConnTable, names: &[ConnId]| {
            let handles = (0..table.handles()).filter_map(|handle| table.by_handle(handle));
            assert_eq!(handles.count(), 0);
            names.iter().all(|&id| table.resolve(id).is_none())
        };
        let first = table.insert_parked(&key, hash, &parked(1)).unwrap();
        assert!(table.remove(first, hash));
        near_wrap(&mut table, first.entry());
        // The generation wraps in the second round: after 2^32 - 1 comes 1, and each name is another one.
        let mut half_open = table.insert_embryo(&key, hash, &embryo(1), at(1)).unwrap();
        for round in 0..4 {
            assert!(is_stale(&table, &names), "a half-open connection");
            let open_one = table.promote(half_open, &open(2)).unwrap();
            let id = table.conn_id(open_one).unwrap();
            assert!(!names.contains(&id), "round {round}: {id:?} in {names:?}");
            assert_eq!(table.by_handle(id.handle()), Some(id));
            let parked_one = table.park(open_one, &parked(3)).unwrap();
            assert_eq!(
                (table.resolve(id), table.by_handle(id.handle())),
                (Some(parked_one), Some(id))
            );
            names.push(id);
            let open_one = table.unpark(parked_one, &open(4)).unwrap();
            let (lingering, state) = table.linger(open_one, &time_wait(5), at(9)).unwrap();
            table.free_state(state);
            assert_ne!(lingering.generation, open_one.generation);
            assert!(is_stale(&table, &names), "TIME-WAIT");
            assert_eq!(
                (table.conn_id(lingering), table.end(lingering, hash)),
                (None, None)
            );
            half_open = table.reopen(lingering, &embryo(6), at(7)).unwrap();
            assert_ne!(half_open.generation, lingering.generation);
            assert!(!table.is_current(lingering));
        }
        assert!(table.remove(half_open, hash) && is_stale(&table, &names));
    }
}

/// Half-open connections and TIME-WAITs have their own limits: they leave an open connection its place.
#[test]
fn no_kind_takes_a_place_from_another() {
    let hasher = FlowHasher::new([1, 2]);
    let each = 5;
    let mut table = ConnTable::new(&capacity(each), PLAIN).unwrap();
    assert_eq!(u64::from(table.handles()), capacity(each).total());
    let mut numbers = 0..;
    let mut fill = |table: &mut ConnTable, kind: Kind, v6: bool| {
        for i in 0..=each {
            let key = flow(numbers.next().unwrap(), v6);
            let hash = hasher.hash(&key);
            let inserted = match kind {
                Kind::Embryo => table.insert_embryo(&key, hash, &embryo(1), at(1)),
                Kind::TimeWait => table.insert_time_wait(&key, hash, &time_wait(1), at(1)),
                Kind::Open => table.insert_open(&key, hash, &open(1)),
                Kind::Parked => table.insert_parked(&key, hash, &parked(1)),
            };
            assert_eq!(
                inserted.err(),
                (i == each).then_some(TableFull { kind, v6 })
            );
        }
    };
    for v6 in [false, true] {
        for kind in [Kind::TimeWait, Kind::Embryo, Kind::Open] {
            fill(&mut table, kind, v6);
        }
    }
    assert_eq!(u64::from(table.total()), capacity(each).total());

    // A SYN that reopens TIME-WAIT needs a place among the embryos.
    let lingering = table.oldest_time_wait(false).unwrap();
    let full = TableFull {
        kind: Kind::Embryo,
        v6: false,
    };
    let refused = table.reopen(lingering, &embryo(1), at(1));
    assert_eq!(refused, Err(MoveError::Full(full)));
    assert!(table.is_current(lingering));
}

#[test]
fn capacities_beyond_what_an_entry_can_address_are_refused() {
    for v4 in [index::MAX_SLAB_RECORDS, u32::MAX] {
        let refused = ConnTable::new(&only_parked(v4), PLAIN);
        assert!(matches!(
            refused,
            Err(MemoryError::TooLarge { .. } | MemoryError::Refused { .. })
        ));
    }
    let refused = ConnTable::new(&capacity(u32::MAX), PLAIN).unwrap_err();
    assert!(matches!(refused, MemoryError::TooLarge { .. }), "{refused}");
    // Nothing at all is legal, and full from the start.
    let mut none = ConnTable::new(&Capacity::default(), PLAIN).unwrap();
    let (key, hash) = (flow(1, false), FlowHash(1));
    assert!(none.insert_open(&key, hash, &open(1)).is_err());
    assert_eq!(none.lookup(&key, hash), None);
}
