//! The course of a conversation: set-up, warm-up, measurement with a line a second, drain.
//!
//! It must never touch a frame: it orders, asks and subtracts.

use diagnose::counted;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dpdk::{DpdkNic, QueuePair};

use stack::counters::Counter;
use stack::nic::fault::FaultSpec;
use stack::worker::{RingEnd, Steered};
use workload::load::{LoadClient, Measure};
use workload::{Fault, Tally};

use super::super::args::{BenchArgs, Mode};
use super::super::conduct::{DRAIN_MAX, LINE, LOOK, NearSide, SILENCE, Watch, rest};
use super::super::endpoint::{Progress, Spent};
use super::plan;
use super::progress::ClientProgress;
use crate::clock::{self, Clock};
use crate::console;
use crate::failure::Failure;
use crate::fault::FaultReport;
use crate::load::{LoadLine, LoadPhase, LoadPhases, LoadTotals, LoadWorker};
use crate::rig::idle::{BackOff, Idle};
use crate::rig::{self, resident_bytes};
use crate::secrets;
use crate::stop::Stop;
use crate::threads::join;

/// The server answers ARP or NDP at once, unless its link is a bad one.
const REACHED_MAX: Duration = Duration::from_secs(10);
/// A set-up in which nothing new was established for this long has failed.
const STALLED: Duration = Duration::from_secs(10);
/// The same over a bad link, where a handshake may need its sixth SYN (RFC 6298: after 63 s).
const STALLED_BAD_LINK: Duration = Duration::from_secs(70);
/// Over a bad link the drain ends after this at the latest: most of what is under way needs its first or second retransmission.
const DRAIN_BAD_LINK_MAX: Duration = Duration::from_secs(8);

/// How the connections of a `request` came to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SetUp {
    pub(super) connections: u64,
    pub(super) seconds: f64,
    /// By how much the server's process grew for each; `None` where the system doesn't say.
    pub(super) server_bytes: Option<f64>,
    /// The same for the client, its own list of connections left out.
    pub(super) client_bytes: Option<f64>,
}

/// The counts while it was measured.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    pub(super) seconds: f64,
    pub(super) tally: Tally,
    pub(super) client: Spent,
    pub(super) client_tx_frames: u64,
    pub(super) server: Spent,
    pub(super) server_tx_frames: u64,
}

/// The result of a run.
pub(super) struct ConversationRun {
    /// `None` when the mode has none, or it did not get that far.
    pub(super) set_up: Option<SetUp>,
    pub(super) measured: Window,
    /// Everything to the end of the drain, as the client saw it.
    pub(super) whole: ClientProgress,
    pub(super) latency: Measure,
    /// The client's counters.
    pub(super) client: Progress,
    /// The counts of `--fault`.
    pub(super) fault: Option<FaultReport>,
    /// Ctrl-C ended it early.
    pub(super) interrupted: bool,
}

/// Starts the client and runs the course. The client has stopped when this returns.
///
/// # Errors
/// [`Failure`] when a side can't be made or does not answer.
pub(super) fn run(
    args: &BenchArgs,
    stop: &Stop,
    near: NearSide<'_>,
) -> Result<ConversationRun, Failure> {
    let NearSide {
        eal,
        queues,
        cpu,
        clock,
        endpoint,
        far,
    } = near;
    let server_before = endpoint.and_then(|ready| ready.resident_before_bytes);
    let client_before = resident_bytes();
    let fault = args.fault.map(|flag| flag.spec()).transpose()?;
    let fault = fault.as_ref();
    let (line, phases) = (LoadLine::new(), LoadPhases::default());
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let _lcore = eal.register_thread(Some(cpu))?;
            let client = client(args, queues, fault, clock)?;
            Ok(client.run(&phases, &line, BackOff::new(Idle::Spin)))
        });
        let mut conductor = Conductor {
            args,
            line: &line,
            phases: &phases,
            far,
            clock,
            stop,
            before: [server_before, client_before],
            latency: Measure::default(),
        };
        let conducted = conductor.conduct();
        let latency = conductor.latency;
        phases.enter(LoadPhase::Stop);
        // Why a thread broke off explains why no question got an answer.
        let LoadTotals {
            progress, faults, ..
        } = join(client)?;
        let (set_up, measured, whole) = conducted?;
        Ok(ConversationRun {
            set_up,
            measured,
            whole,
            latency,
            client: Progress::of_load(&progress),
            fault: fault.map(|spec| FaultReport::new(spec, faults.into_iter())),
            interrupted: stop.is_asked(),
        })
    })
}

