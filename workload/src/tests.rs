//! Parts that need no stack: bytes, addresses, counts, times.

use core::time::Duration;

use stack::app::CloseReason;

use crate::http::{self, BODY_MAX};
use crate::{Fault, Latency, Tally};

#[test]
fn a_response_is_as_long_as_its_header_says() {
    for len in [0, 1, 64, 1000, BODY_MAX, BODY_MAX + 1] {
        let response = http::response(len);
        let end = response
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("a header");
        let header = core::str::from_utf8(&response[..end]).expect("text");
        let said: usize = header
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .and_then(|n| n.parse().ok())
            .expect("a length");
        assert_eq!(said, response.len() - end - 4);
        assert_eq!(said as u32, len.min(BODY_MAX));
        assert!(u16::try_from(response.len()).is_ok());
    }
}

#[test]
fn only_a_complete_connection_that_ended_in_good_order_has_no_fault() {
    assert_eq!(Fault::of_close(CloseReason::Graceful, true), None);
    assert_eq!(
        Fault::of_close(CloseReason::Graceful, false),
        Some(Fault::EndedEarly)
    );
    assert_eq!(
        Fault::of_close(CloseReason::Reset, true),
        Some(Fault::Reset)
    );
}

#[test]
fn each_fault_has_its_place_and_its_name() {
    for (place, fault) in Fault::ALL.into_iter().enumerate() {
        assert_eq!(fault as usize, place);
        let mut tally = Tally::default();
        tally.fault(fault);
        assert_eq!(tally.by_fault().collect::<Vec<_>>(), [(fault, 1)]);
        assert_eq!(tally.faults_total(), 1);
        assert_eq!(
            tally.total_of(Fault::is_wrong_reply),
            u64::from(fault.is_wrong_reply())
        );
        assert_eq!(
            tally.total_of(Fault::is_of_link),
            u64::from(fault.is_of_link())
        );
        assert_eq!(tally.since(&tally), Tally::default());
    }
    let names: std::collections::HashSet<_> = Fault::ALL.map(Fault::name).into();
    assert_eq!(names.len(), Fault::ALL.len());
}

#[test]
fn a_percentile_needs_ten_samples_beyond_it() {
    let mut latency = Latency::new();
    assert_eq!((latency.max(), latency.percentile(50.0)), (None, None));
    for us in 1..=1000 {
        latency.record(us * 1000);
    }
    let p99 = latency.percentile(99.0).expect("ten lie beyond");
    assert!((Duration::from_micros(989)..=Duration::from_micros(991)).contains(&p99));
    assert_eq!(latency.percentile(99.9), None);
    assert!(latency.max() >= Some(Duration::from_millis(1)));
}
