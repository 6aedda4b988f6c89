//! Prediction and the steps on connections on which one or two things are under way that make a segment more than its numbers.

use crate::bits::Bits;
use crate::seq::SeqNum;
use crate::tcp::env::{Env, TcpCounters};
use crate::tcp::handshake::AnsweredSyn;
use crate::tcp::negotiated::Negotiated;
use crate::tcp::opening::SynAckSent;
use crate::tcp::profile::Profile;
use crate::tcp::segment::{Flags, Segment, SegmentOptions, TimestampOption};
use crate::tcp::settings::Settings;
use crate::tcp::tcb::{OpenParams, Tcb};
use crate::tcp::testing::{Host, MSS, params, plain};
use crate::tcp::tests::predict::{Copy, check_input, check_output, expected as as_expected, near};
use crate::tcp::verdict::Reply;
use crate::time::Instant;

const WINDOW: u16 = 10_000;
const FIN_ACK: Flags = Flags(0x11);

/// The segment that `host` expects, with so much payload.
fn expected(host: &Host, flags: Flags, payload_len: u32) -> Segment {
    let tcb = &host.tcb;
    let (_, snd_nxt, rcv_nxt) = tcb.numbers();
    let timestamps = tcb.bits.has(Bits::TIMESTAMPS).then(|| TimestampOption {
        tsval: tcb.ts.recent.wrapping_add(1),
        tsecr: tcb.ts.clock(host.now),
    });
    Segment {
        seq: rcv_nxt,
        ack: snd_nxt,
        flags,
        window: WINDOW,
        payload_len,
        options: SegmentOptions {
            timestamps,
            ..SegmentOptions::default()
        },
        ..Segment::default()
    }
}

/// Compares prediction with the steps for what may arrive now, and for what may be sent. Says how much was predicted.
fn compare(host: &Host) -> [u32; 2] {
    let mut predicted = [0; 2];
    let room = host.tcb.receive_window();
    for flags in [Flags::ACK, FIN_ACK] {
        for payload_len in [0, 100, room, room + 1] {
            for window in [0, 30, WINDOW] {
                let segment = Segment {
                    window,
                    ..expected(host, flags, payload_len)
                };
                let hit = check_input(&host.tcb, &segment, &host.settings, host.now);
                predicted[0] += u32::from(hit);
            }
        }
    }
    for unsent in [0, 1, 30, 100, MSS - 1, MSS, MSS + 1, 20_000] {
        let hit = check_output(&host.tcb, unsent, &host.settings, host.now);
        predicted[1] += u32::from(hit);
    }
    predicted
}

/// The peer sends a segment.
fn arrives(host: &mut Host, segment: &Segment) {
    host.turn(|tcb, env| tcb.on_segment(*segment, env));
}

/// The peer says this window.
fn says(host: &mut Host, window: u16) {
    let segment = Segment {
        window,
        ..expected(host, Flags::ACK, 0)
    };
    arrives(host, &segment);
}

/// So much goes out.
fn sends(host: &mut Host, len: u32) {
    host.write(len);
    host.poll_largest(u32::MAX);
}

/// A duplicate of the last acknowledgment that moved anything.
fn repeats(host: &mut Host) {
    let (snd_una, ..) = host.tcb.numbers();
    let segment = Segment {
        ack: snd_una,
        ..expected(host, Flags::ACK, 0)
    };
    arrives(host, &segment);
}

/// Bytes that come so far ahead of RCV.NXT.
fn comes_ahead(host: &mut Host, by: u32, flags: Flags, payload_len: u32) {
    let mut segment = expected(host, flags, payload_len);
    segment.seq = segment.seq.add(by);
    arrives(host, &segment);
}

type Deed = fn(&mut Host);

