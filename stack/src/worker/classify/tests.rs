//! The fast lanes are compared with the slow one, which parses from the outside in and knows no fixed offset.

use core::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use crate::local::addresses::LocalPrefix;
use crate::wire::{Link, SegmentSpec};
use crate::worker::classify::*;

const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const MTU: usize = 120;

/// A segment for us or nearly so, and what happens to its frame on the way.
#[derive(Debug, Clone)]
struct Case {
    link: Link,
    addresses: (IpAddr, IpAddr),
    ports: (u16, u16),
    numbers: (u32, u32),
    flags: u8,
    window: u16,
    options: Vec<u8>,
    payload: Vec<u8>,
    /// Bits of a byte of the headers that turn over.
    turned: Option<(usize, u8)>,
    /// Bytes that are cut off (below 0) or padded.
    cut: isize,
    verdict: RxChecksum,
}

impl Case {
    fn frame(&self) -> Vec<u8> {
        let (src, dst) = self.addresses;
        let spec = SegmentSpec {
            seq: SeqNum(self.numbers.0),
            ack: SeqNum(self.numbers.1),
            flags: Flags(self.flags),
            window: self.window,
            options: &self.options,
            payload: &self.payload,
            ..SegmentSpec::new(
                self.link,
                SocketAddr::new(src, self.ports.0),
                SocketAddr::new(dst, self.ports.1),
            )
        };
        let mut frame = vec![0; 2048];
        let len = spec.emit(&mut frame).expect("a frame");
        frame.truncate(len);
        if let Some((at, bits)) = self.turned {
            let at = at % len;
            frame[at] ^= bits;
        }
        frame.resize(len.saturating_add_signed(self.cut), 0);
        frame
    }
}

fn addresses() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    let v4 = (
        prop_oneof![
            8 => Just([198, 18, 250, 1]),
            // Ours, the broadcasts of our links, and what no host may have.
            1 => prop::sample::select(vec![
                [198, 18, 0, 2], [198, 18, 255, 255], [198, 19, 255, 255], [0, 0, 0, 1], [1, 0, 0, 0],
                [126, 255, 255, 255], [127, 0, 0, 1], [128, 0, 0, 0], [223, 255, 255, 255],
                [224, 0, 0, 1], [240, 0, 0, 1], [255, 255, 255, 255],
            ]),
            1 => any::<[u8; 4]>(),
        ],
        prop_oneof![8 => Just([198, 18, 0, 2]), 1 => Just([198, 18, 0, 3]), 1 => Just([198, 18, 0, 4])],
    );
    let v6 = (
        prop_oneof![8 => Just("2001:2::ff"), 1 => Just("2001:2::2"), 1 => Just("::1"), 1 => Just("ff02::1")],
        prop_oneof![8 => Just("2001:2::2"), 1 => Just("2001:2::3")],
    );
    let v4 = v4.prop_map(|(src, dst)| (IpAddr::from(src), IpAddr::from(dst)));
    let v6 = v6.prop_map(|(src, dst)| {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        (address(src), address(dst))
    });
    prop_oneof![3 => v4, 1 => v6]
}

fn options() -> impl Strategy<Value = Vec<u8>> {
    let numbers = (any::<u32>(), any::<u32>(), any::<u16>(), any::<u8>());
    let known = numbers.prop_map(|(tsval, tsecr, mss, shift)| SegmentOptions {
        timestamps: Some(TimestampOption { tsval, tsecr }),
        mss: Some(mss),
        window_scale: Some(shift),
        sack_permitted: true,
    });
    let bytes = |options: SegmentOptions| options.to_bytes().as_padded().to_vec();
    prop_oneof![
        Just(vec![]),
        known.clone().prop_map(move |known| bytes(SegmentOptions {
            timestamps: known.timestamps,
            ..SegmentOptions::default()
        })),
        known.prop_map(bytes),
        // Of the length of usual timestamps and of others, and one bit from them.
        (0usize..96).prop_map(|bit| {
            let mut bytes = vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        }),
        prop::collection::vec(any::<[u8; 4]>(), 0..=10).prop_map(|words| words.concat()),
    ]
}

