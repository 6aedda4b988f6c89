//! The whole worker on the one-core loop: SYNs from random flows at a closed port, or at an open one with cookies or embryos.
//!
//! It must never prepare anything per packet inside the worker's own time, and never ask the day's clock: two runs of a
//! scenario execute the same instructions.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use stack::config::{ConfigSpec, Interface};
use stack::conn::{Capacity, FlowHash, FlowHasher, FlowKey, Parked, Records};
use stack::local::addresses::LocalId;
use stack::local::listener::{ListenerConfig, SynPolicy};
use stack::memory::{MemoryError, PageOptions};
use stack::seq::SeqNum;
use stack::tcp::profile::ProfileId;
use stack::time::Instant;
use stack::wire::tcp::Flags;
use stack::wire::{Link, MacAddr, OptionBytes, SegmentSpec, Timestamps};
use stack::worker::{Cycles, RingEnd, Secrets, Worker};

use crate::LOCAL_MAC;
use crate::loop_nic::{LoopCounts, LoopNic};
use crate::syn_stream::{LOCAL, SynWriter, flow};

/// The port that the SYNs meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// A closed port: RST,ACK.
    Rst,
    /// An open port: SYN-ACK with a cookie, from SYNs with the options of Linux.
    SynCookies,
    /// An open port: an embryo for each SYN, with the options of Linux, and the SYN-ACK.
    SynEmbryos,
}

impl Scenario {
    /// The local port that the SYNs are sent to.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Rst => CLOSED_PORT,
            Self::SynCookies | Self::SynEmbryos => OPEN_PORT,
        }
    }

    /// The control bits that each reply must have.
    const fn expected_flags(self) -> Flags {
        match self {
            Self::Rst => Flags::RST_ACK,
            Self::SynCookies | Self::SynEmbryos => Flags::SYN_ACK,
        }
    }

    const fn policy(self) -> SynPolicy {
        match self {
            Self::Rst | Self::SynCookies => SynPolicy::CookieAlways,
            Self::SynEmbryos => SynPolicy::Embryo,
        }
    }
}

/// A loop as it is to be built.
#[derive(Debug, Clone, Copy)]
pub struct LoopSpec {
    /// The port that the SYNs meet.
    pub scenario: Scenario,
    /// Established connections in the table before the first packet.
    pub connections: u32,
    /// Frames per receive call, 1 to [`stack::nic::BURST_FRAMES`].
    pub burst: usize,
    /// Frames that will be run in all. [`Scenario::SynEmbryos`] reserves a record for each, since no client completes a
    /// handshake; the others reserve none.
    pub packets: u64,
}

const OPEN_PORT: u16 = 80;
const CLOSED_PORT: u16 = 81;
/// The local port of the connections that fill the table: the SYNs' remote ends and never one of their flows.
const FILLED_PORT: u16 = 82;
const LOCAL_ID: LocalId = LocalId(0);
/// Fixed secrets: the gate counts instructions, and those may not depend on the day.
const SECRETS: Secrets = Secrets {
    flow: [1, 2],
    isn: [3; 16],
    cookie: [4; 16],
    ports: [5; 16],
};
/// How far the loop's clock goes each turn: 64 frames at 40 Mpps.
const TURN: Duration = Duration::from_nanos(1600);

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
        Scenario::SynCookies | Scenario::SynEmbryos => {
            OptionBytes::syn(Some(1460), Some(7), true, Some(timestamps))
        }
    };
    let spec = SegmentSpec {
        flags: Flags::SYN,
        window: 64_240,
        options: options.as_padded(),
        ..SegmentSpec::new(
            link,
            (Ipv4Addr::UNSPECIFIED, 0).into(),
            (LOCAL, scenario.port()).into(),
        )
    };
    let mut bytes = vec![0; 128];
    let len = spec.emit(&mut bytes).expect("a SYN fits 128 bytes");
    bytes.truncate(len.max(60));
    bytes
}

/// The hash by which a loop's worker finds the SYN of flow `n`.
#[must_use]
pub fn syn_hash(scenario: Scenario, n: u64) -> FlowHash {
    let (remote, port) = flow(n);
    let key = FlowKey::v4(LOCAL_ID, scenario.port(), remote, port);
    FlowHasher::new(SECRETS.flow).hash(&key)
}

/// A worker on the loop, ready to turn.
pub struct WorkerLoop {
    worker: Worker<LoopNic>,
    now: Instant,
}

/// Builds the loop and fills its table.
///
/// # Errors
/// [`MemoryError`] when there is not enough memory for the table.
///
/// # Panics
/// When the table refuses a flow below its capacity.
pub fn build(spec: &LoopSpec) -> Result<WorkerLoop, MemoryError> {
    let writer = SynWriter::new(template(spec.scenario));
    let nic = LoopNic::new(spec.burst, spec.scenario.expected_flags().0, writer);
    let config = Arc::new(configuration(spec).validate().expect("it is valid"));
    let ring = RingEnd::single();
    // Each embryo takes a record that was never used before: its page fault would be most of what is measured.
    let pages = PageOptions {
        prefault: true,
        ..PageOptions::default()
    };
    let mut worker = Worker::new(nic, config, &SECRETS, ring, pages)?;
    for n in 0..u64::from(spec.connections) {
        let (remote, port) = flow(n);
        let key = FlowKey::v4(LOCAL_ID, FILLED_PORT, remote, port);
        let parked = Parked {
            snd_nxt: SeqNum(n as u32),
            ..Parked::default()
        };
        assert!(worker.preload(&key, &parked), "flow {n} refused");
    }
    Ok(WorkerLoop {
        worker,
        now: Instant::ZERO,
    })
}