/// Bytes that may be under way.
const DEEDS: [(&str, Deed); 32] = [
    ("nothing", |_| {}),
    ("an ACK owed", |host| host.tcb.ack.now()),
    ("text in order", |host| {
        let segment = expected(host, Flags::ACK, 100);
        arrives(host, &segment);
    }),
    ("a FIN in order", |host| comes_ahead(host, 0, FIN_ACK, 0)),
    ("text in flight", |host| sends(host, 100)),
    ("a full segment in flight", |host| sends(host, MSS)),
    ("three segments in flight", |host| sends(host, 3 * MSS)),
    ("a timeout", |host| {
        sends(host, 100);
        host.advance_ms(1_100);
    }),
    ("a retransmission to come", |host| {
        sends(host, 3 * MSS);
        let at = host.tcb.deadline();
        host.now = at.unwrap_or(host.now);
        host.turn(|tcb, env| tcb.on_timer(env));
    }),
    ("fast retransmit", |host| {
        sends(host, 4 * MSS);
        (0..3).for_each(|_| repeats(host));
    }),
    ("recovery", |host| {
        sends(host, 4 * MSS);
        (0..4).for_each(|_| repeats(host));
        host.poll_largest(u32::MAX);
    }),
    ("a closed window", |host| says(host, 0)),
    ("a small window", |host| says(host, 50)),
    ("text in front of a closed window", |host| {
        says(host, 0);
        sends(host, 300);
    }),
    ("text in front of a small window", |host| {
        says(host, 50);
        sends(host, 300);
    }),
    ("text that waited for the override", |host| {
        says(host, 50);
        sends(host, 300);
        let at = host.tcb.deadline();
        host.now = at.unwrap_or(host.now);
        host.turn(|tcb, env| tcb.on_timer(env));
    }),
    ("a window that shrank under the flight", |host| {
        sends(host, 300);
        let (snd_una, ..) = host.tcb.numbers();
        let segment = Segment {
            ack: snd_una,
            window: 50,
            ..expected(host, Flags::ACK, 0)
        };
        arrives(host, &segment);
    }),
    ("a path that carries less under the flight", |host| {
        sends(host, 3 * MSS);
        host.turn(|tcb, env| tcb.set_path_mss(500, env));
    }),
    ("a cwnd that has grown", |host| {
        host.tcb.congestion.at_least(50_000);
    }),
    ("a full cwnd", |host| {
        says(host, 60_000);
        sends(host, 20 * MSS);
    }),
    ("a moment", |host| host.advance_ms(10)),
    ("a probe due", |host| host.tcb.bits.set(Bits::PROBE_DUE)),
    ("a keepalive probe due", |host| {
        host.tcb.bits.set(Bits::KEEPALIVE_DUE);
    }),
    ("an override due", |host| {
        host.tcb.bits.set(Bits::FORCE_SEND);
    }),
    ("a duplicate ACK owed", |host| {
        host.tcb.ack.duplicate(&host.settings);
    }),
    ("text ahead of a gap", |host| {
        comes_ahead(host, 200, Flags::ACK, 100);
    }),
    ("a FIN ahead of a gap", |host| {
        comes_ahead(host, 200, FIN_ACK, 0);
        host.poll_largest(u32::MAX);
    }),
    ("urgent data to send", |host| {
        let unsent = host.unsent;
        host.turn(|tcb, _| tcb.mark_urgent(unsent + 1));
    }),
    ("a shutdown", Host::shutdown),
    ("a FIN in flight", |host| {
        host.shutdown();
        host.poll_largest(u32::MAX);
    }),
    ("a close", Host::close),
    ("idleness", |host| host.advance_ms(100_000)),
];

/// The SYN of the peer.
fn their_syn(settings: &Settings) -> Segment {
    Segment {
        seq: SeqNum(0u32.wrapping_sub(500)),
        flags: Flags::SYN,
        window: WINDOW,
        options: SegmentOptions {
            mss: Some(MSS as u16),
            timestamps: settings
                .timestamps
                .then_some(TimestampOption { tsval: 5, tsecr: 0 }),
            ..SegmentOptions::default()
        },
        ..Segment::default()
    }
}

/// A connection that was opened by us, or by the peer.
fn opened(settings: Settings, by_us: bool) -> Host {
    let mut syn = their_syn(&settings);
    if by_us {
        let mut host = Host::client(settings, params());
        host.poll_largest(0);
        (syn.flags, syn.ack) = (Flags::SYN_ACK, host.tcb.numbers().1);
        arrives(&mut host, &syn);
        host.poll_largest(0);
        return host;
    }
    let mut host = Host::answering(settings, params(), &syn);
    host.poll_largest(0);
    let segment = expected(&host, Flags::ACK, 0);
    arrives(&mut host, &segment);
    host
}

/// All kinds of connections on which `DEEDS` are tried.
fn kinds() -> impl Iterator<Item = Host> {
    [(false, false), (false, true), (true, false), (true, true)]
        .into_iter()
        .map(|(timestamps, nagle)| {
            let settings = Settings {
                timestamps,
                profile: Profile {
                    nagle,
                    ..plain().profile
                },
                ..plain()
            };
            opened(settings, nagle)
        })
}

