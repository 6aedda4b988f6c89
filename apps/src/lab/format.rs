//! [`parse`]: the text of a scenario file into a [`Scenario`]. docs/guide/lab.md shows the format.
//!
//! It must never skip a line that it doesn't understand: each gets one error with its place, what stands there and what may.

use std::fmt;

use stack::config::ClosedPolicy;
use stack::local::listener::SynPolicy;
use stack::neighbor::NeighborState;
use stack::tcp::lang::{Spec, segment};
use stack::tcp::segment::Flags;

use super::errno::Errno;
use super::network::{IcmpCode, NetworkAct};
use super::scenario::{
    Act, Client, End, Expectation, Expected, Kernel, Mutation, MutationChange, Observation, Ours,
    Pace, Player, SITUATIONS, Scenario, Scene, SceneAction, Server,
};
use crate::fault::fault;

/// A line that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FormatError {
    /// Its number, from 1.
    line: usize,
    /// Its defect, and the words allowed there.
    text: String,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

type Parsed<T> = Result<T, String>;

/// Reads a scenario. Lines marked `real:` or `quick:` count at that pace only.
///
/// # Errors
/// The first line that can't be read, or a key that is missing.
pub(crate) fn parse(text: &'static str, pace: Pace) -> Result<Scenario, FormatError> {
    let mut scenario = Scenario::default();
    let mut key = "";
    for (number, line) in (1..).zip(text.lines()) {
        let error = |text: String| FormatError { line: number, text };
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if let Some(title) = line.strip_prefix("scene:") {
            scenario.scenes.push(Scene::new(title.trim()));
        } else if let Some(scene) = scenario.scenes.last_mut() {
            scene_line(scene, content, pace).map_err(error)?;
        } else {
            if !line.starts_with(' ') {
                let (name, _) = line.split_once(':').ok_or_else(|| {
                    error(format!(
                        "`{content}`: expected `key: value` or `scene: TITLE`"
                    ))
                })?;
                key = name;
            }
            let value = line
                .strip_prefix(key)
                .and_then(|rest| rest.strip_prefix(':'));
            set(&mut scenario, key, value.unwrap_or(line).trim()).map_err(error)?;
        }
    }
    let missing = [
        ("name", scenario.name),
        ("symptom", scenario.symptom),
        ("layer", scenario.layer),
        ("rfc", scenario.rfc),
    ];
    let missing = missing.iter().find(|(_, value)| value.is_empty());
    let end = |text: String| FormatError { line: 1, text };
    match missing {
        Some((key, _)) => Err(end(format!("`{key}:` is missing above the first scene"))),
        None if scenario.shows.is_empty() || scenario.scenes.is_empty() => Err(end(
            "a scenario needs `shows:` and at least one `scene:`".into(),
        )),
        None => Ok(scenario),
    }
}

fn set(scenario: &mut Scenario, key: &str, value: &'static str) -> Parsed<()> {
    let one_line = match key {
        "name" => &mut scenario.name,
        "symptom" => &mut scenario.symptom,
        "layer" => &mut scenario.layer,
        "rfc" => &mut scenario.rfc,
        "errno" => {
            scenario.errnos.extend(value.split_whitespace());
            return Ok(());
        }
        "shows" => return push(&mut scenario.shows, value),
        "linux" => return push(&mut scenario.linux, value),
        "stack" => return push(&mut scenario.stack, value),
        "differs" => return push(&mut scenario.differs, value),
        "check" => return push(&mut scenario.check, value),
        _ => {
            return Err(format!(
                "unknown key `{key}`: expected name, symptom, errno, layer, rfc, shows, linux, stack, differs, check or scene"
            ));
        }
    };
    if !one_line.is_empty() {
        return Err(format!("`{key}:` is one line, and there only once"));
    }
    *one_line = value;
    Ok(())
}

fn push(paragraph: &mut Vec<&'static str>, line: &'static str) -> Parsed<()> {
    if !line.is_empty() {
        paragraph.push(line);
    }
    Ok(())
}

