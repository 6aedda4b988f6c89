//! The usual SYN and the usual final ACK, each taken in one step, and what deviates from them in one thing: all comes out as by all
//! steps.
//!
//! It must never say what comes out where another test does: it compares.

use super::host::{BACKLOG, Flow, Host, OPEN};
use super::vlans::tagged;
use crate::config::{ConfigSpec, FastPath};
use crate::conn::Kind;
use crate::counters::Counter;
use crate::local::listener::{ListenerConfig, SynPolicy};
use crate::nic::memory::MemoryNic;
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{Spec, ack, data, fin, rst, segment, syn};
use crate::tcp::segment::Flags;

/// The peer's clock: as far in its round that 0 is newer.
const CLOCK: u32 = 0xffff_0000;

/// The result of a few frames.
#[derive(Debug, PartialEq)]
struct Outcome {
    replies: Vec<Vec<u8>>,
    counters: Vec<(&'static str, u64)>,
    kind: Option<Kind>,
    embryo: String,
}

impl Outcome {
    fn of(host: &mut Host<Puppet>) -> Self {
        let count = |&counter: &Counter| (counter.name(), host.count(counter));
        Self {
            counters: Counter::ALL.iter().map(count).collect(),
            replies: core::iter::from_fn(|| host.try_reply()).collect(),
            kind: host.kind(),
            embryo: format!("{:?}", host.embryo()),
        }
    }

