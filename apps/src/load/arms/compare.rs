//! [`ArmsReport`]: both arms beside each other: what the device changed, what was lost on which side, and which server had what.
//!
//! It must never compare connections that nothing ties together.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;

use diagnose::counted;
use serde::Serialize;

use super::observe::{ArmRecord, Handshake, Opening};
use crate::rig::NicReport;
use crate::rig::glance::KINDS;

/// By what connections of both arms were matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
struct MatchedBy {
    /// The tuple that a request carried.
    payload: u64,
    /// Addresses and ports, which the device left alone.
    tuple: u64,
    /// The initial sequence number.
    isn: u64,
}

/// One property of SYNs or SYN-ACKs. Field names are stable.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Change {
    property: &'static str,
    changed: u64,
    of: u64,
    /// Its value before and after, for the first connection that was changed.
    example: Option<(String, String)>,
}

/// Frames of one kind at both arms. Field names are stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct FrameRow {
    kind: &'static str,
    clients_sent: u64,
    servers_received: u64,
    servers_sent: u64,
    clients_received: u64,
}

/// The counts of one of our servers. Field names are stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::load) struct ServerRow {
    pub(in crate::load) listen: String,
    pub(in crate::load) service: &'static str,
    pub(in crate::load) connections: u64,
    pub(in crate::load) requests: u64,
    /// Connections that were still open at the end.
    pub(in crate::load) open: u64,
}

/// Both arms. Field names are stable.
#[derive(Debug, Serialize)]
pub(in crate::load) struct ArmsReport {
    /// Connections that the servers saw begin, the first of each worker, and those of them that belong to one of the clients'.
    observed: u64,
    compared: u64,
    matched_by: MatchedBy,
    /// Of SYNs on their way to the servers, and of SYN-ACKs on their way to the clients.
    to_servers: Vec<Change>,
    to_clients: Vec<Change>,
    /// The device has sequence numbers of its own in both directions: it ends connections and opens others.
    opens_its_own: bool,
    frames: Vec<FrameRow>,
    /// Payload of all frames, repeats included, in bytes.
    payload: FrameRow,
    clients_retransmitted: u64,
    servers_retransmitted: u64,
    servers: Vec<ServerRow>,
    server_nic: Option<NicReport>,
}

/// The parts of the arms beside their frames.
pub(in crate::load) struct ArmsParts {
    pub(in crate::load) clients: ArmRecord,
    pub(in crate::load) servers: ArmRecord,
    /// Segments sent again, by each side.
    pub(in crate::load) retransmitted: (u64, u64),
    pub(in crate::load) rows: Vec<ServerRow>,
    pub(in crate::load) nic: Option<NicReport>,
}

impl ArmsReport {
    /// Compares what both arms have seen.
    pub(in crate::load) fn new(parts: ArmsParts) -> Self {
        let (pairs, matched_by) = pairs(&parts.clients.handshakes, &parts.servers.handshakes);
        let syns: Vec<_> = pairs
            .iter()
            .map(|(c, s)| ((*c, c.syn), (*s, s.syn)))
            .collect();
        let to_servers = changes(&syns);
        let answers = pairs
            .iter()
            .filter_map(|(c, s)| Some(((s.syn_ack?), (c.syn_ack?))));
        let to_clients = opening_changes(&answers.collect::<Vec<_>>());
        let all_changed = |changes: &[Change]| {
            let isn = changes.iter().find(|change| change.property == "isn");
            isn.is_some_and(|isn| isn.of > 0 && isn.changed == isn.of)
        };
        let counts = [
            parts.clients.sent,
            parts.servers.received,
            parts.servers.sent,
            parts.clients.received,
        ];
        Self {
            observed: parts.servers.handshakes.len() as u64,
            compared: pairs.len() as u64,
            matched_by,
            opens_its_own: all_changed(&to_servers) && all_changed(&to_clients),
            to_servers,
            to_clients,
            frames: KINDS
                .iter()
                .map(|(kind, name)| FrameRow::new(name, counts.map(|side| side.of(*kind))))
                .collect(),
            payload: FrameRow::new("payload", counts.map(|side| side.payload_bytes)),
            clients_retransmitted: parts.retransmitted.0,
            servers_retransmitted: parts.retransmitted.1,
            servers: parts.rows,
            server_nic: parts.nic,
        }
    }
}

impl FrameRow {
    fn new(
        kind: &'static str,
        [
            clients_sent,
            servers_received,
            servers_sent,
            clients_received,
        ]: [u64; 4],
    ) -> Self {
        Self {
            kind,
            clients_sent,
            servers_received,
            servers_sent,
            clients_received,
        }
    }

