//! The packet ladder: the rows of a story or of a capture as text, one line per row, at most [`WIDTH`] columns.
//!
//! It must never leave out what the story contains: what doesn't fit goes on a line of its own.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use super::scenario::{Client, End, Server, nud};
use super::story::{Row, SegmentInFlight, StoryEvent};

/// Columns of a line at most.
pub(crate) const WIDTH: usize = 100;
/// Columns of the time.
const TIME: usize = 10;
/// Columns of the state at each margin.
const MARGIN: usize = 12;
/// Columns between the two bars.
const MIDDLE: usize = WIDTH - TIME - 2 * MARGIN - 5;

/// Colours of a terminal, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Plain text.
    Plain,
    /// SGR sequences (ECMA-48).
    Colour,
}

impl Paint {
    /// Colours when stdout is a terminal and NO_COLOR (<https://no-color.org>) isn't set.
    pub(crate) fn of_stdout() -> Self {
        if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
            Self::Colour
        } else {
            Self::Plain
        }
    }
}

/// The titles of the two margins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heads {
    /// Above the left one.
    pub(crate) client: String,
    /// Above the right one.
    pub(crate) server: String,
}

/// The ladder with its head; `names_connections`: each row says which connection it is about.
pub(crate) fn draw(heads: &Heads, rows: &[Row], names_connections: bool, paint: Paint) -> String {
    let mut out = head(heads);
    for row in rows {
        out += &line(row, names_connections, paint);
    }
    out
}

