//! [`whole`]: what was found out, for people; [`json`], for programs.
//!
//! It must never leave out what can't be seen.

use diagnose::counted;
use std::iter;
use std::net::SocketAddr;

use serde_json::{Value, json as value};

use super::attempt::{After, Attempt, Before, Cause, ConnectEnd, SeenFrames};
use super::judge::{CAN_NOT_SEE, Verdict};

/// An address, what was tried and what it means.
pub(super) struct Probed {
    /// The address.
    pub(super) address: SocketAddr,
    /// The connections to it.
    pub(super) attempts: Vec<Attempt>,
    /// Their meaning.
    pub(super) verdict: Verdict,
}

/// All of it.
pub(super) fn whole(target: &str, found: &[Probed]) -> String {
    if found.is_empty() {
        return format!("{target}: nothing was tried");
    }
    found.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn one(probed: &Probed) -> String {
    let verdict = &probed.verdict;
    let mut rows = vec![(
        "verdict",
        format!("{}, {}", verdict.class, verdict.certainty.meaning()),
    )];
    for (n, attempt) in (1..).zip(&probed.attempts) {
        rows.push(("evidence", format!("attempt {n}: {}", evidence(attempt))));
    }
    rows.extend(
        verdict
            .members
            .iter()
            .map(|member| ("could be", (*member).to_owned())),
    );
    rows.push(("look at", verdict.tells_apart.to_owned()));
    rows.push((
        "can't see",
        CAN_NOT_SEE.split_whitespace().collect::<Vec<_>>().join(" "),
    ));
    rows.push(("see it", format!("syncline lab run {}", verdict.scenario)));
    let mut out = format!("{}: {}\n", probed.address, verdict.words);
    let mut last = "";
    for (name, text) in rows {
        let name = if name == last { "" } else { name };
        out += &format!("  {name:<9} {text}\n");
        last = if name.is_empty() { last } else { name };
    }
    out
}

fn evidence(attempt: &Attempt) -> String {
    let frames = attempt.frames.map_or_else(Vec::new, on_the_wire);
    let words = iter::once(by_call(attempt)).chain(frames);
    words.collect::<Vec<_>>().join("; ")
}

/// The evidence that only frames show.
fn on_the_wire(frames: SeenFrames) -> Vec<String> {
    let mut said = Vec::new();
    if frames.questions > 0 && frames.syns == 0 {
        said.push(format!(
            "{} for the next hop, no answer",
            counted(frames.questions, "ARP or NDP request")
        ));
    }
    if let Some(ttl) = frames.syn_ack_ttl {
        said.push(format!("SYN,ACK with TTL {ttl}"));
    }
    if let Some((has_ack, ttl)) = frames.reset {
        let kind = if has_ack { "RST,ACK" } else { "bare RST" };
        said.push(format!("{kind} with TTL {ttl}"));
    }
    said
}

fn by_call(attempt: &Attempt) -> String {
    let ms = attempt.took.as_secs_f64() * 1e3;
    match &attempt.end {
        ConnectEnd::Silence => format!(
            "no answer in {ms:.0} ms, SYN sent again {}",
            counted(attempt.syns_again, "time")
        ),
        ConnectEnd::Failed { errno, cause } => {
            let cause = cause.map_or(String::new(), |cause| format!(", {}", because(cause)));
            format!(
                "connect() failed with {errno:?} ({}) after {ms:.1} ms{cause}",
                errno.desc()
            )
        }
        ConnectEnd::Open(opened) => {
            let before = match &opened.before {
                Before::Greeted(bytes) => format!("it sent data first: {}", quoted(bytes)),
                Before::Closed(after_ms) => format!("it closed after {after_ms} ms"),
                Before::Reset(errno, after_ms) => format!("{errno:?} after {after_ms} ms"),
                Before::Silent => "it sent no data".into(),
            };
            let after = match opened.after {
                None => "",
                Some(After::Closed) => ", and closed when we did",
                Some(After::Acknowledged) => {
                    ", its kernel acknowledged our FIN, its application didn't close"
                }
                Some(After::Unacknowledged) => ", our FIN stayed unacknowledged",
            };
            format!(
                "open after {ms:.1} ms (RTT {:.1} ms, MSS {}); {before}{after}",
                f64::from(opened.rtt_us) / 1e3,
                opened.snd_mss
            )
        }
    }
}

fn because(cause: Cause) -> String {
    if cause.is_local {
        return "reported by this host".into();
    }
    let from = cause
        .from
        .map_or(String::new(), |from| format!(" from {from}"));
    format!("ICMP type {} code {}{from}", cause.kind, cause.code)
}

/// The first line of what it said, nothing of which may move a cursor.
fn quoted(bytes: &[u8]) -> String {
    const SHOWN: usize = 60;
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next();
    let shown = line.unwrap_or(&[]).get(..SHOWN).or(line).unwrap_or(&[]);
    format!(
        "\"{}\" ({})",
        shown.escape_ascii(),
        counted(bytes.len(), "byte")
    )
}

/// The same as JSON.
pub(super) fn json(target: &str, found: &[Probed]) -> Value {
    let all: Vec<Value> = found
        .iter()
        .map(|probed| {
            let verdict = &probed.verdict;
            let evidence: Vec<String> = probed.attempts.iter().map(evidence).collect();
            value!({
                "address": probed.address.to_string(),
                "verdict": verdict.class,
                "certainty": verdict.certainty.name(),
                "words": verdict.words,
                "evidence": evidence,
                "members": verdict.members,
                "look_at": verdict.tells_apart,
                "can_not_see": CAN_NOT_SEE.split_whitespace().collect::<Vec<_>>().join(" "),
                "scenario": verdict.scenario,
            })
        })
        .collect();
    value!({"target": target, "addresses": all})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_one_line_without_control_characters() {
        assert_eq!(quoted(b"220 hi\r\nmore"), "\"220 hi\" (12 bytes)");
        assert_eq!(quoted(b"\x1b[2J"), "\"\\x1b[2J\" (4 bytes)");
        assert_eq!(quoted(&[b'a'; 99]).len(), 60 + 2 + 11);
    }
}
