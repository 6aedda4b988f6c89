//! Numbers that pass their end: sequence numbers, timestamps, ticks.
//!
//! It must never share a world with another test.

use std::time::Duration;

use stack::app::Connect;
use stack::conn::{FlowKey, Kind};
use stack::local::addresses::LocalId;
use stack::sim::host::HostSpec;
use stack::sim::trace::Crossing;
use stack::sim::wrap;
use stack::tcp::isn::{Remote, Tuple};
use stack::worker::Secrets;

use super::{
    SYN, flags, ms, records, secs,
    show::{PORT, Show},
    tcp,
};

/// The secrets of the client in [`numbers_wrap_during_a_transfer`].
fn secrets() -> Secrets {
    Secrets {
        flow: [1, 2],
        isn: [3; 16],
        cookie: [4; 16],
        ports: [5; 16],
    }
}

/// Sequence numbers, timestamps and the ticks of tables and timers pass 2^32 on the way, without an effect.
#[test]
fn numbers_wrap_during_a_transfer() {
    let how = Connect {
        local: Some(HostSpec::v4(1)),
        local_port: Some(4000),
        ..Connect::default()
    };
    let key = FlowKey::new(LocalId(0), 4000, HostSpec::v4(2), PORT);
    let tuple = Tuple {
        remote: Remote::V4(key.remote_v4()),
        ends: key.ends(),
    };
    let starts = [
        wrap::before_iss_wraps(&secrets(), tuple, Duration::ZERO, 50_000),
        wrap::before_timestamps_wrap(&secrets(), tuple, ms(500)),
        wrap::before_ticks_wrap(ms(500)),
    ];
    for (number, start) in starts.into_iter().enumerate() {
        let mut show = Show::starting_at(start, |client, _| {
            client.secrets = Some(secrets());
            // A second and more for all of it.
            client.up.rate_bps = 8_000_000;
            client.up.queue_len = 100_000;
        });
        show.world.record(true);
        let id = show.established(how);
        show.send(id, 0, 1_000_000);
        show.world.act(show.client, 0, |_, cx| cx.shutdown(id));
        show.run(secs(5));
        assert_eq!(show.server().received, 1_000_000);
        assert_eq!(tcp(&show, show.client).retransmission_timeouts, 0);
        // Where the numbers stand in a segment of the client: the sequence number, and TSval in the usual layout.
        let field = |at: usize| -> Vec<u32> {
            let from_client = show.world.trace().iter().filter(|c| c.from == show.client);
            let segments = from_client.filter(|c| flags(c).is_some_and(|f| f & SYN == 0));
            let value = |c: &Crossing| c.bytes[14 + 20 + at..][..4].try_into().ok();
            segments.filter_map(value).map(u32::from_be_bytes).collect()
        };
        let wraps = |values: &[u32]| {
            values
                .windows(2)
                .any(|pair| pair[0] > 1 << 31 && pair[1] < 1 << 30)
        };
        match number {
            0 => assert!(wraps(&field(4)), "SND.NXT"),
            1 => assert!(wraps(&field(24)), "TSval"),
            _ => assert_eq!(show.world.now().as_ms() >> 32, 1),
        }
        show.run(secs(70));
        assert_eq!(records(&show, show.client, Kind::TimeWait), 0);
        show.end();
    }
}
