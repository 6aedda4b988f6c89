//! Stories, ladders and judgements from recordings made by hand.

// The pages that are made from the scenarios.
mod pages;

use std::net::{IpAddr, Ipv4Addr};

use stack::neighbor::NeighborState as Nud;
use stack::seq::SeqNum;
use stack::tcp::lang::{Base, Spec, ack, data, rst, syn, syn_ack};
use stack::tcp::state::State;

use super::check::unmet;
use super::errno::Errno::{ECONNREFUSED, EHOSTUNREACH};
use super::ladder::{Paint, WIDTH};
use super::recording::{Fate, RecordedEvent, Recording};
use super::report::draw;
use super::scenario::{
    CLIENT_PORT, Cast, Client, End, Expectation, Family, Kernel, Mutation, MutationChange,
    Observation, Ours, Pace, SERVER_PORT, Scene, Server,
};
use super::story::{Row, SegmentInFlight, Story, StoryEvent};
use super::{explain, find, forge, in_sim, scenarios, sim, wrapped};
use crate::fault::fault;

const ADDRESSES: (IpAddr, IpAddr) = (
    IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)),
    IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2)),
);
const MS: u64 = 1_000_000;

/// A frame of connection `conn`; both sides start just below the wrap.
fn frame(from: End, conn: u16, spec: Spec) -> Vec<u8> {
    let base = Base {
        sender_iss: SeqNum(u32::MAX),
        receiver_iss: SeqNum(u32::MAX),
    };
    let client = (ADDRESSES.0, CLIENT_PORT + conn).into();
    let server = (ADDRESSES.1, SERVER_PORT).into();
    let (src, dst) = if from == Client {
        (client, server)
    } else {
        (server, client)
    };
    let macs = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
    forge::segment(&spec, base, macs, src, dst).expect("it fits")
}

fn sent(recording: &mut Recording, at_ms: u64, from: End, conn: u16, spec: Spec) {
    let what = RecordedEvent::Frame {
        from,
        bytes: frame(from, conn, spec),
        fate: Fate::Arrived(at_ms * MS + 100_000),
        is_forged: false,
    };
    recording.push(at_ms * MS, what);
}

fn recording() -> Recording {
    Recording::new(Cast::SIM, ADDRESSES, false)
}

/// A refused connection, and a SYN to an address without a host.
fn refused() -> Recording {
    let mut all = recording();
    let sees = |conn, errno| RecordedEvent::Sees {
        side: Client,
        conn,
        seen: Observation::Failed(errno),
    };
    all.push(
        0,
        RecordedEvent::Calls {
            side: Client,
            conn: 1,
            call: "connect(198.18.0.2:81)".into(),
        },
    );
    all.push_neighbor(0, Client, Some(Nud::Reachable));
    all.push_state(0, Client, 1, State::SynSent);
    sent(
        &mut all,
        0,
        Client,
        1,
        syn().seq(0).win(65_535).mss(1460).wscale(7).ts(1, 0),
    );
    all.push(2 * MS + 100_000, sees(1, ECONNREFUSED));
    all.push_state(2 * MS + 100_000, Client, 1, State::Closed);
    sent(&mut all, 2, Server, 1, rst().seq(1).ack(1).win(0));
    all.push(500 * MS, RecordedEvent::PoweredOff(Server));
    all.push_state(1000 * MS, Client, 2, State::SynSent);
    for at_ms in [1000, 2000] {
        let what = RecordedEvent::Frame {
            from: Client,
            bytes: frame(Client, 2, syn().seq(0).win(65_535).mss(1460)),
            fate: Fate::Lost("host is off"),
            is_forged: false,
        };
        all.push(at_ms * MS, what);
    }
    all.push(3000 * MS, sees(2, EHOSTUNREACH));
    all.in_order()
}

