//! Cookies against forgery, age, and loss of options.

use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::tcp::isn::Remote;

const T: Tuple = Tuple {
    remote: Remote::V4(0xc612_0001),
    ends: 3 << 32 | 40_000 << 16 | 80,
};
const IRS: SeqNum = SeqNum(u32::MAX - 1);

fn key() -> CookieKey {
    CookieKey::new(b"0123456789abcdef")
}

fn full_options() -> Negotiated {
    Negotiated {
        peer_mss: 1460,
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: true,
    }
}

fn arb_options() -> impl Strategy<Value = Negotiated> {
    (
        any::<u16>(),
        proptest::option::of(0u8..=14),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(peer_mss, window_scale, sack_permitted, timestamps)| Negotiated {
                peer_mss,
                window_scale,
                sack_permitted,
                timestamps,
            },
        )
}

proptest! {
    #[test]
    fn options_survive_the_round_trip(options in arb_options(), clock: u32, now_ns: u64, irs: u32) {
        let now = Instant::from_ns(now_ns);
        let irs = SeqNum(irs);
        let mut key = key();
        let cookie = key.make(T, irs, options, now, clock);
        prop_assert_eq!(cookie.tsval.is_some(), options.timestamps);
        if let Some(tsval) = cookie.tsval {
            prop_assert!(clock.wrapping_sub(tsval) < 32, "a TSval from the future or more than 32 ms old");
        }
        let opened = key.open(T, irs, cookie.iss, cookie.tsval, now).expect("our own cookie");
        prop_assert!(opened.peer_mss <= options.peer_mss.max(MSS_VALUES[0]));
        prop_assert!(MSS_VALUES.iter().all(|&value| value <= opened.peer_mss || value > options.peer_mss));
        prop_assert_eq!(opened.timestamps, options.timestamps);
        prop_assert_eq!(opened.window_scale, options.window_scale.filter(|_| options.timestamps));
        prop_assert_eq!(opened.sack_permitted, options.sack_permitted && options.timestamps);
    }

    #[test]
    fn guesses_do_not_open(guess: u32, tsecr: Option<u32>) {
        // 2^-27 per guess and epoch: a hit in a test run would be a broken MAC.
        prop_assert_eq!(key().open(T, IRS, SeqNum(guess), tsecr, Instant::from_ms(1)), None);
    }
}

#[test]
fn a_cookie_lives_for_its_epoch_and_the_next_and_dies_even_when_the_epoch_bits_come_round() {
    let made_at = Instant::from_ms(1_000_000);
    let cookie = key().make(T, IRS, full_options(), made_at, 5);
    let open_after = |s: u64| {
        key()
            .open(
                T,
                IRS,
                cookie.iss,
                cookie.tsval,
                made_at + Duration::from_secs(s),
            )
            .is_some()
    };
    assert!(open_after(0));
    assert!(open_after(EPOCH_S));
    assert!(!open_after(2 * EPOCH_S));
    assert!(
        !open_after(4 * EPOCH_S),
        "the two epoch bits are the same again"
    );
    assert!(!open_after(256 * EPOCH_S));
}

#[test]
fn a_cookie_is_bound_to_tuple_irs_key_and_mss() {
    let now = Instant::from_ms(70_000);
    let cookie = key().make(T, IRS, full_options(), now, 5);
    let ok = |tuple, irs, iss, tsecr| key().open(tuple, irs, iss, tsecr, now).is_some();
    assert!(ok(T, IRS, cookie.iss, cookie.tsval));
    for tuple in [
        Tuple {
            remote: Remote::V4(1),
            ..T
        },
        Tuple {
            ends: T.ends ^ 1 << 32,
            ..T
        },
        Tuple {
            ends: T.ends ^ 1 << 16,
            ..T
        },
        Tuple {
            ends: T.ends ^ 1,
            ..T
        },
    ] {
        assert!(!ok(tuple, IRS, cookie.iss, cookie.tsval));
    }
    assert!(!ok(T, IRS.add(1), cookie.iss, cookie.tsval));
    // One bit says that timestamps were offered.
    for bit in (0..32).filter(|bit| 1 << bit != TIMESTAMPS) {
        assert!(
            !ok(T, IRS, SeqNum(cookie.iss.0 ^ (1 << bit)), cookie.tsval),
            "cookie bit {bit}"
        );
    }
    assert!(
        CookieKey::new(&[0; 16])
            .open(T, IRS, cookie.iss, cookie.tsval, now)
            .is_none()
    );
}

#[test]
fn without_the_timestamps_that_were_offered_no_option_is_known() {
    let now = Instant::from_ms(70_000);
    let cookie = key().make(T, IRS, full_options(), now, 5);
    let opened = key().open(T, IRS, cookie.iss, None, now);
    let without = Negotiated {
        peer_mss: 1460,
        window_scale: None,
        sack_permitted: false,
        timestamps: false,
    };
    assert_eq!(opened, Some(without));
}

#[test]
fn timestamps_that_were_not_offered_tell_nothing() {
    let now = Instant::from_ms(70_000);
    let offer = Negotiated {
        timestamps: false,
        ..full_options()
    };
    let cookie = key().make(T, IRS, offer, now, 5);
    assert_eq!(cookie.tsval, None);
    for tsecr in [None, Some(0), Some(7), Some(0xffff_ffff)] {
        let opened = key().open(T, IRS, cookie.iss, tsecr, now).expect("ours");
        assert_eq!(
            (
                opened.timestamps,
                opened.window_scale,
                opened.sack_permitted
            ),
            (false, None, false)
        );
    }
}
