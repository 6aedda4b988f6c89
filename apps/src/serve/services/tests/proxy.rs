//! Headers of the PROXY protocol in front of the services.

use stack::tcp::verdict::CloseReason;
use workload::proxy::{Tlv, write_v1, write_v2};

use super::Session;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const SOURCE: &str = "192.0.2.7:56324";
const FIELDS: &str = "X-Proxy-Source: 192.0.2.7:56324\r\nX-Proxy-Destination: 198.18.0.9:80\r\n";

/// A header of each version, the second one with a checksum and 3000 bytes of padding.
fn headers() -> [Vec<u8>; 2] {
    let (source, destination) = (SOURCE.parse(), "198.18.0.9:80".parse());
    let (source, destination) = (source.expect("an end"), destination.expect("an end"));
    let mut into = [0; 4096];
    let padding = Tlv::Value {
        kind: 4,
        value: &[0; 3000],
    };
    let len = write_v2(
        Some((source, destination)),
        &[Tlv::Crc32c, padding],
        &mut into,
    );
    [
        write_v1(source, destination).to_vec(),
        into[..len.expect("room")].to_vec(),
    ]
}

impl Session {
    fn aborted(&self) -> String {
        let report = self.stats().proxy.report();
        let names = report.aborted.iter().map(|(name, n)| format!("{name} {n}"));
        names.collect::<Vec<_>>().join(", ")
    }
}

#[test]
fn the_service_begins_behind_the_header_however_that_is_cut() {
    for header in headers() {
        let all = [&header[..], GET].concat();
        let cuts = [
            0,
            1,
            5,
            11,
            13,
            20,
            header.len() - 1,
            header.len(),
            header.len() + 4,
        ];
        for cut in cuts {
            let mut session = Session::open("1=http,size=10,proxy=any");
            session.send(&all[..cut.max(1)]);
            if cut < header.len() {
                assert_eq!(
                    session.text(),
                    "",
                    "nothing is answered before the header is there"
                );
            }
            session.send(&all[cut.max(1)..]);
            // Every response carries the fields.
            session.send(GET);
            let text = session.text();
            assert_eq!(
                text.matches("HTTP/1.1 200 OK\r\n").count(),
                2,
                "{cut}: {text}"
            );
            assert_eq!(text.matches(FIELDS).count(), 2, "{cut}: {text}");
            assert!(text.ends_with("\r\n\r\n !\"#$%&'()"), "{text}");
            let stats = session.stats();
            assert_eq!(
                stats.bytes_in,
                2 * GET.len() as u64,
                "the header isn't the service's"
            );
            let proxy = stats.proxy.report();
            let is_v2 = header[0] != b'P';
            assert_eq!((proxy.v1, proxy.v2), (u64::from(!is_v2), u64::from(is_v2)));
            assert_eq!(proxy.crc32c_verified, u64::from(is_v2));
            session.shutdown();
            session.ends_in_order();
        }
    }
}

#[test]
fn echo_and_chargen_and_daytime_wait_for_the_header() {
    for (listen, data, answer) in [
        ("1=echo,proxy=v1", "hello", "hello"),
        ("1=daytime,proxy=v1", "", "1970"),
        ("1=chargen,proxy=v1", "", " !\"#$%&'()"),
    ] {
        let mut session = Session::open(listen);
        session.reads = 50;
        assert_eq!(session.text(), "");
        let [header, _] = headers();
        session.send(&[&header[..], data.as_bytes()].concat());
        assert!(
            session.text().contains(answer),
            "{listen}: {}",
            session.text()
        );
    }
}

#[test]
fn own_connections_of_the_proxy_and_unknown_ones_are_served_and_told_apart() {
    let mut local = [0; 16];
    assert_eq!(write_v2(None, &[], &mut local), Some(16));
    for (header, field, counts) in [
        (&local[..], "X-Proxy-Source: local\r\n\r\n", (1, 0)),
        (
            b"PROXY UNKNOWN\r\n",
            "X-Proxy-Source: unknown\r\n\r\n",
            (0, 1),
        ),
    ] {
        let mut session = Session::open("1=http,size=10,proxy=any");
        session.send(&[header, GET].concat());
        assert!(session.text().contains(field), "{}", session.text());
        let proxy = session.stats().proxy.report();
        assert_eq!((proxy.local, proxy.unknown), counts);
    }
}

#[test]
fn what_brings_no_right_header_is_aborted_and_counted_and_hears_nothing() {
    let [v1, mut v2] = headers();
    // The padding, far behind the checksum.
    v2[3000] ^= 1;
    for (listen, bytes, aborted) in [
        ("1=http,proxy=any", GET, "no_header 1"),
        ("1=http,proxy=any", &v2, "crc32c 1"),
        ("1=echo,proxy=v2", &v1, "wrong_version 1"),
        ("1=echo,proxy=v1", b"PROXY TCP4 1 2 3 4\r\n", "address 1"),
    ] {
        let mut session = Session::open(listen);
        session.send(bytes);
        assert_eq!(session.aborted(), aborted);
        assert_eq!(session.text(), "");
        assert_eq!(session.client.app().reason(), Some(CloseReason::Reset));
        assert_eq!(
            session.stats().closed_by_reason().0.get("aborted"),
            Some(&1)
        );
        assert_eq!((session.stats().open, session.stats().requests), (0, 0));
    }
}

#[test]
fn a_header_has_its_time_and_its_end() {
    let [v1, _] = headers();
    let mut session = Session::open("1=echo,proxy=any");
    session.send(&v1[..10]);
    for _ in 0..16 {
        session.settle();
    }
    assert_eq!(session.aborted(), "", "there are two seconds left");
    for _ in 0..5 {
        session.settle();
    }
    assert_eq!(session.aborted(), "timed_out 1");

    let mut session = Session::open("1=echo,proxy=any");
    session.send(&v1[..10]);
    session.shutdown();
    assert_eq!(session.aborted(), "truncated 1");

    let mut session = Session::open("1=echo,proxy=any");
    session.shutdown();
    assert_eq!(session.aborted(), "");
    assert_eq!(session.stats().proxy.report().closed_before, 1);
    session.ends_in_order();

    // Once it is there its time is over, and the service has its own.
    let mut session = Session::open("1=echo,proxy=any");
    session.send(&v1);
    for _ in 0..30 {
        session.settle();
    }
    session.send(b"late");
    assert_eq!(session.text(), "late");
}

#[test]
fn the_end_of_the_run_waits_for_no_header() {
    let mut session = Session::open("1=echo,proxy=any");
    session.send(b"PRO");
    session.finish();
    // Closing with unread bytes is a reset (RFC 1122 §4.2.2.13).
    assert_eq!(session.client.app().reason(), Some(CloseReason::Reset));
    assert_eq!(session.stats().open, 0);
}
