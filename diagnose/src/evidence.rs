//! [`evidence`]: why a verdict is what it is, in sentences with figures.
//!
//! It must never say more than the capture shows.

use crate::connection::Connection;
use crate::counted;
use crate::reset::{Fit, Reset, ResetCause};
use crate::side::{End, Side, Stall};
use crate::situation::Situation;
use crate::verdict::{QUESTIONS, Surroundings, Verdict};

/// The reasons for a verdict, then what else is remarkable.
#[must_use]
pub fn evidence(
    connection: &Connection,
    verdict: &Verdict,
    around: Surroundings<'_>,
) -> Vec<String> {
    let mut said = Vec::new();
    handshake(connection, &mut said);
    neighbor(connection, around, &mut said);
    icmp(connection, &mut said);
    for end in End::BOTH {
        let side = connection.side(end);
        window(end, side, &mut said);
        stalls(end, side, &mut said);
        keepalives(end, side, &mut said);
    }
    if let Some(from) = connection.late_syn {
        said.push(format!(
            "the {} sends a SYN into the open connection",
            from.name()
        ));
    }
    if let Some(reset) = &connection.reset {
        said.push(self::reset(connection, reset));
    }
    if verdict.situation == Situation::AppSilent
        && let Some(end) = verdict.end
    {
        unanswered(connection, end, around, &mut said);
    }
    remarks(connection, &mut said);
    said
}

/// `1.234 s`, `56.789 ms`.
#[must_use]
pub fn duration(ns: u64) -> String {
    if ns >= 1_000_000_000 {
        format!("{}.{:01} s", ns / 1_000_000_000, ns / 100_000_000 % 10)
    } else {
        format!("{}.{:03} ms", ns / 1_000_000, ns / 1_000 % 1_000)
    }
}

fn times(count: u32) -> String {
    match count {
        1 => "once".into(),
        2 => "twice".into(),
        n => format!("{n} times"),
    }
}

fn handshake(connection: &Connection, said: &mut Vec<String>) {
    let (client, server) = (connection.side(End::Client), connection.side(End::Server));
    if !connection.saw_handshake {
        if connection
            .reset
            .is_none_or(|reset| reset.cause != ResetCause::Syn)
        {
            said.push("the capture begins in the middle of the connection".into());
        }
        return;
    }
    let syn = client.syn;
    if syn.count > 1 {
        let over = duration(syn.last_ns.saturating_sub(syn.first_ns));
        said.push(format!("{} SYNs in {over}", syn.count));
    }
    let syn_ack = server.syn;
    if syn_ack.count == 0
        && syn.count > 0
        && connection.reset.is_none()
        && connection.icmp.is_none()
    {
        said.push("no answer to the SYN".into());
    }
    if syn_ack.count > 1 {
        let over = duration(syn_ack.last_ns.saturating_sub(syn_ack.first_ns));
        said.push(format!("{} SYN-ACKs in {over}", syn_ack.count));
    }
    if syn_ack.count > 0 && connection.established_ns.is_none() {
        said.push("no ACK of the SYN-ACK".into());
    }
    if syn_ack.again_after_ack > 0 {
        let how_often = times(syn_ack.again_after_ack);
        said.push(format!(
            "the SYN-ACK came again {how_often} after it was acknowledged"
        ));
    }
    if syn.count > 0 && syn_ack.count > 0 && connection.established_ns.is_none() {
        let waited = syn_ack.first_ns.saturating_sub(syn.first_ns);
        said.push(format!(
            "the SYN-ACK came {} after the SYN",
            duration(waited)
        ));
    }
}

fn neighbor(connection: &Connection, around: Surroundings<'_>, said: &mut Vec<String>) {
    for endpoint in connection.ends {
        if let Some(asked) = around.neighbors.unanswered(endpoint.ip, QUESTIONS) {
            said.push(format!(
                "{} asked {} who has {}: no answer",
                asked.asker,
                times(asked.unanswered),
                endpoint.ip
            ));
        }
    }
}

fn icmp(connection: &Connection, said: &mut Vec<String>) {
    if let Some(error) = &connection.icmp {
        let (kind, code) = error.type_code;
        said.push(format!(
            "ICMP type {kind} code {code} from {}",
            error.reporter
        ));
    }
    if let Some(mtu) = connection.mtu_reported {
        said.push(format!(
            "a router reports packets as too big: its link takes {mtu} bytes"
        ));
    }
}

fn window(end: End, side: &Side, said: &mut Vec<String>) {
    let closed = side.closed_window;
    if closed.count == 0 {
        return;
    }
    let state = if closed.since_ns.is_some() {
        "and still is"
    } else {
        "then it opened"
    };
    said.push(format!(
        "the {}'s window was closed {}, for {} at most, {state}; {}, {} that it is closed",
        end.name(),
        times(closed.count),
        duration(closed.longest_ns()),
        counted(closed.probes, "probe"),
        counted(closed.answered_probes, "answer"),
    ));
}