#[test]
fn the_ladder_tells_what_happened() {
    let recording = refused();
    let text = draw(&recording, &Story::read(&recording), Paint::Plain);
    let expected =
        "        ms        state  client 198.18.0.1 (syncline)     server 198.18.0.2 (syncline)
     0.000     SYN-SENT |* #1 connect(198.18.0.2:81)                                  | CLOSED
     0.000     SYN-SENT |* neighbour entry: REACHABLE                                 | CLOSED
     0.000     SYN-SENT |#1 SYN seq 0 win 65535 <mss 1460,ws 7,ts> [REACHABLE] ------>| CLOSED
     2.000       CLOSED |<------------------------------- #1 RST,ACK seq 0 ack 1 win 0| CLOSED
     2.100       CLOSED |* #1 -> ECONNREFUSED (connection refused)                    | CLOSED
   500.000       CLOSED |                                      the host has no power *| (off)
  1000.000     SYN-SENT |#2 SYN seq 0 win 65535 <mss 1460> [REACHABLE] -------X       | (off)
  2000.000     SYN-SENT |#2 SYN again seq 0 win 65535 [REACHABLE] (host is off) --X   | (off)
  3000.000     SYN-SENT |* #2 -> EHOSTUNREACH (no route to host)                      | (off)
";
    for (line, expected) in text.lines().zip(expected.lines()) {
        assert_eq!(line, expected);
        assert!(line.chars().count() <= WIDTH, "{line}");
    }
    assert_eq!(text.lines().count(), expected.lines().count());
    let coloured = draw(&recording, &Story::read(&recording), Paint::Colour);
    assert!(coloured.contains("\x1b[31m<---") && !text.contains('\x1b'));
}

/// The ladders of a scenario in simulation as they stand in `ladders`. Times are in whole ms there: what is below depends on
/// when a polling loop happens to look.
#[test]
fn every_scenario_comes_about_in_simulation_as_it_is_written_down() {
    for scenario in scenarios::all(Pace::Real).expect("they can be read") {
        let mut text = String::new();
        for played in in_sim(&scenario, Family::V4, None).expect("a world") {
            assert_eq!(played.unmet, Vec::<String>::new(), "{}", played.title);
            let lines = played.text(Paint::Plain);
            text += &lines.lines().map(in_whole_ms).collect::<String>();
            text.push('\n');
        }
        let path = format!(
            "{}/src/lab/ladders/{}.txt",
            env!("CARGO_MANIFEST_DIR"),
            scenario.name
        );
        if std::env::var_os("SYNCLINE_WRITE_DOCS").is_some() {
            std::fs::write(&path, &text).expect("the source can be written");
        }
        let golden = std::fs::read_to_string(&path).expect(&path);
        for (n, (line, expected)) in text.lines().zip(golden.lines()).enumerate() {
            assert_eq!(
                line,
                expected,
                "{path}:{}: SYNCLINE_WRITE_DOCS=1 writes it anew",
                n + 1
            );
        }
        assert_eq!(text.lines().count(), golden.lines().count(), "{path}");
    }
}

/// Expectations of `--quick` over a tap hold in simulation, too, where no kernel is asked for.
#[test]
fn every_scenario_comes_about_at_the_quick_pace() {
    for scenario in scenarios::all(Pace::Quick).expect("they can be read") {
        for played in in_sim(&scenario, Family::V4, None).expect("a world") {
            let text = played.text(Paint::Plain);
            assert_eq!(played.unmet, Vec::<String>::new(), "{text}");
        }
    }
}

/// `  1234.567 rest` as `  1234     rest`.
fn in_whole_ms(line: &str) -> String {
    let (time, rest) = line.split_at_checked(10).unwrap_or((line, ""));
    let time = match time.split_once('.') {
        Some((ms, _)) if ms.trim().parse::<u64>().is_ok() => format!("{ms:<10}"),
        _ => time.to_owned(),
    };
    format!("{time}{rest}\n")
}

#[test]
fn every_scenario_comes_about_over_ipv6() {
    for scenario in scenarios::all(Pace::Real).expect("they can be read") {
        for played in in_sim(&scenario, Family::V6, None).expect("a world") {
            let text = played.text(Paint::Plain);
            assert_eq!(played.unmet, Vec::<String>::new(), "{text}");
            let asks = text.contains("neighbour entry: INCOMPLETE");
            assert!(
                (text.contains("NDP who has 2001:db8::2?") || !asks) && !text.contains("ARP"),
                "{text}"
            );
            assert!(
                text.lines().all(|line| line.chars().count() <= WIDTH),
                "{text}"
            );
        }
    }
}

