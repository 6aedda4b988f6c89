//! [`svg`]: a scene as a sequence diagram: two lines of life, coloured by state, and what crosses between them.
//!
//! It must never stretch rows by time: each row has the same height, and its time stands beside it.

use diagnose::counted;
use std::fmt::Write as _;

use super::escaped;
use crate::lab::ladder;
use crate::lab::scenario::{Client, End};
use crate::lab::story::{FORGED, Row, Story, StoryEvent};

/// Units of a row, of the margins left and right of the lines, and between the lines.
const ROW: usize = 22;
const LEFT: usize = 190;
const BETWEEN: usize = 430;
const RIGHT: usize = 120;
const HEAD: usize = 34;
/// Rows of a diagram at most: a page is read, not scrolled for ever.
const ROWS_MAX: usize = 400;

/// The diagram; `heads` stand above the lines.
pub(super) fn svg(story: &Story, heads: (&str, &str)) -> String {
    let rows = &story.rows[..story.rows.len().min(ROWS_MAX)];
    let (width, height) = (LEFT + BETWEEN + RIGHT, HEAD + (rows.len() + 1) * ROW);
    let (left, right) = (LEFT, LEFT + BETWEEN);
    let mut out = format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" class=\"sequence\"><title>{} and {}</title>",
        escaped(heads.0),
        escaped(heads.1)
    );
    // A string takes everything.
    let _ = write!(
        out,
        "<text class=\"head\" x=\"{left}\" y=\"14\" text-anchor=\"middle\">{}</text>\
         <text class=\"head\" x=\"{right}\" y=\"14\" text-anchor=\"middle\">{}</text>",
        escaped(heads.0),
        escaped(heads.1)
    );
    life(&mut out, left, &states(rows, |row| row.client), "end");
    life(&mut out, right, &states(rows, |row| row.server), "start");
    for (n, row) in rows.iter().enumerate() {
        let y = middle_of(n);
        let at = format!("{:.3}", row.at_ns as f64 / 1e6);
        let _ = write!(
            out,
            "<text class=\"time\" x=\"62\" y=\"{}\" text-anchor=\"end\">{at}</text>",
            y + 4
        );
        event(&mut out, row, y, story.has_several_connections);
    }
    let left_out = story.rows.len() - rows.len();
    if left_out > 0 {
        let y = middle_of(rows.len()) + 4;
        let _ = write!(
            out,
            "<text class=\"note\" x=\"{}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
            (left + right) / 2,
            counted(left_out, "more row")
        );
    }
    out + "</svg>"
}

const fn middle_of(row: usize) -> usize {
    HEAD + row * ROW + ROW / 2
}

/// The state after each row; rows about no connection change none.
fn states(rows: &[Row], of: impl Fn(&Row) -> &'static str) -> Vec<&'static str> {
    let mut last = "";
    let state = |row: &Row| {
        if row.conn != 0 || last.is_empty() {
            last = of(row);
        }
        last
    };
    rows.iter().map(state).collect()
}

/// A line of life: a bar for each run of one state, with its name where it begins.
fn life(out: &mut String, x: usize, states: &[&'static str], anchor: &str) {
    let mut at = 0;
    for run in states.chunk_by(|a, b| a == b) {
        let (top, len) = (HEAD + at * ROW, run.len() * ROW);
        let _ = write!(
            out,
            "<rect class=\"life {}\" x=\"{}\" y=\"{top}\" width=\"6\" height=\"{len}\"/>",
            class(run[0]),
            x - 3
        );
        let text_x = if anchor == "end" { x - 8 } else { x + 8 };
        let _ = write!(
            out,
            "<text class=\"state\" x=\"{text_x}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            top + ROW / 2 + 4,
            escaped(run[0])
        );
        at += run.len();
    }
}

/// The class of a state's colour.
fn class(state: &str) -> &'static str {
    match state {
        "ESTABLISHED" => "open",
        "SYN-SENT" | "SYN-RECEIVED" => "opening",
        "FIN-WAIT-1" | "FIN-WAIT-2" | "CLOSE-WAIT" | "CLOSING" | "LAST-ACK" => "closing",
        "TIME-WAIT" => "waiting",
        "(off)" | "(frozen)" => "off",
        _ => "none",
    }
}

fn event(out: &mut String, row: &Row, y: usize, names_connection: bool) {
    let (left, right) = (LEFT + 4, LEFT + BETWEEN - 4);
    let number = match row.conn {
        0 => String::new(),
        conn if names_connection => format!("#{conn} "),
        _ => String::new(),
    };
    match &row.what {
        StoryEvent::Segment(carried) => {
            let class = match carried {
                _ if carried.lost.is_some() => "lost",
                _ if carried.mark == Some(FORGED) => "forged",
                _ if carried.segment.flags.rst() => "rst",
                _ if carried.is_again => "again",
                _ => "seg",
            };
            let lost = carried
                .lost
                .map_or(String::new(), |why| format!(" ({why})"));
            let text = format!("{number}{}{lost}", ladder::numbers(carried));
            arrow(out, carried.from, y, class, &text, carried.lost.is_some());
        }
        StoryEvent::Packet {
            from, text, lost, ..
        } => {
            let class = if lost.is_some() { "lost" } else { "packet" };
            let why = lost.map_or(String::new(), |why| format!(" ({why})"));
            arrow(
                out,
                *from,
                y,
                class,
                &format!("{text}{why}"),
                lost.is_some(),
            );
        }
        _ => {
            let Some((side, text)) = ladder::remark(row) else {
                return;
            };
            let (x, anchor) = match side {
                Some(Client) => (left + 4, "start"),
                Some(_) => (right - 4, "end"),
                None => ((left + right) / 2, "middle"),
            };
            let _ = write!(
                out,
                "<text class=\"note\" x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
                y + 4,
                escaped(&format!("{number}{text}"))
            );
        }
    }
}

/// An arrow between the lines, or halfway with a cross where it is lost; its text above it.
fn arrow(out: &mut String, from: End, y: usize, class: &str, text: &str, is_lost: bool) {
    let (left, right) = (LEFT + 4, LEFT + BETWEEN - 4);
    let (start, whole) = match from {
        Client => (left, right),
        _ => (right, left),
    };
    let end = if is_lost { (start + whole) / 2 } else { whole };
    let y = y + 6;
    let _ = write!(
        out,
        "<line class=\"{class}\" x1=\"{start}\" y1=\"{y}\" x2=\"{end}\" y2=\"{y}\"/>"
    );
    let back = if whole > start { -1 } else { 1 };
    let (tip, wing) = (end as i64, end as i64 + back * 7);
    if is_lost {
        let _ = write!(
            out,
            "<path class=\"{class}\" d=\"M{0} {1}l8 8m0 -8l-8 8\"/>",
            tip - 4,
            y - 4
        );
    } else {
        let _ = write!(
            out,
            "<path class=\"{class}\" d=\"M{wing} {0}L{tip} {y}L{wing} {1}\"/>",
            y - 4,
            y + 4
        );
    }
    let _ = write!(
        out,
        "<text class=\"label {class}\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
        (LEFT + LEFT + BETWEEN) / 2,
        y - 4,
        escaped(text)
    );
}
