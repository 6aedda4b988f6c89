//! Pools against naive models: every tuple once, shards that fit together, the machine's own division.

use std::collections::{BTreeSet, HashSet};

use proptest::prelude::*;

use super::*;

fn pool(prefixes: &[&str], ports: &[(u16, u16)]) -> SourcePool {
    let prefixes: Vec<_> = prefixes
        .iter()
        .map(|text| {
            let (address, len) = text.split_once('/').expect("ADDR/LEN");
            (
                address.parse().expect("an address"),
                len.parse().expect("a length"),
            )
        })
        .collect();
    let ports: Vec<_> = ports
        .iter()
        .map(|&(first, last)| PortRange { first, last })
        .collect();
    SourcePool::new(&prefixes, &ports).expect("a pool")
}

#[test]
fn a_pool_is_addresses_times_ports() {
    let pool = pool(&["198.18.64.0/18"], &[(1024, 65_535)]);
    assert_eq!(pool.addresses(), 16_384);
    assert_eq!(pool.ports(), 64_512);
    assert_eq!(pool.len(), 16_384 * 64_512);
    let source = |address: [u8; 4], port| Source {
        address: u128::from(u32::from_be_bytes(address)),
        port,
    };
    assert_eq!(pool.get(0), source([198, 18, 64, 0], 1024));
    assert_eq!(pool.get(64_512), source([198, 18, 64, 1], 1024));
    assert_eq!(
        pool.get(pool.len() - 1),
        source([198, 18, 127, 255], 65_535)
    );
    assert_eq!(pool.index_of(source([198, 18, 64, 1], 1025)), Some(64_513));
    assert_eq!(pool.index_of(source([198, 18, 128, 0], 1025)), None);
    assert_eq!(pool.index_of(source([198, 18, 64, 1], 1023)), None);
    assert!(!pool.contains("::ffff:198.18.64.1".parse().expect("an address")));
}

#[test]
fn what_is_named_twice_is_there_once() {
    let pool = pool(
        &[
            "198.18.0.0/24",
            "198.18.0.128/25",
            "198.18.1.0/24",
            "192.0.2.7/32",
        ],
        &[(10, 20), (15, 30), (31, 31), (7, 7)],
    );
    assert_eq!(pool.addresses(), 513);
    assert_eq!(pool.ports(), 23);
    let all: HashSet<_> = (0..pool.len()).map(|index| pool.get(index)).collect();
    assert_eq!(all.len() as u64, pool.len());
    assert_eq!(pool.ip(0).to_string(), "192.0.2.7");
}

#[test]
fn one_address_can_be_taken_out() {
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let whole = pool(&["192.0.2.0/30"], &[(1, 2)]);
    for taken in ["192.0.2.0", "192.0.2.1", "192.0.2.3"] {
        let rest = whole
            .clone()
            .without(address(taken))
            .expect("three are left");
        assert_eq!((rest.addresses(), rest.len()), (3, 6));
        assert!(!rest.contains(address(taken)));
        for index in 0..rest.len() {
            assert_eq!(rest.index_of(rest.get(index)), Some(index), "{taken}");
        }
    }
    let other = whole.clone().without(address("192.0.2.9"));
    assert_eq!(other, Ok(whole));
    let one = pool(&["2001:db8::1/128"], &[(1, 2)]);
    assert_eq!(one.without(address("2001:db8::1")), Err(PoolError::Empty));
}

