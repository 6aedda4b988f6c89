//! [`whole`]: the findings for people: a line per connection, what became of all of them, and the evidence.
//!
//! It must never leave a sum unsaid that the list leaves out.

use diagnose::counted;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use diagnose::analysis::Judged;
use diagnose::evidence::{duration, evidence};
use diagnose::situation::Situation;
use diagnose::verdict::QUESTIONS;

use super::{Findings, ladder};
use crate::lab::ladder::Paint;

/// Everything.
pub(crate) fn whole(findings: &Findings<'_>, paint: Paint) -> String {
    let mut out = head(findings);
    let shows_ladders = findings.args.connection.is_some() || findings.args.ladders;
    if findings.args.connection.is_none() {
        out += &list(findings);
        out += &sums(findings);
    }
    for judged in examples(findings, shows_ladders) {
        out.push('\n');
        out += &details(findings, &judged);
        if shows_ladders {
            out += &ladder::text(&judged, paint);
        }
    }
    out += &beside(findings);
    out
}

fn head(findings: &Findings<'_>) -> String {
    let (analysis, frames) = (findings.analysis, findings.analysis.frames());
    let link = analysis
        .link()
        .map_or("unknown link type", |link| link.name());
    let mut out = format!(
        "{}: {}, {link}, {} in {}, {}\n",
        findings.path.display(),
        findings.summary.format.name(),
        counted(frames.all, "frame"),
        duration(analysis.last_ns().saturating_sub(analysis.first_ns())),
        counted(analysis.connections(), "TCP connection"),
    );
    if frames.unreadable > 0 {
        let _ = writeln!(
            out,
            "{} couldn't be read",
            counted(frames.unreadable, "frame")
        );
    }
    if frames.fragments > 0 {
        let fragments = counted(frames.fragments, "fragment");
        let _ = writeln!(
            out,
            "{fragments} of IP packets: not put together, so their segments are missing here"
        );
    }
    out
}

fn list(findings: &Findings<'_>) -> String {
    if findings.judged.is_empty() {
        return String::new();
    }
    let names: Vec<[String; 2]> = findings
        .judged
        .iter()
        .map(|judged| judged.connection.ends.map(|end| end.to_string()))
        .collect();
    let width = |end: usize| {
        names
            .iter()
            .map(|names| names[end].len())
            .max()
            .unwrap_or(0)
            .max(6)
    };
    let (left, right) = (width(0), width(1));
    let mut out = format!(
        "\n{:>6} {:>11}  {:<left$}   {:<right$} {:>11} {:>11} {:>8}  verdict\n",
        "#", "at", "client", "server", "bytes ->", "<- bytes", "frames"
    );
    for (judged, [client, server]) in findings.judged.iter().zip(&names) {
        let connection = judged.connection;
        let at = connection
            .first_ns
            .saturating_sub(findings.analysis.first_ns());
        let [ours, theirs] = &connection.sides;
        let _ = writeln!(
            out,
            "{:>6} {:>11}  {client:<left$} > {server:<right$} {:>11} {:>11} {:>8}  {}",
            connection.number,
            duration(at),
            ours.new_bytes,
            theirs.new_bytes,
            connection.frames(),
            became(judged),
        );
    }
    if findings.left_out > 0 {
        let more = counted(findings.left_out as u64, "more connection");
        let _ = writeln!(out, "{:>6} {more}: --limit {}", "...", findings.args.limit);
    }
    out
}

fn became(judged: &Judged<'_>) -> String {
    let verdict = judged.verdict;
    match verdict.situation {
        Situation::Normal => verdict.situation.title().into(),
        situation => format!("{} ({})", situation.title(), verdict.certainty.name()),
    }
}

/// The verdicts on all connections, when there are several.
fn sums(findings: &Findings<'_>) -> String {
    if findings.analysis.connections() < 2 {
        return String::new();
    }
    let mut counts: BTreeMap<Situation, u64> = findings.analysis.summed().clone();
    for judged in findings.analysis.judged() {
        *counts.entry(judged.verdict.situation).or_default() += 1;
    }
    let mut out = String::from("\nall connections:\n");
    for (situation, count) in counts {
        let _ = writeln!(
            out,
            "{count:>10}  {}: {}",
            situation.name(),
            situation.title()
        );
    }
    let summed: u64 = findings.analysis.summed().values().sum();
    if summed > 0 {
        let _ = writeln!(
            out,
            "{} left the full table early and were judged by their frames until then; raise --table (now {})",
            counted(summed, "connection"),
            findings.args.table
        );
    }
    out
}

/// The connections whose evidence is shown: all, or the first of each abnormal situation.
fn examples<'a>(findings: &Findings<'a>, all: bool) -> Vec<Judged<'a>> {
    if all || findings.judged.len() == 1 {
        return findings.judged.clone();
    }
    let mut seen = Vec::new();
    let is_first = |judged: &&Judged<'a>| {
        let situation = judged.verdict.situation;
        let is_new = situation != Situation::Normal && !seen.contains(&situation);
        seen.push(situation);
        is_new
    };
    findings.judged.iter().filter(is_first).copied().collect()
}

fn details(findings: &Findings<'_>, judged: &Judged<'_>) -> String {
    let (connection, situation) = (judged.connection, judged.verdict.situation);
    let [client, server] = connection.ends;
    let whose = judged
        .verdict
        .end
        .map_or(String::new(), |end| format!(", at the {}", end.name()));
    let whose = if situation == Situation::Normal {
        ""
    } else {
        &whose
    };
    let mut out = format!(
        "#{} {client} > {server}: {}{whose}\n",
        connection.number,
        situation.title()
    );
    if situation != Situation::Normal {
        let _ = writeln!(out, "  verdict   {}", judged.verdict.certainty.meaning());
    }
    let states = connection_states(judged);
    if !states.is_empty() {
        let _ = writeln!(out, "  states    {states}");
    }
    for line in evidence(
        connection,
        &judged.verdict,
        findings.analysis.surroundings(),
    ) {
        let _ = writeln!(out, "  evidence  {line}");
    }
    for member in situation.members() {
        let _ = writeln!(out, "  could be  {member}");
    }
    if !situation.apart().is_empty() {
        let _ = writeln!(out, "  look at   {}", situation.apart());
    }
    out
}

/// The states at the end, as far as they are known.
fn connection_states(judged: &Judged<'_>) -> String {
    let states: Vec<String> = diagnose::side::End::BOTH
        .into_iter()
        .filter_map(|end| {
            let state = judged.connection.machines.state(end)?;
            Some(format!("{} {}", end.name(), ladder::state(state)))
        })
        .collect();
    states.join(", ")
}

/// Hosts that didn't answer, and floods: what no single connection shows.
fn beside(findings: &Findings<'_>) -> String {
    let mut out = String::new();
    for (address, asked) in findings.analysis.neighbors().silent(QUESTIONS) {
        let _ = writeln!(
            out,
            "\n{address}: {}: {} asked {} in {} who has it",
            Situation::NeighborDead.title(),
            asked.asker,
            counted(asked.unanswered, "time"),
            duration(asked.last_ns.saturating_sub(asked.first_ns)),
        );
    }
    for (endpoint, server) in findings.analysis.servers().flooded() {
        let _ = writeln!(
            out,
            "\n{endpoint}: {} of {} never got beyond the handshake: a flood of SYNs, or a scan",
            server.unfinished(),
            counted(server.attempts, "connection")
        );
    }
    out
}
