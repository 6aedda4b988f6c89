//! `--pcap`: copies of all frames, both directions, from the workers to a file, without making a worker wait.
//!
//! It must never block or allocate on a worker: the buffers are made at start and go round (free → filled → written →
//! free), and without a free one the copy is dropped and counted. Nor may it hold up the control thread, at start or at
//! the end: whatever waits for the file, or for its reader, is the writer's thread.

mod file;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_queue::ArrayQueue;
use dpdk::{Instrument, Mbuf};
use serde::Serialize;
use stack::nic::{BURST_FRAMES, Frame as _};

use crate::clock::{self, Clock};
use crate::console;
use crate::failure::Failure;
use file::{Opening, Sink};
use writer::Writer;

/// Copies that may wait for the disk: 32 MB, or a quarter of a second at what a tap can carry.
const BUFFERS: usize = 16_384;
/// Bytes of a frame beside its IP packet: Ethernet header with two tags.
const LINK_BYTES: usize = 22;
/// How long the writer may take at the end: it gives up a reader after two seconds; a disk that hangs is left hanging.
const END_MAX: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(2);

/// The result of a capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct CaptureTotals {
    /// The file.
    pub(super) file: String,
    /// Frames in it.
    pub(super) frames: u64,
    /// Frames that came while all buffers waited for the disk, or that the disk did not take.
    pub(super) dropped: u64,
    /// Why the file is not whole; `None` when everything was written.
    pub(super) error: Option<String>,
}

/// Which way a frame went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    In,
    Out,
}

/// A copy of a frame.
#[derive(Debug)]
struct FrameCopy {
    /// Since 1970 (UTC), in ns.
    at_ns: u64,
    direction: Direction,
    /// Length of the frame, in bytes; what is longer than `bytes` was cut.
    frame_len: usize,
    bytes: Box<[u8]>,
}

/// Data shared by workers and writer.
#[derive(Debug)]
struct Shared {
    free: ArrayQueue<Box<FrameCopy>>,
    filled: ArrayQueue<Box<FrameCopy>>,
    dropped: AtomicU64,
    /// Frames that are in the file for certain.
    written: AtomicU64,
    /// Why the file is not whole.
    error: Mutex<Option<String>>,
    ended: AtomicBool,
}

/// A capture with its thread. Dropped without [`Capture::end`] it ends as well, unheard.
#[derive(Debug)]
pub(super) struct Capture {
    shared: Arc<Shared>,
    file: String,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Creates the file and starts the thread that writes it. `link` names the interface in the file; frames carry IP
    /// packets of up to `mtu` bytes. A FIFO without a reader is waited for on that thread.
    ///
    /// # Errors
    /// [`Failure::Usage`] when the file can't be created, [`Failure::Run`] when its head can't be written.
    pub(super) fn start(path: &Path, link: &str, mtu: u16) -> Result<Self, Failure> {
        let file = path.display().to_string();
        let failed =
            |error: String| Failure::Run(format!("--pcap {file}: {error}; choose another file"));
        let opening = Opening::of(path).map_err(|error| {
            Failure::Usage(format!(
                "--pcap {file}: can't be written ({error}); choose another file"
            ))
        })?;
        let shared = Shared::new(mtu, BUFFERS);
        let link = link.to_owned();
        let opened = match opening {
            Opening::Open(open) => {
                Ok(Writer::new(Sink::new(open, Arc::clone(&shared)), &link).map_err(failed)?)
            }
            waiting @ Opening::NoReader(_) => {
                console::log(format_args!(
                    "--pcap {file}: a FIFO without a reader; {BUFFERS} frames wait for one, further ones are dropped and counted"
                ));
                Err(waiting)
            }
        };
        Self::spawn(shared, &file, move |shared| {
            let opened = match opened {
                Ok(writer) => Some(writer),
                Err(waiting) => match waiting.wait(shared) {
                    Ok(Some(open)) => {
                        shared.noted(Writer::new(Sink::new(open, Arc::clone(shared)), &link))
                    }
                    Ok(None) => shared.noted(Err("no program opened it for reading".to_owned())),
                    Err(error) => shared.noted(Err(error.to_string())),
                },
            };
            match opened {
                Some(writer) => writer.run(shared),
                None => shared.write_nothing(),
            }
        })
    }