#[test]
fn every_scene_is_the_same_each_time() {
    for scenario in scenarios::all(Pace::Real).expect("they can be read") {
        let text = || -> Vec<String> {
            let played = in_sim(&scenario, Family::V4, None).expect("a world");
            played
                .iter()
                .map(|played| played.text(Paint::Plain))
                .collect()
        };
        assert_eq!(text(), text());
    }
}

#[test]
fn over_a_bad_link_frames_are_lost_and_nothing_is_judged() {
    let played = |name, fault_text: &str| {
        let flag = fault(fault_text).expect("a right one");
        let scenario = find(name, Pace::Real).expect("it is there");
        let played = in_sim(&scenario, Family::V4, Some(&flag)).expect("no fault of the stack");
        let texts: Vec<String> = played.iter().map(|p| p.text(Paint::Plain)).collect();
        texts.concat()
    };
    for name in ["closed-port", "host-down", "app-blocked"] {
        for seed in 1..20 {
            let faults = format!("loss=20%,reorder=10%,dup=10%,corrupt=10%,delay=20ms,seed={seed}");
            let text = played(name, &faults);
            assert!(!text.contains("met") && !text.contains("MET"), "{text}");
            assert!(
                text.lines().all(|line| line.chars().count() <= WIDTH),
                "{text}"
            );
            assert_eq!(played(name, &faults), text);
        }
    }
    let text = played("app-blocked", "loss=20%");
    assert!(
        text.contains("lost") && text.contains("not judged: --fault loss=20%,seed=793\n"),
        "{text}"
    );
    assert!(played("app-blocked", "corrupt=20%").contains("corrupted"));
    let late = played("closed-port", "delay=200ms");
    let refused = late.lines().find(|line| line.contains("ECONNREFUSED"));
    assert!(
        refused.is_some_and(|line| line.trim_start().starts_with("800.")),
        "{late}"
    );
}

fn judged(recording: &Recording, expectations: Vec<Expectation>) -> Vec<String> {
    let mut scene = Scene::new("by hand");
    scene.expectations = expectations;
    unmet(&scene, &Story::read(recording))
}

#[test]
fn what_came_about_is_met() {
    let met = vec![
        Client.sends(syn().seq(0).mss(1460)).within_ms(0, 1),
        Server.sends(rst().seq(0).ack(1)).within_ms(2, 2),
        Client
            .sees(Observation::Failed(ECONNREFUSED))
            .within_ms(2, 3),
        Client.finds_neighbor(Nud::Reachable),
        Client.sends(syn()).on(2).within_ms(1000, 1000),
        Client.sends(syn()).on(2).within_ms(2000, 2000),
        Client.sees(Observation::Failed(EHOSTUNREACH)).on(2),
        Client.never_sends(rst()),
        Client.sends(data(5)).played_by(Kernel),
    ];
    assert_eq!(judged(&refused(), met), Vec::<String>::new());
}

#[test]
fn each_thing_that_did_not_come_about_is_named() {
    for (expectation, named) in [
        (Client.sends(ack()), "client sends ACK len 0: it never came"),
        (
            Client.sends(syn()).within_ms(1, 9),
            "client sends SYN len 0 between 1 and 9 ms: it came at 0 ms",
        ),
        (
            Server.sends(rst().ack(2)),
            "server sends RST,ACK ack 2 len 0: it never came",
        ),
        (
            Server.never_sends(rst().ack(1)),
            "server never sends RST,ACK ack 1 len 0: it came at 2 ms",
        ),
        (
            Client.sees(Observation::Connected),
            "client's application sees: connected: it never came",
        ),
        (
            Server.sees(Observation::Failed(ECONNREFUSED)),
            "server's application sees: ECONNREFUSED (connection refused): it never came",
        ),
        (
            Client.finds_neighbor(Nud::Failed),
            "client's neighbour entry becomes FAILED: it never came",
        ),
        (
            Client.asks_for_neighbor(),
            "client asks for the other's link address: it never came",
        ),
        (
            Client.sends(syn()).on(3).played_by(Ours),
            "client sends SYN len 0 on connection 3: it never came",
        ),
    ] {
        assert_eq!(judged(&refused(), vec![expectation]), [named]);
    }
}

