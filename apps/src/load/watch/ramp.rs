//! Opening the connections that are kept, before the clock starts.
//!
//! It must never wait for connections that do not come: it ends when for long enough none has.

use diagnose::counted;
use std::time::{Duration, Instant};

use super::{Control, LINE, LOOK, LoadEnd, LoadWatched, Silent, total};
use crate::clock;
use crate::console;
use crate::load::worker::LoadPhase;
use crate::rig;

/// How connections came to be that are held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::load) struct Ramp {
    /// How long it took until all were established.
    pub(in crate::load) took: Duration,
    /// Resident memory of the process before the tables were made, and when all connections were established, in bytes.
    pub(in crate::load) resident_bytes: Option<(u64, u64)>,
}

impl Control<'_> {
    /// Opens the connections that are to be kept. False, and a fault, when they can't all be opened.
    pub(super) fn fill(&self, watched: &mut LoadWatched) -> Result<bool, Silent> {
        // In a closed loop connections open while the clock runs.
        let keeps_all = self.plan.plans.iter().all(|plan| plan.keeps_all);
        let is_hold = self.plan.work.keeps();
        if !keeps_all || !(is_hold || self.plan.is_open_loop()) {
            return Ok(true);
        }
        self.phases.enter(LoadPhase::Fill);
        let started = Instant::now();
        let (mut most_open, mut grown_at, mut next_line) = (0, started, LINE);
        loop {
            self.ask(watched)?;
            let counts = total(&watched.workers);
            if watched.workers.iter().all(|worker| worker.is_full) {
                break;
            }
            if self.stop.is_asked() {
                watched.ended_by = LoadEnd::Signal;
                return Ok(false);
            }
            if counts.open() > most_open {
                (most_open, grown_at) = (counts.open(), Instant::now());
            }
            if is_hold && started.elapsed() >= next_line {
                next_line += LINE;
                console::log(format_args!(
                    "{:6.1} s  ramp: {} of {}",
                    started.elapsed().as_secs_f64(),
                    counts.open(),
                    counted(self.connections, "connection")
                ));
            }
            let since = if is_hold { grown_at } else { started };
            if since.elapsed() >= self.args.timeout {
                watched.faults.push(self.not_all(watched));
                return Ok(false);
            }
            clock::sleep(LOOK);
        }
        watched.ramp = Some(Ramp {
            took: started.elapsed(),
            resident_bytes: self.resident_before.zip(rig::resident_bytes()),
        });
        Ok(true)
    }

    fn not_all(&self, watched: &LoadWatched) -> String {
        let counts = total(&watched.workers);
        format!(
            "{} of {} could be opened, then none for {:.0} s ({} could not be begun, {} ended before they were established, \
             {} broke)",
            counts.open(),
            counted(self.connections, "connection"),
            self.args.timeout.as_secs_f64(),
            counts.not_begun,
            counts.not_established,
            counts.broken_total()
        )
    }
}