#[test]
fn prediction_is_right_whatever_is_under_way() {
    let mut predicted = [0; 2];
    for (first, one) in DEEDS {
        for (then, another) in DEEDS {
            for (kind, mut host) in kinds().enumerate() {
                one(&mut host);
                another(&mut host);
                let hits = std::panic::catch_unwind(|| compare(&host));
                let hits = hits.unwrap_or_else(|_| panic!("{first}, then {then}, kind {kind}"));
                predicted[0] += hits[0];
                predicted[1] += hits[1];
            }
        }
    }
    assert!(predicted.iter().all(|&hits| hits > 500), "{predicted:?}");
}

#[test]
fn prediction_is_right_near_what_is_expected() {
    let mut predicted = 0;
    for (name, deed) in DEEDS {
        for (kind, mut host) in kinds().enumerate() {
            deed(&mut host);
            for (flags, payload_len) in [(Flags::ACK, 100), (FIN_ACK, 0)] {
                for segment in near(&expected(&host, flags, payload_len)) {
                    let check = || check_input(&host.tcb, &segment, &host.settings, host.now);
                    let hit = std::panic::catch_unwind(check);
                    let hit = hit.unwrap_or_else(|_| panic!("{name}, kind {kind}, {segment:?}"));
                    predicted += u32::from(hit);
                }
            }
        }
    }
    assert!(predicted > 500, "{predicted}");
}

#[test]
fn prediction_is_right_while_a_connection_opens() {
    let deeds: [(&str, Deed); 5] = [
        ("nothing", |_| {}),
        ("a shutdown", Host::shutdown),
        ("a close", Host::close),
        ("its SYN lost", |host| {
            host.poll_largest(0);
            let at = host.tcb.deadline();
            host.now = at.unwrap_or(host.now);
            host.turn(|tcb, env| tcb.on_timer(env));
        }),
        ("its SYN sent", |host| host.poll_largest(0)),
    ];
    let mut predicted = [0; 2];
    for (first, one) in deeds {
        for (then, another) in deeds {
            for (timestamps, window_scaling) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                let settings = Settings {
                    timestamps,
                    window_scaling,
                    ..Settings::default()
                };
                let syn = their_syn(&settings);
                for mut host in [
                    Host::client(settings.clone(), params()),
                    Host::answering(settings, params(), &syn),
                ] {
                    one(&mut host);
                    another(&mut host);
                    let hits = std::panic::catch_unwind(|| {
                        let hits = compare(&host);
                        let mut segment = Segment {
                            ack: host.tcb.numbers().1,
                            ..syn
                        };
                        segment.flags = Flags::SYN_ACK;
                        let answered = check_input(&host.tcb, &segment, &host.settings, host.now);
                        for near in near(&segment) {
                            check_input(&host.tcb, &near, &host.settings, host.now);
                        }
                        [hits[0] + u32::from(answered), hits[1]]
                    });
                    let state = host.tcb.state();
                    let hits = hits.unwrap_or_else(|_| panic!("{first}, then {then}, in {state}"));
                    predicted[0] += hits[0];
                    predicted[1] += hits[1];
                }
            }
        }
    }
    assert!(predicted[0] > 50 && predicted[1] > 5, "{predicted:?}");
}

/// The steps take these as they take all others; they are none of those that the prediction is for.
#[test]
fn the_extraordinary_is_not_predicted() {
    let deeds: [(&str, Deed); 3] = [
        ("recovery", |host| {
            sends(host, 4 * MSS);
            (0..3).for_each(|_| repeats(host));
            host.poll_largest(u32::MAX);
        }),
        ("a closed window", |host| says(host, 0)),
        ("urgent data", |host| host.tcb.bits.set(Bits::URGENT_IN)),
    ];
    let is_predicted =
        |host: &Host, segment: &Segment| check_input(&host.tcb, segment, &host.settings, host.now);
    for mut host in kinds() {
        let segment = expected(&host, Flags::ACK, 100);
        assert!(is_predicted(&host, &segment));
        for bit in [0x40, 0x80] {
            let flags = segment.flags.with(Flags(bit));
            assert!(!is_predicted(&host, &Segment { flags, ..segment }), "{bit}");
        }
        let (tcb, unsent) = (host.tcb.clone(), host.unsent);
        for (name, deed) in deeds {
            (host.tcb, host.unsent) = (tcb.clone(), unsent);
            deed(&mut host);
            let segment = expected(&host, Flags::ACK, 100);
            assert!(!is_predicted(&host, &segment), "{name}");
        }
    }
}