fn scene_line(scene: &mut Scene, line: &'static str, pace: Pace) -> Parsed<()> {
    let line = match (line.strip_prefix("real:"), line.strip_prefix("quick:")) {
        (Some(_), _) if pace == Pace::Quick => return Ok(()),
        (_, Some(_)) if pace == Pace::Real => return Ok(()),
        (Some(rest), _) | (_, Some(rest)) => rest,
        (None, None) => line,
    };
    let words: Vec<&'static str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["shows", situation, _, ..] => scene.points.push(point(situation, line)?),
        ["listens", backlog, how @ ..] => listens(scene, number(backlog)?, how)?,
        ["receive", "buffer", len] => scene.rcv_buf = Some(number(len)?),
        ["closed", "ports", "answer", "nothing"] => scene.closed = ClosedPolicy::Drop,
        ["closed", "ports", "answer", "by", "ICMP"] => scene.closed = ClosedPolicy::Icmp,
        ["keepalive", idle, interval, probes] => {
            scene.keepalive_s = Some((number(idle)?, number(interval)?, number(probes)?));
        }
        ["user", "timeout", seconds] => scene.user_timeout_s = Some(number(seconds)?),
        ["neighbours", "are", "known"] => scene.knows_neighbors = true,
        ["without", "Nagle"] => scene.nagle = false,
        ["local", "ports", ports] => scene.local_ports = Some(number(ports)?),
        ["server", "is", "off"] => scene.server_is_on = false,
        ["played", "in", "simulation"] => scene.only_in_simulation = true,
        ["played", "by", who, player] => scene.needs = Some((end(who)?, self::player(player)?)),
        ["sysctl", name, value] => scene.sysctls.push((name, value)),
        ["lasts", ms] => scene.lasts_ms = number(ms)?,
        ["at", ms, "network", what @ ..] => {
            let (who, what) = network(what)?;
            scene.acts.push(Act {
                at_ms: number(ms)?,
                who,
                what: SceneAction::Network(what),
            });
        }
        ["at", ms, who, what @ ..] => scene.acts.push(Act {
            at_ms: number(ms)?,
            who: end(who)?,
            what: action(what)?,
        }),
        ["broken", "by", who, change @ ..] => scene.mutations.push(mutation(end(who)?, change)?),
        _ => scene.expectations.push(expectation(&words)?),
    }
    Ok(())
}

/// A point of a situation, numbered as in [`SITUATIONS`] from 1 on.
fn point(situation: &str, line: &'static str) -> Parsed<(usize, &'static str)> {
    let known = 1..=SITUATIONS.len();
    let number = number(situation)?;
    let words = line.split_once(situation).map_or("", |(_, words)| words);
    if known.contains(&number) {
        Ok((number, words.trim()))
    } else {
        Err(format!(
            "`{situation}`: expected a situation from 1 to {}",
            known.end()
        ))
    }
}

fn listens(scene: &mut Scene, backlog: u32, how: &[&str]) -> Parsed<()> {
    scene.backlog = Some(backlog);
    match how {
        [] => {}
        ["with", "cookies"] => scene.syn_policy = SynPolicy::CookieWhenFull,
        ["with", "cookies", "always"] => scene.syn_policy = SynPolicy::CookieAlways,
        ["dropping", "SYNs"] => scene.syn_policy = SynPolicy::Drop,
        ["aborting", "on", "overflow"] => scene.aborts_on_overflow = true,
        _ => {
            return Err(format!(
                "`{}`: expected nothing, with cookies, with cookies always, dropping SYNs or aborting on overflow",
                how.join(" ")
            ));
        }
    }
    Ok(())
}

fn number<T: TryFrom<u64>>(word: &str) -> Parsed<T> {
    let digits = word.replace('_', "");
    let value = digits.parse::<u64>().ok();
    value
        .and_then(|value| T::try_from(value).ok())
        .ok_or_else(|| format!("`{word}`: expected a number"))
}

fn end(word: &str) -> Parsed<End> {
    match word {
        "client" => Ok(Client),
        "server" => Ok(Server),
        _ => Err(format!("`{word}`: expected client or server")),
    }
}

fn player(word: &str) -> Parsed<Player> {
    match word {
        "syncline" => Ok(Ours),
        "kernel" => Ok(Kernel),
        _ => Err(format!("`{word}`: expected syncline or kernel")),
    }
}

