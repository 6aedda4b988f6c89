//! Tests of the option walk, the parsed set and the builder.

use super::*;
use proptest::prelude::*;

const TS: Timestamps = Timestamps {
    tsval: 0x0102_0304,
    tsecr: 0x0506_0708,
};

#[test]
fn every_standard_option_is_read_at_any_alignment() {
    // RFC 9293 MUST-64: options start where they start.
    let bytes = [
        &[1, 2, 4, 0x05, 0xb4, 3, 3, 7, 4, 2][..],
        &[8, 10, 1, 2, 3, 4, 5, 6, 7, 8],
        &[5, 10, 0, 0, 0, 1, 0, 0, 0, 9],
        &[0, 2, 4],
    ]
    .concat();
    let options = TcpOptions::parse(&bytes);
    assert_eq!((options.mss, options.window_scale), (Some(1460), Some(7)));
    assert!(options.sack_permitted && !options.malformed);
    assert_eq!(options.timestamps, Some(TS));
    assert_eq!(options.sack.as_slice(), [(SeqNum(1), SeqNum(9))]);
    assert_eq!(options.seen, OptionsSeen::default());
}

#[test]
fn options_that_we_do_not_act_on_are_seen() {
    let seen = |bytes: &[u8]| TcpOptions::parse(bytes).seen;
    assert_eq!(seen(&[28, 4, 0x80, 5]), OptionsSeen::USER_TIMEOUT);
    assert_eq!(seen(&[&[19, 18][..], &[0; 16]].concat()), OptionsSeen::MD5);
    assert_eq!(
        seen(&[29, 8, 1, 2, 9, 9, 9, 9]),
        OptionsSeen::AUTHENTICATION
    );
    assert_eq!(seen(&[30, 4, 0, 1]), OptionsSeen::MULTIPATH);
    assert_eq!(seen(&[253, 4, 0xf9, 0x89]), OptionsSeen::UNKNOWN);
    let asks = TcpOptions::parse(&[34, 2]);
    assert_eq!(
        (asks.seen, asks.fast_open),
        (OptionsSeen::FAST_OPEN, Some(&[][..]))
    );
    let cookie = [34, 6, 1, 2, 3, 4];
    assert_eq!(
        TcpOptions::parse(&cookie).fast_open,
        Some(&[1, 2, 3, 4][..])
    );
}

#[test]
fn a_known_kind_of_a_wrong_length_is_skipped_and_the_rest_is_read() {
    let kinds = [
        (2, 3),
        (3, 4),
        (4, 3),
        (5, 2),
        (5, 11),
        (8, 9),
        (19, 4),
        (28, 3),
        (29, 3),
    ];
    for (kind, len) in kinds
        .into_iter()
        .chain([(30, 2), (34, 4), (34, 7), (34, 20)])
    {
        let mut bytes = vec![kind, len];
        bytes.resize(len.into(), 0xaa);
        bytes.extend([2, 4, 0x02, 0x18]);
        let options = TcpOptions::parse(&bytes);
        assert!(
            options.seen.contains(OptionsSeen::WRONG_LENGTH),
            "{kind} of {len}"
        );
        assert_eq!(
            (options.mss, options.malformed),
            (Some(536), false),
            "{kind} of {len}"
        );
    }
}

/// MUST-7: every illegal length at every place; what stood before it counts.
#[test]
fn illegal_lengths_are_survived_and_said() {
    for kind in 2..=255 {
        for bad in [
            &[kind][..],
            &[kind, 0],
            &[kind, 1],
            &[kind, 1, 0, 0],
            &[kind, 5, 0, 0],
            &[kind, 255],
        ] {
            let bytes = [&[3, 3, 9][..], bad].concat();
            let options = TcpOptions::parse(&bytes);
            assert!(options.malformed, "{bytes:?}");
            assert_eq!(options.window_scale, Some(9));
            assert_eq!(Options::new(&bytes).filter(Result::is_err).count(), 1);
        }
    }
}

#[test]
fn nothing_behind_eol_counts() {
    let options = TcpOptions::parse(&[2, 4, 1, 0, 0, 3, 3, 9, 2, 0]);
    assert_eq!(
        (options.mss, options.window_scale, options.malformed),
        (Some(256), None, false)
    );
}