#[test]
fn frames_are_expected_in_their_order() {
    let reset_first = vec![Server.sends(rst().ack(1)), Client.sends(syn())];
    assert_eq!(
        judged(&refused(), reset_first),
        ["client sends SYN len 0: it never came"]
    );
    let three_syns = vec![Client.sends(syn()).on(2); 3];
    assert_eq!(judged(&refused(), three_syns).len(), 1);
}

#[test]
fn received_bytes_add_up() {
    let mut all = recording();
    let sees = |total| RecordedEvent::Sees {
        side: Server,
        conn: 1,
        seen: Observation::Received(total),
    };
    all.push(MS, sees(3));
    all.push(2 * MS, sees(7));
    assert!(
        judged(
            &all,
            vec![Server.sees(Observation::Received(5)).within_ms(2, 2)]
        )
        .is_empty()
    );
    assert_eq!(
        judged(&all, vec![Server.sees(Observation::Received(8))]).len(),
        1
    );
}

#[test]
fn numbers_of_a_segment_that_does_not_fit_are_kept_and_the_entry_follows() {
    let mut all = recording();
    all.push_neighbor(0, Client, Some(Nud::Incomplete));
    let long = syn()
        .seq(0)
        .win(65_535)
        .mss(1460)
        .wscale(7)
        .sack_ok()
        .ts(1, 2);
    sent(&mut all, 0, Client, 1, long);
    sent(&mut all, 0, Client, 12, long);
    sent(
        &mut all,
        1,
        Server,
        12,
        syn_ack()
            .seq(0)
            .ack(1)
            .win(1)
            .mss(1460)
            .wscale(7)
            .sack_ok()
            .ts(1, 2),
    );
    let all = all.in_order();
    let text = draw(&all, &Story::read(&all), Paint::Plain);
    assert!(
        text.contains("#12 SYN seq 0 win 65535 <mss 1460,ws 7,sackOK,ts> ---"),
        "{text}"
    );
    assert!(text.contains("neighbour entry: [INCOMPLETE]"), "{text}");
    assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
}

#[test]
fn every_scenario_can_be_found_and_shown() {
    let all = scenarios::all(Pace::Real).expect("they can be read");
    assert!(all.len() >= 3);
    for scenario in &all {
        assert_eq!(
            find(scenario.name, Pace::Quick).map(|found| found.name),
            Ok(scenario.name)
        );
        assert!(scenario.shows.join(" ").len() > 100 && !scenario.scenes.is_empty());
        for scene in &scenario.scenes {
            let in_order = scene.acts.is_sorted_by_key(|act| act.at_ms);
            let last = scene.acts.last().map_or(0, |act| act.at_ms);
            assert!(in_order && last < scene.lasts_ms, "{}", scene.title);
            assert!(!scene.expectations.is_empty(), "{}", scene.title);
        }
    }
    let error = find("closed", Pace::Real)
        .map(|found| found.name)
        .expect_err("unknown");
    assert!(
        error
            .to_string()
            .contains("closed-port, host-down, app-blocked")
    );
    assert_eq!(wrapped("a bc  d", 4), "a bc\nd");
}

/// Events that came as well, at the end.
fn added(story: &Story, mutation: &Mutation) -> Option<Row> {
    let by = |end: End| end == mutation.who;
    if let MutationChange::Seen(seen) = mutation.change {
        let mut row = story.rows.last().expect("something happened").clone();
        row.conn = 1;
        row.what = StoryEvent::Sees(mutation.who, seen);
        return Some(row);
    }
    if let MutationChange::Added(spec) = &mutation.change {
        let of_same = |row: &&Row| matches!(&row.what, StoryEvent::Segment(carried) if by(carried.from) && row.conn == 1);
        let like = story.rows.iter().rev().find(of_same);
        // Without a segment of that end there are no numbers to be relative to: then they are absolute.
        let mut row = like
            .or(story.rows.last())
            .expect("something happened")
            .clone();
        let base = match &row.what {
            StoryEvent::Segment(carried) => carried.base,
            _ => Base::default(),
        };
        row.conn = 1;
        row.at_ns = story.rows.last().map_or(0, |last| last.at_ns);
        row.what = StoryEvent::Segment(SegmentInFlight {
            from: mutation.who,
            segment: spec.to_segment(base),
            base,
            is_again: false,
            mark: None,
            neighbor: None,
            arrives_at_ns: None,
            lost: None,
        });
        return Some(row);
    }
    None
}