/// Then segments are predicted again.
#[test]
fn urgent_data_that_was_read_is_over() {
    for mut host in kinds() {
        let urgent = Segment {
            urgent: 40,
            ..expected(&host, Flags::ACK.with(Flags::URG), 100)
        };
        host.inject_segment(&urgent);
        for (len, is_over) in [(39, false), (1, true)] {
            host.read(len);
            let segment = expected(&host, Flags::ACK, 100);
            let is_predicted = check_input(&host.tcb, &segment, &host.settings, host.now);
            assert_eq!(is_predicted, is_over);
        }
    }
}

/// Opens a connection whose SYN an embryo has answered with a window of `window` by its final ACK in one step, and compares it with
/// one that opens first and takes the segment in steps. Says whether it opened in one step.
fn check_opening(
    (params, syn, window, syn_ack): (&OpenParams, &AnsweredSyn, u16, SynAckSent),
    seg: &Segment,
    settings: &Settings,
    now: Instant,
) -> bool {
    let mut counters = TcpCounters::default();
    let closed = Tcb::closed(&Env {
        now,
        settings,
        counters: &mut counters,
    });
    let (mut fast, mut general) = (Copy::of(&closed), Copy::of(&closed));
    let before = fast.show();
    let Some(final_ack) = as_expected(seg) else {
        return false;
    };
    let prediction = fast.with(settings, now, |tcb, env| {
        tcb.open_expected(params, syn, (window, syn_ack), &final_ack, env)
    });
    let Some(prediction) = prediction else {
        assert_eq!(fast.show(), before, "not predicted, and changed: {seg:?}");
        return false;
    };
    let verdict = general.with(settings, now, |tcb, env| {
        tcb.open_answered(params, syn, window, syn_ack, env);
        tcb.on_segment(*seg, env)
    });
    assert_eq!(fast.show(), general.show(), "{seg:?} {syn:?} {syn_ack:?}");
    assert_eq!(prediction.acked_len, verdict.acked_len, "{seg:?}");
    assert_eq!(prediction.events, verdict.events, "{seg:?}");
    assert_eq!(verdict.reply, Reply::None, "{seg:?}");
    true
}

/// Final ACKs of embryos, whose numbers and flags the caller of `open_expected` has compared.
fn final_acks(syn: &AnsweredSyn, window: u32, now: Instant) -> Vec<Segment> {
    let clock = (now.as_ms() as u32).wrapping_add(params().timestamp_offset);
    let mut all = Vec::new();
    for payload_len in [0, 1, window - 1, window, window + 1] {
        for flags in [Flags::ACK, FIN_ACK, Flags::ACK.with(Flags::PSH)] {
            for field in [0, 1, WINDOW] {
                for newer in [None, Some(0), Some(3)] {
                    for echo in [0, clock, clock.wrapping_sub(20), clock.wrapping_add(20)] {
                        let timestamps = newer.map(|newer| TimestampOption {
                            tsval: syn.ts_recent.wrapping_add(newer),
                            tsecr: echo,
                        });
                        all.push(Segment {
                            seq: syn.irs.add(1),
                            ack: params().iss.add(1),
                            flags,
                            window: field,
                            payload_len,
                            options: SegmentOptions {
                                timestamps,
                                ..SegmentOptions::default()
                            },
                            ..Segment::default()
                        });
                    }
                }
            }
        }
    }
    all
}

#[test]
fn the_final_ack_opens_in_one_step_as_in_two() {
    let now = Instant::from_ms(90_000);
    let once = SynAckSent::Once(Instant::from_ms(89_950));
    let mut keepalive = Settings::default();
    keepalive.profile.keepalive = true;
    let (mut opened, mut not_opened) = (0, 0);
    for settings in [plain(), Settings::default(), keepalive] {
        for (timestamps, window_scale) in [(false, None), (true, None), (true, Some(7))] {
            for window in [0, 1, WINDOW] {
                for syn_ack in [once, SynAckSent::Unknown, SynAckSent::Again] {
                    let syn = AnsweredSyn {
                        irs: SeqNum(0u32.wrapping_sub(1)),
                        window,
                        ts_recent: if timestamps { u32::MAX } else { 0 },
                        negotiated: Negotiated {
                            peer_mss: 1_000,
                            window_scale,
                            timestamps,
                            sack_permitted: false,
                        },
                    };
                    for segment in final_acks(&syn, 4_000, now) {
                        let embryo = (&params(), &syn, 4_000, syn_ack);
                        if check_opening(embryo, &segment, &settings, now) {
                            opened += 1;
                        } else {
                            not_opened += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(
        opened > 1_000 && not_opened > 1_000,
        "{opened} {not_opened}"
    );
}
