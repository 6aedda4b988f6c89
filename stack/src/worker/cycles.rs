//! Where the cycles of a worker go: by stage, and between waiting and working.
//!
//! It must never stamp more than a few times a burst: reading the counter costs about 12 ns (DPDK-facts of this
//! project), as much as a packet's whole lookup.

/// Every how many busy bursts the inner stages are stamped one by one. Odd, so that it falls into step with no pattern of
/// bursts such as SYNs and RSTs by turns.
const SAMPLE_EVERY: u64 = 17;

/// Cycles of the four inner stages, measured on sampled bursts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StageCycles {
    /// The classify stage.
    pub classify: u64,
    /// The look-up stage.
    pub look_up: u64,
    /// The process stage.
    pub process: u64,
    /// The timer and output stages.
    pub timers: u64,
    /// Frames in the sampled bursts.
    pub frames: u64,
}

impl StageCycles {
    pub(super) fn add(&mut self, stamps: [u64; 5], frames: usize) {
        let [started, classified, looked_up, processed, timed] = stamps;
        self.classify += classified.wrapping_sub(started);
        self.look_up += looked_up.wrapping_sub(classified);
        self.process += processed.wrapping_sub(looked_up);
        self.timers += timed.wrapping_sub(processed);
        self.frames += frames as u64;
    }
}

/// TSC cycles of one worker since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Cycles {
    /// In the driver's receive function, turns that received something.
    pub rx: u64,
    /// In our own stages, turns that received something.
    pub own: u64,
    /// In the driver's transmit function.
    pub tx: u64,
    /// In turns that received nothing.
    pub idle: u64,
    /// Turns that received something.
    pub bursts: u64,
    /// Frames that those turns received.
    pub frames: u64,
    /// Turns that received nothing.
    pub empty_turns: u64,
    /// The inner stages.
    pub stages: StageCycles,
}

impl Cycles {
    /// Whether the burst that starts now is one whose inner stages are stamped.
    #[inline]
    pub(super) fn samples_now(&self) -> bool {
        self.bursts.is_multiple_of(SAMPLE_EVERY)
    }

    /// Accounts a turn that received nothing.
    #[inline]
    pub(super) fn idle_turn(&mut self, started: u64, ended: u64) {
        self.idle += ended.wrapping_sub(started);
        self.empty_turns += 1;
    }

    /// Accounts a turn that received `frames`, stamped at its start, after RX, before TX and at its end.
    #[inline]
    pub(super) fn busy_turn(&mut self, stamps: [u64; 4], frames: usize) {
        let [started, after_rx, before_tx, ended] = stamps;
        self.rx += after_rx.wrapping_sub(started);
        self.own += before_tx.wrapping_sub(after_rx);
        self.tx += ended.wrapping_sub(before_tx);
        self.bursts += 1;
        self.frames += frames as u64;
    }

    /// Mean frames of a non-empty burst.
    #[must_use]
    pub fn mean_burst(&self) -> f64 {
        self.frames as f64 / (self.bursts.max(1)) as f64
    }

    /// Cycles a frame in our own stages, without the driver.
    #[must_use]
    pub fn own_per_frame(&self) -> f64 {
        self.own as f64 / self.frames.max(1) as f64
    }

    /// Cycles a frame with the driver's receive and transmit functions.
    #[must_use]
    pub fn total_per_frame(&self) -> f64 {
        (self.own + self.rx + self.tx) as f64 / self.frames.max(1) as f64
    }

    /// Share of all cycles that went into turns which received something, 0 to 1.
    #[must_use]
    pub fn busy_share(&self) -> f64 {
        let busy = self.own + self.rx + self.tx;
        busy as f64 / (busy + self.idle).max(1) as f64
    }

    /// The counts since `earlier`, a copy of this counter set.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            rx: self.rx - earlier.rx,
            own: self.own - earlier.own,
            tx: self.tx - earlier.tx,
            idle: self.idle - earlier.idle,
            bursts: self.bursts - earlier.bursts,
            frames: self.frames - earlier.frames,
            empty_turns: self.empty_turns - earlier.empty_turns,
            stages: StageCycles {
                classify: self.stages.classify - earlier.stages.classify,
                look_up: self.stages.look_up - earlier.stages.look_up,
                process: self.stages.process - earlier.stages.process,
                timers: self.stages.timers - earlier.stages.timers,
                frames: self.stages.frames - earlier.stages.frames,
            },
        }
    }
}