fn stalls(end: End, side: &Side, said: &mut Vec<String>) {
    let again = side.again;
    if again.count > 0 {
        said.push(format!(
            "the {} sent {} of {} again",
            end.name(),
            again.count,
            counted(side.data_frames, "segment")
        ));
    }
    let mut tell = |stall: &Stall, how: &str| {
        said.push(format!(
            "nothing of the {} was acknowledged for {}, though sent again {}, {how}; the {} sent {} meanwhile",
            end.name(),
            duration(stall.lasted_ns()),
            times(stall.count),
            end.other().name(),
            counted(stall.peer_frames, "segment"),
        ));
    };
    if let Some(stall) = &side.stall {
        tell(stall, "until the end");
    } else if let Some(stall) = side.longest_stall.as_ref().filter(|stall| stall.count > 1) {
        tell(stall, "then it went on");
    }
    if let Some(stall) = side.stall.or(side.longest_stall)
        && side.delivered_len > 0
        && stall.smallest > side.delivered_len
    {
        said.push(format!(
            "segments of the {} with at most {} got through, those with {} didn't",
            end.name(),
            counted(side.delivered_len, "byte"),
            stall.smallest
        ));
    }
    if let Some((before, after)) = side.shrunk {
        said.push(format!(
            "the {} went from segments of {before} bytes to {after}, and those got through",
            end.name()
        ));
    }
}

fn keepalives(end: End, side: &Side, said: &mut Vec<String>) {
    if side.keepalives_unanswered > 0 {
        said.push(format!(
            "{} of the {} went unanswered at the end",
            counted(side.keepalives_unanswered, "keepalive"),
            end.name()
        ));
    }
}

fn reset(connection: &Connection, reset: &Reset) -> String {
    let (own, name) = (connection.side(reset.from), reset.from.name());
    let flags = if reset.with_ack {
        "RST,ACK"
    } else {
        "a bare RST"
    };
    let peer = connection.side(reset.from.other());
    let after = match reset.at_ns.saturating_sub(peer.last_ns) {
        _ if peer.frames == 0 => String::new(),
        ns => format!(", {} after it", duration(ns)),
    };
    let cause = match reset.cause {
        ResetCause::Syn => format!("to the SYN{after}"),
        ResetCause::SynAck => format!("to the SYN-ACK{after}"),
        ResetCause::DataAfterFin => "to data that came after its FIN".into(),
        ResetCause::Segment => "to a segment with ACK, as without a socket".into(),
        ResetCause::Nothing => "of its own accord".into(),
    };
    let fit = match reset.fit {
        Fit::Exact | Fit::Unknown => "",
        Fit::InWindow => ", in the window but not exact",
        Fit::Outside => ", outside of the window",
    };
    let unread = match reset.bytes_unanswered {
        0 => String::new(),
        bytes => format!(
            "; {} had come since it last sent data",
            counted(bytes, "byte")
        ),
    };
    let hops = match own.hops {
        Some((least, most)) if own.frames > 1 && !(least..=most).contains(&reset.hops) => {
            format!("; TTL {}, its other segments {least} to {most}", reset.hops)
        }
        _ => String::new(),
    };
    format!("the {name} sent {flags} {cause}{fit}{unread}{hops}")
}

fn unanswered(connection: &Connection, end: End, around: Surroundings<'_>, said: &mut Vec<String>) {
    let peer = connection.side(end.other());
    let until = peer.fin_ns.unwrap_or(around.end_ns);
    let waited = peer
        .last_data_ns
        .map_or(0, |asked| until.saturating_sub(asked));
    said.push(format!(
        "the {} acknowledged {} and sent {} since; the {} waited {}",
        end.name(),
        counted(peer.new_bytes, "byte"),
        if connection.side(end).new_bytes == 0 {
            "none"
        } else {
            "no more"
        },
        end.other().name(),
        duration(waited)
    ));
    if peer.fin_acked_ns.is_some() {
        said.push(format!(
            "the {}'s FIN was acknowledged, the {} never sent one",
            end.other().name(),
            end.name()
        ));
    }
}

fn remarks(connection: &Connection, said: &mut Vec<String>) {
    for end in End::BOTH {
        let (side, name) = (connection.side(end), end.name());
        if side.frames == 0 && connection.side(end.other()).acked.is_some() {
            said.push(format!(
                "the capture holds no segment of the {name}: one direction only"
            ));
        }
        if side.acked_unseen > 0 {
            said.push(format!(
                "the {name} acknowledged numbers that the capture doesn't hold"
            ));
        }
        let sums = side.checksums;
        if sums.corrupted() > 0 {
            said.push(format!(
                "{} of the {name} with a wrong checksum",
                counted(sums.wrong, "segment")
            ));
        } else if sums.offloaded + sums.wrong > 0 {
            said.push(format!(
                "checksums of the {name} were left to its NIC: no damage"
            ));
        }
        if side.oversized > 0 {
            said.push(format!(
                "{} of the {name} larger than the MSS: its NIC was to cut them",
                counted(side.oversized, "segment")
            ));
        }
        if side.overtaken > 0 {
            said.push(format!(
                "{} of the {name} overtaken",
                counted(side.overtaken, "segment")
            ));
        }
    }
    if connection.resets_outside > 0 {
        said.push(format!(
            "{} lay outside of the window",
            counted(connection.resets_outside, "reset")
        ));
    }
    if connection.doubles > 0 {
        said.push(format!(
            "{} captured twice",
            counted(connection.doubles, "frame")
        ));
    }
}
