//! [`Recorder`]: copies of the frames of connections that are under way; [`FrameRecording`]: those of connections that failed.
//!
//! It must never hold more than its places, each with a bounded number of frames cut to a bounded length.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use diagnose::capture::Frame as Captured;
use diagnose::dissect::{Content, dissect};
use diagnose::link_type::LinkType;
use dpdk::{Instrument, Mbuf};
use stack::nic::{BURST_FRAMES, Frame as _};
use workload::load::FailureMark;
use workload::tally::Fault;

use crate::clock::Clock;
use crate::rig::glance::{Kind, glance};

/// Connections of one worker whose frames are held.
const PLACES: usize = 4096;
/// Frames of a connection: the first ones, and the last ones behind them.
const FIRST_FRAMES: usize = 8;
const LAST_FRAMES: usize = 16;
/// Frames that are still added once a connection has failed.
const LATER_FRAMES: usize = 16;
/// Bytes of a frame.
const CUT_AT: usize = 256;
/// Places that are looked at for one whose connection has been silent for too long.
const LOOKS: usize = 64;

/// Which way a frame went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    In,
    Out,
}

/// A frame, cut.
#[derive(Debug, Clone)]
pub(super) struct CutFrame {
    /// By the clock of the run, in ns.
    pub(super) at_ns: u64,
    pub(super) direction: Direction,
    /// Its length, in bytes.
    pub(super) frame_len: usize,
    pub(super) bytes: Vec<u8>,
}

/// A connection that failed, and its frames.
#[derive(Debug, Clone)]
pub(in crate::load) struct KeptFailure {
    pub(super) mark: FailureMark,
    pub(super) frames: Vec<CutFrame>,
    /// Frames in the middle that were not held.
    pub(super) left_out: usize,
    /// Frames that may still be added.
    room: usize,
}

impl KeptFailure {
    /// Why it failed.
    pub(in crate::load) fn fault(&self) -> Fault {
        self.mark.fault
    }
}

/// Our end and the peer's.
type Tuple = (SocketAddr, SocketAddr);

/// The frames of one connection.
#[derive(Debug, Clone, Default)]
struct Place {
    tuple: Option<Tuple>,
    frames: Vec<CutFrame>,
    left_out: usize,
    last_ns: u64,
    /// Each side has sent a FIN, or either one a RST.
    has_fin: [bool; 2],
    is_over: bool,
    /// Which of the kept failures it goes on in.
    kept: Option<usize>,
}

/// The frames of connections that are under way, and of those that failed.
#[derive(Debug)]
pub(crate) struct FrameRecording {
    places: Vec<Place>,
    index: HashMap<Tuple, usize>,
    /// Places of connections that are over.
    free: Vec<usize>,
    /// Where the search for a silent connection goes on.
    next: usize,
    /// A connection that has been silent for so long is over, in ns.
    silent_ns: u64,
    kept: Vec<KeptFailure>,
    /// Failed connections for which no place was free when they began.
    missed: u64,
}

impl FrameRecording {
    /// Connections that are silent for longer than `silent_ns` may lose their place.
    pub(in crate::load) fn new(silent_ns: u64) -> Self {
        Self {
            places: vec![Place::default(); PLACES],
            index: HashMap::with_capacity(PLACES),
            free: (0..PLACES).rev().collect(),
            next: 0,
            silent_ns,
            kept: Vec::new(),
            missed: 0,
        }
    }

    /// A connection failed: its frames are kept, and a few of those that follow.
    pub(in crate::load) fn keep(&mut self, mark: FailureMark) {
        let Some(&at) = self.index.get(&(mark.local, mark.remote)) else {
            self.missed += 1;
            return;
        };
        let place = &mut self.places[at];
        place.kept = Some(self.kept.len());
        self.kept.push(KeptFailure {
            mark,
            frames: place.frames.clone(),
            left_out: place.left_out,
            room: LATER_FRAMES,
        });
    }

    /// The connections that were kept, and how many failed ones had no place.
    pub(in crate::load) fn take(&mut self) -> (Vec<KeptFailure>, u64) {
        (std::mem::take(&mut self.kept), self.missed)
    }