#[test]
fn a_pool_that_can_not_be_is_refused() {
    let any = [PortRange::UNPRIVILEGED];
    let prefix = |text: &str, len| (text.parse().expect("an address"), len);
    let (v4, v6) = (prefix("192.0.2.0", 24), prefix("2001:db8::", 64));
    assert_eq!(SourcePool::new(&[], &any), Err(PoolError::Empty));
    assert_eq!(SourcePool::new(&[v4], &[]), Err(PoolError::Empty));
    assert_eq!(
        SourcePool::new(&[v4, v6], &any),
        Err(PoolError::MixedFamilies)
    );
    assert_eq!(SourcePool::new(&[v6], &any), Err(PoolError::TooLarge));
    assert_eq!(
        SourcePool::new(&[prefix("::", 0)], &any),
        Err(PoolError::TooLarge)
    );
    let reversed = PortRange { first: 2, last: 1 };
    assert_eq!(
        SourcePool::new(&[v4], &[reversed]),
        Err(PoolError::PortsReversed(reversed))
    );
    assert!(SourcePool::new(&[prefix("0.0.0.0", 0)], &any).is_ok());
    assert!(SourcePool::new(&[prefix("2001:db8::", 96)], &any).is_ok());
}

#[test]
fn shards_are_read_as_they_are_written() {
    let shard: Shard = "2/4".parse().expect("a shard");
    assert_eq!(Shard::new(1, 4), Some(shard));
    assert_eq!(shard.to_string(), "2/4");
    for text in ["0/4", "5/4", "1/0", "1", "a/b", "", "-1/2"] {
        assert!(text.parse::<Shard>().is_err(), "{text}");
    }
}

#[test]
fn neighbours_are_spread_over_the_whole_space() {
    let order = Permutation::new(1_000_000, 7);
    let near = (0..10_000)
        .filter(|&place| order.at(place).abs_diff(order.at(place + 1)) < 10_000)
        .count();
    // Of random pairs 2 % are so close.
    assert!(near < 400, "{near}");
    assert_ne!(order.at(5), Permutation::new(1_000_000, 8).at(5));
}

#[test]
fn a_run_of_places_falls_evenly_on_both_halves_of_the_space() {
    // 255 degrees of freedom: above 370 once in some 10^5 draws.
    const CHI_SQUARE_MAX: f64 = 370.0;
    for key in 0..100 {
        let order = Permutation::new(16_384 * 64_512, key);
        let mut numbers: Vec<u64> = (key * 1_000_000..).take(1 << 16).collect();
        order.replace(&mut numbers);
        for shift in [0, 8, 22] {
            let mut buckets = [0f64; 256];
            for number in &numbers {
                buckets[(number >> shift & 0xff) as usize] += 1.0;
            }
            let expected = numbers.len() as f64 / if shift == 22 { 252.0 } else { 256.0 };
            let used = if shift == 22 { 252 } else { 256 };
            let chi_square: f64 = buckets[..used]
                .iter()
                .map(|count| (count - expected).powi(2) / expected)
                .sum();
            assert!(
                chi_square < CHI_SQUARE_MAX,
                "key {key}, bits from {shift}: {chi_square}"
            );
        }
    }
}

