//! Worlds of want: hosts that keep few neighbours, and connections that give way to others which wait for places.
//!
//! It must never draw from the seed's own generator: these choices came later, and what a seed stands
//! for besides stays.

use std::time::Duration;

use stack::conn::Records;
use stack::rng::Random;
use stack::sim::host::HostSpec;

use crate::plan::{Content, Plan};

/// The least bytes that the client of a plan sends whose server keeps its window closed.
const HELD_LEN: u64 = 60_000;
/// How long it keeps it closed: longer than the longest time for which anybody may stand still.
const HELD_TIME: Duration = Duration::from_secs(60);

/// Draws both for some seeds. Says whether connections give way in this one.
pub(crate) fn draw(seed: u64, hosts: &mut [HostSpec], plans: &mut [Plan]) -> bool {
    draw_neighbors(seed, hosts, plans);
    draw_stalls(seed, hosts, plans)
}

/// Some hosts keep fewer neighbours than they may have peers, and take more half-open connections than that. What finds no
/// neighbour is lost.
fn draw_neighbors(seed: u64, hosts: &mut [HostSpec], plans: &mut [Plan]) {
    let mut random = Random::new(seed ^ 0x6583_4861);
    if !random.hits(150_000) {
        return;
    }
    for host in hosts {
        let limits = &mut host.config.limits;
        limits.neighbors = random.one_of(&[2, 3, 4, 6]);
        limits.records.embryos = Records { v4: 64, v6: 64 };
    }
    plans.iter_mut().for_each(|plan| plan.is_lossy = true);
}

/// Servers that keep their windows closed while others wait for places, on hosts with few of them and a limit for standing
/// still. A connection that stands still may be reset (docs/decisions/0022), one that doesn't never. Says whether the seed is one of those.
fn draw_stalls(seed: u64, hosts: &mut [HostSpec], plans: &mut [Plan]) -> bool {
    let mut random = Random::new(seed ^ 0x6429_6429);
    if !random.hits(150_000) {
        return false;
    }
    for host in hosts {
        let limits = &mut host.config.limits;
        limits.stall_limit = Duration::from_secs(random.one_of(&[1, 3]));
        limits.queue_items = limits.queue_items.min(random.one_of(&[32, 64, 128]));
        limits.send_queue_items = 64;
    }
    let holders = random.within(1..=4) as usize;
    for plan in plans.iter_mut().take(holders) {
        let [client, server] = &mut plan.sides;
        client.len = client.len.max(HELD_LEN);
        if client.content == Content::Chargen {
            // One place holds all of it.
            client.content = Content::Static;
        }
        if client.content == Content::Echo {
            client.content = Content::Bytes(0);
        }
        client.chunk_len = 1_000;
        if server.content == Content::Echo {
            server.content = Content::Static;
        }
        server.pause = Some((0, HELD_TIME));
    }
    true
}

/// Whether a plan has no reason of its own to stand still: its bytes are accepted and read as they come, on a path that loses
/// none.
pub(crate) fn never_stands_still(plan: &Plan) -> bool {
    let reads_on = plan.sides.iter().all(|side| {
        side.pause.is_none() && side.read_len == u32::MAX && side.content != Content::Echo
    });
    reads_on && !plan.is_lossy && plan.accepts_after.is_zero()
}