    fn see(&mut self, tuple: Tuple, kind: Option<Kind>, frame: CutFrame) {
        let is_syn = kind == Some(Kind::Syn) && frame.direction == Direction::Out;
        let at = match self.index.get(&tuple) {
            Some(&at) => at,
            None if is_syn => match self.place_for(tuple, frame.at_ns) {
                Some(at) => at,
                None => return,
            },
            None => return,
        };
        let place = &mut self.places[at];
        if is_syn && place.is_over {
            // Another connection from the same tuple.
            *place = Place {
                tuple: Some(tuple),
                ..Place::default()
            };
            self.free.retain(|&other| other != at);
        }
        let place = &mut self.places[at];
        place.last_ns = frame.at_ns;
        let side = usize::from(frame.direction == Direction::Out);
        place.has_fin[side] |= kind == Some(Kind::Fin);
        let is_over = kind == Some(Kind::Rst) || place.has_fin == [true, true];
        if let Some(kept) = place.kept.and_then(|kept| self.kept.get_mut(kept))
            && kept.room > 0
        {
            kept.room -= 1;
            kept.frames.push(frame.clone());
        }
        if place.frames.len() >= FIRST_FRAMES + LAST_FRAMES {
            place.frames.remove(FIRST_FRAMES);
            place.left_out += 1;
        }
        place.frames.push(frame);
        if is_over && !place.is_over {
            place.is_over = true;
            self.free.push(at);
        }
    }

    /// A place for a connection that begins.
    fn place_for(&mut self, tuple: Tuple, now_ns: u64) -> Option<usize> {
        let silent = || {
            (0..LOOKS)
                .map(|n| (self.next + n) % PLACES)
                .find(|&at| now_ns.saturating_sub(self.places[at].last_ns) > self.silent_ns)
        };
        // The place that was given back first: late frames of its connection have come by then.
        let at = match self.free.is_empty() {
            false => self.free.remove(0),
            true => {
                let found = silent();
                self.next = (self.next + LOOKS) % PLACES;
                found?
            }
        };
        if let Some(before) = self.places[at].tuple {
            self.index.remove(&before);
        }
        self.places[at] = Place {
            tuple: Some(tuple),
            last_ns: now_ns,
            ..Place::default()
        };
        self.index.insert(tuple, at);
        Some(at)
    }
}

/// Shows the frames of one worker to its recording.
#[derive(Debug)]
pub(in crate::load) struct Recorder {
    recording: Arc<Mutex<FrameRecording>>,
    clock: Clock,
    /// Frames that were offered to the NIC.
    offered: Vec<Option<(Tuple, Option<Kind>, CutFrame)>>,
}

impl Recorder {
    /// A recorder whose copies stand in `recording`.
    pub(in crate::load) fn new(recording: Arc<Mutex<FrameRecording>>, clock: Clock) -> Self {
        Self {
            recording,
            clock,
            offered: Vec::with_capacity(BURST_FRAMES),
        }
    }

    /// The connection that a frame belongs to, and a copy of it; an ICMP error belongs to the one that it quotes.
    fn read(&self, frame: &Mbuf, direction: Direction) -> Option<(Tuple, Option<Kind>, CutFrame)> {
        let (tuple, kind) = match glance(frame.bytes()) {
            Some(seen) => {
                let tuple = match direction {
                    Direction::Out => (seen.src, seen.dst),
                    Direction::In => (seen.dst, seen.src),
                };
                (tuple, Some(seen.kind))
            }
            None if direction == Direction::In => (quoted(frame.bytes())?, None),
            None => return None,
        };
        let frame_len = frame.total_len();
        let mut bytes = vec![0; frame_len.min(CUT_AT)];
        let len = frame.copy_out(0, &mut bytes);
        bytes.truncate(len);
        let cut = CutFrame {
            at_ns: self.clock.at(dpdk::cycles()).as_ns(),
            direction,
            frame_len,
            bytes,
        };
        Some((tuple, kind, cut))
    }
}

/// Our end and the peer's of the segment that an ICMP error quotes: it was ours.
fn quoted(bytes: &[u8]) -> Option<Tuple> {
    let captured = Captured {
        at_ns: 0,
        bytes,
        original_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        link: Some(LinkType::Ethernet),
    };
    let Content::Icmp(error) = dissect(&captured) else {
        return None;
    };
    let (src, dst) = error.ends?;
    Some((
        SocketAddr::new(src.ip, src.port),
        SocketAddr::new(dst.ip, dst.port),
    ))
}