/// The client of `load` on a link with these faults.
fn client(
    args: &BenchArgs,
    queues: QueuePair,
    fault: Option<&FaultSpec>,
    clock: Clock,
) -> Result<LoadWorker, Failure> {
    let mut nic = DpdkNic::new(queues);
    nic.set_faults(fault, clock.hz());
    let config = plan::client_config(args).map_err(|error| Failure::Run(error.to_string()))?;
    let work = plan::client_plan(args, secrets::seed()?[0])?;
    let parts = (Arc::new(config), &secrets::fresh()?);
    let end = (RingEnd::single(), Steered::default());
    LoadWorker::new(nic, work, parts, end, (clock, None))
}

struct Conductor<'a> {
    args: &'a BenchArgs,
    line: &'a LoadLine,
    phases: &'a LoadPhases,
    far: &'a mut dyn Watch,
    clock: Clock,
    stop: &'a Stop,
    /// Resident memory of the server's and the client's process before either stack was made.
    before: [Option<u64>; 2],
    /// Times of the measurement so far.
    latency: Measure,
}

impl Conductor<'_> {
    fn conduct(&mut self) -> Result<(Option<SetUp>, Window, ClientProgress), Failure> {
        self.reach()?;
        let set_up = match self.args.mode {
            Mode::Request => Some(self.set_up()?),
            _ => None,
        };
        let complete = set_up.is_none_or(|set_up| {
            set_up.connections == u64::from(self.args.requested_connections())
        });
        let measured = if complete && !self.is_over(&self.seen()?) {
            self.phases.start(self.clock.at(dpdk::cycles()));
            rest(Duration::from_millis(self.args.warmup_ms), self.stop);
            self.measure()?
        } else {
            Window::default()
        };
        Ok((set_up, measured, self.drain()?))
    }

    /// The progress of the client.
    fn seen(&self) -> Result<ClientProgress, Failure> {
        let progress = self.line.progress.ask();
        let progress = progress.ok_or_else(|| Failure::Run(rig::silent("the client")))?;
        Ok(ClientProgress::of(
            &progress,
            self.args.mode == Mode::Request,
        ))
    }

    /// Waits until the client knows its neighbour.
    fn reach(&self) -> Result<(), Failure> {
        let started = Instant::now();
        while started.elapsed() < REACHED_MAX && !self.stop.is_asked() {
            let progress = self.line.progress.ask();
            let progress = progress.ok_or_else(|| Failure::Run(rig::silent("the client")))?;
            if progress.unreached.is_none() {
                break;
            }
            rest(LOOK, self.stop);
        }
        Ok(())
    }

    /// Takes the times since the last call.
    fn times(&self) -> Result<Measure, Failure> {
        let interval = self.line.interval.ask();
        let interval = interval.ok_or_else(|| Failure::Run(rig::silent("the client")))?;
        Ok(interval.operation)
    }

    /// A fault is enough: what follows would be measured for nothing.
    fn is_over(&self, seen: &ClientProgress) -> bool {
        self.stop.is_asked() || self.failures(&seen.tally) > 0
    }

    /// Faults of a run: over a link with injected faults, only those that the link can't cause.
    fn failures(&self, tally: &Tally) -> u64 {
        let of_link = if self.args.fault.is_some() {
            tally.total_of(Fault::is_of_link)
        } else {
            0
        };
        tally.faults_total() - of_link
    }

    fn server(&mut self) -> Result<Progress, Failure> {
        let none =
            || Failure::Run("the endpoint is not our own: that is a bug, please report it".into());
        self.far.progress()?.ok_or_else(none)
    }

    /// Waits for the connections, with a line a second.
    fn set_up(&mut self) -> Result<SetUp, Failure> {
        let wanted = u64::from(self.args.requested_connections());
        let started = Instant::now();
        self.phases.enter(LoadPhase::Fill);
        let stalled = if self.args.fault.is_some() {
            STALLED_BAD_LINK
        } else {
            STALLED
        };
        let (mut last, mut grown_at) = (self.seen()?, started);
        let mut line_at = started;
        loop {
            rest(LOOK, self.stop);
            let seen = self.seen()?;
            if seen.tally.opened > last.tally.opened {
                grown_at = Instant::now();
            }
            last = seen;
            let server = self.server()?;
            let complete = seen.tally.opened == wanted && server.app.opened == wanted;
            let over = complete || self.is_over(&seen) || grown_at.elapsed() >= stalled;
            if over || line_at.elapsed() >= LINE {
                line_at = Instant::now();
                let seconds = started.elapsed().as_secs_f64();
                console::log(format_args!(
                    "{seconds:5.1} s  set-up: {} of {} established, {:.3} M/s",
                    seen.tally.opened,
                    counted(wanted, "connection"),
                    seen.tally.opened as f64 / seconds / 1e6,
                ));
            }
            if over {
                let [server_bytes, client_bytes] =
                    self.grown(seen.tally.opened, server.resident_bytes);
                return Ok(SetUp {
                    connections: seen.tally.opened,
                    seconds: started.elapsed().as_secs_f64(),
                    server_bytes,
                    client_bytes,
                });
            }
        }
    }

    /// Bytes per connection by which server and client have grown, without the client's own lists. In two processes each reports its own;
    /// in one process the growth is divided by two, since both stacks keep the same records.
    fn grown(&self, connections: u64, server_now: Option<u64>) -> [Option<f64>; 2] {
        let per_connection = |before: Option<u64>, now: Option<u64>, of_app: usize| {
            let of_apps = of_app as u64 * connections;
            let grown = now?.saturating_sub(before?).saturating_sub(of_apps);
            (connections > 0).then(|| grown as f64 / connections as f64)
        };
        let [server_before, client_before] = self.before;
        let of_client = LoadClient::CONNECTION_BYTES;
        if self.args.is_ring() {
            let both = per_connection(server_before, resident_bytes(), of_client);
            let half = both.map(|both| both / 2.0);
            return [half, half];
        }
        [
            per_connection(server_before, server_now, 0),
            per_connection(client_before, resident_bytes(), of_client),
        ]
    }

    fn measure(&mut self) -> Result<Window, Failure> {
        self.times()?;
        let (first, first_server) = (self.seen()?, self.server()?);
        let (mut last, mut last_server) = (first, first_server.clone());
        let started = Instant::now();
        let mut window = Window::default();
        while started.elapsed() < self.args.duration && !self.is_over(&last) {
            let left = self.args.duration.saturating_sub(started.elapsed());
            rest(left.min(LINE), self.stop);
            let (seen, server) = (self.seen()?, self.server()?);
            let times = self.times()?;
            self.latency.merge(&times);
            let step = self.window((&last, &last_server), (&seen, &server));
            self.print_line(started.elapsed(), &step, &seen);
            (last, last_server) = (seen, server);
            window = self.window((&first, &first_server), (&last, &last_server));
        }
        Ok(window)
    }

    /// The counts between two looks.
    fn window(
        &self,
        from: (&ClientProgress, &Progress),
        to: (&ClientProgress, &Progress),
    ) -> Window {
        let sent = |progress: &Progress| progress.count(Counter::TxFrames);
        Window {
            seconds: (to.0.at - from.0.at).as_secs_f64(),
            tally: to.0.tally.since(&from.0.tally),
            client: to.0.spent.since(&from.0.spent),
            client_tx_frames: to.0.tx_frames - from.0.tx_frames,
            server: to.1.spent.since(&from.1.spent),
            server_tx_frames: sent(to.1) - sent(from.1),
        }
    }

    /// Starts nothing new and waits for what is under way, and for the last frames behind it.
    fn drain(&mut self) -> Result<ClientProgress, Failure> {
        self.phases.enter(LoadPhase::Pause);
        let longest = if self.args.fault.is_some() {
            DRAIN_BAD_LINK_MAX
        } else {
            DRAIN_MAX
        };
        let started = Instant::now();
        let (mut last, mut moved_at) = (self.seen()?, started);
        loop {
            clock::sleep(LOOK);
            let seen = self.seen()?;
            if seen.spent.frames != last.spent.frames || seen.tx_frames != last.tx_frames {
                moved_at = Instant::now();
            }
            last = seen;
            let quiet = seen.under_way == 0 && moved_at.elapsed() >= SILENCE;
            if quiet || started.elapsed() >= longest {
                return Ok(last);
            }
        }
    }

    /// The line of one second, on stderr.
    fn print_line(&self, at: Duration, step: &Window, seen: &ClientProgress) {
        let (count, what) = match self.args.mode {
            Mode::Request => (step.tally.replies, "M requests/s"),
            _ => (step.tally.completed, "M connections/s"),
        };
        let faults = self.failures(&seen.tally);
        let loud = if faults > 0 { "  <-- FAULTS" } else { "" };
        console::log(format_args!(
            "{:5.1} s  {:7.3} {what}  under way {}  faults {faults}  client: busy {:.0} %  endpoint: mean burst {:.1}, \
             {:.1} cycles a packet, busy {:.0} %{loud}",
            at.as_secs_f64(),
            count as f64 / step.seconds.max(1e-9) / 1e6,
            seen.under_way,
            step.client.busy_share() * 100.0,
            step.server.mean_burst(),
            step.server.own as f64 / step.server.frames.max(1) as f64,
            step.server.busy_share() * 100.0,
        ));
    }
}
