//! `--rss-probe`: where the NIC brings flows, asked before the first of them. A host is sent segments of no connection, and the queue
//! to which each of its resets comes is compared with the one that the NIC's key and indirection table name.
//!
//! It must never open a connection: an ACK that belongs to none leaves no state at either end (RFC 9293 §3.10.7.1).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dpdk::{DpdkNic, QueuePair};
use stack::config::Config;
use stack::nic::{Burst, Frame as _, Nic, PoolClass};
use stack::wire::tcp::Flags;
use stack::wire::vlan::VlanId;
use stack::wire::{Link, MacAddr, SegmentSpec, Transport, parse};
use stack::worker::Steered;
use workload::pools::{PortRange, SourcePool};

use super::args::NicArgs;
use super::neighbors::{self, LinkHost};
use super::rss::FLOWS_MIN;
use super::vlan_nic::VlanNic;
use crate::clock;
use crate::console;
use crate::failure::Failure;
use crate::stop::Stop;
use crate::traffic::Bystander as _;

/// Flows that are asked for: so many of our ports, from the first on.
const FLOWS: u16 = 256;
const FIRST_PORT: u16 = 40_000;
/// The host's port (discard): whether it is open or not, an ACK without a connection is reset.
const PORT: u16 = 9;
/// Probes without an answer in one round are repeated in the next.
const ROUNDS: u32 = 3;
const ROUND: Duration = Duration::from_millis(300);
/// How often the answers are looked for.
const LOOK: Duration = Duration::from_millis(1);
/// How long the host, or the router to it, may take to answer ARP or neighbour discovery.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of the longest frame that is written here.
const FRAME_MAX: usize = 128;

/// One queue pair of the port.
type ProbeNic = VlanNic<DpdkNic>;

/// Both ends of the flows, and the way to the host.
struct ProbeFlows {
    link: Link,
    here: IpAddr,
    host: IpAddr,
}

/// Asks the host of `--rss-probe`, if there is one. Gives the queues back, and says where its resets came.
///
/// # Errors
/// [`Failure::Usage`] without a way to the host, [`Failure::Run`] when it does not answer ARP or neighbour discovery.
pub(crate) fn probe(
    args: &NicArgs,
    config: Option<&Arc<Config>>,
    queues: Vec<QueuePair>,
    stop: &Stop,
) -> Result<(Vec<QueuePair>, Steered), Failure> {
    let (Some(host), Some(config)) = (args.rss_probe, config) else {
        return Ok((queues, Steered::default()));
    };
    let vlan = Some(args.kernel_vlan()).filter(|&vlan| vlan != VlanId::UNTAGGED);
    let mut nics: Vec<ProbeNic> = queues
        .into_iter()
        .map(|queue| VlanNic::new(DpdkNic::new(queue), vlan))
        .collect();
    let steered = ask(args, config, &mut nics, (host, stop))?;
    let queues = nics.into_iter().map(|nic| nic.into_inner().into_queues());
    Ok((queues.collect(), steered))
}

fn ask(
    args: &NicArgs,
    config: &Config,
    nics: &mut [ProbeNic],
    (host, stop): (IpAddr, &Stop),
) -> Result<Steered, Failure> {
    let hop = neighbors::next_hops(&[(host, PORT)], config)?;
    let here = hop.first().and_then(|&hop| config.source_for(hop));
    let (Some(here), Some(mac)) = (here, nics.first().map(Nic::mac)) else {
        return Err(Failure::Usage(format!(
            "--rss-probe {host}: no --ip of its family"
        )));
    };
    let mut link_host = link_host(args, here, mac)?;
    let found = neighbors::resolve(
        nics,
        &mut link_host,
        (&hop, config),
        (RESOLVE_PATIENCE, stop),
    )?;
    let dst = hop.first().and_then(|hop| found.get(hop)).copied();
    let asked = ProbeFlows {
        link: Link {
            dst: MacAddr(dst.unwrap_or_default()),
            src: MacAddr(mac),
            vlan: None,
        },
        here,
        host,
    };
    let mut queues = [None; FLOWS as usize];
    for _ in 0..ROUNDS {
        stop.unless_asked()?;
        for flow in (0..FLOWS).filter(|&flow| queues[usize::from(flow)].is_none()) {
            asked.send(&mut nics[0], flow);
        }
        asked.listen(nics, &mut link_host, &mut queues);
    }
    Ok(asked.judge(&queues, nics))
}