fn action(words: &[&str]) -> Parsed<SceneAction> {
    Ok(match words {
        ["connects", conn] => SceneAction::Connect(number(conn)?),
        ["accepts"] => SceneAction::Accept,
        ["sends", len, "byte" | "bytes", "on", conn] => {
            SceneAction::Send(number(conn)?, number(len)?)
        }
        ["reads", len, "byte" | "bytes", "of", conn] => {
            SceneAction::Read(number(conn)?, number(len)?)
        }
        ["closes", conn, "at", "end", "of", "stream"] => SceneAction::CloseAtEof(number(conn)?),
        ["closes", conn] => SceneAction::Close(number(conn)?),
        ["shuts", "down", conn] => SceneAction::Shutdown(number(conn)?),
        ["aborts", conn] => SceneAction::Abort(number(conn)?),
        ["loses", "power"] => SceneAction::PowerOff,
        ["boots"] => SceneAction::PowerOn,
        ["loses", "its", "cable"] => SceneAction::CableOut,
        ["gets", "its", "cable", "back"] => SceneAction::CableIn,
        ["connects", conn, "from", "any", "port"] => SceneAction::ConnectAnyPort(number(conn)?),
        ["stops", "waiting", "for", conn] => SceneAction::StopWaiting(number(conn)?),
        ["starts", "listening"] => SceneAction::Listen,
        ["stops", "listening"] => SceneAction::StopListening,
        ["crashes"] => SceneAction::Crash,
        ["freezes"] => SceneAction::Freeze,
        ["goes", "on"] => SceneAction::Thaw,
        ["boots", "with", "another", "MAC"] => SceneAction::PowerOnElsewhere,
        _ => {
            return Err(format!(
                "`{}`: expected connects N, connects N from any port, stops waiting for N, accepts, sends LEN bytes on N, \
                 reads LEN bytes of N, closes N, closes N at end of stream, shuts down N, aborts N, starts listening, stops listening, crashes, loses power, \
                 boots, boots with another MAC, freezes, goes on, loses its cable or gets its cable back",
                words.join(" ")
            ));
        }
    })
}

/// An action of the network, and whose frames it concerns.
fn network(words: &[&str]) -> Parsed<(End, NetworkAct)> {
    let (words, Behind { conn, .. }) = trailing(words)?;
    let [what @ .., "from", who] = words else {
        return Err(format!(
            "`{}`: expected `from client` or `from server` at the end: whose frames",
            words.join(" ")
        ));
    };
    let act = match what {
        ["swallows", "packets", "above", bytes, "bytes"] => NetworkAct::Swallows(number(bytes)?),
        ["refuses", "packets", "above", bytes, "bytes"] => NetworkAct::Refuses(number(bytes)?),
        ["loses", frames, "frames"] => NetworkAct::Loses(number(frames)?),
        ["loses", "everything"] => NetworkAct::Cuts,
        ["passes", "everything"] => NetworkAct::Passes,
        ["degrades", faults] => NetworkAct::Degrades(fault(faults)?.spec_or_seed(0)),
        ["delays", ms, "ms"] => NetworkAct::Delays(number(ms)?),
        ["forges", segment @ ..] => NetworkAct::Forges(conn, spec(segment)?),
        ["rejects", "by", code] => NetworkAct::Rejects(conn, icmp_code(code)?),
        ["floods", syns, "SYNs"] => NetworkAct::Floods(number(syns)?),
        _ => {
            return Err(format!(
                "`{}`: expected loses N frames, loses everything, passes everything, degrades FAULTS, delays N ms, swallows packets \
                 above N bytes, refuses packets above N bytes, forges SEGMENT, rejects by CODE or floods N SYNs",
                what.join(" ")
            ));
        }
    };
    Ok((end(who)?, act))
}

fn icmp_code(word: &str) -> Parsed<IcmpCode> {
    let known = IcmpCode::ALL.iter().find(|(known, _)| *known == word);
    known.map(|(_, code)| *code).ok_or_else(|| {
        let words = IcmpCode::ALL.map(|(word, _)| word).join(", ");
        format!("`{word}`: expected one of {words}")
    })
}

