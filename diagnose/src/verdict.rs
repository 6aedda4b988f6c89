//! [`Verdict`]: which [`Situation`] a connection was in, and how sure that is.
//!
//! It must never say "certain" where the capture may hide what speaks against it: frames of one direction only, a beginning or
//! an end outside of it, frames that it lost.

use crate::connection::Connection;
use crate::dissect::IcmpKind;
use crate::neighbors::Neighbors;
use crate::reset::{Fit, Reset, ResetCause};
use crate::servers::Servers;
use crate::side::{End, Stall};
use crate::situation::{Certainty, Situation};

use Certainty::{Certain, Likely, Possible};

/// ARP or NDP questions without an answer from which on a host counts as gone.
pub const QUESTIONS: u32 = 3;
/// Retransmissions without an answer from which on an end counts as silent.
const AGAIN: u32 = 3;
/// A stall, a closed window and the like count from here on, in ns.
const LONG_NS: u64 = 1_000_000_000;
/// An application that hasn't answered for so long may be silent, in ns.
const SILENT_NS: u64 = 3_000_000_000;
/// Segments from this length on are ones that a small MTU stops, in bytes.
const LARGE_LEN: u32 = 512;
/// Retransmissions count as loss from one in so many segments on.
const LOSS_ONE_IN: u64 = 1_000;

/// The facts beside the connection.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// When the capture ended, in ns since 1970.
    pub(crate) end_ns: u64,
    /// Hosts that were asked for and didn't answer.
    pub(crate) neighbors: &'a Neighbors,
    /// The other connections to the same port.
    pub(crate) servers: &'a Servers,
}

/// The verdict on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// The class.
    pub situation: Situation,
    /// How sure that is.
    pub certainty: Certainty,
    /// Whose doing or misfortune it is, where that can be said.
    pub end: Option<End>,
}

const fn verdict(situation: Situation, certainty: Certainty, end: Option<End>) -> Option<Verdict> {
    Some(Verdict {
        situation,
        certainty,
        end,
    })
}

/// Judges a connection.
#[must_use]
pub(crate) fn judge(connection: &Connection, around: Surroundings<'_>) -> Verdict {
    let found = if is_before_established(connection) {
        of_attempt(connection, around)
    } else {
        of_open(connection, around)
    };
    let mut found = found.unwrap_or(Verdict {
        situation: Situation::Normal,
        certainty: if is_whole(connection) {
            Certain
        } else {
            Likely
        },
        end: None,
    });
    if !sees_all(connection) {
        found.certainty = found.certainty.min(Likely);
    }
    found
}

/// Whether the capture holds the connection from the SYN to both FINs.
fn is_whole(connection: &Connection) -> bool {
    connection.saw_handshake
        && connection
            .sides
            .iter()
            .all(|side| side.fin_acked_ns.is_some())
}

/// Whether the capture lost nothing of it and holds both directions, as far as can be seen.
fn sees_all(connection: &Connection) -> bool {
    let [client, server] = &connection.sides;
    let one_way = |side: &crate::side::Side, peer: &crate::side::Side| {
        side.frames == 0 && peer.acked.is_some()
    };
    client.acked_unseen == 0
        && server.acked_unseen == 0
        && !one_way(client, server)
        && !one_way(server, client)
}

fn is_before_established(connection: &Connection) -> bool {
    let answers_syn = connection
        .reset
        .is_some_and(|reset| matches!(reset.cause, ResetCause::Syn | ResetCause::SynAck));
    answers_syn || (connection.saw_handshake && connection.established_ns.is_none())
}

