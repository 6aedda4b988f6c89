//! Where connections come from, and whether there are tuples enough: each is taken from a connection's beginning to the end of its
//! TIME-WAIT, wherever that is kept.
//!
//! It must never let a run begin that needs more tuples than there are.

use diagnose::counted;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use stack::local::addresses::LocalPrefix;
use workload::load::{CloseMode, LocalTuples, Work};
use workload::pools::SourcePool;

use super::RunPlan;
use crate::failure::Failure;
use crate::load::args::LoadArgs;

/// Ports of an address where the stack chooses them.
const PORTS: u64 = 65_536 - 1024;

impl RunPlan {
    /// The pool of `--sources` and of the flags that belong to it; `None` when the stack chooses.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a pool that is empty, mixed, or has addresses of others.
    pub(super) fn tuples(
        &self,
        args: &LoadArgs,
        targets: &[SocketAddr],
    ) -> Result<Option<LocalTuples>, Failure> {
        if args.sources.is_empty() && !args.pool.is_given() {
            return Ok(None);
        }
        let is_ipv6 = targets.first().is_some_and(SocketAddr::is_ipv6);
        if targets.iter().any(|target| target.is_ipv6() != is_ipv6) {
            return Err(Failure::Usage(
                "--sources: the targets are of IPv4 and IPv6: start a run for each family".into(),
            ));
        }
        let own = self.interfaces.iter().map(|interface| interface.address);
        let own = own.filter(|address| address.is_ipv6() == is_ipv6);
        let named: Vec<(IpAddr, u8)> = if args.sources.is_empty() {
            own.map(|address| (address, if is_ipv6 { 128 } else { 32 }))
                .collect()
        } else {
            let sources = args.sources.iter();
            sources.map(|p| (p.first(), p.prefix_len())).collect()
        };
        if named
            .iter()
            .any(|(address, _)| address.is_ipv6() != is_ipv6)
        {
            return Err(Failure::Usage(format!(
                "--sources: the targets are of {}: give sources of the same family",
                if is_ipv6 { "IPv6" } else { "IPv4" }
            )));
        }
        let wrong =
            |error: workload::pools::PoolError| Failure::Usage(format!("--sources: {error}"));
        let pool = SourcePool::new(&named, args.pool.ports()).map_err(wrong)?;
        let others = targets.iter().map(SocketAddr::ip);
        let others = others.chain(args.link.gateway.iter().copied());
        if let Some(other) = others
            .chain(args.link.tap_up.iter().map(|i| i.address))
            .find(|&other| pool.contains(other))
        {
            return Err(Failure::Usage(format!(
                "--sources: a prefix contains {other}, which is a target, a gateway or the kernel's: name prefixes without it"
            )));
        }
        let shard = args.pool.shard();
        let tuples = LocalTuples::new(pool, args.pool.order(), shard);
        tuples.map(Some).ok_or_else(|| {
            Failure::Usage(format!(
                "--shard {shard}: there are fewer tuples than shards: add addresses or ports"
            ))
        })
    }