fn expectation(words: &[&str]) -> Parsed<Expectation> {
    let (within_ms, words) = match words {
        [range, rest @ ..] if range.contains("..") => (self::range(range)?, rest),
        all => (0..=u64::MAX, all),
    };
    let (words, behind) = trailing(words)?;
    let (who, what) = match words {
        [who, "retransmits"] => (who, Expected::Retransmission),
        [who, "never", "retransmits"] => (who, Expected::NoRetransmission),
        [who, "sends", segment @ ..] => (who, Expected::Segment(spec(segment)?)),
        [who, "never", "sends", segment @ ..] => (who, Expected::NoSegment(spec(segment)?)),
        [who, "asks", "for", "the", "neighbour"] => (who, Expected::Solicitation),
        [who, "never", "sees", seen @ ..] => (who, Expected::NotApp(observation(seen)?)),
        [who, "sees", seen @ ..] => (who, Expected::App(observations(seen)?)),
        [who, "has", "a", "neighbour", state] => (who, Expected::Neighbor(neighbor(state)?)),
        _ => {
            return Err(format!(
                "`{}`: expected [FROM..TO] client|server and sends SEGMENT, never sends SEGMENT, sees ANSWER, never sees ANSWER, \
                 retransmits, never retransmits, asks for the neighbour, or has a neighbour STATE",
                words.join(" ")
            ));
        }
    };
    Ok(Expectation {
        who: end(who)?,
        what,
        conn: behind.conn,
        within_ms,
        played_by: behind.played_by,
        while_is: behind.while_is,
    })
}

fn range(word: &str) -> Parsed<std::ops::RangeInclusive<u64>> {
    let (from, to) = word.split_once("..").unwrap_or((word, ""));
    let to = if to.is_empty() { u64::MAX } else { number(to)? };
    Ok(number(from)?..=to)
}

/// The words allowed at the end of a line.
struct Behind {
    conn: u16,
    played_by: Option<Player>,
    while_is: Option<(End, Player)>,
}

