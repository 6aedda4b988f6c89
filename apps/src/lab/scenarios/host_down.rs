//! `host-down`: the host has no power, or there is none at the address.

use stack::neighbor::NeighborState::{Delay, Failed, Incomplete, Probe, Reachable, Stale};
use stack::tcp::lang::{rst, syn};

use crate::lab::errno::Errno::{ECONNREFUSED, EHOSTUNREACH, ETIMEDOUT};
use crate::lab::scenario::{
    Client, Kernel, Observation, Ours, Pace, Scenario, Scene, SceneAction, Server,
};

/// The situation.
pub(super) fn scenario(pace: Pace) -> Scenario {
    Scenario {
        name: "host-down",
        shows: "Nobody answers, not even with a reset. What an application sees, and when, depends on the neighbour \
            entry (ARP, NDP) of the host that connects. Without an entry, three requests a second apart go unanswered: \
            \"no route to host\" (EHOSTUNREACH) after three seconds, and no SYN ever stood on the wire. With an entry \
            from before, SYNs go out to a link address where nobody is any more, until the entry goes STALE, is asked \
            again (DELAY, then PROBE three times) and FAILED; the next SYN asks everybody once more, in vain.",
        scenes: vec![without_entry(), with_entry(pace)],
    }
}

/// No neighbour entry: ARP (or NDP) fails, and TCP never gets to say a word.
fn without_entry() -> Scene {
    Scene::new("No neighbour entry: nobody answers for the address")
        .server_is_off()
        .act(0, Client, SceneAction::Connect(1))
        .expect(Client.asks_for_neighbor().within_ms(0, 200))
        .expect(Client.asks_for_neighbor().within_ms(900, 1_300))
        .expect(Client.asks_for_neighbor().within_ms(1_900, 2_400))
        .expect(Client.finds_neighbor(Incomplete).within_ms(0, 500))
        .expect(Client.finds_neighbor(Failed).within_ms(2_900, 3_800))
        .expect(
            Client
                .sees(Observation::Failed(EHOSTUNREACH))
                .within_ms(2_900, 3_800),
        )
        .expect(Client.never_sends(syn()))
        .lasts_ms(4_500)
}

/// A neighbour entry from before: SYNs into the void until the entry is doubted.
fn with_entry(pace: Pace) -> Scene {
    let scene = Scene::new("A neighbour entry from before: SYNs into the void")
        .act(0, Client, SceneAction::Connect(1))
        .act(500, Server, SceneAction::PowerOff)
        .act(1_000, Client, SceneAction::Connect(2))
        // The first connection only resolves the neighbour.
        .expect(Client.sends(syn().seq(0)).within_ms(0, 300))
        .expect(Server.sends(rst().ack(1)))
        .expect(
            Client
                .sees(Observation::Failed(ECONNREFUSED))
                .within_ms(0, 400),
        )
        .expect(Client.finds_neighbor(Reachable).within_ms(0, 400))
        // RFC 6298 doubles from 1 s; Linux from 6.5 on sends four a second first (tcp_syn_linear_timeouts).
        .expect(Client.sends(syn().seq(0)).on(2).within_ms(1_000, 1_300))
        .expect(Client.sends(syn().seq(0)).on(2).within_ms(1_900, 2_400))
        .expect(
            Client
                .sends(syn().seq(0))
                .on(2)
                .within_ms(3_900, 4_500)
                .played_by(Ours),
        )
        .expect(
            Client
                .sends(syn().seq(0))
                .on(2)
                .within_ms(2_900, 3_600)
                .played_by(Kernel),
        )
        // Linux goes from REACHABLE to DELAY at once when the entry was used a moment ago.
        .expect(Client.finds_neighbor(Stale).played_by(Ours))
        .expect(Client.finds_neighbor(Delay))
        .expect(Client.finds_neighbor(Probe))
        .expect(Client.asks_for_neighbor())
        .expect(Client.asks_for_neighbor())
        .expect(Client.asks_for_neighbor())
        .expect(Client.finds_neighbor(Failed));
    // Ours doubles from one SYN to the next: the one that meets the FAILED entry may be the one at 64 or at 128 s.
    let scene = scene.expect(
        Client
            .sees(Observation::Failed(EHOSTUNREACH))
            .on(2)
            .within_ms(35_000, 140_000)
            .played_by(Ours),
    );
    match pace {
        // The entry is doubted after 15 to 45 s. When only the last SYN (at 69 s) meets it, nobody asks by ARP any more, and
        // Linux gives up as if the host were behind a router.
        Pace::Real => scene
            .expect(
                Client
                    .sees_one_of(&[
                        Observation::Failed(EHOSTUNREACH),
                        Observation::Failed(ETIMEDOUT),
                    ])
                    .on(2)
                    .within_ms(35_000, 139_000)
                    .played_by(Kernel),
            )
            .lasts_ms(140_000),
        // REACHABLE for half to one and a half seconds, DELAY for one.
        Pace::Quick => scene
            .needs(Client, Kernel)
            .sysctl("neigh/%/base_reachable_time_ms", "1000")
            .sysctl("neigh/%/delay_first_probe_time", "1")
            .expect(
                Client
                    .sees(Observation::Failed(EHOSTUNREACH))
                    .on(2)
                    .within_ms(6_000, 25_000)
                    .played_by(Kernel),
            )
            .lasts_ms(30_000),
    }
}