/// A connection that was never open.
fn of_attempt(connection: &Connection, around: Surroundings<'_>) -> Option<Verdict> {
    let (client, server) = (connection.side(End::Client), connection.side(End::Server));
    if let Some(reset) = connection.reset {
        return of_attempt_reset(connection, &reset);
    }
    if server.syn.count > 0 {
        return of_syn_ack(connection, around);
    }
    if client.syn.count == 0 {
        return None;
    }
    if let Some(icmp) = connection.icmp {
        // A host's own kernel says so to itself: its ARP or NDP went unanswered.
        if icmp.reporter == icmp.receiver && icmp.kind == IcmpKind::Unreachable {
            return verdict(Situation::NeighborDead, Likely, Some(End::Server));
        }
        return match icmp.kind {
            IcmpKind::Refused => verdict(Situation::Rejected, Certain, Some(End::Server)),
            IcmpKind::Unreachable | IcmpKind::HopsExceeded => {
                verdict(Situation::HostUnreachable, Certain, Some(End::Server))
            }
            _ => verdict(Situation::NoneOfThese, Possible, None),
        };
    }
    let target = connection.ends[End::Server as usize];
    if let Some(asked) = around.neighbors.unanswered(target.ip, QUESTIONS)
        && asked.last_ns + SILENT_NS * 4 > connection.first_ns
    {
        return verdict(Situation::NeighborDead, Likely, Some(End::Server));
    }
    // Another connection to the port was opened: a host that is there, and a port that isn't filtered.
    let others = around.servers.get(target);
    if others.established > 0 && client.syn.count > 1 && !others.is_flooded() {
        return verdict(Situation::QueueFull, Possible, Some(End::Server));
    }
    let has_waited =
        client.syn.count > 1 || around.end_ns.saturating_sub(client.syn.first_ns) > LONG_NS;
    let certainty = if has_waited { Likely } else { Possible };
    verdict(Situation::NoAnswer, certainty, Some(End::Server))
}

fn of_attempt_reset(connection: &Connection, reset: &Reset) -> Option<Verdict> {
    let client = connection.side(End::Client);
    match (reset.cause, reset.from) {
        (ResetCause::Syn, from) => {
            let is_exact = reset.fit == Fit::Exact && client.syn.count > 0;
            let certainty = if is_exact { Certain } else { Likely };
            verdict(Situation::PortClosed, certainty, Some(from))
        }
        (ResetCause::SynAck, from) => verdict(Situation::GaveUp, Certain, Some(from)),
        // With ACK: the client closed a socket that it had half opened, or the server ended its embryo.
        (_, End::Client) => verdict(Situation::GaveUp, Likely, Some(End::Client)),
        (_, End::Server) if connection.side(End::Server).syn.count > 0 => {
            verdict(Situation::QueueFull, Possible, Some(End::Server))
        }
        (_, from) => verdict(Situation::NoneOfThese, Possible, Some(from)),
    }
}

/// A SYN-ACK that drew no ACK.
fn of_syn_ack(connection: &Connection, around: Surroundings<'_>) -> Option<Verdict> {
    let server = connection.side(End::Server);
    let is_again = server.syn.count > 1;
    let waited_ns = around.end_ns.saturating_sub(server.syn.first_ns);
    // A handshake under way, as far as the capture shows.
    if !is_again && waited_ns < LONG_NS && !around.servers.get(connection.ends[1]).is_flooded() {
        return None;
    }
    let certainty = if is_again { Certain } else { Likely };
    verdict(Situation::HalfOpen, certainty, Some(End::Client))
}

/// A connection that was open.
fn of_open(connection: &Connection, around: Surroundings<'_>) -> Option<Verdict> {
    stale(connection)
        .or_else(|| queue_full(connection))
        .or_else(|| mtu_black_hole(connection))
        .or_else(|| zero_window(connection))
        .or_else(|| silence(connection))
        .or_else(|| of_reset(connection))
        .or_else(|| app_silent(connection, around))
        .or_else(|| corruption(connection))
        .or_else(|| outage(connection))
        .or_else(|| loss(connection))
        .or_else(|| oddity(connection))
}

fn stale(connection: &Connection) -> Option<Verdict> {
    let from = connection.late_syn?;
    let is_reset = connection.reset.is_some_and(|reset| reset.from == from);
    let certainty = if is_reset { Certain } else { Likely };
    verdict(Situation::StaleConnection, certainty, Some(from))
}

/// The client acknowledged the SYN-ACK, and the server sends it again, and takes no data.
fn queue_full(connection: &Connection) -> Option<Verdict> {
    let (client, server) = (connection.side(End::Client), connection.side(End::Server));
    let takes_nothing = server.data_frames == 0
        && server
            .acked
            .is_none_or(|acked| client.iss.is_some_and(|iss| acked.since(iss) <= 1));
    if server.syn.again_after_ack == 0 || !takes_nothing {
        return None;
    }
    let certainty = if server.syn.again_after_ack >= 2 {
        Likely
    } else {
        Possible
    };
    verdict(Situation::QueueFull, certainty, Some(End::Server))
}

