//! [`svg`]: the state diagram of RFC 9293 figure 5, with the edges coloured that the two ends of a scene went along.
//!
//! It must never colour what was not seen: an end that is looked at too late skips a state, and that is drawn as a dashed edge.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use stack::tcp::state::State;

use crate::lab::recording::{RecordedEvent, Recording};
use crate::lab::scenario::{Client, End, Server};

/// Where each state stands: the middle of its box, in units of the drawing.
const PLACES: [(&str, i32, i32); 11] = [
    ("CLOSED", 300, 24),
    ("LISTEN", 150, 84),
    ("SYN-SENT", 450, 84),
    ("SYN-RECEIVED", 150, 150),
    ("ESTABLISHED", 300, 200),
    ("FIN-WAIT-1", 110, 260),
    ("CLOSE-WAIT", 490, 260),
    ("FIN-WAIT-2", 110, 330),
    ("CLOSING", 300, 330),
    ("LAST-ACK", 490, 330),
    ("TIME-WAIT", 300, 396),
];

/// The edges of the RFC.
const EDGES: [(&str, &str); 20] = [
    ("CLOSED", "LISTEN"),
    ("CLOSED", "SYN-SENT"),
    ("LISTEN", "SYN-RECEIVED"),
    ("LISTEN", "SYN-SENT"),
    ("SYN-SENT", "SYN-RECEIVED"),
    ("SYN-SENT", "ESTABLISHED"),
    ("SYN-SENT", "CLOSED"),
    ("SYN-RECEIVED", "ESTABLISHED"),
    ("SYN-RECEIVED", "FIN-WAIT-1"),
    ("SYN-RECEIVED", "LISTEN"),
    ("ESTABLISHED", "FIN-WAIT-1"),
    ("ESTABLISHED", "CLOSE-WAIT"),
    ("FIN-WAIT-1", "FIN-WAIT-2"),
    ("FIN-WAIT-1", "CLOSING"),
    ("FIN-WAIT-1", "TIME-WAIT"),
    ("FIN-WAIT-2", "TIME-WAIT"),
    ("CLOSING", "TIME-WAIT"),
    ("CLOSE-WAIT", "LAST-ACK"),
    ("LAST-ACK", "CLOSED"),
    ("TIME-WAIT", "CLOSED"),
];

/// Half of a box.
const HALF: (i32, i32) = (58, 14);

/// Edges that an end went along.
type Visited = BTreeSet<(&'static str, &'static str)>;

/// The diagram of everything that these scenes showed.
pub(super) fn svg(recordings: &[&Recording]) -> String {
    let visited = [Client, Server].map(|side| visited(recordings, side));
    let mut out = String::from(
        "<svg viewBox=\"0 0 600 420\" role=\"img\" class=\"machine\"><title>States</title>",
    );
    for edge in EDGES {
        line(&mut out, edge, "edge");
    }
    for (seen, class) in visited.iter().zip(["client", "server"]) {
        for edge in seen {
            let kind = if EDGES.contains(edge) { "" } else { " skips" };
            line(&mut out, *edge, &format!("edge {class}{kind}"));
        }
    }
    for (name, x, y) in PLACES {
        let is_seen = |seen: &Visited| seen.iter().any(|(from, to)| *from == name || *to == name);
        let class = if visited.iter().any(is_seen) {
            "box seen"
        } else {
            "box"
        };
        // A string takes everything.
        let _ = write!(
            out,
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"4\"/>\
             <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
            x - HALF.0,
            y - HALF.1,
            2 * HALF.0,
            2 * HALF.1,
            y + 4
        );
    }
    out + "</svg>"
}

fn visited(recordings: &[&Recording], side: End) -> Visited {
    let mut all = Visited::new();
    for recording in recordings {
        let mut conns: Vec<(u16, &'static str)> = Vec::new();
        for event in &recording.events {
            let RecordedEvent::State {
                side: whose,
                conn,
                state,
            } = event.what
            else {
                continue;
            };
            if whose != side {
                continue;
            }
            let start = if side == Server && recording.listens {
                "LISTEN"
            } else {
                "CLOSED"
            };
            let place = match conns.iter().position(|(known, _)| *known == conn) {
                Some(place) => place,
                None => {
                    conns.push((conn, start));
                    conns.len() - 1
                }
            };
            let to = match state {
                // A half-open connection goes back to LISTEN.
                State::Closed if conns[place].1 == "SYN-RECEIVED" => start,
                State::SynReceivedActive | State::SynReceivedPassive => "SYN-RECEIVED",
                other => other.name(),
            };
            let from =
                std::mem::replace(&mut conns[place].1, if to == "CLOSED" { start } else { to });
            if from != to {
                all.insert((from, to));
            }
        }
    }
    all
}

/// An edge from box to box, a little aside so that two of opposite directions don't cover each other.
fn line(out: &mut String, (from, to): (&str, &str), class: &str) {
    let place = |name: &str| PLACES.iter().find(|(known, ..)| *known == name);
    let (Some((_, x1, y1)), Some((_, x2, y2))) = (place(from), place(to)) else {
        return;
    };
    let (dx, dy) = (f64::from(x2 - x1), f64::from(y2 - y1));
    let len = dx.hypot(dy).max(1.0);
    let (aside_x, aside_y) = (-dy / len * 6.0, dx / len * 6.0);
    // Where the line leaves the box.
    let cut = |dx: f64, dy: f64| {
        let by_x = if dx == 0.0 {
            f64::MAX
        } else {
            (f64::from(HALF.0) + 2.0) / dx.abs()
        };
        let by_y = if dy == 0.0 {
            f64::MAX
        } else {
            (f64::from(HALF.1) + 2.0) / dy.abs()
        };
        by_x.min(by_y).min(0.5)
    };
    let part = cut(dx, dy);
    let start = (
        f64::from(*x1) + dx * part + aside_x,
        f64::from(*y1) + dy * part + aside_y,
    );
    let end = (
        f64::from(*x2) - dx * part + aside_x,
        f64::from(*y2) - dy * part + aside_y,
    );
    let _ = write!(
        out,
        "<line class=\"{class}\" x1=\"{:.0}\" y1=\"{:.0}\" x2=\"{:.0}\" y2=\"{:.0}\"/>",
        start.0, start.1, end.0, end.1
    );
    let (ux, uy) = (dx / len, dy / len);
    let wing = |turn: f64| {
        let (x, y) = (
            end.0 - 7.0 * ux - turn * 4.0 * uy,
            end.1 - 7.0 * uy + turn * 4.0 * ux,
        );
        format!("{x:.0},{y:.0}")
    };
    let _ = write!(
        out,
        "<polygon class=\"{class}\" points=\"{:.0},{:.0} {} {}\"/>",
        end.0,
        end.1,
        wing(1.0),
        wing(-1.0)
    );
}