/// The recorded events, changed by a mutation.
fn mutated(story: &Story, mutation: &Mutation) -> Story {
    let by = |end: End| end == mutation.who;
    let mut rows = Vec::new();
    for row in &story.rows {
        let mut row = row.clone();
        let keeps = match (&mutation.change, &mut row.what) {
            (MutationChange::Lost(spec), StoryEvent::Segment(carried)) => {
                !(by(carried.from) && spec.matches(&carried.segment, carried.base))
            }
            (MutationChange::Ack(spec, ack), StoryEvent::Segment(carried)) => {
                if by(carried.from) && spec.matches(&carried.segment, carried.base) {
                    carried.segment.ack = carried.base.receiver_iss.add(*ack);
                }
                true
            }
            (MutationChange::Flags(spec, flags), StoryEvent::Segment(carried)) => {
                if by(carried.from) && spec.matches(&carried.segment, carried.base) {
                    carried.segment.flags = *flags;
                }
                true
            }
            (MutationChange::Unseen(seen), StoryEvent::Sees(side, what)) => {
                !(by(*side) && what == seen)
            }
            (MutationChange::Unrepeated, StoryEvent::Segment(carried)) => {
                !(by(carried.from) && carried.is_again)
            }
            (
                MutationChange::Unasked,
                StoryEvent::Packet {
                    from,
                    is_solicitation,
                    ..
                },
            ) => !(by(*from) && *is_solicitation),
            _ => true,
        };
        if keeps {
            rows.push(row);
        }
    }
    rows.extend(added(story, mutation));
    Story {
        rows,
        ..story.clone()
    }
}

#[test]
fn each_scene_fails_with_each_mutation_that_it_names() {
    let mut wrong = Vec::new();
    for scenario in scenarios::all(Pace::Real).expect("they can be read") {
        for scene in scenario
            .scenes
            .iter()
            .filter(|scene| scene.can_be_played_by(Cast::SIM))
        {
            assert!(
                !scene.mutations.is_empty(),
                "{}: `broken by` is missing",
                scene.title
            );
            let recording = sim::play(scene, Family::V4, None)
                .expect("a world")
                .in_order();
            let story = Story::read(&recording);
            assert_eq!(
                unmet(scene, &story),
                Vec::<String>::new(),
                "{}",
                scene.title
            );
            for mutation in &scene.mutations {
                let changed = mutated(&story, mutation);
                if changed.rows == story.rows {
                    wrong.push(format!("{}: {mutation:?} changes nothing", scene.title));
                } else if unmet(scene, &changed).is_empty() {
                    wrong.push(format!("{}: {mutation:?} isn't noticed", scene.title));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn each_errno_of_a_scenario_is_explained_by_it() {
    for scenario in scenarios::all(Pace::Real).expect("they can be read") {
        let explained = explain::explain(scenario.name).expect("by its name");
        let explained = explained.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            explained.contains(scenario.rfc) && explained.contains("in Linux"),
            "{explained}"
        );
        for errno in scenario.errnos {
            let explained = explain::explain(&errno.to_lowercase()).expect("by its errno");
            assert!(
                explained.contains(&format!("{}: ", scenario.name)),
                "{explained}"
            );
        }
    }
    assert!(
        explain::explain("rst-ack")
            .expect("it is there")
            .contains("ECONNREFUSED at once")
    );
    let error = explain::explain("closed-prot")
        .expect_err("unknown")
        .to_string();
    assert!(error.contains("did you mean `closed-port`?"), "{error}");
}

#[test]
fn the_list_is_grouped_by_what_a_user_sees() {
    let list = explain::list().expect("they can be read");
    let place = |text: &str| list.find(text).unwrap_or_else(|| panic!("{text}: {list}"));
    assert!(place("connection refused\n  closed-port") < place("no route to host\n  host-down"));
}

#[test]
fn the_guide_shows_a_file_and_its_ladder_as_they_are() {
    let guide = include_str!("../../../docs/guide/lab.md");
    for text in [
        include_str!("scenarios/closed-port.lab"),
        include_str!("ladders/closed-port.txt"),
    ] {
        assert!(
            guide.contains(text.trim_end()),
            "docs/guide/lab.md should show:\n{text}"
        );
    }
}
