//! Tests of the neighbour machine: every transition, every rule of eviction, and a model that counts frames.

use super::*;
use core::net::Ipv4Addr;
use proptest::prelude::*;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OTHER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const T0: Instant = Instant::from_ms(1_000_000);

fn host(n: u16) -> Neighbor {
    in_vlan(0, n)
}

fn in_vlan(vlan: u16, n: u16) -> Neighbor {
    let [a, b] = n.to_be_bytes();
    Neighbor {
        vlan: VlanId(vlan),
        addr: Ipv4Addr::new(198, 18, a, b).into(),
    }
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn table(capacity: usize) -> NeighborTable<u32> {
    let config = NeighborConfig {
        capacity,
        ..NeighborConfig::default()
    };
    NeighborTable::new(config, 1).unwrap()
}

fn answer(neighbor: Neighbor, mac: MacAddr, solicited: bool, overriding: bool) -> Advertisement {
    Advertisement {
        neighbor,
        mac: Some(mac),
        solicited,
        overriding,
    }
}

fn polled(table: &mut NeighborTable<u32>, now: Instant) -> Vec<Action<u32>> {
    let mut actions = Vec::new();
    table.poll(now, |action| actions.push(action));
    actions
}

#[track_caller]
fn solicits(actions: &[Action<u32>], to: Option<MacAddr>) {
    match actions {
        [Action::Solicit(solicit)] => assert_eq!(
            *solicit,
            Solicit {
                neighbor: host(1),
                to
            }
        ),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn state(table: &NeighborTable<u32>, neighbor: Neighbor) -> NeighborState {
    table.get(neighbor).unwrap().0
}

/// A table with one neighbour in the wanted state, and the time at which it is.
fn with(wanted: NeighborState) -> (NeighborTable<u32>, Instant) {
    let mut table = table(4);
    let mut now = T0;
    table.resolve(host(1), now, drop);
    match wanted {
        NeighborState::Incomplete => {}
        NeighborState::Failed => {
            for _ in 0..3 {
                now = now + s(1);
                polled(&mut table, now);
            }
        }
        NeighborState::Stale | NeighborState::Delay | NeighborState::Probe => {
            table.on_advertisement(answer(host(1), MAC, false, true), now);
            if wanted != NeighborState::Stale {
                table.resolve(host(1), now, drop);
            }
            if wanted == NeighborState::Probe {
                now = now + s(5);
                polled(&mut table, now);
            }
        }
        NeighborState::Reachable => {
            table.on_advertisement(answer(host(1), MAC, true, true), now);
        }
    }
    assert_eq!(state(&table, host(1)), wanted);
    (table, now)
}

/// As Linux does: 3 requests a second apart, EHOSTUNREACH after the third second, the next use asks again.
#[test]
fn silence_is_unreachable_after_three_requests() {
    let mut table = table(4);
    let everybody = Solicit {
        neighbor: host(1),
        to: None,
    };
    assert_eq!(
        table.resolve(host(1), T0, drop),
        Resolution::Solicit(everybody)
    );
    assert_eq!(table.queue(host(1), 7), None);
    assert_eq!(table.resolve(host(1), T0, drop), Resolution::Waiting);
    assert!(polled(&mut table, T0 + Duration::from_millis(999)).is_empty());
    solicits(&polled(&mut table, T0 + s(1)), None);
    solicits(&polled(&mut table, T0 + s(2)), None);
    match polled(&mut table, T0 + s(3)).as_slice() {
        [Action::Unreachable { neighbor, frames }] => {
            assert_eq!((*neighbor, frames.as_slice()), (host(1), &[7][..]));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(table.get(host(1)), Some((NeighborState::Failed, None)));
    assert_eq!((table.pending_frames(), table.next_deadline()), (0, None));
    assert_eq!(
        table.resolve(host(1), T0 + s(4), drop),
        Resolution::Solicit(everybody)
    );
}

#[test]
fn an_answer_releases_what_waited_in_order() {
    let mut table = table(4);
    table.resolve(host(1), T0, drop);
    for frame in [1, 2, 3] {
        assert_eq!(table.queue(host(1), frame), None);
    }
    assert_eq!(table.queue(host(1), 4), Some(1), "the oldest gives way");
    let resolved = table
        .on_advertisement(answer(host(1), MAC, true, false), T0)
        .unwrap();
    assert_eq!(
        (resolved.mac, resolved.frames.as_slice()),
        (MAC, &[2, 3, 4][..])
    );
    assert_eq!(
        table.get(host(1)),
        Some((NeighborState::Reachable, Some(MAC)))
    );
    assert_eq!(table.resolve(host(1), T0, drop), Resolution::Resolved(MAC));
    assert_eq!(
        table.queue(host(1), 5),
        Some(5),
        "nothing waits for a known neighbour"
    );
    assert_eq!(
        table.queue(host(2), 6),
        Some(6),
        "nor for one that nobody asked about"
    );
}

#[test]
fn an_unsolicited_answer_resolves_to_stale_and_one_without_address_to_nothing() {
    let (mut table, now) = with(NeighborState::Incomplete);
    let silent = Advertisement {
        neighbor: host(1),
        mac: None,
        solicited: true,
        overriding: true,
    };
    assert!(table.on_advertisement(silent, now).is_none());
    let group = answer(host(1), MacAddr::BROADCAST, true, true);
    assert!(table.on_advertisement(group, now).is_none());
    assert_eq!(state(&table, host(1)), NeighborState::Incomplete);
    assert!(
        table
            .on_advertisement(answer(host(1), MAC, false, false), now)
            .is_some()
    );
    assert_eq!(state(&table, host(1)), NeighborState::Stale);
}

#[test]
fn a_late_answer_revives_a_failed_neighbour() {
    let (mut table, now) = with(NeighborState::Failed);
    let resolved = table
        .on_advertisement(answer(host(1), MAC, true, true), now)
        .unwrap();
    assert!(resolved.frames.is_empty());
    assert_eq!(state(&table, host(1)), NeighborState::Reachable);
    let (mut table, now) = with(NeighborState::Failed);
    assert!(table.on_solicitation(host(1), MAC, false, now).is_some());
    assert_eq!(state(&table, host(1)), NeighborState::Stale);
}

#[test]
fn reachable_ends_between_15_and_45_seconds() {
    let mut seen = Vec::new();
    for seed in 0..200 {
        let mut table: NeighborTable<u32> =
            NeighborTable::new(NeighborConfig::default(), seed).unwrap();
        table.resolve(host(1), T0, drop);
        table.on_advertisement(answer(host(1), MAC, true, true), T0);
        seen.push(table.entries[0].deadline.since(T0));
        assert!(polled(&mut table, T0 + Duration::from_millis(14_999)).is_empty());
        assert_eq!(state(&table, host(1)), NeighborState::Reachable);
        assert!(
            polled(&mut table, T0 + s(45)).is_empty(),
            "stale needs no question"
        );
        assert_eq!(state(&table, host(1)), NeighborState::Stale);
    }
    let (min, max) = (seen.iter().min().unwrap(), seen.iter().max().unwrap());
    assert!(*min >= s(15) && *min < s(17), "{min:?}");
    assert!(*max <= s(45) && *max > s(43), "{max:?}");
}

/// Even when `poll` comes late, a use after the reachable time starts the clock.
#[test]
fn a_late_use_of_a_reachable_neighbour_counts_as_stale() {
    let (mut table, now) = with(NeighborState::Reachable);
    assert_eq!(
        table.resolve(host(1), now + s(46), drop),
        Resolution::Resolved(MAC)
    );
    assert_eq!(state(&table, host(1)), NeighborState::Delay);
}

/// REACHABLE, STALE, DELAY 5 s, PROBE 3 × 1 s, FAILED: the sequence of LINUX-FACTS.
#[test]
fn a_dead_neighbour_in_use_fails_after_eight_seconds() {
    let (mut table, t0) = with(NeighborState::Stale);
    assert_eq!(table.resolve(host(1), t0, drop), Resolution::Resolved(MAC));
    assert_eq!(state(&table, host(1)), NeighborState::Delay);
    assert!(polled(&mut table, t0 + Duration::from_millis(4_999)).is_empty());
    for seconds in 5..8 {
        solicits(&polled(&mut table, t0 + s(seconds)), Some(MAC));
        assert_eq!(state(&table, host(1)), NeighborState::Probe);
        assert_eq!(
            table.resolve(host(1), t0 + s(seconds), drop),
            Resolution::Resolved(MAC)
        );
    }
    let last = polled(&mut table, t0 + s(8));
    assert!(matches!(last.as_slice(), [Action::Unreachable { frames, .. }] if frames.is_empty()));
    assert_eq!(state(&table, host(1)), NeighborState::Failed);
}

#[test]
fn an_unused_stale_neighbour_is_left_alone() {
    let (mut table, now) = with(NeighborState::Stale);
    assert!(polled(&mut table, now + s(100_000)).is_empty());
    assert_eq!(state(&table, host(1)), NeighborState::Stale);
}

/// RFC 4861 §7.2.5 and its appendix C, for neighbours whose address is known.
#[test]
fn advertisements_follow_the_flags() {
    use NeighborState::{Delay, Probe, Reachable, Stale};
    for start in [Reachable, Stale, Delay, Probe] {
        let if_reachable = |other| if start == Reachable { other } else { start };
        // (address, solicited, overriding) -> (state, address)
        let cases = [
            ((Some(MAC), true, false), (Reachable, MAC)),
            ((Some(MAC), true, true), (Reachable, MAC)),
            ((None, true, false), (Reachable, MAC)),
            ((Some(MAC), false, false), (start, MAC)),
            ((Some(MAC), false, true), (start, MAC)),
            ((None, false, true), (start, MAC)),
            ((Some(OTHER_MAC), true, false), (if_reachable(Stale), MAC)),
            ((Some(OTHER_MAC), false, false), (if_reachable(Stale), MAC)),
            // Not as the RFC: that alone proves nothing, and the known address is asked.
            ((Some(OTHER_MAC), true, true), (Probe, MAC)),
            ((Some(OTHER_MAC), false, true), (Probe, MAC)),
            ((Some(MacAddr::BROADCAST), false, true), (start, MAC)),
        ];
        for ((mac, solicited, overriding), (expected, expected_mac)) in cases {
            let (mut table, now) = with(start);
            let advertisement = Advertisement {
                neighbor: host(1),
                mac,
                solicited,
                overriding,
            };
            assert!(table.on_advertisement(advertisement, now + s(1)).is_none());
            assert_eq!(table.take_move(), None);
            let got = table.get(host(1));
            assert_eq!(
                got,
                Some((expected, Some(expected_mac))),
                "{start:?}, {advertisement:?}"
            );
        }
    }
}

/// A claim that another host has the address, as all of its forms: gratuitous ARP, an unasked reply or advertisement, a
/// request.
fn claims() -> [fn(&mut NeighborTable<u32>, Instant); 3] {
    [
        |table, now| {
            assert!(
                table
                    .on_solicitation(host(1), OTHER_MAC, true, now)
                    .is_none()
            );
        },
        |table, now| {
            let claim = answer(host(1), OTHER_MAC, false, true);
            assert!(table.on_advertisement(claim, now).is_none());
        },
        |table, now| {
            let claim = answer(host(1), OTHER_MAC, true, true);
            assert!(table.on_advertisement(claim, now).is_none());
        },
    ]
}

/// Spoofing redirects nothing: the known address is asked, and while it answers it stays, whatever others say meanwhile.
#[test]
fn a_claim_is_checked_and_who_answers_from_the_known_address_stays() {
    for claim in claims() {
        let (mut table, now) = with(NeighborState::Reachable);
        let now = now + s(1);
        claim(&mut table, now);
        assert_eq!(table.next_deadline(), Some(now));
        solicits(&polled(&mut table, now), Some(MAC));
        for claim in claims() {
            claim(&mut table, now);
            assert_eq!(table.resolve(host(1), now, drop), Resolution::Resolved(MAC));
        }
        assert!(polled(&mut table, now).is_empty(), "asked once");
        table.on_advertisement(answer(host(1), MAC, true, true), now);
        assert_eq!(
            table.get(host(1)),
            Some((NeighborState::Reachable, Some(MAC)))
        );
        // A flood of claims makes one question in the time between two.
        claim(&mut table, now + Duration::from_millis(999));
        assert_eq!(state(&table, host(1)), NeighborState::Reachable);
        claim(&mut table, now + s(1));
        assert_eq!(state(&table, host(1)), NeighborState::Probe);
        assert_eq!(table.take_move(), None);
    }
}

/// The known address keeps silent for a quarter of a second, then everybody is asked, and who answers has the address.
#[test]
fn a_neighbour_that_moved_is_found_when_its_old_address_keeps_silent() {
    for claim in claims() {
        let (mut table, now) = with(NeighborState::Reachable);
        let now = now + s(1);
        claim(&mut table, now);
        solicits(&polled(&mut table, now), Some(MAC));
        assert!(polled(&mut table, now + Duration::from_millis(249)).is_empty());
        let asked = now + Duration::from_millis(250);
        solicits(&polled(&mut table, asked), None);
        let unasked = answer(host(1), OTHER_MAC, false, true);
        assert!(table.on_advertisement(unasked, asked).is_none());
        assert_eq!(table.get(host(1)), Some((NeighborState::Probe, Some(MAC))));
        let found = answer(host(1), OTHER_MAC, true, true);
        assert!(table.on_advertisement(found, asked).is_none());
        assert_eq!(
            table.get(host(1)),
            Some((NeighborState::Reachable, Some(OTHER_MAC)))
        );
        let moved = Move {
            neighbor: host(1),
            from: MAC,
            to: OTHER_MAC,
        };
        assert_eq!((table.take_move(), table.take_move()), (Some(moved), None));
    }
}

#[test]
fn who_is_doubted_and_answers_from_nowhere_fails_after_three_questions() {
    let (mut table, now) = with(NeighborState::Reachable);
    let now = now + s(1);
    claims()[0](&mut table, now);
    solicits(&polled(&mut table, now), Some(MAC));
    solicits(&polled(&mut table, now + Duration::from_millis(250)), None);
    solicits(&polled(&mut table, now + Duration::from_millis(1250)), None);
    let last = polled(&mut table, now + Duration::from_millis(2250));
    assert!(matches!(last.as_slice(), [Action::Unreachable { .. }]));
    // It comes back elsewhere: connections that remember the old address hear of it.
    table.resolve(host(1), now + s(9), drop);
    let found = answer(host(1), OTHER_MAC, true, true);
    assert!(table.on_advertisement(found, now + s(9)).is_some());
    assert_eq!(table.take_move().map(|moved| moved.from), Some(MAC));
    // Found where it was, it has not moved.
    let (mut table, now) = with(NeighborState::Failed);
    table.on_advertisement(answer(host(1), MAC, true, true), now);
    assert_eq!(table.take_move(), None, "it had no address before");
}

/// A frame that is sent again never waits, and makes its neighbour doubtful.
#[test]
fn a_frame_that_is_sent_again_asks_for_its_neighbour() {
    use NeighborState::{Delay, Failed, Incomplete, Probe, Reachable, Stale};
    for start in [Reachable, Stale, Delay, Probe] {
        let (mut table, now) = with(start);
        let now = now + s(1);
        let to = table.resolve_doubtful(host(1), MAC, now, drop);
        assert_eq!(to, (MAC, None), "{start:?}");
        solicits(&polled(&mut table, now), Some(MAC));
        table.resolve_doubtful(host(1), MAC, now, drop);
        assert!(polled(&mut table, now).is_empty(), "{start:?}: asked once");
        solicits(&polled(&mut table, now + Duration::from_millis(250)), None);
    }
    let (mut table, now) = with(Reachable);
    let to = table.resolve_doubtful(host(1), OTHER_MAC, now + s(1), drop);
    assert_eq!(to, (MAC, None), "where it answers");
    assert_eq!(state(&table, host(1)), Reachable);
    let mut table: NeighborTable<u32> = NeighborTable::new(NeighborConfig::default(), 1).unwrap();
    assert_eq!(table.resolve_doubtful(host(1), MAC, T0, drop), (MAC, None));
    solicits(&polled(&mut table, T0), Some(MAC));
    let everybody = Solicit {
        neighbor: host(1),
        to: None,
    };
    let (mut table, now) = with(Failed);
    let to = table.resolve_doubtful(host(1), MAC, now, drop);
    assert_eq!(to, (MAC, Some(everybody)));
    assert_eq!(state(&table, host(1)), Incomplete);
    assert_eq!(table.resolve_doubtful(host(1), MAC, now, drop), (MAC, None));
}

/// RFC 4861 §7.2.3, RFC 826.
#[test]
fn solicitations_update_but_prove_nothing() {
    use NeighborState::{Delay, Probe, Reachable, Stale};
    for start in [Reachable, Stale, Delay, Probe] {
        let (mut table, now) = with(start);
        assert!(table.on_solicitation(host(1), MAC, true, now).is_none());
        assert_eq!(table.get(host(1)), Some((start, Some(MAC))));
        assert!(
            table
                .on_solicitation(host(1), OTHER_MAC, false, now + s(1))
                .is_none()
        );
        // The RFC takes the other address; here it only makes the known one doubtful.
        assert_eq!(table.get(host(1)), Some((Probe, Some(MAC))), "{start:?}");
        assert!(
            table
                .on_solicitation(host(1), MacAddr::BROADCAST, true, now)
                .is_none()
        );
        assert_eq!(table.get(host(1)), Some((Probe, Some(MAC))));
    }
    let (mut table, now) = with(NeighborState::Incomplete);
    assert_eq!(table.queue(host(1), 9), None);
    let resolved = table.on_solicitation(host(1), MAC, false, now).unwrap();
    assert_eq!(resolved.frames.as_slice(), [9]);
    assert_eq!(state(&table, host(1)), Stale);
}

#[test]
fn only_requests_for_us_create_neighbours() {
    let mut table = table(4);
    assert!(table.on_solicitation(host(1), MAC, false, T0).is_none());
    assert!(
        table
            .on_advertisement(answer(host(1), MAC, false, true), T0)
            .is_none()
    );
    assert!(
        table
            .on_advertisement(answer(host(1), MAC, true, true), T0)
            .is_none()
    );
    assert!(
        table
            .on_solicitation(host(1), MacAddr::BROADCAST, true, T0)
            .is_none()
    );
    assert!(table.is_empty());
    assert!(table.on_solicitation(host(1), MAC, true, T0).is_none());
    assert_eq!(table.get(host(1)), Some((NeighborState::Stale, Some(MAC))));
}

#[test]
fn newcomers_displace_failed_then_stale_then_reachable() {
    let mut table = table(3);
    for (n, state) in [
        (1, NeighborState::Reachable),
        (2, NeighborState::Stale),
        (3, NeighborState::Failed),
    ] {
        bring(&mut table, n, state, T0 + s(u64::from(n)));
    }
    let now = T0 + s(10);
    table.on_solicitation(host(4), MAC, true, now);
    assert_eq!((table.get(host(3)), table.len()), (None, 3));
    assert_eq!(table.take_evictions(), 0, "who failed has had its time");
    table.on_solicitation(host(5), MAC, true, now + s(1));
    assert_eq!(
        table.get(host(2)),
        None,
        "the stale one that was used least recently"
    );
    table.on_solicitation(host(6), MAC, true, now + s(2));
    assert_eq!(table.get(host(4)), None);
    assert_eq!(
        state(&table, host(1)),
        NeighborState::Reachable,
        "strangers don't displace it"
    );
    for n in [5, 6] {
        let advertisement = Advertisement {
            neighbor: host(n),
            mac: Some(MAC),
            solicited: true,
            overriding: true,
        };
        table.on_advertisement(advertisement, now + s(2));
    }
    table.on_solicitation(host(7), MAC, true, now + s(2));
    assert_eq!(table.get(host(7)), None);
    assert!(matches!(
        table.resolve(host(7), now + s(2), drop),
        Resolution::Solicit(_)
    ));
    assert_eq!(
        (table.get(host(1)), table.len()),
        (None, 3),
        "a frame of ours does"
    );
    assert_eq!(table.take_evictions(), 3);
}

/// Makes host `n` a neighbour in this state.
fn bring(table: &mut NeighborTable<u32>, n: u16, state: NeighborState, now: Instant) {
    table.resolve(host(n), now, drop);
    match state {
        NeighborState::Failed => (1..=3).for_each(|seconds| table.poll(now + s(seconds), drop)),
        NeighborState::Incomplete => {}
        _ => {
            let solicited = state == NeighborState::Reachable;
            table.on_advertisement(answer(host(n), MAC, solicited, true), now);
        }
    }
}

/// RFC 6583 §6: a peer that makes us send to addresses without a host takes neither the places of those who answer, nor the
/// gateway's while it is asked.
#[test]
fn addresses_without_anybody_take_half_of_the_places_and_displace_each_other() {
    let mut table = table(8);
    table.keep(host(100));
    let known = [
        (1, NeighborState::Reachable),
        (2, NeighborState::Reachable),
        (3, NeighborState::Stale),
    ];
    for (n, is) in known {
        bring(&mut table, n, is, T0);
    }
    table.resolve(host(100), T0, drop);
    let mut displaced = Vec::new();
    for n in 200..1_200 {
        let now = T0 + Duration::from_millis(u64::from(n));
        assert!(matches!(
            table.resolve(host(n), now, |frame| displaced.push(frame)),
            Resolution::Solicit(_)
        ));
        assert_eq!(table.queue(host(n), n.into()), None);
    }
    for (n, is) in known {
        assert_eq!(state(&table, host(n)), is);
    }
    assert_eq!(state(&table, host(100)), NeighborState::Incomplete);
    let waiting = [1_196, 1_197, 1_198, 1_199].map(|n| state(&table, host(n)));
    assert_eq!(
        waiting,
        [NeighborState::Incomplete; 4],
        "the youngest are asked"
    );
    assert_eq!(displaced, Vec::from_iter(200..1_196), "the oldest go first");
    assert_eq!((table.take_evictions(), table.pending_frames()), (996, 4));
    let evictions = table.take_evictions();
    assert_eq!(evictions, 0);
}

/// A neighbour that was asked a second ago and has not answered goes before one that may be there still; one that was asked just
/// now goes after.
#[test]
fn the_silent_go_before_the_stale_and_the_stale_before_who_was_just_asked() {
    let mut table = table(4);
    bring(&mut table, 1, NeighborState::Stale, T0);
    bring(&mut table, 2, NeighborState::Stale, T0);
    bring(&mut table, 3, NeighborState::Stale, T0);
    bring(&mut table, 4, NeighborState::Incomplete, T0);
    bring(&mut table, 5, NeighborState::Incomplete, T0 + s(1));
    assert_eq!(table.get(host(1)), None, "asked once");
    bring(&mut table, 5, NeighborState::Stale, T0 + s(1));
    polled(&mut table, T0 + s(1));
    bring(&mut table, 6, NeighborState::Incomplete, T0 + s(1));
    assert_eq!(table.get(host(4)), None, "asked twice");
    assert!(table.get(host(2)).is_some());
}

#[test]
fn both_families_share_the_machine() {
    let mut table = table(4);
    let v6 = Neighbor {
        vlan: VlanId::UNTAGGED,
        addr: "2001:2::1".parse().unwrap(),
    };
    let everybody = Solicit {
        neighbor: v6,
        to: None,
    };
    assert_eq!(table.resolve(v6, T0, drop), Resolution::Solicit(everybody));
    table.on_advertisement(answer(v6, MAC, true, true), T0);
    assert_eq!(table.resolve(v6, T0, drop), Resolution::Resolved(MAC));
    assert!(matches!(
        table.resolve(host(1), T0, drop),
        Resolution::Solicit(_)
    ));
}

#[test]
fn the_same_address_in_another_vlan_is_another_neighbor() {
    let mut table = table(8);
    let all = [0, 5, 6].map(|vlan| in_vlan(vlan, 1));
    for neighbor in all {
        let everybody = Solicit { neighbor, to: None };
        assert_eq!(
            table.resolve(neighbor, T0, drop),
            Resolution::Solicit(everybody)
        );
        assert_eq!(table.queue(neighbor, neighbor.vlan.0.into()), None);
    }
    let answered = table.on_advertisement(answer(all[1], MAC, true, true), T0);
    assert_eq!(answered.unwrap().frames.as_slice(), [5]);
    assert!(
        table
            .on_solicitation(all[2], OTHER_MAC, false, T0)
            .is_some()
    );
    assert_eq!(table.get(all[0]), Some((NeighborState::Incomplete, None)));
    assert_eq!(
        table.get(all[1]),
        Some((NeighborState::Reachable, Some(MAC)))
    );
    assert_eq!(
        table.get(all[2]),
        Some((NeighborState::Stale, Some(OTHER_MAC)))
    );
}

/// However many VLANs have a gateway.
#[test]
fn half_of_the_places_are_kept_at_most() {
    let mut table = table(8);
    for vlan in 0..100 {
        table.keep(in_vlan(vlan, 1));
    }
    for vlan in 0..100 {
        bring(&mut table, 0, NeighborState::Stale, T0);
        table.resolve(in_vlan(vlan, 1), T0, drop);
    }
    assert_eq!(
        table.entries.iter().filter(|entry| entry.is_kept).count(),
        4
    );
    for n in 1..10 {
        bring(&mut table, n, NeighborState::Stale, T0);
    }
    assert!(table.get(host(9)).is_some(), "others find a place");
}

#[test]
fn configurations_out_of_range_are_named() {
    let default = NeighborConfig::default();
    let error = |config| NeighborTable::<u32>::new(config, 0).err();
    assert_eq!(error(default), None);
    for capacity in [0, MAX_NEIGHBORS + 1] {
        let config = NeighborConfig {
            capacity,
            ..default
        };
        assert_eq!(error(config), Some(NeighborConfigError::Capacity));
    }
    for pending_frames in [0, MAX_PENDING_FRAMES + 1] {
        let config = NeighborConfig {
            pending_frames,
            ..default
        };
        assert_eq!(error(config), Some(NeighborConfigError::PendingFrames));
    }
    let config = NeighborConfig {
        retransmit: Duration::ZERO,
        ..default
    };
    assert_eq!(error(config), Some(NeighborConfigError::Time));
    let config = NeighborConfig {
        unicast_solicitations: 0,
        ..default
    };
    assert_eq!(error(config), Some(NeighborConfigError::Solicitations));
}

#[derive(Debug, Clone)]
enum Event {
    Send(u16),
    Solicitation(u16, u8, bool),
    Advertisement(u16, Option<u8>, bool, bool),
    Wait(u16),
}

fn event() -> impl Strategy<Value = Event> {
    let host = 0u16..12;
    prop_oneof![
        4 => host.clone().prop_map(Event::Send),
        2 => (host.clone(), 0u8..3, any::<bool>()).prop_map(|(a, b, c)| Event::Solicitation(a, b, c)),
        2 => (host.clone(), proptest::option::of(0u8..3), any::<bool>(), any::<bool>())
            .prop_map(|(a, b, c, d)| Event::Advertisement(a, b, c, d)),
        2 => (0u16..8_000).prop_map(Event::Wait),
    ]
}

proptest! {
    /// Whatever happens: the capacity holds, each frame is either waiting or was given back once, lookups agree with the
    /// entries, and no deadline is overslept.
    #[test]
    fn the_table_stays_bounded_and_loses_no_frame(
        capacity in 1usize..8, seed: u64, keeps: bool, events in proptest::collection::vec(event(), 0..300),
    ) {
        let mut table = NeighborTable::new(NeighborConfig { capacity, ..NeighborConfig::default() }, seed).unwrap();
        if keeps {
            table.keep(host(0));
        }
        let mut was_known = false;
        let (mut now, mut left, mut returned) = (T0, 0u32, Vec::new());
        let room = (table.entries.capacity(), table.order.capacity());
        let mac = |n| MacAddr([2, 0, 0, 0, 0, n]);
        for event in events {
            match event {
                Event::Send(n) => {
                    let resolution = table.resolve(host(n), now, |frame| returned.push(frame));
                    if matches!(resolution, Resolution::Solicit(_) | Resolution::Waiting) {
                        returned.extend(table.queue(host(n), left));
                        left += 1;
                    }
                }
                Event::Solicitation(n, m, for_us) => {
                    let resolved = table.on_solicitation(host(n), mac(m), for_us, now);
                    returned.extend(resolved.into_iter().flat_map(|resolved| resolved.frames));
                }
                Event::Advertisement(n, m, solicited, overriding) => {
                    let advertisement =
                        Advertisement { neighbor: host(n), mac: m.map(mac), solicited, overriding };
                    let resolved = table.on_advertisement(advertisement, now);
                    returned.extend(resolved.into_iter().flat_map(|resolved| resolved.frames));
                }
                Event::Wait(ms) => {
                    now = now + Duration::from_millis(ms.into());
                    table.poll(now, |action| {
                        if let Action::Unreachable { frames, .. } = action {
                            returned.extend(frames);
                        }
                    });
                    prop_assert!(table.next_deadline().is_none_or(|deadline| deadline > now));
                }
            }
            prop_assert!(table.len() <= capacity);
            prop_assert_eq!(table.len(), table.order.len());
            let is_asked = |entry: &&Entry<u32>| entry.state == NeighborState::Incomplete && !table.kept.contains(&entry.neighbor);
            prop_assert!(table.entries.iter().filter(is_asked).count() <= (capacity / 2).max(1));
            was_known |= table.get(host(0)).is_some();
            prop_assert!(!(keeps && capacity > 1 && was_known) || table.get(host(0)).is_some(), "it keeps its place");
            prop_assert!(table.order.is_sorted_by(|a, b| a.0 < b.0));
            for (neighbor, index) in &table.order {
                prop_assert_eq!(table.entries[*index as usize].neighbor, *neighbor);
            }
            for entry in &table.entries {
                prop_assert!(entry.deadline >= table.next_deadline);
                prop_assert!(entry.pending.is_empty() || entry.state == NeighborState::Incomplete);
                prop_assert!(entry.pending.len() <= table.config.pending_frames);
            }
            let waiting = table.entries.iter().flat_map(|entry| entry.pending.iter().copied());
            let mut all: Vec<u32> = waiting.chain(returned.iter().copied()).collect();
            all.sort_unstable();
            prop_assert!(all.iter().copied().eq(0..left));
        }
        prop_assert_eq!(room, (table.entries.capacity(), table.order.capacity()), "no growth");
    }
}
