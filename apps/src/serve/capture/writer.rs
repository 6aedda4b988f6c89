//! [`Writer`]: the thread that writes copies of frames as pcapng (draft-ietf-opsawg-pcapng), ns and direction included.
//!
//! It must never hold a buffer back: what can't be written is counted and its buffer goes round.

use std::borrow::Cow;
use std::io::{BufWriter, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::{DataLink, PcapError};

use super::{Direction, FrameCopy, Shared};
use crate::console;

/// Timestamps are in 10^-9 s (if_tsresol).
const NANOSECONDS: u8 = 9;
/// epb_flags, lowest two bits.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;
/// How long to wait when there is nothing to write.
const WAIT: Duration = Duration::from_millis(5);
/// Frames after which they are brought to the file, however many wait.
const FLUSH_FRAMES: u64 = 256;

/// Writes one file.
pub(super) struct Writer<W: Write> {
    pcapng: PcapNgWriter<BufWriter<W>>,
    /// Frames that were written since what came before is in the file for certain.
    unflushed: u64,
    failed: bool,
}

/// An error in the system's words.
fn words(error: PcapError) -> String {
    match error {
        PcapError::IoError(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// Brings what is buffered into the file.
fn flushed<W: Write>(pcapng: &mut PcapNgWriter<BufWriter<W>>) -> Result<(), String> {
    pcapng.get_mut().flush().map_err(|error| error.to_string())
}

impl<W: Write> Writer<W> {
    /// Writes the head of the file; the interface in it is called `link`.
    ///
    /// # Errors
    /// The system's words.
    pub(super) fn new(into: W, link: &str) -> Result<Self, String> {
        let program = format!("syncline {}", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            options: vec![SectionHeaderOption::UserApplication(Cow::Owned(program))],
            ..SectionHeaderBlock::default()
        };
        let interface = InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Owned(link.to_owned())),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        };
        let mut pcapng =
            PcapNgWriter::with_section_header(BufWriter::new(into), section).map_err(words)?;
        pcapng.write_pcapng_block(interface).map_err(words)?;
        flushed(&mut pcapng)?;
        Ok(Self {
            pcapng,
            unflushed: 0,
            failed: false,
        })
    }

    /// Writes what comes until it has ended and nothing waits.
    pub(super) fn run(mut self, shared: &Shared) {
        loop {
            // Read before the queue: what is pushed before the end is seen after it.
            let ended = shared.ended.load(Ordering::Acquire);
            while let Some(copy) = shared.filled.pop() {
                self.take(&copy, shared);
                // Not refused: it came from there.
                drop(shared.free.push(copy));
                if self.unflushed >= FLUSH_FRAMES {
                    self.flush(shared);
                }
            }
            // A program that follows the file sees whole frames.
            self.flush(shared);
            if ended {
                return;
            }
            std::thread::park_timeout(WAIT);
        }
    }

    fn take(&mut self, copy: &FrameCopy, shared: &Shared) {
        if self.failed {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.unflushed += 1;
        if let Err(error) = self.write(copy) {
            self.fail(error, shared);
        }
    }

    fn flush(&mut self, shared: &Shared) {
        if self.unflushed == 0 {
            return;
        }
        match flushed(&mut self.pcapng) {
            Ok(()) => {
                let written = std::mem::take(&mut self.unflushed);
                shared.written.fetch_add(written, Ordering::Relaxed);
            }
            Err(error) => self.fail(error, shared),
        }
    }

    /// Nothing more is written. What was not in the file for certain counts as dropped.
    fn fail(&mut self, error: String, shared: &Shared) {
        console::log(format_args!(
            "--pcap: {error}; no frame is captured any more"
        ));
        self.failed = true;
        let lost = std::mem::take(&mut self.unflushed);
        shared.dropped.fetch_add(lost, Ordering::Relaxed);
        shared.note(error);
    }

    fn write(&mut self, copy: &FrameCopy) -> Result<(), String> {
        let kept = copy.frame_len.min(copy.bytes.len());
        let flags = match copy.direction {
            Direction::In => INBOUND,
            Direction::Out => OUTBOUND,
        };
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: Duration::from_nanos(copy.at_ns),
            original_len: u32::try_from(copy.frame_len).unwrap_or(u32::MAX),
            data: Cow::Borrowed(&copy.bytes[..kept]),
            options: vec![EnhancedPacketOption::Flags(flags)],
        };
        self.pcapng
            .write_pcapng_block(block)
            .map(drop)
            .map_err(words)
    }
}
