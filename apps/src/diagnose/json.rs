//! [`whole`]: the findings for programs.
//!
//! It must never say less than the text does.

use diagnose::analysis::Judged;
use diagnose::evidence::evidence;
use diagnose::side::End;
use diagnose::situation::Situation;
use diagnose::verdict::QUESTIONS;
use serde_json::{Value, json};

use super::{Findings, ladder};
use crate::lab::json::row;

/// Everything.
pub(crate) fn whole(findings: &Findings<'_>) -> Value {
    let (analysis, frames) = (findings.analysis, findings.analysis.frames());
    json!({
        "capture": {
            "file": findings.path.display().to_string(),
            "format": findings.summary.format.name(),
            "link": analysis.link().map(|link| link.name()),
            "damage": findings.summary.damage,
            "frames": frames.all,
            "tcp": frames.tcp,
            "arp_ndp": frames.neighbor,
            "icmp_errors": frames.icmp,
            "fragments": frames.fragments,
            "other": frames.other,
            "unreadable": frames.unreadable,
            "lasted_ms": ms(analysis.last_ns().saturating_sub(analysis.first_ns())),
            "connections": analysis.connections(),
        },
        "connections": findings.judged.iter().map(|judged| connection(findings, judged)).collect::<Vec<Value>>(),
        "left_out": findings.left_out,
        "summed": analysis.summed().iter().map(|(situation, count)| (situation.name(), *count)).collect::<Vec<_>>(),
        "silent_neighbors": analysis.neighbors().silent(QUESTIONS).iter().map(|(address, asked)| json!({
            "address": address, "asker": asked.asker, "unanswered": asked.unanswered,
            "situation": Situation::NeighborDead.name(),
        })).collect::<Vec<Value>>(),
        "floods": analysis.servers().flooded().iter().map(|(endpoint, server)| json!({
            "server": endpoint.to_string(), "attempts": server.attempts, "unfinished": server.unfinished(),
        })).collect::<Vec<Value>>(),
    })
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

fn connection(findings: &Findings<'_>, judged: &Judged<'_>) -> Value {
    let (connection, verdict) = (judged.connection, judged.verdict);
    let [client, server] = connection.ends;
    let states = End::BOTH.map(|end| connection.machines.state(end).map(ladder::state));
    let mut value = json!({
        "number": connection.number,
        "client": client.to_string(),
        "server": server.to_string(),
        "vlan": connection.vlan,
        "at_ms": ms(connection.first_ns.saturating_sub(findings.analysis.first_ns())),
        "lasted_ms": ms(connection.last_ns.saturating_sub(connection.first_ns)),
        "frames": connection.sides.each_ref().map(|side| side.frames),
        "bytes": connection.sides.each_ref().map(|side| side.new_bytes),
        "again": connection.sides.each_ref().map(|side| side.again.count),
        "states": states,
        "situation": verdict.situation.name(),
        "title": verdict.situation.title(),
        "certainty": verdict.certainty.name(),
        "end": verdict.end.map(|end| end.name()),
        "evidence": evidence(connection, &verdict, findings.analysis.surroundings()),
        "members": verdict.situation.members(),
        "look_at": verdict.situation.apart(),
    });
    if connection.rows.are_kept()
        && let Value::Object(object) = &mut value
    {
        let rows: Vec<Value> = ladder::rows(judged).iter().map(row).collect();
        object.insert("ladder".into(), rows.into());
    }
    value
}
