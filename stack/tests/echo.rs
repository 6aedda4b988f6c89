//! Two workers and a wire in memory: an app that connects, one that echoes, and what is left of both afterwards.
#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::time::Duration;

use stack::app::Connect;
use stack::conn::Kind;
use stack::local::listener::{ListenerConfig, SynPolicy};
use stack::queue::pattern;
use stack::sim::host::HostSpec;
use stack::sim::pair::{carry, host};
use stack::sim::puppet::Puppet;
use stack::tcp::verdict::CloseReason;
use stack::time::Instant;

const PORT: u16 = 7;

fn echoes(server_address: IpAddr, len: usize) {
    let echo = Puppet {
        echoes: true,
        ..Puppet::default()
    };
    let mut server = host(1, echo, |spec| {
        spec.listeners = vec![ListenerConfig::new(PORT, SynPolicy::CookieWhenFull)];
    });
    let mut client = host(2, Puppet::default(), |_| {});
    let mut now = Instant::from_ms(1_000_000);
    let remote = (server_address, PORT).into();
    let opened = client.with_cx(now, |_, cx| cx.connect(remote, &Connect::default(), false));
    let conn = opened.expect("connects");
    let bytes: Vec<u8> = (0..len as u64).map(pattern::byte_at).collect();
    let mut sent = 0;
    for _ in 0..100_000 {
        client.turn(now);
        client.with_cx(now, |app, cx| {
            sent += cx.send_bytes(conn, &bytes[sent..]).unwrap_or(0);
            if app.received == len as u64 {
                cx.close(conn);
            }
        });
        let there = carry(&mut client, &mut server);
        server.turn(now);
        let back = carry(&mut server, &mut client);
        if there + back == 0 {
            now = now + Duration::from_millis(1);
        }
        if [&client, &server]
            .iter()
            .all(|worker| worker.app().reason().is_some())
        {
            break;
        }
    }
    assert_eq!((client.app().received, client.app().wrong), (len as u64, 0));
    for worker in [&client, &server] {
        let ends = worker.app().ends().map(|(_, reason)| reason);
        assert_eq!(ends.collect::<Vec<_>>(), [CloseReason::Graceful]);
        assert_eq!(
            (worker.queued_items(), worker.counters().unaccounted()),
            (0, 0)
        );
    }
    assert_eq!(client.table().len(Kind::TimeWait).total(), 1);
    assert_eq!(client.tcp_counters().retransmitted_segments, 0);
    now = now + Duration::from_secs(61);
    client.turn(now);
    assert_eq!(client.table().total() + server.table().total(), 0);
    assert_eq!(server.into_nic().in_use(), 0);
    assert_eq!(client.into_nic().in_use(), 0);
}

#[test]
fn a_byte_comes_back() {
    echoes(HostSpec::v4(1), 1);
    echoes(HostSpec::v6(1), 1);
}

#[test]
fn a_megabyte_comes_back_in_order() {
    echoes(HostSpec::v4(1), 1 << 20);
    echoes(HostSpec::v6(1), 1 << 20);
}
