//! Anything at all, in any order: no panic, every frame in one counter, every reply well-formed, every buffer back.

use proptest::collection::vec;
use proptest::prelude::*;

use super::answer::slices;
use super::host::{CLOSED, Flow, Host, OPEN};
use crate::local::listener::SynPolicy;
use crate::nic::Frame;
use crate::tcp::lang::segment;
use crate::tcp::segment::Flags;

/// A frame that means something, and what happens to it on its way.
#[derive(Debug, Clone)]
struct Arrival {
    kind: u8,
    port: u16,
    flags: u8,
    seq: u32,
    ack: u32,
    payload_len: u32,
    flips: Vec<(u16, u8)>,
    cut: Option<u16>,
    chained_at: Option<usize>,
    wait_ms: u64,
}

prop_compose! {
    fn arrival()(
        kind in 0u8..9, port in 0u16..4, flags: u8,
        // Small numbers meet windows, others don't.
        seq in prop_oneof![3 => 0u32..4, 1 => any::<u32>()],
        ack in prop_oneof![3 => 0u32..4, 1 => any::<u32>()],
        payload_len in 0u32..40,
        flips in prop_oneof![3 => Just(Vec::new()), 1 => vec((0u16..200, any::<u8>()), 1..4)],
        cut in prop_oneof![9 => Just(None), 1 => (0u16..200).prop_map(Some)],
        chained_at in prop_oneof![9 => Just(None), 1 => (0usize..200).prop_map(Some)],
        wait_ms in prop_oneof![9 => Just(0u64), 1 => 1u64..70_000],
    ) -> Arrival {
        Arrival { kind, port, flags, seq, ack, payload_len, flips, cut, chained_at, wait_ms }
    }
}

impl Arrival {
    fn bytes(&self, flows: &mut [Flow; 4]) -> Vec<u8> {
        let flow = flows[usize::from(self.port)];
        let spec = segment(Flags(self.flags))
            .seq(self.seq)
            .len(self.payload_len);
        let mut bytes = match self.kind {
            0 => super::neighbors::arp_request(),
            1 => super::neighbors::solicitation(),
            2 => super::neighbors::echo_request_v4(b"anything"),
            3 => super::neighbors::port_unreachable_v4(),
            4 => flow.frame(
                segment(Flags::SYN)
                    .seq(0)
                    .mss(1400)
                    .wscale(3)
                    .ts(self.ack, 0),
            ),
            5 => flow.frame(segment(Flags::ACK).seq(1).ack(1)),
            _ => flow.frame(spec.ack(self.ack)),
        };
        for &(at, with) in &self.flips {
            let at = usize::from(at) % bytes.len();
            bytes[at] ^= with;
        }
        if let Some(len) = self.cut {
            bytes.truncate(usize::from(len));
        }
        bytes
    }
}

fn play(host: &mut Host, arrivals: &[Arrival], together: bool) {
    let mut flows = [
        Flow::v4(40_000, OPEN),
        Flow::v6(40_000, OPEN),
        Flow::v4(40_000, CLOSED),
        Flow::v4(40_001, OPEN),
    ];
    let mut burst = Vec::new();
    for arrival in arrivals {
        let bytes = arrival.bytes(&mut flows);
        let mut frame = host.nic().frame(&bytes);
        if let Some(at) = arrival.chained_at {
            frame = frame.chained_at(at);
        }
        burst.push(frame);
        if !together || arrival.wait_ms > 0 {
            host.inject_frames(std::mem::take(&mut burst));
            host.wait_ms(arrival.wait_ms);
        }
        // Our ISS, as soon as a SYN-ACK has shown it, lets later ACKs hit.
        while let Some(reply) = host.try_reply() {
            slices(&reply);
            learn(&reply, &mut flows);
        }
    }
    host.inject_frames(burst);
    while let Some(reply) = host.try_reply() {
        slices(&reply);
    }
}

fn learn(reply: &[u8], flows: &mut [Flow; 4]) {
    let Ok(parsed) = crate::wire::parse(reply) else {
        return;
    };
    let Some(segment) = parsed.tcp().filter(|segment| segment.header.flags.syn()) else {
        return;
    };
    let to = (
        parsed.addresses().map(|(_, dst)| dst),
        segment.header.dst_port.get(),
    );
    for flow in flows {
        if to == (Some(flow.remote.ip()), flow.remote.port()) {
            flow.our_iss = Some(segment.header.seq());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_story_ends_well(
        arrivals in vec(arrival(), 1..60),
        together: bool,
        policy in prop_oneof![
            Just(SynPolicy::Embryo), Just(SynPolicy::CookieWhenFull), Just(SynPolicy::CookieAlways),
        ],
        tx_room in prop_oneof![4 => Just(usize::MAX), 1 => 0usize..20],
        pool_frames in prop_oneof![4 => Just(usize::MAX), 1 => 0usize..20],
    ) {
        let mut host = Host::listening(policy);
        host.nic().tx_room = tx_room;
        host.nic().pool_frames = pool_frames;
        play(&mut host, &arrivals, together);
    }

    #[test]
    fn any_bytes_end_well(frames in vec(vec(any::<u8>(), 0..200), 1..64)) {
        let mut host = Host::new();
        host.inject_burst(&frames);
        while let Some(reply) = host.try_reply() {
            slices(&reply);
        }
    }
}

/// The frame that a test keeps is the one that it gave (the fixture's own honesty).
#[test]
fn the_fixture_sees_a_reply_that_is_wrong() {
    let mut host = Host::new();
    host.inject(crate::tcp::lang::syn().seq(0));
    let mut reply = host.next_reply();
    let frame = host.nic().frame(&reply);
    assert_eq!(frame.bytes(), reply);
    drop(frame);
    slices(&reply);
    reply[40] ^= 1;
    assert!(std::panic::catch_unwind(|| super::answer::Answer::read(&reply)).is_err());
    reply[40] ^= 1;
    reply.push(0);
    assert!(std::panic::catch_unwind(|| super::answer::Answer::read(&reply)).is_err());
}