    /// Frames that did not come through, to the servers and to the clients; less than 0 where more came than was sent.
    fn lost(&self) -> (i64, i64) {
        let less = |sent: u64, received: u64| sent.cast_signed() - received.cast_signed();
        (
            less(self.clients_sent, self.servers_received),
            less(self.servers_sent, self.clients_received),
        )
    }
}

/// Connections of both arms that belong together: the clients' and the servers' view of each.
fn pairs<'a>(
    clients: &'a [Handshake],
    servers: &'a [Handshake],
) -> (Vec<(&'a Handshake, &'a Handshake)>, MatchedBy) {
    let by_tuple: HashMap<(SocketAddr, SocketAddr), &Handshake> = clients
        .iter()
        .map(|seen| ((seen.client, seen.server), seen))
        .collect();
    // A number that two connections began with ties nothing together.
    let mut by_isn: HashMap<u32, Option<&Handshake>> = HashMap::new();
    for seen in clients {
        let place = by_isn.entry(seen.syn.isn);
        place
            .and_modify(|other| *other = None)
            .or_insert(Some(seen));
    }
    let mut matched_by = MatchedBy::default();
    let mut pairs = Vec::new();
    for server in servers {
        let by_payload = server.original.and_then(|original| by_tuple.get(&original));
        let same = || by_tuple.get(&(server.client, server.server));
        let numbered = || by_isn.get(&server.syn.isn).and_then(Option::as_ref);
        let (client, count) = match (by_payload, server.original) {
            (Some(client), _) => (client, &mut matched_by.payload),
            // It belongs to a connection that the clients' record does not hold.
            (None, Some(_)) => continue,
            (None, None) => match (same(), numbered()) {
                (Some(client), _) => (client, &mut matched_by.tuple),
                (None, Some(client)) => (client, &mut matched_by.isn),
                (None, None) => continue,
            },
        };
        *count += 1;
        pairs.push((*client, server));
    }
    (pairs, matched_by)
}

/// A property of two views, as text.
fn change<'a, T: 'a>(
    property: &'static str,
    pairs: &'a [(T, T)],
    text: impl Fn(&T) -> String,
) -> Change {
    let texts = pairs
        .iter()
        .map(|(before, after)| (text(before), text(after)));
    let changed: Vec<_> = texts.filter(|(before, after)| before != after).collect();
    Change {
        property,
        changed: changed.len() as u64,
        of: pairs.len() as u64,
        example: changed.into_iter().next(),
    }
}

type SynView<'a> = (&'a Handshake, Opening);

/// The outcomes of SYNs.
fn changes(pairs: &[(SynView<'_>, SynView<'_>)]) -> Vec<Change> {
    let mut changes = vec![
        change("source_address", pairs, |(seen, _)| {
            seen.client.ip().to_string()
        }),
        change("source_port", pairs, |(seen, _)| {
            seen.client.port().to_string()
        }),
        change("destination_address", pairs, |(seen, _)| {
            seen.server.ip().to_string()
        }),
        change("destination_port", pairs, |(seen, _)| {
            seen.server.port().to_string()
        }),
    ];
    let openings: Vec<_> = pairs
        .iter()
        .map(|(before, after)| (before.1, after.1))
        .collect();
    changes.extend(opening_changes(&openings));
    changes
}

fn opening_changes(pairs: &[(Opening, Opening)]) -> Vec<Change> {
    let option = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
    let has = |has: bool| if has { "offered" } else { "none" }.to_owned();
    vec![
        change("isn", pairs, |seen| seen.isn.to_string()),
        change("mss", pairs, |seen| {
            option(seen.mss.map(|mss| mss.to_string()))
        }),
        change("window_scale", pairs, |seen| {
            option(seen.window_scale.map(|scale| scale.to_string()))
        }),
        change("sack", pairs, |seen| has(seen.has_sack)),
        change("timestamps", pairs, |seen| has(seen.has_timestamps)),
        change("window", pairs, |seen| seen.window.to_string()),
        change("ttl", pairs, |seen| seen.hops.to_string()),
    ]
}

/// The changes in one direction, in a line or two.
fn write_way(f: &mut fmt::Formatter<'_>, name: &str, changes: &[Change]) -> fmt::Result {
    let words = |change: &Change| {
        let (before, after) = change.example.as_ref()?;
        Some(format!(
            "{} {before} -> {after} ({} of {})",
            change.property, change.changed, change.of
        ))
    };
    let changed: Vec<String> = changes.iter().filter_map(words).collect();
    let same: Vec<&str> = changes
        .iter()
        .filter(|change| change.changed == 0 && change.of > 0)
        .map(|change| change.property)
        .collect();
    if !changed.is_empty() {
        writeln!(f, "    {name}: changed {}", changed.join(", "))?;
    }
    if !same.is_empty() {
        writeln!(f, "    {name}: the same {}", same.join(", "))?;
    }
    Ok(())
}