fn verdict() -> impl Strategy<Value = ChecksumVerdict> {
    prop_oneof![
        2 => Just(ChecksumVerdict::Unknown),
        1 => Just(ChecksumVerdict::Bad),
        2 => Just(ChecksumVerdict::Good),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let link = (
        prop_oneof![9 => Just(OUR_MAC), 1 => Just(MacAddr([2, 0, 0, 0, 1, 1]))],
        prop_oneof![9 => Just(PEER_MAC), 1 => Just(MacAddr([3, 0, 0, 0, 0, 2]))],
        // One that isn't ours, a priority tag, and one that is, with a priority.
        prop_oneof![4 => Just(None), 3 => prop::sample::select(vec![5, 0, 7, 0xa007]).prop_map(Some)],
    );
    let numbers = (any::<(u16, u16)>(), any::<(u32, u32)>());
    let turned = prop::option::of((prop_oneof![0usize..54, 0usize..200], any::<u8>()));
    let payload = prop::collection::vec(any::<u8>(), 0..90);
    let cut = prop_oneof![4 => Just(0isize), 1 => -30isize..30];
    (
        (link, addresses(), numbers, any::<(u8, u16)>()),
        (options(), prop_oneof![Just(vec![]), payload]),
        (turned, cut, verdict(), verdict()),
    )
        .prop_map(
            |(
                ((dst, src, tag), addresses, (ports, numbers), (flags, window)),
                (options, payload),
                (turned, cut, ip, l4),
            )| Case {
                link: Link {
                    dst,
                    src,
                    vlan: tag.map(|tag| vlan::Tag(tag.into())),
                },
                addresses,
                ports,
                numbers,
                flags,
                window,
                options,
                payload,
                turned,
                cut,
                verdict: RxChecksum { ip, l4 },
            },
        )
}

fn classifier() -> Classifier {
    let prefix = |text: &str, len| {
        let address = text.parse().expect("an address");
        LocalPrefix::new(address, len).expect("a prefix")
    };
    let prefixes = [prefix("198.18.0.2", 31), prefix("2001:2::2", 128)];
    Classifier {
        plain_v4: PlainV4::new(OUR_MAC),
        mac: OUR_MAC,
        mtu: MTU,
        longest_segment: MTU,
        broadcasts: Broadcasts::new(&[[198, 18, 255, 255], [198, 19, 255, 255]]),
        hasher: FlowHasher::new([1, 2]),
        locals: LocalAddrs::in_vlans(&prefixes, &[VlanId(0), VlanId(7)]).expect("addresses"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// In both directions: what a fast lane takes the slow lane takes too and fills in alike, and nothing that is plain and
    /// intact misses its fast lane.
    #[test]
    fn the_fast_lanes_take_what_the_slow_one_takes_of_plain_frames(case in case()) {
        let frame = case.frame();
        let (classifier, mut counters) = (classifier(), Counters::new());
        let (mut fast, mut slow) = (Meta::ENDED, Meta::ENDED);
        let verdict = case.verdict;
        let taken = classifier.try_fast_v4::<false>(&frame, verdict, &mut fast).is_some()
            || classifier.try_fast_v6::<false>(&frame, verdict, &mut fast).is_some()
            || is_tagged(&frame)
                && (classifier.try_fast_v4::<true>(&frame, verdict, &mut fast).is_some()
                    || classifier.try_fast_v6::<true>(&frame, verdict, &mut fast).is_some());
        let fast = taken.then_some(fast);
        classifier.slow(&frame, case.verdict, &mut slow, &mut counters);
        let ip_len = slow.l4_offset.saturating_sub(slow.l3_offset.into());
        let is_plain = slow.lane == Lane::Tcp
            && matches!((slow.key.is_v6(), ip_len), (false, 20) | (true, 40));
        prop_assert_eq!(format!("{fast:?}"), format!("{:?}", is_plain.then_some(slow)));
    }

    #[test]
    fn options_say_the_same_from_a_meta_as_from_their_bytes(case in case()) {
        let case = Case { turned: None, cut: 0, payload: vec![], verdict: RxChecksum::default(), ..case };
        let frame = case.frame();
        let mut meta = Meta::ENDED;
        classifier().slow(&frame, case.verdict, &mut meta, &mut Counters::new());
        if meta.lane == Lane::Tcp {
            prop_assert_eq!(meta.segment_options(&frame), SegmentOptions::parse(&case.options));
        }
    }
}
