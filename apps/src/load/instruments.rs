//! [`Instruments`]: all that see the frames of one worker, in turn.
//!
//! It must never be there where none does: each frame costs time.

use std::sync::{Arc, Mutex, PoisonError};

use dpdk::{DpdkNic, Instrument, Mbuf};

use super::args::LoadArgs;
use super::arms::{Arm, ArmRecords, Observer};
use super::failures::{FrameRecording, KeptFailure, Recorder};
use super::plan::RunPlan;
use crate::clock::Clock;

/// A connection is over for `--pcap-failures` when it has been silent for so much longer than an operation may take, in ns.
const SILENT_BEYOND_NS: u64 = 2_000_000_000;

/// The instruments of the workers of a run.
#[derive(Debug)]
pub(super) struct Instrumented {
    /// With --server-nic.
    pub(super) arms: Option<ArmRecords>,
    /// With --pcap-failures: one for each of the clients' workers.
    pub(super) recordings: Vec<Arc<Mutex<FrameRecording>>>,
}

impl Instrumented {
    /// As the flags say.
    pub(super) fn new(args: &LoadArgs, plan: &RunPlan) -> Self {
        let timeout_ns = u64::try_from(args.timeout.as_nanos()).unwrap_or(u64::MAX);
        let recording = || FrameRecording::new(timeout_ns.saturating_add(SILENT_BEYOND_NS));
        let recordings = if args.pcap_failures.is_some() {
            plan.workers
        } else {
            0
        };
        Self {
            arms: plan.second_arm().map(|_| ArmRecords::new(plan.workers)),
            recordings: (0..recordings)
                .map(|_| Arc::new(Mutex::new(recording())))
                .collect(),
        }
    }

    /// The instruments that see the frames of one of the clients' workers.
    pub(super) fn instruments(
        &self,
        worker: usize,
        clock: Clock,
    ) -> Vec<Box<dyn Instrument + Send>> {
        let mut all: Vec<Box<dyn Instrument + Send>> = Vec::new();
        if let Some(record) = self.arms.as_ref().and_then(|arms| arms.clients.get(worker)) {
            all.push(Box::new(Observer::new(Arm::Clients, Arc::clone(record))));
        }
        if let Some(recording) = self.recordings.get(worker) {
            all.push(Box::new(Recorder::new(Arc::clone(recording), clock)));
        }
        all
    }

    /// The failed connections of all workers, and how many had no place. The workers have ended.
    pub(super) fn failures(&self) -> (Vec<KeptFailure>, u64) {
        let (mut all, mut not_held) = (Vec::new(), 0);
        for recording in &self.recordings {
            let mut recording = recording.lock().unwrap_or_else(PoisonError::into_inner);
            let (kept, missed) = recording.take();
            all.extend(kept);
            not_held += missed;
        }
        (all, not_held)
    }
}

/// Several instruments as one.
pub(super) struct Instruments(Vec<Box<dyn Instrument + Send>>);

impl Instruments {
    /// Shows the frames of `nic` to these.
    pub(super) fn set(nic: &mut DpdkNic, mut all: Vec<Box<dyn Instrument + Send>>) {
        let one = match all.len() {
            0 | 1 => all.pop(),
            _ => Some(Box::new(Self(all)) as Box<dyn Instrument + Send>),
        };
        nic.set_instrument(one);
    }
}

impl Instrument for Instruments {
    fn rx(&mut self, frames: &[Mbuf]) {
        for instrument in &mut self.0 {
            instrument.rx(frames);
        }
    }

    fn tx(&mut self, frames: &[Mbuf]) {
        for instrument in &mut self.0 {
            instrument.tx(frames);
        }
    }

    fn tx_done(&mut self, refused: usize) {
        for instrument in &mut self.0 {
            instrument.tx_done(refused);
        }
    }
}
