//! Choices of applications by profiles: where each choice shows, and that it outlasts parking.

use core::time::Duration;

use super::connecting::{REMOTE, from_port};
use super::host::{Flow, Host, OUR_V4};
use super::neighbors::arp_request;
use crate::config::ConfigSpec;
use crate::conn::Kind;
use crate::counters::Counter;
use crate::local::listener::SynPolicy;
use crate::sim::puppet::AppEvent::{Closed, Data, Open, Ready};
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, data, rst, syn, syn_ack};
use crate::tcp::profile::{Profile, ProfileError, ProfileId};
use crate::tcp::verdict::CloseReason;
use crate::worker::connect::Connect;

/// Nothing as it is by default.
const OTHER: Profile = Profile {
    nagle: false,
    keepalive: false,
    keepalive_idle: Duration::from_secs(100),
    keepalive_interval: Duration::from_secs(10),
    keepalive_probes: 3,
    ack_delay: Duration::ZERO,
    r2: Duration::from_secs(5),
    fin_wait_2: Duration::from_secs(7),
    resets_on_close: false,
    rcv_buf: 10_000,
    mss_max: 1_000,
};

/// A listener whose connections have the profile.
fn listening(profile: Profile, policy: SynPolicy) -> Host<Puppet> {
    let change = |spec: &mut ConfigSpec| {
        let id = spec.add_profile(profile);
        spec.listeners[0].profile = id;
        spec.listeners[0].policy = policy;
    };
    let mut host = Host::probing(change);
    host.inject_bytes(&arp_request()).next_reply();
    host
}

#[test]
fn a_listeners_profile_shows_from_the_syn_ack_on() {
    for policy in [SynPolicy::Embryo, SynPolicy::CookieAlways] {
        let mut host = listening(OTHER, policy);
        host.inject(syn().seq(0).mss(1460).wscale(2).ts(5, 0));
        let answer = syn_ack().seq(0).ack(1).mss(1_000).wscale(0).win(10_000);
        host.expect(answer);
        let tsval = host.last().segment.tsval().expect("timestamps");
        host.inject(ack().seq(1).ack(1).ts(6, tsval))
            .hears(&[Ready, Open]);
        // It is acknowledged at once, and the window is what is left of the buffer.
        host.app().reads = false;
        host.inject(data(10).seq(1).ack(1).ts(7, tsval))
            .hears(&[Data(10)]);
        host.expect(ack().seq(1).ack(11).win(9_990));
        // No segment is larger than the MSS allows, and the last one doesn't wait.
        let conn = host.conn();
        let sent = host.act(|_, cx| cx.send_bytes(conn, &[0; 1_000]));
        assert_eq!(sent, Ok(1_000));
        host.expect(data(988).seq(1).ack(11));
        host.expect(data(12).push(true).seq(989).ack(11));
    }
}

#[test]
fn an_active_open_announces_what_its_profile_says() {
    let mut host = Host::probing(|_| {});
    host.inject_bytes(&arp_request()).next_reply();
    host.on(Flow::between(REMOTE, (OUR_V4, 50_000).into()));
    host.act(|_, cx| {
        let profile = cx.profile(OTHER).expect("a profile that can be");
        assert_eq!(cx.profile_of(profile), &OTHER);
        assert_eq!(cx.profile(OTHER), Ok(profile), "the same again");
        let how = Connect {
            profile,
            ..from_port(50_000)
        };
        assert!(cx.connect(REMOTE, &how, false).is_ok());
    });
    host.expect(syn().seq(0).mss(1_000).wscale(0).win(10_000));
}

#[test]
fn a_profile_that_cannot_be_is_refused_by_name() {
    let mut host = Host::probing(|_| {});
    let small = Profile {
        rcv_buf: 1,
        ..OTHER
    };
    let refused = host.act(|_, cx| cx.profile(small));
    assert_eq!(refused, Err(ProfileError::RcvBuf(1)));
}

#[test]
fn it_outlasts_parking() {
    let mut host = listening(OTHER, SynPolicy::Embryo);
    host.shake_hands().hears(&[Ready, Open]);
    host.wait_ms(1_100);
    assert_eq!(host.kind(), Some(Kind::Parked));
    // Old data may reach back as far as the window of this connection did.
    host.inject(ack().seq(1).ack(1))
        .counted(Counter::ParkedAck)
        .silent();
    let conn = host.conn();
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"one"));
    host.expect(data(3).seq(1).ack(1));
    let _ = host.act(|_, cx| cx.send_bytes(conn, b"two"));
    host.expect(data(3).seq(4).ack(1));
    for _ in 0..57 {
        host.wait_ms(100);
        while host.try_reply().is_some() {}
    }
    host.hears(&[Closed(CloseReason::TimedOut { soft: None })]);
}

#[test]
fn closing_may_reset() {
    let resets = Profile {
        resets_on_close: true,
        ..OTHER
    };
    for parks in [false, true] {
        let mut host = listening(resets, SynPolicy::Embryo);
        host.shake_hands().hears(&[Ready, Open]);
        if parks {
            host.wait_ms(1_100);
            assert_eq!(host.kind(), Some(Kind::Parked));
        }
        let conn = host.conn();
        host.act(|_, cx| cx.close(conn));
        host.expect(rst().seq(1).ack(1));
        host.hears(&[Closed(CloseReason::Aborted)]).silent();
    }
}

#[test]
fn a_larger_buffer_is_offered_at_once_when_it_is_read_into() {
    let mut host = listening(OTHER, SynPolicy::Embryo);
    host.shake_hands().hears(&[Ready, Open]);
    let conn = host.conn();
    let large = Profile {
        rcv_buf: 60_000,
        ..OTHER
    };
    host.choose(conn, large);
    host.inject(data(10).seq(1).ack(1)).hears(&[Data(10)]);
    host.expect(ack().seq(1).ack(11).win(60_000));
    // Back to the default one: what was offered stays offered.
    host.act(|_, cx| cx.set_profile(conn, ProfileId::DEFAULT));
    host.inject(data(10).seq(11).ack(1)).hears(&[Data(10)]);
    host.wait_ms(41).expect(ack().seq(1).ack(21).win(65_535));
}
