//! The capture without a NIC: buffers that go round, full queues, files that end.

use std::io::{self, Write};
use std::sync::Mutex;

use pcap_file::pcapng::{Block, PcapNgReader};

use super::*;

/// A file in memory that can refuse.
#[derive(Clone, Default)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    full: Arc<AtomicBool>,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.lock().expect("no panic").write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A frame, as a worker would have copied it.
fn put(shared: &Shared, direction: Direction, at_ns: u64, frame: &[u8]) {
    let copy = shared.free.pop().map(|mut copy| {
        (copy.at_ns, copy.direction, copy.frame_len) = (at_ns, direction, frame.len());
        let kept = frame.len().min(copy.bytes.len());
        copy.bytes[..kept].copy_from_slice(&frame[..kept]);
        copy
    });
    shared.hand_on(copy);
}

#[test]
fn frames_times_and_directions_arrive_in_the_file() {
    let disk = Disk::default();
    let capture = Capture::start_with(disk.clone(), "f", "tap:t0", 578, 8).expect("started");
    let at_ns = 1_700_000_000_123_456_789;
    put(&capture.shared, Direction::In, at_ns, &[1; 60]);
    put(&capture.shared, Direction::Out, at_ns + 1, &[2; 61]);
    put(&capture.shared, Direction::In, at_ns + 2, &[3; 700]);
    let captured = capture.end();
    assert_eq!(
        (captured.frames, captured.dropped, captured.error),
        (3, 0, None)
    );
    let bytes = disk.bytes.lock().expect("no panic").clone();
    let mut reader = PcapNgReader::new(&bytes[..]).expect("a section");
    let mut frames = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.expect("whole").into_owned() {
            frames.push((
                packet.timestamp.as_nanos() as u64 - at_ns,
                packet.options,
                packet.data.to_vec(),
                packet.original_len,
            ));
        }
    }
    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption::Flags;
    assert_eq!(
        frames,
        [
            (0, vec![Flags(1)], vec![1; 60], 60),
            (1, vec![Flags(2)], vec![2; 61], 61),
            (2, vec![Flags(1)], vec![3; 600], 700),
        ]
    );
}

#[test]
fn without_a_free_buffer_copies_are_dropped_and_counted() {
    let shared = Shared::new(38, 1);
    drop(shared.free.pop());
    for _ in 0..3 {
        put(&shared, Direction::In, 0, &[0; 60]);
    }
    assert_eq!(shared.dropped.load(Ordering::Relaxed), 3);
}

#[test]
fn a_full_disk_is_said_and_what_it_did_not_take_is_counted() {
    let disk = Disk::default();
    let capture = Capture::start_with(disk.clone(), "f", "tap:t0", 578, 64).expect("started");
    disk.full.store(true, Ordering::Relaxed);
    for _ in 0..64 {
        put(&capture.shared, Direction::In, 0, &[0; 600]);
    }
    let captured = capture.end();
    assert!(
        captured.error.is_some() && captured.dropped > 0,
        "{captured:?}"
    );
    assert_eq!(captured.frames + captured.dropped, 64);
    disk.full.store(false, Ordering::Relaxed);
}

#[test]
fn a_file_that_can_not_be_created_is_one_clear_error() {
    let error = Capture::start(Path::new("/proc/no/such"), "tap:t0", 1500).expect_err("refused");
    assert!(
        matches!(&error, Failure::Usage(text) if text.contains("--pcap /proc/no/such: can't be written")),
        "{error}"
    );
}
