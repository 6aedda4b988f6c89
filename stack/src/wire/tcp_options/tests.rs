//! Tests of the option walk, what a connection goes by, and the builder.

use super::*;
use proptest::prelude::*;

const TS: Timestamps = Timestamps {
    tsval: 0x0102_0304,
    tsecr: 0x0506_0708,
};

/// All options of `bytes`, and whether an illegal length ended the walk.
fn walk(bytes: &[u8]) -> (Vec<TcpOption<'_>>, bool) {
    let options: Vec<_> = Options::new(bytes).collect();
    let malformed = options.last() == Some(&Err(Malformed));
    (options.into_iter().flatten().collect(), malformed)
}

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
    let expected = vec![
        TcpOption::Mss(1460),
        TcpOption::WindowScale(7),
        TcpOption::SackPermitted,
        TcpOption::Timestamps(TS),
        TcpOption::Sack(&[0, 0, 0, 1, 0, 0, 0, 9]),
    ];
    assert_eq!(walk(&bytes), (expected, false));
    let options = SegmentOptions {
        timestamps: Some(TS),
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
    };
    assert_eq!(SegmentOptions::parse(&bytes), options);
}

#[test]
fn options_that_we_do_not_act_on_are_told_apart_and_skipped() {
    let only = |bytes: &[u8], expected: TcpOption<'_>| {
        assert_eq!(walk(bytes), (vec![expected], false));
        assert_eq!(SegmentOptions::parse(bytes), SegmentOptions::default());
    };
    only(&[28, 4, 0x80, 5], TcpOption::UserTimeout(0x8005));
    let md5 = [&[19, 18][..], &[0; 16]].concat();
    only(&md5, TcpOption::Md5(&[0; 16]));
    let data = &[1, 2, 9, 9, 9, 9];
    only(&[29, 8, 1, 2, 9, 9, 9, 9], TcpOption::Authentication(data));
    only(&[30, 4, 0, 1], TcpOption::Multipath(&[0, 1]));
    let (kind, data) = (253, &[0xf9, 0x89][..]);
    only(&[253, 4, 0xf9, 0x89], TcpOption::Unknown { kind, data });
    only(&[34, 2], TcpOption::FastOpen(&[]));
    only(&[34, 6, 1, 2, 3, 4], TcpOption::FastOpen(&[1, 2, 3, 4]));
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
        let expected = vec![TcpOption::WrongLength { kind }, TcpOption::Mss(536)];
        assert_eq!(walk(&bytes), (expected, false), "{kind} of {len}");
        assert_eq!(SegmentOptions::parse(&bytes).mss, Some(536));
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
            let expected = vec![TcpOption::WindowScale(9)];
            assert_eq!(walk(&bytes), (expected, true), "{bytes:?}");
            assert_eq!(SegmentOptions::parse(&bytes).window_scale, Some(9));
            assert_eq!(Options::new(&bytes).filter(Result::is_err).count(), 1);
        }
    }
}

#[test]
fn nothing_behind_eol_counts() {
    let bytes = [2, 4, 1, 0, 0, 3, 3, 9, 2, 0];
    assert_eq!(walk(&bytes), (vec![TcpOption::Mss(256)], false));
}

#[test]
fn a_shift_above_14_is_clamped() {
    for (shift, used) in [(200, 14), (15, 14), (14, 14), (13, 13)] {
        let options = SegmentOptions::parse(&[3, 3, shift]);
        assert_eq!(options.window_scale, Some(used));
    }
}

#[test]
fn the_last_of_two_counts() {
    let options = SegmentOptions::parse(&[2, 4, 1, 0, 2, 4, 2, 0]);
    assert_eq!(options.mss, Some(512));
}

#[test]
fn the_usual_layout_reads_like_any_other() {
    let options = OptionBytes::timestamps(TS);
    let padded = options.as_padded();
    assert_eq!(padded, [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(SegmentOptions::parse(padded).timestamps, Some(TS));
    assert_eq!(SegmentOptions::parse(&padded[2..]).timestamps, Some(TS));
}

/// The layouts with a way of their own read exactly as the walk reads them, and one byte off they take the walk.
#[test]
fn the_ways_for_usual_layouts_agree_with_the_walk() {
    let syn = OptionBytes::syn(Some(1460), Some(7), true, Some(TS));
    assert!(usual_syn(syn.as_padded()).is_some());
    assert_eq!(
        only_timestamps(OptionBytes::timestamps(TS).as_padded()),
        Some(TS)
    );
    let agree = |bytes: &[u8]| {
        let walked = SegmentOptions::parse_any(bytes);
        assert_eq!(SegmentOptions::parse(bytes), walked, "{bytes:?}");
        assert_eq!(SegmentOptions::parse_syn(bytes), walked, "{bytes:?}");
    };
    for options in [syn, OptionBytes::timestamps(TS)] {
        let bytes = options.as_padded();
        for at in 0..bytes.len() {
            for value in 0..=255 {
                let mut bytes = bytes.to_vec();
                bytes[at] = value;
                agree(&bytes);
            }
        }
        for len in 0..bytes.len() {
            agree(&bytes[..len]);
        }
    }
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
        let read = SegmentOptions::parse(built.as_padded());
        let clamped = shift.map(|shift| shift.min(MAX_WINDOW_SCALE));
        prop_assert_eq!((read.mss, read.window_scale), (mss, clamped));
        prop_assert_eq!((read.sack_permitted, read.timestamps), (sack, timestamps));
        let known = Options::new(built.as_padded()).all(|option| option.is_ok());
        prop_assert!(known);
        prop_assert!(built.len().is_multiple_of(4));
    }

    #[test]
    fn arbitrary_bytes_survive(bytes in proptest::collection::vec(any::<u8>(), 0..=40)) {
        let _ = SegmentOptions::parse(&bytes);
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
