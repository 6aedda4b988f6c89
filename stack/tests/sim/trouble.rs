//! [`Trouble`]: what happens to a host of a drawn world for a while.
//!
//! It must never be what an orderly plan can't survive, but for a reboot, of which the stage knows that it takes a side
//! of plans away.

use std::ops::Range;
use std::time::Duration;

use stack::rng::Random;
use stack::sim::host::HostId;
use stack::sim::world::World;

use crate::actor::Actor;

/// The kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// The cable is pulled, and plugged in again.
    Cable,
    /// Pools (received, control, data) give no buffer.
    Drought([bool; 3]),
    /// The host loses its power, and all that it knew.
    Reboot,
}

/// A while in which something is wrong with a host.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) host: HostId,
    /// Since the start.
    pub(crate) time: Range<Duration>,
    pub(crate) what: What,
}

impl Trouble {
    /// Cables and droughts for some hosts of a world, none before `from_ms`, and a reboot for one of few worlds. None lasts
    /// as long as a keepalive would bear.
    pub(crate) fn draw(random: &mut Random, hosts: u16, from_ms: u64, reboots: bool) -> Vec<Self> {
        let mut troubles = Vec::new();
        let mut add = |host, from_ms, lasts_ms, what| {
            let from = Duration::from_millis(from_ms);
            let time = from..from + Duration::from_millis(lasts_ms);
            let host = HostId(host);
            troubles.push(Self { host, time, what });
        };
        for host in 0..hosts {
            let from = random.within(from_ms..=5_000);
            if random.hits(100_000) {
                add(
                    host,
                    from,
                    random.one_of(&[100, 3_000, 20_000]),
                    What::Cable,
                );
            }
            let from = random.within(from_ms..=3_000);
            if random.hits(100_000) {
                let mut pools = [(); 3].map(|()| random.hits(500_000));
                pools[random.below(3) as usize] = true;
                add(
                    host,
                    from,
                    random.one_of(&[50, 500, 5_000]),
                    What::Drought(pools),
                );
            }
        }
        if reboots && random.hits(120_000) {
            let (host, from) = (random.below(hosts.into()) as u16, random.below(4_000));
            add(host, from, random.one_of(&[0, 1_000, 20_000]), What::Reboot);
        }
        troubles
    }

    /// Makes it so, or not, for what is no reboot.
    pub(crate) fn apply(&self, world: &mut World<Actor>, is_on: bool) {
        match self.what {
            What::Cable => world.set_cable(self.host, !is_on),
            What::Drought(which) => {
                let pools = world.pools(self.host);
                for (pool, is_dry) in [&pools.rx, &pools.control, &pools.data]
                    .into_iter()
                    .zip(which)
                {
                    pool.withhold(if is_on && is_dry { usize::MAX } else { 0 });
                }
            }
            What::Reboot => {}
        }
    }
}
