//! The wheel against a sorted map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn drain(wheel: &mut TimerWheel, now: Instant) -> Vec<u32> {
    let mut fired = Vec::new();
    wheel.poll(now, |index| fired.push(index));
    fired
}

#[test]
fn fires_within_a_tick_and_never_early() {
    let mut wheel = TimerWheel::new(4, Instant::ZERO).unwrap();
    wheel.arm(2, Instant::from_ms(40));
    assert!(drain(&mut wheel, Instant::from_ns(40_000_000 - 1)).is_empty());
    assert_eq!(
        drain(&mut wheel, Instant::from_ns(40_000_000 + TICK_NS)),
        [2]
    );
    assert!(wheel.is_empty() && !wheel.is_armed(2));
}

#[test]
fn the_past_is_due_at_once_and_a_clock_that_goes_back_fires_nothing() {
    let mut wheel = TimerWheel::new(4, Instant::from_ms(1000)).unwrap();
    wheel.arm(0, Instant::from_ms(3));
    assert_eq!(drain(&mut wheel, Instant::from_ms(1000)), [0]);
    wheel.arm(1, Instant::from_ms(2000));
    assert!(drain(&mut wheel, Instant::from_ms(500)).is_empty());
    assert_eq!(drain(&mut wheel, Instant::from_ms(2001)), [1]);
}

#[test]
fn far_deadlines_come_when_they_come() {
    const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;
    let mut wheel = TimerWheel::new(2, Instant::from_ms(77)).unwrap();
    wheel.arm(0, Instant::from_ms(100 * YEAR_MS));
    wheel.arm(1, Instant::from_ns(u64::MAX));
    for year in 1..100 {
        assert!(drain(&mut wheel, Instant::from_ms(year * YEAR_MS)).is_empty());
    }
    assert_eq!(drain(&mut wheel, Instant::from_ms(100 * YEAR_MS + 1)), [0]);
    assert_eq!(wheel.len(), 1);
    assert_eq!(
        drain(&mut wheel, Instant::from_ns(u64::MAX)),
        [1],
        "the last moment there is"
    );
}

#[test]
fn a_timer_may_be_armed_again_while_others_fire() {
    let mut wheel = TimerWheel::new(2, Instant::ZERO).unwrap();
    wheel.arm(0, Instant::from_ms(1));
    let now = Instant::from_ms(2);
    assert_eq!(wheel.pop_due(now), Some(0));
    wheel.arm(0, Instant::from_ms(1));
    wheel.arm(1, Instant::from_ms(3));
    assert_eq!(wheel.pop_due(now), Some(0));
    assert_eq!(wheel.pop_due(now), None);
}

#[test]
fn a_capacity_beyond_the_indices_is_an_error() {
    let refused = TimerWheel::new(u32::MAX, Instant::ZERO);
    assert!(matches!(refused, Err(MemoryError::TooLarge { .. })));
}

#[test]
fn a_node_is_sixteen_bytes() {
    assert_eq!(size_of::<Node>(), 16);
}

#[derive(Debug, Clone)]
enum Act {
    Arm(u32, u64),
    Cancel(u32),
    Advance(u64),
}

fn act() -> impl Strategy<Value = Act> {
    // Spans from under a tick to years, evenly by magnitude.
    let span = (0u32..60).prop_flat_map(|bits| 0..(1u64 << bits));
    prop_oneof![
        4 => (0u32..20, span.clone()).prop_map(|(i, ns)| Act::Arm(i, ns)),
        1 => (0u32..20).prop_map(Act::Cancel),
        3 => span.prop_map(Act::Advance),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn agrees_with_a_sorted_map(start in 0u64..1 << 50, acts in prop::collection::vec(act(), 1..150)) {
        let mut now_ns = start;
        let mut wheel = TimerWheel::new(20, Instant::from_ns(now_ns)).unwrap();
        let mut model = BTreeMap::<u32, u64>::new();
        for act in acts {
            match act {
                Act::Arm(index, after_ns) => {
                    wheel.arm(index, Instant::from_ns(now_ns.saturating_add(after_ns)));
                    model.insert(index, now_ns.saturating_add(after_ns));
                }
                Act::Cancel(index) => {
                    wheel.cancel(index);
                    model.remove(&index);
                }
                Act::Advance(ns) => {
                    now_ns = now_ns.saturating_add(ns);
                    // Sleeping until `next_poll` and no longer misses nothing.
                    if let Some(earliest) = model.values().min() {
                        let next = wheel.next_poll().unwrap().as_ns();
                        prop_assert!(next <= earliest.div_ceil(TICK_NS).saturating_mul(TICK_NS));
                    }
                    let mut fired = drain(&mut wheel, Instant::from_ns(now_ns));
                    fired.sort_unstable();
                    let due = |deadline: u64| deadline.div_ceil(TICK_NS) <= now_ns / TICK_NS;
                    let expected: Vec<u32> =
                        model.iter().filter(|&(_, &d)| due(d)).map(|(&i, _)| i).collect();
                    prop_assert_eq!(fired, expected);
                    model.retain(|_, &mut d| !due(d));
                }
            }
            prop_assert_eq!(wheel.len() as usize, model.len());
            for index in 0..20 {
                prop_assert_eq!(wheel.is_armed(index), model.contains_key(&index));
            }
        }
    }
}
