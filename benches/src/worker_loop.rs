//! The whole worker on the one-core loop: SYNs from random flows at a closed port, or at an open one with cookies or embryos.
//!
//! Called by: the `worker-loop` binary (cycles, instructions), the criterion benchmark `worker`. It must never prepare
//! anything per packet inside the worker's own time.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use stack::config::{ConfigSpec, Interface};
use stack::conn::listener::{ListenerConfig, SynPolicy};
use stack::conn::{Capacity, FlowKey, LocalId, Parked, Records};
use stack::memory::{MemoryError, PageOptions};
use stack::nic::Nic;
use stack::tcp::seq::SeqNum;
use stack::time::Instant;
use stack::wire::tcp::Flags;
use stack::wire::{Link, MacAddr, OptionBytes, SegmentSpec, Timestamps, checksum};
use stack::worker::{Cycles, RingEnd, Secrets, Worker};

use crate::LOCAL_MAC;
use crate::loop_nic::{LoopCounts, LoopNic};

/// What the SYNs meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// A closed port: RST,ACK.
    Rst,
    /// An open port: SYN-ACK with a cookie, from SYNs with the options of Linux.
    SynCookies,
}

const LOCAL: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const OPEN_PORT: u16 = 80;
const CLOSED_PORT: u16 = 81;

/// Byte offsets in the frames that are patched per packet.
const SRC_IP: usize = 26;
const IP_CHECKSUM: usize = 24;
const SRC_PORT: usize = 34;
const SEQ: usize = 38;
const TCP_CHECKSUM: usize = 50;

/// Flow `n` of a stream of distinct pseudo-random flows: source address in 198.19/16 and port (a bijection of 32 bits).
#[must_use]
pub fn flow(n: u64) -> (Ipv4Addr, u16) {
    let x = (n as u32).wrapping_mul(0x9e37_79b1);
    let x = (x ^ (x >> 15)).wrapping_mul(0x85eb_ca77);
    let x = x ^ (x >> 13);
    (
        Ipv4Addr::new(198, 19, (x >> 24) as u8, (x >> 16) as u8),
        x as u16,
    )
}

/// The frame that all SYNs of a scenario are patched from.
fn template(scenario: Scenario) -> Vec<u8> {
    let link = Link {
        dst: MacAddr(LOCAL_MAC),
        src: MacAddr([2, 0, 0, 0, 0, 1]),
        vlan: None,
    };
    let timestamps = Timestamps { tsval: 1, tsecr: 0 };
    let options = match scenario {
        Scenario::Rst => OptionBytes::new(),
        Scenario::SynCookies => OptionBytes::syn(Some(1460), Some(7), true, Some(timestamps)),
    };
    let port = if scenario == Scenario::Rst {
        CLOSED_PORT
    } else {
        OPEN_PORT
    };
    let spec = SegmentSpec {
        flags: Flags::SYN,
        window: 64_240,
        options: options.as_padded(),
        ..SegmentSpec::new(
            link,
            (Ipv4Addr::UNSPECIFIED, 0).into(),
            (LOCAL, port).into(),
        )
    };
    let mut bytes = vec![0; 128];
    let len = spec.emit(&mut bytes).expect("a SYN fits 128 bytes");
    bytes.truncate(len.max(60));
    bytes
}

/// A writer of the n-th SYN: copies the template and patches flow, sequence number and both checksums.
fn syn_writer(scenario: Scenario) -> impl FnMut(u64, &mut [u8; 2048]) -> usize + Send {
    let template = template(scenario);
    move |n, buffer| {
        let frame = &mut buffer[..template.len()];
        frame.copy_from_slice(&template);
        let (address, port) = flow(n);
        frame[SRC_IP..SRC_IP + 4].copy_from_slice(&address.octets());
        frame[SRC_PORT..SRC_PORT + 2].copy_from_slice(&port.to_be_bytes());
        frame[SEQ..SEQ + 4].copy_from_slice(&(n as u32).to_be_bytes());
        frame[IP_CHECKSUM..IP_CHECKSUM + 2].fill(0);
        let ip = checksum::sum(&frame[14..34]).finish();
        frame[IP_CHECKSUM..IP_CHECKSUM + 2].copy_from_slice(&ip.to_bytes());
        frame[TCP_CHECKSUM..TCP_CHECKSUM + 2].fill(0);
        let end = 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]));
        let segment = &frame[34..end];
        let sum = checksum::pseudo_v4(address.octets(), LOCAL.octets(), 6, segment.len() as u16)
            + checksum::sum(segment);
        frame[TCP_CHECKSUM..TCP_CHECKSUM + 2].copy_from_slice(&sum.finish().to_bytes());
        frame.len()
    }
}