/// A stall that the capture ends with, or the longest one. What is sent again behind a reset is no stall: its receiver is gone.
fn worst_stall(connection: &Connection, sender: End) -> Option<(Stall, bool)> {
    let side = connection.side(sender);
    let is_long = |stall: &Stall| {
        let is_behind_reset = connection
            .reset
            .is_some_and(|reset| reset.at_ns < stall.last_ns);
        stall.count >= AGAIN && stall.lasted_ns() >= LONG_NS && !is_behind_reset
    };
    let unended = side.stall.filter(is_long).map(|stall| (stall, true));
    unended.or_else(|| {
        side.longest_stall
            .filter(is_long)
            .map(|stall| (stall, false))
    })
}

fn mtu_black_hole(connection: &Connection) -> Option<Verdict> {
    for sender in End::BOTH {
        let side = connection.side(sender);
        let Some((stall, is_unended)) = worst_stall(connection, sender) else {
            continue;
        };
        // Segments that were smaller got through, before or after; the other end is there.
        let only_large = stall.smallest > side.delivered_len.max(256);
        let smaller_arrived = side.sacked_len > 0 && side.sacked_len < stall.smallest;
        let peer_is_there = smaller_arrived || stall.peer_frames > 0;
        if is_unended && only_large && peer_is_there {
            return verdict(Situation::MtuBlackHole, Likely, Some(sender));
        }
        // Nothing was heard since. Had a segment of that size got through before, it would be silence.
        if is_unended && only_large && stall.smallest >= LARGE_LEN && side.frames > 0 {
            return verdict(Situation::MtuBlackHole, Possible, Some(sender));
        }
        if !is_unended
            && let Some((before, after)) = side.shrunk
            && after < before
        {
            return verdict(Situation::MtuBlackHole, Likely, Some(sender));
        }
    }
    None
}

fn zero_window(connection: &Connection) -> Option<Verdict> {
    let blocked = End::BOTH
        .into_iter()
        .max_by_key(|end| connection.side(*end).closed_window.longest_ns())?;
    let closed = connection.side(blocked).closed_window;
    let is_long = closed.longest_ns() >= LONG_NS || closed.answered_probes >= 2;
    if !is_long {
        return None;
    }
    // Probes without an answer: the host is gone as well.
    let sender = connection.side(blocked.other());
    if closed.since_ns.is_some()
        && sender.last_ns > connection.side(blocked).last_ns + 5 * LONG_NS
        && sender.keepalives_unanswered + closed.probes > closed.answered_probes + AGAIN
    {
        return None;
    }
    let certainty = if closed.answered_probes > 0 {
        Certain
    } else {
        Likely
    };
    verdict(Situation::ZeroWindow, certainty, Some(blocked))
}

fn silence(connection: &Connection) -> Option<Verdict> {
    for sender in End::BOTH {
        let side = connection.side(sender);
        let silent = sender.other();
        if let Some((stall, true)) = worst_stall(connection, sender) {
            // Its other segments come: only one direction is dead, or one size.
            let certainty = if stall.peer_frames == 0 {
                Likely
            } else {
                Possible
            };
            return verdict(Situation::Silence, certainty, Some(silent));
        }
        if side.keepalives_unanswered >= AGAIN {
            return verdict(Situation::Silence, Likely, Some(silent));
        }
        let probes = connection.side(silent).closed_window;
        if probes.since_ns.is_some() && probes.probes > probes.answered_probes + AGAIN {
            return verdict(Situation::Silence, Likely, Some(silent));
        }
    }
    None
}