    #[cfg(test)]
    fn start_with<W: std::io::Write + Send + 'static>(
        into: W,
        file: &str,
        link: &str,
        mtu: u16,
        buffers: usize,
    ) -> Result<Self, Failure> {
        let writer = Writer::new(into, link).map_err(Failure::Run)?;
        Self::spawn(Shared::new(mtu, buffers), file, move |shared| {
            writer.run(shared);
        })
    }

    fn spawn(
        shared: Arc<Shared>,
        file: &str,
        write: impl FnOnce(&Arc<Shared>) + Send + 'static,
    ) -> Result<Self, Failure> {
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("pcap".into())
            .spawn(move || write(&for_thread))
            .map_err(|error| {
                Failure::Run(format!("--pcap {file}: cannot start its thread: {error}"))
            })?;
        Ok(Self {
            shared,
            file: file.to_owned(),
            thread: Some(thread),
        })
    }

    /// The recorder on one worker's NIC.
    pub(super) fn instrument(&self, clock: Clock) -> Box<dyn Instrument + Send> {
        Box::new(Copier {
            shared: Arc::clone(&self.shared),
            offered: Vec::with_capacity(BURST_FRAMES),
            wall: Wall::new(clock),
        })
    }

    /// Writes what waits, closes the file and says what is in it. All workers have ended.
    pub(super) fn end(mut self) -> CaptureTotals {
        self.join();
        self.so_far()
    }

    /// The frames that are in the file for certain, and those that are not.
    pub(super) fn so_far(&self) -> CaptureTotals {
        let shared = &self.shared;
        let error = shared.error().take();
        CaptureTotals {
            file: self.file.clone(),
            frames: shared.written.load(Ordering::Relaxed),
            dropped: shared.dropped.load(Ordering::Relaxed) + shared.filled.len() as u64,
            error,
        }
    }

    fn join(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else {
            return;
        };
        thread.thread().unpark();
        let started = Instant::now();
        while !thread.is_finished() && started.elapsed() < END_MAX {
            clock::sleep(LOOK);
        }
        if !thread.is_finished() {
            self.shared.note("its disk does not answer".to_owned());
        } else if thread.join().is_err() {
            self.shared
                .note("the writing thread panicked; that is a bug, please report it".to_owned());
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.join();
    }
}

/// Ticks of the cycle counter as time of day.
#[derive(Debug, Clone, Copy)]
struct Wall {
    clock: Clock,
    /// Time of day at the clock's epoch, in ns.
    epoch_ns: u64,
}

impl Wall {
    fn new(clock: Clock) -> Self {
        let since_epoch = clock.at(dpdk::cycles()).as_ns();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        Self {
            clock,
            epoch_ns: now_ns.saturating_sub(since_epoch),
        }
    }

    fn now_ns(&self) -> u64 {
        self.epoch_ns + self.clock.at(dpdk::cycles()).as_ns()
    }
}

/// Copies the frames of one worker.
#[derive(Debug)]
struct Copier {
    shared: Arc<Shared>,
    /// Frames offered to the NIC; `None` for those that found no buffer.
    offered: Vec<Option<Box<FrameCopy>>>,
    wall: Wall,
}

impl Copier {
    fn copy(&self, frame: &Mbuf, direction: Direction, at_ns: u64) -> Option<Box<FrameCopy>> {
        let mut copy = self.shared.free.pop()?;
        copy.at_ns = at_ns;
        copy.direction = direction;
        copy.frame_len = frame.total_len();
        frame.copy_out(0, &mut copy.bytes);
        Some(copy)
    }
}

impl Shared {
    /// With so many buffers, for IP packets of up to `mtu` bytes.
    fn new(mtu: u16, buffers: usize) -> Arc<Self> {
        let shared = Self {
            free: ArrayQueue::new(buffers),
            filled: ArrayQueue::new(buffers),
            dropped: AtomicU64::new(0),
            written: AtomicU64::new(0),
            error: Mutex::new(None),
            ended: AtomicBool::new(false),
        };
        for _ in 0..buffers {
            let buffer = FrameCopy {
                at_ns: 0,
                direction: Direction::In,
                frame_len: 0,
                bytes: vec![0; usize::from(mtu) + LINK_BYTES].into_boxed_slice(),
            };
            // Not refused: there is room for all of them.
            drop(shared.free.push(Box::new(buffer)));
        }
        Arc::new(shared)
    }

    fn error(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the file is not whole, unless that is known already.
    fn note(&self, error: String) {
        self.error().get_or_insert(error);
    }

    /// The value of a success; an error is noted.
    fn noted<T>(&self, outcome: Result<T, String>) -> Option<T> {
        outcome.map_err(|error| self.note(error)).ok()
    }

    /// The work of the thread when it has no file to write to: buffers go round, and what was in them is counted.
    fn write_nothing(&self) {
        while !self.ended.load(Ordering::Acquire) {
            self.drop_filled();
            clock::sleep(LOOK);
        }
        self.drop_filled();
    }

    fn drop_filled(&self) {
        while let Some(copy) = self.filled.pop() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            // Not refused: it came from there.
            drop(self.free.push(copy));
        }
    }

    fn hand_on(&self, copy: Option<Box<FrameCopy>>) {
        let refused = copy.map(|copy| self.filled.push(copy));
        // Not refused: there are no more buffers than places.
        if !matches!(refused, Some(Ok(()))) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Instrument for Copier {
    fn rx(&mut self, frames: &[Mbuf]) {
        let at_ns = self.wall.now_ns();
        for frame in frames {
            self.shared.hand_on(self.copy(frame, Direction::In, at_ns));
        }
    }

    fn tx(&mut self, frames: &[Mbuf]) {
        let at_ns = self.wall.now_ns();
        for frame in frames {
            let copy = self.copy(frame, Direction::Out, at_ns);
            self.offered.push(copy);
        }
    }

    fn tx_done(&mut self, refused: usize) {
        let sent = self.offered.len().saturating_sub(refused);
        for (i, copy) in self.offered.drain(..).enumerate() {
            if i < sent {
                self.shared.hand_on(copy);
            } else if let Some(copy) = copy {
                // Not refused: it came from there.
                drop(self.shared.free.push(copy));
            }
        }
    }
}

#[cfg(test)]
mod tests;
