//! Which addresses are answered for, byte by byte: the frames are written by hand.

use std::net::Ipv4Addr;

use super::*;
use crate::traffic::testing::Heap;

const OUR_MAC: [u8; 6] = [4; 6];
const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 9];

fn host(ours: &str, pool: &str) -> LinkHost {
    let interface = |text: &str| crate::addresses::host_prefix(text).expect(text);
    let pool = interface(pool);
    let ports = workload::pools::PortRange::UNPRIVILEGED;
    let pool = SourcePool::new(&[(pool.address, pool.prefix_len)], &[ports]).expect("a pool");
    LinkHost::new(OUR_MAC, vec![interface(ours)], pool)
}

fn arp_request(target: [u8; 4]) -> Vec<u8> {
    let mut frame = [[0xff; 6], THEIRS].concat();
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(THEIRS);
    frame.extend([198, 18, 0, 1]);
    frame.extend([0; 6]);
    frame.extend(target);
    frame.resize(60, 0);
    frame
}

#[test]
fn arp_is_answered_for_our_address_and_for_the_pool_on_our_link() {
    let mut host = host("198.18.0.2/24", "198.18.0.64/26");
    for target in [[198, 18, 0, 2], [198, 18, 0, 64], [198, 18, 0, 127]] {
        let answer = host.attend(Heap(arp_request(target))).expect("an answer").0;
        assert_eq!(answer.len(), 60);
        assert_eq!(answer[..12], [THEIRS, OUR_MAC].concat());
        assert_eq!(answer[20..22], [0, 2], "a reply");
        assert_eq!(answer[22..32], [OUR_MAC.as_slice(), &target].concat());
        assert_eq!(
            answer[32..42],
            [THEIRS.as_slice(), &[198, 18, 0, 1]].concat()
        );
    }
    for target in [[198, 18, 0, 3], [198, 18, 0, 128], [198, 18, 64, 1]] {
        assert!(
            host.attend(Heap(arp_request(target))).is_none(),
            "{target:?}"
        );
    }
}

#[test]
fn a_pool_off_the_link_is_not_answered_for() {
    let mut host = host("198.18.0.2/24", "198.18.64.0/24");
    assert!(host.attend(Heap(arp_request([198, 18, 64, 1]))).is_none());
}

#[test]
fn a_reply_tells_where_a_neighbour_is() {
    let host = host("198.18.0.2/24", "198.18.0.64/26");
    let mut reply = arp_request([198, 18, 0, 2]);
    reply[21] = 2;
    let Some(Said::Found(address, mac)) = host.read(&reply) else {
        panic!("no reply")
    };
    assert_eq!(
        (address.to_string(), mac.0),
        ("198.18.0.1".to_owned(), THEIRS)
    );
}

#[test]
fn a_neighbour_solicitation_is_answered_and_a_damaged_one_is_not() {
    let mut host = host("2001:db8::2/64", "2001:db8::1:0/112");
    let solicitation = |target: Ipv6Addr| {
        let link = Link {
            dst: MacAddr([0x33, 0x33, 0xff, 0, 0, 2]),
            src: MacAddr(THEIRS),
            vlan: None,
        };
        let from = "2001:db8::1".parse().expect("an address");
        let group = "ff02::1:ff00:2".parse().expect("an address");
        let mut frame = vec![0; FRAME_MAX];
        let len = emit::neighbor_solicitation(link, from, group, target, &mut frame);
        frame.truncate(len.expect("room"));
        frame
    };
    for target in ["2001:db8::2", "2001:db8::1:7"] {
        let target: Ipv6Addr = target.parse().expect("an address");
        let answer = host
            .attend(Heap(solicitation(target)))
            .expect("an answer")
            .0;
        assert_eq!(answer[..12], [THEIRS, OUR_MAC].concat());
        assert_eq!((answer[54], answer[58]), (136, 0x60), "solicited, override");
        assert_eq!(answer[62..78], target.octets());
        assert_eq!(answer[80..86], OUR_MAC);
        let mut damaged = solicitation(target);
        damaged[60] ^= 1;
        assert!(host.attend(Heap(damaged)).is_none());
    }
    let stranger = "2001:db8::3".parse().expect("an address");
    assert!(host.attend(Heap(solicitation(stranger))).is_none());
}

#[test]
fn targets_off_the_link_go_to_the_gateway_or_nowhere() {
    let spec = |gateway: Option<Ipv4Addr>| {
        let ip = crate::addresses::host_prefix("198.18.0.2/24").expect("an address");
        let mut spec = stack::config::ConfigSpec::new(vec![ip]);
        spec.gateway_v4 = gateway;
        spec.validate().expect("valid")
    };
    let (near, far) = (
        "198.18.0.1".parse().expect("an address"),
        "198.19.0.9".parse().expect("an address"),
    );
    let gateway = Ipv4Addr::new(198, 18, 0, 254);
    let hops = next_hops(&[(near, 80), (far, 80)], &spec(Some(gateway)));
    assert_eq!(hops, Ok(vec![near, gateway.into()]));
    let error = next_hops(&[(far, 80)], &spec(None)).expect_err("no way");
    assert!(error.to_string().contains("--gateway"), "{error}");
}