/// Our side of the link: it answers for the address that asks.
fn link_host(args: &NicArgs, here: IpAddr, mac: [u8; 6]) -> Result<LinkHost, Failure> {
    let bits = if here.is_ipv4() { 32 } else { 128 };
    let pool = SourcePool::new(&[(here, bits)], &[PortRange::UNPRIVILEGED]);
    let pool = pool.map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(LinkHost::new(mac, args.ip.clone(), pool))
}

impl ProbeFlows {
    /// One segment; what finds no buffer or no room is asked again.
    fn send(&self, nic: &mut ProbeNic, flow: u16) {
        let from = SocketAddr::new(self.here, FIRST_PORT + flow);
        let segment = SegmentSpec {
            flags: Flags::ACK,
            ..SegmentSpec::new(self.link, from, SocketAddr::new(self.host, PORT))
        };
        let mut bytes = [0; FRAME_MAX];
        let (Ok(len), Some(mut frame)) =
            (segment.emit(&mut bytes), nic.alloc_one(PoolClass::Control))
        else {
            return;
        };
        if neighbors::put(&mut frame, &bytes[..len]) {
            neighbors::send(nic, frame);
        }
    }

    /// Notes the queue of each reset until all have come, or the round is over.
    fn listen(
        &self,
        nics: &mut [ProbeNic],
        link_host: &mut LinkHost,
        queues: &mut [Option<u16>; FLOWS as usize],
    ) {
        let started = Instant::now();
        while started.elapsed() < ROUND && queues.iter().any(Option::is_none) {
            for (queue, nic) in (0..).zip(&mut *nics) {
                let mut received = Burst::new();
                nic.rx(&mut received);
                while let Some(frame) = received.pop_front() {
                    if let Some(flow) = self.flow_of(frame.bytes()) {
                        queues[flow] = Some(queue);
                    } else if let Some(answer) = link_host.attend(frame) {
                        neighbors::send(nic, answer);
                    }
                }
            }
            clock::sleep(LOOK);
        }
    }

    /// The flow that a frame resets; `None` for any other frame.
    fn flow_of(&self, frame: &[u8]) -> Option<usize> {
        let parsed = parse(frame).ok()?;
        let (from, to) = parsed.addresses()?;
        let Some(Transport::Tcp(segment)) = parsed.transport() else {
            return None;
        };
        let header = segment.header;
        let flow = usize::from(header.dst_port.get().checked_sub(FIRST_PORT)?);
        let is_ours = (from, to) == (self.host, self.here)
            && header.src_port.get() == PORT
            && header.flags.contains(Flags::RST);
        (is_ours && flow < FLOWS.into()).then_some(flow)
    }

    /// Compares, and says aloud what came of it.
    fn judge(&self, queues: &[Option<u16>; FLOWS as usize], nics: &[ProbeNic]) -> Steered {
        let came: Vec<(u16, u16)> = (0..FLOWS)
            .zip(queues)
            .filter_map(|(flow, queue)| Some((flow, (*queue)?)))
            .collect();
        let of_queue = |number: u16| came.iter().filter(|(_, queue)| *queue == number).count();
        let counts: Vec<String> = (0..)
            .zip(nics)
            .map(|(number, _)| format!("{} on queue {number}", of_queue(number)))
            .collect();
        let probed = came.len() as u64;
        let what = format!(
            "rss probe: {probed} of {FLOWS} resets of {} came ({})",
            self.host,
            counts.join(", ")
        );
        let Some(steering) = nics.first().and_then(|nic| nic.caps().steering.clone()) else {
            console::log(format_args!(
                "{what}; the driver does not say how it steers, so nothing is proven"
            ));
            return Steered::default();
        };
        let elsewhere = came.iter().filter(|(flow, queue)| {
            let there = SocketAddr::new(self.host, PORT);
            let here = SocketAddr::new(self.here, FIRST_PORT + flow);
            steering.queue(there, here) != Some(*queue)
        });
        let elsewhere = elsewhere.count() as u64;
        let verdict = if probed < FLOWS_MIN {
            "too few to prove how the NIC steers"
        } else if elsewhere == 0 {
            "each on the queue that the NIC's key and indirection table name"
        } else {
            "not where the NIC's key and indirection table say: frames will be handed over"
        };
        console::log(format_args!(
            "{what}, {elsewhere} elsewhere than predicted: {verdict}"
        ));
        let mut steered = Steered::default();
        steered.owned = probed;
        steered.elsewhere = elsewhere;
        steered.probed = probed;
        steered
    }
}
