//! The faults that a [`World`] finds in the behaviour of its hosts.
//!
//! It must never change what happens.

use super::{Host, HostId, HostPower, InFlight, World};
use crate::sim::inspect::{checksums_are_right, inspect};
use crate::sim::link::Fate;
use crate::worker::app::App;

/// Violations kept; more than these say nothing new.
const VIOLATIONS_MAX: usize = 100;

impl<A: App> World<A> {
    /// The faults found so far, in words, at most 100.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(super) fn judge(&mut self, host: HostId, bytes: &[u8]) {
        let (mac, mtu) = (self.host(host).spec.mac, self.host(host).spec.nic.mtu);
        let is_played = |host: &Host<A>| matches!(host.running, HostPower::Station(_));
        let forged = self.hosts.iter().any(is_played);
        let ours = self.host(host).spec.config.vlans.as_ref();
        let ours: Option<Vec<u16>> = ours.map(|ours| ours.iter().map(|vlan| vlan.0).collect());
        let vlan = self.vlans.judge(bytes, ours.as_deref(), forged);
        if let Err(fault) = inspect(bytes, mac, mtu).and(vlan) {
            self.violate(host, &format!("sent a frame with {fault}: {bytes:02x?}"));
        }
        for broken in self.referee.on_sent(self.now, host, bytes) {
            self.violate(host, &broken.to_string());
        }
    }

    pub(super) fn violate(&mut self, host: HostId, what: &str) {
        if self.violations.len() < VIOLATIONS_MAX {
            let at_ns = self.now.as_ns();
            self.violations
                .push(format!("{at_ns} ns, host {}: {what}", host.0));
        }
    }

    /// Shows the referee a frame that reaches a host, unless a link has changed it so that its receiver drops it.
    pub(super) fn show(&mut self, to: HostId, frame: &InFlight) {
        let is_whole = frame.fate != Fate::Corrupted || checksums_are_right(&frame.bytes);
        if is_whole && matches!(self.host(to).running, HostPower::Stack(_)) {
            let (now, is_forged) = (self.now, frame.is_forged);
            self.referee.on_delivered(now, &frame.bytes, is_forged);
        }
    }
}
