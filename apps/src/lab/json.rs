//! The same as the ladder, for programs: [`scene`].
//!
//! It must never say less than the ladder does.

use serde_json::{Value, json};

use super::scenario::nud;
use super::story::{Row, SegmentInFlight, Story, StoryEvent};

/// A story as JSON: who played, and a list of rows.
pub(crate) fn scene(title: &str, story: &Story, unmet: &[String]) -> Value {
    json!({
        "title": title,
        "client": story.cast.client,
        "server": story.cast.server,
        "rows": story.rows.iter().map(row).collect::<Vec<Value>>(),
        "unmet": unmet,
    })
}

/// A row of a ladder as JSON.
pub(crate) fn row(row: &Row) -> Value {
    let mut value = match &row.what {
        StoryEvent::Segment(carried) => segment(carried),
        StoryEvent::Packet {
            from,
            text,
            is_solicitation,
            lost,
        } => json!({
            "kind": "packet", "from": from, "text": text, "solicitation": is_solicitation, "lost": lost,
        }),
        StoryEvent::Calls(side, call) => json!({"kind": "call", "side": side, "text": call}),
        StoryEvent::Sees(side, seen) => {
            json!({"kind": "seen", "side": side, "text": seen.to_string()})
        }
        StoryEvent::Neighbor(side, state) => {
            json!({"kind": "neighbor", "side": side, "state": state.map(nud)})
        }
        StoryEvent::PoweredOff(side) => json!({"kind": "power_off", "side": side}),
        StoryEvent::PoweredOn(side) => json!({"kind": "power_on", "side": side}),
        StoryEvent::Cable { side, plugged } => {
            json!({"kind": "cable", "side": side, "plugged": plugged})
        }
        StoryEvent::Frozen(side, is_frozen) => {
            json!({"kind": "freeze", "side": side, "frozen": is_frozen})
        }
        StoryEvent::Network(what) => json!({"kind": "network", "text": what}),
        StoryEvent::LeftOut(rows) => json!({"kind": "left_out", "rows": rows}),
    };
    if let Value::Object(object) = &mut value {
        object.insert("at_ms".into(), json!(row.at_ns as f64 / 1e6));
        object.insert("connection".into(), json!(row.conn));
        object.insert("client_state".into(), json!(row.client));
        object.insert("server_state".into(), json!(row.server));
    }
    value
}

fn segment(carried: &SegmentInFlight) -> Value {
    let (segment, base) = (&carried.segment, carried.base);
    let options = &segment.options;
    json!({
        "kind": "segment",
        "from": carried.from,
        "flags": segment.flags.to_string(),
        "seq": segment.seq.since(base.sender_iss),
        "ack": segment.flags.ack().then(|| segment.ack.since(base.receiver_iss)),
        "win": segment.window,
        "len": segment.payload_len,
        "mss": options.mss,
        "window_scale": options.window_scale,
        "sack_permitted": options.sack_permitted,
        "timestamps": options.timestamps.map(|ts| [ts.tsval, ts.tsecr]),
        "again": carried.is_again,
        "mark": carried.mark,
        "arrives_at_ms": carried.arrives_at_ns.map(|at_ns| at_ns as f64 / 1e6),
        "neighbor": carried.neighbor.map(nud),
        "lost": carried.lost,
    })
}
