//! A conversation of two hosts, recorded: right as it is, and wrong in one way when one of its frames is changed, withheld or
//! repeated.

use core::time::Duration;
use std::collections::BTreeSet;

use super::script::bounds;
use crate::local::listener::{ListenerConfig, SynPolicy};
use crate::sim::host::{HostId, HostSpec};
use crate::sim::inspect::Tcp;
use crate::sim::link::Fate;
use crate::sim::puppet::Puppet;
use crate::sim::referee::{Referee, Rule};
use crate::sim::world::World;
use crate::time::Instant;
use crate::worker::app::{Connect, TxItem};

const PORT: u16 = 80;

/// A frame as it is sent by a host, or as it arrives.
#[derive(Debug, Clone)]
struct Moment {
    at: Instant,
    sender: HostId,
    is_sent: bool,
    frame: Vec<u8>,
}

/// The client sends 200,000 bytes over a link that loses one in a hundred, and closes.
fn recorded() -> Vec<Moment> {
    let mut world = World::new(2, Instant::from_ms(1_000));
    let mut server = HostSpec::new(1);
    server.config.listeners = vec![ListenerConfig::new(PORT, SynPolicy::Embryo)];
    let mut client = HostSpec::new(2);
    client.up.loss_ppm = 10_000;
    client.up.delay = Duration::from_millis(5);
    world
        .add_host(server, |_| Puppet::default())
        .expect("a host");
    let client = world
        .add_host(client, |_| Puppet::default())
        .expect("a host");
    world.record(true);
    let remote = (HostSpec::v4(1), PORT).into();
    let opened = world.act(client, 0, |_, cx| {
        cx.connect(remote, &Connect::default(), false).ok()
    });
    let id = opened.flatten().expect("a connection");
    world.run_for(Duration::from_millis(100));
    world.act(client, 0, |_, cx| {
        let (start, len) = (0, 200_000);
        assert!(cx.send(id, TxItem::Pattern { start, len }).is_ok());
        cx.close(id);
    });
    world.run_for(Duration::from_secs(90));
    assert_eq!(world.violations(), &[] as &[String]);
    let mut moments = Vec::new();
    for crossing in world.trace() {
        let mut add = |at, is_sent| {
            moments.push(Moment {
                at,
                sender: crossing.from,
                is_sent,
                frame: crossing.bytes.to_vec(),
            });
        };
        if crossing.fate != Fate::Duplicate {
            add(crossing.sent_at, true);
        }
        if let Some(at) = crossing.arrives_at {
            add(at, false);
        }
    }
    moments.retain(|moment| Tcp::of(&moment.frame).is_some());
    // Those of one turn left in the order of their numbers; the trace has them as they came to the switch.
    let seq = |moment: &Moment| Tcp::of(&moment.frame).map(|tcp| tcp.seq());
    moments.sort_by_key(|moment| (moment.at, !moment.is_sent, seq(moment)));
    moments
}

/// The rules that a conversation breaks.
fn broken(moments: &[Moment]) -> BTreeSet<String> {
    let mut referee = Referee::default();
    for host in [0, 1] {
        referee.on_power_on(HostId(host), bounds());
    }
    let mut broken = BTreeSet::new();
    for Moment {
        at,
        sender,
        is_sent,
        frame,
    } in moments
    {
        if *is_sent {
            let found = referee.on_sent(*at, *sender, frame);
            broken.extend(found.iter().map(|found| found.rule.to_string()));
        } else {
            referee.on_delivered(*at, frame, false);
        }
    }
    broken
}

/// The place of TCP's header in a frame of IPv4.
const TCP: usize = 34;

fn text_len(moment: &Moment) -> usize {
    Tcp::of(&moment.frame).map_or(0, |tcp| tcp.payload().len())
}