impl Instrument for Recorder {
    fn rx(&mut self, frames: &[Mbuf]) {
        let mut recording = self
            .recording
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for frame in frames {
            if let Some((tuple, kind, cut)) = self.read(frame, Direction::In) {
                recording.see(tuple, kind, cut);
            }
        }
    }

    fn tx(&mut self, frames: &[Mbuf]) {
        for frame in frames {
            let read = self.read(frame, Direction::Out);
            self.offered.push(read);
        }
    }

    fn tx_done(&mut self, refused: usize) {
        let mut recording = self
            .recording
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let sent = self.offered.len().saturating_sub(refused);
        for (tuple, kind, cut) in self.offered.drain(..).take(sent).flatten() {
            recording.see(tuple, kind, cut);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(port: u16) -> Tuple {
        let local = SocketAddr::from(([198, 18, 0, 2], port));
        (local, SocketAddr::from(([198, 18, 0, 1], 80)))
    }

    fn frame(at_ns: u64, direction: Direction) -> CutFrame {
        CutFrame {
            at_ns,
            direction,
            frame_len: 60,
            bytes: vec![0; 60],
        }
    }

    fn mark(port: u16) -> FailureMark {
        let (local, remote) = tuple(port);
        FailureMark {
            fault: Fault::NoReply,
            local,
            remote,
        }
    }

    #[test]
    fn a_failed_connection_keeps_its_first_and_last_frames_and_those_that_follow() {
        let mut recording = FrameRecording::new(u64::MAX);
        recording.see(tuple(1024), Some(Kind::Syn), frame(0, Direction::Out));
        for at_ns in 1..100 {
            recording.see(tuple(1024), Some(Kind::Data), frame(at_ns, Direction::In));
        }
        recording.keep(mark(1024));
        recording.see(tuple(1024), Some(Kind::Rst), frame(100, Direction::Out));
        let (kept, missed) = recording.take();
        assert_eq!((kept.len(), missed), (1, 0));
        let at: Vec<u64> = kept[0].frames.iter().map(|frame| frame.at_ns).collect();
        assert_eq!(at[..FIRST_FRAMES], [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(
            at[FIRST_FRAMES..FIRST_FRAMES + LAST_FRAMES],
            (84..100).collect::<Vec<u64>>()
        );
        assert_eq!(at.last(), Some(&100));
        assert_eq!(kept[0].left_out, 100 - FIRST_FRAMES - LAST_FRAMES);
    }

    #[test]
    fn places_are_given_on_when_connections_are_over_or_silent() {
        let mut recording = FrameRecording::new(1000);
        let all = u16::try_from(PLACES).expect("a number of ports");
        for port in 0..all {
            recording.see(tuple(port), Some(Kind::Syn), frame(10, Direction::Out));
        }
        // None is free, and none was silent for long enough.
        recording.see(tuple(all), Some(Kind::Syn), frame(20, Direction::Out));
        recording.keep(mark(all));
        assert_eq!(recording.take().1, 1);
        recording.see(tuple(7), Some(Kind::Rst), frame(30, Direction::In));
        recording.see(tuple(all), Some(Kind::Syn), frame(40, Direction::Out));
        recording.keep(mark(all));
        assert_eq!(recording.take().0.len(), 1);
        recording.see(tuple(all + 1), Some(Kind::Syn), frame(5000, Direction::Out));
        recording.keep(mark(all + 1));
        assert_eq!(recording.take().0.len(), 1);
    }

    #[test]
    fn a_tuple_that_is_used_again_is_another_connection() {
        let mut recording = FrameRecording::new(u64::MAX);
        recording.see(tuple(1), Some(Kind::Syn), frame(0, Direction::Out));
        for direction in [Direction::Out, Direction::In] {
            recording.see(tuple(1), Some(Kind::Fin), frame(1, direction));
        }
        recording.see(tuple(1), Some(Kind::Syn), frame(2, Direction::Out));
        recording.keep(mark(1));
        assert_eq!(recording.take().0[0].frames.len(), 1);
    }
}
