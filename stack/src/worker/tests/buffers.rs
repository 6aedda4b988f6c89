//! Frames whose bytes aren't ours alone, frames in several buffers, and no buffers at all.

use super::host::{CLOSED, Flow, Host, OPEN};
use crate::counters::Counter;
use crate::nic::{Frame, Nic};
use crate::tcp::lang::{Spec, rst, syn, syn_ack};

const SYN: Spec = syn().mss(1460).ts(1, 0).seq(0).len(20);

#[test]
fn a_shared_frame_is_answered_in_another_buffer_and_stays_as_it_was() {
    for flow in [Flow::v4(1, CLOSED), Flow::v6(1, CLOSED)] {
        let mut host = Host::new();
        host.on(flow.absolute());
        let sent = host.flow.frame(SYN);
        let mut frame = host.nic().frame(&sent);
        let kept = host.nic().share(&mut frame).expect("shared");
        host.inject_frames(vec![frame]).counted(Counter::RstSent);
        host.expect(rst().seq(0).ack(21));
        assert_eq!(kept.bytes(), sent, "the other owner's bytes");
        assert_eq!(host.count(Counter::RepliesCopied), 1);
    }
}

#[test]
fn a_frame_that_is_ours_alone_again_is_answered_in_place() {
    let mut host = Host::new();
    host.on(Flow::v4(1, CLOSED).absolute());
    let sent = host.flow.frame(SYN);
    let mut frame = host.nic().frame(&sent);
    drop(host.nic().share(&mut frame));
    host.inject_frames(vec![frame]).counted(Counter::RstSent);
    host.expect(rst().seq(0).ack(21));
    assert_eq!(host.count(Counter::RepliesCopied), 0);
}

#[test]
fn shared_echo_and_arp_requests_are_answered_in_another_buffer() {
    for (sent, counter) in [
        (
            super::neighbors::echo_request_v4(b"data"),
            Counter::EchoAnswered,
        ),
        (super::neighbors::arp_request(), Counter::ArpAnswered),
        (super::neighbors::solicitation(), Counter::NdpAnswered),
    ] {
        let mut host = Host::new();
        let mut frame = host.nic().frame(&sent);
        let kept = host.nic().share(&mut frame).expect("shared");
        host.inject_frames(vec![frame]).counted(counter);
        host.next_reply();
        assert_eq!(kept.bytes(), sent, "the other owner's bytes");
        assert_eq!(host.count(Counter::RepliesCopied), 1);
    }
}

#[test]
fn a_chained_frame_gets_the_reply_of_a_linear_one_wherever_it_is_cut() {
    let linear = {
        let mut host = Host::new();
        host.on(Flow::v4(1, CLOSED).absolute()).inject(SYN);
        host.next_reply()
    };
    let mut host = Host::new();
    host.on(Flow::v4(1, CLOSED).absolute());
    let sent = host.flow.frame(SYN);
    for cut in 0..sent.len() {
        let frame = host.nic().frame(&sent).chained_at(cut);
        host.inject_frames(vec![frame]).counted(Counter::RstSent);
        assert_eq!(host.next_reply(), linear, "cut at {cut}");
    }
}

#[test]
fn chained_frames_between_linear_ones_keep_their_place() {
    let mut host = Host::new();
    let flows: Vec<Flow> = (1..=5)
        .map(|port| Flow::v4(port, CLOSED).absolute())
        .collect();
    let mut frames = Vec::new();
    for (index, flow) in flows.iter().enumerate() {
        let frame = host.nic().frame(&flow.frame(SYN));
        frames.push(if index % 2 == 1 {
            frame.chained_at(40)
        } else {
            frame
        });
    }
    host.inject_frames(frames).counted(Counter::RstSent);
    for flow in flows {
        host.on(flow).expect(rst().seq(0).ack(21));
    }
}

#[test]
fn a_chained_frame_takes_no_buffer_of_the_replies() {
    let mut host = Host::new();
    host.on(Flow::v4(1, CLOSED).absolute());
    host.nic().control_frames = 0;
    let sent = host.flow.frame(SYN);
    let frame = host.nic().frame(&sent).chained_at(40);
    host.inject_frames(vec![frame]).counted(Counter::RstSent);
    host.expect(rst().seq(0).ack(21));
    assert_eq!(host.count(Counter::RxLinearized), 1);
}

#[test]
fn a_chained_frame_longer_than_a_buffer_is_dropped_by_name() {
    let mut host = Host::new();
    let mut long = host.flow.frame(SYN);
    long.resize(5000, 0);
    let frame = host.nic().frame(&long).chained_at(1500);
    host.inject_frames(vec![frame])
        .counted(Counter::ChainedTooLong)
        .silent();
}

#[test]
fn without_a_free_buffer_shared_frames_go_unanswered_and_nothing_leaks() {
    let mut host = Host::new();
    host.on(Flow::v4(1, CLOSED).absolute());
    let sent = host.flow.frame(SYN);
    let mut frame = host.nic().frame(&sent);
    let kept = host.nic().share(&mut frame).expect("shared");
    host.nic().pool_frames = 2;
    host.inject_frames(vec![frame]).silent();
    assert_eq!(host.count(Counter::TxNoBuffer), 1);
    drop(kept);
    // In place no buffer is needed.
    host.nic().pool_frames = 0;
    host.inject(SYN).counted(Counter::RstSent);
    host.expect(rst().seq(0).ack(21));
}

/// The reply is longer than the frame that it is written into: an exclusive frame grows in its own buffer.
#[test]
fn a_reply_may_be_longer_than_its_segment() {
    let mut host = Host::new();
    host.on(Flow::v4(1, OPEN));
    host.inject(syn().seq(0)).counted(Counter::SynEmbryo);
    host.expect(syn_ack().seq(0).ack(1).mss(1460));
    assert_eq!(host.count(Counter::RepliesCopied), 0);
}
