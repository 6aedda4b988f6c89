//! The link around frames that no stack sends: [`LinkHost`] answers ARP and neighbour discovery for our addresses and for a pool, and
//! [`resolve`] asks for the next hops before the first frame.
//!
//! It must never claim an address that is neither ours nor of the pool on our own link.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use stack::config::{Config, Interface};
use stack::nic::{Burst, Frame, Nic, PoolClass};
use stack::wire::{Link, MacAddr, Network, Transport, arp, emit, ndp, parse};
use workload::pools::SourcePool;

use crate::clock;
use crate::failure::Failure;
use crate::stop::Stop;
use crate::traffic::Bystander;

/// Bytes of the longest frame that is written here: a neighbour solicitation or advertisement with its option.
const FRAME_MAX: usize = 86;
/// Ethernet's shortest frame without FCS, in bytes.
const FRAME_MIN: usize = 60;
/// A question is repeated after this.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How often the answers are looked for.
const LOOK: Duration = Duration::from_millis(1);

/// Our side of the link, for frames that are no replies.
#[derive(Debug, Clone)]
pub(crate) struct LinkHost {
    mac: MacAddr,
    ours: Vec<Interface>,
    pool: SourcePool,
}

/// The contents of a neighbour's frame.
enum Said {
    /// It asks for an address of ours: this is the answer.
    Question([u8; FRAME_MAX], usize),
    /// An address is at this link-layer address.
    Found(IpAddr, MacAddr),
}

impl LinkHost {
    /// The host with these addresses, and those of `pool` on their links.
    pub(crate) fn new(mac: [u8; 6], ours: Vec<Interface>, pool: SourcePool) -> Self {
        Self {
            mac: MacAddr(mac),
            ours,
            pool,
        }
    }

    fn answers_for(&self, address: IpAddr) -> bool {
        self.ours.iter().any(|ip| ip.address == address)
            || (self.pool.contains(address) && self.ours.iter().any(|ip| ip.on_link(address)))
    }

    /// Reads a frame of neighbour discovery; `None` for any other, and for damaged ones.
    fn read(&self, frame: &[u8]) -> Option<Said> {
        let parsed = parse(frame).ok()?;
        match parsed.network {
            Network::Arp(packet) => self.read_arp(packet),
            Network::Ipv6 {
                packet,
                transport: Transport::Icmpv6(message),
            } => {
                parsed.verify_checksums(false, true).ok()?;
                let said = ndp::parse(packet.header, message).ok()?;
                self.read_ndp(packet.header.src_addr(), parsed.link.src, &said)
            }
            _ => None,
        }
    }

    fn read_arp(&self, packet: &arp::Packet) -> Option<Said> {
        if !packet.is_request() {
            return Some(Said::Found(packet.sender_addr().into(), packet.sender_mac));
        }
        let target = packet.target_addr();
        if packet.is_announcement() || !self.answers_for(target.into()) {
            return None;
        }
        let (asker, at) = (packet.sender_mac, packet.sender_addr());
        let reply = arp::Packet::reply(self.mac, target, asker, at);
        let mut frame = [0; FRAME_MAX];
        let len = emit::arp(self.link_to(asker), &reply, &mut frame).ok()?;
        Some(Said::Question(frame, len))
    }

    fn read_ndp(&self, from: Ipv6Addr, link_src: MacAddr, said: &ndp::Message) -> Option<Said> {
        match *said {
            ndp::Message::NeighborAdvertisement {
                target,
                target_lladdr,
                ..
            } => Some(Said::Found(
                target.into(),
                target_lladdr.unwrap_or(link_src),
            )),
            ndp::Message::NeighborSolicitation {
                target,
                source_lladdr,
            } if self.answers_for(target.into()) => {
                // Duplicate detection comes from nowhere: the answer goes to all nodes (RFC 4861 §7.2.4).
                let (to, mac, solicited) = if from.is_unspecified() {
                    (ndp::ALL_NODES, MacAddr([0x33, 0x33, 0, 0, 0, 1]), 0)
                } else {
                    let mac = source_lladdr.unwrap_or(link_src);
                    (from, mac, ndp::FLAG_SOLICITED)
                };
                let flags = ndp::FLAG_OVERRIDE | solicited;
                let mut frame = [0; FRAME_MAX];
                let link = self.link_to(mac);
                let len = emit::neighbor_advertisement(link, to, target, flags, &mut frame).ok()?;
                Some(Said::Question(frame, len))
            }
            _ => None,
        }
    }

    fn link_to(&self, mac: MacAddr) -> Link {
        Link {
            dst: mac,
            src: self.mac,
            vlan: None,
        }
    }

    /// Writes the question who has `neighbor`, asked from `source`.
    fn question(&self, neighbor: IpAddr, source: IpAddr, into: &mut [u8]) -> Option<usize> {
        match (neighbor, source) {
            (IpAddr::V4(neighbor), IpAddr::V4(source)) => {
                let request = arp::Packet::request(self.mac, source, neighbor);
                emit::arp(self.link_to(MacAddr([0xff; 6])), &request, into).ok()
            }
            (IpAddr::V6(neighbor), IpAddr::V6(source)) => {
                let [.., a, b, c] = neighbor.octets();
                // RFC 4291 §2.7.1 and RFC 2464 §7.
                let group = Ipv6Addr::from_bits(
                    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).to_bits()
                        | u128::from(u32::from_be_bytes([0, a, b, c])),
                );
                let link = self.link_to(MacAddr([0x33, 0x33, 0xff, a, b, c]));
                emit::neighbor_solicitation(link, source, group, neighbor, into).ok()
            }
            _ => None,
        }
    }
}

