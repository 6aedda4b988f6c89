//! The counts of each place of `--listen`.
//!
//! It must never leave out a place on which nothing happened: that is a result too.

use diagnose::counted;
use std::fmt;

use serde::Serialize;

use crate::serve::listen::Listen;
use crate::serve::services::{Closed, ProxyReport, SiteStats};
use crate::serve::worker::Progress;

/// One place, over all workers.
#[derive(Debug, Serialize)]
pub(super) struct ListenerReport {
    /// As on the command line, without options.
    listen: String,
    service: &'static str,
    accepted: u64,
    /// Segments of handshakes that got no further because the backlog or the accept queue was full.
    refused: u64,
    /// Connections that were still open when the workers stopped.
    open: u64,
    bytes_in: u64,
    bytes_out: u64,
    requests: u64,
    /// Requests that were not as they should be.
    refused_requests: u64,
    /// Connections that were ended because their peer was silent.
    idle_closed: u64,
    /// Headers of the PROXY protocol, where connections begin with one.
    proxy: Option<ProxyReport>,
    /// How many connections ended for each reason.
    closed: Closed,
}

/// All places, in the order of the command line.
pub(super) fn reports(listens: &[Listen], workers: &[Progress]) -> Vec<ListenerReport> {
    let report = |(index, listen): (usize, &Listen)| {
        let mut sum = SiteStats::new();
        for site in workers.iter().filter_map(|worker| worker.sites.get(index)) {
            sum.merge(site);
        }
        ListenerReport {
            listen: listen.to_string(),
            service: listen.service.name(),
            accepted: sum.accepted,
            refused: workers
                .iter()
                .filter_map(|worker| worker.refused.get(index))
                .sum(),
            open: sum.open,
            bytes_in: sum.bytes_in,
            bytes_out: sum.bytes_out,
            requests: sum.requests,
            refused_requests: sum.refused_requests,
            idle_closed: sum.idle_closed,
            proxy: listen.proxy.map(|_| sum.proxy.report()),
            closed: sum.closed_by_reason(),
        }
    };
    listens.iter().enumerate().map(report).collect()
}

impl fmt::Display for ListenerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<9} {} accepted, {} in, {} out",
            self.listen,
            self.accepted,
            counted(self.bytes_in, "byte"),
            counted(self.bytes_out, "byte")
        )?;
        if self.refused > 0 {
            write!(f, ", {} refused for want of room", self.refused)?;
        }
        if self.requests > 0 {
            write!(f, ", {}", counted(self.requests, "request"))?;
        }
        if self.refused_requests > 0 {
            write!(f, " ({} refused)", self.refused_requests)?;
        }
        if self.idle_closed > 0 {
            write!(f, ", {} idle for too long", self.idle_closed)?;
        }
        if let Some(proxy) = &self.proxy {
            write!(f, "; PROXY headers: {} v1, {} v2", proxy.v1, proxy.v2)?;
            write!(
                f,
                " ({} local, {} unknown, {} with CRC32C)",
                proxy.local, proxy.unknown, proxy.crc32c_verified
            )?;
            for (reason, n) in &proxy.aborted {
                write!(f, ", {n} aborted: {reason}")?;
            }
        }
        let mut separator = "; closed: ";
        for (reason, n) in &self.closed.0 {
            write!(f, "{separator}{n} {reason}")?;
            separator = ", ";
        }
        Ok(())
    }
}