#[test]
fn a_shift_above_14_is_kept_and_clamped() {
    let options = TcpOptions::parse(&[3, 3, 200]);
    assert_eq!(
        (options.window_scale, options.window_scale_clamped()),
        (Some(200), Some(14))
    );
    assert_eq!(
        TcpOptions::parse(&[3, 3, 14]).window_scale_clamped(),
        Some(14)
    );
}

#[test]
fn the_last_of_two_counts() {
    assert_eq!(TcpOptions::parse(&[2, 4, 1, 0, 2, 4, 2, 0]).mss, Some(512));
}

#[test]
fn the_usual_layout_reads_like_any_other() {
    let options = OptionBytes::timestamps(TS);
    let padded = options.as_padded();
    assert_eq!(padded, [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(TcpOptions::parse(padded).timestamps, Some(TS));
    assert_eq!(TcpOptions::parse(&padded[2..]).timestamps, Some(TS));
}

/// The two layouts with a way of their own read exactly as the walk reads them, and one byte off they take the walk.
#[test]
fn the_ways_for_usual_layouts_agree_with_the_walk() {
    let syn = OptionBytes::syn(Some(1460), Some(7), true, Some(TS));
    let usual = usual_syn(syn.as_padded()).unwrap();
    assert_eq!(Some(&usual), Some(&walked(syn.as_padded())));
    assert_eq!(
        only_timestamps(OptionBytes::timestamps(TS).as_padded()),
        Some(TS)
    );
    for options in [syn, OptionBytes::timestamps(TS)] {
        let bytes = options.as_padded();
        for at in 0..bytes.len() {
            for value in 0..=255 {
                let mut bytes = bytes.to_vec();
                bytes[at] = value;
                assert_eq!(TcpOptions::parse(&bytes), walked(&bytes), "{bytes:?}");
            }
        }
        for len in 0..bytes.len() {
            assert_eq!(TcpOptions::parse(&bytes[..len]), walked(&bytes[..len]));
        }
    }
}

fn walked(bytes: &[u8]) -> TcpOptions<'_> {
    let mut found = TcpOptions::default();
    for option in Options::new(bytes) {
        match option {
            Ok(option) => found.take(option),
            Err(Malformed) => found.malformed = true,
        }
    }
    found
}

/// MUST-69: whatever pads the last word is zero, and the first zero is EOL.
#[test]
fn padding_is_zero() {
    for len in 0..=MAX_LEN {
        let mut options = OptionBytes::new();
        options.put(&[kind::NOP; MAX_LEN][..len]);
        let padded = options.as_padded();
        assert!(padded.len().is_multiple_of(4) && padded.len() < len + 4);
        assert!(padded[len..].iter().all(|byte| *byte == 0));
    }
}

proptest! {
    #[test]
    fn the_options_of_a_syn_read_back(
        mss: Option<u16>, shift: Option<u8>, sack: bool, ts: Option<(u32, u32)>,
    ) {
        let timestamps = ts.map(|(tsval, tsecr)| Timestamps { tsval, tsecr });
        let built = OptionBytes::syn(mss, shift, sack, timestamps);
        let read = TcpOptions::parse(built.as_padded());
        prop_assert_eq!((read.mss, read.window_scale), (mss, shift));
        prop_assert_eq!((read.sack_permitted, read.timestamps), (sack, timestamps));
        prop_assert!(!read.malformed && read.seen == OptionsSeen::default());
        prop_assert!(built.len().is_multiple_of(4));
    }

    #[test]
    fn arbitrary_bytes_survive(bytes in proptest::collection::vec(any::<u8>(), 0..=40)) {
        let options = TcpOptions::parse(&bytes);
        prop_assert!(options.sack.len() <= MAX_SACK_BLOCKS);
        prop_assert!(Options::new(&bytes).count() <= 20);
    }
}

proptest! {
    #[test]
    fn the_short_way_of_a_syn_agrees_with_the_long_one(
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
        change in proptest::option::of((0usize..20, any::<u8>())),
    ) {
        // Arbitrary bytes, and a Linux SYN with one byte changed: around the short way's pattern.
        let linux = OptionBytes::syn(Some(1460), Some(7), true, Some(Timestamps { tsval: 1, tsecr: 2 }));
        let mut near = linux.as_padded().to_vec();
        if let Some((at, value)) = change {
            near[at] = value;
        }
        for bytes in [bytes, near] {
            prop_assert_eq!(SegmentOptions::parse_syn(&bytes), SegmentOptions::parse_any(&bytes));
        }
    }
}