/// `on N`, `as PLAYER` and `while END is PLAYER` at the end.
fn trailing<'a>(mut words: &'a [&'a str]) -> Parsed<(&'a [&'a str], Behind)> {
    let mut behind = Behind {
        conn: 1,
        played_by: None,
        while_is: None,
    };
    loop {
        match words {
            [rest @ .., "on", number] => (words, behind.conn) = (rest, self::number(number)?),
            [rest @ .., "as", player] => {
                (words, behind.played_by) = (rest, Some(self::player(player)?));
            }
            [rest @ .., "while", who, "is", player] => {
                (words, behind.while_is) = (rest, Some((end(who)?, self::player(player)?)));
            }
            _ => return Ok((words, behind)),
        }
    }
}

/// A segment as ladders write it: `SYN,ACK seq 0 ack 1 win 65535 len 10 mss 1460`.
fn spec(words: &[&str]) -> Parsed<Spec> {
    let [flags, numbers @ ..] = words else {
        return Err("expected a segment, such as `RST,ACK seq 0 ack 1`".into());
    };
    let mut spec = segment(self::flags(flags)?);
    let pairs = numbers.chunks(2);
    for pair in pairs {
        let [name, value] = pair else {
            return Err(format!("`{}`: expected a number behind it", pair.join(" ")));
        };
        spec = match *name {
            "seq" => spec.seq(number(value)?),
            "ack" => spec.ack(number(value)?),
            "win" => spec.win(number(value)?),
            "len" => spec.len(number(value)?),
            "mss" => spec.mss(number(value)?),
            "ts" => spec.ts(number(value)?, 0),
            _ => {
                return Err(format!("`{name}`: expected seq, ack, win, len, mss or ts"));
            }
        };
    }
    Ok(spec)
}

fn flags(word: &str) -> Parsed<Flags> {
    let flag = |name: &str| match name {
        "SYN" => Ok(Flags::SYN),
        "ACK" => Ok(Flags::ACK),
        "FIN" => Ok(Flags::FIN),
        "RST" => Ok(Flags::RST),
        "URG" => Ok(Flags::URG),
        "NULL" => Ok(Flags::NONE),
        _ => Err(format!("`{name}`: expected flags such as SYN,ACK")),
    };
    word.split(',')
        .try_fold(Flags::NONE, |all, name| Ok(all.with(flag(name)?)))
}

fn observations(words: &[&str]) -> Parsed<Vec<Observation>> {
    words.split(|word| *word == "or").map(observation).collect()
}

fn observation(words: &[&str]) -> Parsed<Observation> {
    Ok(match words {
        ["connected"] => Observation::Connected,
        ["accepted"] => Observation::Accepted,
        [len, "bytes"] => Observation::Received(number(len)?),
        ["end", "of", "stream"] => Observation::Eof,
        [name] if Errno::from_name(name) != Errno::EOTHER => {
            Observation::Failed(Errno::from_name(name))
        }
        _ => {
            return Err(format!(
                "`{}`: expected connected, accepted, LEN bytes, end of stream, or an errno such as ECONNREFUSED",
                words.join(" ")
            ));
        }
    })
}

fn neighbor(word: &str) -> Parsed<NeighborState> {
    Ok(match word {
        "INCOMPLETE" => NeighborState::Incomplete,
        "REACHABLE" => NeighborState::Reachable,
        "STALE" => NeighborState::Stale,
        "DELAY" => NeighborState::Delay,
        "PROBE" => NeighborState::Probe,
        "FAILED" => NeighborState::Failed,
        _ => return Err(format!("`{word}`: expected a state such as REACHABLE")),
    })
}

/// `RST,ACK seq 0 -> ack 2`, `-> FIN,ACK`, `-> nothing`; `also RST seq 1`; `seeing ECONNREFUSED -> nothing`.
fn mutation(who: End, words: &[&str]) -> Parsed<Mutation> {
    let expected = "expected SEGMENT -> nothing, SEGMENT -> ack N, SEGMENT -> FLAGS, also SEGMENT, also seeing ANSWER, seeing ANSWER -> nothing, asking, or retransmitting";
    let arrow = words.iter().position(|word| *word == "->");
    let change = match (words, arrow) {
        (["also", "seeing", seen @ ..], None) => MutationChange::Seen(observation(seen)?),
        (["also", segment @ ..], None) => MutationChange::Added(spec(segment)?),
        (["seeing", seen @ ..], Some(at)) if words[at + 1..] == ["nothing"] => {
            MutationChange::Unseen(observation(&seen[..at - 1])?)
        }
        (["asking"], None) => MutationChange::Unasked,
        (["retransmitting"], None) => MutationChange::Unrepeated,
        (_, Some(at)) => {
            let from = spec(&words[..at])?;
            match words[at + 1..] {
                ["nothing"] => MutationChange::Lost(from),
                ["ack", number] => MutationChange::Ack(from, self::number(number)?),
                [flags] => MutationChange::Flags(from, self::flags(flags)?),
                _ => return Err(expected.into()),
            }
        }
        _ => return Err(expected.into()),
    };
    Ok(Mutation { who, change })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "name: x\nsymptom: y\nlayer: z\nrfc: 1\nshows:\n  a\nscene: t\n";

    fn error(line: &str) -> String {
        let text: &'static str = Box::leak(format!("{HEAD}{line}\n").into_boxed_str());
        let error = parse(text, Pace::Real).map(|scenario| scenario.name);
        error.expect_err("it can't be read").to_string()
    }

    #[test]
    fn what_can_not_be_read_is_named_with_its_line() {
        for (line, words) in [
            ("lasts soon", "line 8: `soon`: expected a number"),
            ("at 5 host connects 1", "`host`: expected client or server"),
            ("at 5 client jumps", "`jumps`: expected connects N"),
            ("client sends SYM", "`SYM`: expected flags"),
            ("client sends SYN seq", "`seq`: expected a number behind it"),
            ("client sees EDOM", "`EDOM`: expected connected"),
            ("shows 13 luck", "`13`: expected a situation from 1 to 12"),
            ("client has a neighbour GONE", "expected a state such as"),
            (
                "broken by server RST -> maybe so",
                "expected SEGMENT -> nothing",
            ),
            ("5..9 client dreams", "expected [FROM..TO] client|server"),
        ] {
            let error = error(line);
            assert!(error.contains(words), "{line}: {error}");
        }
        let no_head = parse("scene: t\n", Pace::Real).map(|scenario| scenario.name);
        let error = no_head.expect_err("no name").to_string();
        assert!(error.contains("`name:` is missing"), "{error}");
        let unknown = parse("colour: red\n", Pace::Real).map(|scenario| scenario.name);
        assert!(
            unknown
                .expect_err("a key")
                .to_string()
                .contains("unknown key `colour`")
        );
    }

    #[test]
    fn a_pace_reads_its_own_lines() {
        let text: &'static str =
            Box::leak(format!("{HEAD}real: lasts 9\nquick: lasts 5\n").into_boxed_str());
        let lasts = |pace| parse(text, pace).map(|scenario| scenario.scenes[0].lasts_ms);
        assert_eq!((lasts(Pace::Real), lasts(Pace::Quick)), (Ok(9), Ok(5)));
    }
}
