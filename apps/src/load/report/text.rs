//! The result as text: what users of wrk2 expect, and what they miss there.
//!
//! It must never leave out a failure.

use diagnose::counted;
use std::fmt;

use stack::counters::Counter;
use stack::tcp::verdict::Outcome;

use super::{LoadReport, times};
use crate::load::limit::LoadVerdict;
use crate::load::watch::LoadEnd;
use crate::report::reasons;

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.ended_by {
            LoadEnd::Duration => "",
            LoadEnd::Count => ", ended by --count",
            LoadEnd::Signal => ", ended by a signal",
            LoadEnd::Fault => ", ended by a fault",
        };
        let plan = &self.plan;
        let pace = match (&self.hold, &plan.rate_steps, plan.rate) {
            (Some(_), _, Some(rate)) => format!("hold, {rate} connections opened/s"),
            (Some(_), ..) => "hold".to_owned(),
            _ if self.stream.is_some() => "bulk transfer".to_owned(),
            (_, Some(rate), _) => format!("{rate} {} operations/s", plan.workload),
            _ => format!("{} operations in a closed loop", plan.workload),
        };
        writeln!(
            f,
            "load of {} over {}",
            plan.targets.join(", "),
            self.envelope.link()
        )?;
        writeln!(
            f,
            "  {pace}, {}, {}, {:.1} s{why}",
            connections(plan.connections, plan.rate_steps.is_some()),
            counted(plan.workers, "worker"),
            self.duration_s
        )?;
        times::write(f, &self.times)?;
        if let Some(hold) = &self.hold {
            write!(f, "{hold}")?;
        }
        if let Some(stream) = &self.stream {
            write!(f, "{stream}")?;
        } else {
            self.write_operations(f)?;
        }
        self.write_connections(f)?;
        if let Some(sources) = &self.sources {
            write!(f, "{sources}")?;
        }
        self.write_limit(f)?;
        if let Some(found) = &self.find {
            write!(f, "{found}")?;
        }
        if let Some(profile) = &self.profile {
            write!(f, "{profile}")?;
        }
        if let Some(nic) = &self.nic {
            writeln!(f, "  nic          {nic}")?;
        }
        if let Some(rss) = &self.rss {
            writeln!(f, "  rss          {rss}")?;
        }
        if let Some(pcap) = &self.pcap_failures {
            write!(f, "{pcap}")?;
        }
        if let Some(arms) = &self.arms {
            write!(f, "{arms}")?;
        }
        if let Some(fault) = &self.fault_injection {
            writeln!(f, "  {fault}")?;
        }
        write!(f, "{}", self.envelope)
    }
}

/// Their number, in words: at a rate there are as many as are needed, otherwise exactly so many.
pub(in crate::load) fn connections(most: u32, is_at_rate: bool) -> String {
    let most = counted(most, "connection");
    if is_at_rate {
        format!("up to {most}")
    } else {
        most
    }
}

impl LoadReport {
    fn write_operations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operations = &self.operations;
        writeln!(
            f,
            "  operations   {} begun, {} completed ({:.1}/s), {} failed, {} dropped, {} never begun, {} unfinished",
            operations.begun,
            operations.completed,
            operations.completed_per_s,
            operations.failed,
            operations.dropped,
            operations.never_begun,
            operations.unfinished
        )?;
        for (name, n) in &operations.failed_by {
            writeln!(f, "    !! {n} × {name}")?;
        }
        if !self.statuses.is_empty() {
            writeln!(f, "  responses    {}", reasons(&self.statuses))?;
        }
        for backend in &self.backends {
            write!(f, "{backend}")?;
        }
        let seconds = self.duration_s.max(1e-9);
        writeln!(
            f,
            "  transfer     {:.2} MB in ({:.2} MB/s), {:.2} MB out",
            self.bytes_in as f64 / 1e6,
            self.bytes_in as f64 / 1e6 / seconds,
            self.bytes_out as f64 / 1e6
        )
    }

    fn write_connections(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conns = &self.connections;
        writeln!(
            f,
            "  connections  {} established, {} not; {} closed, {} reset by us, {} reset by the peer, {} timed out, {} open",
            conns.established,
            conns.not_established,
            conns.closed,
            conns.reset_by_us,
            conns.reset_by_peer,
            conns.timed_out,
            conns.open
        )?;
        writeln!(f, "  account      {}", self.account)?;
        if let Some(&moved) = self.counters.get(Counter::NeighborMoved.name()) {
            writeln!(
                f,
                "  neighbours   {} changed the link-layer address during the run: a failover, or two hosts with one address",
                counted(moved, "neighbour")
            )?;
        }
        if let Some(&segments) = self.counters.get(Counter::ConnFromElsewhere.name()) {
            writeln!(
                f,
                "  neighbours   {} came from another link-layer address than the one that frames go to: direct server return, or two hosts with one address",
                counted(segments, "segment")
            )?;
        }
        if let Some(resets) = self.useless_resets() {
            writeln!(f, "  resets       {resets}")?;
        }
        if let Some(retransmitted) = self.tcp.get("retransmitted_segments") {
            writeln!(
                f,
                "  tcp          {} retransmitted",
                counted(retransmitted, "segment")
            )?;
        }
        Ok(())
    }

    /// Resets that reset nothing, where there are more than a peer sends that is done with a connection.
    fn useless_resets(&self) -> Option<String> {
        let tcp = |name| self.tcp.get(name).copied().unwrap_or(0);
        let unmatched = self.counters.get(Counter::RstUnmatched.name());
        let unmatched = unmatched.copied().unwrap_or(0);
        let wrong = tcp(Outcome::RstChallenged.name()) + tcp(Outcome::RstOutOfWindow.name());
        (wrong > 0 || unmatched > self.connections.asked_for).then(|| {
            format!(
                "!! {} reset nothing: {unmatched} met no connection, {wrong} had another number than was due (RFC 5961); the target \
                 sends the same ones again, or another host forges them",
                counted(unmatched + wrong, "RST")
            )
        })
    }

    fn write_limit(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.limit.verdict {
            LoadVerdict::Rate => "none, the rate was reached",
            LoadVerdict::Held => "none, all connections were held",
            LoadVerdict::Generator => "the generator",
            LoadVerdict::Link => "the link",
            LoadVerdict::Ports => "local ports",
            LoadVerdict::Target => "the target",
            LoadVerdict::Undetermined => "undetermined",
        };
        writeln!(f, "  limit        {verdict}: {}", self.limit.evidence)?;
        writeln!(f, "               {}", self.limit.change)
    }
}
