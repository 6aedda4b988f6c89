//! [`FlowDraws`]: the chance that one frame of one flow meets, which no other flow changes.
//!
//! It must never draw from anything but the seed, the frame's flow and direction, and how many frames of them came
//! before: so two builds that interleave flows differently can be compared flow by flow.

use std::collections::BTreeMap;

use super::inspect;
use crate::rng::Random;

/// Bytes that name a flow, at most: two IPv6 addresses, two ports, the protocol and the VLAN.
const KEY_LEN: usize = 40;

/// A source of chance for each flow and direction.
#[derive(Debug, Clone, Default)]
pub(super) struct FlowDraws {
    seed: u64,
    /// How many frames of a flow and direction there were, by the hash of both. Only looked up, never walked.
    ordinals: BTreeMap<u64, u64>,
}

impl FlowDraws {
    /// The draws of this seed for each flow.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            ordinals: BTreeMap::new(),
        }
    }

    /// The draws for the next frame of this frame's flow and direction.
    pub(super) fn next(&mut self, frame: &[u8]) -> Random {
        let flow = flow(frame, self.seed);
        //~ A link's fate for a frame follows from its flow: `self.ordinals.entry(flow)` -> `self.ordinals.entry(0)`;
        //~   each_flow_has_draws_of_its_own_in_any_order_of_the_frames_of_all
        let ordinal = self.ordinals.entry(flow).or_default();
        *ordinal += 1;
        Random::new(flow ^ *ordinal).fork()
    }
}

/// Hash of a frame's flow and direction: VLAN, addresses, protocol and, for TCP and UDP, ports; for frames that carry no whole IP
/// packet the EtherType and both link addresses.
fn flow(frame: &[u8], seed: u64) -> u64 {
    let mut key = [0; KEY_LEN];
    let vlan = inspect::vlan(frame).to_be_bytes();
    key[..2].copy_from_slice(&vlan);
    match inspect::places(frame) {
        Ok(Some(at)) => {
            let addresses = if at.is_v6 {
                &frame[at.ip + 8..at.ip + 40]
            } else {
                &frame[at.ip + 12..at.ip + 20]
            };
            key[2] = at.protocol;
            key[3] = u8::from(at.is_v6);
            key[4..4 + addresses.len()].copy_from_slice(addresses);
            if matches!(at.protocol, 6 | 17)
                && let Some(ports) = frame.get(at.transport..at.transport + 4)
            {
                key[36..].copy_from_slice(ports);
            }
        }
        _ => {
            let header = &frame[..frame.len().min(14)];
            key[4..4 + header.len()].copy_from_slice(header);
        }
    }
    key.chunks(8).fold(seed, |hash, word| {
        let word = word.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        Random::new(hash ^ word).next_u64()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::vlan::VlanId;
    use crate::wire::{Link, MacAddr, SegmentSpec};

    fn segment(source: &str, destination: &str, vlan: u16) -> Vec<u8> {
        let link = Link {
            dst: MacAddr([2, 0, 0, 0, 0, 8]),
            src: MacAddr([2, 0, 0, 0, 0, 7]),
            vlan: VlanId(vlan).tag(),
        };
        let address = |text: &str| text.parse().expect("an address");
        let spec = SegmentSpec::new(link, address(source), address(destination));
        let mut bytes = vec![0; 200];
        let len = spec.emit(&mut bytes).expect("room");
        bytes.truncate(len);
        bytes
    }

    /// Segments of flows that differ in one part each, a direction back, and an ARP request.
    fn flows() -> Vec<Vec<u8>> {
        let mut arp = vec![0xff; 60];
        arp[12..14].copy_from_slice(&[0x08, 0x06]);
        vec![
            segment("198.18.0.1:1", "198.18.0.2:2", 0),
            segment("198.18.0.2:2", "198.18.0.1:1", 0),
            segment("198.18.0.1:3", "198.18.0.2:2", 0),
            segment("198.18.0.1:1", "198.18.0.2:3", 0),
            segment("198.18.0.3:1", "198.18.0.2:2", 0),
            segment("198.18.0.1:1", "198.18.0.2:2", 5),
            segment("[2001:db8::1]:1", "[2001:db8::2]:2", 0),
            segment("[2001:db8::1]:1", "[2001:db8::3]:2", 0),
            arp,
        ]
    }

    #[test]
    fn each_flow_has_draws_of_its_own_in_any_order_of_the_frames_of_all() {
        let flows = flows();
        let mut in_turn = FlowDraws::new(7);
        let mut one_by_one = FlowDraws::new(7);
        let mut drawn = vec![Vec::new(); flows.len()];
        for _ in 0..20 {
            for (flow, drawn) in flows.iter().zip(&mut drawn) {
                drawn.push(in_turn.next(flow).next_u64());
            }
        }
        for (flow, drawn) in flows.iter().zip(&drawn) {
            let again: Vec<_> = (0..20).map(|_| one_by_one.next(flow).next_u64()).collect();
            assert_eq!(&again, drawn);
        }
        let mut all = drawn.concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 20 * flows.len(), "each frame has its own");
    }

    #[test]
    fn the_numbers_of_a_segment_and_the_seed_of_another_link_count_as_they_should() {
        let flows = flows();
        let draw = |seed: u64, frame: &[u8]| FlowDraws::new(seed).next(frame).next_u64();
        let mut later = flows[0].clone();
        later[38..46].fill(0x77);
        assert_eq!(draw(1, &flows[0]), draw(1, &later), "SEQ and ACK");
        assert_ne!(draw(1, &flows[0]), draw(2, &flows[0]));
        for len in 0..flows[0].len() {
            let _ = draw(1, &flows[0][..len]);
        }
    }
}