    #[track_caller]
    fn counted(&self, counter: Counter, times: u64) {
        let counted = self.counters.contains(&(counter.name(), times));
        assert!(counted, "{} isn't {times}", counter.name());
    }
}

/// Plays the same on a host with the fast path and on one without: the same must come of it.
#[track_caller]
fn same_on(
    change: impl Fn(&mut ConfigSpec),
    change_nic: impl Fn(&mut MemoryNic),
    play: impl Fn(&mut Host<Puppet>),
) -> Outcome {
    let [fast, general] = [FastPath::On, FastPath::Off].map(|fast_path| {
        let changed = |spec: &mut ConfigSpec| {
            spec.fast_path = fast_path;
            change(spec);
        };
        let mut host = Host::probing_on(changed, &change_nic);
        play(&mut host);
        Outcome::of(&mut host)
    });
    assert_eq!(fast, general);
    fast
}

#[track_caller]
fn same(change: impl Fn(&mut ConfigSpec), play: impl Fn(&mut Host<Puppet>)) -> Outcome {
    same_on(change, |_| {}, play)
}

/// The SYN of most connections.
fn usual() -> Spec {
    syn().seq(0).mss(1460).sack_ok().ts(CLOCK, 0).wscale(7)
}

#[test]
fn the_policy_is_followed_in_one_step_too() {
    let policies = [
        (SynPolicy::Embryo, Counter::SynEmbryo),
        (SynPolicy::CookieWhenFull, Counter::SynEmbryo),
        (SynPolicy::CookieAlways, Counter::SynCookieSent),
        (SynPolicy::Drop, Counter::SynDroppedPolicy),
        (SynPolicy::Rst, Counter::SynResetPolicy),
    ];
    for (policy, counter) in policies {
        let change = |spec: &mut ConfigSpec| spec.listeners[0].policy = policy;
        let outcome = same(change, |host| _ = host.inject(usual()));
        outcome.counted(counter, 1);
    }
}

/// With any queue full, each SYN of a listener that always answers by cookie is looked at once more.
#[test]
fn a_cookie_is_a_cookie_while_the_queue_of_another_port_is_full() {
    let change = |spec: &mut ConfigSpec| {
        spec.listeners[0].backlog = 1;
        let always = ListenerConfig::new(82, SynPolicy::CookieAlways);
        spec.listeners.push(always);
    };
    let outcome = same(change, |host| {
        fill_accept_queue(host);
        host.on(Flow::v4(3, 82)).inject(usual());
    });
    outcome.counted(Counter::SynCookieSent, 1);
}

#[test]
fn a_full_backlog_is_full_in_one_step_too() {
    let policies = [
        (SynPolicy::Embryo, Counter::SynDroppedFull),
        (SynPolicy::CookieWhenFull, Counter::SynCookieSent),
    ];
    for (policy, counter) in policies {
        let change = |spec: &mut ConfigSpec| spec.listeners[0].policy = policy;
        let outcome = same(change, |host| {
            for port in 1..=BACKLOG as u16 + 2 {
                host.on(Flow::v4(port, OPEN)).inject(usual());
            }
        });
        outcome.counted(Counter::SynEmbryo, BACKLOG.into());
        outcome.counted(counter, 2);
    }
}

/// Two connections wait at a listener with a backlog of 1.
fn fill_accept_queue(host: &mut Host<Puppet>) {
    host.app().accepts = false;
    for port in [1, 2] {
        host.on(Flow::v4(port, OPEN)).shake_hands();
    }
}

#[test]
fn a_full_accept_queue_drops_the_usual_syn_too() {
    let change = |spec: &mut ConfigSpec| spec.listeners[0].backlog = 1;
    let outcome = same(change, |host| {
        fill_accept_queue(host);
        host.on(Flow::v4(3, OPEN)).inject(usual());
    });
    outcome.counted(Counter::SynDroppedAcceptFull, 1);
}

/// The listener closes between two SYNs.
#[test]
fn a_closed_listener_takes_the_usual_syn_no_more() {
    let outcome = same(
        |_| {},
        |host| {
            host.act(|_, cx| cx.unlisten(crate::local::listener::ListenerId(0)));
            host.inject(usual());
        },
    );
    outcome.counted(Counter::RstSent, 1);
}

#[test]
fn the_settings_take_options_from_the_usual_syn_too() {
    for (timestamps, window_scaling) in [(false, true), (true, false), (false, false)] {
        let change = |spec: &mut ConfigSpec| {
            spec.tcp.timestamps = timestamps;
            spec.tcp.window_scaling = window_scaling;
            spec.tcp.profile.rcv_buf = 60_000;
        };
        let outcome = same(change, |host| _ = host.inject(usual()));
        outcome.counted(Counter::SynEmbryo, 1);
    }
}

#[test]
fn a_syn_with_other_options_is_answered_as_it_asks() {
    let specs = [
        syn().seq(0),
        syn().seq(0).mss(1460),
        syn().seq(0).mss(1460).wscale(7),
        syn().seq(0).mss(1460).sack_ok().ts(CLOCK, 0),
        syn().seq(0).sack_ok().ts(CLOCK, 0).wscale(7),
    ];
    for spec in specs {
        let outcome = same(|_| {}, |host| _ = host.inject(spec));
        outcome.counted(Counter::SynEmbryo, 1);
    }
}

#[test]
fn sack_permitted_counts_in_one_step_as_in_all_steps() {
    for spec in [usual(), syn().seq(0).mss(1460).ts(CLOCK, 0).wscale(7)] {
        let outcome = same(|_| {}, |host| _ = host.inject(spec));
        outcome.counted(Counter::SynEmbryo, 1);
    }
}

#[test]
fn only_a_plain_frame_is_answered_in_one_step() {
    for flow in [Flow::v4(1, OPEN), Flow::v6(1, OPEN)] {
        let frame = flow.frame(usual());
        for frame in [tagged(&frame, 0), tagged(&frame, 5), frame] {
            let outcome = same(|_| {}, |host| _ = host.inject_bytes(&frame));
            outcome.counted(Counter::SynEmbryo, 1);
        }
    }
    for (ip, l4) in [(true, false), (false, true), (true, true)] {
        let promise = |nic: &mut MemoryNic| {
            nic.caps_mut().tx_ipv4_checksum = ip;
            nic.caps_mut().tx_tcp_checksum = l4;
        };
        let outcome = same_on(|_| {}, promise, |host| _ = host.inject(usual()));
        outcome.counted(Counter::SynEmbryo, 1);
    }
}

/// A SYN, and then this. The SYN-ACK shows our ISS.
#[track_caller]
fn after(first: Spec, change: impl Fn(&mut ConfigSpec), second: Spec) -> Outcome {
    same(change, |host| {
        host.inject(first)
            .expect(segment(Flags::SYN_ACK).seq(0).ack(1));
        host.inject(second);
    })
}

#[test]
fn the_final_ack_is_judged_by_its_numbers_in_one_step_too() {
    let deviating = [
        (ack().seq(0).ack(1), Counter::EmbryoChallenged),
        (ack().seq(70_000).ack(1), Counter::EmbryoChallenged),
        (data(3).seq(0).ack(1), Counter::EmbryoEstablished),
        (ack().seq(2).ack(1), Counter::EmbryoEstablished),
        (ack().seq(1).ack(0), Counter::EmbryoBadAck),
        (ack().seq(1).ack(2), Counter::EmbryoBadAck),
    ];
    for (spec, counter) in deviating {
        after(syn().seq(0), |_| {}, spec).counted(counter, 1);
        after(usual(), |_| {}, spec.ts(CLOCK, 0)).counted(counter, 1);
    }
}

#[test]
fn the_final_ack_is_judged_by_its_flags_in_one_step_too() {
    let opens = Counter::EmbryoEstablished;
    let flags = [
        (Flags::ACK, opens),
        (Flags::ACK.with(Flags::PSH), opens),
        (Flags::ACK.with(Flags::FIN), opens),
        (Flags::ACK.with(Flags::URG), opens),
        (Flags::ACK.with(Flags::ECE), opens),
        (Flags::ACK.with(Flags::CWR), opens),
        (Flags::PSH, Counter::EmbryoDropped),
        (Flags::RST_ACK, Counter::EmbryoReset),
        (Flags::SYN_ACK, Counter::EmbryoBackToListen),
    ];
    for (flags, counter) in flags {
        // The number stands there without the bit too.
        let spec = Spec {
            flags,
            ..ack().seq(1).ack(1)
        };
        after(syn().seq(0), |_| {}, spec).counted(counter, 1);
        after(usual(), |_| {}, spec.ts(CLOCK, 0)).counted(counter, 1);
    }
    for spec in [data(3).seq(1).ack(1), fin().seq(1).ack(1), rst().seq(1)] {
        after(syn().seq(0), |_| {}, spec);
    }
}

#[test]
fn the_final_ack_is_judged_by_its_timestamps_in_one_step_too() {
    let judged = [
        (Some(CLOCK), Counter::EmbryoEstablished),
        (
            Some(CLOCK.wrapping_add(1 << 20)),
            Counter::EmbryoEstablished,
        ),
        (Some(CLOCK - 1), Counter::EmbryoChallenged),
        (None, Counter::EmbryoDropped),
    ];
    for (tsval, counter) in judged {
        let spec = ack().seq(1).ack(1);
        let spec = tsval.map_or(spec, |tsval| spec.ts(tsval, 0));
        after(usual(), |_| {}, spec).counted(counter, 1);
    }
    let lenient = |spec: &mut ConfigSpec| spec.tcp.require_timestamps = false;
    after(usual(), lenient, ack().seq(1).ack(1)).counted(Counter::EmbryoEstablished, 1);
    // Without the agreement whatever stands there is nothing.
    for tsval in [1, CLOCK] {
        let spec = ack().seq(1).ack(1).ts(tsval, 0);
        after(syn().seq(0), |_| {}, spec).counted(Counter::EmbryoEstablished, 1);
    }
}

#[test]
fn timestamps_in_another_layout_are_read_all_the_same() {
    let judged = [
        (CLOCK, Counter::EmbryoEstablished),
        (CLOCK - 1, Counter::EmbryoChallenged),
    ];
    for (tsval, counter) in judged {
        let outcome = same(
            |_| {},
            |host| {
                host.inject(usual())
                    .expect(segment(Flags::SYN_ACK).seq(0).ack(1));
                let [a, b, c, d] = tsval.to_be_bytes();
                let options = [8, 10, a, b, c, d, 0, 0, 0, 0, 1, 1];
                let frame = host.flow.frame_with_options(ack().seq(1).ack(1), &options);
                host.inject_bytes(&frame);
            },
        );
        outcome.counted(counter, 1);
    }
}

#[test]
fn without_a_place_the_text_of_the_final_ack_is_lost_in_one_step_too() {
    let scarce = |spec: &mut ConfigSpec| spec.limits.queue_items = 8;
    let outcome = same(scarce, |host| {
        // None of them reads: the last finds no place.
        host.app().reads = false;
        for port in 1_000..1_010 {
            let host = host.on(Flow::v4(port, OPEN));
            while host.try_reply().is_some() {}
            host.inject(syn().seq(0))
                .expect(segment(Flags::SYN_ACK).seq(0).ack(1));
            host.inject(data(3).seq(1).ack(1));
        }
    });
    let lost = outcome
        .counters
        .iter()
        .find(|(name, _)| *name == Counter::PayloadNoPlace.name());
    assert!(lost.is_some_and(|(_, lost)| *lost > 0));
}
