//! [`rows`]: the rows of a connection in a capture as rows of the lab's ladder.
//!
//! It must never draw: `lab::ladder` does, the same for both.

use diagnose::analysis::Judged;
use diagnose::dissect::{IcmpKind, NeighborFrame};
use diagnose::rows::{Mark, Row as CaptureRow, RowEvent};
use diagnose::side::End as CaptureEnd;
use stack::tcp::lang::Base;
use stack::tcp::state::State;

use crate::lab::ladder::{Heads, Paint, draw};
use crate::lab::scenario::{Client, End, Server};
use crate::lab::story::{Row, SegmentInFlight, StoryEvent};

/// The ladder of a connection.
pub(crate) fn text(judged: &Judged<'_>, paint: Paint) -> String {
    let [client, server] = judged.connection.ends;
    let heads = Heads {
        client: format!("client {client}"),
        server: format!("server {server}"),
    };
    draw(&heads, &rows(judged), false, paint)
}

/// The rows of a connection. Times are from the first of them on.
pub(crate) fn rows(judged: &Judged<'_>) -> Vec<Row> {
    let kept = &judged.connection.rows;
    let Some(first) = kept.first().first() else {
        return Vec::new();
    };
    let start_ns = first.at_ns;
    let mut rows: Vec<Row> = kept
        .first()
        .iter()
        .map(|kept| row(kept, start_ns))
        .collect();
    if kept.left_out() > 0
        && let Some(last) = rows.last()
    {
        let gap = Row {
            what: StoryEvent::LeftOut(kept.left_out()),
            ..last.clone()
        };
        rows.push(gap);
    }
    rows.extend(kept.last().map(|kept| row(kept, start_ns)));
    rows
}

fn row(kept: &CaptureRow, start_ns: u64) -> Row {
    let from = end(kept.from);
    Row {
        at_ns: kept.at_ns.saturating_sub(start_ns),
        what: match &kept.what {
            RowEvent::Segment { segment, mark, iss } => {
                let [client, server] = *iss;
                let base = Base {
                    sender_iss: client,
                    receiver_iss: server,
                };
                StoryEvent::Segment(SegmentInFlight {
                    from,
                    segment: *segment,
                    base: if from == Client { base } else { base.reverse() },
                    is_again: *mark == Mark::Again,
                    mark: mark.name().filter(|_| *mark != Mark::Again),
                    neighbor: None,
                    arrives_at_ns: None,
                    lost: None,
                })
            }
            RowEvent::Neighbor(frame) => StoryEvent::Packet {
                from,
                text: neighbor(frame),
                is_solicitation: frame.is_request,
                lost: None,
            },
            RowEvent::Icmp(error) => StoryEvent::Packet {
                from,
                text: format!("ICMP {} from {}", icmp(error.kind), error.reporter),
                is_solicitation: false,
                lost: None,
            },
        },
        conn: 1,
        client: kept.states[0].map_or("", state),
        server: kept.states[1].map_or("", state),
    }
}

const fn end(end: CaptureEnd) -> End {
    match end {
        CaptureEnd::Client => Client,
        CaptureEnd::Server => Server,
    }
}

/// A state's name, short enough for a margin.
pub(crate) const fn state(state: State) -> &'static str {
    match state {
        State::SynReceivedPassive | State::SynReceivedActive => "SYN-RECEIVED",
        other => other.name(),
    }
}

fn neighbor(frame: &NeighborFrame) -> String {
    let protocol = if frame.target.is_ipv4() { "ARP" } else { "NDP" };
    if frame.is_request {
        format!("{protocol} who has {}?", frame.target)
    } else {
        format!("{protocol} {} is here", frame.target)
    }
}

fn icmp(kind: IcmpKind) -> String {
    match kind {
        IcmpKind::TooBig(mtu) => format!("packet too big, MTU {mtu}"),
        IcmpKind::Refused => "refused".into(),
        IcmpKind::Unreachable => "unreachable".into(),
        IcmpKind::HopsExceeded => "hops exceeded".into(),
        _ => "error".into(),
    }
}
