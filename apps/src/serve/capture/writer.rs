//! [`Writer`]: the thread that writes copies of frames as pcapng (draft-ietf-opsawg-pcapng), ns and direction included.
//!
//! Called by: `capture`. It must never hold a buffer back: what can't be written is counted and its buffer goes round.

use std::borrow::Cow;
use std::io::{BufWriter, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};

use super::{Copied, Direction, Shared};

/// Timestamps are in 10^-9 s (if_tsresol).
const NANOSECONDS: u8 = 9;
/// epb_flags, lowest two bits.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;
/// How long to wait when there is nothing to write.
const WAIT: Duration = Duration::from_millis(5);

/// Writes one file.
pub(super) struct Writer<W: Write> {
    pcapng: PcapNgWriter<BufWriter<W>>,
    frames: u64,
    error: Option<String>,
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
        let mut pcapng = PcapNgWriter::with_section_header(BufWriter::new(into), section)
            .map_err(|error| error.to_string())?;
        pcapng
            .write_pcapng_block(interface)
            .map_err(|error| error.to_string())?;
        pcapng
            .get_mut()
            .flush()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            pcapng,
            frames: 0,
            error: None,
        })
    }

    /// Writes what comes until it has ended and nothing waits. Returns the frames in the file, and why there are not more.
    pub(super) fn run(mut self, shared: &Shared) -> (u64, Option<String>) {
        let mut flushed = true;
        loop {
            // Read before the queue: what is pushed before the end is seen after it.
            let ended = shared.ended.load(Ordering::Acquire);
            while let Some(copy) = shared.filled.pop() {
                self.take(&copy, shared);
                flushed = false;
                // Not refused: it came from there.
                drop(shared.free.push(copy));
            }
            if !flushed {
                // Whoever follows the file sees whole frames.
                if let Err(error) = self.pcapng.get_mut().flush() {
                    self.error.get_or_insert(error.to_string());
                }
                flushed = true;
            }
            if ended {
                return (self.frames, self.error);
            }
            std::thread::park_timeout(WAIT);
        }
    }

    fn take(&mut self, copy: &Copied, shared: &Shared) {
        if self.error.is_none()
            && let Err(error) = self.write(copy)
        {
            self.error = Some(error);
        }
        if self.error.is_some() {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            self.frames += 1;
        }
    }

    fn write(&mut self, copy: &Copied) -> Result<(), String> {
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
            .map_err(|error| error.to_string())
    }
}