fn configuration(spec: &LoopSpec) -> ConfigSpec {
    let embryos = match spec.scenario {
        Scenario::Rst | Scenario::SynCookies => 1024,
        // A run ends with a whole burst.
        Scenario::SynEmbryos => u32::try_from(spec.packets + 65_536).unwrap_or(u32::MAX),
    };
    let mut config = ConfigSpec::new(vec![Interface {
        address: IpAddr::V4(LOCAL),
        prefix_len: 16,
    }]);
    config.listeners = vec![ListenerConfig {
        address: None,
        port: OPEN_PORT,
        policy: spec.scenario.policy(),
        backlog: embryos,
        abort_on_overflow: false,
        profile: ProfileId::DEFAULT,
    }];
    let v4 = |v4| Records { v4, v6: 0 };
    config.limits.records = Capacity {
        embryos: v4(embryos),
        open: v4(0),
        parked: v4(spec.connections.max(1024)),
        time_wait: v4(0),
    };
    config
}

/// A turn of the worker and nothing else. It stands alone, so that callgrind can collect inside it (and outside of the
/// loop's NIC): `scripts/bench-instructions` names it.
#[inline(never)]
fn measured_turn(worker: &mut Worker<LoopNic>, now: Instant) -> usize {
    worker.turn(now)
}

impl WorkerLoop {
    /// Turns the loop until `packets` more frames were received, and says where the cycles went.
    pub fn run(&mut self, packets: u64) -> Cycles {
        let before = *self.worker.cycles();
        let mut received = 0;
        while received < packets {
            self.now = self.now + TURN;
            received += measured_turn(&mut self.worker, self.now) as u64;
        }
        self.worker.cycles().since(&before)
    }

    /// The worker.
    #[must_use]
    pub fn worker(&self) -> &Worker<LoopNic> {
        &self.worker
    }

    /// Ends the loop and gives the NIC back.
    #[must_use]
    pub fn into_nic(self) -> LoopNic {
        self.worker.into_nic()
    }
}

/// Checks what came out of a loop: every frame answered, with the flags that it should have.
///
/// # Errors
/// The fault, in words.
pub fn check(counts: LoopCounts) -> Result<(), String> {
    if counts.wrong != 0 || counts.dropped != 0 || counts.sent != counts.received {
        return Err(format!("the worker answered wrongly: {counts:?}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::bare_probe;

    const PACKETS: u64 = 6400;

    fn small(scenario: Scenario, connections: u32) -> WorkerLoop {
        let spec = LoopSpec {
            scenario,
            connections,
            burst: 64,
            packets: PACKETS,
        };
        build(&spec).expect("memory for a small table")
    }

    #[test]
    fn every_scenario_answers_every_frame() {
        for scenario in [Scenario::Rst, Scenario::SynCookies, Scenario::SynEmbryos] {
            let mut worker_loop = small(scenario, 1000);
            assert_eq!(worker_loop.run(PACKETS).frames, PACKETS);
            let counts = worker_loop.into_nic().counts();
            assert_eq!(check(counts), Ok(()), "{scenario:?}");
            assert_eq!(counts.sent, PACKETS);
        }
    }

    #[test]
    fn a_reply_that_is_missing_or_wrong_is_no_result() {
        let right = LoopCounts {
            received: 2,
            sent: 2,
            ..LoopCounts::default()
        };
        assert_eq!(check(right), Ok(()));
        assert!(check(LoopCounts { sent: 1, ..right }).is_err());
        assert!(check(LoopCounts { wrong: 1, ..right }).is_err());
        let dropped = LoopCounts {
            dropped: 1,
            ..right
        };
        assert!(check(dropped).is_err());
    }

    #[test]
    fn the_bare_probe_looks_up_what_the_worker_does() {
        let mut worker_loop = small(Scenario::SynEmbryos, 0);
        worker_loop.run(PACKETS);
        let hashes = |scenario| (0..PACKETS).map(move |n| syn_hash(scenario, n)).collect();
        let table = worker_loop.worker().table();
        let own: Vec<FlowHash> = hashes(Scenario::SynEmbryos);
        let seen = bare_probe(table, &own) as u64;
        // Few have left their home bucket, which is all that the bare probe looks at.
        assert!(seen > PACKETS * 9 / 10, "{seen} of {PACKETS}");
        let others: Vec<FlowHash> = hashes(Scenario::Rst);
        let seen = bare_probe(table, &others) as u64;
        assert!(seen < PACKETS / 10, "{seen} of flows that aren't there");
    }
}