impl<F: Frame> Bystander<F> for LinkHost {
    fn attend(&mut self, mut frame: F) -> Option<F> {
        let Some(Said::Question(answer, len)) = self.read(frame.bytes()) else {
            return None;
        };
        put(&mut frame, &answer[..len]).then_some(frame)
    }
}

/// Makes `bytes` the contents of a frame, padded to Ethernet's shortest. False when its buffer is not ours to change.
pub(crate) fn put<F: Frame>(frame: &mut F, bytes: &[u8]) -> bool {
    if frame.set_len(bytes.len().max(FRAME_MIN)).is_err() {
        return false;
    }
    let Some(room) = frame.bytes_mut() else {
        return false;
    };
    room[..bytes.len()].copy_from_slice(bytes);
    room[bytes.len()..].fill(0);
    true
}

/// The link-layer address of each of `hops`, asked for on all queues until `patience` is over, a second apart.
///
/// # Errors
/// [`Failure::Run`] names those that did not answer, or says that a signal came.
pub(crate) fn resolve<N: Nic>(
    nics: &mut [N],
    host: &mut LinkHost,
    (hops, config): (&[IpAddr], &Config),
    (patience, stop): (Duration, &Stop),
) -> Result<BTreeMap<IpAddr, [u8; 6]>, Failure> {
    let mut found = BTreeMap::new();
    let (started, mut ask_at) = (Instant::now(), Instant::now());
    loop {
        let missing: Vec<IpAddr> = hops
            .iter()
            .copied()
            .filter(|hop| !found.contains_key(hop))
            .collect();
        if missing.is_empty() {
            return Ok(found);
        }
        stop.unless_asked()?;
        if started.elapsed() >= patience {
            return Err(unanswered(&missing, patience));
        }
        if Instant::now() >= ask_at {
            ask_at = Instant::now() + ASK_AGAIN;
            for &hop in &missing {
                ask(&mut nics[0], host, hop, config);
            }
        }
        for nic in &mut *nics {
            listen(nic, host, &mut found);
        }
        clock::sleep(LOOK);
    }
}

fn unanswered(missing: &[IpAddr], patience: Duration) -> Failure {
    let names: Vec<String> = missing.iter().take(4).map(IpAddr::to_string).collect();
    let more = if missing.len() > names.len() {
        format!(" and {} more", missing.len() - names.len())
    } else {
        String::new()
    };
    Failure::Run(format!(
        "{}{more} did not answer within {} s ({}): is it up, on this link, and --ip of its prefix? Give --gateway for targets behind a router, or --target-mac",
        names.join(", "),
        patience.as_secs(),
        if missing[0].is_ipv4() {
            "ARP"
        } else {
            "neighbour discovery"
        },
    ))
}

fn ask<N: Nic>(nic: &mut N, host: &LinkHost, hop: IpAddr, config: &Config) {
    let mut question = [0; FRAME_MAX];
    let len = config
        .source_for(hop)
        .and_then(|source| host.question(hop, source, &mut question));
    let (Some(len), Some(mut frame)) = (len, nic.alloc_one(PoolClass::Control)) else {
        return;
    };
    if put(&mut frame, &question[..len]) {
        send(nic, frame);
    }
}

fn listen<N: Nic>(nic: &mut N, host: &mut LinkHost, found: &mut BTreeMap<IpAddr, [u8; 6]>) {
    let mut received = Burst::new();
    nic.rx(&mut received);
    while let Some(frame) = received.pop_front() {
        match host.read(frame.bytes()) {
            Some(Said::Found(address, mac)) => {
                found.insert(address, mac.0);
            }
            Some(Said::Question(..)) => {
                if let Some(answer) = host.attend(frame) {
                    send(nic, answer);
                }
            }
            None => {}
        }
    }
}

/// One frame; what the NIC does not take now is asked for again in a second.
pub(crate) fn send<N: Nic>(nic: &mut N, frame: N::Frame) {
    let mut burst = Burst::new();
    drop(burst.push(frame));
    nic.tx(&mut burst);
    nic.free(&mut burst);
}

/// The next hop of each target, in order.
///
/// # Errors
/// [`Failure::Usage`] for a target that no link and no gateway leads to.
pub(crate) fn next_hops(
    targets: &[(IpAddr, u16)],
    config: &Config,
) -> Result<Vec<IpAddr>, Failure> {
    let hop = |&(address, _): &(IpAddr, u16)| {
        config.next_hop(address).ok_or_else(|| {
            Failure::Usage(format!(
                "no way to {address}: it is on no link of --ip; give --gateway, the router on one of them"
            ))
        })
    };
    targets.iter().map(hop).collect()
}

#[cfg(test)]
mod tests;
