//! What the kernel itself says after a scene: the counters that moved, and TCP_INFO of what is still open.
//!
//! It must never judge: the lines stand beside the ladder.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::kernel;
use crate::lab::scenario::End;

/// Counters of `nstat` that teach something about these scenes.
const COUNTERS: [&str; 20] = [
    "TcpActiveOpens",
    "TcpAttemptFails",
    "TcpEstabResets",
    "TcpOutRsts",
    "TcpPassiveOpens",
    "TcpRetransSegs",
    "TcpExtEmbryonicRsts",
    "TcpExtListenDrops",
    "TcpExtListenOverflows",
    "TcpExtTCPAbortOnClose",
    "TcpExtTCPAbortOnData",
    "TcpExtTCPAbortOnLinger",
    "TcpExtTCPAbortOnTimeout",
    "TcpExtTCPChallengeACK",
    "TcpExtTCPKeepAlive",
    "TcpExtTCPReqQFullDrop",
    "TcpExtTCPSynRetrans",
    "TcpExtTCPToZeroWindowAdv",
    "TcpExtTCPWinProbe",
    "TcpExtTW",
];

/// Values of counters at some time, in this network namespace.
pub(super) struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Now. A kernel without a table says nothing.
    pub(super) fn read() -> Self {
        let table = |name: &str| {
            let path = format!("/proc/thread-self/net/{name}");
            std::fs::read_to_string(path).unwrap_or_default()
        };
        let mut all = parsed(&table("snmp"));
        all.extend(parsed(&table("netstat")));
        Self(all)
    }

    /// `TcpExtTCPChallengeACK +1` for each counter of the list that moved since.
    pub(super) fn since(&self) -> Vec<String> {
        moved(&self.0, &Self::read().0)
    }
}

fn moved(before: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> Vec<String> {
    let value = |all: &BTreeMap<String, u64>, name: &str| all.get(name).copied().unwrap_or(0);
    let delta = |name: &&str| value(now, name).saturating_sub(value(before, name));
    let words: Vec<String> = COUNTERS
        .iter()
        .filter(|name| delta(name) > 0)
        .map(|name| format!("{name} +{}", delta(name)))
        .collect();
    if words.is_empty() {
        Vec::new()
    } else {
        vec![format!("nstat: {}", words.join(", "))]
    }
}

/// Pairs of lines, names above values, each beginning with the name of the group.
fn parsed(table: &str) -> BTreeMap<String, u64> {
    let lines: Vec<&str> = table.lines().collect();
    let pairs = lines.as_chunks::<2>().0.iter();
    pairs
        .flat_map(|[names, values]| {
            let group = names.split(':').next().unwrap_or("");
            let names = names.split_whitespace().skip(1);
            let values = values.split_whitespace().skip(1);
            names.zip(values).filter_map(move |(name, value)| {
                Some((format!("{group}{name}"), value.parse().ok()?))
            })
        })
        .collect()
}

/// What `ss -tino` would say about the sockets of these connections that are still there.
pub(super) fn sockets(conns: &[u16], side: End, local: IpAddr) -> Vec<String> {
    let all = kernel::sockets_of(side, local).unwrap_or_default();
    let mut lines = Vec::new();
    for &conn in conns {
        let its = all
            .iter()
            .find(|socket| kernel::number(side, socket) == Some(conn));
        let Some(socket) = its else { continue };
        let state = socket.state.name();
        lines.push(match &socket.info {
            None => format!("ss: #{conn} {state}"),
            Some(info) => {
                // Fields of a packed structure are copied before they are shown.
                let (rto_us, rtt_us, mss, cwnd) = (info.rto, info.rtt, info.snd_mss, info.snd_cwnd);
                let (unacked, again, backoff) = (info.unacked, info.total_retrans, info.backoff);
                format!(
                    "ss: #{conn} {state} rto {} ms, rtt {:.1} ms, mss {mss}, cwnd {cwnd}, unacked {unacked}, retransmitted {again}, \
                     backoff {backoff}",
                    rto_us / 1000,
                    f64::from(rtt_us) / 1e3
                )
            }
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_moved_are_named() {
        let table = |resets: u64| {
            parsed(&format!(
                "Tcp: MaxConn OutRsts ActiveOpens\nTcp: -1 {resets} 4\nTcpExt: TW\nTcpExt: 2\n"
            ))
        };
        assert_eq!(table(3).get("TcpOutRsts"), Some(&3));
        assert_eq!(moved(&table(3), &table(5)), ["nstat: TcpOutRsts +2"]);
        assert_eq!(moved(&table(3), &table(3)), Vec::<String>::new());
    }
}