/// A worker on the loop, ready to turn.
pub struct WorkerLoop<N: Nic> {
    worker: Worker<N>,
    started: Clock,
}

/// What a measured stretch of turns gave.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Cycles by place, and frames.
    pub cycles: Cycles,
}

/// Builds the loop: `connections` established flows in the table first, `burst` frames per receive call.
///
/// # Errors
/// [`MemoryError`] when there is not enough memory for the table.
///
/// # Panics
/// When the table refuses a flow below its capacity.
pub fn build(
    scenario: Scenario,
    connections: u32,
    burst: usize,
) -> Result<WorkerLoop<LoopNic<impl FnMut(u64, &mut [u8; 2048]) -> usize + Send>>, MemoryError> {
    let flags = if scenario == Scenario::Rst {
        Flags::RST_ACK
    } else {
        Flags::SYN_ACK
    };
    let nic = LoopNic::new(burst, flags.0, syn_writer(scenario));
    let interface = Interface {
        address: IpAddr::V4(LOCAL),
        prefix_len: 16,
    };
    let mut spec = ConfigSpec::new(vec![interface]);
    spec.listeners = vec![ListenerConfig {
        address: None,
        port: OPEN_PORT,
        policy: SynPolicy::CookieAlways,
        backlog: 1024,
    }];
    let small = Records { v4: 1024, v6: 0 };
    let parked = Records {
        v4: connections.max(1024),
        v6: 0,
    };
    let none = Records { v4: 0, v6: 0 };
    spec.limits.records = Capacity {
        embryos: small,
        open: none,
        parked,
        time_wait: none,
    };
    let config = Arc::new(spec.validate().expect("a valid configuration"));
    // Fixed secrets: the gate counts instructions, and those may not depend on the day.
    let secrets = Secrets {
        flow: [1, 2],
        isn: [3; 16],
        cookie: [4; 16],
    };
    let mut worker = Worker::new(
        nic,
        config,
        &secrets,
        RingEnd::single(),
        PageOptions::default(),
    )?;
    for n in 0..u64::from(connections) {
        let (remote, port) = flow(n);
        // Another local port than the SYNs': the same addresses and never the same flow.
        let key = FlowKey::v4(LocalId(0), OPEN_PORT + 2, remote, port);
        let parked = Parked {
            snd_nxt: SeqNum(n as u32),
            ..Parked::default()
        };
        assert!(worker.preload(&key, &parked), "flow {n} refused");
    }
    Ok(WorkerLoop {
        worker,
        started: Clock::now(),
    })
}

impl<N: Nic> WorkerLoop<N> {
    /// Turns the loop until `packets` more frames were received, and says where the cycles went.
    pub fn run(&mut self, packets: u64) -> Measured {
        let before = *self.worker.cycles();
        let mut received = 0;
        while received < packets {
            let elapsed = self.started.elapsed().min(Duration::from_secs(1 << 30));
            let now = Instant::from_ns(elapsed.as_nanos() as u64);
            received += self.worker.turn(now) as u64;
        }
        Measured {
            cycles: self.worker.cycles().since(&before),
        }
    }

    /// The worker.
    pub fn worker(&self) -> &Worker<N> {
        &self.worker
    }

    /// Ends the loop and gives the NIC back.
    pub fn into_nic(self) -> N {
        self.worker.into_nic()
    }
}

/// Checks what came out of a loop: every frame answered, with the flags that it should have.
///
/// # Errors
/// What is wrong, in words.
pub fn check(counts: LoopCounts) -> Result<(), String> {
    if counts.wrong != 0 || counts.dropped != 0 || counts.sent != counts.received {
        return Err(format!("the worker answered wrongly: {counts:?}"));
    }
    Ok(())
}
