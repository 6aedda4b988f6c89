//! Every budget that all peers of a server share, attacked at default limits while well-behaved connections go on: over 60
//! virtual seconds they keep nine tenths of what the same seed gives them in peace (docs/reference/budgets.md).
//!
//! It must never weaken an attack unsaid: peers that are reset come again unless the test says `once`, and a counter
//! shows that the budget was reached.
#![forbid(unsafe_code)]

#[path = "attacks/crowd.rs"]
mod crowd;
#[path = "attacks/town.rs"]
mod town;
#[path = "sim/without.rs"]
mod without;

use std::sync::LazyLock;
use std::time::Duration;

use stack::config::Limits;
use stack::counters::Counter;

use crowd::{Crowd, Deed, ask, forge};
use town::{CHARGEN, DAYTIME, DISCARD, ECHO, MINUTE, Score, Town, UNATTENDED};

const SEED: u64 = 1;
const TICK: Duration = Duration::from_millis(10);

/// The results of well-behaved clients without an attack.
static PEACE: LazyLock<Score> = LazyLock::new(|| {
    let mut town = Town::new(SEED);
    town.world.run_for(MINUTE);
    let score = town.score();
    town.end();
    score
});

/// Runs an attack for a minute and holds what the well-behaved get against what they get in peace.
fn withstands(attack: impl FnMut(&mut Town, u32)) -> Town {
    withstands_but("", attack)
}

/// The same, but for the part that is not promised.
fn withstands_but(part: &str, mut attack: impl FnMut(&mut Town, u32)) -> Town {
    let mut town = Town::new(SEED);
    let ticks = (MINUTE.as_millis() / TICK.as_millis()) as u32;
    for tick in 0..ticks {
        town.world.run_for(TICK);
        attack(&mut town, tick);
    }
    let score = town.score();
    for ((name, attacked), (_, peace)) in score.parts().into_iter().zip(PEACE.parts()) {
        assert!(peace > 0, "{name}: nothing in peace");
        assert!(
            name == part || attacked * 10 >= peace * 9,
            "{name}: {attacked} of {peace} in peace; {score:?}"
        );
    }
    town
}

#[test]
fn all_of_this_without_the_fast_path() {
    without::run_all_but("all_of_this_without_the_fast_path");
}

#[test]
fn peace_is_worth_something() {
    let score = *PEACE;
    assert!(score.echoed > 200_000, "{score:?}");
    assert!(score.downloaded > 10_000_000, "{score:?}");
    assert!(score.uploaded > 10_000_000, "{score:?}");
    assert!(score.visits > 100, "{score:?}");
    assert_eq!(score.unparked, 2);
}

/// Places for sending, by peers that keep their windows closed and answer each probe.
#[test]
fn closed_windows() {
    let mut crowd = Crowd::new(4_000, Deed::Stall, CHARGEN);
    let town = withstands(|town, _| crowd.tick(town));
    assert!(crowd.connected() == 4_000, "{}", crowd.connected());
    town.end();
}

/// So many that not one place is left: those that stand still give way, and then there is room.
#[test]
fn closed_windows_that_hold_every_place() {
    let mut crowd = Crowd::new(9_000, Deed::Stall, CHARGEN).pace(50).once();
    let town = withstands(|town, _| crowd.tick(town));
    assert!(town.count(Counter::ConnectionsEvicted) > 2_000);
    assert_eq!(town.count(Counter::ConnectionsEvicted), crowd.resets);
    town.end();
}

/// The same by peers that open their windows, and acknowledge nothing.
#[test]
fn silence_after_the_handshake() {
    let mut crowd = Crowd::new(2_000, Deed::FallSilent, CHARGEN).window(65_535);
    let town = withstands(|town, _| crowd.tick(town));
    assert!(town.count(Counter::TxNeighborDropped) > 0);
    town.end();
}

/// Places for bytes ahead of gaps.
#[test]
fn gaps() {
    let mut crowd = Crowd::new(600, Deed::LeaveGaps, DISCARD).window(65_535);
    let town = withstands(|town, _| crowd.tick(town));
    assert!(crowd.connected() == 600, "{}", crowd.connected());
    assert!(town.count(Counter::AheadPruned) > 256);
    town.end();
}

/// Places for what was received and can't be read, because its echo can't be sent.
#[test]
fn unread_bytes() {
    let mut crowd = Crowd::new(3_000, Deed::Pour, ECHO).once();
    let town = withstands(|town, _| crowd.tick(town));
    assert!(town.count(Counter::PayloadNoPlace) > 1_000);
    assert!(town.count(Counter::ConnectionsEvicted) > 100);
    town.end();
}

/// Embryos and the backlog, by SYNs from silent addresses on the link: none of them becomes a neighbour.
#[test]
fn syns_from_silent_addresses() {
    let mut crowd = Crowd::new(60_000, Deed::Vanish, DAYTIME).pace(20);
    let town = withstands(|town, _| crowd.tick(town));
    assert!(town.count(Counter::SynCookieSent) > 50_000);
    assert!(town.count(Counter::SynAckRetransmitted) > 500);
    assert_eq!(town.count(Counter::NeighborEvicted), 0);
    town.end();
}

/// Neighbours, by addresses that ask for the server.
#[test]
fn strangers_that_ask() {
    let town = withstands(ask);
    let neighbors = u64::from(Limits::default().neighbors);
    assert!(town.count(Counter::NeighborEvicted) > neighbors);
    town.end();
}

/// An accept queue that is never emptied.
#[test]
fn connections_that_are_not_accepted() {
    let mut crowd = Crowd::new(1_000, Deed::Stall, UNATTENDED).window(65_535);
    let town = withstands(|town, _| crowd.tick(town));
    assert!(town.count(Counter::SynDroppedAcceptFull) > 100);
    town.end();
}

/// TIME-WAIT records: the oldest go.
#[test]
fn time_waits() {
    let mut crowd = Crowd::new(2_000, Deed::ComeAgain, DAYTIME)
        .window(65_535)
        .pace(13);
    let town = withstands(|town, _| crowd.tick(town));
    assert!(town.count(Counter::TimeWaitRecycled) > 1_000);
    town.end();
}

/// Records, by peers that connect and say nothing: who comes later is refused, who is there goes on.
#[test]
fn idle_connections() {
    let mut crowd = Crowd::new(140_000, Deed::FallSilent, DISCARD)
        .window(65_535)
        .pace(100);
    let town = withstands_but("visits", |town, _| crowd.tick(town));
    let refused = [
        Counter::CookieNoRecord,
        Counter::EmbryoAckNoRecord,
        Counter::SynDroppedNoRecord,
    ];
    assert!(
        refused
            .map(|counter| town.count(counter))
            .iter()
            .sum::<u64>()
            > 0
    );
    town.end();
}

/// Challenge ACKs: each connection has its own limit.
#[test]
fn forged_segments() {
    // Once they are established: who forges SYNs before has the client's place.
    let town = withstands(|town, tick| {
        if tick >= 500 {
            forge(town, tick);
        }
    });
    assert!(town.count_tcp("challenge_acks_suppressed") > 10_000);
    assert!(town.count(Counter::ParkedChallengeLimited) > 1_000);
    town.end();
}

/// ICMP errors: the rate is a limit, and nothing waits for them.
#[test]
fn segments_to_closed_ports() {
    let mut crowd = Crowd::new(50_000, Deed::Vanish, 1).pace(50);
    let town = withstands(|town, _| crowd.tick(town));
    assert!(town.count(Counter::ClosedIcmpLimited) > 10_000);
    town.end();
}
