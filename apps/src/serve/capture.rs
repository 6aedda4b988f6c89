//! `--pcap`: copies of all frames, both directions, from the workers to a file, without making a worker wait.
//!
//! Called by: `run` (start, end); the workers through [`Instrument`]. It must never block or allocate on a worker: the
//! buffers are made at start and go round (free → filled → written → free), and without a free one the copy is dropped
//! and counted.

mod writer;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use crossbeam_queue::ArrayQueue;
use dpdk::{Instrument, Mbuf};
use serde::Serialize;
use stack::nic::{BURST_FRAMES, Frame as _};

use crate::clock::Clock;
use crate::failure::Failure;
use writer::Writer;

/// Copies that may wait for the disk: 32 MB, or a quarter of a second at what a tap can carry.
const BUFFERS: usize = 16_384;
/// Bytes of a frame beside its IP packet: Ethernet header with two tags.
const LINK_BYTES: usize = 22;

/// What a capture came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Captured {
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
struct Copied {
    /// Since 1970 (UTC), in ns.
    at_ns: u64,
    direction: Direction,
    /// Length of the frame, in bytes; what is longer than `bytes` was cut.
    frame_len: usize,
    bytes: Box<[u8]>,
}

/// What workers and writer share.
#[derive(Debug)]
struct Shared {
    free: ArrayQueue<Box<Copied>>,
    filled: ArrayQueue<Box<Copied>>,
    dropped: AtomicU64,
    ended: AtomicBool,
}

/// A capture with its thread. Dropped without [`Capture::end`] it ends as well, unheard.
#[derive(Debug)]
pub(super) struct Capture {
    shared: Arc<Shared>,
    file: String,
    thread: Option<JoinHandle<(u64, Option<String>)>>,
}

impl Capture {
    /// Creates the file and starts the thread that writes it. `link` names the interface in the file; frames carry IP
    /// packets of up to `mtu` bytes.
    ///
    /// # Errors
    /// [`Failure::Usage`] when the file can't be created, [`Failure::Run`] when its head can't be written.
    pub(super) fn start(path: &Path, link: &str, mtu: u16) -> Result<Self, Failure> {
        let file = path.display().to_string();
        let created = File::create(path).map_err(|error| {
            Failure::Usage(format!(
                "--pcap {file}: can't be written ({error}); choose another file"
            ))
        })?;
        Self::start_with(created, &file, link, mtu, BUFFERS)
    }

    fn start_with<W: std::io::Write + Send + 'static>(
        into: W,
        file: &str,
        link: &str,
        mtu: u16,
        buffers: usize,
    ) -> Result<Self, Failure> {
        let failed = |error: String| Failure::Run(format!("--pcap {file}: {error}"));
        let writer = Writer::new(into, link).map_err(failed)?;
        let shared = Arc::new(Shared {
            free: ArrayQueue::new(buffers),
            filled: ArrayQueue::new(buffers),
            dropped: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        for _ in 0..buffers {
            let buffer = Copied {
                at_ns: 0,
                direction: Direction::In,
                frame_len: 0,
                bytes: vec![0; usize::from(mtu) + LINK_BYTES].into_boxed_slice(),
            };
            // Not refused: there is room for all of them.
            drop(shared.free.push(Box::new(buffer)));
        }
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("pcap".into())
            .spawn(move || writer.run(&for_thread))
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            shared,
            file: file.to_owned(),
            thread: Some(thread),
        })
    }

    /// What one worker's NIC shows its frames to.
    pub(super) fn instrument(&self, clock: Clock) -> Box<dyn Instrument + Send> {
        Box::new(Copier {
            shared: Arc::clone(&self.shared),
            offered: Vec::with_capacity(BURST_FRAMES),
            wall: Wall::new(clock),
        })
    }

    /// Writes what waits, closes the file and says what is in it. All workers have ended.
    pub(super) fn end(mut self) -> Captured {
        let (frames, error) = self.join();
        Captured {
            file: self.file.clone(),
            frames,
            dropped: self.shared.dropped.load(Ordering::Relaxed),
            error,
        }
    }

    fn join(&mut self) -> (u64, Option<String>) {
        self.shared.ended.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else {
            return (0, None);
        };
        thread.thread().unpark();
        let panicked = || {
            (
                0,
                Some("the writing thread panicked; that is a bug, please report it".to_owned()),
            )
        };
        thread.join().unwrap_or_else(|_| panicked())
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
    offered: Vec<Option<Box<Copied>>>,
    wall: Wall,
}

impl Copier {
    fn copy(&self, frame: &Mbuf, direction: Direction, at_ns: u64) -> Option<Box<Copied>> {
        let mut copy = self.shared.free.pop()?;
        copy.at_ns = at_ns;
        copy.direction = direction;
        copy.frame_len = frame.total_len();
        frame.copy_out(0, &mut copy.bytes);
        Some(copy)
    }
}

impl Shared {
    fn hand_on(&self, copy: Option<Box<Copied>>) {
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