fn of_reset(connection: &Connection) -> Option<Verdict> {
    let reset = connection.reset?;
    let from = reset.from;
    let (own, peer) = (connection.side(from), connection.side(from.other()));
    if connection.frames_after_reset > 2 {
        return verdict(Situation::NoneOfThese, Possible, Some(from));
    }
    // Both have closed: what a stray segment draws afterwards is no news.
    if own.fin_acked_ns.is_some() && peer.fin_ns.is_some() && peer.data_after_fin_ns.is_none() {
        return None;
    }
    if own.frames >= 3
        && own
            .hops
            .is_some_and(|(least, most)| !(least..=most).contains(&reset.hops))
    {
        return verdict(Situation::MiddleboxReset, Likely, Some(from));
    }
    let both_ways = peer.frames > 0 && own.frames > 1;
    let sure = |certainty| {
        if both_ways && reset.fit == Fit::Exact {
            certainty
        } else {
            Possible
        }
    };
    match (reset.with_ack, reset.cause) {
        (_, ResetCause::DataAfterFin) => {
            verdict(Situation::DataAfterClose, sure(Certain), Some(from))
        }
        (true, _) if own.fin_ns.is_some() && peer.data_after_fin_ns.is_some() => {
            verdict(Situation::DataAfterClose, sure(Likely), Some(from))
        }
        (true, _) => verdict(Situation::Aborted, sure(Likely), Some(from)),
        (false, ResetCause::Segment) if own.fin_ns.is_some() => {
            verdict(Situation::DataAfterClose, sure(Likely), Some(from))
        }
        (false, ResetCause::Segment) => verdict(Situation::NoSocket, sure(Likely), Some(from)),
        (false, _) if own.fin_ns.is_some() => {
            verdict(Situation::DataAfterClose, Possible, Some(from))
        }
        (false, _) => verdict(Situation::NoSocket, Possible, Some(from)),
    }
}

/// One end's data or FIN is acknowledged, and its application says nothing.
fn app_silent(connection: &Connection, around: Surroundings<'_>) -> Option<Verdict> {
    for silent in End::BOTH {
        let (own, peer) = (connection.side(silent), connection.side(silent.other()));
        if own.frames == 0 || own.fin_ns.is_some() || peer.new_bytes == 0 || peer.frames == 0 {
            continue;
        }
        let Some(asked_ns) = peer.last_data_ns else {
            continue;
        };
        let is_acknowledged = peer.outstanding_since_ns.is_none();
        let is_unanswered = own.last_data_ns.is_none_or(|answered| answered < asked_ns);
        if !is_acknowledged || !is_unanswered {
            continue;
        }
        let gave_up_ns = peer.fin_ns.unwrap_or(around.end_ns);
        let waited_ns = gave_up_ns.saturating_sub(asked_ns);
        let never_spoke = own.new_bytes == 0;
        let closed_alone = peer
            .fin_acked_ns
            .is_some_and(|at| around.end_ns.saturating_sub(at) > LONG_NS / 2);
        if peer.fin_ns.is_some() && (closed_alone || waited_ns >= SILENT_NS) {
            let certainty = if waited_ns >= SILENT_NS {
                Likely
            } else {
                Possible
            };
            return verdict(Situation::AppSilent, certainty, Some(silent));
        }
        if peer.fin_ns.is_none() && never_spoke && waited_ns >= SILENT_NS {
            return verdict(Situation::AppSilent, Possible, Some(silent));
        }
    }
    None
}

fn corruption(connection: &Connection) -> Option<Verdict> {
    let damaged = End::BOTH
        .into_iter()
        .find(|end| connection.side(*end).checksums.corrupted() > 0)?;
    verdict(Situation::Corruption, Likely, Some(damaged))
}

fn outage(connection: &Connection) -> Option<Verdict> {
    let sender = End::BOTH
        .into_iter()
        .find(|end| worst_stall(connection, *end).is_some())?;
    verdict(Situation::Outage, Likely, Some(sender.other()))
}

fn loss(connection: &Connection) -> Option<Verdict> {
    for sender in End::BOTH {
        let side = connection.side(sender);
        let again = u64::from(side.again.count);
        if again >= AGAIN.into() && again * LOSS_ONE_IN >= side.data_frames {
            return verdict(Situation::Loss, Likely, Some(sender));
        }
    }
    let syns = connection.side(End::Client).syn.count;
    (syns > 2).then_some(Verdict {
        situation: Situation::Loss,
        certainty: Possible,
        end: Some(End::Client),
    })
}

/// A reset that the rules above have no word for.
fn oddity(connection: &Connection) -> Option<Verdict> {
    if connection.resets_outside > 0 && connection.resets_outside == connection.resets {
        return verdict(Situation::NoneOfThese, Possible, None);
    }
    None
}