/// The text of a row: usually one line.
pub(crate) fn line(row: &Row, names_connections: bool, paint: Paint) -> String {
    let mut out = String::new();
    for (n, middle) in middle(row, names_connections).into_iter().enumerate() {
        let time = if n == 0 {
            millis(row.at_ns)
        } else {
            String::new()
        };
        let line = format!(
            "{time:>TIME$} {:>MARGIN$} |{}| {}",
            row.client,
            painted(row, &middle, paint),
            row.server
        );
        // A string takes everything.
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// `1234.567`: ms with µs.
fn millis(ns: u64) -> String {
    let us = ns / 1000;
    format!("{}.{:03}", us / 1000, us % 1000)
}

/// The line above the first row.
pub(crate) fn head(heads: &Heads) -> String {
    let (left, right) = (&heads.client, &heads.server);
    let title = format!("{:>TIME$} {:>MARGIN$}  ", "ms", "state");
    if left.len() + right.len() < MIDDLE {
        let room = MIDDLE - left.len();
        return format!("{title}{left}{right:>room$}\n");
    }
    // Two IPv6 addresses don't fit into one line.
    format!(
        "{title}{left}\n{:>TIME$} {:>MARGIN$}  {right:>MIDDLE$}\n",
        "", ""
    )
}

/// The lines between the bars; usually one.
fn middle(row: &Row, names_connections: bool) -> Vec<String> {
    match &row.what {
        StoryEvent::Segment(carried) => segment(carried, row.conn, names_connections),
        StoryEvent::Packet {
            from, text, lost, ..
        } => vec![arrow(*from, text, *lost)],
        _ => {
            let Some((side, text)) = remark(row) else {
                return Vec::new();
            };
            let is_about_one = matches!(row.what, StoryEvent::Calls(..) | StoryEvent::Sees(..));
            let number = connection(row.conn, names_connections && is_about_one);
            vec![match side {
                Some(side) => note(side, &format!("{number}{text}")),
                None => format!("{:^MIDDLE$}", cut(&text, MIDDLE)),
            }]
        }
    }
}

/// The text of a row that is no frame, and its side; `None`: between them.
pub(crate) fn remark(row: &Row) -> Option<(Option<End>, String)> {
    Some(match &row.what {
        StoryEvent::Segment(_) | StoryEvent::Packet { .. } => return None,
        StoryEvent::Calls(side, call) => (Some(*side), call.clone()),
        StoryEvent::Sees(side, seen) => (Some(*side), format!("-> {seen}")),
        StoryEvent::Neighbor(side, state) => {
            let state = state.map_or("gone", nud);
            (Some(*side), format!("neighbour entry: {state}"))
        }
        StoryEvent::PoweredOff(side) => (Some(*side), "the host has no power".into()),
        StoryEvent::PoweredOn(side) => (Some(*side), "the host boots, and knows nothing".into()),
        StoryEvent::Cable { side, plugged } => {
            let what = if *plugged { "plugged in" } else { "pulled" };
            (Some(*side), format!("the cable is {what}"))
        }
        StoryEvent::Frozen(side, true) => (Some(*side), "the machine stands still".into()),
        StoryEvent::Frozen(side, false) => (
            Some(*side),
            "the machine goes on, and knows all that it knew".into(),
        ),
        StoryEvent::Network(what) => (None, format!("~ {what} ~")),
        StoryEvent::LeftOut(rows) => (None, format!("... {rows} more ...")),
    })
}

fn connection(conn: u16, is_said: bool) -> String {
    if is_said && conn != 0 {
        format!("#{conn} ")
    } else {
        String::new()
    }
}

/// The segment with as much as fits beside an arrow; the neighbour entry follows on its own line if it must.
fn segment(carried: &SegmentInFlight, conn: u16, names_connection: bool) -> Vec<String> {
    let number = connection(conn, names_connection);
    let full = format!("{number}{}{}", numbers(carried), options(carried));
    let entry = carried
        .neighbor
        .filter(|_| carried.segment.flags.syn() && !carried.segment.flags.ack())
        .map(|state| format!("[{}]", nud(state)));
    let mut lines = Vec::new();
    match entry {
        Some(entry) if full.len() + entry.len() + 4 <= MIDDLE => {
            lines.push(arrow(
                carried.from,
                &format!("{full} {entry}"),
                carried.lost,
            ));
        }
        Some(entry) => {
            lines.push(arrow(carried.from, &full, carried.lost));
            lines.push(note(carried.from, &format!("neighbour entry: {entry}")));
        }
        None => lines.push(arrow(carried.from, &full, carried.lost)),
    }
    lines
}

/// A segment in words: flags, marks, numbers.
pub(crate) fn numbers(carried: &SegmentInFlight) -> String {
    let (segment, base) = (&carried.segment, carried.base);
    let again = if carried.is_again { " again" } else { "" };
    let mark = carried
        .mark
        .map_or(String::new(), |mark| format!(" ({mark})"));
    let mut text = format!(
        "{}{again}{mark} seq {}",
        segment.flags,
        segment.seq.since(base.sender_iss)
    );
    if segment.flags.ack() {
        let _ = write!(text, " ack {}", segment.ack.since(base.receiver_iss));
    }
    let _ = write!(text, " win {}", segment.window);
    if segment.payload_len > 0 {
        let _ = write!(text, " len {}", segment.payload_len);
    }
    if let Some(at_ns) = carried.arrives_at_ns {
        let _ = write!(text, " (arrives at {})", at_ns / 1_000_000);
    }
    text
}

/// The options that a handshake negotiates; timestamps stand on every segment and are said only there.
fn options(carried: &SegmentInFlight) -> String {
    let options = &carried.segment.options;
    if !carried.segment.flags.syn() || carried.is_again {
        return String::new();
    }
    let said: Vec<String> = [
        options.mss.map(|mss| format!("mss {mss}")),
        options.window_scale.map(|shift| format!("ws {shift}")),
        options.sack_permitted.then(|| "sackOK".to_owned()),
        options.timestamps.map(|_| "ts".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect();
    if said.is_empty() {
        String::new()
    } else {
        format!(" <{}>", said.join(","))
    }
}

/// `text ------->` from the left, `<------- text` from the right; one that is lost ends in `X` halfway.
fn arrow(from: End, text: &str, lost: Option<&str>) -> String {
    let text = match lost.map(|why| format!("{text} ({why})")) {
        Some(told) if told.chars().count() + 6 <= MIDDLE => told,
        _ => cut(text, MIDDLE - 3),
    };
    let room = MIDDLE - text.chars().count() - 1;
    let shaft = match lost {
        None => "-".repeat(room - 1),
        Some(_) => "-".repeat((room - 1) / 2),
    };
    match (from, lost) {
        (Client, None) => format!("{text} {shaft}>"),
        (Client, Some(_)) => format!("{:<MIDDLE$}", format!("{text} {shaft}X")),
        (Server, None) => format!("<{shaft} {text}"),
        (Server, Some(_)) => format!("{:>MIDDLE$}", format!("X{shaft} {text}")),
    }
}

/// A remark at one side.
fn note(side: End, text: &str) -> String {
    match side {
        Client => format!("{:<MIDDLE$}", cut(&format!("* {text}"), MIDDLE)),
        Server => format!("{:>MIDDLE$}", cut(&format!("{text} *"), MIDDLE)),
    }
}

fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns.saturating_sub(2)).collect();
    kept + ".."
}

fn painted(row: &Row, middle: &str, paint: Paint) -> String {
    let colour = match &row.what {
        _ if paint == Paint::Plain => return middle.to_owned(),
        StoryEvent::Segment(carried) if carried.lost.is_some() => "31;2",
        StoryEvent::Packet { lost: Some(_), .. } => "31;2",
        StoryEvent::Segment(carried) if carried.segment.flags.rst() => "31",
        StoryEvent::Segment(carried) if carried.is_again => "33",
        StoryEvent::Segment(_) => "32",
        StoryEvent::Packet { .. } => "35",
        StoryEvent::Calls(..) | StoryEvent::Sees(..) => "36",
        StoryEvent::Neighbor(..)
        | StoryEvent::PoweredOff(_)
        | StoryEvent::PoweredOn(_)
        | StoryEvent::Cable { .. }
        | StoryEvent::Frozen(..)
        | StoryEvent::Network(_)
        | StoryEvent::LeftOut(_) => "34",
    };
    format!("\x1b[{colour}m{middle}\x1b[0m")
}
