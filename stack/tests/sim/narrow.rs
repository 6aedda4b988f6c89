//! A quarter of the seeds: paths that carry less than the links at both ends.
//!
//! It must never draw from the seed's own generator: these choices came later, and what a seed stands for besides stays.
//! It must never draw less than every path of a family carries.

use stack::rng::Random;
use stack::sim::host::HostSpec;
use stack::sim::link::LinkSpec;

use crate::plan::Plan;

/// MTUs of paths that carry IPv6 too (RFC 8200 §5).
const OF_ANY: [u16; 5] = [1_280, 1_300, 1_350, 1_400, 1_492];
/// MTUs of paths that only IPv4 takes, down to what every host receives (RFC 791 §3.2).
const OF_V4: [u16; 5] = [576, 600, 1_000, 1_280, 1_400];

/// Makes some wires of some hosts smaller. Some routers say so, others swallow in silence what is too large: plans over those
/// are lossy.
pub(crate) fn draw_paths(seed: u64, hosts: &mut [HostSpec], plans: &mut [Plan]) {
    let mut random = Random::new(seed ^ 0x1191_8201);
    if !random.hits(250_000) {
        return;
    }
    let has_v6 = plans.iter().any(|plan| plan.server.is_ipv6());
    let mtus = if has_v6 { OF_ANY } else { OF_V4 };
    let answers = random.one_of(&[Some(true), Some(false), None]);
    for (number, host) in hosts.iter_mut().enumerate() {
        let mut narrow = |link: &mut LinkSpec| {
            if random.hits(400_000) {
                link.mtu = random.one_of(&mtus);
                link.answers_too_big = answers.unwrap_or_else(|| random.hits(500_000));
            }
            link.mtu != 0 && !link.answers_too_big
        };
        let is_silent = [narrow(&mut host.up), narrow(&mut host.down)].contains(&true);
        let is_over = |plan: &&mut Plan| {
            [plan.client_at.0, plan.server_host].contains(&(number as u16)) && is_silent
        };
        plans
            .iter_mut()
            .filter(is_over)
            .for_each(|plan| plan.is_lossy = true);
    }
}
