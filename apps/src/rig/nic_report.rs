//! [`NicReport`]: what the port itself knows at the end, and whether that agrees with what was given to it.
//!
//! It must never take a driver's silence for a frame that was sent.

use diagnose::counted;
use std::fmt;

use dpdk::{Port, PortStats, TxCheck};
use serde::Serialize;

use super::link::{LinkReport, Offloads};

/// The port at the end. Field names are stable (docs/guide/serve.md).
#[derive(Debug, Serialize)]
pub(crate) struct NicReport {
    driver: String,
    offloads: Offloads,
    /// The offloads of the driver, by DPDK's names.
    offered_rx: Vec<String>,
    offered_tx: Vec<String>,
    link: LinkReport,
    /// The driver's own counters; it leaves at 0 what it can't count.
    rx_frames: u64,
    tx_frames: u64,
    rx_missed: u64,
    rx_errors: u64,
    tx_errors: u64,
    rx_no_mbuf: u64,
    /// Frames that the driver took from us; `null` when a worker did not end well.
    tx_taken: Option<u64>,
    /// `equal`: it counts as many; else why that isn't known, or what is wrong.
    tx_check: String,
    /// The faults, in words.
    #[serde(skip)]
    fault: Option<String>,
}

impl NicReport {
    /// The report of `port`. No worker sends any more.
    pub(crate) fn new(port: &Port, tx_taken: Option<u64>, link: LinkReport) -> Self {
        let check = tx_taken.map_or_else(
            || TxCheck::NotCounted("a worker did not end well".to_owned()),
            |taken| port.check_tx(taken),
        );
        let offloads = Offloads::from(port.caps());
        let (offered_rx, offered_tx) = port.offered();
        let stats = port.stats();
        Self {
            offered_rx,
            offered_tx,
            ..Self::of(port.driver(), (offloads, link), stats, tx_taken, &check)
        }
    }

    fn of(
        driver: &str,
        (offloads, link): (Offloads, LinkReport),
        stats: PortStats,
        tx_taken: Option<u64>,
        check: &TxCheck,
    ) -> Self {
        let fault = match check {
            TxCheck::Lost(lost) => Some(format!(
                "{driver} took {} and {lost} of them never left ({})",
                counted(tx_taken.unwrap_or_default(), "frame"),
                if link.up {
                    "its queue sends nothing, or its counters are wrong: try --queues 1"
                } else {
                    "the link is down"
                }
            )),
            TxCheck::Surplus(surplus) => Some(format!(
                "{driver} counts {} more than the {} that it got: that is a bug, please report it",
                counted(surplus, "frame"),
                tx_taken.unwrap_or_default()
            )),
            _ => None,
        };
        Self {
            driver: driver.to_owned(),
            offered_rx: Vec::new(),
            offered_tx: Vec::new(),
            offloads,
            link,
            rx_frames: stats.rx_frames,
            tx_frames: stats.tx_frames,
            rx_missed: stats.rx_missed,
            rx_errors: stats.rx_errors,
            tx_errors: stats.tx_errors,
            rx_no_mbuf: stats.rx_no_mbuf,
            tx_taken,
            tx_check: match check {
                TxCheck::Equal => "equal".to_owned(),
                TxCheck::NotCounted(why) => format!("not compared: {why}"),
                _ => fault.clone().unwrap_or_default(),
            },
            fault,
        }
    }

    /// Whether the link was up at the end.
    pub(crate) fn link_is_up(&self) -> bool {
        self.link.up
    }

    /// Its faults, in words.
    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.clone()
    }
}

impl fmt::Display for NicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, offloads: {}", self.driver, self.offloads)?;
        match (self.link.up, self.link.downs) {
            (true, 0) => {}
            (true, downs) => write!(f, "; link went down {}", counted(downs, "time"))?,
            (false, downs) => write!(f, "; link is down (went down {})", counted(downs, "time"))?,
        }
        if self.rx_missed + self.rx_errors + self.tx_errors + self.rx_no_mbuf > 0 {
            write!(
                f,
                "; missed {}, rx errors {}, tx errors {}, no buffer {}",
                self.rx_missed, self.rx_errors, self.tx_errors, self.rx_no_mbuf
            )?;
        }
        if self.tx_check != "equal" {
            write!(f, "; sent frames {}", self.tx_check)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(taken: u64, up: bool, check: &TxCheck) -> NicReport {
        let caps = stack::nic::Caps {
            rx_ipv4_checksum: true,
            rx_tcp_checksum: true,
            ..stack::nic::Caps::without_offloads(String::new(), 1500)
        };
        let link = LinkReport {
            up,
            speed_mbps: None,
            downs: 0,
        };
        let mut stats = PortStats::default();
        stats.tx_frames = 7;
        let made = (Offloads::from(&caps), link);
        NicReport::of("net_e1000_em", made, stats, Some(taken), check)
    }

    #[test]
    fn frames_that_never_left_are_a_fault() {
        let lost = report(10, true, &TxCheck::Lost(3));
        let text = lost.fault().expect("a fault");
        assert!(
            text.contains("took 10 frames and 3 of them never left"),
            "{text}"
        );
        assert!(text.contains("--queues 1"), "{text}");
        assert!(lost.to_string().contains(&text), "{lost}");
        let down = report(10, false, &TxCheck::Lost(3))
            .fault()
            .expect("a fault");
        assert!(down.contains("the link is down"), "{down}");
        let surplus = report(5, true, &TxCheck::Surplus(2))
            .fault()
            .expect("a fault");
        assert!(surplus.contains("2 frames more than the 5"), "{surplus}");
    }

    #[test]
    fn equal_counts_and_unknown_ones_are_none() {
        let equal = report(7, true, &TxCheck::Equal);
        assert_eq!(equal.fault(), None);
        assert_eq!(
            equal.to_string(),
            "net_e1000_em, offloads: rx IPv4 checksum, rx TCP checksum"
        );
        let unknown = report(
            7,
            true,
            &TxCheck::NotCounted("it counts nothing".to_owned()),
        );
        assert_eq!(unknown.fault(), None);
        assert!(
            unknown
                .to_string()
                .ends_with("; sent frames not compared: it counts nothing")
        );
    }
}