proptest! {
    #[test]
    fn every_tuple_has_an_index_of_its_own(
        prefixes in proptest::collection::vec((any::<u32>(), 24u8..=32), 1..5),
        ports in proptest::collection::vec((1000u16..1040, 0u16..20), 1..4),
    ) {
        let prefixes: Vec<_> = prefixes
            .into_iter()
            .map(|(bits, len)| (IpAddr::V4(Ipv4Addr::from_bits(bits & 0x3ff)), len))
            .collect();
        let ports: Vec<_> = ports
            .into_iter()
            .map(|(first, more)| PortRange { first, last: first + more })
            .collect();
        let pool = SourcePool::new(&prefixes, &ports).expect("a pool");
        let mut naive = BTreeSet::new();
        for &(address, len) in &prefixes {
            for offset in 0..(1u128 << (32 - len)) {
                naive.insert((bits(address) >> (32 - len) << (32 - len)) + offset);
            }
        }
        let open: BTreeSet<u16> = ports.iter().flat_map(|range| range.first..=range.last).collect();
        prop_assert_eq!(pool.len(), naive.len() as u64 * open.len() as u64);
        let mut index = 0;
        for &address in &naive {
            for &port in &open {
                let source = Source { address, port };
                prop_assert_eq!(pool.get(index), source);
                prop_assert_eq!(pool.index_of(source), Some(index));
                index += 1;
            }
        }
        let indices: [u64; 64] = core::array::from_fn(|n| n as u64 * 7919 % pool.len());
        let (mut addresses, mut source_ports) = ([0; 64], [0; 64]);
        pool.get_ipv4_run(&indices, &mut addresses, &mut source_ports);
        for (index, (address, port)) in indices.into_iter().zip(addresses.into_iter().zip(source_ports)) {
            let address = u128::from(address);
            prop_assert_eq!(pool.get(index), Source { address, port });
        }
    }

    #[test]
    fn a_permutation_is_a_bijection(len in 1u64..3000, key in any::<u64>()) {
        let order = Permutation::new(len, key);
        let mut seen = vec![false; len as usize];
        for place in 0..len {
            let number = order.at(place);
            prop_assert!(number < len);
            prop_assert!(!core::mem::replace(&mut seen[number as usize], true));
            prop_assert_eq!(order.place_of(number), place);
        }
        let mut places: Vec<u64> = (0..len).collect();
        order.replace(&mut places);
        prop_assert!(places.into_iter().eq((0..len).map(|place| order.at(place))));
    }

    #[test]
    fn large_permutations_lead_back(len in 1u64..=1 << 62, key in any::<u64>(), place in any::<u64>()) {
        let (order, place) = (Permutation::new(len, key), place % len);
        let number = order.at(place);
        prop_assert!(number < len);
        prop_assert_eq!(order.place_of(number), place);
    }

    #[test]
    fn shards_are_disjoint_and_complete(
        len in 1u64..2000,
        count in 1u32..9,
        workers in 1u32..4,
        key in proptest::option::of(any::<u64>()),
    ) {
        let order = key.map_or(TupleOrder::Sequential, |key| TupleOrder::Permuted { key });
        let mut seen = HashSet::new();
        for index in 0..count {
            let shard = Shard::new(index, count).expect("a part");
            for worker in 0..workers {
                let part = shard.split(worker, workers).expect("a part of it");
                let Some(sequence) = TupleSequence::new(len, order, part) else {
                    continue;
                };
                for place in 0..sequence.len() {
                    let tuple = sequence.at(place);
                    prop_assert!(seen.insert(tuple));
                    prop_assert_eq!(sequence.place_of(tuple), Some(place));
                    let owner = u64::from(index + count * worker);
                    prop_assert_eq!(sequence.place_and_shard(tuple), Some((place, owner)));
                }
                let mut tuples = [0; 64];
                let begin = sequence.len() / 2;
                let next = sequence.run(begin, &mut tuples);
                let places = (0..64).map(|n| (begin + n) % sequence.len());
                prop_assert!(places.map(|place| sequence.at(place)).eq(tuples));
                prop_assert_eq!(next, (begin + 64) % sequence.len());
            }
        }
        prop_assert_eq!(seen.len() as u64, len);
    }

    #[test]
    fn division_is_the_machines(dividend in any::<u64>(), shift in 0u32..64, divisor in any::<u64>()) {
        let divisor = (divisor >> shift).max(1);
        for dividend in [dividend, dividend >> shift, u64::MAX, divisor, divisor - 1, 0] {
            let exact = (dividend / divisor, dividend % divisor);
            prop_assert_eq!(Divisor::new(divisor).div_rem(dividend), exact);
        }
    }

    #[test]
    fn short_division_is_the_machines(dividend in any::<u32>(), shift in 0u32..32, divisor in any::<u32>()) {
        let divisor = (divisor >> shift).max(1);
        for dividend in [dividend, dividend >> shift, u32::MAX, divisor, divisor - 1, 0] {
            let exact = (dividend / divisor, dividend % divisor);
            prop_assert_eq!(ShortDivisor::new(divisor).div_rem(dividend), exact);
        }
    }
}