impl fmt::Display for ArmsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = &self.matched_by;
        writeln!(
            f,
            "  device       {} of {} connections of the servers compared with those of the clients (by payload {}, tuple {}, ISN {})",
            self.compared, self.observed, by.payload, by.tuple, by.isn
        )?;
        write_way(f, "SYNs to the servers", &self.to_servers)?;
        write_way(f, "SYN-ACKs to the clients", &self.to_clients)?;
        if self.opens_its_own {
            writeln!(
                f,
                "    the device ends connections and opens its own: frames of both arms are not the same ones"
            )?;
        }
        writeln!(
            f,
            "  {:<13}{:>14}{:>14}{:>10}{:>14}{:>14}{:>10}",
            "frames", "clients sent", "servers got", "lost", "servers sent", "clients got", "lost"
        )?;
        for row in self.frames.iter().chain([&self.payload]) {
            let (to_servers, to_clients) = row.lost();
            writeln!(
                f,
                "    {:<11}{:>14}{:>14}{to_servers:>10}{:>14}{:>14}{to_clients:>10}",
                row.kind,
                row.clients_sent,
                row.servers_received,
                row.servers_sent,
                row.clients_received
            )?;
        }
        writeln!(
            f,
            "    sent again   by the clients {}, by the servers {}",
            self.clients_retransmitted, self.servers_retransmitted
        )?;
        for row in &self.servers {
            writeln!(
                f,
                "  server       {}: {}, {}",
                row.listen,
                counted(row.connections, "connection"),
                counted(row.requests, "request")
            )?;
        }
        if let Some(nic) = &self.server_nic {
            writeln!(f, "  server nic   {nic}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(isn: u32) -> Opening {
        Opening {
            isn,
            mss: Some(1460),
            window_scale: Some(7),
            has_sack: true,
            has_timestamps: true,
            window: 64_240,
            hops: 64,
        }
    }

    fn handshake(client: &str, server: &str, isn: u32) -> Handshake {
        Handshake {
            client: client.parse().expect("an address"),
            server: server.parse().expect("an address"),
            syn: opening(isn),
            syn_ack: Some(opening(isn + 1)),
            original: None,
        }
    }

    fn report(clients: Vec<Handshake>, servers: Vec<Handshake>) -> ArmsReport {
        let record = |handshakes| ArmRecord {
            handshakes,
            ..ArmRecord::default()
        };
        ArmsReport::new(ArmsParts {
            clients: record(clients),
            servers: record(servers),
            retransmitted: (0, 0),
            rows: Vec::new(),
            nic: None,
        })
    }

    fn changed(changes: &[Change]) -> Vec<&'static str> {
        let changed = changes.iter().filter(|change| change.changed > 0);
        changed.map(|change| change.property).collect()
    }

    #[test]
    fn a_router_changes_the_ttl_and_a_nat_the_source() {
        let client = handshake("198.18.0.2:1024", "198.18.1.2:80", 7);
        let mut routed = client;
        routed.syn.hops = 63;
        let seen = report(vec![client], vec![routed]);
        assert_eq!(seen.matched_by.tuple, 1);
        assert_eq!(changed(&seen.to_servers), ["ttl"]);
        assert!(changed(&seen.to_clients).is_empty() && !seen.opens_its_own);
        let mut nat = handshake("198.18.1.1:40000", "198.18.1.2:80", 7);
        nat.syn.mss = Some(1400);
        let seen = report(vec![client], vec![nat]);
        assert_eq!(seen.matched_by.isn, 1);
        assert_eq!(
            changed(&seen.to_servers),
            ["source_address", "source_port", "mss"]
        );
    }

    #[test]
    fn a_proxy_is_matched_by_what_the_request_carries_and_by_nothing_else() {
        let client = handshake("198.18.0.2:1024", "198.18.0.1:80", 7);
        let mut proxied = handshake("198.18.1.1:40000", "198.18.1.2:8080", 999);
        assert_eq!(report(vec![client], vec![proxied]).compared, 0);
        proxied.original = Some((client.client, client.server));
        let seen = report(vec![client], vec![proxied]);
        assert_eq!((seen.compared, seen.matched_by.payload), (1, 1));
        assert!(seen.opens_its_own);
        // A number that two connections share ties neither.
        let twins = vec![client, handshake("198.18.0.2:1025", "198.18.0.1:80", 7)];
        proxied.original = None;
        proxied.syn.isn = 7;
        assert_eq!(report(twins, vec![proxied]).compared, 0);
    }

    #[test]
    fn what_is_lost_is_what_was_sent_and_did_not_come() {
        let row = FrameRow::new("syn", [10, 8, 5, 6]);
        assert_eq!(row.lost(), (2, -1));
    }
}