    /// Whether there are tuples enough for what the run keeps and for what ends, at a rate of `peak` operations a second at most.
    ///
    /// # Errors
    /// Both numbers, and what would help.
    pub(in crate::load) fn check_tuples(
        &self,
        args: &LoadArgs,
        peak: Option<u64>,
    ) -> Result<(), String> {
        let TupleStock {
            destinations,
            tuples: have,
            addresses,
        } = self.stock;
        let (needed, why) = match (self.work, self.ended_per_s(args, peak)) {
            (Work::Connect(_) | Work::Request, Some(peak)) => {
                let kept = match self.work {
                    Work::Connect(CloseMode::Peer) => args.peer_time_wait,
                    Work::Connect(CloseMode::Rst) => Duration::ZERO,
                    _ => args.time_wait,
                };
                // No connection of the run lies longer behind than its beginning. Trials follow each other; before one of a
                // search there were as many connections as in it, since rates double.
                let trials = if args.profile.is_some() || args.find {
                    2
                } else {
                    1
                };
                let kept = kept.max(args.dut_hold).min(args.lasts() * trials);
                let open = u64::from(args.connections.unwrap_or(0));
                let ended = (peak as f64 * kept.as_secs_f64()).ceil() as u64;
                let why = format!(
                    "{peak}/s × {:.0} s after the end of each",
                    kept.as_secs_f64()
                );
                (ended + open, why)
            }
            (Work::Request | Work::Hold | Work::Stream(_), _) => {
                let open = self.connections.into();
                (open, "one for each connection".to_owned())
            }
            (Work::Connect(_), None) => return Ok(()),
        };
        // Where connections are opened as they are needed, there may be fewer than the most.
        let is_firm = args.connections.is_some() || self.work != Work::Request;
        if needed <= have || !is_firm {
            return Ok(());
        }
        let wanted = needed.div_ceil((have / addresses).max(1));
        Err(format!(
            "this needs {needed} tuples of source address and port ({why}), and you have {have} towards {}: \
             add addresses (--sources with {wanted} of them) or ports (--source-ports){}",
            counted(destinations, "target"),
            match self.work {
                Work::Connect(_) => ", or give --close rst, a lower --rate or a shorter --duration",
                _ => "",
            }
        ))
    }
}

/// The tuples of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TupleStock {
    /// Different targets.
    destinations: u64,
    /// Towards all of them.
    tuples: u64,
    /// Of ours, at least 1.
    addresses: u64,
}

impl TupleStock {
    /// The number of `tuples`, or of ports where the stack chooses them, towards `targets`.
    pub(super) fn new(targets: &[SocketAddr], tuples: Option<&LocalTuples>) -> Self {
        let mut destinations = targets.to_vec();
        destinations.sort_unstable();
        destinations.dedup();
        let destinations = destinations.len() as u64;
        Self {
            destinations,
            tuples: destinations * tuples.map_or(PORTS, LocalTuples::tuples),
            addresses: tuples.map_or(1, LocalTuples::addresses).max(1),
        }
    }
}

/// A prefix of the pool in parts that leave out the addresses of --ip: they are ours anyway.
pub(super) fn without(prefix: LocalPrefix, own: &[IpAddr]) -> Vec<LocalPrefix> {
    if !own.iter().any(|&address| prefix.contains(address)) {
        return vec![prefix];
    }
    let (first, len) = (prefix.first(), prefix.prefix_len() + 1);
    let second = match first {
        IpAddr::V4(first) if len <= 32 => {
            Ipv4Addr::from_bits(first.to_bits() | 1 << (32 - len)).into()
        }
        IpAddr::V6(first) if len <= 128 => {
            Ipv6Addr::from_bits(first.to_bits() | 1 << (128 - len)).into()
        }
        // It is one of --ip.
        _ => return Vec::new(),
    };
    let halves = [first, second].map(|first| LocalPrefix::new(first, len));
    let halves = halves.into_iter().flatten();
    halves.flat_map(|half| without(half, own)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_addresses_are_left_out_of_a_pools_prefixes() {
        let prefix =
            |text: &str, len| LocalPrefix::new(text.parse().expect(text), len).expect(text);
        let own = ["198.18.0.2", "2001:db8::1"].map(|text| text.parse().expect(text));
        let written = |prefix| -> Vec<String> {
            without(prefix, &own)
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(
            written(prefix("198.18.0.0", 29)),
            ["198.18.0.0/31", "198.18.0.3", "198.18.0.4/30"]
        );
        assert_eq!(written(prefix("198.18.0.2", 32)), [] as [&str; 0]);
        assert_eq!(written(prefix("198.18.0.8", 29)), ["198.18.0.8/29"]);
        assert_eq!(written(prefix("2001:db8::", 127)), ["2001:db8::"]);
    }
}