/// Changes the middle one of the frames that `picks` says, as it is sent and as it arrives.
fn changed(
    moments: &[Moment],
    picks: impl Fn(&Moment) -> bool,
    change: impl Fn(&mut [u8]),
) -> Vec<Moment> {
    let mut moments = moments.to_vec();
    let is_picked = |moment: &Moment| moment.is_sent && picks(moment);
    let picked = moments.iter().enumerate().filter(|(_, m)| is_picked(m));
    let picked: Vec<usize> = picked.map(|(at, _)| at).collect();
    let at = picked[picked.len() / 2];
    let original = moments[at].frame.clone();
    for moment in &mut moments[at..] {
        if moment.frame == original {
            change(&mut moment.frame);
        }
    }
    moments
}

fn only(rule: Rule) -> BTreeSet<String> {
    BTreeSet::from([rule.to_string()])
}

#[test]
fn what_two_hosts_said_is_right() {
    let moments = recorded();
    let texts = moments.iter().filter(|moment| text_len(moment) > 0);
    assert!(texts.count() > 270, "with losses");
    assert_eq!(broken(&moments), BTreeSet::new());
}

#[test]
fn one_changed_frame_breaks_the_rule_that_it_is_about() {
    let moments = recorded();
    let of_server = |moment: &Moment| moment.sender == HostId(0);
    let of_client = |moment: &Moment| moment.sender == HostId(1) && text_len(moment) > 0;
    let acks = changed(&moments, of_server, |frame| {
        let ack = u32::from_be_bytes([8, 9, 10, 11].map(|at| frame[TCP + at]));
        frame[TCP + 8..TCP + 12].copy_from_slice(&ack.wrapping_add(2 * 1448).to_be_bytes());
    });
    assert_eq!(broken(&acks), only(Rule::AckOfUndelivered));
    // Of two ACKs in one turn the later one may offer less: an answer of a parked connection.
    let is_alone = |one: &Moment| {
        let of_turn = |other: &&Moment| other.is_sent && other.at == one.at;
        of_server(one) && moments.iter().filter(of_turn).count() == 1
    };
    let windows = changed(&moments, is_alone, |frame| {
        frame[TCP + 14..TCP + 16].copy_from_slice(&[0, 1]);
    });
    assert_eq!(broken(&windows), only(Rule::EdgeRetreats));
    let clocks = changed(&moments, of_client, |frame| frame[TCP + 28] ^= 0x40);
    assert_eq!(broken(&clocks), only(Rule::UnheardTsecr));
}

#[test]
fn a_byte_that_changes_in_a_retransmission_is_found() {
    let moments = recorded();
    let mut sent = BTreeSet::new();
    let again = moments.iter().position(|moment| {
        let seq = Tcp::of(&moment.frame).map(|tcp| tcp.seq());
        moment.is_sent && moment.sender == HostId(1) && text_len(moment) > 0 && !sent.insert(seq)
    });
    let mut moments = moments;
    let again = &mut moments[again.expect("a retransmission")].frame;
    let last = again.len() - 1;
    again[last] ^= 1;
    assert_eq!(broken(&moments), only(Rule::OtherBytes));
}

#[test]
fn a_frame_that_did_not_arrive_is_acknowledged_by_mistake() {
    let mut moments = recorded();
    let arrived = moments.iter().enumerate().filter(|(_, moment)| {
        !moment.is_sent && moment.sender == HostId(1) && text_len(moment) > 0
    });
    let at = arrived.map(|(at, _)| at).nth(100).expect("text");
    moments.remove(at);
    assert_eq!(broken(&moments), only(Rule::AckOfUndelivered));
}

#[test]
fn a_segment_that_is_repeated_soon_is_a_timeout_below_the_floor() {
    let mut moments = recorded();
    let is_text = |moment: &Moment| moment.is_sent && text_len(moment) > 0;
    let at = moments.iter().rposition(is_text).expect("text");
    let mut again = moments[at].clone();
    again.at = again.at + Duration::from_millis(1);
    moments.insert(at + 1, again);
    assert_eq!(broken(&moments), only(Rule::RtoFloor));
}
