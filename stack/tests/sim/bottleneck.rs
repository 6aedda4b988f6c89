//! Two oracles on a link that is the narrowest of its path: how much of its rate a transfer gets, and how two share it.
//!
//! It must never be met by what can't fill a link: each is tried on a connection that a small window keeps slow.

use std::time::Duration;

use stack::app::Connect;
use stack::sim::host::{HostId, HostSpec};
use stack::sim::link::LinkSpec;

use stack::sim::puppet::Puppet;

use crate::show::{PORT, Show, app};

/// Of the client's wire.
const RATE_BPS: u64 = 10_000_000;
/// There and back over both wires.
const ROUND_TRIP: Duration = Duration::from_millis(40);
/// A bandwidth-delay product, in bytes.
const QUEUE_LEN: u32 = (RATE_BPS / 8 * 40 / 1000) as u32;
/// How long a transfer is measured, once slow start is over.
const MEASURED_S: u64 = 40;

/// Text that the link carries while it is measured, at most: a full segment with timestamps holds 1,448 bytes, and takes 1,538 with
/// its headers and what Ethernet puts around a frame.
const MOST_LEN: u64 = RATE_BPS / 8 * MEASURED_S * 1448 / 1538;

fn narrow(client: &mut HostSpec) {
    let wire = LinkSpec::perfect(ROUND_TRIP / 4);
    client.down = wire;
    client.up = LinkSpec {
        rate_bps: RATE_BPS,
        queue_len: QUEUE_LEN,
        // No two machines are in step.
        jitter: Duration::from_micros(500),
        ..wire
    };
}

fn far(server: &mut HostSpec, rcv_buf: u32) {
    let wire = LinkSpec::perfect(ROUND_TRIP / 4);
    (server.up, server.down) = (wire, wire);
    server.config.tcp.profile.rcv_buf = rcv_buf;
}

/// The percentage of the link's rate that a transfer reaches whose receiver has so large a buffer.
fn percent_of_rate(rcv_buf: u32) -> u64 {
    let mut show = Show::new(|client, server| {
        narrow(client);
        far(server, rcv_buf);
    });
    let id = show.established(Connect::default());
    show.send(id, 0, 2 * MOST_LEN);
    show.run(Duration::from_secs(10));
    let before = show.server().received;
    show.run(Duration::from_secs(MEASURED_S));
    let percent = (show.server().received - before) * 100 / MOST_LEN;
    show.end();
    percent
}

#[test]
fn a_transfer_fills_a_link_with_a_queue_of_one_bandwidth_delay_product() {
    let percent = percent_of_rate(256 * 1024);
    assert!((90..=100).contains(&percent), "{percent} % of the rate");
    let percent = percent_of_rate(10_000);
    assert!(percent < 30, "{percent} % with a window of 10,000 bytes");
}

/// Jain's index of two transfers over one link to receivers with such buffers, in percent: 100 is equal shares, 50 is all for
/// one. The second begins five seconds after the first.
fn jain_percent(rcv_bufs: [u32; 2]) -> u64 {
    let mut show = Show::new(|client, server| {
        narrow(client);
        far(server, rcv_bufs[0]);
    });
    let mut other = HostSpec::new(3);
    far(&mut other, rcv_bufs[1]);
    other.config.listeners = {
        let listeners = &show.world.config(show.server).listeners;
        listeners.open().map(|(_, config)| *config).collect()
    };
    let other = show.world.add_host(other, |_| Puppet::default());
    let servers = [show.server, other.expect("a host")];
    let first = show.established(Connect::default());
    show.send(first, 0, 2 * MOST_LEN);
    show.run(Duration::from_secs(5));
    let remote = (HostSpec::v4(3), PORT).into();
    let opened = show.world.act(show.client, 0, |_, cx| {
        cx.connect(remote, &Connect::default(), false)
    });
    let second = opened.expect("a worker").expect("a connection");
    show.run(Duration::from_secs(1));
    show.send(second, 0, 2 * MOST_LEN);
    show.run(Duration::from_secs(15));
    let received = |show: &Show| servers.map(|host: HostId| app(&show.world, host).received);
    let before = received(&show);
    show.run(Duration::from_secs(MEASURED_S));
    let after = received(&show);
    let [a, b] = [after[0] - before[0], after[1] - before[1]];
    // A segment that waits for the one before it is read with that one.
    assert!(a + b <= MOST_LEN * 101 / 100, "{a} and {b}");
    assert_eq!(app(&show.world, servers[1]).wrong, 0);
    show.end();
    (a + b) * (a + b) * 100 / (2 * (a * a + b * b)).max(1)
}

#[test]
fn two_transfers_share_a_link() {
    let percent = jain_percent([256 * 1024; 2]);
    assert!(percent >= 90, "Jain's index is {percent} %");
    let percent = jain_percent([256 * 1024, 10_000]);
    assert!(percent < 80, "{percent} % although one has a small window");
}
