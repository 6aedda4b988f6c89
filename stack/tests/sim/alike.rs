//! Worlds all of whose connections are of one kind, so that a worker's counters say what they were of.
//!
//! It must never draw from the seed's own generator: what a seed stands for besides stays.

use stack::sim::host::HostSpec;
use stack::wire::vlan::VlanId;

use crate::draw::{loses_frames, reorders_frames};
use crate::plan::Plan;

/// The host that opens all connections of such a world; the others accept them.
pub(crate) const CLIENT: u16 = 0;

/// The kind of all connections of a world.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) is_v6: bool,
    pub(crate) is_tagged: bool,
}

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Self; 4] = [
        Self::new(false, false),
        Self::new(false, true),
        Self::new(true, false),
        Self::new(true, true),
    ];

    const fn new(is_v6: bool, is_tagged: bool) -> Self {
        Self { is_v6, is_tagged }
    }

    /// Makes all plans this kind, and [`CLIENT`] the client of each.
    pub(crate) fn arrange(self, seed: u64, hosts: &mut [HostSpec], plans: &mut [Plan]) {
        let vlan = match self.is_tagged {
            true => VlanId((1 + seed % 4_094) as u16),
            false => VlanId::UNTAGGED,
        };
        for (number, host) in hosts.iter_mut().enumerate() {
            // Some hosts name it, others are in all.
            host.config.vlans = (self.is_tagged && number % 2 == 0).then(|| vec![vlan]);
        }
        for (n, plan) in (0u16..).zip(plans) {
            if plan.server_host == CLIENT {
                plan.server_host = plan.client_at.0;
            }
            plan.client_at = (CLIENT, n % hosts[usize::from(CLIENT)].workers);
            plan.client_port = None;
            plan.client_address = self.address(CLIENT);
            plan.server.set_ip(self.address(plan.server_host));
            plan.vlan = vlan;
            let ends = [CLIENT, plan.server_host].map(|host| &hosts[usize::from(host)]);
            plan.is_lossy = ends.into_iter().any(loses_frames);
            plan.is_reordered = ends.into_iter().any(reorders_frames);
        }
    }

    fn address(self, host: u16) -> std::net::IpAddr {
        let number = host as u8 + 1;
        if self.is_v6 {
            HostSpec::v6(number)
        } else {
            HostSpec::v4(number)
        }
    }
}
