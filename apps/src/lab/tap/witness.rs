//! Reports of the kernel itself after a scene: the counters that moved, and TCP_INFO of what is still open.
//!
//! It must never judge: the lines stand beside the ladder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _};

use super::number;
use crate::lab::scenario::End;
use crate::sock_diag::KernelSocket;

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

/// The tables of a network namespace, and what stood in them when they were opened.
pub(super) struct Counters {
    tables: Vec<File>,
    before: BTreeMap<String, u64>,
}

impl Counters {
    /// Of this thread's namespace, from now on. A kernel without a table says nothing.
    pub(super) fn read() -> Self {
        let table = |name| File::open(format!("/proc/thread-self/net/{name}")).ok();
        let mut counters = Self {
            tables: ["snmp", "netstat"].into_iter().filter_map(table).collect(),
            before: BTreeMap::new(),
        };
        counters.before = counters.now();
        counters
    }

    /// `TcpExtTCPChallengeACK +1` for each counter of the list that moved since.
    pub(super) fn since(&mut self) -> Vec<String> {
        let now = self.now();
        moved(&self.before, &now)
    }

    /// An open table is that of its namespace, wherever its thread is by now.
    fn now(&mut self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for table in &mut self.tables {
            let mut text = String::new();
            if table.rewind().is_ok() && table.read_to_string(&mut text).is_ok() {
                all.extend(parsed(&text));
            }
        }
        all
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

/// The output of `ss -tino` for the sockets of these connections that are still there.
pub(super) fn sockets(conns: &[u16], side: End, all: &[KernelSocket]) -> Vec<String> {
    let mut lines = Vec::new();
    for &conn in conns {
        let its = all.iter().find(|socket| number(side, socket) == Some(conn));
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
