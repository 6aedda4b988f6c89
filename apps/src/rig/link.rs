//! [`LinkWatch`]: the port as the control thread sees it while workers turn: link up, link down, and its counters kept alive.
//!
//! It must never touch a queue.

use dpdk::Port;
use serde::Serialize;
use stack::nic::Caps;

use crate::console;

/// The capabilities that a port and its driver agreed on. Field names are stable (docs/guide/serve.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Offloads {
    rx_ipv4_checksum: bool,
    rx_tcp_checksum: bool,
    tx_ipv4_checksum: bool,
    tx_tcp_checksum: bool,
    tx_multi_seg: bool,
    /// The NIC cuts large TCP segments.
    tso: bool,
    rx_scatter: bool,
    /// The NIC puts received TCP segments together, or its link brings them uncut.
    lro: bool,
    vlan_strip: bool,
    vlan_insert: bool,
    /// Received packets are spread over the queues by a hash that can be computed.
    rss: bool,
}

impl From<&Caps> for Offloads {
    fn from(caps: &Caps) -> Self {
        Self {
            rx_ipv4_checksum: caps.rx_ipv4_checksum,
            rx_tcp_checksum: caps.rx_tcp_checksum,
            tx_ipv4_checksum: caps.tx_ipv4_checksum,
            tx_tcp_checksum: caps.tx_tcp_checksum,
            tx_multi_seg: caps.tx_multi_seg,
            tso: caps.tso_buffers > 0,
            rx_scatter: caps.rx_scatter,
            lro: caps.lro,
            vlan_strip: caps.vlan_strip,
            vlan_insert: caps.vlan_insert,
            rss: caps.steering.is_some(),
        }
    }
}

impl std::fmt::Display for Offloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = [
            (self.rx_ipv4_checksum, "rx IPv4 checksum"),
            (self.rx_tcp_checksum, "rx TCP checksum"),
            (self.tx_ipv4_checksum, "tx IPv4 checksum"),
            (self.tx_tcp_checksum, "tx TCP checksum"),
            (self.tx_multi_seg, "tx in several buffers"),
            (self.tso, "TSO"),
            (self.rx_scatter, "rx into several buffers"),
            (self.lro, "LRO"),
            (self.vlan_strip, "VLAN strip"),
            (self.vlan_insert, "VLAN insert"),
            (self.rss, "RSS"),
        ];
        let on = names.iter().filter(|(on, _)| *on).map(|(_, name)| *name);
        match on.collect::<Vec<_>>()[..] {
            [] => f.write_str("none"),
            ref on => f.write_str(&on.join(", ")),
        }
    }
}

/// Changes of the link. It is checked once a second: a shorter outage may go unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct LinkReport {
    /// Its state at the end.
    pub(crate) up: bool,
    /// Mbit/s, where the driver knows it and the link is up.
    pub(crate) speed_mbps: Option<u32>,
    /// How often it went down.
    pub(crate) downs: u64,
}

/// The link of a port under watch.
#[derive(Debug)]
pub(crate) struct LinkWatch<'a> {
    port: &'a Port,
    downs: u64,
    /// As it was looked at last: its speed while it is up.
    last_mbps: Option<u32>,
}

impl<'a> LinkWatch<'a> {
    /// From now on.
    pub(crate) fn new(port: &'a Port) -> Self {
        Self {
            port,
            downs: 0,
            last_mbps: port.link_mbps(),
        }
    }

    /// The state that was seen last, in words.
    pub(crate) fn text(&self) -> String {
        text(self.last_mbps)
    }

    /// Looks again, and logs what changed.
    pub(crate) fn look(&mut self) {
        // Counters of some devices stop at their end when they are not read for an hour.
        let _ = self.port.stats();
        if let Some(change) = self.take(self.port.link_mbps()) {
            console::log(change);
        }
    }

    /// Changes of the link until now.
    pub(crate) fn report(&self) -> LinkReport {
        LinkReport {
            up: self.last_mbps.is_some(),
            speed_mbps: self.last_mbps.filter(|&mbps| mbps > 0),
            downs: self.downs,
        }
    }

    fn take(&mut self, now_mbps: Option<u32>) -> Option<String> {
        let before_mbps = std::mem::replace(&mut self.last_mbps, now_mbps);
        if before_mbps.is_some() && now_mbps.is_none() {
            self.downs += 1;
        }
        (before_mbps != now_mbps).then(|| text(now_mbps))
    }
}

fn text(mbps: Option<u32>) -> String {
    match mbps {
        None => "link down".to_owned(),
        Some(0) => "link up".to_owned(),
        Some(mbps) => format!("link up at {mbps} Mbit/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offloads_are_named_or_there_are_none() {
        let mut offloads = Offloads {
            rx_ipv4_checksum: false,
            rx_tcp_checksum: false,
            tx_ipv4_checksum: false,
            tx_tcp_checksum: false,
            tx_multi_seg: false,
            tso: false,
            rx_scatter: false,
            lro: false,
            vlan_strip: false,
            vlan_insert: false,
            rss: false,
        };
        assert_eq!(offloads.to_string(), "none");
        offloads.rx_tcp_checksum = true;
        offloads.tx_multi_seg = true;
        assert_eq!(
            offloads.to_string(),
            "rx TCP checksum, tx in several buffers"
        );
    }

    #[test]
    fn the_state_of_a_link_has_words() {
        assert_eq!(text(None), "link down");
        assert_eq!(text(Some(0)), "link up");
        assert_eq!(text(Some(10_000)), "link up at 10000 Mbit/s");
    }
}
